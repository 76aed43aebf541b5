//! A reaction is relayed to the right target, and tells the homeserver only the emoji.

use serde_json::json;

use crate::support::radio::{BASE, SUMMIT, id_of};
use crate::support::scene::Plan;
use crate::support::user::Kind;

async fn cross_both_ways(kind: Kind, key: &str) {
    let mut scene = Plan::one_room(kind).start().await;

    let packet = scene.radio.says(BASE, 0, "made it").await;
    let seen = scene
        .alice
        .sees_text(&scene.room, "[Base Camp/LongFast]: made it")
        .await;

    scene.radio.taps(SUMMIT, 0, packet, "👍").await;
    let what = format!("the reaction {key}");
    let reaction = scene
        .alice
        .sees(&scene.room, &what, |event| event.is_reaction(&seen.id, key));
    let reaction = reaction.await;
    let stored = scene.alice.stored(&scene.room, &reaction.id).await;
    assert_eq!(stored["type"], "m.reaction");
    let relation = json!({"rel_type": "m.annotation", "event_id": seen.id, "key": key});
    let content = json!({"m.relates_to": relation, "mmrelay_suppress": true});
    assert_eq!(
        stored["content"], content,
        "nothing but the relation and the mark"
    );

    scene.alice.react(&scene.room, &seen.id, "🎉").await;
    let tapback = scene.radio.transmits("🎉").await;
    assert_eq!(tapback["reply_id"], packet);
    assert_eq!(tapback["emoji"], 1);

    let sent = scene.alice.send(&scene.room, "well done").await;
    let packet = scene.radio.transmits("Alice[M]: well done").await;
    scene.radio.taps(BASE, 0, id_of(&packet), "👍").await;
    let key = key.replace("SUMM", "BASE");
    scene
        .alice
        .sees(&scene.room, "a reaction on hers", |seen| {
            seen.is_reaction(&sent, &key)
        })
        .await;
}

#[tokio::test]
async fn reactions_cross_both_ways_in_a_plain_room() {
    cross_both_ways(Kind::Plain, "👍 SUMM").await;
}

#[tokio::test]
async fn reactions_cross_both_ways_in_an_encrypted_room_without_a_name() {
    cross_both_ways(Kind::Encrypted, "👍").await;
}

#[tokio::test]
async fn a_reaction_taken_back_within_five_seconds_is_never_sent() {
    let mut scene = Plan::one_room(Kind::Plain).start().await;
    scene.radio.says(BASE, 0, "made it").await;
    let seen = scene
        .alice
        .sees_text(&scene.room, "[Base Camp/LongFast]: made it")
        .await;
    let reaction = scene.alice.react(&scene.room, &seen.id, "🎉").await;
    scene.alice.redact(&scene.room, &reaction).await;
    scene.alice.react(&scene.room, &seen.id, "🔥").await;
    scene.radio.transmits("🔥").await;
    assert_eq!(scene.radio.texts(), ["🔥"]);
}

#[tokio::test]
async fn an_emoji_goes_on_a_packet_only_once() {
    let mut scene = Plan::one_room(Kind::Plain).start().await;
    scene.radio.says(BASE, 0, "made it").await;
    let seen = scene
        .alice
        .sees_text(&scene.room, "[Base Camp/LongFast]: made it")
        .await;
    scene.alice.react(&scene.room, &seen.id, "❤️").await;
    let one = |packet: &serde_json::Value| {
        packet["text"]
            .as_str()
            .is_some_and(|text| text.trim_end_matches('\u{FE0F}') == "❤")
    };
    scene.radio.transmits_where("❤", one).await;
    scene.alice.react(&scene.room, &seen.id, "❤").await;
    scene.alice.react(&scene.room, &seen.id, "🔥").await;
    scene.radio.transmits("🔥").await;
    assert_eq!(
        scene
            .radio
            .packets()
            .iter()
            .filter(|packet| one(packet))
            .count(),
        1
    );
}

#[tokio::test]
async fn a_reaction_that_is_no_emoji_is_not_transmitted() {
    let mut scene = Plan::one_room(Kind::Plain).start().await;
    scene.radio.says(BASE, 0, "made it").await;
    let seen = scene
        .alice
        .sees_text(&scene.room, "[Base Camp/LongFast]: made it")
        .await;
    scene
        .alice
        .react(&scene.room, &seen.id, "mxc://localhost/abcdef")
        .await;
    scene.alice.react(&scene.room, &seen.id, "indeed").await;
    scene.alice.react(&scene.room, &seen.id, "🔥").await;
    scene.radio.transmits("🔥").await;
    assert_eq!(scene.radio.texts(), ["🔥"]);
}

#[tokio::test]
async fn a_tapback_that_is_no_emoji_is_a_text_reply() {
    let mut scene = Plan::one_room(Kind::Plain).start().await;
    let packet = scene.radio.says(BASE, 0, "made it").await;
    let seen = scene
        .alice
        .sees_text(&scene.room, "[Base Camp/LongFast]: made it")
        .await;
    scene.radio.taps(SUMMIT, 0, packet, "not an emoji").await;
    let reply = scene
        .alice
        .sees(&scene.room, "a reply with the text", |seen| {
            seen.event["type"] == "m.room.message" && seen.body().contains("not an emoji")
        });
    assert_eq!(reply.await.answers(), Some(seen.id.as_str()));
}
