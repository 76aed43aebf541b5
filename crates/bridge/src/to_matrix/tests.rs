//! Rules for relaying from the mesh to rooms.

use proptest::prelude::*;

use super::super::{Action, DropReason, Facts};
use super::{super::testing::*, *};
use relay_config::{ChannelRef, Direction, OkToMqtt, PortNum};
use relay_model::{
    ChannelRole, Event, EventRef, JoinedRoom, MatrixEvent, MeshMessage, MessagePair, Node, Origin,
    OwnedEventId, OwnedUserId, PacketId, RadioEvent, RelayFields, Relayed,
};

struct Posted {
    text: String,
    reply_to: Option<EventRef>,
    thread: Option<OwnedEventId>,
    mentions: Vec<OwnedUserId>,
    mentions_room: bool,
    notice: bool,
    fields: RelayFields,
    pair: Option<Box<MessagePair>>,
}

fn first(actions: &[Action]) -> Posted {
    let Some(Action::ToRoom { message, pair }) = actions.first() else {
        panic!("not posted: {actions:?}");
    };
    let RoomContent::Text {
        notice,
        prefix,
        text,
        reply_to,
        thread,
        mentions,
        mentions_room,
        fields: Some(fields),
        suppress: false,
        ..
    } = message.content.clone()
    else {
        panic!("no text of the mesh: {message:?}");
    };
    Posted {
        text: format!("{prefix}{text}"),
        reply_to,
        thread,
        mentions,
        mentions_room,
        notice,
        fields: *fields,
        pair: pair.clone(),
    }
}

/// The future event of the packet that is replied to.
fn waiting_event() -> EventRef {
    EventRef::Packet {
        sender: BOB,
        packet: PacketId(50),
    }
}

fn reactions(actions: &[Action]) -> Vec<(String, String)> {
    let reactions = actions.iter().filter_map(|action| match action {
        Action::ToRoom { message, .. } => match &message.content {
            RoomContent::Reaction { target, key } => match target {
                EventRef::Event(event) => Some((event.to_string(), key.clone())),
                EventRef::Packet { .. } => None,
            },
            RoomContent::Text { .. } | RoomContent::Redaction { .. } => None,
        },
        _ => None,
    });
    reactions.collect()
}

fn tapback(emoji: &str) -> RadioText {
    RadioText {
        reply_to: Some(PacketId(50)),
        is_reaction: true,
        ..packet(emoji)
    }
}

fn direct(text: &str) -> RadioText {
    RadioText {
        destination: Destination::Direct(OWN),
        channel_name: String::new(),
        fingerprint: None,
        ..packet(text)
    }
}

#[test]
fn a_text_is_posted_with_its_prefix_and_the_fields_of_a_relay() {
    let posted = first(&heard(&mut bridge(), &packet("hello"), &Facts::default()));
    assert_eq!(posted.text, "[Bob/LongFast]: hello");
    assert_eq!(
        posted.fields,
        RelayFields {
            id: Some(PacketId(77)),
            longname: "Bob".into(),
            shortname: "BOB1".into(),
            meshnet: "LongFast".into(),
            portnum: "TEXT_MESSAGE_APP".into(),
            text: Some("hello".into()),
            reply_id: None,
            emoji: false,
            hops: Some(2),
            snr: Some(6.25),
            rssi: Some(-90),
            via_mqtt: false,
            relay_id: None,
        }
    );
    assert_eq!(
        posted.pair.unwrap(),
        Box::new(MessagePair {
            origin: Origin::Mesh,
            sender: BOB,
            packet: PacketId(77),
            destination: Destination::Channel(ChannelIndex::PRIMARY),
            channel: Some(print_of("LongFast")),
            room: named(ROOM),
            event: None,
            thread: None,
            author: None,
            text: "hello".into(),
            alert: false,
            part: 0,
            at: NOON,
        })
    );
}

