//! One loop, one batch at a time: takes what waits, has it decided and stored in one transaction on the SQLite
//! thread, and wakes the workers when it is committed.

use std::error::Error;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use super::ledger::{Ledger, Outcome};
use super::queues::Queues;
use super::room_worker::RoomReport;
use super::runtime_state::RuntimeState;
use relay_matrix::Batch;
use relay_model::{Backoff, Chore, Clock, Event, Explained as _, MatrixEvent, SendToRoom};
use relay_store::{Database, StoreError};

/// How many events are decided on in one transaction at most: bounds what one commit holds up.
const LARGEST_BATCH: usize = 256;
/// How often what has expired, or is too old to keep, is looked for.
const HOUSEKEEPING_EVERY: Duration = Duration::from_secs(20);
/// It is not done more often, however much expires.
const CHORES_APART: Duration = Duration::from_secs(1);
/// How long messages go first when there is more to forget than one transaction should.
const FORGET_EVERY: Duration = Duration::from_millis(250);
/// How long to wait at most before the database is tried again: it goes on soon after a fault has ended.
const PAUSES: Backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(15));

pub(super) struct EventLoop<S> {
    pub(super) database: Database,
    pub(super) ledger: Arc<Mutex<Ledger>>,
    pub(super) radio: mpsc::Receiver<Event>,
    pub(super) reports: mpsc::Receiver<RoomReport>,
    pub(super) batches: mpsc::Receiver<Batch>,
    pub(super) queues: Queues<S>,
    pub(super) radio_ready: watch::Sender<bool>,
    pub(super) chores_at: Instant,
    pub(super) runtime_state: Arc<RuntimeState>,
    pub(super) clock: Clock,
}

impl<S: SendToRoom> EventLoop<S> {
    /// Works until `finish`, which is cancelled after everybody who reports has ended, and nothing is left that was handed
    /// over. Once `stop` is cancelled, what comes from Matrix waits until then.
    pub(super) async fn run(mut self, stop: CancellationToken, finish: CancellationToken) {
        let started = self.clock.since_boot();
        loop {
            // Each branch is safe to drop: a message is taken from its queue only when its branch wins.
            let mut work = Work::default();
            self.runtime_state.beat();
            tokio::select! {
                Some(event) = self.radio.recv() => work.event(event),
                Some(report) = self.reports.recv() => work.report(report),
                Some(batch) = self.batches.recv(), if !stop.is_cancelled() => work.batch(batch),
                () = sleep_until(self.chores_at) => {
                    self.chores_at = Instant::now() + HOUSEKEEPING_EVERY;
                    let up = self.clock.since_boot().saturating_sub(started);
                    work.event(Event::Chore(Chore::Round(up)));
                }
                // What is left is taken below; once nothing is, this ends.
                () = finish.cancelled() => {}
            }
            while work.0.len() < LARGEST_BATCH {
                if let Ok(event) = self.radio.try_recv() {
                    work.event(event);
                } else if let Ok(report) = self.reports.try_recv() {
                    work.report(report);
                } else if finish.is_cancelled()
                    && let Ok(batch) = self.batches.try_recv()
                {
                    work.batch(batch);
                } else {
                    break;
                }
            }
            if work.0.is_empty() || !self.settle(work, &finish).await {
                return;
            }
        }
    }

    /// Commits a batch, however long it takes, does what follows from it, and tells who waits for it. While the database cannot
    /// be written nothing more is accepted: the queues fill and the adapters wait.
    /// Returns false if there was no more time, or nothing can be stored any more and the relay has to stop.
    async fn settle(&mut self, work: Work, finish: &CancellationToken) -> bool {
        let (events, waiting): (Vec<Event>, Vec<_>) = work.0.into_iter().unzip();
        let events: Arc<[Event]> = events.into();
        let mut backoff = PAUSES;
        loop {
            let (ledger, batch) = (Arc::clone(&self.ledger), Arc::clone(&events));
            let (database, now) = (&self.database, self.clock.now());
            let committed = database.run(move |store| Ledger::commit(&ledger, store, &batch, now));
            match (committed.await, &*events) {
                (Ok(outcome), events) => {
                    self.go_on(events, outcome);
                    for waiting in waiting.into_iter().flatten() {
                        // Who waited may have been stopped.
                        let _ = waiting.send(());
                    }
                    return true;
                }
                (Err(StoreError::Closed), _) => {
                    error!("the database's thread has ended: the relay stops; please report this");
                    return false;
                }
                (Err(error), [event]) if may_be_given_up(event, &error) => {
                    give_up(event, &error);
                    return true;
                }
                (Err(error), several @ [_, _, ..]) if error.is_of_content() => {
                    // One of them keeps the others from being stored.
                    for one in several.iter().cloned().zip(waiting) {
                        if !Box::pin(self.settle(Work(vec![one]), finish)).await {
                            return false;
                        }
                    }
                    return true;
                }
                (Err(error), _) => {
                    if !self.may_try_again(&error, &mut backoff, finish).await {
                        return false;
                    }
                }
            }
        }
    }

