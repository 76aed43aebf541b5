//! The sender sees what became of a message: by one reaction of the bot, and by how far the room is read.

use serde_json::json;

use crate::support::scene::Plan;
use crate::support::synapse::Synapse;
use crate::support::user::{BOTH_KINDS, Kind, User};

const HEARD: &str = "📡";
const UNHEARD: &str = "📤";
const REFUSED: &str = "❌";
const DENIED: &str = "🚫";

#[tokio::test]
async fn a_message_that_a_node_repeated_gets_one_sign_with_nothing_else_in_it() {
    for kind in BOTH_KINDS {
        let scene = Plan::one_room(kind).start().await;
        let message = scene.alice.send(&scene.room, "is anybody there").await;
        let sign = scene.sees_sign(&scene.room, &message, HEARD).await;
        let stored = scene.alice.stored(&scene.room, &sign.id).await;
        assert_eq!(stored["type"], "m.reaction");
        let relation = json!({"rel_type": "m.annotation", "event_id": message, "key": HEARD});
        assert_eq!(
            stored["content"],
            json!({"m.relates_to": relation, "mmrelay_suppress": true})
        );
        assert_eq!(scene.signs_on(&scene.room, &message).await, [HEARD]);
        scene.is_read_up_to(&scene.room, &message, None).await;
    }
}

#[tokio::test]
async fn a_message_that_nobody_repeated_is_on_the_air_and_not_refused() {
    let mut scene = Plan::one_room(Kind::Plain).start().await;
    scene.radio.fault(json!({"fault": "nobody_repeats"})).await;
    let message = scene.alice.send(&scene.room, "alone on the hill").await;
    scene.sees_sign(&scene.room, &message, UNHEARD).await;
    assert_eq!(scene.signs_on(&scene.room, &message).await, [UNHEARD]);
}

#[tokio::test]
async fn a_refused_message_gets_its_sign_each_time_and_the_reason_once() {
    for kind in BOTH_KINDS {
        let scene = Plan::one_room(kind).start().await;
        let long = "x".repeat(700);
        let first = scene.alice.send(&scene.room, &long).await;
        let second = scene.alice.send(&scene.room, &long).await;
        scene.sees_sign(&scene.room, &first, REFUSED).await;
        scene.sees_sign(&scene.room, &second, REFUSED).await;
        let notice = scene
            .alice
            .sees(&scene.room, "the reason", |seen| {
                seen.content("/msgtype") == "m.notice"
            })
            .await;
        assert_eq!(notice.answers(), Some(first.as_str()));
        assert_eq!(notice.content("/mmrelay_suppress"), true);
        scene.is_read_up_to(&scene.room, &second, None).await;
        assert_eq!(scene.notices(), 1);
    }
}

#[tokio::test]
async fn what_the_radio_refuses_is_shown_as_refused() {
    let mut scene = Plan::one_room(Kind::Plain).start().await;
    // `Routing.Error.TOO_LARGE`
    scene
        .radio
        .fault(json!({"fault": "refuse", "error": 7}))
        .await;
    let message = scene.alice.send(&scene.room, "not this one").await;
    scene.sees_sign(&scene.room, &message, REFUSED).await;
    assert_eq!(scene.signs_on(&scene.room, &message).await, [REFUSED]);
}

#[tokio::test]
async fn who_may_not_transmit_is_told_once_a_day_and_not_read() {
    let plan = Plan::one_room(Kind::Plain).matrix("allowed_users: ['@alice*:localhost']");
    let scene = plan.start().await;
    let bob = User::new(Synapse::shared().await, "Bob").await;
    bob.joins(&scene.room, &scene.alice).await;

    let allowed = scene.alice.send(&scene.room, "from Alice").await;
    scene.sees_sign(&scene.room, &allowed, HEARD).await;
    scene.is_read_up_to(&scene.room, &allowed, None).await;
    let first = bob.send(&scene.room, "may I").await;
    let second = bob.send(&scene.room, "may I now").await;
    scene.sees_sign(&scene.room, &first, DENIED).await;
    // What comes after all that: nothing was missed before it.
    let last = scene.alice.send(&scene.room, "from Alice again").await;
    scene.sees_sign(&scene.room, &last, HEARD).await;
    assert_eq!(scene.signs_on(&scene.room, &first).await, [DENIED]);
    assert_eq!(scene.signs_on(&scene.room, &second).await, [""; 0]);
    assert_eq!(scene.notices(), 1);
    scene.is_read_up_to(&scene.room, &last, None).await;
    assert_eq!(
        scene.radio.texts(),
        ["Alice[M]: from Alice", "Alice[M]: from Alice again"]
    );
}

#[tokio::test]
async fn with_failures_only_what_fails_is_shown_and_with_off_nothing() {
    for (mode, expected) in [("failures", &[REFUSED][..]), ("off", &[])] {
        let key = format!("delivery_feedback: {mode}").leak();
        let scene = Plan::one_room(Kind::Plain).meshtastic(key).start().await;
        let heard = scene.alice.send(&scene.room, "hello").await;
        let refused = scene.alice.send(&scene.room, &"x".repeat(700)).await;
        scene.relay.logs("report=Heard").await;
        scene.is_read_up_to(&scene.room, &refused, None).await;
        if !expected.is_empty() {
            scene.sees_sign(&scene.room, &refused, REFUSED).await;
        }
        assert_eq!(scene.signs_on(&scene.room, &heard).await, [""; 0]);
        assert_eq!(scene.signs_on(&scene.room, &refused).await, *expected);
    }
}
