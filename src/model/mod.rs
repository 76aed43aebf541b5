//! The shared words: what the adapters, the bridge and the store say to each other.
//!
//! Nothing here does anything. A type that holds a range or a unit checks it when it is made, so that
//! the rest of the program need not.

mod backoff;
mod chore;
mod error;
mod event;
mod fate;
mod ids;
mod invisible;
mod late;
mod mesh;
mod message;
mod radio_event;
mod room;
mod room_address;
mod room_event;
mod room_message;
mod send;
pub mod span;
mod time;

pub use backoff::Backoff;
pub use chore::Chore;
pub use error::{Chain, Exit, Explained, causes, told};
pub use event::{Event, RoomOutcome, SendReport};
pub use fate::{MeshFate, MeshState, RadioOutcome, Refusal, Sign};
pub use ids::{
    ChannelIndex, EventId, MeshRowId, NodeNum, OwnedEventId, OwnedRoomId, OwnedRoomOrAliasId,
    OwnedServerName, OwnedTransactionId, OwnedUserId, PacketId, ParseIdError, RoomId,
    RoomOrAliasId, RoomRowId, TransactionId, UserId,
};
pub use invisible::is_invisible;
pub use late::{UndecryptableEvent, Unread};
pub use mesh::{
    Draft, EarlyEdit, Gathering, Heading, Media, MeshContent, MeshMessage, MeshOrder, MeshSource,
    NewVersion, Version, WaitingPacket, spoken,
};
pub use message::{
    Channel, ChannelRole, Destination, Fingerprint, Lane, MessagePair, Node, Origin, RadioMessage,
    RadioPayload, Relayed,
};
pub use radio_event::{LossKind, RadioEvent, RadioProfile, RadioSetup, RadioText, TextPort};
pub use room::{Expired, OldRoom, Outage, ToldRoom, WaitsForRoom};
pub use room_address::{RoomAddress, RoomAddressError};
pub use room_event::{
    Gap, JoinedRoom, MatrixEvent, RelayFields, RoomEdit, RoomReaction, RoomRedaction, RoomText,
    RoomTextKind, Synced, Tombstone,
};
pub use room_message::{EventRef, Notice, RoomContent, RoomMessage};
pub use send::SendToRoom;
pub use time::{Clock, ClockReading, Jump, Timestamp};
