//! What was said in a room and could not be fetched yet.

use super::ids::OwnedRoomId;

/// A stretch of a room's timeline that is still missing, between two places in the homeserver's stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// The room.
    pub room: OwnedRoomId,
    /// What comes after this place is missing.
    pub from: String,
    /// Up to this place.
    pub to: String,
}
