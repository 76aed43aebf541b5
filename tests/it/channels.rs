//! Rooms whose channel is moved, renamed or removed on the radio while the relay runs.

use matrix_sdk::ruma::{OwnedEventId, OwnedRoomId};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::support::LIMIT;
use crate::support::forwarder::Forwarder;
use crate::support::radio::{BASE, Radio, SUMMIT, id_of};
use crate::support::relay::text_of;
use crate::support::scene::{Plan, Scene};
use crate::support::user::{Kind, Seen};

/// The notice to a sender whose room has no channel.
const NO_CHANNEL: &str = "Not sent to the mesh: the radio has no such channel, or it is switched off. The operator of \
                          this bridge can correct matrix_rooms or the radio's channels.";

/// Changes a channel; the relay learns it at the next handshake.
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

/// Waits for the notice that there is no channel for a text.
async fn is_refused(scene: &Scene, room: &OwnedRoomId, text: &OwnedEventId) {
    scene.sees_sign(room, text, "❌").await;
    let is_reason =
        |seen: &Seen| seen.body() == NO_CHANNEL && seen.answers() == Some(text.as_str());
    scene.alice.sees(room, "why not", is_reason).await;
}

/// Polls `relay status` until it is as expected.
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

/// Polls until no channel has a problem.
async fn tells_of_no_problem(scene: &Scene) {
    let is_well = |told: &str| told.contains(", ready for") && !told.contains("PROBLEM");
    tells(scene, "that all is well", is_well).await;
}

/// Cuts the connection to the radio, and waits until the radio has noticed.
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
    let notices = scene.alice.seen_of(room, &scene.bot);
    let texts = notices
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

    // The notice was sent within the last hour: no other.
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
    assert!(
        !log.contains("has another name or key than before"),
        "{log}"
    );

    assert!(scene.relay.stop().await.success());
    change(&mut scene, 0, json!({"name": ""})).await;
    scene.relay = scene.home.start().await;
    let warning = "matrix_rooms[0]: channel 0 was `Valley` and is `LongFast` now";
    scene.relay.logs(warning).await;
}

/// One room on the channels `bridge` and `club`, by their numbers.
async fn one_room_on_two_channels() -> Scene {
    let plan = Plan::default().room(Kind::Plain);
    plan.route(0, 1, "both").route(0, 2, "both").start().await
}

/// Sends a text on each of the two channels; returns the packets and their events.
async fn both_say_something(scene: &mut Scene) -> [(u32, OwnedEventId); 2] {
    let mut notices = Vec::new();
    for (channel, text) in [(1, "on the bridge"), (2, "in the club")] {
        let packet = scene.radio.says(BASE, channel, text).await;
        let shown = format!("[Base Camp/LongFast]: {text}");
        let seen = scene.alice.sees_text(&scene.room, &shown).await;
        notices.push((packet, seen.id));
    }
    notices.try_into().expect("there are two")
}

async fn swap(scene: &mut Scene) {
    let swap = json!({"fault": "swap_channels", "first": 1, "second": 2});
    scene.radio.fault(swap).await;
}

/// Waits for the notice to Alice that the channel of the message she refers to is gone.
async fn is_told_of_its_channel(scene: &Scene, target: &OwnedEventId) {
    let is_reason = |seen: &Seen| {
        seen.body().contains("does not go to another one")
            && seen.answers() == Some(target.as_str())
    };
    scene.alice.sees(&scene.room, "why not", is_reason).await;
}

