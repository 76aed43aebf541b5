//! A scripted homeserver whose database is put back.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use matrix_sdk::ruma::owned_room_id;
use relay_model::{MatrixEvent, OwnedRoomOrAliasId};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::super::{Asked, RoomKeyUpdates};
use super::*;
use crate::errors::answered;
use crate::scripted::{ROOM, Scripted};
use crate::{Batch, Start};

/// When the relay was last in touch with the homeserver.
const READ_UNTIL: i64 = 1_767_225_600_000;
const MINUTE: i64 = 60_000;

/// Returns a text of this number, said so many minutes after the relay was last in touch with the homeserver.
fn text(number: u32, minutes: i64) -> Value {
    json!({
        "type": "m.room.message",
        "event_id": format!("${number}"),
        "sender": "@alice:example.org",
        "origin_server_ts": READ_UNTIL + minutes * MINUTE,
        "content": {"msgtype": "m.text", "body": format!("text {number}")},
    })
}

/// Returns an answer to a sync request that shows these events in the room, and its state to a first request.
fn synced(next: &str, shown: &[Value]) -> Value {
    let name = json!({
        "type": "m.room.name",
        "state_key": "",
        "event_id": "$name",
        "sender": "@alice:example.org",
        "origin_server_ts": 1,
        "content": {"name": "Hill"},
    });
    let room = json!({"state": {"events": [name]}, "timeline": {"events": shown, "limited": true}});
    json!({"next_batch": next, "rooms": {"join": {ROOM: room}}})
}

/// Returns what every homeserver here answers.
fn always(line: &str) -> Value {
    if line.contains("/versions") {
        json!({"versions": ["v1.11"]})
    } else if line.contains("/joined_rooms") {
        json!({"joined_rooms": [ROOM]})
    } else if line.contains("/keys/claim") {
        json!({"one_time_keys": {}, "failures": {}})
    } else {
        json!({})
    }
}

/// Returns a loop that was last in touch at this position, when the homeserver had confirmed these events.
fn sync_at<'a>(
    rooms: &'a Rooms,
    position: &str,
    landmarks: &[u32],
) -> (Sync<'a>, mpsc::Receiver<Batch>) {
    let room = OwnedRoomId::try_from(ROOM).unwrap();
    let confirmed = |number| {
        (
            room.clone(),
            OwnedEventId::try_from(format!("${number}")).unwrap(),
        )
    };
    let start = Start {
        position: Some(position.to_owned()),
        knows_all: true,
        known: vec![(OwnedRoomOrAliasId::from(room.clone()), room.clone())],
        landmarks: landmarks.iter().map(confirmed).collect(),
        read_until: Some(Timestamp(READ_UNTIL)),
        ..Start::default()
    };
    let (batches, taken) = mpsc::channel(1);
    (
        Sync::new(rooms, Path::new("/"), Arc::default(), start, batches),
        taken,
    )
}

/// What a loop has handed over.
#[derive(Debug, Default)]
struct HandedOver {
    texts: Vec<String>,
    positions: Vec<Option<String>>,
    /// Whether each batch says that the homeserver was read anew.
    anew: Vec<bool>,
}

/// Runs a loop until it has handed over this position and no gap is open.
async fn run_to(sync: Sync<'_>, mut taken: mpsc::Receiver<Batch>, last: &str) -> HandedOver {
    let stop = CancellationToken::new();
    let taking = async {
        let mut all = HandedOver::default();
        while let Some(batch) = taken.recv().await {
            for event in batch.events {
                if let MatrixEvent::Text(text) = event {
                    all.texts.push(text.event.to_string());
                }
            }
            let is_last =
                batch.synced.position.as_deref() == Some(last) && batch.synced.gaps.is_empty();
            all.positions.push(batch.synced.position);
            all.anew.push(batch.synced.is_anew);
            batch.committed.send(()).unwrap();
            if is_last {
                break;
            }
        }
        stop.cancel();
        all
    };
    let (ended, all) = tokio::join!(sync.run(stop.clone()), taking);
    ended.unwrap();
    all
}

