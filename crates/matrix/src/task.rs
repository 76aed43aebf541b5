//! Tasks of the adapter's own. Each has a name, and ends with the set that its owner keeps it in.

use tokio::task::JoinSet;
use tracing::error;

/// Does work as a task that ends with this future. `None`: it failed, which the log says, by its name.
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
        .inspect_err(|failure| error!(task = name, %failure, "a task failed; please report this"))
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
