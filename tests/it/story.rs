//! The story of a message: every step that it took, with what is known of it, over kills, in the room and on the command line.

use std::time::Duration;

use serde_json::{Value, json};

use crate::status::tells;
use crate::support::books::Books;
use crate::support::guide::commands;
use crate::support::radio::{BASE, SUMMIT, id_of};
use crate::support::relay::text_of;
use crate::support::scene::{Plan, Scene};
use crate::support::user::{Kind, Seen};

/// Returns the kinds of the steps of the only story.
fn steps(trace: &Value) -> Vec<&str> {
    let stories = trace["stories"].as_array().expect("there are stories");
    assert_eq!(stories.len(), 1, "{trace:#}");
    let steps = stories[0]["steps"].as_array().expect("there are steps");
    let kinds = steps.iter().map(|step| step["step"].as_str());
    kinds.map(|kind| kind.expect("a step has a kind")).collect()
}

/// Polls `relay trace` until a message's last step is this one.
async fn comes_to(scene: &Scene, message: &str, last: &str) -> Value {
    tells(&scene.home, &["trace", message], last, |trace| {
        let stories = trace["stories"].as_array();
        let steps = stories
            .and_then(|it| it.last())
            .and_then(|it| it["steps"].as_array());
        steps
            .and_then(|it| it.last())
            .is_some_and(|step| step["step"] == last)
    })
    .await
}

/// Returns the notice that answers a 🔍 on a message.
async fn asked(scene: &Scene, message: &matrix_sdk::ruma::OwnedEventId) -> Seen {
    scene.alice.react(&scene.room, message, "🔍").await;
    let is_answer = |seen: &Seen| {
        seen.answers() == Some(message.as_str()) && seen.body().starts_with("What became of")
    };
    scene.alice.sees(&scene.room, "the story", is_answer).await
}

async fn told_both_ways(kind: Kind) {
    let mut scene = Plan::one_room(kind).start().await;
    let near = scene.alice.send(&scene.room, "secret near").await;
    let packet = id_of(&scene.radio.transmits("Alice[M]: secret near").await);
    let trace = comes_to(&scene, near.as_str(), "repeated").await;
    assert_eq!(steps(&trace), ["accepted", "handed", "taken", "repeated"]);
    let story = &trace["stories"][0];
    assert_eq!(story["way"], "to_mesh");
    assert_eq!(story["room"], scene.room.as_str());
    assert_eq!(story["steps"][1]["packet"], packet);
    assert_eq!(story["steps"][2]["evidence"], "reported");
    assert_eq!(story["waits"], json!([]));
    let by_packet = comes_to(&scene, &packet.to_string(), "repeated").await;
    assert_eq!(by_packet["stories"], trace["stories"]);

    let far = scene.radio.says(BASE, 0, "secret far").await;
    let seen = scene
        .alice
        .sees_text(&scene.room, "[Base Camp/LongFast]: secret far")
        .await;
    let trace = comes_to(&scene, &far.to_string(), "sent").await;
    assert_eq!(steps(&trace), ["heard", "posted", "sent"]);
    let story = &trace["stories"][0];
    assert_eq!(story["name"], format!("{}:{far}", BASE.id));
    assert_eq!(story["steps"][1]["detail"], scene.room.as_str());
    assert_eq!(story["steps"][2]["detail"], seen.id.as_str());
    assert!(
        story["steps"][0]["reception"]["snr"].is_number(),
        "{story:#}"
    );

    let answer = asked(&scene, &near).await;
    for words in [
        "the radio took it",
        "(reported)",
        "the radio heard it come back",
    ] {
        assert!(answer.body().contains(words), "{}", answer.body());
    }
    assert_eq!(answer.encrypted, kind == Kind::Encrypted);
    // Within a minute nobody else is answered there, and nothing of it is transmitted.
    scene.alice.react(&scene.room, &seen.id, "🔍").await;
    scene.alice.react(&scene.room, &seen.id, "🎉").await;
    scene.radio.transmits("🎉").await;
    assert_eq!(scene.radio.texts(), ["Alice[M]: secret near", "🎉"]);
    let notices = |scene: &Scene| {
        let seen = scene.alice.seen_of(&scene.room, &scene.bot);
        let stories = seen
            .iter()
            .filter(|it| it.body().starts_with("What became"));
        stories.count()
    };
    assert_eq!(notices(&scene), 1);

    // Without the relay the database is read.
    scene.relay.stop().await;
    let output = scene.home.run(["trace", near.as_str()]).await;
    assert!(output.status.success(), "{}", text_of(&output));
    let lines = text_of(&output);
    assert!(lines.contains("reported  the radio took it"), "{lines}");
    assert!(!lines.contains("secret"), "{lines}");
    let example = "$qkG0wXhOhXJ0qUQ3R6yYv4KPbzhKZ9X2lFv0Tq1aYzE";
    for command in commands("docs/guide/reading-a-story.md", "story.rs") {
        let line = command.replace(example, near.as_str());
        let line = line.replace("!a11ce001", BASE.id);
        let line = line.replace("1234567890", &far.to_string());
        let words = line.split(' ').map(|word| word.trim_matches('\''));
        let output = scene.home.run(words.skip(1)).await;
        assert!(output.status.success(), "{line}: {}", text_of(&output));
    }
}

