//! The homeserver's current state, shared between the adapter and its users.

use std::collections::BTreeMap;

use tokio::sync::watch;
use tokio::time::Instant;

use super::{appearance::NotShown, trouble::RoomTrouble};
use relay_disk::Trouble;
use relay_model::OwnedRoomOrAliasId;

/// Where the sync loop records the server's answers; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Pulse(watch::Sender<HomeserverState>);

/// What the adapter last knew of the homeserver.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HomeserverState {
    /// Time of the last answer to the sync loop; an idle server answers every 30 s.
    pub answered: Option<Instant>,
    /// Why answers of the server cannot be processed.
    pub failing: Option<Failing>,
    /// Problems with configured rooms, by their configured names.
    pub troubles: BTreeMap<OwnedRoomOrAliasId, RoomTrouble>,
    /// Why the bot does not show itself as configured.
    pub not_shown: Option<NotShown>,
    /// Number of messages that the server has forgotten, and when that was noticed: its database was put back.
    pub put_back: Option<(usize, Instant)>,
    /// Milliseconds that this computer's clock is ahead of the server's; `None`: unknown.
    pub clock_ahead: Option<i64>,
    /// Milliseconds that the clock dating its answers, a proxy's, is ahead of its own; 0: they agree.
    pub dates_ahead: i64,
}

/// Why answers of the homeserver cannot be processed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failing {
    /// When the first failure since the last answer happened.
    pub since: Instant,
    /// Error of the latest failure, in words.
    pub cause: String,
    /// What is wrong with this computer's disk, if that is the cause and not the homeserver.
    pub disk: Option<Trouble>,
}

impl Pulse {
    /// Returns the state as last recorded.
    pub fn heard(&self) -> HomeserverState {
        self.0.borrow().clone()
    }

    pub(super) fn answered(&self, now: Instant) {
        self.0.send_modify(|heard| {
            heard.answered = Some(now);
            heard.failing = None;
        });
    }

    /// Records the problem of a configured room; `None`: none.
    pub(super) fn trouble(&self, name: &OwnedRoomOrAliasId, trouble: Option<RoomTrouble>) {
        self.0.send_modify(|heard| {
            match trouble {
                Some(trouble) => heard.troubles.insert(name.clone(), trouble),
                None => heard.troubles.remove(name),
            };
        });
    }

    /// Records why the bot does not show itself as configured; `None`: it does, as far as known.
    pub(super) fn not_shown(&self, why: Option<NotShown>) {
        self.0.send_modify(|heard| heard.not_shown = why);
    }

    /// Records that the server has forgotten this many messages.
    pub(super) fn put_back(&self, events: usize, now: Instant) {
        self.0
            .send_modify(|heard| heard.put_back = Some((events, now)));
    }

    /// Records the offsets of this computer's clock, and of the clock that dates the server's answers.
    pub(super) fn clock(&self, ahead: Option<i64>, dates_ahead: i64) {
        self.0.send_modify(|heard| {
            heard.clock_ahead = ahead;
            heard.dates_ahead = dates_ahead;
        });
    }

    /// Records a failure and its cause; with the disk's trouble, if that is the cause.
    pub(super) fn failed(&self, error: &str, disk: Option<Trouble>, now: Instant) {
        self.0.send_modify(|heard| {
            let since = heard.failing.as_ref().map(|failing| failing.since);
            heard.failing = Some(Failing {
                since: since.unwrap_or(now),
                cause: error.to_owned(),
                disk,
            });
        });
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn an_outage_counts_from_its_first_failure_and_ends_with_an_answer() {
        let pulse = Pulse::default();
        assert_eq!(pulse.heard(), HomeserverState::default());
        let since = Instant::now();
        let later = since + Duration::from_secs(9);
        pulse.failed("refused", None, since);
        pulse.failed("no answer", None, later);
        let failing = pulse.heard().failing.unwrap();
        assert_eq!((failing.since, &*failing.cause), (since, "no answer"));
        pulse.answered(later);
        assert_eq!(pulse.heard().answered, Some(later));
        assert_eq!(pulse.heard().failing, None);
    }
}
