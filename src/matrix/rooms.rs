//! The mapped rooms: which they are, and where the bot stands with each.

mod news;

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use matrix_sdk::sync::RoomUpdates;
use matrix_sdk::{Client, Room, RoomState};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::Options;
use super::errors::Refusal;
use crate::model::{
    JoinedRoom, MatrixEvent, OwnedRoomId, OwnedRoomOrAliasId, OwnedUserId, RoomId, RoomOrAliasId,
    Tombstone,
};

/// So many sentences are remembered as said: invites come from anybody.
const MOST_SAID: usize = 10_000;

/// The mapped rooms, shared by the sync loop, the task that joins them, and the senders.
#[derive(Debug)]
pub(super) struct Rooms {
    pub(super) client: Client,
    /// The bot.
    pub(super) own: OwnedUserId,
    pub(super) options: Options,
    /// Never locked across an await.
    known: Mutex<Known>,
    /// A room may be joinable now, or needs to be joined again.
    pub(super) retry: Notify,
    /// The room of an alias is known now, or the joined rooms are to be looked at again.
    pub(super) changed: Notify,
    /// The first answer of the server is handed over.
    pub(super) caught_up: watch::Sender<bool>,
    /// The server does not accept the login: the adapter ends.
    pub(super) refused: watch::Sender<Option<Refusal>>,
    /// From then on nothing is sent with this client: its store closes.
    pub(super) closed: CancellationToken,
}

#[derive(Debug, Default)]
struct Known {
    /// The room of each configured name, as far as it is known.
    resolved: HashMap<OwnedRoomOrAliasId, OwnedRoomId>,
    /// Rooms that were mapped before. What was said there before they were replaced is still read.
    former: HashSet<OwnedRoomId>,
    /// Aliases that stand for another room than was handed over last.
    moved: Vec<(OwnedRoomOrAliasId, OwnedRoomId)>,
    /// The rooms that an answer of the server has shown as joined. (The SDK's own mark of it can be lost when an answer
    /// and a join cross.)
    synced: HashSet<OwnedRoomId>,
    /// What was told of each room last, and whether we might speak there then.
    announced: HashMap<OwnedRoomId, (JoinedRoom, bool)>,
    /// Sentences that were logged, so that each is said once.
    said: HashSet<String>,
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
            caught_up: watch::Sender::default(),
            refused: watch::Sender::default(),
            closed: CancellationToken::new(),
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
    pub(super) fn joined_as(&self, name: &RoomOrAliasId) -> Option<OwnedRoomId> {
        let room = self.client.get_room(&self.room_of(name)?)?;
        (room.state() == RoomState::Joined).then(|| room.room_id().to_owned())
    }

    /// Returns whether a room is of the configuration.
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
        !self.options.encryption && room.encryption_state().is_encrypted()
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

    /// Takes note of the room that an alias stands for.
    pub(super) fn stands_for(&self, name: &OwnedRoomOrAliasId, room: &OwnedRoomId) {
        let mut known = self.known();
        let before = known.resolved.insert(name.clone(), room.clone());
        if before.as_ref() == Some(room) {
            return;
        }
        if let Some(before) = before {
            info!(alias = %name, %before, %room, "the alias stands for another room now");
            known.announced.remove(&before);
            known.former.insert(before);
        }
        known.moved.push((name.clone(), room.clone()));
        self.changed.notify_one();
    }

    /// Returns which aliases stand for other rooms than was told before.
    pub(super) fn take_moved(&self) -> Vec<MatrixEvent> {
        let moved = std::mem::take(&mut self.known().moved);
        let event = |(alias, room)| MatrixEvent::AliasMoved { alias, room };
        moved.into_iter().map(event).collect()
    }

    /// Returns whether something is to be said: it was not said before.
    pub(super) fn is_news(&self, what: String) -> bool {
        let mut known = self.known();
        known.said.len() < MOST_SAID && known.said.insert(what)
    }
}

/// Returns the room of a name that is an id.
pub(super) fn room_id(name: &RoomOrAliasId) -> Option<OwnedRoomId> {
    <&RoomId>::try_from(name.as_str())
        .ok()
        .map(ToOwned::to_owned)
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
