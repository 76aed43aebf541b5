//! Notices that the measuring is ended from outside, so that everything which was started for it ends too.

use rustix::process::{Signal, set_parent_process_death_signal};
use tokio::signal::unix::{SignalKind, signal};

/// Waits for a signal that ends this program, and returns its name. The end of cargo, which runs this program, is one:
/// who ends `scripts/bench` ends cargo, and cargo tells nobody.
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
