//! What goes to the mesh: accepting messages, and which packet is next. What becomes of a packet after it was handed
//! out is in `mesh_report.rs`, what happens to it before in `mesh_waiting.rs`.
//!
//! A row is one packet. It gets its id when it is accepted and keeps it until the radio's answer calls for another.
//! Order is kept for each destination and lane: a packet that was tried and failed holds the later ones up, one that
//! merely is not due yet does not. A part waits until the one before it was taken by the radio.

use rusqlite::{Row, params};

use super::columns::{LONGEST_WAIT, destination, event, identifier, is_due, target, user};
use super::message_map::{self, Link};
use super::{StoreError, Tx};
use crate::model::{
    Destination, Lane, MessagePair, NodeNum, Origin, OutboxId, OwnedEventId, OwnedRoomId,
    OwnedUserId, PacketId, RadioMessage, RadioPayload, Timestamp,
};

/// A message for the mesh that is to be accepted.
#[derive(Debug, Clone, Copy)]
pub struct NewMeshMessage<'a> {
    /// Our own node, [`UNKNOWN_RADIO`] as long as no radio has told it.
    pub radio: NodeNum,
    /// To whom.
    pub destination: Destination,
    /// How urgent.
    pub lane: Lane,
    /// What each packet carries, in order.
    pub parts: &'a [RadioPayload],
    /// The Matrix message behind it; `None` for an answer of our own.
    pub source: Option<&'a Source>,
    /// Not before.
    pub not_before: Option<Timestamp>,
    /// Worthless after that.
    pub expires: Timestamp,
}

/// Stands for our own node until a radio has told its number; see `mesh_waiting::adopt_radio`.
pub const UNKNOWN_RADIO: NodeNum = NodeNum(0);

/// The Matrix message behind packets for the mesh.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Its room.
    pub room: OwnedRoomId,
    /// The event.
    pub event: OwnedEventId,
    /// Its thread.
    pub thread: Option<OwnedEventId>,
    /// Who wrote it.
    pub sender: OwnedUserId,
    /// When, by the server's clock.
    pub sent_at: Timestamp,
    /// Its text, without prefix.
    pub text: String,
    /// It begins with 🚨.
    pub alert: bool,
}

/// A packet that is to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MeshRow {
    /// Its row.
    pub id: OutboxId,
    /// The id under which it goes now.
    pub packet: PacketId,
    /// What goes where. A reference to a packet of ours that was sent under another id names that id.
    pub message: RadioMessage,
    /// Which part of how many, from 0.
    pub part: (u8, u8),
    /// Not before.
    pub not_before: Timestamp,
    /// Worthless after that.
    pub expires: Timestamp,
    /// How often it was handed to the radio.
    pub attempts: u32,
    /// The Matrix message behind it: its room, event and sender.
    pub source: Option<(OwnedRoomId, OwnedEventId, OwnedUserId)>,
    /// When it was written, by the server's clock.
    pub sent_at: Option<Timestamp>,
    /// When the relay accepted it.
    pub accepted_at: Timestamp,
}

/// Accepts a message for the mesh: one row for each part, each under a new random packet id, and the pairs of its
/// texts. A tapback has no pair: nothing can answer it.
///
/// # Errors
///
/// When the database fails.
pub fn insert(
    tx: &Tx<'_>,
    new: &NewMeshMessage<'_>,
    now: Timestamp,
) -> Result<Vec<(OutboxId, PacketId)>, StoreError> {
    let mut rows = Vec::with_capacity(new.parts.len());
    let mut first = None;
    for (part, payload) in (0_u8..).zip(new.parts) {
        let packet = free_packet_id(tx, new.radio)?;
        let id = insert_part(tx, new, payload, first, part, packet, now)?;
        let message = *first.get_or_insert(id);
        if message == id {
            tx.execute("UPDATE mesh_outbox SET message = id WHERE id = ?1", [id])?;
        }
        own_packet(tx, new.radio, packet, id, now)?;
        if let (Some(source), RadioPayload::Text { .. }) = (new.source, payload) {
            let pair = MessagePair {
                origin: Origin::Matrix,
                sender: new.radio,
                packet,
                destination: new.destination,
                room: source.room.clone().into(),
                event: Some(source.event.clone()),
                thread: source.thread.clone(),
                author: Some(source.sender.clone()),
                text: source.text.clone(),
                alert: source.alert,
                part,
                at: now,
            };
            message_map::insert(tx, new.radio, &pair, Link::Mesh(id))?;
        }
        rows.push((id, packet));
    }
    Ok(rows)
}

fn insert_part(
    tx: &Tx<'_>,
    new: &NewMeshMessage<'_>,
    payload: &RadioPayload,
    first: Option<OutboxId>,
    part: u8,
    packet: PacketId,
    now: Timestamp,
) -> Result<OutboxId, StoreError> {
    let (target_kind, target) = target(new.destination);
    let (tapback, text, reference) = payload_columns(payload);
    let source = new.source;
    let id = tx.insert(
        "INSERT INTO mesh_outbox (message, part, parts, radio, target_kind, target, lane, tapback,
             text, reference, packet, not_before, expires, room, event, sender, sent_at,
             accepted_at, active_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?18)",
        params![
            first.unwrap_or(OutboxId(0)),
            part,
            u8::try_from(new.parts.len()).unwrap_or(u8::MAX),
            new.radio,
            target_kind,
            target,
            new.lane,
            tapback,
            text,
            reference,
            packet,
            new.not_before.unwrap_or(now),
            new.expires,
            source.map(|source| source.room.as_str()),
            source.map(|source| source.event.as_str()),
            source.map(|source| source.sender.as_str()),
            source.map(|source| source.sent_at),
            now,
        ],
    )?;
    Ok(OutboxId(id))
}

