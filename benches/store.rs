//! The database writes of one message, on a file: each commit waits for the disk.
#![expect(
    clippy::unwrap_used,
    reason = "a measurement ends at its first failure"
)]

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use relay_model::{
    ChannelIndex, Destination, Draft, EventId, Gathering, Lane, MeshContent, MeshMessage,
    MeshOrder, MessagePair, NodeNum, Origin, OwnedRoomOrAliasId, PacketId, RoomContent,
    RoomMessage, Timestamp,
};
use relay_store::{Store, StoreError, Tx, drafts, mesh_report, outbox_mesh, outbox_room, seen};

const NOW: Timestamp = Timestamp(1_700_000_000_000);
const LATER: Timestamp = Timestamp(1_700_000_600_000);
const RADIO: NodeNum = NodeNum(1);
const SENDER: NodeNum = NodeNum(2);
const CHANNEL: Destination = Destination::Channel(ChannelIndex::PRIMARY);

fn message(room: &OwnedRoomOrAliasId) -> RoomMessage {
    RoomMessage {
        room: room.clone(),
        content: RoomContent::Text {
            notice: false,
            prefix: "[Alice/mesh]: ".to_owned(),
            text: "a text of about the length that people write on a mesh".to_owned(),
            heard_at: Some(NOW),
            reply_to: None,
            thread: None,
            mentions: Vec::new(),
            mentions_room: false,
            fields: None,
            profile: None,
            suppress: false,
        },
    }
}

fn accept(tx: &Tx<'_>, message: &RoomMessage, packet: PacketId) -> Result<(), StoreError> {
    seen::mark_packet(tx, RADIO, SENDER, packet, NOW)?;
    let pair = MessagePair {
        channel: None,
        origin: Origin::Mesh,
        sender: SENDER,
        packet,
        destination: CHANNEL,
        room: message.room.clone(),
        event: None,
        thread: None,
        author: None,
        text: "a text of about the length that people write on a mesh".to_owned(),
        alert: false,
        part: 0,
        at: NOW,
    };
    outbox_room::insert(tx, message, Some((RADIO, &pair)), NOW).map(drop)
}

fn room_messages(criterion: &mut Criterion) {
    let directory = tempfile::tempdir().unwrap();
    let mut store = Store::open(&directory.path().join("relay.sqlite")).unwrap();
    let room = OwnedRoomOrAliasId::try_from("!room:example.org").unwrap();
    let message = message(&room);
    let event = EventId::parse("$event:example.org").unwrap();
    let mut packet = 0;

    criterion.bench_function("to a room: accept one message", |bencher| {
        bencher.iter(|| {
            packet += 1;
            store
                .transaction(|tx| accept(tx, &message, PacketId(packet)))
                .unwrap();
        });
    });
    criterion.bench_function("to a room: accept a batch of 100", |bencher| {
        bencher.iter(|| {
            store
                .transaction(|tx| {
                    for _ in 0..100 {
                        packet += 1;
                        accept(tx, &message, PacketId(packet))?;
                    }
                    Ok(())
                })
                .unwrap();
        });
    });
    criterion.bench_function("to a room: load the next", |bencher| {
        bencher.iter(|| black_box(store.next_for_room(&room).unwrap().unwrap()));
    });
    criterion.bench_function(
        "to a room: accept, load and finish one message",
        |bencher| {
            bencher.iter(|| {
                packet += 1;
                store
                    .transaction(|tx| accept(tx, &message, PacketId(packet)))
                    .unwrap();
                let row = store.next_for_room(&room).unwrap().unwrap();
                store
                    .transaction(|tx| outbox_room::sent(tx, row.id, Some(&event)))
                    .unwrap();
            });
        },
    );
}

fn mesh_messages(criterion: &mut Criterion) {
    let directory = tempfile::tempdir().unwrap();
    let mut store = Store::open(&directory.path().join("relay.sqlite")).unwrap();
    let text = Draft {
        text: "a text of about the usual length".to_owned(),
        packets: 1,
        ..Draft::default()
    };
    let message = MeshMessage {
        destination: CHANNEL,
        channel: None,
        bound: false,
        lane: Lane::Message,
        content: MeshContent::Text(text),
        source: None,
        not_before: None,
        expires: LATER,
    };
    let order = MeshOrder {
        in_a_row: 3,
        gathering: Gathering {
            quiet: Duration::from_secs(10),
            longest: Duration::from_mins(2),
        },
        spacing: Duration::from_secs(10),
    };
    let text = "Alice[M]: a text of about the usual length";
    criterion.bench_function(
        "to the mesh: accept, submit and take one packet",
        |bencher| {
            bencher.iter(|| {
                store
                    .transaction(|tx| outbox_mesh::insert(tx, RADIO, &message, NOW))
                    .unwrap();
                let handed = store.transaction(|tx| {
                    let next = outbox_mesh::next(tx, CHANNEL, Lane::Message, &order, NOW)?;
                    if let Some(row) = &next {
                        drafts::make_packets(tx, row.id, (text, &[]), NOW)?;
                        mesh_report::submitted(tx, row.id, NOW)?;
                    }
                    Ok(next)
                });
                if let Some(row) = handed.unwrap() {
                    store
                        .transaction(|tx| mesh_report::accepted(tx, row.id, NOW))
                        .unwrap();
                }
            });
        },
    );
}

criterion_group!(benches, room_messages, mesh_messages);
criterion_main!(benches);
