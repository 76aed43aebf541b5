//! The one worker that shows signs and moves read receipts, one request at a time and after everything else.
//!
//! It carries out what the tables of wanted states ask for, and notes there itself what became of it, in commits that do not
//! wait for the disk: no message depends on it, and what is lost is only tried again. The event loop is told alone of a room
//! that takes no signs.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error};

use super::queues::DATABASE_DELAY;
use super::room_worker::{RoomSide, current};
use super::{LONGEST_PAUSE, PAUSES};
use relay_model::{
    Backoff, Event, Explained as _, MatrixEvent, RoomOutcome, SendToRoom, Timestamp,
};
use relay_store::feedback::{self, Request};
use relay_store::receipts::{self, Receipt};
use relay_store::{Next, Result, Store, Tx};

/// It looks into the tables at least so often.
const LOOK_EVERY: Duration = Duration::from_mins(1);

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
        // Only then the latest wish is chosen.
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
            move |store: &mut Store| store.commit_relaxed(|tx| note(tx, &wish, &outcome, now));
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

/// What is to be shown in a room.
enum Wish {
    Sign(Request),
    Receipt(Receipt),
}

/// Returns what is to be shown next: signs before receipts.
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

/// Notes what became of it.
fn note(tx: &Tx<'_>, wish: &Wish, outcome: &RoomOutcome, now: Timestamp) -> Result<()> {
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
        // Whatever the server has against a receipt: it is not worth a second try.
        (Wish::Receipt(it), Sent { .. } | Refused { .. } | Parked { account: false, .. }) => {
            receipts::sent(tx, it, now)
        }
        (Wish::Receipt(_), Retry { limited: true, .. }) => Ok(()),
        (Wish::Receipt(it), Retry { .. } | Parked { .. }) => receipts::retry(tx, it, now),
    }
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
