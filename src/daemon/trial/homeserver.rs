//! A scripted homeserver: a timeline that the relay syncs from its stored position, and rooms with settable faults. It
//! outlives the relay.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::{Notify, SetOnce, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use relay_matrix::Batch;
use relay_model::{
    Clock, EventId, JoinedRoom, MatrixEvent, OwnedEventId, OwnedRoomId, OwnedRoomOrAliasId,
    OwnedTransactionId, RoomContent, RoomEdit, RoomOrAliasId, RoomOutcome, RoomReaction,
    RoomRedaction, RoomText, RoomTextKind, SendToRoom, Synced, Timestamp, TransactionId,
};

/// Maximum number of events per sync answer.
const PAGE: usize = 4;
/// Number of events before its sync position that a relay gets again at its start.
const TOLD_AGAIN: usize = 3;
/// The adapter's request timeout.
const ANSWER_LIMIT: Duration = Duration::from_mins(2);

/// How a room answers when the relay sends to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mood {
    /// Accepts the event.
    Takes,
    /// Accepts the event, but the answer is lost.
    LosesAnswers,
    /// Refuses the connection: nothing arrives.
    Away,
    /// Never answers, until the adapter's timeout.
    Hangs,
    /// Answers 429 with this `retry_after`: the account is limited.
    Limits(Duration),
    /// Answers 403: the room is parked.
    Forbids,
    /// Refuses the event for ever.
    Refuses,
}

/// An event that a room accepted.
#[derive(Debug, Clone)]
pub(super) struct Posted {
    pub(super) event: OwnedEventId,
    pub(super) transaction: OwnedTransactionId,
    pub(super) content: RoomContent,
}

/// An attempt to send.
#[derive(Debug, Clone)]
pub(super) struct Attempt {
    pub(super) room: OwnedRoomId,
    pub(super) at: Timestamp,
}

#[derive(Debug)]
struct State {
    timeline: Vec<MatrixEvent>,
    posted: HashMap<OwnedRoomId, Vec<Posted>>,
    attempts: Vec<Attempt>,
    repeats: usize,
    lost_answers: usize,
    under_way: usize,
    most_under_way: usize,
    moods: HashMap<OwnedRoomId, Mood>,
    read: HashMap<OwnedRoomId, OwnedEventId>,
    written: usize,
}

/// A homeserver in memory, which outlives the relays of a trial; cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Homeserver {
    state: Arc<Mutex<State>>,
    rooms: Arc<Vec<OwnedRoomId>>,
    news: Arc<Notify>,
    mood: watch::Sender<Mood>,
    /// Set when the relay of this session has committed its first answer.
    caught_up: Arc<SetOnce<()>>,
    clock: Clock,
}

impl Homeserver {
    /// Makes one whose `rooms` the relay and Alice have joined.
    pub(super) fn new(rooms: Vec<OwnedRoomId>, clock: Clock) -> Self {
        Self {
            state: Arc::new(Mutex::new(State {
                timeline: Vec::new(),
                posted: HashMap::new(),
                attempts: Vec::new(),
                repeats: 0,
                lost_answers: 0,
                under_way: 0,
                most_under_way: 0,
                moods: HashMap::new(),
                read: HashMap::new(),
                written: 0,
            })),
            rooms: Arc::new(rooms),
            news: Arc::new(Notify::new()),
            mood: watch::Sender::new(Mood::Takes),
            caught_up: Arc::default(),
            clock,
        }
    }

    /// Returns the homeserver for a relay that starts.
    pub(super) fn session(&self) -> Self {
        Self {
            caught_up: Arc::default(),
            ..self.clone()
        }
    }

    /// Forgets all transaction ids, as after a day.
    pub(super) fn forgets(&self) {
        let mut state = self.state();
        for posted in state.posted.values_mut().flatten() {
            posted.transaction = format!("forgotten-{}", posted.transaction).into();
        }
        for event in &mut state.timeline {
            if let MatrixEvent::Own { transaction, .. } = event {
                *transaction = None;
            }
        }
    }

    /// Sets the fault of the whole server. Away, hanging and lost answers affect sync, too.
    pub(super) fn set_mood(&self, mood: Mood) {
        self.mood.send_replace(mood);
    }

