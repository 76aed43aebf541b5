//! What is remembered of rooms: of one that was mapped, of what expired in one, and of the radio's absence, as one learns of it.

use super::ids::{OwnedEventId, OwnedRoomId, OwnedRoomOrAliasId};
use super::room_event::Tombstone;
use super::time::Timestamp;

/// A room that was mapped and joined, as it was known last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OldRoom {
    /// The room.
    pub room: OwnedRoomId,
    /// The alias of the configuration that stood for it last.
    pub alias: Option<OwnedRoomOrAliasId>,
    /// It was encrypted.
    pub encrypted: bool,
    /// Anyone could join it.
    pub public: bool,
    /// It is replaced or closed.
    pub tombstone: Option<Tombstone>,
}

/// A room for which, or from which, something may wait that does not go its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WaitsForRoom {
    /// The room.
    pub old: OldRoom,
    /// What is for it does not go there.
    pub is_held: bool,
    /// So many messages wait for it,
    pub messages: u64,
    /// and so many packets from it.
    pub packets: u64,
}

/// What expired in a room, of which it has not been told yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expired {
    /// The room.
    pub room: OwnedRoomId,
    /// How many messages, edits included; at least one.
    pub messages: u32,
    /// How many of them are edits of messages that were sent.
    pub edits: u32,
    /// When the oldest of them was written.
    pub oldest: Timestamp,
    /// When the newest was.
    pub newest: Timestamp,
    /// The newest.
    pub event: OwnedEventId,
    /// Its thread.
    pub thread: Option<OwnedEventId>,
    /// When the first of them expired.
    pub since: Timestamp,
    /// When the last did.
    pub last: Timestamp,
    /// A message of the room waits still.
    pub more_waits: bool,
}

/// The radio is away, or was just now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outage {
    /// Since then.
    pub since: Timestamp,
    /// It is there again since then.
    pub back: Option<Timestamp>,
}

/// A room that was told of an outage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToldRoom {
    /// The room.
    pub room: OwnedRoomId,
    /// Since when the radio was away.
    pub since: Timestamp,
    /// When it was back: the room is to be told.
    pub back: Option<Timestamp>,
}
