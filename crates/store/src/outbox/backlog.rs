//! The backlog: messages that wait for the mesh since an outage, of each room only the newest, spaced, behind new messages. And
//! expired messages, until their room has been told.
//!
//! A backlog is gathered before its first message is sent, so that its messages go oldest first. Later arrivals form a backlog
//! of their own, but the limit of newest messages holds for all backlogs of a room together.

use std::time::Duration;

use rusqlite::named_params;
use rusqlite::types::FromSql;

use super::mesh_state::{Ended, end_all};
use crate::columns::{LONGEST_WAIT, SLACK, identifier, optional, target};
use crate::{Result, Tx, story};
use relay_model::{
    Destination, EventId, Expired, Gathering, Lane, MeshOrder, MeshRowId, MeshSource, MeshState,
    OwnedEventId, OwnedRoomId, RoomId, Sign, StepKind, Timestamp,
};

/// Value of the column `backlog`: an ordinary message, not in a backlog.
const IN_TURN: i8 = 0;
/// In a backlog that is still being gathered.
const GATHERED: i8 = 1;
/// In a gathered backlog; another one is gathered behind it.
const COMPLETE: i8 = 2;
// Negative: the value before [`set_aside`], as `-1 - value`.

/// Returns since when the room's backlog is gathered; `None` if it is complete, or there is none.
pub fn gathering(
    tx: &Tx<'_>,
    room: &RoomId,
    until: Gathering,
    now: Timestamp,
) -> Result<Option<Timestamp>> {
    let times = tx.first(
        "SELECT opened_at, added_at FROM backlog_room WHERE room = ?1",
        [room.as_str()],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    Ok(times.and_then(|(opened, added): (Timestamp, Timestamp)| {
        let open = added <= now + SLACK
            && now < added + until.quiet
            && now < opened + until.longest
            && opened <= now + SLACK;
        open.then_some(opened)
    }))
}

/// Records that a message of a room came late: gathering of its backlog starts or continues.
pub fn gather(tx: &Tx<'_>, room: &RoomId, until: Gathering, now: Timestamp) -> Result<()> {
    let opened = if let Some(since) = gathering(tx, room, until, now)? {
        since
    } else {
        tx.execute(
            "UPDATE mesh_outbox SET backlog = ?2
             WHERE id IN (SELECT id FROM mesh_open WHERE room = ?1 AND backlog = ?3)",
            (room.as_str(), COMPLETE, GATHERED),
        )?;
        now
    };
    tx.run(
        "INSERT INTO backlog_room (room, opened_at, added_at) VALUES (?1, ?2, ?3)
         ON CONFLICT (room) DO UPDATE SET opened_at = excluded.opened_at, added_at = excluded.added_at",
        (room.as_str(), opened, now),
    )
}

/// Records that a message of a room expired on arrival: later messages belong to a backlog too. Does not delay a backlog that
/// is already gathered.
pub fn expect_more(tx: &Tx<'_>, room: &RoomId, until: Gathering, now: Timestamp) -> Result<()> {
    match gathering(tx, room, until, now)? {
        Some(_) => Ok(()),
        None => gather(tx, room, until, now),
    }
}

/// Adds a message that was just accepted to its room's backlog, keeping the newest. Returns the rows that expired by that.
pub fn add(
    tx: &Tx<'_>,
    room: &RoomId,
    event: &EventId,
    newest: u32,
    until: Gathering,
    now: Timestamp,
) -> Result<Vec<Ended>> {
    gather(tx, room, until, now)?;
    let rows: Vec<MeshRowId> = tx.column(
        "SELECT id FROM mesh_waiting WHERE event = ?1 AND room = ?2",
        (event.as_str(), room.as_str()),
    )?;
    put(tx, &rows)?;
    keep_newest(tx, room, newest)
}

/// Puts waiting rows into the backlog that is gathered.
fn put(tx: &Tx<'_>, rows: &[MeshRowId]) -> Result<()> {
    for row in rows {
        let is_new = tx.changes(
            "UPDATE mesh_outbox SET backlog = ?2 WHERE id = ?1 AND backlog <> ?2",
            (row, GATHERED),
        )?;
        if is_new {
            story::note(tx, *row, StepKind::Backlog, None, None)?;
        }
    }
    Ok(())
}

/// Makes a backlog of each room in which a message has waited for longer than `late` after an outage. Packets that the radio
/// may know are left alone. Returns the rows that expired by that.
pub fn after_outage(
    tx: &Tx<'_>,
    late: Duration,
    newest: u32,
    until: Gathering,
    now: Timestamp,
) -> Result<Vec<Ended>> {
    let rooms: Vec<OwnedRoomId> = tx.all(
        "SELECT DISTINCT room FROM mesh_waiting
         WHERE lane = ?1 AND room IS NOT NULL AND backlog >= ?3 AND sent_at < ?2",
        (Lane::Message, now - late, IN_TURN),
        |row| identifier(row, 0),
    )?;
    let mut expired = Vec::new();
    for room in rooms {
        gather(tx, &room, until, now)?;
        let rows: Vec<MeshRowId> = tx.column(
            "SELECT id FROM mesh_waiting AS row
             WHERE room = ?1 AND backlog >= ?3 AND lane = ?2 AND EXISTS (
                 SELECT 1 FROM mesh_waiting AS first
                 WHERE first.message = row.message AND first.part = 0 AND first.attempts = 0)",
            (room.as_str(), Lane::Message, IN_TURN),
        )?;
        put(tx, &rows)?;
        expired.extend(keep_newest(tx, &room, newest)?);
    }
    Ok(expired)
}

/// Expires all of a room's backlog but its `newest` messages by time written, not by time accepted (a key can be late). Returns
/// the expired rows.
fn keep_newest(tx: &Tx<'_>, room: &RoomId, newest: u32) -> Result<Vec<Ended>> {
    let beyond: Vec<MeshRowId> = tx.column(
        "SELECT message FROM mesh_backlog
         WHERE room = ?1 AND part = 0
         ORDER BY sent_at DESC, message DESC LIMIT -1 OFFSET ?2",
        (room.as_str(), newest),
    )?;
    let mut expired = Vec::new();
    for message in beyond.into_iter().rev() {
        expired.extend(end_all(
            tx,
            "SELECT * FROM mesh_waiting WHERE message = ?1 ORDER BY part",
            [message],
            MeshState::Expired,
            (StepKind::Expired, None),
        )?);
    }
    Ok(expired)
}

/// The backlog messages for a destination and lane, each with the earliest time at which it may be sent: once gathering is
/// complete and the spacing is over. Timestamps in the future, from a wrong clock, delay nothing.
macro_rules! with_due {
    ($query:literal) => {
        concat!(
            "WITH waiting AS (SELECT row.id, row.message, MAX(
                 CASE WHEN row.not_before > :far OR row.active_at > :soon THEN 0 ELSE row.not_before END,
                 CASE WHEN row.backlog = :complete OR pause.added_at IS NULL OR pause.added_at > :soon THEN 0
                      ELSE MIN(pause.added_at + :quiet, pause.opened_at + :longest) END,
                 CASE WHEN pause.handed_at IS NULL OR pause.handed_at > :soon THEN 0
                      ELSE pause.handed_at + :spacing END) AS due
             FROM mesh_backlog AS row LEFT JOIN backlog_room AS pause ON pause.room = row.room
             WHERE row.target_kind = :kind AND row.target = :target AND row.lane = :lane
                 AND row.part = 0 AND row.expires > :now) ",
            $query
        )
    };
}

