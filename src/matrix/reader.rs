//! Events of a room's timeline to ours: decrypted where the key is here, with what is known of their senders.

use std::collections::{HashMap, HashSet};

use matrix_sdk::Room;
use matrix_sdk::deserialized_responses::{TimelineEvent, TimelineEventKind};
use matrix_sdk::ruma::events::{AnySyncStateEvent, AnySyncTimelineEvent};
use matrix_sdk::ruma::serde::Raw;
use matrix_sdk_base::crypto::store::types::RoomKeyInfo;
use tracing::warn;

use super::events::{Envelope, SenderFacts};
use super::late::Late;
use super::rooms::Rooms;
use crate::model::{MatrixEvent, OwnedRoomId, OwnedUserId, RoomId, Timestamp, UndecryptableEvent};

/// Reads timelines, and remembers what it could not read yet.
pub(super) struct Reader<'a> {
    rooms: &'a Rooms,
    own: OwnedUserId,
    news: News,
    late: Late,
    server: ServerClock,
}

/// Where what was said before the start is history.
#[derive(Debug)]
pub(super) struct News {
    start: Timestamp,
    first_run: bool,
    /// Rooms that were relayed when we ran last.
    known: HashSet<OwnedRoomId>,
}

impl News {
    /// Nothing that was said before the start is news.
    pub(super) fn first_run(start: Timestamp) -> Self {
        Self {
            start,
            first_run: true,
            known: HashSet::new(),
        }
    }

    /// What was said before the start is news in these rooms.
    pub(super) fn of(known: impl Iterator<Item = OwnedRoomId>, start: Timestamp) -> Self {
        Self {
            start,
            first_run: false,
            known: known.collect(),
        }
    }

    /// From here on nothing is history because of the first run.
    pub(super) fn end_first_run(&mut self) {
        self.first_run = false;
    }

    /// From here on everything of this room is news.
    pub(super) fn know(&mut self, room: &RoomId) {
        if !self.known.contains(room) {
            self.known.insert(room.to_owned());
        }
    }

    /// Returns whether what was said in a room before the start is news.
    pub(super) fn knows(&self, room: &RoomId) -> bool {
        self.known.contains(room)
    }

    fn is_history(&self, room: &RoomId, sent_at: Timestamp) -> bool {
        (self.first_run || !self.knows(room)) && sent_at < self.start
    }
}

/// How the homeserver's clock goes beside ours. A small computer without a battery can be hours off, and what was written
/// just now must be neither history nor too old by that.
#[derive(Debug, Default)]
struct ServerClock {
    /// Milliseconds by which ours is ahead.
    ours_ahead: i64,
}

impl ServerClock {
    /// What is within that is the way of the answer, and of no consequence.
    const SLACK: i64 = 30_000;

    /// Compares what the server's clock showed with ours, at the same time.
    fn learn(&mut self, server: Option<Timestamp>, ours: Timestamp) {
        let Some(server) = server else {
            return;
        };
        let ahead = ours.0.saturating_sub(server.0);
        let is_off = ahead.saturating_abs() > Self::SLACK;
        if is_off && ahead.abs_diff(self.ours_ahead) > Self::SLACK.unsigned_abs() {
            warn!(
                ours_ahead_seconds = ahead / 1000,
                "this computer's clock and the homeserver's differ: ages are told by their difference"
            );
        }
        self.ours_ahead = if is_off { ahead } else { 0 };
    }

    /// Returns when that was by our clock.
    fn by_ours(&self, server: Timestamp) -> Timestamp {
        Timestamp(server.0.saturating_add(self.ours_ahead))
    }
}

impl<'a> Reader<'a> {
    pub(super) fn new(
        rooms: &'a Rooms,
        own: OwnedUserId,
        news: News,
        kept: Vec<UndecryptableEvent>,
    ) -> Self {
        Self {
            rooms,
            own,
            news,
            late: Late::new(kept),
            server: ServerClock::default(),
        }
    }

    /// Returns what is known of where history ends.
    pub(super) fn news(&mut self) -> &mut News {
        &mut self.news
    }

    /// Returns whether our own join is among these events.
    pub(super) fn shows_join(&self, events: &[TimelineEvent]) -> bool {
        events.iter().any(|event| {
            Envelope::of(event)
                .and_then(|event| event.membership_of(self.own.as_str()))
                .is_some_and(|(before, after)| before != "join" && after == "join")
        })
    }

    /// Takes note of the server's clock, from an answer that has come just now. Only events of ours tell it: what others
    /// send bears the time of their own servers, or one that a bridge has chosen.
    pub(super) fn note_clock(&mut self, events: &[TimelineEvent]) {
        let envelopes = events.iter().rev();
        let server = envelopes
            .filter_map(Envelope::of)
            .find(|event| event.sender == self.own)
            .and_then(|event| event.told_at());
        self.server.learn(server, Timestamp::now());
    }

