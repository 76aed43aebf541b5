//! Reads a homeserver anew whose database was put back to an older copy (docs/decisions/0046): the sync position is worth
//! nothing then, as it stands for another place.

use std::collections::{BTreeMap, HashMap, HashSet};

use futures_util::StreamExt as _;
use futures_util::stream;
use matrix_sdk::ruma::OneTimeKeyAlgorithm;
use matrix_sdk::ruma::api::client::keys::claim_keys;
use matrix_sdk::ruma::api::client::membership::joined_rooms;
use matrix_sdk::{Client, Error, Room, RoomMemberships};
use tokio::time::{Instant, timeout};
use tracing::{debug, info, warn};

use super::Sync;
use crate::MatrixError;
use crate::errors::{self, sentence};
use crate::landmarks::is_before;
use crate::{joining::JOIN_LIMIT, rooms::Rooms};
use relay_model::{GapStart, OwnedEventId, OwnedRoomId, Timestamp};

/// How often the homeserver may answer the question for its newest event with an error before it is read without an answer,
/// and how often what it has forgotten is asked for before it goes without what fails.
const MOST_TRIES: u32 = 5;
/// Events are read again from so many milliseconds before the last answer on: each is dated by the server of its sender.
const MARGIN: i64 = 5 * 60_000;
/// Maximum number of one-time keys taken back; the SDK uploads at most 100.
const MOST_KEYS: usize = 200;
/// How many users' devices are asked for at a time.
const USERS_AT_ONCE: usize = 8;

/// Whether the homeserver goes on from where it stood.
#[derive(Debug)]
pub(super) enum Continuity {
    /// It does, as far as known.
    Kept,
    /// At the start and after a failure: it is to be asked first. With the number of errors in answer to that.
    Doubted(u32),
    /// It does not: what it has forgotten is to be found out. With the number of failures at that.
    Broken(u32),
    /// The next answer is to be as that to a first request, and these rooms are read from here on.
    ReadAnew(HashMap<OwnedRoomId, GapStart>),
}

impl Continuity {
    /// Notes that a request has failed.
    pub(super) fn doubt(&mut self) {
        if matches!(self, Self::Kept) {
            *self = Self::Doubted(0);
        }
    }

    pub(super) fn is_broken(&self) -> bool {
        matches!(self, Self::Broken(_))
    }

    /// Notes that there is an answer to take. Returns from where its rooms are read, if they are to be read anew.
    pub(super) fn take_anew(&mut self) -> Option<HashMap<OwnedRoomId, GapStart>> {
        match std::mem::replace(self, Self::Kept) {
            Self::ReadAnew(from) => return Some(from),
            broken @ Self::Broken(_) => *self = broken,
            Self::Kept | Self::Doubted(_) => {}
        }
        None
    }

    /// Notes what became of the question whether the homeserver knows its newest event. Returns whether it is read without an
    /// answer: it works, but for this question.
    pub(super) fn is_unanswerable(&mut self, error: &Error) -> bool {
        let Self::Doubted(tries) = self else {
            return false;
        };
        *tries = if errors::is_answer(error) {
            *tries + 1
        } else {
            0
        };
        *tries >= MOST_TRIES
    }
}

impl Sync<'_> {
    /// Notes that an answer's position is behind the one before it: then the answer says nothing of what is between them.
    pub(super) fn compare_position(&mut self, next: &str) {
        let before = self.handed_over.as_ref().or(self.read_from());
        let is_anew = matches!(self.continuity, Continuity::ReadAnew(_));
        if !is_anew && before.is_some_and(|before| is_before(next, before)) {
            self.continuity = Continuity::Broken(0);
        }
    }

    /// Returns the newest events that the homeserver has confirmed, if it is to be asked for them.
    pub(super) fn doubted(&self) -> Vec<(OwnedRoomId, OwnedEventId)> {
        match self.continuity {
            Continuity::Doubted(_) => self.landmarks.newest(&self.joined_rooms()),
            Continuity::Kept | Continuity::Broken(_) | Continuity::ReadAnew(_) => Vec::new(),
        }
    }

    fn joined_rooms(&self) -> Vec<OwnedRoomId> {
        let joined = self.rooms.joined().into_iter();
        joined.map(|room| room.room_id().to_owned()).collect()
    }

    /// Finds out what the homeserver has forgotten, and prepares to read it anew. To be tried again after an error.
    pub(super) async fn begin_anew(&mut self) -> Result<matrix_sdk::Result<()>, MatrixError> {
        let tries = match self.continuity {
            Continuity::Broken(tries) => tries + 1,
            Continuity::Kept | Continuity::Doubted(_) | Continuity::ReadAnew(_) => 1,
        };
        self.continuity = Continuity::Broken(tries);
        let gives_up = tries >= MOST_TRIES;
        let client = &self.rooms.client;
        let out = match join_again(self.rooms).await {
            Ok(out) => out,
            Err(error) if gives_up && !errors::is_away(&error) => {
                let error = sentence(&error);
                warn!(
                    error,
                    "the homeserver does not say in which rooms the bot is: it may have to be invited again"
                );
                Vec::new()
            }
            Err(error) => return Ok(Err(error)),
        };
        let left = out.iter().map(|room| self.rooms.put_out(room)).collect();
        for room in &out {
            self.landmarks.leave(room.room_id());
        }
        self.tell(left).await?;
        let rooms = self.joined_rooms();
        let compared = self.landmarks.compare(client, rooms, gives_up);
        let forgotten = match compared.await {
            Ok(forgotten) => forgotten,
            Err(error) => return Ok(Err(error)),
        };
        let mut events = 0;
        for it in forgotten.iter().filter(|it| it.events > 0) {
            warn!(room = %it.room, events = it.events, "the homeserver has forgotten the newest messages of this room");
            events += it.events;
        }
        if events > 0 {
            warn!(
                events,
                "the homeserver has forgotten what it had confirmed: its database was put back to an older copy, or it deletes old messages; it is read anew, and what it has forgotten is not said again"
            );
            self.rooms.options.pulse.put_back(events, Instant::now());
        } else {
            info!("the homeserver is read anew, as it does not stand where it did");
        }
        take_keys_back(client).await;
        let since = (self.read_until).map(|at| Timestamp(at.0.saturating_sub(MARGIN)));
        // What is history on a first run is decided event by event.
        let began = (self.reader.news.first_run).then(|| self.reader.began());
        let since = since.or(began);
        let mut from = HashMap::new();
        for it in forgotten {
            // What was said before the start in a room that is new to us is history.
            if !self.reader.news.knows(&it.room) {
                continue;
            }
            let start = it.from.map(GapStart::Token);
            match start.or(since.map(GapStart::Time)) {
                Some(start) => drop(from.insert(it.room, start)),
                None => self.reader.news.forget(&it.room),
            }
        }
        self.continuity = Continuity::ReadAnew(from);
        Ok(Ok(()))
    }
}

