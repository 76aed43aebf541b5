//! Writes down what became of messages: what the server said, what the radio said.

use tracing::{debug, error, info, warn};

use crate::model::{OutboxId, PacketId, RadioOutcome, RoomOutcome, Timestamp};
use crate::store::mesh_report::{self, Retried};
use crate::store::{MeshState, StoreError, Tx, outbox_mesh, outbox_room};

use super::{Ledger, Outcome};

impl Ledger {
    pub(super) fn room_report(
        tx: &Tx<'_>,
        outbox: OutboxId,
        report: &RoomOutcome,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let room = outbox_room::room_of(tx, outbox)?;
        let room = room.as_ref().map_or("(ended)", |room| room.as_str());
        match report {
            RoomOutcome::Sent { event } => {
                debug!(%outbox, room, event_id = %event, "message sent");
                outbox_room::sent(tx, outbox, Some(event))?;
            }
            RoomOutcome::Retry { error, .. } => outbox_room::retry(tx, outbox, now, error)?,
            RoomOutcome::Parked { account, error } => {
                error!(%outbox, room, error, "the homeserver does not let us send here; what is meant for it waits");
                let id = outbox_room::room_of(tx, outbox)?;
                outbox_room::park(tx, if *account { None } else { id.as_deref() }, error, now)?;
            }
            RoomOutcome::Refused { error } => {
                error!(%outbox, room, error, "the homeserver will never take this message; it is given up");
                outbox_room::refuse(tx, outbox)?;
            }
        }
        Ok(())
    }

    pub(super) fn radio_report(
        tx: &Tx<'_>,
        outbox: OutboxId,
        packet: PacketId,
        report: &RadioOutcome,
        now: Timestamp,
        outcome: &mut Outcome,
    ) -> Result<(), StoreError> {
        debug!(%outbox, %packet, ?report, "report of the radio");
        match report {
            RadioOutcome::Accepted { at } => {
                mesh_report::accepted(tx, outbox, *at)?;
            }
            RadioOutcome::Heard => {
                mesh_report::outcome(tx, outbox, MeshState::Heard)?;
            }
            RadioOutcome::Unheard => {
                mesh_report::outcome(tx, outbox, MeshState::Unheard)?;
            }
            RadioOutcome::Delivered => {
                mesh_report::outcome(tx, outbox, MeshState::Delivered)?;
            }
            RadioOutcome::Retry {
                after,
                new_id,
                reason,
            } => match mesh_report::retry(tx, outbox, packet, now + *after, *new_id, reason)? {
                Retried::Waits(next) => {
                    info!(%outbox, %packet, %next, reason, "the radio did not take a packet, trying again");
                }
                Retried::Withdrawn | Retried::Late => {}
            },
            RadioOutcome::Refused(refusal) => {
                let ended = mesh_report::refused(tx, outbox, packet, &format!("{refusal:?}"))?;
                warn!(%outbox, %packet, ?refusal, parts = ended.len(), "the radio refused a packet");
            }
        }
        // Whatever became of it, what stands behind it may be due now.
        outcome.mesh.extend(outbox_mesh::queue_of(tx, outbox)?);
        Ok(())
    }
}
