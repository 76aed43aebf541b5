//! Tracks the configured rooms, and decides what happens to rows waiting for a room that is replaced, has lost its alias, or is
//! no longer mapped. Nothing is dropped or redirected without a log line.

pub(crate) mod succession;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::action::{Action, GivenUp, Held, WhyGivenUp};
use super::{Bridge, facts::Facts};
use relay_config::{Direction, Feedback};
use relay_model::{
    Chore, JoinedRoom, OwnedRoomId, OwnedRoomOrAliasId, OwnedUserId, RoomId, RoomOrAliasId,
    Timestamp, Tombstone, UserId, WaitsForRoom,
};
use succession::{Succession, Waiting};

/// Maximum time that requests in flight to a room delay the move to its successor.
const UNDER_WAY: Duration = Duration::from_secs(5);

impl Bridge {
    /// Stores a room that was joined or has changed.
    pub(super) fn joined(&mut self, room: &JoinedRoom) -> Vec<Action> {
        let before = Arc::make_mut(&mut self.rooms).insert(room.room.clone(), room.clone());
        Arc::make_mut(&mut self.routes).join(room);
        let is_news = before.is_none() && self.routes.name_of(&room.room).is_some();
        let was_public = before.is_some_and(|it| it.public);
        let mut directions = self.directions((&*room.room).into()).into_iter();
        let transmits =
            self.config.matrix.allowed_users.is_none() && directions.any(Direction::to_mesh);
        let mut actions = vec![Action::Join {
            is_news,
            opened: (transmits && room.public != was_public).then_some(room.public),
            room: Box::new(room.clone()),
        }];
        if room.may_write {
            actions.push(Action::TryAgain(Some(room.room.clone().into())));
        }
        actions.push(if room.may_react {
            Action::PermitSigns(room.room.clone())
        } else {
            self.forbid_signs(&room.room)
        });
        actions.extend([
            Action::WakeSigns,
            Action::Next(Chore::Rooms),
            // Now the room's configured entries are known.
            Action::Next(Chore::Channels(None)),
        ]);
        actions
    }

    /// Stops showing signs in a room. The operator is told if the room is mapped and not replaced.
    pub(super) fn forbid_signs(&self, room: &OwnedRoomId) -> Action {
        let announce = self.config.meshtastic.delivery_feedback != Feedback::Off
            && self.routes.name_of(room).is_some()
            && self.rooms.get(room).is_none_or(|it| it.tombstone.is_none());
        Action::ForbidSigns(room.clone(), announce)
    }

    /// Stores the room of a configured name, joined or not.
    pub(super) fn name_moved(
        &mut self,
        name: &OwnedRoomOrAliasId,
        room: &OwnedRoomId,
    ) -> Vec<Action> {
        let routes = Arc::make_mut(&mut self.routes);
        routes.known.insert(name.clone(), room.clone());
        let joined = self.rooms.contains_key(room).then(|| room.clone());
        vec![
            Action::Name(name.clone(), joined),
            Action::Next(Chore::Rooms),
        ]
    }

    /// Records that the bot is not in a room.
    pub(super) fn left(
        &mut self,
        room: &OwnedRoomId,
        tombstone: Option<&Tombstone>,
    ) -> Vec<Action> {
        Arc::make_mut(&mut self.rooms).remove(room);
        let noted = tombstone.map(|it| Action::NoteTombstone(room.clone(), it.clone()));
        let settle = Some(Action::Next(Chore::Rooms));
        [noted, settle].into_iter().flatten().collect()
    }

    /// Withdraws a banned person's waiting messages, also those of the room's predecessors. A repeated or lifted ban does not
    /// withdraw what was written after it; earlier messages can arrive later, from a gap.
    pub(super) fn banned(
        &self,
        room: &OwnedRoomId,
        user: &UserId,
        sent_at: Timestamp,
        stands: bool,
    ) -> Vec<Action> {
        let written_by = if stands { Timestamp::NEVER } else { sent_at };
        let before = self.routes.predecessors(room).cloned();
        let rooms = std::iter::once(room.clone()).chain(before);
        let withdraw = rooms.map(|room| Action::WithdrawSender(room, user.to_owned(), written_by));
        withdraw.collect()
    }

