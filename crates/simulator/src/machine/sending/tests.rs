//! The outcomes of a client's packets.

use std::time::Duration;

use super::*;
use crate::harness::{ClientAnswer, Harness, answers, packets};
use relay_wire::proto::{
    from_radio::PayloadVariant as ToClient, to_radio::PayloadVariant as FromClient,
};

const MINUTE: Duration = Duration::from_mins(1);
const LIMIT: Duration = Duration::from_secs(2);

fn nak(harness: &Harness, error: i32) -> ClientAnswer {
    ClientAnswer::Routing {
        from: harness.own(),
        error,
    }
}

fn reply(mut packet: MeshPacket, reply_id: u32, emoji: u32) -> MeshPacket {
    if let Some(PayloadVariant::Decoded(data)) = &mut packet.payload_variant {
        data.reply_id = reply_id;
        data.emoji = emoji;
    }
    packet
}

#[test]
fn an_accepted_text_gets_one_queue_status_and_later_an_acknowledgement_of_the_radio_itself() {
    let mut harness = Harness::live(3);
    let text = harness.text(7, "hello");
    let frames = harness.tell(FromClient::Packet(text));
    let [ToClient::QueueStatus(status)] = frames.as_slice() else {
        panic!("{frames:?}");
    };
    assert_eq!((status.res, status.free, status.maxlen), (0, 15, 16));
    assert_eq!(status.mesh_packet_id, 7);
    assert_eq!(harness.fates(7), [Fate::Accepted]);

    let frames = harness.wait(Duration::from_secs(9));
    assert_eq!(answers(&frames, 7), [nak(&harness, 0)]);
    let packet = packets(&frames)[0];
    assert_eq!((packet.to, packet.channel), (harness.own(), 1));
    assert_eq!(
        packet.priority,
        i32::from(relay_wire::proto::mesh_packet::Priority::Ack)
    );
    assert_eq!(harness.fates(7), [Fate::Heard]);
}

#[test]
fn without_want_ack_there_is_no_acknowledgement() {
    let mut harness = Harness::live(3);
    let text = MeshPacket {
        want_ack: false,
        hop_limit: 0,
        ..harness.text(7, "hello")
    };
    assert_eq!(harness.send(text), [ClientAnswer::Status(0)]);
    assert_eq!(harness.wait(MINUTE), []);
    assert_eq!(harness.fates(7), [Fate::Accepted, Fate::Sent]);
}

#[test]
fn a_broadcast_that_nobody_repeats_ends_in_max_retransmit() {
    let mut harness = Harness::live(0);
    let text = harness.text(7, "hello");
    harness.send(text);
    assert_eq!(harness.wait(Duration::from_secs(19)), []);
    let frames = harness.wait(Duration::from_secs(6));
    assert_eq!(answers(&frames, 7), [nak(&harness, 5)]);
    assert_eq!(harness.fates(7), [Fate::Accepted, Fate::Unheard]);
}

#[test]
fn a_packet_without_an_id_gets_one_that_only_the_queue_status_tells() {
    let mut harness = Harness::live(3);
    let text = harness.text(0, "hello");
    let frames = harness.tell(FromClient::Packet(text));
    let [ToClient::QueueStatus(status)] = frames.as_slice() else {
        panic!("{frames:?}");
    };
    assert_ne!(status.mesh_packet_id, 0);
}

#[test]
fn a_repeated_id_gets_no_reaction_at_all() {
    let mut harness = Harness::live(3);
    let text = harness.text(7, "hello");
    harness.send(text.clone());
    harness.wait(MINUTE);
    harness.fates(7);
    assert_eq!(harness.send(text.clone()), []);
    assert_eq!(harness.wait(MINUTE), []);
    assert_eq!(harness.fates(7), [Fate::Duplicate]);
    harness.connect();
    assert_eq!(
        harness.send(text),
        [ClientAnswer::Status(0)],
        "a new connection starts blank"
    );
}

