//! One loop, one batch at a time: takes what waits, has it decided and stored in one transaction on the SQLite
//! thread, and wakes the workers when it is committed.

use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use crate::matrix::Batch;
use crate::model::{Backoff, Clock, Event, Explained as _, RadioEvent};
use crate::store::{Database, StoreError};

use super::ledger::{Ledger, Outcome, Reached, describe};
use super::live::Live;
use super::queues::Queues;
use super::reports::Report;

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

/// What the loop needs.
pub(super) struct EventLoop {
    /// The tables.
    pub(super) database: Database,
    /// Decides, and writes down what was decided.
    pub(super) ledger: Arc<Mutex<Ledger>>,
    /// What the radio tells.
    pub(super) radio: mpsc::Receiver<Event>,
    /// What the rooms' workers tell.
    pub(super) reports: mpsc::Receiver<Report>,
    /// What the Matrix side tells.
    pub(super) batches: mpsc::Receiver<Batch>,
    /// The workers.
    pub(super) queues: Queues,
    /// Told whether the link to the radio is ready.
    pub(super) radio_ready: watch::Sender<bool>,
    /// When the daemon started.
    pub(super) started: Instant,
    /// How long the computer had slept before that.
    pub(super) slept: Duration,
    /// Told how it goes.
    pub(super) live: Arc<Live>,
    /// Tells the time.
    pub(super) clock: Clock,
}

impl EventLoop {
    /// Works until `finish`, which is cancelled after everybody who reports has ended; takes nothing more from Matrix
    /// once `stop` is.
    pub(super) async fn run(mut self, stop: CancellationToken, finish: CancellationToken) {
        let mut chores_at = Instant::now();
        loop {
            // Each branch is safe to drop: a message is taken from its queue only when its branch wins.
            let mut last = false;
            self.live.beat();
            let mut work = tokio::select! {
                Some(event) = self.radio.recv() => Work::event(event),
                Some(report) = self.reports.recv() => Work::report(report),
                Some(batch) = self.batches.recv(), if !stop.is_cancelled() => Work::batch(batch),
                () = sleep_until(chores_at) => {
                    chores_at = Instant::now() + HOUSEKEEPING_EVERY;
                    if let Some(outcome) = self.chores().await {
                        chores_at = self.next_chores(chores_at, &outcome);
                        if outcome.more_to_forget {
                            // Messages first, then the next batch.
                            chores_at = chores_at.min(Instant::now() + FORGET_EVERY);
                        }
                    }
                    Work::default()
                }
                () = finish.cancelled() => {
                    last = true;
                    Work::default()
                }
            };
            while work.events.len() < LARGEST_BATCH {
                if let Ok(event) = self.radio.try_recv() {
                    work.events.push(event);
                } else if let Ok(report) = self.reports.try_recv() {
                    work.add(report);
                } else {
                    break;
                }
            }
            if !work.is_empty() {
                let Some(outcome) = self.settle(work, &finish).await else {
                    return;
                };
                chores_at = self.next_chores(chores_at, &outcome);
            }
            if last {
                return;
            }
        }
    }

    /// Returns when housekeeping is due: at its time, or sooner if a batch wants it.
    fn next_chores(&self, at: Instant, outcome: &Outcome) -> Instant {
        outcome.chores_at.map_or(at, |time| {
            let wait = time.since(self.clock.now());
            at.min(Instant::now() + wait.clamp(CHORES_APART, HOUSEKEEPING_EVERY))
        })
    }

    /// Commits a batch and does what follows from it. While the database cannot be written nothing more is accepted:
    /// the queues fill and the adapters wait.
    /// Returns what it touched; `None`: nothing can be stored any more, and the relay has to stop.
    async fn settle(&mut self, work: Work, finish: &CancellationToken) -> Option<Outcome> {
        let Work {
            events,
            reached,
            committed,
        } = work;
        let events = Arc::new(events);
        let mut outcome = self.store(&events, reached, finish).await?;
        self.live.committed(&events, &mut outcome);
        if let Some(away) = self.live.stored() {
            info!(
                seconds = away.as_secs(),
                "what was received can be stored again"
            );
        }
        for told in committed {
            // Who waited may have been stopped.
            let _ = told.send(());
        }
        for event in events.iter() {
            match event {
                Event::Radio(RadioEvent::Ready(_)) => {
                    // What waits for a radio that must not transmit stays in the table until it is worthless.
                    self.radio_ready.send_replace(outcome.may_transmit);
                }
                Event::Radio(RadioEvent::Lost { .. }) => {
                    self.radio_ready.send_replace(false);
                }
                Event::Report(report) => self.queues.in_flight().settle(report),
                Event::Radio(_) | Event::Matrix(_) => {}
            }
        }
        self.queues.wake(&outcome);
        Some(outcome)
    }

