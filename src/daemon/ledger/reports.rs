//! Stores the outcomes of sends, as the homeserver or the radio reported them.

use tracing::{debug, error, warn};

use super::super::counts::{Place, Way};
use super::apply::Applier;
use relay_model::{
    EventId, Lane, MeshRowId, MeshState, PacketId, RadioOutcome, RoomOutcome, RoomRowId,
};
use relay_store::mesh_report::{self, Retried};
use relay_store::{Result, outbox_mesh, outbox_room, story, summary};

impl Applier<'_> {
    pub(super) fn room_report(&mut self, outbox: RoomRowId, report: RoomOutcome) -> Result<()> {
        let tx = self.tx;
        let id = outbox_room::room_of(tx, outbox)?;
        let room = id.as_ref().map(ToString::to_string);
        match report {
            RoomOutcome::Sent { event } => {
                self.room_sent(outbox, &event, false)?;
                tx.log(move || debug!(%outbox, room, event_id = %event, "message sent"));
            }
            RoomOutcome::Retry { .. } => {}
            RoomOutcome::Parked { account, error } => {
                let only = id.as_deref().filter(|_| !account);
                // The row has ended: its room is unknown.
                if !account && only.is_none() {
                    return Ok(());
                }
                story::parked(tx, outbox, &error)?;
                outbox_room::park(tx, only, &error, self.now)?;
                tx.log(move || error!(%outbox, room, error, "the homeserver does not let us send here; what is meant for it waits"));
            }
            RoomOutcome::Refused { error } => {
                if let Some((room, _)) = summary::room_message(tx, outbox)? {
                    let counts = &mut self.outcome.counts;
                    counts.refused(Place::Room(room), Way::ToMatrix, "homeserver");
                }
                outbox_room::refused_by_server(tx, outbox, &error)?;
                tx.log(move || error!(%outbox, room, error, "the homeserver will never take this message; it is given up"));
            }
        }
        Ok(())
    }

    /// Ends a row whose event the homeserver has accepted, as it answered, or as the event came back first.
    pub(super) fn room_sent(
        &mut self,
        outbox: RoomRowId,
        event: &EventId,
        came_back: bool,
    ) -> Result<()> {
        let tx = self.tx;
        let message = summary::room_message(tx, outbox)?;
        let is_news = if came_back {
            outbox_room::came_back(tx, outbox, event)?
        } else {
            outbox_room::sent(tx, outbox, Some(event))?
        };
        if is_news && let Some((room, heard_on)) = message {
            self.outcome.counts.relayed(room, heard_on, Way::ToMatrix);
        }
        Ok(())
    }

    pub(super) fn radio_report(
        &mut self,
        outbox: MeshRowId,
        packet: PacketId,
        report: RadioOutcome,
    ) -> Result<()> {
        let tx = self.tx;
        let text = report.to_string();
        tx.log(move || debug!(%outbox, %packet, report = %text, "report of the radio"));
        // A late answer to an earlier try ends a row that waits: without it the row would be sent.
        let before = mesh_report::state(tx, outbox)?;
        self.outcome.must_last |= before.is_some_and(MeshState::waits);
        let became = |state| mesh_report::outcome(tx, outbox, state).map(drop);
        match report {
            RadioOutcome::Accepted { at, answered } => {
                let message = summary::mesh_message(tx, outbox)?;
                let is_news = if answered {
                    mesh_report::accepted(tx, outbox, at)?
                } else {
                    mesh_report::accepted_silently(tx, outbox, at)?
                };
                if is_news
                    && let Some(message) = message.filter(|it| it.ends_message && !it.was_taken)
                {
                    let counts = &mut self.outcome.counts;
                    counts.relayed(message.room, message.destination, Way::ToMesh);
                }
            }
            RadioOutcome::Heard => became(MeshState::Heard)?,
            RadioOutcome::Unheard => became(MeshState::Unheard)?,
            RadioOutcome::Delivered => became(MeshState::Delivered)?,
            RadioOutcome::Retry {
                after,
                new_id,
                written,
                reason,
            } => {
                let not_before = self.now + after;
                if !written {
                    mesh_report::not_tried(tx, outbox, packet, not_before, &reason)?;
                } else if let Retried::Waits(next) =
                    mesh_report::retry(tx, outbox, packet, not_before, new_id, &reason)?
                {
                    tx.log(move || debug!(%outbox, %packet, %next, reason, "the radio did not take a packet, trying again"));
                }
            }
            RadioOutcome::Refused(refusal) => {
                let message = summary::mesh_message(tx, outbox)?;
                let ended = mesh_report::refused(tx, outbox, packet, &refusal.to_string())?;
                let parts = ended.len();
                if let Some(message) = message.filter(|_| parts > 0) {
                    for place in [Place::Room(message.room), message.destination.into()] {
                        self.outcome.counts.refused(place, Way::ToMesh, "radio");
                    }
                }
                tx.log(
                    move || warn!(%outbox, %packet, reason = %refusal, parts, "the radio refused a packet"),
                );
            }
        }
        // Whatever the outcome, the next row of the queue may be due.
        match outbox_mesh::queue_of(tx, outbox)? {
            Some((destination, lane)) => {
                self.outcome.mesh.insert((destination, lane));
                if outbox_mesh::has_reactions(tx, destination)? {
                    self.outcome.mesh.insert((destination, Lane::Reaction));
                }
            }
            // The row was damaged, and is deleted.
            None => self.outcome.mesh.extend(outbox_mesh::queues(tx)?),
        }
        Ok(())
    }
}
