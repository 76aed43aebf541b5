//! What is not transmitted, and what its sender is told.

use super::*;

#[test]
fn what_is_not_meant_for_the_mesh_is_dropped_with_its_reason() {
    for (text, reason) in [
        (
            RoomText {
                sender: bot(),
                ..message("x")
            },
            DropReason::OwnEvent,
        ),
        (
            RoomText {
                suppress: true,
                ..message("x")
            },
            DropReason::Suppressed,
        ),
        (
            RoomText {
                room: room("!far:example.org"),
                ..message("x")
            },
            DropReason::UnmappedRoom,
        ),
        (
            of_kind(RoomTextKind::VerificationRequest, "x"),
            DropReason::NotText,
        ),
        (of_kind(RoomTextKind::Other, " "), DropReason::NotText),
    ] {
        let actions = said(&mut bridge(), &text, &Facts::default());
        assert_eq!(actions, dropped(reason), "{text:?}");
    }
}

#[test]
fn a_message_decided_on_before_is_dropped() {
    let seen = Facts {
        already_seen: true,
        ..Facts::default()
    };
    assert_eq!(
        said(&mut bridge(), &message("x"), &seen),
        dropped(DropReason::Duplicate)
    );
    assert_eq!(
        reacted(&mut bridge(), &reaction("👍"), &seen),
        dropped(DropReason::Duplicate)
    );
}

#[test]
fn prefixes_of_commands_can_be_switched_off_and_notices_on() {
    let mut config = config();
    config.matrix.command_prefix = None;
    config.matrix.off_air_prefix = Some(String::new());
    config.matrix.relay_notices = true;
    let mut bridge = bridge_of(config);
    for text in [
        message("!ping"),
        message("//x"),
        of_kind(RoomTextKind::Notice, "x"),
    ] {
        assert_eq!(
            spoken(&said(&mut bridge, &text, &Facts::default())).len(),
            1
        );
    }
}

#[test]
fn with_broadcast_switched_off_nothing_goes_on_the_air() {
    let mut config = config();
    config.meshtastic.broadcast_enabled = false;
    let mut bridge = bridge_of(config);
    let actions = said(&mut bridge, &message("x"), &Facts::default());
    assert_eq!(on_air(&actions), []);
    assert_eq!(
        reacted(&mut bridge, &reaction("👍"), &knowing(vec![pair()])),
        dropped(DropReason::BroadcastOff)
    );
}

#[test]
fn only_who_may_transmit_transmits_and_others_are_told_once_a_day() {
    let mut config = config();
    config.matrix.allowed_users = Some(vec!["@*:example.org".parse().unwrap()]);
    config.matrix.ignored_users = vec!["@bob:example.org".parse().unwrap()];
    config.matrix.min_power_level = 10;
    let mut bridge = bridge_of(config);
    let by = |id: &str, sender_power: i64| RoomText {
        sender: user(id),
        sender_power,
        ..message("x")
    };
    let facts = Facts::default();
    assert_eq!(
        spoken(&said(&mut bridge, &by("@alice:example.org", 10), &facts)).len(),
        1
    );
    let ignored = said(&mut bridge, &by("@bob:example.org", 100), &facts);
    assert_eq!(ignored, dropped(DropReason::IgnoredUser));
    for denied in [by("@alice:example.org", 9), by("@eve:example.net", 100)] {
        let actions = said(&mut bridge, &denied, &facts);
        assert_eq!(actions[0], Action::Drop(DropReason::Denied));
        assert_eq!(notices(&actions).len(), 1);
        let what = format!("denied {}", denied.sender);
        let until = NOON + Duration::from_hours(24);
        assert_eq!(
            actions[2],
            Action::StartCooldown {
                what: what.clone(),
                until
            }
        );
        assert_eq!(actions[3..], [signed(Sign::Denied)]);
        let told = Facts {
            cooldowns: vec![what],
            ..Facts::default()
        };
        assert_eq!(
            said(&mut bridge, &denied, &told),
            dropped(DropReason::Denied)
        );
    }
    let denied = RoomReaction {
        sender_power: 0,
        ..reaction("👍")
    };
    let actions = reacted(&mut bridge, &denied, &knowing(vec![pair()]));
    assert_eq!(actions, dropped(DropReason::Denied));
}

