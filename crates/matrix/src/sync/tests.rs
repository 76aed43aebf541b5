//! The sync loop with scripted answers.

use matrix_sdk::HttpError;
use matrix_sdk::deserialized_responses::TimelineEvent;
use matrix_sdk::ruma::api::error::FromHttpResponseError;
use matrix_sdk::ruma::serde::Raw;
use serde_json::{Value, json};

use std::sync::atomic::Ordering;

use super::super::gaps::{GapPage, Patience};
use super::super::scripted::{ROOM, Scripted, undecryptable};
use super::*;
use relay_model::{
    Beginning, Gap, GapStart, MatrixEvent, OldRoom, OwnedRoomId, OwnedRoomOrAliasId, Timestamp,
};

/// When every event was sent.
const SENT_AT: i64 = 1_767_225_600_000;

/// Returns a loop at position `s1`, and the receiver of its batches.
fn sync(rooms: &Rooms) -> (Sync<'_>, mpsc::Receiver<Batch>) {
    sync_with(
        rooms,
        vec![(ROOM.try_into().unwrap(), ROOM.try_into().unwrap())],
    )
}

/// Returns the same for a last run that had mapped and joined these rooms.
fn sync_with(
    rooms: &Rooms,
    known: Vec<(OwnedRoomOrAliasId, OwnedRoomId)>,
) -> (Sync<'_>, mpsc::Receiver<Batch>) {
    let start = Start {
        position: Some("s1".to_owned()),
        knows_all: true,
        known,
        ..Start::default()
    };
    let (batches, taken) = mpsc::channel(1);
    (
        Sync::new(rooms, Path::new("/"), Arc::default(), start, batches),
        taken,
    )
}

/// Returns a loop of a first run that began at `s0` and at this time, before the last reboot.
fn first_run(rooms: &Rooms, began: i64) -> (Sync<'_>, mpsc::Receiver<Batch>) {
    let first = Beginning {
        ours: Timestamp(began),
        passed: 0,
        boot: "another".to_owned(),
        position: Some("s0".to_owned()),
    };
    let start = Start {
        first: Some(first),
        knows_all: true,
        ..Start::default()
    };
    let (batches, taken) = mpsc::channel(1);
    (
        Sync::new(rooms, Path::new("/"), Arc::default(), start, batches),
        taken,
    )
}

/// Asks the server, and takes its answer.
async fn take_answer(sync: &mut Sync<'_>, rooms: &Rooms) {
    let settings = settings(Duration::ZERO, TIMELINE_LIMIT);
    let answer = rooms.client.sync_once(settings).await.unwrap();
    let mut keys: RoomKeyUpdates = stream::pending().boxed();
    sync.take(answer, &mut keys).await.unwrap();
}

/// Commits all batches; returns their positions, and the number of texts in them.
async fn commit_all(mut batches: mpsc::Receiver<Batch>) -> (Vec<Option<String>>, usize) {
    let (mut positions, mut texts) = (Vec::new(), 0);
    while let Some(batch) = batches.recv().await {
        let is_text = |event: &&MatrixEvent| matches!(event, MatrixEvent::Text(_));
        texts += batch.events.iter().filter(is_text).count();
        positions.push(batch.synced.position);
        batch.committed.send(()).unwrap();
    }
    (positions, texts)
}

#[tokio::test]
async fn a_first_run_that_has_to_begin_again_reads_what_was_said_since_it_began_and_no_more() {
    for (began, texts) in [(SENT_AT, 1), (SENT_AT + 1, 0)] {
        let server = Scripted::start(|line| {
            let said: Value = serde_json::from_str(text(ALICE).raw().json().get()).unwrap();
            if line.contains("/messages") && line.contains("from=s0") {
                json!({"start": "s0", "chunk": [said]})
            } else {
                json!({})
            }
        });
        let server = server.await;
        let rooms = server.rooms();
        let (mut sync, taken) = first_run(&rooms, began);
        let reading = async {
            let mut patience = Patience::default();
            let filled = sync.fill(&server.room, None, "s1", &[], &mut patience);
            filled.await.unwrap();
            let is_first = sync.reader.news.first_run;
            drop(sync);
            is_first
        };
        let (is_first, told) = tokio::join!(reading, commit_all(taken));
        // A position would make all that was said since the login new to the next run.
        assert_eq!(told, (vec![None; texts], texts));
        assert!(is_first);
    }
}

