//! A reply crosses as a real reply, on the right target.

use serde_json::json;

use crate::support::radio::{BASE, SUMMIT, id_of};
use crate::support::scene::Plan;
use crate::support::user::Kind;

async fn cross_both_ways(kind: Kind) {
    let mut scene = Plan::one_room(kind).start().await;

    let question = scene.radio.says(BASE, 0, "who can hear me?").await;
    let seen = scene
        .alice
        .sees_text(&scene.room, "[Base Camp/LongFast]: who can hear me?")
        .await;
    scene.alice.reply(&scene.room, &seen.id, "I can").await;
    let answer = scene.radio.transmits("Alice[M]: I can").await;
    assert_eq!(answer["reply_id"], question);

    scene
        .radio
        .replies(SUMMIT, 0, id_of(&answer), "so can I")
        .await;
    let reply = scene
        .alice
        .sees_text(&scene.room, "[Summit Hut/LongFast]: so can I")
        .await;
    let answered = scene.alice.messages(&scene.room);
    let answered = answered
        .iter()
        .find(|seen| seen.body() == "I can")
        .expect("Alice sees her own");
    assert_eq!(reply.answers(), Some(answered.id.as_str()));
    assert_eq!(reply.content("/meshtastic_replyId"), &answer["id"]);
    assert_eq!(
        reply.content("/m.mentions/user_ids"),
        &json!([scene.alice.id()])
    );

    scene
        .radio
        .replies(SUMMIT, 0, question, "and I heard you too")
        .await;
    let reply = "[Summit Hut/LongFast]: and I heard you too";
    let reply = scene.alice.sees_text(&scene.room, reply).await;
    assert_eq!(reply.answers(), Some(seen.id.as_str()));
}

#[tokio::test]
async fn replies_cross_both_ways_in_a_plain_room() {
    cross_both_ways(Kind::Plain).await;
}

#[tokio::test]
async fn replies_cross_both_ways_in_an_encrypted_room() {
    cross_both_ways(Kind::Encrypted).await;
}

#[tokio::test]
async fn a_reply_to_an_unknown_packet_is_a_plain_message() {
    let mut scene = Plan::one_room(Kind::Plain).start().await;
    scene
        .radio
        .replies(BASE, 0, 0x0123_4567, "to nobody knows what")
        .await;
    let seen = scene
        .alice
        .sees_text(&scene.room, "[Base Camp/LongFast]: to nobody knows what")
        .await;
    assert_eq!(seen.answers(), None);
}

#[tokio::test]
async fn the_fallback_of_a_reply_is_not_transmitted() {
    let mut scene = Plan::one_room(Kind::Plain).start().await;
    let question = scene.radio.says(BASE, 0, "say again?").await;
    let seen = scene
        .alice
        .sees_text(&scene.room, "[Base Camp/LongFast]: say again?")
        .await;
    let body = format!(
        "> <{}> [Base Camp/LongFast]: say again?\n\nagain",
        scene.bot
    );
    let relation = json!({"m.in_reply_to": {"event_id": seen.id}});
    let content = json!({"msgtype": "m.text", "body": body, "m.relates_to": relation});
    scene.alice.send_message(&scene.room, content).await;
    assert_eq!(
        scene.radio.transmits("Alice[M]: again").await["reply_id"],
        question
    );
}

#[tokio::test]
async fn with_two_rooms_a_reply_answers_each_rooms_own_copy() {
    let plan = Plan::default().room(Kind::Plain).room(Kind::Encrypted);
    let mut scene = plan.route(0, 0, "both").route(1, 0, "both").start().await;
    let question = scene.radio.says(BASE, 0, "who is there?").await;
    scene.radio.replies(SUMMIT, 0, question, "we are").await;
    for room in &scene.rooms {
        let target = scene
            .alice
            .sees_text(room, "[Base Camp/LongFast]: who is there?")
            .await;
        let reply = scene
            .alice
            .sees_text(room, "[Summit Hut/LongFast]: we are")
            .await;
        assert_eq!(reply.answers(), Some(target.id.as_str()));
    }
}

#[tokio::test]
async fn a_mesh_reply_to_a_threaded_event_goes_into_the_thread() {
    let mut scene = Plan::one_room(Kind::Plain).start().await;
    let root = scene.alice.send(&scene.room, "a thread").await;
    let first = scene.radio.transmits("Alice[M]: a thread").await;

    let relation = json!({"rel_type": "m.thread", "event_id": root, "is_falling_back": true,
        "m.in_reply_to": {"event_id": root}});
    let content = json!({"msgtype": "m.text", "body": "in it", "m.relates_to": relation});
    let threaded = scene.alice.send_message(&scene.room, content).await;
    let packet = scene.radio.transmits("Alice[M]: in it").await;
    assert_eq!(packet["reply_id"], first["id"]);

    scene.radio.replies(BASE, 0, id_of(&packet), "me too").await;
    let reply = scene
        .alice
        .sees_text(&scene.room, "[Base Camp/LongFast]: me too")
        .await;
    assert_eq!(reply.content("/m.relates_to/rel_type"), "m.thread");
    assert_eq!(reply.content("/m.relates_to/event_id"), root.as_str());
    assert_eq!(reply.answers(), Some(threaded.as_str()));
}