#[test]
fn a_text_goes_to_every_room_of_its_channel_and_to_no_other() {
    let mut bridge = bridge_of(config_with(vec![
        route(ROOM, 0, Direction::Both),
        route(OTHER_ROOM, 0, Direction::ToMatrix),
        route("!quiet:example.org", 0, Direction::ToMesh),
        route("!far:example.org", 1, Direction::Both),
    ]));
    let rooms: Vec<_> = posted(&heard(&mut bridge, &packet("hi"), &Facts::default()))
        .into_iter()
        .map(|(room, _)| room)
        .collect();
    assert_eq!(rooms, [ROOM, OTHER_ROOM]);
}

#[test]
fn a_room_with_two_names_is_posted_to_once() {
    let mut bridge = bridge_of(config_with(vec![
        route("#club:example.org", 0, Direction::Both),
        route(ROOM, 0, Direction::Both),
    ]));
    join(
        &mut bridge,
        JoinedRoom {
            configured: vec![named("#club:example.org"), named(ROOM)],
            ..joined(ROOM)
        },
    );
    assert_eq!(
        posted(&heard(&mut bridge, &packet("hi"), &Facts::default())).len(),
        1
    );
}

#[test]
fn before_a_room_is_joined_its_alias_stands_for_it() {
    let mut bridge = bridge_alone(config_with(vec![route(
        "#club:example.org",
        0,
        Direction::Both,
    )]));
    let actions = heard(&mut bridge, &packet("hi"), &Facts::default());
    assert_eq!(
        posted(&actions),
        [("#club:example.org".into(), "[Bob/Meshtastic]: hi".into())]
    );
}

#[test]
fn an_alias_stands_for_the_room_of_the_earlier_run_until_it_is_known_for_which_it_stands_now() {
    let alias = named("#club:example.org");
    let mut bridge = bridge_alone(config_with(vec![route(alias.as_str(), 0, Direction::Both)]));
    bridge.remember_room(alias.clone(), room(ROOM));
    let reply = RadioText {
        reply_to: Some(PacketId(50)),
        ..packet("yes")
    };
    let actions = heard(&mut bridge, &reply, &knowing(vec![pair()]));
    assert_eq!(posted(&actions)[0].0, ROOM);
    assert_eq!(first(&actions).reply_to, Some(event("$target").into()));
    let actions = heard(&mut bridge, &tapback("👍"), &knowing(vec![pair()]));
    assert_eq!(reactions(&actions), [("$target".into(), "👍".into())]);

    let moved = Event::Matrix(MatrixEvent::AliasMoved {
        alias,
        room: room(OTHER_ROOM),
    });
    bridge.decide(&moved, &Facts::default(), NOON);
    let actions = heard(&mut bridge, &reply, &knowing(vec![pair()]));
    assert_eq!(posted(&actions)[0].0, OTHER_ROOM);
    assert_eq!(first(&actions).reply_to, None);
}

#[test]
fn a_channel_mapped_by_name_is_heard_in_whichever_slot_it_is() {
    let mut config = config();
    config.matrix_rooms[0].meshtastic_channel = ChannelRef::Name("Club".into());
    let mut bridge = bridge_of(config);
    let moved = RadioText {
        destination: Destination::Channel(slot(5)),
        channel_name: "Club".into(),
        ..packet("hi")
    };
    assert_eq!(
        posted(&heard(&mut bridge, &moved, &Facts::default())).len(),
        1
    );
    let actions = heard(&mut bridge, &packet("hi"), &Facts::default());
    assert_eq!(actions, dropped(DropReason::UnmappedChannel));
}

#[test]
fn what_was_decided_on_and_what_we_sent_is_not_posted() {
    let seen = Facts {
        already_seen: true,
        ..Facts::default()
    };
    assert_eq!(
        heard(&mut bridge(), &packet("hi"), &seen),
        dropped(DropReason::Duplicate)
    );
    let ours = Facts {
        sent_by_us: true,
        ..Facts::default()
    };
    assert_eq!(
        heard(&mut bridge(), &packet("hi"), &ours),
        dropped(DropReason::OwnPacket)
    );
}

