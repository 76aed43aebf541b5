//! The fate of a message of Matrix on the mesh, step by step: the radio tells a [`RadioOutcome`] of each packet, its row
//! keeps the [`MeshState`] that this leads to, and from the states of all its packets follows the [`Sign`] that its sender
//! is shown.

use std::time::Duration;

use strum::VariantArray;

use super::ids::{OwnedEventId, OwnedRoomId};
use super::time::Timestamp;

/// What became of a packet for the mesh. A later report may improve an earlier one.
#[derive(Debug, Clone, PartialEq, Eq, strum::Display)]
#[strum(serialize_all = "snake_case")]
pub enum RadioOutcome {
    /// The radio took it.
    Accepted {
        /// When.
        at: Timestamp,
    },
    /// Another node repeated it.
    Heard,
    /// Nobody was heard repeating it; it may have been received.
    Unheard,
    /// The addressee has it.
    Delivered,
    /// Not now.
    #[strum(to_string = "retry after {after:?} (new_id: {new_id}, written: {written}): {reason}")]
    Retry {
        /// How long to wait.
        after: Duration,
        /// The next try needs another id: this one was transmitted, or the radio remembers it.
        new_id: bool,
        /// The radio was given it, and may know it; else it only waited for its turn, as if it had never been handed over.
        written: bool,
        /// Why, for the log.
        reason: String,
    },
    /// Never.
    #[strum(to_string = "refused: {0}")]
    Refused(Refusal),
}

/// Why the radio does not take a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::Display)]
#[strum(serialize_all = "snake_case")]
pub enum Refusal {
    /// The payload is too long.
    TooLong,
    /// No such channel, or it is disabled.
    NoChannel,
    /// No region set, or transmission switched off.
    TransmitOff,
    /// The radio has no interface to transmit with.
    NoInterface,
    /// The key of the addressee is not known.
    NoKey,
    /// Another `Routing.Error` number.
    #[strum(to_string = "error {0}")]
    Other(u32),
}

/// What became of a packet for the mesh so far. The tables, and the views and indexes of the migrations, have its place among
/// these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, VariantArray)]
pub enum MeshState {
    /// It waits in the outbox.
    Waiting,
    /// It was handed to the radio, which has not answered yet.
    Submitted,
    /// The radio took it.
    Accepted,
    /// The radio took it, and nothing more was heard in time.
    Unknown,
    /// It was on the air; nobody was heard repeating it.
    Unheard,
    /// Another node repeated it.
    Heard,
    /// The addressee has it.
    Delivered,
    /// The radio will never take it.
    Refused,
    /// It was too old when its turn came.
    Expired,
    /// It was taken back before it was sent.
    Withdrawn,
}

impl MeshState {
    /// Returns the sign of a packet in this state; `None`: nothing is to be shown of it.
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

    /// Returns whether it waits for the radio still, or for the radio's answer.
    pub fn waits(self) -> bool {
        matches!(self, Self::Waiting | Self::Submitted)
    }

    /// Returns whether a report may lead from this state to `next`: a state only improves, except that the radio can
    /// refuse what it had taken.
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

/// A sign on a message of Matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, VariantArray)]
pub enum Sign {
    /// It waits in our queue.
    Waiting,
    /// Another node repeated it.
    Heard,
    /// It was on the air; no repeat was heard.
    Unheard,
    /// The addressee confirmed it.
    Delivered,
    /// It will not be transmitted.
    Refused,
    /// Its sender may not transmit.
    Denied,
    /// It was too old when its turn came.
    Expired,
}

impl Sign {
    /// Returns the key of the reaction.
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

    /// Returns the sign with that key.
    pub fn of_key(key: &str) -> Option<Self> {
        let mut signs = Self::VARIANTS.iter().copied();
        signs.find(|sign| sign.key() == key)
    }
}

/// What is known of a message of Matrix, for its sign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MeshFate {
    /// The message.
    pub event: OwnedEventId,
    /// Its room.
    pub room: OwnedRoomId,
    /// What became of its parts, in order; none if it never was to be transmitted.
    pub parts: Vec<MeshState>,
    /// When it was accepted.
    pub accepted_at: Timestamp,
    /// The sign that was given to it, where that does not follow from its parts.
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
