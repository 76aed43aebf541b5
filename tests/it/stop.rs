//! The relay stops when asked, without loss.

use std::os::unix::fs::OpenOptionsExt as _;
use std::process::Stdio;

use rustix::fs::OFlags;
use rustix::process::Signal;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use crate::faults::{all_in_room, mesh_says, numbered};
use crate::support::radio::{BASE, Radio, leaves};
use crate::support::scene::{Plan, Scene};
use crate::support::synapse::{Synapse, Trouble};
use crate::support::user::Kind;

/// A scene whose radio records the traffic of the link; one message has been relayed from it.
async fn recorded() -> Scene {
    let mut stage = Plan::one_room(Kind::Plain).set_up().await;
    let (port, recording) = (stage.radio.port(), stage.home.path("recording"));
    stage.radio.end().await;
    let (listen, file) = (format!("127.0.0.1:{port}"), recording.display().to_string());
    stage.radio = Radio::start_with(&["--listen", &listen, "--record", &file]).await;
    let mut scene = stage.raise_the_curtain().await;
    hears(&mut scene, "one message").await;
    scene
}

async fn hears(scene: &mut Scene, text: &str) {
    scene.radio.says(BASE, 0, text).await;
    let expected = format!("[Base Camp/LongFast]: {text}");
    scene.alice.sees_text(&scene.room, &expected).await;
}

/// Asserts that the relay ends with success at this signal, and that `links` links were closed with `disconnect` so far.
async fn takes_its_leave(mut scene: Scene, signal: Signal, links: usize) {
    scene.relay.signal(signal);
    let status = scene.relay.ended().await;
    assert_eq!(status.code(), Some(0), "{status}");
    scene.radio.is_left(links).await;
    assert_eq!(leaves(&scene.home.path("recording")), links);
}

#[tokio::test]
async fn sigterm_ends_the_relay_with_exit_code_0_and_the_radio_is_told() {
    takes_its_leave(recorded().await, Signal::TERM, 1).await;
}

#[tokio::test]
async fn sigint_ends_the_relay_with_exit_code_0_and_the_radio_is_told() {
    takes_its_leave(recorded().await, Signal::INT, 1).await;
}

#[tokio::test]
async fn sigquit_ends_the_relay_with_exit_code_0_and_the_radio_is_told() {
    takes_its_leave(recorded().await, Signal::QUIT, 1).await;
}

#[tokio::test]
async fn a_terminal_that_is_closed_ends_the_relay_and_the_radio_is_told() {
    let mut scene = recorded().await;
    assert!(scene.relay.stop().await.success());
    let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)
        .expect("there are terminals");
    grantpt(&terminal).expect("it can be used");
    unlockpt(&terminal).expect("it can be used");
    let name = ptsname(&terminal, Vec::new()).expect("it has a name");
    let name = name.into_string().expect("its name is a text");
    let input = std::fs::OpenOptions::new()
        .read(true)
        .custom_flags(OFlags::NOCTTY.bits().cast_signed())
        .open(name)
        .expect("it can be opened");
    scene.relay = scene.home.spawn_on(Stdio::from(input), &[]);
    hears(&mut scene, "another").await;
    takes_its_leave(scene, Signal::HUP, 2).await;
}

#[tokio::test]
async fn signals_that_mean_nothing_to_the_relay_do_not_end_it() {
    let mut scene = recorded().await;
    for (signal, name) in [
        (Signal::USR1, "SIGUSR1"),
        (Signal::USR2, "SIGUSR2"),
        (Signal::ALARM, "SIGALRM"),
        (Signal::XFSZ, "SIGXFSZ"),
    ] {
        scene.relay.signal(signal);
        scene.relay.logs(&format!("signal=\"{name}\"")).await;
    }
    hears(&mut scene, "still here").await;
    takes_its_leave(scene, Signal::TERM, 1).await;
}

#[tokio::test]
async fn a_relay_whose_log_nobody_reads_any_more_goes_on() {
    let mut scene = recorded().await;
    scene.relay.stop_reading();
    for text in ["into the void", "and again"] {
        hears(&mut scene, text).await;
    }
    scene.alice.send(&scene.room, "and back").await;
    scene.radio.transmits("Alice[M]: and back").await;
    takes_its_leave(scene, Signal::TERM, 1).await;
}

