//! Growing delays between tries, with jitter.

use std::time::Duration;

use rand::RngExt as _;

/// Delays of half a second, doubling up to a minute or another limit, each made up to a quarter longer by chance.
#[derive(Debug)]
pub(super) struct Backoff {
    failures: u32,
    longest: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self::up_to(Self::LONGEST)
    }
}

impl Backoff {
    /// No delay is longer where nothing else is said, jitter aside.
    pub(super) const LONGEST: Duration = Duration::from_mins(1);
    const FIRST: Duration = Duration::from_millis(500);

    /// Delays that grow up to another limit, jitter aside.
    pub(super) fn up_to(longest: Duration) -> Self {
        Self {
            failures: 0,
            longest,
        }
    }

    /// Counts a failure and returns how long to wait.
    pub(super) fn grow(&mut self) -> Duration {
        let doublings = self.failures.min(10);
        self.failures = self.failures.saturating_add(1);
        let delay = Self::FIRST.saturating_mul(1 << doublings).min(self.longest);
        delay.mul_f64(rand::rng().random_range(1.0..1.25))
    }

    /// Returns how many failures were counted in a row.
    pub(super) fn failures(&self) -> u32 {
        self.failures
    }

    /// Starts afresh, after a success.
    pub(super) fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_to_a_minute_and_start_afresh_after_a_success() {
        let mut backoff = Backoff::default();
        let first = backoff.grow();
        assert!((500..625).contains(&first.as_millis()), "{first:?}");
        for _ in 0..20 {
            backoff.grow();
        }
        assert!(backoff.grow() >= Backoff::LONGEST);
        backoff.reset();
        assert!(backoff.grow() < Duration::from_secs(1));
    }
}
