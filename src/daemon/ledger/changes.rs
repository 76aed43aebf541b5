//! Keeps what the bridge decided about changed messages, and takes back what a banned person wrote.

use tracing::{debug, info};

use crate::bridge::{Change, EarlyEdit};
use crate::model::{RoomId, Timestamp, UserId};
use crate::store::edits::{self, NewText};
use crate::store::outbox_mesh::{self, NewMeshMessage};
use crate::store::{StoreError, Tx, mesh_report};

use super::apply::source_of;
use super::{Ledger, Outcome};

impl Ledger {
    pub(super) fn change(
        &self,
        tx: &Tx<'_>,
        change: Change,
        now: Timestamp,
        outcome: &mut Outcome,
    ) -> Result<(), StoreError> {
        match change {
            Change::Rewrite { row, new } => {
                let text = NewText {
                    parts: &new.parts,
                    text: &new.text,
                    lane: new.lane,
                    alert: new.alert,
                    not_before: new.not_before,
                };
                if edits::rewrite_message(tx, row, &text, now)? {
                    debug!(outbox = %row, packets = new.parts.len(), "changed before it was transmitted");
                    outcome.mesh.extend(outbox_mesh::queue_of(tx, row)?);
                }
            }
            Change::Correct {
                destination,
                number,
                version,
                source,
                expires,
            } => {
                let source = source_of(*source);
                let message = NewMeshMessage {
                    radio: self.radio,
                    destination,
                    lane: version.lane,
                    parts: &version.parts,
                    source: Some(&source),
                    not_before: version.not_before,
                    expires,
                };
                for (id, packet) in edits::insert_correction(tx, &message, number, now)? {
                    debug!(outbox = %id, %packet, %destination, number, "correction accepted for the mesh");
                }
                outcome.mesh.insert((destination, version.lane));
            }
            Change::Keep {
                room,
                target,
                sender,
                event,
                edit: EarlyEdit { emote, body },
            } => {
                let edit = edits::EarlyEdit { emote, body };
                edits::keep_early(tx, &target, &room, &sender, (&event, &edit), now)?;
                debug!(event_id = %target, "an edit came before its message: it is kept");
            }
        }
        Ok(())
    }

    /// Takes back what waits of a person who was banned from a room.
    pub(super) fn withdraw_sender(
        tx: &Tx<'_>,
        room: &RoomId,
        sender: &UserId,
        now: Timestamp,
        outcome: &mut Outcome,
    ) -> Result<(), StoreError> {
        outcome
            .withdrawn
            .extend(outbox_mesh::submitted_by(tx, room, sender)?);
        let rows = mesh_report::withdraw_sender(tx, room, sender)?;
        if !rows.is_empty() {
            info!(%room, %sender, packets = rows.len(), "banned: what waited of them is taken back");
        }
        Self::forget_unread_of(tx, room, sender, now)
    }
}
