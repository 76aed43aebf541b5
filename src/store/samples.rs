//! What the tests of the tables share.

use std::time::Duration;

use super::outbox_mesh;
use super::outbox_room::{self, NewRoomRow};
use super::{MeshPace, Store, StoreError, Tx};
use crate::model::{
    ChannelIndex, Destination, EventId, Fingerprint, Lane, MeshMessage, MeshRowId, MeshSource,
    MessagePair, NodeNum, Origin, OwnedEventId, OwnedRoomOrAliasId, PacketId, RadioPayload,
    RoomContent, RoomMessage, RoomRowId, Timestamp,
};

pub(super) const RADIO: NodeNum = NodeNum(0x0D0E_0F00);
pub(super) const ALICE: NodeNum = NodeNum(0xA11C_E000);
pub(super) const NOON: Timestamp = Timestamp(1_700_000_000_000);
pub(super) const CHANNEL: Destination = Destination::Channel(ChannelIndex::PRIMARY);
/// What the first channel is.
pub(super) const FIRST: Fingerprint = Fingerprint([1; 32]);
pub(super) const ROOM: &str = "!room:example.org";

/// From one message of a backlog to the next.
pub(super) const BACKLOG_SPACING: Duration = Duration::from_secs(10);
/// Old texts do not say how old they are.
pub(super) const PACE: MeshPace<'static> = MeshPace {
    spacing: BACKLOG_SPACING,
    tell_age: &|_| None,
};

/// Runs a test in one transaction on an empty database.
pub(super) fn on_empty(test: impl FnOnce(&Tx<'_>) -> Result<(), StoreError>) {
    Store::in_memory().unwrap().transaction(test).unwrap();
}

pub(super) fn later(seconds: u64) -> Timestamp {
    NOON + Duration::from_secs(seconds)
}

pub(super) fn room(name: &str) -> OwnedRoomOrAliasId {
    name.try_into().unwrap()
}

pub(super) fn event(name: &str) -> OwnedEventId {
    EventId::parse(name).unwrap()
}

pub(super) fn text_for(room_name: &str, text: &str) -> RoomMessage {
    RoomMessage {
        room: room(room_name),
        content: RoomContent::Text {
            notice: false,
            prefix: "[Alice/mesh]: ".to_owned(),
            text: text.to_owned(),
            heard_at: Some(NOON),
            reply_to: None,
            thread: None,
            mentions: Vec::new(),
            mentions_room: false,
            fields: None,
            suppress: false,
        },
    }
}

/// A text of Alice on the first channel.
pub(super) fn pair_of(room_name: &str, packet: u32, text: &str) -> MessagePair {
    MessagePair {
        origin: Origin::Mesh,
        sender: ALICE,
        packet: PacketId(packet),
        destination: CHANNEL,
        channel: Some(FIRST),
        room: room(room_name),
        event: None,
        thread: None,
        author: None,
        text: text.to_owned(),
        alert: false,
        part: 0,
        at: NOON,
    }
}

/// Accepts a text of Alice for a room.
pub(super) fn accept_for_room(
    tx: &Tx<'_>,
    room_name: &str,
    packet: u32,
    text: &str,
) -> Result<RoomRowId, StoreError> {
    let message = text_for(room_name, text);
    let row = NewRoomRow {
        pair: Some((RADIO, &pair_of(room_name, packet, text))),
        ..NewRoomRow::of_bot(&message)
    };
    outbox_room::insert(tx, &row, NOON)
}

/// A text of Bob in the room.
pub(super) fn source(event_name: &str, text: &str) -> MeshSource {
    MeshSource {
        room: ROOM.try_into().unwrap(),
        event: event(event_name),
        thread: None,
        sender: "@bob:example.org".try_into().unwrap(),
        sent_at: NOON,
        text: text.to_owned(),
        alert: false,
    }
}

pub(super) fn payload(text: &str) -> RadioPayload {
    RadioPayload::Text {
        text: text.to_owned(),
        reply_to: None,
    }
}

/// What a test says of a message for the mesh beside its text.
#[derive(Clone, Copy)]
pub(super) struct When {
    pub(super) not_before: Option<Timestamp>,
    pub(super) expires: Timestamp,
}

/// At once, for an hour.
pub(super) const NOW: When = When {
    not_before: None,
    expires: Timestamp(NOON.0 + 3_600_000),
};

/// A message for the first channel, at once, for an hour.
pub(super) fn for_mesh(parts: Vec<RadioPayload>, source: Option<MeshSource>) -> MeshMessage {
    MeshMessage {
        destination: CHANNEL,
        channel: Some(FIRST),
        bound: false,
        lane: Lane::Message,
        parts,
        source: source.map(Box::new),
        not_before: None,
        expires: NOW.expires,
    }
}

/// Accepts a text of Bob for the first channel, in these parts.
pub(super) fn accept_for_mesh(
    tx: &Tx<'_>,
    event_name: &str,
    parts: &[&str],
    when: When,
) -> Result<Vec<(MeshRowId, PacketId)>, StoreError> {
    let parts: Vec<RadioPayload> = parts.iter().map(|part| payload(part)).collect();
    let message = MeshMessage {
        not_before: when.not_before,
        expires: when.expires,
        ..for_mesh(parts, Some(source(event_name, "hello")))
    };
    outbox_mesh::insert(tx, RADIO, &message, NOON)
}

/// Takes and submits the next packet of the first channel.
pub(super) fn submit_next(
    tx: &Tx<'_>,
    now: Timestamp,
) -> Result<Option<outbox_mesh::MeshRow>, StoreError> {
    let row = outbox_mesh::next(tx, CHANNEL, Lane::Message, BACKLOG_SPACING, now)?;
    if let Some(row) = &row {
        assert!(super::mesh_report::submitted(tx, row.id, now)?);
    }
    Ok(row)
}
