//! Identifiers of both networks and of our own tables.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::time::Timestamp;

pub use ruma::{
    EventId, OwnedEventId, OwnedRoomAliasId, OwnedRoomId, OwnedRoomOrAliasId, OwnedServerName,
    OwnedTransactionId, OwnedUserId, RoomId, RoomOrAliasId, TransactionId, UserId,
};

/// Why a text or a number is not a valid identifier of the mesh.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseIdError {
    /// The text is not `!` and eight hexadecimal digits.
    #[error("`{0}` is not a node id: expected `!` and eight hexadecimal digits, as in `!a1b2c3d4`")]
    Node(String),
    /// The number is not 0 to 7.
    #[error("{0} is out of range: a radio has channels 0 to 7")]
    Channel(i64),
}

/// A node's number on the mesh; printed and parsed as `!a1b2c3d4`.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
pub struct NodeNum(pub u32);

impl NodeNum {
    /// Broadcast address: the packet is for its whole channel.
    pub const BROADCAST: Self = Self(0xFFFF_FFFF);
}

impl fmt::Display for NodeNum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "!{:08x}", self.0)
    }
}

impl FromStr for NodeNum {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.strip_prefix('!')
            .filter(|hex| hex.len() == 8 && hex.bytes().all(|byte| byte.is_ascii_hexdigit()))
            .and_then(|hex| u32::from_str_radix(hex, 16).ok())
            .map(Self)
            .ok_or_else(|| ParseIdError::Node(text.to_owned()))
    }
}

/// A packet's id, unique per sender for some time; 0 means none. Printed in decimal, as in an event's `meshtastic_id`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PacketId(pub u32);

impl PacketId {
    /// No id: such a packet is never a duplicate.
    pub const NONE: Self = Self(0);
}

/// One of the radio's channel slots, 0 to 7; slot 0 is normally the primary channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct ChannelIndex(u8);

impl ChannelIndex {
    /// Slot 0, where the primary channel normally is.
    pub const PRIMARY: Self = Self(0);

    /// Returns all eight slots, in order.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..8).map(Self)
    }

    /// Returns the slot as packets number it, 0 to 7.
    pub fn number(self) -> u8 {
        self.0
    }
}

impl TryFrom<u32> for ChannelIndex {
    type Error = ParseIdError;

    fn try_from(number: u32) -> Result<Self, Self::Error> {
        let index = u8::try_from(number).ok().filter(|index| *index < 8);
        index
            .map(Self)
            .ok_or(ParseIdError::Channel(i64::from(number)))
    }
}

/// Row number in the outbox for rooms: one event. Rows of a room are sent in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RoomRowId(pub i64);

/// Row number in the outbox for the mesh: one packet. A message has the number of its first part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MeshRowId(pub i64);

macro_rules! printed_as_numbers {
    ($($name:ty),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    )*};
}

printed_as_numbers!(PacketId, ChannelIndex, RoomRowId, MeshRowId, Timestamp);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_number_prints_as_its_id_and_parses_back() {
        assert_eq!(NodeNum(0xA1B2_C3D4).to_string(), "!a1b2c3d4");
        assert_eq!("!0000002a".parse(), Ok(NodeNum(42)));
        for wrong in ["a1b2c3d4", "!a1b2c3d", "!a1b2c3d45", "!+1b2c3d4", ""] {
            assert!(wrong.parse::<NodeNum>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_channel_beyond_7_cannot_exist() {
        assert_eq!(ChannelIndex::try_from(7).map(ChannelIndex::number), Ok(7));
        assert_eq!(ChannelIndex::try_from(8), Err(ParseIdError::Channel(8)));
    }
}
