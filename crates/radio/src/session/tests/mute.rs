//! Radios that are locked, or transmit nothing.

use super::*;

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