#[test]
fn a_text_too_soon_looks_like_success_but_for_a_routing_packet_to_the_named_sender() {
    let mut harness = Harness::live(3);
    let (first, soon, anonymous, later) = (
        harness.text(1, "first"),
        harness.text(2, "too soon"),
        harness.text(3, "too soon, from nobody"),
        harness.text(4, "in time"),
    );
    harness.send(first);
    harness.now += Duration::from_millis(1999);
    assert_eq!(
        harness.send(soon),
        [ClientAnswer::Status(0), nak(&harness, 38)]
    );
    let anonymous = MeshPacket {
        from: 0,
        ..anonymous
    };
    assert_eq!(harness.send(anonymous), [ClientAnswer::Status(0)]);
    assert_eq!(harness.fates(3), [Fate::RateLimited]);
    harness.now += Duration::from_millis(1);
    assert_eq!(harness.send(later), [ClientAnswer::Status(0)]);
    let frames = harness.wait(MINUTE);
    assert_eq!(answers(&frames, 2), []);
    assert_eq!(answers(&frames, 3), []);
    assert_eq!(answers(&frames, 4), [nak(&harness, 0)]);
}

#[test]
fn direct_messages_replies_and_tapbacks_share_the_limit_of_texts() {
    let mut harness = Harness::live(3);
    let first = harness.text(1, "first");
    harness.send(first);
    let direct = MeshPacket {
        to: harness.neighbour(0),
        ..harness.text(2, "direct")
    };
    let tapback = reply(harness.text(3, "👍"), 1, 1);
    for packet in [direct, tapback] {
        assert_eq!(
            harness.send(packet),
            [ClientAnswer::Status(0), nak(&harness, 38)]
        );
    }
}

#[test]
fn positions_come_every_10_s_and_traces_every_30_s_with_a_notification() {
    let mut harness = Harness::live(3);
    let position = |harness: &Harness, id| harness.packet(id, PortNum::PositionApp, b"x");
    let packet = position(&harness, 1);
    harness.send(packet);
    harness.now += Duration::from_secs(9);
    let packet = position(&harness, 2);
    assert_eq!(harness.send(packet), [ClientAnswer::Status(0)]);
    assert_eq!(harness.fates(2), [Fate::RateLimited]);
    harness.now += Duration::from_secs(1);
    let packet = position(&harness, 3);
    harness.send(packet);
    assert_eq!(harness.fates(3), [Fate::Accepted]);

    for (id, fate) in [(4, Fate::Accepted), (5, Fate::RateLimited)] {
        let trace = MeshPacket {
            to: harness.neighbour(0),
            ..harness.packet(id, PortNum::TracerouteApp, b"")
        };
        let frames = harness.tell(FromClient::Packet(trace));
        let told = frames.iter().any(|frame| match frame {
            ToClient::ClientNotification(note) => note.reply_id == Some(id),
            _ => false,
        });
        assert_eq!(harness.fates(id), [fate]);
        assert_eq!(told, fate == Fate::RateLimited);
    }
}

#[test]
fn what_fits_on_the_air_is_what_was_measured() {
    for (direct, reply_id, emoji, fits) in [
        (false, 0, 0, 232),
        (false, 9, 0, 227),
        (false, 9, 1, 222),
        (true, 0, 0, 220),
        (true, 9, 0, 215),
    ] {
        let mut harness = Harness::live(3);
        let to = if direct {
            harness.neighbour(0)
        } else {
            u32::MAX
        };
        let sized = |harness: &Harness, id, size| MeshPacket {
            to,
            ..reply(harness.text(id, &"x".repeat(size)), reply_id, emoji)
        };
        let packet = sized(&harness, 1, fits);
        assert_eq!(harness.send(packet), [ClientAnswer::Status(0)], "{fits}");
        harness.now += LIMIT;
        let packet = sized(&harness, 2, fits + 1);
        assert_eq!(
            harness.send(packet),
            [ClientAnswer::Status(7), nak(&harness, 7)],
            "{fits}"
        );
        assert_eq!(harness.fates(2), [Fate::Refused(7)]);
        let packet = sized(&harness, 3, 10);
        assert_eq!(
            harness.send(packet),
            [ClientAnswer::Status(0), nak(&harness, 38)],
            "a text that is too long starts the limit"
        );
    }
}

