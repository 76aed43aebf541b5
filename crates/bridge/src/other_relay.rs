//! Other relays that work with the bot's account: each of them transmits what is written in a room, and none posts what another
//! one has posted, as nobody relays his own account's messages.

use super::{Bridge, facts::Facts};
use relay_model::{Explained, MatrixEvent, Timestamp};

/// Another relay with our account, by what its posts tell of it.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, strum::IntoStaticStr, thiserror::Error,
)]
#[strum(serialize_all = "snake_case")]
pub enum OtherRelay {
    /// It has our device, too.
    #[error("another relay works with this relay's own device: one home is a copy of the other")]
    SameDevice,
    /// It has logged in by itself.
    #[error("another relay works with this account")]
    OtherDevice,
    /// It is no relay of our kind: its posts have no `relay_id`.
    #[error("MMRelay works with this account, too")]
    MmRelay,
}

impl OtherRelay {
    /// Returns its name in `relay status`.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

impl Explained for OtherRelay {
    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::SameDevice => {
                "stop one of them at once: two relays with one device destroy its encryption; to run both, give the copy \
                 an account of its own with `relay auth login --force`"
            }
            Self::OtherDevice => {
                "stop one of them, or give it an account of its own with `relay auth login --force`: both transmit what is \
                 written in a room, and neither transmits what the other one posts"
            }
            Self::MmRelay => {
                "stop MMRelay, or give it an account of its own: both say everything, in the room and on the mesh"
            }
        };
        Some(hint.to_owned())
    }
}

impl Bridge {
    /// Returns what an event of the bot's account tells of another relay: a post of a mesh message, written since the start,
    /// that is not ours. An older one may be from before a restore or a move; what a person writes with the account is no post.
    pub(super) fn other_relay(&self, own: &MatrixEvent, facts: &Facts) -> Option<OtherRelay> {
        let MatrixEvent::Own {
            transaction,
            relay_id,
            of_mesh,
            sent_at,
            ..
        } = own
        else {
            return None;
        };
        if *sent_at < self.started? || !of_mesh || facts.is_our_post {
            return None;
        }
        Some(match (relay_id, transaction) {
            (None, _) => OtherRelay::MmRelay,
            (Some(_), Some(_)) => OtherRelay::SameDevice,
            (Some(_), None) => OtherRelay::OtherDevice,
        })
    }

    /// Notes when the relay started.
    pub(super) fn starts(&mut self, now: Timestamp) {
        self.started = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::testing::*;
    use super::*;
    use crate::action::Action;
    use relay_model::{Chore, Event};

    /// Returns what is told of an own event, sent so many seconds after the start.
    fn told(
        (relay_id, of_mesh): (Option<&str>, bool),
        transaction: Option<&str>,
        is_our_post: bool,
        after: i64,
    ) -> Option<OtherRelay> {
        let own = MatrixEvent::Own {
            room: room(ROOM),
            event: event("$post"),
            transaction: transaction.map(Into::into),
            relay_id: relay_id.map(str::to_owned),
            of_mesh,
            sent_at: Timestamp(NOON.0 + after * 1000),
        };
        let facts = Facts {
            is_our_post,
            ..Facts::default()
        };
        let mut bridge = bridge();
        bridge.decide(&Event::Chore(Chore::Start), &Facts::default(), NOON);
        let later = NOON + Duration::from_mins(1);
        assert!(
            bridge
                .questions(&Event::Matrix(own.clone()), later)
                .relay_id
                .as_deref()
                == relay_id
        );
        let actions = bridge.decide(&Event::Matrix(own), &facts, later);
        actions.into_iter().find_map(|action| match action {
            Action::OtherRelay(other, _) => Some(other),
            _ => None,
        })
    }

    #[test]
    fn another_relay_with_our_account_is_named_by_its_posts() {
        let (ours, mmrelays) = ((Some("0af3"), true), (None, true));
        assert_eq!(told(ours, None, false, 1), Some(OtherRelay::OtherDevice));
        assert_eq!(
            told(ours, Some("t"), false, 1),
            Some(OtherRelay::SameDevice)
        );
        assert_eq!(told(mmrelays, None, false, 1), Some(OtherRelay::MmRelay));
    }

    #[test]
    fn our_own_posts_older_ones_and_what_a_person_writes_tell_of_no_other_relay() {
        let (post, words) = ((Some("0af3"), true), (None, false));
        assert_eq!(told(post, Some("t"), true, 1), None);
        // The homeserver has forgotten the transaction.
        assert_eq!(told(post, None, true, 1), None);
        // From before a restore, or a move to this home.
        assert_eq!(told(post, None, false, -1), None);
        assert_eq!(told((None, true), None, false, -1), None);
        assert_eq!(told(words, None, false, 1), None);
    }
}
