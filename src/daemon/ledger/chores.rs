//! What the ledger does from time to time, and once at a start: ends what is over, forgets what is old.

use std::time::Duration;

use tracing::warn;

use crate::config::Config;
use crate::model::{RoomOrAliasId, Timestamp};
use crate::store::{MeshState, StoreError, Tx, mesh_report, outbox_mesh, outbox_room, retention};

use super::{Ledger, Outcome};

/// After that nothing more is expected to be heard of a packet (design: 180 s on slow presets).
const UNKNOWN_AFTER: Duration = Duration::from_mins(3);
/// A parked room gets one try after that, in case nothing told us of a change.
const PARKED_RETRY: Duration = Duration::from_mins(5);

impl Ledger {
    /// Ends what has expired, forgets what is too old, and gives parked rooms another try.
    pub(in crate::daemon) fn housekeeping(
        &mut self,
        tx: &Tx<'_>,
        now: Timestamp,
        outcome: &mut Outcome,
    ) -> Result<(), StoreError> {
        Self::expire(tx, now, outcome)?;
        for row in mesh_report::unanswered(tx, now - UNKNOWN_AFTER)? {
            mesh_report::outcome(tx, row, MeshState::Unknown)?;
        }
        // A worker that ended just when something came is started again.
        outcome.mesh.extend(outbox_mesh::queues(tx)?);
        self.tell_expired(tx, now, outcome)?;
        retention::prune(tx, now, self.keep_days, self.keep_pairs)?;
        if now.since(self.unparked_at) >= PARKED_RETRY {
            self.unparked_at = now;
            for entry in outbox_room::parked(tx)? {
                outbox_room::unpark(tx, entry.room.as_deref())?;
            }
            outcome
                .changed
                .extend(outbox_room::waiting(tx)?.into_iter().map(|it| it.room));
        }
        Ok(())
    }
}

/// Ends what an earlier configuration accepted and this one forbids: a restriction holds from the start that it is set for.
pub(super) fn end_forbidden(tx: &Tx<'_>, config: &Config) -> Result<(), StoreError> {
    // A room that is mapped by its alias may be any room until a server has told which.
    let known = config
        .matrix_rooms
        .iter()
        .all(|mapped| mapped.id.is_room_id());
    let directions = |room: &RoomOrAliasId| {
        let mapped = config
            .matrix_rooms
            .iter()
            .filter(move |mapped| *mapped.id == *room);
        mapped.map(|mapped| mapped.direction).collect::<Vec<_>>()
    };
    let mut ended = 0;
    for (room, sender) in outbox_mesh::waiting_senders(tx)? {
        let directions = directions((&*room).into());
        let mapped = directions.iter().any(|direction| direction.to_mesh())
            || (directions.is_empty() && !known);
        if !(config.meshtastic.broadcast_enabled && mapped && config.matrix.permits(&sender)) {
            ended += mesh_report::withdraw_sender(tx, &room, &sender)?.len();
        }
    }
    for waiting in outbox_room::waiting(tx)? {
        let directions = directions(&waiting.room);
        let mapped = directions.iter().any(|direction| direction.to_matrix())
            || (directions.is_empty() && !known);
        if !mapped {
            ended += outbox_room::refuse_room(tx, &waiting.room)?;
        }
    }
    if ended > 0 {
        warn!(
            messages = ended,
            "these waited, and the configuration does not permit them any more: they are given up"
        );
    }
    Ok(())
}
