//! Packets, channels and nodes, and pairs of a packet and an event.

use std::fmt;

use serde::{Deserialize, Serialize};
use strum::VariantArray;

use super::ids::{ChannelIndex, NodeNum, OwnedEventId, OwnedRoomOrAliasId, OwnedUserId, PacketId};
use super::time::Timestamp;

/// A device on the mesh, as it reported itself. Names are untrusted, may be empty, and are not unique.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Number by which packets name it (`MeshPacket.from`, `to`).
    pub num: NodeNum,
    /// Long name of its `User`, as set by its owner; `None` until the radio has reported one.
    pub long_name: Option<String>,
    /// Short name of its `User` (at most 4 bytes, can be one emoji); `None` until the radio has reported one.
    pub short_name: Option<String>,
    /// Whether it is a licensed (ham) operator, who sends unencrypted.
    pub is_licensed: bool,
    /// Whether the radio's owner has set it to be ignored (`NodeInfo.is_ignored`).
    pub is_ignored: bool,
    /// When the radio last heard it (`NodeInfo.last_heard`, or a packet since then); `None` if not known.
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

/// Returns the name, or `None` if it is missing or blank.
fn given(name: Option<&String>) -> Option<String> {
    name.filter(|name| !name.trim().is_empty()).cloned()
}

/// Role of a channel slot (`Channel.Role`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum ChannelRole {
    /// The slot is empty.
    Disabled,
    /// The radio's main channel; there is exactly one.
    Primary,
    /// Any other channel in use.
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

/// One of the radio's eight channel slots, without its key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Channel {
    /// Slot, by which packets name the channel; another radio may have the same channel in another slot.
    pub index: ChannelIndex,
    /// Displayed name: an empty one is replaced by the modem preset's (`LongFast`); empty for a slot that is not in use.
    pub name: String,
    /// Whether the slot is in use, and as what.
    pub role: ChannelRole,
    /// Fingerprint of name and key; `None`: not in use, or stored by an earlier version.
    #[serde(skip)]
    pub fingerprint: Option<Fingerprint>,
}

/// Whom a packet addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, strum::Display)]
pub enum Destination {
    /// All nodes that have the channel in this slot of the radio.
    #[strum(to_string = "channel {0}")]
    Channel(ChannelIndex),
    /// One node, by its number: a direct message.
    #[strum(to_string = "{0}")]
    Direct(NodeNum),
}

/// Priority of a message to the mesh; lower lanes wait for higher ones. Stored by position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, VariantArray)]
pub enum Lane {
    /// Begins with 🚨 and its sender may, or replies to an alert.
    Urgent,
    /// Texts that are not urgent, and their corrections.
    Message,
    /// Reactions, whether sent as tapbacks or as texts.
    Reaction,
}

/// What a packet to the mesh carries (`Data`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RadioPayload {
    /// A text on `TEXT_MESSAGE_APP`.
    Text {
        /// The text, prefix included; at most 232 bytes, 227 as a reply.
        text: String,
        /// Id of the packet that it replies to (`reply_id`); `None`: no reply.
        reply_to: Option<PacketId>,
    },
    /// A reaction to a packet (`Data.emoji`), shown under it by clients.
    Tapback {
        /// The one emoji of the reaction.
        emoji: String,
        /// Id of the packet that it is put on (`reply_id`).
        target: PacketId,
    },
}

impl RadioPayload {
    /// Returns what goes into `Data.payload`: UTF-8, counted against the 232 bytes of a packet (227 of a reply).
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
    /// Channel slot or node.
    pub destination: Destination,
    /// Priority: the pacer transmits higher lanes first.
    pub lane: Lane,
    /// What the packet carries.
    pub payload: RadioPayload,
}

/// The network on which a message was written. Stored by position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, VariantArray)]
pub enum Origin {
    /// By a node on the mesh.
    Mesh,
    /// By a Matrix user in a mapped room.
    Matrix,
}

/// A packet and an event that are the same message.
///
/// A message has several pairs if it was split, retried under another id, or sent to several rooms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessagePair {
    /// Which network its author used; the other side of the pair is ours.
    pub origin: Origin,
    /// The packet's sender: our own node for what came from Matrix.
    pub sender: NodeNum,
    /// Packet id, unique per sender; [`PacketId::NONE`]: the event was not transmitted, or the packet has none.
    pub packet: PacketId,
    /// Channel slot or node that the packet was sent to.
    pub destination: Destination,
    /// The channel's fingerprint; `None`: stored by an earlier version.
    pub channel: Option<Fingerprint>,
    /// Room of the event; an alias only until it has been resolved.
    pub room: OwnedRoomOrAliasId,
    /// The event; `None` while it waits in the outbox.
    pub event: Option<OwnedEventId>,
    /// Root of the thread of the event; `None` outside threads.
    pub thread: Option<OwnedEventId>,
    /// The event's author, if it was written in Matrix.
    pub author: Option<OwnedUserId>,
    /// The author's text, without prefix: compared with echoes, and quoted by reactions in words.
    pub text: String,
    /// Whether it was an alert (`ALERT_APP`, or urgent by 🚨).
    pub alert: bool,
    /// Part of a split message, from 0; replies from Matrix go to part 0.
    pub part: u8,
    /// When the pair was stored, by our clock; old pairs are pruned by it.
    pub at: Timestamp,
}

/// A recently relayed message, in either direction.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Relayed {
    /// Names by which another relay may prefix it: display name, localpart and id, or the node's long and short name.
    pub author: Vec<String>,
    /// The node that sent it; `None`: it was written in Matrix.
    pub node: Option<NodeNum>,
    /// The author's text, without prefix; a correction with its mark `* `.
    pub text: String,
    /// The texts sent to the mesh for it or one of its parts; empty if it came from there.
    pub carried: String,
}
