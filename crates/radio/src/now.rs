//! The current time, passed to the pure state machines.

use std::time::Instant;

use relay_model::{Clock, Timestamp};

/// A reading of both clocks, passed to the pure parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Monotonic clock, for durations.
    pub instant: Instant,
    /// Wall clock, for people and tables.
    pub wall: Timestamp,
}

impl Now {
    /// Reads both clocks; called only by the code with I/O.
    pub fn of(clock: &Clock) -> Self {
        Self {
            instant: tokio::time::Instant::now().into_std(),
            wall: clock.now(),
        }
    }
}

#[cfg(test)]
impl Now {
    /// For tests: any instant with that wall-clock time.
    pub(super) fn at(wall: Timestamp) -> Self {
        Self {
            instant: Instant::now(),
            wall,
        }
    }
}
