//! Whether the system's clock can be trusted for deleting old rows. Computers without a clock battery start with a wrong time
//! that is corrected later.

use std::time::Duration;

use relay_model::{ClockReading, Jump, Timestamp};

/// Minimum difference between wall clock and elapsed time that counts as a clock jump.
const JUMP: Duration = Duration::from_mins(10);
/// How long nothing is deleted after a jump: corrections often follow each other.
const DISTRUST: Duration = Duration::from_hours(1);

/// Compares the wall clock with the elapsed time.
#[derive(Debug, Clone, Default)]
pub(super) struct Calendar {
    /// Both clocks at the last check.
    last: Option<(Timestamp, Duration)>,
    /// Uptime from which the clock is trusted again.
    trusted_from: Duration,
    /// How far our clock is ahead of the homeserver's; `None`: unknown.
    ahead: Option<Duration>,
}

impl Calendar {
    /// Stores a reading of the homeserver's clock. Returns whether it is the first.
    pub(super) fn compare(&mut self, reading: &ClockReading) -> bool {
        let ahead = reading.ours.since(reading.server);
        self.ahead.replace(ahead).is_none()
    }

    /// Returns the number of days to add to retention, as our clock may be ahead.
    pub(super) fn days_ahead(&self) -> u32 {
        let hours = self.ahead.unwrap_or_default().as_secs().div_ceil(3600);
        u32::try_from(hours.div_ceil(24)).unwrap_or(u32::MAX)
    }

    /// Takes wall clock and uptime, and returns the jump since the last check.
    pub(super) fn look(&mut self, now: Timestamp, up: Duration) -> Option<Jump> {
        let (then, up_then) = self.last.replace((now, up))?;
        let passed = up.saturating_sub(up_then);
        let expected = then + passed;
        if now.since(expected).max(expected.since(now)) <= JUMP {
            return None;
        }
        self.trusted_from = up + DISTRUST;
        Some(Jump {
            began: expected - up,
            expected,
            now,
            looked_ago: i64::try_from(passed.as_millis()).unwrap_or(i64::MAX),
        })
    }

    /// Returns whether the clock has run evenly for long enough. After a start it is not trusted until the homeserver's clock
    /// is known.
    pub(super) fn is_steady(&self, up: Duration) -> bool {
        up >= self.trusted_from && (self.ahead.is_some() || up >= DISTRUST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: Timestamp = Timestamp(1_767_225_600_000);
    const MINUTE: Duration = Duration::from_mins(1);

    impl Calendar {
        fn new(now: Timestamp) -> Self {
            let mut calendar = Self::default();
            calendar.look(now, Duration::ZERO);
            calendar
        }

        fn steady_at(&mut self, now: Timestamp, up: Duration) -> bool {
            self.look(now, up);
            self.is_steady(up)
        }
    }

    #[test]
    fn a_clock_that_goes_evenly_is_trusted_even_if_it_is_corrected_a_little() {
        let mut calendar = compared(Duration::ZERO);
        assert!(calendar.steady_at(NOON + MINUTE, MINUTE));
        assert!(calendar.steady_at(NOON + 3 * MINUTE, 2 * MINUTE));
        assert!(calendar.steady_at(NOON + 2 * MINUTE, 3 * MINUTE));
    }

    fn compared(ahead: Duration) -> Calendar {
        let mut calendar = Calendar::new(NOON);
        calendar.compare(&ClockReading {
            server: NOON - ahead,
            ours: NOON,
            passed: 0,
            boot: String::new(),
        });
        calendar
    }

    #[test]
    fn a_start_forgets_nothing_before_the_homeserver_or_an_hour_has_confirmed_the_clock() {
        let mut calendar = Calendar::new(NOON);
        assert!(!calendar.steady_at(NOON + 59 * MINUTE, 59 * MINUTE));
        assert!(calendar.steady_at(NOON + 60 * MINUTE, 60 * MINUTE));
        assert_eq!(calendar.days_ahead(), 0);
    }

    #[test]
    fn what_is_kept_for_days_is_kept_longer_by_a_clock_that_is_ahead() {
        for (hours, days) in [(0, 0), (2, 1), (24, 1), (25, 2), (2 * 365 * 24, 730)] {
            let mut calendar = compared(Duration::from_hours(hours));
            assert!(calendar.steady_at(NOON + MINUTE, MINUTE));
            assert_eq!(calendar.days_ahead(), days);
        }
    }

    #[test]
    fn after_a_jump_either_way_nothing_is_forgotten_for_an_hour() {
        let day = Duration::from_hours(24);
        for wrong in [NOON + 40 * day, NOON - 40 * day] {
            let mut calendar = compared(Duration::ZERO);
            assert!(!calendar.steady_at(wrong, MINUTE));
            assert!(!calendar.steady_at(wrong + 58 * MINUTE, 59 * MINUTE));
            // The correction is a jump, too.
            assert!(!calendar.steady_at(NOON + 60 * MINUTE, 60 * MINUTE));
            assert!(!calendar.steady_at(NOON + 119 * MINUTE, 119 * MINUTE));
            assert!(calendar.steady_at(NOON + 120 * MINUTE, 120 * MINUTE));
        }
    }
}
