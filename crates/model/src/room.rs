//! Stored facts about rooms: mapped ones, expired messages, and notices of the radio's outage.

use super::ids::{OwnedEventId, OwnedRoomId, OwnedRoomOrAliasId};
use super::{room_event::Tombstone, time::Timestamp};

/// A room that was mapped and joined, in its last known state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OldRoom {
    /// The room.
    pub room: OwnedRoomId,
    /// The configured alias that last stood for it.
    pub alias: Option<OwnedRoomOrAliasId>,
    /// Whether it was encrypted.
    pub encrypted: bool,
    /// Whether anyone could join it.
    pub public: bool,
    /// Set if it is replaced or closed.
    pub tombstone: Option<Tombstone>,
}

/// A room with rows that may wait for it or from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WaitsForRoom {
    /// The room.
    pub old: OldRoom,
    /// Whether sending to it is held.
    pub is_held: bool,
    /// Number of messages that wait for it,
    pub messages: u64,
    /// and of packets that wait from it.
    pub packets: u64,
}

/// Expired messages of a room that it has not been told of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expired {
    /// The room.
    pub room: OwnedRoomId,
    /// Number of messages, edits included; at least one.
    pub messages: u32,
    /// Number of edits of sent messages among them.
    pub edits: u32,
    /// When the oldest was written.
    pub oldest: Timestamp,
    /// When the newest was written.
    pub newest: Timestamp,
    /// The newest message.
    pub event: OwnedEventId,
    /// Its thread.
    pub thread: Option<OwnedEventId>,
    /// When the first of them expired.
    pub since: Timestamp,
    /// When the last of them expired.
    pub last: Timestamp,
    /// Whether a message of the room still waits.
    pub more_waits: bool,
}

/// An outage of the radio that is open or has just ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outage {
    /// When it began.
    pub since: Timestamp,
    /// When the radio came back.
    pub back: Option<Timestamp>,
}

/// A room that was told of an outage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToldRoom {
    /// The room.
    pub room: OwnedRoomId,
    /// When the outage began.
    pub since: Timestamp,
    /// When the radio came back: the room is to be told.
    pub back: Option<Timestamp>,
}