/// Takes back the one-time keys that the homeserver has for our device: those that were used since it made the copy would
/// be given out again, and what is encrypted with them could not be read. The SDK then uploads new ones.
async fn take_keys_back(client: &Client) {
    let (Some(user), Some(device)) = (client.user_id(), client.device_id()) else {
        return;
    };
    let ours = BTreeMap::from([(device.to_owned(), OneTimeKeyAlgorithm::SignedCurve25519)]);
    let wanted = BTreeMap::from([(user.to_owned(), ours)]);
    for _ in 0..MOST_KEYS {
        let answer = client.send(claim_keys::v3::Request::new(wanted.clone()));
        let keys = match answer.await {
            Ok(answer) => answer.one_time_keys,
            Err(error) => {
                let error = sentence(&Error::from(error));
                warn!(
                    error,
                    "the one-time keys of the bot's device cannot be replaced: somebody's first message may not be readable"
                );
                return;
            }
        };
        let devices = keys.values().flat_map(BTreeMap::values);
        let mut keys = devices.flat_map(BTreeMap::values);
        // A fallback key is given out when there is no other one; the SDK replaces it, too.
        if keys.all(|key| key.json().get().contains("\"fallback\"")) {
            return;
        }
    }
}

/// Joins the rooms again in which the homeserver does not have us any more. Returns those where it does not let us; they
/// count as left.
async fn join_again(rooms: &Rooms) -> matrix_sdk::Result<Vec<Room>> {
    let answer = rooms.client.send(joined_rooms::v3::Request::new()).await?;
    let mut out = Vec::new();
    for room in rooms.joined() {
        let id = room.room_id();
        if answer.joined_rooms.iter().any(|joined| joined == id) {
            continue;
        }
        let joined = timeout(JOIN_LIMIT, rooms.client.join_room_by_id(id)).await;
        let is_in = matches!(joined, Ok(Ok(_)));
        warn!(room = %id, joined = is_in, "the homeserver had forgotten that the bot is in this room");
        if is_in {
            continue;
        }
        // The homeserver refuses that, too, as we are not in there; the SDK takes note.
        match room.leave().await {
            Ok(()) => out.push(room),
            Err(error) => {
                debug!(room = %id, error = sentence(&error), "cannot leave this room");
            }
        }
    }
    Ok(out)
}

/// Asks for the devices of everybody in the encrypted rooms: which of them have changed cannot be told from a position that
/// stands for another place.
pub(super) async fn look_at_devices(rooms: &Rooms) {
    let mut users = HashSet::new();
    for room in rooms.joined() {
        if room.encryption_state().is_encrypted() {
            let members = room.members(RoomMemberships::ACTIVE).await;
            let members = members.unwrap_or_default().into_iter();
            users.extend(members.map(|member| member.user_id().to_owned()));
        }
    }
    let encryption = rooms.client.encryption();
    let asked = stream::iter(users).map(|user| {
        let encryption = encryption.clone();
        async move { (encryption.request_user_identity(&user).await.err(), user) }
    });
    let mut asked = asked.buffer_unordered(USERS_AT_ONCE);
    while let Some((failed, user)) = asked.next().await {
        if let Some(error) = failed {
            let error = sentence(&error);
            warn!(%user, error, "the devices of this user cannot be looked up: new ones may not read what the relay says");
        }
    }
}

#[cfg(test)]
mod tests;
