//! The sync loop: asks the server what happened, fills gaps, and hands over one batch at a time. The next request
//! waits until the batch before is committed.

use std::collections::HashSet;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{Either, select};
use futures_util::{FutureExt as _, Stream, StreamExt};
use matrix_sdk::config::SyncSettings;
use matrix_sdk::deserialized_responses::TimelineEvent;
use matrix_sdk::ruma::api::client::filter::{
    Filter, FilterDefinition, LazyLoadOptions, RoomFilter,
};
use matrix_sdk::ruma::api::client::sync::sync_events;
use matrix_sdk::sync::{JoinedRoomUpdate, State, SyncResponse};
use matrix_sdk::{Client, Room};
use matrix_sdk_base::crypto::store::types::RoomKeyInfo;
use matrix_sdk_base::{StateStoreDataKey, StateStoreDataValue};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use super::bans::Banned;
use super::catch_up::{self, Fetched};
use super::clock::{self, Moment, News};
use super::errors::{self, Refusal};
use super::gaps::{Gaps, Patience, say_missing};
use super::gate::Notes;
use super::reader::Reader;
use super::rooms::Rooms;
use super::{Batch, MatrixError, RefusedLogin, Start};
use crate::disk::Trouble;
use crate::model::{Backoff, Gap, MatrixEvent, OwnedUserId};

/// How long the server may keep a request open while nothing happens.
const LONG_POLL: Duration = Duration::from_secs(30);
/// Events of one room in one answer; the server's own default of 10 cuts bursts.
const TIMELINE_LIMIT: u32 = 200;
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const PAUSES: Backoff = Backoff::new(FIRST_PAUSE, Duration::from_secs(30));
/// Where even the smallest answer is too large: each try costs so much.
const PAUSES_IN_VAIN: Backoff = Backoff::new(FIRST_PAUSE, Duration::from_mins(5));
/// After an answer with nothing but events of ours: what we send in a row comes back in a few answers, not in one each.
const OWN_PAUSE: Duration = Duration::from_millis(50);
/// Where nothing happens in the mapped rooms, the position is stored this often: SD cards wear out.
const POSITION_EVERY: Duration = Duration::from_mins(10);

type Keys = Pin<Box<dyn Stream<Item = Option<Vec<RoomKeyInfo>>> + Send>>;

/// The loop and what it remembers.
pub(super) struct Sync<'a> {
    client: &'a Client,
    /// Where the SDK keeps its stores.
    store: &'a Path,
    rooms: &'a Rooms,
    reader: Reader<'a>,
    batches: mpsc::Sender<Batch>,
    /// What is missing before the position.
    gaps: Gaps,
    /// That of the last committed batch.
    position: Option<String>,
    /// That of the last answer of which everything was handed over; ahead of `position` where there was nothing. The
    /// SDK's own can be ahead of both, with events that nobody has seen.
    handed_over: Option<String>,
    committed_at: Instant,
    /// The last answer held events of ours, and nothing else.
    heard_only_us: bool,
    /// What happens on the way to the server.
    way: Arc<Notes>,
    /// How many events of a room are asked for.
    timeline_limit: u32,
}

/// What was said last of asking the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Well,
    /// It cannot be read, or its answer not be stored for this reason.
    Failing(Option<Trouble>),
}

/// What comes up while the server is asked.
enum Meanwhile {
    RoomsChanged,
    Keys(Option<Vec<RoomKeyInfo>>),
    Missing(Gap, Fetched),
}

