//! What the sender of a Matrix message is shown of its fate: one sign, put on the message as a reaction of the bot.
//! Which sign that is follows from what became of the message's parts, or is given where nothing became of it. Pure.

use std::time::Duration;

use crate::config::Feedback;
use crate::model::Timestamp;

/// A message that waits longer is shown as waiting.
pub const SHOWN_WAITING_AFTER: Duration = Duration::from_mins(1);

/// A sign on a message of Matrix; design.md 9 says what each tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
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
    /// All signs, in the order in which they are declared.
    pub const ALL: [Self; 7] = [
        Self::Waiting,
        Self::Heard,
        Self::Unheard,
        Self::Delivered,
        Self::Refused,
        Self::Denied,
        Self::Expired,
    ];

    /// Returns the key of the reaction.
    #[must_use]
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
    #[must_use]
    pub fn of_key(key: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|sign| sign.key() == key)
    }

    /// Returns whether people are shown this sign (`meshtastic.delivery_feedback`).
    #[must_use]
    pub fn is_shown(self, mode: Feedback) -> bool {
        match mode {
            Feedback::Reactions => true,
            Feedback::Failures => match self {
                Self::Waiting | Self::Refused | Self::Denied | Self::Expired => true,
                Self::Heard | Self::Unheard | Self::Delivered => false,
            },
            Feedback::Off => false,
        }
    }
}

/// What became of one part of a message so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PartState {
    /// It waits, or the radio was asked to take it and has not answered.
    Waiting,
    /// The radio took it, and nothing more is known, yet or for good.
    Sent,
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
    /// It was taken back.
    Withdrawn,
}

/// What is known of a message of Matrix, for the sign that its sender is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fate<'a> {
    /// What became of its parts; none if it was never to be transmitted.
    pub parts: &'a [PartState],
    /// When it was accepted.
    pub waits_since: Timestamp,
    /// The sign that was given to it ([`super::Action::Sign`]).
    pub given: Option<Sign>,
}

