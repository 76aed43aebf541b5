//! Gaps: stretches of room history that the server did not return during the sync. They are fetched beside the sync,
//! page by page, with the rooms taking turns; the consumer of our batches stores them across restarts.

use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, pending};
use matrix_sdk::deserialized_responses::TimelineEvent;
use matrix_sdk::room::MessagesOptions;
use matrix_sdk::ruma::api::client::filter::LazyLoadOptions;
use matrix_sdk::{Error, Room};
use tokio::time::{Instant, sleep_until};
use tracing::{debug, error, info, warn};

use super::{errors, rooms::Rooms, task::named};
use relay_model::{Backoff, Gap, GapStart, RoomId, Timestamp};

/// Maximum number of events in a page, a few hundred kilobytes in practice. Smaller after failures: the answer may have
/// been too large.
const PAGE: u32 = 250;
/// Number of consecutive empty pages after which the history counts as complete, even if the server does not say so.
pub(super) const MOST_EMPTY: u32 = 20;
/// Maximum number of pages that are read back to the time at which a gap begins: more would expire before it is their turn.
const MOST_BACK: u32 = 20;
/// Maximum total time that one sync answer waits for history that cannot be fetched.
const PATIENCE: Duration = Duration::from_mins(1);
const FIRST_PAUSE: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_mins(10);
const PAUSES: Backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
/// Consecutive failures between two warnings, about half a day.
const SAY_AGAIN: u32 = 72;
/// Consecutive refusals after which a gap is given up, about six hours.
const MOST_REFUSALS: u32 = 40;

/// Maximum number of gaps of one room; beyond that, the two oldest are merged.
const MOST_OF_ROOM: usize = 4;

/// The open gaps, oldest first within a room. Each is fetched on its own, so that one that the server never returns
/// does not block later ones.
#[derive(Default)]
pub(super) struct Gaps {
    open: Vec<Open>,
    /// Result of a separate task, which continues while the sync does other things. A half-done decryption would hold
    /// the lock of the SDK's crypto store, and block the sync.
    fetching: Option<(Gap, BoxFuture<'static, Option<matrix_sdk::Result<GapPage>>>)>,
}

/// A gap that is still to be fetched, and how its requests went.
struct Open {
    gap: Gap,
    failures: u32,
    /// Consecutive refusals up to now.
    refusals: u32,
    /// Consecutive empty pages up to now.
    empty: u32,
    /// Earliest time of the next request.
    due: Instant,
}

impl Gaps {
    pub(super) fn new(kept: Vec<Gap>, now: Instant) -> Self {
        let mut gaps = Self::default();
        for gap in kept {
            gaps.add(gap, now);
        }
        gaps
    }

    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    pub(super) fn is_open(&self, room: &RoomId) -> bool {
        self.open.iter().any(|open| open.gap.room == room)
    }

    /// Returns the time from which on what was said in a room is still missing, where that has no token.
    pub(super) fn since(&self, room: &RoomId) -> Option<Timestamp> {
        let mut of_room = self.open.iter().filter(|open| open.gap.room == room);
        of_room.find_map(|open| match open.gap.from {
            GapStart::Time(since) => Some(since),
            GapStart::Token(_) => None,
        })
    }

    /// Adds a gap, to be fetched from `due` on.
    pub(super) fn add(&mut self, gap: Gap, due: Instant) {
        if let Some(open) = self.find(&gap) {
            open.gap.to = gap.to;
            return;
        }
        let room = gap.room.clone();
        self.open.push(Open {
            gap,
            failures: 0,
            refusals: 0,
            empty: 0,
            due,
        });
        let of_room = |(index, open): (usize, &Open)| (open.gap.room == room).then_some(index);
        let of_room: Vec<usize> = self.open.iter().enumerate().filter_map(of_room).collect();
        if let [oldest, second, ..] = of_room[..]
            && of_room.len() > MOST_OF_ROOM
        {
            // The messages in between are known already; reading them again does no harm.
            let second = self.open.remove(second).gap;
            if let Some(oldest) = self.open.get_mut(oldest) {
                oldest.gap.to = second.to;
            }
        }
    }