/// Returns what is handed over where a homeserver shows, by an answer whose position goes back, that it was put back; so often
/// does it fail then.
async fn after_a_step_back(failures: u32) -> (HandedOver, Scripted) {
    let failed = AtomicU32::new(0);
    let syncs = AtomicU32::new(0);
    let server = Scripted::start_with(move |line| {
        if line.contains("/joined_rooms") && failed.fetch_add(1, Ordering::Relaxed) < failures {
            return Value::Null;
        }
        if line.contains("/sync") {
            return match syncs.fetch_add(1, Ordering::Relaxed) {
                0 => synced("s9", &[]),
                1 => synced("s5", &[text(3, 3)]),
                2 => synced("s6", &[text(3, 3)]),
                _ => json!({"next_batch": "s7"}),
            };
        }
        if line.contains("/context/$1") {
            return json!({"start": "t1", "end": "t1", "state": []});
        }
        if line.contains("/messages") && line.contains("from=t1") {
            return json!({"start": "t1", "chunk": [text(2, 2), text(3, 3)]});
        }
        always(line)
    });
    let server = server.await;
    let rooms = server.rooms();
    let (sync, taken) = sync_at(&rooms, "s9", &[1]);
    let all = run_to(sync, taken, "s6").await;
    drop(rooms);
    (all, server)
}

#[tokio::test]
async fn what_was_said_before_the_answer_that_shows_that_the_database_was_put_back_is_read() {
    let (all, _server) = after_a_step_back(0).await;
    assert!(all.texts.contains(&"$2".to_owned()), "{all:?}");
    assert!(!all.positions.contains(&Some("s5".to_owned())), "{all:?}");
    assert_eq!(all.anew.last(), Some(&true));
}

#[tokio::test]
async fn a_homeserver_that_fails_while_it_is_to_be_read_anew_is_tried_again() {
    let (all, server) = after_a_step_back(2).await;
    assert!(all.texts.contains(&"$2".to_owned()), "{all:?}");
    assert!(!all.positions.contains(&Some("s5".to_owned())), "{all:?}");
    assert_eq!(server.count("/joined_rooms"), 3);
}

#[tokio::test]
async fn a_room_of_which_the_homeserver_knows_nothing_is_read_since_the_last_answer_and_its_history_is_left_alone()
 {
    // It does not know the event, or refuses to say where it stands.
    for refuses in [false, true] {
        let syncs = AtomicU32::new(0);
        let server = Scripted::start_with(move |line| {
            if line.contains("/sync") {
                return match syncs.fetch_add(1, Ordering::Relaxed) {
                    0 => synced("s9", &[]),
                    1 => synced("s5", &[text(1, -90), text(2, 2)]),
                    _ => json!({"next_batch": "s6"}),
                };
            }
            if line.contains("/event/") && !(refuses && line.contains("/event/$1")) {
                return json!({"errcode": "M_NOT_FOUND", "error": "it is not there"});
            }
            if line.contains("/context/") {
                return json!({"errcode": "M_UNKNOWN", "error": "not so"});
            }
            if line.contains("/messages") && line.contains("dir=b") {
                return json!({"start": "s5", "chunk": [text(3, 3), text(2, 2), text(1, -90)]});
            }
            always(line)
        });
        let server = server.await;
        let rooms = server.rooms();
        let (sync, taken) = sync_at(&rooms, "s9", &[1, 9]);
        let all = run_to(sync, taken, "s5").await;
        assert_eq!(all.texts, ["$2", "$3"], "{all:?}");
    }
}

#[tokio::test]
async fn what_was_said_before_the_start_in_a_room_that_is_new_stays_history_although_the_homeserver_is_read_anew()
 {
    let server = Scripted::start_with(|line| match line {
        line if line.contains("/sync") => synced("s9", &[]),
        line => always(line),
    });
    let server = server.await;
    let rooms = server.rooms();
    for (known, read) in [(true, 1), (false, 0)] {
        let (mut sync, _taken) = sync_at(&rooms, "s9", &[]);
        if !known {
            sync.reader
                .news
                .forget(<&relay_model::RoomId>::try_from(ROOM).unwrap());
        }
        sync.begin_anew().await.unwrap().unwrap();
        let Some(from) = sync.continuity.take_anew() else {
            panic!("it is not read anew");
        };
        assert_eq!(from.len(), read);
    }
}

#[tokio::test]
async fn a_first_run_goes_on_at_the_new_place_after_the_homeserver_was_read_anew() {
    let server = Scripted::start_with(|line| match line {
        line if line.contains("/sync") => synced("s5", &[]),
        line => always(line),
    });
    let server = server.await;
    let rooms = server.rooms();
    let (mut sync, mut taken) = sync_at(&rooms, "s9", &[]);
    sync.continuity = Continuity::ReadAnew(HashMap::new());
    let answer = rooms
        .client
        .sync_once(super::super::settings(Duration::ZERO, 1));
    let answer = answer.await.unwrap();
    let mut keys: RoomKeyUpdates = stream::pending().boxed();
    let taking = async {
        sync.take(answer, &mut keys).await.unwrap();
        assert_eq!(sync.beginning.as_deref(), Some("s5"));
        drop(sync);
    };
    let committing = async {
        while let Some(batch) = taken.recv().await {
            batch.committed.send(()).unwrap();
        }
    };
    tokio::join!(taking, committing);
}

