//! The sync loop: asks the server what happened, fills gaps, and hands over one batch at a time. The next request
//! waits until the batch before is committed.

use std::collections::{HashMap, HashSet};
use std::pin::Pin;
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use matrix_sdk::config::SyncSettings;
use matrix_sdk::deserialized_responses::{TimelineEvent, TimelineEventKind};
use matrix_sdk::ruma::api::client::filter::{
    Filter, FilterDefinition, LazyLoadOptions, RoomFilter,
};
use matrix_sdk::ruma::api::client::sync::sync_events;
use matrix_sdk::ruma::events::AnySyncTimelineEvent;
use matrix_sdk::ruma::serde::Raw;
use matrix_sdk::sync::{JoinedRoomUpdate, State, SyncResponse};
use matrix_sdk::{Client, Room};
use matrix_sdk_base::crypto::store::types::RoomKeyInfo;
use matrix_sdk_base::{StateStoreDataKey, StateStoreDataValue};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::catch_up::CatchUp;
use super::errors;
use super::events::{Envelope, SenderFacts};
use super::late::Late;
use super::rooms::Rooms;
use super::{Batch, MatrixError, backoff};
use crate::model::{MatrixEvent, OwnedRoomId, OwnedUserId, Timestamp};

/// How long the server may keep a request open while nothing happens.
const LONG_POLL: Duration = Duration::from_secs(30);
/// Events of one room in one answer; the server's own default of 10 cuts bursts.
const TIMELINE_LIMIT: u32 = 200;
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// Where nothing happens in the mapped rooms, the position is stored this often: SD cards wear out.
const POSITION_EVERY: Duration = Duration::from_mins(10);

type Keys = Pin<Box<dyn Stream<Item = Option<Vec<RoomKeyInfo>>> + Send>>;

/// The loop and what it remembers.
pub(super) struct Sync<'a> {
    client: &'a Client,
    rooms: &'a Rooms,
    own: OwnedUserId,
    batches: mpsc::Sender<Batch>,
    /// That of the last committed batch.
    position: Option<String>,
    committed_at: Instant,
    /// On a first run, what is older is history.
    started: Timestamp,
    /// Rooms that were joined before the answer at hand.
    known: HashSet<OwnedRoomId>,
    late: Late,
}

/// What the loop woke up for.
enum Wake {
    Stop,
    RoomsChanged,
    Keys(Option<Vec<RoomKeyInfo>>),
    Answer(Box<matrix_sdk::Result<SyncResponse>>),
}

impl<'a> Sync<'a> {
    pub(super) fn new(
        client: &'a Client,
        rooms: &'a Rooms,
        own: OwnedUserId,
        position: Option<String>,
        batches: mpsc::Sender<Batch>,
    ) -> Self {
        Self {
            client,
            rooms,
            own,
            batches,
            position,
            committed_at: Instant::now(),
            started: Timestamp::now(),
            known: HashSet::new(),
            late: Late::default(),
        }
    }

