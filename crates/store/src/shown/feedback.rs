//! Feedback signs: for each message the wanted sign and the one that is shown. A newer wish replaces one not yet carried out;
//! `requests.rs` carries them out.

mod requests;

use crate::columns::identifier;
use crate::{Result, Tx};
use relay_model::{
    EventId, Lane, MeshFate, MeshRowId, MeshState, OwnedEventId, OwnedRoomId, RoomId, Sign,
    Timestamp,
};

pub use requests::{SignRequest, done, forbid, give_up, next, not_done, permit, recover, retry};

/// Returns the messages of which a part has changed its state since [`forget_changed`].
pub fn changed(tx: &Tx<'_>) -> Result<Vec<OwnedEventId>> {
    tx.all("SELECT event FROM feedback_changed", (), |row| {
        identifier(row, 0)
    })
}

/// Clears the list that [`changed`] returns, once signs are decided.
pub fn forget_changed(tx: &Tx<'_>) -> Result<()> {
    tx.run("DELETE FROM feedback_changed WHERE TRUE", ())
}

/// Records that a mesh row has changed its state. Reactions have no sign.
pub(crate) fn row_changed(tx: &Tx<'_>, id: MeshRowId) -> Result<()> {
    tx.run(
        "INSERT OR IGNORE INTO feedback_changed (event)
         SELECT event FROM mesh_outbox WHERE id = ?1 AND event IS NOT NULL AND lane <> ?2",
        (id, Lane::Reaction),
    )
}

/// Records that a row's message, or a correction of it, is sent after all: the sign follows its state from now on, and a given
/// sign is dropped.
pub(crate) fn row_accepted(tx: &Tx<'_>, id: MeshRowId) -> Result<()> {
    let given = tx.execute(
        "UPDATE feedback SET given = NULL
         WHERE event = (SELECT event FROM mesh_outbox WHERE id = ?1 AND lane <> ?2) AND given IS NOT NULL",
        (id, Lane::Reaction),
    )?;
    if given > 0 {
        row_changed(tx, id)?;
    }
    Ok(())
}

/// Returns the messages accepted before that time of which a part still waits, and whose wanted sign differs from this one.
pub fn waiting_without(tx: &Tx<'_>, sign: Sign, before: Timestamp) -> Result<Vec<OwnedEventId>> {
    tx.all(
        "SELECT DISTINCT event FROM mesh_open
         WHERE event IS NOT NULL AND lane <> ?3 AND accepted_at <= ?2
             AND NOT EXISTS (SELECT 1 FROM feedback
                 WHERE feedback.event = mesh_open.event AND (wanted IS ?1 OR closed = 1))",
        (sign, before, Lane::Reaction),
        |row| identifier(row, 0),
    )
}

/// Returns the state of a message; `None` if it is unknown or was redacted. Of an event sent several times the last time
/// counts. A correction counts once the radio took it, and never if it was refused, as its message was sent.
pub fn message(tx: &Tx<'_>, event: &EventId) -> Result<Option<MeshFate>> {
    let known = tx.first(
        "SELECT room, given, closed, at FROM feedback WHERE event = ?1",
        [event.as_str()],
        |row| {
            Ok((
                identifier::<OwnedRoomId>(row, 0)?,
                row.get::<_, Option<String>>(1)?,
                row.get::<_, bool>(2)?,
                row.get::<_, Timestamp>(3)?,
            ))
        },
    )?;
    if known.as_ref().is_some_and(|(_, _, closed, _)| *closed) {
        return Ok(None);
    }
    let mut is_whole = true;
    let parts = tx.all_due(
        "SELECT id, room, state, accepted_at FROM mesh_outbox
         WHERE event = ?1 AND lane <> ?2 AND message =
             (SELECT MAX(message) FROM mesh_outbox WHERE event = ?1 AND lane <> ?2
                  AND (correction = 0 OR state NOT IN (?3, ?4, ?5, ?6)))
         ORDER BY id",
        (
            event.as_str(),
            Lane::Reaction,
            MeshState::Waiting,
            MeshState::Submitted,
            MeshState::Withdrawn,
            MeshState::Refused,
        ),
        usize::MAX,
        |row| {
            let room: OwnedRoomId = identifier(row, 1)?;
            Ok((
                room,
                row.get::<_, MeshState>(2)?,
                row.get::<_, Timestamp>(3)?,
            ))
        },
        |_: MeshRowId| {
            is_whole = false;
            Ok(())
        },
    )?;
    let place = match (&known, parts.first()) {
        // Show no sign rather than one that not all parts agree on.
        _ if !is_whole => None,
        (_, Some((room, _, accepted_at))) => Some((room.clone(), *accepted_at)),
        (Some((room, _, _, at)), None) => Some((room.clone(), *at)),
        (None, None) => None,
    };
    Ok(place.map(|(room, accepted_at)| MeshFate {
        event: event.to_owned(),
        room,
        parts: parts.into_iter().map(|(_, state, _)| state).collect(),
        accepted_at,
        given: known.and_then(|(_, given, _, _)| Sign::of_key(&given?)),
    }))
}