    /// Turns events of a room into ours; what was before the join is left out.
    pub(super) async fn read(&mut self, room: &Room, events: &[TimelineEvent]) -> Vec<MatrixEvent> {
        let shows_join = !self.rooms.is_synced(room.room_id()) && self.shows_join(events);
        let mut joined = !shows_join;
        let mut senders = HashMap::new();
        let mut read = Vec::with_capacity(events.len());
        for event in events {
            // The key may have come since, before the event was known to wait for it.
            let opened = match &event.kind {
                TimelineEventKind::UnableToDecrypt { event, .. } => decrypt(room, event).await,
                TimelineEventKind::Decrypted(_) | TimelineEventKind::PlainText { .. } => None,
            };
            let event = opened.as_ref().unwrap_or(event);
            let Some(mut envelope) = Envelope::of(event) else {
                continue;
            };
            envelope.sent_at = self.server.by_ours(envelope.sent_at);
            if let Some((_, after)) = envelope.membership_of(self.own.as_str()) {
                joined = after == "join";
                continue;
            }
            // Where our join is in sight, it is the border.
            let is_history = self.news.is_history(room.room_id(), envelope.sent_at)
                && (self.news.first_run || !shows_join);
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
        let id = room.room_id().to_owned();
        if envelope.state_key.is_some() {
            let user = envelope.banned()?;
            return Some(MatrixEvent::Banned { room: id, user });
        }
        if envelope.sender == self.own {
            return Some(envelope.into_own(id));
        }
        let facts = if let Some(facts) = senders.get(&envelope.sender) {
            facts.clone()
        } else {
            let facts = self.rooms.sender_facts(room, &envelope.sender).await;
            senders.insert(envelope.sender.clone(), facts.clone());
            facts
        };
        let encrypted = match &event.kind {
            TimelineEventKind::Decrypted(_) => true,
            TimelineEventKind::PlainText { .. } => false,
            TimelineEventKind::UnableToDecrypt { event, .. } => {
                let session = session_of(event).unwrap_or_default();
                let raw = event.json().get().to_owned();
                self.late.keep(UndecryptableEvent {
                    room: id.clone(),
                    event: envelope.event.clone(),
                    session: session.clone(),
                    raw: raw.clone(),
                });
                return Some(envelope.into_undecryptable(id, &facts, session, raw));
            }
        };
        let read = envelope.into_event(id, facts, encrypted)?;
        if let MatrixEvent::Redaction(redaction) = &read {
            self.late.forget(&redaction.target);
        }
        Some(read)
    }

    /// Returns who was banned, by state that no timeline shows.
    pub(super) fn bans(&self, room: &Room, state: &[Raw<AnySyncStateEvent>]) -> Vec<MatrixEvent> {
        let banned = |event: &Raw<AnySyncStateEvent>| Envelope::read(event.json().get())?.banned();
        let users = state.iter().filter_map(banned);
        users
            .filter(|user| *user != self.own)
            .map(|user| MatrixEvent::Banned {
                room: room.room_id().to_owned(),
                user,
            })
            .collect()
    }

    /// Returns what waiting events say whose key has come; without keys, all are tried: some keys were missed.
    pub(super) async fn read_late(&mut self, keys: Option<&[RoomKeyInfo]>) -> Vec<MatrixEvent> {
        let mut events = Vec::new();
        for kept in self.late.take(keys) {
            let Some(room) = self.rooms.mapped(&kept.room) else {
                // An alias may not be resolved yet.
                self.late.keep(kept);
                continue;
            };
            match open(&room, &kept.raw).await {
                Some(event) => {
                    let read = self.read(&room, &[event]).await;
                    if read.is_empty() {
                        // Nobody waits for it any more: whoever keeps it has to know.
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

    /// Returns whether an event waits for its key.
    pub(super) fn waits_for_keys(&self) -> bool {
        !self.late.is_empty()
    }
}

/// Returns what a kept event says, if its key is here.
async fn open(room: &Room, raw: &str) -> Option<TimelineEvent> {
    let event = Raw::<AnySyncTimelineEvent>::from_json_string(raw.to_owned()).ok()?;
    decrypt(room, &event).await
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_just_now_is_new_whatever_the_clocks_show() {
        let (ours, hours) = (Timestamp(1_767_225_600_000), 5 * 3_600_000);
        for ahead in [hours, -hours, 40_000, -40_000] {
            let mut clock = ServerClock::default();
            let server = Timestamp(ours.0 - ahead);
            clock.learn(Some(server), ours);
            assert_eq!(clock.by_ours(server), ours);
            // An answer without an age says nothing.
            clock.learn(None, ours);
            assert_eq!(clock.by_ours(server), ours);
            clock.learn(Some(ours), ours);
            assert_eq!(clock.by_ours(ours), ours);
        }
        let mut clock = ServerClock::default();
        clock.learn(Some(Timestamp(ours.0 - 2_000)), ours);
        assert_eq!(clock.by_ours(ours), ours);
        for absurd in [Timestamp(i64::MIN), Timestamp(i64::MAX)] {
            clock.learn(Some(absurd), ours);
            clock.by_ours(absurd);
        }
    }
}
