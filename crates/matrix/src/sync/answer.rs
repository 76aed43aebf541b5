//! Converts the server's answers to batches: the gaps before an answer, its events, late decrypted events, and the
//! position.

use std::collections::HashSet;
use std::time::Duration;

use futures_util::{FutureExt as _, StreamExt as _};
use matrix_sdk::deserialized_responses::TimelineEvent;
use matrix_sdk::ruma::events::AnySyncStateEvent;
use matrix_sdk::ruma::serde::Raw;
use matrix_sdk::sync::{JoinedRoomUpdate, State, SyncResponse};
use matrix_sdk::{Error, Room};
use matrix_sdk_base::crypto::store::types::RoomKeyInfo;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};
use tracing::debug;

use super::anew::look_at_devices;
use super::{FIRST_PAUSE, PAUSES, RoomKeyUpdates, Sync, sdk_position};
use crate::clock::OurClocks;
use crate::gaps::{self, GapPage, Patience, counted, say_missing};
use crate::{Batch, MatrixError, bans::Banned, errors, reader};
use relay_model::{Gap, GapStart, MatrixEvent, Synced, Timestamp};

/// How often the position is stored while the mapped rooms are idle, to spare SD cards: an old one leaves out nothing.
const POSITION_EVERY: Duration = Duration::from_hours(1);

