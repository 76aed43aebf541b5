//! What the hand tool asks for and is answered: the same words in process and on the control socket.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use relay_model::{Explained, OwnedEventId, OwnedRoomId, OwnedUserId, Timestamp};

/// Something to be done with the account. A `room` is an id, an alias, or a user, who stands for the direct room with him.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub enum Operation {
    /// Tells the rooms that the account is in.
    Rooms,
    /// Tells how large a file may be.
    Limit,
    /// Tells the id of a room.
    Resolve {
        /// An id, an alias or a user.
        room: String,
    },
    /// Sends a text.
    Send(Box<Message>),
    /// Sends a file, whose bytes follow, with those of the thumbnail behind them.
    Upload(Box<Attachment>),
    /// Tells what the account is invited to.
    Invites,
    /// Accepts an invite.
    Accept {
        /// The room's id.
        room: OwnedRoomId,
    },
    /// Rejects an invite.
    Reject {
        /// The room's id.
        room: OwnedRoomId,
    },
    /// Joins a room.
    Join {
        /// An id or an alias.
        room: String,
    },
    /// Leaves a room.
    Leave {
        /// An id or an alias.
        room: String,
    },
    /// Invites a user.
    Invite {
        /// Where to.
        room: String,
        /// Who.
        user: OwnedUserId,
    },
    /// Makes a private room.
    Create(Box<NewRoom>),
    /// Finds the direct room with a user, or makes it, encrypted.
    EnsureDm {
        /// Who.
        user: OwnedUserId,
    },
    /// Switches the encryption of a room on, unless it is.
    EnsureEncrypted {
        /// Which.
        room: String,
    },
    /// Reacts to an event.
    React {
        /// Where it is.
        room: String,
        /// To what.
        event: OwnedEventId,
        /// With what, mostly an emoji.
        key: String,
    },
    /// Redacts an event.
    Redact {
        /// Where it is.
        room: String,
        /// What.
        event: OwnedEventId,
        /// Why, for people.
        reason: Option<String>,
    },
    /// Tells the devices of the account.
    Devices,
    /// Tells what is said in a room from now on, until the asker is gone.
    Listen {
        /// Which.
        room: String,
    },
}

/// A text to be sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Where to.
    pub room: String,
    /// The text, or HTML.
    pub text: String,
    /// It is a notice, which bots write.
    pub notice: bool,
    /// The text is HTML.
    pub html: bool,
    /// How it refers to another event.
    pub relation: Relation,
}

/// How a message refers to another one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Relation {
    /// Not at all.
    #[default]
    None,
    /// It answers that event.
    Reply(OwnedEventId),
    /// It is in the thread that begins with that event.
    Thread(OwnedEventId),
    /// It takes the place of that event.
    Edit(OwnedEventId),
}

/// A file to be sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    /// Where to.
    pub room: String,
    /// Its name for people.
    pub name: String,
    /// Its MIME type.
    pub mime: String,
    /// Number of bytes.
    pub size: u64,
    /// Width and height, of a picture.
    pub dimensions: Option<(u32, u32)>,
    /// A smaller picture of it.
    pub thumbnail: Option<Thumbnail>,
    /// How it refers to another event; an edit is none for a file.
    pub relation: Relation,
}

impl Attachment {
    /// Returns how many bytes follow it.
    pub fn bytes(&self) -> u64 {
        let thumbnail = self.thumbnail.as_ref().map_or(0, |it| it.size);
        self.size.saturating_add(thumbnail)
    }
}

/// A smaller picture.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Thumbnail {
    /// Its MIME type.
    pub mime: String,
    /// Number of bytes.
    pub size: u64,
    /// Width and height.
    pub dimensions: (u32, u32),
}

/// A room to be made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewRoom {
    /// Its name.
    pub name: Option<String>,
    /// Its topic.
    pub topic: Option<String>,
    /// The local part of its alias.
    pub alias: Option<String>,
    /// Who is invited.
    pub invite: Vec<OwnedUserId>,
    /// It is encrypted from its first event on.
    pub encrypted: bool,
}

/// What came of an operation.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Done {
    /// The account's rooms.
    Rooms(Vec<RoomRow>),
    /// The largest file in bytes.
    Limit(u64),
    /// The room concerned.
    Room(OwnedRoomId),
    /// The event that was sent.
    Event(OwnedEventId),
    /// What the account is invited to.
    Invites(Vec<InviteRow>),
    /// The account's devices.
    Devices(Vec<DeviceRow>),
    /// Something said in a room that is listened to.
    Heard(Box<Heard>),
    /// That many answers of the homeserver were missed: they came faster than they were read.
    Missed(u64),
    /// From now on nothing is missed.
    Listening,
}

/// A room that the account is in.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RoomRow {
    /// Its id.
    pub id: OwnedRoomId,
    /// Its name for people, as others gave it.
    pub name: String,
    /// Its aliases, the canonical one first.
    pub aliases: Vec<String>,
    /// How many have joined it.
    pub members: u64,
    /// Whether it is encrypted; not known without an answer of the homeserver.
    pub encrypted: Option<bool>,
    /// It is a direct room.
    pub direct: bool,
    /// The channel of the mesh that it is mapped to. Filled in by who knows the configuration.
    #[serde(default)]
    pub channel: Option<String>,
}

/// An invite of the account.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct InviteRow {
    /// The room's id.
    pub id: OwnedRoomId,
    /// Its name for people, as others gave it.
    pub name: String,
    /// Who invites.
    pub inviter: OwnedUserId,
    /// It is a direct room.
    pub direct: bool,
    /// How many have joined it, as far as the invite tells.
    pub members: u64,
    /// When the invite came, in milliseconds since 1970, if it tells.
    pub at: Option<i64>,
}

/// A device of the account.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DeviceRow {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: Option<String>,
    /// Whether it is the relay's own.
    pub own: bool,
    /// When it was last seen, in milliseconds since 1970.
    pub seen: Option<i64>,
}

/// Something said in a room.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Heard {
    /// The event's id.
    pub event_id: OwnedEventId,
    /// Who said it.
    pub sender: OwnedUserId,
    /// The sender's name in the room.
    pub name: String,
    /// When, in milliseconds since 1970, as the sender's homeserver tells.
    pub sent_at: Timestamp,
    /// It came encrypted, and was decrypted unless there is no text.
    pub encrypted: bool,
    /// What it says, as it is read aloud; `None` if it could not be decrypted.
    pub text: Option<String>,
    /// The whole event.
    pub event: Value,
}

/// Why an operation failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[error("{error}")]
pub struct HandError {
    /// What failed with what.
    pub error: String,
    /// What helps.
    pub cure: Option<String>,
}

impl HandError {
    /// An error that has no cure.
    pub fn new(error: impl Into<String>) -> Self {
        Self {
            error: error.into(),
            cure: None,
        }
    }

    /// An error with its cure.
    pub fn cured(error: impl Into<String>, cure: impl Into<String>) -> Self {
        Self {
            error: error.into(),
            cure: Some(cure.into()),
        }
    }
}

impl Explained for HandError {
    fn hint(&self) -> Option<String> {
        self.cure.clone()
    }
}
