//! Follows the rooms of the configuration: which they are, what is known of each, and what becomes of what waits for one that
//! is replaced, has lost its alias, or is not mapped any more. Nothing is given up, or goes elsewhere, without a line in
//! the log.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use tracing::{info, warn};

use crate::bridge::{Mapping, Succession, Waiting};
use crate::config::{Config, Direction, Feedback};
use crate::model::{
    JoinedRoom, OldRoom, OwnedRoomId, OwnedRoomOrAliasId, RoomId, RoomOrAliasId, Timestamp,
    Tombstone,
};
use crate::store::mapped_rooms;
use crate::store::mesh_report::Withdrawal;
use crate::store::{
    StoreError, Tx, feedback as signs, known_rooms, mesh_report, outage, outbox_mesh, outbox_room,
};

use super::super::counts::{Place, Way};
use super::{Ledger, Outcome};
use crate::bridge::DropReason;

/// What is under way to a room gets so long before what waits behind it goes to another.
const UNDER_WAY: Duration = Duration::from_secs(5);

impl Ledger {
    /// Takes note of a room that is joined, or has changed.
    pub(super) fn joined(
        &mut self,
        tx: &Tx<'_>,
        room: &JoinedRoom,
        outcome: &mut Outcome,
    ) -> Result<(), StoreError> {
        if self.rooms.get(&room.room) != Some(room) && !room.configured.is_empty() {
            info!(room = %room.room, name = room.name, encrypted = room.encrypted, "room joined");
            if room.public && !self.chosen_senders {
                warn!(
                    room = %room.room,
                    "anyone may join this room and so put messages on the air: set matrix.allowed_users"
                );
            }
        }
        self.take_names_back(&room.configured);
        self.rooms.insert(room.room.clone(), room.clone());
        let id: OwnedRoomOrAliasId = room.room.clone().into();
        known_rooms::note(tx, &room.room, &room.configured)?;
        for name in &room.configured {
            self.names.insert(name.clone(), room.room.clone());
            if *name != id {
                outbox_room::rename_room(tx, name, &id)?;
            }
        }
        let last = OldRoom {
            room: room.room.clone(),
            alias: room.configured.iter().find(|name| **name != id).cloned(),
            encrypted: room.encrypted,
            public: room.public,
            tombstone: room.tombstone.clone(),
        };
        mapped_rooms::note(tx, &last)?;
        if room.may_write {
            outbox_room::unpark(tx, Some(&id))?;
            outcome.changed.insert(id);
        }
        if room.may_react {
            signs::permit(tx, Some(&room.room))?;
        } else if signs::forbid(tx, &room.room)? && self.feedback != Feedback::Off {
            warn!(room = %room.room, "signs cannot be shown in this room: the bot may not react there, or not take its reactions back");
        }
        outcome.feedback = true;
        Ok(())
    }

    /// Takes note that an alias stands for a room, whether we are in it or not.
    pub(super) fn alias_moved(
        &mut self,
        tx: &Tx<'_>,
        alias: &OwnedRoomOrAliasId,
        room: &OwnedRoomId,
    ) -> Result<(), StoreError> {
        self.take_names_back(std::slice::from_ref(alias));
        self.names.insert(alias.clone(), room.clone());
        if self.rooms.contains_key(room) {
            return known_rooms::note(tx, room, std::slice::from_ref(alias));
        }
        known_rooms::forget(tx, alias)
    }

    /// Takes note that we are not in a room any more.
    pub(super) fn left(
        &mut self,
        tx: &Tx<'_>,
        room: &RoomId,
        tombstone: Option<&Tombstone>,
    ) -> Result<(), StoreError> {
        self.rooms.remove(room);
        match tombstone {
            Some(tombstone) => mapped_rooms::note_tombstone(tx, room, tombstone),
            None => Ok(()),
        }
    }

    /// A name stands for one room.
    fn take_names_back(&mut self, names: &[OwnedRoomOrAliasId]) {
        for room in self.rooms.values_mut() {
            room.configured.retain(|name| !names.contains(name));
        }
    }

    /// Looks at every room that something waits for, and has what waits stay, wait, go to another room, or end.
    pub(super) fn settle_rooms(
        &mut self,
        tx: &Tx<'_>,
        now: Timestamp,
        outcome: &mut Outcome,
    ) -> Result<(), StoreError> {
        let mut heirs = BTreeMap::new();
        let mut waits = HashSet::new();
        for old in old_rooms(tx)? {
            let mapping = Mapping {
                configured: &self.configured,
                aliases: &self.names,
                joined: &self.rooms,
            };
            let room = &old.room;
            let succession = mapping.succession(&old);
            let is_unmapped = matches!(
                succession,
                Succession::Waits {
                    why: Waiting::Unmapped,
                    ..
                }
            );
            if is_unmapped {
                mapped_rooms::set_aside(tx, room)?;
            } else if mapped_rooms::take_up(tx, room)? > 0 {
                outcome.mesh.extend(outbox_mesh::queues(tx)?);
            }
            match succession {
                Succession::Stays => {
                    if mapped_rooms::hold(tx, room, None)? {
                        outcome.rooms.insert(room.clone().into());
                    }
                }
                Succession::Waits { name, why } => {
                    heirs.extend(name.map(|name| (room.clone(), name)));
                    waits.insert(room.clone());
                    self.hold(tx, room, why)?;
                }
                Succession::Goes { name, to } => {
                    self.follow(tx, room, &to, now, outcome)?;
                    heirs.insert(room.clone(), name);
                }
                Succession::Ends => give_up(tx, &old, outcome)?,
            }
        }
        self.waits.retain(|room, _| waits.contains(room));
        self.heirs.clone_from(&heirs);
        self.bridge.succeed(heirs);
        Ok(())
    }

