//! Writes down what became of messages: what the server said, what the radio said.

use tracing::{debug, error, info, warn};

use super::super::counts::{Place, Way};
use super::{Ledger, Outcome};
use crate::model::{
    EventId, Lane, MeshRowId, PacketId, RadioOutcome, RoomOutcome, RoomRowId, SendReport, Timestamp,
};
use crate::store::mesh_report::{self, Retried};
use crate::store::{StoreError, Tx, outbox_mesh, outbox_room, summary};

impl Ledger {
    pub(super) fn report(
        tx: &Tx<'_>,
        report: SendReport,
        now: Timestamp,
        outcome: &mut Outcome,
    ) -> Result<(), StoreError> {
        match report {
            SendReport::Room {
                outbox,
                outcome: report,
            } => Self::room_report(tx, outbox, report, now, outcome),
            SendReport::Radio {
                outbox,
                packet,
                outcome: report,
            } => Self::radio_report(tx, outbox, packet, report, now, outcome),
        }
    }

    fn room_report(
        tx: &Tx<'_>,
        outbox: RoomRowId,
        report: RoomOutcome,
        now: Timestamp,
        outcome: &mut Outcome,
    ) -> Result<(), StoreError> {
        let id = outbox_room::room_of(tx, outbox)?;
        let room = id
            .as_ref()
            .map_or("(ended)", |room| room.as_str())
            .to_owned();
        match report {
            RoomOutcome::Sent { event } => {
                Self::room_sent(tx, outbox, &event, outcome)?;
                outcome.log(move || debug!(%outbox, room, event_id = %event, "message sent"));
            }
            RoomOutcome::Retry { error, .. } => outbox_room::retry(tx, outbox, now, &error)?,
            RoomOutcome::Parked { account, error } => {
                outbox_room::park(tx, if account { None } else { id.as_deref() }, &error, now)?;
                outcome.log(move || error!(%outbox, room, error, "the homeserver does not let us send here; what is meant for it waits"));
            }
            RoomOutcome::Refused { error } => {
                if let Some((room, _)) = summary::room_message(tx, outbox)? {
                    let place = Place::Room(room);
                    outcome.counts.refused(place, Way::ToMatrix, "homeserver");
                }
                outbox_room::refuse(tx, outbox)?;
                outcome.log(move || error!(%outbox, room, error, "the homeserver will never take this message; it is given up"));
            }
        }
        Ok(())
    }

    /// Ends a row that the homeserver has.
    pub(super) fn room_sent(
        tx: &Tx<'_>,
        outbox: RoomRowId,
        event: &EventId,
        outcome: &mut Outcome,
    ) -> Result<(), StoreError> {
        let message = summary::room_message(tx, outbox)?;
        if outbox_room::sent(tx, outbox, Some(event))?
            && let Some((room, heard_on)) = message
        {
            outcome.counts.relayed(room, heard_on, Way::ToMatrix);
        }
        Ok(())
    }

    fn radio_report(
        tx: &Tx<'_>,
        outbox: MeshRowId,
        packet: PacketId,
        report: RadioOutcome,
        now: Timestamp,
        outcome: &mut Outcome,
    ) -> Result<(), StoreError> {
        let told = report.clone();
        outcome.log(move || debug!(%outbox, %packet, report = ?told, "report of the radio"));
        match report {
            RadioOutcome::Accepted { at } => {
                let message = summary::mesh_message(tx, outbox)?;
                if mesh_report::accepted(tx, outbox, at)?
                    && let Some(message) = message.filter(|it| it.ends_message && !it.was_taken)
                {
                    let counts = &mut outcome.counts;
                    counts.relayed(message.room, message.destination, Way::ToMesh);
                }
            }
            RadioOutcome::Heard | RadioOutcome::Unheard | RadioOutcome::Delivered => {
                mesh_report::outcome(tx, outbox, report.state())?;
            }
            RadioOutcome::Retry {
                after,
                new_id,
                written: true,
                reason,
            } => match mesh_report::retry(tx, outbox, packet, now + after, new_id, &reason)? {
                Retried::Waits(next) => outcome.log(move || {
                    info!(%outbox, %packet, %next, reason, "the radio did not take a packet, trying again");
                }),
                Retried::Withdrawn | Retried::Late => {}
            },
            RadioOutcome::Retry {
                after,
                new_id: _,
                written: false,
                reason,
            } => {
                mesh_report::not_tried(tx, outbox, packet, now + after, &reason)?;
            }
            RadioOutcome::Refused(refusal) => {
                let message = summary::mesh_message(tx, outbox)?;
                let ended = mesh_report::refused(tx, outbox, packet, &format!("{refusal:?}"))?;
                let parts = ended.len();
                if let Some(message) = message.filter(|_| parts > 0) {
                    for place in [Place::Room(message.room), message.destination.into()] {
                        outcome.counts.refused(place, Way::ToMesh, "radio");
                    }
                }
                outcome.log(
                    move || warn!(%outbox, %packet, ?refusal, parts, "the radio refused a packet"),
                );
            }
        }
        // Whatever became of it, what stands behind it may be due now.
        if let Some((destination, lane)) = outbox_mesh::queue_of(tx, outbox)? {
            outcome.mesh.insert((destination, lane));
            if outbox_mesh::has_reactions(tx, destination)? {
                outcome.mesh.insert((destination, Lane::Reaction));
            }
        }
        Ok(())
    }
}
