//! Packets, channels and nodes, and pairs of a packet and an event.

use std::fmt;

use serde::{Deserialize, Serialize};
use strum::VariantArray;

use super::ids::{ChannelIndex, NodeNum, OwnedEventId, OwnedRoomOrAliasId, OwnedUserId, PacketId};
use super::time::Timestamp;

/// A device on the mesh, as it reported itself. Names are untrusted, may be empty, and are not unique.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Its number.
    pub num: NodeNum,
    /// Its long name, if reported.
    pub long_name: Option<String>,
    /// Its short name (at most 4 bytes, can be one emoji), if reported.
    pub short_name: Option<String>,
    /// Whether it is a licensed (ham) operator, who sends unencrypted.
    pub is_licensed: bool,
    /// Whether the radio's owner ignores it.
    pub is_ignored: bool,
    /// When the radio last heard it, if known.
    pub last_heard: Option<Timestamp>,
}

impl Node {
    /// Returns a node of which only the number is known.
    pub fn unknown(num: NodeNum) -> Self {
        Self {
            num,
            ..Self::default()
        }
    }

    /// Returns the long name, or the firmware's default, `Meshtastic c3d4`.
    pub fn long(&self) -> String {
        let given = given(self.long_name.as_ref());
        given.unwrap_or_else(|| format!("Meshtastic {}", self.last_digits()))
    }

    /// Returns the short name, or the firmware's default, the last four hex digits.
    pub fn short(&self) -> String {
        given(self.short_name.as_ref()).unwrap_or_else(|| self.last_digits())
    }

    fn last_digits(&self) -> String {
        format!("{:04x}", self.num.0 & 0xFFFF)
    }
}

/// Returns the name, unless it is blank.
fn given(name: Option<&String>) -> Option<String> {
    name.filter(|name| !name.trim().is_empty()).cloned()
}

/// Role of a channel slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum ChannelRole {
    /// Not in use.
    Disabled,
    /// The radio's main channel; there is exactly one.
    Primary,
    /// Any other channel.
    Secondary,
}

/// Fingerprint of a channel, independent of its slot: the SHA-256 of its name and key. The key itself is stored nowhere.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Fingerprint(pub [u8; 32]);

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [first, second, third, fourth, ..] = self.0;
        write!(
            f,
            "Fingerprint({first:02x}{second:02x}{third:02x}{fourth:02x}…)"
        )
    }
}

/// One of the radio's channels.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Channel {
    /// Its slot.
    pub index: ChannelIndex,
    /// Its displayed name: an empty one is replaced by the modem preset's (`LongFast`).
    pub name: String,
    /// Its role.
    pub role: ChannelRole,
    /// Its fingerprint; `None`: not in use, or stored by an earlier version.
    #[serde(skip)]
    pub fingerprint: Option<Fingerprint>,
}

/// Destination of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, strum::Display)]
pub enum Destination {
    /// Broadcast on a channel.
    #[strum(to_string = "channel {0}")]
    Channel(ChannelIndex),
    /// One node.
    #[strum(to_string = "{0}")]
    Direct(NodeNum),
}

/// Priority of a message to the mesh; lower lanes wait for higher ones. Stored by position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, VariantArray)]
pub enum Lane {
    /// Begins with 🚨 and its sender may, or replies to an alert.
    Urgent,
    /// Ordinary messages.
    Message,
    /// Tapbacks.
    Reaction,
}

/// Content of a packet to the mesh.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RadioPayload {
    /// A text, perhaps a reply to a packet.
    Text {
        /// The text, prefix included; at most 232 bytes, 227 as a reply.
        text: String,
        /// The packet that it replies to.
        reply_to: Option<PacketId>,
    },
    /// A tapback: one emoji on a packet.
    Tapback {
        /// The emoji.
        emoji: String,
        /// The packet that it is put on.
        target: PacketId,
    },
}

impl RadioPayload {
    /// Returns the payload.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Text { text, .. } => text.as_bytes(),
            Self::Tapback { emoji, .. } => emoji.as_bytes(),
        }
    }
}

/// A packet for the mesh, before the radio adapter adds own number and hop limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RadioMessage {
    /// Destination.
    pub destination: Destination,
    /// Priority lane.
    pub lane: Lane,
    /// Content.
    pub payload: RadioPayload,
}

/// The network on which a message was written. Stored by position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, VariantArray)]
pub enum Origin {
    /// By a node.
    Mesh,
    /// By a Matrix user.
    Matrix,
}

/// A packet and an event that are the same message.
///
/// A message has several pairs if it was split, retried under another id, or sent to several rooms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessagePair {
    /// Where it was written.
    pub origin: Origin,
    /// The packet's sender: our own node for what came from Matrix.
    pub sender: NodeNum,
    /// The packet's id.
    pub packet: PacketId,
    /// The packet's destination.
    pub destination: Destination,
    /// The channel's fingerprint; `None`: stored by an earlier version.
    pub channel: Option<Fingerprint>,
    /// The event's room.
    pub room: OwnedRoomOrAliasId,
    /// The event; `None` while it waits in the outbox.
    pub event: Option<OwnedEventId>,
    /// The thread of the event.
    pub thread: Option<OwnedEventId>,
    /// The event's author, if it was written in Matrix.
    pub author: Option<OwnedUserId>,
    /// The author's text, without prefix.
    pub text: String,
    /// Whether it was an alert (`ALERT_APP`, or urgent by 🚨).
    pub alert: bool,
    /// Part of a split message, from 0; replies from Matrix go to part 0.
    pub part: u8,
    /// When it was accepted.
    pub at: Timestamp,
}

/// A recently relayed message, in either direction.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Relayed {
    /// Its author's names.
    pub author: Vec<String>,
    /// The node that sent it; `None`: it was written in Matrix.
    pub node: Option<NodeNum>,
    /// The relayed text, without prefix.
    pub text: String,
    /// The texts sent to the mesh for it or one of its parts; empty if it came from there.
    pub carried: String,
}
