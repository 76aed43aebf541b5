//! Converts packets of real radios, and invalid ones.

use super::*;

const OWN: NodeNum = NodeNum(0xA11C_E001);
const BOB: NodeNum = NodeNum(0xB0B0_B002);
const NOW: Timestamp = Timestamp(1_750_000_000_000);
const NOW_SECONDS: u32 = 1_750_000_000;
const DAY: u32 = 86_400;

fn data(port: impl Into<i32>, payload: &[u8]) -> proto::Data {
    proto::Data {
        portnum: port.into(),
        payload: payload.to_vec(),
        ..proto::Data::default()
    }
}

fn decoded(data: proto::Data) -> proto::MeshPacket {
    proto::MeshPacket {
        from: BOB.0,
        to: NodeNum::BROADCAST.0,
        channel: 1,
        id: 77,
        payload_variant: Some(PayloadVariant::Decoded(data)),
        ..proto::MeshPacket::default()
    }
}

fn translated_with(packet: &proto::MeshPacket, chat_ports: &[u32], catching_up: bool) -> Meaning {
    let nodes = NodeDb::default();
    let settings = wire::ChannelSettings {
        name: b"bridge".to_vec(),
        ..Default::default()
    };
    let channels = channels(
        &[wire::Channel {
            index: 1,
            settings: Some(settings),
            role: 2,
        }],
        None,
    );
    let context = Context {
        own: OWN,
        channels: &channels,
        nodes: &nodes,
        chat_ports,
        catching_up,
        now: NOW,
    };
    super::packet(packet, &context)
}

fn translated(packet: &proto::MeshPacket) -> Meaning {
    translated_with(packet, &[], false)
}

fn text_of(packet: &proto::MeshPacket) -> RadioText {
    match translated(packet) {
        Ok(Translated::Text(text)) => *text,
        other => panic!("not a text: {other:?}"),
    }
}

fn hello() -> proto::MeshPacket {
    decoded(data(PortNum::TextMessageApp, b"hello"))
}

#[test]
fn what_is_not_meant_for_us_is_ignored_with_a_reason() {
    let encrypted = Some(PayloadVariant::Encrypted(vec![1]));
    let table = [
        (
            proto::MeshPacket {
                payload_variant: encrypted,
                ..hello()
            },
            "encrypted",
        ),
        (
            proto::MeshPacket {
                payload_variant: None,
                ..hello()
            },
            "empty",
        ),
        (proto::MeshPacket { from: 0, ..hello() }, "without a sender"),
        (proto::MeshPacket { to: 5, ..hello() }, "for another node"),
        (proto::MeshPacket { to: 0, ..hello() }, "for another node"),
        (
            proto::MeshPacket {
                channel: 8,
                ..hello()
            },
            "no such channel",
        ),
        (
            proto::MeshPacket {
                channel: u32::MAX,
                ..hello()
            },
            "no such channel",
        ),
        (decoded(data(names::REMOTE_SHELL, b"rm")), "remote shell"),
        (decoded(data(3, b"")), "another port"),
        (decoded(data(69, b"hello")), "another port"),
        (decoded(data(-1, b"hello")), "another port"),
        (decoded(data(PortNum::NodeinfoApp, b"\xFF")), "undecodable"),
    ];
    for (packet, reason) in table {
        assert_eq!(translated(&packet), Err(reason));
    }
}

#[test]
fn remote_shell_is_never_text_even_if_configured() {
    let packet = decoded(data(names::REMOTE_SHELL, b"rm"));
    let translated = translated_with(&packet, &[13], false);
    assert_eq!(translated, Err("remote shell"));
}

#[test]
fn each_readable_port_has_its_kind() {
    for (port, kind) in [
        (PortNum::TextMessageApp, TextPort::Text),
        (PortNum::AlertApp, TextPort::Alert),
        (PortNum::DetectionSensorApp, TextPort::DetectionSensor),
    ] {
        assert_eq!(text_of(&decoded(data(port, b"x"))).port, kind);
    }
    let packet = decoded(data(256, b"x"));
    let Ok(Translated::Text(text)) = translated_with(&packet, &[256], false) else {
        panic!("not a text")
    };
    assert_eq!(
        (text.port, &*text.port_name),
        (TextPort::Other(256), "PRIVATE_APP")
    );
}

#[test]
fn a_packet_to_our_own_node_is_direct_whatever_its_channel() {
    let text = text_of(&proto::MeshPacket {
        to: OWN.0,
        channel: 0,
        ..hello()
    });
    assert_eq!(text.destination, Destination::Direct(OWN));
    assert_eq!(text.channel(), None);
    assert_eq!(text.channel_name, "");
    let text = text_of(&proto::MeshPacket { to: 1, ..hello() });
    assert_eq!(text.channel_name, "bridge");
}

