//! Rules for relaying from rooms to the mesh.

use proptest::prelude::*;

use super::super::{Action, DropReason, Facts, author_notice};
use super::{super::testing::*, *};
use relay_config::{ChannelRef, Direction, Overflow, ReactionStyle};
use relay_model::{
    ChannelIndex, ChannelRole, Event, Explained as _, JoinedRoom, MatrixEvent, MeshMessage,
    MeshRowId, MeshSource, MessagePair, PacketId, RadioPayload, RadioProfile, RelayFields,
    RoomReaction, Sign, full_text,
};

fn air(text: &str, reply_to: Option<u32>) -> RadioPayload {
    RadioPayload::Text {
        text: text.into(),
        reply_to: reply_to.map(PacketId),
    }
}

fn tapback(emoji: &str, target: u32) -> RadioPayload {
    RadioPayload::Tapback {
        emoji: emoji.into(),
        target: PacketId(target),
    }
}

fn of_relay(meshnet: &str) -> RoomText {
    RoomText {
        sender: user("@relay:example.org"),
        relay: Some(Box::new(RelayFields {
            id: Some(PacketId(99)),
            longname: "Carol".into(),
            shortname: "CRL7".into(),
            meshnet: meshnet.into(),
            text: Some("hello hill".into()),
            ..RelayFields::default()
        })),
        ..message("[Carol/Mountains]: hello hill")
    }
}

fn trusting() -> Bridge {
    let mut config = config();
    config.matrix.trusted_relays = vec![user("@relay:example.org")];
    bridge_of(config)
}

#[test]
fn a_text_goes_on_the_air_with_its_prefix() {
    let actions = said(&mut bridge(), &message("hello"), &Facts::default());
    assert_eq!(
        actions,
        [Action::ToMesh(MeshMessage {
            destination: Destination::Channel(ChannelIndex::PRIMARY),
            channel: Some(print_of("LongFast")),
            bound: false,
            lane: Lane::Message,
            content: MeshContent::Text(draft("hello")),
            source: Some(Box::new(MeshSource {
                room: room(ROOM),
                event: event("$message"),
                thread: None,
                sender: alice(),
                sent_at: NOON,
                alert: false,
            })),
            not_before: None,
            expires: NOON + Duration::from_hours(1),
        })]
    );
}

#[test]
fn without_prefix_the_text_stands_alone() {
    let mut config = config();
    config.meshtastic.prefix_enabled = false;
    let mut bridge = bridge_of(config);
    assert_eq!(
        spoken(&said(&mut bridge, &message("hi"), &Facts::default())),
        ["hi"]
    );
    let emote = of_kind(RoomTextKind::Emote, "waves");
    assert_eq!(
        spoken(&said(&mut bridge, &emote, &Facts::default())),
        ["* waves"]
    );
}

#[test]
fn each_kind_of_message_has_its_form() {
    let image = RoomTextKind::Media { word: "image" };
    for (kind, body, form) in [
        (RoomTextKind::Emote, "waves", "* Alice[M] waves"),
        (image.clone(), "a view", "Alice[M]: [image] a view"),
        (image, "", "Alice[M]: [image]"),
        (
            RoomTextKind::Location,
            "47.1,11.2",
            "Alice[M]: [location] 47.1,11.2",
        ),
        (RoomTextKind::Poll, "Where?", "Alice[M]: [poll] Where?"),
    ] {
        let actions = said(&mut bridge(), &of_kind(kind, body), &Facts::default());
        assert_eq!(spoken(&actions), [form]);
    }
}

