//! Events that the homeserver has confirmed. Whether it still knows the newest one tells whether its database was put back to
//! an older copy (docs/decisions/0046), and the last one that it knows from where on a room is to be read again.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use matrix_sdk::config::RequestConfig;
use matrix_sdk::deserialized_responses::TimelineEvent;
use matrix_sdk::ruma::api::client::context::get_context;
use matrix_sdk::ruma::api::client::room::get_room_event;
use matrix_sdk::ruma::uint;
use matrix_sdk::{Client, HttpError};
use tracing::warn;

use super::errors::{self, ServerAnswer};
use relay_model::{EventId, OwnedEventId, OwnedRoomId, RoomId};

/// Maximum number of landmarks of a room.
const MOST_OF_ROOM: usize = 500;
/// Maximum time to ask for one: the sync waits for it.
const ASK_LIMIT: Duration = Duration::from_secs(10);

/// Events of the rooms that the homeserver has confirmed, oldest first; each with its number among all.
#[derive(Debug, Default)]
pub(super) struct Landmarks {
    rooms: HashMap<OwnedRoomId, VecDeque<(u64, OwnedEventId)>>,
    /// Number of the next one.
    next: u64,
}

/// What a homeserver has forgotten of a room, and what it has kept.
#[derive(Debug)]
pub(super) struct Forgotten {
    pub(super) room: OwnedRoomId,
    /// Number of landmarks that it does not know any more.
    pub(super) events: usize,
    /// Position behind the last one that it knows; `None`: it knows none, or does not say.
    pub(super) from: Option<String>,
}

/// What a homeserver says of an event that it had confirmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Memory {
    Known,
    Unknown,
    /// We may not see it now, which tells nothing: some homeservers look for the event first, some do not.
    Hidden,
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
        if of_room.iter().any(|(_, known)| *known == event) {
            return;
        }
        of_room.push_back((self.next, event));
        if of_room.len() > MOST_OF_ROOM {
            of_room.pop_front();
        }
        self.next += 1;
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

    /// Forgets a room in which we are not any more, so that we may not see what it holds.
    pub(super) fn leave(&mut self, room: &RoomId) {
        self.rooms.remove(room);
    }

    /// Returns the newest one of each of these rooms, the newest of all first.
    pub(super) fn newest(&self, rooms: &[OwnedRoomId]) -> Vec<(OwnedRoomId, OwnedEventId)> {
        let newest = |room: &OwnedRoomId| {
            let (number, event) = self.rooms.get(room)?.back()?;
            Some((*number, room.clone(), event.clone()))
        };
        let mut all: Vec<_> = rooms.iter().filter_map(newest).collect();
        all.sort_by_key(|(number, ..)| std::cmp::Reverse(*number));
        let all = all.into_iter().map(|(_, room, event)| (room, event));
        all.collect()
    }

    /// Finds out what the homeserver has forgotten of each of these rooms, and forgets that, too. An error is temporary. Where
    /// it `gives_up`, a room that goes on failing does not hold the others up: nothing is known of it then.
    pub(super) async fn compare(
        &mut self,
        client: &Client,
        rooms: Vec<OwnedRoomId>,
        gives_up: bool,
    ) -> matrix_sdk::Result<Vec<Forgotten>> {
        let mut found = Vec::new();
        for room in rooms {
            let of_room = self.rooms.entry(room.clone()).or_default();
            let (events, from) = match last_known(client, &room, of_room).await {
                Ok(Some((known, from))) => (of_room.len() - known, from),
                Ok(None) => (of_room.len(), None),
                Err(error)
                    if errors::is_refusal(&error) || gives_up && !errors::is_away(&error) =>
                {
                    let error = errors::sentence(&error);
                    warn!(%room, error, "the homeserver does not say what it still knows of this room: it is read by time");
                    of_room.clear();
                    (0, None)
                }
                Err(error) => return Err(error),
            };
            found.push(Forgotten { room, events, from });
        }
        for Forgotten { room, events, .. } in &found {
            if let Some(of_room) = self.rooms.get_mut(room) {
                of_room.truncate(of_room.len() - events);
            }
        }
        Ok(found)
    }
}

/// Returns how many of a room's events the homeserver knows, and the position behind the last of them; `None`: it knows none.
async fn last_known(
    client: &Client,
    room: &RoomId,
    of_room: &VecDeque<(u64, OwnedEventId)>,
) -> matrix_sdk::Result<Option<(usize, Option<String>)>> {
    // What it knows is older than what it has forgotten.
    let (mut known, mut gone) = (0, of_room.len());
    while known < gone {
        let middle = known.midpoint(gone);
        let Some((_, event)) = of_room.get(middle) else {
            break;
        };
        match ask(client, room, event).await? {
            Memory::Known | Memory::Hidden => known = middle + 1,
            Memory::Unknown => gone = middle,
        }
    }
    let last = known.checked_sub(1).and_then(|last| of_room.get(last));
    match last {
        Some((_, event)) => Ok(Some((known, position_behind(client, room, event).await?))),
        None => Ok(None),
    }
}

/// Returns whether the homeserver does not know the first of these events that we may see. An error says nothing about that.
pub(super) async fn is_forgotten(
    client: &Client,
    newest: &[(OwnedRoomId, OwnedEventId)],
) -> matrix_sdk::Result<bool> {
    for (room, event) in newest {
        match ask(client, room, event).await? {
            Memory::Known => return Ok(false),
            Memory::Unknown => return Ok(true),
            Memory::Hidden => {}
        }
    }
    Ok(false)
}

async fn ask(client: &Client, room: &RoomId, event: &EventId) -> matrix_sdk::Result<Memory> {
    let request = get_room_event::v3::Request::new(room.to_owned(), event.to_owned());
    let limited = RequestConfig::new().disable_retry().timeout(ASK_LIMIT);
    match client.send(request).with_request_config(limited).await {
        Ok(_) => Ok(Memory::Known),
        Err(error) => match code(&error).as_deref() {
            Some("M_NOT_FOUND") => Ok(Memory::Unknown),
            Some("M_FORBIDDEN") => Ok(Memory::Hidden),
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
        let newest = landmarks.newest(std::slice::from_ref(&room));
        let is_forgotten = is_forgotten(&server.client, &newest).await.unwrap();
        assert_eq!(is_forgotten, known < 9);
        let compared = landmarks.compare(&server.client, vec![room.clone()], false);
        let found = compared.await.unwrap();
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