#[tokio::test]
async fn a_first_run_stores_no_position_before_what_was_said_since_it_began_is_read() {
    let refusal = json!({"errcode": "M_FORBIDDEN", "error": "not now"});
    let server = Scripted::start(move |line| {
        if line.contains("/messages") {
            refusal.clone()
        } else {
            json!({"chunk": []})
        }
    });
    let server = server.await;
    let rooms = server.rooms();
    let (mut sync, taken) = first_run(&rooms, SENT_AT);
    let reading = async {
        sync.behind = true;
        for is_filled in [false, true] {
            if is_filled {
                let gap = sync.gaps.all().remove(0);
                let page = GapPage {
                    events: vec![text(ALICE)],
                    next: None,
                };
                sync.take_missing(gap, Ok(page)).await.unwrap();
            }
            take_answer(&mut sync, &rooms).await;
            assert_eq!(sync.reader.news.first_run, !is_filled);
        }
        drop(sync);
    };
    let ((), (positions, texts)) = tokio::join!(reading, commit_all(taken));
    let (last, earlier) = positions.split_last().unwrap();
    assert_eq!(last.as_deref(), Some("s1"));
    assert!(earlier.iter().all(Option::is_none) && !earlier.is_empty());
    assert_eq!(texts, 1);
}

#[tokio::test]
async fn what_a_first_run_was_told_of_a_room_before_its_alias_was_looked_up_is_read_then() {
    let alias: OwnedRoomOrAliasId = "#hill:example.org".try_into().unwrap();
    for (began, texts) in [(SENT_AT, 1), (SENT_AT + 1, 0)] {
        let server = Scripted::start(|line| {
            let said: Value = serde_json::from_str(text(ALICE).raw().json().get()).unwrap();
            if line.contains("/messages") && line.contains("from=s0") {
                json!({"start": "s0", "chunk": [said]})
            } else {
                json!({"chunk": []})
            }
        });
        let server = server.await;
        let rooms = server.rooms_of(alias.as_str());
        let (mut sync, taken) = first_run(&rooms, began);
        let reading = async {
            for is_looked_for in [false, true] {
                if is_looked_for {
                    rooms.looked_up(&alias, Some(ROOM.try_into().unwrap()));
                    rooms.looked_for.set(()).unwrap();
                }
                take_answer(&mut sync, &rooms).await;
                assert_eq!(sync.reader.news.first_run, !is_looked_for);
            }
            drop(sync);
        };
        let ((), (positions, told)) = tokio::join!(reading, commit_all(taken));
        assert_eq!(told, texts);
        let (last, earlier) = positions.split_last().unwrap();
        assert_eq!(last.as_deref(), Some("s1"));
        assert!(earlier.iter().all(Option::is_none));
    }
}

#[tokio::test]
async fn what_was_said_before_the_bot_joined_is_left_out_also_where_a_first_run_begins_again() {
    let own = |before: &str, after: &str| {
        let rest = json!({
            "type": "m.room.member", "state_key": "@bot:example.org", "content": {"membership": after},
            "unsigned": {"prev_content": {"membership": before}},
        });
        event(&format!("{before}{after}"), "@bot:example.org", &rest)
    };
    let pages = [
        (vec![text(ALICE), own("invite", "join"), text(BOB)], 1),
        (
            vec![
                text(ALICE),
                own("join", "leave"),
                text(CAROL),
                own("leave", "join"),
                text(BOB),
            ],
            2,
        ),
        (vec![text(ALICE), own("join", "join"), text(BOB)], 2),
    ];
    let server = Scripted::start(|_| json!({})).await;
    let rooms = server.rooms();
    let (mut sync, _taken) = first_run(&rooms, SENT_AT);
    for (page, texts) in pages {
        let read = sync.reader.read(&server.room, &page, None).await;
        let is_text = |event: &&MatrixEvent| matches!(event, MatrixEvent::Text(_));
        assert_eq!(read.iter().filter(is_text).count(), texts, "{page:?}");
    }
}

