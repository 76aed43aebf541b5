//! The state of a packet for the mesh: the one place that changes it, and the end of what waits.
//!
//! Statements name states by the views of `migrations/0014_states.sql`, or bind a [`MeshState`].

use std::error::Error;

use tracing::error;

use super::columns::{Bindings, Row, mesh_source};
use super::{Result, StoreError, Tx, feedback, message_map};
use relay_model::{Lane, MeshRowId, MeshSource, MeshState};

/// A row whose message is over, for the sign or the notice that its sender gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// The row.
    pub id: MeshRowId,
    /// The row of its message's first part.
    pub message: MeshRowId,
    /// Which part, from 0.
    pub part: u8,
    /// Its lane.
    pub lane: Lane,
    /// It corrects what was sent.
    pub is_edit: bool,
    /// The Matrix message behind it; `None` for an answer of our own.
    pub source: Option<MeshSource>,
}

/// Returns what became of a row so far.
pub fn state(tx: &Tx<'_>, id: MeshRowId) -> Result<Option<MeshState>> {
    tx.first("SELECT state FROM mesh_outbox WHERE id = ?1", [id], |row| {
        row.get(0)
    })
}

/// Gives a row this state, and notes the change for the sign of its message. Returns false if it has it already, or is
/// gone.
pub(super) fn set_state(tx: &Tx<'_>, id: MeshRowId, state: MeshState) -> Result<bool> {
    let changed = tx.execute(
        "UPDATE mesh_outbox SET state = ?2 WHERE id = ?1 AND state <> ?2",
        (id, state),
    )?;
    // Handed to the radio, it waits as before for who looks at its sign.
    if changed > 0 && state != MeshState::Submitted {
        feedback::row_changed(tx, id)?;
    }
    Ok(changed > 0)
}

/// Ends a row that waits. What was never tried is forgotten by the message map: nobody on the mesh can have it.
pub(super) fn end_waiting(tx: &Tx<'_>, id: MeshRowId, state: MeshState) -> Result<()> {
    set_state(tx, id, state)?;
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

/// Ends a row that waits, whatever its columns hold: where they do not pass an UPDATE it is deleted.
pub(super) fn end_anyhow(tx: &Tx<'_>, id: MeshRowId, state: MeshState) -> Result<()> {
    if tx.apart(|| end_waiting(tx, id, state))?.is_err() {
        // Its message is looked at all the same, and nobody on the mesh answers it.
        drop(tx.apart(|| feedback::row_changed(tx, id))?);
        drop(tx.apart(|| message_map::forget_mesh_row(tx, id, None))?);
        tx.execute("DELETE FROM mesh_outbox WHERE id = ?1", [id])?;
    }
    Ok(())
}

/// Returns those whole rows of the table that can be read. Each other one ends, if it waits: it can never be sent.
pub(super) fn readable<T>(
    tx: &Tx<'_>,
    sql: &'static str,
    parameters: impl Bindings,
    mut read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
) -> Result<Vec<T>> {
    let rows: Vec<(MeshRowId, _)> =
        tx.all(sql, parameters, |row| Ok((row.get("id")?, read(row))))?;
    let mut readable = Vec::with_capacity(rows.len());
    for (id, row) in rows {
        match StoreError::of_row(row)? {
            Ok(row) => readable.push(row),
            Err(error) => {
                let waits = tx.exists("SELECT 1 FROM mesh_waiting WHERE id = ?1", [id])?;
                if waits {
                    end_anyhow(tx, id, MeshState::Refused)?;
                }
                tx.log(move || {
                    error!(
                        outbox = %id,
                        error = &error as &dyn Error,
                        given_up = waits,
                        "a packet for the mesh cannot be read; please report this"
                    );
                });
            }
        }
    }
    Ok(readable)
}

/// Ends what waits of the rows that a statement returns whole. Returns them.
pub(super) fn end_all(
    tx: &Tx<'_>,
    sql: &'static str,
    parameters: impl Bindings,
    state: MeshState,
) -> Result<Vec<Ended>> {
    let rows = readable(tx, sql, parameters, ended)?;
    for row in &rows {
        end_anyhow(tx, row.id, state)?;
    }
    Ok(rows)
}

/// Reads a whole row of the table.
pub(super) fn ended(row: &Row<'_>) -> rusqlite::Result<Ended> {
    Ok(Ended {
        id: row.get("id")?,
        message: row.get("message")?,
        part: row.get("part")?,
        lane: row.get("lane")?,
        is_edit: row.get::<_, u8>("correction")? > 0,
        source: mesh_source(row)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::*;

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
            tx.execute("UPDATE mesh_outbox SET lane = ?1", [Lane::Reaction])?;
            assert!(set_state(tx, id, MeshState::Heard)?);
            assert!(take_changed(tx)?.is_empty());
            assert!(!set_state(tx, MeshRowId(99), MeshState::Heard)?);
            Ok(())
        });
    }
}
