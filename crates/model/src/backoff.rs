//! Retry delays. No clock and no randomness: both are passed in.

use std::time::Duration;

/// Delays that double from the first to the longest. Jitter shortens each by up to a quarter, so that simultaneous failures are
/// not retried at the same time.
#[derive(Debug, Clone, Copy)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    failures: u32,
}

impl Backoff {
    /// Makes a back-off without failures so far; no delay is longer than `longest`.
    pub const fn new(first: Duration, longest: Duration) -> Self {
        Self {
            first,
            longest,
            failures: 0,
        }
    }

    /// Counts a failure and returns the delay after it. `random` is 0 to 1.
    pub fn grow(&mut self, random: f64) -> Duration {
        self.failures = self.failures.saturating_add(1);
        self.after(self.failures, random)
    }

    /// Returns the delay after this many consecutive failures, counted by the caller. `random` is 0 to 1.
    pub fn after(&self, failures: u32, random: f64) -> Duration {
        let doublings = failures.saturating_sub(1).min(16);
        let pause = self.first.saturating_mul(1 << doublings).min(self.longest);
        pause.mul_f64(1.0 - random.clamp(0.0, 1.0) / 4.0)
    }

    /// Returns the delay that the server asked for, at most `longest`, plus jitter of up to a quarter: never earlier than asked
    /// for, unless that is longer than `longest`.
    /// `random` is 0 to 1.
    pub fn asked_for(wish: Duration, longest: Duration, random: f64) -> Duration {
        let pause = wish.min(longest);
        pause
            .mul_f64(1.0 + random.clamp(0.0, 1.0) / 4.0)
            .min(longest)
    }

    /// Returns the number of consecutive failures.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// Resets the count after a success: the next delay is the first one.
    pub fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAUSES: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(30));

    #[test]
    fn pauses_double_up_to_the_longest_and_start_afresh_after_a_success() {
        let mut backoff = PAUSES;
        let grown: Vec<_> = (0..7).map(|_| backoff.grow(0.0).as_secs()).collect();
        assert_eq!(grown, [1, 2, 4, 8, 16, 30, 30]);
        assert_eq!(backoff.failures(), 7);
        backoff.reset();
        assert_eq!(backoff.grow(0.0), Duration::from_secs(1));
    }

    #[test]
    fn any_count_of_failures_has_its_pause() {
        for (failures, seconds) in [(0, 1), (1, 1), (5, 16), (6, 30), (u32::MAX, 30)] {
            assert_eq!(PAUSES.after(failures, 0.0), Duration::from_secs(seconds));
        }
    }

    #[test]
    fn a_pause_that_was_asked_for_is_never_cut_short_but_has_an_end() {
        let longest = Duration::from_secs(30);
        for (seconds, random, milliseconds) in [
            (0, 0.5, 0),
            (4, 0.0, 4_000),
            (4, 1.0, 5_000),
            (4, -7.0, 4_000),
            (29, 1.0, 30_000),
            (u64::MAX, 0.0, 30_000),
        ] {
            let pause = Backoff::asked_for(Duration::from_secs(seconds), longest, random);
            assert_eq!(pause, Duration::from_millis(milliseconds));
        }
    }

    #[test]
    fn chance_shortens_a_pause_by_up_to_a_quarter() {
        for (random, milliseconds) in [(0.0, 1000), (0.5, 875), (1.0, 750), (7.0, 750)] {
            let pause = PAUSES.after(1, random);
            assert_eq!(pause, Duration::from_millis(milliseconds));
        }
    }
}