#[tokio::test]
async fn what_concerns_an_older_message_goes_to_its_channel_wherever_that_stands_after_a_restart() {
    let mut scene = one_room_on_two_channels().await;
    let [(bridge, on_bridge), (club, in_club)] = both_say_something(&mut scene).await;
    let mine = scene.alice.send(&scene.room, "mine").await;
    let packet = scene.radio.transmits("Alice[M]: mine").await;
    assert_eq!(packet["channel"], 1);

    assert!(scene.relay.stop().await.success());
    swap(&mut scene).await;
    scene.relay = scene.home.start().await;
    scene.relay.logs("radio ready").await;
    let (alice, room) = (&scene.alice, &scene.room);
    alice.reply(room, &on_bridge, "to the bridge").await;
    alice.reply(room, &in_club, "to the club").await;
    alice.reply(room, &mine, "to myself").await;
    alice.react(room, &in_club, "🦊").await;
    let correction = json!({
        "msgtype": "m.text", "body": "* mine, too",
        "m.new_content": {"msgtype": "m.text", "body": "mine, too"},
        "m.relates_to": {"rel_type": "m.replace", "event_id": mine},
    });
    alice.send_message(room, correction).await;
    for (text, channel, target) in [
        ("Alice[M]: to the bridge", 2, bridge),
        ("Alice[M]: to the club", 1, club),
        ("Alice[M]: to myself", 2, id_of(&packet)),
        ("🦊", 1, club),
        ("Alice[M]: * mine, too", 2, id_of(&packet)),
    ] {
        let sent = scene.radio.transmits(text).await;
        assert_eq!(
            (&sent["channel"], &sent["reply_id"]),
            (&json!(channel), &json!(target)),
            "{text}"
        );
    }

    // The other direction: a reply on the message's own channel, no reply on the channel that is now in its old slot.
    for (channel, text, answers) in [(2, "right", Some(on_bridge.as_str())), (1, "wrong", None)] {
        scene.radio.replies(SUMMIT, channel, bridge, text).await;
        let shown = format!("[Summit Hut/LongFast]: {text}");
        let seen = scene.alice.sees_text(&scene.room, &shown).await;
        assert_eq!(seen.answers(), answers, "{text}");
    }
    scene.radio.taps(SUMMIT, 2, bridge, "🐻").await;
    let is_tapback = |seen: &Seen| seen.is_reaction(&on_bridge, "🐻 SUMM");
    scene.alice.sees(&scene.room, "a tapback", is_tapback).await;
}

#[tokio::test]
async fn what_concerns_a_message_of_a_channel_with_a_new_key_is_told_and_transmitted_nowhere() {
    let mut scene = one_room_on_two_channels().await;
    let [(bridge, on_bridge), (club, in_club)] = both_say_something(&mut scene).await;
    change(
        &mut scene,
        2,
        json!({"key": [7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7]}),
    )
    .await;
    restart(&mut scene, 2).await;

    let reply = scene
        .alice
        .reply(&scene.room, &in_club, "for the old club")
        .await;
    scene.sees_sign(&scene.room, &reply, "❌").await;
    is_told_of_its_channel(&scene, &reply).await;
    scene.alice.react(&scene.room, &in_club, "🦊").await;
    scene
        .alice
        .reply(&scene.room, &on_bridge, "for the bridge")
        .await;
    let sent = scene.radio.transmits("Alice[M]: for the bridge").await;
    assert_eq!(
        (&sent["channel"], &sent["reply_id"]),
        (&json!(1), &json!(bridge))
    );
    // The room stays with the channel.
    scene
        .radio
        .replies(SUMMIT, 2, club, "in the new club")
        .await;
    let shown = "[Summit Hut/LongFast]: in the new club";
    let seen = scene.alice.sees_text(&scene.room, shown).await;
    assert_eq!(seen.answers(), None);
    scene.alice.reply(&scene.room, &seen.id, "welcome").await;
    assert_eq!(
        scene.radio.transmits("Alice[M]: welcome").await["channel"],
        2
    );
    let sent = ["for the bridge", "welcome"].map(|text| format!("Alice[M]: {text}"));
    assert_eq!(scene.radio.texts(), sent);
    let home = scene.home.path("database");
    for file in std::fs::read_dir(home).expect("the database is there") {
        let file = file.expect("it can be listed").path();
        let bytes = std::fs::read(&file).expect("it can be read");
        assert!(
            !bytes.windows(16).any(|part| part == [7; 16]),
            "{file:?} holds the key"
        );
    }
}

