//! The requests by which wishes are carried out: the next one, and what its outcome changes.
//!
//! Replacing a sign takes two requests, a redaction and then a reaction, so that there are never two signs. A request's
//! transaction id is stored before it is sent; no other request is chosen for the message until the outcome is known.

use std::time::Duration;

use rusqlite::Params;

use super::settle;
use crate::columns::{LONGEST_WAIT, Row, identifier, optional};
use crate::{Next, Result, Tx};
use relay_model::{
    Backoff, EventId, OwnedEventId, OwnedRoomId, OwnedTransactionId, RoomContent, RoomId, Timestamp,
};

/// Delays after failures that may pass.
const DELAYS: Backoff = Backoff::new(Duration::from_secs(10), Duration::from_hours(1));

/// A reaction or redaction to send next, so that a message shows its wanted sign.
#[derive(Debug, Clone, PartialEq)]
pub struct SignRequest {
    /// The message whose sign it is about.
    pub event: OwnedEventId,
    /// Id of the room of that message.
    pub room: OwnedRoomId,
    /// Transaction id of all its attempts, stored before the first.
    pub transaction: OwnedTransactionId,
    /// What to send: a reaction, or the redaction of one.
    pub content: RoomContent,
}

/// Returns the next request, with its transaction id stored: the oldest difference, in a room that takes signs. Unreadable rows
/// are closed.
pub fn next(tx: &Tx<'_>, now: Timestamp) -> Result<Next<SignRequest>> {
    let end = |event: Vec<u8>| {
        tx.run(
            "UPDATE feedback SET wanted = shown, txn = NULL, placing = NULL, due = NULL, closed = 1
             WHERE CAST(event AS BLOB) = ?1",
            [event],
        )
    };
    while let Some(row) = tx.first_due(
        "SELECT CAST(event AS BLOB), * FROM feedback
         WHERE due IS NOT NULL AND (due <= ?1 OR due > ?2)
             AND NOT EXISTS (SELECT 1 FROM parked WHERE parked.room IN ('', feedback.room))
             AND NOT EXISTS (SELECT 1 FROM feedback_forbidden AS it WHERE it.room = feedback.room)
         ORDER BY due",
        (now, now + LONGEST_WAIT),
        read,
        end,
    )? {
        let (transaction, placing) = match row.transaction.clone() {
            Some(under_way) => (under_way, row.placing.clone()),
            None if row.shown == row.wanted => {
                settle(tx, &row.event, now)?;
                continue;
            }
            None => begin(tx, &row)?,
        };
        let content = match (placing, row.reaction) {
            (Some(key), _) => RoomContent::Reaction {
                target: row.event.clone(),
                key,
            },
            (None, Some(target)) => RoomContent::Redaction { target },
            (None, None) => {
                // Nothing to redact.
                done(tx, transaction.as_str(), &row.event, now)?;
                continue;
            }
        };
        return Ok(Next::Due(SignRequest {
            event: row.event,
            room: row.room,
            transaction,
            content,
        }));
    }
    let later: Option<Timestamp> = tx.value(
        "SELECT MIN(due) FROM feedback WHERE due IS NOT NULL
             AND NOT EXISTS (SELECT 1 FROM parked WHERE parked.room IN ('', feedback.room))
             AND NOT EXISTS (SELECT 1 FROM feedback_forbidden AS it WHERE it.room = feedback.room)",
        (),
    )?;
    Ok(later.map_or(Next::Nothing, Next::Later))
}

/// Chooses a message's next request: first remove the shown sign, then place the wanted one.
fn begin(tx: &Tx<'_>, row: &WishRow) -> Result<(OwnedTransactionId, Option<String>)> {
    let placing = row.wanted.clone().filter(|_| row.shown.is_none());
    let transaction = OwnedTransactionId::from(format!("relay-{:032x}", rand::random::<u128>()));
    tx.execute(
        "UPDATE feedback SET txn = ?2, placing = ?3 WHERE event = ?1",
        (row.event.as_str(), transaction.as_str(), &placing),
    )?;
    Ok((transaction, placing))
}

/// Records that a request succeeded, by the response or by its event in sync. Returns whether that is new.
pub fn done(tx: &Tx<'_>, transaction: &str, event: &EventId, now: Timestamp) -> Result<bool> {
    over(
        tx,
        transaction,
        "UPDATE feedback SET shown = placing, reaction = CASE WHEN placing IS NULL THEN NULL ELSE ?2 END,
             txn = NULL, placing = NULL, attempts = 0
         WHERE txn = ?1",
        (transaction, event.as_str()),
        now,
    )
}

