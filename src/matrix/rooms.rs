//! The mapped rooms: which they are, and what is known of each.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError, RwLock};
use std::time::Duration;

use matrix_sdk::ruma::events::MessageLikeEventType;
use matrix_sdk::{Client, Room, RoomState};
use tokio::sync::{Notify, watch};
use tokio::time::timeout;
use tracing::{debug, error, info, warn};

use super::events::{SenderFacts, cut, display_name};
use super::{Options, Pulse};
use crate::model::{
    JoinedRoom, MatrixEvent, OwnedRoomId, OwnedRoomOrAliasId, OwnedUserId, RoomId, RoomOrAliasId,
    Tombstone,
};

/// For the name of somebody who is mentioned, nobody's message waits longer.
const LONGEST_WAIT_FOR_MEMBERS: Duration = Duration::from_secs(10);

/// The mapped rooms, shared by the sync loop, the task that joins them, and the senders.
#[derive(Debug)]
pub(super) struct Rooms {
    client: Client,
    own: OwnedUserId,
    options: Options,
    /// The room of each configured name, as far as it is known. Never locked across an await.
    resolved: RwLock<HashMap<OwnedRoomOrAliasId, OwnedRoomId>>,
    /// Rooms that were mapped before. What was said there before they were replaced is still read.
    former: RwLock<HashSet<OwnedRoomId>>,
    /// Aliases that stand for another room than was handed over last.
    moved: Mutex<Vec<(OwnedRoomOrAliasId, OwnedRoomId)>>,
    synced: Mutex<HashSet<OwnedRoomId>>,
    /// What was told of each room last, and whether we might speak there then.
    announced: Mutex<HashMap<OwnedRoomId, (JoinedRoom, bool)>>,
    /// Sentences that were logged, so that each is said once.
    said: Mutex<HashSet<String>>,
    /// Invites that nobody has looked at yet.
    invites: Mutex<HashSet<OwnedRoomId>>,
    /// A room may be joinable now, or needs to be joined again.
    retry: Notify,
    /// The room of an alias is known now.
    changed: Notify,
    /// The first answer of the server is handed over.
    caught_up: watch::Sender<bool>,
}

impl Rooms {
    pub(super) fn new(client: Client, own: OwnedUserId, options: Options) -> Self {
        let resolved = options
            .rooms
            .iter()
            .filter_map(|name| Some((name.clone(), room_id(name)?)))
            .collect();
        let synced = client
            .joined_rooms()
            .iter()
            .map(|room| room.room_id().to_owned())
            .collect();
        Self {
            client,
            own,
            options,
            resolved: RwLock::new(resolved),
            former: RwLock::default(),
            moved: Mutex::default(),
            synced: Mutex::new(synced),
            announced: Mutex::default(),
            said: Mutex::default(),
            invites: Mutex::default(),
            retry: Notify::new(),
            changed: Notify::new(),
            caught_up: watch::channel(false).0,
        }
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    pub(super) fn options(&self) -> &Options {
        &self.options
    }

    /// Returns the bot.
    pub(super) fn own_user(&self) -> OwnedUserId {
        self.own.clone()
    }

    /// Takes note of which rooms the configured names stood for when we ran last, and of rooms that were mapped once.
    pub(super) fn remember(
        &self,
        known: &[(OwnedRoomOrAliasId, OwnedRoomId)],
        former: &[OwnedRoomId],
    ) {
        write(&self.former).extend(former.iter().cloned());
        let mut resolved = write(&self.resolved);
        for (name, room) in known {
            if self.options.rooms.contains(name) {
                resolved.entry(name.clone()).or_insert_with(|| room.clone());
            }
        }
    }

    /// Returns the room of a configured name, or of any room id.
    pub(super) fn room_of(&self, name: &RoomOrAliasId) -> Option<OwnedRoomId> {
        let resolved = read(&self.resolved);
        resolved.get(name).cloned().or_else(|| room_id(name))
    }

    /// Returns the configured names of a room; none: it is not mapped.
    fn names_of(&self, room: &RoomId) -> Vec<OwnedRoomOrAliasId> {
        let resolved = read(&self.resolved);
        self.options
            .rooms
            .iter()
            .filter(|name| resolved.get(*name).is_some_and(|id| id == room))
            .cloned()
            .collect()
    }

    /// Returns whether a room is of the configuration.
    pub(super) fn is_mapped(&self, room: &RoomId) -> bool {
        let resolved = read(&self.resolved);
        resolved.values().any(|id| id == room)
    }

    /// Returns whether we would have to send in the clear into an encrypted room, which is never done.
    pub(super) fn is_refused(&self, room: &Room) -> bool {
        !self.options.encryption && room.encryption_state().is_encrypted()
    }

    /// Returns a room that is read, unless it is refused: one of the configuration, or one that was and is replaced.
    pub(super) fn mapped(&self, id: &RoomId) -> Option<Room> {
        let room = self.client.get_room(id)?;
        let is_read = self.is_mapped(id) || self.is_replaced(&room);
        (is_read && !self.is_refused(&room)).then_some(room)
    }

    /// Returns whether a room was mapped once, and has been replaced by another since. Nobody speaks there any more.
    fn is_replaced(&self, room: &Room) -> bool {
        read(&self.former).contains(room.room_id()) && tombstone(room).is_some()
    }

    /// Returns whether an answer of the server has shown the room as joined. (The SDK's own mark of it can be lost
    /// when an answer and a join cross.)
    pub(super) fn is_synced(&self, id: &RoomId) -> bool {
        lock(&self.synced).contains(id)
    }

    /// Takes note of which rooms an answer has shown as joined and as left.
    pub(super) fn note_synced<'a>(
        &self,
        joined: impl Iterator<Item = &'a OwnedRoomId>,
        left: impl Iterator<Item = &'a OwnedRoomId>,
    ) {
        let mut synced = lock(&self.synced);
        synced.extend(joined.cloned());
        for id in left {
            synced.remove(id);
        }
    }

