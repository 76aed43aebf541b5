//! Whether the system's clock can be trusted to say what is old. A small computer without a battery starts anywhere and
//! is set right later; whoever forgets by a wrong clock forgets everything.

use std::time::Duration;

use tracing::warn;

use crate::model::Timestamp;

/// The clock was set when it went so much otherwise than the time that passed.
const JUMP: Duration = Duration::from_mins(10);
/// After that nothing is forgotten for so long: a clock that was set wrong is often set right soon.
const DISTRUST: Duration = Duration::from_hours(1);

/// Compares the wall clock with the time that passed.
#[derive(Debug)]
pub(super) struct Calendar {
    /// Both at the last look.
    last: (Timestamp, Duration),
    /// Trusted again when the daemon has run so long.
    trusted_from: Duration,
}

impl Calendar {
    /// Makes one for a daemon that starts now.
    pub(super) fn new(now: Timestamp) -> Self {
        Self {
            last: (now, Duration::ZERO),
            trusted_from: Duration::ZERO,
        }
    }

    /// Takes the time, and how long the daemon has run, and returns whether the clock has gone evenly of late.
    pub(super) fn is_steady(&mut self, now: Timestamp, up: Duration) -> bool {
        let (then, up_then) = self.last;
        self.last = (now, up);
        let expected = then + up.saturating_sub(up_then);
        let (ahead, behind) = (now.since(expected), expected.since(now));
        if ahead.max(behind) > JUMP {
            self.trusted_from = up + DISTRUST;
            warn!(
                ahead_seconds = ahead.as_secs(),
                behind_seconds = behind.as_secs(),
                "the system's clock has jumped: nothing is forgotten by its time for an hour"
            );
        }
        up >= self.trusted_from
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: Timestamp = Timestamp(1_767_225_600_000);
    const MINUTE: Duration = Duration::from_mins(1);

    #[test]
    fn a_clock_that_goes_evenly_is_trusted_even_if_it_is_corrected_a_little() {
        let mut calendar = Calendar::new(NOON);
        assert!(calendar.is_steady(NOON + MINUTE, MINUTE));
        assert!(calendar.is_steady(NOON + 3 * MINUTE, 2 * MINUTE));
        assert!(calendar.is_steady(NOON + 2 * MINUTE, 3 * MINUTE));
    }

    #[test]
    fn after_a_jump_either_way_nothing_is_forgotten_for_an_hour() {
        let day = Duration::from_hours(24);
        for wrong in [NOON + 40 * day, NOON - 40 * day] {
            let mut calendar = Calendar::new(NOON);
            assert!(!calendar.is_steady(wrong, MINUTE));
            assert!(!calendar.is_steady(wrong + 58 * MINUTE, 59 * MINUTE));
            // Set right again: that is a jump, too.
            assert!(!calendar.is_steady(NOON + 60 * MINUTE, 60 * MINUTE));
            assert!(!calendar.is_steady(NOON + 119 * MINUTE, 119 * MINUTE));
            assert!(calendar.is_steady(NOON + 120 * MINUTE, 120 * MINUTE));
        }
    }
}
