//! The present, as the pure machines get it handed in.

use std::time::Instant;

use relay_model::{Clock, Timestamp};

/// The present on both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// For spans of time: never jumps.
    pub instant: Instant,
    /// For what is told to people and kept in tables.
    pub wall: Timestamp,
}

impl Moment {
    /// Returns the present. Only the adapter's edge asks.
    pub fn now(clock: &Clock) -> Self {
        Self {
            instant: tokio::time::Instant::now().into_std(),
            wall: clock.now(),
        }
    }
}

#[cfg(test)]
impl Moment {
    /// For tests: any moment with that wall-clock time.
    pub(super) fn at(wall: Timestamp) -> Self {
        Self {
            instant: Instant::now(),
            wall,
        }
    }
}