    /// Sets the fault of one room, in force while the server has none.
    pub(super) fn set_mood_of(&self, room: usize, mood: Mood) {
        let room = self.rooms[room].clone();
        self.state().moods.insert(room, mood);
        // Requests that hang look at the new fault.
        self.mood.send_modify(|_| {});
    }

    /// Alice writes a text.
    pub(super) fn says(&self, room: usize, text: &str) -> OwnedEventId {
        let (event, text) = self.text_of_alice(room, text);
        self.happens(MatrixEvent::Text(Box::new(text)));
        event
    }

    /// Alice changes a text.
    pub(super) fn edits(&self, room: usize, target: &OwnedEventId, text: &str) {
        let (_, new) = self.text_of_alice(room, text);
        self.happens(MatrixEvent::Edit(Box::new(RoomEdit {
            target: target.clone(),
            new,
        })));
    }

    /// Alice reacts to an event.
    pub(super) fn reacts(&self, room: usize, target: &OwnedEventId, key: &str) {
        let (_, as_text) = self.text_of_alice(room, "");
        self.happens(MatrixEvent::Reaction(Box::new(RoomReaction {
            room: as_text.room,
            event: as_text.event,
            sender: as_text.sender,
            sender_name: as_text.sender_name,
            sender_power: as_text.sender_power,
            sent_at: as_text.sent_at,
            target: target.clone(),
            key: key.to_owned(),
            suppress: false,
        })));
    }

    /// Alice takes an event away.
    pub(super) fn redacts(&self, room: usize, target: &OwnedEventId) {
        let (event, _) = self.text_of_alice(room, "");
        self.happens(MatrixEvent::Redaction(Box::new(RoomRedaction {
            room: self.rooms[room].clone(),
            event,
            sender: alice(),
            target: target.clone(),
        })));
    }

    /// Sends the joined rooms to the relay again, as after a change of power levels.
    pub(super) fn changes_rooms(&self) {
        for room in self.rooms.iter() {
            self.happens(joined(room));
        }
    }

    /// Returns the events that a room accepted, in order.
    pub(super) fn posted(&self, room: usize) -> Vec<Posted> {
        let room = &self.rooms[room];
        self.state().posted.get(room).cloned().unwrap_or_default()
    }

    /// Returns the texts of the mesh that a room accepted, in order, without the relay's notices.
    pub(super) fn texts(&self, room: usize) -> Vec<String> {
        let texts = self.posted(room).into_iter().filter_map(|posted| {
            let RoomContent::Text { text, suppress, .. } = posted.content else {
                return None;
            };
            (!suppress).then_some(text)
        });
        texts.collect()
    }

    /// Returns the relay's reactions to an event that are not redacted.
    pub(super) fn signs(&self, room: usize, event: &OwnedEventId) -> Vec<String> {
        let posted = self.posted(room);
        let mut signs = Vec::new();
        for reaction in &posted {
            let RoomContent::Reaction { target, key } = &reaction.content else {
                continue;
            };
            let gone = posted.iter().any(|later| {
                matches!(&later.content, RoomContent::Redaction { target } if *target == reaction.event)
            });
            if target == event && !gone {
                signs.push(key.clone());
            }
        }
        signs
    }

    /// Returns the relay's notices that a room accepted, in order.
    pub(super) fn notices(&self, room: usize) -> Vec<String> {
        let notices = self.posted(room).into_iter().filter_map(|posted| {
            let RoomContent::Text { text, suppress, .. } = posted.content else {
                return None;
            };
            suppress.then_some(text)
        });
        notices.collect()
    }

    /// Returns up to which event the relay has read a room, threads apart.
    pub(super) fn read_to(&self, room: usize) -> Option<OwnedEventId> {
        self.state().read.get(&self.rooms[room]).cloned()
    }

    /// Returns all attempts to send, in order.
    pub(super) fn attempts(&self) -> Vec<Attempt> {
        self.state().attempts.clone()
    }

    /// Returns how many sends repeated a known transaction id.
    pub(super) fn repeats(&self) -> usize {
        self.state().repeats
    }

