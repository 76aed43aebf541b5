//! An event that waits for its key.

use super::ids::{OwnedEventId, OwnedRoomId, OwnedUserId};
use super::time::Timestamp;

/// An event of a room that could not be decrypted yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UndecryptableEvent {
    /// Its room.
    pub room: OwnedRoomId,
    /// Its id.
    pub event: OwnedEventId,
    /// Who sent it.
    pub sender: OwnedUserId,
    /// The session whose key is missing; empty if the event does not say.
    pub session: String,
    /// The event as the server sent it.
    pub raw: String,
}

impl UndecryptableEvent {
    /// So many of a room are kept, whoever keeps them: a day of a lively room.
    pub const MOST_OF_ROOM: u32 = 500;
    /// So many bytes of a room are kept. An event of normal size has one thousand.
    pub const MOST_BYTES_OF_ROOM: u64 = 2 * 1024 * 1024;
    /// So many of one person in a room are kept: nobody takes the place of all others.
    pub const MOST_OF_SENDER: u32 = 100;
    /// So many bytes of one person in a room are kept.
    pub const MOST_BYTES_OF_SENDER: u64 = 512 * 1024;
}

/// An event whose key did not come in time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unread {
    /// Its room.
    pub room: OwnedRoomId,
    /// The event.
    pub event: OwnedEventId,
    /// Who wrote it.
    pub sender: OwnedUserId,
    /// When, by the server's clock.
    pub sent_at: Timestamp,
}
