//! What goes from Matrix to the mesh: the message behind the packets, the forms it takes as its author changes it, and
//! what becomes of a packet.

use std::time::Duration;

use super::ids::{ChannelIndex, MeshRowId, OwnedEventId, OwnedRoomId, OwnedUserId, PacketId};
use super::message::{Destination, Fingerprint, Lane, RadioPayload};
use super::time::Timestamp;

/// The Matrix message behind packets for the mesh.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MeshSource {
    /// Its room.
    pub room: OwnedRoomId,
    /// The event.
    pub event: OwnedEventId,
    /// Its thread.
    pub thread: Option<OwnedEventId>,
    /// Who wrote it.
    pub sender: OwnedUserId,
    /// When, by the server's clock, but never after its acceptance.
    pub sent_at: Timestamp,
    /// It is an alert: it begins with 🚨, and its sender might.
    pub alert: bool,
}

/// A message for the mesh.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MeshMessage {
    /// To whom.
    pub destination: Destination,
    /// What its channel is, where that is known.
    pub channel: Option<Fingerprint>,
    /// It concerns a message of that channel: it goes there or nowhere.
    pub bound: bool,
    /// How urgent.
    pub lane: Lane,
    /// What it says.
    pub content: MeshContent,
    /// The Matrix message behind it; `None` for an answer of our own.
    pub source: Option<Box<MeshSource>>,
    /// Not before.
    pub not_before: Option<Timestamp>,
    /// Worthless after that.
    pub expires: Timestamp,
}

/// In which order what waits for the mesh goes there.
#[derive(Debug, Clone, Copy)]
pub struct MeshOrder {
    /// Where more messages than that of one sender wait in a queue the senders take turns.
    pub in_a_row: u32,
    /// When a backlog goes.
    pub gathering: Gathering,
    /// From one message of a room's backlog to the next.
    pub spacing: Duration,
}

/// When a room's backlog is complete.
#[derive(Debug, Clone, Copy)]
pub struct Gathering {
    /// When nothing was added to it for so long,
    pub quiet: Duration,
    /// and so long after its first message, however much still comes.
    pub longest: Duration,
}

/// What a message for the mesh says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MeshContent {
    /// A text of Matrix: it becomes packets when the radio is asked to take it.
    Text(Draft),
    /// One packet, as it is: a reaction, or an answer of our own.
    Packet(RadioPayload),
}

/// A text as it is kept until it becomes packets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Draft {
    /// Who speaks.
    pub heading: Heading,
    /// What they say, or the note of their pictures.
    pub text: String,
    /// What the note stands for, if it is one.
    pub media: Option<Media>,
    /// 0: the message itself; 1, 2: which correction of it.
    pub correction: u8,
    /// The packet that it answers.
    pub reply_to: Option<PacketId>,
    /// How many packets it takes, without its age.
    pub packets: u8,
}

/// Pictures and the like without captions, of one kind: a note tells of them together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Media {
    /// Their kind, a word of [`super::RoomTextKind::Media`].
    pub word: String,
    /// How many.
    pub count: u32,
}

/// Returns a text, or a correction of it, as it is said on the mesh.
pub fn spoken(text: &str, correction: u8) -> String {
    match correction {
        0 => text.to_owned(),
        _ => format!("* {text}"),
    }
}

/// Who speaks, as it stands at the beginning of packets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Heading {
    /// Before the text: `Alice[M]: `, may be empty.
    pub prefix: String,
    /// The short form before the counter of further parts: `Alice`, may be empty.
    pub label: String,
}

/// A message of Matrix, or a correction of it, as it waits for the mesh or was sent there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// The row of its first part.
    pub row: MeshRowId,
    /// 0: the message itself; else which correction.
    pub correction: u8,
    /// All of it waits, and the radio cannot know any of it.
    pub waits: bool,
    /// What stands behind it in Matrix.
    pub source: MeshSource,
    /// What it says, without prefix.
    pub text: String,
    /// To whom.
    pub destination: Destination,
    /// What its channel is, where that is known.
    pub channel: Option<Fingerprint>,
    /// Its lane.
    pub lane: Lane,
    /// The id of its first packet.
    pub packet: PacketId,
    /// The packet that its first one answers.
    pub reply_to: Option<PacketId>,
    /// How many packets it is.
    pub packets: u8,
    /// When it was accepted.
    pub accepted_at: Timestamp,
    /// When the newest edit of the message that has come was written.
    pub edited_at: Option<Timestamp>,
}

/// A message for the mesh in its changed form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewVersion {
    /// What it says.
    pub draft: Draft,
    /// How urgent.
    pub lane: Lane,
    /// It is an alert: it begins with 🚨, and its sender might.
    pub alert: bool,
    /// Not before; `None`: as it was, or at once.
    pub not_before: Option<Timestamp>,
}

/// An edit that came before its message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EarlyEdit {
    /// It makes an emote of it.
    pub emote: bool,
    /// The new body.
    pub body: String,
    /// When it was written.
    pub sent_at: Timestamp,
}

/// The message of Matrix, or the correction of one, that a row is a part of: whom to tell what becomes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowMessage {
    /// What stands behind it in Matrix.
    pub source: MeshSource,
    /// Its lane.
    pub lane: Lane,
    /// It is a correction of what was sent.
    pub is_edit: bool,
}

/// A packet of a room that waits for a channel, or that the radio is asked to take there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WaitingPacket {
    /// Its row.
    pub id: MeshRowId,
    /// The row of its message's first part.
    pub message: MeshRowId,
    /// Its message.
    pub about: RowMessage,
    /// The slot.
    pub slot: ChannelIndex,
    /// What its channel is, where that is known.
    pub channel: Option<Fingerprint>,
    /// It goes to its channel or nowhere: it concerns a message of that channel, or the radio may have sent a part of it
    /// there.
    pub bound: bool,
    /// The radio is asked to take it.
    pub submitted: bool,
    /// It is refused as soon as it waits.
    pub refused: bool,
    /// Another part of its message was refused before.
    pub is_known: bool,
}