    /// Waits until the database may be tried again. Returns false if there is no more time.
    async fn may_try_again(
        &self,
        error: &StoreError,
        backoff: &mut Backoff,
        finish: &CancellationToken,
    ) -> bool {
        self.runtime_state.not_stored(error);
        let delay = backoff.grow(rand::random());
        error!(
            error = error as &dyn Error,
            hint = error.hint(),
            delay_ms = delay.as_millis(),
            "cannot store what was received; nothing is accepted until it is"
        );
        finish.run_until_cancelled(sleep(delay)).await.is_some()
    }

    /// Does what follows from a batch that is committed.
    fn go_on(&mut self, events: &[Event], mut outcome: Outcome) {
        if let Some(may_transmit) = self.runtime_state.committed(events, &mut outcome) {
            // What waits for a radio that must not transmit stays in the table until it is worthless.
            self.radio_ready.send_replace(may_transmit);
        }
        if let Some(away) = self.runtime_state.stored() {
            info!(
                seconds = away.as_secs(),
                "what was received can be stored again"
            );
        }
        self.queues.wake(&outcome);
        let now = Instant::now();
        if let Some(time) = outcome.chores_at {
            let wait = time.since(self.clock.now());
            let wait = wait.clamp(CHORES_APART, HOUSEKEEPING_EVERY);
            self.chores_at = self.chores_at.min(now + wait);
        }
        if outcome.more_to_forget {
            // Messages first, then the next batch.
            self.chores_at = self.chores_at.min(now + FORGET_EVERY);
        }
    }
}

/// Returns whether the relay goes on without an event that cannot be stored alone.
fn may_be_given_up(event: &Event, error: &StoreError) -> bool {
    match event {
        // It is not said again, and what a login is to try waits for it.
        Event::Chore(Chore::Login) => error.is_of_content(),
        // No message waits for it.
        Event::Chore(_) => true,
        // Up to where the account's events are accepted is stored before more are.
        Event::Matrix(MatrixEvent::Synced(_)) => false,
        Event::Radio(_) | Event::Matrix(_) | Event::Report(_) => error.is_of_content(),
    }
}

fn give_up(event: &Event, error: &StoreError) {
    let cause = error as &dyn Error;
    if matches!(event, Event::Chore(Chore::Round(_))) {
        error!(
            error = cause,
            hint = error.hint(),
            "cannot look after the database, trying again"
        );
    } else {
        // Better one event lost, and said, than none handled ever again.
        error!(
            error = cause,
            event = event.name(),
            "an event cannot be handled and is given up; please report this"
        );
    }
}

/// What one transaction is about, and who waits for each of it to be committed. What is given up nobody is told of.
#[derive(Default)]
struct Work(Vec<(Event, Option<oneshot::Sender<()>>)>);

impl Work {
    fn event(&mut self, event: Event) {
        self.0.push((event, None));
    }

    fn batch(&mut self, batch: Batch) {
        let events = batch.events.into_iter().map(Event::Matrix);
        self.0.extend(events.map(|event| (event, None)));
        let synced = Event::Matrix(MatrixEvent::Synced(Box::new(batch.synced)));
        self.0.push((synced, Some(batch.committed)));
    }

    fn report(&mut self, report: RoomReport) {
        self.0.push((report.event, Some(report.committed)));
    }
}

#[cfg(test)]
mod tests;