#[test]
fn a_payload_that_the_radio_cannot_decode_is_ignored_silently() {
    let mut harness = Harness::live(3);
    let huge = harness.text(1, &"y".repeat(240));
    assert_eq!(harness.send(huge), []);
    assert_eq!(harness.heartbeat(2).len(), 1);
}

#[test]
fn a_disabled_channel_and_one_beyond_7_are_refused_on_channel_0() {
    let mut harness = Harness::live(3);
    for (id, channel) in [(1, 5), (2, 8), (3, u32::MAX)] {
        let text = MeshPacket {
            channel,
            ..harness.text(id, "nowhere")
        };
        let frames = harness.tell(FromClient::Packet(text));
        assert_eq!(
            answers(&frames, id),
            [ClientAnswer::Status(6), nak(&harness, 6)]
        );
        assert_eq!(packets(&frames)[0].channel, 0);
        harness.now += LIMIT;
    }
}

#[test]
fn a_direct_message_needs_the_addressees_key() {
    let mut harness = Harness::live(4);
    let nameless = harness.neighbour(3);
    for (id, to) in [(1, 0x1234_5678), (2, 0), (3, nameless)] {
        let text = MeshPacket {
            to,
            ..harness.text(id, "to whom?")
        };
        assert_eq!(
            harness.send(text),
            [ClientAnswer::Status(39), nak(&harness, 39)]
        );
        harness.now += LIMIT;
    }
}

#[test]
fn a_neighbour_confirms_a_direct_message_itself() {
    let mut harness = Harness::live(3);
    let peer = harness.neighbour(1);
    let text = MeshPacket {
        to: peer,
        channel: 0,
        ..harness.text(7, "private")
    };
    assert_eq!(harness.send(text), [ClientAnswer::Status(0)]);
    let frames = harness.wait(Duration::from_secs(3));
    assert_eq!(
        answers(&frames, 7),
        [ClientAnswer::Routing {
            from: peer,
            error: 0
        }]
    );
    assert!(packets(&frames)[0].want_ack);
    assert_eq!(harness.fates(7), [Fate::Accepted, Fate::Delivered]);
}

#[test]
fn a_node_behind_another_is_relayed_to_first_and_confirms_later() {
    let mut harness = Harness::live(6);
    let peer = harness.neighbour(4);
    let text = MeshPacket {
        to: peer,
        ..harness.text(7, "private")
    };
    harness.send(text);
    let frames = harness.wait(MINUTE);
    let expected = [
        nak(&harness, 0),
        ClientAnswer::Routing {
            from: peer,
            error: 0,
        },
    ];
    assert_eq!(answers(&frames, 7), expected);
    assert_eq!(
        harness.fates(7),
        [Fate::Accepted, Fate::Relayed, Fate::Delivered]
    );
}

#[test]
fn direct_messages_can_be_answered_in_every_odd_way() {
    for (answer, expected) in [
        ("implicit_only", vec![(false, 0)]),
        ("swapped", vec![(true, 0), (false, 0)]),
        ("twice", vec![(true, 0), (true, 0)]),
        ("late", vec![(false, 5), (true, 0)]),
        ("never", vec![(false, 5)]),
        ("error", vec![(true, 35)]),
    ] {
        let mut harness = Harness::live(3);
        harness.fault(&format!(
            r#"{{"fault": "direct_answer", "answer": "{answer}"}}"#
        ));
        let (own, peer) = (harness.own(), harness.neighbour(0));
        let text = MeshPacket {
            to: peer,
            ..harness.text(7, "private")
        };
        harness.send(text);
        let frames = harness.wait(MINUTE * 2);
        let expected: Vec<ClientAnswer> = expected
            .into_iter()
            .map(|(by_peer, error)| ClientAnswer::Routing {
                from: if by_peer { peer } else { own },
                error,
            })
            .collect();
        assert_eq!(answers(&frames, 7), expected, "{answer}");
    }
}

#[test]
fn without_a_region_or_with_transmission_off_there_is_a_status_and_no_routing_packet() {
    for fault in [
        r#"{"fault": "region_unset"}"#,
        r#"{"fault": "transmit_off"}"#,
    ] {
        let mut harness = Harness::live(3);
        harness.fault(fault);
        let text = harness.text(7, "hello");
        assert_eq!(harness.send(text), [ClientAnswer::Status(34)]);
        assert_eq!(harness.wait(MINUTE), []);
        assert_eq!(harness.fates(7), [Fate::Refused(34)]);
    }
}