#[tokio::test]
async fn a_text_of_either_side_has_its_story_and_a_reaction_asks_for_it() {
    told_both_ways(Kind::Plain).await;
}

#[tokio::test]
async fn in_an_encrypted_room_the_story_is_told_encrypted() {
    told_both_ways(Kind::Encrypted).await;
}

#[tokio::test]
async fn a_refusal_of_the_radio_says_by_whom_and_why() {
    let mut scene = Plan::one_room(Kind::Plain).start().await;
    // A number of `Routing.Error`, whether the message ends by it, and the words of its last step.
    for (number, step, words) in [
        (6, "refused_by_radio", "it has no such channel"),
        (7, "refused_by_radio", "it is longer than the radio takes"),
        (33, "refused_by_radio", "error 33 (NOT_AUTHORIZED)"),
        (77, "refused_by_radio", "error 77"),
        (5, "unheard", "the radio heard nobody repeat it"),
    ] {
        let fault = json!({"fault": "refuse", "error": number, "count": 1});
        scene.radio.fault(fault).await;
        let text = format!("number {number}");
        let event = scene.alice.send(&scene.room, &text).await;
        let trace = comes_to(&scene, event.as_str(), step).await;
        let last = trace["stories"][0]["steps"].as_array().unwrap().last();
        let last = last.unwrap()["text"].as_str().unwrap();
        assert!(last.contains(words), "{number}: {last}");
    }
    // One that passes: the radio is asked again, and then takes it.
    let fault = json!({"fault": "refuse", "error": 38, "count": 1});
    scene.radio.fault(fault).await;
    let event = scene.alice.send(&scene.room, "number 38").await;
    let trace = comes_to(&scene, event.as_str(), "repeated").await;
    assert_eq!(
        steps(&trace),
        [
            "accepted",
            "handed",
            "not_taken",
            "handed",
            "taken",
            "repeated"
        ]
    );
    assert_eq!(trace["stories"][0]["steps"][3]["number"], 2);
}

#[tokio::test]
async fn what_is_not_relayed_tells_its_reason() {
    let scene = Plan::one_room(Kind::Plain).start().await;
    let event = scene.alice.send(&scene.room, "//only here").await;
    let trace = comes_to(&scene, event.as_str(), "not_relayed").await;
    assert_eq!(trace["stories"][0]["steps"][0]["detail"], "off_air");
    let output = scene.home.run(["trace", "1"]).await;
    assert_eq!(output.status.code(), Some(1), "{}", text_of(&output));
    assert!(text_of(&output).contains("nothing is known of 1"));
    let output = scene.home.run(["trace", "hello"]).await;
    assert_eq!(output.status.code(), Some(2), "{}", text_of(&output));
}

#[tokio::test]
async fn a_relay_that_is_killed_before_the_radio_answers_says_that_it_does_not_know() {
    let mut scene = Plan::one_room(Kind::Plain).start().await;
    let lost = json!({"fault": "silent", "count": 1, "lost": true});
    scene.radio.fault(lost).await;
    let event = scene.alice.send(&scene.room, "near").await;
    comes_to(&scene, event.as_str(), "handed").await;
    scene.relay.kill().await;
    let output = scene.home.run(["trace", event.as_str(), "--json"]).await;
    let trace: Value = serde_json::from_slice(&output.stdout).expect("it is JSON");
    assert_eq!(steps(&trace), ["accepted", "handed"]);
    assert_eq!(trace["stories"][0]["waits"][0]["for"], "answer");
    scene.relay = scene.home.start().await;
    let trace = comes_to(&scene, event.as_str(), "repeated").await;
    let told = steps(&trace);
    assert_eq!(told[..4], ["accepted", "handed", "restarted", "handed"]);
    assert_eq!(told.last(), Some(&"repeated"));
    let restarted = &trace["stories"][0]["steps"][2];
    assert_eq!(restarted["evidence"], "unknown");
    let ids = |step: usize| trace["stories"][0]["steps"][step]["packet"].clone();
    assert_eq!(ids(1), ids(3), "under the same id");
}

