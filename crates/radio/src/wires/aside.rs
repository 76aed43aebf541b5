//! Calls that may block, on a hung board, a dead hub or a silent message bus: made beside the runtime, one of each at a time.

use tokio::task::{JoinHandle, spawn_blocking};

/// Makes a call. `None` only after a panic. Cancel safe: the next call resumes it.
pub(super) async fn done_aside<T: Send + 'static>(
    begun: &mut Option<JoinHandle<T>>,
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    #[expect(
        clippy::disallowed_methods,
        reason = "one of each at most, which the next call takes up"
    )]
    let done = begun.get_or_insert_with(|| spawn_blocking(work)).await;
    *begun = None;
    done.ok()
}
