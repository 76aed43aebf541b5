//! How far a radio's text and its silence are believed, where it may have forgotten us. No I/O, no clock.

use std::time::{Duration, Instant};

/// Text is believed that soon again; doubled each time that it meant nothing,
pub(super) const FIRST: Duration = Duration::from_secs(5);
/// up to that where it is of the log,
pub(super) const LONGEST_OF_LOG: Duration = Duration::from_hours(1);
/// and up to that where it tells of a start.
pub(super) const LONGEST_OF_STARTS: Duration = Duration::from_mins(1);

/// Every radio tells its client its own telemetry each minute: one that hands over no packet for so long may have
/// forgotten us. Doubled as long as asking brings nothing.
const FIRST_QUIET: Duration = Duration::from_mins(5);
const LONGEST_QUIET: Duration = Duration::from_hours(1);
/// A packet that comes so soon after a question came because of it.
const BROUGHT: Duration = Duration::from_mins(1);

/// Text that only a radio without a client prints, or only one that starts: there are radios that print it all the time,
/// and people who have it printed.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Doubt {
    /// Not before then.
    until: Option<Instant>,
    /// For so long the next time.
    span: Duration,
    /// There was such text meanwhile.
    pending: bool,
}

impl Doubt {
    /// Takes such text. Returns whether it is believed; if not yet, it is remembered until [`Doubt::deadline`].
    pub(super) fn believes(&mut self, longest: Duration, now: Instant) -> bool {
        if self.until.is_some_and(|until| now < until) {
            self.pending = true;
            return false;
        }
        let span = (self.span * 2).clamp(FIRST, longest);
        *self = Self {
            until: Some(now + span),
            span,
            pending: false,
        };
        true
    }

    /// Returns when the text that is remembered will be believed.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.until.filter(|_| self.pending)
    }

    /// Forgets what is remembered: the radio is asked anyway, or has shown that it knows us.
    pub(super) fn settle(&mut self) {
        self.pending = false;
    }
}

/// How long a radio has handed over no packet.
#[derive(Debug, Clone, Copy)]
pub(super) struct Quiet {
    since: Instant,
    span: Duration,
    asked_at: Option<Instant>,
}

impl Quiet {
    /// Makes one for a radio that is asked now.
    pub(super) fn since(now: Instant) -> Self {
        Self {
            since: now,
            span: FIRST_QUIET,
            asked_at: None,
        }
    }

    /// A packet has come.
    pub(super) fn ends(&mut self, now: Instant) {
        self.since = now;
        if self.asked_at.take().is_some_and(|at| now < at + BROUGHT) {
            self.span = FIRST_QUIET;
        }
    }

    /// Returns when the radio is to be asked.
    pub(super) fn deadline(&self) -> Instant {
        self.since + self.span
    }

    /// The radio is asked because of it.
    pub(super) fn asks(&mut self, now: Instant) {
        *self = Self {
            since: now,
            span: (self.span * 2).min(LONGEST_QUIET),
            asked_at: Some(now),
        };
    }
}
