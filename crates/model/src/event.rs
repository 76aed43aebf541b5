//! What happened: the one vocabulary in which the adapters talk to the bridge.

use std::time::Duration;

use super::chore::Chore;
use super::fate::RadioOutcome;
use super::ids::{MeshRowId, OwnedEventId, PacketId, RoomRowId};
use super::radio_event::RadioEvent;
use super::room_event::MatrixEvent;

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