#[tokio::test]
async fn with_another_radio_what_concerns_an_older_message_goes_to_its_channel_if_that_has_it() {
    let mut scene = one_room_on_two_channels().await;
    let [(_, on_bridge), (club, in_club)] = both_say_something(&mut scene).await;
    assert!(scene.relay.stop().await.success());
    let address = format!("127.0.0.1:{}", scene.radio.port());
    scene.radio.end().await;
    // This radio has the club's key, which is the default one, and another key for the bridge.
    scene.radio = Radio::start_with(&["--listen", &address, "--seed", "8"]).await;
    swap(&mut scene).await;
    scene.relay = scene.home.start().await;
    scene.relay.logs("radio ready").await;

    let reply = scene
        .alice
        .reply(&scene.room, &on_bridge, "for the old bridge")
        .await;
    scene.sees_sign(&scene.room, &reply, "❌").await;
    is_told_of_its_channel(&scene, &reply).await;
    scene
        .alice
        .reply(&scene.room, &in_club, "to the club")
        .await;
    let sent = scene.radio.transmits("Alice[M]: to the club").await;
    assert_eq!(
        (&sent["channel"], &sent["reply_id"]),
        (&json!(1), &json!(club))
    );
    assert_eq!(scene.radio.texts(), ["Alice[M]: to the club"]);
}

#[tokio::test]
async fn what_answers_an_answer_that_was_not_transmitted_goes_to_its_channel_as_well() {
    let mut scene = one_room_on_two_channels().await;
    let [_, (_, in_club)] = both_say_something(&mut scene).await;
    let (alice, room) = (&scene.alice, &scene.room);
    let long = alice.reply(room, &in_club, &"x".repeat(900)).await;
    let is_reason = |seen: &Seen| {
        seen.answers() == Some(long.as_str())
            && seen.body().contains("as an answer to the same message")
    };
    let notice = alice.sees(room, "why not", is_reason).await.id;
    let aside = alice.reply(room, &in_club, "// between us").await;
    // The channel of this message, and of replies to it, is unknown.
    let unknown = OwnedEventId::try_from("$unknown:localhost").expect("it is an id");
    let lost = alice.reply(room, &unknown, "to nobody").await;
    let is_reason = |seen: &Seen| {
        seen.answers() == Some(lost.as_str())
            && seen.body().contains("to which of this room's channels")
    };
    let told = alice.sees(room, "why not", is_reason).await.id;
    for target in [&lost, &told] {
        let answer = alice.reply(room, target, "to that").await;
        scene.sees_sign(room, &answer, "❌").await;
    }
    let mut sent = Vec::new();
    for (target, text) in [
        (&long, "to the long one"),
        (&notice, "to the notice"),
        (&aside, "to the aside"),
    ] {
        alice.reply(room, target, text).await;
        let text = format!("Alice[M]: {text}");
        let packet = scene.radio.transmits(&text).await;
        assert_eq!(packet["channel"], 2, "{text}");
        sent.push(text);
    }
    assert_eq!(scene.radio.texts(), sent);
}

#[tokio::test]
async fn what_belongs_to_a_channel_to_which_the_room_does_not_speak_any_more_says_so() {
    let mut scene = one_room_on_two_channels().await;
    let [_, (_, in_club)] = both_say_something(&mut scene).await;
    assert!(scene.relay.stop().await.success());
    let entry = "meshtastic_channel: 2, direction: both";
    let one_way = "meshtastic_channel: 2, direction: to_matrix";
    scene.home.reconfigure(entry, one_way);
    scene.relay = scene.home.start().await;
    scene.relay.logs("radio ready").await;
    let answer = scene
        .alice
        .reply(&scene.room, &in_club, "to the club")
        .await;
    let is_reason = |seen: &Seen| {
        seen.answers() == Some(answer.as_str())
            && seen
                .body()
                .contains("nothing of this room goes to the channel")
    };
    scene.alice.sees(&scene.room, "why not", is_reason).await;
    assert!(scene.radio.texts().is_empty());
}
