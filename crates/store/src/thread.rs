//! The database thread, and the handle by which async code passes it work.

#[cfg(any(test, feature = "testing"))]
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use tokio::sync::{mpsc, oneshot};

use super::{Result, Store, StoreError};

/// Capacity of the job queue. Callers wait for their jobs, so this is the number of tasks that can ask before others wait.
const QUEUE: usize = 64;

type Job = Box<dyn FnOnce(&mut Store) + Send>;

/// Handle to the database thread; cheap to clone. The thread ends after all queued jobs when the last handle is dropped.
#[derive(Debug, Clone)]
pub struct Database {
    jobs: mpsc::Sender<Job>,
    /// Runs the work if there is no thread.
    #[cfg(any(test, feature = "testing"))]
    here: Option<Arc<Mutex<Store>>>,
}

/// Completes when the database thread has ended and the file is closed.
#[derive(Debug)]
pub struct DatabaseEnd {
    closed: oneshot::Receiver<()>,
}

impl Database {
    /// Starts the thread, which owns the store until its end. Fails if the system refuses a thread.
    pub fn start(mut store: Store) -> Result<(Self, DatabaseEnd)> {
        let (jobs, mut queue) = mpsc::channel::<Job>(QUEUE);
        let (closing, closed) = oneshot::channel();
        #[expect(
            clippy::disallowed_methods,
            reason = "it ends with the last handle; `DatabaseEnd` waits for that"
        )]
        thread::Builder::new()
            .name("database".to_owned())
            .spawn(move || {
                while let Some(job) = queue.blocking_recv() {
                    job(&mut store);
                }
                drop(store);
                // Nobody may be waiting for the end.
                let _: Result<(), ()> = closing.send(());
            })
            .map_err(StoreError::Thread)?;
        let database = Self {
            jobs,
            #[cfg(any(test, feature = "testing"))]
            here: None,
        };
        Ok((database, DatabaseEnd { closed }))
    }

    /// Makes a handle without a thread: work runs in the caller's task, so that a paused test clock stands still.
    #[cfg(any(test, feature = "testing"))]
    pub fn here(store: Arc<Mutex<Store>>) -> Self {
        let (jobs, _) = mpsc::channel(1);
        Self {
            jobs,
            here: Some(store),
        }
    }

    /// Runs `work` on the database thread, in FIFO order, and returns its result.
    ///
    /// # Cancel safety
    ///
    /// Dropped while waiting for a place in the queue, `work` never runs; dropped later, it runs and its result is lost.
    pub async fn run<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&mut Store) -> Result<T> + Send + 'static,
    {
        #[cfg(any(test, feature = "testing"))]
        if let Some(store) = &self.here {
            // With a thread the caller can be cancelled before and after the work; so here.
            tokio::task::yield_now().await;
            let result = work(&mut store.lock().unwrap_or_else(PoisonError::into_inner));
            tokio::task::yield_now().await;
            return result;
        }
        let (answer, result) = oneshot::channel();
        let job: Job = Box::new(move |store| {
            // Runs even if the caller is gone.
            drop(answer.send(work(store)));
        });
        self.jobs.send(job).await.map_err(|_| StoreError::Closed)?;
        result.await.map_err(|_| StoreError::Closed)?
    }
}

impl DatabaseEnd {
    /// Waits until the thread has ended; every [`Database`] must be dropped before.
    pub async fn wait(self) {
        // An error also means that the thread has ended.
        let _: Result<(), oneshot::error::RecvError> = self.closed.await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cooldown;
    use relay_model::Timestamp;

    #[tokio::test]
    async fn work_runs_on_the_thread_and_its_result_comes_back() {
        let (database, end) = Database::start(Store::in_memory().unwrap()).unwrap();
        database
            .run(|store| store.transaction(|tx| cooldown::start(tx, "a", Timestamp(9))))
            .await
            .unwrap();
        let is_told = database
            .run(|store| store.transaction(|tx| cooldown::is_running(tx, "a", Timestamp(1))))
            .await
            .unwrap();
        assert!(is_told);
        let name = database
            .run(|_| Ok(thread::current().name().map(str::to_owned)))
            .await
            .unwrap();
        assert_eq!(name.as_deref(), Some("database"));
        drop(database);
        end.wait().await;
    }

    #[tokio::test]
    async fn what_was_given_is_done_before_the_thread_ends() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("relay.sqlite");
        let (database, end) = Database::start(Store::open(&path).unwrap()).unwrap();
        for number in 0..20 {
            let mut asked = Box::pin(database.run(move |store| {
                store.transaction(|tx| cooldown::start(tx, &format!("{number}"), Timestamp(9)))
            }));
            // Polled once: the job is queued, its result not awaited.
            assert!(futures_util::poll!(&mut asked).is_pending());
        }
        drop(database);
        end.wait().await;
        let all_told = Store::open(&path)
            .unwrap()
            .transaction(|tx| {
                let mut all = true;
                for number in 0..20 {
                    all &= cooldown::is_running(tx, &format!("{number}"), Timestamp(1))?;
                }
                Ok(all)
            })
            .unwrap();
        assert!(all_told);
    }
}
