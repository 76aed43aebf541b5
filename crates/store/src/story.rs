//! The stories of messages: their steps, each written by the function that does it, in the same transaction.
//!
//! Steps of messages for the mesh hang on their rows there, steps of packets that were heard on sender and packet id. Direct
//! messages have no story.

use std::time::Duration;

use rusqlite::{named_params, types::FromSqlError};

use crate::columns::{Row, TO_CHANNEL, identifier, optional, unreadable};
use crate::{Result, Tx};
use relay_model::{
    ChannelIndex, EventId, MeshRowId, MeshState, NodeNum, Origin, OwnedEventId, PacketId,
    RadioText, Reception, RoomId, RoomRowId, Standing, Step, StepKind, Story, StorySubject,
    Timestamp,
};

/// Number of steps of the same kind that a packet for the mesh keeps, the newest: a radio can be asked for hours.
const MOST_REPEATED: u8 = 16;
/// Maximum number of receptions that are noted of a packet.
const MOST_RECEPTIONS: u8 = 16;
/// Maximum number of messages that are found for a packet id.
const MOST_FOUND: u8 = 16;

/// Notes a step of a packet for the mesh, or of the draft of a message.
pub(crate) fn note(
    tx: &Tx<'_>,
    id: MeshRowId,
    kind: StepKind,
    number: Option<u32>,
    detail: Option<&str>,
) -> Result<()> {
    tx.execute(
        "INSERT INTO story (kind, at, mesh, packet, number, detail)
         SELECT ?2, ?3, id, CASE WHEN ?2 = ?6 THEN packet END, CASE WHEN ?2 = ?6 THEN attempts + 1 ELSE ?4 END, ?5
         FROM mesh_outbox WHERE id = ?1 AND target_kind = ?7",
        (
            id,
            kind,
            tx.time()?,
            number,
            detail,
            StepKind::Handed,
            TO_CHANNEL,
        ),
    )?;
    match kind {
        StepKind::Handed
        | StepKind::NotTaken
        | StepKind::NotTried
        | StepKind::Unanswered
        | StepKind::Restarted
        | StepKind::Changed
        | StepKind::Moved
        | StepKind::Backlog => tx.run(
            "DELETE FROM story WHERE id IN (SELECT id FROM story
                 WHERE mesh = ?1 AND kind = ?2 ORDER BY id DESC LIMIT -1 OFFSET ?3)",
            (id, kind, MOST_REPEATED),
        ),
        _ => Ok(()),
    }
}

/// Notes that a packet is accepted for a room, and how late if it says so there.
pub(crate) fn posted(
    tx: &Tx<'_>,
    post: RoomRowId,
    (sender, packet): (NodeNum, PacketId),
    room: &str,
    late: Option<Duration>,
) -> Result<()> {
    if packet == PacketId::NONE {
        return Ok(());
    }
    let late = late.map(|it| u32::try_from(it.as_secs()).unwrap_or(u32::MAX));
    tx.run(
        "INSERT INTO story (kind, at, sender, packet, post, detail, number) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        (
            StepKind::Posted,
            tx.time()?,
            sender,
            packet,
            post,
            room,
            late,
        ),
    )
}

/// Notes a step of a row for a room, as long as its pair knows the row; nothing if it stands for no packet, or if the last of
/// its steps says the same.
pub(crate) fn note_post(
    tx: &Tx<'_>,
    post: RoomRowId,
    kind: StepKind,
    detail: Option<&str>,
) -> Result<()> {
    tx.run(
        "INSERT INTO story (kind, at, sender, packet, post, detail)
         SELECT ?2, ?3, pair.sender, pair.packet, ?1, ?4 FROM message_pair AS pair
         WHERE pair.room_outbox = ?1 AND pair.packet <> ?5
             AND (?2, ?4) IS NOT (SELECT kind, detail FROM story
                 WHERE story.packet = pair.packet AND story.sender IS NOT NULL AND post = ?1
                 ORDER BY story.id DESC LIMIT 1)
         LIMIT 1",
        (post, kind, tx.time()?, detail, PacketId::NONE),
    )
}