#[test]
fn invalid_utf8_is_replaced_and_nothing_else() {
    let text = text_of(&decoded(data(
        PortNum::TextMessageApp,
        b"a\0\x07\xFF\x94\xC3",
    )));
    assert_eq!(text.text, "a\0\x07\u{FFFD}\u{FFFD}\u{FFFD}");
}

#[test]
fn any_emoji_flag_makes_a_reaction_and_may_be_the_emoji_itself() {
    let reaction = |payload: &[u8], emoji| {
        let data = proto::Data {
            reply_id: 5,
            emoji,
            ..data(PortNum::TextMessageApp, payload)
        };
        let text = text_of(&decoded(data));
        assert_eq!(text.reply_to, Some(PacketId(5)));
        (text.is_reaction, text.text)
    };
    assert_eq!(reaction("👍".as_bytes(), 1), (true, "👍".to_owned()));
    assert_eq!(reaction("👍".as_bytes(), 0x1F44D), (true, "👍".to_owned()));
    assert_eq!(reaction(b"", 0x1F44D), (true, "👍".to_owned()));
    assert_eq!(reaction(b"", 0xD800), (true, String::new()));
    assert_eq!(reaction(b"fine", 0), (false, "fine".to_owned()));
}

#[test]
fn the_radios_time_counts_where_it_is_plausible() {
    let heard = |rx_time, catching_up| {
        let packet = proto::MeshPacket { rx_time, ..hello() };
        let Ok(Translated::Text(text)) = translated_with(&packet, &[], catching_up) else {
            panic!("not a text")
        };
        (NOW.0 - text.heard_at.0) / 1000
    };
    assert_eq!(heard(NOW_SECONDS - 600, false), 600);
    assert_eq!(heard(NOW_SECONDS - 3 * DAY, false), 0);
    assert_eq!(heard(NOW_SECONDS - 3 * DAY, true), i64::from(3 * DAY));
    assert_eq!(heard(NOW_SECONDS - 31 * DAY, true), 0);
    for absurd in [
        0,
        1,
        946_684_800,
        NOW_SECONDS + 60,
        NOW_SECONDS + DAY,
        u32::MAX,
    ] {
        assert_eq!(heard(absurd, true), 0, "{absurd}");
    }
}

#[test]
fn hops_are_known_only_where_the_sender_told_its_limit() {
    let hops = |hop_start, hop_limit, bitfield| {
        let data = proto::Data {
            bitfield,
            ..data(PortNum::TextMessageApp, b"x")
        };
        text_of(&proto::MeshPacket {
            hop_start,
            hop_limit,
            ..decoded(data)
        })
        .hops
    };
    assert_eq!(hops(3, 3, None), Some(0));
    assert_eq!(hops(3, 1, None), Some(2));
    assert_eq!(hops(0, 0, Some(0)), Some(0));
    assert_eq!(hops(0, 0, None), None);
    assert_eq!(hops(2, 3, Some(0)), None);
    assert_eq!(hops(u32::MAX, 0, Some(0)), None);
}

#[test]
fn who_relayed_a_packet_is_known_only_of_one_that_was_relayed_by_firmware_that_tells_it() {
    let relayed_by = |relay_node, hop_limit| {
        text_of(&proto::MeshPacket {
            relay_node,
            hop_start: 3,
            hop_limit,
            ..decoded(data(PortNum::TextMessageApp, b"x"))
        })
        .relayed_by
    };
    assert_eq!(relayed_by(0xD4, 2), Some(0xD4));
    assert_eq!(relayed_by(0xD4, 3), None, "it came directly");
    assert_eq!(relayed_by(0, 2), None);
    assert_eq!(relayed_by(0x1D4, 2), None);
}

#[test]
fn signal_is_known_only_of_what_came_by_radio() {
    let signal = |rx_snr, rx_rssi| {
        let text = text_of(&proto::MeshPacket {
            rx_snr,
            rx_rssi,
            ..hello()
        });
        (text.snr, text.rssi)
    };
    assert_eq!(signal(0.0, 0), (None, None));
    assert_eq!(signal(0.0, -90), (Some(0.0), Some(-90)));
    assert_eq!(signal(-7.5, 0), (Some(-7.5), None));
    assert_eq!(signal(f32::NAN, -90), (None, Some(-90)));
}

