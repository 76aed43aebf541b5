//! How far text is believed that only a starting radio prints: there are radios that print it all the time. No I/O, no clock.

use std::time::{Duration, Instant};

/// Such text is believed that soon again; doubled each time, as long as it goes on.
pub(super) const FIRST: Duration = Duration::from_secs(5);
const LONGEST: Duration = Duration::from_hours(1);
/// A radio that prints none for so long after a handshake is not one that always prints: it is believed again.
pub(super) const QUIET: Duration = Duration::from_secs(5);

/// What was printed lately, and what came of it.
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
    /// Takes such text from a radio that has been ready since then. Returns whether it is believed; if not yet, it is
    /// remembered until [`Doubt::deadline`].
    pub(super) fn believes(&mut self, ready_since: Instant, now: Instant) -> bool {
        if !self.pending && now >= ready_since + QUIET {
            *self = Self::default();
        }
        if self.until.is_some_and(|until| now < until) {
            self.pending = true;
            return false;
        }
        let span = (self.span * 2).clamp(FIRST, LONGEST);
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

    /// Forgets what is remembered: the radio is asked anyway.
    pub(super) fn settle(&mut self) {
        self.pending = false;
    }
}