#[tokio::test]
async fn kills_at_random_moments_leave_each_message_one_story_without_doubled_steps() {
    let mut scene = Plan::one_room(Kind::Plain).start().await;
    let (mut near, mut far) = (Vec::new(), Vec::new());
    for round in 0..8_u64 {
        let text = format!("near {round}");
        near.push(scene.alice.send(&scene.room, &text).await);
        far.push(scene.radio.says(BASE, 0, &format!("far {round}")).await);
        tokio::time::sleep(Duration::from_millis(round * 150)).await;
        scene.relay.kill().await;
        scene.relay = scene.home.start().await;
    }
    for event in &near {
        // What the mesh said just before a kill is not heard again.
        let taken = ["taken", "taken_silently", "repeated"];
        let command = ["trace", event.as_str()];
        let trace = tells(&scene.home, &command, "that it is taken", |trace| {
            let told = trace["stories"][0]["steps"].as_array();
            let is_taken = |step: &Value| taken.iter().any(|kind| step["step"] == *kind);
            told.is_some_and(|it| it.iter().any(is_taken))
        });
        let trace = trace.await;
        let told = steps(&trace);
        let count = |kind: &str| told.iter().filter(|it| **it == kind).count();
        assert_eq!(count("accepted"), 1, "{told:?}");
        assert!(count("repeated") <= 1, "{told:?}");
        assert!(count("taken") + count("taken_silently") <= 1, "{told:?}");
        let again =
            count("restarted") + count("unanswered") + count("not_tried") + count("not_taken");
        assert_eq!(count("handed"), 1 + again, "{told:?}");
    }
    // What a radio hands over at the moment of a kill is gone; what was accepted has its story.
    let accepted = Books::of_running(&scene.home).accepted();
    for packet in far.iter().filter(|it| accepted.contains(it)) {
        let what = packet.to_string();
        let trace = tells(&scene.home, &["trace", &what], "its event", |trace| {
            let told = trace["stories"][0]["steps"].as_array();
            told.is_some_and(|it| {
                it.iter()
                    .any(|step| step["step"] == "sent" || step["step"] == "came_back")
            })
        })
        .await;
        let told = steps(&trace);
        let count = |kind: &str| told.iter().filter(|it| **it == kind).count();
        assert_eq!((count("heard"), count("posted")), (1, 1), "{told:?}");
        assert_eq!(count("sent") + count("came_back"), 1, "{told:?}");
    }
}

#[tokio::test]
async fn how_a_packet_was_heard_is_told_each_time_and_an_id_of_several_lists_them() {
    let mut scene = Plan::one_room(Kind::Plain).start().await;
    let far = json!({"text": "far", "hops": 2, "snr": 5.5, "rssi": -90});
    let id = scene.radio.sends(BASE, far.clone()).await;
    comes_to(&scene, &id.to_string(), "sent").await;
    let mut again = far.clone();
    again["id"] = json!(id);
    scene.radio.sends(BASE, again.clone()).await;
    again["stored"] = json!(true);
    scene.radio.sends(BASE, again).await;
    let trace = comes_to(&scene, &id.to_string(), "replayed").await;
    assert_eq!(
        steps(&trace),
        ["heard", "posted", "sent", "heard_again", "replayed"]
    );
    let reception = &trace["stories"][0]["steps"][0]["reception"];
    assert_eq!(reception["hops"], 2);
    assert_eq!(reception["rssi"], -90);
    assert_eq!(reception["relayed_by"], "01");
    assert_eq!(reception["via_mqtt"], false);

    // Another node uses the same id, and came by MQTT.
    let other = json!({"text": "other", "id": id, "via_mqtt": true});
    scene.radio.sends(SUMMIT, other).await;
    let name = format!("{}:{id}", SUMMIT.id);
    let trace = comes_to(&scene, &name, "sent").await;
    let words = trace["stories"][0]["steps"][0]["text"].as_str().unwrap();
    assert!(words.contains("by MQTT; which gateway"), "{words}");
    let output = text_of(&scene.home.run(["trace", &id.to_string()]).await);
    assert!(output.contains("is the id of several messages"), "{output}");
    for node in [BASE, SUMMIT] {
        assert!(output.contains(&format!("{}:{id}", node.id)), "{output}");
    }
}

#[tokio::test]
async fn a_packet_of_ours_that_the_radio_hears_again_is_told_and_a_direct_message_never() {
    let mut scene = Plan::one_room(Kind::Plain)
        .meshtastic("dm_reply: \"a bridge\"")
        .start()
        .await;
    let event = scene.alice.send(&scene.room, "mine").await;
    let mine = scene.radio.transmits("Alice[M]: mine").await;
    comes_to(&scene, event.as_str(), "repeated").await;
    let echo = json!({"from": mine["from"], "id": mine["id"], "text": "Alice[M]: mine"});
    scene.radio.write(&echo).await;
    comes_to(&scene, event.as_str(), "heard_again").await;

    let direct = json!({"to": mine["from"], "text": "private"});
    let id = scene.radio.sends(BASE, direct).await;
    let answer = id_of(&scene.radio.transmits("a bridge").await);
    for packet in [id, answer] {
        let output = scene.home.run(["trace", &packet.to_string()]).await;
        assert_eq!(output.status.code(), Some(1), "{}", text_of(&output));
    }
}
