//! Undecryptable events that wait for their key.

use super::ids::{OwnedEventId, OwnedRoomId, OwnedUserId};
use super::time::Timestamp;

/// An event that could not be decrypted yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UndecryptableEvent {
    /// Its room.
    pub room: OwnedRoomId,
    /// Its id.
    pub event: OwnedEventId,
    /// Who sent it.
    pub sender: OwnedUserId,
    /// The session whose key is missing; empty if the event names none.
    pub session: String,
    /// The event as the server sent it.
    pub raw: String,
}

impl UndecryptableEvent {
    /// Maximum number of events kept per room: a day of a lively room.
    pub const MOST_OF_ROOM: u32 = 500;
    /// Maximum bytes of events kept per room. An ordinary event has about one thousand.
    pub const MOST_BYTES_OF_ROOM: u64 = 2 * 1024 * 1024;
    /// Maximum number of events kept per person in a room, so that nobody evicts all others.
    pub const MOST_OF_SENDER: u32 = 100;
    /// Maximum bytes of events kept per person in a room.
    pub const MOST_BYTES_OF_SENDER: u64 = 512 * 1024;
}

/// An event whose key did not come in time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unread {
    /// Its room.
    pub room: OwnedRoomId,
    /// The event.
    pub event: OwnedEventId,
    /// Its sender.
    pub sender: OwnedUserId,
    /// When it was sent, by the server's clock.
    pub sent_at: Timestamp,
}
