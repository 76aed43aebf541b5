//! `config.yaml`, checked: every value here is in range, spelled right and of a type of its own.
//!
//! The structs mirror the keys: `meshtastic.long_messages.part_bytes` is `config.meshtastic.long_messages.part_bytes`.
//! The one exception is [`Connection`], which holds `connection_type` together with what that type needs.

mod environment;
mod file;
mod finding;
#[cfg(test)]
mod fixtures;
mod matrix;
mod meshtastic;
mod mmrelay;
mod operation;
mod pattern;
mod read;
mod rooms;
mod secret;
mod section;
mod template;
mod text_file;
mod values;
mod yaml;
mod yaml_traps;

use std::net::Ipv4Addr;

pub use environment::Environment;
pub use file::{LoadError, Loaded};
pub use finding::{Finding, Problems};
pub use matrix::{E2ee, Invites, Matrix, Recipients, SenderLimit};
pub use meshtastic::{
    Backlog, ChannelUse, Connection, Edits, Feedback, LongMessages, Media, Meshtastic,
    MessageInteractions, OkToMqtt, Overflow, PacketRouting, PortNum, ReactionStyle, SensorType,
    host_and_port,
};
pub use operation::{Component, Database, Health, Level, LogFormat, Logging, MsgMap};
pub use pattern::{UserPattern, UserPatternError};
pub(crate) use read::is_loopback;
pub use rooms::{ChannelRef, Direction, MappedRoom};
pub use secret::Secret;
pub use template::{
    MeshVariable, Piece, ReactionVariable, RoomVariable, Template, TemplateError, Variable,
};
pub use text_file::{TextFileError, read_or_say_why};

/// The whole configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// `matrix`: the account, who may transmit, what messages of the mesh look like.
    pub matrix: Matrix,
    /// `matrix_rooms`: which room goes with which channel; never empty. The order matters: of two channels in
    /// one room, the first gets what has no target.
    pub matrix_rooms: Vec<MappedRoom>,
    /// `meshtastic`: the radio, and what goes on the air.
    pub meshtastic: Meshtastic,
    /// `database`: our own data.
    pub database: Database,
    /// `health`: when we count as unhealthy.
    pub health: Health,
    /// `logging`: what is logged, and where.
    pub logging: Logging,
}

impl Config {
    /// Returns what is still as `relay config generate` writes it and can be nobody's own: names and addresses that exist for
    /// examples only (RFC 2606, RFC 5737).
    #[must_use]
    pub fn examples(&self) -> Vec<String> {
        let mut examples = Vec::new();
        for (index, room) in self.matrix_rooms.iter().enumerate() {
            if room
                .id
                .server_name()
                .is_some_and(|it| is_example(it.host()))
            {
                examples.push(format!(
                    "matrix_rooms[{index}].id: `{}` is an example: put the id or an alias of your own room there",
                    room.id
                ));
            }
        }
        if let Connection::Tcp { host, .. } = &self.meshtastic.connection
            && is_example(host)
        {
            examples.push(format!(
                "meshtastic.host: `{host}` is an example: put the name or address of your own radio there"
            ));
        }
        examples
    }

    /// Makes a configuration of what has no default; everything else has its default.
    #[must_use]
    pub fn new(connection: Connection, matrix_rooms: Vec<MappedRoom>) -> Self {
        Self {
            matrix: Matrix::default(),
            matrix_rooms,
            meshtastic: Meshtastic::new(connection),
            database: Database::default(),
            health: Health::default(),
            logging: Logging::default(),
        }
    }
}

/// Returns whether a host exists for examples only.
fn is_example(host: &str) -> bool {
    let domain = |name: &str| host == name || host.ends_with(&format!(".{name}"));
    ["example", "example.org", "example.com", "example.net"]
        .into_iter()
        .any(domain)
        || host.parse().is_ok_and(|it: Ipv4Addr| it.is_documentation())
}
