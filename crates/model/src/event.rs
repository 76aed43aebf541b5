//! Events: the vocabulary in which the adapters talk to the bridge.

use std::time::Duration;

use super::ids::{MeshRowId, OwnedEventId, PacketId, RoomRowId};
use super::{chore::Chore, fate::RadioOutcome, radio_event::RadioEvent, room_event::MatrixEvent};

/// Something that happened, for the bridge to decide on.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// On the mesh, or to the link to the radio.
    Radio(RadioEvent),
    /// In a mapped room, or to the account.
    Matrix(MatrixEvent),
    /// To a row of an outbox, told by a worker or by the radio's adapter.
    Report(SendReport),
    /// Work that the loop gives itself is due.
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

/// What became of a row that was handed to an adapter.
#[derive(Debug, Clone, PartialEq)]
pub enum SendReport {
    /// Of an event for a room.
    Room {
        /// Row in the outbox for rooms.
        outbox: RoomRowId,
        /// What the homeserver said, or why it could not be asked.
        outcome: RoomOutcome,
    },
    /// Of a packet for the mesh.
    Radio {
        /// Row in the outbox for the mesh.
        outbox: MeshRowId,
        /// Packet id under which the row was tried; a retry can have another one.
        packet: PacketId,
        /// What the radio or the mesh said, or that nothing came.
        outcome: RadioOutcome,
    },
}

/// Outcome of one attempt to send a row to a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RoomOutcome {
    /// The homeserver has accepted it, now or at an earlier attempt.
    Sent {
        /// Id that the homeserver gave the event.
        event: OwnedEventId,
    },
    /// Not accepted now: the row is sent again, under the same transaction id.
    Retry {
        /// Minimum delay that the server asked for (`retry_after_ms`); `None`: the worker's own back-off.
        after: Option<Duration>,
        /// Rate limit (429): everything that this account sends has to wait.
        limited: bool,
        /// Cause in words, for the log.
        error: String,
    },
    /// Not before something changes in the room (403) or with the account (401).
    Parked {
        /// True: nothing of this account can be sent (401); false: nothing for this room.
        account: bool,
        /// Cause in words, for the log and `status`.
        error: String,
    },
    /// Never accepted: the row ends.
    Refused {
        /// Cause in words, for the log.
        error: String,
    },
}
