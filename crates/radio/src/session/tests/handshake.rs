//! The handshake: the question, and what the radio tells in answer.

use super::*;

fn channel(index: u32, name: &str, role: ChannelRole) -> Channel {
    let index = ChannelIndex::try_from(index).unwrap();
    Channel {
        index,
        name: name.to_owned(),
        role,
        fingerprint: None,
    }
}

#[test]
fn the_wake_bytes_come_first_and_then_the_question() {
    let mut bench = Bench::new(SessionOptions::default());
    let outputs = bench.session.on_time(bench.now);
    assert_eq!(outputs[0], Output::Wake);
    assert_eq!(
        sent(&outputs[1]),
        to_radio::PayloadVariant::WantConfigId(NONCE)
    );
    let pause = Duration::from_millis(100);
    let mut bench = Bench::new(SessionOptions {
        on_cable: true,
        ..Default::default()
    });
    assert_eq!(bench.session.on_time(bench.now), [Output::Wake]);
    assert_eq!(bench.due_in(), pause);
    assert_eq!(bench.wait(pause).len(), 1);
}

#[test]
fn a_radio_that_is_still_starting_is_asked_again_until_it_answers() {
    let mut bench = Bench::new(on_a_cable());
    bench.session.on_time(bench.now);
    assert!(asks(&bench.wait(Duration::from_millis(100))));
    for _ in 0..3 {
        assert_eq!(bench.wait(Duration::from_millis(1900)), []);
        let outputs = bench.wait(Duration::from_millis(100));
        assert_eq!(outputs[0], Output::Wake);
        assert!(asks(&outputs));
    }
    let mut frames = handshake();
    let last = frames.pop().unwrap();
    bench.frame(&frames[0]);
    assert_eq!(bench.wait(Duration::from_secs(20)), []);
    for frame in &frames {
        bench.frame(frame);
    }
    bench.frame(&last);
    assert!(bench.session.is_ready());
    let mut silent = Bench::new(on_a_cable());
    silent.session.on_time(silent.now);
    silent.wait(Duration::from_millis(100));
    for _ in 0..14 {
        assert!(asks(&silent.wait(Duration::from_secs(2))));
    }
    assert!(matches!(
        silent.wait(Duration::from_secs(2))[..],
        [Output::Lost(_)]
    ));
}

#[test]
fn special_nonces_are_avoided() {
    for (random, nonce) in [(0, 1), (69420, 69422), (69421, 69422), (7, 7)] {
        assert_eq!(plain_nonce(random), nonce);
    }
}

#[test]
fn a_real_radios_handshake_tells_its_profile() {
    let mut bench = Bench::new(SessionOptions::default());
    bench.session.on_time(bench.now);
    let mut frames = handshake();
    let last = frames.pop().unwrap();
    for frame in frames {
        assert_eq!(bench.frame(&frame), []);
    }
    let outputs = bench.frame(&last);
    let profile = profile(&outputs);
    assert_eq!(profile.own.num, OWN);
    assert_eq!(profile.own.long(), "Alice 2");
    assert_eq!(profile.own.short(), "AL2");
    assert_eq!(profile.firmware, "2.7.26.54e0d8d");
    assert_eq!(profile.hop_limit, 3);
    assert!(profile.region_set && profile.transmit_enabled);
    let mut expected = vec![
        channel(0, "LongFast", ChannelRole::Primary),
        channel(1, "bridge", ChannelRole::Secondary),
        channel(2, "third", ChannelRole::Secondary),
    ];
    expected.extend((3..8).map(|index| channel(index, "", ChannelRole::Disabled)));
    let mut channels = profile.channels.clone();
    let prints: Vec<_> = channels
        .iter_mut()
        .filter_map(|channel| channel.fingerprint.take())
        .collect();
    assert_eq!(channels, expected);
    assert_eq!(prints.len(), 3);
    assert_eq!(prints[0], fingerprint::of(b"LongFast", &[1]));
    assert!(prints[1] != prints[2]);
    let batch = bench.session.nodes.take_batch(bench.now.instant);
    let nodes: Vec<_> = batch.iter().map(|node| node.num.to_string()).collect();
    assert_eq!(nodes, ["!a11ce001", "!b0b0b002", "!d0d0d004"]);
}

#[test]
fn the_end_of_an_older_handshake_is_ignored() {
    let mut bench = Bench::new(SessionOptions::default());
    bench.session.on_time(bench.now);
    let mut frames = handshake();
    frames.pop();
    for frame in &frames {
        bench.frame(frame);
    }
    assert_eq!(bench.frame(&complete(NONCE - 1)), []);
    assert!(!bench.session.is_ready());
    for frame in &frames {
        bench.frame(frame);
    }
    assert_eq!(profile(&bench.frame(&complete(NONCE))).channels.len(), 8);
    assert_eq!(bench.frame(&complete(NONCE)), [], "told twice");
}

#[test]
fn a_handshake_may_take_long_as_long_as_it_goes_on() {
    let mut bench = Bench::new(SessionOptions::default());
    bench.session.on_time(bench.now);
    for frame in handshake() {
        assert_eq!(bench.wait(HANDSHAKE_LIMIT / 6), []);
        bench.frame(&frame);
    }
    assert!(bench.session.is_ready());
}

