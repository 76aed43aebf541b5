//! The mapped rooms: which rooms they are, whether the bot is joined, and the facts about rooms and members that the
//! relay needs.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use matrix_sdk::ruma::UserId;
use matrix_sdk::ruma::events::MessageLikeEventType;
use matrix_sdk::ruma::events::room::power_levels::{RoomPowerLevels, UserPowerLevel};
use matrix_sdk::sync::RoomUpdates;
use matrix_sdk::{Client, Room, RoomState};
use tokio::sync::{Notify, SetOnce};
use tokio::time::timeout;
use tracing::{debug, error, warn};

use super::events::{SenderFacts, display_name};
use super::{Options, avatars::Avatars, errors::LoginRefusal};
use relay_model::{
    JoinedRoom, MatrixEvent, OldRoom, OwnedRoomId, OwnedRoomOrAliasId, OwnedUserId, RoomId,
    RoomOrAliasId, Tombstone,
};
use relay_reading::cut;

/// Maximum number of messages remembered as logged: anybody can send invites.
const MOST_LOGGED: usize = 10_000;
/// Maximum time that a message waits for the name of a mentioned user.
const LONGEST_WAIT_FOR_MEMBERS: Duration = Duration::from_secs(10);

/// The mapped rooms, shared by the sync loop, the task that joins them, and the senders.
#[derive(Debug)]
pub(super) struct Rooms {
    pub(super) client: Client,
    pub(super) own: OwnedUserId,
    pub(super) options: Options,
    /// Never held across an await.
    known: Mutex<KnownRooms>,
    /// A room may be joinable now, or must be joined again.
    pub(super) retry: Notify,
    /// An alias was looked up, or the joined rooms must be looked at again.
    pub(super) changed: Notify,
    /// The members of a room may have changed, the bot among them.
    pub(super) seen: Notify,
    /// The pictures of nodes.
    pub(super) avatars: Avatars,
    /// The server's first answer has been handed over.
    pub(super) caught_up: SetOnce<()>,
    /// Since then every configured room has been looked for once.
    pub(super) looked_for: SetOnce<()>,
    /// The server does not accept the login, so the adapter ends. Nothing is sent with this client afterwards: its
    /// store is closed.
    pub(super) refused: SetOnce<LoginRefusal>,
}

/// What is known of the mapped rooms, and what was told of them.
#[derive(Debug, Default)]
pub(super) struct KnownRooms {
    /// The rooms that the configured names stand for, as far as known.
    pub(super) resolved: HashMap<OwnedRoomOrAliasId, OwnedRoomId>,
    /// The rooms that the homeserver has for the aliases.
    pub(super) looked_up: HashMap<OwnedRoomOrAliasId, OwnedRoomId>,
    /// Rooms that were ever mapped and joined, as last handed over. If replaced, their messages from before the replacement
    /// are still read.
    pub(super) former: HashMap<OwnedRoomId, OldRoom>,
    /// Rooms whose encryption the answer that is being taken has switched on: until its event is read, what was said is from
    /// before it.
    pub(super) switched: HashSet<OwnedRoomId>,
    /// Changes of what names stand for that are not handed over yet.
    pub(super) moved: Vec<MatrixEvent>,
    /// Rooms that a sync answer has shown as joined. The SDK's own record can be lost in a race between a sync answer
    /// and a join.
    synced: HashSet<OwnedRoomId>,
    /// Rooms that the bot has joined, and that no sync answer has shown as joined since.
    pub(super) let_in: HashSet<OwnedRoomId>,
    /// The facts last handed over for each room, and whether we could write there.
    pub(super) announced: HashMap<OwnedRoomId, (JoinedRoom, bool)>,
    /// Messages that are logged only once.
    logged: HashSet<String>,
    /// Invites not handled yet.
    invites: HashSet<OwnedRoomId>,
}

impl Rooms {
    pub(super) fn new(client: Client, own: OwnedUserId, options: Options) -> Self {
        let names = options.rooms.iter();
        let joined = client.joined_rooms();
        let known = KnownRooms {
            resolved: names
                .filter_map(|name| Some((name.clone(), room_id(name)?)))
                .collect(),
            synced: joined.iter().map(|it| it.room_id().to_owned()).collect(),
            ..KnownRooms::default()
        };
        Self {
            client,
            own,
            options,
            known: Mutex::new(known),
            retry: Notify::new(),
            changed: Notify::new(),
            seen: Notify::new(),
            avatars: Avatars::default(),
            caught_up: SetOnce::new(),
            looked_for: SetOnce::new(),
            refused: SetOnce::new(),
        }
    }

