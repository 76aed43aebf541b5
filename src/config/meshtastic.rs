//! `meshtastic`: the radio, and what goes on the air.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use strum::{EnumString, VariantNames};

use super::read;
use super::secret::Secret;
use super::template::{MeshVariable, Template};
use crate::model::{NodeNum, Sign};

/// The section `meshtastic`.
#[derive(Debug, Clone, PartialEq)]
pub struct Meshtastic {
    /// `connection_type`, with `host` and `port`, `serial_port`, or `ble_address` and `ble_pin`.
    pub connection: Connection,
    /// The mesh's name in prefixes and event fields; `None`: the primary channel's name.
    pub meshnet_name: Option<String>,
    /// What crosses beside texts.
    pub message_interactions: MessageInteractions,
    /// What a Matrix reaction becomes on the mesh.
    pub reaction_style: ReactionStyle,
    /// Messages go from Matrix to the mesh at all.
    pub broadcast_enabled: bool,
    /// Texts of detection sensors are relayed.
    pub detection_sensor: bool,
    /// As what.
    pub detection_sensor_type: SensorType,
    /// Alerts mention the room.
    pub alert_mentions_room: bool,
    /// Which ports are relayed.
    pub packet_routing: PacketRouting,
    /// Nodes whose messages are not relayed.
    pub ignore_nodes: Vec<NodeNum>,
    /// Packets that came by MQTT are relayed.
    pub relay_mqtt: bool,
    /// Whether only authors who consent are relayed.
    pub respect_ok_to_mqtt: OkToMqtt,
    /// From the radio's acceptance of a text to the next; never under [`Meshtastic::SHORTEST_DELAY`].
    pub message_delay: Duration,
    /// Messages of Matrix get a prefix.
    pub prefix_enabled: bool,
    /// That prefix.
    pub prefix_format: Template<MeshVariable>,
    /// Texts longer than a packet.
    pub long_messages: LongMessages,
    /// When a Matrix message is too old to transmit.
    pub max_message_age: Duration,
    /// What is sent after an outage.
    pub backlog: Backlog,
    /// When traffic is spaced or waits.
    pub channel_use: ChannelUse,
    /// What an edit after sending does.
    pub edits: Edits,
    /// What media become.
    pub media: Media,
    /// Which signs the sender of a Matrix message sees.
    pub delivery_feedback: Feedback,
    /// The answer to a direct message; `None`: none.
    pub dm_reply: Option<String>,
    /// The radio is given the time after connecting.
    pub set_time: bool,
}

/// The one link to the radio; also as `relay status --json` tells it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Connection {
    /// Over the network.
    Tcp {
        /// Host name or address.
        host: String,
        /// Port, normally 4403.
        port: u16,
    },
    /// Over a cable.
    Serial {
        /// The device's path; `None`: the one likely port.
        #[serde(rename = "port")]
        serial_port: Option<PathBuf>,
    },
    /// Over Bluetooth.
    Ble {
        /// The radio's address or name.
        #[serde(rename = "device")]
        ble_address: String,
        /// Its PIN, of up to six digits.
        #[serde(skip)]
        ble_pin: Option<Secret<u32>>,
    },
}

/// What crosses beside texts, both ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MessageInteractions {
    /// Replies.
    pub replies: bool,
    /// Reactions.
    pub reactions: bool,
}

/// What a Matrix reaction becomes on the mesh.
#[derive(Debug, Clone, Copy, PartialEq, Eq, EnumString, VariantNames)]
#[strum(serialize_all = "snake_case", ascii_case_insensitive)]
pub enum ReactionStyle {
    /// A tapback.
    Tapback,
    /// A text.
    Text,
}

/// As what a detection sensor's text is posted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, EnumString, VariantNames)]
#[strum(serialize_all = "snake_case", ascii_case_insensitive)]
pub enum SensorType {
    /// `m.text`.
    Text,
    /// `m.notice`.
    Notice,
}

/// Which ports are relayed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PacketRouting {
    /// Further ports relayed like texts.
    pub chat_portnums: Vec<PortNum>,
    /// Ports never relayed.
    pub disabled_portnums: Vec<PortNum>,
}

/// A port number of the mesh's packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PortNum(pub u32);