    /// Commits a batch, however long it takes; `None` if there was no more time.
    async fn store(
        &self,
        events: &Arc<Vec<Event>>,
        reached: Option<Reached>,
        finish: &CancellationToken,
    ) -> Option<Outcome> {
        let mut backoff = PAUSES;
        loop {
            let committed = self.commit(Arc::clone(events), reached.clone()).await;
            let error = match committed {
                Ok(outcome) => return Some(outcome),
                Err(error) => error,
            };
            if matches!(error, StoreError::Closed) {
                error!("the database's thread has ended: the relay stops; please report this");
                return None;
            }
            if concerns_one_event(&error) {
                match events.as_slice() {
                    [] => {}
                    [event] => {
                        // Better one event lost, and said, than none handled ever again.
                        error!(
                            error = &error as &dyn Error,
                            event = describe(event),
                            "an event cannot be handled and is given up; please report this"
                        );
                        let nothing = Arc::new(Vec::new());
                        return Box::pin(self.store(&nothing, reached, finish)).await;
                    }
                    several => {
                        let mut outcome = Outcome::default();
                        for event in several {
                            let one = Arc::new(vec![event.clone()]);
                            outcome.add(Box::pin(self.store(&one, None, finish)).await?);
                        }
                        let nothing = Arc::new(Vec::new());
                        let rest = self.store(&nothing, reached, finish);
                        outcome.add(Box::pin(rest).await?);
                        return Some(outcome);
                    }
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
                () = finish.cancelled() => return None,
                () = tokio::time::sleep(delay) => {}
            }
        }
    }

    /// Ends what is over and forgets what is old. It is tried again next time if it fails: no message waits for it.
    /// Returns what it touched.
    async fn chores(&mut self) -> Option<Outcome> {
        let ledger = Arc::clone(&self.ledger);
        let now = self.clock.now();
        let up = self.started.elapsed() + slept().saturating_sub(self.slept);
        let done = self.database.run(move |store| {
            let mut ledger = ledger.lock().unwrap_or_else(PoisonError::into_inner);
            store.transaction(|tx| {
                let mut outcome = Outcome::default();
                ledger.housekeeping(tx, now, up, &mut outcome)?;
                ledger.show(tx, now, &mut outcome)?;
                Ok(outcome)
            })
        });
        match done.await {
            Ok(mut outcome) => {
                self.live.committed(&[], &mut outcome);
                self.queues.wake(&outcome);
                Some(outcome)
            }
            Err(error) => {
                error!(
                    error = &error as &dyn Error,
                    hint = error.hint(),
                    "cannot look after the database, trying again"
                );
                None
            }
        }
    }

    async fn commit(
        &self,
        events: Arc<Vec<Event>>,
        reached: Option<Reached>,
    ) -> Result<Outcome, StoreError> {
        let ledger = Arc::clone(&self.ledger);
        let now = self.clock.now();
        self.database
            .run(move |store| {
                let mut ledger = ledger.lock().unwrap_or_else(PoisonError::into_inner);
                store.transaction(|tx| {
                    let mut outcome = Outcome::default();
                    for event in events.iter() {
                        ledger.event(tx, event, now, &mut outcome)?;
                    }
                    if let Some(reached) = &reached {
                        ledger.position(tx, reached, now, &mut outcome)?;
                    }
                    ledger.show(tx, now, &mut outcome)?;
                    Ok(outcome)
                })
            })
            .await
    }
}

/// What one transaction is about.
#[derive(Default)]
struct Work {
    events: Vec<Event>,
    reached: Option<Reached>,
    committed: Vec<oneshot::Sender<()>>,
}

impl Work {
    fn event(first: Event) -> Self {
        Self {
            events: vec![first],
            ..Self::default()
        }
    }

    fn report(first: Report) -> Self {
        let mut work = Self::default();
        work.add(first);
        work
    }

    fn batch(batch: Batch) -> Self {
        Self {
            events: batch.events.into_iter().map(Event::Matrix).collect(),
            reached: Some(Reached {
                position: batch.position,
                gaps: batch.gaps,
                clock: batch.clock,
            }),
            committed: vec![batch.committed],
        }
    }

    fn is_empty(&self) -> bool {
        self.events.is_empty() && self.reached.is_none()
    }

    fn add(&mut self, report: Report) {
        self.events.push(Event::Report(report.report));
        self.committed.push(report.committed);
    }
}

/// Returns whether another event could be stored: the disk and the file are sound.
fn concerns_one_event(error: &StoreError) -> bool {
    matches!(error, StoreError::Unreadable(_) | StoreError::Statement(_))
}

/// Returns how long this computer has slept since it was started: nobody has set its clock meanwhile.
pub(super) fn slept() -> Duration {
    let read = |id| Duration::try_from(clock_gettime(id)).unwrap_or_default();
    let awake = read(ClockId::Monotonic);
    read(ClockId::Boottime).saturating_sub(awake)
}

#[cfg(test)]
mod tests;