    /// Decides for every room with waiting rows: keep, hold, move to another room, or drop.
    pub(super) fn settle_rooms(&mut self, facts: &Facts, now: Timestamp) -> Vec<Action> {
        let (mut heirs, mut waits) = (BTreeMap::new(), BTreeSet::new());
        let mut actions = Vec::new();
        for standing in &facts.rooms {
            let room = &standing.old.room;
            let succession = self.succession(&standing.old);
            let is_set_aside = succession == Succession::Waits(None, Waiting::Unmapped);
            actions.push(Action::SetAside(room.clone(), is_set_aside));
            match succession {
                Succession::Stays => actions.push(Action::Hold(room.clone(), Held::No)),
                Succession::Waits(name, why) => {
                    heirs.extend(name.map(|name| (room.clone(), name)));
                    waits.insert(room.clone());
                    actions.push(self.hold(standing, why));
                }
                Succession::Goes(name, to) => {
                    actions.extend(self.follow(standing, &to, facts, now));
                    heirs.insert(room.clone(), name);
                }
                Succession::Ends => {
                    let tombstone = standing.old.tombstone.as_ref();
                    actions.push(Action::GiveUp(Box::new(GivenUp {
                        room: room.clone().into(),
                        messages: Some((room.clone().into(), false)),
                        packets: senders_in(room, facts),
                        why: WhyGivenUp::Unmapped(tombstone.and_then(|it| it.successor.clone())),
                    })));
                }
            }
        }
        self.waits.retain(|room, _| waits.contains(room));
        Arc::make_mut(&mut self.routes).heirs = heirs;
        actions
    }

    /// Moves a room's rows to its successor.
    fn follow(
        &mut self,
        standing: &WaitsForRoom,
        to: &OwnedRoomId,
        facts: &Facts,
        now: Timestamp,
    ) -> Vec<Action> {
        let room = &standing.old.room;
        if !standing.is_held {
            self.followed.insert(room.clone(), now);
        }
        let mut actions = vec![Action::Hold(room.clone(), Held::Followed(to.clone()))];
        // Nothing new is sent there; requests in flight finish first.
        if let Some(since) = self.followed.get(room)
            // Tolerates a clock that was set back.
            && (*since..*since + UNDER_WAY).contains(&now)
        {
            actions.push(Action::LookBy(*since + UNDER_WAY));
            return actions;
        }
        actions.push(Action::HandOver(room.clone(), to.clone()));
        let directions = self.directions((&**to).into());
        let is_deaf = !directions.iter().any(|it| it.to_matrix());
        let is_mute = !directions.iter().any(|it| it.to_mesh());
        if is_deaf || is_mute {
            let senders = is_mute.then(|| senders_in(room, facts));
            actions.push(Action::GiveUp(Box::new(GivenUp {
                room: room.clone().into(),
                messages: is_deaf.then(|| (to.clone().into(), true)),
                packets: senders.unwrap_or_default(),
                why: WhyGivenUp::Direction(to.clone()),
            })));
        }
        actions
    }

    /// Holds a room's rows, and logs that once.
    fn hold(&mut self, standing: &WaitsForRoom, why: Waiting) -> Action {
        let WaitsForRoom {
            messages, packets, ..
        } = *standing;
        let room = standing.old.room.clone();
        let is_mapped = self.routes.name_of(&room).is_some();
        let is_idle = messages == 0 && (packets == 0 || why != Waiting::Unmapped);
        if !is_mapped && is_idle {
            return Action::Hold(room, Held::No);
        }
        let is_news = self.waits.get(&room) != Some(&why);
        // A condition that passes by itself is logged only when something waits.
        let concerns = messages + packets > 0 || !why.may_pass();
        let news = (is_news && concerns).then_some((messages, packets));
        if news.is_some() {
            self.waits.insert(room.clone(), why.clone());
        } else if is_news {
            self.waits.remove(&room);
        }
        Action::Hold(room, Held::Waits(why, news))
    }

