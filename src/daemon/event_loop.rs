//! Collects the waiting events into a batch, has the ledger decide on it and store it in one transaction on the SQLite
//! thread, and wakes the workers after the commit. One batch at a time.

use std::error::Error;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use super::ledger::{Ledger, Outcome};
use super::{queues::Queues, room_worker::RoomReport, runtime_state::RuntimeState};
use relay_config::Config;
use relay_matrix::Batch;
use relay_model::{Backoff, Chore, Clock, Event, Explained as _, MatrixEvent, SendToRoom};
use relay_store::{Database, StoreError};

/// Maximum number of events per transaction: bounds the time of one commit.
const LARGEST_BATCH: usize = 256;
/// How often expired rows, and rows that are too old to keep, are looked for.
const HOUSEKEEPING_EVERY: Duration = Duration::from_secs(20);
/// Minimum time between two rounds of housekeeping.
const CHORES_APART: Duration = Duration::from_secs(1);
/// Pause before the next transaction of deletions, for messages to go first.
const FORGET_EVERY: Duration = Duration::from_millis(250);
/// Maximum time for which a power cut may take back that something was sent.
pub(super) const SYNC_WITHIN: Duration = Duration::from_secs(10);
/// Back-off for the database; short, so that storing resumes soon after a fault.
const PAUSES: Backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(15));

/// The only task that decides and accepts: takes events from bounded queues, and commits a batch at a time. Adapters and
/// workers wait when it does.
pub(super) struct EventLoop<S> {
    /// Where the SQLite thread takes its jobs.
    pub(super) database: Database,
    /// Locked only on the SQLite thread, during a transaction.
    pub(super) ledger: Arc<Mutex<Ledger>>,
    /// Events of the radio and reports on packets; also the account's chores.
    pub(super) radio: mpsc::Receiver<Event>,
    /// Reports of the workers for rooms, each of which waits for its commit.
    pub(super) reports: mpsc::Receiver<RoomReport>,
    /// Batches of the sync loop, which waits for the commit of each.
    pub(super) batches: mpsc::Receiver<Batch>,
    /// Configurations to go on with, each from between two batches on.
    pub(super) reloads: mpsc::Receiver<Reload>,
    /// The configuration that decides.
    pub(super) config: watch::Sender<Arc<Config>>,
    /// The workers, woken after a commit.
    pub(super) queues: Queues<S>,
    /// Whether the radio may be given anything, for the workers of the mesh.
    pub(super) radio_ready: watch::Sender<bool>,
    /// When the next round of housekeeping is due.
    pub(super) chores_at: Instant,
    /// When to bring to the disk what was committed without waiting for it; `None`: none of it matters.
    pub(super) sync_at: Option<Instant>,
    /// What is known in memory, for `relay status`.
    pub(super) runtime_state: Arc<RuntimeState>,
    pub(super) clock: Clock,
}

/// A configuration to go on with.
#[derive(Debug)]
pub(super) struct Reload {
    pub(super) config: Arc<Config>,
    /// Completed when it decides; with an error everything stays as it was.
    pub(super) done: oneshot::Sender<Result<(), StoreError>>,
}

impl<S: SendToRoom> EventLoop<S> {
    /// Runs until `finish` is cancelled, which happens after all reporting tasks have ended, and the queues are empty. Between
    /// `stop` and `finish`, batches from Matrix wait.
    pub(super) async fn run(mut self, stop: CancellationToken, finish: CancellationToken) {
        let started = self.clock.since_boot();
        loop {
            let mut batch = EventBatch::default();
            self.runtime_state.beat();
            tokio::select! {
                Some(event) = self.radio.recv() => batch.event(event),
                Some(report) = self.reports.recv() => batch.report(report),
                Some(synced) = self.batches.recv(), if !stop.is_cancelled() => batch.sync(synced),
                Some(reload) = self.reloads.recv(), if !stop.is_cancelled() => {
                    // What the account handed over last was read with the configuration from before.
                    while let Ok(synced) = self.batches.try_recv() {
                        let mut last = EventBatch::default();
                        last.sync(synced);
                        if !self.settle(last, &finish).await {
                            return;
                        }
                    }
                    self.reload(reload).await;
                    continue;
                }
                () = sleep_until(self.chores_at) => {
                    self.chores_at = Instant::now() + HOUSEKEEPING_EVERY;
                    let up = self.clock.since_boot().saturating_sub(started);
                    batch.event(Event::Chore(Chore::Round(up)));
                }
                () = sleep_until(self.sync_at.unwrap_or(self.chores_at)), if self.sync_at.is_some() => {
                    self.sync().await;
                    continue;
                }
                () = self.runtime_state.asked_for_a_beat() => {
                    // Whatever it answers, it answers; its end is noticed by the next batch.
                    drop(self.database.run(|_| Ok(())).await);
                    continue;
                }
                // The rest of the queues is drained below.
                () = finish.cancelled() => {}
            }
            while batch.0.len() < LARGEST_BATCH {
                if let Ok(event) = self.radio.try_recv() {
                    batch.event(event);
                } else if let Ok(report) = self.reports.try_recv() {
                    batch.report(report);
                } else if finish.is_cancelled()
                    && let Ok(synced) = self.batches.try_recv()
                {
                    batch.sync(synced);
                } else {
                    break;
                }
            }
            if batch.0.is_empty() || !self.settle(batch, &finish).await {
                return;
            }
        }
    }