#[tokio::test]
async fn what_was_said_in_a_room_before_it_was_mapped_is_history_although_the_bot_had_joined_it() {
    let [own, alice] = ["@bot:example.org", ALICE];
    let content = json!({"membership": "join"});
    let join = json!({"type": "m.room.member", "state_key": own, "content": content});
    let page = [event("join", own, &join), text(alice)];
    let chunk = page.map(|it| serde_json::from_str::<Value>(it.raw().json().get()).unwrap());
    let server = Scripted::start(move |line| {
        if line.contains("/messages") {
            json!({"start": "s1", "chunk": chunk})
        } else {
            json!({"chunk": []})
        }
    });
    let server = server.await;
    let rooms = server.rooms();
    let (mut sync, taken) = sync_with(&rooms, Vec::new());
    let reading = async {
        // The configuration was read again after quiet minutes, whose positions are not stored.
        sync.behind = true;
        take_answer(&mut sync, &rooms).await;
        drop(sync);
    };
    let ((), (_, texts)) = tokio::join!(reading, commit_all(taken));
    assert_eq!(texts, 0);
}

/// Returns a page with a text of Carol, one of Bob a second later, our join, with this reason, another second later, and a
/// text of Alice; for a request of what was last, in the reverse order.
fn page_with_join(line: &str, reason: &Value) -> Value {
    let at = |event: TimelineEvent, seconds: i64| {
        let mut event: Value = serde_json::from_str(event.raw().json().get()).unwrap();
        event["origin_server_ts"] = json!(SENT_AT + 1000 * seconds);
        event
    };
    let own = "@bot:example.org";
    let content = json!({"membership": "join", "reason": reason});
    let join = json!({"type": "m.room.member", "state_key": own, "content": content});
    let join = event("join", own, &join);
    let mut page = vec![
        at(text(CAROL), 0),
        at(text(BOB), 1),
        at(join, 2),
        at(text(ALICE), 3),
    ];
    if line.contains("m.room.member") {
        page.retain(|it| it["type"] == "m.room.member");
    }
    if line.contains("dir=b") {
        page.reverse();
    }
    json!({"start": "s1", "chunk": page})
}

/// Has the loop hand over what it knows of the rooms, and what is missing in them; returns the number of texts.
async fn texts_missing(mut sync: Sync<'_>, taken: mpsc::Receiver<Batch>) -> usize {
    let reading = async {
        sync.announce().await.unwrap();
        while !sync.gaps.is_empty() {
            let (gap, page) = sync.gaps.next(sync.rooms).await;
            sync.take_missing(gap, page).await.unwrap();
        }
        drop(sync);
    };
    let ((), (_, texts)) = tokio::join!(reading, commit_all(taken));
    texts
}

#[tokio::test]
async fn what_was_said_since_the_relay_joined_a_mapped_room_is_read_although_it_was_killed_before_it_could_say_so()
 {
    let mapped = json!("relay between a mesh and this room");
    for (reason, texts) in [(mapped, 1), (Value::Null, 0)] {
        let server = Scripted::start(move |line| {
            if line.contains("/messages") {
                page_with_join(line, &reason)
            } else {
                json!({"chunk": []})
            }
        });
        let server = server.await;
        let rooms = server.rooms();
        let (sync, taken) = sync_with(&rooms, Vec::new());
        assert_eq!(texts_missing(sync, taken).await, texts);
    }
}

