//! Frames, printed text and timeouts of a session.

use std::time::Duration;

use super::{
    due::DATED_BEFORE, timers::HEARTBEAT_EVERY, timers::MUTE_AGAIN, trust::FIRST_PAUSE, *,
};
use crate::captures::{from_radio, to_radio as from_client};
use crate::mesh::fingerprint;
use relay_model::{
    Channel, ChannelIndex, ChannelRole, Destination, Lane, NodeNum, RadioPayload, Timestamp,
};
use relay_wire::proto::wire::{self, lockdown_status::State};
use relay_wire::proto::{from_radio, to_radio};

const OWN: NodeNum = NodeNum(0xA11C_E001);
/// The nonce in `chat.a`.
const NONCE: u32 = 0x6102_62C5;

/// A session with a simulated clock.
struct Bench {
    session: Session,
    now: Now,
}

impl Bench {
    fn new(options: SessionOptions) -> Self {
        let now = Now::at(Timestamp(1_750_000_000_000));
        let session = Session::new(options, NONCE, now.instant);
        Self { session, now }
    }

    /// A session after the recorded handshake.
    fn ready(options: SessionOptions) -> Self {
        let mut bench = Self::new(options);
        bench.session.on_time(bench.now);
        for frame in handshake() {
            bench.frame(&frame);
        }
        assert!(bench.session.is_ready());
        bench
    }

    fn frame(&mut self, bytes: &[u8]) -> Vec<Output> {
        self.session.on_frame(bytes, self.now)
    }

    fn variant(&mut self, variant: from_radio::PayloadVariant) -> Vec<Output> {
        let frame = proto::FromRadio {
            id: 0,
            payload_variant: Some(variant),
        };
        self.frame(&frame.encode_to_vec())
    }

    /// Frames arrive repeatedly for that long.
    fn is_heard_for(&mut self, span: Duration) {
        let last = Now {
            instant: self.now.instant + span,
            ..self.now
        };
        self.session.restart_silence_timer(last);
    }

    /// Returns the time until the session's next action.
    fn due_in(&self) -> Duration {
        self.session.deadline().unwrap() - self.now.instant
    }

    fn wait(&mut self, span: Duration) -> Vec<Output> {
        self.now = Now {
            instant: self.now.instant + span,
            wall: self.now.wall + span,
        };
        self.session.on_time(self.now)
    }
}

/// The radio's frames of a handshake, the last one included.
fn handshake() -> Vec<Vec<u8>> {
    let frames = from_radio("chat.a").into_iter().map(|frame| frame.bytes);
    let mut frames: Vec<_> = frames.take_while(|bytes| bytes[0] != 0x38).collect();
    frames.push(complete(NONCE));
    frames
}

fn complete(nonce: u32) -> Vec<u8> {
    let variant = Some(from_radio::PayloadVariant::ConfigCompleteId(nonce));
    proto::FromRadio {
        id: 0,
        payload_variant: variant,
    }
    .encode_to_vec()
}

fn sent(output: &Output) -> to_radio::PayloadVariant {
    match output {
        Output::Frame(bytes) => {
            let to_radio = proto::ToRadio::decode(bytes.as_slice()).expect("our own frame");
            to_radio.payload_variant.expect("our frames say something")
        }
        other => panic!("not a frame: {other:?}"),
    }
}

fn profile(outputs: &[Output]) -> &RadioProfile {
    match outputs {
        [Output::Event(RadioEvent::Ready(profile)), ..] => profile,
        other => panic!("not ready: {other:?}"),
    }
}

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

/// The options of a session on a cable.
fn on_a_cable() -> SessionOptions {
    SessionOptions {
        on_cable: true,
        ..Default::default()
    }
}

/// A radio on a cable whose firmware prints its log only without a client.
fn ready_on_a_cable() -> Bench {
    let mut bench = Bench::ready(SessionOptions::default());
    bench.session.options = on_a_cable();
    let profile = bench.session.memory.profile.as_mut().unwrap();
    profile.firmware = "2.8.0".to_owned();
    bench.session.watch_quiet();
    bench
}

