//! Messages to rooms.

use serde::{Deserialize, Serialize};

use super::ids::{NodeNum, OwnedEventId, OwnedRoomId, OwnedRoomOrAliasId, OwnedUserId, PacketId};
use super::{room_event::RelayFields, time::Timestamp};

/// An event to be accepted for a room, before it has a row and a transaction id.
#[derive(Debug, Clone, PartialEq)]
pub struct RoomMessage {
    /// The room; an alias only until it has been resolved.
    pub room: OwnedRoomOrAliasId,
    /// What the event says.
    pub content: RoomContent<EventRef>,
}

/// The event that another one replies to, reacts to or redacts.
#[derive(Debug, Clone, PartialEq, Eq, strum::Display, Serialize, Deserialize)]
#[serde(untagged)]
pub enum EventRef {
    /// An event that the homeserver has already.
    #[strum(to_string = "{0}")]
    Event(OwnedEventId),
    /// The event of a packet in the same room that still waits in the outbox.
    #[strum(to_string = "packet {packet} of {sender}")]
    Packet {
        /// Node that sent the packet.
        sender: NodeNum,
        /// Packet id, unique per sender.
        packet: PacketId,
    },
}

impl From<OwnedEventId> for EventRef {
    fn from(event: OwnedEventId) -> Self {
        Self::Event(event)
    }
}

/// The sender of a mesh message, as apps show it that know per-message profiles (MSC4144).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SenderProfile {
    /// The node that sent it.
    pub node: NodeNum,
    /// Its name, not empty.
    pub name: String,
    /// Whether it has a picture in the node's colour.
    pub avatar: bool,
}

/// Content of an event for a room. In the outbox it refers to an [`EventRef`] and is stored as the JSON derived here; when sent
/// it refers to an event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RoomContent<T = OwnedEventId> {
    /// `m.room.message`; its text is never formatted.
    Text {
        /// True: `m.notice`, which other bots ignore; false: `m.text`.
        notice: bool,
        /// Prefix of the text; a mark of lateness follows it.
        prefix: String,
        /// The body after the prefix, unformatted.
        text: String,
        /// When it was sent on the mesh: the body says so from 5 minutes on. `None`: never late.
        heard_at: Option<Timestamp>,
        /// Event for `m.in_reply_to`; `None`: no reply.
        reply_to: Option<T>,
        /// Root for `m.thread`; `None`: outside threads.
        thread: Option<OwnedEventId>,
        /// Users for `m.mentions.user_ids`, who are notified.
        mentions: Vec<OwnedUserId>,
        /// Whether it mentions everyone (`m.mentions.room`).
        mentions_room: bool,
        /// MMRelay's fields; `None` for the bot's own notices.
        fields: Option<Box<RelayFields>>,
        /// The sender's own name and picture; `None`: those of the bot.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        profile: Option<Box<SenderProfile>>,
        /// `mmrelay_suppress`: no relay carries it on.
        suppress: bool,
    },
    /// `m.reaction` with only its relation and `mmrelay_suppress`.
    Reaction {
        /// Event that the reaction is put on.
        target: T,
        /// `key` of the annotation: an emoji, or in unencrypted rooms what `reaction_format` makes of it.
        key: String,
    },
    /// The redaction of a reaction of the bot.
    Redaction {
        /// The reaction to remove.
        target: T,
    },
}

/// A notice of the bot about itself. No relay carries it on.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Notice {
    /// The whole body; no prefix is added.
    pub text: String,
    /// The time that it refers to: it says so if it is sent much later. `None`: it is never late.
    pub at: Option<Timestamp>,
    /// Event that the notice is about, for `m.in_reply_to`.
    pub reply_to: Option<OwnedEventId>,
    /// Root of the thread of that event; `None` outside threads.
    pub thread: Option<OwnedEventId>,
    /// Users whom the notice notifies (`m.mentions.user_ids`).
    pub mentions: Vec<OwnedUserId>,
}

impl Notice {
    /// Addresses the notice to a room, as an `m.notice` with `mmrelay_suppress`.
    pub fn for_room(self, room: &OwnedRoomId) -> RoomMessage {
        RoomMessage {
            room: room.clone().into(),
            content: RoomContent::Text {
                notice: true,
                prefix: String::new(),
                text: self.text,
                heard_at: self.at,
                reply_to: self.reply_to.map(EventRef::Event),
                thread: self.thread,
                mentions: self.mentions,
                mentions_room: false,
                fields: None,
                profile: None,
                suppress: true,
            },
        }
    }
}

impl RoomContent<EventRef> {
    /// Returns the event that it replies to, reacts to or redacts; `None` for a text that is no reply.
    pub fn target(&self) -> Option<&EventRef> {
        match self {
            Self::Text { reply_to, .. } => reply_to.as_ref(),
            Self::Reaction { target, .. } | Self::Redaction { target } => Some(target),
        }
    }

    /// Resolves the event that it refers to. Without one a text is no reply.
    ///
    /// # Errors
    ///
    /// The reference of a reaction or redaction without an event.
    pub fn about(self, event: Option<OwnedEventId>) -> Result<RoomContent, EventRef> {
        Ok(match self {
            Self::Text {
                notice,
                prefix,
                text,
                heard_at,
                reply_to: _,
                thread,
                mentions,
                mentions_room,
                fields,
                profile,
                suppress,
            } => RoomContent::Text {
                notice,
                prefix,
                text,
                heard_at,
                reply_to: event,
                thread,
                mentions,
                mentions_room,
                fields,
                profile,
                suppress,
            },
            Self::Reaction { target, key } => RoomContent::Reaction {
                target: event.ok_or(target)?,
                key,
            },
            Self::Redaction { target } => RoomContent::Redaction {
                target: event.ok_or(target)?,
            },
        })
    }

    /// Returns whether the bot says it of itself: a suppressed text without MMRelay's fields, as a [`Notice`] makes it.
    pub fn is_notice(&self) -> bool {
        matches!(
            self,
            Self::Text {
                fields: None,
                suppress: true,
                ..
            }
        )
    }
}
