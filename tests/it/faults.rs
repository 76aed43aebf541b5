//! External faults, one after the other, with the built relay: homeservers that hang or end, links that are cut or go
//! silent, radios that reboot, rooms that are forbidden, overload.

use std::time::Duration;

use matrix_sdk::reqwest::Method;
use matrix_sdk::ruma::OwnedRoomId;
use serde_json::{Value, json};

use crate::support::radio::BASE;
use crate::support::scene::{Plan, Scene};
use crate::support::synapse::{Synapse, Trouble};
use crate::support::user::{Kind, said_in};

/// Waits for the last of these texts of the mesh, and checks that all have come, in order and once.
pub(crate) async fn all_in_room(scene: &Scene, room: &OwnedRoomId, texts: &[String]) {
    let last = texts.last().expect("something was said");
    scene
        .alice
        .sees(room, last, |seen| {
            seen.said_on_mesh() == Some(last.as_str())
        })
        .await;
    let history = scene.alice.history(room).await;
    let bodies = history
        .iter()
        .filter(|seen| seen.event["sender"] == scene.bot.as_str());
    let bodies: Vec<_> = bodies.filter_map(|seen| seen.said_on_mesh()).collect();
    if bodies != texts {
        let same = bodies.iter().zip(texts).take_while(|(a, b)| a == b).count();
        panic!(
            "{} of {} texts came, the first wrong or missing one is number {same}: {:?} and not {:?}",
            bodies.len(),
            texts.len(),
            bodies.get(same),
            texts.get(same)
        );
    }
}

#[test]
fn a_text_is_known_however_late_it_is() {
    for body in [
        "[Base/Mesh]: burst 2000",
        "[Base/Mesh]: (delayed 7 min) burst 2000",
        "[Base/Mesh]: (delayed 2 h) burst 2000",
    ] {
        assert_eq!(said_in(body), Some("burst 2000"));
    }
}

/// Waits for the last of these texts of Alice, and checks that all were transmitted, in order and under one id each.
async fn all_on_mesh(scene: &Scene, texts: &[String]) {
    let wanted: Vec<_> = texts
        .iter()
        .map(|text| format!("Alice[M]: {text}"))
        .collect();
    scene
        .radio
        .transmits(wanted.last().expect("something was said"))
        .await;
    assert_eq!(scene.radio.texts(), wanted);
}

/// A node says these texts.
pub(crate) async fn mesh_says(scene: &mut Scene, texts: &[String]) {
    for text in texts {
        scene.radio.says(BASE, 0, text).await;
    }
}

pub(crate) fn numbered(word: &str, count: u32) -> Vec<String> {
    (1..=count)
        .map(|number| format!("{word} {number}"))
        .collect()
}

#[tokio::test]
async fn a_homeserver_that_hangs_or_ends_costs_no_message() {
    let (synapse, _trouble) = Synapse::unreliable().await;
    let stage = Plan::one_room(Kind::Encrypted).set_up_on(synapse).await;
    let mut scene = stage.raise_the_curtain().await;
    let texts = numbered("far", 24);
    mesh_says(&mut scene, &texts[..4]).await;
    synapse.does(Trouble::Hang);
    mesh_says(&mut scene, &texts[4..12]).await;
    synapse.does(Trouble::Resume);
    mesh_says(&mut scene, &texts[12..14]).await;
    all_in_room(&scene, &scene.room, &texts[..14]).await;

    synapse.does(Trouble::Stop);
    mesh_says(&mut scene, &texts[14..]).await;
    scene.relay.logs("cannot send now, trying again").await;
    synapse.does(Trouble::Start);
    synapse.answers().await;
    all_in_room(&scene, &scene.room, &texts).await;
    scene.alice.send(&scene.room, "still here").await;
    scene.radio.transmits("Alice[M]: still here").await;
}

#[tokio::test]
async fn a_stop_beside_a_homeserver_that_hangs_loses_nothing() {
    let (synapse, _trouble) = Synapse::unreliable().await;
    let stage = Plan::one_room(Kind::Plain).set_up_on(synapse).await;
    let mut scene = stage.raise_the_curtain().await;
    let texts = numbered("far", 6);
    mesh_says(&mut scene, &texts[..2]).await;
    all_in_room(&scene, &scene.room, &texts[..2]).await;
    scene.alice.send(&scene.room, "near").await;
    synapse.does(Trouble::Hang);
    mesh_says(&mut scene, &texts[2..]).await;
    // All accepted messages are in the log; the last one of the radio's queue has arrived.
    scene.relay.logs_times("accepted for a room", 6).await;
    assert!(scene.relay.stop().await.success(), "{}", scene.relay.log());
    synapse.does(Trouble::Resume);
    scene.relay = scene.home.start().await;
    all_in_room(&scene, &scene.room, &texts).await;
    scene.radio.transmits("Alice[M]: near").await;
    assert_eq!(scene.radio.texts(), ["Alice[M]: near"]);
}

