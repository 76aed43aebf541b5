//! Notices that the homeserver's database was put back to an older copy (docs/decisions/0046): it does not know the newest
//! event that it had confirmed. The sync position is then worth nothing, as it stands for another place: the rooms are read
//! from the last event on that both know.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream;
use matrix_sdk::deserialized_responses::TimelineEvent;
use matrix_sdk::ruma::api::client::context::get_context;
use matrix_sdk::ruma::api::client::keys::claim_keys;
use matrix_sdk::ruma::api::client::membership::joined_rooms;
use matrix_sdk::ruma::api::client::room::get_room_event;
use matrix_sdk::ruma::{OneTimeKeyAlgorithm, uint};
use matrix_sdk::{Client, Error, HttpError, Room, RoomMemberships};
use tokio::time::timeout;
use tracing::{debug, warn};

use super::errors::{ServerAnswer, sentence};
use super::{joining::JOIN_LIMIT, rooms::Rooms};
use relay_model::{EventId, OwnedEventId, OwnedRoomId, RoomId};

/// Maximum number of landmarks of a room.
const MOST_OF_ROOM: usize = 500;
/// Maximum time to ask for the newest one: the sync, which waits for it, tells what is wrong.
const ASK_LIMIT: Duration = Duration::from_secs(10);
/// Maximum number of one-time keys taken back; the SDK uploads at most 100.
const MOST_KEYS: usize = 200;
/// How many users' devices are asked for at a time.
const USERS_AT_ONCE: usize = 8;

/// Events of the rooms that the homeserver has confirmed, oldest first.
#[derive(Debug, Default)]
pub(super) struct Landmarks {
    rooms: HashMap<OwnedRoomId, VecDeque<OwnedEventId>>,
    /// The newest one.
    newest: Option<(OwnedRoomId, OwnedEventId)>,
}

/// What a homeserver has forgotten of a room, and what it has kept.
#[derive(Debug)]
pub(super) struct Forgotten {
    pub(super) room: OwnedRoomId,
    /// Number of landmarks that it does not know any more.
    pub(super) events: usize,
    /// Position behind the last one that it knows; `None`: it knows none.
    pub(super) from: Option<String>,
}

impl Landmarks {
    /// Begins with what the last run has left, oldest first.
    pub(super) fn new(kept: Vec<(OwnedRoomId, OwnedEventId)>) -> Self {
        let mut landmarks = Self::default();
        for (room, event) in kept {
            landmarks.add(&room, event);
        }
        landmarks
    }

    fn add(&mut self, room: &RoomId, event: OwnedEventId) {
        let of_room = self.rooms.entry(room.to_owned()).or_default();
        if of_room.contains(&event) {
            return;
        }
        of_room.push_back(event.clone());
        if of_room.len() > MOST_OF_ROOM {
            of_room.pop_front();
        }
        self.newest = Some((room.to_owned(), event));
    }

    /// Notes what an answer shows of a room; `is_first`: it is the first answer of a homeserver that has forgotten some.
    pub(super) fn note(&mut self, room: &RoomId, events: &[TimelineEvent], is_first: bool) {
        if is_first && !events.is_empty() {
            self.rooms.remove(room);
        }
        for event in events.iter().filter_map(TimelineEvent::event_id) {
            self.add(room, event);
        }
    }

    pub(super) fn newest(&self) -> Option<(OwnedRoomId, OwnedEventId)> {
        self.newest.clone()
    }

    /// Finds out what the homeserver has forgotten of each of these rooms, and forgets that, too.
    pub(super) async fn compare(
        &mut self,
        client: &Client,
        rooms: Vec<OwnedRoomId>,
    ) -> matrix_sdk::Result<Vec<Forgotten>> {
        let mut forgotten = Vec::new();
        for room in rooms {
            let of_room = self.rooms.entry(room.clone()).or_default();
            // What it knows is older than what it has forgotten.
            let (mut known, mut gone) = (0, of_room.len());
            while known < gone {
                let middle = known.midpoint(gone);
                let Some(event) = of_room.get(middle) else {
                    break;
                };
                if is_known(client, &room, event).await? {
                    known = middle + 1;
                } else {
                    gone = middle;
                }
            }
            let events = of_room.len() - known;
            let last = known.checked_sub(1).and_then(|last| of_room.get(last));
            let from = match last {
                Some(event) => position_behind(client, &room, event).await?,
                None => None,
            };
            forgotten.push(Forgotten { room, events, from });
        }
        for it in &forgotten {
            if let Some(of_room) = self.rooms.get_mut(&it.room) {
                of_room.truncate(of_room.len() - it.events);
            }
        }
        self.newest = None;
        Ok(forgotten)
    }
}

