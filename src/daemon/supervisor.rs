//! Names, watches and stops the daemon's tasks. It does not know what they do.
#![expect(
    clippy::disallowed_methods,
    reason = "tasks are started here, and nowhere else"
)]

use std::collections::HashMap;
use std::future::Future;
use std::time::Duration;

use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, error, warn};

#[cfg(test)]
use super::trial::Life;

/// How long what is in flight may take to end after the first signal.
pub(super) const STOP_WITHIN: Duration = Duration::from_secs(5);
/// How long what keeps the books may take after that.
const FINISH_WITHIN: Duration = Duration::from_secs(2);

/// Owns the daemon's tasks: each has a name, an owner and an end.
///
/// The end of a task before it is asked to, for whatever reason, stops the relay. Adapters that can fail and come back
/// do so inside their own task.
#[derive(Default)]
pub(super) struct Supervisor {
    stop: CancellationToken,
    finish: CancellationToken,
    tasks: Tasks,
    last: Tasks,
    workers: Workers,
}

/// Tasks that run, and what each is called.
#[derive(Default)]
struct Tasks {
    running: JoinSet<()>,
    names: HashMap<Id, &'static str>,
}

/// Why the daemon ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Asked,
    /// A task ended that must not.
    Failed,
}

/// Starts tasks while the daemon runs.
#[derive(Debug, Clone, Default)]
pub(super) struct Workers {
    tracker: TaskTracker,
    stop: CancellationToken,
    failed: CancellationToken,
    #[cfg(test)]
    life: Life,
}

impl Workers {
    /// Starts a task that works until the relay stops: any other end stops it.
    pub(super) fn start(
        &self,
        name: &'static str,
        work: impl Future<Output = ()> + Send + 'static,
    ) {
        self.watch(name, false, work);
    }

    /// Starts a task that ends when it is done; if it panics the relay stops.
    pub(super) fn errand(
        &self,
        name: &'static str,
        work: impl Future<Output = ()> + Send + 'static,
    ) {
        self.watch(name, true, work);
    }

    fn watch(
        &self,
        name: &'static str,
        may_end: bool,
        work: impl Future<Output = ()> + Send + 'static,
    ) {
        let (stop, failed) = (self.stop.clone(), self.failed.clone());
        #[cfg(test)]
        let work = self.life.of(work);
        let task = self.tracker.spawn(work);
        self.tracker.spawn(async move {
            let ended = task.await;
            let is_done = may_end && ended.is_ok();
            if !is_done && judge(name, ended, &stop) == End::Failed {
                failed.cancel();
            }
        });
    }
}

impl Supervisor {
    /// Makes one whose tasks all end when `stop` is cancelled.
    pub(super) fn new(stop: CancellationToken) -> Self {
        let mut supervisor = Self {
            stop,
            ..Self::default()
        };
        supervisor.workers.stop = supervisor.stop.clone();
        supervisor
    }

    /// Makes one whose tasks all vanish with `life`, as a process does that is killed.
    #[cfg(test)]
    pub(super) fn mortal(stop: CancellationToken, life: Life) -> Self {
        let mut supervisor = Self::new(stop);
        supervisor.workers.life = life;
        supervisor
    }

    pub(super) fn workers(&self) -> Workers {
        self.workers.clone()
    }

    /// Starts a task without which the relay cannot go on; it ends when `stop` is cancelled.
    pub(super) fn essential(
        &mut self,
        name: &'static str,
        work: impl Future<Output = ()> + Send + 'static,
    ) {
        #[cfg(test)]
        let work = self.workers.life.of(work);
        self.tasks.start(name, work);
    }

    /// Starts a task that outlives the others, since they report to it; it ends when the token that `work` gets is cancelled.
    pub(super) fn last<F>(&mut self, name: &'static str, work: impl FnOnce(CancellationToken) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let work = work(self.finish.clone());
        #[cfg(test)]
        let work = self.workers.life.of(work);
        self.last.start(name, work);
    }

    /// Waits until a task ends or `stop` is cancelled, then gives the others [`STOP_WITHIN`] to end.
    pub(super) async fn run(mut self) -> End {
        let end = tokio::select! {
            () = self.stop.cancelled() => End::Asked,
            () = self.workers.failed.cancelled() => End::Failed,
            Some((task, ended)) = self.tasks.next_end() => judge(task, ended, &self.stop),
            Some((task, ended)) = self.last.next_end() => judge(task, ended, &self.stop),
        };
        self.stop.cancel();
        self.workers.tracker.close();
        let ending = async {
            self.tasks.all_end().await;
            self.workers.tracker.wait().await;
        };
        if timeout(STOP_WITHIN, ending).await.is_err() {
            warn!(
                "not everything ended in time; what was accepted is stored and goes on at the next start"
            );
        }
        self.finish.cancel();
        if timeout(FINISH_WITHIN, self.last.all_end()).await.is_err() {
            warn!(
                "the last reports could not be stored; what they are about is tried again at the next start"
            );
        }
        end
    }
}

