//! The daemon's state in memory, for `relay status`. No decision depends on it, and a restart resets it.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore, watch};
use tokio::time::Instant;
use tracing::{info, warn};

use super::counts::{Counts, Place, Way};
use super::ledger::Outcome;
use super::status::{ConfigurationStatus, DatabaseStatus};
use relay_bridge::{OtherRelay, RadioProblems};
use relay_config::MappedRoom;
use relay_matrix::DeviceTrust;
use relay_matrix::hand::Hand;
use relay_model::{
    Event, Explained as _, JoinedRoom, MatrixEvent, OwnedRoomId, OwnedRoomOrAliasId, RadioEvent,
    RadioProfile, RoomId, RoomOrAliasId,
};
use relay_store::StoreError;

/// Maximum number of joined rooms that are kept; nobody maps more.
const MOST_ROOMS: usize = 10_000;
/// How long another relay is told of after its last post.
pub(super) const OTHER_CONCERNS: Duration = Duration::from_hours(1);

/// How many clients work with the account at a time.
const HANDS: usize = 4;

/// [`RuntimeFacts`], written by the event loop and the account, read by the control socket.
#[derive(Debug)]
pub(super) struct RuntimeState {
    facts: Mutex<RuntimeFacts>,
    /// Whether the event loop is asked for an iteration.
    asked: Notify,
    pub(super) hands: Hands,
}

/// What is known of this run.
#[derive(Debug, Clone)]
pub(super) struct RuntimeFacts {
    /// When the event loop last began an iteration.
    pub(super) beat: Instant,
    /// Why the database cannot be written, and since when.
    pub(super) trouble: Option<(DatabaseStatus, Instant)>,
    pub(super) radio: Option<RadioFacts>,
    /// Channel utilization in percent, and when the radio reported it.
    pub(super) channel_use: Option<(f32, Instant)>,
    pub(super) session: Result<LoginState, NoSession>,
    pub(super) rooms: BTreeMap<OwnedRoomId, JoinedRoom>,
    /// The ids of the rooms that the configuration names, as far as they are known.
    pub(super) names: BTreeMap<OwnedRoomOrAliasId, OwnedRoomId>,
    pub(super) counts: Counts,
    /// Other relays with our account: the room of its last post that we saw, and when.
    pub(super) others: BTreeMap<OtherRelay, (OwnedRoomId, Instant)>,
    pub(super) configuration: ConfigurationStatus,
}

/// The radio as of its last handshake.
#[derive(Debug, Clone)]
pub(super) struct RadioFacts {
    pub(super) profile: Box<RadioProfile>,
    /// What prevents relaying over it, as of that handshake.
    pub(super) problems: RadioProblems,
}

/// What `relay matrix` works with.
#[derive(Debug)]
pub(super) struct Hands {
    /// The session that is open.
    pub(super) session: watch::Sender<Option<Hand>>,
    /// How many may work with it at a time, so that `relay status` is answered whatever they do.
    pub(super) places: Semaphore,
}

/// Why no session is open.
#[derive(Debug, Clone)]
pub(super) struct NoSession {
    pub(super) cause: String,
    pub(super) hint: Option<String>,
}

/// The session that is open.
#[derive(Debug, Clone)]
pub(super) struct LoginState {
    pub(super) account: String,
    pub(super) device: String,
    pub(super) trust: DeviceTrust,
}

impl RuntimeState {
    pub(super) fn new(names: BTreeMap<OwnedRoomOrAliasId, OwnedRoomId>) -> Self {
        let facts = RuntimeFacts {
            beat: Instant::now(),
            trouble: None,
            radio: None,
            channel_use: None,
            session: Err(NoSession {
                cause: "the Matrix session is being opened".to_owned(),
                hint: None,
            }),
            rooms: BTreeMap::new(),
            names,
            counts: Counts::default(),
            others: BTreeMap::new(),
            configuration: ConfigurationStatus::default(),
        };
        Self {
            facts: Mutex::new(facts),
            asked: Notify::new(),
            hands: Hands {
                session: watch::Sender::new(None),
                places: Semaphore::new(HANDS),
            },
        }
    }

    pub(super) fn facts(&self) -> RuntimeFacts {
        self.lock().clone()
    }

    /// Records that the event loop goes on: it begins an iteration, or another try to commit.
    pub(super) fn beat(&self) {
        self.lock().beat = Instant::now();
    }

