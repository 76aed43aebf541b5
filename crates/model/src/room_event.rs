//! Events of mapped rooms.

use serde::{Deserialize, Serialize};

use super::ids::{
    EventId, OwnedEventId, OwnedRoomId, OwnedRoomOrAliasId, OwnedTransactionId, OwnedUserId,
    PacketId, RoomId, UserId,
};
use super::time::{ClockReading, Timestamp};
use super::undecryptable::UndecryptableEvent;

/// A room that is joined and read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinedRoom {
    /// The room.
    pub room: OwnedRoomId,
    /// Its names in `matrix_rooms`: id or aliases. Empty: it was mapped once, and is replaced.
    pub configured: Vec<OwnedRoomOrAliasId>,
    /// Its display name.
    pub name: String,
    /// The bot's display name in it.
    pub own_name: String,
    /// Whether it is encrypted.
    pub encrypted: bool,
    /// Whether anyone may join it.
    pub public: bool,
    /// Whether the bot may mention everyone in it.
    pub may_mention_room: bool,
    /// Whether the bot may send messages to it.
    pub may_write: bool,
    /// Whether the bot may react in it, and redact its reactions.
    pub may_react: bool,
    /// Set if it is replaced or closed.
    pub tombstone: Option<Tombstone>,
    /// The predecessor that it names.
    pub predecessor: Option<OwnedRoomId>,
}

/// The end of a room: nobody writes there any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tombstone {
    /// The successor that it names.
    pub successor: Option<OwnedRoomId>,
}

/// Something that happened in a mapped room.
#[derive(Debug, Clone, PartialEq)]
pub enum MatrixEvent {
    /// A mapped room was joined or has changed.
    Joined(JoinedRoom),
    /// A configured alias resolves to another room; joining it is a separate event.
    AliasMoved {
        /// The alias.
        alias: OwnedRoomOrAliasId,
        /// Its room.
        room: OwnedRoomId,
    },
    /// An alias still resolves to its room, though that is replaced or the bot is not in it.
    AliasKept {
        /// The alias.
        alias: OwnedRoomOrAliasId,
        /// Its room.
        room: OwnedRoomId,
    },
    /// The bot is no longer in a mapped room.
    Left {
        /// The room.
        room: OwnedRoomId,
        /// Set if it is replaced or closed.
        tombstone: Option<Tombstone>,
    },
    /// A message.
    Text(Box<RoomText>),
    /// An edit.
    Edit(Box<RoomEdit>),
    /// A reaction.
    Reaction(Box<RoomReaction>),
    /// A redaction.
    Redaction(Box<RoomRedaction>),
    /// An event of ours came back in sync.
    Own {
        /// Its room.
        room: OwnedRoomId,
        /// Its id.
        event: OwnedEventId,
        /// The transaction id under which this device sent it.
        transaction: Option<OwnedTransactionId>,
    },
    /// A room refused a reaction of the bot, or its redaction.
    NoSigns {
        /// The room.
        room: OwnedRoomId,
    },
    /// An event that cannot be decrypted (yet).
    Undecryptable {
        /// The event, to be retried when the key comes.
        event: Box<UndecryptableEvent>,
        /// The sender's power level in the room.
        sender_power: i64,
        /// When it was sent, by the server's clock.
        sent_at: Timestamp,
    },
    /// All events up to this sync position have been handed over.
    Synced(Box<Synced>),
    /// Somebody was banned from a room.
    Banned {
        /// The room.
        room: OwnedRoomId,
        /// The ban.
        event: OwnedEventId,
        /// The banned user.
        user: OwnedUserId,
        /// The time of the ban.
        sent_at: Timestamp,
        /// Whether it is known to be in force, so that waiting messages are older; otherwise it may have been lifted.
        stands: bool,
    },
}

impl MatrixEvent {
    /// Returns the room of an event, and its id and sender where they matter.
    pub fn origin(&self) -> (Option<&RoomId>, Option<&EventId>, Option<&UserId>) {
        match self {
            Self::Text(text) => (Some(&text.room), Some(&text.event), Some(&text.sender)),
            Self::Edit(edit) => {
                let new = &edit.new;
                (Some(&new.room), Some(&new.event), Some(&new.sender))
            }
            Self::Reaction(it) => (Some(&it.room), Some(&it.event), Some(&it.sender)),
            Self::Redaction(it) => (Some(&it.room), Some(&it.event), Some(&it.sender)),
            Self::Undecryptable { event: it, .. } => {
                (Some(&it.room), Some(&it.event), Some(&it.sender))
            }
            Self::Banned { room, event, .. } => (Some(room), Some(event), None),
            Self::Joined(joined) => (Some(&joined.room), None, None),
            Self::AliasMoved { room, .. }
            | Self::AliasKept { room, .. }
            | Self::Left { room, .. }
            | Self::NoSigns { room }
            | Self::Own { room, .. } => (Some(room), None, None),
            Self::Synced(_) => (None, None, None),
        }
    }
}