#[test]
fn hostile_names_and_texts_go_on_the_air_harmless() {
    for (name, body, form) in [
        ("\u{202e}Eve\nMallory", "a\u{2066}b\0", "Eve M[M]: ab"),
        ("", "x", "alice[M]: x"),
        ("\u{200b}", "x", "alice[M]: x"),
        ("\u{3164}\u{2800}", "x", "alice[M]: x"),
        ("{user}", "{display}", "{user[M]: {display}"),
        ("👨‍👩‍👧👨‍👩‍👧👨‍👩‍👧👨‍👩‍👧👨‍👩‍👧", "x", "👨‍👩‍👧👨‍👩‍👧👨‍👩‍👧[M]: x"),
    ] {
        let text = RoomText {
            sender_name: name.into(),
            ..message(body)
        };
        let actions = said(&mut bridge(), &text, &Facts::default());
        assert_eq!(spoken(&actions), [form]);
    }
}

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
fn a_relay_is_never_taught_and_its_texts_are_no_commands() {
    let mut notice = of_relay("Mountains");
    notice.kind = RoomTextKind::Notice;
    let mut config = config();
    config.matrix_rooms[0].direction = Direction::ToMatrix;
    for text in [of_relay("Mountains"), notice] {
        let actions = said(&mut bridge_of(config.clone()), &text, &Facts::default());
        assert_eq!(actions, dropped(DropReason::UntrustedRelay));
    }
    let mut bang = of_relay("Mountains");
    if let Some(fields) = &mut bang.relay {
        fields.text = Some("!ping".into());
    }
    bang.body = "!ping".into();
    let actions = said(&mut trusting(), &bang, &Facts::default());
    assert_eq!(spoken(&actions), ["CRL7/Moun: !ping"]);
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
fn before_the_radio_is_ready_a_numbered_channel_stands_for_itself() {
    let mut bridge = bridge_alone(config());
    assert_eq!(
        spoken(&said(&mut bridge, &message("x"), &Facts::default())).len(),
        1
    );
}

#[test]
fn before_the_radio_is_ready_a_named_channel_is_the_one_remembered() {
    let mut config = config();
    config.matrix_rooms[0].meshtastic_channel = ChannelRef::Name("Search".into());
    let mut bridge = bridge_alone(config);
    let actions = said(&mut bridge, &message("x"), &Facts::default());
    assert_eq!(refused(&actions), Some(Refused::ChannelsUnknown));
    bridge.remember_radio(OWN, profile().channels);
    let actions = said(&mut bridge, &message("x"), &Facts::default());
    let Action::ToMesh(MeshMessage { destination, .. }) = &actions[0] else {
        panic!("{actions:?}");
    };
    assert_eq!(*destination, Destination::Channel(slot(1)));
}

#[test]
fn a_locked_radio_takes_no_channel_away() {
    let mut bridge = bridge();
    let locked = RadioProfile {
        locked: true,
        channels: Vec::new(),
        ..profile()
    };
    ready(&mut bridge, locked);
    assert_eq!(bridge.route_problems(), []);
    assert_eq!(bridge.silence(), Some(Refused::Locked));
    assert_eq!(bridge.meshnet(), "LongFast");
}

#[test]
fn a_channel_mapped_by_its_number_is_reported_when_its_name_changes_and_one_mapped_by_name_is_not()
{
    let mut config = config();
    config.matrix_rooms[0].meshtastic_channel = ChannelRef::Name("LongFast".into());
    let mut bridge = bridge_of(config);
    assert_eq!(bridge.renamed_channels(), []);
    let mut moved = profile();
    moved.channels[0].name = "Search".into();
    moved.channels[1].name = "LongFast".into();
    moved.channels[0].fingerprint = Some(print_of("Search"));
    moved.channels[1].fingerprint = Some(print_of("LongFast"));
    ready(&mut bridge, moved.clone());
    let said: Vec<_> = bridge
        .renamed_channels()
        .iter()
        .map(|it| (it.to_string(), it.hint()))
        .collect();
    assert_eq!(
        said,
        [(
            "matrix_rooms[1]: channel 1 was `Search` and is `LongFast` now: its room goes on with it"
                .to_owned(),
            Some("to stay with a channel wherever it is, map it by its name".to_owned())
        )]
    );
    ready(&mut bridge, moved);
    assert_eq!(bridge.renamed_channels(), [], "said once");
}

#[test]
fn a_channel_that_comes_back_under_another_name_is_reported_and_under_its_own_it_is_not() {
    let mut bridge = bridge_of(config());
    let (before, mut gone, mut other) = (profile(), profile(), profile());
    gone.channels[1].role = ChannelRole::Disabled;
    gone.channels[1].name = String::new();
    other.channels[1].name = "Market".into();
    for (next, reported) in [(&gone, 0), (&before, 0), (&gone, 0), (&other, 1)] {
        ready(&mut bridge, next.clone());
        assert_eq!(bridge.renamed_channels().len(), reported);
    }
}

#[test]
fn a_missing_channel_is_reported_with_those_there_are() {
    let mut config = config();
    config.matrix_rooms[0].meshtastic_channel = ChannelRef::Name("Nowhere".into());
    config
        .matrix_rooms
        .push(route("!a:example.org", 2, Direction::Both));
    config
        .matrix_rooms
        .push(route("!b:example.org", 3, Direction::Both));
    let problems: Vec<_> = bridge_of(config)
        .route_problems()
        .iter()
        .map(|it| (it.to_string(), full_text(it)))
        .collect();
    let (problems, told): (Vec<_>, Vec<_>) = problems.into_iter().unzip();
    assert_eq!(
        problems,
        [
            "matrix_rooms[0]: the radio has no channel named `Nowhere`; it has 0 (LongFast), 1 (Search)",
            "matrix_rooms[2]: channel 2 is not in use on the radio; it has 0 (LongFast), 1 (Search)",
            "matrix_rooms[3]: channel 3 is named `admin` and is never relayed",
        ]
    );
    assert_eq!(told[..2], problems[..2]);
    let cure = "; map another channel";
    assert_eq!(told[2], format!("{}{cure}", problems[2]));
}

#[test]
fn a_room_known_by_its_alias_speaks_once_it_is_joined() {
    let mut bridge = bridge_alone(config_with(vec![route(
        "#club:example.org",
        1,
        Direction::Both,
    )]));
    let actions = said(&mut bridge, &message("x"), &Facts::default());
    assert_eq!(actions, dropped(DropReason::UnmappedRoom));
    join(
        &mut bridge,
        JoinedRoom {
            configured: vec![named("#club:example.org")],
            ..joined(ROOM)
        },
    );
    assert_eq!(
        spoken(&said(&mut bridge, &message("x"), &Facts::default())).len(),
        1
    );
}

#[test]
fn of_two_channels_in_a_room_a_reply_takes_its_targets_and_the_rest_the_first() {
    let mut bridge = bridge_of(config_with(vec![
        route(ROOM, 1, Direction::Both),
        route(ROOM, 0, Direction::Both),
    ]));
    let destination = |actions: Vec<Action>| match &actions[0] {
        Action::ToMesh(message) => (message.destination, on_air(&actions)),
        other => panic!("{other:?}"),
    };
    let plain = destination(said(&mut bridge, &message("x"), &Facts::default()));
    assert_eq!(plain.0, Destination::Channel(slot(1)));
    let answer = destination(said(&mut bridge, &reply("x"), &knowing(vec![pair()])));
    assert_eq!(
        answer,
        (
            Destination::Channel(slot(0)),
            vec![air("Alice[M]: x", Some(50))]
        )
    );
    let emoji = destination(reacted(
        &mut bridge,
        &reaction("👍"),
        &knowing(vec![pair()]),
    ));
    assert_eq!(
        emoji,
        (Destination::Channel(slot(0)), vec![tapback("👍", 50)])
    );
}

#[test]
fn a_message_of_another_room_is_no_target() {
    let elsewhere = MessagePair {
        room: named(OTHER_ROOM),
        ..pair()
    };
    let actions = said(
        &mut bridge(),
        &reply("x"),
        &knowing(vec![elsewhere.clone()]),
    );
    assert_eq!(on_air(&actions), [air("Alice[M]: x", None)]);
    let actions = reacted(&mut bridge(), &reaction("👍"), &knowing(vec![elsewhere]));
    assert_eq!(actions, dropped(DropReason::UnknownTarget));
}

#[test]
fn a_reply_goes_to_the_first_part_and_of_its_tries_to_the_newest() {
    let part = |part: u8, packet: u32| MessagePair {
        part,
        packet: PacketId(packet),
        ..pair_of_alice()
    };
    let facts = knowing(vec![part(2, 65), part(0, 64), part(1, 62), part(0, 61)]);
    let actions = said(&mut bridge(), &reply("x"), &facts);
    assert_eq!(on_air(&actions), [air("Alice[M]: x", Some(64))]);
}

#[test]
fn in_a_thread_the_reply_is_to_its_root() {
    let threaded = RoomText {
        thread: Some(event("$root")),
        ..message("x")
    };
    let facts = Facts {
        thread: vec![pair()],
        ..Facts::default()
    };
    let actions = said(&mut bridge(), &threaded, &facts);
    assert_eq!(on_air(&actions), [air("Alice[M]: x", Some(50))]);
}

#[test]
fn a_reply_to_the_unknown_or_with_replies_switched_off_is_a_plain_message() {
    let plain = [air("Alice[M]: x", None)];
    assert_eq!(
        on_air(&said(&mut bridge(), &reply("x"), &Facts::default())),
        plain
    );
    let mut config = config();
    config.meshtastic.message_interactions.replies = false;
    let actions = said(&mut bridge_of(config), &reply("x"), &knowing(vec![pair()]));
    assert_eq!(on_air(&actions), plain);
}

#[test]
fn only_the_first_part_of_a_long_reply_carries_the_relation() {
    let actions = said(
        &mut bridge(),
        &reply(&"word ".repeat(60)),
        &knowing(vec![pair()]),
    );
    let relations: Vec<_> = on_air(&actions)
        .into_iter()
        .map(|it| match it {
            RadioPayload::Text { reply_to, .. } => reply_to,
            RadioPayload::Tapback { .. } => panic!("a tapback"),
        })
        .collect();
    assert_eq!(relations, [Some(PacketId(50)), None]);
}

#[test]
fn what_is_cut_is_sent_and_its_sender_told() {
    let mut config = config();
    config.meshtastic.long_messages.overflow = Overflow::Cut;
    let actions = said(
        &mut bridge_of(config.clone()),
        &message(&"x".repeat(700)),
        &Facts::default(),
    );
    assert_eq!(on_air(&actions).len(), 3);
    assert_eq!(notices(&actions), [Refused::Cut.explanation(&config)]);
    // It may still expire, or be withdrawn.
    assert!(notices(&actions)[0].starts_with("Goes to the mesh without its end"));
}

#[test]
fn each_author_of_what_is_cut_is_told_whatever_others_in_the_room_have_read() {
    let mut config = config();
    config.meshtastic.long_messages.overflow = Overflow::Cut;
    for (reader, told_now) in [("@bob:example.org", 1), (alice().as_str(), 0)] {
        let cooldowns =
            author_notice::room_names(&room(ROOM), reader.try_into().unwrap()).collect();
        let facts = Facts {
            cooldowns,
            ..Facts::default()
        };
        let actions = said(
            &mut bridge_of(config.clone()),
            &message(&"x".repeat(700)),
            &facts,
        );
        assert_eq!(on_air(&actions).len(), 3);
        assert_eq!(notices(&actions).len(), told_now);
    }
}

#[test]
fn an_urgent_text_begins_with_a_siren_or_answers_an_alert() {
    let siren = said(&mut bridge(), &message("🚨 help"), &Facts::default());
    assert_eq!(lane(&siren), (Lane::Urgent, true));
    let alert = MessagePair {
        alert: true,
        ..pair()
    };
    let answer = said(&mut bridge(), &reply("coming"), &knowing(vec![alert]));
    assert_eq!(lane(&answer), (Lane::Urgent, false));
    let plain = said(&mut bridge(), &message("no 🚨"), &Facts::default());
    assert_eq!(lane(&plain), (Lane::Message, false));
}

fn lane(actions: &[Action]) -> (Lane, bool) {
    match &actions[0] {
        Action::ToMesh(MeshMessage { lane, source, .. }) => (*lane, source.as_ref().unwrap().alert),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_fourth_siren_of_an_hour_is_an_ordinary_text_and_an_answer_to_an_alert_never_is() {
    let alert = MessagePair {
        alert: true,
        ..pair()
    };
    for (urgent_sent, is_alert) in [(2, (Lane::Urgent, true)), (3, (Lane::Message, false))] {
        let facts = Facts {
            urgent_sent,
            ..Facts::default()
        };
        let siren = said(&mut bridge(), &message("🚨 help"), &facts);
        assert_eq!(lane(&siren), is_alert);
        let facts = Facts {
            urgent_sent,
            ..knowing(vec![alert.clone()])
        };
        let answer = said(&mut bridge(), &reply("coming"), &facts);
        assert_eq!(lane(&answer), (Lane::Urgent, false));
        let siren = said(&mut bridge(), &reply("🚨 coming"), &facts);
        assert_eq!(lane(&siren), (Lane::Urgent, true));
        let facts = Facts {
            urgent_sent,
            ..knowing(vec![pair()])
        };
        let siren = said(&mut bridge(), &reply("🚨 help"), &facts);
        assert_eq!(lane(&siren), is_alert);
    }
}

#[test]
fn who_answers_an_alert_of_their_own_is_counted() {
    let own = MessagePair {
        alert: true,
        ..pair_of_alice()
    };
    for (urgent_sent, expected) in [(2, Lane::Urgent), (3, Lane::Message)] {
        let facts = Facts {
            urgent_sent,
            ..knowing(vec![own.clone()])
        };
        let more = said(&mut bridge(), &reply("and more"), &facts);
        assert_eq!(lane(&more), (expected, false));
        let siren = said(&mut bridge(), &reply("🚨 and more"), &facts);
        assert_eq!(lane(&siren), (expected, expected == Lane::Urgent));
    }
}

#[test]
fn a_siren_of_a_sender_without_the_power_is_an_ordinary_text() {
    let mut config = config();
    config.matrix.urgent_power_level = Some(50);
    for (sender_power, is_alert) in [(50, (Lane::Urgent, true)), (49, (Lane::Message, false))] {
        let siren = RoomText {
            sender_power,
            ..message("🚨 help")
        };
        let actions = said(&mut bridge_of(config.clone()), &siren, &Facts::default());
        assert_eq!(lane(&actions), is_alert);
        assert_eq!(spoken(&actions), ["Alice[M]: 🚨 help"]);
    }
}

#[test]
fn a_time_stamp_of_the_future_buys_no_time() {
    let tomorrow = RoomText {
        sent_at: NOON + Duration::from_hours(24),
        ..message("x")
    };
    let actions = said(&mut bridge(), &tomorrow, &Facts::default());
    let Action::ToMesh(MeshMessage {
        expires,
        source: Some(source),
        ..
    }) = &actions[0]
    else {
        panic!("{actions:?}");
    };
    assert_eq!(
        (*expires, source.sent_at),
        (NOON + Duration::from_hours(1), NOON)
    );
}

#[test]
fn pictures_without_caption_are_told_as_one() {
    let image = of_kind(RoomTextKind::Media { word: "image" }, "");
    let actions = said(&mut bridge(), &image, &Facts::default());
    let Action::ToMesh(MeshMessage { not_before, .. }) = &actions[0] else {
        panic!("{actions:?}");
    };
    assert_eq!(*not_before, Some(NOON + Duration::from_secs(10)));
    let note = |text: &str, word: &str, count| Draft {
        media: Some(Media {
            word: word.into(),
            count,
        }),
        ..draft(text)
    };
    let waiting = |it: &Draft| Facts {
        waiting_media: Some((MeshRowId(7), it.clone())),
        ..Facts::default()
    };
    for (waits, more) in [
        (note("[image]", "image", 1), note("[2 images]", "image", 2)),
        (
            note("[2 images]", "image", 2),
            note("[3 images]", "image", 3),
        ),
        // It is recognised by its kind, whatever its text.
        (
            note("two views", "image", 2),
            note("[3 images]", "image", 3),
        ),
    ] {
        let actions = said(&mut bridge(), &image, &waiting(&waits));
        let one_more = Action::OneMore(MeshRowId(7), more, image.event.clone(), None);
        assert_eq!(actions, [one_more]);
    }
    let of_other_name = Draft {
        heading: Heading::default(),
        ..note("[image]", "image", 1)
    };
    for other in [
        note("[video]", "video", 1),
        draft("[image]"),
        draft("[2 images]"),
        draft("hi"),
        of_other_name,
    ] {
        let actions = said(&mut bridge(), &image, &waiting(&other));
        assert_eq!(spoken(&actions), ["Alice[M]: [image]"], "{other:?}");
    }
}

#[test]
fn another_relays_message_is_not_carried_on_unless_that_relay_is_trusted() {
    let actions = said(&mut bridge(), &of_relay("Mountains"), &Facts::default());
    assert_eq!(actions, dropped(DropReason::UntrustedRelay));
    let actions = said(&mut trusting(), &of_relay("Mountains"), &Facts::default());
    assert_eq!(spoken(&actions), ["CRL7/Moun: hello hill"]);
}

#[test]
fn a_post_of_ours_that_a_person_forwards_is_that_persons_text() {
    let mut forwarded = RoomText {
        sender: alice(),
        ..of_relay("LongFast")
    };
    forwarded.relay.as_mut().unwrap().relay_id = Some("0af3".into());
    let asked = bridge().questions(
        &Event::Matrix(MatrixEvent::Text(Box::new(forwarded.clone()))),
        NOON,
    );
    assert_eq!(asked.relay_id.as_deref(), Some("0af3"));
    let ours = Facts {
        is_our_post: true,
        heard_by_our_radio: true,
        ..Facts::default()
    };
    let actions = said(&mut bridge(), &forwarded, &ours);
    assert_eq!(
        spoken(&actions),
        ["Alice[M]: [Carol/Mountains]: hello hill"]
    );
    // An id that we have not made, or that says nothing of itself, makes nobody a person.
    let actions = said(&mut bridge(), &forwarded, &Facts::default());
    assert_eq!(actions, dropped(DropReason::UntrustedRelay));
    // The bot's notices are not relayed, whoever repeats them.
    forwarded.suppress = true;
    let actions = said(&mut bridge(), &forwarded, &ours);
    assert_eq!(actions, dropped(DropReason::Suppressed));
}

#[test]
fn a_trusted_relays_reaction_in_words_is_carried_on() {
    let mut told = of_relay("Mountains");
    told.kind = RoomTextKind::Emote;
    told.body = "\n [Carol/Mountains]: reacted 👍 to \"is anybody...\"".into();
    if let Some(fields) = &mut told.relay {
        fields.emoji = true;
    }
    let actions = said(&mut trusting(), &told, &Facts::default());
    assert_eq!(
        spoken(&actions),
        ["CRL7/Moun: reacted 👍 to \"is anybody...\""]
    );
}

#[test]
fn a_message_of_our_own_mesh_is_never_carried_on() {
    let actions = said(&mut trusting(), &of_relay("LongFast"), &Facts::default());
    assert_eq!(actions, dropped(DropReason::SameMeshnet));
    let heard = Facts {
        heard_by_our_radio: true,
        ..Facts::default()
    };
    let actions = said(&mut trusting(), &of_relay("Mountains"), &heard);
    assert_eq!(actions, dropped(DropReason::RelayOnOurMesh));
}

#[test]
fn a_reaction_becomes_a_tapback_after_five_seconds_in_the_lowest_lane() {
    let actions = reacted(&mut bridge(), &reaction("👍"), &knowing(vec![pair()]));
    let [
        Action::ToMesh(MeshMessage {
            lane,
            not_before,
            expires,
            source: Some(source),
            ..
        }),
    ] = actions.as_slice()
    else {
        panic!("{actions:?}");
    };
    assert_eq!(on_air(&actions), [tapback("👍", 50)]);
    assert_eq!(*lane, Lane::Reaction);
    assert_eq!(*not_before, Some(NOON + Duration::from_secs(5)));
    assert_eq!(*expires, NOON + Duration::from_mins(10));
    assert_eq!(source.event, event("$reaction"));
}

#[test]
fn a_reaction_on_what_we_transmitted_becomes_a_tapback() {
    let actions = reacted(
        &mut bridge(),
        &reaction("👍"),
        &knowing(vec![pair_of_alice()]),
    );
    assert_eq!(on_air(&actions), [tapback("👍", 60)]);
}

#[test]
fn a_key_that_we_made_counts_as_its_emoji_and_other_words_are_ignored() {
    for key in ["👍", "👍 BOB1", "👍 c3d4", "👍 🦊"] {
        let actions = reacted(&mut bridge(), &reaction(key), &knowing(vec![pair()]));
        assert_eq!(on_air(&actions), [tapback("👍", 50)], "{key}");
    }
    let long = format!("👍 {}", "x".repeat(60));
    for key in [
        "yes",
        "",
        "mxc://example.org/abc",
        "BOB1 👍",
        "👍👍",
        "👍 ",
        &long,
    ] {
        let actions = reacted(&mut bridge(), &reaction(key), &knowing(vec![pair()]));
        let expected = usize::from(key.trim() == "👍");
        assert_eq!(on_air(&actions).len(), expected, "{key}");
    }
}

#[test]
fn a_sign_of_our_own_is_ignored_where_we_put_it() {
    for sign in ["⏳", "📡", "📤", "✅", "❌", "🚫", "⌛"] {
        let actions = reacted(
            &mut bridge(),
            &reaction(sign),
            &knowing(vec![pair_of_alice()]),
        );
        assert_eq!(actions, dropped(DropReason::FeedbackSign));
        let actions = reacted(&mut bridge(), &reaction(sign), &knowing(vec![pair()]));
        assert_eq!(on_air(&actions).len(), 1);
    }
}

#[test]
fn an_emoji_goes_once_on_a_packet_and_at_most_three_do() {
    let there = |emoji: &[&str]| Facts {
        tapbacks: emoji.iter().map(|it| (*it).to_owned()).collect(),
        ..knowing(vec![pair()])
    };
    let actions = reacted(&mut bridge(), &reaction("❤\u{fe0f}"), &there(&["❤"]));
    assert_eq!(actions, dropped(DropReason::RepeatedEmoji));
    let actions = reacted(&mut bridge(), &reaction("😂"), &there(&["❤", "👍", "🔥"]));
    assert_eq!(actions, dropped(DropReason::TooManyEmoji));
    let actions = reacted(
        &mut bridge(),
        &reaction("😂"),
        &there(&["❤", "❤\u{fe0f}", "👍"]),
    );
    assert_eq!(on_air(&actions), [tapback("😂", 50)]);
}

#[test]
fn what_stands_in_the_way_of_a_reaction_is_not_told() {
    let full = Facts {
        waiting_for_mesh: 1000,
        ..knowing(vec![pair()])
    };
    let often = Facts {
        sender_sent: (20, 20),
        ..knowing(vec![pair()])
    };
    let old = RoomReaction {
        sent_at: NOON - Duration::from_mins(11),
        ..reaction("👍")
    };
    for (reaction, facts, reason) in [
        (
            reaction("👍"),
            full,
            DropReason::Refused(Refused::QueueFull),
        ),
        (
            reaction("👍"),
            often,
            DropReason::Refused(Refused::SenderLimit),
        ),
        (old, knowing(vec![pair()]), DropReason::TooOld),
        (reaction("👍"), Facts::default(), DropReason::UnknownTarget),
        (
            RoomReaction {
                suppress: true,
                ..reaction("👍")
            },
            knowing(vec![pair()]),
            DropReason::Suppressed,
        ),
        (
            RoomReaction {
                sender: bot(),
                ..reaction("👍")
            },
            knowing(vec![pair()]),
            DropReason::OwnEvent,
        ),
    ] {
        assert_eq!(reacted(&mut bridge(), &reaction, &facts), dropped(reason));
    }
    let mut config = config();
    config.meshtastic.message_interactions.reactions = false;
    let actions = reacted(
        &mut bridge_of(config),
        &reaction("👍"),
        &knowing(vec![pair()]),
    );
    assert_eq!(actions, dropped(DropReason::ReactionsOff));
}

#[test]
fn a_reaction_in_words_quotes_forty_characters() {
    let mut config = config();
    config.meshtastic.reaction_style = ReactionStyle::Text;
    let target = MessagePair {
        text: "a text\nof more than forty characters, certainly".into(),
        ..pair()
    };
    let actions = reacted(
        &mut bridge_of(config),
        &reaction("👍"),
        &knowing(vec![target]),
    );
    let words = "Alice[M]: reacted 👍 to \"a text of more than forty characters, ce…\"";
    assert_eq!(on_air(&actions), [air(words, Some(50))]);
}

proptest! {
    #[test]
    fn whatever_is_said_fits_into_packets_or_is_refused(
        body in any::<String>(),
        times in 1_usize..80,
        name in any::<String>(),
        template in prop_oneof![Just(false), Just(true)],
        part_bytes in 40_usize..=232,
        is_reply in any::<bool>(),
    ) {
        let mut config = config();
        config.meshtastic.long_messages.part_bytes = part_bytes;
        if template {
            config.meshtastic.long_messages.overflow = Overflow::Cut;
        }
        let facts = if is_reply { knowing(vec![pair()]) } else { Facts::default() };
        let text = RoomText { sender_name: name.repeat(9), ..reply(&body.repeat(times)) };
        let rules = config.meshtastic.long_messages;
        let actions = said(&mut bridge_of(config), &text, &facts);
        prop_assert!(!actions.is_empty());
        for (part, payload) in on_air_by(&actions, &rules).into_iter().enumerate() {
            let limit = if is_reply && part == 0 { 227 } else { 232 };
            prop_assert!(payload.bytes().len() <= limit);
            let shown = String::from_utf8(payload.bytes().to_vec()).unwrap();
            prop_assert!(!shown.chars().any(|it| it.is_control() && it != '\n'));
        }
    }

    #[test]
    fn whatever_the_key_a_tapback_is_one_emoji(key in any::<String>()) {
        let actions = reacted(&mut bridge(), &reaction(&key), &knowing(vec![pair()]));
        for payload in on_air(&actions) {
            prop_assert!(payload.bytes().len() <= 40);
        }
    }
}