#[test]
fn consent_and_mqtt_are_told() {
    let text = text_of(&proto::MeshPacket {
        via_mqtt: true,
        ..hello()
    });
    assert!(text.via_mqtt && !text.ok_to_mqtt);
    assert!(
        text_of(&proto::MeshPacket {
            transport_mechanism: 5,
            ..hello()
        })
        .via_mqtt
    );
    let consent = |bits| {
        let data = proto::Data {
            bitfield: Some(bits),
            ..data(PortNum::TextMessageApp, b"x")
        };
        text_of(&decoded(data)).ok_to_mqtt
    };
    assert!(consent(1) && consent(3));
    assert!(!consent(2) && !consent(0));
}

fn stored(rr: i32, to: NodeNum) -> proto::MeshPacket {
    let stored = proto::StoreAndForward {
        rr,
        variant: Some(proto::store_and_forward::Variant::Text(b"old\xFF".to_vec())),
    };
    let packet = decoded(data(PortNum::StoreForwardApp, &stored.encode_to_vec()));
    proto::MeshPacket { to: to.0, ..packet }
}

#[test]
fn texts_told_again_are_the_originals() {
    let text = text_of(&stored(9, OWN));
    assert_eq!((text.sender.num, text.packet), (BOB, PacketId(77)));
    assert_eq!(text.channel_name, "bridge");
    assert_eq!(
        (&*text.text, &*text.port_name),
        ("old\u{FFFD}", "TEXT_MESSAGE_APP")
    );
    assert_eq!(text.port, TextPort::Text);
    assert!(text.replayed);
    assert_eq!(
        text_of(&stored(8, OWN)).destination,
        Destination::Direct(OWN)
    );
    assert_eq!(translated(&stored(9, BOB)), Err("for another node"));
    assert_eq!(translated(&stored(2, OWN)), Err("another port"));
}

#[test]
fn routing_is_an_answer_only_to_us() {
    let routing = |payload: &[u8], to: NodeNum, request_id| {
        let data = proto::Data {
            request_id,
            ..data(PortNum::RoutingApp, payload)
        };
        translated(&proto::MeshPacket {
            to: to.0,
            ..decoded(data)
        })
    };
    let answer = |error| {
        Ok(Translated::Answer(MeshAnswer::Routing(Routing {
            from: BOB,
            request: PacketId(9),
            error,
        })))
    };
    assert_eq!(routing(&[], OWN, 9), answer(0));
    assert_eq!(routing(&[0x18, 0], OWN, 9), answer(0));
    assert_eq!(routing(&[0x18, 38], OWN, 9), answer(38));
    assert_eq!(routing(&[0x18, 38], BOB, 9), Err("routing of others"));
    assert_eq!(routing(&[0x18, 38], OWN, 0), Err("routing of others"));
    assert_eq!(routing(&[0x0A, 0], OWN, 9), Err("routing of others"));
    assert_eq!(routing(&[0x18], OWN, 9), Err("undecodable"));
}

#[test]
fn nodes_tell_their_names_also_to_others() {
    let user = proto::User {
        long_name: "Bob".to_owned(),
        short_name: "B".to_owned(),
        is_licensed: true,
        ..proto::User::default()
    };
    let packet = decoded(data(PortNum::NodeinfoApp, &user.encode_to_vec()));
    let Ok(Translated::NodeChange(num, news)) = translated(&proto::MeshPacket { to: 5, ..packet })
    else {
        panic!("no news")
    };
    assert_eq!((num, news.long_name.as_deref()), (BOB, Some("Bob")));
    assert_eq!(news.is_licensed, Some(true));
    assert_eq!(news.is_ignored, None);
}

#[test]
fn only_our_own_radios_telemetry_tells_how_busy_the_channel_is() {
    let metrics = proto::DeviceMetrics {
        channel_utilization: Some(12.5),
        ..Default::default()
    };
    let telemetry = proto::Telemetry {
        time: 0,
        variant: Some(proto::telemetry::Variant::DeviceMetrics(metrics)),
    };
    let packet = decoded(data(PortNum::TelemetryApp, &telemetry.encode_to_vec()));
    assert_eq!(translated(&packet), Err("another port"));
    let own = proto::MeshPacket {
        from: OWN.0,
        ..packet
    };
    assert_eq!(translated(&own), Ok(Translated::ChannelUse(12.5)));
}

