//! Undecryptable events that wait for their key.

use super::ids::{OwnedEventId, OwnedRoomId, OwnedUserId};
use super::time::Timestamp;

/// An event that could not be decrypted yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UndecryptableEvent {
    /// Id of the room that it was sent to.
    pub room: OwnedRoomId,
    /// Id of the encrypted event.
    pub event: OwnedEventId,
    /// User id of its sender, which is readable without the key.
    pub sender: OwnedUserId,
    /// Megolm session (`session_id`) whose key is missing; empty if the event names none.
    pub session: String,
    /// JSON of the event as the server sent it, to be decrypted when the key comes.
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

/// An event that is given up: its key did not come within `max_message_age`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unread {
    /// Id of the room that it was sent to, and that is told.
    pub room: OwnedRoomId,
    /// Id of the encrypted event.
    pub event: OwnedEventId,
    /// User id of its sender, who is named in the notice.
    pub sender: OwnedUserId,
    /// When it was sent, by our clock.
    pub sent_at: Timestamp,
}
