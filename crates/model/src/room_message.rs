//! Messages to rooms.

use serde::{Deserialize, Serialize};

use super::ids::{NodeNum, OwnedEventId, OwnedRoomId, OwnedRoomOrAliasId, OwnedUserId, PacketId};
use super::{room_event::RelayFields, time::Timestamp};

/// An event for a room.
#[derive(Debug, Clone, PartialEq)]
pub struct RoomMessage {
    /// The room; an alias only until it has been resolved.
    pub room: OwnedRoomOrAliasId,
    /// The content.
    pub content: RoomContent<EventRef>,
}

/// The event that another one refers to.
#[derive(Debug, Clone, PartialEq, Eq, strum::Display, Serialize, Deserialize)]
#[serde(untagged)]
pub enum EventRef {
    /// This event.
    #[strum(to_string = "{0}")]
    Event(OwnedEventId),
    /// The event of a packet in the same room that still waits in the outbox.
    #[strum(to_string = "packet {packet} of {sender}")]
    Packet {
        /// The packet's sender.
        sender: NodeNum,
        /// The packet's id.
        packet: PacketId,
    },
}

impl From<OwnedEventId> for EventRef {
    fn from(event: OwnedEventId) -> Self {
        Self::Event(event)
    }
}

/// Content of an event for a room. In the outbox it refers to an [`EventRef`] and is stored as the JSON derived here; when sent
/// it refers to an event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RoomContent<T = OwnedEventId> {
    /// `m.room.message`, never with a `formatted_body`.
    Text {
        /// `m.notice` instead of `m.text`.
        notice: bool,
        /// Prefix of the text; a mark of lateness follows it.
        prefix: String,
        /// The text.
        text: String,
        /// When it was sent on the mesh: the body says so from 5 minutes on. `None`: never late.
        heard_at: Option<Timestamp>,
        /// The event that it replies to.
        reply_to: Option<T>,
        /// Its thread.
        thread: Option<OwnedEventId>,
        /// Mentioned users (`m.mentions.user_ids`).
        mentions: Vec<OwnedUserId>,
        /// Whether it mentions everyone (`m.mentions.room`).
        mentions_room: bool,
        /// MMRelay's fields, for a mesh message.
        fields: Option<Box<RelayFields>>,
        /// `mmrelay_suppress`: no relay carries it on.
        suppress: bool,
    },
    /// `m.reaction` with only its relation and `mmrelay_suppress`.
    Reaction {
        /// The target event.
        target: T,
        /// The key, usually an emoji.
        key: String,
    },
    /// The redaction of an event of ours.
    Redaction {
        /// The redacted event.
        target: T,
    },
}

/// A notice of the bot about itself. No relay carries it on.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Notice {
    /// The text.
    pub text: String,
    /// The time that it refers to: it says so if it is sent much later. `None`: it is never late.
    pub at: Option<Timestamp>,
    /// The event that it replies to.
    pub reply_to: Option<OwnedEventId>,
    /// Its thread.
    pub thread: Option<OwnedEventId>,
    /// Mentioned users.
    pub mentions: Vec<OwnedUserId>,
}

impl Notice {
    /// Makes it a message for a room.
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
                suppress: true,
            },
        }
    }
}

impl RoomContent<EventRef> {
    /// Returns the event that it refers to.
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

    /// Returns whether it is a [`Notice`].
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
