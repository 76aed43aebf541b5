//! Events of mapped rooms.

use serde::{Deserialize, Serialize};

use super::ids::{
    EventId, NodeNum, OwnedEventId, OwnedRoomId, OwnedRoomOrAliasId, OwnedTransactionId,
    OwnedUserId, PacketId, RoomId, UserId,
};
use super::time::{ClockReading, Timestamp};
use super::undecryptable::UndecryptableEvent;

/// A mapped room that the bot is in, and whose events are read; sent anew whenever one of these facts changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinedRoom {
    /// Room id, not an alias.
    pub room: OwnedRoomId,
    /// The names in `matrix_rooms` that stand for this room: its id, that of a room whose place it took, or aliases. Empty: it
    /// was mapped once, and is replaced.
    pub configured: Vec<OwnedRoomOrAliasId>,
    /// Display name as Matrix computes it, cut to 256 bytes; the room id if that fails.
    pub name: String,
    /// The bot's display name in this room; the localpart of its id if it has none.
    pub own_name: String,
    /// Whether `m.room.encryption` is set, so that messages are sent encrypted (reactions never are).
    pub encrypted: bool,
    /// Whether the join rule is `public`; false while that is unknown.
    pub public: bool,
    /// Whether the bot may mention everyone in it.
    pub may_mention_room: bool,
    /// Whether the bot may send messages to it.
    pub may_write: bool,
    /// Whether the bot may react in it, and redact its reactions.
    pub may_react: bool,
    /// Set by a valid `m.room.tombstone`: the room is replaced or closed.
    pub tombstone: Option<Tombstone>,
    /// Room id in `predecessor` of `m.room.create`: the room whose place this one claims.
    pub predecessor: Option<OwnedRoomId>,
}

/// The end of a room: nobody writes there any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tombstone {
    /// Room id in `replacement_room`; `None`: closed without a successor.
    pub successor: Option<OwnedRoomId>,
}

/// Something that happened in a mapped room.
#[derive(Debug, Clone, PartialEq)]
pub enum MatrixEvent {
    /// A mapped room was joined at a start or later, or a fact in [`JoinedRoom`] has changed.
    Joined(JoinedRoom),
    /// A configured name stands for another room: an alias was looked up or has moved, or a replaced room is followed. Joining
    /// is a separate event.
    NameMoved {
        /// Id or alias as configured in `matrix_rooms`.
        name: OwnedRoomOrAliasId,
        /// Id of the room that it stands for now.
        room: OwnedRoomId,
    },
    /// The bot is no longer in a mapped room.
    Left {
        /// Id of the room that the bot left, or was removed or banned from.
        room: OwnedRoomId,
        /// Set if the room is also replaced or closed, as last seen by the bot.
        tombstone: Option<Tombstone>,
    },
    /// A message of anybody but the bot, whether or not it is relayed.
    Text(Box<RoomText>),
    /// An `m.replace` of anybody but the bot, whoever wrote the original.
    Edit(Box<RoomEdit>),
    /// An `m.reaction` of anybody but the bot.
    Reaction(Box<RoomReaction>),
    /// An `m.room.redaction` of anybody but the bot; the homeserver has checked the right to it.
    Redaction(Box<RoomRedaction>),
    /// An event of the bot's account came back in sync, from this device or another one.
    Own {
        /// Id of the room that it was sent to.
        room: OwnedRoomId,
        /// Id that the homeserver gave it.
        event: OwnedEventId,
        /// Transaction id under which this device sent it (`unsigned.transaction_id`); `None` for another device's event,
        /// and when the homeserver has forgotten it (Synapse: after a day).
        transaction: Option<OwnedTransactionId>,
        /// The post's `relay_id`, for a message of the mesh.
        relay_id: Option<String>,
        /// It has MMRelay's fields: it is the post of a mesh message, by us or by another relay.
        of_mesh: bool,
        /// When it was sent, by our clock, as in [`RoomText::sent_at`].
        sent_at: Timestamp,
    },
    /// A node's picture was uploaded.
    Avatar(Box<NodeAvatar>),
    /// A room refused a reaction of the bot, or its redaction.
    NoSigns {
        /// Id of that room, where no signs are tried from now on.
        room: OwnedRoomId,
    },
    /// An event that cannot be decrypted (yet).
    Undecryptable {
        /// The event, to be retried when the key comes.
        event: Box<UndecryptableEvent>,
        /// The sender's power level, as in [`RoomText::sender_power`].
        sender_power: i64,
        /// When it was sent, by our clock, as in [`RoomText::sent_at`].
        sent_at: Timestamp,
    },
    /// All events up to this sync position have been handed over.
    Synced(Box<Synced>),
    /// Somebody was banned from a room.
    Banned {
        /// Id of the room from which the user is banned.
        room: OwnedRoomId,
        /// Id of the `m.room.member` event that bans.
        event: OwnedEventId,
        /// The banned user (`state_key`), not the moderator.
        user: OwnedUserId,
        /// When the ban was set, by our clock: what the user wrote up to then is withdrawn.
        sent_at: Timestamp,
        /// Whether it is known to be in force, so that waiting messages are older; otherwise it may have been lifted.
        stands: bool,
    },
}