#[tokio::test]
async fn what_was_said_in_a_successor_since_the_upgrade_is_read_although_the_relay_was_killed_as_it_came_in()
 {
    const OLD: &str = "!old:example.org";
    let state = |kind: &str, content: Value| {
        json!({
            "type": kind, "state_key": "", "event_id": format!("${kind}"), "sender": ALICE,
            "origin_server_ts": SENT_AT + 500, "content": content,
        })
    };
    let tombstone = json!({"body": "moved", "replacement_room": ROOM});
    let predecessor = json!({"room_id": OLD, "event_id": "$last"});
    let create = json!({"room_version": "11", "predecessor": predecessor});
    let synced = json!({
        OLD: [state("m.room.create", json!({"room_version": "11"})), state("m.room.tombstone", tombstone)],
        ROOM: [state("m.room.create", create)],
    });
    let refusal = json!({"errcode": "M_NOT_FOUND", "error": "no such state"});
    let server = Scripted::start_in(synced, move |line| {
        if line.contains("/messages") {
            page_with_join(line, &Value::Null)
        } else if line.contains("/state/") {
            refusal.clone()
        } else {
            json!({"chunk": []})
        }
    });
    let server = server.await;
    let rooms = server.rooms_of(OLD);
    let (sync, taken) = sync_with(
        &rooms,
        vec![(OLD.try_into().unwrap(), OLD.try_into().unwrap())],
    );
    let old = OldRoom {
        room: OLD.try_into().unwrap(),
        alias: None,
        encrypted: false,
        public: false,
        tombstone: None,
    };
    rooms.remember(&[], &[old]);
    // Carol wrote before it was the successor.
    assert_eq!(texts_missing(sync, taken).await, 2);
    let old: OwnedRoomOrAliasId = OLD.try_into().unwrap();
    assert_eq!(rooms.stands_for(&old).unwrap(), ROOM);
}

#[tokio::test]
async fn a_first_run_whose_login_read_nothing_reads_what_the_library_was_given_before_it_was_killed()
 {
    for (began, texts) in [(SENT_AT + 3000, 1), (SENT_AT + 3001, 0)] {
        let server = Scripted::start(move |line| {
            if line.contains("/messages") {
                page_with_join(line, &Value::Null)
            } else {
                json!({"chunk": []})
            }
        });
        let server = server.await;
        let rooms = server.rooms();
        let (mut sync, mut taken) = first_run(&rooms, began);
        sync.beginning = None;
        let stop = CancellationToken::new();
        let running = sync.run(stop.clone());
        let committing = async {
            let mut read = 0;
            while let Some(batch) = taken.recv().await {
                let is_text = |event: &&MatrixEvent| matches!(event, MatrixEvent::Text(_));
                read += batch.events.iter().filter(is_text).count();
                let is_reached = batch.synced.position.is_some();
                batch.committed.send(()).unwrap();
                if is_reached {
                    stop.cancel();
                    break;
                }
            }
            read
        };
        let (ended, read) = tokio::join!(running, committing);
        ended.unwrap();
        assert_eq!(read, texts);
    }
}

#[tokio::test]
async fn when_patience_is_spent_a_room_is_left_for_later_without_a_try() {
    let server = Scripted::start(|_| Value::Null).await;
    let rooms = server.rooms();
    let (mut sync, _taken) = sync(&rooms);
    tokio::time::pause();
    let mut patience = Patience::default();
    assert!(patience.allows(Duration::ZERO, Instant::now()));
    tokio::time::advance(Duration::from_mins(2)).await;
    tokio::time::resume();
    sync.fill(&server.room, None, "s9", &[], &mut patience)
        .await
        .unwrap();
    assert!(sync.gaps.is_open(server.room.room_id()));
    assert_eq!(server.count("/messages"), 0);
}

