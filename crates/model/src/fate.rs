//! The fate of a Matrix message on the mesh: the radio reports a [`RadioOutcome`] of each packet, the packet's row stores the
//! resulting [`MeshState`], and the states of all packets determine the [`Sign`] shown to the sender.

use std::time::Duration;

use strum::VariantArray;

use super::ids::{OwnedEventId, OwnedRoomId};
use super::time::Timestamp;

/// Outcome of a mesh packet. A later report may improve an earlier one.
#[derive(Debug, Clone, PartialEq, Eq, strum::Display)]
#[strum(serialize_all = "snake_case")]
pub enum RadioOutcome {
    /// The radio has put it into its transmit queue.
    Accepted {
        /// When the radio's answer arrived, or was given up, by our clock.
        at: Timestamp,
        /// The radio said so. Otherwise it was silent to the repeated question, as it is for a packet that it knows.
        answered: bool,
    },
    /// Another node was heard repeating it: an implicit acknowledgement.
    Heard,
    /// No repeat was heard; it may have been received all the same.
    Unheard,
    /// The node that a direct message is for has acknowledged it.
    Delivered,
    /// Not taken now: it waits again and is tried after a delay.
    #[strum(to_string = "retry after {after:?} (new_id: {new_id}, written: {written}): {reason}")]
    Retry {
        /// Minimum delay before the next attempt.
        after: Duration,
        /// The retry needs another id: this one was transmitted, or the radio remembers it.
        new_id: bool,
        /// The radio was given it and may know it; otherwise it was only queued here.
        written: bool,
        /// Cause in words, for the log.
        reason: String,
    },
    /// Refused for good: it is not tried again, and its sender is told.
    #[strum(to_string = "refused: {0}")]
    Refused(Refusal),
}

/// Why the radio refuses a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::Display)]
#[strum(serialize_all = "snake_case")]
pub enum Refusal {
    /// The payload exceeds what the radio takes.
    TooLong,
    /// The slot holds no channel, or the radio does not know it.
    NoChannel,
    /// No region set, or transmission switched off.
    TransmitOff,
    /// The radio has no interface to transmit with.
    NoInterface,
    /// The public key of the addressee is unknown.
    NoKey,
    /// A `Routing.Error` without a case of its own, by its number in mesh.proto.
    #[strum(to_string = "error {0}")]
    Other(u32),
}

/// State of a mesh packet. Stored by its position here, as used by views and indexes of the migrations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, VariantArray)]
pub enum MeshState {
    /// In the outbox: not handed to the radio, or returned by it.
    Waiting,
    /// Handed to the radio, which has not answered yet.
    Submitted,
    /// In the radio's transmit queue, or on the air.
    Accepted,
    /// Taken by the radio, without a later report in time.
    Unknown,
    /// Transmitted; no repeat was heard, though it may have been received.
    Unheard,
    /// Another node was heard repeating it.
    Heard,
    /// The node that a direct message is for has acknowledged it.
    Delivered,
    /// Refused for good by the radio, or by our own rules while it waited.
    Refused,
    /// Too old, or too many after an outage: it was not sent.
    Expired,
    /// Taken back before it was sent: redacted, its author banned, or given up with its room.
    Withdrawn,
}

impl MeshState {
    /// Returns the sign of a packet in this state; `None`: no sign.
    pub fn sign(self) -> Option<Sign> {
        match self {
            Self::Waiting | Self::Submitted => Some(Sign::Waiting),
            Self::Unheard => Some(Sign::Unheard),
            Self::Heard => Some(Sign::Heard),
            Self::Delivered => Some(Sign::Delivered),
            Self::Refused => Some(Sign::Refused),
            Self::Accepted | Self::Unknown | Self::Expired | Self::Withdrawn => None,
        }
    }

    /// Returns whether it still waits for the radio or for its answer.
    pub fn waits(self) -> bool {
        matches!(self, Self::Waiting | Self::Submitted)
    }

