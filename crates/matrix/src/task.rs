//! Named tasks of the adapter. Each ends with the set that owns it.

use tokio::task::JoinSet;
use tracing::error;

/// Runs work as a task that is aborted when this future is dropped. `None`: it panicked; the log names the task.
pub(super) async fn named<T: Send + 'static>(
    name: &'static str,
    work: impl Future<Output = T> + Send + 'static,
) -> Option<T> {
    let mut task = JoinSet::new();
    #[expect(
        clippy::disallowed_methods,
        reason = "with its name, in its owner's set, with which it ends"
    )]
    task.spawn(work);
    let ended = task.join_next().await?;
    ended
        .inspect_err(|_| error!(task = name, "a task failed; please report this"))
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_task_that_fails_takes_nobody_with_it() {
        let work = async { panic!("it fails") };
        assert_eq!(named::<()>("test", work).await, None);
        assert_eq!(named("test", async { 7 }).await, Some(7));
    }
}
