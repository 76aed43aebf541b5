//! Names, watches and stops the daemon's tasks, whatever they do.
#![expect(
    clippy::disallowed_methods,
    reason = "tasks are started here, and nowhere else"
)]

use std::future::Future;
use std::time::Duration;

use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, error, warn};

#[cfg(test)]
use super::trial::Life;

/// Maximum time for the workers to end after the first signal.
pub(super) const STOP_WITHIN: Duration = Duration::from_secs(5);
/// Maximum time for the event loop to end after the workers.
const FINISH_WITHIN: Duration = Duration::from_secs(2);

/// Owns the daemon's tasks.
///
/// A task that ends before it is asked to stops the relay. Adapters that can fail retry inside their own task.
#[derive(Debug)]
pub(super) struct Supervisor {
    pub(super) workers: Workers,
    /// Tasks that outlive the workers, which report to them.
    pub(super) last: Workers,
}

/// Why the daemon ends, and with that its exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DaemonEnd {
    Asked,
    /// A task ended before it was asked to, or panicked.
    Failed,
}

/// Starts tasks, also while the daemon runs.
#[derive(Debug, Clone, Default)]
pub(super) struct Workers {
    tracker: TaskTracker,
    pub(super) stop: CancellationToken,
    /// A task of this supervisor has failed.
    failed: CancellationToken,
    /// Aborts the tasks that have not ended in time.
    over: CancellationToken,
    #[cfg(test)]
    life: Life,
}

impl Supervisor {
    /// `stop` ends all tasks but the last ones, which end after the others.
    pub(super) fn new(stop: CancellationToken) -> Self {
        let workers = Workers {
            stop,
            ..Workers::default()
        };
        let last = Workers {
            tracker: TaskTracker::new(),
            stop: CancellationToken::new(),
            ..workers.clone()
        };
        Self { workers, last }
    }

    /// The tasks all end with `life`, as those of a killed process do.
    #[cfg(test)]
    pub(super) fn mortal(stop: CancellationToken, life: Life) -> Self {
        let mut supervisor = Self::new(stop);
        supervisor.workers.life = life.clone();
        supervisor.last.life = life;
        supervisor
    }

    /// Waits until a task fails or `stop` is cancelled, then gives the other tasks [`STOP_WITHIN`] to end.
    pub(super) async fn run(self) -> DaemonEnd {
        let end = tokio::select! {
            () = self.workers.stop.cancelled() => DaemonEnd::Asked,
            () = self.workers.failed.cancelled() => DaemonEnd::Failed,
        };
        if !self.workers.end_within(STOP_WITHIN).await {
            warn!(
                "not everything ended in time; what was accepted is stored and goes on at the next start"
            );
        }
        if !self.last.end_within(FINISH_WITHIN).await {
            warn!(
                "the last reports could not be stored; what they are about is tried again at the next start"
            );
        }
        self.workers.over.cancel();
        end
    }
}

/// A task: a future without a result that may run on any thread.
pub(super) trait Work: Future<Output = ()> + Send + 'static {}

impl<W: Future<Output = ()> + Send + 'static> Work for W {}

impl Workers {
    /// Starts a task that runs until it is asked to end: if it ends before, the relay stops.
    pub(super) fn start(&self, name: &'static str, work: impl Work) {
        self.watch(name, false, work);
    }

    /// Starts a task that may end at any time: the relay stops only if it panics.
    pub(super) fn errand(&self, name: &'static str, work: impl Work) {
        self.watch(name, true, work);
    }

    fn watch(&self, name: &'static str, may_end: bool, work: impl Work) {
        #[cfg(test)]
        let work = self.life.of(work);
        let (of, mut task) = (self.clone(), self.tracker.spawn(work));
        self.tracker.spawn(async move {
            let ended = tokio::select! {
                ended = &mut task => ended,
                () = of.over.cancelled() => return task.abort(),
            };
            match ended {
                Ok(()) if may_end || of.stop.is_cancelled() => {
                    return debug!(task = name, "task ended");
                }
                Ok(()) => error!(task = name, "a task ended that must not: the relay stops"),
                Err(_) => error!(
                    task = name,
                    "a task failed: the relay stops; please report this"
                ),
            }
            of.failed.cancel();
        });
    }

