//! The mapped rooms: which they are, where the bot stands with each, and what matters to the relay of a room and the people in it.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use matrix_sdk::ruma::events::MessageLikeEventType;
use matrix_sdk::ruma::events::room::power_levels::UserPowerLevel;
use matrix_sdk::sync::RoomUpdates;
use matrix_sdk::{Client, Room, RoomState};
use tokio::sync::{Notify, SetOnce};
use tokio::time::{Instant, timeout};
use tracing::{debug, error, info, warn};

use super::Options;
use super::errors::Refusal;
use super::events::{SenderFacts, display_name};
use super::links::cut;
use relay_model::{
    JoinedRoom, MatrixEvent, OwnedRoomId, OwnedRoomOrAliasId, OwnedUserId, RoomId, RoomOrAliasId,
    Tombstone,
};

/// So many sentences are remembered as said: invites come from anybody.
const MOST_LOGGED: usize = 10_000;
/// An alias that stands for a replaced room is looked up again after that: who upgrades a room moves its aliases a moment later.
pub(super) const ALIAS_AGAIN: Duration = Duration::from_secs(5);
/// For the name of somebody who is mentioned, nobody's message waits longer.
const LONGEST_WAIT_FOR_MEMBERS: Duration = Duration::from_secs(10);

/// The mapped rooms, shared by the sync loop, the task that joins them, and the senders.
#[derive(Debug)]
pub(super) struct Rooms {
    pub(super) client: Client,
    pub(super) own: OwnedUserId,
    pub(super) options: Options,
    /// Never locked across an await.
    known: Mutex<Known>,
    /// A room may be joinable now, or needs to be joined again.
    pub(super) retry: Notify,
    /// The room of an alias is known now, or the joined rooms are to be looked at again.
    pub(super) changed: Notify,
    /// The first answer of the server is handed over.
    pub(super) caught_up: SetOnce<()>,
    /// The server does not accept the login: the adapter ends. From then on nothing is sent with this client, whose store
    /// closes.
    pub(super) refused: SetOnce<Refusal>,
}

#[derive(Debug, Default)]
struct Known {
    /// The room of each configured name, as far as it is known.
    resolved: HashMap<OwnedRoomOrAliasId, OwnedRoomId>,
    /// Rooms that were mapped before. What was said there before they were replaced is still read.
    former: HashSet<OwnedRoomId>,
    /// What was found out about aliases, and is not handed over yet.
    moved: Vec<MatrixEvent>,
    /// Aliases that stand for a room that is over for us: since when that is known, and whether it is handed over that they
    /// stand for it still.
    kept: HashMap<OwnedRoomOrAliasId, (Instant, bool)>,
    /// The rooms that an answer of the server has shown as joined. (The SDK's own mark of it can be lost when an answer
    /// and a join cross.)
    synced: HashSet<OwnedRoomId>,
    /// What was told of each room last, and whether we might speak there then.
    announced: HashMap<OwnedRoomId, (JoinedRoom, bool)>,
    /// Sentences that were logged, so that each is said once.
    logged: HashSet<String>,
    /// Invites that nobody has looked at yet.
    invites: HashSet<OwnedRoomId>,
}

