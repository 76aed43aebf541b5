//! The clock that never jumps.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Returns the time since boot, suspend included.
#[expect(
    clippy::disallowed_methods,
    reason = "the one place that reads the clock that never jumps"
)]
pub(super) fn since_boot() -> Duration {
    Duration::try_from(clock_gettime(ClockId::Boottime)).unwrap_or_default()
}
