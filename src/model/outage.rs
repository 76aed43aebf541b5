//! The radio's absence, as rooms learn of it.

use super::ids::OwnedRoomId;
use super::time::Timestamp;

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
