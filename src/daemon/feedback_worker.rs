//! The one worker that sends signs (reactions that show a message's state) and read receipts: one request at a time, with
//! lower priority than messages.
//!
//! It reads the wanted states from their tables and stores the outcomes there itself, in commits without an fsync: no
//! message depends on them. If a power cut takes back what was placed in the last seconds, a sign may stay beside the next
//! one. Only a room that forbids signs is reported to the event loop.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error};

use super::room_worker::{RoomSide, current};
use super::{DATABASE_DELAY, LONGEST_PAUSE, PAUSES};
use relay_model::{
    Backoff, Event, Explained as _, MatrixEvent, RoomOutcome, SendToRoom, Timestamp,
};
use relay_store::feedback::{self, SignRequest};
use relay_store::receipts::{self, Receipt};
use relay_store::{Next, Result, Store, Tx};

/// Maximum time between two look-ups in the tables.
const LOOK_EVERY: Duration = Duration::from_mins(1);

/// Sends signs and read receipts of all rooms, one at a time, while no message is to be sent.
pub(super) struct FeedbackWorker<S> {
    /// Notified when the tables may have a new request.
    pub(super) bell: Arc<Notify>,
    pub(super) side: RoomSide<S>,
}

impl<S: SendToRoom> FeedbackWorker<S> {
    /// Runs until `stop`, which cancels a request in flight: the next start sends it again under the same transaction id.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let mut backoff = PAUSES;
        loop {
            let Some(done) = stop.run_until_cancelled(self.step(&mut backoff)).await else {
                return;
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
        // Wait first, then choose: the state wanted may change meanwhile.
        let turn = self.side.limit.quiet_turn().await;
        let now = self.side.clock.now();
        let next = move |store: &mut Store| store.commit_relaxed(|tx| next_wish(tx, now));
        let wish = match self.side.database.run(next).await? {
            Next::Due(wish) => wish,
            Next::Later(due) => return Ok(Step::Nothing(due.since(now).min(LOOK_EVERY))),
            Next::Nothing => return Ok(Step::Nothing(LOOK_EVERY)),
        };
        let outcome = match &wish {
            Wish::Sign(it) => {
                let outcome = sender.send((&*it.room).into(), &it.transaction, &it.content, now);
                let outcome = outcome.await;
                debug!(room = %it.room, event_id = %it.event, txn = %it.transaction, ?outcome, "sign tried");
                outcome
            }
            Wish::Receipt(it) => {
                let outcome = sender.mark_read((&*it.room).into(), &it.event, it.thread.as_deref());
                let outcome = outcome.await;
                debug!(room = %it.room, event_id = %it.event, ?outcome, "receipt tried");
                outcome
            }
        };
        turn.over(&outcome);
        let step = judge(&outcome, backoff);
        let forbidding = match (&wish, &outcome) {
            (Wish::Sign(it), RoomOutcome::Parked { account: false, .. }) => Some(it.room.clone()),
            _ => None,
        };
        let now = self.side.clock.now();
        let noted =
            move |store: &mut Store| store.commit_relaxed(|tx| record(tx, &wish, &outcome, now));
        self.side.database.run(noted).await?;
        if let Some(room) = forbidding
            && !self
                .side
                .report(Event::Matrix(MatrixEvent::NoSigns { room }))
                .await
        {
            return Ok(Step::Failed(LONGEST_PAUSE));
        }
        Ok(step)
    }
}

/// What is to be shown next in a room.
enum Wish {
    Sign(SignRequest),
    Receipt(Receipt),
}

/// Returns the next request: signs before receipts.
fn next_wish(tx: &Tx<'_>, now: Timestamp) -> Result<Next<Wish>> {
    let sign = match feedback::next(tx, now)? {
        Next::Due(sign) => return Ok(Next::Due(Wish::Sign(sign))),
        Next::Later(due) => Some(due),
        Next::Nothing => None,
    };
    Ok(match (receipts::next(tx, now)?, sign) {
        (Next::Due(receipt), _) => Next::Due(Wish::Receipt(receipt)),
        (Next::Later(due), sign) => Next::Later(sign.map_or(due, |sign| sign.min(due))),
        (Next::Nothing, Some(sign)) => Next::Later(sign),
        (Next::Nothing, None) => Next::Nothing,
    })
}

fn judge(outcome: &RoomOutcome, backoff: &mut Backoff) -> Step {
    match outcome {
        RoomOutcome::Sent { .. } => {
            backoff.reset();
            Step::Made
        }
        // The account's rate limit delays the next request.
        RoomOutcome::Retry { limited: true, .. }
        | RoomOutcome::Refused { .. }
        | RoomOutcome::Parked { account: false, .. } => Step::Made,
        RoomOutcome::Retry { limited: false, .. } => Step::Failed(backoff.grow(rand::random())),
        RoomOutcome::Parked { account: true, .. } => Step::Failed(LONGEST_PAUSE),
    }
}

fn record(tx: &Tx<'_>, wish: &Wish, outcome: &RoomOutcome, now: Timestamp) -> Result<()> {
    use RoomOutcome::{Parked, Refused, Retry, Sent};
    match (wish, outcome) {
        (Wish::Sign(it), Sent { event }) => {
            feedback::done(tx, it.transaction.as_str(), event, now).map(drop)
        }
        (Wish::Sign(it), Refused { .. }) => feedback::give_up(tx, it.transaction.as_str(), now),
        (Wish::Sign(it), Retry { limited: true, .. } | Parked { account: false, .. }) => {
            feedback::not_done(tx, it.transaction.as_str(), now)
        }
        (Wish::Sign(it), Retry { .. } | Parked { .. }) => {
            feedback::retry(tx, it.transaction.as_str(), now)
        }
        // A refused receipt is not retried.
        (Wish::Receipt(it), Sent { .. } | Refused { .. } | Parked { account: false, .. }) => {
            receipts::sent(tx, it, now)
        }
        (Wish::Receipt(_), Retry { limited: true, .. }) => Ok(()),
        (Wish::Receipt(it), Retry { .. } | Parked { .. }) => receipts::retry(tx, it, now),
    }
}

/// What the worker does next.
enum Step {
    /// A request was sent; there may be another.
    Made,
    /// Nothing is due for this time, or until the bell is notified.
    Nothing(Duration),
    /// The request failed: wait for this time, whatever the bell.
    Failed(Duration),
}

#[cfg(test)]
mod tests;