#[tokio::test]
async fn a_position_that_cannot_be_read_is_no_first_run_and_keeps_what_is_missing() {
    let server = Scripted::start(|_| Value::Null).await;
    let rooms = server.rooms();
    let gap = Gap {
        room: ROOM.try_into().unwrap(),
        from: GapStart::Token("s1".to_owned()),
        to: "s2".to_owned(),
    };
    let (batches, _taken) = mpsc::channel(1);
    let start = Start {
        gaps: vec![gap.clone()],
        ..Start::default()
    };
    let sync = Sync::new(&rooms, Path::new("/"), Arc::default(), start, batches);
    assert!(!sync.reader.news.first_run);
    assert!(sync.reader.news.knows(&gap.room));
    assert_eq!(sync.gaps.all(), [gap]);
}

/// Returns an event of a page.
fn event(name: &str, sender: &str, rest: &Value) -> TimelineEvent {
    let mut event = json!({
        "event_id": format!("${name}"),
        "sender": sender,
        "room_id": ROOM,
        "origin_server_ts": SENT_AT,
    });
    let fields = event.as_object_mut().unwrap();
    fields.extend(rest.as_object().unwrap().clone());
    TimelineEvent::from_plaintext(Raw::from_json_string(event.to_string()).unwrap())
}

fn text(sender: &str) -> TimelineEvent {
    let content = json!({"msgtype": "m.text", "body": "hello"});
    let rest = json!({"type": "m.room.message", "content": content});
    event(&format!("by{sender}"), sender, &rest)
}

fn ban(user: &str) -> Value {
    let content = json!({"membership": "ban"});
    json!({"type": "m.room.member", "state_key": user, "content": content})
}

#[tokio::test]
async fn an_empty_page_that_names_another_ends_nothing() {
    for (pages, is_left) in [(3, false), (100, true)] {
        let server = Scripted::start(move |line| {
            let Some((_, from)) = line.split_once("from=s") else {
                return json!({});
            };
            let from: u32 = from.split(['&', ' ']).next().unwrap().parse().unwrap();
            if from < pages {
                json!({"start": "s", "end": format!("s{}", from + 1), "chunk": []})
            } else {
                let last = undecryptable(1);
                json!({"start": "s", "chunk": [last]})
            }
        });
        let server = server.await;
        let rooms = server.rooms();
        let (mut sync, mut taken) = sync(&rooms);
        let taking = async {
            let batch = taken.recv().await?;
            batch.committed.send(()).unwrap();
            Some(batch.events.len())
        };
        let filling = async {
            let mut patience = Patience::default();
            let filled = sync.fill(&server.room, None, "s999", &[], &mut patience);
            filled.await.unwrap();
            let is_open = sync.gaps.is_open(server.room.room_id());
            drop(sync);
            is_open
        };
        let (is_open, events) = tokio::join!(filling, taking);
        assert_eq!(is_open, is_left);
        assert_eq!(events, (!is_left).then_some(1));
        assert!(server.count("/messages") <= 20);
    }
}

const ALICE: &str = "@alice:example.org";
const BOB: &str = "@bob:example.org";
const CAROL: &str = "@carol:example.org";

/// Returns the texts handed over from a page with a text of Carol, the bans of Bob and Carol, and a text of Bob, with
/// `answer` as the server's list of bans.
async fn told_of_missing(answer: Value) -> Vec<String> {
    let server = Scripted::start(move |line| {
        if line.contains("/members?membership=ban") {
            answer.clone()
        } else {
            json!({})
        }
    });
    let server = server.await;
    let rooms = server.rooms();
    let (mut sync, mut taken) = sync(&rooms);
    let gap = Gap {
        room: server.room.room_id().to_owned(),
        from: GapStart::Token("s0".to_owned()),
        to: "s1".to_owned(),
    };
    let page = vec![
        text(CAROL),
        event("bob", ALICE, &ban(BOB)),
        event("carol", ALICE, &ban(CAROL)),
        text(BOB),
    ];
    let fetched = Ok(GapPage {
        events: page,
        next: None,
    });
    let taking = async {
        let batch = taken.recv().await.unwrap();
        batch.committed.send(()).unwrap();
        batch.events
    };
    let (done, events) = tokio::join!(sync.take_missing(gap, fetched), taking);
    done.unwrap();
    let told = |event: &MatrixEvent| match event {
        MatrixEvent::Banned {
            user, stands: true, ..
        } => format!("ban of {user}"),
        MatrixEvent::Banned { user, .. } => format!("ban at that time of {user}"),
        MatrixEvent::Text(text) => format!("text of {}", text.sender),
        other => format!("{other:?}"),
    };
    events.iter().map(told).collect()
}

