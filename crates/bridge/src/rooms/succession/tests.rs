//! Whether another room succeeds a room.

use std::sync::Arc;

use super::*;
use crate::testing;
use relay_config::Direction;
use relay_model::Tombstone;

const OLD: &str = "!old:example.org";
const NEW: &str = "!new:example.org";
const OTHER: &str = "!other:example.org";
const ALIAS: &str = "#hiking:example.org";

fn id(room: &str) -> OwnedRoomId {
    room.try_into().unwrap()
}

fn old() -> OldRoom {
    OldRoom {
        room: id(OLD),
        alias: None,
        encrypted: false,
        public: false,
        tombstone: None,
    }
}

fn replaced_by(room: &str) -> OldRoom {
    OldRoom {
        tombstone: Some(Tombstone {
            successor: Some(id(room)),
        }),
        ..old()
    }
}

fn joined(room: &str, predecessor: Option<&str>) -> JoinedRoom {
    JoinedRoom {
        predecessor: predecessor.map(id),
        ..testing::joined(room)
    }
}

/// Decides on a room with these configured names, the alias's room, and the joined rooms.
fn of(
    old: &OldRoom,
    configured: &[&str],
    alias: Option<&str>,
    joined: &[JoinedRoom],
) -> Succession {
    let mapped = configured
        .iter()
        .map(|name| testing::route(name, 0, Direction::Both));
    let mut bridge = testing::bridge_alone(testing::config_with(mapped.collect()));
    if let Some(room) = alias {
        bridge.remember_room(testing::named(ALIAS), id(room));
    }
    let joined = joined.iter().map(|it| (it.room.clone(), it.clone()));
    Arc::make_mut(&mut bridge.rooms).extend(joined);
    bridge.succession(old)
}

fn goes(name: &str, to: &str) -> Succession {
    Succession::Goes(name.try_into().unwrap(), id(to))
}

fn waits(name: Option<&str>, why: Waiting) -> Succession {
    Succession::Waits(name.map(|name| name.try_into().unwrap()), why)
}

#[test]
fn a_mapped_room_that_is_not_replaced_stays() {
    assert_eq!(of(&old(), &[OLD], None, &[]), Succession::Stays);
    assert_eq!(of(&old(), &[ALIAS], Some(OLD), &[]), Succession::Stays);
    let closed = OldRoom {
        tombstone: Some(Tombstone { successor: None }),
        ..old()
    };
    assert_eq!(of(&closed, &[OLD], None, &[]), Succession::Stays);
}

#[test]
fn a_replaced_room_waits_until_a_configured_name_stands_for_its_successor() {
    let unnamed = Waiting::Unnamed(id(NEW));
    let here = [joined(OLD, None)];
    let replaced = replaced_by(NEW);
    let by_id = of(&replaced, &[OLD, OTHER], None, &here);
    assert_eq!(by_id, waits(None, unnamed.clone()));
    let by_alias = OldRoom {
        alias: Some(ALIAS.try_into().unwrap()),
        ..replaced.clone()
    };
    let by_alias = of(&by_alias, &[ALIAS], Some(OLD), &here);
    assert_eq!(by_alias, waits(None, unnamed));

    let not_joined = Waiting::NotJoined(Some(id(NEW)));
    let named = of(&replaced, &[NEW], None, &here);
    assert_eq!(named, waits(Some(NEW), not_joined));
    let there = [joined(OLD, None), joined(NEW, Some(OLD))];
    assert_eq!(of(&replaced, &[NEW], None, &there), goes(NEW, NEW));
    // Configured in place of the old room, it need not name it: not every successor is made by an upgrade.
    let there = [joined(OLD, None), joined(NEW, None)];
    assert_eq!(of(&replaced, &[NEW], None, &there), goes(NEW, NEW));
}