/// A picture of a node, as uploaded for the messages of an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeAvatar {
    /// The account that uploaded it.
    pub account: OwnedUserId,
    /// The node.
    pub node: NodeNum,
    /// Where it is.
    pub place: AvatarPlace,
}

/// Where an uploaded picture is, as an event tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AvatarPlace {
    /// At this `mxc:` address, for rooms that are not encrypted.
    Plain(String),
    /// Encrypted, for encrypted rooms: the JSON of an `EncryptedFile`, which holds its key.
    Encrypted(String),
}

impl MatrixEvent {
    /// Returns whether its words came unencrypted into an encrypted room.
    pub fn is_in_clear(&self) -> bool {
        match self {
            Self::Text(text) => text.in_clear,
            Self::Edit(edit) => edit.new.in_clear,
            _ => false,
        }
    }

    /// Returns the room of an event, its id if it is marked as seen under that, and its sender for the log.
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
            Self::NameMoved { room, .. }
            | Self::Left { room, .. }
            | Self::NoSigns { room }
            | Self::Own { room, .. } => (Some(room), None, None),
            Self::Avatar(_) | Self::Synced(_) => (None, None, None),
        }
    }
}

/// How far the account's events have been handed over; stored in the transaction that accepts them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Synced {
    /// Opaque token of the homeserver (`next_batch`), from which the next sync or start goes on. `None`: the account's first
    /// run has not come so far yet, and none is stored.
    pub position: Option<String>,
    /// Until when, by the homeserver's clock, all was handed over at this position, or at an earlier one; `None`: not known.
    pub read_until: Option<Timestamp>,
    /// The homeserver was read anew, because its database was put back: what it had confirmed before is no measure any more.
    pub is_anew: bool,
    /// All gaps that are open at this position, of all rooms; they replace the stored ones.
    pub gaps: Vec<Gap>,
    /// Last reading of the homeserver's clock; `None` until the server has shown its time.
    pub clock: Option<ClockReading>,
}

/// When and where the first run of an account began. Stored before its first request: if that run is killed before a
/// position is stored, the next one goes on from here, and history ends here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Beginning {
    /// What this computer's wall clock showed.
    pub ours: Timestamp,
    /// Milliseconds since boot, suspend included.
    pub passed: i64,
    /// Identifies this computer's boot, as `passed` counts from it; empty if unknown.
    pub boot: String,
    /// Token of the homeserver's stream at which the login ended; `None` if it read nothing.
    pub position: Option<String>,
}

/// A part of a room's history that no sync answer contained.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// Id of the room whose history is incomplete.
    pub room: OwnedRoomId,
    /// What is missing comes after this.
    pub from: GapStart,
    /// Token of the homeserver's stream: events after it were received.
    pub to: String,
}

/// Where a gap begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GapStart {
    /// A token of the homeserver's stream. Moves on as pages are fetched.
    Token(String),
    /// A time by the homeserver's clock, where there is no token: when the room took a mapped one's place, or the bot joined.
    Time(Timestamp),
}

