//! Messages from Matrix to the mesh: their source, their versions as they are edited, and packets that wait for a channel.

use std::time::Duration;

use super::ids::{ChannelIndex, MeshRowId, OwnedEventId, OwnedRoomId, OwnedUserId, PacketId};
use super::message::{Destination, Fingerprint, Lane, RadioPayload};
use super::time::Timestamp;

/// The Matrix message of mesh packets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MeshSource {
    /// Its room.
    pub room: OwnedRoomId,
    /// The event.
    pub event: OwnedEventId,
    /// Its thread.
    pub thread: Option<OwnedEventId>,
    /// Its sender.
    pub sender: OwnedUserId,
    /// When it was sent, by the server's clock, but not later than its acceptance.
    pub sent_at: Timestamp,
    /// Whether it is urgent: it begins with 🚨, and its sender may.
    pub alert: bool,
}

/// A message for the mesh.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MeshMessage {
    /// Destination.
    pub destination: Destination,
    /// The channel's fingerprint, if known.
    pub channel: Option<Fingerprint>,
    /// Whether it is bound to that channel, as it refers to a message there.
    pub bound: bool,
    /// Priority lane.
    pub lane: Lane,
    /// Content.
    pub content: MeshContent,
    /// The Matrix message behind it; `None` for a reply of our own.
    pub source: Option<Box<MeshSource>>,
    /// Earliest time of transmission.
    pub not_before: Option<Timestamp>,
    /// Time of expiry.
    pub expires: Timestamp,
}

/// Order in which waiting messages are sent to the mesh.
#[derive(Debug, Clone, Copy)]
pub struct MeshOrder {
    /// Number of a sender's waiting messages in a queue above which senders take turns.
    pub in_a_row: u32,
    /// When a backlog is complete.
    pub gathering: Gathering,
    /// Interval between two backlog messages of a room.
    pub spacing: Duration,
}

/// When a room's backlog is complete.
#[derive(Debug, Clone, Copy)]
pub struct Gathering {
    /// Time without further messages after which it is complete.
    pub quiet: Duration,
    /// Maximum time after its first message.
    pub longest: Duration,
}

/// Content of a message for the mesh.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MeshContent {
    /// A text of Matrix, split into packets when it is submitted.
    Text(Draft),
    /// A finished packet: a reaction, or a reply of our own.
    Packet(RadioPayload),
}

/// A text before it is split into packets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Draft {
    /// The sender's heading.
    pub heading: Heading,
    /// The text, or the note of pictures.
    pub text: String,
    /// The pictures of the note, if it is one.
    pub media: Option<Media>,
    /// 0: the message itself; 1, 2: number of the correction.
    pub correction: u8,
    /// The packet that it replies to.
    pub reply_to: Option<PacketId>,
    /// Number of packets, without a statement of its age.
    pub packets: u8,
}

/// Media of one kind without captions, told in one note.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Media {
    /// Their kind, a word of [`super::RoomTextKind::Media`].
    pub word: String,
    /// How many.
    pub count: u32,
}

/// Returns a text for the mesh, marked if it is a correction.
pub fn spoken(text: &str, correction: u8) -> String {
    match correction {
        0 => text.to_owned(),
        _ => format!("* {text}"),
    }
}

/// The sender as named at the beginning of packets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Heading {
    /// Prefix of the text: `Alice[M]: `, may be empty.
    pub prefix: String,
    /// Short form before the counter of further parts: `Alice`, may be empty.
    pub label: String,
}

/// A version of a Matrix message, waiting or sent: the message or a correction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// The row of its first part.
    pub row: MeshRowId,
    /// 0: the message itself; otherwise the number of the correction.
    pub correction: u8,
    /// Whether all of it waits, and the radio cannot know any of it.
    pub waits: bool,
    /// Its Matrix message.
    pub source: MeshSource,
    /// Its text, without prefix.
    pub text: String,
    /// Destination.
    pub destination: Destination,
    /// The channel's fingerprint, if known.
    pub channel: Option<Fingerprint>,
    /// Its lane.
    pub lane: Lane,
    /// The id of its first packet.
    pub packet: PacketId,
    /// The packet that its first one replies to.
    pub reply_to: Option<PacketId>,
    /// Number of packets.
    pub packets: u8,
    /// When it was accepted.
    pub accepted_at: Timestamp,
    /// When the newest known edit of the message was written.
    pub edited_at: Option<Timestamp>,
}

/// The changed form of a message for the mesh.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewVersion {
    /// Content.
    pub draft: Draft,
    /// Priority lane.
    pub lane: Lane,
    /// Whether it is urgent: it begins with 🚨, and its sender may.
    pub alert: bool,
    /// Earliest time of transmission; `None`: unchanged, or at once.
    pub not_before: Option<Timestamp>,
}

/// An edit that arrived before its message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EarlyEdit {
    /// Whether it changes the message into an emote.
    pub emote: bool,
    /// The new body.
    pub body: String,
    /// When it was written.
    pub sent_at: Timestamp,
}

/// The message or correction of a row, whose sender is told of its fate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowMessage {
    /// Its Matrix message.
    pub source: MeshSource,
    /// Its lane.
    pub lane: Lane,
    /// Whether it is a correction of a sent message.
    pub is_edit: bool,
}

/// A packet of a room that waits for a channel, or is in flight there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WaitingPacket {
    /// Its row.
    pub id: MeshRowId,
    /// The row of its message's first part.
    pub message: MeshRowId,
    /// Its Matrix message.
    pub about: RowMessage,
    /// The channel's slot.
    pub slot: ChannelIndex,
    /// The channel's fingerprint, if known.
    pub channel: Option<Fingerprint>,
    /// Whether it is bound to its channel: it refers to a message there, or the radio may have sent a part of it there.
    pub bound: bool,
    /// Whether it is in flight.
    pub submitted: bool,
    /// Whether it is refused when it returns from the radio.
    pub refused: bool,
    /// Whether another part of its message was refused before.
    pub is_known: bool,
}
