//! A database that an earlier relay has left, with rows in every state: all that waits crosses once, as it was, and what
//! was known is known.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use rusqlite::Connection;

use super::outbox_mesh::{self, MeshRow};
use super::samples::{ORDER, draft, event, room, text_of};
use super::*;
use crate::model::{
    Destination, EventId, Lane, MeshContent, MeshState, NodeNum, OwnedRoomId, PacketId,
    RadioPayload, RoomContent, UserId,
};

/// A minute after that relay ended.
const THEN: Timestamp = Timestamp(1_767_225_600_000 + 92_000);
const RADIO: NodeNum = NodeNum(1);

/// What was left at that version of the schema, and what the tables held then.
struct Left {
    _directory: tempfile::TempDir,
    path: PathBuf,
    /// Packet id → text, of what waits for the mesh and is wanted.
    packets: BTreeMap<u32, String>,
    /// Transaction → content, of what waits for rooms.
    events: BTreeMap<String, String>,
}

fn left(sql: &str) -> Left {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("relay.sqlite");
    let connection = Connection::open(&path).unwrap();
    connection.execute_batch(sql).unwrap();
    let packets = "SELECT packet, text FROM mesh_outbox WHERE state <= 1 AND withdraw = 0";
    let events = "SELECT txn, content FROM room_outbox";
    Left {
        packets: pairs(&connection, packets),
        events: pairs(&connection, events),
        _directory: directory,
        path,
    }
}

fn pairs<K: rusqlite::types::FromSql + Ord>(
    connection: &Connection,
    sql: &str,
) -> BTreeMap<K, String> {
    let mut statement = connection.prepare(sql).unwrap();
    let rows = statement.query_map((), |row| Ok((row.get(0)?, row.get(1)?)));
    rows.unwrap().collect::<Result<_, _>>().unwrap()
}

/// Opens the database as the relay does at its start.
fn start(left: &Left) -> Store {
    let mut store = Store::open(&left.path).unwrap();
    let start = |tx: &Tx<'_>| {
        mesh_report::recover(tx)?;
        feedback::recover(tx)?;
        outbox_room::unpark_all(tx)
    };
    store.transaction(start).unwrap();
    store
}

/// Has the radio take all that waits, the lanes in their order. Returns the packets.
fn take_all(store: &mut Store) -> Vec<((Destination, Lane), MeshRow)> {
    let mut taken = Vec::new();
    let mut queues = store.transaction(outbox_mesh::queues).unwrap();
    queues.sort_by_key(|(_, lane)| *lane);
    for (destination, lane) in queues {
        let mut now = THEN;
        let mut next = |now| {
            store.transaction(|tx| {
                let row = outbox_mesh::next(tx, destination, lane, &ORDER, now)?;
                if let Some(row) = &row {
                    mesh_report::submitted(tx, row.id, now)?;
                    mesh_report::accepted(tx, row.id, now)?;
                }
                Ok(row)
            })
        };
        for _ in 0..10 {
            while let Some(row) = next(now).unwrap() {
                taken.push(((destination, lane), row));
            }
            now = now + ORDER.spacing;
        }
    }
    taken
}

/// Returns what an event says, and the event that it is about.
fn said<T: ToString>(content: &RoomContent<T>) -> (String, Option<String>) {
    match content {
        RoomContent::Text {
            prefix,
            text,
            reply_to,
            ..
        } => {
            let reply_to = reply_to.as_ref().map(ToString::to_string);
            (format!("{prefix}{text}"), reply_to)
        }
        RoomContent::Reaction { key, .. } => (key.clone(), None),
        RoomContent::Redaction { target } => (String::new(), Some(target.to_string())),
    }
}

const SCHEMA_12: &str = include_str!("../../tests/fixtures/database/schema-12.sql");