#[tokio::test]
async fn a_link_that_is_cut_for_seconds_costs_no_message() {
    let mut scene = Plan::one_room(Kind::Plain).start().await;
    let (far, near) = (numbered("far", 6), numbered("near", 4));
    mesh_says(&mut scene, &far[..2]).await;
    all_in_room(&scene, &scene.room, &far[..2]).await;
    scene.alice.send(&scene.room, &near[0]).await;
    scene
        .radio
        .fault(json!({"fault": "away", "seconds": 3}))
        .await;
    for text in &near[1..] {
        scene.alice.send(&scene.room, text).await;
    }
    mesh_says(&mut scene, &far[2..]).await;
    all_in_room(&scene, &scene.room, &far).await;
    all_on_mesh(&scene, &near).await;
}

async fn goes_silent_and_costs_nothing(mut scene: Scene) {
    let near = numbered("near", 4);
    scene.alice.send(&scene.room, &near[0]).await;
    scene.radio.transmits("Alice[M]: near 1").await;
    scene.radio.fault(json!({"fault": "half_open"})).await;
    for text in &near[1..] {
        scene.alice.send(&scene.room, text).await;
    }
    // The relay's timeout for a silent link is 75 seconds.
    let silent = scene
        .relay
        .logs_within("silent for 75 seconds", Duration::from_mins(3));
    silent.await;
    all_on_mesh(&scene, &near).await;
    mesh_says(&mut scene, &["after it".to_owned()]).await;
    all_in_room(&scene, &scene.room, &["after it".to_owned()]).await;
}

#[tokio::test]
async fn a_link_that_goes_silent_is_noticed_and_costs_nothing_that_was_said_in_matrix() {
    goes_silent_and_costs_nothing(Plan::one_room(Kind::Plain).start().await).await;
}

#[tokio::test]
async fn a_serial_port_that_goes_silent_is_noticed_and_costs_nothing_that_was_said_in_matrix() {
    goes_silent_and_costs_nothing(Plan::one_room(Kind::Plain).over_serial().start().await).await;
}

#[tokio::test]
async fn a_radio_that_reboots_in_the_middle_of_a_send_costs_no_message() {
    let mut scene = Plan::one_room(Kind::Plain).start().await;
    let near = numbered("near", 4);
    for (sent, lost) in [(0, false), (2, true)] {
        let silent = json!({"fault": "silent", "count": 1, "lost": lost});
        scene.radio.fault(silent).await;
        let written = scene.radio.output.count();
        for text in &near[sent..sent + 2] {
            scene.alice.send(&scene.room, text).await;
        }
        // Written to the radio, which does not answer.
        let text = json!(format!("Alice[M]: {}", near[sent]));
        let is_written = |line: &str| {
            let line: Value = serde_json::from_str(line).ok()?;
            (line["transmitted"]["text"] == text).then_some(())
        };
        scene
            .radio
            .output
            .first(written, "the packet", is_written)
            .await;
        scene
            .radio
            .fault(json!({"fault": "reboot", "seconds": 3}))
            .await;
        all_on_mesh(&scene, &near[..sent + 2]).await;
    }
}

#[tokio::test]
async fn a_room_that_is_forbidden_delays_no_other_and_gets_everything_when_it_is_allowed() {
    let plan = Plan::default().room(Kind::Plain).room(Kind::Plain);
    let plan = plan.route(0, 0, "both").route(1, 1, "both");
    let mut scene = plan.start().await;
    let room = scene.room.to_string();
    let levels = ["rooms", &room, "state", "m.room.power_levels", ""];
    let usual = scene
        .alice
        .request(Method::GET, &levels, &Value::Null)
        .await;
    let mut strict = usual.clone();
    strict["events_default"] = json!(50);
    scene.alice.request(Method::PUT, &levels, &strict).await;
    let texts = numbered("far", 5);
    for text in &texts {
        for channel in [0, 1] {
            scene.radio.says(BASE, channel, text).await;
        }
    }
    scene.relay.logs("does not let us send here").await;
    all_in_room(&scene, &scene.rooms[1], &texts).await;
    assert!(
        scene
            .alice
            .seen_of(&scene.room, &scene.bot)
            .iter()
            .all(|seen| seen.body().is_empty())
    );
    scene.alice.request(Method::PUT, &levels, &usual).await;
    all_in_room(&scene, &scene.room, &texts).await;
}
