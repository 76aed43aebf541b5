//! What becomes of rooms whose channel is moved, renamed or removed on the radio while the relay runs.

use matrix_sdk::ruma::{OwnedEventId, OwnedRoomId};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::support::LIMIT;
use crate::support::forwarder::Forwarder;
use crate::support::radio::BASE;
use crate::support::relay::text_of;
use crate::support::scene::{Plan, Scene};
use crate::support::user::{Kind, Seen};

/// What a sender is told whose room has no channel.
const NO_CHANNEL: &str = "Not sent to the mesh: the radio has no such channel, or it is switched off. The operator of \
                          this bridge can correct matrix_rooms or the radio's channels.";

/// Changes a channel; the relay is told after the next connect.
async fn change(scene: &mut Scene, index: u8, change: Value) {
    let mut fault = json!({"fault": "channel", "index": index});
    for (key, value) in change.as_object().into_iter().flatten() {
        fault[key] = value.clone();
    }
    scene.radio.fault(fault).await;
}

/// Has the radio restart, as it does after a change of its set-up, and waits until it is ready for the relay once more.
async fn restart(scene: &mut Scene, times_ready: usize) {
    let reboot = json!({"fault": "reboot", "seconds": 1});
    scene.radio.fault(reboot).await;
    scene.relay.logs_times("radio ready", times_ready).await;
}

/// Waits until the sender of a text is told that there is no channel for it.
async fn is_refused(scene: &Scene, room: &OwnedRoomId, text: &OwnedEventId) {
    scene.sees_sign(room, text, "❌").await;
    let is_reason =
        |seen: &Seen| seen.body() == NO_CHANNEL && seen.answers() == Some(text.as_str());
    scene.alice.sees(room, "why not", is_reason).await;
}

/// Asks the relay how it stands until it tells what is expected.
async fn tells(scene: &Scene, what: &str, is: impl Fn(&str) -> bool) {
    let mut told = String::new();
    let asking = async {
        while !is(&told) {
            told = text_of(&scene.home.run(["status"]).await);
        }
    };
    let asked = timeout(LIMIT, asking).await;
    asked.unwrap_or_else(|_| panic!("the relay never told {what}: {told}"));
}

/// Asks it until it tells of no problem of a channel.
async fn tells_of_no_problem(scene: &Scene) {
    let is_well = |told: &str| told.contains(", ready for") && !told.contains("PROBLEM");
    tells(scene, "that all is well", is_well).await;
}

/// Cuts the way to the radio, and waits until the radio has noticed.
async fn cut(way: &Forwarder, scene: &Scene) {
    let from = scene.radio.output.count();
    way.cut();
    let closed = |line: &str| line.contains("closed").then_some(());
    scene
        .radio
        .output
        .first(from, "that its client is gone", closed)
        .await;
}

/// Returns what the relay has carried into a room.
fn carried(scene: &Scene, room: &OwnedRoomId) -> Vec<String> {
    let said = scene.alice.seen_of(room, &scene.bot);
    let texts = said
        .iter()
        .filter(|seen| seen.content("/msgtype") == "m.text");
    texts.map(|seen| seen.body().to_owned()).collect()
}

#[tokio::test]
async fn channels_that_move_take_rooms_mapped_by_name_along_and_warn_about_those_mapped_by_number()
{
    let plan = Plan::default().room(Kind::Plain).room(Kind::Plain);
    let plan = plan.route(0, "bridge", "both").route(1, 2, "both");
    let mut scene = plan.start().await;
    let (by_name, by_number) = (scene.rooms[0].clone(), scene.rooms[1].clone());
    scene.alice.send(&by_name, "before").await;
    let packet = scene.radio.transmits("Alice[M]: before").await;
    assert_eq!(packet["channel"], 1);

    let swap = json!({"fault": "swap_channels", "first": 1, "second": 2});
    scene.radio.fault(swap).await;
    scene
        .radio
        .fault(json!({"fault": "reboot", "seconds": 1}))
        .await;
    scene.relay.logs("was `club` and is `bridge` now").await;
    scene.relay.logs("the radio has restarted").await;
    scene.alice.send(&by_name, "after").await;
    let packet = scene.radio.transmits("Alice[M]: after").await;
    assert_eq!(packet["channel"], 2);
    scene.alice.send(&by_number, "by number").await;
    let packet = scene.radio.transmits("Alice[M]: by number").await;
    assert_eq!(packet["channel"], 2);
    scene.radio.says(BASE, 2, "on the bridge").await;
    scene
        .alice
        .sees_text(&by_name, "[Base Camp/LongFast]: on the bridge")
        .await;
}