#[test]
fn what_waits_for_the_mesh_crosses_once_with_the_text_and_the_id_it_had() {
    let left = left(SCHEMA_12);
    let mut store = start(&left);
    // Its channel is gone: it was to be refused as soon as it was back.
    let refused = store.transaction(|tx| {
        let rows = mesh_report::on_channels(tx, None)?;
        let refused: Vec<_> = rows.into_iter().filter(|row| row.refused).collect();
        for row in &refused {
            mesh_report::refuse_waiting(tx, row.id)?;
        }
        Ok(refused.len())
    });
    assert_eq!(refused.unwrap(), 1);
    let taken = take_all(&mut store);
    let crossed: BTreeMap<u32, String> = taken
        .iter()
        .map(|(_, row)| (row.packet.0, text_of(row).to_owned()))
        .collect();
    assert_eq!(crossed, left.packets);
    assert_eq!(taken.len(), left.packets.len(), "each once");
    assert_eq!(crossed.len(), 27);

    let find = |text: &str| taken.iter().find(|(_, row)| text_of(row) == text).unwrap();
    let untried = find("Alice[M]: untried").1.packet;
    for (text, slot, lane, answers) in [
        ("🎉", 0, Lane::Reaction, Some(untried)),
        ("👍", 0, Lane::Reaction, Some(PacketId(5))),
        ("Alice[M]: an answer", 0, Lane::Message, Some(PacketId(5))),
        (
            "Alice[M]: an answer to what waits",
            0,
            Lane::Message,
            Some(untried),
        ),
        (
            "Alice[M]: * corrected indeed",
            0,
            Lane::Message,
            Some(PacketId(2_661_067_416)),
        ),
        ("Alice[M]: 🚨 help", 0, Lane::Urgent, None),
        ("Alice[M]: [2 images]", 0, Lane::Message, None),
        ("Alice[M]: second backlog", 1, Lane::Message, None),
    ] {
        let (queue, row) = find(text);
        let channel = Destination::Channel(slot.try_into().unwrap());
        assert_eq!(*queue, (channel, lane), "{text}");
        let reference = match &row.content {
            MeshContent::Packet(RadioPayload::Text { reply_to, .. }) => *reply_to,
            MeshContent::Packet(RadioPayload::Tapback { target, .. }) => Some(*target),
            MeshContent::Text(draft) => panic!("{draft:?}"),
        };
        assert_eq!(reference, answers, "{text}");
    }
    drop(store);
    assert_eq!(take_all(&mut start(&left)), [], "nothing is doubled");
}

#[test]
fn a_message_in_parts_that_waits_can_be_changed_and_taken_back() {
    let left = left(SCHEMA_12);
    let mut store = start(&left);
    let room = OwnedRoomId::try_from("!room:example.org").unwrap();
    let long = event("$long:example.org");
    let packet = store
        .transaction(|tx| {
            let version = &edits::versions(tx, &room, &long)?[0];
            assert_eq!((version.waits, version.packets), (true, 3));
            drafts::change(tx, version.row, &draft("shorter"))?;
            assert_eq!(
                mesh_report::withdraw(
                    tx,
                    mesh_report::Withdrawal::Event(&room, &event("$emote:example.org"))
                )?
                .packets,
                1
            );
            Ok(version.packet)
        })
        .unwrap();
    let packets = store.read(|tx| message_map::by_event(tx, &long)).unwrap();
    assert_eq!(packets.len(), 1);
    assert_eq!(packets[0].packet, packet);
}

#[test]
fn what_waits_for_rooms_crosses_once_with_the_content_and_the_transaction_it_had() {
    let left = left(SCHEMA_12);
    let mut store = start(&left);
    let mut crossed = BTreeMap::new();
    for name in [
        "!room:example.org",
        "!rescue:example.org",
        "!parked:example.org",
    ] {
        while let Some(row) = store.next_for_room(&room(name)).unwrap() {
            if let RoomContent::Reaction { target, .. } = &row.content {
                assert_eq!(target.as_str(), "$sent4:example.org");
            }
            let sent = event(&format!("$sent{}:example.org", row.id));
            let done = store.transaction(|tx| outbox_room::sent(tx, row.id, Some(&sent)));
            assert!(done.unwrap());
            crossed.insert(row.transaction.to_string(), said(&row.content));
        }
    }
    for (transaction, content) in &left.events {
        let stored = said(&room_content::from_json(content).unwrap());
        assert_eq!(crossed.remove(transaction), Some(stored));
    }
    assert!(crossed.is_empty());
    assert_eq!(left.events.len(), 7);
    assert_eq!(store.transaction(outbox_room::count).unwrap(), 0);
}

