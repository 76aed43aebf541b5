//! What a text, and whatever else carries one, becomes in a room.

use super::*;

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
fn a_text_names_its_sender_in_a_profile_too_where_that_is_wanted() {
    let mut config = config();
    config.matrix.per_message_profiles.enabled = true;
    let actions = heard(&mut bridge_of(config), &packet("hello"), &Facts::default());
    assert_eq!(first(&actions).text, "[Bob/LongFast]: hello");
    let profiles = actions.iter().filter_map(|action| match action {
        Action::ToRoom { message, .. } => match &message.content {
            RoomContent::Text { profile, .. } => profile.as_deref().cloned(),
            _ => None,
        },
        _ => None,
    });
    let of_bob = SenderProfile {
        node: BOB,
        name: "Bob".to_owned(),
        avatar: true,
    };
    assert_eq!(profiles.collect::<Vec<_>>(), [of_bob]);
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

proptest! {
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
