//! What is missing of rooms whose history the server would not hand out when it was due. It is fetched beside the sync, a
//! page at a time, rooms in turn; whoever takes our batches keeps it over a restart.

use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, pending};
use matrix_sdk::deserialized_responses::TimelineEvent;
use matrix_sdk::room::MessagesOptions;
use matrix_sdk::ruma::api::client::filter::LazyLoadOptions;
use matrix_sdk::{Error, Room};
use tokio::time::{Instant, sleep_until};
use tracing::{debug, error, info, warn};

use super::errors;
use super::rooms::Rooms;
use super::task::named;
use relay_model::{Backoff, Gap, RoomId};

/// A page: a few hundred kilobytes at most in practice. After failures it is smaller: the answer may have been too large.
const PAGE: u32 = 250;
/// So many empty pages in a row are taken for a server that has nothing more and does not say so.
pub(super) const MOST_EMPTY: u32 = 20;
/// So long the sync waits in all, while it takes an answer, for rooms whose history cannot be fetched. Then it goes on.
const PATIENCE: Duration = Duration::from_mins(1);
const FIRST_PAUSE: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_mins(10);
const PAUSES: Backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
/// It is said again after so many failures in a row, half a day.
const SAY_AGAIN: u32 = 72;
/// A server that has refused so often in a row, for about six hours, means it.
const MOST_REFUSALS: u32 = 40;

/// Missing stretches of one room; beyond them the oldest two become one.
const MOST_OF_ROOM: usize = 4;

/// The missing stretches, those of a room from the oldest on. Each is asked for on its own: one that the server can never
/// hand out holds up none that came later.
#[derive(Default)]
pub(super) struct Gaps {
    open: Vec<Open>,
    /// Waits for a task of its own: that goes on while the sync does other things. Left half done, its decryption would
    /// hold the SDK's crypto store, which the sync waits for.
    fetching: Option<(Gap, BoxFuture<'static, Option<matrix_sdk::Result<Page>>>)>,
}

struct Open {
    gap: Gap,
    failures: u32,
    /// How many of them, the last ones, were refusals.
    refusals: u32,
    /// Empty pages in a row.
    empty: u32,
    /// When it may be asked for again.
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

    pub(super) fn is_open(&self, room: &RoomId) -> bool {
        self.open.iter().any(|open| open.gap.room == room)
    }

    /// Adds what is missing, to be asked for from then on.
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
            // What lies between is known already: seeing it again does no harm.
            let second = self.open.remove(second).gap;
            if let Some(oldest) = self.open.get_mut(oldest) {
                oldest.gap.to = second.to;
            }
        }
    }

    /// Finds the stretch that begins as this one does; it may have grown since.
    fn find(&mut self, gap: &Gap) -> Option<&mut Open> {
        let mut open = self.open.iter_mut();
        open.find(|open| open.gap.room == gap.room && open.gap.from == gap.from)
    }

    pub(super) fn all(&self) -> Vec<Gap> {
        self.open.iter().map(|open| open.gap.clone()).collect()
    }

    /// Waits for a page of what is missing; for ever, if nothing is. May be dropped: the page that is under way is waited for
    /// the next time.
    pub(super) async fn next(&mut self, rooms: &Rooms) -> (Gap, matrix_sdk::Result<Page>) {
        loop {
            if let Some((gap, fetching)) = &mut self.fetching {
                let fetched = fetching.await;
                let gap = gap.clone();
                self.fetching = None;
                let failed = || Err(Error::UnknownError("TaskFailed".into()));
                return (gap, fetched.unwrap_or_else(failed));
            }
            // Whose turn it is: the one that has waited for longest.
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
                // An alias may not be resolved yet.
                None => open.due = Instant::now() + LONGEST_PAUSE,
            }
        }
    }

    /// Takes note that a page of this was read, perhaps an empty one; the rest begins there, if there is one. After many
    /// empty pages it is asked for less and less often.
    pub(super) fn read(&mut self, gap: &Gap, next: Option<String>, is_empty: bool, now: Instant) {
        let Some(open) = self.find(gap) else {
            return;
        };
        // It may have grown while the page was fetched.
        let rest = next.or_else(|| (open.gap.to != gap.to).then(|| gap.to.clone()));
        let Some(from) = rest else {
            self.drop(gap);
            if !self.is_open(&gap.room) {
                info!(room = %gap.room, "what was missed in this room is fetched");
            }
            return;
        };
        open.gap.from = from;
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

    /// Takes note that the server did not hand out a page of this. Returns whether it is given up.
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

/// The oldest of what is missing.
pub(super) struct Page {
    pub(super) events: Vec<TimelineEvent>,
    /// Where the next page begins, if there is one.
    pub(super) next: Option<String>,
}

/// Asks once for the first page of what is missing in a room, after so many failures in a row. An error is for now: the
/// server may answer later.
pub(super) async fn fetch(room: &Room, gap: &Gap, failures: u32) -> matrix_sdk::Result<Page> {
    let mut options = MessagesOptions::forward().from(gap.from.as_str());
    options.to = Some(gap.to.clone());
    options.limit = (PAGE >> failures.min(7)).into();
    options.filter.lazy_load_options = lazy_members();
    let page = room.messages(options).await?;
    debug!(room = %gap.room, events = page.chunk.len(), "page of missed events");
    // Some servers name the same place again at the end. A page may be empty before it: all its events are hidden from us.
    let next = page.end.filter(|end| *end != gap.from && *end != gap.to);
    Ok(Page {
        events: page.chunk,
        next,
    })
}

/// Counts how often something was so in a row.
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

/// How long an answer of the sync may still be held up by histories that cannot be fetched.
#[derive(Debug, Default)]
pub(super) struct Patience {
    /// From the first failure on.
    until: Option<Instant>,
}

impl Patience {
    /// Returns whether all of it is used up: then nothing is even tried, a server may leave each try without an answer.
    pub(super) fn is_spent(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| now >= until)
    }

    /// Returns whether there is time for such a pause after a failure.
    pub(super) fn allows(&mut self, pause: Duration, now: Instant) -> bool {
        let until = *self.until.get_or_insert(now + PATIENCE);
        now + pause <= until
    }
}

/// Has the server tell of those members who have said something, and of no others.
pub(super) fn lazy_members() -> LazyLoadOptions {
    LazyLoadOptions::Enabled {
        include_redundant_members: false,
    }
}

#[cfg(test)]
mod tests;
