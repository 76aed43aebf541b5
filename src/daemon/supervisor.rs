//! Names, watches and stops the daemon's tasks. It does not know what they do.

use std::future::Future;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, warn};

/// How long what is in flight may take to end after the first signal.
pub const STOP_WITHIN: Duration = Duration::from_secs(5);

/// Owns the daemon's tasks: each has a name, an owner and an end.
///
/// The end of an essential task, for whatever reason, stops the relay; adapters that can fail and
/// come back do so inside their own task.
pub struct Supervisor {
    stop: CancellationToken,
    tasks: JoinSet<&'static str>,
}

/// Why the daemon ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It was asked to, and everything in flight had its time.
    Asked,
    /// A task ended that must not.
    Failed,
}

impl Supervisor {
    /// Makes one whose tasks all end when `stop` is cancelled.
    pub fn new(stop: CancellationToken) -> Self {
        Self { stop, tasks: JoinSet::new() }
    }

    /// Returns the token that its tasks listen to.
    pub fn stop(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Starts a task without which the relay cannot go on.
    pub fn essential(
        &mut self,
        name: &'static str,
        work: impl Future<Output = ()> + Send + 'static,
    ) {
        self.tasks.spawn(async move {
            work.await;
            name
        });
    }

    /// Waits until a task ends or `stop` is cancelled, then gives the others [`STOP_WITHIN`] to end.
    pub async fn run(mut self) -> End {
        let end = tokio::select! {
            () = self.stop.cancelled() => End::Asked,
            ended = self.tasks.join_next() => {
                match ended {
                    // A task that ends because of the signal may be seen before the signal is.
                    Some(Ok(_)) if self.stop.is_cancelled() => End::Asked,
                    Some(Ok(task)) => {
                        error!(task, "a task ended that must not: the relay stops");
                        End::Failed
                    }
                    Some(Err(panic)) => {
                        error!(%panic, "a task failed: the relay stops; please report this");
                        End::Failed
                    }
                    None => End::Asked,
                }
            }
        };
        self.stop.cancel();
        let ending = async {
            while let Some(ended) = self.tasks.join_next().await {
                match ended {
                    Ok(task) => debug!(task, "ended"),
                    Err(failure) => warn!(%failure, "a task failed while it ended"),
                }
            }
        };
        if tokio::time::timeout(STOP_WITHIN, ending).await.is_err() {
            warn!("not everything ended in time; what was accepted is stored and goes on at the next start");
            self.tasks.abort_all();
        }
        end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_end_of_an_essential_task_stops_the_others_and_fails() {
        let stop = CancellationToken::new();
        let mut supervisor = Supervisor::new(stop.clone());
        supervisor.essential("short", async {});
        let other = stop.clone();
        supervisor.essential("long", async move { other.cancelled().await });
        assert_eq!(supervisor.run().await, End::Failed);
        assert!(stop.is_cancelled());
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_does_not_end_is_given_five_seconds() {
        let stop = CancellationToken::new();
        let mut supervisor = Supervisor::new(stop.clone());
        supervisor.essential("stuck", std::future::pending());
        stop.cancel();
        let began = tokio::time::Instant::now();
        assert_eq!(supervisor.run().await, End::Asked);
        assert_eq!(began.elapsed(), STOP_WITHIN);
    }

    #[tokio::test(start_paused = true)]
    async fn a_panic_in_a_task_is_a_failure_not_a_crash() {
        let mut supervisor = Supervisor::new(CancellationToken::new());
        supervisor.essential("broken", async { panic!("on purpose") });
        assert_eq!(supervisor.run().await, End::Failed);
    }
}