/// Finds the backlog row that is due first; none if nothing is due.
pub(crate) const NEXT: &str =
    with_due!("SELECT id FROM waiting WHERE due <= :now ORDER BY message LIMIT 1");

/// Finds when [`NEXT`] will find a row; nothing if there is no backlog.
pub(crate) const NEXT_DUE: &str = with_due!("SELECT MIN(due) FROM waiting");

/// Returns what [`NEXT`] or [`NEXT_DUE`] finds for a destination and lane.
pub(crate) fn find<T: FromSql>(
    tx: &Tx<'_>,
    sql: &'static str,
    (to, lane): (Destination, Lane),
    order: &MeshOrder,
    now: Timestamp,
) -> Result<Option<T>> {
    let (kind, target) = target(to);
    let milliseconds = |span: Duration| i64::try_from(span.as_millis()).unwrap_or(i64::MAX / 4);
    let found = tx.first(
        sql,
        named_params! {
            ":kind": kind,
            ":target": target,
            ":lane": lane,
            ":complete": COMPLETE,
            ":now": now,
            ":soon": now + SLACK,
            ":far": now + LONGEST_WAIT,
            ":quiet": milliseconds(order.gathering.quiet),
            ":longest": milliseconds(order.gathering.longest),
            ":spacing": milliseconds(order.spacing),
        },
        |row| row.get(0),
    )?;
    Ok(found.flatten())
}

