//! What the bridge decided on what waits for the mesh, or was sent there.

use tracing::{debug, info, warn};

use super::super::Outcome;
use crate::bridge::{Change, Refused, Spot};
use crate::daemon::counts::{Place, Way};
use crate::model::{
    Lane, MeshRowId, MeshState, NodeNum, OwnedEventId, OwnedRoomId, OwnedUserId, RoomId, Timestamp,
    UndecryptableEvent,
};
use crate::store::late::Kept;
use crate::store::mesh_report::{Ended, Withdrawal};
use crate::store::{StoreError, Tx, backlog, edits, late, mesh_report, outbox_mesh, seen};

pub(super) fn withdraw(
    tx: &Tx<'_>,
    room: &RoomId,
    event: OwnedEventId,
    outcome: &mut Outcome,
) -> Result<(), StoreError> {
    let withdrawn = mesh_report::withdraw(tx, Withdrawal::Event(room, &event))?;
    outcome.withdrawn.extend(withdrawn.submitted);
    let packets = withdrawn.packets;
    if packets > 0 {
        outcome
            .log(move || info!(event_id = %event, packets, "taken back before it was transmitted"));
    }
    Ok(())
}

/// Takes back what waits of a person who was banned from a room, and forgets what nobody could read yet.
pub(super) fn withdraw_sender(
    tx: &Tx<'_>,
    room: OwnedRoomId,
    sender: OwnedUserId,
    now: Timestamp,
    outcome: &mut Outcome,
) -> Result<(), StoreError> {
    let withdrawn = mesh_report::withdraw(tx, Withdrawal::Sender(&room, &sender))?;
    outcome.withdrawn.extend(withdrawn.submitted);
    let packets = withdrawn.packets;
    for event in late::forget_sender(tx, &room, &sender)? {
        seen::mark_event(tx, &event, now)?;
    }
    if packets > 0 {
        outcome.log(
            move || info!(%room, %sender, packets, "banned: what waited of them is taken back"),
        );
    }
    Ok(())
}

pub(super) fn say_kept(event: &UndecryptableEvent, kept: Kept) {
    let Kept::Now { dropped } = kept else {
        return;
    };
    let room = &event.room;
    warn!(
        %room, event_id = %event.event, sender = %event.sender,
        "a message cannot be decrypted: its key has not arrived; it is kept until it does"
    );
    if dropped > 0 {
        warn!(
            %room, dropped,
            "too many messages of this room or person wait for their keys: the oldest are given up, and the room is told"
        );
    }
}

pub(super) fn change(
    tx: &Tx<'_>,
    radio: NodeNum,
    change: Change,
    now: Timestamp,
    outcome: &mut Outcome,
) -> Result<(), StoreError> {
    match change {
        Change::Rewrite { row, new } => {
            if edits::rewrite(tx, row, &new)? {
                let packets = new.draft.packets;
                outcome.log(
                    move || debug!(packets, outbox = %row, "changed before it was transmitted"),
                );
                outcome.mesh.extend(outbox_mesh::queue_of(tx, row)?);
            }
        }
        Change::Correct(message) => {
            let (destination, lane) = (message.destination, message.lane);
            let (id, packet) = outbox_mesh::insert(tx, radio, &message, now)?;
            outcome.log(move || debug!(outbox = %id, %packet, %destination, "correction accepted for the mesh"));
            outcome.mesh.insert((destination, lane));
        }
        Change::Withdraw { row } => {
            let packets = mesh_report::withdraw(tx, Withdrawal::Message(row))?.packets;
            outcome.log(move || debug!(packets, outbox = %row, "a correction is taken back before it was transmitted"));
        }
        Change::Keep {
            room,
            target,
            sender,
            event,
            edit,
        } => {
            edits::keep_early(tx, &target, &room, &sender, (&event, &edit), now)?;
            outcome.log(move || debug!(event_id = %target, "an edit is kept until its message comes, or is sent"));
        }
    }
    Ok(())
}

/// Takes note of rows that have expired, for the notice that their rooms get. A failed tapback is only counted.
pub(super) fn note_expired(
    tx: &Tx<'_>,
    ended: &[Ended],
    now: Timestamp,
    outcome: &mut Outcome,
) -> Result<(), StoreError> {
    if ended.is_empty() {
        return Ok(());
    }
    let packets = ended.len();
    outcome.log(move || debug!(packets, "packets for the mesh have expired"));
    let mut last = None;
    for row in ended.iter().filter(|row| row.lane != Lane::Reaction) {
        let Some(source) = &row.source else { continue };
        // The parts of a message stand together.
        if last != Some(row.message) {
            last = Some(row.message);
            backlog::note_expired(tx, source, now)?;
            if let Some((destination, _)) = outbox_mesh::queue_of(tx, row.id)? {
                let room = source.room.clone().into();
                outcome.counts.expired(room, destination);
            }
        }
    }
    Ok(())
}

/// Ends what is worthless now. What the radio's pacer holds is called back first.
pub(super) fn end_overdue(
    tx: &Tx<'_>,
    unanswered: Timestamp,
    now: Timestamp,
    outcome: &mut Outcome,
) -> Result<(), StoreError> {
    outcome.withdrawn.extend(mesh_report::overdue(tx, now)?);
    let expired = mesh_report::expire(tx, now)?;
    note_expired(tx, &expired, now, outcome)?;
    if let Some(next) = mesh_report::next_expiry(tx)? {
        outcome.look_by(next);
    }
    outbox_mesh::end_reactions_on_nothing(tx)?;
    for row in mesh_report::unanswered(tx, unanswered)? {
        mesh_report::outcome(tx, row, MeshState::Unknown)?;
    }
    Ok(())
}

pub(super) fn move_packets(
    tx: &Tx<'_>,
    packets: Vec<(MeshRowId, Spot)>,
    moved: usize,
    outcome: &mut Outcome,
) -> Result<(), StoreError> {
    for (row, to) in packets {
        mesh_report::move_to(tx, row, to.slot, to.channel)?;
        outcome.mesh.extend(outbox_mesh::queue_of(tx, row)?);
    }
    if moved > 0 {
        outcome.log(move || {
            info!(
                packets = moved,
                "the channels have changed: what waits follows its channel to another slot"
            );
        });
    }
    Ok(())
}

pub(super) fn refuse(
    tx: &Tx<'_>,
    row: MeshRowId,
    refused: Refused,
    is_first: bool,
    outcome: &mut Outcome,
) -> Result<(), StoreError> {
    let queue = outbox_mesh::queue_of(tx, row)?;
    let Some(ended) = mesh_report::refuse_waiting(tx, row)? else {
        return Ok(());
    };
    outcome.log(move || warn!(outbox = %row, reason = %refused, "what waited is not transmitted"));
    if let (true, Some(source)) = (is_first, ended.source) {
        let room = Place::Room(source.room.into());
        let destination = queue.map(|(destination, _)| Place::from(destination));
        for place in [Some(room), destination].into_iter().flatten() {
            let counts = &mut outcome.counts;
            counts.refused(place, Way::ToMesh, refused.name());
        }
    }
    Ok(())
}
