//! Which room a configured name stands for, when an alias moves or a room is replaced. Whoever may do that may not be who
//! writes the configuration: nothing moves to a room that is less protected until the configuration names its id.

use std::collections::HashSet;

use matrix_sdk::deserialized_responses::SyncOrStrippedState;
use matrix_sdk::ruma::OwnedServerName;
use matrix_sdk::ruma::events::room::tombstone::RoomTombstoneEventContent;
use matrix_sdk::sync::RoomUpdates;
use matrix_sdk::{Room, RoomState};
use tracing::{info, warn};

use super::rooms::{KnownRooms, Rooms, tombstone};
use super::trouble::RoomTrouble;
use relay_model::{
    JoinedRoom, MatrixEvent, OldRoom, OwnedRoomId, OwnedRoomOrAliasId, RoomId, RoomOrAliasId,
    Timestamp, Weakness,
};

/// A room that is to take the place of the one that a name stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Next {
    pub(super) room: OwnedRoomId,
    before: OwnedRoomId,
    /// The name itself stands for it; otherwise only the tombstone of the room before says so.
    by_name: bool,
}

/// What decides whether a room takes another's place.
#[derive(Debug)]
struct Candidate {
    room: OwnedRoomId,
    /// It is encrypted, which the configuration does not permit.
    refused: bool,
    encrypted: bool,
    public: bool,
    predecessor: Option<OwnedRoomId>,
}

impl Rooms {
    /// Records the room that the homeserver has for an alias.
    pub(super) fn looked_up(&self, alias: &OwnedRoomOrAliasId, room: Option<OwnedRoomId>) {
        let known = &mut *self.known();
        let Some(room) = room else {
            known.looked_up.remove(alias);
            return;
        };
        known.looked_up.insert(alias.clone(), room.clone());
        if !known.resolved.contains_key(alias) {
            known.move_to(alias, room);
            self.changed.notify_one();
        }
    }

    /// Returns the room that is to take the place of the one that a name stands for.
    pub(super) fn next_of(&self, name: &RoomOrAliasId) -> Option<Next> {
        let known = self.known();
        let before = known.resolved.get(name)?.clone();
        let own = match <&RoomId>::try_from(name) {
            // A tombstone can be taken back; where it cannot be read any more, what is stored holds.
            Ok(id) => self.joined_room(id).map(|room| room.room_id().to_owned()),
            Err(_) => known.looked_up.get(name).cloned(),
        };
        let by_name = own.filter(|own| !self.leads(&known, own, &before));
        let (room, by_name) = match by_name {
            Some(room) => (room, true),
            None => (self.successor(&known, &before)?, false),
        };
        // Rooms that replace each other in a circle lead nowhere.
        if !by_name && self.leads(&known, &room, &before) {
            return None;
        }
        Some(Next {
            room,
            before,
            by_name,
        })
    }

    /// Returns whether a room is another one, or was replaced by it.
    fn leads(&self, known: &KnownRooms, from: &OwnedRoomId, to: &OwnedRoomId) -> bool {
        let mut seen = HashSet::from([from.clone()]);
        let next = |room: &OwnedRoomId| {
            let next = self.successor(known, room);
            next.filter(|next| seen.insert(next.clone()))
        };
        std::iter::successors(Some(from.clone()), next).any(|room| room == *to)
    }

    fn successor(&self, known: &KnownRooms, id: &RoomId) -> Option<OwnedRoomId> {
        let room = self.client.get_room(id);
        let is_seen = |room: &Room| matches!(room.state(), RoomState::Joined | RoomState::Left);
        let seen = room.filter(is_seen).and_then(|room| tombstone(&room));
        match seen {
            Some(tombstone) => tombstone.successor,
            // Since a new login, a room that the bot has left cannot be seen.
            None if self.joined_room(id).is_some() => None,
            None => known.former.get(id)?.successor().cloned(),
        }
    }

    /// Returns a server that knows the successor: that of whoever replaced the room.
    pub(super) async fn server_of_successor(&self, next: &Next) -> Option<OwnedServerName> {
        let event = self.tombstone_event(&next.before).await?;
        Some(event.sender().server_name().to_owned())
    }

    async fn tombstone_event(
        &self,
        id: &RoomId,
    ) -> Option<SyncOrStrippedState<RoomTombstoneEventContent>> {
        let room = self.client.get_room(id)?;
        let event = room.get_state_event_static::<RoomTombstoneEventContent>();
        event.await.ok()??.deserialize().ok()
    }