    /// Finds the gap with the same start; its end may have moved since.
    fn find(&mut self, gap: &Gap) -> Option<&mut Open> {
        let mut open = self.open.iter_mut();
        open.find(|open| open.gap.room == gap.room && open.gap.from == gap.from)
    }

    pub(super) fn all(&self) -> Vec<Gap> {
        self.open.iter().map(|open| open.gap.clone()).collect()
    }

    /// Waits for a page of a gap; forever if there is none. Cancel safe: a pending page is returned by the next call.
    pub(super) async fn next(&mut self, rooms: &Rooms) -> (Gap, matrix_sdk::Result<GapPage>) {
        loop {
            if let Some((gap, fetching)) = &mut self.fetching {
                let fetched = fetching.await;
                let gap = gap.clone();
                self.fetching = None;
                let failed = || Err(Error::UnknownError("TaskFailed".into()));
                return (gap, fetched.unwrap_or_else(failed));
            }
            // The gap that has waited longest comes next.
            let Some(open) = self.open.iter_mut().min_by_key(|open| open.due) else {
                return pending().await;
            };
            sleep_until(open.due).await;
            match rooms.mapped(&open.gap.room) {
                Some(room) => {
                    let (gap, failures) = (open.gap.clone(), open.failures);
                    let wanted = gap.clone();
                    let work = async move { fetch(&room, &wanted, failures).await };
                    self.fetching = Some((gap, named("missed events", work).boxed()));
                }
                // The alias may not be resolved yet.
                None => open.due += LONGEST_PAUSE,
            }
        }
    }

    /// Records that a page was read, possibly an empty one; `next` is the start of the rest. After many empty pages the
    /// pauses grow.
    pub(super) fn read(&mut self, gap: &Gap, next: Option<String>, is_empty: bool, now: Instant) {
        let Some(open) = self.find(gap) else {
            return;
        };
        // The gap may have grown while the page was fetched.
        let rest = next.or_else(|| (open.gap.to != gap.to).then(|| gap.to.clone()));
        let Some(from) = rest else {
            self.drop(gap);
            if !self.is_open(&gap.room) {
                info!(room = %gap.room, "what was missed in this room is fetched");
            }
            return;
        };
        open.gap.from = GapStart::Token(from);
        (open.failures, open.refusals) = (0, 0);
        open.empty = counted(open.empty, is_empty);
        let too_many = open.empty.saturating_sub(MOST_EMPTY);
        let pause = match too_many {
            0 => Duration::ZERO,
            more => PAUSES.after(more, rand::random()),
        };
        open.due = now + pause;
        if too_many % SAY_AGAIN == 1 {
            warn!(
                room = %gap.room,
                "the homeserver hands out empty pages of what was said in this room meanwhile, still looking for messages; if this goes on, see its log"
            );
        }
    }

    fn drop(&mut self, gap: &Gap) {
        let begins = |open: &Open| open.gap.room == gap.room && open.gap.from == gap.from;
        self.open.retain(|open| !begins(open));
    }