/// Whether the author's consent to publication outside the mesh is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, EnumString, VariantNames)]
#[strum(serialize_all = "snake_case", ascii_case_insensitive)]
pub enum OkToMqtt {
    /// Everything is relayed.
    #[strum(serialize = "false")]
    Off,
    /// To rooms that anyone may join, only with consent.
    PublicRooms,
    /// Everywhere only with consent.
    #[strum(serialize = "true")]
    Always,
}

/// Texts longer than a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LongMessages {
    /// They are split.
    pub split: bool,
    /// Into parts of at most so many bytes, prefix and counter included: 40 to 232.
    pub part_bytes: usize,
    /// Into at most so many parts: 1 to 9.
    pub max_parts: usize,
    /// What happens to what needs more.
    pub overflow: Overflow,
}

/// What happens to a text that is too long even when split.
#[derive(Debug, Clone, Copy, PartialEq, Eq, EnumString, VariantNames)]
#[strum(serialize_all = "snake_case", ascii_case_insensitive)]
pub enum Overflow {
    /// It is refused whole, and its sender told why.
    Refuse,
    /// It is cut, and its sender told.
    Cut,
}

/// What is sent after an outage, per room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backlog {
    /// So many of the newest messages.
    pub newest: u32,
    /// So far apart.
    pub spacing: Duration,
}

/// Percent of channel utilisation from which traffic waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChannelUse {
    /// Above it, texts are spaced to 10 seconds.
    pub slow_above: u8,
    /// Above it, texts wait.
    pub stop_above: u8,
}

/// What an edit does to a message that was sent already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, EnumString, VariantNames)]
#[strum(serialize_all = "snake_case", ascii_case_insensitive)]
pub enum Edits {
    /// The new text is sent as a reply to the original.
    Resend,
    /// Nothing; only what is still queued is changed.
    Queued,
    /// Nothing, not even to what is queued.
    Ignore,
}

/// What media become on the mesh.
#[derive(Debug, Clone, Copy, PartialEq, Eq, EnumString, VariantNames)]
#[strum(serialize_all = "snake_case", ascii_case_insensitive)]
pub enum Media {
    /// A note with the caption.
    Note,
    /// Nothing.
    Ignore,
}

/// Which signs the sender of a Matrix message sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, EnumString, VariantNames)]
#[strum(serialize_all = "snake_case", ascii_case_insensitive)]
pub enum Feedback {
    /// All.
    Reactions,
    /// Only ⏳ ❌ 🚫 ⌛.
    Failures,
    /// None.
    Off,
}

impl Feedback {
    /// Returns whether people are shown this sign.
    #[must_use]
    pub fn shows(self, sign: Sign) -> bool {
        match self {
            Self::Reactions => true,
            Self::Failures => match sign {
                Sign::Waiting | Sign::Refused | Sign::Denied | Sign::Expired => true,
                Sign::Heard | Sign::Unheard | Sign::Delivered => false,
            },
            Self::Off => false,
        }
    }
}

/// Returns how a place on the network is written.
#[must_use]
pub fn host_and_port(host: &str, port: u16) -> String {
    if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

impl fmt::Display for Connection {
    /// Writes how the radio is reached, without the pairing code.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } => write!(f, "tcp {}", host_and_port(host, *port)),
            Self::Serial {
                serial_port: Some(port),
            } => write!(f, "serial {}", port.display()),
            Self::Serial { serial_port: None } => write!(f, "serial, the one likely port"),
            Self::Ble { ble_address, .. } => write!(f, "ble {ble_address}"),
        }
    }
}

impl Connection {
    /// The port of the radio's own TCP server.
    pub const TCP_PORT: u16 = 4403;

    /// Returns where the radio is, in a sentence.
    #[must_use]
    pub fn place(&self) -> String {
        match self {
            Self::Tcp { host, port } => host_and_port(host, *port),
            Self::Serial {
                serial_port: Some(port),
            } => format!("serial port {}", port.display()),
            Self::Serial { serial_port: None } => "the serial port of a radio".to_owned(),
            Self::Ble { ble_address, .. } => format!("Bluetooth device {ble_address}"),
        }
    }
}

impl Meshtastic {
    /// The firmware takes one text in two seconds; anything closer is refused by it.
    pub const SHORTEST_DELAY: Duration = Duration::from_millis(2020);

    /// Makes the section with everything but the connection at its default.
    #[must_use]
    pub fn new(connection: Connection) -> Self {
        Self {
            connection,
            ..read::defaults(read::meshtastic)
        }
    }
}