    pub(super) fn known(&self) -> MutexGuard<'_, KnownRooms> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Restores the rooms that the configured names stood for in the last run, and rooms that were mapped once.
    pub(super) fn remember(&self, names: &[(OwnedRoomOrAliasId, OwnedRoomId)], former: &[OldRoom]) {
        let mut known = self.known();
        let former = former.iter().map(|it| (it.room.clone(), it.clone()));
        known.former.extend(former);
        let names = names.iter().cloned();
        let configured = names.filter(|(name, _)| self.options.rooms.contains(name));
        known.resolved.extend(configured);
    }

    /// Returns a room by its id, or by an alias of the configuration.
    pub(super) fn room_of(&self, room: &RoomOrAliasId) -> Option<OwnedRoomId> {
        room_id(room).or_else(|| self.stands_for(room))
    }

    /// Returns the room that a configured name stands for.
    pub(super) fn stands_for(&self, name: &RoomOrAliasId) -> Option<OwnedRoomId> {
        self.known().resolved.get(name).cloned()
    }

    /// Returns the room that a name stands for, if we are joined.
    pub(super) fn joined_as(&self, name: &RoomOrAliasId) -> Option<Room> {
        self.joined_room(&self.stands_for(name)?)
    }

    pub(super) fn joined_room(&self, id: &RoomId) -> Option<Room> {
        let room = self.client.get_room(id);
        room.filter(|room| room.state() == RoomState::Joined)
    }

    pub(super) fn is_mapped(&self, room: &RoomId) -> bool {
        self.known().resolved.values().any(|id| id == room)
    }

    /// Returns the configured names of a room; empty if it is not mapped.
    pub(super) fn names_of(&self, room: &RoomId) -> Vec<OwnedRoomOrAliasId> {
        let known = self.known();
        let mut names = self.options.rooms.clone();
        names.retain(|name| known.resolved.get(name).is_some_and(|id| id == room));
        names
    }

    /// Returns whether sending would mean plain text in an encrypted room, which never happens.
    pub(super) fn is_refused(&self, room: &Room) -> bool {
        !self.options.e2ee.enabled && room.encryption_state().is_encrypted()
    }

    /// Returns whether a room is read: it is mapped, or was mapped and then replaced, so that nobody writes there any
    /// more.
    fn is_read(&self, room: &Room) -> bool {
        let id = room.room_id();
        self.is_mapped(id) || (self.known().former.contains_key(id) && tombstone(room).is_some())
    }

    /// Returns a room that is read and not refused.
    pub(super) fn mapped(&self, id: &RoomId) -> Option<Room> {
        let room = self.client.get_room(id)?;
        (self.is_read(&room) && !self.is_refused(&room)).then_some(room)
    }

    /// Returns whether a sync answer has shown the room as joined.
    pub(super) fn is_synced(&self, id: &RoomId) -> bool {
        self.known().synced.contains(id)
    }

    /// Records which rooms an answer shows as joined and as left.
    pub(super) fn note_synced(&self, answer: &RoomUpdates) {
        let mut known = self.known();
        known.synced.extend(answer.joined.keys().cloned());
        known.synced.retain(|id| !answer.left.contains_key(id));
        known.let_in.retain(|id| !answer.joined.contains_key(id));
        drop(known);
        self.seen.notify_one();
    }

    /// Returns the joined rooms that are read and that a sync answer has shown.
    pub(super) fn joined(&self) -> Vec<Room> {
        let synced = self.known().synced.clone();
        synced
            .iter()
            .filter_map(|id| self.client.get_room(id))
            .filter(|room| room.state() == RoomState::Joined && self.is_read(room))
            .collect()
    }

    /// Returns whether facts about a joined room are missing: the server has not told whether it is encrypted.
    pub(super) fn is_one_untold(&self) -> bool {
        let mut joined = self.joined().into_iter();
        joined.any(|room| {
            !self.known().announced.contains_key(room.room_id()) && !self.is_refused(&room)
        })
    }

    /// Records an invite, to be handled by the joining task.
    pub(super) fn note_invite(&self, room: &RoomId) {
        self.known().invites.insert(room.to_owned());
    }

    pub(super) fn take_invites(&self) -> HashSet<OwnedRoomId> {
        std::mem::take(&mut self.known().invites)
    }

