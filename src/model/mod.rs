//! The shared words: what the adapters, the bridge and the store say to each other.
//!
//! Nothing here does anything. A type that holds a range or a unit checks it when it is made, so that
//! the rest of the program need not.

mod event;
mod gap;
mod ids;
mod late;
mod message;
mod retry;
mod room_address;
mod time;

pub use event::{
    Event, JoinedRoom, MatrixEvent, RadioEvent, RadioOutcome, RadioProfile, RadioSetup, RadioText,
    Refusal, RelayFields, RoomEdit, RoomOutcome, RoomReaction, RoomRedaction, RoomText,
    RoomTextKind, SendReport, TextPort, Tombstone,
};
pub use gap::Gap;
pub use ids::{
    ChannelIndex, EventId, NodeNum, OutboxId, OwnedEventId, OwnedRoomId, OwnedRoomOrAliasId,
    OwnedServerName, OwnedTransactionId, OwnedUserId, PacketId, ParseIdError, RoomId,
    RoomOrAliasId, TransactionId, UserId, waiting_event,
};
pub use late::UndecryptableEvent;
pub use message::{
    Channel, ChannelRole, Destination, Fingerprint, Lane, MessagePair, Node, Origin, RadioMessage,
    RadioPayload, RoomContent, RoomMessage,
};
pub use retry::Retry;
pub use room_address::{RoomAddress, RoomAddressError};
pub use time::{Clock, ClockReading, Timestamp};