/// Returns why the relay ends with this task, and says so if it must not.
fn judge(task: &'static str, ended: Result<(), JoinError>, stop: &CancellationToken) -> End {
    match ended {
        // A task that ends because of the signal may be seen before the signal is.
        Ok(()) if stop.is_cancelled() => return End::Asked,
        Ok(()) => error!(task, "a task ended that must not: the relay stops"),
        Err(panic) => error!(task, %panic, "a task failed: the relay stops; please report this"),
    }
    End::Failed
}

impl Tasks {
    fn start(&mut self, name: &'static str, work: impl Future<Output = ()> + Send + 'static) {
        let task = self.running.spawn(work);
        self.names.insert(task.id(), name);
    }

    /// Waits until one ends, and returns what it is called; `None`: there is none.
    ///
    /// # Cancel safety
    ///
    /// May be dropped: no end is missed.
    async fn next_end(&mut self) -> Option<(&'static str, Result<(), JoinError>)> {
        let (id, ended) = match self.running.join_next_with_id().await? {
            Ok((id, ())) => (id, Ok(())),
            Err(failure) => (failure.id(), Err(failure)),
        };
        Some((self.names.get(&id).copied().unwrap_or("unknown"), ended))
    }

    async fn all_end(&mut self) {
        while let Some((task, ended)) = self.next_end().await {
            match ended {
                Ok(()) => debug!(task, "ended"),
                Err(failure) => warn!(task, %failure, "a task failed while it ended"),
            }
        }
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
    async fn a_panic_in_a_task_or_a_worker_is_a_failure_not_a_crash() {
        let mut supervisor = Supervisor::new(CancellationToken::new());
        supervisor.essential("broken", async { panic!("on purpose") });
        assert_eq!(supervisor.run().await, End::Failed);

        let supervisor = Supervisor::new(CancellationToken::new());
        supervisor
            .workers()
            .start("broken worker", async { panic!("on purpose") });
        assert_eq!(supervisor.run().await, End::Failed);
    }

    /// Hears the fields of what is logged.
    #[derive(Clone, Default)]
    struct Fields(Arc<Mutex<Vec<String>>>);

    impl<S: tracing::Subscriber> Layer<S> for Fields {
        fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
            event.record(&mut self.clone());
        }
    }

    impl Visit for Fields {
        fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
            let said = format!("{}={value:?}", field.name());
            self.0.lock().unwrap().push(said);
        }
    }

    /// Returns what is logged while such tasks run, and how that ends.
    async fn logged(stop: CancellationToken, start: impl FnOnce(&mut Supervisor)) -> (String, End) {
        // While there is only one, a line that another thread meets first is given up for all.
        let _second = tracing::Dispatch::new(tracing_subscriber::registry());
        let fields = Fields::default();
        let log = tracing_subscriber::registry().with(fields.clone());
        let _heard = tracing::subscriber::set_default(log);
        let mut supervisor = Supervisor::new(stop);
        start(&mut supervisor);
        let end = supervisor.run().await;
        let said = fields.0.lock().unwrap().join(" ");
        (said, end)
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_panics_is_named_in_the_log() {
        let broken = async { panic!("on purpose") };
        let (said, end) = logged(CancellationToken::new(), |it| {
            it.essential("broken", broken);
        })
        .await;
        assert_eq!(end, End::Failed);
        assert!(said.contains(r#"task="broken""#), "{said}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_worker_that_ends_before_it_is_asked_to_stops_the_relay_and_is_named() {
        let stop = CancellationToken::new();
        let (said, end) = logged(stop.clone(), |it| {
            it.workers().start("room worker", async {});
        })
        .await;
        assert_eq!(end, End::Failed);
        assert!(stop.is_cancelled());
        assert!(said.contains(r#"task="room worker""#), "{said}");
    }

    #[tokio::test(start_paused = true)]
    async fn an_errand_that_is_done_and_a_worker_that_was_asked_to_end_are_no_failures() {
        let stop = CancellationToken::new();
        let (said, end) = logged(stop.clone(), |it| {
            let workers = it.workers();
            workers.errand("errand", async {});
            let asked = stop.clone();
            workers.start("worker", async move { asked.cancelled().await });
            workers.errand("signal", async move {
                tokio::time::sleep(Duration::from_secs(1)).await;
                stop.cancel();
            });
        })
        .await;
        assert_eq!((said.as_str(), end), ("", End::Asked));
    }

    #[tokio::test(start_paused = true)]
    async fn what_keeps_the_books_outlives_the_workers_that_report_to_it() {
        let stop = CancellationToken::new();
        let mut supervisor = Supervisor::new(stop.clone());
        let (report, mut reports) = tokio::sync::mpsc::channel(1);
        let asked = stop.clone();
        supervisor.workers().start("worker", async move {
            asked.cancelled().await;
            tokio::time::sleep(Duration::from_secs(3)).await;
            report.send("in flight when the signal came").await.unwrap();
        });
        let (kept, keeps) = tokio::sync::oneshot::channel();
        supervisor.last("books", |finish| async move {
            finish.cancelled().await;
            kept.send(reports.try_recv()).unwrap();
        });
        stop.cancel();
        assert_eq!(supervisor.run().await, End::Asked);
        assert_eq!(keeps.await.unwrap(), Ok("in flight when the signal came"));
    }
}