#[test]
fn what_is_typed_on_our_radio_itself_is_posted() {
    let typed = RadioText {
        sender: Node::unknown(OWN),
        ..packet("Alice: good morning")
    };
    let posted = first(&heard(&mut bridge(), &typed, &relayed_of_alice()));
    assert_eq!(
        posted.text,
        "[Meshtastic cafe/LongFast]: Alice: good morning"
    );
}

#[test]
fn what_policy_forbids_is_dropped_with_its_reason() {
    let ignored = Node {
        is_ignored: true,
        ..packet("").sender
    };
    let cases = [
        (
            RadioText {
                channel_name: "Admin".into(),
                ..packet("x")
            },
            DropReason::AdminChannel,
        ),
        (
            RadioText {
                sender: ignored,
                ..packet("x")
            },
            DropReason::IgnoredNode,
        ),
        (
            RadioText {
                sender: Node::unknown(NodeNum(9)),
                ..packet("x")
            },
            DropReason::IgnoredNode,
        ),
        (
            RadioText {
                port: TextPort::Other(13),
                ..packet("x")
            },
            DropReason::DisabledPort,
        ),
        (
            RadioText {
                port: TextPort::Other(66),
                ..packet("x")
            },
            DropReason::OtherPort,
        ),
        (
            RadioText {
                port: TextPort::Alert,
                ..packet("x")
            },
            DropReason::DisabledPort,
        ),
        (
            RadioText {
                port: TextPort::DetectionSensor,
                ..packet("x")
            },
            DropReason::SensorsOff,
        ),
        (
            RadioText {
                via_mqtt: true,
                ..packet("x")
            },
            DropReason::MqttOff,
        ),
        (
            RadioText {
                destination: Destination::Channel(slot(6)),
                ..packet("x")
            },
            DropReason::UnmappedChannel,
        ),
        (
            RadioText {
                destination: Destination::Direct(BOB),
                ..packet("x")
            },
            DropReason::ForAnotherNode,
        ),
        (packet("\u{202e}\0 \u{200b}"), DropReason::Empty),
    ];
    for (packet, reason) in cases {
        let mut config = config();
        config.meshtastic.ignore_nodes = vec![NodeNum(9)];
        config.meshtastic.detection_sensor = false;
        config.meshtastic.relay_mqtt = false;
        config.meshtastic.packet_routing.disabled_portnums = vec![PortNum(11)];
        config.meshtastic.packet_routing.chat_portnums = vec![PortNum(13)];
        let actions = heard(&mut bridge_of(config), &packet, &Facts::default());
        assert_eq!(actions, dropped(reason));
    }
}

#[test]
fn a_further_chat_port_is_posted_like_a_text() {
    let mut config = config();
    config.meshtastic.packet_routing.chat_portnums = vec![PortNum(66)];
    let range_test = RadioText {
        port: TextPort::Other(66),
        ..packet("seq 1")
    };
    let actions = heard(&mut bridge_of(config), &range_test, &Facts::default());
    assert_eq!(first(&actions).text, "[Bob/LongFast]: seq 1");
}

#[test]
fn a_detection_sensor_is_posted_as_a_notice_if_wished() {
    let mut config = config();
    config.meshtastic.detection_sensor_type = SensorType::Notice;
    let mut bridge = bridge_of(config);
    let sensor = RadioText {
        port: TextPort::DetectionSensor,
        ..packet("door")
    };
    assert!(first(&heard(&mut bridge, &sensor, &Facts::default())).notice);
    assert!(!first(&heard(&mut bridge, &packet("door"), &Facts::default())).notice);
}