#[test]
fn a_configured_id_that_stands_for_the_successor_leads_there() {
    let mapped = vec![testing::route(OLD, 0, Direction::Both)];
    let mut bridge = testing::bridge_alone(testing::config_with(mapped));
    bridge.remember_room(testing::named(OLD), id(NEW));
    let replaced = replaced_by(NEW);
    let not_joined = Waiting::NotJoined(Some(id(NEW)));
    assert_eq!(bridge.succession(&replaced), waits(Some(OLD), not_joined));
    let new = JoinedRoom {
        configured: vec![testing::named(OLD)],
        ..joined(NEW, Some(OLD))
    };
    testing::join(&mut bridge, new);
    assert_eq!(bridge.succession(&replaced), goes(OLD, NEW));
    assert_eq!(
        bridge.succession(&OldRoom {
            room: id(NEW),
            ..old()
        }),
        Succession::Stays
    );
    // The successor is replaced in turn, and the name follows.
    let last = JoinedRoom {
        configured: vec![testing::named(OLD)],
        ..joined(OTHER, Some(NEW))
    };
    testing::join(&mut bridge, last);
    assert_eq!(bridge.succession(&replaced), goes(OLD, OTHER));
}

#[test]
fn a_room_that_is_mapped_by_its_id_hands_over_to_no_mapped_room_that_does_not_know_of_it() {
    let there = [joined(OLD, None), joined(NEW, None)];
    let unconfirmed = Waiting::Unconfirmed(id(NEW));
    assert_eq!(
        of(&replaced_by(NEW), &[OLD, NEW], None, &there),
        waits(None, unconfirmed)
    );
    let there = [joined(OLD, None), joined(NEW, Some(OLD))];
    assert_eq!(
        of(&replaced_by(NEW), &[OLD, NEW], None, &there),
        goes(NEW, NEW)
    );
}

#[test]
fn an_alias_leads_to_no_room_with_weaker_protection_unless_the_id_is_named() {
    let new = |encrypted, public| JoinedRoom {
        encrypted,
        public,
        ..joined(NEW, Some(OLD))
    };
    for (encrypted, public, there, expected) in [
        (false, false, new(false, false), None),
        (false, false, new(true, false), None),
        (false, true, new(false, true), None),
        (true, false, new(true, false), None),
        (
            true,
            false,
            new(false, false),
            Some(Waiting::Unencrypted(id(NEW))),
        ),
        (
            true,
            false,
            new(false, true),
            Some(Waiting::Unencrypted(id(NEW))),
        ),
        (true, false, new(true, true), Some(Waiting::Public(id(NEW)))),
        (
            false,
            false,
            new(false, true),
            Some(Waiting::Public(id(NEW))),
        ),
    ] {
        let alias = Some(ALIAS.try_into().unwrap());
        for old in [old(), replaced_by(NEW)] {
            let old = OldRoom {
                alias: alias.clone(),
                encrypted,
                public,
                ..old
            };
            let there = std::slice::from_ref(&there);
            let expected = match expected.clone() {
                None => goes(ALIAS, NEW),
                Some(why) => waits(Some(ALIAS), why),
            };
            assert_eq!(of(&old, &[ALIAS], Some(NEW), there), expected);
            let named = of(&old, &[ALIAS, NEW], Some(NEW), there);
            assert!(matches!(named, Succession::Goes(_, to) if to == NEW));
        }
    }
}

#[test]
fn a_less_protected_room_that_is_mapped_to_another_channel_is_no_place_to_go() {
    let new = JoinedRoom {
        public: true,
        ..joined(NEW, Some(OLD))
    };
    for name in [OLD, ALIAS] {
        for (channel, is_permitted) in [(0, true), (1, false)] {
            let mapped = vec![
                testing::route(name, 0, Direction::Both),
                testing::route(NEW, channel, Direction::Both),
            ];
            let mut bridge = testing::bridge_alone(testing::config_with(mapped));
            bridge.remember_room(testing::named(name), id(OLD));
            testing::join(&mut bridge, new.clone());
            let found = bridge.succession(&replaced_by(NEW));
            let expected = if is_permitted {
                goes(NEW, NEW)
            } else {
                waits(None, Waiting::Public(id(NEW)))
            };
            assert_eq!(found, expected, "{name} {channel}");
        }
    }
}

#[test]
fn what_waits_for_a_room_whose_alias_has_moved_waits_for_the_bot_to_be_in_the_other() {
    let old = OldRoom {
        alias: Some(ALIAS.try_into().unwrap()),
        ..old()
    };
    let not_joined = |to: Option<&str>| waits(Some(ALIAS), Waiting::NotJoined(to.map(id)));
    assert_eq!(of(&old, &[ALIAS], None, &[]), not_joined(None));
    assert_eq!(of(&old, &[ALIAS], Some(NEW), &[]), not_joined(Some(NEW)));
    // A room that is also mapped by id keeps its messages.
    let both = of(&old, &[ALIAS, OLD], Some(NEW), &[joined(NEW, None)]);
    assert_eq!(both, Succession::Stays);
}

