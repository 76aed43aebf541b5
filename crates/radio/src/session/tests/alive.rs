//! Heartbeats, and how long a silent radio counts as alive.

use super::*;

#[test]
fn no_frame_begins_the_one_before_it_since_radios_on_bluetooth_drop_such_a_frame() {
    let mut bench = Bench::new(SessionOptions {
        set_time: true,
        ..SessionOptions::default()
    });
    let mut written = bench.session.on_time(bench.now);
    for frame in handshake() {
        written.extend(bench.frame(&frame));
    }
    bench.session.heartbeat_nonce = u32::MAX - 300;
    let mut frames = Vec::new();
    for round in 0..1000 {
        let now = bench.now.instant;
        // Both kinds: the periodic ones, and those for the pacer.
        if round % 2 == 0 {
            frames.push(bench.session.heartbeat(now));
        }
        written.extend(bench.wait(HEARTBEAT_EVERY));
        let told = from_radio::PayloadVariant::ConfigCompleteId(0);
        bench.variant(told);
        frames.extend(written.drain(..).filter_map(|output| match output {
            Output::Frame(frame) => Some(frame),
            _ => None,
        }));
    }
    frames.push(disconnect());
    assert!(frames.len() > 1000);
    for pair in frames.windows(2) {
        assert!(!pair[0].starts_with(&pair[1]), "{pair:02x?}");
    }
    let introduces_itself = proto::Heartbeat { nonce: 1 };
    let forbidden = encoded(to_radio::PayloadVariant::Heartbeat(introduces_itself));
    assert!(!frames.contains(&forbidden));
}

#[test]
fn heartbeats_are_30_seconds_apart_and_never_have_the_same_nonce_nor_1() {
    let mut bench = Bench::ready(SessionOptions::default());
    let mut nonces = Vec::new();
    for _ in 0..5 {
        assert_eq!(bench.wait(HEARTBEAT_EVERY / 2), []);
        let outputs = bench.wait(HEARTBEAT_EVERY / 2);
        match sent(&outputs[0]) {
            to_radio::PayloadVariant::Heartbeat(heartbeat) => nonces.push(heartbeat.nonce),
            other => panic!("not a heartbeat: {other:?}"),
        }
        bench.variant(from_radio::PayloadVariant::QueueStatus(
            proto::QueueStatus::default(),
        ));
    }
    assert_eq!(nonces, [2, 3, 4, 5, 6]);
}

#[test]
fn a_link_without_a_frame_for_75_seconds_is_lost() {
    let mut bench = Bench::ready(SessionOptions::default());
    let mut outputs = Vec::new();
    for _ in 0..74 {
        outputs.extend(bench.wait(Duration::from_secs(1)));
    }
    assert_eq!(outputs.len(), 2, "two heartbeats");
    // An undecodable frame does not show that the radio is alive.
    bench.frame(&[0xFF; 20]);
    assert!(matches!(
        bench.wait(Duration::from_secs(1))[..],
        [Output::Lost(_)]
    ));
}

/// Waits on a ready link, second by second, until it is closed; returns how long that took.
fn silence_until_lost(bench: &mut Bench) -> u64 {
    for seconds in 1..=1000 {
        let outputs = bench.wait(Duration::from_secs(1));
        if matches!(outputs[..], [Output::Lost(_)]) {
            return seconds;
        }
    }
    panic!("the link is never given up")
}

/// Opens the next link, and completes the handshake.
fn next_link(mut bench: Bench) -> Bench {
    bench.session.begin(NONCE, bench.now.instant);
    bench.session.on_time(bench.now);
    for frame in handshake() {
        bench.frame(&frame);
    }
    bench
}

#[test]
fn a_radio_that_answers_no_heartbeat_at_all_is_given_longer_on_each_further_link() {
    let mut bench = Bench::ready(SessionOptions::default());
    let mut lives = Vec::new();
    for _ in 0..6 {
        lives.push(silence_until_lost(&mut bench));
        bench = next_link(bench);
    }
    assert_eq!(lives, [75, 150, 300, 600, 600, 600]);
    // A frame after a heartbeat shows that this radio answers.
    bench.wait(HEARTBEAT_EVERY);
    bench.variant(from_radio::PayloadVariant::ConfigCompleteId(0));
    assert_eq!(silence_until_lost(&mut bench), 75);
    assert_eq!(silence_until_lost(&mut next_link(bench)), 75);
}

#[test]
fn a_frame_before_the_first_heartbeat_answers_none() {
    let mut bench = Bench::ready(SessionOptions::default());
    bench.wait(Duration::from_secs(10));
    bench.variant(from_radio::PayloadVariant::ConfigCompleteId(0));
    assert_eq!(silence_until_lost(&mut bench), 75);
    assert_eq!(silence_until_lost(&mut next_link(bench)), 150);
}
