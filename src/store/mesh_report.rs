//! What becomes of a packet for the mesh once it is handed to the radio.

use super::mesh_waiting::{Ended, end_waiting, ended_rows};
use super::outbox_mesh::{free_packet_id, own_packet};
use super::{MeshState, StoreError, Tx, meta};
use crate::model::{NodeNum, OutboxId, PacketId, Timestamp};

/// Notes that a row is handed to the radio now. Returns false if it does not wait any more: then it must not be.
///
/// # Errors
///
/// When the database fails.
pub fn submitted(tx: &Tx<'_>, id: OutboxId, now: Timestamp) -> Result<bool, StoreError> {
    let changed = tx.execute(
        "UPDATE mesh_outbox SET state = 1, tried = 1, attempts = attempts + 1, active_at = ?2
         WHERE id = ?1 AND state = 0",
        (id, now),
    )?;
    Ok(changed > 0)
}

/// Notes that the radio took a packet, under whichever of its ids. Returns false if that was known, or the row is over.
///
/// # Errors
///
/// When the database fails.
pub fn accepted(tx: &Tx<'_>, id: OutboxId, at: Timestamp) -> Result<bool, StoreError> {
    let changed = tx.execute(
        "UPDATE mesh_outbox SET state = 2, taken_at = ?2, active_at = ?2, error = NULL
         WHERE id = ?1 AND state <= 1",
        (id, at),
    )?;
    meta::set_last_acceptance(tx, at)?;
    Ok(changed > 0)
}

/// Notes what was heard of a packet later: [`MeshState::Unknown`], `Unheard`, `Heard` or `Delivered`. Returns false,
/// and changes nothing, where that is no improvement ([`MeshState::may_become`]).
///
/// # Errors
///
/// When the database fails.
pub fn outcome(tx: &Tx<'_>, id: OutboxId, state: MeshState) -> Result<bool, StoreError> {
    change(tx, id, state, None)
}

/// Notes that the radio will never take a packet; the id must be the row's last one, else nothing changes. The parts
/// behind it that still wait are refused with it. Returns the rows that are refused now.
///
/// # Errors
///
/// When the database fails.
pub fn refused(
    tx: &Tx<'_>,
    id: OutboxId,
    packet: PacketId,
    error: &str,
) -> Result<Vec<Ended>, StoreError> {
    if !is_current(tx, id, packet)? || !change(tx, id, MeshState::Refused, Some(error))? {
        return Ok(Vec::new());
    }
    // The radio never sent it, so nothing can answer it.
    tx.execute(
        "DELETE FROM message_pair WHERE mesh_outbox = ?1 AND packet = ?2",
        (id, packet),
    )?;
    let mut ended = ended_rows(tx, "SELECT * FROM mesh_outbox WHERE id = ?1", [id])?;
    let rest = ended_rows(
        tx,
        "SELECT * FROM mesh_outbox WHERE state = 0 AND id > ?1
             AND message = (SELECT message FROM mesh_outbox WHERE id = ?1)",
        [id],
    )?;
    for row in &rest {
        end_waiting(tx, row.id, MeshState::Refused)?;
    }
    ended.extend(rest);
    Ok(ended)
}

/// What became of a row by [`retry`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retried {
    /// It waits again, and goes next time under this id.
    Waits(PacketId),
    /// It was taken back meanwhile.
    Withdrawn,
    /// The report was late: the row is over, or goes under another id already.
    Late,
}

/// Puts a packet that the radio did not take back into the queue, not before then (at most two hours ahead). With
/// `new_id` the next try has another id, which the message map knows too.
///
/// # Errors
///
/// When the database fails.
pub fn retry(
    tx: &Tx<'_>,
    id: OutboxId,
    packet: PacketId,
    not_before: Timestamp,
    new_id: bool,
    error: &str,
) -> Result<Retried, StoreError> {
    let row = tx.first(
        "SELECT radio, withdraw FROM mesh_outbox WHERE id = ?1 AND packet = ?2 AND state <= 1",
        (id, packet),
        |row| Ok((row.get::<_, NodeNum>(0)?, row.get::<_, bool>(1)?)),
    )?;
    let Some((radio, withdraw)) = row else {
        return Ok(Retried::Late);
    };
    if withdraw {
        change(tx, id, MeshState::Withdrawn, None)?;
        return Ok(Retried::Withdrawn);
    }
    tx.execute(
        "UPDATE mesh_outbox SET state = 0, not_before = ?2, error = ?3 WHERE id = ?1",
        (id, not_before, error),
    )?;
    if !new_id {
        return Ok(Retried::Waits(packet));
    }
    let next = free_packet_id(tx, radio)?;
    tx.execute(
        "UPDATE mesh_outbox SET packet = ?2, tried = 0 WHERE id = ?1",
        (id, next),
    )?;
    own_packet(tx, radio, next, id, not_before)?;
    tx.execute(
        "INSERT INTO message_pair (origin, radio, sender, packet, target_kind, target, room, event,
             thread, author, text, alert, part, at, room_outbox, mesh_outbox)
         SELECT origin, radio, sender, ?3, target_kind, target, room, event,
             thread, author, text, alert, part, at, room_outbox, mesh_outbox
         FROM message_pair WHERE mesh_outbox = ?1 AND packet = ?2",
        (id, packet, next),
    )?;
    Ok(Retried::Waits(next))
}

/// Returns the rows that the radio took before then and of which nothing was heard since.
///
/// # Errors
///
/// When the database fails.
pub fn unanswered(tx: &Tx<'_>, before: Timestamp) -> Result<Vec<OutboxId>, StoreError> {
    tx.all(
        "SELECT id FROM mesh_outbox WHERE state = 2 AND taken_at <= ?1 ORDER BY taken_at",
        [before],
        |row| row.get(0),
    )
}

/// Returns what became of a row so far.
///
/// # Errors
///
/// When the database fails.
pub fn state(tx: &Tx<'_>, id: OutboxId) -> Result<Option<MeshState>, StoreError> {
    tx.first("SELECT state FROM mesh_outbox WHERE id = ?1", [id], |row| {
        row.get(0)
    })
}

/// Puts everything that the radio was asked to take, when the relay stopped, back into the queue under the same id: a
/// radio drops a copy of what it had taken. For the start, and for a link that was lost. Returns how many rows.
///
/// # Errors
///
/// When the database fails.
pub fn recover(tx: &Tx<'_>) -> Result<usize, StoreError> {
    tx.execute(
        "UPDATE mesh_outbox SET state = CASE withdraw WHEN 1 THEN 9 ELSE 0 END WHERE state = 1",
        (),
    )
}

fn is_current(tx: &Tx<'_>, id: OutboxId, packet: PacketId) -> Result<bool, StoreError> {
    tx.exists(
        "SELECT 1 FROM mesh_outbox WHERE id = ?1 AND packet = ?2",
        (id, packet),
    )
}

fn change(
    tx: &Tx<'_>,
    id: OutboxId,
    next: MeshState,
    error: Option<&str>,
) -> Result<bool, StoreError> {
    let allowed = state(tx, id)?.is_some_and(|state| state.may_become(next));
    if allowed {
        tx.execute(
            "UPDATE mesh_outbox SET state = ?2, error = COALESCE(?3, error) WHERE id = ?1",
            (id, next, error),
        )?;
    }
    Ok(allowed)
}
