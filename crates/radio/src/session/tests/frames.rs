//! Single frames, in and out, and packets that wait for a handshake.

use super::*;

#[test]
fn packets_that_come_before_the_handshakes_end_are_held() {
    let mut bench = Bench::new(SessionOptions::default());
    bench.session.on_time(bench.now);
    let reply = from_radio("chat.a").into_iter().rev().nth(1).unwrap().bytes;
    let mut frames = handshake();
    let last = frames.pop().unwrap();
    for frame in frames {
        bench.frame(&frame);
    }
    assert_eq!(bench.frame(&reply), []);
    let outputs = bench.frame(&last);
    assert!(matches!(
        outputs[..],
        [
            Output::Event(RadioEvent::Ready(_)),
            Output::Event(RadioEvent::Text(_))
        ]
    ));
    let mut bench = Bench::new(SessionOptions::default());
    let ignored = (0..1000).map(|_| bench.frame(&reply).len()).sum::<usize>();
    assert!(ignored > 900, "bounded");
}

#[test]
fn packets_between_a_restart_and_a_handshake_that_never_ends_are_not_lost() {
    let mut bench = Bench::ready(SessionOptions::default());
    let mut outputs = Vec::new();
    for number in 1..=100 {
        // It restarts once more meanwhile.
        if number == 1 || number == 50 {
            bench.variant(from_radio::PayloadVariant::Rebooted(true));
        }
        outputs.extend(bench.frame(&text(number)));
    }
    // Beyond the limit the oldest packets are translated at once.
    assert_eq!(texts(&outputs), (1..=36).collect::<Vec<_>>());
    outputs.extend(bench.session.take_held(bench.now));
    assert_eq!(texts(&outputs), (1..=100).collect::<Vec<_>>());
    assert_eq!(bench.session.take_held(bench.now), []);

    // The next connection ends in the middle of its handshake.
    bench.session.begin(NONCE, bench.now.instant);
    bench.session.on_time(bench.now);
    bench.frame(&handshake()[0]);
    assert_eq!(bench.frame(&text(101)), []);
    let outputs = bench.session.take_held(bench.now);
    assert_eq!(texts(&outputs), [101]);

    // Another radio has other channels.
    let other = proto::MyNodeInfo {
        my_node_num: 7,
        ..Default::default()
    };
    bench.variant(from_radio::PayloadVariant::MyInfo(other));
    bench.frame(&text(102));
    assert!(matches!(
        bench.session.take_held(bench.now)[..],
        [Output::Event(RadioEvent::Ignored { .. })]
    ));
}

#[test]
fn what_the_radio_has_said_is_no_news_on_the_next_connection() {
    let mut bench = Bench::ready(SessionOptions::default());
    let sentence = "Duty cycle limit exceeded";
    assert!(
        bench
            .session
            .memory
            .repeat_filter
            .is_news(sentence, bench.now.instant)
    );
    bench.session.begin(NONCE, bench.now.instant);
    let filter = &mut bench.session.memory.repeat_filter;
    assert!(!filter.is_news(sentence, bench.now.instant));
}

#[test]
fn what_means_nothing_to_us_changes_nothing() {
    let mut bench = Bench::ready(SessionOptions::default());
    for frame in [
        // Empty, an unknown variant, an unknown module's configuration, a variant twice.
        b"".as_slice(),
        &[0xFA, 0x0F, 0x01, 0x00],
        &[0x4A, 0x00],
        &[0x4A, 0x00, 0x4A, 0x00],
    ] {
        assert_eq!(bench.frame(frame), [], "{frame:02x?}");
    }
    let undecodable = bench.frame(b"\x12\x05\x01");
    assert!(matches!(
        undecodable[..],
        [Output::Event(RadioEvent::Ignored {
            reason: "undecodable"
        })]
    ));
    assert!(bench.session.is_ready());
}

#[test]
fn our_packet_is_the_one_that_a_real_client_sent() {
    let bench = Bench::ready(SessionOptions::default());
    let recorded = from_client("chat.a");
    let packet = recorded.iter().rfind(|frame| frame.bytes[0] == 0x0A);
    let message = RadioMessage {
        destination: Destination::Channel(ChannelIndex::try_from(1).unwrap()),
        lane: Lane::Message,
        payload: RadioPayload::Text {
            text: "hello from A".to_owned(),
            reply_to: None,
        },
    };
    let frame = bench.session.send(PacketId(0xC6BF_3F5F), &message);
    assert_eq!(frame.as_ref(), packet.map(|packet| &packet.bytes));
}
