//! What goes from Matrix to the mesh: the message behind the packets, the forms it takes as its author changes it, and
//! what becomes of a packet.

use super::ids::{MeshRowId, OwnedEventId, OwnedRoomId, OwnedUserId, PacketId};
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
    /// Its text, without prefix; a tapback's emoji.
    pub text: String,
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
    /// What each packet carries, in order.
    pub parts: Vec<RadioPayload>,
    /// The Matrix message behind it; `None` for an answer of our own.
    pub source: Option<Box<MeshSource>>,
    /// Not before.
    pub not_before: Option<Timestamp>,
    /// Worthless after that.
    pub expires: Timestamp,
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
    /// What stands behind it in Matrix, with this version's text.
    pub source: MeshSource,
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
    pub packets: usize,
    /// What its first packet carries.
    pub carried: String,
    /// When it was accepted.
    pub accepted_at: Timestamp,
    /// When the newest edit of the message that has come was written.
    pub edited_at: Option<Timestamp>,
}

/// A message for the mesh in its changed form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewVersion {
    /// What each part carries, in order.
    pub parts: Vec<RadioPayload>,
    /// Its text, without prefix.
    pub text: String,
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
