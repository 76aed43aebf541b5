//! The one worker that shows signs and moves read receipts, one request at a time and after everything else.
//!
//! It carries out what the tables of wanted states ask for, and notes there itself what became of it, in commits that do not
//! wait for the disk, instead of reporting to the event loop: nothing is decided on it, and what is lost is only tried again.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, warn};

use crate::model::{
    Backoff, Explained as _, OwnedRoomId, OwnedTransactionId, RoomOutcome, SendToRoom, Timestamp,
};
use crate::store::feedback::{self, Next, Request};
use crate::store::receipts::{self, Receipt};
use crate::store::{Result, Tx};

use super::account_limit::Turn;
use super::room_worker::{RoomSide, current};
use super::{LONGEST_PAUSE, PAUSES};

/// How long to wait when the database cannot be read.
const DATABASE_DELAY: Duration = Duration::from_secs(5);
/// It looks into the tables at least so often.
const LOOK_EVERY: Duration = Duration::from_mins(1);

/// What the worker needs.
pub(super) struct FeedbackWorker<S> {
    /// Rung when there may be something new in the tables.
    pub(super) bell: Arc<Notify>,
    pub(super) side: RoomSide<S>,
}

impl<S: SendToRoom> FeedbackWorker<S> {
    /// Works until `stop`. A request under way is dropped then: it is made again at the next start, under the same
    /// transaction.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let mut backoff = PAUSES;
        loop {
            let done = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                done = self.step(&mut backoff) => done,
            };
            let (pause, listens) = match done {
                Ok(Step::Made) => continue,
                Ok(Step::Nothing(wait)) => (wait, true),
                Ok(Step::Failed(wait)) => (wait, false),
                Err(error) => {
                    error!(
                        error = &error as &dyn Error,
                        hint = error.hint(),
                        "cannot read what is to be shown, trying again"
                    );
                    (DATABASE_DELAY, false)
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.bell.notified(), if listens => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    async fn step(&mut self, backoff: &mut Backoff) -> Result<Step> {
        let Some(sender) = current(&mut self.side.sender).await else {
            return Ok(Step::Nothing(LOOK_EVERY));
        };
        // Only then the latest wish is chosen.
        let turn = self.side.limit.quiet_turn().await;
        let now = self.side.clock.now();
        let sign = self
            .side
            .database
            .run(move |store| store.note(|tx| feedback::next(tx, now)))
            .await?;
        let sign_later = match sign {
            Next::Due(request) => return self.show(&sender, turn, request, backoff).await,
            Next::Later(due) => Some(due),
            Next::Nothing => None,
        };
        let receipt = self
            .side
            .database
            .run(move |store| store.note(|tx| receipts::next(tx, now)));
        let receipt_later = match receipt.await? {
            Next::Due(receipt) => return self.mark(&sender, turn, receipt, backoff).await,
            Next::Later(due) => Some(due),
            Next::Nothing => None,
        };
        let later = sign_later.into_iter().chain(receipt_later).min();
        let wait = later.map_or(LOOK_EVERY, |due| due.since(now).min(LOOK_EVERY));
        Ok(Step::Nothing(wait))
    }

    /// Shows a sign, or takes one away.
    async fn show(
        &self,
        sender: &S,
        turn: Turn,
        request: Request,
        backoff: &mut Backoff,
    ) -> Result<Step> {
        let Request {
            event,
            room,
            transaction,
            content,
        } = request;
        let now = self.side.clock.now();
        let room_name = (&*room).into();
        let outcome = sender.send(room_name, &transaction, &content, now).await;
        turn.over(&outcome);
        debug!(%room, event_id = %event, txn = %transaction, ?outcome, "sign tried");
        let step = judge(&outcome, backoff);
        let room_for_note = room.clone();
        let newly_forbidden = self
            .side
            .database
            .run(move |store| {
                store.note(|tx| note(tx, &room_for_note, &transaction, &outcome, now))
            })
            .await?;
        if newly_forbidden {
            warn!(%room, "signs cannot be shown in this room: the bot may not react there, or not take its reactions back");
        }
        Ok(step)
    }

    /// Moves a read receipt.
    async fn mark(
        &self,
        sender: &S,
        turn: Turn,
        receipt: Receipt,
        backoff: &mut Backoff,
    ) -> Result<Step> {
        let thread = receipt.thread.as_deref();
        let room_name = (&*receipt.room).into();
        let outcome = sender.mark_read(room_name, &receipt.event, thread).await;
        turn.over(&outcome);
        debug!(room = %receipt.room, event_id = %receipt.event, ?outcome, "receipt tried");
        let step = judge(&outcome, backoff);
        let now = self.side.clock.now();
        self.side
            .database
            .run(move |store| {
                store.note(|tx| match &outcome {
                    // Whatever the server has against a receipt: it is not worth a second try.
                    RoomOutcome::Sent { .. }
                    | RoomOutcome::Refused { .. }
                    | RoomOutcome::Parked { account: false, .. } => {
                        receipts::sent(tx, &receipt, now)
                    }
                    RoomOutcome::Retry { limited: true, .. } => Ok(()),
                    RoomOutcome::Retry { limited: false, .. }
                    | RoomOutcome::Parked { account: true, .. } => {
                        receipts::retry(tx, &receipt, now)
                    }
                })
            })
            .await?;
        Ok(step)
    }
}

/// Returns how to go on after this.
fn judge(outcome: &RoomOutcome, backoff: &mut Backoff) -> Step {
    match outcome {
        RoomOutcome::Sent { .. } => {
            backoff.reset();
            Step::Made
        }
        // The limit holds the next one back.
        RoomOutcome::Retry { limited: true, .. }
        | RoomOutcome::Refused { .. }
        | RoomOutcome::Parked { account: false, .. } => Step::Made,
        RoomOutcome::Retry { limited: false, .. } => Step::Failed(backoff.grow(rand::random())),
        RoomOutcome::Parked { account: true, .. } => Step::Failed(LONGEST_PAUSE),
    }
}

/// Notes what became of a request. Returns whether the room turned out to take no signs.
fn note(
    tx: &Tx<'_>,
    room: &OwnedRoomId,
    transaction: &OwnedTransactionId,
    outcome: &RoomOutcome,
    now: Timestamp,
) -> Result<bool> {
    let transaction = transaction.as_str();
    match outcome {
        RoomOutcome::Sent { event } => {
            feedback::done(tx, transaction, event, now)?;
        }
        RoomOutcome::Refused { .. } => feedback::give_up(tx, transaction, now)?,
        RoomOutcome::Retry { limited: true, .. } => feedback::not_done(tx, transaction, now)?,
        RoomOutcome::Parked { account: false, .. } => {
            feedback::not_done(tx, transaction, now)?;
            return feedback::forbid(tx, room);
        }
        RoomOutcome::Retry { limited: false, .. } | RoomOutcome::Parked { account: true, .. } => {
            feedback::retry(tx, transaction, now)?;
        }
    }
    Ok(false)
}

enum Step {
    /// A request was made; there may be another.
    Made,
    /// There is nothing to do before this time has passed, or the bell rings.
    Nothing(Duration),
    /// Not before this time has passed.
    Failed(Duration),
}

#[cfg(test)]
mod tests;
