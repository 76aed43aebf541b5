//! Converts events of a room's timeline: decrypts them if the key is known, and adds the facts about their senders.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::time::Duration;

use matrix_sdk::Room;
use matrix_sdk::deserialized_responses::{TimelineEvent, TimelineEventKind};
use matrix_sdk::ruma::events::{AnySyncStateEvent, AnySyncTimelineEvent};
use matrix_sdk::ruma::serde::Raw;
use matrix_sdk_base::crypto::store::types::RoomKeyInfo;

use tokio::time::sleep;
use tracing::{debug, warn};

use super::clock::{HistoryFilter, OurClocks, ServerClock, boot};
use super::events::{Envelope, SenderFacts, Shelter};
use super::{errors::sentence, rooms::Rooms, undecryptable::Late};
use relay_model::{ClockReading, MatrixEvent, OwnedUserId, Timestamp, UndecryptableEvent};

/// How often a key of ours is asked for, and the pause in between, where the homeserver does not say whether it is there.
const KEY_TRIES: u32 = 5;
const KEY_PAUSE: Duration = Duration::from_secs(3);

/// Reads events for the sync loop; keeps those without a key, and what is known of the server's clock.
pub(super) struct Reader<'a> {
    rooms: &'a Rooms,
    /// Decides which messages are history.
    pub(super) news: HistoryFilter,
    late: Late,
    pub(super) server: ServerClock,
    /// Keys of our own events that were looked for in the backup.
    sought: HashSet<String>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(
        rooms: &'a Rooms,
        news: HistoryFilter,
        kept: Vec<UndecryptableEvent>,
        clock: Option<ClockReading>,
    ) -> Self {
        Self {
            rooms,
            news,
            late: Late::new(kept),
            server: ServerClock::new(clock, OurClocks::now(&rooms.options.clock), boot()),
            sought: HashSet::new(),
        }
    }

    pub(super) fn shows_join(&self, events: &[TimelineEvent]) -> bool {
        events.iter().filter_map(Envelope::of).any(|event| {
            let change = event.membership_of(&self.rooms.own);
            change.is_some_and(|(before, after)| before != "join" && after == "join")
        })
    }

    /// Returns whether the first change of our membership ends a membership.
    fn begins_joined(&self, events: &[TimelineEvent]) -> bool {
        let mut envelopes = events.iter().filter_map(Envelope::of);
        let first = envelopes.find_map(|event| {
            let (before, _) = event.membership_of(&self.rooms.own)?;
            Some(before == "join")
        });
        first.unwrap_or_default()
    }

    /// Records the server's time from an answer that has just arrived. Only our own events are used: events of others
    /// carry the time of their servers, or one that a bridge chose.
    pub(super) fn note_clock(&mut self, events: &[TimelineEvent]) {
        let mut envelopes = events.iter().rev().filter_map(Envelope::of);
        let own = envelopes.find(|event| event.sender == self.rooms.own);
        if let Some(server) = own.and_then(|own| own.told_at()) {
            let now = OurClocks::now(&self.rooms.options.clock);
            self.server.learn(server, now);
        }
    }

    /// Returns the start of this run, or of the first one, by the server's clock.
    pub(super) fn began(&self) -> Timestamp {
        let now = OurClocks::now(&self.rooms.options.clock);
        self.news.began(&self.server, now)
    }

    /// Converts events of a room; events from before our join are left out, except those since a time, if there is one.
    pub(super) async fn read(
        &mut self,
        room: &Room,
        events: &[TimelineEvent],
        mut since: Option<Timestamp>,
    ) -> Vec<MatrixEvent> {
        let is_synced = self.rooms.is_synced(room.room_id());
        // A first run may read again what it began with, and the room was joined since.
        let may_be_joined_here = !is_synced || self.news.first_run;
        let shows_join = may_be_joined_here && self.shows_join(events);
        let mut joined = since.is_some() || !shows_join || is_synced && self.begins_joined(events);
        let now = OurClocks::now(&self.rooms.options.clock);
        let mut senders = HashMap::new();
        let mut read = Vec::with_capacity(events.len());
        let mut is_switched = self.rooms.known().switched.contains(room.room_id());
        for event in events {
            // The key may have arrived before the event was recorded as waiting for it.
            let opened = match &event.kind {
                TimelineEventKind::UnableToDecrypt { event, .. } => {
                    self.fetch_own_key(room, event).await;
                    decrypt(room, event).await
                }
                TimelineEventKind::Decrypted(_) | TimelineEventKind::PlainText { .. } => None,
            };
            let event = opened.as_ref().unwrap_or(event);
            if is_switched && switches_encryption_on(event) {
                self.rooms.known().switched.remove(room.room_id());
                is_switched = false;
            }
            let Some(mut envelope) = Envelope::of(event) else {
                continue;
            };
            // What an earlier device of ours has posted is never history: it settles what waits to be posted.
            let is_old = envelope.sender != self.rooms.own
                && match since {
                    Some(since) => envelope.sent_at < since,
                    None => {
                        (self.news).is_history(room.room_id(), envelope.sent_at, &self.server, now)
                    }
                };
            envelope.sent_at = self.server.by_ours(envelope.sent_at, now);
            if let Some((_, after)) = envelope.membership_of(&self.rooms.own) {
                let waits = since.is_some() && matches!(after, "invite" | "knock");
                joined = after == "join" || joined && waits;
                since = since.filter(|_| waits);
                continue;
            }
            // If the timeline shows our join, history ends there.
            let is_history = is_old && (since.is_some() || self.news.first_run || !shows_join);
            if joined && !is_history {
                let shelter = match &event.kind {
                    TimelineEventKind::PlainText { .. } if is_switched => Shelter::PlainRoom,
                    TimelineEventKind::PlainText { .. }
                        if room.encryption_state().is_encrypted() =>
                    {
                        Shelter::InClear
                    }
                    TimelineEventKind::PlainText { .. } => Shelter::PlainRoom,
                    TimelineEventKind::Decrypted(_) | TimelineEventKind::UnableToDecrypt { .. } => {
                        Shelter::Encrypted
                    }
                };
                let converted = self.convert(room, event, envelope, shelter, &mut senders);
                read.extend(converted.await);
            }
        }
        read
    }

    /// Fetches the key of an event that an earlier device of ours has sent, on a first run: after a restore it tells which of
    /// the rows that wait were posted since.
    async fn fetch_own_key(&mut self, room: &Room, event: &Raw<AnySyncTimelineEvent>) {
        let sender = event.get_field::<OwnedUserId>("sender").ok().flatten();
        if !self.news.first_run || sender.as_ref() != Some(&self.rooms.own) {
            return;
        }
        let Some(session) = session_of(event) else {
            return;
        };
        if !self.sought.insert(session.clone()) {
            return;
        }
        let backups = self.rooms.client.encryption().backups();
        for _ in 0..KEY_TRIES {
            match backups.download_room_key(room.room_id(), &session).await {
                Ok(true) => return,
                Ok(false) => break,
                // Such as a homeserver that is asked too often.
                Err(error) => {
                    let error = sentence(&error);
                    debug!(room = %room.room_id(), error, "the key of an event of ours cannot be fetched yet");
                    sleep(KEY_PAUSE).await;
                }
            }
        }
        warn!(
            room = %room.room_id(),
            "the key backup does not give the key of what an earlier device of ours has posted: if it waits here as well, it is posted once more"
        );
    }

    async fn convert(
        &mut self,
        room: &Room,
        event: &TimelineEvent,
        mut envelope: Envelope,
        shelter: Shelter,
        senders: &mut HashMap<OwnedUserId, SenderFacts>,
    ) -> Option<MatrixEvent> {
        let id = room.room_id().to_owned();
        if let Some(ban) = envelope.ban(&id) {
            return Some(ban);
        }
        if envelope.state_key.is_some() && !envelope.begins_live_location() {
            return None;
        }
        if envelope.sender == self.rooms.own {
            return Some(envelope.into_own(id));
        }
        let facts = match senders.entry(envelope.sender.clone()) {
            Entry::Occupied(known) => known.get().clone(),
            Entry::Vacant(new) => {
                let facts = self.rooms.sender_facts(room, &envelope.sender).await;
                new.insert(facts).clone()
            }
        };
        if let TimelineEventKind::UnableToDecrypt { event, .. } = &event.kind {
            let event = UndecryptableEvent {
                room: id,
                event: envelope.event,
                sender: envelope.sender,
                session: session_of(event).unwrap_or_default(),
                raw: event.json().get().to_owned(),
            };
            self.late.keep(event.clone());
            return Some(MatrixEvent::Undecryptable {
                event: Box::new(event),
                sender_power: facts.power,
                sent_at: envelope.sent_at,
            });
        }
        for user in envelope.mentioned() {
            let name = self.rooms.name_of_mentioned(room, &user).await;
            envelope.names.insert(user, name);
        }
        let read = envelope.into_event(id, facts, shelter)?;
        if let MatrixEvent::Redaction(redaction) = &read {
            self.late.forget(&redaction.target);
        }
        Some(read)
    }

    /// Returns bans from state changes that no timeline shows.
    pub(super) fn bans(&self, room: &Room, state: &[Raw<AnySyncStateEvent>]) -> Vec<MatrixEvent> {
        let now = OurClocks::now(&self.rooms.options.clock);
        let banned = |event: &Raw<AnySyncStateEvent>| {
            let mut event = Envelope::read(event.json().get())?;
            event.sent_at = self.server.by_ours(event.sent_at, now);
            let is_ours = event.banned().is_some_and(|user| user == self.rooms.own);
            event.ban(room.room_id()).filter(|_| !is_ours)
        };
        state.iter().filter_map(banned).collect()
    }

    /// Decrypts waiting events with these keys; without keys, tries all: some keys were missed.
    pub(super) async fn read_late(&mut self, keys: Option<&[RoomKeyInfo]>) -> Vec<MatrixEvent> {
        let mut events = Vec::new();
        for kept in self.late.take(keys) {
            let Some(room) = self.rooms.mapped(&kept.room) else {
                // The alias may not be resolved yet.
                self.late.keep(kept);
                continue;
            };
            match open(&room, &kept.raw).await {
                Some(event) => {
                    let read = self.read(&room, &[event], None).await;
                    if read.is_empty() {
                        // The event no longer waits; the consumer has to delete its copy.
                        events.extend(
                            Envelope::read(&kept.raw).map(|event| event.into_other(kept.room)),
                        );
                    }
                    events.extend(read);
                }
                None => self.late.keep(kept),
            }
        }
        events
    }
}

/// Returns whether an event sets a room's encryption.
pub(super) fn switches_encryption_on(event: &TimelineEvent) -> bool {
    let field = |name: &str| event.raw().get_field::<String>(name).ok().flatten();
    field("type").as_deref() == Some("m.room.encryption") && field("state_key").is_some()
}

/// Decrypts a waiting event, if its key is known.
async fn open(room: &Room, raw: &str) -> Option<TimelineEvent> {
    let event = Raw::<AnySyncTimelineEvent>::from_json_string(raw.to_owned()).ok()?;
    decrypt(room, &event).await
}

/// Decrypts an event, if its key is known.
async fn decrypt(room: &Room, event: &Raw<AnySyncTimelineEvent>) -> Option<TimelineEvent> {
    let opened = room.decrypt_event(event.cast_ref_unchecked(), None).await;
    opened
        .ok()
        .filter(|event| matches!(event.kind, TimelineEventKind::Decrypted(_)))
}

/// Returns the id of the key that an encrypted event needs.
fn session_of(event: &Raw<AnySyncTimelineEvent>) -> Option<String> {
    let content = event.get_field::<serde_json::Value>("content").ok()??;
    Some(content["session_id"].as_str()?.to_owned())
}