#[test]
fn with_an_empty_list_nobody_transmits() {
    let mut config = config();
    config.matrix.allowed_users = Some(Vec::new());
    let actions = said(&mut bridge_of(config), &message("x"), &Facts::default());
    assert_eq!(on_air(&actions), []);
}

#[test]
fn a_refusal_is_told_as_a_reply_once_in_a_room_and_hour() {
    let long = message(&"x".repeat(700));
    let actions = said(&mut bridge(), &long, &Facts::default());
    assert_eq!(refused(&actions), Some(Refused::TooLong));
    let Action::ToRoom {
        message,
        pair: None,
    } = &actions[1]
    else {
        panic!("{actions:?}");
    };
    let relay_model::RoomContent::Text {
        notice,
        reply_to,
        mentions,
        suppress,
        ..
    } = &message.content
    else {
        panic!("{message:?}");
    };
    assert!(*notice && *suppress);
    assert_eq!(*reply_to, Some(event("$message").into()));
    assert_eq!(*mentions, [alice()]);
    let what = format!("refused too_long {ROOM}");
    let until = NOON + Duration::from_hours(1);
    assert_eq!(
        actions[2],
        Action::StartCooldown {
            what: what.clone(),
            until
        }
    );
    assert_eq!(actions[3..], [signed(Sign::Refused)]);

    // The notice has a cooldown, the sign has none.
    let facts = Facts {
        cooldowns: vec![what],
        ..Facts::default()
    };
    let actions = said(&mut bridge(), &long, &facts);
    let drop = Action::Drop(DropReason::Refused(Refused::TooLong));
    assert_eq!(actions, [drop, signed(Sign::Refused)]);
}

#[test]
fn a_text_that_went_without_its_end_and_a_reaction_get_no_sign_of_refusal() {
    let no_sign = |actions: &[Action]| {
        let is_sign = |action: &Action| matches!(action, Action::Sign(..));
        !actions.iter().any(is_sign)
    };
    let mut config = config();
    config.meshtastic.long_messages.overflow = relay_config::Overflow::Cut;
    let long = message(&"x".repeat(700));
    let cut = said(&mut bridge_of(config), &long, &Facts::default());
    assert_eq!(notices(&cut).len(), 1);
    assert!(no_sign(&cut), "{cut:?}");
    let full = Facts {
        waiting_for_mesh: 1000,
        ..knowing(vec![pair()])
    };
    let reacted = reacted(&mut bridge(), &reaction("👍"), &full);
    assert_eq!(refused(&reacted), Some(Refused::QueueFull));
    assert!(no_sign(&reacted), "{reacted:?}");
}

#[test]
fn what_comes_too_late_expires_and_is_no_refusal() {
    let old = RoomText {
        sent_at: NOON - Duration::from_mins(61),
        ..message("x")
    };
    let actions = said(&mut bridge(), &old, &Facts::default());
    assert_eq!(actions[0], Action::Drop(DropReason::TooOld));
    let [_, Action::Expire(source)] = &actions[..] else {
        panic!("{actions:?}");
    };
    assert_eq!((&source.event, source.sent_at), (&old.event, old.sent_at));
    let denied = RoomText {
        sender_power: -1,
        ..old
    };
    let actions = said(&mut bridge(), &denied, &Facts::default());
    assert_eq!(actions[0], Action::Drop(DropReason::Denied));
}

