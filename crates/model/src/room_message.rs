//! What goes to a room.

use serde::{Deserialize, Serialize};

use super::ids::{NodeNum, OwnedEventId, OwnedRoomId, OwnedRoomOrAliasId, OwnedUserId, PacketId};
use super::room_event::RelayFields;
use super::time::Timestamp;

/// One event for a room.
#[derive(Debug, Clone, PartialEq)]
pub struct RoomMessage {
    /// The room; an alias only as long as no server has told us its room.
    pub room: OwnedRoomOrAliasId,
    /// What.
    pub content: RoomContent<EventRef>,
}

/// An event that another one is about.
#[derive(Debug, Clone, PartialEq, Eq, strum::Display, Serialize, Deserialize)]
#[serde(untagged)]
pub enum EventRef {
    /// This event.
    #[strum(to_string = "{0}")]
    Event(OwnedEventId),
    /// The event that will stand for a packet in the same room: it waits in our outbox still.
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

/// What an event for a room holds: as it waits, about an [`EventRef`], which the store keeps as the JSON that is derived here;
/// as it is sent, about an event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RoomContent<T = OwnedEventId> {
    /// `m.room.message`, never with a `formatted_body`.
    Text {
        /// `m.notice` instead of `m.text`.
        notice: bool,
        /// Goes before the text; a mark of lateness is put between them.
        prefix: String,
        /// The text.
        text: String,
        /// When the mesh said it: more than 5 minutes before it is sent, the body says so. `None`: never late.
        heard_at: Option<Timestamp>,
        /// The event that it answers.
        reply_to: Option<T>,
        /// The thread that it belongs to.
        thread: Option<OwnedEventId>,
        /// Who is mentioned (`m.mentions.user_ids`).
        mentions: Vec<OwnedUserId>,
        /// Mentions everyone (`m.mentions.room`).
        mentions_room: bool,
        /// MMRelay's fields, for a message of the mesh.
        fields: Option<Box<RelayFields>>,
        /// `mmrelay_suppress`: no relay carries it on.
        suppress: bool,
    },
    /// `m.reaction` with nothing in it but its relation and `mmrelay_suppress`.
    Reaction {
        /// The event that it is put on.
        target: T,
        /// The key, normally an emoji.
        key: String,
    },
    /// Takes an event of ours away.
    Redaction {
        /// That event.
        target: T,
    },
}

/// What the bot says about itself in a room. No relay carries it on.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Notice {
    /// What it says.
    pub text: String,
    /// When that was so: where it comes much later, it says so. `None`: it is never late.
    pub at: Option<Timestamp>,
    /// The event that it answers.
    pub reply_to: Option<OwnedEventId>,
    /// The thread that it belongs to.
    pub thread: Option<OwnedEventId>,
    /// Who is mentioned.
    pub mentions: Vec<OwnedUserId>,
}

impl Notice {
    /// Returns it as a message for a room.
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
    /// Returns the event that it is about.
    pub fn target(&self) -> Option<&EventRef> {
        match self {
            Self::Text { reply_to, .. } => reply_to.as_ref(),
            Self::Reaction { target, .. } | Self::Redaction { target } => Some(target),
        }
    }

    /// Returns it as it is sent, about this event. Without one a text answers nothing.
    ///
    /// # Errors
    ///
    /// What a reaction or a redaction is about, if there is no event for it.
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