    /// Asks all tasks to end. Returns whether they did in time.
    async fn end_within(&self, limit: Duration) -> bool {
        self.stop.cancel();
        self.tracker.close();
        timeout(limit, self.tracker.wait()).await.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tracing::field::{Field, Visit};
    use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_end_of_an_essential_task_stops_the_others_and_fails() {
        let stop = CancellationToken::new();
        let supervisor = Supervisor::new(stop.clone());
        supervisor.workers.start("short", async {});
        let other = stop.clone();
        supervisor
            .workers
            .start("long", async move { other.cancelled().await });
        assert_eq!(supervisor.run().await, DaemonEnd::Failed);
        assert!(stop.is_cancelled());
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_does_not_end_is_given_five_seconds_and_lets_go_of_what_it_holds() {
        let stop = CancellationToken::new();
        let supervisor = Supervisor::new(stop.clone());
        let (held, is_let_go) = tokio::sync::oneshot::channel::<()>();
        supervisor.workers.start("stuck", async move {
            std::future::pending::<()>().await;
            drop(held);
        });
        stop.cancel();
        let began = tokio::time::Instant::now();
        assert_eq!(supervisor.run().await, DaemonEnd::Asked);
        assert_eq!(began.elapsed(), STOP_WITHIN);
        assert!(is_let_go.await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_panic_in_a_task_or_a_worker_is_a_failure_not_a_crash() {
        let supervisor = Supervisor::new(CancellationToken::new());
        supervisor
            .workers
            .start("broken", async { panic!("on purpose") });
        assert_eq!(supervisor.run().await, DaemonEnd::Failed);

        let supervisor = Supervisor::new(CancellationToken::new());
        supervisor
            .workers
            .errand("broken worker", async { panic!("on purpose") });
        assert_eq!(supervisor.run().await, DaemonEnd::Failed);
    }

    /// Collects the fields of all log events.
    #[derive(Clone, Default)]
    struct Fields(Arc<Mutex<Vec<String>>>);

    impl<S: tracing::Subscriber> Layer<S> for Fields {
        fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
            event.record(&mut self.clone());
        }
    }

    impl Visit for Fields {
        fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
            let text = format!("{}={value:?}", field.name());
            self.0.lock().unwrap().push(text);
        }
    }

    /// Returns the log of a supervisor with the tasks that `start` starts, and its end.
    async fn logged(
        stop: CancellationToken,
        start: impl FnOnce(&Supervisor),
    ) -> (String, DaemonEnd) {
        // With a single dispatcher, `tracing` caches a call site that another thread reaches first as disabled.
        let _second = tracing::Dispatch::new(tracing_subscriber::registry());
        let fields = Fields::default();
        let log = tracing_subscriber::registry().with(fields.clone());
        let _heard = tracing::subscriber::set_default(log);
        let supervisor = Supervisor::new(stop);
        start(&supervisor);
        let end = supervisor.run().await;
        let said = fields.0.lock().unwrap().join(" ");
        (said, end)
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_panics_is_named_in_the_log() {
        let broken = async { panic!("on purpose") };
        let (said, end) = logged(CancellationToken::new(), |it| {
            it.workers.start("broken", broken);
        })
        .await;
        assert_eq!(end, DaemonEnd::Failed);
        assert!(said.contains(r#"task="broken""#), "{said}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_worker_that_ends_before_it_is_asked_to_stops_the_relay_and_is_named() {
        let stop = CancellationToken::new();
        let (said, end) = logged(stop.clone(), |it| {
            it.workers.start("room worker", async {});
        })
        .await;
        assert_eq!(end, DaemonEnd::Failed);
        assert!(stop.is_cancelled());
        assert!(said.contains(r#"task="room worker""#), "{said}");
    }

    #[tokio::test(start_paused = true)]
    async fn an_errand_that_is_done_and_a_worker_that_was_asked_to_end_are_no_failures() {
        let stop = CancellationToken::new();
        let (said, end) = logged(stop.clone(), |it| {
            let workers = &it.workers;
            workers.errand("errand", async {});
            let asked = stop.clone();
            workers.start("worker", async move { asked.cancelled().await });
            workers.errand("signal", async move {
                tokio::time::sleep(Duration::from_secs(1)).await;
                stop.cancel();
            });
        })
        .await;
        assert_eq!(end, DaemonEnd::Asked);
        assert!(!said.contains("must not"), "{said}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_keeps_the_books_outlives_the_workers_that_report_to_it() {
        let stop = CancellationToken::new();
        let supervisor = Supervisor::new(stop.clone());
        let (report, mut reports) = tokio::sync::mpsc::channel(1);
        let asked = stop.clone();
        supervisor.workers.start("worker", async move {
            asked.cancelled().await;
            tokio::time::sleep(Duration::from_secs(3)).await;
            report.send("in flight when the signal came").await.unwrap();
        });
        let (kept, keeps) = tokio::sync::oneshot::channel();
        let finish = supervisor.last.stop.clone();
        supervisor.last.start("books", async move {
            finish.cancelled().await;
            kept.send(reports.try_recv()).unwrap();
        });
        stop.cancel();
        assert_eq!(supervisor.run().await, DaemonEnd::Asked);
        assert_eq!(keeps.await.unwrap(), Ok("in flight when the signal came"));
    }
}