#[test]
fn a_handshake_that_stops_is_given_up_even_if_the_radio_says_other_things() {
    let mut bench = Bench::new(SessionOptions::default());
    bench.session.on_time(bench.now);
    bench.frame(&handshake()[0]);
    assert_eq!(bench.wait(HANDSHAKE_LIMIT / 2), []);
    bench.variant(from_radio::PayloadVariant::QueueStatus(
        proto::QueueStatus::default(),
    ));
    assert!(matches!(
        bench.wait(HANDSHAKE_LIMIT / 2)[..],
        [Output::Lost(_)]
    ));
}

#[test]
fn a_handshake_that_goes_on_for_ever_is_given_up_after_5_minutes() {
    let mut bench = Bench::new(SessionOptions::default());
    bench.session.on_time(bench.now);
    let frames = handshake();
    let mut outputs = Vec::new();
    let mut seconds = 0;
    while outputs.is_empty() {
        bench.frame(&frames[0]);
        outputs = bench.wait(Duration::from_secs(1));
        seconds += 1;
    }
    assert_eq!(seconds, 300);
    assert!(matches!(outputs[..], [Output::Lost(_)]));
}

#[test]
fn a_radio_whose_answer_lacks_a_channel_is_asked_again_and_then_taken_as_it_is() {
    let mut bench = Bench::new(SessionOptions::default());
    bench.session.on_time(bench.now);
    let is_channel = |frame: &&Vec<u8>| frame[0] == 0x52;
    let mut frames = handshake();
    frames.pop();
    let place = frames.iter().rposition(|frame| is_channel(&frame)).unwrap();
    frames.remove(place);
    for question in 0..3 {
        for frame in &frames {
            assert_eq!(bench.frame(frame), []);
        }
        let outputs = bench.frame(&complete(NONCE + question));
        if question == 2 {
            assert!(!profile(&outputs).locked);
            continue;
        }
        let again = to_radio::PayloadVariant::WantConfigId(NONCE + question + 1);
        assert_eq!(sent(&outputs[0]), again);
        assert!(!bench.session.is_ready());
    }
}

#[test]
fn a_radio_that_tells_no_channel_at_all_is_locked() {
    let mut bench = Bench::new(SessionOptions::default());
    bench.session.on_time(bench.now);
    let mut outputs = Vec::new();
    for frame in handshake() {
        let frame = match wire::FromRadio::decode(frame.as_slice()) {
            Ok(wire::FromRadio {
                channel: Some(channel),
                ..
            }) => wire::FromRadio {
                channel: Some(wire::Channel {
                    index: channel.index,
                    ..Default::default()
                }),
                ..Default::default()
            }
            .encode_to_vec(),
            _ => frame,
        };
        outputs = bench.frame(&frame);
    }
    assert!(profile(&outputs).locked);
    let lockdown_status = Some(wire::LockdownStatus {
        state: State::Disabled.into(),
    });
    let off = wire::FromRadio {
        lockdown_status,
        ..Default::default()
    };
    let outputs = bench.frame(&off.encode_to_vec());
    assert!(matches!(outputs[..], [Output::Restarted(_)]));
}

#[test]
fn a_radio_without_a_number_is_of_no_use() {
    let mut bench = Bench::new(SessionOptions::default());
    bench.session.on_time(bench.now);
    assert!(matches!(
        bench.frame(&complete(NONCE))[..],
        [Output::Lost(_)]
    ));
}

#[test]
fn names_cut_inside_a_character_do_not_cost_the_node_or_the_channel() {
    let mut bench = Bench::new(SessionOptions::default());
    bench.session.on_time(bench.now);
    let mut frames = handshake();
    frames.pop();
    let user = wire::User {
        long_name: b"Zo\xC3".to_vec(),
        ..Default::default()
    };
    let info = wire::NodeInfo {
        num: 7,
        user: Some(user),
        ..Default::default()
    };
    let settings = Some(wire::ChannelSettings {
        name: b"caf\xC3".to_vec(),
        ..Default::default()
    });
    let channel = wire::Channel {
        index: 1,
        settings,
        role: 2,
    };
    let node_info = wire::FromRadio {
        node_info: Some(info),
        ..Default::default()
    };
    let channel = wire::FromRadio {
        channel: Some(channel),
        ..Default::default()
    };
    frames.extend([
        node_info.encode_to_vec(),
        channel.encode_to_vec(),
        complete(NONCE),
    ]);
    let outputs: Vec<_> = frames.iter().flat_map(|frame| bench.frame(frame)).collect();
    assert_eq!(profile(&outputs).channels[1].name, "caf\u{FFFD}");
    assert_eq!(bench.session.nodes.node(NodeNum(7)).long(), "Zo\u{FFFD}");
}

#[test]
fn what_says_nothing_at_all_is_not_said_to_be_a_radio() {
    let mut bench = Bench::new(SessionOptions::default());
    bench.session.on_time(bench.now);
    let outputs = bench.wait(HANDSHAKE_LIMIT);
    assert!(
        matches!(outputs[..], [Output::Lost(cause)] if cause.starts_with("nothing that speaks")),
        "{outputs:?}"
    );
}
