//! The state of a packet for the mesh: the one place that changes it.
//!
//! Statements name states by the views of `migrations/0014_states.sql`, or bind a [`MeshState`].

use super::{StoreError, Tx, feedback};
use crate::model::{MeshRowId, MeshState};

/// Returns what became of a row so far.
pub fn state(tx: &Tx<'_>, id: MeshRowId) -> Result<Option<MeshState>, StoreError> {
    tx.first("SELECT state FROM mesh_outbox WHERE id = ?1", [id], |row| {
        row.get(0)
    })
}

/// Gives a row this state, and notes the change for the sign of its message. Returns false if it has it already, or is
/// gone.
pub(super) fn set_state(tx: &Tx<'_>, id: MeshRowId, state: MeshState) -> Result<bool, StoreError> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Lane;
    use crate::store::samples::*;

    #[test]
    fn the_views_hold_what_they_are_named_after() {
        on_empty(|tx| {
            let (id, _) = accept_for_mesh(tx, "$one:example.org", &["hello"], NOW)?[0];
            for state in MeshState::ALL {
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
            assert!(feedback::take_changed(tx)?.is_empty());
            assert!(set_state(tx, id, MeshState::Accepted)?);
            assert_eq!(feedback::take_changed(tx)?, [event("$one:example.org")]);
            assert!(!set_state(tx, id, MeshState::Accepted)?);
            assert!(feedback::take_changed(tx)?.is_empty());
            tx.execute("UPDATE mesh_outbox SET lane = ?1", [Lane::Reaction])?;
            assert!(set_state(tx, id, MeshState::Heard)?);
            assert!(feedback::take_changed(tx)?.is_empty());
            assert!(!set_state(tx, MeshRowId(99), MeshState::Heard)?);
            Ok(())
        });
    }
}
