//! Has the store keep what the bridge decided.

use tracing::{debug, info, warn};

use crate::bridge::{Action, DropReason, Spot, author_of};
use crate::model::{
    Destination, Event, EventId, Lane, MatrixEvent, MessagePair, NodeNum, Origin, OwnedEventId,
    OwnedRoomId, OwnedUserId, PacketId, RadioEvent, RoomId, Timestamp,
};
use crate::store::outbox_room::{self, NewRoomRow};
use crate::store::{
    StoreError, Tx, direct, edits, feedback, mesh_report, message_map, outbox_mesh, relayed, told,
};

use super::{Ledger, Outcome, describe, place, sender};

impl Ledger {
    pub(super) fn apply(
        &mut self,
        tx: &Tx<'_>,
        event: &Event,
        action: Action,
        now: Timestamp,
        outcome: &mut Outcome,
    ) -> Result<(), StoreError> {
        match action {
            Action::ToRoom { message, pair } => {
                let row = NewRoomRow {
                    pair: pair.as_deref().map(|pair| (self.radio, pair)),
                    ..NewRoomRow::of_bot(&message)
                };
                let id = outbox_room::insert(tx, &row, now)?;
                debug!(outbox = %id, room = %message.room, "accepted for a room");
                outcome.rooms.insert(message.room);
            }
            Action::ToMesh(message) => {
                let (destination, lane) = (message.destination, message.lane);
                let rows = outbox_mesh::insert(tx, self.radio, &message, now)?;
                for (id, packet) in &rows {
                    debug!(outbox = %id, %packet, %destination, "accepted for the mesh");
                }
                if let Event::Matrix(MatrixEvent::Text(text)) = event {
                    relayed::note_author(tx, &text.event, &author_of(text))?;
                }
                if let (Lane::Message, Some(source), Some((first, _))) =
                    (lane, &message.source, rows.first())
                {
                    self.accept_late(tx, source, *first, now, outcome)?;
                }
                outcome.mesh.insert((destination, lane));
            }
            Action::KeepPlace {
                room,
                event,
                sender,
                spot,
            } => {
                let pair = place_of(self.radio, room, (event, sender), spot, now);
                message_map::keep_place(tx, self.radio, &pair)?;
            }
            Action::Expire(source) => Self::came_too_late(tx, &source, now, outcome)?,
            Action::KeepDirect(message) => {
                info!(node = %message.sender.num, "a direct message to our node is kept");
                direct::keep(tx, self.radio, &message)?;
            }
            Action::Withdraw { room, event } => {
                Self::withdraw(tx, &room, &event, now, outcome)?;
            }
            Action::WithdrawSender { room, sender } => {
                Self::withdraw_sender(tx, &room, &sender, now, outcome)?;
                // What they wrote before the room took another's place is theirs as well.
                for before in self.predecessors(&room) {
                    Self::withdraw_sender(tx, &before, &sender, now, outcome)?;
                }
            }
            Action::KeepUndecryptable => {
                if let Event::Matrix(event) = event {
                    Self::keep_undecryptable(tx, event, now)?;
                }
            }
            Action::Change(change) => self.change(tx, event, change, now, outcome)?,
            Action::Rewrite { outbox, payload } => {
                let rewritten = mesh_report::rewrite(tx, outbox, &payload, None)?;
                // One more message that this packet stands for: who answers it answers the packet.
                if let (true, Event::Matrix(MatrixEvent::Text(text))) = (rewritten, event) {
                    message_map::stands_too(tx, outbox, &text.event, text.thread.as_deref())?;
                }
            }
            Action::Sign { room, event, sign } => {
                feedback::give(tx, &room, &event, sign.key(), now)?;
            }
            Action::Remember { what, until } => told::remember(tx, &what, until)?,
            Action::Drop(reason) => self.dropped(event, reason, outcome),
        }
        Ok(())
    }

    /// Counts and logs what is not relayed.
    fn dropped(&mut self, event: &Event, reason: DropReason, outcome: &mut Outcome) {
        if let Some((place, way)) = place(event) {
            outcome.counts.dropped(place, way, reason);
        }
        if let (DropReason::Echo, Event::Radio(RadioEvent::Text(text))) = (reason, event) {
            outcome.counts.echo(&text.sender);
        }
        // Once for each sender: a person has to act, and knows from one line.
        if reason.concerns_operator() && self.tell_operator(reason.name(), event) {
            warn!(reason = %reason, event = describe(event), sender = sender(event), "not relayed");
        } else {
            debug!(reason = %reason, event = describe(event), "not relayed");
        }
    }
}

impl Ledger {
    fn withdraw(
        tx: &Tx<'_>,
        room: &RoomId,
        event: &EventId,
        now: Timestamp,
        outcome: &mut Outcome,
    ) -> Result<(), StoreError> {
        outcome
            .withdrawn
            .extend(outbox_mesh::submitted_of(tx, room, event)?);
        let rows = mesh_report::withdraw(tx, room, event)?;
        if !rows.is_empty() {
            info!(event_id = %event, packets = rows.len(), "taken back before it was transmitted");
        }
        Self::forget_taken_away(tx, event, now)?;
        edits::forget_early(tx, event)
    }
}

/// Returns what stands for a message that is not transmitted.
fn place_of(
    radio: NodeNum,
    room: OwnedRoomId,
    (event, author): (OwnedEventId, OwnedUserId),
    spot: Spot,
    now: Timestamp,
) -> MessagePair {
    MessagePair {
        origin: Origin::Matrix,
        sender: radio,
        packet: PacketId::NONE,
        destination: Destination::Channel(spot.slot),
        channel: spot.channel,
        room: room.into(),
        event: Some(event),
        thread: None,
        author: Some(author),
        text: String::new(),
        alert: false,
        part: 0,
        at: now,
    }
}
