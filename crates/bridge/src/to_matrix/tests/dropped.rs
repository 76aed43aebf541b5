//! What is not posted.

use super::*;

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