#[tokio::test]
async fn a_relay_whose_files_are_still_being_opened_ends_at_once() {
    let mut scene = Plan::one_room(Kind::Plain).start().await;
    assert!(scene.relay.stop().await.success());
    for (file, opening, late) in [
        (
            "database/relay.sqlite",
            "relay starts",
            "the database cannot be opened",
        ),
        (
            "matrix/sdk/matrix-sdk-state.sqlite3",
            "mapped",
            "Matrix cannot be used now",
        ),
    ] {
        // The relay waits five seconds for the holder of a file.
        let other = rusqlite::Connection::open(scene.home.path(file)).expect("it opens");
        let hold = "PRAGMA locking_mode = exclusive; BEGIN EXCLUSIVE; PRAGMA user_version";
        other.execute_batch(hold).expect("it is held");
        scene.relay = scene.home.spawn();
        scene.relay.logs(opening).await;
        scene.relay.signal(Signal::TERM);
        let status = scene.relay.ended().await;
        assert_eq!(status.code(), Some(0), "{file}: {status}");
        let log = scene.relay.log();
        assert!(!log.contains(late), "{file}: {log}");
        assert!(log.contains("asked to stop"), "{file}: {log}");
    }
    scene.relay = scene.home.start().await;
    hears(&mut scene, "all is well").await;
}

#[tokio::test]
async fn a_relay_without_a_radio_and_without_rooms_stops_too() {
    let mut stage = Plan::one_room(Kind::Plain).set_up().await;
    stage.radio.end().await;
    let mut relay = stage.home.start().await;
    assert_eq!(relay.stop().await.code(), Some(0));
}

#[tokio::test]
async fn what_waits_when_the_relay_stops_is_sent_after_the_next_start() {
    let mut scene = Plan::one_room(Kind::Plain).start().await;
    for number in 0..4 {
        scene
            .alice
            .send(&scene.room, &format!("number {number}"))
            .await;
    }
    scene.radio.transmits("Alice[M]: number 0").await;
    assert!(scene.relay.stop().await.success());
    scene.relay = scene.home.start().await;
    scene.radio.transmits("Alice[M]: number 3").await;
    let wanted = (0..4).map(|number| format!("Alice[M]: number {number}"));
    assert_eq!(scene.radio.texts(), wanted.collect::<Vec<_>>());
}

#[tokio::test]
async fn a_second_signal_ends_the_relay_at_once_with_exit_code_1_and_what_was_accepted_is_sent_after_the_next_start()
 {
    let (synapse, _trouble) = Synapse::unreliable().await;
    let stage = Plan::one_room(Kind::Plain).set_up_on(synapse).await;
    let mut scene = stage.raise_the_curtain().await;
    let texts = numbered("far", 4);
    mesh_says(&mut scene, &texts[..1]).await;
    all_in_room(&scene, &scene.room, &texts[..1]).await;
    // An unanswered request is in flight, for which the first signal waits.
    synapse.does(Trouble::Hang);
    mesh_says(&mut scene, &texts[1..]).await;
    scene
        .relay
        .logs_times("accepted for a room", texts.len())
        .await;
    scene.relay.signal(Signal::TERM);
    scene.relay.logs("a second signal ends at once").await;
    scene.relay.signal(Signal::TERM);
    let status = scene.relay.ended().await;
    assert_eq!(status.code(), Some(1), "{status}");
    let log = scene.relay.log();
    assert!(log.contains("asked to stop again: ending at once"), "{log}");
    let lock = std::fs::read(scene.home.path("relay.lock")).expect("it stays");
    assert!(
        !lock.is_empty(),
        "the home was held while something was in flight"
    );
    // The second signal has ended the wait.
    for late in ["not everything ended in time", "relay ends"] {
        assert!(!log.contains(late), "{late}: {log}");
    }
    synapse.does(Trouble::Resume);
    scene.relay = scene.home.start().await;
    all_in_room(&scene, &scene.room, &texts).await;
}