#[test]
fn a_used_up_duty_cycle_comes_with_a_notification() {
    let mut harness = Harness::live(3);
    harness.fault(r#"{"fault": "duty_cycle"}"#);
    let text = harness.text(7, "hello");
    let frames = harness.tell(FromClient::Packet(text));
    assert_eq!(
        answers(&frames, 7),
        [ClientAnswer::Status(9), nak(&harness, 9)]
    );
    assert!(matches!(&frames[1], ToClient::ClientNotification(note) if note.reply_id == Some(7)));
}

#[test]
fn five_packets_at_once_leave_two_statuses_and_a_full_queue_says_when_it_has_room() {
    let mut harness = Harness::live(3);
    for id in 1..=24 {
        let packet = harness.packet(id, PortNum::PrivateApp, b"burst");
        harness.write(FromClient::Packet(packet));
    }
    let frames = harness.frames();
    let full = |id| {
        ToClient::QueueStatus(relay_wire::proto::QueueStatus {
            res: 32,
            free: 0,
            maxlen: 16,
            mesh_packet_id: id,
        })
    };
    assert_eq!(frames, [full(23), full(24)]);
    let frames = harness.wait(Duration::from_mins(5));
    let room = frames.iter().any(|frame| match frame {
        ToClient::QueueStatus(status) => status.mesh_packet_id == 0 && status.free == 1,
        _ => false,
    });
    assert!(room);
    assert_eq!(answers(&frames, 24), [nak(&harness, 5)]);
    assert_eq!(answers(&frames, 16), [nak(&harness, 0)]);
}

#[test]
fn refusals_can_be_ordered_with_and_without_a_routing_packet() {
    let mut harness = Harness::live(3);
    harness.fault(r#"{"fault": "refuse", "error": 33, "count": 1, "nak": false}"#);
    let text = harness.text(1, "refused");
    assert_eq!(harness.send(text), [ClientAnswer::Status(33)]);
    harness.now += LIMIT;
    let text = harness.text(2, "taken");
    assert_eq!(harness.send(text), [ClientAnswer::Status(0)]);
}

#[test]
fn a_silent_radio_transmits_without_a_status_and_a_deaf_one_takes_the_repeat() {
    let mut harness = Harness::live(3);
    harness.fault(r#"{"fault": "silent"}"#);
    let text = harness.text(1, "unanswered");
    assert_eq!(harness.send(text.clone()), []);
    assert_eq!(harness.send(text), []);
    assert_eq!(harness.fates(1), [Fate::Accepted, Fate::Duplicate]);
    harness.now += LIMIT;
    harness.fault(r#"{"fault": "silent", "lost": true}"#);
    let text = harness.text(2, "lost");
    assert_eq!(harness.send(text.clone()), []);
    assert_eq!(harness.send(text), [ClientAnswer::Status(0)]);
    assert_eq!(harness.fates(2), [Fate::Lost, Fate::Accepted]);
}

#[test]
fn what_is_sent_is_never_echoed() {
    let mut harness = Harness::live(3);
    let text = harness.text(7, "hello");
    harness.send(text);
    let frames = harness.wait(MINUTE);
    let routing = i32::from(PortNum::RoutingApp);
    let ports = packets(&frames)
        .into_iter()
        .map(|packet| crate::harness::content(packet).portnum);
    assert!(ports.into_iter().all(|port| port == routing));
}

fn acknowledged(harness: &mut Harness, fault: &str) -> Vec<ToClient> {
    harness.fault(fault);
    let text = harness.text(7, "hello");
    harness.send(text);
    harness.wait(MINUTE * 2)
}

#[test]
fn broadcasts_can_be_acknowledged_in_every_odd_way() {
    for (answer, expected) in [
        ("usual", vec![0]),
        ("twice", vec![0, 0]),
        ("late", vec![5, 0]),
        ("never", vec![5]),
    ] {
        let mut harness = Harness::live(3);
        let fault = format!(r#"{{"fault": "broadcast_answer", "answer": "{answer}"}}"#);
        let frames = acknowledged(&mut harness, &fault);
        let expected: Vec<ClientAnswer> =
            expected.into_iter().map(|it| nak(&harness, it)).collect();
        assert_eq!(answers(&frames, 7), expected, "{answer}");
    }
}

#[test]
fn an_echo_by_mqtt_acknowledges_a_broadcast_and_says_where_it_came_from() {
    let mut harness = Harness::live(3);
    let frames = acknowledged(&mut harness, r#"{"fault": "mqtt_echo"}"#);
    assert_eq!(answers(&frames, 7), [nak(&harness, 0)]);
    assert_eq!(packets(&frames)[0].transport_mechanism, 5);
}

#[test]
fn an_acknowledgement_is_spelt_out_or_empty_and_has_the_port_and_priority_of_one() {
    for (fault, payload) in [
        (r#"{"fault": "empty_acks", "on": false}"#, &[0x18, 0][..]),
        (r#"{"fault": "empty_acks"}"#, &[]),
    ] {
        let mut harness = Harness::live(3);
        let frames = acknowledged(&mut harness, fault);
        let packet = packets(&frames)[0];
        let data = crate::harness::content(packet);
        assert_eq!(
            (data.portnum, data.request_id, packet.priority),
            (5, 7, 120)
        );
        assert_eq!(data.payload, payload);
    }
}

#[test]
fn answers_to_packets_that_nobody_sent_can_be_ordered() {
    let mut harness = Harness::live(3);
    harness.fault(r#"{"fault": "answer", "request_id": 4711}"#);
    harness.fault(r#"{"fault": "answer", "request_id": 4711, "from": "!00000063", "error": 35}"#);
    let frames = harness.frames();
    let expected = [
        nak(&harness, 0),
        ClientAnswer::Routing {
            from: 0x63,
            error: 35,
        },
    ];
    assert_eq!(answers(&frames, 4711), expected);
}

#[test]
fn the_firmwares_own_simulator_tells_each_transmission_on_port_69() {
    let mut harness = Harness::live(3);
    let frames = acknowledged(&mut harness, r#"{"fault": "simulated_radio"}"#);
    let packet = packets(&frames)
        .into_iter()
        .find(|packet| crate::harness::content(packet).portnum == 69)
        .expect("the packet itself");
    assert_eq!((packet.id, packet.to), (7, u32::MAX));
    let wrapped = crate::harness::content(packet).payload.as_slice();
    let wrapped = relay_wire::proto::Compressed::decode(wrapped).unwrap();
    assert_eq!(
        (wrapped.portnum, wrapped.data.as_slice()),
        (1, b"hello".as_slice())
    );
    let status = frames.iter().find_map(|frame| match frame {
        ToClient::QueueStatus(status) if status.mesh_packet_id == 7 => Some(status.free),
        _ => None,
    });
    assert_eq!(status, Some(16));
}

#[test]
fn hop_limit_zero_is_no_hops_without_an_acknowledgement() {
    let mut harness = Harness::live(3);
    let text = MeshPacket {
        want_ack: false,
        hop_limit: 0,
        ..harness.text(7, "only next door")
    };
    harness.send(text);
    let told = std::iter::from_fn(|| {
        crate::simulated_radio::SimulatedRadio::next_report(&mut harness.machine)
    });
    let hops: Vec<u32> = told
        .filter_map(|report| match report {
            Report::Transmitted(packet, _) => Some(packet.header.hop_limit),
            _ => None,
        })
        .collect();
    assert_eq!(hops, [0]);
}

#[test]
fn older_firmware_says_35_of_a_packet_for_itself() {
    for (fault, res) in [
        (r#"{"fault": "should_release", "on": false}"#, 0),
        (r#"{"fault": "should_release"}"#, 35),
    ] {
        let mut harness = Harness::live(3);
        harness.fault(fault);
        let text = MeshPacket {
            to: harness.own(),
            ..harness.text(7, "note to self")
        };
        assert_eq!(
            harness.send(text),
            [ClientAnswer::Status(res), nak(&harness, 0)]
        );
    }
}
