//! Messages from Matrix to the mesh: their source, their versions as they are edited, and packets that wait for a channel.

use std::time::Duration;

use super::ids::{ChannelIndex, MeshRowId, OwnedEventId, OwnedRoomId, OwnedUserId, PacketId};
use super::message::{Destination, Fingerprint, Lane, RadioPayload};
use super::time::Timestamp;

/// The Matrix message behind mesh packets: where notices and signs about them go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MeshSource {
    /// Id of the room that it was written in.
    pub room: OwnedRoomId,
    /// Id of the message; for a correction, of the message that is corrected, not of the edit.
    pub event: OwnedEventId,
    /// Root of the thread that it belongs to, so that notices go there; `None` outside threads.
    pub thread: Option<OwnedEventId>,
    /// User id of its author.
    pub sender: OwnedUserId,
    /// When it was written, or the edit behind a correction, by our clock; never later than its acceptance.
    pub sent_at: Timestamp,
    /// Whether it is urgent: it begins with 🚨, and its sender may.
    pub alert: bool,
}

/// A message to be accepted for the mesh, before it has a row and a packet id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MeshMessage {
    /// Channel slot, or node for a direct message.
    pub destination: Destination,
    /// Fingerprint of the channel that it is meant for; `None` for a direct message, or if not known.
    pub channel: Option<Fingerprint>,
    /// Whether it is bound to that channel, as it refers to a message there.
    pub bound: bool,
    /// Priority on the mesh; each destination has one queue per lane.
    pub lane: Lane,
    /// What is sent: a draft, or a finished packet.
    pub content: MeshContent,
    /// The Matrix message behind it; `None` for a reply of our own.
    pub source: Option<Box<MeshSource>>,
    /// Earliest time of transmission, so that a further picture, an undo or another edit can change it; `None`: at once.
    pub not_before: Option<Timestamp>,
    /// Time from which what still waits of it expires, by our clock.
    pub expires: Timestamp,
}

/// Order in which waiting messages are sent to the mesh.
#[derive(Debug, Clone, Copy)]
pub struct MeshOrder {
    /// Number of a sender's waiting messages in a queue above which senders take turns.
    pub in_a_row: u32,
    /// When a backlog counts as complete, and its first message may be sent.
    pub gathering: Gathering,
    /// Minimum time between two backlog messages of a room (`backlog.spacing`).
    pub spacing: Duration,
}

/// When the gathering of a room's backlog ends: by the earlier of both times.
#[derive(Debug, Clone, Copy)]
pub struct Gathering {
    /// Time without further messages after which it is complete.
    pub quiet: Duration,
    /// Maximum time after its first message, however many follow.
    pub longest: Duration,
}

/// What is sent for a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MeshContent {
    /// A text of Matrix, split into packets when it is submitted.
    Text(Draft),
    /// A finished packet: a reaction, or a reply of our own.
    Packet(RadioPayload),
}

/// A text for the mesh before it is split into packets; kept in the outbox, so that it can be changed until its turn comes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Draft {
    /// The author's name, put before the text of the packets.
    pub heading: Heading,
    /// The author's text without heading, or the note of pictures (`[3 images]`).
    pub text: String,
    /// The pictures that the note stands for; `None` for an ordinary text.
    pub media: Option<Media>,
    /// 0: the message itself; 1 or 2: number of its correction, which is marked with `* `.
    pub correction: u8,
    /// Id of the packet that the first packet replies to.
    pub reply_to: Option<PacketId>,
    /// Number of packets that it takes, 1 to 9 (`long_messages.max_parts`); a statement of its age may need one more.
    pub packets: u8,
}

/// Media of one kind without captions, told in one note.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Media {
    /// Their kind, a word of [`super::RoomTextKind::Media`].
    pub word: String,
    /// How many of them the note stands for, at least 1.
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
    /// Row of its first part, which stands for the whole version.
    pub row: MeshRowId,
    /// 0: the message itself; otherwise the number of the correction.
    pub correction: u8,
    /// Whether all of it waits, and the radio cannot know any of it.
    pub waits: bool,
    /// The Matrix message that it is a version of; `sent_at` is that of this version.
    pub source: MeshSource,
    /// Text of that version, without heading.
    pub text: String,
    /// Channel slot where it was sent or waits.
    pub destination: Destination,
    /// Fingerprint of the channel in that slot; `None`: stored by an earlier version, or not known yet.
    pub channel: Option<Fingerprint>,
    /// Priority at which it was sent or waits.
    pub lane: Lane,
    /// Id of its first packet, to which replies on the mesh refer.
    pub packet: PacketId,
    /// Id of the packet that its first packet replies to.
    pub reply_to: Option<PacketId>,
    /// Number of its packets, sent and waiting ones.
    pub packets: u8,
    /// When its row was stored, by our clock.
    pub accepted_at: Timestamp,
    /// When the newest known edit of the message was written, by our clock; `None`: it was not edited.
    pub edited_at: Option<Timestamp>,
}

/// The changed form of a waiting message, or the correction of a sent one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewVersion {
    /// Its text, with the number of packets that it takes.
    pub draft: Draft,
    /// Priority of the changed message: urgent if it is an alert now.
    pub lane: Lane,
    /// Whether it is urgent: it begins with 🚨, and its sender may.
    pub alert: bool,
    /// Earliest time of transmission; `None`: unchanged for a waiting message, at once for a correction.
    pub not_before: Option<Timestamp>,
}

/// An edit that arrived before its message could be read; applied when the message comes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EarlyEdit {
    /// Whether the edit makes the message an emote (`m.emote`); otherwise it becomes an ordinary text.
    pub emote: bool,
    /// Plain text of the edited message.
    pub body: String,
    /// When the edit was written, by our clock; never later than its arrival.
    pub sent_at: Timestamp,
}

/// The message or correction of a row, whose sender is told of its fate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowMessage {
    /// The Matrix message behind the row; for a correction, the corrected one.
    pub source: MeshSource,
    /// Priority at which the row is sent.
    pub lane: Lane,
    /// Whether it is a correction of a sent message.
    pub is_edit: bool,
}

/// A packet of a room that waits for a channel, or is in flight there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WaitingPacket {
    /// Row of this packet.
    pub id: MeshRowId,
    /// Row of the first part of its message; equal to `id` for that part.
    pub message: MeshRowId,
    /// The Matrix message behind the packet, for notices and signs.
    pub about: RowMessage,
    /// Slot for which it waits: where its channel was when it was accepted or last moved.
    pub slot: ChannelIndex,
    /// Fingerprint of the channel that it is meant for; `None`: stored by an earlier version, or not known yet.
    pub channel: Option<Fingerprint>,
    /// Whether it is bound to its channel: it refers to a message there, or the radio may have sent a part of it there.
    pub bound: bool,
    /// Whether the radio was handed it and has not answered yet.
    pub submitted: bool,
    /// Whether it is refused when it returns from the radio.
    pub refused: bool,
    /// Whether another part of its message was refused before.
    pub is_known: bool,
}