/// Notes that the homeserver does not let a row's event be sent to its room, or anything; once for the same words.
pub fn parked(tx: &Tx<'_>, post: RoomRowId, error: &str) -> Result<()> {
    note_post(tx, post, StepKind::Parked, Some(error))
}

/// Notes a step of an event that has no row for the mesh.
pub fn of_room_event(
    tx: &Tx<'_>,
    (room, event): (&RoomId, &EventId),
    kind: StepKind,
    detail: Option<&str>,
) -> Result<()> {
    tx.run(
        "INSERT INTO story (kind, at, event, room, detail) VALUES (?1, ?2, ?3, ?4, ?5)",
        (kind, tx.time()?, event.as_str(), room.as_str(), detail),
    )
}

/// Notes that the radio delivered a packet of a channel, before it is accepted for rooms.
pub fn heard(tx: &Tx<'_>, text: &RadioText) -> Result<()> {
    receive(tx, text, first_kind(text))
}

/// Notes that the radio delivered a packet of a channel once more, if it has a story: a packet of another node, or of ours.
pub fn heard_again(tx: &Tx<'_>, text: &RadioText) -> Result<()> {
    if text.channel().is_none() {
        return Ok(());
    }
    let kind = match first_kind(text) {
        StepKind::Heard => StepKind::HeardAgain,
        other => other,
    };
    let ours = tx.first(
        "SELECT outbox FROM own_packet WHERE radio = ?1 AND packet = ?2 AND outbox IS NOT NULL",
        (text.sender.num, text.packet),
        |row| row.get(0),
    )?;
    if let Some(row) = ours {
        let already: u32 = tx.value(
            "SELECT COUNT(*) FROM story WHERE mesh = ?1 AND kind = ?2",
            (row, kind),
        )?;
        return if already < MOST_RECEPTIONS.into() {
            note(tx, row, kind, None, None)
        } else {
            Ok(())
        };
    }
    let already: u32 = tx.value(
        "SELECT COUNT(*) FROM story WHERE packet = ?1 AND sender = ?2 AND sender IS NOT NULL",
        (text.packet, text.sender.num),
    )?;
    if already == 0 || already >= u32::from(MOST_RECEPTIONS) {
        return Ok(());
    }
    receive(tx, text, kind)
}

fn first_kind(text: &RadioText) -> StepKind {
    if text.replayed {
        StepKind::Replayed
    } else {
        StepKind::Heard
    }
}

fn receive(tx: &Tx<'_>, text: &RadioText, kind: StepKind) -> Result<()> {
    if text.packet == PacketId::NONE {
        return Ok(());
    }
    tx.run(
        "INSERT INTO story (kind, at, sender, packet, snr, rssi, hops, relay, mqtt)
         VALUES (:kind, :at, :sender, :packet, :snr, :rssi, :hops, :relay, :mqtt)",
        named_params! {
            ":kind": kind,
            ":at": text.heard_at,
            ":sender": text.sender.num,
            ":packet": text.packet,
            ":snr": text.snr,
            ":rssi": text.rssi,
            ":hops": text.hops,
            ":relay": text.relayed_by,
            ":mqtt": text.via_mqtt,
        },
    )
}