    /// Drops rows that the current configuration forbids: restrictions apply from the start.
    pub(super) fn end_forbidden(&self, facts: &Facts) -> Vec<Action> {
        let mut forbidden: BTreeMap<OwnedRoomOrAliasId, GivenUp> = BTreeMap::new();
        let of = |room: &OwnedRoomOrAliasId| GivenUp {
            room: room.clone(),
            messages: None,
            packets: Vec::new(),
            why: WhyGivenUp::Forbidden,
        };
        for (room, sender) in &facts.senders {
            let directions = self.directions_with_heir((&**room).into());
            // Rows of rooms that are not mapped are set aside instead.
            let is_silent = !directions.is_empty() && !directions.iter().any(|it| it.to_mesh());
            let is_permitted =
                self.config.meshtastic.broadcast_enabled && self.config.matrix.permits(sender);
            if is_silent || !is_permitted {
                let of_room = forbidden.entry(room.clone().into());
                let of_room = of_room.or_insert_with_key(of);
                of_room.packets.push((room.clone(), sender.clone()));
            }
        }
        for room in &facts.busy {
            let directions = self.directions_with_heir(room);
            // A mapped room may have replaced it; an alias is configured or unknown.
            let is_lost = directions.is_empty() && !room.is_room_id();
            let is_silent = !directions.is_empty() && !directions.iter().any(|it| it.to_matrix());
            if is_lost || is_silent {
                // Notices about messages from there are still sent.
                let of_room = forbidden.entry(room.clone()).or_insert_with_key(of);
                of_room.messages = Some((room.clone(), is_silent));
            }
        }
        let give_up = forbidden.into_values();
        give_up.map(|it| Action::GiveUp(Box::new(it))).collect()
    }

    fn directions(&self, room: &RoomOrAliasId) -> Vec<Direction> {
        let mapped = self.config.matrix_rooms.iter();
        let mapped = mapped.filter(|mapped| self.routes.stands_for(&mapped.id, room));
        mapped.map(|mapped| mapped.direction).collect()
    }

    /// Returns the entries of a room or of its successor.
    fn directions_with_heir(&self, room: &RoomOrAliasId) -> Vec<Direction> {
        let mut directions = self.directions(room);
        let heir = self.routes.heir(room);
        directions.extend(heir.into_iter().flat_map(|name| self.directions(name)));
        directions
    }
}

