//! One worker per room: sends the oldest row of the outbox, reports an outcome that ends or parks it, takes the next.
//!
//! All state is in the outbox table: stopping a worker at any point loses nothing, and repeats at most the last send, under
//! the same transaction id.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, warn};

use super::account_limit::{AccountLimit, Busy};
use super::{DATABASE_DELAY, LONGEST_PAUSE, PAUSES};
use relay_model::{
    Backoff, Clock, Event, Explained as _, OwnedRoomOrAliasId, RoomOutcome, SendReport, SendToRoom,
};
use relay_store::{Database, Result};

/// How the queues wake the worker of a room.
#[derive(Debug, Default)]
pub(super) struct RoomBell {
    /// Notified when the outbox may have a new row for this room; does not shorten a back-off.
    pub(super) news: Notify,
    /// Notified when the room or its rights have changed: retry now, with a new back-off.
    pub(super) changed: Notify,
}

/// The outcome of a send, for the event loop.
#[derive(Debug)]
pub(super) struct RoomReport {
    pub(super) event: Event,
    /// Completed when the event is committed; dropped if the event is given up.
    pub(super) committed: oneshot::Sender<()>,
}

/// Shared by all workers that send to rooms.
#[derive(Clone)]
pub(super) struct RoomSide<S> {
    pub(super) database: Database,
    /// `None` while no session is open.
    pub(super) sender: watch::Receiver<Option<S>>,
    pub(super) reports: mpsc::Sender<RoomReport>,
    pub(super) limit: AccountLimit,
    pub(super) clock: Clock,
}

impl<S> RoomSide<S> {
    /// Waits until a report is committed. Returns false if the event loop ended first, or gave the report up.
    pub(super) async fn report(&self, event: Event) -> bool {
        let (committed, is_committed) = oneshot::channel();
        let report = RoomReport { event, committed };
        self.reports.send(report).await.is_ok() && is_committed.await.is_ok()
    }
}

/// Sends the rows of one room in their order, one at a time. Runs from the room's first row until the daemon ends.
pub(super) struct RoomWorker<S> {
    /// Room whose rows it sends, as the outbox names it.
    pub(super) room: OwnedRoomOrAliasId,
    /// Shared with the queues, which ring it.
    pub(super) bell: Arc<RoomBell>,
    /// What it shares with the workers of other rooms.
    pub(super) side: RoomSide<S>,
}

impl<S: SendToRoom> RoomWorker<S> {
    /// Runs until `stop`; waits for a send in flight.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let mut backoff = PAUSES;
        let mut busy = None;
        while !stop.is_cancelled() {
            let pause = match self.step(&mut backoff, &mut busy, &stop).await {
                Ok(Step::Again) => continue,
                Ok(Step::Nothing) => None,
                Ok(Step::Wait(wait)) => Some(wait),
                Err(error) => {
                    error!(
                        room = %self.room,
                        error = &error as &dyn Error,
                        hint = error.hint(),
                        "cannot read the outbox, trying again"
                    );
                    Some(DATABASE_DELAY)
                }
            };
            // While this room waits, signs may be sent.
            busy = None;
            // A new row does not shorten the back-off.
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = self.bell.changed.notified() => backoff.reset(),
                // A new session may be permitted to send.
                Ok(()) = self.side.sender.changed() => backoff.reset(),
                () = tokio::time::sleep(pause.unwrap_or_default()), if pause.is_some() => {}
                () = self.bell.news.notified(), if pause.is_none() => {}
            }
        }
    }

    /// Sends the oldest row, if it is its turn, and reports the outcome. Returns when to do so again.
    async fn step(
        &mut self,
        backoff: &mut Backoff,
        busy: &mut Option<Busy>,
        stop: &CancellationToken,
    ) -> Result<Step> {
        let sender = current(&mut self.side.sender);
        let Some(Some(sender)) = stop.run_until_cancelled(sender).await else {
            return Ok(Step::Nothing);
        };
        // A row that was in flight at the last stop may have its event in the room: the homeserver forgets transaction ids.
        tokio::select! {
            biased;
            () = stop.cancelled() => return Ok(Step::Nothing),
            () = sender.caught_up() => {}
            Ok(()) = self.side.sender.changed() => return Ok(Step::Again),
        }
        let room = self.room.clone();
        let database = &self.side.database;
        let next = database.run(move |store| store.next_for_room(&room));
        let Some(row) = next.await? else {
            return Ok(Step::Nothing);
        };
        busy.get_or_insert_with(|| self.side.limit.busy());
        let turn = self.side.limit.message_turn();
        let Some(turn) = stop.run_until_cancelled(turn).await else {
            return Ok(Step::Nothing);
        };
        let now = self.side.clock.now();
        let outcome = sender.send(&self.room, &row.transaction, &row.content, now);
        let outcome = outcome.await;
        turn.over(&outcome);
        debug!(room = %self.room, outbox = %row.id, txn = %row.transaction, "message tried");
        let next = match &outcome {
            RoomOutcome::Sent { .. } | RoomOutcome::Refused { .. } => {
                backoff.reset();
                Step::Again
            }
            // The account's rate limit delays the next try.
            RoomOutcome::Retry { limited: true, .. } => return Ok(Step::Again),
            RoomOutcome::Retry {
                after,
                limited: false,
                error,
            } => {
                let wait = after.unwrap_or_default().max(backoff.grow(rand::random()));
                let delay_ms = wait.as_millis();
                // It is told once, and a single failure is nothing.
                if backoff.failures() == 2 {
                    warn!(room = %self.room, error, delay_ms, "cannot send now, trying again");
                } else {
                    debug!(room = %self.room, error, delay_ms, "not sent, trying again");
                }
                return Ok(Step::Wait(wait));
            }
            RoomOutcome::Parked { .. } => {
                backoff.grow(0.0);
                Step::Wait(LONGEST_PAUSE)
            }
        };
        let report = self.side.report(Event::Report(SendReport::Room {
            outbox: row.id,
            outcome,
        }));
        if !report.await {
            // The row stays as it was, and is sent again under the same transaction id.
            return Ok(Step::Wait(LONGEST_PAUSE));
        }
        Ok(next)
    }
}

/// What the worker does next.
enum Step {
    /// Look for a row at once.
    Again,
    /// Wait for the bell, as no row can be sent.
    Nothing,
    /// Wait for this time, or for a change of the room.
    Wait(Duration),
}

/// Waits until there is a sender; `None` when the daemon ends.
pub(super) async fn current<S: Clone>(sender: &mut watch::Receiver<Option<S>>) -> Option<S> {
    let sender = sender.wait_for(Option::is_some).await.ok()?;
    sender.clone()
}
