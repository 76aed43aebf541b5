//! The account's rate limit. When the homeserver answers 429, all sends of the account pause, then go one by one, messages
//! first and rooms in turn, until no 429 has come for a while.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, OwnedMutexGuard, watch};
use tokio::time::{Instant, sleep_until};
use tracing::{debug, info, warn};

use relay_model::{Backoff, RoomOutcome};

/// Time without another 429 after which requests are concurrent again, and signs and receipts are sent again.
const CALM_AFTER: Duration = Duration::from_secs(30);
/// Back-off where the server does not say how long to wait.
const PAUSES: Backoff = Backoff::new(Duration::from_millis(500), Duration::from_mins(2));
/// How often it is told that there is a limit; `relay status` counts.
const TOLD_AGAIN: Duration = Duration::from_hours(6);
/// Maximum pause, whatever the server asks for.
const LONGEST: Duration = Duration::from_mins(5);

/// The limit of the account, shared by all workers for rooms; cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct AccountLimit {
    state: watch::Sender<State>,
    /// Held by the only request in flight while the account is limited. First come, first served.
    turn: Arc<Mutex<()>>,
}

/// What the workers know of the limit.
#[derive(Debug, Default)]
struct State {
    /// No request before this time; the limit ends [`CALM_AFTER`] later.
    limited: Option<Instant>,
    /// Number of 429 answers since the last successful request.
    in_a_row: u32,
    /// Number of rooms with messages to send: signs and receipts wait until it is 0.
    busy: usize,
    /// When it was last told that there is a limit: a busy account may meet it all day.
    told_at: Option<Instant>,
    /// The end of the limit is to be told, too.
    is_told: bool,
    /// Number of 429 answers since the start, and the time of the last.
    complaints: Option<(u64, Instant)>,
}

/// The right to make one request; give it back with [`Turn::over`].
#[derive(Debug)]
pub(super) struct Turn {
    state: watch::Sender<State>,
    /// Held while the account is limited, so that requests go one by one.
    alone: Option<OwnedMutexGuard<()>>,
}

/// Marks a room as having messages to send, until dropped.
#[derive(Debug)]
pub(super) struct Busy(watch::Sender<State>);

impl AccountLimit {
    /// Makes signs and receipts wait while a room has messages to send.
    pub(super) fn busy(&self) -> Busy {
        self.state.send_modify(|state| state.busy += 1);
        Busy(self.state.clone())
    }

    /// Waits until a message may be sent: normally at once. Cancelling loses the place in the queue.
    pub(super) async fn message_turn(&self) -> Turn {
        let mut alone = None;
        loop {
            let now = Instant::now();
            match self.limited(now) {
                None => return self.turn(None),
                Some(_) if alone.is_none() => {
                    alone = Some(Arc::clone(&self.turn).lock_owned().await);
                }
                Some(until) if until > now => sleep_until(until).await,
                Some(_) => return self.turn(alone),
            }
        }
    }

    /// Waits until a sign or receipt may be sent: no room has messages, and no 429 has come for a while. Cancel safe.
    pub(super) async fn quiet_turn(&self) -> Turn {
        let mut changes = self.state.subscribe();
        loop {
            let is_busy = changes.borrow_and_update().busy > 0;
            let now = Instant::now();
            let limited = self.limited(now);
            if limited.is_none() && !is_busy {
                return self.turn(None);
            }
            let calm = limited.unwrap_or(now) + CALM_AFTER;
            tokio::select! {
                Ok(()) = changes.changed() => {}
                () = sleep_until(calm), if !is_busy => {}
            }
        }
    }

    /// Returns the number of 429 answers since the start and the time of the last; `None`: none.
    pub(super) fn complaints(&self) -> Option<(u64, Instant)> {
        self.state.borrow().complaints
    }

    fn turn(&self, alone: Option<OwnedMutexGuard<()>>) -> Turn {
        Turn {
            state: self.state.clone(),
            alone,
        }
    }

    /// Returns the limit in force, after ending one that is over.
    fn limited(&self, now: Instant) -> Option<Instant> {
        let mut limited = None;
        self.state.send_if_modified(|state| {
            let is_over = state.is_over(now);
            limited = state.limited;
            is_over
        });
        limited
    }
}

impl State {
    /// Ends a limit whose pause was over [`CALM_AFTER`] ago. Returns whether it ended just now.
    fn is_over(&mut self, now: Instant) -> bool {
        let ended = self.limited.take_if(|limited| *limited + CALM_AFTER <= now);
        if ended.is_some() {
            self.in_a_row = 0;
            if std::mem::take(&mut self.is_told) {
                info!("the homeserver takes everything again");
            }
        }
        ended.is_some()
    }

    /// Records a 429 answer with its `retry_after`, if any. `random` is 0 to 1.
    fn complained(&mut self, after: Option<Duration>, now: Instant, random: f64) {
        self.in_a_row = self.in_a_row.saturating_add(1);
        let before = self.complaints.map_or(0, |(times, _)| times);
        self.complaints = Some((before.saturating_add(1), now));
        let wait = match after {
            Some(after) => Backoff::asked_for(after, LONGEST, random),
            None => PAUSES.after(self.in_a_row, random),
        };
        let delay_ms = wait.as_millis();
        let is_new = self.limited.is_none();
        let is_news = self.told_at.is_none_or(|at| now >= at + TOLD_AGAIN);
        if is_new && is_news {
            (self.is_told, self.told_at) = (true, Some(now));
            warn!(
                delay_ms,
                "the homeserver wants fewer events: messages go one by one, signs wait"
            );
        } else {
            debug!(delay_ms, "the homeserver still wants fewer events");
        }
        self.limited = Some(now + wait);
    }
}

