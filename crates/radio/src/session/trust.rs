//! How far a radio's printed text and its silence count as signs that it has forgotten this client. No I/O, no clock.

use std::time::{Duration, Instant};

use relay_model::Backoff;

/// How long log lines are not trusted after they were; it grows with each false alarm.
pub(super) const OF_LOG: Backoff = Backoff::new(FIRST_PAUSE, Duration::from_hours(1));
/// How long boot messages are not trusted after they were; it grows with each false alarm.
pub(super) const OF_STARTS: Backoff = Backoff::new(FIRST_PAUSE, Duration::from_mins(1));
pub(super) const FIRST_PAUSE: Duration = Duration::from_secs(5);

/// How long a radio may deliver no packet before it counts as having forgotten this client: every radio sends its own
/// telemetry each minute. It grows with each request that changes nothing.
const QUIET: Backoff = Backoff::new(Duration::from_mins(5), Duration::from_hours(1));
/// Maximum time from a request to the first packet that counts as its effect.
const EFFECT_WITHIN: Duration = Duration::from_mins(1);

/// Back-off for text that only a restarting radio prints, or one without a client. Some radios print it all the time,
/// and people can have it printed.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Trust {
    /// When it is trusted again.
    until: Option<Instant>,
    times_trusted: u32,
}

impl Trust {
    /// Takes a text of this kind. Returns until when it is not trusted; `None` if it is trusted now.
    pub(super) fn distrusted_until(&mut self, pauses: Backoff, now: Instant) -> Option<Instant> {
        let until = self.until.filter(|until| now < *until);
        if until.is_none() {
            self.times_trusted = self.times_trusted.saturating_add(1);
            self.until = Some(now + pauses.after(self.times_trusted, 0.0));
        }
        until
    }
}

/// The time without packets of the radio.
#[derive(Debug, Clone, Copy)]
pub(super) struct Quiet {
    since: Instant,
    /// Number of requests without effect.
    in_vain: u32,
    asked_at: Option<Instant>,
}

impl Quiet {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            since: now,
            in_vain: 0,
            asked_at: None,
        }
    }

    pub(super) fn on_packet(&mut self, now: Instant) {
        self.since = now;
        if self
            .asked_at
            .take()
            .is_some_and(|at| now < at + EFFECT_WITHIN)
        {
            self.in_vain = 0;
        }
    }

    /// Returns when the next request is due.
    pub(super) fn deadline(&self) -> Instant {
        self.since + QUIET.after(self.in_vain.saturating_add(1), 0.0)
    }

    pub(super) fn on_request(&mut self, now: Instant) {
        (self.since, self.asked_at) = (now, Some(now));
        self.in_vain = self.in_vain.saturating_add(1);
    }
}