fn asks(outputs: &[Output]) -> bool {
    let Some(Output::Frame(_)) = outputs.last() else {
        return false;
    };
    matches!(
        sent(&outputs[outputs.len() - 1]),
        to_radio::PayloadVariant::WantConfigId(_)
    )
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

/// The radio answers, with that reboot count.
fn tells(bench: &mut Bench, reboot_count: u32) -> Vec<Output> {
    let mut frames = handshake();
    let my_info = proto::MyNodeInfo {
        my_node_num: OWN.0,
        reboot_count,
        ..Default::default()
    };
    let variant = Some(from_radio::PayloadVariant::MyInfo(my_info));
    let my_info = proto::FromRadio {
        id: 0,
        payload_variant: variant,
    };
    frames[0] = my_info.encode_to_vec();
    let profile = bench.session.memory.profile.clone().unwrap();
    for bytes in &mut frames {
        let mut frame = proto::FromRadio::decode(&bytes[..]).unwrap();
        if let Some(from_radio::PayloadVariant::Metadata(metadata)) = &mut frame.payload_variant {
            metadata.firmware_version.clone_from(&profile.firmware);
            *bytes = frame.encode_to_vec();
        }
    }
    frames.pop();
    frames.push(complete(bench.session.nonce));
    frames.iter().flat_map(|it| bench.frame(it)).collect()
}

/// The radio repeats its first answer.
fn tells_the_same(bench: &mut Bench) -> Vec<Output> {
    let profile = bench.session.memory.profile.as_ref();
    tells(bench, profile.map_or(0, |it| it.reboot_count))
}

fn restarts(outputs: &[Output]) -> bool {
    outputs
        .iter()
        .any(|output| matches!(output, Output::Restarted(_)))
}

#[test]
fn a_radio_that_prints_its_log_is_asked_whether_it_has_forgotten_us() {
    let mut bench = ready_on_a_cable();
    let outputs = bench.session.on_line(LineKind::Log, bench.now);
    assert_eq!(outputs, [Output::Wake], "nobody is told");
    let more = bench.session.on_line(LineKind::Log, bench.now);
    assert_eq!(more, [], "more of the text");
    assert!(asks(&bench.wait(Duration::from_millis(100))));
    assert!(bench.session.is_ready() && bench.session.is_looking_again());
    assert_eq!(texts(&bench.frame(&text(1))), [1]);
    assert_eq!(tells_the_same(&mut bench), []);
    assert!(!bench.session.is_looking_again());

    bench.wait(Duration::from_hours(1));
    bench.session.on_line(LineKind::Log, bench.now);
    bench.wait(Duration::from_millis(100));
    assert_eq!(profile(&tells(&mut bench, 90)).reboot_count, 90);
    // The text was a true sign, so the next one is trusted too.
    let outputs = bench.session.on_line(LineKind::Log, bench.now);
    assert_eq!(outputs, [Output::Wake]);
}

#[test]
fn older_firmware_prints_its_log_always_and_means_nothing_by_it() {
    let mut bench = ready_on_a_cable();
    let profile = bench.session.memory.profile.as_mut().unwrap();
    profile.firmware = "2.7.26.54e0d8d".to_owned();
    for _ in 0..100 {
        assert_eq!(bench.session.on_line(LineKind::Log, bench.now), []);
        bench.wait(Duration::from_millis(100));
        assert!(!bench.session.is_looking_again());
    }
    // Boot messages are a true sign.
    assert_eq!(bench.session.on_line(LineKind::Start, bench.now), []);
    assert!(bench.session.is_looking_again());
}

#[test]
fn a_radio_that_prints_what_only_a_start_prints_is_asked_each_time_once_it_can_answer() {
    let mut bench = ready_on_a_cable();
    for count in 90..100 {
        assert_eq!(bench.session.on_line(LineKind::Start, bench.now), []);
        assert!(bench.session.is_looking_again(), "nothing is written");
        let more = bench.session.on_line(LineKind::Start, bench.now);
        assert_eq!(more, [], "more of the text");
        assert_eq!(bench.wait(REBOOT_PAUSE), [Output::Wake]);
        assert!(asks(&bench.wait(Duration::from_millis(100))));
        assert_eq!(profile(&tells(&mut bench, count)).reboot_count, count);
    }
}

#[test]
fn a_radio_whose_text_only_looks_like_a_start_is_asked_once_a_minute_and_nobody_is_told() {
    let prints = Some((LineKind::Start, Duration::from_secs(1)));
    let asked = asked(HOUR, prints, Some(Duration::from_secs(50)));
    assert!((58..=65).contains(&asked.len()), "{}", asked.len());
}

#[test]
fn a_radio_that_starts_while_it_answers_is_asked_again() {
    let mut bench = Bench::new(on_a_cable());
    bench.session.on_time(bench.now);
    bench.wait(Duration::from_millis(100));
    assert_eq!(bench.session.on_line(LineKind::Start, bench.now), []);
    bench.frame(&handshake()[0]);
    assert_eq!(bench.session.on_line(LineKind::Start, bench.now), []);
    assert!(asks(&bench.wait(REBOOT_PAUSE)));
}

/// Returns how often a radio is asked for its configuration in that time, if it prints its log and delivers a packet at
/// these intervals.
fn asked(
    long: Duration,
    prints: Option<(LineKind, Duration)>,
    packets: Option<Duration>,
) -> Vec<Duration> {
    let tick = Duration::from_millis(100);
    let mut bench = ready_on_a_cable();
    let (begin, mut asked) = (bench.now.instant, Vec::new());
    let mut since = Duration::ZERO;
    while since < long {
        let is_time = |every: Duration| since.as_millis().is_multiple_of(every.as_millis());
        let mut outputs = Vec::new();
        if let Some((kind, _)) = prints.filter(|(_, every)| is_time(*every)) {
            outputs.extend(bench.session.on_line(kind, bench.now));
        }
        if packets.is_some_and(is_time) {
            bench.frame(&text(1));
        }
        outputs.extend(bench.wait(tick));
        assert!(!restarts(&outputs));
        assert!(bench.session.is_ready());
        if asks(&outputs) {
            asked.push(since);
            assert_eq!(tells_the_same(&mut bench), []);
        }
        bench.is_heard_for(Duration::ZERO);
        since = bench.now.instant - begin;
    }
    asked
}

const HOUR: Duration = Duration::from_hours(1);

#[test]
fn a_radio_that_prints_its_log_always_or_now_and_then_is_asked_ever_less_often() {
    for prints in [1, 7, 60] {
        let prints = Some((LineKind::Log, Duration::from_secs(prints)));
        let asked = asked(4 * HOUR, prints, Some(Duration::from_secs(50)));
        assert!((2..=13).contains(&asked.len()), "{asked:?}");
    }
    // Without a packet that shows that it knows this client.
    let prints = Some((LineKind::Log, Duration::from_secs(7)));
    let asked = asked(HOUR, prints, None);
    assert!((9..=14).contains(&asked.len()), "{asked:?}");
}

#[test]
fn a_radio_that_hands_over_no_packet_is_asked_ever_less_often_whether_it_knows_us() {
    let minutes =
        |asked: Vec<Duration>| -> Vec<u64> { asked.iter().map(|it| it.as_secs() / 60).collect() };
    assert_eq!(
        minutes(asked(5 * HOUR, None, None)),
        [5, 15, 35, 75, 135, 195, 255]
    );
    let each_minute = Some(Duration::from_mins(1));
    assert_eq!(minutes(asked(5 * HOUR, None, each_minute)), [0; 0]);
    let rarely = Some(Duration::from_mins(7));
    assert!(asked(5 * HOUR, None, rarely).len() <= 10);
}

#[test]
fn a_radio_that_has_forgotten_us_in_silence_is_found_out_within_minutes_each_time() {
    let mut bench = ready_on_a_cable();
    for count in 90..93 {
        let mut seconds = 0;
        // It answers heartbeats.
        while !asks(&bench.wait(Duration::from_secs(1))) {
            bench.is_heard_for(Duration::ZERO);
            seconds += 1;
        }
        assert!((299..=301).contains(&seconds), "{seconds}");
        assert_eq!(profile(&tells(&mut bench, count)).reboot_count, count);
        assert_eq!(texts(&bench.frame(&text(count))), [count], "kept for us");
    }
    bench.session.options.on_cable = false;
    let due = bench.due_in();
    assert!(due <= HEARTBEAT_EVERY, "no other link is asked");
}

#[test]
fn a_radio_that_does_not_answer_when_it_is_asked_again_is_lost() {
    let mut bench = ready_on_a_cable();
    bench.session.on_line(LineKind::Log, bench.now);
    bench.wait(Duration::from_millis(100));
    for _ in 0..14 {
        assert!(asks(&bench.wait(Duration::from_secs(2))));
    }
    assert!(matches!(
        bench.wait(Duration::from_secs(2))[..],
        [Output::Lost(_)]
    ));
}

#[test]
fn a_radio_that_forgets_us_right_after_a_handshake_is_asked_within_seconds() {
    let mut bench = ready_on_a_cable();
    bench.session.on_line(LineKind::Log, bench.now);
    bench.wait(Duration::from_millis(100));
    tells_the_same(&mut bench);
    assert_eq!(bench.wait(Duration::from_secs(1)), []);
    assert_eq!(
        bench.session.on_line(LineKind::Log, bench.now),
        [],
        "not yet"
    );
    let due = bench.due_in();
    assert!(due < FIRST_PAUSE, "{due:?}");
    assert_eq!(bench.wait(due), [Output::Wake]);

    // A packet would have shown that it knows this client.
    let mut bench = ready_on_a_cable();
    bench.session.on_line(LineKind::Log, bench.now);
    bench.wait(Duration::from_millis(100));
    tells_the_same(&mut bench);
    bench.session.on_line(LineKind::Log, bench.now);
    bench.frame(&text(1));
    assert_eq!(bench.wait(FIRST_PAUSE), []);
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

#[test]
fn the_radio_is_given_the_time_once_it_is_ready() {
    let mut bench = Bench::new(SessionOptions {
        set_time: true,
        ..SessionOptions::default()
    });
    bench.session.on_time(bench.now);
    let outputs = handshake()
        .iter()
        .flat_map(|frame| bench.frame(frame))
        .collect::<Vec<_>>();
    let to_radio::PayloadVariant::Packet(packet) = sent(&outputs[1]) else {
        panic!("not a packet")
    };
    assert_eq!((packet.from, packet.to), (OWN.0, OWN.0));
    let Some(proto::mesh_packet::PayloadVariant::Decoded(data)) = packet.payload_variant else {
        panic!("not decoded")
    };
    // Field 43, fixed32: 1 750 000 000.
    assert_eq!(data.payload, [0xDD, 0x02, 0x80, 0xE1, 0x4E, 0x68]);
    assert_eq!(data.portnum, 6);
}

#[test]
fn the_radio_is_given_the_time_again_when_our_clock_was_set() {
    let mut bench = Bench::new(SessionOptions {
        set_time: true,
        ..SessionOptions::default()
    });
    bench.now.wall = Timestamp(86_400_000);
    bench.session.on_time(bench.now);
    for frame in handshake() {
        bench.frame(&frame);
    }
    let mut ids = Vec::new();
    for wall in [1_750_000_000_000, 1_750_007_200_000, 1_750_000_000_000].map(Timestamp) {
        bench.now.wall = wall;
        for _ in 0..2 {
            let outputs = bench.wait(HEARTBEAT_EVERY);
            bench.variant(from_radio::PayloadVariant::QueueStatus(
                proto::QueueStatus::default(),
            ));
            ids.extend(outputs.iter().filter_map(|output| match sent(output) {
                to_radio::PayloadVariant::Packet(packet) => Some(packet.id),
                _ => None,
            }));
        }
    }
    // Once each time, and never under an id that the radio knows.
    assert_eq!(ids.len(), 3);
    ids.dedup();
    assert_eq!(ids.len(), 3);
}

#[test]
fn what_comes_just_after_our_clock_was_set_is_as_old_as_its_arrival() {
    let mut bench = Bench::ready(SessionOptions {
        set_time: true,
        ..SessionOptions::default()
    });
    for _ in 0..3 {
        bench.wait(HEARTBEAT_EVERY);
        bench.variant(from_radio::PayloadVariant::QueueStatus(
            proto::QueueStatus::default(),
        ));
    }
    // Returns the age of a text that is so many seconds old by the radio's clock, and whether that clock was set.
    let age_of = |bench: &mut Bench, shows: Timestamp, seconds: u64| {
        let heard = shows - Duration::from_secs(seconds);
        let outputs = bench.frame(&text_at(1, u32::try_from(heard.0 / 1000).unwrap()));
        let text = outputs.iter().find_map(|output| match output {
            Output::Event(RadioEvent::Text(text)) => Some(text.heard_at),
            _ => None,
        });
        (
            bench.now.wall.since(text.unwrap()).as_secs(),
            outputs.len() == 2,
        )
    };
    let shows = bench.now.wall;
    assert_eq!(age_of(&mut bench, shows, 40), (40, false));
    for ahead in [true, false] {
        let hours = Duration::from_hours(2);
        let before = bench.now.wall;
        bench.now.wall = if ahead {
            before + hours
        } else {
            before - hours
        };
        assert_eq!(age_of(&mut bench, before, 3), (0, true), "given at once");
        assert_eq!(age_of(&mut bench, before, 3), (0, false), "on its way then");
        bench.wait(DATED_BEFORE);
        let shows = bench.now.wall;
        assert_eq!(age_of(&mut bench, shows, 40), (40, false));
    }
}

#[test]
fn a_relay_that_does_not_know_the_time_gives_none() {
    let mut bench = Bench::new(SessionOptions {
        set_time: true,
        ..SessionOptions::default()
    });
    bench.now.wall = Timestamp(86_400_000);
    bench.session.on_time(bench.now);
    let outputs: usize = handshake()
        .iter()
        .map(|frame| bench.frame(frame).len())
        .sum();
    assert_eq!(outputs, 1);
}

#[test]
fn a_reboot_on_the_same_link_starts_afresh_with_another_nonce() {
    let mut bench = Bench::ready(SessionOptions::default());
    let outputs = bench.variant(from_radio::PayloadVariant::Rebooted(true));
    assert!(matches!(outputs[..], [Output::Restarted(_)]));
    assert!(!bench.session.is_ready());
    assert_eq!(bench.frame(&complete(NONCE)), []);
    let outputs = bench.wait(REBOOT_PAUSE);
    assert_eq!(outputs[0], Output::Wake);
    assert_eq!(
        sent(&outputs[1]),
        to_radio::PayloadVariant::WantConfigId(NONCE + 1)
    );
    let mut frames = handshake();
    frames.pop();
    frames.push(complete(NONCE + 1));
    for frame in frames {
        bench.frame(&frame);
    }
    assert!(bench.session.is_ready());
}

#[test]
fn restarts_without_a_handshake_between_are_one_and_the_last_counts() {
    let mut bench = Bench::ready(SessionOptions::default());
    let rebooted = from_radio::PayloadVariant::Rebooted(true);
    assert!(restarts(&bench.variant(rebooted.clone())));
    for _ in 0..200 {
        assert_eq!(bench.wait(REBOOT_PAUSE / 2), []);
        assert_eq!(bench.variant(rebooted.clone()), []);
    }
    assert_eq!(bench.wait(REBOOT_PAUSE / 2), []);
    assert!(asks(&bench.wait(REBOOT_PAUSE / 2)));
    assert_eq!(bench.variant(rebooted), [], "while it answers");
    assert!(asks(&bench.wait(REBOOT_PAUSE)));
    assert!(matches!(
        tells(&mut bench, 90)[..],
        [Output::Event(RadioEvent::Ready(_)), ..]
    ));
}

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

fn text(number: u32) -> Vec<u8> {
    text_at(number, 0)
}

fn text_at(number: u32, rx_time: u32) -> Vec<u8> {
    let data = proto::Data {
        portnum: 1,
        payload: b"hi".to_vec(),
        ..Default::default()
    };
    let packet = MeshPacket {
        from: 5,
        to: u32::MAX,
        id: number,
        channel: 1,
        rx_time,
        payload_variant: Some(proto::mesh_packet::PayloadVariant::Decoded(data)),
        ..Default::default()
    };
    let variant = Some(from_radio::PayloadVariant::Packet(packet));
    proto::FromRadio {
        id: 0,
        payload_variant: variant,
    }
    .encode_to_vec()
}

/// Returns the delivered texts, which were translated with the channels of `chat.a`.
fn texts(outputs: &[Output]) -> Vec<u32> {
    let texts = outputs.iter().filter_map(|output| match output {
        Output::Event(RadioEvent::Text(text)) => {
            assert_eq!(text.channel_name, "bridge");
            Some(text.packet.0)
        }
        _ => None,
    });
    texts.collect()
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
fn a_locked_radio_may_not_transmit_until_it_is_unlocked() {
    let mut bench = Bench::ready(SessionOptions::default());
    let status = |state: State| {
        let state = state.into();
        let lockdown_status = Some(wire::LockdownStatus { state });
        wire::FromRadio {
            lockdown_status,
            ..Default::default()
        }
        .encode_to_vec()
    };
    let outputs = bench.frame(&status(State::Locked));
    assert!(profile(&outputs).locked && !profile(&outputs).transmit_enabled);
    assert_eq!(bench.frame(&status(State::Locked)), []);
    assert!(matches!(
        bench.frame(&status(State::Unlocked))[..],
        [Output::Restarted(_)]
    ));
}

#[test]
fn a_locked_radio_is_asked_again_after_10_minutes() {
    let mut bench = Bench::ready(SessionOptions::default());
    let state = State::Locked.into();
    let lockdown_status = Some(wire::LockdownStatus { state });
    let locked = wire::FromRadio {
        lockdown_status,
        ..Default::default()
    };
    bench.frame(&locked.encode_to_vec());
    for _ in 0..59 {
        bench.variant(from_radio::PayloadVariant::QueueStatus(
            proto::QueueStatus::default(),
        ));
        let outputs = bench.wait(Duration::from_secs(10));
        assert!(!outputs.iter().any(|it| matches!(it, Output::Restarted(_))));
    }
    let due = bench.due_in();
    assert_eq!(due, Duration::from_secs(10));
    let outputs = bench.wait(due);
    assert_eq!(outputs[0], Output::Wake);
    assert!(asks(&outputs));
}

#[test]
fn a_radio_that_transmits_nothing_is_asked_again_after_10_minutes() {
    for change in [
        (|profile| profile.transmit_enabled = false) as fn(&mut RadioProfile),
        |profile| profile.region_set = false,
    ] {
        let mut bench = Bench::ready(SessionOptions::default());
        change(bench.session.memory.profile.as_mut().unwrap());
        bench.session.watch_quiet();
        bench.is_heard_for(MUTE_AGAIN);
        assert!(asks(&bench.wait(MUTE_AGAIN)));
    }
}

/// A radio's answer; a locked radio omits the channels' names.
fn answers(bench: &mut Bench, locked: bool) -> Vec<Output> {
    let slot = wire::Channel::default();
    let channels = (0..8).map(|index| wire::FromRadio {
        channel: Some(wire::Channel {
            index,
            ..slot.clone()
        }),
        ..Default::default()
    });
    let mut frames = handshake();
    frames.pop();
    if locked {
        frames.extend(channels.map(|channel| channel.encode_to_vec()));
    }
    frames.push(complete(bench.session.nonce));
    frames.iter().flat_map(|it| bench.frame(it)).collect()
}

#[test]
fn a_radio_that_is_still_locked_is_told_of_once() {
    let mut bench = Bench::new(SessionOptions::default());
    bench.session.on_time(bench.now);
    assert!(profile(&answers(&mut bench, true)).locked);
    for _ in 0..10 {
        bench.is_heard_for(MUTE_AGAIN);
        assert!(asks(&bench.wait(MUTE_AGAIN)));
        assert!(bench.session.is_looking_again());
        assert_eq!(answers(&mut bench, true), []);
        assert!(!bench.session.is_looking_again());
    }
    bench.is_heard_for(MUTE_AGAIN);
    bench.wait(MUTE_AGAIN);
    assert!(!profile(&answers(&mut bench, false)).locked);
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