    /// Asks the event loop for an iteration, in which the SQLite thread takes part.
    #[cfg_attr(windows, expect(dead_code, reason = "there is no watchdog"))]
    pub(super) fn ask_for_a_beat(&self) {
        self.asked.notify_one();
    }

    /// Waits until somebody has asked. Cancel safe.
    pub(super) async fn asked_for_a_beat(&self) {
        self.asked.notified().await;
    }

    /// Records that a batch was stored. Returns how long storing had failed before.
    pub(super) fn stored(&self) -> Option<Duration> {
        let trouble = self.lock().trouble.take();
        trouble.map(|(_, since)| since.elapsed())
    }

    pub(super) fn not_stored(&self, error: &StoreError) {
        let mut now = self.lock();
        let since = now.trouble.take().map(|(_, since)| since);
        now.trouble = Some((error.into(), since.unwrap_or_else(Instant::now)));
    }

    pub(super) fn session(&self, session: Result<LoginState, NoSession>) {
        self.lock().session = session;
    }

    /// Forgets the rooms that are not mapped any more.
    pub(super) fn mapped(&self, rooms: &[MappedRoom]) {
        let is_mapped = |name: &OwnedRoomOrAliasId| rooms.iter().any(|it| it.id == *name);
        let mut now = self.lock();
        now.names.retain(|name, _| is_mapped(name));
        now.rooms.retain(|_, room| {
            let was_mapped = !room.configured.is_empty();
            room.configured.retain(|name| is_mapped(name));
            !was_mapped || !room.configured.is_empty()
        });
    }

    /// Records what became of reading the configuration.
    pub(super) fn configuration(&self, change: impl FnOnce(&mut ConfigurationStatus)) {
        change(&mut self.lock().configuration);
    }

