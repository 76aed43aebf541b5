//! Rows of earlier versions are sent to the mesh once, with their text and id.

use std::collections::BTreeMap;

use super::*;
use relay_model::RadioPayload;
use relay_store::testing::{Left, SCHEMA_12, THEN, left, left_aside};

/// Starts a relay on an old database.
fn start(left: &Left, config: &Config) -> Store {
    let mut store = left.open();
    store.transaction(|tx| open(tx, config, THEN)).unwrap();
    store
}

/// Makes the radio accept all waiting packets, lane by lane.
fn take_all(store: &mut Store, config: &Config) -> Vec<Submission> {
    let rules = MeshRules::of(&config.meshtastic);
    let mut taken = Vec::new();
    let mut queues = store.transaction(outbox_mesh::queues).unwrap();
    queues.sort_by_key(|(_, lane)| *lane);
    for queue in queues {
        let mut now = THEN;
        for _ in 0..10 {
            while let Next::Due(submission) =
                mesh_worker::hand_over(store, queue, rules, now).unwrap()
            {
                let accepted =
                    store.transaction(|tx| mesh_report::accepted(tx, submission.outbox, now));
                assert!(accepted.unwrap());
                taken.push(submission);
            }
            now = now + rules.order.spacing;
        }
    }
    taken
}

/// Returns the text, or the emoji, and the packet that it is on.
fn said(submission: &Submission) -> (&str, Option<PacketId>) {
    match &submission.message.payload {
        RadioPayload::Text { text, reply_to } => (text, *reply_to),
        RadioPayload::Tapback { emoji, target } => (emoji, Some(*target)),
    }
}

/// Asserts that all waiting rows were sent, each once.
fn assert_crossed(taken: &[Submission], left: &Left) {
    let crossed: BTreeMap<u32, String> = taken
        .iter()
        .map(|it| (it.packet.0, said(it).0.to_owned()))
        .collect();
    assert_eq!(crossed, left.packets);
    assert_eq!(taken.len(), left.packets.len(), "each once");
}

#[test]
fn what_waits_for_the_mesh_crosses_once_with_the_text_and_the_id_it_had() {
    let left = left(SCHEMA_12);
    let mut config = config();
    config.matrix_rooms.push(MappedRoom {
        id: "!rescue:example.org".try_into().unwrap(),
        meshtastic_channel: ChannelRef::Index(1_u32.try_into().unwrap()),
        ..config.matrix_rooms[0].clone()
    });
    let mut store = start(&left, &config);
    // Its channel is gone: the row was marked to be refused when the pacer returns it.
    let refused = store.transaction(|tx| {
        let rows = mesh_report::on_channels(tx, None)?;
        let refused: Vec<_> = rows.into_iter().filter(|row| row.refused).collect();
        for row in &refused {
            mesh_report::refuse_waiting(tx, row.id, None)?;
        }
        Ok(refused.len())
    });
    assert_eq!(refused.unwrap(), 1);
    let taken = take_all(&mut store, &config);
    assert_crossed(&taken, &left);
    assert_eq!(taken.len(), 27);

    let find = |text: &str| taken.iter().find(|it| said(it).0 == text).unwrap();
    let untried = find("Alice[M]: untried").packet;
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
        let found = find(text);
        let channel = Destination::Channel(ChannelIndex::try_from(slot).unwrap());
        let queue = (found.message.destination, found.message.lane);
        assert_eq!(queue, (channel, lane), "{text}");
        assert_eq!(said(found).1, answers, "{text}");
    }
    drop(store);
    let mut store = start(&left, &config);
    assert_eq!(take_all(&mut store, &config), [], "nothing is doubled");
}

#[test]
fn what_no_radio_had_yet_and_what_was_set_aside_crosses_when_it_can() {
    let left = left_aside();
    let in_room = |id: &str, predecessor: Option<&str>| {
        let Event::Matrix(MatrixEvent::Joined(mut room)) = joined() else {
            unreachable!()
        };
        room.room = id.try_into().unwrap();
        room.configured = vec![id.try_into().unwrap()];
        room.predecessor = predecessor.map(|it| it.try_into().unwrap());
        Event::Matrix(MatrixEvent::Joined(room))
    };
    let mut config = config();
    config.matrix_rooms[0].id = "!new:example.org".try_into().unwrap();
    config.matrix_rooms.push(MappedRoom {
        id: "!third:example.org".try_into().unwrap(),
        ..config.matrix_rooms[0].clone()
    });
    let mut store = left.open();
    let run = |store: &mut Store, events: &[Event]| {
        let done = store.transaction(|tx| {
            let mut ledger = open(tx, &config, THEN)?;
            let mut outcome = Outcome::default();
            for event in events {
                ledger.event(tx, event, THEN, &mut outcome)?;
            }
            for seconds in [0, 5, 20] {
                let up = Duration::from_secs(seconds);
                ledger.event(tx, &round(up), THEN + up, &mut outcome)?;
            }
            Ok(())
        });
        done.unwrap();
    };
    run(
        &mut store,
        &[ready(|_| {}), in_room("!third:example.org", None)],
    );
    let mut taken = take_all(&mut store, &config);
    let texts: Vec<_> = taken.iter().map(|it| said(it).0).collect();
    assert_eq!(texts[0], "Alice[M]: before any radio");
    assert_eq!(texts.len(), 4, "and three parts: {texts:?}");
    // Another room takes the place of the one that was taken out.
    let events = [
        ready(|_| {}),
        in_room("!third:example.org", None),
        in_room("!new:example.org", Some("!room:example.org")),
    ];
    run(&mut store, &events);
    taken.extend(take_all(&mut store, &config));
    assert_crossed(&taken, &left);
    assert_eq!(taken.len(), 9);
}
