//! What comes unencrypted into an encrypted room: a server could have written it.

use matrix_sdk::reqwest::Method;
use matrix_sdk::ruma::OwnedEventId;
use serde_json::{Value, json};

use crate::support::scene::{Plan, Scene};
use crate::support::user::{Kind, Seen};

/// Alice's client forgets that the room is encrypted.
async fn says_in_clear(scene: &Scene, text: &str) -> OwnedEventId {
    let path = ["rooms", scene.room.as_str(), "send", "m.room.message", text];
    let body = json!({"msgtype": "m.text", "body": text});
    let answer = scene.alice.request(Method::PUT, &path, &body).await;
    let event = answer["event_id"].as_str().expect("it was taken");
    event.try_into().expect("an event id")
}

async fn status_of_the_room(scene: &Scene) -> Value {
    let output = scene.home.run(["status", "--json"]).await;
    let status: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    status["rooms"][0]["to_mesh"].clone()
}

#[tokio::test]
async fn a_message_in_clear_crosses_and_is_counted_unless_encryption_is_wanted() {
    let mut scene = Plan::one_room(Kind::Encrypted)
        .matrix("e2ee: {require: false}")
        .start()
        .await;
    says_in_clear(&scene, "in clear").await;
    scene.radio.transmits("Alice[M]: in clear").await;
    scene.alice.send(&scene.room, "encrypted").await;
    scene.radio.transmits("Alice[M]: encrypted").await;
    assert_eq!(status_of_the_room(&scene).await["in_clear"], 1);

    scene.relay.stop().await;
    scene.home.reconfigure("require: false", "require: true");
    scene.relay = scene.home.start().await;
    let refused = says_in_clear(&scene, "again in clear").await;
    scene.sees_sign(&scene.room, &refused, "🚫").await;
    let told = |seen: &Seen| {
        seen.answers() == Some(refused.as_str()) && seen.body().contains("the message was not")
    };
    scene
        .alice
        .sees(&scene.room, "why it was refused", told)
        .await;
    scene.carries("encrypted again").await;
    assert_eq!(
        scene
            .radio
            .texts()
            .iter()
            .filter(|text| text.contains("in clear"))
            .count(),
        1
    );
    let room = status_of_the_room(&scene).await;
    assert_eq!(
        (&room["in_clear"], &room["dropped"]["in_clear"]),
        (&json!(0), &json!(1))
    );
}

#[tokio::test]
async fn what_was_said_before_encryption_was_switched_on_crosses_and_what_is_in_clear_afterwards_does_not()
 {
    let mut scene = Plan::one_room(Kind::Plain)
        .matrix("e2ee: {require: true}")
        .start()
        .await;
    scene.carries("in a plain room").await;
    scene.relay.stop().await;
    scene.alice.send(&scene.room, "just before").await;
    let path = ["rooms", scene.room.as_str(), "state", "m.room.encryption"];
    let body = json!({"algorithm": "m.megolm.v1.aes-sha2"});
    let switched = scene.alice.request(Method::PUT, &path, &body).await;
    assert!(switched["event_id"].is_string(), "{switched}");
    let refused = says_in_clear(&scene, "just after").await;
    scene.relay = scene.home.start().await;
    scene.sees_sign(&scene.room, &refused, "🚫").await;
    let crossed = "Alice[M]: just before";
    scene.radio.transmits(crossed).await;
    scene.carries("encrypted").await;
    let texts = scene.radio.texts();
    assert!(
        !texts.iter().any(|it| it.contains("just after")),
        "{texts:?}"
    );
}