#[tokio::test]
async fn what_was_missing_says_nothing_of_lifted_bans_nor_for_those_who_are_banned_now() {
    let mut banned = ban(CAROL);
    banned["event_id"] = json!("$now");
    banned["sender"] = json!(ALICE);
    let notices = told_of_missing(json!({"chunk": [banned]})).await;
    assert_eq!(
        notices,
        [format!("ban of {CAROL}"), format!("text of {BOB}")]
    );
}

#[tokio::test]
async fn where_the_server_does_not_tell_who_is_banned_all_is_told_as_it_was_at_that_time() {
    let refusal = json!({"errcode": "M_FORBIDDEN", "error": "you may not"});
    let notices = told_of_missing(refusal).await;
    let [texts, bans] =
        ["text", "ban at that time"].map(|what| move |who| format!("{what} of {who}"));
    assert_eq!(notices, [texts(CAROL), bans(BOB), bans(CAROL), texts(BOB)]);
}

#[tokio::test]
async fn another_requests_answer_that_was_too_large_is_not_said_of_the_sync() {
    let server = Scripted::start(|_| Value::Null).await;
    let rooms = server.rooms();
    let (mut sync, _taken) = sync(&rooms);
    sync.way.cut.store(true, Ordering::SeqCst);
    let down = json!({"errcode": "M_UNKNOWN", "error": "down"});
    let (told, _) = sync.what_failed(&errors::answered(500, None, &down));
    assert!(told.contains("down"), "{told}");
    assert_eq!(sync.timeline_limit, TIMELINE_LIMIT);
}