    /// Records that a room was left, or that we were removed from it.
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

    /// Records that we are not in a room any more, though no answer has shown that.
    pub(super) fn put_out(&self, room: &Room) -> MatrixEvent {
        self.known().synced.remove(room.room_id());
        self.left(room)
    }

    /// Takes the changes of what names stand for, since the last call.
    pub(super) fn take_moved(&self) -> Vec<MatrixEvent> {
        std::mem::take(&mut self.known().moved)
    }

    /// Returns whether a message has not been logged yet, and records it.
    pub(super) fn is_news(&self, what: String) -> bool {
        let mut known = self.known();
        known.logged.len() < MOST_LOGGED && known.logged.insert(what)
    }

    /// Returns the facts about a room to hand over, if it is read and usable, and if they have changed.
    pub(super) async fn news(&self, room: &Room) -> Option<JoinedRoom> {
        let id = room.room_id();
        if room.state() != RoomState::Joined || !self.is_read(room) {
            return None;
        }
        let tombstone = tombstone(room);
        if tombstone.is_some() && self.is_news(format!("replaced {id}")) {
            // An alias may point to another room now, and the successor may be joined.
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
        let rights = Rights::of(&levels, &self.own, encrypted);
        let now = JoinedRoom {
            room: id.to_owned(),
            configured: self.names_of(id),
            name: cut(&name, 256).to_owned(),
            own_name,
            encrypted,
            public: room.is_public().unwrap_or(false),
            may_mention_room: levels.user_can_trigger_room_notification(&self.own),
            may_write: rights.write,
            may_react: rights.react,
            tombstone,
            predecessor: room.predecessor_room().map(|it| it.room_id),
        };
        // Messages parked because we could not write there are retried once we can.
        let plain = Rights::of(&levels, &self.own, false);
        let latest = (now.clone(), plain.write);
        let mut known = self.known();
        let former = known.former.insert(id.to_owned(), OldRoom::from(&now));
        if encrypted && former.is_some_and(|it| !it.encrypted) {
            known.switched.insert(id.to_owned());
        }
        let before = known.announced.insert(id.to_owned(), latest.clone());
        (before != Some(latest)).then_some(now)
    }

    /// Returns a member's name, without asking the server.
    pub(super) async fn name_of(&self, room: &Room, user: &OwnedUserId) -> String {
        let member = room.get_member_no_sync(user).await.ok().flatten();
        display_name(member.as_ref().and_then(|it| it.display_name()), user)
    }

    /// Returns the name of a user who may never have written here. Asks the server at most once per room, for all
    /// members.
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

    /// Returns a member's name and power level, without asking the server.
    pub(super) async fn sender_facts(&self, room: &Room, user: &OwnedUserId) -> SenderFacts {
        let name = self.name_of(room, user).await;
        let levels = room.power_levels_or_default().await;
        let power = match levels.for_user(user) {
            UserPowerLevel::Int(level) => level.into(),
            // A creator of a version 12 room has infinite power.
            _ => i64::MAX,
        };
        SenderFacts { name, power }
    }
}

/// What the bot's power level in a room permits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rights {
    /// To send messages, encrypted ones in an encrypted room.
    pub(super) write: bool,
    /// To react, and to redact its own reactions.
    pub(super) react: bool,
}

impl Rights {
    pub(super) fn of(levels: &RoomPowerLevels, own: &UserId, encrypted: bool) -> Self {
        let may_send = |kind| levels.user_can_send_message(own, kind);
        Self {
            write: may_send(if encrypted {
                MessageLikeEventType::RoomEncrypted
            } else {
                MessageLikeEventType::RoomMessage
            }),
            react: may_send(MessageLikeEventType::Reaction)
                && levels.user_can_redact_own_event(own),
        }
    }
}

fn room_id(name: &RoomOrAliasId) -> Option<OwnedRoomId> {
    <&RoomId>::try_from(name).ok().map(ToOwned::to_owned)
}

/// Returns a room's tombstone. A redacted one does not count.
pub(super) fn tombstone(room: &Room) -> Option<Tombstone> {
    let content = room.tombstone_content()?;
    let successor = content.replacement_room;
    let is_closed = content.body.is_some() || successor.is_some();
    // A room cannot be its own successor.
    let successor = successor.filter(|it| it != room.room_id());
    is_closed.then_some(Tombstone { successor })
}
