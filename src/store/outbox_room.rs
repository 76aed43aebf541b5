//! What waits for a room: FIFO per room, rooms independent of each other.
//!
//! A row gets its transaction id when it is accepted and keeps it for every try, so that a server drops a copy. A row
//! that the server has, or that it will never take, is deleted; the message map keeps what is worth knowing.

use rusqlite::{Row, params};

use super::columns::{identifier, is_due, unreadable, user};
use super::message_map::{self, Link};
use super::{StoreError, Tx, parked, room_content};
use crate::model::{
    EventId, MessagePair, NodeNum, OutboxId, OwnedRoomOrAliasId, OwnedTransactionId, OwnedUserId,
    PacketId, RoomContent, RoomMessage, RoomOrAliasId, Timestamp, UserId,
};

/// An event for a room that is to be accepted.
#[derive(Debug, Clone, Copy)]
pub struct NewRoomRow<'a> {
    /// The room and what it gets.
    pub message: &'a RoomMessage,
    /// The Matrix user to send as; `None` is the bot.
    pub send_as: Option<&'a UserId>,
    /// The radio that heard the packet, and the pair that the event will complete; its `event` is `None`.
    pub pair: Option<(NodeNum, &'a MessagePair)>,
    /// The target of the content is the event of this packet in this room; it waits in this outbox still.
    pub target_packet: Option<(NodeNum, PacketId)>,
}

/// A row that is to be sent.
#[derive(Debug, Clone, PartialEq)]
pub struct RoomRow {
    /// Its id.
    pub id: OutboxId,
    /// The transaction id of all its tries.
    pub transaction: OwnedTransactionId,
    /// The Matrix user to send as; `None` is the bot.
    pub send_as: Option<OwnedUserId>,
    /// The room and what it gets; its target is filled in.
    pub message: RoomMessage,
    /// How many tries have failed.
    pub attempts: u32,
    /// When it was accepted.
    pub accepted_at: Timestamp,
}

/// Rows of a room that may be sent now.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RoomRows {
    /// The rows, in their order.
    pub rows: Vec<RoomRow>,
    /// Rows that were ended just now because they can never be sent, with the reason: a reaction whose target never
    /// got to the room, or a row that this relay cannot read.
    pub refused: Vec<(OutboxId, String)>,
}

/// How much waits for a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoomWaiting {
    /// The room.
    pub room: OwnedRoomOrAliasId,
    /// How many rows.
    pub count: u64,
    /// When the oldest of them was accepted.
    pub oldest: Timestamp,
}

/// Accepts an event for a room, under a new random transaction id.
///
/// # Errors
///
/// When the database fails.
pub fn insert(tx: &Tx<'_>, new: &NewRoomRow<'_>, now: Timestamp) -> Result<OutboxId, StoreError> {
    let content = room_content::to_json(&new.message.content).map_err(unreadable)?;
    let (target_sender, target_packet) = new.target_packet.unzip();
    let id = tx.insert(
        "INSERT INTO room_outbox (room, send_as, txn, content, target_sender, target_packet, accepted_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        params![
            new.message.room.as_str(),
            new.send_as.map(UserId::as_str),
            format!("relay-{:032x}", rand::random::<u128>()),
            content,
            target_sender,
            target_packet,
            now,
        ],
    )?;
    let id = OutboxId(id);
    if let Some((radio, pair)) = new.pair {
        message_map::insert(tx, radio, pair, Link::Room(id))?;
    }
    Ok(id)
}