#[tokio::test]
async fn a_cut_answer_that_looks_whole_is_known_for_too_large() {
    let server = Scripted::start(|_| Value::Null).await;
    let rooms = server.rooms();
    let (mut sync, _taken) = sync(&rooms);
    // A body that ends with its connection.
    let nonsense = || -> matrix_sdk::Error {
        let error = serde_json::from_str::<Value>(r#"{"next_batch": "s"#).unwrap_err();
        let error = FromHttpResponseError::Deserialization(error.into());
        HttpError::Api(Box::new(error)).into()
    };
    sync.failed(&nonsense()).await;
    let (told, _) = sync.what_failed(&nonsense());
    assert!(told.contains("EOF"), "{told}");
    assert_eq!(sync.timeline_limit, TIMELINE_LIMIT);
    assert_eq!(sync.reported, Some(SyncState::Failing(None)));
    sync.way.cut.store(true, Ordering::SeqCst);
    let (told, _) = sync.what_failed(&nonsense());
    assert!(told.contains("larger than 64 MB"), "{told}");
    assert_eq!(sync.reported, None, "it is said");
    assert_eq!(sync.timeline_limit, TIMELINE_LIMIT / 4);
}

#[tokio::test]
async fn nothing_is_left_out_behind_what_is_shown_and_that_is_not_read_twice() {
    let [alice, bob, carol] = ["@alice", "@bob", "@carol"].map(|it| format!("{it}:example.org"));
    let page = [&alice, &bob, &carol].map(|it| text(it));
    let chunk: Vec<Value> = page
        .iter()
        .map(|event| serde_json::from_str(event.raw().json().get()).unwrap())
        .collect();
    let server = Scripted::start(move |line| {
        if line.contains("/messages") {
            json!({"start": "s1", "chunk": chunk})
        } else {
            json!({})
        }
    });
    let server = server.await;
    let rooms = server.rooms();
    let (mut sync, mut taken) = sync(&rooms);
    let taking = async {
        let batch = taken.recv().await.unwrap();
        batch.committed.send(()).unwrap();
        batch.events
    };
    let mut patience = Patience::default();
    let filling = sync.fill(&server.room, None, "s9", &page[1..2], &mut patience);
    let (done, events) = tokio::join!(filling, taking);
    done.unwrap();
    let senders: Vec<_> = events.iter().map(|event| event.origin().2).collect();
    assert_eq!(senders.len(), 2, "{events:?}");
    assert_eq!(senders[0].unwrap(), alice.as_str());
    assert_eq!(senders[1].unwrap(), carol.as_str());
}

#[tokio::test]
async fn what_brings_nothing_is_asked_for_twice_a_second_and_at_once_while_people_write() {
    let server = Scripted::start(|_| Value::Null).await;
    let rooms = server.rooms();
    let (mut sync, _taken) = sync(&rooms);
    tokio::time::pause();
    // The relay has just started: people may have waited for it.
    assert_eq!(sync.pause(Instant::now()), Duration::ZERO);
    tokio::time::advance(ATTENTIVE).await;
    let asked = Instant::now();
    assert_eq!(sync.pause(asked), OWN_PAUSE);
    tokio::time::advance(Duration::from_millis(100)).await;
    assert_eq!(sync.pause(asked), Duration::from_millis(400));
    // The server kept the request open for longer than that.
    tokio::time::advance(Duration::from_secs(20)).await;
    assert_eq!(sync.pause(asked), Duration::ZERO);
    sync.heard_at = Instant::now();
    assert_eq!(sync.pause(Instant::now()), Duration::ZERO);
    tokio::time::advance(ATTENTIVE).await;
    assert_eq!(sync.pause(Instant::now()), OWN_PAUSE);
}

#[tokio::test]
async fn only_what_the_timeline_shows_before_the_switch_to_encryption_was_said_in_a_plain_room() {
    let page: Value = serde_json::from_str(text(ALICE).raw().json().get()).unwrap();
    let server = Scripted::start(move |_| json!({"start": "s1", "chunk": [page]})).await;
    let rooms = server.rooms();
    let switch = || {
        let content = json!({"algorithm": "m.megolm.v1.aes-sha2"});
        let rest = json!({"type": "m.room.encryption", "state_key": "", "content": content});
        event("switch", ALICE, &rest)
    };
    let in_clear = |events: &[MatrixEvent]| {
        let events = events.iter();
        events.map(MatrixEvent::is_in_clear).collect::<Vec<_>>()
    };
    // The room was handed over as a plain one.
    let was_plain = || {
        let plain = OldRoom {
            room: ROOM.try_into().unwrap(),
            alias: None,
            encrypted: false,
            public: false,
            tombstone: None,
        };
        rooms.known().former.insert(plain.room.clone(), plain);
    };
    let (mut sync, mut taken) = sync(&rooms);
    let room = &server.room;
    let shown = [text(ALICE), switch(), text(ALICE), switch(), text(ALICE)];

    was_plain();
    rooms.news(room).await.unwrap();
    let filling = async {
        let mut patience = Patience::default();
        sync.fill(room, None, "s9", &[], &mut patience)
            .await
            .unwrap();
    };
    let committing = async {
        let batch = taken.recv().await.unwrap();
        batch.committed.send(()).unwrap();
        batch.events
    };
    let ((), filled) = tokio::join!(filling, committing);
    assert_eq!(in_clear(&filled), [false]);
    let read = sync.reader.read(room, &shown, None).await;
    assert_eq!(in_clear(&read), [false, true, true]);
    // Shown again, it is not news any more.
    let read = sync.reader.read(room, &shown, None).await;
    assert_eq!(in_clear(&read), [true, true, true]);

    // An answer that has been taken is the last that can say so.
    was_plain();
    rooms.known().announced.clear();
    rooms.news(room).await.unwrap();
    take_answer(&mut sync, &rooms).await;
    let read = sync.reader.read(room, &shown, None).await;
    assert_eq!(in_clear(&read), [true, true, true]);
}
