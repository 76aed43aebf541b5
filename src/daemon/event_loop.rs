//! One loop, one batch at a time: takes what waits, has it decided and stored in one transaction on the SQLite
//! thread, and wakes the workers when it is committed.

use std::error::Error;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use super::ledger::{Ledger, Outcome};
use super::live::Live;
use super::queues::Queues;
use super::room_worker::Report;
use crate::matrix::Batch;
use crate::model::{
    Backoff, Chore, Clock, Event, Explained as _, MatrixEvent, RadioEvent, SendToRoom,
};
use crate::store::{Database, StoreError};

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
    pub(super) reports: mpsc::Receiver<Report>,
    pub(super) batches: mpsc::Receiver<Batch>,
    pub(super) queues: Queues<S>,
    pub(super) radio_ready: watch::Sender<bool>,
    pub(super) started: Instant,
    /// How long the computer had slept before that.
    pub(super) slept: Duration,
    pub(super) chores_at: Instant,
    pub(super) live: Arc<Live>,
    pub(super) clock: Clock,
}

impl<S: SendToRoom> EventLoop<S> {
    /// Works until `finish`, which is cancelled after everybody who reports has ended; takes nothing more from Matrix
    /// once `stop` is.
    pub(super) async fn run(mut self, stop: CancellationToken, finish: CancellationToken) {
        loop {
            // Each branch is safe to drop: a message is taken from its queue only when its branch wins.
            let mut work = Work::default();
            let mut last = false;
            self.live.beat();
            tokio::select! {
                Some(event) = self.radio.recv() => work.events.push(event),
                Some(report) = self.reports.recv() => work.report(report),
                Some(batch) = self.batches.recv(), if !stop.is_cancelled() => work.batch(batch),
                () = sleep_until(self.chores_at) => {
                    self.chores_at = Instant::now() + HOUSEKEEPING_EVERY;
                    let up = self.started.elapsed() + slept().saturating_sub(self.slept);
                    work.events.push(Event::Chore(Chore::Round(up)));
                }
                () = finish.cancelled() => last = true,
            }
            while work.events.len() < LARGEST_BATCH {
                if let Ok(event) = self.radio.try_recv() {
                    work.events.push(event);
                } else if let Ok(report) = self.reports.try_recv() {
                    work.report(report);
                } else {
                    break;
                }
            }
            if !work.events.is_empty() && !self.settle(work.events, &finish).await {
                return;
            }
            for told in work.committed {
                // Who waited may have been stopped.
                let _ = told.send(());
            }
            if last {
                return;
            }
        }
    }

    /// Commits a batch, however long it takes, and does what follows from it. While the database cannot be written nothing
    /// more is accepted: the queues fill and the adapters wait.
    /// Returns false if there was no more time, or nothing can be stored any more and the relay has to stop.
    async fn settle(&mut self, events: Vec<Event>, finish: &CancellationToken) -> bool {
        let events = Arc::new(events);
        let mut backoff = PAUSES;
        loop {
            let (ledger, batch) = (Arc::clone(&self.ledger), Arc::clone(&events));
            let (database, now) = (&self.database, self.clock.now());
            let committed = database.run(move |store| Ledger::commit(&ledger, store, &batch, now));
            let error = match committed.await {
                Ok(outcome) => {
                    self.go_on(&events, outcome);
                    return true;
                }
                Err(error) => error,
            };
            if matches!(error, StoreError::Closed) {
                error!("the database's thread has ended: the relay stops; please report this");
                return false;
            }
            match events.as_slice() {
                // No message waits for it.
                [Event::Chore(_)] => {
                    error!(
                        error = &error as &dyn Error,
                        hint = error.hint(),
                        "cannot look after the database, trying again"
                    );
                    return true;
                }
                // Up to where the account's events are accepted is stored before more are.
                [] | [Event::Matrix(MatrixEvent::Synced(_))] => {}
                // The disk or the file is not sound: no other event could be stored either.
                _ if !matches!(error, StoreError::Unreadable(_) | StoreError::Statement(_)) => {}
                [event] => {
                    // Better one event lost, and said, than none handled ever again.
                    error!(
                        error = &error as &dyn Error,
                        event = event.name(),
                        "an event cannot be handled and is given up; please report this"
                    );
                    return true;
                }
                several => {
                    for event in several {
                        if !Box::pin(self.settle(vec![event.clone()], finish)).await {
                            return false;
                        }
                    }
                    return true;
                }
            }
            self.live.not_stored(&error);
            let delay = backoff.grow(rand::random());
            error!(
                error = &error as &dyn Error,
                hint = error.hint(),
                delay_ms = delay.as_millis(),
                "cannot store what was received; nothing is accepted until it is"
            );
            tokio::select! {
                () = finish.cancelled() => return false,
                () = tokio::time::sleep(delay) => {}
            }
        }
    }

    /// Does what follows from a batch that is committed.
    fn go_on(&mut self, events: &[Event], mut outcome: Outcome) {
        self.live.committed(events, &mut outcome);
        if let Some(away) = self.live.stored() {
            info!(
                seconds = away.as_secs(),
                "what was received can be stored again"
            );
        }
        for event in events {
            match event {
                Event::Radio(RadioEvent::Ready(_)) => {
                    // What waits for a radio that must not transmit stays in the table until it is worthless.
                    self.radio_ready.send_replace(outcome.may_transmit);
                }
                Event::Radio(RadioEvent::Lost { .. }) => {
                    self.radio_ready.send_replace(false);
                }
                Event::Radio(_) | Event::Matrix(_) | Event::Report(_) | Event::Chore(_) => {}
            }
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

/// What one transaction is about, and who waits for it.
#[derive(Default)]
struct Work {
    events: Vec<Event>,
    committed: Vec<oneshot::Sender<()>>,
}

impl Work {
    fn batch(&mut self, batch: Batch) {
        let synced = MatrixEvent::Synced(Box::new(batch.synced));
        let events = batch.events.into_iter().chain([synced]);
        self.events.extend(events.map(Event::Matrix));
        self.committed.push(batch.committed);
    }

    fn report(&mut self, report: Report) {
        self.events.push(Event::Report(report.report));
        self.committed.push(report.committed);
    }
}

/// Returns how long this computer has slept since it was started: nobody has set its clock meanwhile.
pub(super) fn slept() -> Duration {
    let read = |id| Duration::try_from(clock_gettime(id)).unwrap_or_default();
    let awake = read(ClockId::Monotonic);
    read(ClockId::Boottime).saturating_sub(awake)
}

#[cfg(test)]
mod tests;