#[test]
fn without_the_authors_consent_nothing_goes_to_public_rooms() {
    let mut config = config_with(vec![
        route(ROOM, 0, Direction::Both),
        route(OTHER_ROOM, 0, Direction::Both),
        route("!unknown:example.org", 0, Direction::Both),
    ]);
    config.meshtastic.respect_ok_to_mqtt = OkToMqtt::PublicRooms;
    let mut bridge = bridge_of(config.clone());
    join(
        &mut bridge,
        JoinedRoom {
            public: true,
            ..joined(OTHER_ROOM)
        },
    );
    let actions = heard(&mut bridge, &packet("hi"), &Facts::default());
    assert_eq!(
        posted(&actions),
        [(ROOM.into(), "[Bob/LongFast]: hi".into())]
    );
    let consents = RadioText {
        ok_to_mqtt: true,
        ..packet("hi")
    };
    assert_eq!(
        posted(&heard(&mut bridge, &consents, &Facts::default())).len(),
        3
    );
    config.meshtastic.respect_ok_to_mqtt = OkToMqtt::Always;
    let actions = heard(&mut bridge_of(config), &packet("hi"), &Facts::default());
    assert_eq!(actions, dropped(DropReason::NoConsent));
}

/// Alice has just said good morning in Matrix.
fn relayed_of_alice() -> Facts {
    let relayed = Relayed {
        author: vec!["Alice".into()],
        text: "good morning".into(),
        ..Relayed::default()
    };
    Facts {
        relayed: vec![relayed],
        ..Facts::default()
    }
}

#[test]
fn another_relays_echo_is_not_posted() {
    let relayed = relayed_of_alice();
    let echo = packet("[Alice/M]: good morning");
    let actions = heard(&mut bridge(), &echo, &relayed);
    assert_eq!(actions, dropped(DropReason::Echo));
    let actions = heard(&mut bridge(), &packet("good morning"), &relayed);
    assert_eq!(posted(&actions).len(), 1);
    let of_port = |port| RadioText {
        port,
        ..echo.clone()
    };
    for no_echo in [
        RadioText {
            reply_to: Some(PacketId(5)),
            ..echo.clone()
        },
        of_port(TextPort::Alert),
        of_port(TextPort::DetectionSensor),
        RadioText {
            replayed: true,
            ..echo.clone()
        },
    ] {
        let mut bridge = bridge();
        assert_eq!(posted(&heard(&mut bridge, &no_echo, &relayed)).len(), 1);
        let event = Event::Radio(RadioEvent::Text(Box::new(no_echo)));
        assert_eq!(bridge.questions(&event, NOON).relayed, None);
    }
    // A direct message that was kept is not posted when it is repeated.
    let again = RadioText {
        replayed: true,
        ..echo
    };
    let seen = Facts {
        already_seen: true,
        ..relayed
    };
    let actions = heard(&mut bridge(), &again, &seen);
    assert_eq!(actions, dropped(DropReason::Duplicate));
}

#[test]
fn a_packet_without_id_has_a_pair_that_tells_its_channel() {
    let nameless = RadioText {
        packet: PacketId::NONE,
        ..packet("hi")
    };
    let posted = first(&heard(&mut bridge(), &nameless, &Facts::default()));
    let pair = posted.pair.unwrap();
    assert_eq!(pair.packet, PacketId::NONE);
    assert_eq!(pair.channel, Some(print_of("LongFast")));
    assert_eq!(posted.fields.id, None);
}

#[test]
fn hostile_texts_and_names_are_posted_harmless() {
    for (name, text, shown) in [
        (
            "<b>Bob</b>",
            "<script>@room</script>",
            "[<b>Bob</b>/LongFast]: <script>@room</script>",
        ),
        (
            "B\u{202e}o\nb",
            "a\u{2066}b\0c\u{7}",
            "[Bo b/LongFast]: abc🔔",
        ),
        ("\u{200b}", "x\u{fffd}", "[BOB1/LongFast]: x\u{fffd}"),
        ("{long}", "{mesh} %s", "[{long}/LongFast]: {mesh} %s"),
    ] {
        let mut hostile = packet(text);
        hostile.sender.long_name = Some(name.into());
        let posted = first(&heard(&mut bridge(), &hostile, &Facts::default()));
        assert_eq!(posted.text, shown);
        assert!(posted.mentions.is_empty() && !posted.mentions_room);
    }
}

