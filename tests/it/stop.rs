//! The relay stops when it is asked to, and loses nothing by it.

use rustix::process::Signal;

use crate::support::radio::BASE;
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
    let mut scene = Plan::one_room(Kind::Plain).start().await;
    scene.radio.says(BASE, 0, "one message").await;
    scene
        .alice
        .sees_text(&scene.room, "[Base Camp/LongFast]: one message")
        .await;
    assert!(scene.relay.stop().await.success());
    scene.radio.writes("disconnect").await;
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