    /// Returns how many answers to a send were lost.
    pub(super) fn lost_answers(&self) -> usize {
        self.state().lost_answers
    }

    /// Returns the maximum number of concurrent sends.
    pub(super) fn most_under_way(&self) -> usize {
        self.state().most_under_way
    }

    /// Syncs from `position`, as the adapter does for the mapped rooms, until `stop` or until the receiver is gone.
    pub(super) async fn sync(
        self,
        position: Option<String>,
        mapped: Vec<OwnedRoomOrAliasId>,
        batches: mpsc::Sender<Batch>,
        stop: CancellationToken,
    ) {
        let mut place: usize = position.map_or(0, |position| position.parse().expect("a number"));
        let mut first = true;
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = self.reachable() => {}
            }
            let mut events: Vec<_> = if first {
                let rooms = self.rooms.iter();
                let rooms =
                    rooms.filter(|room| mapped.iter().any(|it| it.as_str() == room.as_str()));
                rooms
                    .map(joined)
                    .chain(self.page(place.saturating_sub(TOLD_AGAIN), place))
                    .collect()
            } else {
                Vec::new()
            };
            let page = self.page(place, place + PAGE);
            place += page.len();
            events.extend(page);
            if events.is_empty() {
                tokio::select! {
                    biased;
                    () = stop.cancelled() => return,
                    () = self.news.notified() => continue,
                }
            }
            first = false;
            let (committed, is_committed) = oneshot::channel();
            let batch = Batch {
                events,
                synced: Synced {
                    position: Some(place.to_string()),
                    ..Synced::default()
                },
                committed,
            };
            if batches.send(batch).await.is_err() || is_committed.await.is_err() {
                return;
            }
            self.caught_up.set(()).ok();
        }
    }

    fn page(&self, from: usize, to: usize) -> Vec<MatrixEvent> {
        let state = self.state();
        let to = to.min(state.timeline.len());
        state.timeline[from.min(to)..to].to_vec()
    }

    async fn reachable(&self) {
        let mut mood = self.mood.subscribe();
        let well = |mood: &Mood| !matches!(mood, Mood::Away | Mood::Hangs | Mood::LosesAnswers);
        mood.wait_for(well).await.expect("the server exists");
    }

    fn happens(&self, event: MatrixEvent) {
        self.state().timeline.push(event);
        self.news.notify_one();
    }

    fn text_of_alice(&self, room: usize, text: &str) -> (OwnedEventId, RoomText) {
        let event = self.next_event("alice");
        let text = RoomText {
            room: self.rooms[room].clone(),
            event: event.clone(),
            sender: alice(),
            sender_name: "Alice".to_owned(),
            sender_power: 0,
            sent_at: self.clock.now(),
            kind: RoomTextKind::Text,
            body: text.to_owned(),
            reply_to: None,
            thread: None,
            relay: None,
            suppress: false,
            in_clear: false,
        };
        (event, text)
    }

    fn next_event(&self, of: &str) -> OwnedEventId {
        let mut state = self.state();
        state.written += 1;
        format!("${of}{}:example.org", state.written)
            .try_into()
            .expect("an event's id")
    }

    fn mood_of(&self, room: &OwnedRoomId) -> Mood {
        let mood = *self.mood.borrow();
        match mood {
            Mood::Takes => *self.state().moods.get(room).unwrap_or(&Mood::Takes),
            _ => mood,
        }
    }

    /// Accepts an event, once per transaction id.
    fn take(
        &self,
        room: &OwnedRoomId,
        transaction: &TransactionId,
        content: &RoomContent,
    ) -> OwnedEventId {
        let fresh = self.next_event("relay");
        let mut state = self.state();
        let posted = state.posted.entry(room.clone()).or_default();
        let known = posted.iter().find(|it| *it.transaction == *transaction);
        if let Some(known) = known {
            let event = known.event.clone();
            state.repeats += 1;
            return event;
        }
        posted.push(Posted {
            event: fresh.clone(),
            transaction: transaction.to_owned(),
            content: content.clone(),
        });
        drop(state);
        let relay_id = match content {
            RoomContent::Text { fields, .. } => fields.as_ref().and_then(|it| it.relay_id.clone()),
            RoomContent::Reaction { .. } | RoomContent::Redaction { .. } => None,
        };
        self.happens(MatrixEvent::Own {
            room: room.clone(),
            event: fresh.clone(),
            transaction: Some(transaction.to_owned()),
            of_mesh: relay_id.is_some(),
            relay_id,
            sent_at: Timestamp::now(),
        });
        fresh
    }

    async fn answer(
        &self,
        room: &OwnedRoomId,
        transaction: &TransactionId,
        content: &RoomContent,
    ) -> RoomOutcome {
        let retry = |after, limited, error: &str| RoomOutcome::Retry {
            after,
            limited,
            error: error.to_owned(),
        };
        let deadline = tokio::time::Instant::now() + ANSWER_LIMIT;
        let mut changes = self.mood.subscribe();
        loop {
            changes.mark_unchanged();
            match self.mood_of(room) {
                Mood::Takes => {
                    let event = self.take(room, transaction, content);
                    // The answer is in flight: the relay may be killed here.
                    tokio::task::yield_now().await;
                    return RoomOutcome::Sent { event };
                }
                Mood::LosesAnswers => {
                    self.take(room, transaction, content);
                    self.state().lost_answers += 1;
                    tokio::task::yield_now().await;
                    return retry(None, false, "the answer was lost");
                }
                Mood::Away => return retry(None, false, "the server cannot be reached"),
                Mood::Hangs => {
                    let wait = tokio::time::timeout_at(deadline, changes.changed());
                    if wait.await.is_err() {
                        return retry(None, false, "the homeserver took too long");
                    }
                }
                Mood::Limits(after) => return retry(Some(after), true, "too many requests"),
                Mood::Forbids => {
                    return RoomOutcome::Parked {
                        account: false,
                        error: "you may not send here".to_owned(),
                    };
                }
                Mood::Refuses => {
                    return RoomOutcome::Refused {
                        error: "this is no event".to_owned(),
                    };
                }
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no test has panicked")
    }
}

impl SendToRoom for Homeserver {
    async fn send(
        &self,
        room: &RoomOrAliasId,
        transaction: &TransactionId,
        content: &RoomContent,
        _now: Timestamp,
    ) -> RoomOutcome {
        let room = OwnedRoomId::try_from(room.to_owned()).expect("the room is known by its id");
        {
            let mut state = self.state();
            state.attempts.push(Attempt {
                room: room.clone(),
                at: self.clock.now(),
            });
            state.under_way += 1;
            state.most_under_way = state.most_under_way.max(state.under_way);
        }
        let _under_way = UnderWay(self);
        // The request is in flight: the relay may be killed here.
        tokio::task::yield_now().await;
        self.answer(&room, transaction, content).await
    }

    async fn caught_up(&self) {
        self.caught_up.wait().await;
    }

    async fn mark_read(
        &self,
        room: &RoomOrAliasId,
        event: &EventId,
        thread: Option<&EventId>,
    ) -> RoomOutcome {
        let room = OwnedRoomId::try_from(room.to_owned()).expect("the room is known by its id");
        tokio::task::yield_now().await;
        if self.mood_of(&room) != Mood::Takes {
            return RoomOutcome::Retry {
                after: None,
                limited: false,
                error: "not now".to_owned(),
            };
        }
        if thread.is_none() {
            self.state().read.insert(room, event.to_owned());
        }
        RoomOutcome::Sent {
            event: event.to_owned(),
        }
    }
}

/// Counts a send in flight until dropped.
struct UnderWay<'a>(&'a Homeserver);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.state().under_way -= 1;
    }
}

fn alice() -> relay_model::OwnedUserId {
    "@alice:example.org".try_into().expect("a user's id")
}

fn joined(room: &OwnedRoomId) -> MatrixEvent {
    MatrixEvent::Joined(JoinedRoom {
        room: room.clone(),
        configured: vec![OwnedRoomOrAliasId::from(room.clone())],
        name: "Hilltop".to_owned(),
        own_name: "Relay".to_owned(),
        encrypted: false,
        public: false,
        may_mention_room: false,
        may_write: true,
        tombstone: None,
        predecessor: None,
        may_react: true,
    })
}