impl<'a> Sync<'a> {
    pub(super) fn new(
        client: &'a Client,
        store: &'a Path,
        rooms: &'a Rooms,
        own: OwnedUserId,
        start: Start,
        batches: mpsc::Sender<Batch>,
    ) -> Self {
        let Start {
            position,
            known,
            former,
            mut gaps,
            kept,
            clock,
        } = start;
        rooms.remember(&known, &former);
        let known: Vec<_> = known
            .into_iter()
            .map(|(_, room)| room)
            .chain(former)
            .collect();
        gaps.retain(|gap| position.is_some() && known.contains(&gap.room));
        let known = known.into_iter();
        let news = match position {
            Some(_) => News::of(known, Moment::now()),
            None => News::first_run(Moment::now()),
        };
        Self {
            client,
            store,
            rooms,
            reader: Reader::new(rooms, own, news, kept, clock),
            batches,
            gaps: Gaps::new(gaps),
            position,
            handed_over: None,
            committed_at: Instant::now(),
            heard_only_us: false,
            way: Arc::default(),
            timeline_limit: TIMELINE_LIMIT,
        }
    }

    /// Says where it is noted what happens on the way to the server.
    pub(super) fn through(mut self, way: Arc<Notes>) -> Self {
        self.way = way;
        self
    }