    /// Records a committed batch.
    pub(super) fn committed(&self, events: &[Event], outcome: &mut Outcome) {
        let mut now = self.lock();
        for (place, way) in now.counts.add(std::mem::take(&mut outcome.counts)) {
            say_first(&place, way);
        }
        for (other, room) in std::mem::take(&mut outcome.others) {
            now.note_other(other, &room);
        }
        for event in events {
            match event {
                Event::Radio(RadioEvent::Ready(profile)) => {
                    now.radio = Some(RadioFacts {
                        profile: profile.clone(),
                        problems: outcome.problems.clone().unwrap_or_default(),
                    });
                }
                Event::Radio(RadioEvent::ChannelUse { percent }) => {
                    now.channel_use = Some((*percent, Instant::now()));
                }
                Event::Matrix(MatrixEvent::Joined(room)) if now.rooms.len() < MOST_ROOMS => {
                    let names = room.configured.iter();
                    let names = names.map(|name| (name.clone(), room.room.clone()));
                    now.names.extend(names);
                    now.rooms.insert(room.room.clone(), room.clone());
                }
                Event::Matrix(MatrixEvent::NameMoved { name, room }) => {
                    now.names.insert(name.clone(), room.clone());
                }
                Event::Matrix(MatrixEvent::Left { room, .. }) => {
                    now.rooms.remove(room);
                }
                Event::Radio(_) | Event::Matrix(_) | Event::Report(_) | Event::Chore(_) => {}
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, RuntimeFacts> {
        self.facts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RuntimeFacts {
    /// Records a post of another relay with our account; logs the first one in an hour.
    fn note_other(&mut self, other: OtherRelay, room: &RoomId) {
        let seen = (room.to_owned(), Instant::now());
        let before = self.others.insert(other, seen);
        if before.is_none_or(|(_, at)| at.elapsed() >= OTHER_CONCERNS) {
            warn!(
                %room,
                relay = other.name(),
                hint = other.hint(),
                "another relay works with the bot's account"
            );
        }
    }

    /// Returns the id of the room that a configured name stands for, if known; otherwise `name` itself.
    pub(super) fn known(&self, name: &RoomOrAliasId) -> OwnedRoomOrAliasId {
        let known = self.names.get(name);
        known.map_or_else(|| name.to_owned(), |room| room.clone().into())
    }

    /// Returns the id of the room with this id or alias, if known; otherwise `room` itself.
    pub(super) fn room_of(&self, room: &RoomOrAliasId) -> OwnedRoomOrAliasId {
        if room.is_room_id() {
            // A configured id may stand for the room that took its place.
            room.to_owned()
        } else {
            self.known(room)
        }
    }

    pub(super) fn joined(&self, room: &RoomOrAliasId) -> Option<&JoinedRoom> {
        let mut rooms = self.rooms.values();
        rooms.find(|joined| joined.room.as_str() == room.as_str())
    }
}

fn say_first(place: &Place, way: Way) {
    let destination = match place {
        Place::Channel(number) => format!("channel {number}"),
        Place::Direct => "a single node".to_owned(),
        Place::Room(_) | Place::Elsewhere => return,
    };
    let direction = match way {
        Way::ToMatrix => "to Matrix",
        Way::ToMesh => "to the mesh",
    };
    info!(destination, direction, "first message since the start");
}

#[cfg(test)]
mod tests {
    use super::*;
    use relay_bridge::{Refused, RouteProblem};
    use relay_config::ChannelRef;
    use relay_model::{Node, NodeNum, RadioSetup};

    #[test]
    fn a_room_is_joined_until_the_bot_is_not_in_it_any_more() {
        let runtime_state = RuntimeState::new(BTreeMap::new());
        let room = OwnedRoomId::try_from("!room:example.org").unwrap();
        let joined = Event::Matrix(MatrixEvent::Joined(JoinedRoom {
            room: room.clone(),
            configured: vec![room.clone().into()],
            name: "Hilltop".to_owned(),
            own_name: "Relay".to_owned(),
            encrypted: false,
            public: false,
            may_mention_room: false,
            may_react: true,
            may_write: true,
            tombstone: None,
            predecessor: None,
        }));
        let left = Event::Matrix(MatrixEvent::Left {
            room: room.clone(),
            tombstone: None,
        });
        for (event, is_in) in [
            (&joined, true),
            (&left, false),
            (&left, false),
            (&joined, true),
        ] {
            runtime_state.committed(std::slice::from_ref(event), &mut Outcome::default());
            assert_eq!(runtime_state.facts().rooms.contains_key(&room), is_in);
        }
    }

    #[test]
    fn a_radio_that_is_ready_twice_in_a_batch_keeps_its_problems() {
        let runtime_state = RuntimeState::new(BTreeMap::new());
        let problem = RouteProblem {
            entry: 0,
            room: OwnedRoomOrAliasId::try_from("!room:example.org").unwrap(),
            channel: ChannelRef::Name("club".to_owned()),
            refused: Refused::NoChannel,
            available: Vec::new(),
        };
        let problems = RadioProblems {
            routes: vec![problem],
            silence: None,
        };
        let mut outcome = Outcome {
            problems: Some(problems.clone()),
            ..Outcome::default()
        };
        let ready = Event::Radio(RadioEvent::Ready(Box::new(RadioProfile {
            own: Node::unknown(NodeNum(1)),
            firmware: String::new(),
            channels: Vec::new(),
            hop_limit: 3,
            region_set: true,
            transmit_enabled: true,
            reboot_count: 0,
            locked: false,
            setup: RadioSetup::default(),
        })));
        runtime_state.committed(&[ready.clone(), ready], &mut outcome);
        assert_eq!(runtime_state.facts().radio.unwrap().problems, problems);
    }

    #[tokio::test(start_paused = true)]
    async fn another_relay_is_remembered_by_its_last_post() {
        let runtime_state = RuntimeState::new(BTreeMap::new());
        for room in ["!a:example.org", "!b:example.org"] {
            tokio::time::advance(Duration::from_mins(5)).await;
            let mut outcome = Outcome {
                others: vec![(OtherRelay::OtherDevice, room.try_into().unwrap())],
                ..Outcome::default()
            };
            runtime_state.committed(&[], &mut outcome);
        }
        let others = runtime_state.facts().others;
        let last = ("!b:example.org".try_into().unwrap(), Instant::now());
        assert_eq!(others, [(OtherRelay::OtherDevice, last)].into());
    }

    #[tokio::test(start_paused = true)]
    async fn a_fault_of_the_database_counts_from_its_first_failure() {
        let runtime_state = RuntimeState::new(BTreeMap::new());
        assert_eq!(runtime_state.stored(), None);
        for _ in 0..3 {
            runtime_state.not_stored(&StoreError::Closed);
            tokio::time::advance(Duration::from_secs(4)).await;
        }
        let (trouble, _) = runtime_state.facts().trouble.unwrap();
        assert_eq!(trouble.error.unwrap(), "the database is closed");
        assert_eq!(runtime_state.stored(), Some(Duration::from_secs(12)));
        assert!(runtime_state.facts().trouble.is_none());
    }
}