    /// Commits a batch, retrying without limit, and signals the senders that wait for it. While the database cannot be written
    /// no further event is accepted: back-pressure stops the adapters. Returns false if `finish` was cancelled meanwhile, or
    /// the database's thread has ended and the relay has to stop.
    async fn settle(&mut self, batch: EventBatch, finish: &CancellationToken) -> bool {
        let (events, waiting): (Vec<Event>, Vec<_>) = batch.0.into_iter().unzip();
        let events: Arc<[Event]> = events.into();
        let mut backoff = PAUSES;
        loop {
            self.runtime_state.beat();
            let (ledger, batch) = (Arc::clone(&self.ledger), Arc::clone(&events));
            let (database, now) = (&self.database, self.clock.now());
            let committed = database.run(move |store| Ledger::commit(&ledger, store, &batch, now));
            match (committed.await, &*events) {
                (Ok(outcome), events) => {
                    self.go_on(events, outcome);
                    for waiting in waiting.into_iter().flatten() {
                        // The receiver may have been stopped.
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
                    // One of the events cannot be stored: commit each alone.
                    for one in several.iter().cloned().zip(waiting) {
                        if !Box::pin(self.settle(EventBatch(vec![one]), finish)).await {
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

    /// Goes on with another configuration.
    async fn reload(&mut self, Reload { config, done }: Reload) {
        let (ledger, new) = (Arc::clone(&self.ledger), Arc::clone(&config));
        let now = self.clock.now();
        let work = self
            .database
            .run(move |store| Ledger::reload(&ledger, store, &new, now));
        let reloaded = work.await.map(|(events, outcome)| {
            self.runtime_state.mapped(&config.matrix_rooms);
            self.config.send_replace(config);
            self.go_on(&events, outcome);
        });
        // Whoever asked may have been stopped.
        drop(done.send(reloaded));
    }

    /// Brings to the disk what was committed without waiting for it; after a failure tries again.
    async fn sync(&mut self) {
        let now = self.clock.now();
        let synced = self.database.run(move |store| store.sync(now)).await;
        self.sync_at = None;
        if let Err(error) = synced {
            self.runtime_state.not_stored(&error);
            error!(
                error = &error as &dyn Error,
                hint = error.hint(),
                delay_ms = SYNC_WITHIN.as_millis(),
                "what was stored cannot be brought to the disk, trying again"
            );
            self.sync_at = Some(Instant::now() + SYNC_WITHIN);
        }
    }

    /// Waits for the back-off. Returns false if `finish` is cancelled.
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

    /// Updates the state, wakes the workers and schedules the next chores after a commit.
    fn go_on(&mut self, events: &[Event], mut outcome: Outcome) {
        self.runtime_state.committed(events, &mut outcome);
        if let Some(may_transmit) = outcome.may_transmit {
            // Rows for a radio that must not transmit stay in the table until they expire.
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
        if outcome.sync_soon {
            self.sync_at.get_or_insert(now + SYNC_WITHIN);
        }
        if outcome.more_to_forget {
            self.chores_at = self.chores_at.min(now + FORGET_EVERY);
        }
    }
}

/// Returns whether an event that cannot be stored, even alone, is dropped instead of retried.
fn may_be_given_up(event: &Event, error: &StoreError) -> bool {
    match event {
        // Sent once per login, and refused sends wait for it.
        Event::Chore(Chore::Login) => error.is_of_content(),
        // No message depends on the other chores.
        Event::Chore(_) => true,
        // The sync position must be stored before further events of the account are accepted.
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
        // Losing one event, with an error, is better than retrying it for ever.
        error!(
            error = cause,
            about = event.name(),
            "an event cannot be handled and is given up; please report this"
        );
    }
}

/// The events of one transaction, each with its signal of the commit, dropped if the event is given up.
#[derive(Default)]
struct EventBatch(Vec<(Event, Option<oneshot::Sender<()>>)>);

impl EventBatch {
    /// Adds an event that nobody waits for.
    fn event(&mut self, event: Event) {
        self.0.push((event, None));
    }

    /// Adds a batch of the sync loop: its position comes last, and with that its signal.
    fn sync(&mut self, batch: Batch) {
        let events = batch.events.into_iter().map(Event::Matrix);
        self.0.extend(events.map(|event| (event, None)));
        let synced = Event::Matrix(MatrixEvent::Synced(Box::new(batch.synced)));
        self.0.push((synced, Some(batch.committed)));
    }

    /// Adds a worker's report, with its signal.
    fn report(&mut self, report: RoomReport) {
        self.0.push((report.event, Some(report.committed)));
    }
}

#[cfg(test)]
mod tests;