#[test]
fn a_node_whose_name_shows_nothing_is_called_by_its_next_name() {
    for (long, short, shown) in [
        (Some("\u{3164}"), Some("BOB1"), "[BOB1/LongFast]: x"),
        (Some("\u{2800}\u{ad}"), Some("BOB1"), "[BOB1/LongFast]: x"),
        (None, Some("BOB1"), "[BOB1/LongFast]: x"),
        (
            Some("\u{1160}"),
            Some("\u{ffa0}"),
            "[Meshtastic 0001/LongFast]: x",
        ),
        (Some("Bob"), Some("\u{3164}"), "[Bob/LongFast]: x"),
    ] {
        let mut heard_from = packet("x");
        heard_from.sender.long_name = long.map(Into::into);
        heard_from.sender.short_name = short.map(Into::into);
        let posted = first(&heard(&mut bridge(), &heard_from, &Facts::default()));
        assert_eq!(posted.text, shown);
    }
}

#[test]
fn an_alert_is_marked_and_mentions_the_room_once_in_ten_minutes() {
    let mut config = config();
    config.meshtastic.alert_mentions_room = true;
    let mut bridge = bridge_of(config);
    let alert = RadioText {
        port: TextPort::Alert,
        ..packet("man down")
    };
    let posted = first(&heard(&mut bridge, &alert, &Facts::default()));
    assert_eq!(posted.text, "[Bob/LongFast]: 🚨 man down");
    assert!(!posted.mentions_room, "its power level does not allow it");
    assert!(posted.pair.unwrap().alert);

    join(
        &mut bridge,
        JoinedRoom {
            may_mention_room: true,
            may_write: true,
            may_react: true,
            ..joined(ROOM)
        },
    );
    let actions = heard(&mut bridge, &alert, &Facts::default());
    assert!(first(&actions).mentions_room);
    let what = format!("alert {BOB}");
    assert_eq!(
        actions.last(),
        Some(&Action::StartCooldown {
            what: what.clone(),
            until: NOON + MENTION_AGAIN
        })
    );
    let facts = Facts {
        cooldowns: vec![what],
        ..Facts::default()
    };
    let actions = heard(&mut bridge, &alert, &facts);
    assert!(!first(&actions).mentions_room && actions.len() == 1);
}

#[test]
fn an_empty_alert_is_still_an_alert() {
    let alert = RadioText {
        port: TextPort::Alert,
        ..packet("")
    };
    let posted = first(&heard(&mut bridge(), &alert, &Facts::default()));
    assert_eq!(posted.text, "[Bob/LongFast]: 🚨");
}

#[test]
fn a_reply_answers_the_event_and_mentions_its_author() {
    let reply = RadioText {
        reply_to: Some(PacketId(60)),
        ..packet("yes")
    };
    let posted = first(&heard(
        &mut bridge(),
        &reply,
        &knowing(vec![pair_of_alice()]),
    ));
    assert_eq!(posted.reply_to, Some(event("$target").into()));
    assert_eq!(posted.mentions, [alice()]);
    assert_eq!(posted.fields.reply_id, Some(PacketId(60)));

    let posted = first(&heard(&mut bridge(), &reply, &knowing(vec![pair()])));
    assert_eq!(posted.reply_to, Some(event("$target").into()));
    assert_eq!(posted.mentions, Vec::<OwnedUserId>::new());
}

#[test]
fn a_reply_to_what_waits_in_our_outbox_names_its_packet() {
    let reply = RadioText {
        reply_to: Some(PacketId(50)),
        ..packet("yes")
    };
    let waiting = MessagePair {
        event: None,
        ..pair()
    };
    let posted = first(&heard(&mut bridge(), &reply, &knowing(vec![waiting])));
    assert_eq!(posted.reply_to, Some(waiting_event()));
}

