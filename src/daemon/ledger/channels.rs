//! What waits follows its channel: to another slot, on another radio, after a correction of the configuration.

use tracing::{info, warn};

use crate::bridge::{Bridge, Refused, Spot};
use crate::model::{Channel, Event, Lane, MeshRowId, Timestamp};
use crate::store::mesh_report::{self, OnChannel};
use crate::store::{StoreError, Tx, outbox_mesh, told};

use super::{Ledger, Outcome, Place, Way};

impl Ledger {
    /// Has what waits go where its rooms speak with these channels of the radio (`None`: those that are known), and
    /// refuses what has no channel any more. The radio must not be asked to take anything before; what it has is called
    /// back.
    pub(super) fn follow_channels(
        &mut self,
        tx: &Tx<'_>,
        channels: Option<&[Channel]>,
        (cause, now): (&Event, Timestamp),
        outcome: &mut Outcome,
    ) -> Result<(), StoreError> {
        let mut moved = 0_usize;
        for row in mesh_report::on_channels(tx)? {
            if self.follow_channel(tx, &row, channels, (cause, now), outcome)? {
                moved += 1;
            }
        }
        if moved > 0 {
            info!(
                packets = moved,
                "the channels have changed: what waits follows its channel to another slot"
            );
        }
        Ok(())
    }

    /// Refuses what came back from the radio if its channel was gone meanwhile.
    pub(super) fn refuse_what_is_back(
        &mut self,
        tx: &Tx<'_>,
        id: MeshRowId,
        cause: (&Event, Timestamp),
        outcome: &mut Outcome,
    ) -> Result<(), StoreError> {
        match mesh_report::on_channel(tx, id)? {
            Some(row) if row.refused && !row.submitted => {
                self.follow_channel(tx, &row, None, cause, outcome)?;
                Ok(())
            }
            Some(_) | None => Ok(()),
        }
    }

    /// The same for one packet. Returns whether it goes to another slot.
    fn follow_channel(
        &mut self,
        tx: &Tx<'_>,
        row: &OnChannel,
        channels: Option<&[Channel]>,
        cause: (&Event, Timestamp),
        outcome: &mut Outcome,
    ) -> Result<bool, StoreError> {
        let from = Spot {
            slot: row.slot,
            channel: row.channel,
        };
        let goes = match self.bridge.moved(&row.room, from, row.bound, channels) {
            // Its slot may be another channel's now.
            Ok(_) if row.refused => Err(Refused::NoChannel),
            goes => goes,
        };
        match goes {
            Ok(to) if to == from => return Ok(false),
            Ok(to) => {
                mesh_report::move_to(tx, row.id, to.slot, to.channel)?;
                if to.slot == from.slot {
                    return Ok(false);
                }
                outcome.mesh.extend(outbox_mesh::queue_of(tx, row.id)?);
            }
            // It may be on the air: its sender is told when it is back.
            Err(_) if row.submitted => mesh_report::refuse_later(tx, row.id)?,
            Err(refused) => self.refuse(tx, row.id, refused, cause, outcome)?,
        }
        if row.submitted {
            outcome.withdrawn.push(row.id);
        }
        Ok(goes.is_ok())
    }

    /// Refuses a packet that waits, and tells its sender, once for all parts of a message.
    fn refuse(
        &mut self,
        tx: &Tx<'_>,
        id: MeshRowId,
        refused: Refused,
        (cause, now): (&Event, Timestamp),
        outcome: &mut Outcome,
    ) -> Result<(), StoreError> {
        let destination = outbox_mesh::queue_of(tx, id)?.map(|(destination, _)| destination);
        let Some(row) = mesh_report::refuse_waiting(tx, id)? else {
            return Ok(());
        };
        warn!(outbox = %id, reason = %refused, "what waited is not transmitted");
        if !mesh_report::is_first_refused(tx, &row)? {
            return Ok(());
        }
        let Some(source) = row.source else {
            return Ok(());
        };
        let room = Place::Room(source.room.clone().into());
        for place in [Some(room), destination.map(Place::from)]
            .into_iter()
            .flatten()
        {
            outcome.counts.refused(place, Way::ToMesh, refused.name());
        }
        // A reaction is not worth a notice.
        if row.lane == Lane::Reaction {
            return Ok(());
        }
        let names = Bridge::notices_about(&source);
        let told = told::told(tx, names.iter().map(String::as_str), now)?;
        for action in self.bridge.refuse_waiting(&source, refused, &told, now) {
            self.apply(tx, cause, action, now, outcome)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
