//! Stored facts about rooms: mapped ones, expired messages, and notices of the radio's outage.

use super::ids::{OwnedEventId, OwnedRoomId, OwnedRoomOrAliasId};
use super::room_event::{JoinedRoom, Tombstone};
use super::time::Timestamp;

/// A room that was mapped and joined, in its last known state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OldRoom {
    /// Room id, not an alias.
    pub room: OwnedRoomId,
    /// The configured alias that last stood for it.
    pub alias: Option<OwnedRoomOrAliasId>,
    /// Whether it was encrypted: its successor must be too, unless it is configured by id.
    pub encrypted: bool,
    /// Whether anyone could join it: if not, its successor must not be public, unless it is configured by id.
    pub public: bool,
    /// Set once the room is replaced or closed.
    pub tombstone: Option<Tombstone>,
}

/// How a room is less protected than the one whose place it is to take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weakness {
    /// It is not encrypted.
    Unencrypted,
    /// Anyone may join it.
    Public,
}

impl OldRoom {
    /// Returns how a room with this protection is weaker than this one.
    pub fn weakness_of(&self, encrypted: bool, public: bool) -> Option<Weakness> {
        if self.encrypted && !encrypted {
            Some(Weakness::Unencrypted)
        } else if !self.public && public {
            Some(Weakness::Public)
        } else {
            None
        }
    }

    /// Returns the room that its tombstone names.
    pub fn successor(&self) -> Option<&OwnedRoomId> {
        self.tombstone.as_ref()?.successor.as_ref()
    }
}

impl From<&JoinedRoom> for OldRoom {
    fn from(room: &JoinedRoom) -> Self {
        let mut names = room.configured.iter();
        Self {
            room: room.room.clone(),
            alias: names.find(|name| name.is_room_alias_id()).cloned(),
            encrypted: room.encrypted,
            public: room.public,
            tombstone: room.tombstone.clone(),
        }
    }
}

/// A room with rows that may wait for it or from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WaitsForRoom {
    /// Last known state of the room; where unknown, the strictest: encrypted, and not public.
    pub old: OldRoom,
    /// Whether sending to it is held until its succession is decided.
    pub is_held: bool,
    /// Number of rows that wait for it in the outbox for rooms.
    pub messages: u64,
    /// Number of packets from this room that wait for the mesh, or for the radio's answer.
    pub packets: u64,
}

/// Expired messages of a room that it has not been told of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expired {
    /// Id of the room that they were written in.
    pub room: OwnedRoomId,
    /// Number of messages, edits included; at least one.
    pub messages: u32,
    /// Number of edits of sent messages among them.
    pub edits: u32,
    /// When the oldest of them was written, by our clock.
    pub oldest: Timestamp,
    /// When the newest of them was written, by our clock.
    pub newest: Timestamp,
    /// Id of the message that was written last; the notice replies to it.
    pub event: OwnedEventId,
    /// Root of the thread of that message; `None` outside threads.
    pub thread: Option<OwnedEventId>,
    /// When the first of them expired, by our clock.
    pub since: Timestamp,
    /// When the last of them expired, by our clock.
    pub last: Timestamp,
    /// Whether a message of the room still waits for the mesh, so that more may expire.
    pub more_waits: bool,
}

/// An outage of the radio that is open or has just ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outage {
    /// When the link was lost, by our clock.
    pub since: Timestamp,
    /// When the link was up again; `None` while it is down. The outage is over once the link has stood for a moment.
    pub back: Option<Timestamp>,
}

/// A room that was told of an outage, and not yet of its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToldRoom {
    /// Id of the room that has the notice.
    pub room: OwnedRoomId,
    /// When that outage began, by our clock.
    pub since: Timestamp,
    /// When that outage ended: the room is to be told; `None` while it lasts.
    pub back: Option<Timestamp>,
}
