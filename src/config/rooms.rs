//! `matrix_rooms`: routes between rooms and channels.

use std::fmt;

use strum::{Display, EnumString, VariantNames};

use crate::model::{ChannelIndex, OwnedRoomOrAliasId, OwnedServerName};

/// One entry of `matrix_rooms`: a room tied to a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MappedRoom {
    /// The room, by id or alias.
    pub id: OwnedRoomOrAliasId,
    /// Servers over which it can be joined, where a link was given that names some.
    pub via: Vec<OwnedServerName>,
    /// The channel.
    pub meshtastic_channel: ChannelRef,
    /// Which way messages go.
    pub direction: Direction,
}

/// A channel of the radio, as the configuration names it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ChannelRef {
    /// By its slot.
    Index(ChannelIndex),
    /// By its name, as people see it (`LongFast` for an unnamed one); followed when it changes its slot.
    Name(String),
}

impl fmt::Display for ChannelRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Index(index) => write!(f, "{index}"),
            Self::Name(name) => write!(f, "{name}"),
        }
    }
}

/// Which way messages of a route go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Display, EnumString, VariantNames)]
#[strum(serialize_all = "snake_case", ascii_case_insensitive)]
pub enum Direction {
    /// Both ways.
    Both,
    /// From the mesh to Matrix only.
    ToMatrix,
    /// From Matrix to the mesh only.
    ToMesh,
}

impl Direction {
    /// Returns whether messages of the mesh go to the room.
    #[must_use]
    pub fn to_matrix(self) -> bool {
        self != Self::ToMesh
    }

    /// Returns whether messages of the room go to the mesh.
    #[must_use]
    pub fn to_mesh(self) -> bool {
        self != Self::ToMatrix
    }
}
