//! What waits for the mesh since an outage: of each room the newest messages, spaced, behind what is new. And what
//! expired, until its room has been told.
//!
//! A backlog is gathered before its first message goes: what was said meanwhile comes oldest first, and only its end
//! is to be transmitted. What has been gathered does not wait for what comes later, which is gathered by itself; but of
//! all that still waits in the room's backlogs only the newest messages are kept.

use std::time::Duration;

use rusqlite::named_params;
use rusqlite::types::FromSql;

use super::columns::{LONGEST_WAIT, SLACK, identifier, optional, target};
use super::mesh_state::{Ended, end_all};
use super::{Result, Tx};
use relay_model::{
    Destination, EventId, Expired, Gathering, Lane, MeshOrder, MeshRowId, MeshSource, MeshState,
    OwnedEventId, OwnedRoomId, RoomId, Sign, Timestamp,
};

/// In the column `backlog`: it takes its turn.
const IN_TURN: i8 = 0;
/// Its backlog is gathered.
const GATHERED: i8 = 1;
/// Another backlog is gathered behind its own.
const COMPLETE: i8 = 2;
// Below 0: what it was, less than -1 by that, as long as it is set aside ([`set_aside`]).

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

/// Notes that a message of a room came late: the room's backlog is gathered from now on, or still.
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

/// Notes that a message of a room came too late: what comes after it is backlog too. That keeps no backlog waiting that is
/// gathered already.
pub fn expect_more(tx: &Tx<'_>, room: &RoomId, until: Gathering, now: Timestamp) -> Result<()> {
    match gathering(tx, room, until, now)? {
        Some(_) => Ok(()),
        None => gather(tx, room, until, now),
    }
}

/// Puts a message that was just accepted into its room's backlog, of which the newest messages are kept. Returns the
/// rows that have expired by that.
pub fn add(
    tx: &Tx<'_>,
    room: &RoomId,
    event: &EventId,
    newest: u32,
    until: Gathering,
    now: Timestamp,
) -> Result<Vec<Ended>> {
    gather(tx, room, until, now)?;
    tx.execute(
        "UPDATE mesh_outbox SET backlog = ?3
         WHERE id IN (SELECT id FROM mesh_waiting WHERE event = ?1 AND room = ?2)",
        (event.as_str(), room.as_str(), GATHERED),
    )?;
    keep_newest(tx, room, newest)
}

/// Makes a backlog of what waits after an outage, in each room where a message waits for longer than `late`. What the
/// radio knows already goes on as it is. Returns the rows that have expired by that.
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
        tx.execute(
            "UPDATE mesh_outbox SET backlog = ?3
             WHERE id IN (SELECT id FROM mesh_waiting AS row
                 WHERE room = ?1 AND backlog >= ?4 AND lane = ?2 AND EXISTS (
                     SELECT 1 FROM mesh_waiting AS first
                     WHERE first.message = row.message AND first.part = 0 AND first.attempts = 0))",
            (room.as_str(), Lane::Message, GATHERED, IN_TURN),
        )?;
        expired.extend(keep_newest(tx, &room, newest)?);
    }
    Ok(expired)
}

/// Ends all of a room's backlog but so many of its newest messages, by when they were written: one whose key was late is
/// not newer for that. Returns the rows that have expired by that.
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
        )?);
    }
    Ok(expired)
}

/// The backlog's messages for a destination and lane, with the time when each may go: not before its room's backlog is
/// complete, nor before the spacing is over. What a clock wrote that was ahead holds nothing up.
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

/// Finds the row of the backlog whose turn it is; none if nothing is due.
pub(super) const NEXT: &str =
    with_due!("SELECT id FROM waiting WHERE due <= :now ORDER BY message LIMIT 1");

/// Finds when [`NEXT`] can find something; nothing if there is no backlog.
pub(super) const NEXT_DUE: &str = with_due!("SELECT MIN(due) FROM waiting");

/// Returns what [`NEXT`] or [`NEXT_DUE`] finds for a destination and lane.
pub(super) fn find<T: FromSql>(
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

/// Notes that a message's turn has come: it is no backlog any more, its parts follow it, and the next one of its room
/// waits.
pub(super) fn release(tx: &Tx<'_>, id: MeshRowId, now: Timestamp) -> Result<()> {
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

/// Has what a room has waiting for the mesh wait for longer, whatever its turn, or ends that. Returns how many rows that
/// concerns.
pub fn set_aside(tx: &Tx<'_>, room: &RoomId, aside: bool) -> Result<usize> {
    tx.execute(
        "UPDATE mesh_outbox SET backlog = -1 - backlog
         WHERE id IN (SELECT id FROM mesh_waiting WHERE room = ?1 AND (backlog >= ?3) = ?2)",
        (room.as_str(), aside, IN_TURN),
    )
}

/// Notes that a message of Matrix, or an edit of one that was sent, has expired, until its room is told.
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

/// Returns what expired and was not told yet, by room.
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

/// Returns the messages that are to have this sign now, as they or edits of them expired, and do not have it: the newest, and
/// where not more than `few` expired together those that had waited. None of which a later edit went, or waits.
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

/// Forgets what expired in a room: it is told.
pub fn forget_expired(tx: &Tx<'_>, room: &RoomId) -> Result<()> {
    tx.run("DELETE FROM expired_room WHERE room = ?1", [room.as_str()])
}

#[cfg(test)]
mod tests;