/// Returns the columns (`tapback`, `text`, `reference`).
pub(super) fn payload_columns(payload: &RadioPayload) -> (bool, &str, Option<PacketId>) {
    match payload {
        RadioPayload::Text { text, reply_to } => (false, text, *reply_to),
        RadioPayload::Tapback { emoji, target } => (true, emoji, Some(*target)),
    }
}

/// Returns a random packet id that this radio has not used as long as we remember.
pub(super) fn free_packet_id(tx: &Tx<'_>, radio: NodeNum) -> Result<PacketId, StoreError> {
    loop {
        let packet = PacketId(rand::random());
        if packet != PacketId::NONE && !message_map::is_own_packet(tx, radio, packet)? {
            return Ok(packet);
        }
    }
}

/// Remembers an id as one of ours.
pub(super) fn own_packet(
    tx: &Tx<'_>,
    radio: NodeNum,
    packet: PacketId,
    id: OutboxId,
    now: Timestamp,
) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO own_packet (radio, packet, outbox, at) VALUES (?1, ?2, ?3, ?4)",
        (radio, packet, id, now),
    )?;
    Ok(())
}

/// Returns the packet that is to be handed to the radio next for a destination and lane, if its time has come. It
/// changes nothing: `mesh_report::submitted` does.
///
/// # Errors
///
/// When the database fails.
pub fn next(
    tx: &Tx<'_>,
    to: Destination,
    lane: Lane,
    now: Timestamp,
) -> Result<Option<MeshRow>, StoreError> {
    let (kind, target) = target(to);
    let row = tx.first(
        "SELECT *, COALESCE(
             (SELECT sent.packet FROM own_packet JOIN mesh_outbox AS sent ON sent.id = own_packet.outbox
              WHERE own_packet.radio = row.radio AND own_packet.packet = row.reference),
             reference) AS current_reference
         FROM mesh_outbox AS row
         WHERE state = 0 AND target_kind = ?1 AND target = ?2 AND lane = ?3 AND expires > ?4
             AND (attempts > 0 OR not_before <= ?4 OR not_before > ?5)
             AND NOT EXISTS (SELECT 1 FROM mesh_outbox AS earlier
                 WHERE earlier.id >= row.message AND earlier.id < row.id AND earlier.state <= 1)
         ORDER BY id LIMIT 1",
        (kind, target, lane, now, now + LONGEST_WAIT),
        read,
    )?;
    Ok(row.filter(|row| is_due(row.not_before, now)))
}

/// Returns when [`next`] can have something for a destination and lane; a time in the past means now, `None` that
/// nothing waits, or only what needs a report first.
///
/// # Errors
///
/// When the database fails.
pub fn next_due(
    tx: &Tx<'_>,
    to: Destination,
    lane: Lane,
    now: Timestamp,
) -> Result<Option<Timestamp>, StoreError> {
    let (kind, target) = target(to);
    // Nothing overtakes the oldest row that was tried.
    let due: Option<Timestamp> = tx
        .first(
            "SELECT MIN(CASE WHEN not_before > ?5 THEN ?4 ELSE not_before END)
             FROM mesh_outbox AS row
             WHERE state = 0 AND target_kind = ?1 AND target = ?2 AND lane = ?3 AND expires > ?4
                 AND NOT EXISTS (SELECT 1 FROM mesh_outbox AS earlier
                     WHERE earlier.id >= row.message AND earlier.id < row.id AND earlier.state <= 1)
                 AND id <= COALESCE(
                     (SELECT MIN(id) FROM mesh_outbox
                      WHERE state = 0 AND target_kind = ?1 AND target = ?2 AND lane = ?3
                          AND expires > ?4 AND attempts > 0),
                     id)",
            (kind, target, lane, now, now + LONGEST_WAIT),
            |row| row.get(0),
        )?
        .flatten();
    Ok(due)
}

/// Returns the destinations and lanes for which something waits: each needs a worker.
///
/// # Errors
///
/// When the database fails.
pub fn queues(tx: &Tx<'_>) -> Result<Vec<(Destination, Lane)>, StoreError> {
    tx.all(
        "SELECT DISTINCT target_kind, target, lane FROM mesh_outbox WHERE state = 0",
        (),
        |row| Ok((destination(row)?, row.get("lane")?)),
    )
}

fn read(row: &Row<'_>) -> rusqlite::Result<MeshRow> {
    let reference: Option<PacketId> = row.get("current_reference")?;
    let text: String = row.get("text")?;
    let payload = match reference {
        Some(target) if row.get("tapback")? => RadioPayload::Tapback {
            emoji: text,
            target,
        },
        reply_to => RadioPayload::Text { text, reply_to },
    };
    let room: Option<String> = row.get("room")?;
    let source = match (room, event(row, "event")?, user(row, "sender")?) {
        (Some(_), Some(event), Some(sender)) => Some((identifier(row, "room")?, event, sender)),
        _ => None,
    };
    Ok(MeshRow {
        id: row.get("id")?,
        packet: row.get("packet")?,
        message: RadioMessage {
            destination: destination(row)?,
            lane: row.get("lane")?,
            payload,
        },
        part: (row.get("part")?, row.get("parts")?),
        not_before: row.get("not_before")?,
        expires: row.get("expires")?,
        attempts: row.get("attempts")?,
        source,
        sent_at: row.get("sent_at")?,
        accepted_at: row.get("accepted_at")?,
    })
}