/// Returns the rows of a room that may be sent now, oldest first, beginning behind `after` (rows that the caller has in
/// hand already). Nothing of a parked room; nothing behind a row whose time has not come, or whose target is a row
/// that waits before it.
///
/// # Errors
///
/// When the database fails.
pub fn next(
    tx: &Tx<'_>,
    room: &RoomOrAliasId,
    after: Option<OutboxId>,
    limit: u32,
    now: Timestamp,
) -> Result<RoomRows, StoreError> {
    let mut found = RoomRows::default();
    if parked::is_parked(tx, room)? {
        return Ok(found);
    }
    let loaded = tx.all(
        "SELECT * FROM room_outbox WHERE room = ?1 AND id > ?2 ORDER BY id LIMIT ?3",
        (room.as_str(), after.unwrap_or(OutboxId(0)), limit),
        read,
    )?;
    for row in loaded {
        if !is_due(row.not_before, now) {
            break;
        }
        match resolve(tx, row)? {
            Resolved::Ready(row) => found.rows.push(row),
            Resolved::TargetWaits => break,
            Resolved::Never(id, error) => {
                refuse(tx, id)?;
                found.refused.push((id, error));
            }
        }
    }
    Ok(found)
}

/// Returns when the oldest row of a room may be tried; a time in the past means now, `None` that nothing waits or the
/// room is parked.
///
/// # Errors
///
/// When the database fails.
pub fn next_due(
    tx: &Tx<'_>,
    room: &RoomOrAliasId,
    now: Timestamp,
) -> Result<Option<Timestamp>, StoreError> {
    if parked::is_parked(tx, room)? {
        return Ok(None);
    }
    let not_before: Option<Timestamp> = tx.first(
        "SELECT not_before FROM room_outbox WHERE room = ?1 ORDER BY id LIMIT 1",
        [room.as_str()],
        |row| row.get(0),
    )?;
    Ok(not_before.map(|time| if is_due(time, now) { now } else { time }))
}

/// Ends a row that the server has: completes its pair and deletes it. Without an event (the server had an equal
/// reaction already) the pair is forgotten. Returns false if the row was ended before.
///
/// # Errors
///
/// When the database fails.
pub fn sent(tx: &Tx<'_>, id: OutboxId, event: Option<&EventId>) -> Result<bool, StoreError> {
    match event {
        Some(event) => message_map::set_event(tx, id, event)?,
        None => message_map::forget_room_row(tx, id)?,
    }
    delete(tx, id)
}

/// Notes a failed try; the row, and what waits behind it, is not given out before `not_before`.
///
/// # Errors
///
/// When the database fails.
pub fn retry(
    tx: &Tx<'_>,
    id: OutboxId,
    not_before: Timestamp,
    error: &str,
) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE room_outbox SET attempts = attempts + 1, not_before = ?2, error = ?3 WHERE id = ?1",
        (id, not_before, error),
    )?;
    Ok(())
}

/// Ends a row that will never be sent, and forgets its pair. Returns false if the row was ended before.
///
/// # Errors
///
/// When the database fails.
pub fn refuse(tx: &Tx<'_>, id: OutboxId) -> Result<bool, StoreError> {
    message_map::forget_room_row(tx, id)?;
    delete(tx, id)
}

/// Returns the row and the room of a transaction id: an event of ours that came back in sync ends its row.
///
/// # Errors
///
/// When the database fails.
pub fn by_transaction(
    tx: &Tx<'_>,
    transaction: &str,
) -> Result<Option<(OutboxId, OwnedRoomOrAliasId)>, StoreError> {
    tx.first(
        "SELECT id, room FROM room_outbox WHERE txn = ?1",
        [transaction],
        |row| Ok((row.get(0)?, identifier(row, 1)?)),
    )
}

/// Returns the room of a row that is not ended.
///
/// # Errors
///
/// When the database fails.
pub fn room_of(tx: &Tx<'_>, id: OutboxId) -> Result<Option<OwnedRoomOrAliasId>, StoreError> {
    tx.first("SELECT room FROM room_outbox WHERE id = ?1", [id], |row| {
        identifier(row, 0)
    })
}

