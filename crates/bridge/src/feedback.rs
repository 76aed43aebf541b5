//! The sign that shows the sender of a Matrix message its state, as a reaction of the bot: derived from the states of the
//! message's parts, or given.

use std::time::Duration;

use relay_config::Feedback;
use relay_model::{MeshFate, Sign, Timestamp};

/// Age from which a waiting message is shown as waiting.
pub(super) const SHOWN_WAITING_AFTER: Duration = Duration::from_mins(1);

/// Returns the sign to show now; `None`: none.
///
/// A refused part decides; while a part waits, nothing is final; then the worst part counts. An expired part is shown only by a
/// given sign ([`super::Action::Sign`]).
pub(super) fn sign(fate: &MeshFate, mode: Feedback, now: Timestamp) -> Option<Sign> {
    let has = |sign: Sign| fate.parts.iter().any(|part| part.sign() == Some(sign));
    let sign = if has(Sign::Refused) {
        Some(Sign::Refused)
    } else if fate.given.is_some() {
        fate.given
    } else if has(Sign::Waiting) {
        (now.since(fate.accepted_at) >= SHOWN_WAITING_AFTER).then_some(Sign::Waiting)
    } else if fate.parts.iter().any(|part| part.sign().is_none()) {
        None
    } else {
        // The worst part counts.
        let signs = [Sign::Unheard, Sign::Heard, Sign::Delivered];
        signs.into_iter().find(|sign| has(*sign))
    };
    sign.filter(|sign| mode.shows(*sign))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use strum::VariantArray as _;

    use super::*;
    use relay_model::MeshState::{
        self, Accepted, Delivered, Expired, Heard, Refused, Submitted, Unheard, Unknown, Waiting,
        Withdrawn,
    };

    const NOON: Timestamp = Timestamp(1_767_225_600_000);

    fn sign_after(seconds: u64, parts: &[MeshState], given: Option<Sign>) -> Option<Sign> {
        let now = NOON + Duration::from_secs(seconds);
        sign(&fate(parts, NOON, given), Feedback::Reactions, now)
    }

    fn fate(parts: &[MeshState], accepted_at: Timestamp, given: Option<Sign>) -> MeshFate {
        MeshFate {
            event: "$message:example.org".try_into().unwrap(),
            room: "!room:example.org".try_into().unwrap(),
            parts: parts.to_vec(),
            accepted_at,
            given,
        }
    }

    #[test]
    fn every_fate_has_its_sign() {
        for (parts, expected) in [
            (&[][..], None),
            (&[Waiting], Some(Sign::Waiting)),
            (&[Submitted], Some(Sign::Waiting)),
            (&[Accepted], None),
            (&[Unknown], None),
            (&[Unheard], Some(Sign::Unheard)),
            (&[Heard], Some(Sign::Heard)),
            (&[Delivered], Some(Sign::Delivered)),
            (&[Refused], Some(Sign::Refused)),
            (&[Expired], None),
            (&[Withdrawn], None),
            (&[Heard, Waiting], Some(Sign::Waiting)),
            (&[Heard, Accepted], None),
            (&[Heard, Unknown], None),
            (&[Heard, Submitted], Some(Sign::Waiting)),
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
        // After the clock was set back nothing is shown too early.
        let later = fate(&[Waiting], NOON + Duration::from_hours(1), None);
        assert_eq!(sign(&later, Feedback::Reactions, NOON), None);
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
        let shown = |mode: Feedback| {
            let keys = Sign::VARIANTS
                .iter()
                .copied()
                .filter(|sign| mode.shows(*sign));
            keys.map(Sign::key).collect::<String>()
        };
        assert_eq!(shown(Feedback::Reactions), "⏳📡📤✅❌🚫⌛");
        assert_eq!(shown(Feedback::Failures), "⏳❌🚫⌛");
        assert_eq!(shown(Feedback::Off), "");
    }

    /// Order of success; refusal and expiry have none.
    fn rank(sign: Option<Sign>) -> u8 {
        match sign {
            None | Some(Sign::Waiting | Sign::Refused | Sign::Denied | Sign::Expired) => 0,
            Some(Sign::Unheard) => 1,
            Some(Sign::Heard) => 2,
            Some(Sign::Delivered) => 3,
        }
    }

    /// The states that a report or a retry can lead to.
    fn next_states(state: MeshState) -> Vec<MeshState> {
        let again = matches!(state, Submitted | Accepted | Unknown).then_some(Waiting);
        let next = MeshState::VARIANTS
            .iter()
            .copied()
            .filter(|next| state.may_become(*next));
        next.chain(again).collect()
    }

    proptest! {
        #[test]
        fn signs_only_improve_but_for_refusal_and_expiry(
            count in 1_usize..4,
            steps in proptest::collection::vec((0_usize..4, 0_usize..10, 0_u64..90), 0..40),
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
                prop_assert!(sign != Some(Sign::Waiting) || parts.iter().any(|part| part.waits()));
                before = sign;
            }
        }
    }
}