#[test]
fn a_reply_to_a_threaded_event_goes_into_its_thread() {
    let reply = RadioText {
        reply_to: Some(PacketId(50)),
        ..packet("yes")
    };
    let threaded = MessagePair {
        thread: Some(event("$root")),
        ..pair()
    };
    let posted = first(&heard(&mut bridge(), &reply, &knowing(vec![threaded])));
    assert_eq!(posted.thread, Some(event("$root")));
    assert_eq!(posted.pair.unwrap().thread, Some(event("$root")));
}

#[test]
fn a_reply_whose_target_is_unknown_or_in_another_room_is_a_plain_message() {
    let reply = RadioText {
        reply_to: Some(PacketId(50)),
        ..packet("yes")
    };
    let elsewhere = MessagePair {
        room: named(OTHER_ROOM),
        ..pair()
    };
    for facts in [Facts::default(), knowing(vec![elsewhere])] {
        let posted = first(&heard(&mut bridge(), &reply, &facts));
        assert_eq!(posted.reply_to, None);
    }
}

#[test]
fn a_reply_to_what_an_earlier_relay_carried_is_one_only_where_the_room_has_one_channel() {
    let reply = RadioText {
        reply_to: Some(PacketId(50)),
        ..packet("yes")
    };
    let old = MessagePair {
        destination: Destination::Channel(slot(4)),
        channel: None,
        ..pair()
    };
    let one = config();
    let two = config_with(vec![
        route(ROOM, 0, Direction::Both),
        route(ROOM, 1, Direction::ToMesh),
    ]);
    for (config, answers) in [(one, Some(event("$target").into())), (two, None)] {
        let actions = heard(&mut bridge_of(config), &reply, &knowing(vec![old.clone()]));
        assert_eq!(first(&actions).reply_to, answers);
    }
}

#[test]
fn with_replies_switched_off_a_reply_is_a_plain_message() {
    let mut config = config();
    config.meshtastic.message_interactions.replies = false;
    let reply = RadioText {
        reply_to: Some(PacketId(50)),
        ..packet("yes")
    };
    let actions = heard(&mut bridge_of(config), &reply, &knowing(vec![pair()]));
    assert_eq!(first(&actions).reply_to, None);
}

#[test]
fn a_target_known_under_the_rooms_alias_is_found() {
    let mut bridge = bridge_of(config_with(vec![route(
        "#club:example.org",
        0,
        Direction::Both,
    )]));
    join(
        &mut bridge,
        JoinedRoom {
            configured: vec![named("#club:example.org")],
            ..joined(ROOM)
        },
    );
    let before_the_join = MessagePair {
        room: named("#club:example.org"),
        ..pair()
    };
    let actions = heard(&mut bridge, &tapback("👍"), &knowing(vec![before_the_join]));
    assert_eq!(reactions(&actions), [("$target".into(), "👍 BOB1".into())]);
}

#[test]
fn a_tapback_becomes_a_reaction_with_a_name_only_where_nothing_is_encrypted() {
    let mut bridge = bridge();
    let actions = heard(&mut bridge, &tapback("👍"), &knowing(vec![pair()]));
    assert_eq!(reactions(&actions), [("$target".into(), "👍 BOB1".into())]);
    join(
        &mut bridge,
        JoinedRoom {
            encrypted: true,
            ..joined(ROOM)
        },
    );
    let actions = heard(&mut bridge, &tapback("👍"), &knowing(vec![pair()]));
    assert_eq!(reactions(&actions), [("$target".into(), "👍".into())]);
    let actions = heard(
        &mut bridge_alone(config()),
        &tapback("👍"),
        &knowing(vec![pair()]),
    );
    assert_eq!(
        reactions(&actions),
        [("$target".into(), "👍".into())],
        "not joined yet"
    );
}

#[test]
fn a_tapback_on_what_waits_in_our_outbox_names_its_packet() {
    let waiting = MessagePair {
        event: None,
        ..pair()
    };
    let actions = heard(&mut bridge(), &tapback("👍"), &knowing(vec![waiting]));
    let [Action::ToRoom { message, .. }] = actions.as_slice() else {
        panic!("{actions:?}");
    };
    let key = "👍 BOB1".to_owned();
    assert_eq!(
        message.content,
        RoomContent::Reaction {
            target: waiting_event(),
            key
        }
    );
}