impl Fate<'_> {
    /// Returns the sign that its sender is to be shown now; `None`: none.
    ///
    /// Over all parts: a refused one says it all; as long as one waits nothing is final; then the worst counts. That a
    /// part expired is shown only where the sign is given.
    #[must_use]
    pub fn sign(&self, mode: Feedback, now: Timestamp) -> Option<Sign> {
        let sign = if self.parts.contains(&PartState::Refused) {
            Some(Sign::Refused)
        } else if self.given.is_some() {
            self.given
        } else if self.parts.contains(&PartState::Waiting) {
            (now.since(self.waits_since) >= SHOWN_WAITING_AFTER).then_some(Sign::Waiting)
        } else {
            self.worst()
        };
        sign.filter(|sign| sign.is_shown(mode))
    }

    /// Returns the worst of what became of the parts, if each has a sign.
    fn worst(&self) -> Option<Sign> {
        let has = |state: PartState| self.parts.contains(&state);
        if self.parts.is_empty()
            || has(PartState::Sent)
            || has(PartState::Expired)
            || has(PartState::Withdrawn)
        {
            None
        } else if has(PartState::Unheard) {
            Some(Sign::Unheard)
        } else if has(PartState::Heard) {
            Some(Sign::Heard)
        } else {
            Some(Sign::Delivered)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::PartState::{Delivered, Expired, Heard, Refused, Sent, Unheard, Waiting, Withdrawn};
    use super::*;

    const NOON: Timestamp = Timestamp(1_767_225_600_000);

    fn sign_after(seconds: u64, parts: &[PartState], given: Option<Sign>) -> Option<Sign> {
        let fate = Fate {
            parts,
            waits_since: NOON,
            given,
        };
        fate.sign(Feedback::Reactions, NOON + Duration::from_secs(seconds))
    }

    #[test]
    fn every_fate_has_its_sign() {
        for (parts, expected) in [
            (&[][..], None),
            (&[Waiting], Some(Sign::Waiting)),
            (&[Sent], None),
            (&[Unheard], Some(Sign::Unheard)),
            (&[Heard], Some(Sign::Heard)),
            (&[Delivered], Some(Sign::Delivered)),
            (&[Refused], Some(Sign::Refused)),
            (&[Expired], None),
            (&[Withdrawn], None),
            (&[Heard, Waiting], Some(Sign::Waiting)),
            (&[Heard, Sent], None),
            (&[Heard, Unheard, Heard], Some(Sign::Unheard)),
            (&[Delivered, Heard], Some(Sign::Heard)),
            (&[Heard, Refused, Waiting], Some(Sign::Refused)),
            (&[Heard, Expired], None),
            (&[Heard, Withdrawn], None),
        ] {
            assert_eq!(sign_after(60, parts, None), expected, "{parts:?}");
        }
    }

    #[test]
    fn waiting_is_shown_after_a_minute_and_not_before() {
        assert_eq!(sign_after(59, &[Waiting], None), None);
        assert_eq!(sign_after(60, &[Waiting], None), Some(Sign::Waiting));
        assert_eq!(sign_after(59, &[Heard, Waiting], None), None);
        // A clock that was set back shows nothing too early.
        let fate = Fate {
            parts: &[Waiting],
            waits_since: NOON + Duration::from_hours(1),
            given: None,
        };
        assert_eq!(fate.sign(Feedback::Reactions, NOON), None);
    }

    #[test]
    fn a_sign_that_was_given_is_shown_unless_the_radio_refused() {
        for given in [Sign::Refused, Sign::Denied, Sign::Expired] {
            assert_eq!(sign_after(0, &[], Some(given)), Some(given));
        }
        let expired = Some(Sign::Expired);
        assert_eq!(sign_after(0, &[Heard, Expired], expired), expired);
        assert_eq!(
            sign_after(0, &[Refused, Expired], expired),
            Some(Sign::Refused)
        );
    }

    #[test]
    fn failures_are_what_does_not_go_well_and_off_is_nothing() {
        let shown = |mode| {
            let keys = Sign::ALL.into_iter().filter(|sign| sign.is_shown(mode));
            keys.map(Sign::key).collect::<String>()
        };
        assert_eq!(shown(Feedback::Reactions), "⏳📡📤✅❌🚫⌛");
        assert_eq!(shown(Feedback::Failures), "⏳❌🚫⌛");
        assert_eq!(shown(Feedback::Off), "");
    }

    #[test]
    fn a_sign_is_known_by_its_key() {
        for sign in Sign::ALL {
            assert_eq!(Sign::of_key(sign.key()), Some(sign));
        }
        assert_eq!(Sign::of_key("👍"), None);
    }

    /// How good the news are; a refusal or expiry is none of these.
    fn rank(sign: Option<Sign>) -> u8 {
        match sign {
            None | Some(Sign::Waiting | Sign::Refused | Sign::Denied | Sign::Expired) => 0,
            Some(Sign::Unheard) => 1,
            Some(Sign::Heard) => 2,
            Some(Sign::Delivered) => 3,
        }
    }

    /// What a report can make of a part.
    fn next_states(state: PartState) -> &'static [PartState] {
        match state {
            Waiting => &[Sent, Unheard, Heard, Delivered, Refused, Expired, Withdrawn],
            // Refused for now, after it was taken: it waits again.
            Sent => &[Waiting, Unheard, Heard, Delivered, Refused],
            Unheard => &[Heard, Delivered, Refused],
            Heard => &[Delivered, Refused],
            Delivered | Refused | Expired | Withdrawn => &[],
        }
    }

    proptest! {
        #[test]
        fn signs_only_improve_but_for_refusal_and_expiry(
            count in 1_usize..4,
            steps in proptest::collection::vec((0_usize..4, 0_usize..8, 0_u64..90), 0..40),
        ) {
            let mut parts = vec![Waiting; count];
            let mut seconds = 0;
            let mut before = None;
            for (part, choice, later) in steps {
                seconds += later;
                let part = part % count;
                let choices = next_states(parts[part]);
                if !choices.is_empty() {
                    parts[part] = choices[choice % choices.len()];
                }
                let sign = sign_after(seconds, &parts, None);
                if before == Some(Sign::Refused) {
                    prop_assert_eq!(sign, before);
                }
                let failed = [Refused, Expired, Withdrawn].iter().any(|it| parts.contains(it));
                prop_assert!(failed || rank(sign) >= rank(before), "{before:?} {sign:?} {parts:?}");
                prop_assert!(sign != Some(Sign::Waiting) || parts.contains(&Waiting));
                before = sign;
            }
        }
    }
}