/// Returns the stories of an event: that of the message of a room, or of the packet that it stands for in its room. An edit is
/// found as its message. With a room, only as far as it is of that room.
pub fn of_event(tx: &Tx<'_>, event: &EventId, room: Option<&RoomId>) -> Result<Vec<Story>> {
    let edited = tx.first(
        "SELECT edits FROM seen_event WHERE event = ?1 AND edits IS NOT NULL",
        [event.as_str()],
        |row| identifier::<OwnedEventId>(row, 0),
    )?;
    let event = edited.as_deref().unwrap_or(event);
    let is_of_room = |story: &Story| match &story.subject {
        StorySubject::Room { room: of, .. } => room.is_none() || of.as_deref() == room,
        StorySubject::Packet { .. } => true,
    };
    let mut stories = Vec::from_iter(of_message(tx, event)?.filter(is_of_room));
    let packets: Vec<(NodeNum, PacketId)> = tx.all(
        "SELECT DISTINCT sender, packet FROM message_pair WHERE event = ?1 AND origin = ?2 AND packet <> ?3
             AND room = COALESCE(?5, room) LIMIT ?4",
        (
            event.as_str(),
            Origin::Mesh,
            PacketId::NONE,
            MOST_FOUND,
            room.map(RoomId::as_str),
        ),
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    for (sender, packet) in packets {
        stories.extend(of_heard(tx, sender, packet, Some(event))?);
    }
    Ok(stories)
}

/// Returns the stories of packets with an id: of all nodes that used it, or of one.
pub fn of_packet(tx: &Tx<'_>, packet: PacketId, sender: Option<NodeNum>) -> Result<Vec<Story>> {
    let mut stories = Vec::new();
    let ours: Vec<OwnedEventId> = tx.all(
        "SELECT DISTINCT sent.event FROM own_packet JOIN mesh_outbox AS sent ON sent.id = own_packet.outbox
         WHERE own_packet.packet = ?1 AND own_packet.radio = COALESCE(?2, own_packet.radio)
             AND sent.target_kind = ?3 AND sent.event IS NOT NULL LIMIT ?4",
        (packet, sender, TO_CHANNEL, MOST_FOUND),
        |row| identifier(row, 0),
    )?;
    for event in ours {
        stories.extend(of_message(tx, &event)?);
    }
    let senders: Vec<NodeNum> = tx.column(
        "SELECT DISTINCT sender FROM story
         WHERE packet = ?1 AND sender IS NOT NULL AND sender = COALESCE(?2, sender) LIMIT ?3",
        (packet, sender, MOST_FOUND),
    )?;
    for sender in senders {
        stories.extend(of_heard(tx, sender, packet, None)?);
    }
    Ok(stories)
}

/// Returns the story of a room's message.
fn of_message(tx: &Tx<'_>, event: &EventId) -> Result<Option<Story>> {
    let name = event.as_str();
    let place = tx.first(
        "SELECT room, target, 1 AS sure FROM mesh_outbox WHERE event = ?1 AND target_kind = ?2
         UNION ALL SELECT room, NULL, 0 FROM story WHERE event = ?1
         UNION ALL SELECT room, NULL, 0 FROM message_pair WHERE event = ?1
         ORDER BY sure DESC LIMIT 1",
        (name, TO_CHANNEL),
        |row| {
            let slot: Option<u32> = row.get(1)?;
            let slot = slot.map(ChannelIndex::try_from).transpose();
            Ok((optional(row, 0)?, slot.map_err(unreadable)?))
        },
    )?;
    let steps = tx.all(
        "SELECT story.*, row.part, row.parts, row.correction, row.draft
         FROM story LEFT JOIN mesh_outbox AS row ON row.id = story.mesh
         WHERE story.mesh IN (SELECT id FROM mesh_outbox WHERE event = ?1
                 UNION SELECT mesh_outbox FROM message_pair WHERE event = ?1)
             OR story.event = ?1
         ORDER BY story.id",
        [name],
        read_of_message,
    )?;
    if steps.is_empty() {
        return Ok(None);
    }
    let standing = tx.all(
        "SELECT DISTINCT state, CASE WHEN state = ?2 THEN expires END FROM mesh_outbox
         WHERE event = ?1 AND target_kind = ?3 AND state <= ?4 ORDER BY state",
        (name, MeshState::Waiting, TO_CHANNEL, MeshState::Accepted),
        |row| {
            Ok(match row.get(0)? {
                MeshState::Waiting => Standing::Turn {
                    expires: row.get(1)?,
                },
                MeshState::Submitted => Standing::Answer,
                _ => Standing::Mesh,
            })
        },
    )?;
    let (room, channel) = place.unwrap_or_default();
    Ok(Some(Story {
        subject: StorySubject::Room {
            room,
            event: event.to_owned(),
            channel,
        },
        steps,
        standing,
    }))
}

/// Returns the story of a packet that was heard: all of it, or what concerns the room with this event.
fn of_heard(
    tx: &Tx<'_>,
    sender: NodeNum,
    packet: PacketId,
    only: Option<&EventId>,
) -> Result<Option<Story>> {
    let only = only.map(EventId::as_str);
    let mut steps: Vec<Step> = tx.all(
        "SELECT * FROM story WHERE packet = ?1 AND sender IS NOT NULL AND sender = ?2
             AND (?3 IS NULL OR post IS NULL OR post IN (SELECT post FROM story AS sent
                 WHERE sent.packet = ?1 AND sent.sender IS NOT NULL AND sent.sender = ?2 AND sent.detail = ?3))
         ORDER BY id",
        (packet, sender, only),
        read,
    )?;
    if steps.is_empty() {
        return Ok(None);
    }
    for reception in steps.iter_mut().filter_map(|it| it.reception.as_mut()) {
        if let Some(byte) = reception.relayed_by {
            reception.candidates = ending_in(tx, byte)?;
        }
    }
    let standing = tx.all(
        "SELECT waiting.room, (SELECT error FROM parked WHERE parked.room IN ('', waiting.room) ORDER BY parked.room LIMIT 1)
         FROM message_pair AS pair JOIN room_outbox AS waiting ON waiting.id = pair.room_outbox
         WHERE pair.packet = ?1 AND pair.sender = ?2 AND ?3 IS NULL ORDER BY waiting.id",
        (packet, sender, only),
        |row| {
            Ok(Standing::Homeserver {
                room: row.get(0)?,
                parked: row.get(1)?,
            })
        },
    )?;
    Ok(Some(Story {
        subject: StorySubject::Packet { sender, packet },
        steps,
        standing,
    }))
}

/// Returns the known nodes whose number ends in a byte, as packets name the relaying node: 0 is told as 255.
fn ending_in(tx: &Tx<'_>, byte: u8) -> Result<Vec<NodeNum>> {
    tx.column(
        "SELECT DISTINCT num FROM node WHERE (num & 255) = ?1 OR (?1 = 255 AND (num & 255) = 0) ORDER BY num LIMIT ?2",
        (byte, MOST_FOUND),
    )
}

fn read(row: &Row<'_>) -> rusqlite::Result<Step> {
    let kind = row.get("kind")?;
    let is_reception = matches!(
        kind,
        StepKind::Heard | StepKind::HeardAgain | StepKind::Replayed
    ) && row.get::<_, Option<u32>>("sender")?.is_some();
    let reception = is_reception.then(|| {
        let mqtt: Option<bool> = row.get("mqtt")?;
        Ok::<_, rusqlite::Error>(Reception {
            snr: row.get("snr")?,
            rssi: row.get("rssi")?,
            hops: row.get("hops")?,
            relayed_by: row.get("relay")?,
            candidates: Vec::new(),
            via_mqtt: mqtt.unwrap_or_default(),
        })
    });
    let sender: Option<u32> = row.get("sender")?;
    Ok(Step {
        kind,
        at: row.get("at")?,
        part: None,
        correction: 0,
        packet: match sender {
            Some(_) => None,
            None => row.get("packet")?,
        },
        number: row.get("number")?,
        detail: row.get("detail")?,
        reception: reception.transpose()?,
    })
}

fn read_of_message(row: &Row<'_>) -> rusqlite::Result<Step> {
    let step = read(row)?;
    let Some(part) = row.get::<_, Option<u8>>("part")? else {
        return Ok(step);
    };
    let parts: u8 = row.get("parts")?;
    let is_draft: bool = row.get("draft")?;
    let is_whole =
        is_draft || parts < 2 || matches!(step.kind, StepKind::Accepted | StepKind::Split);
    Ok(Step {
        part: (!is_whole).then_some((part.saturating_add(1), parts)),
        correction: row.get("correction")?,
        ..step
    })
}

impl Tx<'_> {
    /// Sets the time of the steps that are noted in this transaction from now on.
    pub fn at(&self, now: Timestamp) {
        self.now.set(Some(now));
    }

    /// Returns the time of a step: as set, or by the system's clock.
    fn time(&self) -> Result<Timestamp> {
        if let Some(now) = self.now.get() {
            return Ok(now);
        }
        let sql = "SELECT CAST(unixepoch('subsec') * 1000 AS INTEGER)";
        let now = self.first(sql, (), |row| row.get(0))?;
        now.ok_or_else(|| unreadable(FromSqlError::InvalidType).into())
    }
}

#[cfg(test)]
mod tests;