#[test]
fn a_tapback_goes_only_to_the_rooms_that_know_its_target() {
    let mut bridge = bridge_of(config_with(vec![
        route(ROOM, 0, Direction::Both),
        route(OTHER_ROOM, 0, Direction::Both),
    ]));
    let actions = heard(&mut bridge, &tapback("❤"), &knowing(vec![pair_of_alice()]));
    assert_eq!(
        reactions(&actions),
        [("$target".into(), "❤\u{fe0f} BOB1".into())]
    );
    assert_eq!(actions.len(), 1);
}

#[test]
fn a_tapback_that_is_no_emoji_or_has_no_target_is_a_text() {
    let actions = heard(&mut bridge(), &tapback("lol"), &knowing(vec![pair()]));
    let posted = first(&actions);
    assert_eq!(posted.text, "[Bob/LongFast]: lol");
    assert_eq!(posted.reply_to, Some(event("$target").into()));
    let posted = first(&heard(&mut bridge(), &tapback("👍"), &Facts::default()));
    assert_eq!(
        (posted.text.as_str(), posted.reply_to),
        ("[Bob/LongFast]: 👍", None)
    );
}

#[test]
fn with_reactions_switched_off_tapbacks_are_dropped() {
    let mut config = config();
    config.meshtastic.message_interactions.reactions = false;
    let actions = heard(
        &mut bridge_of(config),
        &tapback("👍"),
        &knowing(vec![pair()]),
    );
    assert_eq!(actions, dropped(DropReason::ReactionsOff));
}

#[test]
fn a_direct_message_is_kept_and_answered_once_a_day() {
    let actions = heard(&mut bridge(), &direct("psst"), &Facts::default());
    assert_eq!(actions[0], Action::KeepDirect(Box::new(direct("psst"))));
    let Action::ToMesh(MeshMessage {
        destination,
        content: MeshContent::Packet(answer),
        source: None,
        expires,
        ..
    }) = &actions[1]
    else {
        panic!("{actions:?}");
    };
    assert_eq!(*destination, Destination::Direct(BOB));
    assert_eq!(*expires, NOON + Duration::from_mins(10));
    assert!(answer.bytes().starts_with(b"This node is a bridge"));
    let what = format!("dm_reply {BOB}");
    assert_eq!(
        actions[2],
        Action::StartCooldown {
            what: what.clone(),
            until: NOON + ANSWER_AGAIN
        }
    );
    let facts = Facts {
        cooldowns: vec![what],
        ..Facts::default()
    };
    let actions = heard(&mut bridge(), &direct("psst"), &facts);
    assert_eq!(actions, [Action::KeepDirect(Box::new(direct("psst")))]);
}

#[test]
fn many_nodes_that_write_directly_are_not_all_answered_at_once() {
    let actions = heard(&mut bridge(), &direct("psst"), &Facts::default());
    let just_now = Action::StartCooldown {
        what: notice::ANY_DIRECT.to_owned(),
        until: NOON + ANSWER_ANOTHER,
    };
    assert!(actions.contains(&just_now), "{actions:?}");
    let asked = bridge().questions(
        &relay_model::Event::Radio(relay_model::RadioEvent::Text(Box::new(direct("psst")))),
        NOON,
    );
    assert!(
        asked
            .cooldowns
            .iter()
            .any(|name| name == notice::ANY_DIRECT)
    );
    let facts = Facts {
        cooldowns: vec![notice::ANY_DIRECT.to_owned()],
        ..Facts::default()
    };
    let actions = heard(&mut bridge(), &direct("psst"), &facts);
    assert_eq!(on_air(&actions), []);
}

