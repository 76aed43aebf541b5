//! Whether the homeserver answers, for whoever wants to know now.

use std::collections::BTreeMap;

use tokio::sync::watch;
use tokio::time::Instant;

use super::trouble::RoomTrouble;
use relay_model::OwnedRoomOrAliasId;

/// Where the sync loop notes the server's answers; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Pulse(watch::Sender<Heard>);

/// What was heard of the homeserver.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Heard {
    /// When it answered the sync loop last; a server with nothing to tell answers every 30 s.
    pub answered: Option<Instant>,
    /// Why nothing of it can be taken in.
    pub failing: Option<Failing>,
    /// What is wrong with rooms of the configuration, by their names there.
    pub troubles: BTreeMap<OwnedRoomOrAliasId, RoomTrouble>,
    /// By how many milliseconds this computer's clock is ahead of its; `None`: it has not told.
    pub clock_ahead: Option<i64>,
    /// By how many milliseconds the clock that dates its answers, a proxy's, is ahead of its own; 0: they agree.
    pub dates_ahead: i64,
}

/// Why nothing of the homeserver can be taken in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failing {
    /// Since when.
    pub since: Instant,
    /// Why.
    pub cause: String,
    /// The cure, where the cause is this computer's disk and not the homeserver.
    pub disk: Option<&'static str>,
}

impl Pulse {
    /// Returns what was heard so far.
    pub fn heard(&self) -> Heard {
        self.0.borrow().clone()
    }

    pub(super) fn answered(&self, now: Instant) {
        self.0.send_modify(|heard| {
            heard.answered = Some(now);
            heard.failing = None;
        });
    }

    /// Notes what is wrong with a room of the configuration; `None`: nothing.
    pub(super) fn trouble(&self, name: &OwnedRoomOrAliasId, trouble: Option<RoomTrouble>) {
        self.0.send_modify(|heard| {
            match trouble {
                Some(trouble) => heard.troubles.insert(name.clone(), trouble),
                None => heard.troubles.remove(name),
            };
        });
    }

    /// Notes how this computer's clock goes beside the server's, and the one that dates its answers.
    pub(super) fn clock(&self, ahead: Option<i64>, dates_ahead: i64) {
        self.0.send_modify(|heard| {
            heard.clock_ahead = ahead;
            heard.dates_ahead = dates_ahead;
        });
    }

    /// Notes that nothing can be taken in, and why; with the cure, where that is for want of a sound disk.
    pub(super) fn failed(&self, error: &str, disk: Option<&'static str>, now: Instant) {
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
        assert_eq!(pulse.heard(), Heard::default());
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