    /// Runs until `stop`, or until the session is dead.
    pub(super) async fn run(mut self, stop: CancellationToken) -> Result<(), MatrixError> {
        // The SDK may be ahead of what was committed: then its next answer leaves a gap behind it.
        let mut behind =
            self.position.is_some() && sdk_position(self.client).await != self.position;
        let mut keys = keys(self.client).await;
        let mut wait = Duration::ZERO;
        let mut failures = 0_u32;
        let mut told = None;
        let mut last = String::new();

        self.announce().await?;
        // A key that came just before the last stop opens what was kept then.
        self.try_late(None).await?;
        loop {
            let asked = Instant::now();
            let answer = tokio::select! {
                // An answer that is here is taken: the SDK counts it as seen.
                biased;
                answer = Box::pin(self.ask(wait, &mut keys)) => Some(answer?),
                () = stop.cancelled() => None,
            };
            let Some(answer) = answer else {
                self.leave_position();
                return Ok(());
            };
            let response = match answer {
                Ok(response) => response,
                Err(error) => {
                    if let Some(refusal) = errors::refused_login(&error) {
                        return Err(self.refused(refusal));
                    }
                    if errors::is_about_versions(&error) {
                        // One wrong answer of the server, or of a proxy, would be believed for a week.
                        self.client.reset_supported_versions().await.ok();
                    }
                    // The SDK stores an answer's place before it has done all that follows from it.
                    let reached = self.handed_over.as_ref().or(self.position.as_ref());
                    behind |=
                        reached.is_some() && sdk_position(self.client).await.as_ref() != reached;
                    failures = failures.saturating_add(1);
                    let wish = errors::retry_after(&error);
                    let disk = errors::disk(&error).map(|trouble| trouble.at(self.store));
                    let (error, pauses) = self.what_failed(&error);
                    let pause = wish.unwrap_or_else(|| pauses.after(failures, rand::random()));
                    let hint = disk.map(Trouble::hint);
                    self.rooms.pulse().failed(&error, hint);
                    let delay_ms = pause.as_millis();
                    let standing = Standing::Failing(disk);
                    if told == Some(standing) {
                        debug!(error, delay_ms, "sync failed");
                    } else if let Some(trouble) = disk {
                        error!(
                            reason = %trouble,
                            path = %self.store.display(),
                            hint,
                            error,
                            "what the homeserver says cannot be stored, trying again until it can"
                        );
                    } else {
                        warn!(
                            error,
                            delay_ms, "the homeserver cannot be read, trying again until it can"
                        );
                    }
                    told = Some(standing);
                    tokio::select! {
                        () = stop.cancelled() => return Ok(()),
                        () = sleep(pause) => {}
                    }
                    // The first answer after an outage should come at once.
                    wait = Duration::ZERO;
                    continue;
                }
            };
            self.rooms.pulse().answered();
            if told != Some(Standing::Well) {
                info!("connected to the homeserver");
                told = Some(Standing::Well);
                self.reader.server().connected();
            }
            failures = 0;
            self.timeline_limit = self.timeline_limit.saturating_mul(2).min(TIMELINE_LIMIT);
            wait = LONG_POLL;
            // A server that does not wait must not keep us busy.
            let is_idle = response.next_batch == last && asked.elapsed() < Duration::from_secs(1);
            last.clone_from(&response.next_batch);
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = self.look_at_clock() => {}
            }
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                done = Box::pin(self.take(response, behind, &mut keys)) => done?,
            }
            self.rooms.note_caught_up();
            behind = false;
            if self.heard_only_us {
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = sleep(OWN_PAUSE) => {}
                }
            }
            if is_idle && asked.elapsed() < Duration::from_secs(1) {
                sleep(Duration::from_secs(1)).await;
            }
        }
    }

    /// Asks the server for its time where that is due: what it has answered is dated by it.
    async fn look_at_clock(&mut self) {
        let server = self.reader.server();
        if server.is_due(Moment::now()) {
            let dated = clock::ask_date(self.client).await;
            let own = match dated {
                Some(dated) if server.is_news(dated) => clock::ask_own(self.client).await,
                Some(_) | None => None,
            };
            server.answered(dated, own, Moment::now());
        }
        let now = Moment::now();
        let pulse = self.rooms.pulse();
        pulse.clock(server.difference(now), server.dates_ahead(now));
    }

    /// Returns what to say of a failure, and the pauses after it. After an answer that was too large,
    /// fewer events are asked for.
    fn what_failed(&mut self, error: &matrix_sdk::Error) -> (String, Backoff) {
        // Another answer may be cut off meanwhile: then this one has failed in another way.
        if !(self.way.take_cut() && errors::is_broken_off(error)) {
            let error = errors::sentence(error);
            return (self.way.trouble().unwrap_or(error), PAUSES);
        }
        let is_least = self.timeline_limit == 1;
        self.timeline_limit = (self.timeline_limit / 4).max(1);
        let error = format!(
            "its answer is larger than 64 MB; asking for {} events of each room at once",
            self.timeline_limit
        );
        (error, if is_least { PAUSES_IN_VAIN } else { PAUSES })
    }

    fn refused(&self, refusal: Refusal) -> MatrixError {
        match self.client.session_meta() {
            Some(meta) => {
                let (user, device) = (meta.user_id.clone(), meta.device_id.clone());
                MatrixError::SessionDead(Box::new(RefusedLogin::new(user, device, refusal)))
            }
            None => MatrixError::NoSession,
        }
    }

    /// Asks the server, and does meanwhile what comes up.
    ///
    /// # Cancel safety
    ///
    /// May be dropped: what the SDK took and we did not hand over is fetched again from the position.
    async fn ask(
        &mut self,
        wait: Duration,
        keys: &mut Keys,
    ) -> Result<matrix_sdk::Result<SyncResponse>, MatrixError> {
        let (client, rooms) = (self.client, self.rooms);
        // What was cut off before was another answer.
        self.way.take_cut();
        let mut request = Box::pin(client.sync_once(settings(wait, self.timeline_limit)));
        loop {
            let meanwhile = tokio::select! {
                () = rooms.changed() => Meanwhile::RoomsChanged,
                Some(keys) = keys.next() => Meanwhile::Keys(keys),
                (gap, fetched) = self.gaps.next(rooms) => Meanwhile::Missing(gap, fetched),
                answer = &mut request => return Ok(answer),
            };
            let work = Box::pin(self.do_meanwhile(meanwhile));
            // Both go on together: the request may hold a lock of the SDK that the work waits for.
            match select(work, request).await {
                Either::Left((done, pending)) => {
                    done?;
                    request = pending;
                }
                Either::Right((answer, work)) => {
                    work.await?;
                    return Ok(answer);
                }
            }
        }
    }

    async fn do_meanwhile(&mut self, what: Meanwhile) -> Result<(), MatrixError> {
        match what {
            Meanwhile::RoomsChanged => {
                self.announce().await?;
                self.try_late(None).await
            }
            Meanwhile::Keys(keys) => self.try_late(keys.as_deref()).await,
            Meanwhile::Missing(gap, fetched) => self.take_missing(&gap, fetched).await,
        }
    }

    /// Hands over a page of what was missing, as far as what has happened since leaves something of it.
    async fn take_missing(&mut self, gap: &Gap, fetched: Fetched) -> Result<(), MatrixError> {
        let (Some(position), Some(room)) = (self.position.clone(), self.rooms.mapped(&gap.room))
        else {
            return Ok(());
        };
        let events = match fetched {
            Fetched::Page(mut page, next) => {
                let banned = match Banned::of(&room).await {
                    Ok(banned) => banned,
                    Err(error) => return self.not_fetched(gap, &error, position).await,
                };
                self.reader.note_clock(&page);
                let is_empty = page.is_empty();
                if let Some(banned) = &banned {
                    banned.silence(&mut page);
                }
                let mut events = self.reader.read(&room, &page).await;
                if let Some(banned) = &banned {
                    banned.forget_lifted(&mut events);
                }
                self.gaps.read(gap, next, is_empty);
                events
            }
            Fetched::NotNow(error) => return self.not_fetched(gap, &error, position).await,
        };
        self.hand_over(events, position).await
    }

    /// Leaves what is missing for later; what is given up is stored as no longer missing.
    async fn not_fetched(
        &mut self,
        gap: &Gap,
        error: &matrix_sdk::Error,
        position: String,
    ) -> Result<(), MatrixError> {
        if self.gaps.failed(gap, error) {
            return self.hand_over(Vec::new(), position).await;
        }
        Ok(())
    }

    /// Hands over what waited for these keys; without keys, all that waited is tried.
    async fn try_late(&mut self, keys: Option<&[RoomKeyInfo]>) -> Result<(), MatrixError> {
        // Before the first answer of a first run there is no position to hand over with.
        let Some(position) = self.position.clone() else {
            return Ok(());
        };
        if !self.reader.waits_for_keys() {
            return Ok(());
        }
        let events = self.reader.read_late(keys).await;
        if events.is_empty() {
            return Ok(());
        }
        self.hand_over(events, position).await
    }

    /// Hands over what an answer of the server says.
    async fn take(
        &mut self,
        response: SyncResponse,
        behind: bool,
        keys: &mut Keys,
    ) -> Result<(), MatrixError> {
        let next = response.next_batch;
        for update in response.rooms.joined.values() {
            self.reader.note_clock(&update.timeline.events);
        }
        let mut events = Vec::new();
        let mut patience = Patience::default();
        // Keys that came with the answer open what is older than its events, which may take that away: one batch.
        while let Some(Some(keys)) = keys.next().now_or_never() {
            events.extend(self.reader.read_late(keys.as_deref()).await);
        }
        for room in response.rooms.invited.keys() {
            self.rooms.invited(room);
        }
        for (id, update) in &response.rooms.joined {
            if let Some(room) = self.rooms.mapped(id)
                && (has_state(update) || !self.rooms.is_synced(id))
            {
                events.extend(self.rooms.news(&room).await.map(MatrixEvent::Joined));
            }
        }
        // What was said in a room before it was replaced goes by that: it has to be known first.
        if let Some(position) = self.position.clone()
            && events.iter().any(is_replaced)
        {
            self.hand_over(std::mem::take(&mut events), position)
                .await?;
        }
        for (id, update) in &response.rooms.joined {
            let Some(room) = self.rooms.mapped(id) else {
                continue;
            };
            // What the room was like when we joined is no news.
            if self.rooms.is_synced(id) {
                let (State::Before(state) | State::After(state)) = &update.state;
                events.extend(self.reader.bans(&room, state));
            }
            let gap = update.timeline.limited && !behind && self.reader.news().knows(id);
            if gap && !self.reader.shows_join(&update.timeline.events) {
                let shown = &update.timeline.events;
                self.fill(&room, &next, shown, &mut patience).await?;
            }
        }
        if behind {
            for room in self.rooms.joined() {
                if self.reader.news().knows(room.room_id()) {
                    self.fill(&room, &next, &[], &mut patience).await?;
                }
            }
        }
        for (id, update) in &response.rooms.joined {
            if let Some(room) = self.rooms.mapped(id) {
                let read = self.reader.read(&room, &update.timeline.events).await;
                events.extend(read);
            }
        }
        for (id, update) in &response.rooms.left {
            if let Some(room) = self.rooms.mapped(id) {
                let read = self.reader.read(&room, &update.timeline.events).await;
                events.extend(read);
                events.push(self.rooms.left(&room));
            }
        }
        let joined = response.rooms.joined.keys();
        self.rooms.note_synced(joined, response.rooms.left.keys());
        for room in self.rooms.joined() {
            self.reader.news().know(room.room_id());
        }
        let is_ours = |event: &MatrixEvent| matches!(event, MatrixEvent::Own { .. });
        self.heard_only_us = !events.is_empty() && events.iter().all(is_ours);
        let is_old_news = self.position.as_ref() == Some(&next) || self.is_position_fresh();
        if events.is_empty() && is_old_news {
            self.handed_over = Some(next);
            return Ok(());
        }
        let is_first = self.position.is_none();
        self.hand_over(events, next.clone()).await?;
        self.handed_over = Some(next);
        if is_first {
            self.announce().await?;
        }
        Ok(())
    }

    /// Without a position the next start would take everything for history; an old one only costs a longer look back.
    fn is_position_fresh(&self) -> bool {
        self.position.is_some() && self.committed_at.elapsed() < POSITION_EVERY
    }

    /// Hands over what was said in a room between the position and `shown`, the oldest events of which are known. What
    /// cannot be fetched for too long is left for later: the other rooms go on.
    async fn fill(
        &mut self,
        room: &Room,
        to: &str,
        shown: &[TimelineEvent],
        patience: &mut Patience,
    ) -> Result<(), MatrixError> {
        // A first run has no past.
        let Some(position) = self.position.clone() else {
            return Ok(());
        };
        let mut gap = Gap {
            room: room.room_id().to_owned(),
            from: position.clone(),
            to: to.to_owned(),
        };
        if self.gaps.is_open(room.room_id()) || patience.is_spent() {
            debug!(room = %gap.room, "what was said in this room meanwhile is fetched later");
            self.gaps.add(gap, Duration::ZERO);
            return Ok(());
        }
        let shown: HashSet<_> = shown.iter().filter_map(TimelineEvent::event_id).collect();
        let (mut failures, mut empty) = (0_u32, 0_u32);
        loop {
            let (mut page, next) = match catch_up::fetch(room, &gap, failures).await {
                Fetched::Page(page, next) => (page, next),
                Fetched::NotNow(error) => {
                    failures = failures.saturating_add(1);
                    if failures == 1 {
                        say_missing(room.room_id(), &error);
                    }
                    let pause = errors::retry_after(&error)
                        .unwrap_or_else(|| PAUSES.after(failures, rand::random()));
                    if catch_up::is_refusal(&error) || !patience.allows(pause) {
                        self.gaps.add(gap, pause);
                        return Ok(());
                    }
                    sleep(pause).await;
                    continue;
                }
            };
            failures = 0;
            empty = if page.is_empty() { empty + 1 } else { 0 };
            self.reader.note_clock(&page);
            let overlap = page
                .iter()
                .position(|event| event.event_id().is_some_and(|id| shown.contains(&id)));
            page.truncate(overlap.unwrap_or(page.len()));
            let events = self.reader.read(room, &page).await;
            if !events.is_empty() {
                // Not there yet: the position stays.
                self.hand_over(events, position.clone()).await?;
            }
            match next {
                Some(next) if overlap.is_none() => gap.from = next,
                Some(_) | None => return Ok(()),
            }
            if empty == catch_up::MOST_EMPTY {
                self.gaps.add(gap, FIRST_PAUSE);
                return Ok(());
            }
        }
    }

    /// Tells what is new of the joined rooms, without waiting for the server.
    async fn announce(&mut self) -> Result<(), MatrixError> {
        // Before the first answer of a first run there is no position to hand over with.
        let Some(position) = self.position.clone() else {
            return Ok(());
        };
        let mut events = self.rooms.take_moved();
        for room in self.rooms.joined() {
            events.extend(self.rooms.news(&room).await.map(MatrixEvent::Joined));
        }
        if events.is_empty() {
            return Ok(());
        }
        self.hand_over(events, position).await
    }

    async fn hand_over(
        &mut self,
        events: Vec<MatrixEvent>,
        position: String,
    ) -> Result<(), MatrixError> {
        let (committed, done) = oneshot::channel();
        let batch = Batch {
            events,
            position: position.clone(),
            gaps: self.gaps.all(),
            clock: self.reader.server().reading(),
            committed,
        };
        self.batches
            .send(batch)
            .await
            .map_err(|_| MatrixError::Closed)?;
        done.await.map_err(|_| MatrixError::Closed)?;
        self.position = Some(position);
        self.reader.news().end_first_run();
        self.committed_at = Instant::now();
        Ok(())
    }

    /// At a clean stop, leaves the latest position with whoever still takes it: the next start is quicker then.
    fn leave_position(&mut self) {
        let Some(position) = self.handed_over.take() else {
            return;
        };
        if self.position.as_ref() == Some(&position) {
            return;
        }
        let (committed, _) = oneshot::channel();
        let batch = Batch {
            events: Vec::new(),
            position,
            gaps: self.gaps.all(),
            clock: self.reader.server().reading(),
            committed,
        };
        if self.batches.try_send(batch).is_err() {
            debug!("the last position is not stored");
        }
    }
}

