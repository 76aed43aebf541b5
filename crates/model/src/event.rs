//! Events: the vocabulary in which the adapters talk to the bridge.

use std::time::Duration;

use super::ids::{MeshRowId, OwnedEventId, PacketId, RoomRowId};
use super::{chore::Chore, fate::RadioOutcome, radio_event::RadioEvent, room_event::MatrixEvent};

/// Something that happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// On the mesh, or to the link to the radio.
    Radio(RadioEvent),
    /// In a room.
    Matrix(MatrixEvent),
    /// To a message of ours.
    Report(SendReport),
    /// A chore is due.
    Chore(Chore),
}

impl Event {
    /// Returns its name for the log, without its text.
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

    /// Returns its sender for the log; empty if there is none.
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

/// A report on a message of ours.
#[derive(Debug, Clone, PartialEq)]
pub enum SendReport {
    /// On a message for a room.
    Room {
        /// Its row.
        outbox: RoomRowId,
        /// The outcome.
        outcome: RoomOutcome,
    },
    /// On a packet for the mesh.
    Radio {
        /// Its row.
        outbox: MeshRowId,
        /// The packet id of the attempt.
        packet: PacketId,
        /// The outcome.
        outcome: RadioOutcome,
    },
}

/// Outcome of sending to a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RoomOutcome {
    /// The server has accepted it.
    Sent {
        /// Its event.
        event: OwnedEventId,
    },
    /// Retry later.
    Retry {
        /// The delay that the server asked for, if any.
        after: Option<Duration>,
        /// Rate limit (429): everything that this account sends has to wait.
        limited: bool,
        /// Reason for the log.
        error: String,
    },
    /// Not before something changes in the room (403) or with the account (401).
    Parked {
        /// Whether it concerns the whole account.
        account: bool,
        /// Reason for the log and `status`.
        error: String,
    },
    /// Permanent failure.
    Refused {
        /// Reason for the log.
        error: String,
    },
}
