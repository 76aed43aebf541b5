//! Ends all tasks of a relay at one instant, as `kill -9` does to a process.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Shared by the tasks of one relay. No task is polled after its end.
#[derive(Debug, Clone, Default)]
pub(in crate::daemon) struct Life {
    end: CancellationToken,
    tasks: TaskTracker,
    steps: Arc<AtomicU64>,
    last_step: Option<u64>,
}

impl Life {
    /// Ends by itself before poll number `last_step`, counted over all tasks.
    pub(super) fn of_steps(last_step: u64) -> Self {
        Self {
            last_step: Some(last_step),
            ..Self::default()
        }
    }

    /// Wraps a task so that it ends with this life.
    pub(in crate::daemon) fn of(
        &self,
        work: impl Future<Output = ()> + Send + 'static,
    ) -> impl Future<Output = ()> + Send + 'static {
        let life = self.clone();
        self.tasks.track_future(async move {
            let mut work = pin!(work);
            let stepwise = poll_fn(|context| {
                let step = life.steps.fetch_add(1, Ordering::Relaxed);
                if life.last_step.is_some_and(|last| step >= last) {
                    life.end.cancel();
                    return Poll::Pending;
                }
                work.as_mut().poll(context)
            });
            tokio::select! {
                biased;
                () = life.end.cancelled() => {}
                () = stepwise => {}
            }
        })
    }

    /// Ends all tasks now, and waits until they are dropped.
    pub(super) async fn kill(&self) {
        self.end.cancel();
        self.over().await;
    }

    /// Waits until all tasks are dropped.
    pub(super) async fn over(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Waits for the last step.
    pub(super) async fn ended(&self) {
        self.end.cancelled().await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::time::Duration;

    use tokio::task::JoinSet;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn after_its_end_no_task_takes_a_step() {
        let life = Life::of_steps(100);
        let steps = Arc::new(Mutex::new(0));
        let mut tasks = JoinSet::new();
        for _ in 0..3 {
            let steps = Arc::clone(&steps);
            tasks.spawn(life.of(async move {
                loop {
                    *steps.lock().unwrap() += 1;
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            }));
        }
        life.ended().await;
        life.over().await;
        assert_eq!(*steps.lock().unwrap(), 100);
        tasks.join_all().await;
    }
}