    /// Runs until `stop`, or until the session is dead.
    pub(super) async fn run(mut self, stop: CancellationToken) -> Result<(), MatrixError> {
        self.known = self
            .client
            .joined_rooms()
            .iter()
            .filter(|room| room.is_state_fully_synced())
            .map(|room| room.room_id().to_owned())
            .collect();
        // The SDK may be ahead of what was committed: then its next answer leaves a gap behind it.
        let mut behind = self.position.is_some() && self.sdk_position().await != self.position;
        let mut keys = self.keys().await;
        let mut wait = Duration::ZERO;
        let mut failures = 0_u32;
        let mut reachable = None;
        let mut last = String::new();

        self.announce().await?;
        loop {
            let asked = Instant::now();
            let Some(answer) = self.ask(wait, &mut keys, &stop).await? else {
                return Ok(());
            };
            let response = match *answer {
                Ok(response) => response,
                Err(error) if errors::is_dead_session(&error) => {
                    return Err(MatrixError::SessionDead);
                }
                Err(error) => {
                    failures = failures.saturating_add(1);
                    let pause = errors::retry_after(&error)
                        .unwrap_or_else(|| backoff::pause(failures, FIRST_PAUSE, LONGEST_PAUSE));
                    let error = errors::sentence(&error);
                    let delay_ms = pause.as_millis();
                    if reachable == Some(false) {
                        debug!(error, delay_ms, "sync failed");
                    } else {
                        warn!(
                            error,
                            "the homeserver cannot be read, trying again until it can"
                        );
                        reachable = Some(false);
                    }
                    tokio::select! {
                        () = stop.cancelled() => return Ok(()),
                        () = sleep(pause) => {}
                    }
                    // The first answer after an outage should come at once.
                    wait = Duration::ZERO;
                    continue;
                }
            };
            if reachable != Some(true) {
                info!("connected to the homeserver");
                reachable = Some(true);
            }
            failures = 0;
            wait = LONG_POLL;
            // A server that does not wait must not keep us busy.
            let is_idle = response.next_batch == last && asked.elapsed() < Duration::from_secs(1);
            last.clone_from(&response.next_batch);
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                done = Box::pin(self.take(response, behind)) => done?,
            }
            behind = false;
            if is_idle && asked.elapsed() < Duration::from_secs(1) {
                sleep(Duration::from_secs(1)).await;
            }
        }
    }

    /// Asks the server, and does meanwhile what comes up. `None`: stop.
    ///
    /// Dropping the request is safe: what the SDK took and we did not hand over is fetched again from the position.
    async fn ask(
        &mut self,
        wait: Duration,
        keys: &mut Keys,
        stop: &CancellationToken,
    ) -> Result<Option<Box<matrix_sdk::Result<SyncResponse>>>, MatrixError> {
        let client = self.client;
        let rooms = self.rooms;
        let mut request = Box::pin(client.sync_once(settings(wait, TIMELINE_LIMIT)));
        loop {
            let wake = tokio::select! {
                () = stop.cancelled() => Wake::Stop,
                () = rooms.changed() => Wake::RoomsChanged,
                Some(keys) = keys.next() => Wake::Keys(keys),
                answer = &mut request => Wake::Answer(Box::new(answer)),
            };
            match wake {
                Wake::Stop => {
                    self.leave_position().await;
                    return Ok(None);
                }
                Wake::RoomsChanged => self.announce().await?,
                Wake::Keys(keys) => self.read_late(keys).await?,
                Wake::Answer(answer) => return Ok(Some(answer)),
            }
        }
    }

    async fn keys(&self) -> Keys {
        match self.client.encryption().room_keys_received_stream().await {
            Some(stream) => Box::pin(stream.map(Result::ok)),
            None => Box::pin(futures_util::stream::pending()),
        }
    }

    async fn sdk_position(&self) -> Option<String> {
        self.client
            .state_store()
            .get_kv_data(StateStoreDataKey::SyncToken)
            .await
            .ok()
            .flatten()
            .and_then(StateStoreDataValue::into_sync_token)
    }

    /// Hands over what an answer of the server says.
    async fn take(&mut self, response: SyncResponse, behind: bool) -> Result<(), MatrixError> {
        let next = response.next_batch;
        let mut events = Vec::new();
        for room in response.rooms.invited.keys() {
            self.rooms.invited(room);
        }
        for (id, update) in &response.rooms.joined {
            let Some(room) = self.mapped(id) else {
                continue;
            };
            if has_state(update) || !self.known.contains(id) {
                events.extend(self.rooms.news(&room).await.map(MatrixEvent::Joined));
            }
            let gap = update.timeline.limited && !behind;
            if gap && !self.shows_join(&update.timeline.events) {
                self.fill(&room, &next, &update.timeline.events).await?;
            }
        }
        if behind {
            for room in self.rooms.joined() {
                if self.known.contains(room.room_id()) {
                    self.fill(&room, &next, &[]).await?;
                }
            }
        }
        for (id, update) in &response.rooms.joined {
            if let Some(room) = self.mapped(id) {
                let read = self.read(&room, &update.timeline.events).await;
                events.extend(read);
            }
        }
        for (id, update) in &response.rooms.left {
            if let Some(room) = self.mapped(id) {
                let read = self.read(&room, &update.timeline.events).await;
                events.extend(read);
                self.rooms.left(id);
            }
            self.known.remove(id);
        }
        self.known.extend(response.rooms.joined.into_keys());
        let is_old_news = self.position.as_ref() == Some(&next) || self.is_position_fresh();
        if events.is_empty() && is_old_news {
            return Ok(());
        }
        let is_first = self.position.is_none();
        self.hand_over(events, next).await?;
        if is_first {
            self.announce().await?;
        }
        Ok(())
    }

    /// Without a position the next start would take everything for history; an old one only costs a longer look back.
    fn is_position_fresh(&self) -> bool {
        self.position.is_some() && self.committed_at.elapsed() < POSITION_EVERY
    }

    fn mapped(&self, id: &OwnedRoomId) -> Option<Room> {
        if !self.rooms.is_mapped(id) {
            return None;
        }
        self.client
            .get_room(id)
            .filter(|room| !self.rooms.is_refused(room))
    }

    fn shows_join(&self, events: &[TimelineEvent]) -> bool {
        events.iter().any(|event| {
            Envelope::read(event.raw().json().get())
                .and_then(|event| event.membership_of(self.own.as_str()))
                .is_some_and(|(before, after)| before != "join" && after == "join")
        })
    }

    /// Hands over what was said in a room between the position and `shown`, the oldest events of which are known.
    async fn fill(
        &mut self,
        room: &Room,
        to: &str,
        shown: &[TimelineEvent],
    ) -> Result<(), MatrixError> {
        // A first run has no past.
        let Some(position) = self.position.clone() else {
            return Ok(());
        };
        let shown: HashSet<_> = shown.iter().filter_map(TimelineEvent::event_id).collect();
        let mut pages = CatchUp::new(room.clone(), &position, to);
        while let Some(mut page) = pages.next().await {
            let overlap = page
                .iter()
                .position(|event| event.event_id().is_some_and(|id| shown.contains(&id)));
            page.truncate(overlap.unwrap_or(page.len()));
            let events = self.read(room, &page).await;
            if !events.is_empty() {
                // Not there yet: the position stays.
                self.hand_over(events, position.clone()).await?;
            }
            if overlap.is_some() {
                break;
            }
        }
        Ok(())
    }

    /// Turns events of a room into ours; what was before the join is left out.
    async fn read(&mut self, room: &Room, events: &[TimelineEvent]) -> Vec<MatrixEvent> {
        let mut joined = self.known.contains(room.room_id()) || !self.shows_join(events);
        let mut senders = HashMap::new();
        let mut read = Vec::with_capacity(events.len());
        for event in events {
            // The key may have come since, before the event was known to wait for it.
            let opened = match &event.kind {
                TimelineEventKind::UnableToDecrypt { event, .. } => decrypt(room, event).await,
                TimelineEventKind::Decrypted(_) | TimelineEventKind::PlainText { .. } => None,
            };
            let event = opened.as_ref().unwrap_or(event);
            let Some(envelope) = Envelope::read(event.raw().json().get()) else {
                continue;
            };
            if let Some((_, after)) = envelope.membership_of(self.own.as_str()) {
                joined = after == "join";
                continue;
            }
            let is_history = self.position.is_none() && envelope.sent_at < self.started;
            if joined && !is_history {
                read.extend(self.convert(room, event, envelope, &mut senders).await);
            }
        }
        read
    }

    async fn convert(
        &mut self,
        room: &Room,
        event: &TimelineEvent,
        envelope: Envelope,
        senders: &mut HashMap<OwnedUserId, SenderFacts>,
    ) -> Option<MatrixEvent> {
        if envelope.state_key.is_some() {
            return None;
        }
        let id = room.room_id().to_owned();
        if envelope.sender == self.own {
            return Some(envelope.into_own(id));
        }
        let encrypted = match &event.kind {
            TimelineEventKind::Decrypted(_) => true,
            TimelineEventKind::PlainText { .. } => false,
            TimelineEventKind::UnableToDecrypt { event, .. } => {
                if let Some(session) = session_of(event) {
                    self.late.keep(&id, &session, event.clone());
                }
                return Some(envelope.into_undecryptable(id));
            }
        };
        let facts = if let Some(facts) = senders.get(&envelope.sender) {
            facts.clone()
        } else {
            let facts = self.rooms.sender_facts(room, &envelope.sender).await;
            senders.insert(envelope.sender.clone(), facts.clone());
            facts
        };
        envelope.into_event(id, facts, encrypted)
    }

    /// Reads events whose key has come; `None`: some keys were missed.
    async fn read_late(&mut self, keys: Option<Vec<RoomKeyInfo>>) -> Result<(), MatrixError> {
        let opened = match keys {
            Some(keys) => self.late.opened_by(&keys),
            None => self.late.all(),
        };
        let mut events = Vec::new();
        let mut still_closed = Vec::new();
        for (id, event) in opened {
            let Some(room) = self.mapped(&id) else {
                continue;
            };
            match decrypt(&room, &event).await {
                Some(event) => events.extend(self.read(&room, &[event]).await),
                None => still_closed.push((id, event)),
            }
        }
        for (id, event) in still_closed {
            if let Some(session) = session_of(&event) {
                self.late.keep(&id, &session, event);
            }
        }
        match self.position.clone() {
            Some(position) if !events.is_empty() => self.hand_over(events, position).await,
            Some(_) | None => Ok(()),
        }
    }

    /// Tells what is new of the joined rooms, without waiting for the server.
    async fn announce(&mut self) -> Result<(), MatrixError> {
        // Before the first answer of a first run there is no position to hand over with.
        let Some(position) = self.position.clone() else {
            return Ok(());
        };
        let mut events = Vec::new();
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
            committed,
        };
        self.batches
            .send(batch)
            .await
            .map_err(|_| MatrixError::Closed)?;
        done.await.map_err(|_| MatrixError::Closed)?;
        self.position = Some(position);
        self.committed_at = Instant::now();
        Ok(())
    }

    /// At a clean stop, leaves the latest position with whoever still takes it: the next start is quicker then.
    async fn leave_position(&mut self) {
        let Some(position) = self.sdk_position().await else {
            return;
        };
        if self.position.is_none() || self.position.as_ref() == Some(&position) {
            return;
        }
        let (committed, _) = oneshot::channel();
        let batch = Batch {
            events: Vec::new(),
            position,
            committed,
        };
        if self.batches.try_send(batch).is_err() {
            debug!("the last position is not stored");
        }
    }
}

/// Returns what an encrypted event says, if its key is here.
async fn decrypt(room: &Room, event: &Raw<AnySyncTimelineEvent>) -> Option<TimelineEvent> {
    let opened = room.decrypt_event(event.cast_ref_unchecked(), None).await;
    opened
        .ok()
        .filter(|event| matches!(event.kind, TimelineEventKind::Decrypted(_)))
}

/// Returns which key an encrypted event needs.
fn session_of(event: &Raw<AnySyncTimelineEvent>) -> Option<String> {
    let content = event.get_field::<serde_json::Value>("content").ok()??;
    Some(content.get("session_id")?.as_str()?.to_owned())
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