    /// Returns whether a report may change this state to `next`: states only improve, except that the radio can refuse a packet
    /// that it had taken.
    pub fn may_become(self, next: Self) -> bool {
        match self {
            Self::Waiting => next != Self::Waiting,
            Self::Submitted => next != Self::Submitted,
            Self::Accepted | Self::Unknown | Self::Unheard | Self::Heard => {
                next == Self::Refused || (self < next && next <= Self::Delivered)
            }
            Self::Delivered | Self::Refused | Self::Expired | Self::Withdrawn => false,
        }
    }
}

/// A reaction of the bot that shows the sender what became of a Matrix message; only one at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, VariantArray)]
pub enum Sign {
    /// A part of it waits for the radio or for its answer.
    Waiting,
    /// Another node was heard repeating each of its parts.
    Heard,
    /// Transmitted; of a part no repeat was heard.
    Unheard,
    /// The node that it is for has acknowledged it.
    Delivered,
    /// Not transmitted, or a part of it not: the radio or a rule refuses it.
    Refused,
    /// Not transmitted: its sender may not.
    Denied,
    /// Not transmitted: it was too old, or too many waited after an outage.
    Expired,
}

impl Sign {
    /// Returns the emoji that is the reaction's key.
    pub fn key(self) -> &'static str {
        match self {
            Self::Waiting => "⏳",
            Self::Heard => "📡",
            Self::Unheard => "📤",
            Self::Delivered => "✅",
            Self::Refused => "❌",
            Self::Denied => "🚫",
            Self::Expired => "⌛",
        }
    }

    /// Returns the sign with that emoji; `None` if it is none of ours.
    pub fn of_key(key: &str) -> Option<Self> {
        let mut signs = Self::VARIANTS.iter().copied();
        signs.find(|sign| sign.key() == key)
    }
}

/// What is known of a Matrix message when its sign is decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MeshFate {
    /// Id of the message in its room, not of a packet.
    pub event: OwnedEventId,
    /// Id of the room that it was written in.
    pub room: OwnedRoomId,
    /// The states of its parts, in order; empty if it was never to be transmitted.
    pub parts: Vec<MeshState>,
    /// When it was accepted, or given its sign, by our clock; the waiting sign counts from it.
    pub accepted_at: Timestamp,
    /// The given sign, if it does not follow from its parts.
    pub given: Option<Sign>,
}

#[cfg(test)]
mod tests {
    use super::MeshState::{
        Accepted, Delivered, Expired, Heard, Refused, Submitted, Unheard, Unknown, Waiting,
        Withdrawn,
    };
    use super::*;

    #[test]
    fn what_is_on_the_air_only_improves_unless_it_is_refused_after_all() {
        assert!(Accepted.may_become(Unheard));
        assert!(Unheard.may_become(Heard));
        assert!(Unknown.may_become(Heard));
        assert!(Heard.may_become(Delivered));
        assert!(Heard.may_become(Refused));
        for state in [Accepted, Unknown, Unheard, Heard, Delivered] {
            for back in [Waiting, Submitted, Accepted, Expired, Withdrawn] {
                assert!(!state.may_become(back), "{state:?} {back:?}");
            }
        }
        assert!(!Heard.may_become(Unheard));
    }

    #[test]
    fn what_is_over_stays_over() {
        for state in [Delivered, Refused, Expired, Withdrawn] {
            for &next in MeshState::VARIANTS {
                assert!(!state.may_become(next), "{state:?} {next:?}");
            }
        }
    }

    #[test]
    fn an_outcome_is_told_in_words() {
        let retry = RadioOutcome::Retry {
            after: Duration::from_secs(2),
            new_id: true,
            written: false,
            reason: "the link was lost".to_owned(),
        };
        for (outcome, told) in [
            (RadioOutcome::Heard, "heard"),
            (RadioOutcome::Refused(Refusal::TooLong), "refused: too_long"),
            (
                RadioOutcome::Refused(Refusal::Other(38)),
                "refused: error 38",
            ),
            (
                retry,
                "retry after 2s (new_id: true, written: false): the link was lost",
            ),
        ] {
            assert_eq!(outcome.to_string(), told);
        }
    }

    #[test]
    fn a_sign_is_known_by_its_key() {
        for &sign in Sign::VARIANTS {
            assert_eq!(Sign::of_key(sign.key()), Some(sign));
        }
        assert_eq!(Sign::of_key("👍"), None);
    }
}
