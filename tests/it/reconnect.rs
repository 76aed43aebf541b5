//! The relay starts and stays up without a radio, and finds it again after everything that can happen to a link.

use serde_json::json;

use crate::support::radio::{BASE, Radio};
use crate::support::scene::Plan;
use crate::support::synapse::free_port;
use crate::support::user::Kind;

#[tokio::test]
async fn the_relay_waits_for_a_radio_that_is_not_there_yet() {
    let stage = Plan::one_room(Kind::Plain).set_up().await;
    let port = free_port();
    let config = std::fs::read_to_string(stage.home.path("config.yaml")).expect("it was written");
    stage.home.configure(&config.replace(
        &format!("port: {}", stage.radio.port()),
        &format!("port: {port}"),
    ));
    let mut scene = stage.raise_the_curtain().await;
    scene
        .alice
        .send(&scene.room, "said before the radio came")
        .await;

    scene.radio = Radio::start_on(port).await;
    scene
        .radio
        .transmits("Alice[M]: said before the radio came")
        .await;
    scene.radio.says(BASE, 0, "here I am").await;
    scene
        .alice
        .sees_text(&scene.room, "[Base Camp/LongFast]: here I am")
        .await;
}

#[tokio::test]
async fn a_radio_that_restarts_is_found_again() {
    let mut scene = Plan::one_room(Kind::Plain).start().await;
    scene.radio.says(BASE, 0, "before").await;
    scene
        .alice
        .sees_text(&scene.room, "[Base Camp/LongFast]: before")
        .await;

    let port = scene.radio.port();
    scene.radio.end().await;
    scene
        .alice
        .send(&scene.room, "said while it was away")
        .await;
    scene.radio = Radio::start_on(port).await;
    scene
        .radio
        .transmits("Alice[M]: said while it was away")
        .await;
    scene.radio.says(BASE, 0, "after").await;
    scene
        .alice
        .sees_text(&scene.room, "[Base Camp/LongFast]: after")
        .await;
}

#[tokio::test]
async fn a_link_that_is_cut_is_made_again() {
    let mut scene = Plan::one_room(Kind::Plain).start().await;
    for round in 0..2 {
        scene
            .radio
            .says(BASE, 0, &format!("before cut {round}"))
            .await;
        let text = format!("[Base Camp/LongFast]: before cut {round}");
        scene.alice.sees_text(&scene.room, &text).await;
        scene.radio.fault(json!({"fault": "close"})).await;
        scene
            .radio
            .says(BASE, 0, &format!("after cut {round}"))
            .await;
        let text = format!("[Base Camp/LongFast]: after cut {round}");
        scene.alice.sees_text(&scene.room, &text).await;
        scene
            .alice
            .send(&scene.room, &format!("after cut {round}"))
            .await;
        scene
            .radio
            .transmits(&format!("Alice[M]: after cut {round}"))
            .await;
    }
}

#[tokio::test]
async fn noise_on_the_wire_costs_no_message() {
    let mut scene = Plan::one_room(Kind::Plain).start().await;
    for round in 0..20 {
        scene
            .radio
            .fault(json!({"fault": "garbage", "bytes": 200}))
            .await;
        scene
            .radio
            .says(BASE, 0, &format!("through noise {round}"))
            .await;
        scene
            .radio
            .fault(json!({"fault": "garbage", "hex": "94c394c30294c3"}))
            .await;
        scene
            .radio
            .fault(json!({"fault": "split", "on": true}))
            .await;
        scene
            .radio
            .says(BASE, 0, &format!("in pieces {round}"))
            .await;
        scene
            .radio
            .fault(json!({"fault": "split", "on": false}))
            .await;
        scene.radio.fault(json!({"fault": "join", "ms": 50})).await;
        scene.radio.says(BASE, 0, &format!("joined {round}")).await;
    }
    scene
        .alice
        .sees_text(&scene.room, "[Base Camp/LongFast]: joined 19")
        .await;
    let texts: Vec<_> = scene.alice.messages(&scene.room);
    let texts: Vec<_> = texts.iter().map(|seen| seen.body().to_owned()).collect();
    let wanted = (0..20).flat_map(|round| {
        ["through noise", "in pieces", "joined"]
            .map(|text| format!("[Base Camp/LongFast]: {text} {round}"))
    });
    assert_eq!(texts, wanted.collect::<Vec<_>>());
    scene.alice.send(&scene.room, "still here").await;
    scene.radio.transmits("Alice[M]: still here").await;
}

#[tokio::test]
async fn a_channel_that_the_radio_does_not_have_is_reported_and_others_work() {
    let plan = Plan::default().room(Kind::Plain).room(Kind::Plain);
    let mut scene = plan.route(0, 0, "both").route(1, 6, "both").start().await;
    scene.relay.logs("channel").await;
    scene.alice.send(&scene.rooms[1], "to nowhere").await;
    let refusal = scene
        .alice
        .sees(&scene.rooms[1], "a notice with the reason", |seen| {
            seen.event["sender"] == scene.bot.as_str() && seen.content("/msgtype") == "m.notice"
        });
    refusal.await;
    scene.radio.says(BASE, 0, "all is well here").await;
    scene
        .alice
        .sees_text(&scene.room, "[Base Camp/LongFast]: all is well here")
        .await;
}