/// Records that a request was not carried out; the current wish is tried next. If an earlier attempt may have succeeded, the
/// request is retried under its transaction id.
pub fn not_done(tx: &Tx<'_>, transaction: &str, now: Timestamp) -> Result<()> {
    over(
        tx,
        transaction,
        "UPDATE feedback SET txn = CASE attempts WHEN 0 THEN NULL ELSE txn END,
             placing = CASE attempts WHEN 0 THEN NULL ELSE placing END
         WHERE txn = ?1",
        [transaction],
        now,
    )
    .map(drop)
}

/// Prepares for a start: requests in flight may have succeeded, and all rooms are permitted again, as changes during the
/// downtime were not seen.
pub fn recover(tx: &Tx<'_>) -> Result<()> {
    tx.execute(
        "UPDATE feedback SET attempts = attempts + 1 WHERE txn IS NOT NULL",
        (),
    )?;
    permit(tx, None)
}

/// Records that the outcome of a request is unknown: it is retried later under the same transaction id, and the rest of its
/// room waits as long. A room that the bot has left delays no other.
pub fn retry(tx: &Tx<'_>, transaction: &str, now: Timestamp) -> Result<()> {
    let tried: Option<(u32, String)> = tx.first(
        "SELECT attempts, room FROM feedback WHERE txn = ?1",
        [transaction],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    let Some((attempts, room)) = tried else {
        return Ok(());
    };
    let delay = DELAYS.after(attempts.saturating_add(1), 0.0);
    tx.execute(
        "UPDATE feedback SET attempts = attempts + 1 WHERE txn = ?1",
        [transaction],
    )?;
    tx.run(
        "UPDATE feedback SET due = ?3 WHERE due IS NOT NULL AND room = ?1 AND (due < ?3 OR txn = ?2)",
        (room, transaction, now + delay),
    )
}

/// Drops a wish that can never be carried out, as the server does not know its message or reaction. A later wish is tried.
pub fn give_up(tx: &Tx<'_>, transaction: &str, now: Timestamp) -> Result<()> {
    over(
        tx,
        transaction,
        // A reaction that cannot be redacted no longer exists.
        "UPDATE feedback SET
             wanted = CASE WHEN placing IS NULL OR wanted IS NOT placing THEN wanted ELSE NULL END,
             shown = NULL, reaction = NULL, txn = NULL, placing = NULL, attempts = 0
         WHERE txn = ?1",
        [transaction],
        now,
    )
    .map(drop)
}

/// Stops showing signs in a room until [`permit`]. Returns whether they were permitted before.
pub fn forbid(tx: &Tx<'_>, room: &RoomId) -> Result<bool> {
    tx.changes(
        "INSERT OR IGNORE INTO feedback_forbidden (room) VALUES (?1)",
        [room.as_str()],
    )
}

/// Permits signs in a room; `None`: in all.
pub fn permit(tx: &Tx<'_>, room: Option<&RoomId>) -> Result<()> {
    tx.run(
        "DELETE FROM feedback_forbidden WHERE ?1 IS NULL OR room = ?1",
        [room.map(RoomId::as_str)],
    )
}

/// Records the outcome of a request by this statement and schedules the next one. Returns whether the request was in flight.
fn over(
    tx: &Tx<'_>,
    transaction: &str,
    sql: &'static str,
    parameters: impl Params,
    now: Timestamp,
) -> Result<bool> {
    let of = "SELECT event FROM feedback WHERE txn = ?1";
    let message: Option<OwnedEventId> = tx.first(of, [transaction], |row| identifier(row, 0))?;
    tx.execute(sql, parameters)?;
    message.as_ref().map_or(Ok(()), |it| settle(tx, it, now))?;
    Ok(message.is_some())
}

/// A row of the table: the sign that a message is to show, and the one that it shows.
struct WishRow {
    event: OwnedEventId,
    room: OwnedRoomId,
    wanted: Option<String>,
    shown: Option<String>,
    reaction: Option<OwnedEventId>,
    transaction: Option<OwnedTransactionId>,
    placing: Option<String>,
}

fn read(row: &Row<'_>) -> rusqlite::Result<WishRow> {
    Ok(WishRow {
        event: identifier(row, "event")?,
        room: identifier(row, "room")?,
        wanted: row.get("wanted")?,
        shown: row.get("shown")?,
        reaction: optional(row, "reaction")?,
        transaction: row.get::<_, Option<String>>("txn")?.map(Into::into),
        placing: row.get("placing")?,
    })
}
