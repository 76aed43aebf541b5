//! The one limit of the account: when the server says that it is too much, everything that the account sends waits, then
//! goes one by one, messages first and rooms in turn, until the server has been content for a while.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, OwnedMutexGuard, watch};
use tokio::time::{Instant, sleep_until};
use tracing::{debug, info, warn};

use relay_model::{Backoff, RoomOutcome};

/// Without a further complaint for so long, requests go side by side again, and what is less than a message goes too.
const CALM_AFTER: Duration = Duration::from_secs(30);
/// Where the server does not say how long to wait.
const PAUSES: Backoff = Backoff::new(Duration::from_millis(500), Duration::from_mins(2));
/// However long a server wants to be left alone, one request asks after that time whether it still does.
const LONGEST: Duration = Duration::from_mins(5);

/// Shared by everybody who sends; cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct AccountLimit {
    state: watch::Sender<State>,
    /// Held by the one request that is made while the account is limited. Whoever waited longest gets it first.
    turn: Arc<Mutex<()>>,
}

#[derive(Debug, Default)]
struct State {
    /// Nothing before then; [`CALM_AFTER`] that the limit is over, if nothing more comes.
    limited: Option<Instant>,
    /// Complaints since a request was taken last.
    in_a_row: u32,
    /// Rooms that have messages to send.
    busy: usize,
    /// How often the server has complained so far, and when last.
    complaints: Option<(u64, Instant)>,
}

/// The right to make one request; give it back with [`Turn::over`].
#[derive(Debug)]
pub(super) struct Turn {
    state: watch::Sender<State>,
    /// Kept from the others while the account is limited.
    alone: Option<OwnedMutexGuard<()>>,
}

/// Says, as long as it lives, that a room has messages to send.
#[derive(Debug)]
pub(super) struct Busy(watch::Sender<State>);

impl AccountLimit {
    /// Says that a room has messages to send: signs and receipts wait.
    pub(super) fn busy(&self) -> Busy {
        self.state.send_modify(|state| state.busy += 1);
        Busy(self.state.clone())
    }

    /// Waits until a message may be sent: at once, normally. May be dropped: the place in the line is lost.
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

    /// Waits until what is less than a message may be sent: no room has any, and the server has not complained for a while.
    /// May be dropped.
    pub(super) async fn quiet_turn(&self) -> Turn {
        let mut changes = self.state.subscribe();
        loop {
            // No change after this look is missed.
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

    /// Returns how often the server has complained so far, and when last; `None`: never.
    pub(super) fn complaints(&self) -> Option<(u64, Instant)> {
        self.state.borrow().complaints
    }

    fn turn(&self, alone: Option<OwnedMutexGuard<()>>) -> Turn {
        Turn {
            state: self.state.clone(),
            alone,
        }
    }

    /// Returns the limit that holds, if one does.
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
    /// Ends a limit that has held for long enough. Returns whether one has ended.
    fn is_over(&mut self, now: Instant) -> bool {
        let ended = self.limited.take_if(|limited| *limited + CALM_AFTER <= now);
        if ended.is_some() {
            self.in_a_row = 0;
            info!("the homeserver takes everything again");
        }
        ended.is_some()
    }

    /// Notes that the server wants fewer events, and that it wants to be left alone for so long, if it has said so. `random`
    /// is 0 to 1.
    fn complained(&mut self, after: Option<Duration>, now: Instant, random: f64) {
        self.in_a_row = self.in_a_row.saturating_add(1);
        let before = self.complaints.map_or(0, |(times, _)| times);
        self.complaints = Some((before.saturating_add(1), now));
        let wait = match after {
            Some(after) => Backoff::asked_for(after, LONGEST, random),
            None => PAUSES.after(self.in_a_row, random),
        };
        let delay_ms = wait.as_millis();
        if self.limited.is_none() {
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
    /// Gives the turn back, with what became of the request.
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