/// What a room message is, which decides whether and in which form it is relayed.
#[derive(Debug, Clone, PartialEq)]
pub enum RoomTextKind {
    /// `m.text`, or an unknown message type with a text body, as clients show it.
    Text,
    /// `m.emote`.
    Emote,
    /// `m.notice`.
    Notice,
    /// An image, video, audio or other file (`image`, `video`, `audio`, `voice`, `file`, `sticker`); the body is its caption,
    /// may be empty.
    Media {
        /// The word for its kind, one of those above; people read it in the note on the mesh.
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
    /// Nothing to relay, found when a kept event was decrypted late: only the wait for its key ends.
    Other,
}

/// A message in a mapped room, from anybody but the bot.
#[derive(Debug, Clone, PartialEq)]
pub struct RoomText {
    /// Id of the room that it was sent to.
    pub room: OwnedRoomId,
    /// Its own event id; for an edit, the id of the edit.
    pub event: OwnedEventId,
    /// User id of its author.
    pub sender: OwnedUserId,
    /// The author's name in this room, else the localpart; at most 512 bytes, untrusted, not unique.
    pub sender_name: String,
    /// The author's power level in the room; `i64::MAX` for a creator of a room of version 12.
    pub sender_power: i64,
    /// `origin_server_ts`, converted to our clock where the homeserver's differs; may lie in the future.
    pub sent_at: Timestamp,
    /// What the message is, as far as it can be relayed.
    pub kind: RoomTextKind,
    /// Plain text without a reply fallback, formatted text as it is read aloud; at most 8 KiB.
    pub body: String,
    /// Event named in `m.in_reply_to`, unless that is only a thread's fallback (`is_falling_back`).
    pub reply_to: Option<OwnedEventId>,
    /// Root of the thread (`m.thread`) that it belongs to; `None` outside threads.
    pub thread: Option<OwnedEventId>,
    /// Fields of MMRelay, if any key begins with `meshtastic_`: another relay posted it for a node.
    pub relay: Option<Box<RelayFields>>,
    /// `mmrelay_suppress` is set: the message must not be relayed.
    pub suppress: bool,
    /// It came unencrypted into an encrypted room: a server could have written it.
    pub in_clear: bool,
}

/// An edit (`m.replace`) of a message, by anybody: whether its author may edit is decided in the bridge.
#[derive(Debug, Clone, PartialEq)]
pub struct RoomEdit {
    /// Id of the edited event, which may not have been received.
    pub target: OwnedEventId,
    /// The message as it is now (`m.new_content`); its `event`, `sender` and `sent_at` are those of the edit.
    pub new: RoomText,
}

/// A reaction (`m.annotation`) to an event of a mapped room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoomReaction {
    /// Id of the room that it was sent to.
    pub room: OwnedRoomId,
    /// Id of the reaction event itself, not of its target.
    pub event: OwnedEventId,
    /// User id of the person who reacted.
    pub sender: OwnedUserId,
    /// That person's name, as in [`RoomText::sender_name`].
    pub sender_name: String,
    /// That person's power level, as in [`RoomText::sender_power`].
    pub sender_power: i64,
    /// When they reacted, as in [`RoomText::sent_at`].
    pub sent_at: Timestamp,
    /// Id of the event that it is put on, which may not have been received.
    pub target: OwnedEventId,
    /// `key` of the annotation, usually an emoji, but any text of at most 512 bytes.
    pub key: String,
    /// `mmrelay_suppress` is set: the reaction must not be relayed.
    pub suppress: bool,
}

/// A redaction of an event in a mapped room. The homeserver has checked the right to redact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoomRedaction {
    /// Id of the room that both events belong to.
    pub room: OwnedRoomId,
    /// Id of the redaction event itself, not of its target.
    pub event: OwnedEventId,
    /// User id of the person who redacted, not of the redacted event's author.
    pub sender: OwnedUserId,
    /// Id of the redacted event (`redacts`), which may not have been received.
    pub target: OwnedEventId,
}

/// MMRelay's fields of an event, with the same names and types; our additions below.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct RelayFields {
    /// `meshtastic_id`: id of the packet that is posted; `None` if missing or 0.
    pub id: Option<PacketId>,
    /// `meshtastic_longname`: the sending node's long name; empty if missing.
    pub longname: String,
    /// `meshtastic_shortname`: the sending node's short name; empty if missing.
    pub shortname: String,
    /// `meshtastic_meshnet`: name of the mesh that the packet was heard on; empty if missing.
    pub meshnet: String,
    /// `meshtastic_portnum`: name of the packet's port, as `TEXT_MESSAGE_APP`; empty if missing.
    pub portnum: String,
    /// `meshtastic_text`: the node's text without the prefix of the post; at most 8 KiB.
    pub text: Option<String>,
    /// `meshtastic_replyId`: id of the packet that the node replies or reacts to; `None` if missing or 0.
    pub reply_id: Option<PacketId>,
    /// `meshtastic_emoji`: 1 for a reaction that MMRelay posts as an emote.
    pub emoji: bool,
    /// `meshtastic_hops` (ours): number of hops from the node to the relay's radio; `None` if unknown.
    pub hops: Option<u8>,
    /// `meshtastic_snr` (ours): signal-to-noise ratio at the receiver, dB.
    pub snr: Option<f32>,
    /// `meshtastic_rssi` (ours): signal strength at the receiver, dBm.
    pub rssi: Option<i32>,
    /// `meshtastic_via_mqtt` (ours): the packet passed an MQTT server on its way to the radio.
    pub via_mqtt: bool,
    /// `relay_id` (ours): random id of a post, by which forwarded copies are recognised.
    pub relay_id: Option<String>,
}