/// The account's sync position.
#[derive(Debug, Clone, PartialEq)]
pub struct Synced {
    /// The position in the homeserver's stream.
    pub position: String,
    /// Gaps before it.
    pub gaps: Vec<Gap>,
    /// The last reading of the homeserver's clock.
    pub clock: Option<ClockReading>,
}

/// A gap in a room's timeline, between two stream positions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// The room.
    pub room: OwnedRoomId,
    /// Events after this position are missing,
    pub from: String,
    /// up to this one.
    pub to: String,
}

/// Kind of a room message.
#[derive(Debug, Clone, PartialEq)]
pub enum RoomTextKind {
    /// `m.text`.
    Text,
    /// `m.emote`.
    Emote,
    /// `m.notice`.
    Notice,
    /// An image, video, audio or other file (`image`, `video`, `audio`, `voice`, `file`, `sticker`); the body is its caption,
    /// may be empty.
    Media {
        /// One of the words above.
        word: &'static str,
    },
    /// A location; the body is `lat,lon`.
    Location,
    /// A poll; the body is its question.
    Poll,
    /// The start or an update of a live location.
    LiveLocation,
    /// A verification request, meant for clients.
    VerificationRequest,
    /// Anything else.
    Other,
}

/// A message in a room.
#[derive(Debug, Clone, PartialEq)]
pub struct RoomText {
    /// The room.
    pub room: OwnedRoomId,
    /// The event.
    pub event: OwnedEventId,
    /// Its sender.
    pub sender: OwnedUserId,
    /// The sender's name: the room profile's, else the user's, else the localpart.
    pub sender_name: String,
    /// The sender's power level in the room.
    pub sender_power: i64,
    /// When it was sent, by the server's clock.
    pub sent_at: Timestamp,
    /// What kind.
    pub kind: RoomTextKind,
    /// The plain body, without a reply fallback.
    pub body: String,
    /// The event that it replies to (not a thread's fallback).
    pub reply_to: Option<OwnedEventId>,
    /// The root of its thread.
    pub thread: Option<OwnedEventId>,
    /// MMRelay's fields, if it comes from a relay.
    pub relay: Option<Box<RelayFields>>,
    /// `mmrelay_suppress`.
    pub suppress: bool,
}

/// An edit.
#[derive(Debug, Clone, PartialEq)]
pub struct RoomEdit {
    /// The edited event.
    pub target: OwnedEventId,
    /// The new content as a message; its `event` is the edit's.
    pub new: RoomText,
}

/// A reaction in a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoomReaction {
    /// The room.
    pub room: OwnedRoomId,
    /// The reaction's own event.
    pub event: OwnedEventId,
    /// Who reacted.
    pub sender: OwnedUserId,
    /// The sender's name, as in [`RoomText`].
    pub sender_name: String,
    /// The sender's power level in the room.
    pub sender_power: i64,
    /// When it was sent, by the server's clock.
    pub sent_at: Timestamp,
    /// The target event.
    pub target: OwnedEventId,
    /// Its key, usually an emoji.
    pub key: String,
    /// `mmrelay_suppress`.
    pub suppress: bool,
}

/// A redaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoomRedaction {
    /// The room.
    pub room: OwnedRoomId,
    /// The redaction event.
    pub event: OwnedEventId,
    /// Its sender.
    pub sender: OwnedUserId,
    /// The redacted event.
    pub target: OwnedEventId,
}

/// MMRelay's fields of an event, with the same names and types; our additions below.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct RelayFields {
    /// `meshtastic_id`: the packet's id.
    pub id: Option<PacketId>,
    /// `meshtastic_longname`.
    pub longname: String,
    /// `meshtastic_shortname`.
    pub shortname: String,
    /// `meshtastic_meshnet`.
    pub meshnet: String,
    /// `meshtastic_portnum`: the port's name.
    pub portnum: String,
    /// `meshtastic_text`: the raw text.
    pub text: Option<String>,
    /// `meshtastic_replyId`: the packet that it replies to.
    pub reply_id: Option<PacketId>,
    /// `meshtastic_emoji`: 1 for a reaction that MMRelay posts as an emote.
    pub emoji: bool,
    /// `meshtastic_hops` (ours).
    pub hops: Option<u8>,
    /// `meshtastic_snr` (ours), dB.
    pub snr: Option<f32>,
    /// `meshtastic_rssi` (ours), dBm.
    pub rssi: Option<i32>,
    /// `meshtastic_via_mqtt` (ours).
    pub via_mqtt: bool,
    /// `relay_id` (ours): random id of a post, by which forwarded copies are recognised.
    pub relay_id: Option<String>,
}