    /// Has what waits for a room go to the one that takes its place, as far as messages go there.
    fn follow(
        &mut self,
        tx: &Tx<'_>,
        room: &OwnedRoomId,
        to: &OwnedRoomId,
        now: Timestamp,
        outcome: &mut Outcome,
    ) -> Result<(), StoreError> {
        if !mapped_rooms::is_held(tx, room.as_str())? {
            self.followed.insert(room.clone(), now);
        }
        let follows = Some((mapped_rooms::FOLLOWED, Some(&**to)));
        mapped_rooms::hold(tx, room, follows)?;
        // Nothing new is sent from there on; what was under way ends first.
        if let Some(since) = self.followed.get(room)
            // A clock that was set back holds nothing up.
            && (*since..*since + UNDER_WAY).contains(&now)
        {
            outcome.chores_by(*since + UNDER_WAY);
            return Ok(());
        }
        let directions = self.directions((&**to).into());
        hand_over(tx, room, to, outcome)?;
        let (mut messages, mut packets) = (0, 0);
        if !directions.iter().any(|it| it.to_matrix()) {
            messages = outbox_room::refuse_room(tx, (&**to).into(), true)?;
        }
        if !directions.iter().any(|it| it.to_mesh()) {
            packets = withdraw(tx, room, outcome)?;
        }
        if messages + packets > 0 {
            warn!(%room, successor = %to, messages, packets, "the room that takes this one's place has another direction: what waited is given up");
        }
        count(&room.clone().into(), messages, packets, outcome);
        Ok(())
    }

    /// Has what is for a room wait, and says so once.
    fn hold(&mut self, tx: &Tx<'_>, room: &OwnedRoomId, why: Waiting) -> Result<(), StoreError> {
        let (messages, packets) = mapped_rooms::waiting(tx, room)?;
        let is_mapped = !self.directions((&**room).into()).is_empty();
        let is_idle = messages == 0 && (packets == 0 || why != Waiting::Unmapped);
        if !is_mapped && is_idle {
            mapped_rooms::hold(tx, room, None)?;
            return Ok(());
        }
        let successor = why.successor();
        mapped_rooms::hold(tx, room, Some((why.name(), successor.map(|it| &**it))))?;
        if self.waits.get(room) != Some(&why) {
            let successor = successor.map_or_else(String::new, ToString::to_string);
            let (reason, hint) = (why.text(), why.hint(room));
            warn!(%room, successor, messages, packets, reason, hint, "what is for this room waits");
            self.waits.insert(room.clone(), why);
        }
        Ok(())
    }

    /// Ends what an earlier configuration accepted and this one forbids: a restriction holds from the start that it is set for.
    pub(super) fn end_forbidden(
        &self,
        tx: &Tx<'_>,
        config: &Config,
        outcome: &mut Outcome,
    ) -> Result<(), StoreError> {
        let mut ended: BTreeMap<OwnedRoomOrAliasId, (usize, usize)> = BTreeMap::new();
        for (room, sender) in outbox_mesh::waiting_senders(tx)? {
            let directions = self.directions_with_heir((&*room).into());
            // What comes from a room that is not mapped at all is set aside.
            let is_silent =
                !directions.is_empty() && !directions.iter().any(|direction| direction.to_mesh());
            let permitted = config.meshtastic.broadcast_enabled && config.matrix.permits(&sender);
            if is_silent || !permitted {
                let packets =
                    mesh_report::withdraw(tx, Withdrawal::Sender(&room, &sender))?.packets;
                ended.entry(room.into()).or_default().1 += packets;
            }
        }
        for waiting in outbox_room::waiting(tx)? {
            let directions = self.directions_with_heir(&waiting.room);
            // A room may have been replaced by one that is mapped; an alias is of the configuration, or nothing.
            let is_lost = directions.is_empty() && !waiting.room.is_room_id();
            let is_silent =
                !directions.is_empty() && !directions.iter().any(|direction| direction.to_matrix());
            if is_lost || is_silent {
                // What became of messages from there is told there, whatever crosses.
                let messages = outbox_room::refuse_room(tx, &waiting.room, is_silent)?;
                ended.entry(waiting.room).or_default().0 += messages;
            }
        }
        for (room, (messages, packets)) in ended {
            if messages + packets > 0 {
                warn!(%room, messages, packets, "these waited, and the configuration does not permit them any more: they are given up");
            }
            count(&room, messages, packets, outcome);
        }
        Ok(())
    }