impl Sync<'_> {
    /// Hands over the content of an answer.
    pub(super) async fn take(
        &mut self,
        response: SyncResponse,
        keys: &mut RoomKeyUpdates,
    ) -> Result<(), MatrixError> {
        let (next, answer) = (response.next_batch, response.rooms);
        let now = OurClocks::now(&self.rooms.options.clock);
        let read_until = self.reader.server.now(now);
        // A half-processed answer has no position to resume from.
        self.handed_over = None;
        let is_looked_for = self.rooms.looked_for.initialized();
        for update in answer.joined.values() {
            self.reader.note_clock(&update.timeline.events);
        }
        let mut events = Vec::new();
        // Keys in the answer decrypt older events, which the answer may redact: both must be in one batch.
        while let Some(Some(keys)) = keys.next().now_or_never() {
            events.extend(self.reader.read_late(keys.as_deref()).await);
        }
        for room in answer.invited.keys() {
            self.rooms.note_invite(room);
            self.rooms.retry.notify_one();
        }
        for (id, update) in &answer.joined {
            if let Some(room) = self.rooms.mapped(id)
                && (has_state(update) || !self.rooms.is_synced(id))
            {
                events.extend(self.news(&room).await);
            }
        }
        // From here on a room that has taken a place is read.
        for room in self.rooms.follow(Some(&answer)).await {
            events.extend(self.rooms.take_moved());
            events.extend(self.news(&room).await);
        }
        // How a replaced room's messages are handled depends on the replacement, so it must be handed over first.
        if events.iter().any(is_replaced) {
            self.tell(std::mem::take(&mut events)).await?;
        }
        if self.awaits_aliases && is_looked_for {
            // What the answers before this one held of their rooms.
            self.behind = true;
            self.awaits_aliases = false;
        }
        let mut patience = Patience::default();
        // Where it is broken, the rooms are read anew soon, and so is what this answer leaves out.
        let is_broken = self.continuity.is_broken();
        let anew = self.continuity.take_anew();
        let is_read = self.behind || is_broken || anew.is_some();
        if is_read && !is_broken {
            for room in self.rooms.joined() {
                let from = anew.as_ref().map(|anew| anew.get(room.room_id()));
                // What was said in another room since the position may be from before it was mapped.
                if self.reader.news.knows(room.room_id()) && from != Some(None) {
                    let from = from.flatten();
                    self.fill(&room, from, &next, &[], &mut patience).await?;
                }
            }
        }
        for (id, update) in &answer.joined {
            let Some(room) = self.rooms.mapped(id) else {
                continue;
            };
            // Bans from before our join are not new.
            if self.rooms.is_synced(id) {
                events.extend(self.reader.bans(&room, state(update)));
            }
            let shown = &update.timeline.events;
            let is_cut = update.timeline.limited && !is_read && self.reader.news.knows(id);
            if is_cut && !self.reader.shows_join(shown) {
                self.fill(&room, None, &next, shown, &mut patience).await?;
            }
            // Then it was switched on before all that is shown.
            if !shown.iter().any(reader::switches_encryption_on) {
                self.rooms.known().switched.remove(id);
            }
            if !is_broken {
                self.landmarks.note(id, shown, anew.is_some());
            }
            // What is new of it is read already.
            if anew.as_ref().is_none_or(|anew| !anew.contains_key(id)) {
                let since = self.gaps.since(id);
                let since =
                    since.filter(|_| !self.rooms.is_synced(id) && self.reader.shows_join(shown));
                events.extend(self.reader.read(&room, shown, since).await);
            }
        }
        for (id, update) in &answer.left {
            self.landmarks.leave(id);
            if let Some(room) = self.rooms.mapped(id) {
                let shown = &update.timeline.events;
                events.extend(self.reader.read(&room, shown, None).await);
                events.push(self.rooms.left(&room));
            }
        }
        // From here on a homeserver that shows something as older is not believed.
        self.rooms.known().switched.clear();
        self.rooms.note_synced(&answer);
        if is_broken {
            // Where this answer ends is no place to go on from.
            return self.tell(events).await;
        }
        self.conclude(events, next, read_until, anew.is_some())
            .await
    }

    /// Hands over the events of an answer and its position, up to which all was read until this time.
    async fn conclude(
        &mut self,
        events: Vec<MatrixEvent>,
        next: String,
        read_until: Option<Timestamp>,
        is_anew: bool,
    ) -> Result<(), MatrixError> {
        let joined = self.rooms.joined().into_iter();
        let joined = joined.map(|room| room.room_id().to_owned());
        self.reader.news.learn(joined);
        if is_anew {
            self.beginning = Some(next.clone());
        }
        // What a gap of the first run holds is told from history only as long as it is the first run.
        let is_all = self.gaps.is_empty() && !self.awaits_aliases;
        let is_reached = !self.reader.news.first_run || is_all;
        let reached = is_reached.then(|| next.clone());
        // An old position only costs a longer catch-up.
        let is_recent = self.committed_at.elapsed() < POSITION_EVERY;
        let is_stored = self
            .position
            .as_ref()
            .is_some_and(|it| *it == next || is_recent);
        if !events.is_empty() || is_reached && (is_anew || !is_stored) {
            self.read_until = read_until.or(self.read_until);
            let (mut batch, committed) = self.batch(events, reached);
            batch.synced.is_anew = is_anew;
            self.commit(batch, committed).await?;
        }
        self.handed_over = Some(next);
        self.behind = false;
        if is_anew {
            look_at_devices(self.rooms).await;
        }
        Ok(())
    }

    /// Hands over a room's events between `from`, or else the position, and `to`, except those in `shown`. If they
    /// cannot be fetched in time, they become a gap, so that other rooms are not delayed.
    pub(super) async fn fill(
        &mut self,
        room: &Room,
        from: Option<&GapStart>,
        to: &str,
        shown: &[TimelineEvent],
        patience: &mut Patience,
    ) -> Result<(), MatrixError> {
        let from = match (self.gaps.since(room.room_id()), from, self.read_from()) {
            // That gap is still open and reaches as far back: below it is only extended.
            (Some(since), _, _) => GapStart::Time(since),
            (None, Some(from), _) => from.clone(),
            (None, None, Some(position)) => GapStart::Token(position.clone()),
            // A first run after a login that read nothing.
            (None, None, None) => GapStart::Time(self.reader.began()),
        };
        let since = self.since(&from);
        let mut gap = Gap {
            room: room.room_id().to_owned(),
            from,
            to: to.to_owned(),
        };
        if self.gaps.is_open(room.room_id()) || patience.is_spent(Instant::now()) {
            debug!(room = %gap.room, "what was said in this room meanwhile is fetched later");
            self.gaps.add(gap, Instant::now());
            return Ok(());
        }
        let shown: HashSet<_> = shown.iter().filter_map(TimelineEvent::event_id).collect();
        let (mut failures, mut empty) = (0_u32, 0_u32);
        loop {
            let mut page = match gaps::fetch(room, &gap, failures).await {
                Ok(page) => page,
                Err(error) => {
                    failures = failures.saturating_add(1);
                    if failures == 1 {
                        say_missing(room.room_id(), &error);
                    }
                    let pause = errors::retry_after(&error)
                        .unwrap_or_else(|| PAUSES.after(failures, rand::random()));
                    let now = Instant::now();
                    if errors::is_refusal(&error) || !patience.allows(pause, now) {
                        self.gaps.add(gap, now + pause);
                        return Ok(());
                    }
                    sleep(pause).await;
                    continue;
                }
            };
            failures = 0;
            empty = counted(empty, page.events.is_empty());
            self.reader.note_clock(&page.events);
            // Some servers order pages differently from answers: unseen events may follow one in `shown`.
            let is_shown = |it: &TimelineEvent| it.event_id().is_some_and(|id| shown.contains(&id));
            page.events.retain(|it| !is_shown(it));
            // The end is not reached yet, so the position stays.
            let events = self.reader.read(room, &page.events, since).await;
            self.tell(events).await?;
            match page.next {
                Some(next) => gap.from = GapStart::Token(next),
                None => return Ok(()),
            }
            if empty == gaps::MOST_EMPTY {
                self.gaps.add(gap, Instant::now() + FIRST_PAUSE);
                return Ok(());
            }
        }
    }

    /// Returns the time from which on a gap's events are to be read, where it begins at one. What was said before the join on a
    /// first run is history.
    fn since(&self, from: &GapStart) -> Option<Timestamp> {
        match from {
            GapStart::Time(since) if !self.reader.news.first_run => Some(*since),
            GapStart::Time(_) | GapStart::Token(_) => None,
        }
    }

    /// Hands over a page of a gap, without what has been undone since. A gap that was given up is stored as closed.
    pub(super) async fn take_missing(
        &mut self,
        gap: Gap,
        fetched: matrix_sdk::Result<GapPage>,
    ) -> Result<(), MatrixError> {
        let Some(room) = self.rooms.mapped(&gap.room) else {
            return Ok(());
        };
        let measured = async { Ok::<_, Error>((fetched?, Banned::of(&room).await?)) };
        let (measured, now) = (measured.await, Instant::now());
        let events = match measured {
            Ok((mut page, banned)) => {
                self.reader.note_clock(&page.events);
                let is_empty = page.events.is_empty();
                banned.silence(&mut page.events);
                let since = self.since(&gap.from);
                let mut events = self.reader.read(&room, &page.events, since).await;
                banned.forget_lifted(&mut events);
                self.gaps.read(&gap, page.next, is_empty, now);
                events
            }
            Err(error) if self.gaps.failed(&gap, &error, now) => Vec::new(),
            Err(_) => return Ok(()),
        };
        self.hand_batch_over(events, self.position.clone()).await
    }

    /// Hands over events that waited for these keys; without keys, all waiting events are tried.
    pub(super) async fn try_late(
        &mut self,
        keys: Option<Vec<RoomKeyInfo>>,
    ) -> Result<(), MatrixError> {
        let events = self.reader.read_late(keys.as_deref()).await;
        self.tell(events).await
    }

    /// Hands over changed facts about the joined rooms, without waiting for the server.
    pub(super) async fn announce(&mut self) -> Result<(), MatrixError> {
        self.rooms.follow(None).await;
        let mut events = self.rooms.take_moved();
        events.extend(self.rooms.avatars.take_uploaded());
        for room in self.rooms.joined() {
            events.extend(self.news(&room).await);
        }
        self.tell(events).await
    }

    /// Returns the facts about a room to hand over, as [`Rooms::news`] does. What was said there before it is handed over for
    /// the first time, and is no history, is a gap, stored with it.
    async fn news(&mut self, room: &Room) -> Option<MatrixEvent> {
        let id = room.room_id();
        let is_new = !self.reader.news.first_run && !self.rooms.known().former.contains_key(id);
        let news = self.rooms.news(room).await?;
        if is_new && let Some(to) = sdk_position(&self.rooms.client).await {
            let mut since = self.rooms.replaced_at(&news).await;
            // What the answer that is being taken shows of a join, it shows with what was said since.
            if since.is_none()
                && self.rooms.is_synced(id)
                && let Some(began) = &self.beginning
            {
                since = self.rooms.joined_for_mapping(room, began, &to).await;
            }
            if let Some(since) = since {
                let gap = Gap {
                    room: id.to_owned(),
                    from: GapStart::Time(since),
                    to,
                };
                self.gaps.add(gap, Instant::now());
                self.reader.news.learn([id.to_owned()]);
            }
        }
        Some(MatrixEvent::Joined(news))
    }

    /// Hands over events without a new position.
    pub(super) async fn tell(&mut self, events: Vec<MatrixEvent>) -> Result<(), MatrixError> {
        if events.is_empty() {
            return Ok(());
        }
        self.hand_batch_over(events, self.position.clone()).await
    }

    pub(super) async fn hand_batch_over(
        &mut self,
        events: Vec<MatrixEvent>,
        position: Option<String>,
    ) -> Result<(), MatrixError> {
        let (batch, committed) = self.batch(events, position);
        self.commit(batch, committed).await
    }

    async fn commit(
        &mut self,
        batch: Batch,
        committed: oneshot::Receiver<()>,
    ) -> Result<(), MatrixError> {
        let is_ours = |event: &MatrixEvent| matches!(event, MatrixEvent::Own { .. });
        if !batch.events.iter().all(is_ours) {
            self.heard_at = Instant::now();
        }
        let position = batch.synced.position.clone();
        let sent = self.batches.send(batch).await;
        sent.map_err(|_| MatrixError::Closed)?;
        committed.await.map_err(|_| MatrixError::Closed)?;
        self.reader.news.first_run &= position.is_none();
        self.position = position;
        self.committed_at = Instant::now();
        Ok(())
    }

    /// Hands over the latest position at a clean stop, for a quicker next start.
    pub(super) fn leave_position(&mut self) {
        let position = self.handed_over.take();
        let is_new = position.is_some() && position != self.position;
        if is_new && !self.reader.news.first_run {
            let (batch, _) = self.batch(Vec::new(), position);
            if self.batches.try_send(batch).is_err() {
                debug!("the last position is not stored");
            }
        }
    }

    fn batch(
        &self,
        events: Vec<MatrixEvent>,
        position: Option<String>,
    ) -> (Batch, oneshot::Receiver<()>) {
        let (committed, done) = oneshot::channel();
        let batch = Batch {
            events,
            synced: Synced {
                position,
                read_until: self.read_until,
                is_anew: false,
                gaps: self.gaps.all(),
                clock: self.reader.server.reading(),
            },
            committed,
        };
        (batch, done)
    }
}

/// Returns whether an event tells that a room was replaced or closed.
fn is_replaced(event: &MatrixEvent) -> bool {
    matches!(event, MatrixEvent::Joined(room) if room.tombstone.is_some())
}

fn state(update: &JoinedRoomUpdate) -> &[Raw<AnySyncStateEvent>] {
    let (State::Before(state) | State::After(state)) = &update.state;
    state
}

/// Returns whether the update contains room state; servers differ in where they put it.
fn has_state(update: &JoinedRoomUpdate) -> bool {
    let in_timeline = |event: &TimelineEvent| {
        let key = event.raw().get_field::<String>("state_key");
        matches!(key, Ok(Some(_)))
    };
    !state(update).is_empty() || update.timeline.events.iter().any(in_timeline)
}
