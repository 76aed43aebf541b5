//! What the rows for the mesh, waiting and sent, tell a decision and `status`.

use std::time::Duration;

use super::columns::{destination, target};
use super::{StoreError, Tx};
use crate::model::{Destination, OutboxId, PacketId, RoomId, Timestamp, UserId};

/// More texts than a radio can send in the time of interest.
const MOST_RECENT: u16 = 400;

/// Returns how many packets of a room wait for the mesh, the one that the radio is asked to take included.
///
/// # Errors
///
/// When the database fails.
pub fn waiting_of_room(tx: &Tx<'_>, room: &RoomId) -> Result<u64, StoreError> {
    tx.count(
        "SELECT COUNT(*) FROM mesh_outbox WHERE room = ?1 AND state <= 1",
        [room.as_str()],
    )
}

/// How much waits for a destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MeshWaiting {
    /// The destination.
    pub destination: Destination,
    /// How many packets.
    pub count: u64,
    /// When the oldest of them was accepted.
    pub oldest: Timestamp,
}

/// Returns how much waits for each destination for which something waits.
///
/// # Errors
///
/// When the database fails.
pub fn waiting(tx: &Tx<'_>) -> Result<Vec<MeshWaiting>, StoreError> {
    tx.all(
        "SELECT target_kind, target, COUNT(*) AS count, MIN(accepted_at) AS oldest
         FROM mesh_outbox WHERE state = 0 GROUP BY target_kind, target",
        (),
        |row| {
            let count: i64 = row.get("count")?;
            Ok(MeshWaiting {
                destination: destination(row)?,
                count: u64::try_from(count).unwrap_or(0),
                oldest: row.get("oldest")?,
            })
        },
    )
}

/// Returns how many packets a person has put on the air, or is about to, in the minute and in the hour up to `at`,
/// counted by the messages' own time stamps.
///
/// # Errors
///
/// When the database fails.
pub fn sent_by(tx: &Tx<'_>, sender: &UserId, at: Timestamp) -> Result<(u32, u32), StoreError> {
    let counts = tx.first(
        "SELECT COUNT(*) FILTER (WHERE sent_at > ?2), COUNT(*) FROM mesh_outbox
         WHERE sender = ?1 AND sent_at > ?3 AND sent_at <= ?4 AND state NOT IN (7, 8, 9)",
        (
            sender.as_str(),
            at - Duration::from_mins(1),
            at - Duration::from_hours(1),
            at,
        ),
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    Ok(counts.unwrap_or_default())
}

/// Returns what people in Matrix have said to a destination since then: (our text with its prefix, their text).
///
/// # Errors
///
/// When the database fails.
pub fn recent_texts(
    tx: &Tx<'_>,
    to: Destination,
    since: Timestamp,
) -> Result<Vec<(String, String)>, StoreError> {
    let (kind, target) = target(to);
    tx.all(
        "SELECT row.text, pair.text FROM mesh_outbox AS row
         JOIN message_pair AS pair ON pair.mesh_outbox = row.id AND pair.packet = row.packet
         WHERE row.target_kind = ?1 AND row.target = ?2 AND row.active_at >= ?3 AND row.tapback = 0
         ORDER BY row.active_at DESC LIMIT ?4",
        (kind, target, since, MOST_RECENT),
        |row| Ok((row.get(0)?, row.get(1)?)),
    )
}

/// Returns the different emoji that we have put on a packet, waiting ones included.
///
/// # Errors
///
/// When the database fails.
pub fn tapbacks(tx: &Tx<'_>, to: Destination, packet: PacketId) -> Result<Vec<String>, StoreError> {
    let (kind, target) = target(to);
    tx.all(
        "SELECT DISTINCT text FROM mesh_outbox
         WHERE tapback = 1 AND reference = ?1 AND target_kind = ?2 AND target = ?3
             AND state NOT IN (7, 8, 9)",
        (packet, kind, target),
        |row| row.get(0),
    )
}

/// Returns the newest text of a person that waits untried for a destination, with its payload: the row that a further
/// picture of theirs may join.
///
/// # Errors
///
/// When the database fails.
pub fn newest_waiting_of(
    tx: &Tx<'_>,
    to: Destination,
    room: &RoomId,
    sender: &UserId,
    now: Timestamp,
) -> Result<Option<(OutboxId, String)>, StoreError> {
    let (kind, target) = target(to);
    tx.first(
        "SELECT id, text FROM mesh_outbox
         WHERE state <= 1 AND room = ?1 AND sender = ?2 AND target_kind = ?3 AND target = ?4
             AND tapback = 0 AND tried = 0 AND expires > ?5
         ORDER BY id DESC LIMIT 1",
        (room.as_str(), sender.as_str(), kind, target, now),
        |row| Ok((row.get(0)?, row.get(1)?)),
    )
}