#[tokio::test]
async fn a_renamed_channel_goes_on_by_number_with_a_warning_and_by_its_old_name_is_refused_until_it_is_back()
 {
    let plan = Plan::default().room(Kind::Plain).room(Kind::Encrypted);
    let plan = plan.route(0, "bridge", "both").route(1, 1, "both");
    let mut scene = plan.start().await;
    let (by_name, by_number) = (scene.rooms[0].clone(), scene.rooms[1].clone());
    scene.radio.says(BASE, 1, "before").await;
    for room in &scene.rooms {
        scene
            .alice
            .sees_text(room, "[Base Camp/LongFast]: before")
            .await;
    }
    tells_of_no_problem(&scene).await;

    change(&mut scene, 1, json!({"name": "valley"})).await;
    restart(&mut scene, 2).await;
    let warning = "matrix_rooms[1]: channel 1 was `bridge` and is `valley` now";
    scene.relay.logs(warning).await;
    let problem = "matrix_rooms[0]: the radio has no channel named `bridge`; it has 0 (LongFast), 1 (valley), 2 (club)";
    scene.relay.logs(problem).await;
    tells(&scene, "what is wrong", |told| {
        told.contains(&format!("PROBLEM: {problem}\n")) && told.contains("channel       1 valley\n")
    })
    .await;

    let refused = scene.alice.send(&by_name, "into the void").await;
    is_refused(&scene, &by_name, &refused).await;
    scene.alice.send(&by_number, "into the valley").await;
    let packet = scene.radio.transmits("Alice[M]: into the valley").await;
    assert_eq!(packet["channel"], 1);
    scene.radio.says(BASE, 1, "from the valley").await;
    scene
        .alice
        .sees_text(&by_number, "[Base Camp/LongFast]: from the valley")
        .await;

    change(&mut scene, 1, json!({"name": "bridge"})).await;
    restart(&mut scene, 3).await;
    let warning = "matrix_rooms[1]: channel 1 was `valley` and is `bridge` now";
    scene.relay.logs(warning).await;
    tells_of_no_problem(&scene).await;
    scene.alice.send(&by_name, "here again").await;
    let packet = scene.radio.transmits("Alice[M]: here again").await;
    assert_eq!(packet["channel"], 1);
    scene.radio.says(BASE, 1, "after").await;
    for room in &scene.rooms {
        scene
            .alice
            .sees_text(room, "[Base Camp/LongFast]: after")
            .await;
    }
    let texts = ["before", "after"].map(|text| format!("[Base Camp/LongFast]: {text}"));
    assert_eq!(carried(&scene, &by_name), texts);
    let sent = ["into the valley", "here again"].map(|text| format!("Alice[M]: {text}"));
    assert_eq!(scene.radio.texts(), sent);
}

