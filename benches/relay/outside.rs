//! Detects the end of the bench from outside, so that its processes end too.

use rustix::process::{Signal, set_parent_process_death_signal};
use tokio::signal::unix::{SignalKind, signal};

/// Waits for a signal that ends this program, and returns its name. The death of cargo, its parent, counts as one:
/// ending `scripts/bench` ends cargo, which does not signal its children.
pub(crate) async fn ended() -> &'static str {
    let watch = |kind| signal(kind).expect("signals can be watched");
    let mut interrupted = watch(SignalKind::interrupt());
    let mut terminated = watch(SignalKind::terminate());
    let mut hung_up = watch(SignalKind::hangup());
    set_parent_process_death_signal(Some(Signal::TERM)).expect("Linux tells of a parent's end");
    tokio::select! {
        _ = interrupted.recv() => "interrupted",
        _ = terminated.recv() => "terminated",
        _ = hung_up.recv() => "terminal closed",
    }
}
