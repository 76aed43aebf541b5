//! How far a radio's text and its silence are believed, where it may have forgotten us. No I/O, no clock.

use std::time::{Duration, Instant};

use relay_model::Backoff;

/// Text of the log is not believed for so long once it was; longer each time that it meant nothing.
pub(super) const OF_LOG: Backoff = Backoff::new(FIRST, Duration::from_hours(1));
/// Text that tells of a start likewise.
pub(super) const OF_STARTS: Backoff = Backoff::new(FIRST, Duration::from_mins(1));
pub(super) const FIRST: Duration = Duration::from_secs(5);

/// Every radio tells its client its own telemetry each minute: one that hands over no packet for so long may have
/// forgotten us. Longer as long as asking brings nothing.
const QUIET: Backoff = Backoff::new(Duration::from_mins(5), Duration::from_hours(1));
/// A packet that comes so soon after a question came because of it.
const BROUGHT: Duration = Duration::from_mins(1);

/// Text that only a radio without a client prints, or only one that starts: there are radios that print it all the time,
/// and people who have it printed.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Doubt {
    /// Not before then.
    until: Option<Instant>,
    /// How often it was believed.
    believed: u32,
}

impl Doubt {
    /// Takes such text. Returns until when it is not believed; `None` if it is.
    pub(super) fn lasts(&mut self, pauses: Backoff, now: Instant) -> Option<Instant> {
        let lasts = self.until.filter(|until| now < *until);
        if lasts.is_none() {
            self.believed = self.believed.saturating_add(1);
            self.until = Some(now + pauses.after(self.believed, 0.0));
        }
        lasts
    }
}

/// How long a radio has handed over no packet.
#[derive(Debug, Clone, Copy)]
pub(super) struct Quiet {
    since: Instant,
    /// How often asking brought nothing.
    in_vain: u32,
    asked_at: Option<Instant>,
}

impl Quiet {
    /// Makes one for a radio that is asked now.
    pub(super) fn since(now: Instant) -> Self {
        Self {
            since: now,
            in_vain: 0,
            asked_at: None,
        }
    }

    /// A packet has come.
    pub(super) fn ends(&mut self, now: Instant) {
        self.since = now;
        if self.asked_at.take().is_some_and(|at| now < at + BROUGHT) {
            self.in_vain = 0;
        }
    }

    /// Returns when the radio is to be asked.
    pub(super) fn deadline(&self) -> Instant {
        self.since + QUIET.after(self.in_vain.saturating_add(1), 0.0)
    }

    /// The radio is asked because of it.
    pub(super) fn asks(&mut self, now: Instant) {
        (self.since, self.asked_at) = (now, Some(now));
        self.in_vain = self.in_vain.saturating_add(1);
    }
}