    /// Returns the joined rooms that are read and that the server has told us of.
    pub(super) fn joined(&self) -> Vec<Room> {
        let mut ids: HashSet<OwnedRoomId> = read(&self.resolved).values().cloned().collect();
        ids.extend(read(&self.former).iter().cloned());
        ids.iter()
            .filter(|id| self.is_synced(id))
            .filter_map(|id| self.client.get_room(id))
            .filter(|room| room.state() == RoomState::Joined)
            .filter(|room| self.is_mapped(room.room_id()) || self.is_replaced(room))
            .collect()
    }

    /// Waits until something about the mapping has changed.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Returns where the server's answers are noted.
    pub(super) fn pulse(&self) -> &Pulse {
        &self.options.pulse
    }

    /// Returns what there is to tell of a room, if it is mapped, usable, and not told before as it is now.
    pub(super) async fn news(&self, room: &Room) -> Option<JoinedRoom> {
        let configured = self.names_of(room.room_id());
        let tombstone = tombstone(room);
        if room.state() != RoomState::Joined || (configured.is_empty() && !self.is_replaced(room)) {
            return None;
        }
        if tombstone.is_some() {
            // An alias may stand for the successor now.
            self.say_once(format!("replaced {}", room.room_id()), || {
                self.retry.notify_one();
            });
        }
        if self.is_refused(room) {
            self.say_once(format!("refused {}", room.room_id()), || {
                error!(
                    room = %room.room_id(),
                    "this room is encrypted and `matrix.e2ee.enabled` is false: nothing is relayed; set it to true or map another room"
                );
                self.retry.notify_one();
            });
            return None;
        }
        let encrypted = room.latest_encryption_state().await.ok()?.is_encrypted();
        let name = match room.display_name().await {
            Ok(name) => name.to_string(),
            Err(_) => room.room_id().to_string(),
        };
        let levels = room.power_levels_or_default().await;
        let own = room.own_user_id();
        let own_name = self.sender_facts(room, &own.to_owned()).await.name;
        let now = JoinedRoom {
            room: room.room_id().to_owned(),
            configured,
            name: cut(&name, 256).to_owned(),
            own_name,
            encrypted,
            public: room.is_public().unwrap_or(false),
            may_mention_room: levels.user_can_trigger_room_notification(own),
            may_write: levels.user_can_send_message(
                own,
                if encrypted {
                    MessageLikeEventType::RoomEncrypted
                } else {
                    MessageLikeEventType::RoomMessage
                },
            ),
            may_react: levels.user_can_send_message(own, MessageLikeEventType::Reaction)
                && levels.user_can_redact_own_event(own),
            tombstone,
            predecessor: room.predecessor_room().map(|it| it.room_id),
        };
        // What waits for a room where we might not speak is tried again when we may.
        let may_speak = levels.user_can_send_message(own, MessageLikeEventType::RoomMessage);
        let told = (now, may_speak);
        let mut announced = lock(&self.announced);
        if announced.get(&told.0.room) == Some(&told) {
            return None;
        }
        announced.insert(told.0.room.clone(), told.clone());
        Some(told.0)
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
            match timeout(LONGEST_WAIT_FOR_MEMBERS, room.sync_members()).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    let error = &error as &dyn std::error::Error;
                    debug!(room = %room.room_id(), error, "the members of the room are not known");
                }
                Err(_) => {
                    debug!(room = %room.room_id(), "the members of the room are not known in time");
                }
            }
        }
        self.name_of(room, user).await
    }

    /// Returns the name and power of a member, without asking the server.
    pub(super) async fn sender_facts(&self, room: &Room, user: &OwnedUserId) -> SenderFacts {
        let name = self.name_of(room, user).await;
        let levels = room.power_levels_or_default().await;
        let power = match levels.for_user(user) {
            matrix_sdk::ruma::events::room::power_levels::UserPowerLevel::Int(level) => {
                level.into()
            }
            // A creator of a version 12 room is above every number.
            _ => i64::MAX,
        };
        SenderFacts { name, power }
    }

    /// Takes note of an invite that came in.
    pub(super) fn invited(&self, room: &RoomId) {
        lock(&self.invites).insert(room.to_owned());
        self.retry.notify_one();
    }

    /// Returns whether there is a joined room of which nothing could be told yet: the server did not say whether it is
    /// encrypted.
    pub(super) fn is_one_untold(&self) -> bool {
        let joined = self.joined();
        let announced = lock(&self.announced);
        let is_untold = |room: &Room| !announced.contains_key(room.room_id());
        joined
            .iter()
            .any(|room| is_untold(room) && !self.is_refused(room))
    }

    /// Takes note that a room was left, or we were put out of it.
    pub(super) fn left(&self, room: &Room) -> MatrixEvent {
        let id = room.room_id();
        if self.is_mapped(id) {
            warn!(room = %id, "no longer in this room");
            self.retry.notify_one();
        }
        lock(&self.announced).remove(id);
        MatrixEvent::Left {
            room: id.to_owned(),
            tombstone: tombstone(room),
        }
    }

    /// Takes note of the room that an alias stands for.
    pub(super) fn stands_for(&self, name: &OwnedRoomOrAliasId, room: &OwnedRoomId) {
        let before = write(&self.resolved).insert(name.clone(), room.clone());
        if before.as_ref() == Some(room) {
            return;
        }
        if let Some(before) = before {
            info!(alias = %name, %before, %room, "the alias stands for another room now");
            lock(&self.announced).remove(&before);
            write(&self.former).insert(before);
        }
        lock(&self.moved).push((name.clone(), room.clone()));
        self.changed.notify_one();
    }

    /// Returns which aliases stand for other rooms than was told before.
    pub(super) fn take_moved(&self) -> Vec<MatrixEvent> {
        let moved = std::mem::take(&mut *lock(&self.moved));
        let event = |(alias, room)| MatrixEvent::AliasMoved { alias, room };
        moved.into_iter().map(event).collect()
    }

    /// Returns the room that a name stood for last, if we are in it.
    pub(super) fn joined_as(&self, name: &RoomOrAliasId) -> Option<OwnedRoomId> {
        let id = self.room_of(name)?;
        let room = self.client.get_room(&id)?;
        (room.state() == RoomState::Joined).then_some(id)
    }

    /// Returns the invites that nobody has looked at yet.
    pub(super) fn take_invites(&self) -> Vec<OwnedRoomId> {
        lock(&self.invites).drain().collect()
    }

    /// Leaves an invite for the next round.
    pub(super) fn postpone_invite(&self, room: &RoomId) {
        lock(&self.invites).insert(room.to_owned());
    }

    /// Has the joined rooms looked at again.
    pub(super) fn tell_again(&self) {
        self.changed.notify_one();
    }

    /// Waits until a room may be joinable, or needs to be joined again.
    pub(super) async fn to_be_joined(&self) {
        self.retry.notified().await;
    }

    /// Takes note that the server's first answer is handed over.
    pub(super) fn note_caught_up(&self) {
        self.caught_up.send_replace(true);
    }

    /// Waits until it is.
    pub(super) async fn caught_up(&self) {
        // The sender lives as long as we do.
        drop(self.caught_up.subscribe().wait_for(|it| *it).await);
    }

    /// Says something, unless it was said before.
    pub(super) fn say_once(&self, what: String, say: impl FnOnce()) {
        let mut said = lock(&self.said);
        // Invites come from anybody: do not remember without end.
        if said.len() < 10_000 && said.insert(what) {
            say();
        }
    }
}

/// Returns the room of a name that is an id.
pub(super) fn room_id(name: &RoomOrAliasId) -> Option<OwnedRoomId> {
    <&RoomId>::try_from(name.as_str())
        .ok()
        .map(ToOwned::to_owned)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn read<T>(it: &RwLock<T>) -> std::sync::RwLockReadGuard<'_, T> {
    it.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(it: &RwLock<T>) -> std::sync::RwLockWriteGuard<'_, T> {
    it.write().unwrap_or_else(PoisonError::into_inner)
}

/// Returns that a room is replaced or closed, if it is. One whose tombstone was redacted is as before.
fn tombstone(room: &Room) -> Option<Tombstone> {
    let content = room.tombstone_content()?;
    let successor = content.replacement_room;
    let is_closed = content.body.is_some() || successor.is_some();
    // A room that replaces itself is none.
    let successor = successor.filter(|it| it != room.room_id());
    is_closed.then_some(Tombstone { successor })
}