#[tokio::test]
async fn a_homeserver_is_not_synced_with_before_it_says_whether_it_knows_its_newest_event() {
    let server = Scripted::start_with(|line| match line {
        line if line.contains("/sync") => synced("s9", &[]),
        line if line.contains("/event/") => Value::Null,
        line => always(line),
    });
    let server = server.await;
    let rooms = server.rooms();
    let (mut sync, _taken) = sync_at(&rooms, "s9", &[1]);
    let mut keys: RoomKeyUpdates = stream::pending().boxed();
    for _ in 0..8 {
        let Ok(Asked::Unknown(error)) = sync.ask(Duration::ZERO, &mut keys).await else {
            panic!("it was not asked first");
        };
        assert!(!sync.continuity.is_unanswerable(&error), "it is only away");
    }
    assert_eq!(server.count("/sync"), 1, "only that of the test");
}

#[test]
fn a_homeserver_that_fails_only_at_this_question_is_read_all_the_same() {
    let failing = answered(
        500,
        None,
        &json!({"errcode": "M_UNKNOWN", "error": "broken"}),
    );
    let limited = answered(
        429,
        None,
        &json!({"errcode": "M_LIMIT_EXCEEDED", "error": "slow"}),
    );
    let mut continuity = Continuity::Doubted(0);
    for _ in 1..MOST_TRIES {
        assert!(!continuity.is_unanswerable(&failing));
    }
    // It may have been put back meanwhile.
    assert!(!continuity.is_unanswerable(&limited));
    for _ in 1..MOST_TRIES {
        assert!(!continuity.is_unanswerable(&failing));
    }
    assert!(continuity.is_unanswerable(&failing));
}

#[tokio::test]
async fn a_room_that_goes_on_failing_does_not_hold_the_others_up() {
    let other = owned_room_id!("!other:example.org");
    let server = Scripted::start_with(|line| match line {
        line if line.contains("/sync") => synced("s9", &[]),
        line if line.contains("other") => Value::Null,
        line if line.contains("/context/") => json!({"start": "t1", "end": "t1", "state": []}),
        line => always(line),
    });
    let server = server.await;
    let room = OwnedRoomId::try_from(ROOM).unwrap();
    let event = |name: &str| OwnedEventId::try_from(name).unwrap();
    let both = vec![(other.clone(), event("$o")), (room.clone(), event("$1"))];
    let mut landmarks = crate::landmarks::Landmarks::new(both);
    let rooms = || vec![other.clone(), room.clone()];
    landmarks
        .compare(&server.client, rooms(), false)
        .await
        .unwrap_err();
    let found = landmarks
        .compare(&server.client, rooms(), true)
        .await
        .unwrap();
    let from: Vec<_> = found.iter().map(|it| it.from.as_deref()).collect();
    assert_eq!(from, [None, Some("t1")]);
}

#[tokio::test]
async fn a_room_that_we_have_left_or_may_not_see_says_nothing_of_what_is_known() {
    let other = owned_room_id!("!other:example.org");
    let server = Scripted::start_with(|line| match line {
        line if line.contains("/sync") => synced("s9", &[]),
        line if line.contains("other") => json!({"errcode": "M_FORBIDDEN", "error": "not yours"}),
        line if line.contains("/event/") => json!({"errcode": "M_NOT_FOUND", "error": "not there"}),
        line => always(line),
    });
    let server = server.await;
    let room = OwnedRoomId::try_from(ROOM).unwrap();
    let event = |name: &str| OwnedEventId::try_from(name).unwrap();
    let both = vec![(room.clone(), event("$1")), (other.clone(), event("$o"))];
    let mut landmarks = crate::landmarks::Landmarks::new(both);
    let rooms = [room.clone(), other.clone()];
    let newest = landmarks.newest(&rooms);
    assert_eq!(newest[0].0, other);
    assert!(
        crate::landmarks::is_forgotten(&server.client, &newest)
            .await
            .unwrap()
    );
    assert_eq!(landmarks.newest(&rooms[..1]).len(), 1);
    landmarks.leave(&other);
    assert_eq!(landmarks.newest(&rooms), [(room, event("$1"))]);
}
