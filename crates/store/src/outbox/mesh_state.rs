//! The state of a mesh packet, changed here alone, and the end of waiting rows.
//!
//! Statements name states by the views of `migrations/0014_states.sql`, or bind a [`MeshState`].

use rusqlite::Params;
use tracing::error;

use super::mesh_facts::row_message;
use crate::{Result, Tx, columns::Row, messages::message_map, shown::feedback, story};
use relay_model::{MeshRowId, MeshState, RowMessage, StepKind};

/// A row that has ended, for the sign or notice to its sender.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// Row that has ended: one packet, or the draft of a message.
    pub id: MeshRowId,
    /// Row of the first part of its message; equal to `id` for that part.
    pub message: MeshRowId,
    /// The message of Matrix that it belongs to; `None` for a reply of our own to a node.
    pub about: Option<RowMessage>,
}

/// Returns the state of a row; `None` if the row does not exist any more.
pub fn state(tx: &Tx<'_>, id: MeshRowId) -> Result<Option<MeshState>> {
    tx.first("SELECT state FROM mesh_outbox WHERE id = ?1", [id], |row| {
        row.get(0)
    })
}

/// A step of a message's story, with a reason if it has one.
pub(crate) type Because<'a> = (StepKind, Option<&'a str>);

/// Returns the step of a packet that comes to a state, where nothing more is known.
pub(crate) fn step_to(state: MeshState) -> StepKind {
    match state {
        MeshState::Waiting => StepKind::Restarted,
        MeshState::Submitted => StepKind::Handed,
        MeshState::Accepted => StepKind::Taken,
        MeshState::Unknown => StepKind::Silent,
        MeshState::Unheard => StepKind::Unheard,
        MeshState::Heard => StepKind::Repeated,
        MeshState::Delivered => StepKind::Delivered,
        MeshState::Refused => StepKind::GivenUp,
        MeshState::Expired => StepKind::Expired,
        MeshState::Withdrawn => StepKind::Withdrawn,
    }
}

/// Sets the state of a row, and records the change for its message's sign and story. Returns false if it has that state
/// already or does not exist.
pub(crate) fn set_state(tx: &Tx<'_>, id: MeshRowId, state: MeshState) -> Result<bool> {
    set_state_as(tx, id, state, (step_to(state), None))
}

/// Does as [`set_state`], as this step of its story.
pub(crate) fn set_state_as(
    tx: &Tx<'_>,
    id: MeshRowId,
    state: MeshState,
    (kind, detail): Because<'_>,
) -> Result<bool> {
    let changed = tx.execute(
        "UPDATE mesh_outbox SET state = ?2 WHERE id = ?1 AND state <> ?2",
        (id, state),
    )?;
    if changed > 0 {
        story::note(tx, id, kind, None, detail)?;
    }
    // For the sign, a submitted row still waits.
    if changed > 0 && state != MeshState::Submitted {
        feedback::row_changed(tx, id)?;
    }
    Ok(changed > 0)
}

/// Ends a waiting row. A packet never tried is removed from the message map: nobody on the mesh can refer to it.
pub(crate) fn end_waiting(
    tx: &Tx<'_>,
    id: MeshRowId,
    state: MeshState,
    because: Because<'_>,
) -> Result<()> {
    set_state_as(tx, id, state, because)?;
    let tried = tx.exists(
        "SELECT 1 FROM mesh_outbox WHERE id = ?1 AND attempts > 0",
        [id],
    )?;
    if tried {
        Ok(())
    } else {
        message_map::forget_mesh_row(tx, id, None)
    }
}

/// Returns the readable ones of these rows (`SELECT *`). Unreadable rows that wait are ended: they can never be sent.
pub(crate) fn readable<T>(
    tx: &Tx<'_>,
    sql: &'static str,
    parameters: impl Params,
    read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
) -> Result<Vec<T>> {
    tx.all_due(sql, parameters, usize::MAX, read, |id| {
        if tx.exists("SELECT 1 FROM mesh_waiting WHERE id = ?1", [id])? {
            end_waiting(tx, id, MeshState::Refused, (StepKind::GivenUp, None))?;
            tx.log(move || error!(outbox = %id, "a packet for the mesh is given up"));
        }
        Ok(())
    })
}

/// Ends the waiting ones of the rows that a statement returns (`SELECT *`), and returns them.
pub(crate) fn end_all(
    tx: &Tx<'_>,
    sql: &'static str,
    parameters: impl Params,
    state: MeshState,
    because: Because<'_>,
) -> Result<Vec<Ended>> {
    let rows = readable(tx, sql, parameters, ended)?;
    for row in &rows {
        end_waiting(tx, row.id, state, because)?;
    }
    Ok(rows)
}

/// Reads an [`Ended`] from a whole row of `mesh_outbox` (`SELECT *`).
pub(crate) fn ended(row: &Row<'_>) -> rusqlite::Result<Ended> {
    let room: Option<String> = row.get("room")?;
    Ok(Ended {
        id: row.get("id")?,
        message: row.get("message")?,
        about: room.map(|_| row_message(row)).transpose()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_rows::*;

    #[test]
    fn the_views_hold_what_they_are_named_after() {
        on_empty(|tx| {
            let (id, _) = accept_for_mesh(tx, "$one:example.org", &["hello"], NOW)?[0];
            for &state in <MeshState as strum::VariantArray>::VARIANTS {
                set_state(tx, id, state)?;
                let failed = matches!(
                    state,
                    MeshState::Refused | MeshState::Expired | MeshState::Withdrawn
                );
                for (query, expected) in [
                    ("SELECT 1 FROM mesh_waiting", state == MeshState::Waiting),
                    (
                        "SELECT 1 FROM mesh_submitted",
                        state == MeshState::Submitted,
                    ),
                    ("SELECT 1 FROM mesh_accepted", state == MeshState::Accepted),
                    ("SELECT 1 FROM mesh_open", state.waits()),
                    ("SELECT 1 FROM mesh_closed", !state.waits()),
                    ("SELECT 1 FROM mesh_failed", failed),
                    ("SELECT 1 FROM mesh_counted", !failed),
                ] {
                    assert_eq!(tx.exists(query, ())?, expected, "{query} {state:?}");
                }
            }
            Ok(())
        });
    }

    #[test]
    fn a_change_is_noted_once_and_none_of_a_reaction_or_of_what_goes_to_the_radio() {
        on_empty(|tx| {
            let (id, _) = accept_for_mesh(tx, "$one:example.org", &["hello"], NOW)?[0];
            assert!(set_state(tx, id, MeshState::Submitted)?);
            assert!(!set_state(tx, id, MeshState::Submitted)?);
            assert!(take_changed(tx)?.is_empty());
            assert!(set_state(tx, id, MeshState::Accepted)?);
            assert_eq!(take_changed(tx)?, [event("$one:example.org")]);
            assert!(!set_state(tx, id, MeshState::Accepted)?);
            assert!(take_changed(tx)?.is_empty());
            tx.execute(
                "UPDATE mesh_outbox SET lane = ?1",
                [relay_model::Lane::Reaction],
            )?;
            assert!(set_state(tx, id, MeshState::Heard)?);
            assert!(take_changed(tx)?.is_empty());
            assert!(!set_state(tx, MeshRowId(99), MeshState::Heard)?);
            Ok(())
        });
    }
}