    /// Returns when a room took the place of one that was mapped, if both say so, by the homeserver's clock.
    pub(super) async fn replaced_at(&self, room: &JoinedRoom) -> Option<Timestamp> {
        let before = room.predecessor.as_ref()?;
        let is_successor = {
            let known = self.known();
            known.former.contains_key(before)
                && self.successor(&known, before).as_ref() == Some(&room.room)
        };
        if !is_successor {
            return None;
        }
        let at = self.tombstone_event(before).await?.origin_server_ts()?;
        Some(Timestamp(at.get().into()))
    }

    /// Returns why a joined room does not take the place of another.
    pub(super) async fn objection(
        &self,
        name: &OwnedRoomOrAliasId,
        next: &Next,
    ) -> Option<RoomTrouble> {
        let candidate = self.candidate(&next.room).await?;
        self.objection_to(name, next, &candidate)
    }

    fn objection_to(
        &self,
        name: &OwnedRoomOrAliasId,
        next: &Next,
        candidate: &Candidate,
    ) -> Option<RoomTrouble> {
        let permitted = (name.clone(), next.room.clone());
        let is_permitted = self.options.permitted.contains(&permitted);
        let old = self.known().former.get(&next.before).cloned();
        objection(next, old.as_ref(), candidate, is_permitted)
    }

    /// Returns what is known of a joined room; `None`: not enough yet.
    async fn candidate(&self, id: &RoomId) -> Option<Candidate> {
        let room = self.joined_room(id)?;
        Some(Candidate {
            room: id.to_owned(),
            refused: self.is_refused(&room),
            encrypted: room.latest_encryption_state().await.ok()?.is_encrypted(),
            public: room.is_public().unwrap_or(false),
            predecessor: room.predecessor_room().map(|it| it.room_id),
        })
    }

    /// Has names stand for other rooms where those may take a place; `answer` is the one that is being read. Called by the sync
    /// loop alone, so that nothing said there is read before this is handed over.
    pub(super) async fn follow(&self, answer: Option<&RoomUpdates>) -> Vec<Room> {
        let mut taken = Vec::new();
        for name in &self.options.rooms {
            while let Some(next) = self.next_of(name) {
                let is_shown = answer.is_some_and(|it| it.joined.contains_key(&next.room));
                let is_new = !self.is_synced(&next.room);
                if is_new && !is_shown {
                    break;
                }
                let Some(candidate) = self.candidate(&next.room).await else {
                    break;
                };
                if self.objection_to(name, &next, &candidate).is_some() {
                    if is_new {
                        // The task that joins rooms reports it.
                        self.retry.notify_one();
                    }
                    break;
                }
                say_followed(name, &next);
                self.known().move_to(name, next.room.clone());
                self.retry.notify_one();
                taken.extend(self.client.get_room(&next.room));
            }
        }
        taken
    }
}

impl KnownRooms {
    /// Has a name stand for a room.
    fn move_to(&mut self, name: &OwnedRoomOrAliasId, room: OwnedRoomId) {
        if let Some(before) = self.resolved.insert(name.clone(), room.clone()) {
            // It has a name less.
            self.announced.remove(&before);
        }
        self.moved.push(MatrixEvent::NameMoved {
            name: name.clone(),
            room,
        });
    }
}

/// Returns why a room does not take the place of another, which was `old` as last seen.
fn objection(
    next: &Next,
    old: Option<&OldRoom>,
    new: &Candidate,
    is_permitted: bool,
) -> Option<RoomTrouble> {
    let room = new.room.clone();
    if new.refused {
        return Some(RoomTrouble::Encrypted);
    }
    if !next.by_name && new.predecessor.as_ref() != Some(&next.before) {
        return Some(RoomTrouble::SuccessorUnconfirmed(room));
    }
    if is_permitted {
        return None;
    }
    match old?.weakness_of(new.encrypted, new.public)? {
        Weakness::Unencrypted => Some(RoomTrouble::SuccessorUnencrypted(room)),
        Weakness::Public => Some(RoomTrouble::SuccessorPublic(room)),
    }
}

fn say_followed(name: &RoomOrAliasId, next: &Next) {
    let Next {
        room,
        before,
        by_name,
    } = next;
    if name.is_room_alias_id() && *by_name {
        info!(alias = %name, %before, %room, "the alias stands for another room now");
    } else if *by_name {
        info!(%room, %before, "a room is not replaced any more: the relay goes back to it");
    } else {
        let hint = in_its_place(name, room);
        warn!(room = %before, successor = %room, hint, "this room was replaced: the relay goes on in the one that takes its place");
    }
}