impl Turn {
    /// Returns the turn, with the outcome of the request.
    pub(super) fn over(self, outcome: &RoomOutcome) {
        self.state.send_modify(|state| match outcome {
            RoomOutcome::Retry {
                limited: true,
                after,
                ..
            } => state.complained(*after, Instant::now(), rand::random()),
            RoomOutcome::Sent { .. } => state.in_a_row = 0,
            RoomOutcome::Retry { limited: false, .. }
            | RoomOutcome::Parked { .. }
            | RoomOutcome::Refused { .. } => {}
        });
        drop(self.alone);
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0
            .send_modify(|state| state.busy = state.busy.saturating_sub(1));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::task::JoinSet;

    use super::*;
    use relay_model::EventId;

    fn too_much(after: Option<u64>) -> RoomOutcome {
        RoomOutcome::Retry {
            after: after.map(Duration::from_secs),
            limited: true,
            error: "too much".to_owned(),
        }
    }

    fn sent() -> RoomOutcome {
        RoomOutcome::Sent {
            event: EventId::parse("$sent:example.org").unwrap(),
        }
    }

    async fn complain(limit: &AccountLimit, after: Option<u64>) -> Duration {
        let start = Instant::now();
        limit.message_turn().await.over(&too_much(after));
        let turn = limit.message_turn().await;
        drop(turn);
        start.elapsed()
    }

    #[test]
    fn a_limit_ends_half_a_minute_after_the_servers_last_wish_by_the_time_that_is_handed_in() {
        let (mut state, start) = (State::default(), Instant::now());
        let after = |seconds| start + Duration::from_secs(seconds);
        assert!(!state.is_over(start));
        state.complained(Some(Duration::from_secs(5)), start, 0.0);
        state.complained(Some(Duration::from_secs(5)), after(20), 0.0);
        assert_eq!(state.complaints, Some((2, after(20))));
        assert!(!state.is_over(after(54)));
        assert_eq!(state.limited, Some(after(25)));
        assert!(state.is_over(after(55)) && !state.is_over(after(55)));
        assert_eq!((state.limited, state.in_a_row), (None, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn rooms_send_side_by_side_as_long_as_the_server_is_content() {
        let limit = AccountLimit::default();
        let one = limit.message_turn().await;
        let two = limit.message_turn().await;
        one.over(&sent());
        two.over(&sent());
    }

    #[tokio::test(start_paused = true)]
    async fn everybody_waits_as_long_as_the_server_says() {
        let limit = AccountLimit::default();
        let waited = complain(&limit, Some(5)).await;
        assert!((5.0..6.3).contains(&waited.as_secs_f64()), "{waited:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn without_the_servers_word_waits_grow_and_no_word_stops_the_relay_for_good() {
        let limit = AccountLimit::default();
        let first = complain(&limit, None).await;
        let mut last = Duration::ZERO;
        for _ in 0..10 {
            last = complain(&limit, None).await;
        }
        assert!(first < Duration::from_secs(1), "{first:?}");
        assert!(last >= Duration::from_mins(1), "{last:?}");
        let longest = complain(&limit, Some(u64::MAX)).await;
        assert!(longest <= LONGEST + Duration::from_millis(1), "{longest:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn under_the_limit_fifty_rooms_go_one_by_one_and_in_turn() {
        let limit = AccountLimit::default();
        limit.message_turn().await.over(&too_much(Some(5)));
        let (under_way, order) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(vec![])));
        let mut rooms = JoinSet::new();
        for room in 0..50 {
            let (limit, under_way) = (limit.clone(), Arc::clone(&under_way));
            let order = Arc::clone(&order);
            rooms.spawn(async move {
                for _ in 0..2 {
                    let turn = limit.message_turn().await;
                    assert_eq!(under_way.fetch_add(1, Ordering::SeqCst), 0);
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    under_way.fetch_sub(1, Ordering::SeqCst);
                    order.lock().unwrap().push(room);
                    turn.over(&sent());
                }
            });
            // So that they stand in line in this order.
            tokio::task::yield_now().await;
        }
        while rooms.join_next().await.transpose().unwrap().is_some() {}
        let expected: Vec<usize> = (0..50).chain(0..50).collect();
        assert_eq!(*order.lock().unwrap(), expected);
    }

    #[tokio::test(start_paused = true)]
    async fn a_sign_waits_for_messages_and_for_a_content_server() {
        let limit = AccountLimit::default();
        limit.quiet_turn().await.over(&sent());
        let busy = limit.busy();
        let soon = Duration::from_mins(5);
        assert!(
            tokio::time::timeout(soon, limit.quiet_turn())
                .await
                .is_err()
        );
        limit.message_turn().await.over(&too_much(Some(5)));
        let start = Instant::now();
        drop(busy);
        limit.quiet_turn().await.over(&sent());
        assert!(start.elapsed() >= Duration::from_secs(35));
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_that_nobody_sends_any_more_holds_no_place() {
        let limit = AccountLimit::default();
        limit.message_turn().await.over(&too_much(Some(5)));
        let dropped = tokio::time::timeout(Duration::from_secs(1), limit.message_turn()).await;
        assert!(dropped.is_err());
        limit.message_turn().await.over(&sent());
    }
}