#[test]
fn unnamed_channels_have_their_presets_name() {
    let unnamed = |role| wire::Channel {
        index: 0,
        settings: None,
        role,
    };
    let name = |use_preset, modem_preset| {
        let lora = proto::config::LoRaConfig {
            use_preset,
            modem_preset,
            ..Default::default()
        };
        channels(&[unnamed(1)], Some(&lora)).swap_remove(0).name
    };
    let names = [
        "LongFast",
        "LongSlow",
        "Invalid",
        "MediumSlow",
        "MediumFast",
        "ShortSlow",
        "ShortFast",
        "LongMod",
        "ShortTurbo",
        "LongTurbo",
        "LiteFast",
        "LiteSlow",
        "NarrowFast",
        "NarrowSlow",
        "TinyFast",
        "TinySlow",
        "MediumTurbo",
        "Invalid",
    ];
    for (preset, expected) in (0..).zip(names) {
        assert_eq!(name(true, preset), expected, "{preset}");
    }
    assert_eq!(name(false, 0), "Custom");
    assert_eq!(channels(&[unnamed(0)], None).swap_remove(0).name, "");
}

#[test]
fn a_channel_is_the_same_in_every_slot_and_another_with_another_key_or_name() {
    let channel = |index, name: &str, psk: &[u8], role| wire::Channel {
        index,
        settings: Some(wire::ChannelSettings {
            psk: psk.to_vec(),
            name: name.as_bytes().to_vec(),
        }),
        role,
    };
    let told = |channels: &[wire::Channel]| super::channels(channels, None);
    let before = told(&[
        channel(0, "", &[1], 1),
        channel(1, "Rescue", &[7; 32], 2),
        channel(2, "Club", &[], 2),
    ]);
    // Another radio, which sends the name and the key of its primary channel in full.
    let moved = told(&[
        channel(
            0,
            "LongFast",
            b"\xd4\xf1\xbb\x3a\x20\x29\x07\x59\xf0\xbc\xff\xab\xcf\x4e\x69\x01",
            1,
        ),
        channel(1, "Club", &[1], 2),
        channel(4, "Rescue", &[7; 32], 2),
    ]);
    for (one, other) in [(0, 0), (1, 4), (2, 1)] {
        assert_eq!(before[one].name, moved[other].name);
        assert_eq!(before[one].fingerprint, moved[other].fingerprint, "{one}");
    }
    let rekeyed = told(&[
        channel(0, "", &[2], 1),
        channel(1, "Rescue", &[8; 32], 2),
        channel(2, "Club", &[], 2),
        channel(3, "rescue", &[7; 32], 2),
    ]);
    for (one, other) in [(0, 0), (1, 1), (2, 2), (1, 3)] {
        assert_ne!(before[one].fingerprint, rekeyed[other].fingerprint, "{one}");
    }
    // A channel without a key shares that of the primary one; the primary one without a key has none.
    let primary = told(&[channel(0, "Club", &[], 1), channel(2, "", &[1], 2)]);
    assert_ne!(primary[0].fingerprint, before[2].fingerprint);
    assert_eq!(primary[2].fingerprint, before[0].fingerprint);
    assert!(before[3].fingerprint.is_none(), "not in use");
}

#[test]
fn there_are_always_eight_channels() {
    assert_eq!(channels(&[], None).len(), 8);
    let odd = |index| wire::Channel {
        index,
        settings: None,
        role: 9,
    };
    let channels = channels(&[odd(-1), odd(99), odd(3), odd(3)], None);
    assert!(
        channels
            .iter()
            .all(|channel| channel.role == ChannelRole::Disabled)
    );
}

#[test]
fn a_node_heard_in_the_future_was_not() {
    let heard = |last_heard| {
        let info = wire::NodeInfo {
            num: 5,
            last_heard,
            ..Default::default()
        };
        news_of_node(&info, NOW).last_heard
    };
    assert_eq!(heard(0), None);
    assert_eq!(heard(u32::MAX), None);
    assert_eq!(heard(NOW_SECONDS - 5), Some(NOW - Duration::from_secs(5)));
}

#[test]
fn a_tapback_goes_out_as_one() {
    let message = RadioMessage {
        destination: Destination::Direct(BOB),
        lane: relay_model::Lane::Reaction,
        payload: RadioPayload::Tapback {
            emoji: "👍".to_owned(),
            target: PacketId(5),
        },
    };
    let packet = outgoing(OWN, 4, PacketId(6), &message);
    assert_eq!(
        (packet.from, packet.to, packet.channel, packet.id),
        (OWN.0, BOB.0, 0, 6)
    );
    assert_eq!((packet.hop_limit, packet.want_ack), (4, true));
    let Some(PayloadVariant::Decoded(data)) = packet.payload_variant else {
        panic!("not decoded")
    };
    assert_eq!((data.portnum, data.reply_id, data.emoji), (1, 5, 1));
    assert_eq!(data.payload, "👍".as_bytes());
}