/// Returns whether the homeserver is known not to know an event that it had confirmed.
pub(super) async fn is_forgotten(client: &Client, room: &RoomId, event: &EventId) -> bool {
    let known = timeout(ASK_LIMIT, is_known(client, room, event)).await;
    matches!(known, Ok(Ok(false)))
}

/// Returns whether the homeserver knows an event. One that we may not see now is there.
async fn is_known(client: &Client, room: &RoomId, event: &EventId) -> matrix_sdk::Result<bool> {
    let request = get_room_event::v3::Request::new(room.to_owned(), event.to_owned());
    match client.send(request).await {
        Ok(_) => Ok(true),
        Err(error) => match code(&error).as_deref() {
            Some("M_NOT_FOUND") => Ok(false),
            Some("M_FORBIDDEN") => Ok(true),
            _ => Err(error.into()),
        },
    }
}

/// Returns the position behind an event in its room's timeline; `None` if we may not see it now.
async fn position_behind(
    client: &Client,
    room: &RoomId,
    event: &EventId,
) -> matrix_sdk::Result<Option<String>> {
    let mut request = get_context::v3::Request::new(room.to_owned(), event.to_owned());
    request.limit = uint!(0);
    match client.send(request).await {
        Ok(context) => Ok(context.end),
        Err(error) if code(&error).is_some_and(|code| code == "M_FORBIDDEN") => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn code(error: &HttpError) -> Option<String> {
    ServerAnswer::of(error)?.errcode
}

/// Returns whether a sync position is behind an earlier one, as far as it tells: most homeservers begin it with a number
/// that grows.
pub(super) fn is_before(position: &str, earlier: &str) -> bool {
    let read = |position: &str| {
        let digits = position.find(|it: char| it.is_ascii_digit())?;
        let (kind, rest) = position.split_at_checked(digits)?;
        let end = rest.find(|it: char| !it.is_ascii_digit());
        let number: u64 = rest.get(..end.unwrap_or(rest.len()))?.parse().ok()?;
        Some((kind.to_owned(), number))
    };
    match (read(position), read(earlier)) {
        (Some(now), Some(before)) => now.0 == before.0 && now.1 < before.1,
        (_, _) => false,
    }
}

/// Takes back the one-time keys that the homeserver has for our device: those that were used since it made the copy would
/// be given out again, and what is encrypted with them could not be read. The SDK then uploads new ones.
pub(super) async fn take_keys_back(client: &Client) {
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
pub(super) async fn join_again(rooms: &Rooms) -> matrix_sdk::Result<Vec<Room>> {
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
mod tests {
    use serde_json::json;

    use super::super::scripted::{ROOM, Scripted};
    use super::*;

    /// Returns what a homeserver that knows only so many of nine events has forgotten, and where what is new begins.
    async fn forgotten(known: u32) -> (usize, Option<String>) {
        let is_known = move |line: &str| (1..=known).any(|it| line.contains(&format!("/${it}:")));
        let server = Scripted::start(move |line| {
            if !is_known(line) {
                return json!({"errcode": "M_NOT_FOUND", "error": "it is not there"});
            }
            if line.contains("/context/") {
                json!({"start": "t0", "end": format!("t{known}"), "state": []})
            } else {
                json!({"type": "m.room.message", "content": {}})
            }
        });
        let server = server.await;
        let room = OwnedRoomId::try_from(ROOM).unwrap();
        let event = |number| OwnedEventId::try_from(format!("${number}:example.org")).unwrap();
        let mut landmarks = Landmarks::new((1..=9).map(|it| (room.clone(), event(it))).collect());
        let (_, newest) = landmarks.newest().unwrap();
        assert_eq!(
            is_forgotten(&server.client, &room, &newest).await,
            known < 9
        );
        let found = landmarks
            .compare(&server.client, vec![room.clone()])
            .await
            .unwrap();
        assert!(server.count("/event/") <= 5, "each is asked for");
        let known = usize::try_from(known).unwrap();
        assert_eq!(landmarks.rooms[&room].len(), known);
        (found[0].events, found[0].from.clone())
    }

    #[tokio::test]
    async fn a_room_is_read_anew_from_the_last_event_that_the_homeserver_knows() {
        for known in [1, 4, 8, 9] {
            let from = Some(format!("t{known}"));
            assert_eq!(forgotten(known).await, (9 - known as usize, from));
        }
        assert_eq!(forgotten(0).await, (9, None));
    }

    #[test]
    fn a_position_is_compared_only_with_one_of_its_kind() {
        assert!(is_before("s90_1_2", "s100_1_2"));
        assert!(is_before("90", "100"));
        assert!(!is_before("s100_1", "s100_1"));
        assert!(!is_before("s101_1", "s100_1"));
        // A homeserver that has several writers from now on, and one whose positions have no order.
        assert!(!is_before("m56~2.58", "s59_1"));
        assert!(!is_before("abc", "abd"));
    }
}