/// Returns the senders with packets waiting from a room.
fn senders_in(room: &RoomId, facts: &Facts) -> Vec<(OwnedRoomId, OwnedUserId)> {
    let here = facts.senders.iter().filter(|(from, _)| *from == *room);
    here.cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::*;
    use relay_config::Direction;
    use relay_model::{Event, MatrixEvent, OldRoom};

    const ALIAS: &str = "#hiking:example.org";
    const NEW: &str = "!new:example.org";

    fn replaced() -> JoinedRoom {
        JoinedRoom {
            configured: vec![named(ALIAS)],
            tombstone: Some(Tombstone {
                successor: Some(room(NEW)),
            }),
            ..joined(ROOM)
        }
    }

    /// A replaced room mapped by alias, with this many messages waiting.
    fn held(bridge: &mut Bridge, messages: u64) -> Held {
        let standing = WaitsForRoom {
            old: OldRoom {
                room: room(ROOM),
                alias: Some(named(ALIAS)),
                encrypted: false,
                public: false,
                tombstone: replaced().tombstone,
            },
            is_held: false,
            messages,
            packets: 0,
        };
        let facts = Facts {
            rooms: vec![standing],
            ..Facts::default()
        };
        let actions = bridge.verdict(&Event::Chore(Chore::Rooms), &facts, NOON);
        let mut held = actions.into_iter().filter_map(|it| match it {
            Action::Hold(_, held) => Some(held),
            _ => None,
        });
        held.next().unwrap()
    }

    fn by_alias() -> Bridge {
        let mut bridge = bridge_alone(config_with(vec![route(ALIAS, 0, Direction::Both)]));
        bridge.remember_room(named(ALIAS), room(ROOM));
        join(&mut bridge, replaced());
        bridge
    }

    #[test]
    fn that_a_room_is_replaced_is_said_once_something_waits_for_it() {
        let unnamed = Waiting::Unnamed(room(NEW));
        let mut bridge = by_alias();
        let nothing_said = Held::Waits(unnamed.clone(), None);
        assert_eq!(held(&mut bridge, 0), nothing_said);
        assert_eq!(
            held(&mut bridge, 1),
            Held::Waits(unnamed.clone(), Some((1, 0)))
        );
        assert_eq!(held(&mut bridge, 2), nothing_said);

        // Conditions are logged in words that stay true.
        let moved = MatrixEvent::NameMoved {
            name: named(ALIAS),
            room: room(NEW),
        };
        bridge.verdict(&Event::Matrix(moved), &Facts::default(), NOON);
        let not_joined = Waiting::NotJoined(Some(room(NEW)));
        assert_eq!(held(&mut bridge, 1), Held::Waits(not_joined, Some((1, 0))));
    }

    #[test]
    fn that_anyone_may_join_is_told_at_the_start_and_whenever_it_changes() {
        let mut chosen = config();
        chosen.matrix.allowed_users = Some(Vec::new());
        let silent = config_with(vec![route(ROOM, 0, Direction::ToMatrix)]);
        for (config, told) in [
            (
                config(),
                [None, Some(true), None, Some(false), None, Some(true)],
            ),
            (chosen, [None; 6]),
            (silent, [None; 6]),
        ] {
            let mut bridge = bridge_alone(config);
            let opened = |(name, public): (&str, bool)| {
                let room = JoinedRoom {
                    name: name.to_owned(),
                    public,
                    ..joined(ROOM)
                };
                let event = Event::Matrix(MatrixEvent::Joined(room));
                let actions = bridge.verdict(&event, &Facts::default(), NOON);
                let mut opened = actions.into_iter().filter_map(|it| match it {
                    Action::Join { opened, .. } => Some(opened),
                    _ => None,
                });
                opened.next().unwrap()
            };
            let seen = [
                ("Hill", false),
                ("Hill", true),
                ("Top", true),
                ("Top", false),
                ("Hill", false),
                ("Hill", true),
            ];
            assert_eq!(seen.map(opened), told);
        }
        // At a start.
        let mut bridge = bridge_alone(config());
        let room = JoinedRoom {
            public: true,
            ..joined(ROOM)
        };
        let event = Event::Matrix(MatrixEvent::Joined(room));
        let actions = bridge.verdict(&event, &Facts::default(), NOON);
        let is_told = |it: &Action| {
            matches!(
                it,
                Action::Join {
                    opened: Some(true),
                    ..
                }
            )
        };
        assert!(actions.iter().any(is_told));
    }

    #[test]
    fn that_signs_cannot_be_shown_is_told_of_mapped_rooms_alone_that_are_not_replaced() {
        let over = || replaced().tombstone;
        for (id, configured, tombstone, told) in [
            (ROOM, vec![named(ROOM)], None, true),
            (ROOM, vec![named(ROOM)], over(), false),
            (NEW, vec![named(ALIAS)], None, true),
            (NEW, Vec::new(), None, false),
        ] {
            let mut bridge = bridge_alone(config_with(vec![
                route(ROOM, 0, Direction::Both),
                route(ALIAS, 0, Direction::Both),
            ]));
            let joined = JoinedRoom {
                configured,
                tombstone,
                may_react: false,
                ..joined(id)
            };
            let event = Event::Matrix(MatrixEvent::Joined(joined));
            let actions = bridge.verdict(&event, &Facts::default(), NOON);
            assert!(actions.contains(&Action::ForbidSigns(room(id), told)));
            // Power levels may allow what the server refuses.
            let refused = Event::Matrix(MatrixEvent::NoSigns { room: room(id) });
            let actions = bridge.verdict(&refused, &Facts::default(), NOON);
            assert_eq!(actions, [Action::ForbidSigns(room(id), told)]);
        }
        let mut silent = config();
        silent.meshtastic.delivery_feedback = Feedback::Off;
        let forbidden = bridge_of(silent).forbid_signs(&room(ROOM));
        assert_eq!(forbidden, Action::ForbidSigns(room(ROOM), false));
    }
}