#[test]
fn what_was_known_is_known() {
    let left = left(SCHEMA_12);
    let mut store = start(&left);
    let room = OwnedRoomId::try_from("!room:example.org").unwrap();
    let alice = UserId::parse("@alice:example.org").unwrap();
    let account = UserId::parse("@relay:example.org").unwrap();
    let under_way = match store.note(|tx| feedback::next(tx, THEN)).unwrap() {
        feedback::Next::Due(request) => request,
        other => panic!("{other:?}"),
    };
    assert_eq!(under_way.event, event("$delivered:example.org"));
    assert_eq!(
        under_way.transaction.as_str(),
        "relay-5debf606fa5e920183d48d88a9510dec"
    );
    store
        .read(|tx| {
            let early = edits::early(tx, &event("$unknown-yet:example.org"), &room, &alice)?;
            assert_eq!(early.unwrap().body, "an edit that came first");
            let versions = edits::versions(tx, &room, &event("$corrected:example.org"))?;
            let waits: Vec<_> = versions
                .iter()
                .map(|it| (it.correction, it.waits))
                .collect();
            assert_eq!(waits, [(0, false), (1, true)]);
            let half = edits::versions(tx, &room, &event("$half:example.org"))?;
            assert_eq!((half[0].waits, half[0].packets), (false, 3));
            let answered = message_map::by_event(tx, &event("$picture-2:example.org"))?;
            assert_eq!(answered[0].packet, PacketId(552_213_231));
            assert_eq!(late::waiting(tx)?.len(), 1);
            assert!(seen::has_event(tx, &event("$untried:example.org"))?);
            assert!(seen::has_packet(tx, NodeNum(77), PacketId(6))?);
            assert!(told::is_told(
                tx,
                "refused too_long !room:example.org",
                THEN
            )?);
            assert_eq!(gaps::all(tx, &account)?.len(), 1);
            assert_eq!(meta::sync_position(tx, &account)?.as_deref(), Some("s42"));
            assert_eq!(meta::channels(tx, RADIO)?.len(), 2);
            assert_eq!(nodes::all(tx, RADIO)?.len(), 3);
            assert_eq!(direct::count(tx)?, 1);
            assert!(outage::current(tx)?.is_some());
            assert_eq!(outage::told(tx)?.len(), 1);
            assert_eq!(backlog::expired(tx)?[0].messages, 2);
            let (minute, hour) = outbox_mesh::sent_by(tx, &alice, THEN - Duration::from_secs(92))?;
            assert_eq!((minute, hour), (29, 31));
            let states = |name: &str| {
                let parsed = EventId::parse(name).unwrap();
                Ok::<_, StoreError>(feedback::message(tx, &parsed)?.map(|it| it.parts))
            };
            for (name, state) in [
                ("$accepted:example.org", MeshState::Accepted),
                ("$unknown:example.org", MeshState::Unknown),
                ("$unheard:example.org", MeshState::Unheard),
                ("$heard-by-others:example.org", MeshState::Heard),
                ("$delivered:example.org", MeshState::Delivered),
                ("$refused:example.org", MeshState::Refused),
                ("$expired:example.org", MeshState::Expired),
                ("$tried:example.org", MeshState::Waiting),
            ] {
                assert_eq!(states(name)?, Some(vec![state]), "{name}");
            }
            Ok(())
        })
        .unwrap();
}
