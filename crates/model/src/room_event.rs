//! What happens in mapped rooms.

use serde::{Deserialize, Serialize};

use super::ids::{
    EventId, OwnedEventId, OwnedRoomId, OwnedRoomOrAliasId, OwnedTransactionId, OwnedUserId,
    PacketId, RoomId, UserId,
};
use super::late::UndecryptableEvent;
use super::time::{ClockReading, Timestamp};

/// A room that is joined and read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinedRoom {
    /// The room.
    pub room: OwnedRoomId,
    /// The names in `matrix_rooms` that stand for it: its id, or aliases. None: it was mapped once, and is replaced.
    pub configured: Vec<OwnedRoomOrAliasId>,
    /// Its display name.
    pub name: String,
    /// The bot's own name in it.
    pub own_name: String,
    /// It is encrypted.
    pub encrypted: bool,
    /// Anyone may join it.
    pub public: bool,
    /// The bot may mention everyone in it.
    pub may_mention_room: bool,
    /// The bot may write in it.
    pub may_write: bool,
    /// The bot may react in it, and take its reactions back.
    pub may_react: bool,
    /// It is replaced or closed.
    pub tombstone: Option<Tombstone>,
    /// The room that it replaces, by its own word.
    pub predecessor: Option<OwnedRoomId>,
}

/// That a room is over: nobody speaks there any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tombstone {
    /// The room that replaces it, by its own word.
    pub successor: Option<OwnedRoomId>,
}

/// Something that happened in a mapped room.
#[derive(Debug, Clone, PartialEq)]
pub enum MatrixEvent {
    /// A mapped room is joined, or something about it has changed.
    Joined(JoinedRoom),
    /// An alias of the configuration stands for another room than was known; whether the bot is in it is told apart.
    AliasMoved {
        /// The alias.
        alias: OwnedRoomOrAliasId,
        /// Its room.
        room: OwnedRoomId,
    },
    /// An alias was looked up some time after its room was replaced, or while the bot is not in it, and stands for it still.
    AliasKept {
        /// The alias.
        alias: OwnedRoomOrAliasId,
        /// Its room.
        room: OwnedRoomId,
    },
    /// The bot is not in a mapped room any more.
    Left {
        /// The room.
        room: OwnedRoomId,
        /// It is replaced or closed.
        tombstone: Option<Tombstone>,
    },
    /// A message.
    Text(Box<RoomText>),
    /// A message was changed.
    Edit(Box<RoomEdit>),
    /// A reaction.
    Reaction(Box<RoomReaction>),
    /// An event was taken away.
    Redaction(Box<RoomRedaction>),
    /// An event of ours came back in sync.
    Own {
        /// Its room.
        room: OwnedRoomId,
        /// Its id.
        event: OwnedEventId,
        /// The transaction under which this device sent it.
        transaction: Option<OwnedTransactionId>,
    },
    /// A room did not let the bot react, or take a reaction back.
    NoSigns {
        /// The room.
        room: OwnedRoomId,
    },
    /// An event that cannot be decrypted (yet).
    Undecryptable {
        /// The event, to be tried again when the key comes.
        event: Box<UndecryptableEvent>,
        /// The sender's power level in the room.
        sender_power: i64,
        /// When it was sent, by the server's clock.
        sent_at: Timestamp,
    },
    /// Everything that the account was sent so far has been handed over.
    Synced(Box<Synced>),
    /// Somebody was banned from a room.
    Banned {
        /// The room.
        room: OwnedRoomId,
        /// The ban.
        event: OwnedEventId,
        /// Who.
        user: OwnedUserId,
        /// When.
        sent_at: Timestamp,
        /// It is known to stand still: what it finds was written before it. Else it may have been lifted since.
        stands: bool,
    },
}

impl MatrixEvent {
    /// Returns the room of an event, and its id and its sender as far as they matter.
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

/// Up to where the account's events are accepted.
#[derive(Debug, Clone, PartialEq)]
pub struct Synced {
    /// The place in the homeserver's stream.
    pub position: String,
    /// What is missing before it.
    pub gaps: Vec<Gap>,
    /// What the homeserver's clock showed last.
    pub clock: Option<ClockReading>,
}

/// A stretch of a room's timeline that is still missing, between two places in the homeserver's stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// The room.
    pub room: OwnedRoomId,
    /// What comes after this place is missing.
    pub from: String,
    /// Up to this place.
    pub to: String,
}

/// What kind of message.
#[derive(Debug, Clone, PartialEq)]
pub enum RoomTextKind {
    /// `m.text`.
    Text,
    /// `m.emote`.
    Emote,
    /// `m.notice`.
    Notice,
    /// A picture, film, sound or file (`image`, `video`, `audio`, `voice`, `file`, `sticker`); the body is
    /// its caption, empty if it has none.
    Media {
        /// One of the words above.
        word: &'static str,
    },
    /// A place; the body is `lat,lon`.
    Location,
    /// A poll; the body is its question.
    Poll,
    /// A live location begins, or a place of one.
    LiveLocation,
    /// A request for verification, meant for the client and never for the mesh.
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
    /// The plain body, without the fallback of a reply.
    pub body: String,
    /// The event that it answers (not a thread's fallback).
    pub reply_to: Option<OwnedEventId>,
    /// The root of the thread that it belongs to.
    pub thread: Option<OwnedEventId>,
    /// MMRelay's fields, when it comes from a relay.
    pub relay: Option<Box<RelayFields>>,
    /// `mmrelay_suppress`.
    pub suppress: bool,
}

/// A changed message.
#[derive(Debug, Clone, PartialEq)]
pub struct RoomEdit {
    /// The event that is changed.
    pub target: OwnedEventId,
    /// The new content, as if it were a message of its own; its `event` is the edit's.
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
    /// The event that it is put on.
    pub target: OwnedEventId,
    /// Its key, normally an emoji.
    pub key: String,
    /// `mmrelay_suppress`.
    pub suppress: bool,
}

/// An event was taken away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoomRedaction {
    /// The room.
    pub room: OwnedRoomId,
    /// The redaction's own event.
    pub event: OwnedEventId,
    /// Who took it away.
    pub sender: OwnedUserId,
    /// The event that is gone.
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
    /// `meshtastic_replyId`: the packet that is answered.
    pub reply_id: Option<PacketId>,
    /// `meshtastic_emoji`: 1 for a reaction that MMRelay tells as an emote.
    pub emoji: bool,
    /// `meshtastic_hops` (ours).
    pub hops: Option<u8>,
    /// `meshtastic_snr` (ours), dB.
    pub snr: Option<f32>,
    /// `meshtastic_rssi` (ours), dBm.
    pub rssi: Option<i32>,
    /// `meshtastic_via_mqtt` (ours).
    pub via_mqtt: bool,
    /// `relay_id` (ours): random, one for each post, by which it is known where a person has forwarded it.
    pub relay_id: Option<String>,
}