#[test]
fn what_was_written_during_an_outage_is_bounded_by_the_backlog_and_not_by_its_sender() {
    let often = Facts {
        sender_sent: (20, 20),
        ..Facts::default()
    };
    let at = |sent_at| RoomText {
        sent_at,
        ..message("x")
    };
    let late = at(NOON - Duration::from_mins(3));
    assert_eq!(on_air(&said(&mut bridge(), &late, &often)).len(), 1);
    let with_late_ones = Facts {
        gathering: Some(NOON),
        ..often.clone()
    };
    assert_eq!(
        on_air(&said(&mut bridge(), &at(NOON), &with_late_ones)).len(),
        1
    );
    assert_eq!(on_air(&said(&mut bridge(), &at(NOON), &often)), []);
}

#[test]
fn each_obstacle_is_refused_with_its_reason() {
    let silent = |change: fn(&mut relay_model::RadioProfile)| {
        let mut bridge = bridge();
        let mut profile = profile();
        change(&mut profile);
        ready(&mut bridge, profile);
        bridge
    };
    let full = Facts {
        waiting_for_mesh: 1000,
        ..Facts::default()
    };
    let often = Facts {
        sender_sent: (20, 20),
        ..Facts::default()
    };
    let daily = Facts {
        sender_sent: (0, 120),
        ..Facts::default()
    };
    let none = Facts::default;
    for (mut bridge, text, facts, reason) in vec![
        (bridge(), message("x"), full, Refused::QueueFull),
        (bridge(), message("x"), often, Refused::SenderLimit),
        (bridge(), message("x"), daily, Refused::SenderLimit),
        (
            silent(|it| it.own.is_licensed = true),
            message("x"),
            none(),
            Refused::Licensed,
        ),
        (
            silent(|it| {
                it.locked = true;
                it.channels.clear();
            }),
            message("x"),
            none(),
            Refused::Locked,
        ),
        (
            silent(|it| it.region_set = false),
            message("x"),
            none(),
            Refused::NoRegion,
        ),
        (
            silent(|it| it.transmit_enabled = false),
            message("x"),
            none(),
            Refused::TransmitOff,
        ),
        (
            silent(|it| it.channels[0].role = ChannelRole::Disabled),
            message("x"),
            none(),
            Refused::NoChannel,
        ),
        (
            silent(|it| it.channels[0].name = "admin".into()),
            message("x"),
            none(),
            Refused::AdminChannel,
        ),
    ] {
        let actions = said(&mut bridge, &text, &facts);
        assert_eq!(refused(&actions), Some(reason));
        assert_eq!(notices(&actions), [reason.explanation(&config())]);
        assert_eq!(on_air(&actions), []);
    }
}

#[test]
fn a_licensed_station_transmits_for_those_who_are_named() {
    let mut config = config();
    config.matrix.allowed_users = Some(vec!["@alice:example.org".parse().unwrap()]);
    let mut bridge = bridge_of(config);
    let mut ham = profile();
    ham.own.is_licensed = true;
    ready(&mut bridge, ham);
    assert_eq!(
        spoken(&said(&mut bridge, &message("x"), &Facts::default())).len(),
        1
    );
}

#[test]
fn what_is_not_encrypted_in_an_encrypted_room_is_refused_and_told_where_that_is_wanted() {
    let mut strict = config();
    strict.matrix.e2ee.require = true;
    let mut strict = bridge_of(strict);
    let facts = Facts::default();
    let in_clear = RoomText {
        in_clear: true,
        ..message("x")
    };
    assert_eq!(spoken(&said(&mut bridge(), &in_clear, &facts)).len(), 1);
    assert_eq!(spoken(&said(&mut strict, &message("x"), &facts)).len(), 1);
    let actions = said(&mut strict, &in_clear, &facts);
    assert_eq!(spoken(&actions), Vec::<String>::new());
    assert_eq!(actions[0], Action::Drop(DropReason::InClear));
    assert_eq!(notices(&actions).len(), 1);
    assert_eq!(actions.last(), Some(&signed(Sign::Denied)));
}