/// Returns the keys that come.
async fn keys(client: &Client) -> Keys {
    match client.encryption().room_keys_received_stream().await {
        Some(stream) => Box::pin(stream.map(Result::ok)),
        None => Box::pin(futures_util::stream::pending()),
    }
}

/// Returns up to where the SDK has taken answers.
async fn sdk_position(client: &Client) -> Option<String> {
    let stored = client
        .state_store()
        .get_kv_data(StateStoreDataKey::SyncToken);
    let stored = stored.await.ok().flatten();
    stored.and_then(StateStoreDataValue::into_sync_token)
}

/// Returns whether it tells of a room that is replaced or closed.
fn is_replaced(event: &MatrixEvent) -> bool {
    matches!(event, MatrixEvent::Joined(room) if room.tombstone.is_some())
}

/// Returns whether anything of the room's state is in there; servers differ in where they put it.
fn has_state(update: &JoinedRoomUpdate) -> bool {
    let (State::Before(state) | State::After(state)) = &update.state;
    let in_timeline = |event: &TimelineEvent| {
        let key = event.raw().get_field::<String>("state_key");
        matches!(key, Ok(Some(_)))
    };
    !state.is_empty() || update.timeline.events.iter().any(in_timeline)
}

/// Returns what a request asks for: the timelines up to a limit, state of rooms and senders, nothing else.
pub(super) fn settings(wait: Duration, timeline_limit: u32) -> SyncSettings {
    let mut room = RoomFilter::default();
    room.timeline.limit = Some(timeline_limit.into());
    room.timeline.lazy_load_options = lazy();
    room.state.lazy_load_options = lazy();
    // Who types or has read what is nobody's concern here.
    room.ephemeral.not_types = vec!["*".to_owned()];
    room.account_data.not_types = vec!["*".to_owned()];
    let mut filter = FilterDefinition::default();
    filter.room = room;
    filter.presence = Filter::ignore_all();
    SyncSettings::new()
        .timeout(wait)
        .set_presence(matrix_sdk::ruma::presence::PresenceState::Online)
        .filter(sync_events::v3::Filter::FilterDefinition(filter))
}

fn lazy() -> LazyLoadOptions {
    LazyLoadOptions::Enabled {
        include_redundant_members: false,
    }
}

#[cfg(test)]
mod tests;
