//! What is sent, and how a packet and an event are tied together.

use std::fmt;

use serde::{Deserialize, Serialize};
use strum::VariantArray;

use super::ids::{ChannelIndex, NodeNum, OwnedEventId, OwnedRoomOrAliasId, OwnedUserId, PacketId};
use super::time::Timestamp;

/// A device on the mesh, as far as it told of itself. Names are untrusted, may be empty, and are not unique.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Its number.
    pub num: NodeNum,
    /// Its long name, if it told one.
    pub long_name: Option<String>,
    /// Its short name (at most 4 bytes, can be one emoji), if it told one.
    pub short_name: Option<String>,
    /// A licensed (ham) operator: sends in the clear.
    pub is_licensed: bool,
    /// The radio's owner told the radio to ignore it.
    pub is_ignored: bool,
    /// When the radio last heard it, if known.
    pub last_heard: Option<Timestamp>,
}

impl Node {
    /// Returns a node of which nothing but its number is known.
    pub fn unknown(num: NodeNum) -> Self {
        Self {
            num,
            ..Self::default()
        }
    }

    /// Returns the long name, or the firmware's own fallback, `Meshtastic c3d4`.
    pub fn long(&self) -> String {
        let given = given(self.long_name.as_ref());
        given.unwrap_or_else(|| format!("Meshtastic {}", self.last_digits()))
    }

    /// Returns the short name, or the firmware's own fallback, the last four hex digits.
    pub fn short(&self) -> String {
        given(self.short_name.as_ref()).unwrap_or_else(|| self.last_digits())
    }

    fn last_digits(&self) -> String {
        format!("{:04x}", self.num.0 & 0xFFFF)
    }
}

/// Returns a name that is more than spaces.
fn given(name: Option<&String>) -> Option<String> {
    name.filter(|name| !name.trim().is_empty()).cloned()
}

/// What a channel slot is used for.
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

/// What a channel is, wherever it stands: a SHA-256 of its name and its key. With another key it is another channel. The
/// key itself is kept nowhere.
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

/// One of the radio's channels, as it is set up now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Channel {
    /// Its slot.
    pub index: ChannelIndex,
    /// Its name as people see it: an empty one is replaced by the modem preset's (`LongFast`).
    pub name: String,
    /// What it is used for.
    pub role: ChannelRole,
    /// What it is; `None`: it is not in use, or was told to an earlier relay.
    #[serde(skip)]
    pub fingerprint: Option<Fingerprint>,
}

/// To whom a packet goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, strum::Display)]
pub enum Destination {
    /// Everyone on a channel.
    #[strum(to_string = "channel {0}")]
    Channel(ChannelIndex),
    /// One node.
    #[strum(to_string = "{0}")]
    Direct(NodeNum),
}

/// How urgent a message to the mesh is; lower lanes wait for higher ones. The tables keep its place among these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, VariantArray)]
pub enum Lane {
    /// Begins with 🚨 of a sender who may, or answers an alert.
    Urgent,
    /// What people write.
    Message,
    /// Tapbacks.
    Reaction,
}

/// What one packet to the mesh carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RadioPayload {
    /// A text, perhaps in answer to a packet.
    Text {
        /// The text, prefix included; at most 232 bytes, 227 as a reply.
        text: String,
        /// The packet that it answers.
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
    /// Returns the bytes that go into the packet.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Text { text, .. } => text.as_bytes(),
            Self::Tapback { emoji, .. } => emoji.as_bytes(),
        }
    }
}

/// One packet for the mesh, before the radio adapter adds what the radio wants (own number, hop limit).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RadioMessage {
    /// To whom.
    pub destination: Destination,
    /// How urgent.
    pub lane: Lane,
    /// What.
    pub payload: RadioPayload,
}

/// On which side a message was written. The tables keep its place among these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, VariantArray)]
pub enum Origin {
    /// By a node.
    Mesh,
    /// By a Matrix user.
    Matrix,
}

/// A packet and the event that stand for the same message.
///
/// A message has several pairs when it was split into several packets, was sent again under another id,
/// or went to several rooms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessagePair {
    /// Where it was written.
    pub origin: Origin,
    /// The packet's sender: our own node for what came from Matrix.
    pub sender: NodeNum,
    /// The packet's id.
    pub packet: PacketId,
    /// Where the packet was sent.
    pub destination: Destination,
    /// The channel on which it was sent; `None`: an earlier relay did not remember it.
    pub channel: Option<Fingerprint>,
    /// The event's room.
    pub room: OwnedRoomOrAliasId,
    /// The event; `None` while it waits in our outbox.
    pub event: Option<OwnedEventId>,
    /// The thread of the event.
    pub thread: Option<OwnedEventId>,
    /// Who wrote the event, if it was written in Matrix.
    pub author: Option<OwnedUserId>,
    /// The text as its writer wrote it, without prefix.
    pub text: String,
    /// It was an alert (`ALERT_APP`, or began with 🚨 and went before others).
    pub alert: bool,
    /// Which part of a split message, from 0; replies from Matrix go to part 0.
    pub part: u8,
    /// When it was accepted.
    pub at: Timestamp,
}

/// A message that we relayed a moment ago, either way.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Relayed {
    /// The names that its author goes by.
    pub author: Vec<String>,
    /// The node that said it; `None`: it was written in Matrix.
    pub node: Option<NodeNum>,
    /// Its text as it was relayed, without prefix.
    pub text: String,
    /// What we sent to the mesh for it, or for one of its parts; empty if it came from there.
    pub carried: String,
}
