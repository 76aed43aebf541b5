//! Actions on rows for the mesh: withdrawal, change, expiry, refusal.

use tracing::{debug, info, warn};

use super::Applier;
use crate::daemon::counts::{Place, Way};
use relay_bridge::{Refused, Spot};
use relay_model::{
    Explained as _, Lane, MeshRowId, MeshState, NewVersion, OwnedEventId, OwnedRoomId, OwnedUserId,
    RoomId, Timestamp, UndecryptableEvent,
};
use relay_store::mesh_report::{Ended, Withdrawal};
use relay_store::{
    Result, backlog, edits, feedback, mesh_report, outbox_mesh, seen, single_values, undecryptable,
};

impl Applier<'_> {
    /// Withdraws waiting rows, also those that the pacer may hold. Returns how many packets waited.
    pub(super) fn take_back(&mut self, what: Withdrawal<'_>) -> Result<usize> {
        let withdrawn = mesh_report::withdraw(self.tx, what)?;
        self.outcome.withdrawn.extend(withdrawn.submitted);
        Ok(withdrawn.packets)
    }

    pub(super) fn withdraw(&mut self, room: &RoomId, event: OwnedEventId) -> Result<()> {
        let packets = self.take_back(Withdrawal::Event(room, &event))?;
        if packets > 0 {
            self.tx.log(
                move || debug!(event_id = %event, packets, "taken back before it was transmitted"),
            );
        }
        Ok(())
    }

    /// Withdraws the waiting messages of a person who was banned from a room, and deletes their undecryptable ones.
    pub(super) fn withdraw_sender(
        &mut self,
        room: OwnedRoomId,
        sender: OwnedUserId,
        written_by: Timestamp,
    ) -> Result<()> {
        let packets = self.take_back(Withdrawal::Sender(&room, &sender, written_by))?;
        for event in undecryptable::forget_sender(self.tx, &room, &sender, written_by)? {
            seen::mark_event(self.tx, &event, self.now)?;
        }
        if packets > 0 {
            self.tx.log(
                move || info!(%room, %sender, packets, "banned: what waited of them is taken back"),
            );
        }
        Ok(())
    }

    /// Withdraws everything that waits on account of a redacted event: its message, its correction, its key.
    pub(super) fn take_away(
        &mut self,
        room: &RoomId,
        event: OwnedEventId,
        correction: Option<MeshRowId>,
    ) -> Result<()> {
        let (tx, now) = (self.tx, self.now);
        if let Some(row) = correction {
            self.take_back(Withdrawal::Message(row))?;
            let event = event.clone();
            tx.log(move || debug!(event_id = %event, outbox = %row, "an edit was taken away: its correction is taken back before it was transmitted"));
        }
        feedback::close(tx, room, &event, now)?;
        if undecryptable::forget(tx, &event)? {
            seen::mark_event(tx, &event, now)?;
            let event = event.clone();
            tx.log(move || debug!(event_id = %event, "taken away before its key came"));
        }
        edits::forget_early(tx, &event)?;
        self.withdraw(room, event)
    }

    pub(super) fn rewrite(&mut self, row: MeshRowId, new: &NewVersion) -> Result<()> {
        let tx = self.tx;
        edits::rewrite(tx, row, new)?;
        let packets = new.draft.packets;
        tx.log(move || debug!(packets, outbox = %row, "changed before it was transmitted"));
        self.outcome.mesh.extend(outbox_mesh::queue_of(tx, row)?);
        Ok(())
    }

    /// Records expired messages for the notice to their rooms. Expired reactions get no notice.
    pub(super) fn note_expired(&mut self, ended: &[Ended]) -> Result<()> {
        let tx = self.tx;
        if ended.is_empty() {
            return Ok(());
        }
        let packets = ended.len();
        tx.log(move || debug!(packets, "packets for the mesh have expired"));
        let mut last = None;
        for row in ended {
            let about = row.about.as_ref();
            let Some(about) = about.filter(|it| it.lane != Lane::Reaction) else {
                continue;
            };
            // The parts of a message are adjacent, and count once.
            if last != Some(row.message) {
                last = Some(row.message);
                backlog::note_expired(tx, &about.source, about.is_edit, self.now)?;
                if let Some((destination, _)) = outbox_mesh::queue_of(tx, row.id)? {
                    let room = about.source.room.clone().into();
                    self.outcome.counts.expired(room, destination);
                }
            }
        }
        Ok(())
    }

    /// Ends expired rows; those that the pacer may hold are withdrawn first.
    pub(super) fn end_overdue(&mut self, unanswered: Timestamp) -> Result<()> {
        let tx = self.tx;
        let withdrawn = &mut self.outcome.withdrawn;
        withdrawn.extend(mesh_report::overdue(tx, self.now)?);
        let expired = mesh_report::expire(tx, self.now)?;
        self.note_expired(&expired)?;
        if let Some(next) = mesh_report::next_expiry(tx)? {
            self.outcome.look_by(next);
        }
        outbox_mesh::end_reactions_on_nothing(tx)?;
        for row in mesh_report::unanswered(tx, unanswered)? {
            mesh_report::outcome(tx, row, MeshState::Unknown)?;
        }
        Ok(())
    }

    pub(super) fn recover(&mut self) -> Result<()> {
        let tx = self.tx;
        let packets = mesh_report::recover(tx)?;
        if packets > 0 {
            tx.log(move || {
                info!(
                    packets,
                    "the radio may or may not have taken these, trying again under the same ids"
                );
            });
            // The radio may have taken them just now: the next text keeps its distance from this time.
            single_values::set_last_acceptance(tx, self.now)?;
        }
        feedback::recover(tx)
    }

    pub(super) fn move_packets(
        &mut self,
        packets: Vec<(MeshRowId, Spot)>,
        moved: usize,
    ) -> Result<()> {
        let tx = self.tx;
        for (row, to) in packets {
            mesh_report::move_to(tx, row, to.slot, to.channel)?;
            self.outcome.mesh.extend(outbox_mesh::queue_of(tx, row)?);
        }
        if moved > 0 {
            tx.log(move || {
                info!(
                    packets = moved,
                    "the channels have changed: what waits follows its channel to another slot"
                );
            });
        }
        Ok(())
    }

    pub(super) fn refuse(
        &mut self,
        row: MeshRowId,
        refused: Refused,
        is_first: bool,
    ) -> Result<()> {
        let tx = self.tx;
        let queue = outbox_mesh::queue_of(tx, row)?;
        let Some(ended) = mesh_report::refuse_waiting(tx, row, Some(refused.name()))? else {
            return Ok(());
        };
        tx.log(move || warn!(outbox = %row, reason = %refused, hint = refused.hint(), "what waited is not transmitted"));
        if let (true, Some(about)) = (is_first, ended.about) {
            let room = Place::Room(about.source.room.into());
            let destination = queue.map(|(destination, _)| Place::from(destination));
            for place in [Some(room), destination].into_iter().flatten() {
                let counts = &mut self.outcome.counts;
                counts.refused(place, Way::ToMesh, refused.name());
            }
        }
        Ok(())
    }
}

/// Logs that an event is kept, which the operator is told once of a sender, and that `dropped` older ones were given up for it.
pub(super) fn say_kept(event: &UndecryptableEvent, dropped: usize, tell: bool) {
    let (room, event_id, sender) = (&event.room, &event.event, &event.sender);
    if tell {
        warn!(
            %room, %event_id, %sender,
            "a message cannot be decrypted: its key has not arrived; it is kept until it does"
        );
    } else {
        debug!(%room, %event_id, %sender, "another message cannot be decrypted, and is kept");
    }
    if dropped > 0 {
        warn!(
            %room, dropped,
            "too many messages of this room or person wait for their keys: the oldest are given up, and the room is told"
        );
    }
}