    /// Returns the rooms whose place a room has taken, or is about to take.
    pub(super) fn predecessors(&self, room: &RoomId) -> Vec<OwnedRoomId> {
        let is_it = |name: &OwnedRoomOrAliasId| {
            let known = self.names.get(name);
            name.as_str() == room.as_str() || known.is_some_and(|id| **id == *room)
        };
        let before = self.heirs.iter().filter(|(_, name)| is_it(name));
        before.map(|(old, _)| old.clone()).collect()
    }

    /// Returns the directions that the configuration has for a room.
    fn directions(&self, room: &RoomOrAliasId) -> Vec<Direction> {
        let is_it = |name: &OwnedRoomOrAliasId| {
            let known = self.names.get(name);
            **name == *room || known.is_some_and(|id| id.as_str() == room.as_str())
        };
        let mapped = self.mapped.iter().filter(|mapped| is_it(&mapped.id));
        mapped.map(|mapped| mapped.direction).collect()
    }

    /// Returns those of a room, or of the one that takes its place.
    fn directions_with_heir(&self, room: &RoomOrAliasId) -> Vec<Direction> {
        let mut heirs = self.heirs.iter();
        let heir = heirs.find(|(old, _)| old.as_str() == room.as_str());
        let mut directions = self.directions(room);
        directions.extend(heir.into_iter().flat_map(|(_, name)| self.directions(name)));
        directions
    }
}

/// Returns the rooms that were mapped once, and those for which something waits.
fn old_rooms(tx: &Tx<'_>) -> Result<Vec<OldRoom>, StoreError> {
    let mut rooms = mapped_rooms::all(tx)?;
    for room in mapped_rooms::waited_for(tx)? {
        if !rooms.iter().any(|it| it.room == room) {
            // What is not known is taken for the strictest.
            rooms.push(OldRoom {
                room,
                alias: None,
                encrypted: true,
                public: false,
                tombstone: None,
            });
        }
    }
    Ok(rooms)
}

/// Moves what waits for a room to the one that takes its place.
fn hand_over(
    tx: &Tx<'_>,
    from: &OwnedRoomId,
    to: &OwnedRoomId,
    outcome: &mut Outcome,
) -> Result<(), StoreError> {
    outage::hand_over(tx, from, to)?;
    if mapped_rooms::waiting(tx, from)?.0 == 0 {
        return Ok(());
    }
    let moved = mapped_rooms::hand_over(tx, from, to)?;
    info!(room = %from, successor = %to, messages = moved.rows, "what waited for this room goes to the one that takes its place");
    if moved.ended > 0 {
        warn!(
            room = %from, successor = %to, reactions = moved.ended,
            "reactions on messages of this room are given up: its messages are not in the room that takes its place"
        );
        count(&from.clone().into(), moved.ended, 0, outcome);
    }
    outcome.rooms.insert(to.clone().into());
    Ok(())
}

/// Ends what waits for, and from, a room that is not of the configuration any more.
fn give_up(tx: &Tx<'_>, old: &OldRoom, outcome: &mut Outcome) -> Result<(), StoreError> {
    let room: OwnedRoomOrAliasId = old.room.clone().into();
    let messages = outbox_room::refuse_room(tx, &room, false)?;
    let packets = withdraw(tx, &old.room, outcome)?;
    if messages + packets > 0 {
        let successor = old.tombstone.as_ref().and_then(|it| it.successor.as_ref());
        let successor = successor.map_or_else(String::new, ToString::to_string);
        warn!(%room, successor, messages, packets, "this room is not in `matrix_rooms` any more, nor one that replaces it: what waited is given up");
    }
    count(&room, messages, packets, outcome);
    mapped_rooms::forget(tx, &old.room)
}

/// Takes back what a room has waiting for the mesh.
fn withdraw(tx: &Tx<'_>, room: &OwnedRoomId, outcome: &mut Outcome) -> Result<usize, StoreError> {
    let withdrawn = mesh_report::withdraw(tx, Withdrawal::Room(room))?;
    outcome.withdrawn.extend(withdrawn.submitted);
    Ok(withdrawn.packets)
}

fn count(room: &OwnedRoomOrAliasId, messages: usize, packets: usize, outcome: &mut Outcome) {
    for (count, way) in [(messages, Way::ToMatrix), (packets, Way::ToMesh)] {
        for _ in 0..count {
            let place = Place::Room(room.clone());
            outcome.counts.dropped(place, way, DropReason::UnmappedRoom);
        }
    }
}

#[cfg(test)]
mod tests;
