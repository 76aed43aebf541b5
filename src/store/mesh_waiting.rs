//! What happens to packets for the mesh while they wait: taken back, changed, expired, given to another radio.

use super::columns::{identifier, unreadable};
use super::outbox_mesh::payload_columns;
use super::{MeshState, StoreError, Tx};
use crate::model::{
    EventId, NodeNum, OutboxId, OwnedEventId, OwnedRoomId, OwnedUserId, RadioPayload, RoomId,
    Timestamp, UserId,
};

/// A row whose message is over, for the sign or the notice that its sender gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// The row.
    pub id: OutboxId,
    /// Which part, from 0.
    pub part: u8,
    /// The Matrix message behind it: its room, event and sender.
    pub source: Option<(OwnedRoomId, OwnedEventId, OwnedUserId)>,
    /// When it was written, by the server's clock.
    pub sent_at: Option<Timestamp>,
}

/// Takes back what still waits of an event: the message with its parts, or a tapback. What the radio was asked to take
/// just now is not tried again if it fails. Returns the rows taken back.
///
/// # Errors
///
/// When the database fails.
pub fn withdraw(tx: &Tx<'_>, event: &EventId) -> Result<Vec<Ended>, StoreError> {
    tx.execute(
        "UPDATE mesh_outbox SET withdraw = 1 WHERE event = ?1 AND state = 1",
        [event.as_str()],
    )?;
    let rows = ended_rows(
        tx,
        "SELECT * FROM mesh_outbox WHERE event = ?1 AND state = 0",
        [event.as_str()],
    )?;
    for row in &rows {
        end_waiting(tx, row.id, MeshState::Withdrawn)?;
    }
    Ok(rows)
}

/// Takes back what still waits of a person in a room, as [`withdraw`] does for one event.
///
/// # Errors
///
/// When the database fails.
pub fn withdraw_sender(
    tx: &Tx<'_>,
    room: &RoomId,
    sender: &UserId,
) -> Result<Vec<Ended>, StoreError> {
    let names = (room.as_str(), sender.as_str());
    tx.execute(
        "UPDATE mesh_outbox SET withdraw = 1
         WHERE state <= 1 AND room = ?1 AND sender = ?2 AND state = 1",
        names,
    )?;
    let rows = ended_rows(
        tx,
        "SELECT * FROM mesh_outbox WHERE state <= 1 AND room = ?1 AND sender = ?2 AND state = 0",
        names,
    )?;
    for row in &rows {
        end_waiting(tx, row.id, MeshState::Withdrawn)?;
    }
    Ok(rows)
}

/// Changes what a row carries, and its text in the message map (the text without prefix). Returns false, and changes
/// nothing, if the radio may know the packet already.
///
/// # Errors
///
/// When the database fails.
pub fn rewrite(
    tx: &Tx<'_>,
    id: OutboxId,
    payload: &RadioPayload,
    text: Option<&str>,
) -> Result<bool, StoreError> {
    let (tapback, sent_text, reference) = payload_columns(payload);
    let changed = tx.execute(
        "UPDATE mesh_outbox SET tapback = ?2, text = ?3, reference = ?4
         WHERE id = ?1 AND state = 0 AND tried = 0",
        (id, tapback, sent_text, reference),
    )?;
    if let (1.., Some(text)) = (changed, text) {
        tx.execute(
            "UPDATE message_pair SET text = ?2 WHERE mesh_outbox = ?1",
            (id, text),
        )?;
    }
    Ok(changed > 0)
}

/// Ends what waits and is worthless now. Returns it, oldest first.
///
/// # Errors
///
/// When the database fails.
pub fn expire(tx: &Tx<'_>, now: Timestamp) -> Result<Vec<Ended>, StoreError> {
    let rows = ended_rows(
        tx,
        "SELECT * FROM mesh_outbox WHERE state = 0 AND expires <= ?1 ORDER BY id",
        [now],
    )?;
    for row in &rows {
        end_waiting(tx, row.id, MeshState::Expired)?;
    }
    Ok(rows)
}

/// Returns when the next waiting row expires.
///
/// # Errors
///
/// When the database fails.
pub fn next_expiry(tx: &Tx<'_>) -> Result<Option<Timestamp>, StoreError> {
    let expiry = tx.first(
        "SELECT MIN(expires) FROM mesh_outbox WHERE state = 0",
        (),
        |row| row.get(0),
    )?;
    Ok(expiry.flatten())
}

/// Gives everything that waits for a radio to the one that is attached now: messages are accepted before a radio has
/// told its number, and a radio can be replaced. What the old one has sent stays in its name.
///
/// # Errors
///
/// When the database fails.
pub fn adopt_radio(tx: &Tx<'_>, own: NodeNum) -> Result<(), StoreError> {
    let rows: Vec<OutboxId> = tx.all(
        "SELECT id FROM mesh_outbox WHERE state = 0 AND radio <> ?1",
        [own],
        |row| row.get(0),
    )?;
    for id in rows {
        tx.execute(
            "UPDATE OR REPLACE own_packet SET radio = ?2 WHERE outbox = ?1",
            (id, own),
        )?;
        tx.execute(
            "UPDATE message_pair SET radio = ?2, sender = ?2 WHERE mesh_outbox = ?1",
            (id, own),
        )?;
        tx.execute("UPDATE mesh_outbox SET radio = ?2 WHERE id = ?1", (id, own))?;
    }
    Ok(())
}

/// Ends a row that waits. What was never tried leaves the message map: nobody on the mesh can have it.
pub(super) fn end_waiting(tx: &Tx<'_>, id: OutboxId, state: MeshState) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE mesh_outbox SET state = ?2 WHERE id = ?1",
        (id, state),
    )?;
    tx.execute(
        "DELETE FROM message_pair WHERE mesh_outbox = ?1
             AND (SELECT attempts FROM mesh_outbox WHERE id = ?1) = 0",
        [id],
    )?;
    Ok(())
}

/// Reads whole rows of the table.
pub(super) fn ended_rows(
    tx: &Tx<'_>,
    sql: &'static str,
    parameters: impl rusqlite::Params,
) -> Result<Vec<Ended>, StoreError> {
    tx.all(sql, parameters, |row| {
        let room: Option<String> = row.get("room")?;
        let source = match room {
            Some(room) => Some((
                OwnedRoomId::try_from(room).map_err(unreadable)?,
                identifier(row, "event")?,
                identifier(row, "sender")?,
            )),
            None => None,
        };
        Ok(Ended {
            id: row.get("id")?,
            part: row.get("part")?,
            source,
            sent_at: row.get("sent_at")?,
        })
    })
}