impl Rooms {
    pub(super) fn new(client: Client, own: OwnedUserId, options: Options) -> Self {
        let names = options.rooms.iter();
        let joined = client.joined_rooms();
        let known = Known {
            resolved: names
                .filter_map(|name| Some((name.clone(), room_id(name)?)))
                .collect(),
            synced: joined.iter().map(|it| it.room_id().to_owned()).collect(),
            ..Known::default()
        };
        Self {
            client,
            own,
            options,
            known: Mutex::new(known),
            retry: Notify::new(),
            changed: Notify::new(),
            caught_up: SetOnce::new(),
            refused: SetOnce::new(),
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes note of which rooms the configured names stood for when we ran last, and of rooms that were mapped once.
    pub(super) fn remember(
        &self,
        names: &[(OwnedRoomOrAliasId, OwnedRoomId)],
        former: &[OwnedRoomId],
    ) {
        let mut known = self.known();
        known.former.extend(former.iter().cloned());
        for (name, room) in names {
            if self.options.rooms.contains(name) {
                let resolved = known.resolved.entry(name.clone());
                resolved.or_insert_with(|| room.clone());
            }
        }
    }

    /// Returns the room of a configured name, or of any room id.
    pub(super) fn room_of(&self, name: &RoomOrAliasId) -> Option<OwnedRoomId> {
        let resolved = self.known().resolved.get(name).cloned();
        resolved.or_else(|| room_id(name))
    }

    /// Returns the room that a name stood for last, if we are in it.
    pub(super) fn joined_as(&self, name: &RoomOrAliasId) -> Option<Room> {
        let room = self.client.get_room(&self.room_of(name)?)?;
        (room.state() == RoomState::Joined).then_some(room)
    }

    pub(super) fn is_mapped(&self, room: &RoomId) -> bool {
        self.known().resolved.values().any(|id| id == room)
    }

    /// Returns the configured names of a room; none: it is not mapped.
    fn names_of(&self, room: &RoomId) -> Vec<OwnedRoomOrAliasId> {
        let known = self.known();
        let mut names = self.options.rooms.clone();
        names.retain(|name| known.resolved.get(name).is_some_and(|id| id == room));
        names
    }

    /// Returns whether we would have to send in the clear into an encrypted room, which is never done.
    pub(super) fn is_refused(&self, room: &Room) -> bool {
        !self.options.e2ee.enabled && room.encryption_state().is_encrypted()
    }

    /// Returns whether a room is read: it is of the configuration; or it was, and has been replaced by another since.
    /// Nobody speaks there any more.
    fn is_read(&self, room: &Room) -> bool {
        let id = room.room_id();
        self.is_mapped(id) || (self.known().former.contains(id) && tombstone(room).is_some())
    }

    /// Returns a room that is read, unless it is refused.
    pub(super) fn mapped(&self, id: &RoomId) -> Option<Room> {
        let room = self.client.get_room(id)?;
        (self.is_read(&room) && !self.is_refused(&room)).then_some(room)
    }

    /// Returns whether an answer of the server has shown the room as joined.
    pub(super) fn is_synced(&self, id: &RoomId) -> bool {
        self.known().synced.contains(id)
    }

    /// Takes note of which rooms an answer has shown as joined and as left.
    pub(super) fn note_synced(&self, answer: &RoomUpdates) {
        let mut known = self.known();
        known.synced.extend(answer.joined.keys().cloned());
        known.synced.retain(|id| !answer.left.contains_key(id));
    }

    /// Returns the joined rooms that are read and that the server has told us of.
    pub(super) fn joined(&self) -> Vec<Room> {
        let synced = self.known().synced.clone();
        synced
            .iter()
            .filter_map(|id| self.client.get_room(id))
            .filter(|room| room.state() == RoomState::Joined && self.is_read(room))
            .collect()
    }

    /// Returns whether there is a joined room of which nothing could be told yet: the server did not say whether it is
    /// encrypted.
    pub(super) fn is_one_untold(&self) -> bool {
        let mut joined = self.joined().into_iter();
        joined.any(|room| {
            !self.known().announced.contains_key(room.room_id()) && !self.is_refused(&room)
        })
    }

    /// Takes note of an invite, for whoever joins the rooms.
    pub(super) fn note_invite(&self, room: &RoomId) {
        self.known().invites.insert(room.to_owned());
    }

    pub(super) fn take_invites(&self) -> HashSet<OwnedRoomId> {
        std::mem::take(&mut self.known().invites)
    }

    /// Takes note that a room was left, or we were put out of it.
    pub(super) fn left(&self, room: &Room) -> MatrixEvent {
        let id = room.room_id();
        if self.is_mapped(id) {
            warn!(room = %id, "no longer in this room");
            self.retry.notify_one();
        }
        self.known().announced.remove(id);
        MatrixEvent::Left {
            room: id.to_owned(),
            tombstone: tombstone(room),
        }
    }

    pub(super) fn stands_for(&self, name: &OwnedRoomOrAliasId, room: &OwnedRoomId, now: Instant) {
        let stands = self.client.get_room(room);
        let is_over = stands
            .is_none_or(|room| room.state() != RoomState::Joined || tombstone(&room).is_some());
        let (alias, room) = (name.clone(), room.clone());
        let known = &mut *self.known();
        let before = known.resolved.insert(alias.clone(), room.clone());
        if before.as_ref() != Some(&room) {
            if let Some(before) = before {
                info!(%alias, %before, %room, "the alias stands for another room now");
                known.announced.remove(&before);
                known.former.insert(before);
            }
            known.kept.remove(&alias);
            known.moved.push(MatrixEvent::AliasMoved {
                alias: alias.clone(),
                room: room.clone(),
            });
        }
        if is_over {
            let kept = known.kept.entry(alias.clone());
            let (since, is_told) = kept.or_insert((now, false));
            if !*is_told && now.duration_since(*since) >= ALIAS_AGAIN {
                *is_told = true;
                known.moved.push(MatrixEvent::AliasKept { alias, room });
            }
        } else {
            known.kept.remove(&alias);
        }
        if !known.moved.is_empty() {
            self.changed.notify_one();
        }
    }

    /// Returns whether an alias is to be looked up again soon: its room is over for us.
    pub(super) fn is_one_to_look_up(&self, now: Instant) -> bool {
        let known = self.known();
        let mut kept = known.kept.values();
        kept.any(|(since, is_told)| !is_told && now.duration_since(*since) < 2 * ALIAS_AGAIN)
    }

    /// Returns what was found out about aliases since.
    pub(super) fn take_moved(&self) -> Vec<MatrixEvent> {
        std::mem::take(&mut self.known().moved)
    }

    /// Returns whether something is to be said: it was not said before.
    pub(super) fn is_news(&self, what: String) -> bool {
        let mut known = self.known();
        known.logged.len() < MOST_LOGGED && known.logged.insert(what)
    }

    /// Returns what there is to tell of a room, if it is read, usable, and not told before as it is now.
    pub(super) async fn news(&self, room: &Room) -> Option<JoinedRoom> {
        let id = room.room_id();
        if room.state() != RoomState::Joined || !self.is_read(room) {
            return None;
        }
        let tombstone = tombstone(room);
        if tombstone.is_some() && self.is_news(format!("replaced {id}")) {
            // An alias may stand for the successor now.
            self.known().kept.clear();
            self.retry.notify_one();
        }
        if self.is_refused(room) {
            if self.is_news(format!("refused {id}")) {
                error!(
                    room = %id,
                    "this room is encrypted and `matrix.e2ee.enabled` is false: nothing is relayed; set it to true or map another room"
                );
                self.retry.notify_one();
            }
            return None;
        }
        let encrypted = room.latest_encryption_state().await.ok()?.is_encrypted();
        let name = room.display_name().await;
        let name = name.map_or_else(|_| id.to_string(), |name| name.to_string());
        let own_name = self.name_of(room, &self.own).await;
        let levels = room.power_levels_or_default().await;
        let may_send = |kind| levels.user_can_send_message(&self.own, kind);
        let now = JoinedRoom {
            room: id.to_owned(),
            configured: self.names_of(id),
            name: cut(&name, 256).to_owned(),
            own_name,
            encrypted,
            public: room.is_public().unwrap_or(false),
            may_mention_room: levels.user_can_trigger_room_notification(&self.own),
            may_write: may_send(if encrypted {
                MessageLikeEventType::RoomEncrypted
            } else {
                MessageLikeEventType::RoomMessage
            }),
            may_react: may_send(MessageLikeEventType::Reaction)
                && levels.user_can_redact_own_event(&self.own),
            tombstone,
            predecessor: room.predecessor_room().map(|it| it.room_id),
        };
        // What waits for a room where we might not speak is tried again when we may.
        let latest = (now.clone(), may_send(MessageLikeEventType::RoomMessage));
        let before = self.known().announced.insert(id.to_owned(), latest.clone());
        (before != Some(latest)).then_some(now)
    }

    /// Returns the name to call a member by, without asking the server.
    pub(super) async fn name_of(&self, room: &Room, user: &OwnedUserId) -> String {
        let member = room.get_member_no_sync(user).await.ok().flatten();
        display_name(member.as_ref().and_then(|it| it.display_name()), user)
    }

    /// Returns the name to call somebody by who may never have said anything here. The server is asked at most once for each
    /// room, for all of its members.
    pub(super) async fn name_of_mentioned(&self, room: &Room, user: &OwnedUserId) -> String {
        let known = room.get_member_no_sync(user).await;
        if !matches!(known, Ok(Some(_))) {
            let known = match timeout(LONGEST_WAIT_FOR_MEMBERS, room.sync_members()).await {
                Ok(known) => known.map_err(|error| error.to_string()),
                Err(late) => Err(late.to_string()),
            };
            if let Err(error) = known {
                debug!(room = %room.room_id(), error, "the members of the room are not known");
            }
        }
        self.name_of(room, user).await
    }

    /// Returns the name and power of a member, without asking the server.
    pub(super) async fn sender_facts(&self, room: &Room, user: &OwnedUserId) -> SenderFacts {
        let name = self.name_of(room, user).await;
        let levels = room.power_levels_or_default().await;
        let power = match levels.for_user(user) {
            UserPowerLevel::Int(level) => level.into(),
            // A creator of a version 12 room is above every number.
            _ => i64::MAX,
        };
        SenderFacts { name, power }
    }
}

fn room_id(name: &RoomOrAliasId) -> Option<OwnedRoomId> {
    <&RoomId>::try_from(name).ok().map(ToOwned::to_owned)
}

/// Returns that a room is replaced or closed, if it is. One whose tombstone was redacted is as before.
pub(super) fn tombstone(room: &Room) -> Option<Tombstone> {
    let content = room.tombstone_content()?;
    let successor = content.replacement_room;
    let is_closed = content.body.is_some() || successor.is_some();
    // A room that replaces itself is none.
    let successor = successor.filter(|it| it != room.room_id());
    is_closed.then_some(Tombstone { successor })
}
