//! A database of an earlier version with rows in every state: everything that waits is sent once and unchanged, and what was
//! known is still known. Rows for the mesh are covered by the tests of `daemon::ledger`.

use std::collections::BTreeMap;
use std::time::Duration;

use relay_model::{EventId, MeshState, NodeNum, OwnedRoomId, PacketId, RoomContent, UserId};

use super::test_rows::{draft, event, room};
use super::testing::{Left, SCHEMA_12, THEN, left};
use super::*;

const RADIO: NodeNum = NodeNum(1);

/// Opens the database as the relay does on start.
fn start(left: &Left) -> Store {
    let mut store = left.open();
    let start = |tx: &Tx<'_>| {
        mesh_report::recover(tx)?;
        feedback::recover(tx)?;
        outbox_room::unpark_all(tx)
    };
    store.transaction(start).unwrap();
    store
}

/// Returns an event's text and its target.
fn shown_text<T: ToString>(content: &RoomContent<T>) -> (String, Option<String>) {
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
            crossed.insert(row.transaction.to_string(), shown_text(&row.content));
        }
    }
    for (transaction, content) in &left.events {
        let stored = shown_text(&crate::outbox::room_content::from_json(content).unwrap());
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
    let under_way = match store.commit_relaxed(|tx| feedback::next(tx, THEN)).unwrap() {
        Next::Due(request) => request,
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
            assert_eq!(undecryptable::waiting(tx)?.len(), 1);
            assert!(seen::has_event(tx, &event("$untried:example.org"))?);
            assert!(seen::has_packet(tx, NodeNum(77), PacketId(6))?);
            assert!(cooldown::is_running(
                tx,
                "refused too_long !room:example.org",
                THEN
            )?);
            assert_eq!(gaps::all(tx, &account)?.len(), 1);
            assert_eq!(
                single_values::sync_position(tx, &account)?.as_deref(),
                Some("s42")
            );
            assert_eq!(single_values::channels(tx, RADIO)?.len(), 2);
            assert_eq!(nodes::all(tx, RADIO)?.len(), 3);
            assert_eq!(direct::count(tx)?, 1);
            assert!(outage::current(tx)?.is_some());
            assert_eq!(outage::told_rooms(tx)?.len(), 1);
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