/// Returns what to change in the configuration, where a name stands for a room that is not its own.
pub fn in_its_place(name: &RoomOrAliasId, room: &RoomId) -> String {
    if name.is_room_alias_id() {
        format!("set the alias {name} for {room}, or put {room} into `matrix_rooms` in its place")
    } else {
        format!(
            "put {room} into `matrix_rooms` in the place of {name}; until then the relay goes on by what it has stored"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scripted::Scripted;
    use relay_model::Tombstone;

    const OLD: &str = "!old:example.org";
    const NEW: &str = "!new:example.org";
    const THIRD: &str = "!third:example.org";

    fn old(encrypted: bool, public: bool) -> OldRoom {
        OldRoom {
            room: OLD.try_into().unwrap(),
            alias: None,
            encrypted,
            public,
            tombstone: None,
        }
    }

    fn new(encrypted: bool, public: bool, predecessor: Option<&str>) -> Candidate {
        Candidate {
            room: NEW.try_into().unwrap(),
            refused: false,
            encrypted,
            public,
            predecessor: predecessor.map(|it| it.try_into().unwrap()),
        }
    }

    fn next(by_name: bool) -> Next {
        Next {
            room: NEW.try_into().unwrap(),
            before: OLD.try_into().unwrap(),
            by_name,
        }
    }

    #[test]
    fn a_room_takes_no_place_where_less_is_protected_until_the_configuration_permits_it() {
        let of = |old: &OldRoom, candidate: &Candidate, is_permitted| {
            let objections = [false, true]
                .map(|by_name| objection(&next(by_name), Some(old), candidate, is_permitted));
            // It is all the same who says that it takes the place.
            assert_eq!(objections[0], objections[1]);
            objections[0].as_ref().map(RoomTrouble::name)
        };
        for (before, after, expected) in [
            ((false, false), (false, false), None),
            ((false, false), (true, false), None),
            ((false, true), (false, true), None),
            ((true, true), (true, false), None),
            ((true, false), (false, false), Some("successor_unencrypted")),
            ((true, false), (false, true), Some("successor_unencrypted")),
            ((true, false), (true, true), Some("successor_public")),
            ((false, false), (false, true), Some("successor_public")),
        ] {
            let (before, after) = (old(before.0, before.1), new(after.0, after.1, Some(OLD)));
            assert_eq!(of(&before, &after, false), expected, "{before:?} {after:?}");
            assert_eq!(of(&before, &after, true), None);
        }
    }

    #[test]
    fn a_tombstone_alone_leads_to_no_room_that_does_not_say_that_it_replaces_the_old_one() {
        for (predecessor, by_name, is_objected) in [
            (None, false, true),
            (Some(NEW), false, true),
            (Some(OLD), false, false),
            (None, true, false),
        ] {
            let candidate = new(true, false, predecessor);
            for is_permitted in [false, true] {
                let found = objection(
                    &next(by_name),
                    Some(&old(true, false)),
                    &candidate,
                    is_permitted,
                );
                let name = found.as_ref().map(RoomTrouble::name);
                assert_eq!(name, is_objected.then_some("successor_unconfirmed"));
            }
        }
    }

    #[tokio::test]
    async fn rooms_that_replace_each_other_in_a_circle_are_not_followed() {
        let server = Scripted::start(|_| serde_json::Value::Null).await;
        let rooms = server.rooms_of(OLD);
        let replaced = |room: &str, by: &str| OldRoom {
            room: room.try_into().unwrap(),
            tombstone: Some(Tombstone {
                successor: Some(by.try_into().unwrap()),
            }),
            ..old(false, false)
        };
        let name: OwnedRoomOrAliasId = OLD.try_into().unwrap();
        rooms.remember(&[], &[replaced(OLD, NEW)]);
        assert_eq!(rooms.next_of(&name), Some(next(false)));
        for circle in [
            vec![replaced(NEW, OLD)],
            vec![replaced(NEW, THIRD), replaced(THIRD, OLD)],
        ] {
            rooms.known().former.remove(&next(false).room);
            rooms.remember(&[], &circle);
            assert_eq!(rooms.next_of(&name), None);
        }
    }

    #[test]
    fn an_encrypted_room_takes_no_place_where_encryption_is_off() {
        let refused = Candidate {
            refused: true,
            ..new(true, false, Some(OLD))
        };
        let found = objection(&next(true), None, &refused, true);
        assert_eq!(found, Some(RoomTrouble::Encrypted));
    }
}