#[test]
fn a_direct_message_is_not_answered_where_nothing_may_be_transmitted() {
    let mut silent = config();
    silent.meshtastic.broadcast_enabled = false;
    let mut mute = config();
    mute.meshtastic.dm_reply = None;
    for config in [silent, mute] {
        let actions = heard(&mut bridge_of(config), &direct("psst"), &Facts::default());
        assert_eq!(on_air(&actions), []);
    }
    let mut ham = bridge();
    let mut licensed = profile();
    licensed.own.is_licensed = true;
    ready(&mut ham, licensed);
    assert_eq!(
        on_air(&heard(&mut ham, &direct("psst"), &Facts::default())),
        []
    );
}

#[test]
fn an_answer_that_is_too_long_is_cut() {
    let mut config = config();
    config.meshtastic.dm_reply = Some("ö".repeat(200));
    let actions = heard(&mut bridge_of(config), &direct("psst"), &Facts::default());
    assert_eq!(on_air(&actions)[0].bytes().len(), DIRECT_BYTES);
}

#[test]
fn the_primary_channels_name_is_the_meshs_name_until_another_is_set() {
    let mut bridge = bridge_alone(config());
    assert_eq!(bridge.meshnet(), "Meshtastic");
    bridge.remember_meshnet(Some("Valley".into()));
    assert_eq!(bridge.meshnet(), "Valley");
    let mut renamed = profile();
    renamed.channels[0] = channel(0, "Hills", ChannelRole::Primary);
    ready(&mut bridge, renamed);
    assert_eq!(bridge.meshnet(), "Hills");
    let mut config = config();
    config.meshtastic.meshnet_name = Some("Peaks".into());
    assert_eq!(bridge_of(config).meshnet(), "Peaks");
}

fn any_port() -> impl Strategy<Value = TextPort> {
    prop_oneof![
        Just(TextPort::Text),
        Just(TextPort::Alert),
        Just(TextPort::DetectionSensor),
        (0_u32..300).prop_map(TextPort::Other),
    ]
}

proptest! {
    #[test]
    fn a_direct_message_is_never_in_a_room(
        text in any::<String>(),
        to_us in any::<bool>(),
        port in any_port(),
        reply_to in proptest::option::of(any::<u32>()),
        is_reaction in any::<bool>(),
        from_us in any::<bool>(),
        known in any::<bool>(),
        radio_known in any::<bool>(),
        channel_name in "(|LongFast|Search)",
    ) {
        let mut bridge = if radio_known { bridge() } else { bridge_alone(config()) };
        let message = RadioText {
            destination: Destination::Direct(if to_us { OWN } else { NodeNum(5) }),
            port,
            reply_to: reply_to.map(PacketId),
            is_reaction,
            sender: Node::unknown(if from_us { OWN } else { BOB }),
            channel_name,
            ..packet(&text)
        };
        let facts = if known { knowing(vec![pair(), pair_of_alice()]) } else { Facts::default() };
        let actions = heard(&mut bridge, &message, &facts);
        let in_a_room = actions.iter().any(|it| matches!(it, Action::ToRoom { .. }));
        prop_assert!(!in_a_room, "{:?}", actions);
    }

    #[test]
    fn whatever_is_heard_is_posted_clean_or_dropped(
        text in any::<String>(),
        name in any::<String>(),
        short in any::<String>(),
        is_reaction in any::<bool>(),
        known in any::<bool>(),
        snr in any::<f32>(),
    ) {
        let mut hostile = RadioText { is_reaction, snr: Some(snr), ..packet(&text) };
        hostile.sender.long_name = Some(name);
        hostile.sender.short_name = Some(short);
        let facts = if known { knowing(vec![pair()]) } else { Facts::default() };
        for action in heard(&mut bridge(), &hostile, &facts) {
            let Action::ToRoom { message, .. } = action else { continue };
            let shown = match message.content {
                RoomContent::Text { prefix, text, mentions_room, .. } => {
                    prop_assert!(!mentions_room && !prefix.contains('\n'));
                    format!("{prefix}{text}")
                }
                RoomContent::Reaction { key, .. } => key,
                RoomContent::Redaction { .. } => String::new(),
            };
            prop_assert!(!shown.chars().any(|it| it.is_control() && it != '\n'));
        }
    }
}
