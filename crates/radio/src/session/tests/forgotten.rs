//! A radio that may have forgotten this client: its printed text, and packets that do not come.

use super::*;

/// A radio on a cable whose firmware prints its log only without a client.
fn ready_on_a_cable() -> Bench {
    let mut bench = Bench::ready(SessionOptions::default());
    bench.session.options = on_a_cable();
    let profile = bench.session.memory.profile.as_mut().unwrap();
    profile.firmware = "2.8.0".to_owned();
    bench.session.watch_quiet();
    bench
}

/// The radio repeats its first answer.
fn tells_the_same(bench: &mut Bench) -> Vec<Output> {
    let profile = bench.session.memory.profile.as_ref();
    tells(bench, profile.map_or(0, |it| it.reboot_count))
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
