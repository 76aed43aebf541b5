//! All state that matters survives a restart.

use serde_json::{Value, json};

use crate::status::status_tells;
use crate::support::canned::Canned;
use crate::support::radio::{BASE, SUMMIT, id_of};
use crate::support::scene::Plan;
use crate::support::user::{BOTH_KINDS, Kind, Seen};

async fn replies_find_their_targets(kind: Kind, by_kill: bool) {
    let mut scene = Plan::one_room(kind).start().await;
    let heard = scene.radio.says(BASE, 0, "before the restart").await;
    let seen = scene
        .alice
        .sees_text(&scene.room, "[Base Camp/LongFast]: before the restart")
        .await;
    let event = scene.alice.send(&scene.room, "mine, before it").await;
    let packet = id_of(&scene.radio.transmits("Alice[M]: mine, before it").await);

    if by_kill {
        scene.relay.kill().await;
    } else {
        assert!(scene.relay.stop().await.success());
    }
    scene.relay = scene.home.start().await;

    scene
        .alice
        .reply(&scene.room, &seen.id, "an answer after it")
        .await;
    let answer = scene.radio.transmits("Alice[M]: an answer after it").await;
    assert_eq!(answer["reply_id"], heard);

    scene
        .radio
        .replies(SUMMIT, 0, packet, "an answer too")
        .await;
    let answer = scene
        .alice
        .sees_text(&scene.room, "[Summit Hut/LongFast]: an answer too")
        .await;
    assert_eq!(answer.answers(), Some(event.as_str()));
}

#[tokio::test]
async fn a_reply_finds_a_message_from_before_a_restart() {
    replies_find_their_targets(Kind::Plain, false).await;
}

#[tokio::test]
async fn a_reply_finds_a_message_from_before_a_kill() {
    replies_find_their_targets(Kind::Encrypted, true).await;
}

/// Also before the alias is resolved.
#[tokio::test]
async fn what_the_mesh_answers_while_the_relay_is_away_finds_its_target_in_a_room_mapped_by_alias()
{
    let plan = Plan::one_room(Kind::Plain).through_proxy();
    let stage = plan.set_up().await;
    stage.map_by_alias(0, "hill").await;
    let mut scene = stage.raise_the_curtain().await;
    let heard = scene.radio.says(BASE, 0, "before").await;
    let before = mesh("Base Camp", "before");
    let seen = scene.alice.sees_text(&scene.room, &before).await;
    let event = scene.alice.send(&scene.room, "mine").await;
    let packet = id_of(&scene.radio.transmits("Alice[M]: mine").await);

    assert!(scene.relay.stop().await.success());
    scene.radio.replies(SUMMIT, 0, packet, "an answer").await;
    scene.radio.taps(SUMMIT, 0, heard, "🐻").await;
    let unreachable = ["/sync", "/send/"].map(|path| Canned::to(path, 502, &json!({})));
    scene.proxy().answers(unreachable);
    scene.relay = scene.home.spawn();
    scene.relay.logs("radio ready").await;
    let waits = |told: &Value| told["outbox"]["to_matrix"]["waiting"] == 2;
    status_tells(&scene.home, "what the mesh has said", waits).await;
    scene.proxy().answers([]);
    let answer = mesh("Summit Hut", "an answer");
    let answer = scene.alice.sees_text(&scene.room, &answer).await;
    assert_eq!(answer.answers(), Some(event.as_str()));
    // If it was heard before the stored rooms were announced, it was not known whether the room is encrypted: it names nobody.
    let forms = ["🐻", "🐻 SUMM"];
    let is_tapback = |it: &Seen| forms.iter().any(|key| it.is_reaction(&seen.id, key));
    scene.alice.sees(&scene.room, "a tapback", is_tapback).await;
}

fn mesh(node: &str, text: &str) -> String {
    format!("[{node}/LongFast]: {text}")
}

#[tokio::test]
async fn what_was_said_while_the_relay_was_away_is_carried_in_order_and_once() {
    for kind in BOTH_KINDS {
        let mut scene = Plan::one_room(kind).start().await;
        scene.alice.send(&scene.room, "here").await;
        scene.radio.transmits("Alice[M]: here").await;

        assert!(scene.relay.stop().await.success());
        for number in 0..3 {
            scene
                .alice
                .send(&scene.room, &format!("away {number}"))
                .await;
            scene.radio.says(BASE, 0, &format!("far {number}")).await;
        }
        scene.relay = scene.home.start().await;

        scene.radio.transmits("Alice[M]: away 2").await;
        let wanted = ["here", "away 0", "away 1", "away 2"].map(|text| format!("Alice[M]: {text}"));
        assert_eq!(scene.radio.texts(), wanted);
        scene
            .alice
            .sees_text(&scene.room, "[Base Camp/LongFast]: far 2")
            .await;
        let messages = scene.alice.seen_of(&scene.room, &scene.bot);
        let bodies = messages
            .iter()
            .map(Seen::body)
            .filter(|body| body.contains("far"));
        let bodies: Vec<_> = bodies.collect();
        assert_eq!(
            bodies,
            ["far 0", "far 1", "far 2"].map(|text| format!("[Base Camp/LongFast]: {text}"))
        );
    }
}

#[tokio::test]
async fn what_was_in_a_room_before_the_first_run_is_not_transmitted() {
    let stage = Plan::one_room(Kind::Plain).set_up().await;
    stage.alice.send(&stage.rooms[0], "long ago").await;
    let scene = stage.raise_the_curtain().await;
    scene.alice.send(&scene.room, "now").await;
    scene.radio.transmits("Alice[M]: now").await;
    assert_eq!(scene.radio.texts(), ["Alice[M]: now"]);
}
