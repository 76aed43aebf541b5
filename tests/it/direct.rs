//! A direct message to the radio is private: it is never in a room, whatever it replies to.

use serde_json::{Value, json};

use crate::support::radio::{BASE, SUMMIT, id_of};
use crate::support::scene::{Plan, Scene};
use crate::support::user::Kind;

/// Returns the radio's own number, from the first packet that it accepts.
async fn own_number(scene: &Scene) -> Value {
    scene.alice.send(&scene.room, "a first message").await;
    scene.radio.transmits("Alice[M]: a first message").await["from"].clone()
}

async fn holds_nothing_private(scene: &mut Scene) {
    scene.radio.says(BASE, 0, "the last word").await;
    scene
        .alice
        .sees_text(&scene.room, "[Base Camp/LongFast]: the last word")
        .await;
    for seen in scene.alice.seen_of(&scene.room, &scene.bot) {
        let text = seen.event.to_string();
        assert!(
            !text.contains("private"),
            "a direct message is in the room: {text}"
        );
        assert_ne!(
            seen.event["type"], "m.reaction",
            "a direct tapback is in the room: {text}"
        );
    }
}

async fn stays_private(kind: Kind) {
    let mut scene = Plan::one_room(kind).start().await;
    let own = own_number(&scene).await;
    let public = scene.radio.says(BASE, 0, "on the channel").await;
    let packet = id_of(&scene.radio.transmits("Alice[M]: a first message").await);

    scene
        .radio
        .sends(BASE, json!({"to": own, "text": "private"}))
        .await;
    for target in [public, packet] {
        let reply = json!({"to": own, "text": "a private reply", "reply_id": target});
        scene.radio.sends(BASE, reply).await;
        let tapback = json!({"to": own, "text": "👍", "reply_id": target, "emoji": 1});
        scene.radio.sends(SUMMIT, tapback).await;
    }
    holds_nothing_private(&mut scene).await;
}

#[tokio::test]
async fn a_direct_message_is_never_in_a_plain_room() {
    stays_private(Kind::Plain).await;
}

#[tokio::test]
async fn a_direct_message_is_never_in_an_encrypted_room() {
    stays_private(Kind::Encrypted).await;
}

#[tokio::test]
async fn a_direct_message_is_answered_once() {
    let mut scene = Plan::one_room(Kind::Plain)
        .meshtastic("dm_reply: write on the channel")
        .start()
        .await;
    let own = own_number(&scene).await;
    scene
        .radio
        .sends(BASE, json!({"to": own, "text": "private"}))
        .await;
    let answer = scene.radio.transmits("write on the channel").await;
    assert_eq!(answer["to"], BASE.id);

    scene
        .radio
        .sends(BASE, json!({"to": own, "text": "private again"}))
        .await;
    scene.alice.send(&scene.room, "the last word").await;
    scene.radio.transmits("Alice[M]: the last word").await;
    let answers = scene
        .radio
        .texts()
        .into_iter()
        .filter(|text| text == "write on the channel");
    assert_eq!(answers.count(), 1);
}