    /// Records that the server did not return a page. Returns whether the gap is given up.
    pub(super) fn failed(&mut self, gap: &Gap, error: &Error, now: Instant) -> bool {
        let Some(open) = self.find(gap) else {
            return false;
        };
        open.failures = open.failures.saturating_add(1);
        open.refusals = counted(open.refusals, errors::is_refusal(error));
        if open.refusals >= MOST_REFUSALS {
            error!(
                room = %gap.room,
                error = errors::sentence(error),
                "what was said in this room meanwhile is given up: the homeserver goes on refusing it; messages may be missing"
            );
            self.drop(gap);
            return true;
        }
        let pause = errors::retry_after(error)
            .unwrap_or_else(|| PAUSES.after(open.failures, rand::random()));
        open.due = now + pause;
        if open.failures % SAY_AGAIN == 0 {
            say_missing(&gap.room, error);
        } else {
            let (failures, error) = (open.failures, errors::sentence(error));
            debug!(room = %gap.room, failures, error, "what was missed in this room cannot be fetched yet");
        }
        false
    }
}

/// The oldest events of a gap.
pub(super) struct GapPage {
    pub(super) events: Vec<TimelineEvent>,
    /// Start of the next page, if there is one.
    pub(super) next: Option<String>,
}

/// Requests the first page of a gap once, or all of it where it begins at a time; `failures` are the consecutive ones before.
/// An error is temporary: the request can be repeated.
pub(super) async fn fetch(room: &Room, gap: &Gap, failures: u32) -> matrix_sdk::Result<GapPage> {
    let limit = PAGE >> failures.min(7);
    let from = match &gap.from {
        GapStart::Token(from) => from,
        GapStart::Time(since) => return fetch_back(room, &gap.to, *since, limit).await,
    };
    let mut options = MessagesOptions::forward().from(from.as_str());
    options.to = Some(gap.to.clone());
    options.limit = limit.into();
    options.filter.lazy_load_options = lazy_members();
    let page = room.messages(options).await?;
    debug!(room = %gap.room, events = page.chunk.len(), "page of missed events");
    // Some servers return the same position again at the end. A page can be empty before the end if all its events are
    // hidden from us.
    let next = page.end.filter(|end| end != from && *end != gap.to);
    Ok(GapPage {
        events: page.chunk,
        next,
    })
}

/// Requests what was said up to `to`, back to a time, and possibly before it.
async fn fetch_back(
    room: &Room,
    to: &str,
    since: Timestamp,
    limit: u32,
) -> matrix_sdk::Result<GapPage> {
    let mut events = Vec::new();
    let mut place = Some(to.to_owned());
    for _ in 0..MOST_BACK {
        let Some(from) = place.take() else {
            break;
        };
        let mut options = MessagesOptions::backward().from(from.as_str());
        options.limit = limit.into();
        options.filter.lazy_load_options = lazy_members();
        let page = room.messages(options).await?;
        // Single events may have a wrong time.
        let is_before = |it: &TimelineEvent| {
            let sent_at = it.timestamp_raw();
            sent_at.is_some_and(|it| i64::from(it.get()) < since.0)
        };
        let is_all = !page.chunk.is_empty() && page.chunk.iter().all(is_before);
        events.extend(page.chunk);
        place = page.end.filter(|end| !is_all && *end != from);
    }
    debug!(room = %room.room_id(), events = events.len(), "missed events, by their time");
    if place.is_some() {
        warn!(
            room = %room.room_id(),
            events = events.len(),
            "more was said in this room meanwhile than is read: the oldest of it is left out"
        );
    }
    events.reverse();
    Ok(GapPage { events, next: None })
}

/// Counts consecutive occurrences.
pub(super) fn counted(before: u32, is_so: bool) -> u32 {
    if is_so { before.saturating_add(1) } else { 0 }
}

pub(super) fn say_missing(room: &RoomId, error: &Error) {
    warn!(
        %room,
        error = errors::sentence(error),
        "what was said in this room meanwhile cannot be fetched yet, trying again until it can; if this goes on, see the homeserver's log"
    );
}

/// Time budget of one sync answer for history that cannot be fetched.
#[derive(Debug, Default)]
pub(super) struct Patience {
    /// Set by the first failure.
    until: Option<Instant>,
}

impl Patience {
    /// Returns whether the budget is used up. Then no request is made at all: each could time out.
    pub(super) fn is_spent(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| now >= until)
    }

    /// Returns whether the budget allows such a pause after a failure.
    pub(super) fn allows(&mut self, pause: Duration, now: Instant) -> bool {
        let until = *self.until.get_or_insert(now + PATIENCE);
        now + pause <= until
    }
}

/// Asks the server for the member events of senders only.
pub(super) fn lazy_members() -> LazyLoadOptions {
    LazyLoadOptions::Enabled {
        include_redundant_members: false,
    }
}

#[cfg(test)]
mod tests;
