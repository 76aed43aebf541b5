//! Notices to rooms that the radio is away, and that it is back: once each, even over restarts of the relay.

use matrix_sdk::ruma::OwnedRoomId;

use crate::support::radio::{BASE, Radio};
use crate::support::scene::{Plan, Scene};
use crate::support::user::{Kind, Seen};

fn is_notice(seen: &Seen) -> bool {
    seen.content("/msgtype") == "m.notice"
}

fn notices(scene: &Scene, room: &OwnedRoomId) -> Vec<String> {
    let said = scene.alice.seen_of(room, &scene.bot);
    let notices = said.iter().filter(|seen| is_notice(seen));
    notices.map(|seen| seen.body().to_owned()).collect()
}

/// Waits for this notice in each room.
async fn tells(scene: &Scene, words: &str) {
    for room in &scene.rooms {
        let told = scene.alice.sees(room, words, |seen| {
            is_notice(seen) && seen.body().contains(words)
        });
        let told = told.await;
        assert_eq!(told.content("/mmrelay_suppress"), true, "{}", told.event);
        assert!(told.content("/formatted_body").is_null());
    }
}

#[tokio::test]
async fn rooms_are_told_of_an_outage_and_of_its_end_once_also_over_restarts() {
    let plan = Plan::default()
        .room(Kind::Encrypted)
        .room(Kind::Plain)
        .route(0, 0, "both")
        .route(1, 1, "to_mesh");
    let mut scene = plan.matrix("radio_notices: 2s").start().await;
    scene.relay.logs("radio ready").await;
    let port = scene.radio.port();
    scene.radio.end().await;
    tells(&scene, "The radio of this bridge has been away for").await;

    // The same outage gets no second notice, however the relay ends.
    scene.relay.kill().await;
    scene.relay = scene.home.start().await;
    scene.relay.logs("no link to the radio").await;
    assert!(scene.relay.stop().await.success());
    scene.relay = scene.home.start().await;
    scene.relay.logs("no link to the radio").await;

    scene.radio = Radio::start_on(port).await;
    tells(&scene, "The radio of this bridge is back after").await;
    assert!(scene.relay.stop().await.success());
    scene.relay = scene.home.start().await;
    scene.radio.says(BASE, 0, "all is well").await;
    scene
        .alice
        .sees_text(&scene.rooms[0], "[Base Camp/LongFast]: all is well")
        .await;
    for room in &scene.rooms {
        let notices = notices(&scene, room);
        assert_eq!(notices.len(), 2, "{notices:?}");
    }
    let told = notices(&scene, &scene.rooms[0]);
    assert!(told[0].contains("expire after 60 min"), "{told:?}");
}

#[tokio::test]
async fn switched_off_no_room_is_told() {
    let plan = Plan::one_room(Kind::Plain).matrix("radio_notices: off");
    let mut scene = plan.start().await;
    scene.relay.logs("radio ready").await;
    let port = scene.radio.port();
    scene.radio.end().await;
    scene.relay.logs("no link to the radio").await;
    scene.radio = Radio::start_on(port).await;
    scene.radio.says(BASE, 0, "back").await;
    scene
        .alice
        .sees_text(&scene.room, "[Base Camp/LongFast]: back")
        .await;
    assert_eq!(notices(&scene, &scene.room), [""; 0]);
}