/// Takes a message out of the backlog because its turn has come. Its parts follow, and the spacing for the room's next message
/// starts.
pub(crate) fn release(tx: &Tx<'_>, id: MeshRowId, now: Timestamp) -> Result<()> {
    let of_backlog = tx.execute(
        "UPDATE backlog_room SET handed_at = ?2
         WHERE room = (SELECT room FROM mesh_outbox WHERE id = ?1 AND backlog > ?3)",
        (id, now, IN_TURN),
    )?;
    if of_backlog > 0 {
        tx.execute(
            "UPDATE mesh_outbox SET backlog = ?2
             WHERE id IN (SELECT id FROM mesh_open
                 WHERE message = (SELECT message FROM mesh_outbox WHERE id = ?1))",
            (id, IN_TURN),
        )?;
    }
    Ok(())
}

/// Sets a room's waiting mesh messages aside, or ends that. Returns the number of rows concerned.
pub fn set_aside(tx: &Tx<'_>, room: &RoomId, aside: bool) -> Result<usize> {
    tx.execute(
        "UPDATE mesh_outbox SET backlog = -1 - backlog
         WHERE id IN (SELECT id FROM mesh_waiting WHERE room = ?1 AND (backlog >= ?3) = ?2)",
        (room.as_str(), aside, IN_TURN),
    )
}

/// Records that a message of Matrix, or an edit of a sent one, has expired, until its room is told.
pub fn note_expired(tx: &Tx<'_>, source: &MeshSource, is_edit: bool, now: Timestamp) -> Result<()> {
    tx.run(
        "INSERT INTO expired_room (room, messages, edits, oldest, newest, event, thread, since, last)
         VALUES (?1, 1, ?6, ?2, ?2, ?3, ?4, ?5, ?5)
         ON CONFLICT (room) DO UPDATE SET
             messages = messages + 1,
             edits = edits + excluded.edits,
             oldest = MIN(oldest, excluded.oldest),
             event = CASE WHEN excluded.newest >= newest THEN excluded.event ELSE event END,
             thread = CASE WHEN excluded.newest >= newest THEN excluded.thread ELSE thread END,
             newest = MAX(newest, excluded.newest),
             last = excluded.last",
        (
            source.room.as_str(),
            source.sent_at,
            source.event.as_str(),
            source.thread.as_ref().map(|thread| thread.as_str()),
            now,
            is_edit,
        ),
    )
}

/// Returns the expired messages of which their rooms have not been told.
pub fn expired(tx: &Tx<'_>) -> Result<Vec<Expired>> {
    tx.all(
        "SELECT *, EXISTS (SELECT 1 FROM mesh_open
                 WHERE mesh_open.room = expired_room.room AND lane <= ?1) AS more_waits
         FROM expired_room",
        [Lane::Message],
        |row| {
            Ok(Expired {
                room: identifier(row, "room")?,
                messages: row.get("messages")?,
                edits: row.get("edits")?,
                oldest: row.get("oldest")?,
                newest: row.get("newest")?,
                event: identifier(row, "event")?,
                thread: optional(row, "thread")?,
                since: row.get("since")?,
                last: row.get("last")?,
                more_waits: row.get("more_waits")?,
            })
        },
    )
}

/// Returns the messages that should show this sign because they or edits of them expired, and do not show it yet: the newest,
/// and if at most `few` expired together all that had waited. Messages with a later edit sent or waiting are left out.
pub fn without_sign(
    tx: &Tx<'_>,
    expired: &Expired,
    few: u32,
    sign: Sign,
) -> Result<Vec<OwnedEventId>> {
    tx.all(
        "SELECT event FROM (
             SELECT ?2 AS event UNION SELECT event FROM mesh_outbox
             WHERE ?3 AND room = ?1 AND state = ?4 AND lane <= ?5
                 AND sent_at BETWEEN ?6 AND ?7) AS ended
         WHERE NOT EXISTS (SELECT 1 FROM feedback
             WHERE feedback.event = ended.event AND (given IS ?8 OR closed = 1))
         AND NOT EXISTS (SELECT 1 FROM mesh_counted AS later
             WHERE later.event = ended.event AND lane <= ?5 AND later.message >
                 (SELECT MAX(message) FROM mesh_outbox WHERE event = ended.event AND state = ?4))",
        (
            expired.room.as_str(),
            expired.event.as_str(),
            expired.messages <= few,
            MeshState::Expired,
            Lane::Message,
            expired.oldest,
            expired.newest,
            sign,
        ),
        |row| identifier(row, 0),
    )
}

/// Forgets a room's expired messages, once it has been told.
pub fn forget_expired(tx: &Tx<'_>, room: &RoomId) -> Result<()> {
    tx.run("DELETE FROM expired_room WHERE room = ?1", [room.as_str()])
}

#[cfg(test)]
mod tests;
