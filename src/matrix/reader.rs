//! Events of a room's timeline to ours: decrypted where the key is here, with what is known of their senders.

use std::collections::HashMap;

use matrix_sdk::Room;
use matrix_sdk::deserialized_responses::{TimelineEvent, TimelineEventKind};
use matrix_sdk::ruma::events::AnySyncTimelineEvent;
use matrix_sdk::ruma::serde::Raw;
use matrix_sdk_base::crypto::store::types::RoomKeyInfo;

use super::events::{Envelope, SenderFacts};
use super::late::Late;
use super::rooms::Rooms;
use crate::model::{MatrixEvent, OwnedUserId, RoomId, Timestamp};

/// Reads timelines, and remembers what it could not read yet.
pub(super) struct Reader<'a> {
    rooms: &'a Rooms,
    own: OwnedUserId,
    /// On a first run, what is older is history.
    not_before: Option<Timestamp>,
    late: Late,
}

impl<'a> Reader<'a> {
    pub(super) fn new(rooms: &'a Rooms, own: OwnedUserId, not_before: Option<Timestamp>) -> Self {
        Self {
            rooms,
            own,
            not_before,
            late: Late::default(),
        }
    }

    /// From here on nothing is history.
    pub(super) fn end_first_run(&mut self) {
        self.not_before = None;
    }

    /// Returns whether our own join is among these events.
    pub(super) fn shows_join(&self, events: &[TimelineEvent]) -> bool {
        events.iter().any(|event| {
            Envelope::read(event.raw().json().get())
                .and_then(|event| event.membership_of(self.own.as_str()))
                .is_some_and(|(before, after)| before != "join" && after == "join")
        })
    }

    /// Turns events of a room into ours; what was before the join is left out.
    pub(super) async fn read(&mut self, room: &Room, events: &[TimelineEvent]) -> Vec<MatrixEvent> {
        let mut joined = self.rooms.is_synced(room.room_id()) || !self.shows_join(events);
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
            let is_history = self
                .not_before
                .is_some_and(|start| envelope.sent_at < start);
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
                self.keep(&id, event);
                let session = session_of(event).unwrap_or_default();
                let raw = event.json().get().to_owned();
                return Some(envelope.into_undecryptable(id, session, raw));
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

    /// Returns what waiting events say whose key has come; `None`: some keys were missed.
    pub(super) async fn read_late(&mut self, keys: Option<Vec<RoomKeyInfo>>) -> Vec<MatrixEvent> {
        let opened = match keys {
            Some(keys) => self.late.opened_by(&keys),
            None => self.late.all(),
        };
        let mut events = Vec::new();
        for (id, event) in opened {
            let Some(room) = self.rooms.mapped(&id) else {
                continue;
            };
            match decrypt(&room, &event).await {
                Some(event) => events.extend(self.read(&room, &[event]).await),
                None => self.keep(&id, &event),
            }
        }
        events
    }

    fn keep(&mut self, room: &RoomId, event: &Raw<AnySyncTimelineEvent>) {
        if let Some(session) = session_of(event) {
            self.late.keep(room, &session, event.clone());
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
