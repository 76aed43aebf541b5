//! `config.yaml`, checked: every value here is in range, spelled right and of a type of its own.
//!
//! The structs mirror the keys: `meshtastic.long_messages.part_bytes` is `config.meshtastic.long_messages.part_bytes`.
//! The one exception is [`Connection`], which holds `connection_type` together with what that type needs.

mod changes;
mod choice;
mod connection;
mod environment;
mod explain;
mod file;
mod finding;
#[cfg(test)]
mod fixtures;
mod key_row;
mod keys;
mod matrix;
mod meshtastic;
mod mmrelay;
mod operation;
mod pages;
mod pattern;
mod port;
mod reader;
mod rooms;
mod secret;
mod section;
mod settings;
mod table;
mod take_over;
mod template;
#[cfg(any(test, feature = "testing"))]
mod testing;
mod text_change;
mod text_file;
mod value_types;
mod values;
mod yaml;
mod yaml_traps;

use std::net::Ipv4Addr;

use keys::keys;
use rooms::rooms;

pub use changes::Changes;
pub use choice::Choice;
pub use connection::{Connection, host_and_port};
pub use environment::Environment;
pub use explain::{Explanation, KeyExplanation, ListedKey, UnknownKey, explain};
pub use file::{LARGEST, LoadError, Loaded};
pub use finding::{Finding, Problems};
pub use matrix::{
    E2ee, JwtLogin, Matrix, PerMessageProfiles, Recipients, SenderLimit, is_loopback,
};
pub use meshtastic::*;
pub use mmrelay::is_taken_over;
pub use operation::*;
pub use pages::{SCHEMA_FILE, is_schema, sample, schema};
pub use pattern::UserPattern;
pub use port::PortNum;
pub use rooms::{Appearance, ChannelRef, Direction, MappedRoom};
pub use secret::Secret;
pub use settings::{Setting, is_key};
pub use take_over::{TakenOver, take_over};
pub use template::{MeshVariable, Piece, ReactionVariable, RoomVariable, Template, Variable};
pub use text_file::{TextFileError, read_text};

keys! {
    /// The whole configuration.
    pub Config {
        /// Which room goes with which channel. A room may have several channels and a channel several rooms; of a room's
        /// channels the first gets what is no reply. Put ids and aliases in quotes: YAML takes `#` for a comment and `!` for a
        /// tag.
        matrix_rooms: Vec<MappedRoom> = by(rooms);
        /// The radio, and what goes on the air.
        meshtastic: Meshtastic = within(Meshtastic::read);
        /// The account, who may transmit, and what messages of the mesh look like.
        matrix: Matrix = within(Matrix::read);
        /// Our own data.
        #[mmrelay = "db"]
        database: Database = within(Database::read);
        /// When the relay counts as unhealthy.
        health: Health = within(Health::read);
        /// What is logged, and where.
        logging: Logging = within(Logging::read);
    }
}

impl Config {
    /// Returns what is still as `relay config generate` writes it and can be nobody's own: names and addresses that exist for
    /// examples only (RFC 2606, RFC 5737).
    pub fn examples(&self) -> Vec<String> {
        let rooms = self.matrix_rooms.iter().enumerate().filter_map(|(index, room)| {
            let (id, server) = (&room.id, room.id.server_name()?);
            is_example(server.host()).then(|| {
                format!("matrix_rooms[{index}].id: `{id}` is an example: put the id or an alias of your own room there")
            })
        });
        let radio = match &self.meshtastic.connection {
            Connection::Tcp { host, .. } if is_example(host) => Some(format!(
                "meshtastic.host: `{host}` is an example: put the name or address of your own radio there"
            )),
            _ => None,
        };
        rooms.chain(radio).collect()
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
