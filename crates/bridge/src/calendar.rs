//! Whether the system's clock can be trusted to say what is old. A small computer without a battery starts anywhere and
//! is set right later; whoever forgets by a wrong clock forgets everything.

use std::time::Duration;

use relay_model::{ClockReading, Jump, Timestamp};

/// The clock was set when it went so much otherwise than the time that passed.
const JUMP: Duration = Duration::from_mins(10);
/// After that nothing is forgotten for so long: a clock that was set wrong is often set right soon.
const DISTRUST: Duration = Duration::from_hours(1);

/// Compares the wall clock with the time that passed.
#[derive(Debug, Clone, Default)]
pub(super) struct Calendar {
    /// Both at the last look.
    last: Option<(Timestamp, Duration)>,
    /// Trusted again when the daemon has run so long.
    trusted_from: Duration,
    /// By how much our clock is ahead of the homeserver's; `None`: it has not told.
    ahead: Option<Duration>,
}

impl Calendar {
    /// Takes note of what the homeserver's clock showed. Returns whether that was not known before.
    pub(super) fn compare(&mut self, reading: &ClockReading) -> bool {
        let ahead = reading.ours.since(reading.server);
        self.ahead.replace(ahead).is_none()
    }

    /// Returns how many more days a thing is kept than it should be: those by which our clock may be ahead.
    pub(super) fn days_ahead(&self) -> u32 {
        let hours = self.ahead.unwrap_or_default().as_secs().div_ceil(3600);
        u32::try_from(hours.div_ceil(24)).unwrap_or(u32::MAX)
    }

    /// Takes the time, and how long the daemon has run, and returns how the clock has jumped since the last look.
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

    /// Returns whether the clock has gone evenly of late, when the daemon has run so long. At a start it may be anywhere,
    /// until the homeserver has told what its own shows.
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
            // Set right again: that is a jump, too.
            assert!(!calendar.steady_at(NOON + 60 * MINUTE, 60 * MINUTE));
            assert!(!calendar.steady_at(NOON + 119 * MINUTE, 119 * MINUTE));
            assert!(calendar.steady_at(NOON + 120 * MINUTE, 120 * MINUTE));
        }
    }
}