/// Gives a message a sign that does not follow from its mesh rows, and lists it as changed.
pub fn give(tx: &Tx<'_>, room: &RoomId, event: &EventId, sign: Sign, now: Timestamp) -> Result<()> {
    tx.execute(
        "INSERT INTO feedback (event, room, given, at) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (event) DO UPDATE SET given = excluded.given",
        (event.as_str(), room.as_str(), sign, now),
    )?;
    tx.run(
        "INSERT OR IGNORE INTO feedback_changed (event) VALUES (?1)",
        [event.as_str()],
    )
}

/// Sets the wanted sign of a message. Returns whether that creates new work.
pub fn want(
    tx: &Tx<'_>,
    room: &RoomId,
    event: &EventId,
    sign: Option<Sign>,
    now: Timestamp,
) -> Result<bool> {
    let known = tx.exists("SELECT 1 FROM feedback WHERE event = ?1", [event.as_str()])?;
    if !known {
        if sign.is_none() {
            return Ok(false);
        }
        tx.execute(
            "INSERT INTO feedback (event, room, at) VALUES (?1, ?2, ?3)",
            (event.as_str(), room.as_str(), now),
        )?;
    }
    let changed = tx.execute(
        "UPDATE feedback SET wanted = ?2
         WHERE event = ?1 AND closed = 0 AND wanted IS NOT ?2",
        (event.as_str(), sign),
    )?;
    if changed > 0 {
        settle(tx, event, now)?;
    }
    Ok(changed > 0)
}

/// Records that a message was redacted: nothing more is shown on it.
pub fn close(tx: &Tx<'_>, room: &RoomId, event: &EventId, now: Timestamp) -> Result<()> {
    // Only needed for messages with mesh rows.
    tx.execute(
        "INSERT OR IGNORE INTO feedback (event, room, at)
         SELECT ?1, ?2, ?3 WHERE EXISTS (SELECT 1 FROM mesh_outbox WHERE event = ?1 AND room = ?2)",
        (event.as_str(), room.as_str(), now),
    )?;
    tx.run(
        "UPDATE feedback SET wanted = shown, txn = NULL, placing = NULL, due = NULL, closed = 1
         WHERE event = ?1 AND room = ?2",
        (event.as_str(), room.as_str()),
    )
}

/// Drops every wish for this sign. Where `taken_back` is shown it is removed; other signs stay.
pub fn forget_wishes(tx: &Tx<'_>, sign: Sign, taken_back: Sign, now: Timestamp) -> Result<()> {
    tx.execute(
        "UPDATE feedback SET wanted = CASE WHEN shown IS ?2 THEN NULL ELSE shown END
         WHERE wanted = ?1 AND closed = 0",
        (sign, taken_back),
    )?;
    tx.run(
        "UPDATE feedback SET due = CASE
             WHEN txn IS NULL AND wanted IS shown THEN NULL
             ELSE COALESCE(due, ?1) END
         WHERE closed = 0 AND (due IS NOT NULL OR wanted IS NOT shown)",
        [now],
    )
}

/// Sets when a message needs its next request: never if it shows the wanted sign.
fn settle(tx: &Tx<'_>, event: &EventId, now: Timestamp) -> Result<()> {
    tx.run(
        "UPDATE feedback SET due = CASE
             WHEN txn IS NULL AND wanted IS shown THEN NULL
             ELSE MIN(COALESCE(due, ?2), ?2) END
         WHERE event = ?1",
        (event.as_str(), now),
    )
}

#[cfg(test)]
mod tests;
