//! The clock that never jumps, on Windows. It counts from the start of this program: what a run has kept is not compared with
//! another's, since no boot has a name there.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Returns the time since this program first asked, suspend included.
pub(super) fn since_boot() -> Duration {
    START.elapsed()
}
