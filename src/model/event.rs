//! What happened: the one vocabulary in which the adapters talk to the bridge.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::chore::Chore;
use super::fate::RadioOutcome;
use super::ids::{
    ChannelIndex, EventId, MeshRowId, OwnedEventId, OwnedRoomId, OwnedRoomOrAliasId,
    OwnedTransactionId, OwnedUserId, PacketId, RoomId, RoomRowId, UserId,
};
use super::late::UndecryptableEvent;
use super::message::{Channel, Destination, Fingerprint, Node};
use super::time::{ClockReading, Timestamp};

/// Something that happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// On the mesh, or to the link to the radio.
    Radio(RadioEvent),
    /// In a room.
    Matrix(MatrixEvent),
    /// To a message of ours.
    Report(SendReport),
    /// It is time to look at something.
    Chore(Chore),
}

/// Something that happened on the mesh, or to the link to the radio.
#[derive(Debug, Clone, PartialEq)]
pub enum RadioEvent {
    /// The radio is ready; comes again after every connect.
    Ready(Box<RadioProfile>),
    /// The link is lost. The adapter tries again by itself.
    Lost {
        /// Why, in a sentence for the log and `status`.
        cause: String,
    },
    /// A packet that carries something to read.
    Text(Box<RadioText>),
    /// Nodes of which something new is known, in batches.
    Nodes(Vec<Node>),
    /// A packet that is nobody's message was counted: packets still encrypted, and such.
    Ignored {
        /// Why, in a word or two for the counters of `status`.
        reason: &'static str,
    },
    /// The radio told how busy its channel is.
    ChannelUse {
        /// Channel utilisation in percent, of the air time of all nodes that the radio hears.
        percent: f32,
    },
}

/// The radio attached to us, as it is set up now.
#[derive(Debug, Clone, PartialEq)]
pub struct RadioProfile {
    /// Our own node.
    pub own: Node,
    /// Its firmware's version (`2.7.26.54e0d8d`), may be empty.
    pub firmware: String,
    /// All eight slots, disabled ones too, in order of their index.
    pub channels: Vec<Channel>,
    /// The hop limit that the radio is set to.
    pub hop_limit: u8,
    /// A region is set; without one a radio never transmits.
    pub region_set: bool,
    /// Transmission is switched on.
    pub transmit_enabled: bool,
    /// Rises when the radio reboots.
    pub reboot_count: u32,
    /// The radio is locked (firmware 2.8) and tells its client nothing: its channels are not known, and it carries no
    /// message.
    pub locked: bool,
    /// What only people are interested in.
    pub setup: RadioSetup,
}

impl RadioProfile {
    /// Returns its firmware's version; a locked radio does not tell it.
    pub fn told_firmware(&self) -> Option<&str> {
        Some(self.firmware.as_str()).filter(|it| !it.is_empty())
    }
}

/// How a radio is set up, in the protocol's own words. Nothing is decided by it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RadioSetup {
    /// Its board (`HELTEC_V3`).
    pub hardware: Option<String>,
    /// Its role on the mesh (`CLIENT`).
    pub role: Option<String>,
    /// Its region (`EU_868`); `None`: not told, or not set.
    pub region: Option<String>,
    /// Its modem preset (`LongFast`).
    pub preset: Option<String>,
}

/// Which kind of readable packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TextPort {
    /// `TEXT_MESSAGE_APP` (1).
    Text,
    /// `ALERT_APP` (11).
    Alert,
    /// `DETECTION_SENSOR_APP` (10).
    DetectionSensor,
    /// Any other port number, still undecided whether it is relayed (`chat_portnums`).
    Other(u32),
}

