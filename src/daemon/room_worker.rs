//! One worker for each room: takes the oldest row, sends it, reports, and takes the next.
//!
//! The outbox table is the truth: the worker remembers nothing that matters, so that stopping it at any
//! instruction loses nothing and repeats at most the last send, under the same transaction id.

use std::error::Error;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, warn};

use crate::model::{
    Backoff, Clock, EventId, Explained as _, OwnedRoomOrAliasId, RoomContent, RoomOrAliasId,
    RoomOutcome, SendReport, Timestamp, TransactionId,
};
use crate::store::{Database, StoreError};

use super::account_limit::{AccountLimit, Busy};
use super::reports::Reports;
use super::{LONGEST_PAUSE, PAUSES};

/// How long to wait when the database cannot be read.
const DATABASE_DELAY: Duration = Duration::from_secs(5);

/// Sends to a room. The Matrix adapter does it; a test can.
pub(super) trait SendToRoom: Clone + Send + Sync + 'static {
    /// Sends `content` under `transaction`, and returns what became of it.
    fn send(
        &self,
        room: &RoomOrAliasId,
        transaction: &TransactionId,
        content: &RoomContent,
        now: Timestamp,
    ) -> impl Future<Output = RoomOutcome> + Send;

    /// Marks a room as read up to an event; with `thread`, the thread of that root.
    fn mark_read(
        &self,
        room: &RoomOrAliasId,
        event: &EventId,
        thread: Option<&EventId>,
    ) -> impl Future<Output = RoomOutcome> + Send;
}

/// Wakes a room's worker.
#[derive(Debug, Default)]
pub(super) struct RoomBell {
    /// There may be something new in the table.
    pub(super) news: Notify,
    /// Something about the room has changed: what failed before may work now.
    pub(super) changed: Notify,
}

/// What a room's worker needs.
pub(super) struct RoomWorker<S> {
    /// Its room.
    pub(super) room: OwnedRoomOrAliasId,
    /// The tables.
    pub(super) database: Database,
    /// Who sends; `None` while no session is open.
    pub(super) sender: watch::Receiver<Option<S>>,
    /// Wakes it.
    pub(super) bell: Arc<RoomBell>,
    /// Where outcomes go.
    pub(super) reports: Reports,
    /// What the server lets the account do.
    pub(super) limit: AccountLimit,
    /// Tells the time.
    pub(super) clock: Clock,
}

impl<S: SendToRoom> RoomWorker<S> {
    /// Works until `stop`; a send under way is waited for.
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
            // Signs go on while this room cannot.
            busy = None;
            // News do not shorten the wait after a failure.
            let over = async {
                match pause {
                    Some(wait) => tokio::time::sleep(wait).await,
                    None => self.bell.news.notified().await,
                }
            };
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = self.bell.changed.notified() => backoff.reset(),
                // Another session, or the same one again, may be let do what was refused.
                Ok(()) = self.sender.changed() => backoff.reset(),
                () = over => {}
            }
        }
    }

    async fn step(
        &mut self,
        backoff: &mut Backoff,
        busy: &mut Option<Busy>,
        stop: &CancellationToken,
    ) -> Result<Step, StoreError> {
        let sender = tokio::select! {
            biased;
            () = stop.cancelled() => return Ok(Step::Nothing),
            sender = current(&mut self.sender) => match sender {
                Some(sender) => sender,
                None => return Ok(Step::Nothing),
            },
        };
        let room = self.room.clone();
        let next = self.database.run(move |store| store.next_for_room(&room));
        let Some(row) = next.await? else {
            return Ok(Step::Nothing);
        };
        busy.get_or_insert_with(|| self.limit.busy());
        let turn = tokio::select! {
            biased;
            () = stop.cancelled() => return Ok(Step::Nothing),
            turn = self.limit.message_turn() => turn,
        };
        let outcome = sender
            .send(&self.room, &row.transaction, &row.content, self.clock.now())
            .await;
        turn.over(&outcome);
        debug!(room = %self.room, outbox = %row.id, txn = %row.transaction, "tried");
        let next = match &outcome {
            RoomOutcome::Sent { .. } | RoomOutcome::Refused { .. } => {
                backoff.reset();
                Step::Again
            }
            // The account's limit holds the next try back, as it does those of the other rooms.
            RoomOutcome::Retry { limited: true, .. } => Step::Again,
            RoomOutcome::Retry {
                after,
                limited: false,
                error,
            } => {
                let wait = after.unwrap_or_default().max(backoff.grow(rand::random()));
                if backoff.failures() == 1 {
                    warn!(room = %self.room, error, delay_ms = wait.as_millis(), "cannot send now, trying again");
                }
                Step::Wait(wait)
            }
            RoomOutcome::Parked { .. } => {
                backoff.grow(0.0);
                Step::Wait(LONGEST_PAUSE)
            }
        };
        self.reports
            .committed(SendReport::Room {
                outbox: row.id,
                outcome,
            })
            .await;
        Ok(next)
    }
}

enum Step {
    /// There may be something to send.
    Again,
    /// The table holds nothing for this room.
    Nothing,
    /// Not before this time has passed.
    Wait(Duration),
}

/// Waits until there is a sender; `None` when there will never be one again.
pub(super) async fn current<S: Clone>(sender: &mut watch::Receiver<Option<S>>) -> Option<S> {
    sender
        .wait_for(Option::is_some)
        .await
        .ok()
        .and_then(|sender| sender.clone())
}
