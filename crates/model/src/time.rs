//! Wall-clock time, as used by both networks and the tables.

#[cfg_attr(windows, path = "time/steady_windows.rs")]
mod steady;

use std::fmt;
use std::ops::{Add, Sub};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use steady::since_boot;

/// A point in time: milliseconds since 1970-01-01 UTC.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, Default,
)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// Never reached: for permanent entries.
    pub const NEVER: Self = Self(i64::MAX);

    /// Returns the current time. For the edges of the program; everything else gets its time passed in.
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the wall clock"
    )]
    pub fn now() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        Self(milliseconds(since.unwrap_or_default()))
    }

    /// Converts whole seconds since 1970, as in packets.
    pub fn from_secs(seconds: u32) -> Self {
        Self(i64::from(seconds) * 1000)
    }

    /// Returns the time elapsed since `earlier`; zero if it is not in the past.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

/// Source of the current time for the daemon: the system's clocks, or a test's. Cheap to clone.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> (Timestamp, Duration) + Send + Sync>);

impl Clock {
    /// Returns the system's clocks.
    pub fn system() -> Self {
        Self::new(|| (Timestamp::now(), since_boot()))
    }

    /// Makes a clock that returns this wall-clock time and this time since boot.
    pub fn new(shown: impl Fn() -> (Timestamp, Duration) + Send + Sync + 'static) -> Self {
        Self(Arc::new(shown))
    }

    /// Returns the wall-clock time. It can jump when the system's clock is set.
    pub fn now(&self) -> Timestamp {
        (self.0)().0
    }

    /// Returns the time since boot, suspend included: it never jumps.
    pub fn since_boot(&self) -> Duration {
        (self.0)().1
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}

/// A reading of the homeserver's clock, with this computer's clocks at that time; kept over restarts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockReading {
    /// What the homeserver's clock showed.
    pub server: Timestamp,
    /// What this computer's wall clock showed at that time.
    pub ours: Timestamp,
    /// Milliseconds since boot, suspend included.
    pub passed: i64,
    /// Identifies this computer's boot, as `passed` counts from it; empty if unknown.
    pub boot: String,
}

/// A jump of this computer's wall clock, found by comparing it with the time since boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Jump {
    /// Start of this run, by the clock before the jump.
    pub began: Timestamp,
    /// What the clock would show without the jump.
    pub expected: Timestamp,
    /// What the clock shows.
    pub now: Timestamp,
    /// Milliseconds since the last check: rows written since then may be right already.
    pub looked_ago: i64,
}

fn milliseconds(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        let since = time.duration_since(UNIX_EPOCH);
        Self(milliseconds(since.unwrap_or_default()))
    }
}

impl From<Timestamp> for SystemTime {
    fn from(time: Timestamp) -> Self {
        UNIX_EPOCH + Duration::from_millis(u64::try_from(time.0).unwrap_or(0))
    }
}

impl Add<Duration> for Timestamp {
    type Output = Self;

    fn add(self, span: Duration) -> Self {
        Self(self.0.saturating_add(milliseconds(span)))
    }
}

impl Sub<Duration> for Timestamp {
    type Output = Self;

    fn sub(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(milliseconds(span)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_into_the_past_is_zero() {
        assert_eq!(Timestamp(5).since(Timestamp(9)), Duration::ZERO);
        assert_eq!(Timestamp(2009).since(Timestamp(9)), Duration::from_secs(2));
    }

    #[test]
    fn absurd_spans_saturate() {
        assert_eq!(Timestamp(1) + Duration::MAX, Timestamp(i64::MAX));
        assert_eq!(Timestamp(-5) - Duration::MAX, Timestamp(i64::MIN));
    }
}
