//! One person's many texts or alerts do not delay those of others on the way to the mesh.

use serde_json::json;

use crate::support::radio::BASE;
use crate::support::scene::{Plan, Scene};
use crate::support::synapse::Synapse;
use crate::support::user::{Kind, User};

async fn joined_by(scene: &Scene, name: &str) -> User {
    let user = User::new(Synapse::shared().await, name).await;
    user.joins(&scene.room, &scene.alice).await;
    user
}

/// Messages that are not urgent wait in the relay until [`set_free`].
async fn hold_back(scene: &mut Scene) {
    let busy = json!({"fault": "channel_use", "percent": 50});
    scene.radio.fault(busy).await;
    scene.relay.logs("the channel is very busy").await;
}

async fn set_free(scene: &mut Scene) {
    let free = json!({"fault": "channel_use", "percent": 5});
    scene.radio.fault(free).await;
}

#[tokio::test]
async fn senders_take_turns_where_one_has_more_than_three_texts_waiting() {
    let mut scene = Plan::one_room(Kind::Plain).start().await;
    let (bob, carol) = (
        joined_by(&scene, "Bob").await,
        joined_by(&scene, "Carol").await,
    );
    hold_back(&mut scene).await;
    for number in 1..=5 {
        scene.alice.send(&scene.room, &number.to_string()).await;
    }
    for number in 1..=5 {
        bob.send(&scene.room, &number.to_string()).await;
    }
    carol.send(&scene.room, "me too").await;
    scene.relay.logs_times("accepted for the mesh", 11).await;
    scene.relay.kill().await;
    scene.relay = scene.home.start().await;
    set_free(&mut scene).await;
    scene.radio.transmits("Bob[M]: 5").await;
    let wanted = [
        "Alice[M]: 1",
        "Bob[M]: 1",
        "Carol[M]: me too",
        "Alice[M]: 2",
        "Bob[M]: 2",
        // Each sender has at most three left: the oldest first.
        "Alice[M]: 3",
        "Alice[M]: 4",
        "Alice[M]: 5",
        "Bob[M]: 3",
        "Bob[M]: 4",
        "Bob[M]: 5",
    ];
    assert_eq!(scene.radio.texts(), wanted);
}

#[tokio::test]
async fn a_conversation_that_waits_keeps_its_order() {
    let mut scene = Plan::one_room(Kind::Plain).start().await;
    let bob = joined_by(&scene, "Bob").await;
    hold_back(&mut scene).await;
    let mut wanted = Vec::new();
    for (user, name, text) in [
        (&scene.alice, "Alice", "hello"),
        (&scene.alice, "Alice", "is somebody there?"),
        (&bob, "Bob", "yes"),
        (&scene.alice, "Alice", "good"),
        (&bob, "Bob", "what is it?"),
    ] {
        user.send(&scene.room, text).await;
        wanted.push(format!("{name}[M]: {text}"));
        scene
            .relay
            .logs_times("accepted for the mesh", wanted.len())
            .await;
    }
    set_free(&mut scene).await;
    scene.radio.transmits("Bob[M]: what is it?").await;
    assert_eq!(scene.radio.texts(), wanted);
}

#[tokio::test]
async fn three_sirens_an_hour_go_before_others_and_answers_to_an_alert_always_do() {
    let mut scene = Plan::one_room(Kind::Plain).start().await;
    scene.radio.says(BASE, 0, "🚨 a tree is down").await;
    let alert = "[Base Camp/LongFast]: 🚨 a tree is down";
    let alert = scene.alice.sees_text(&scene.room, alert).await;
    hold_back(&mut scene).await;
    let mut own = Vec::new();
    for number in 1..=3 {
        let text = format!("🚨 {number}");
        own.push(scene.alice.send(&scene.room, &text).await);
        scene.radio.transmits(&format!("Alice[M]: {text}")).await;
    }
    // Counted over a restart.
    scene.relay.kill().await;
    scene.relay = scene.home.start().await;
    hold_back(&mut scene).await;
    scene.alice.send(&scene.room, "🚨 4").await;
    // A reply to one's own alert continues it.
    scene.alice.reply(&scene.room, &own[0], "and more").await;
    scene.relay.logs_times("accepted for the mesh", 2).await;
    for text in ["on my way", "🚨 I see it"] {
        scene.alice.reply(&scene.room, &alert.id, text).await;
        scene.radio.transmits(&format!("Alice[M]: {text}")).await;
    }
    // Another person has their own count.
    let bob = joined_by(&scene, "Bob").await;
    bob.send(&scene.room, "🚨 me too").await;
    scene.radio.transmits("Bob[M]: 🚨 me too").await;
    let sent = scene.radio.texts();
    for held_back in ["Alice[M]: 🚨 4", "Alice[M]: and more"] {
        assert!(!sent.contains(&held_back.to_owned()), "{sent:?}");
    }
    set_free(&mut scene).await;
    scene.radio.transmits("Alice[M]: 🚨 4").await;
    scene.radio.transmits("Alice[M]: and more").await;
}

#[tokio::test]
async fn a_siren_of_somebody_without_the_power_waits_like_any_text() {
    let plan = Plan::one_room(Kind::Encrypted).matrix("urgent_power_level: 50");
    let mut scene = plan.start().await;
    let bob = joined_by(&scene, "Bob").await;
    hold_back(&mut scene).await;
    bob.send(&scene.room, "🚨 somebody").await;
    scene.relay.logs("accepted for the mesh").await;
    // Who made the room may.
    scene.alice.send(&scene.room, "🚨 help").await;
    scene.radio.transmits("Alice[M]: 🚨 help").await;
    assert_eq!(scene.radio.texts(), ["Alice[M]: 🚨 help"]);
    set_free(&mut scene).await;
    scene.radio.transmits("Bob[M]: 🚨 somebody").await;
}
