//! The relay stops when it is asked to, and loses nothing by it.

use rustix::process::Signal;

use crate::support::radio::{BASE, Radio};
use crate::support::scene::Plan;
use crate::support::user::Kind;

async fn ends_well(signal: Signal) {
    let mut scene = Plan::one_room(Kind::Plain).start().await;
    scene.radio.says(BASE, 0, "one message").await;
    scene
        .alice
        .sees_text(&scene.room, "[Base Camp/LongFast]: one message")
        .await;
    scene.relay.signal(signal);
    let status = scene.relay.ended().await;
    assert_eq!(status.code(), Some(0), "{status}");
}

#[tokio::test]
async fn sigterm_ends_the_relay_with_exit_code_0() {
    ends_well(Signal::TERM).await;
}

#[tokio::test]
async fn sigint_ends_the_relay_with_exit_code_0() {
    ends_well(Signal::INT).await;
}

#[tokio::test]
async fn the_radio_is_told_that_its_client_leaves() {
    let mut stage = Plan::one_room(Kind::Plain).set_up().await;
    let (port, recording) = (stage.radio.port(), stage.home.path("recording"));
    stage.radio.end().await;
    let (listen, file) = (format!("127.0.0.1:{port}"), recording.display().to_string());
    stage.radio = Radio::start_with(&["--listen", &listen, "--record", &file]).await;
    let mut scene = stage.raise_the_curtain().await;
    scene.radio.says(BASE, 0, "one message").await;
    scene
        .alice
        .sees_text(&scene.room, "[Base Camp/LongFast]: one message")
        .await;
    assert!(scene.relay.stop().await.success());

    scene.radio.writes("closed").await;
    // In the recording's `to_radio` (field 3) stands a `ToRadio` with `disconnect` (field 4) and nothing else.
    let disconnect = [0x1A, 2, 0x20, 1];
    let recording = std::fs::read(recording).expect("the radio recorded");
    assert!(
        recording.windows(4).any(|bytes| bytes == disconnect),
        "no disconnect was sent"
    );
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
