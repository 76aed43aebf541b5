//! Fixtures of the tables' tests.

use std::time::Duration;

use super::{Result, Store, Tx};
use crate::{outbox::drafts, outbox::outbox_mesh, outbox::outbox_room, shown::feedback};
use relay_model::{
    ChannelIndex, Destination, Draft, EventId, Fingerprint, Gathering, Lane, MeshContent,
    MeshMessage, MeshOrder, MeshRowId, MeshSource, MessagePair, NodeNum, Origin, OwnedEventId,
    OwnedRoomOrAliasId, PacketId, RadioPayload, RoomContent, RoomMessage, RoomRowId, Timestamp,
};

pub(super) const RADIO: NodeNum = NodeNum(0x0D0E_0F00);
pub(super) const ALICE: NodeNum = NodeNum(0xA11C_E000);
pub(super) const NOON: Timestamp = Timestamp(1_700_000_000_000);
pub(super) const CHANNEL: Destination = Destination::Channel(ChannelIndex::PRIMARY);
/// The fingerprint of the first channel.
pub(super) const FIRST: Fingerprint = Fingerprint([1; 32]);
pub(super) const ROOM: &str = "!room:example.org";

/// The order in which waiting messages are sent to the mesh.
pub(super) const ORDER: MeshOrder = MeshOrder {
    in_a_row: 3,
    gathering: GATHERING,
    spacing: Duration::from_secs(10),
};

/// When a backlog is complete.
pub(super) const GATHERING: Gathering = Gathering {
    quiet: Duration::from_secs(10),
    longest: Duration::from_mins(2),
};

/// Runs a test in one transaction on an empty database.
pub(super) fn on_empty(test: impl FnOnce(&Tx<'_>) -> Result<()>) {
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
            profile: None,
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
) -> Result<RoomRowId> {
    let message = text_for(room_name, text);
    let pair = pair_of(room_name, packet, text);
    outbox_room::insert(tx, &message, Some((RADIO, &pair)), NOON)
}

/// A text of Bob in the room.
pub(super) fn source(event_name: &str) -> MeshSource {
    MeshSource {
        room: ROOM.try_into().unwrap(),
        event: event(event_name),
        thread: None,
        sender: "@bob:example.org".try_into().unwrap(),
        sent_at: NOON,
        alert: false,
    }
}

pub(super) fn payload(text: &str) -> RadioPayload {
    RadioPayload::Text {
        text: text.to_owned(),
        reply_to: None,
    }
}

/// When a test message is accepted, may be sent and expires.
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

/// Bob's text, without prefix.
pub(super) fn draft(text: &str) -> Draft {
    Draft {
        text: text.to_owned(),
        packets: 1,
        ..Draft::default()
    }
}

/// One packet with this text.
pub(super) fn packet(text: &str) -> MeshContent {
    MeshContent::Packet(payload(text))
}

/// A message for the first channel, at once, for an hour.
pub(super) fn for_mesh(content: MeshContent, source: Option<MeshSource>) -> MeshMessage {
    MeshMessage {
        destination: CHANNEL,
        channel: Some(FIRST),
        bound: false,
        lane: Lane::Message,
        content,
        source: source.map(Box::new),
        not_before: None,
        expires: NOW.expires,
    }
}

/// Accepts a text of Bob, `hello`, for the first channel, and makes these packets of it.
pub(super) fn accept_for_mesh(
    tx: &Tx<'_>,
    event_name: &str,
    parts: &[&str],
    when: When,
) -> Result<Vec<(MeshRowId, PacketId)>> {
    let message = MeshMessage {
        not_before: when.not_before,
        expires: when.expires,
        ..for_mesh(MeshContent::Text(draft("hello")), Some(source(event_name)))
    };
    accept_in_parts(tx, &message, parts)
}

/// Accepts a text, and makes these packets of it.
pub(super) fn accept_in_parts(
    tx: &Tx<'_>,
    message: &MeshMessage,
    parts: &[&str],
) -> Result<Vec<(MeshRowId, PacketId)>> {
    let (id, _) = outbox_mesh::insert(tx, RADIO, message, NOON)?;
    let parts: Vec<String> = parts.iter().map(|part| (*part).to_owned()).collect();
    drafts::make_packets(tx, id, (&parts[0], &parts[1..]), NOON)?;
    tx.all(
        "SELECT id, packet FROM mesh_outbox WHERE message = ?1 ORDER BY part",
        [id],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )
}

/// Returns the next row of the first channel; a draft becomes one packet.
pub(super) fn next_packet(
    tx: &Tx<'_>,
    lane: Lane,
    now: Timestamp,
) -> Result<Option<outbox_mesh::MeshRow>> {
    let next = || outbox_mesh::next(tx, CHANNEL, lane, &ORDER, now);
    let row = next()?;
    if let Some(outbox_mesh::MeshRow {
        id,
        content: MeshContent::Text(draft),
        ..
    }) = &row
    {
        let text = format!("{}{}", draft.heading.prefix, draft.text);
        drafts::make_packets(tx, *id, (&text, &[]), now)?;
        return next();
    }
    Ok(row)
}

/// Takes and submits the next packet of the first channel.
pub(super) fn submit_next(tx: &Tx<'_>, now: Timestamp) -> Result<Option<outbox_mesh::MeshRow>> {
    let row = next_packet(tx, Lane::Message, now)?;
    if let Some(row) = &row {
        assert!(crate::outbox::mesh_report::submitted(tx, row.id, now)?);
    }
    Ok(row)
}

/// Returns the text, or the emoji, of a packet.
pub(super) fn text_of(row: &outbox_mesh::MeshRow) -> &str {
    match &row.content {
        MeshContent::Packet(RadioPayload::Text { text, .. }) => text,
        MeshContent::Packet(RadioPayload::Tapback { emoji, .. }) => emoji,
        MeshContent::Text(draft) => panic!("{draft:?} is no packet"),
    }
}

/// Returns the messages changed since the last call.
pub(super) fn take_changed(tx: &Tx<'_>) -> Result<Vec<OwnedEventId>> {
    let changed = feedback::changed(tx)?;
    feedback::forget_changed(tx)?;
    Ok(changed)
}
