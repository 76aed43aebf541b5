//! The message map: which packet and which event stand for the same message. Replies, reactions, edits and
//! redactions find their target here, also after a restart.
//!
//! A pair is made when a message is accepted, together with its outbox row (`outbox_room::insert`,
//! `outbox_mesh::insert`), and completed when the row is sent.

use rusqlite::Row;

use super::columns::{destination, event as event_column, identifier, target, user};
use super::{StoreError, Tx};
use crate::model::{Destination, EventId, MessagePair, NodeNum, OutboxId, PacketId, RoomOrAliasId};

/// A hostile mesh could use one id for many packets; more than these are of no use to a decision.
const MOST_PAIRS: u8 = 64;

/// Returns the pairs of an event, newest first. A split message has one for each part.
///
/// # Errors
///
/// When the database fails.
pub fn by_event(tx: &Tx<'_>, event: &EventId) -> Result<Vec<MessagePair>, StoreError> {
    tx.all(
        "SELECT * FROM message_pair WHERE event = ?1 ORDER BY id DESC LIMIT ?2",
        (event.as_str(), MOST_PAIRS),
        read,
    )
}

/// Returns the pairs of a packet that was sent there by anyone: those of this radio first, then newest first. A
/// message that went to several rooms has one for each.
///
/// # Errors
///
/// When the database fails.
pub fn by_packet(
    tx: &Tx<'_>,
    radio: NodeNum,
    sent_to: Destination,
    packet: PacketId,
) -> Result<Vec<MessagePair>, StoreError> {
    let (kind, target) = target(sent_to);
    tx.all(
        "SELECT * FROM message_pair WHERE packet = ?1 AND target_kind = ?2 AND target = ?3
         ORDER BY radio = ?4 DESC, id DESC LIMIT ?5",
        (packet, kind, target, radio, MOST_PAIRS),
        read,
    )
}

/// Returns whether we chose this id for a packet of ours, even if it was never transmitted.
///
/// # Errors
///
/// When the database fails.
pub fn is_own_packet(tx: &Tx<'_>, radio: NodeNum, packet: PacketId) -> Result<bool, StoreError> {
    tx.exists(
        "SELECT 1 FROM own_packet WHERE radio = ?1 AND packet = ?2",
        (radio, packet),
    )
}

/// Returns the event that stands for a packet in a room, once the server has it.
///
/// # Errors
///
/// When the database fails.
pub(super) fn event_of(
    tx: &Tx<'_>,
    room: &RoomOrAliasId,
    sender: NodeNum,
    packet: PacketId,
) -> Result<Option<crate::model::OwnedEventId>, StoreError> {
    let found = tx.first(
        "SELECT event FROM message_pair
         WHERE packet = ?1 AND sender = ?2 AND room = ?3 AND event IS NOT NULL
         ORDER BY id DESC LIMIT 1",
        (packet, sender, room.as_str()),
        |row| event_column(row, 0),
    )?;
    Ok(found.flatten())
}

/// Returns whether the event that will stand for a packet in a room still waits in the outbox, in a row before
/// `before`.
pub(super) fn is_waiting(
    tx: &Tx<'_>,
    room: &RoomOrAliasId,
    sender: NodeNum,
    packet: PacketId,
    before: OutboxId,
) -> Result<bool, StoreError> {
    tx.exists(
        "SELECT 1 FROM message_pair
         WHERE packet = ?1 AND sender = ?2 AND room = ?3 AND room_outbox < ?4",
        (packet, sender, room.as_str(), before),
    )
}

/// Which row of an outbox a pair waits for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Link {
    Room(OutboxId),
    Mesh(OutboxId),
}

pub(super) fn insert(
    tx: &Tx<'_>,
    radio: NodeNum,
    pair: &MessagePair,
    link: Link,
) -> Result<(), StoreError> {
    let (kind, target) = target(pair.destination);
    let (room_outbox, mesh_outbox) = match link {
        Link::Room(id) => (Some(id), None),
        Link::Mesh(id) => (None, Some(id)),
    };
    tx.insert(
        "INSERT INTO message_pair (origin, radio, sender, packet, target_kind, target, room, event,
             thread, author, text, alert, part, at, room_outbox, mesh_outbox)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)",
        rusqlite::params![
            pair.origin,
            radio,
            pair.sender,
            pair.packet,
            kind,
            target,
            pair.room.as_str(),
            pair.event.as_ref().map(|event| event.as_str()),
            pair.thread.as_ref().map(|thread| thread.as_str()),
            pair.author.as_ref().map(|author| author.as_str()),
            pair.text,
            pair.alert,
            pair.part,
            pair.at,
            room_outbox,
            mesh_outbox,
        ],
    )?;
    Ok(())
}

/// Completes the pair of a row of the room outbox.
pub(super) fn set_event(tx: &Tx<'_>, outbox: OutboxId, event: &EventId) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE message_pair SET event = ?2, room_outbox = NULL WHERE room_outbox = ?1",
        (outbox, event.as_str()),
    )?;
    Ok(())
}

/// Forgets the pair of a row of the room outbox that will never be sent.
pub(super) fn forget_room_row(tx: &Tx<'_>, outbox: OutboxId) -> Result<(), StoreError> {
    tx.execute("DELETE FROM message_pair WHERE room_outbox = ?1", [outbox])?;
    Ok(())
}

fn read(row: &Row<'_>) -> rusqlite::Result<MessagePair> {
    Ok(MessagePair {
        origin: row.get("origin")?,
        sender: row.get("sender")?,
        packet: row.get("packet")?,
        destination: destination(row)?,
        room: identifier(row, "room")?,
        event: event_column(row, "event")?,
        thread: event_column(row, "thread")?,
        author: user(row, "author")?,
        text: row.get("text")?,
        alert: row.get("alert")?,
        part: row.get("part")?,
        at: row.get("at")?,
    })
}