/// A packet that carries something to read. Its text is as the sender sent it: invalid UTF-8 is replaced
/// already, nothing else is cleaned.
#[derive(Debug, Clone, PartialEq)]
pub struct RadioText {
    /// Who sent it, with the names known now.
    pub sender: Node,
    /// The packet's id; [`PacketId::NONE`] is never a duplicate.
    pub packet: PacketId,
    /// A channel, or a single node.
    pub destination: Destination,
    /// The channel's name as people see it; empty for a direct message.
    pub channel_name: String,
    /// What the channel is, if the radio has told it; `None` for a direct message.
    pub fingerprint: Option<Fingerprint>,
    /// Its port.
    pub port: TextPort,
    /// The port's name in the protocol's own spelling (`TEXT_MESSAGE_APP`).
    pub port_name: String,
    /// The text.
    pub text: String,
    /// The packet that it answers or reacts to.
    pub reply_to: Option<PacketId>,
    /// It is a tapback: `text` is an emoji on `reply_to`.
    pub is_reaction: bool,
    /// When the radio heard it: its `rx_time` where plausible, else the time of arrival.
    pub heard_at: Timestamp,
    /// How many hops it made, if known.
    pub hops: Option<u8>,
    /// Signal to noise ratio in dB, if known.
    pub snr: Option<f32>,
    /// Signal strength in dBm, if known.
    pub rssi: Option<i32>,
    /// It came by MQTT somewhere on its way.
    pub via_mqtt: bool,
    /// Its author agrees to publication outside the mesh (bit 0 of `bitfield`).
    pub ok_to_mqtt: bool,
    /// It is told again by a store-and-forward server.
    pub replayed: bool,
}

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
    },
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

/// What became of a message of ours.
#[derive(Debug, Clone, PartialEq)]
pub enum SendReport {
    /// One for a room.
    Room {
        /// Its row.
        outbox: RoomRowId,
        /// What became of it.
        outcome: RoomOutcome,
    },
    /// One for the mesh.
    Radio {
        /// Its row.
        outbox: MeshRowId,
        /// The id under which it was tried.
        packet: PacketId,
        /// What became of it.
        outcome: RadioOutcome,
    },
}

/// What became of a message for a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RoomOutcome {
    /// The server has it.
    Sent {
        /// Its event.
        event: OwnedEventId,
    },
    /// Not now.
    Retry {
        /// The server's wish, if it had one.
        after: Option<Duration>,
        /// It was too much for the server (429): everything that this account sends has to wait.
        limited: bool,
        /// Why, for the log.
        error: String,
    },
    /// Not until something changes in the room (403) or with the account (401).
    Parked {
        /// It concerns the whole account.
        account: bool,
        /// Why, for the log and `status`.
        error: String,
    },
    /// Never.
    Refused {
        /// Why, for the log.
        error: String,
    },
}

impl RadioText {
    /// Returns the channel, unless it is a direct message.
    pub fn channel(&self) -> Option<ChannelIndex> {
        match self.destination {
            Destination::Channel(index) => Some(index),
            Destination::Direct(_) => None,
        }
    }
}

impl Event {
    /// Names it for the log, without its text.
    pub fn name(&self) -> String {
        match self {
            Self::Radio(RadioEvent::Text(text)) => {
                format!("packet {} of {}", text.packet, text.sender.num)
            }
            Self::Radio(_) => "radio".to_owned(),
            Self::Matrix(event) => {
                let (_, id, _) = event.origin();
                id.map_or_else(|| "matrix".to_owned(), ToString::to_string)
            }
            Self::Report(_) => "report".to_owned(),
            Self::Chore(_) => "chore".to_owned(),
        }
    }

    /// Names who it is from, for the log; empty if that is nobody.
    pub fn sender(&self) -> String {
        match self {
            Self::Radio(RadioEvent::Text(text)) => text.sender.num.to_string(),
            Self::Matrix(event) => {
                let (_, _, sender) = event.origin();
                sender.map(ToString::to_string).unwrap_or_default()
            }
            Self::Radio(_) | Self::Report(_) | Self::Chore(_) => String::new(),
        }
    }
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
            | Self::Own { room, .. } => (Some(room), None, None),
            Self::Synced(_) => (None, None, None),
        }
    }
}