#[tokio::test]
async fn what_waits_for_channels_that_are_removed_is_refused_and_they_work_again_when_they_are_back()
 {
    let plan = Plan::default()
        .room(Kind::Plain)
        .room(Kind::Plain)
        .room(Kind::Plain);
    let plan = plan.route(0, "bridge", "both").route(1, 2, "both");
    let stage = plan.route(2, 0, "both").set_up().await;
    let way = Forwarder::to(stage.radio.port()).await;
    let config = std::fs::read_to_string(stage.home.path("config.yaml")).expect("it was written");
    let (direct, forwarded) = (stage.radio.port(), way.port());
    let config = config.replace(&format!("port: {direct}"), &format!("port: {forwarded}"));
    stage.home.configure(&config);
    let mut scene = stage.raise_the_curtain().await;
    let [by_name, by_number, elsewhere] = [0, 1, 2].map(|place| scene.rooms[place].clone());
    scene.relay.logs("radio ready").await;

    cut(&way, &scene).await;
    scene.relay.logs("no link to the radio").await;
    let named = scene.alice.send(&by_name, "by name, waits").await;
    let numbered = scene.alice.send(&by_number, "by number, waits").await;
    scene.alice.send(&elsewhere, "waits too").await;
    scene.relay.logs_times("accepted for the mesh", 3).await;
    for index in [1, 2] {
        change(&mut scene, index, json!({"enabled": false})).await;
    }
    way.mend();
    scene.radio.transmits("Alice[M]: waits too").await;
    is_refused(&scene, &by_name, &named).await;
    is_refused(&scene, &by_number, &numbered).await;
    let problems = [
        "matrix_rooms[0]: the radio has no channel named `bridge`; it has 0 (LongFast)",
        "matrix_rooms[1]: channel 2 is not in use on the radio; it has 0 (LongFast)",
    ];
    for problem in problems {
        scene.relay.logs(problem).await;
    }
    tells(&scene, "what is wrong", |told| {
        let is_told = |problem: &&str| told.contains(&format!("PROBLEM: {problem}\n"));
        problems.iter().all(is_told) && !told.contains("club")
    })
    .await;

    // The reason was told within the hour.
    let late = scene.alice.send(&by_name, "by name, too late").await;
    scene.sees_sign(&by_name, &late, "❌").await;
    let late = scene.alice.send(&by_number, "by number, too late").await;
    scene.sees_sign(&by_number, &late, "❌").await;

    cut(&way, &scene).await;
    for index in [1, 2] {
        change(&mut scene, index, json!({"enabled": true})).await;
    }
    way.mend();
    scene.relay.logs_times("radio ready", 3).await;
    tells_of_no_problem(&scene).await;
    for (room, channel, text) in [(&by_name, 1, "by name"), (&by_number, 2, "by number")] {
        scene.alice.send(room, text).await;
        let packet = scene.radio.transmits(&format!("Alice[M]: {text}")).await;
        assert_eq!(packet["channel"], channel);
        scene.radio.says(BASE, channel, text).await;
        let crossed = format!("[Base Camp/LongFast]: {text}");
        scene.alice.sees_text(room, &crossed).await;
        assert_eq!(carried(&scene, room), [crossed]);
    }
    let sent = ["waits too", "by name", "by number"].map(|text| format!("Alice[M]: {text}"));
    assert_eq!(scene.radio.texts(), sent);
}

#[tokio::test]
async fn the_mesh_is_called_as_its_primary_channel_also_after_that_is_renamed_and_in_the_next_run()
{
    let mut scene = Plan::one_room(Kind::Plain).start().await;
    scene.radio.says(BASE, 0, "before").await;
    let seen = scene
        .alice
        .sees_text(&scene.room, "[Base Camp/LongFast]: before")
        .await;
    assert_eq!(seen.content("/meshtastic_meshnet"), "LongFast");

    change(&mut scene, 0, json!({"name": "Valley"})).await;
    restart(&mut scene, 2).await;
    let warning = "matrix_rooms[0]: channel 0 was `LongFast` and is `Valley` now";
    scene.relay.logs(warning).await;
    scene.radio.says(BASE, 0, "after").await;
    let seen = scene
        .alice
        .sees_text(&scene.room, "[Base Camp/Valley]: after")
        .await;
    assert_eq!(seen.content("/meshtastic_meshnet"), "Valley");
    scene.alice.send(&scene.room, "to the valley").await;
    scene.radio.transmits("Alice[M]: to the valley").await;

    assert!(scene.relay.stop().await.success());
    scene.relay = scene.home.start().await;
    scene.radio.says(BASE, 0, "in the next run").await;
    scene
        .alice
        .sees_text(&scene.room, "[Base Camp/Valley]: in the next run")
        .await;
    let log = scene.relay.log();
    assert!(!log.contains("has another name than before"), "{log}");

    assert!(scene.relay.stop().await.success());
    change(&mut scene, 0, json!({"name": ""})).await;
    scene.relay = scene.home.start().await;
    let warning = "matrix_rooms[0]: channel 0 was `Valley` and is `LongFast` now";
    scene.relay.logs(warning).await;
}