#[test]
fn an_alias_of_the_successor_does_in_the_place_of_its_id() {
    let not_joined = Waiting::NotJoined(Some(id(NEW)));
    let here = [joined(OLD, None)];
    let replaced = replaced_by(NEW);
    let unknown = of(&replaced, &[ALIAS], None, &here);
    assert_eq!(unknown, waits(None, Waiting::Unmapped));
    let known = of(&replaced, &[ALIAS], Some(NEW), &here);
    assert_eq!(known, waits(Some(ALIAS), not_joined));
    let there = [joined(OLD, None), joined(NEW, None)];
    assert_eq!(of(&replaced, &[ALIAS], Some(NEW), &there), goes(ALIAS, NEW));
    // Mapped beside the old room, it has to name it.
    let unconfirmed = Waiting::Unconfirmed(id(NEW));
    assert_eq!(
        of(&replaced, &[OLD, ALIAS], Some(NEW), &there),
        waits(None, unconfirmed)
    );
    let there = [joined(OLD, None), joined(NEW, Some(OLD))];
    assert_eq!(
        of(&replaced, &[OLD, ALIAS], Some(NEW), &there),
        goes(ALIAS, NEW)
    );
    // The same if the old room cannot be read.
    let there = [joined(NEW, Some(OLD))];
    assert_eq!(of(&old(), &[ALIAS], Some(NEW), &there), goes(ALIAS, NEW));
    let secret = OldRoom {
        encrypted: true,
        ..old()
    };
    let unencrypted = Waiting::Unencrypted(id(NEW));
    for secret in [
        secret.clone(),
        OldRoom {
            tombstone: replaced.tombstone,
            ..secret
        },
    ] {
        let held = of(&secret, &[ALIAS], Some(NEW), &there);
        assert_eq!(held, waits(Some(ALIAS), unencrypted.clone()));
    }
}

#[test]
fn a_room_out_of_the_configuration_ends_when_no_mapped_room_can_replace_it() {
    let unmapped = || waits(None, Waiting::Unmapped);
    assert_eq!(of(&old(), &[OTHER], None, &[]), unmapped());
    assert_eq!(of(&replaced_by(NEW), &[OTHER], None, &[]), unmapped());
    let there = [joined(OTHER, None)];
    assert_eq!(of(&old(), &[OTHER], None, &there), Succession::Ends);
    assert_eq!(
        of(&replaced_by(NEW), &[OTHER], None, &there),
        Succession::Ends
    );
    assert_eq!(of(&old(), &[], None, &[]), Succession::Ends);
}

#[test]
fn a_successor_is_known_by_its_own_word_where_the_old_room_cannot_be_asked() {
    // The bot was removed before it could see the tombstone.
    let there = [joined(NEW, Some(OLD))];
    assert_eq!(of(&old(), &[NEW], None, &there), goes(NEW, NEW));
    // The bot is still in it, and it names no successor.
    let both = [joined(OLD, None), joined(NEW, Some(OLD))];
    assert_eq!(of(&old(), &[NEW], None, &both), Succession::Ends);
    // The successor was replaced in turn meanwhile.
    let last = [joined(OTHER, Some(NEW))];
    assert_eq!(
        of(&replaced_by(NEW), &[OTHER], None, &last),
        goes(OTHER, OTHER)
    );
    // Any room can claim to replace another; one that is not configured is not believed.
    let claims = [joined(NEW, Some(OLD)), joined(OTHER, None)];
    assert_eq!(of(&old(), &[OTHER], None, &claims), Succession::Ends);
}

#[test]
fn what_something_waits_for_survives_the_table() {
    for why in [
        Waiting::Unnamed(id(NEW)),
        Waiting::NotJoined(Some(id(NEW))),
        Waiting::NotJoined(None),
        Waiting::Unencrypted(id(NEW)),
        Waiting::Public(id(NEW)),
        Waiting::Unconfirmed(id(NEW)),
        Waiting::Unmapped,
    ] {
        assert_eq!(Waiting::of(why.name(), why.successor().cloned()), why);
    }
}