/// Returns how much waits for each room that something waits for.
///
/// # Errors
///
/// When the database fails.
pub fn waiting(tx: &Tx<'_>) -> Result<Vec<RoomWaiting>, StoreError> {
    tx.all(
        "SELECT room, COUNT(*), MIN(accepted_at) FROM room_outbox GROUP BY room",
        (),
        |row| {
            let count: i64 = row.get(1)?;
            Ok(RoomWaiting {
                room: identifier(row, 0)?,
                count: u64::try_from(count).unwrap_or(0),
                oldest: row.get(2)?,
            })
        },
    )
}

/// Moves everything that waits for an alias, and the message map, to the room that a server named for it. Their
/// order with what waits for the room already is the order in which they were accepted.
///
/// # Errors
///
/// When the database fails.
pub fn rename_room(
    tx: &Tx<'_>,
    alias: &RoomOrAliasId,
    room: &RoomOrAliasId,
) -> Result<(), StoreError> {
    let names = (alias.as_str(), room.as_str());
    tx.execute("UPDATE room_outbox SET room = ?2 WHERE room = ?1", names)?;
    tx.execute("UPDATE message_pair SET room = ?2 WHERE room = ?1", names)?;
    tx.execute("DELETE FROM parked WHERE room = ?1", [alias.as_str()])?;
    Ok(())
}

fn delete(tx: &Tx<'_>, id: OutboxId) -> Result<bool, StoreError> {
    Ok(tx.execute("DELETE FROM room_outbox WHERE id = ?1", [id])? > 0)
}

/// A row as it stands in the table; its content is read later, so that one that cannot be read ends alone.
struct Stored {
    id: OutboxId,
    room: OwnedRoomOrAliasId,
    send_as: Option<OwnedUserId>,
    transaction: OwnedTransactionId,
    content: String,
    target: Option<(NodeNum, PacketId)>,
    attempts: u32,
    not_before: Timestamp,
    accepted_at: Timestamp,
}

fn read(row: &Row<'_>) -> rusqlite::Result<Stored> {
    let target_sender: Option<NodeNum> = row.get("target_sender")?;
    let target_packet: Option<PacketId> = row.get("target_packet")?;
    Ok(Stored {
        id: row.get("id")?,
        room: identifier(row, "room")?,
        send_as: user(row, "send_as")?,
        transaction: row.get::<_, String>("txn")?.into(),
        content: row.get("content")?,
        target: target_sender.zip(target_packet),
        attempts: row.get("attempts")?,
        not_before: row.get("not_before")?,
        accepted_at: row.get("accepted_at")?,
    })
}

enum Resolved {
    Ready(RoomRow),
    TargetWaits,
    Never(OutboxId, String),
}

/// Reads the content and fills in its target.
fn resolve(tx: &Tx<'_>, row: Stored) -> Result<Resolved, StoreError> {
    let mut content = match room_content::from_json(&row.content) {
        Ok(content) => content,
        Err(error) => return Ok(Resolved::Never(row.id, error.to_string())),
    };
    if let Some((sender, packet)) = row.target {
        let event = message_map::event_of(tx, &row.room, sender, packet)?;
        if event.is_none() && message_map::is_waiting(tx, &row.room, sender, packet, row.id)? {
            return Ok(Resolved::TargetWaits);
        }
        match (&mut content, event) {
            (RoomContent::Text { reply_to, .. }, event) => *reply_to = event,
            (
                RoomContent::Reaction { target, .. } | RoomContent::Redaction { target },
                Some(event),
            ) => *target = event,
            (RoomContent::Reaction { .. } | RoomContent::Redaction { .. }, None) => {
                return Ok(Resolved::Never(
                    row.id,
                    format!("packet {packet} of {sender}, its target, never got to the room"),
                ));
            }
        }
    }
    Ok(Resolved::Ready(RoomRow {
        id: row.id,
        transaction: row.transaction,
        send_as: row.send_as,
        message: RoomMessage {
            room: row.room,
            content,
        },
        attempts: row.attempts,
        accepted_at: row.accepted_at,
    }))
}
