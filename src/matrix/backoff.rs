//! How long to wait before the next try.

use std::time::Duration;

use rand::RngExt;

/// Returns the pause after `failures` tries in vain: doubled from `first` up to `longest`, and jittered, so that many
/// relays do not come back to a server all at once.
pub(super) fn pause(failures: u32, first: Duration, longest: Duration) -> Duration {
    let doubled = first.saturating_mul(1 << failures.saturating_sub(1).min(16));
    doubled
        .min(longest)
        .mul_f64(rand::rng().random_range(0.5..=1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_up_to_a_limit() {
        let (first, longest) = (Duration::from_secs(1), Duration::from_secs(30));
        for (failures, upper) in [(0, 1), (1, 1), (2, 2), (5, 16), (6, 30), (u32::MAX, 30)] {
            let pause = pause(failures, first, longest);
            let upper = Duration::from_secs(upper);
            assert!(
                pause <= upper && pause >= upper / 2,
                "{failures}: {pause:?}"
            );
        }
    }
}
