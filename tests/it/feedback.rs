//! The sender sees the state of a message: by one reaction of the bot, and by its read receipt.

use std::time::Duration;

use serde_json::json;

use crate::support::LIMIT;
use crate::support::books::Books;
use crate::support::radio::{BASE, Radio, SUMMIT};
use crate::support::relay::text_of;
use crate::support::scene::Plan;
use crate::support::synapse::Synapse;
use crate::support::user::{BOTH_KINDS, Kind, Seen, User};

const WAITING: &str = "⏳";
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
    // A last message: nothing is missing before it.
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
        scene.relay.logs("report=heard").await;
        scene.is_read_up_to(&scene.room, &refused, None).await;
        if !expected.is_empty() {
            scene.sees_sign(&scene.room, &refused, REFUSED).await;
        }
        assert_eq!(scene.signs_on(&scene.room, &heard).await, [""; 0]);
        assert_eq!(scene.signs_on(&scene.room, &refused).await, *expected);
    }
}

#[tokio::test]
async fn a_message_shows_that_it_waits_and_then_only_what_became_of_it() {
    let mut scene = Plan::one_room(Kind::Plain).start().await;
    let port = scene.radio.port();
    scene.radio.end().await;
    let message = scene.alice.send(&scene.room, "is the radio there").await;
    let is_waiting = |seen: &Seen| seen.is_reaction(&message, WAITING);
    // It comes after a minute.
    let room = &scene.room;
    scene
        .alice
        .sees_within(3 * LIMIT, room, "the sign of waiting", is_waiting)
        .await;
    scene.radio = Radio::start_on(port).await;
    scene.sees_sign(&scene.room, &message, HEARD).await;
    assert_eq!(scene.signs_on(&scene.room, &message).await, [HEARD]);
}

#[tokio::test]
async fn a_sign_that_was_due_when_the_relay_died_is_shown_once() {
    for kind in BOTH_KINDS {
        let mut scene = Plan::one_room(kind).start().await;
        let message = scene.alice.send(&scene.room, "just before the end").await;
        // Until the outcome is committed: the log line may come first.
        let wanted = || Books::of_running(&scene.home).wanted_sign(&message);
        while wanted().as_deref() != Some(HEARD) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        scene.relay.kill().await;
        scene.relay = scene.home.start().await;
        scene.sees_sign(&scene.room, &message, HEARD).await;
        let last = scene.alice.send(&scene.room, "and after it").await;
        scene.sees_sign(&scene.room, &last, HEARD).await;
        assert_eq!(scene.signs_on(&scene.room, &message).await, [HEARD]);
        assert_eq!(scene.signs_on(&scene.room, &last).await, [HEARD]);
    }
}

#[tokio::test]
async fn a_thread_is_read_apart_from_its_room() {
    let scene = Plan::one_room(Kind::Plain).start().await;
    let root = scene.alice.send(&scene.room, "the plan").await;
    let relation = json!({"rel_type": "m.thread", "event_id": root});
    let content = json!({"msgtype": "m.text", "body": "a detail", "m.relates_to": relation});
    let detail = scene.alice.send_message(&scene.room, content).await;
    scene.radio.transmits("Alice[M]: a detail").await;
    scene.is_read_up_to(&scene.room, &detail, Some(&root)).await;
    scene.is_read_up_to(&scene.room, &root, None).await;
}

#[tokio::test]
async fn where_the_bot_may_not_react_it_says_so_once_and_goes_on_until_it_may() {
    let scene = Plan::one_room(Kind::Plain).start().await;
    let reactions = |level: u8| json!({"events": {"m.reaction": level}});
    scene.alice.set_levels(&scene.room, reactions(50)).await;
    let warning = "signs cannot be shown in this room";
    scene.relay.logs(warning).await;
    let message = scene.alice.send(&scene.room, "hello").await;
    scene.relay.logs("report=heard").await;
    scene.is_read_up_to(&scene.room, &message, None).await;
    assert_eq!(scene.signs_on(&scene.room, &message).await, [""; 0]);
    scene.alice.set_levels(&scene.room, reactions(0)).await;
    scene.sees_sign(&scene.room, &message, HEARD).await;
    let count = scene.relay.log().matches(warning).count();
    assert_eq!(count, 1);
}

#[tokio::test]
async fn a_room_that_forbids_messages_holds_no_other_up() {
    let plan = Plan::default().room(Kind::Plain).room(Kind::Plain);
    let mut scene = plan.route(0, 0, "both").route(1, 0, "both").start().await;
    let (closed, open) = (&scene.rooms[0], &scene.rooms[1]);
    let messages = |level: u8| json!({"events": {"m.room.message": level}});
    scene.alice.set_levels(closed, messages(50)).await;
    for number in 0..3 {
        scene.radio.says(BASE, 0, &format!("number {number}")).await;
    }
    let last = "[Base Camp/LongFast]: number 2";
    scene.alice.sees_text(open, last).await;
    scene.relay.logs("does not let us send here").await;
    scene.alice.set_levels(closed, messages(0)).await;
    scene.alice.sees_text(closed, last).await;
    let wanted = (0..3).map(|number| format!("[Base Camp/LongFast]: number {number}"));
    let wanted: Vec<_> = wanted.collect();
    for room in [closed, open] {
        let said = scene.alice.messages(room);
        let said: Vec<_> = said.iter().map(Seen::body).collect();
        assert_eq!(said, wanted);
    }
}

#[tokio::test]
async fn a_reaction_that_is_there_already_holds_nothing_up() {
    let mut scene = Plan::one_room(Kind::Encrypted).start().await;
    let packet = scene.radio.says(BASE, 0, "made it").await;
    // In an encrypted room both become the same reaction, which the server takes only once.
    scene.radio.taps(SUMMIT, 0, packet, "👍").await;
    scene.radio.taps(BASE, 0, packet, "👍").await;
    scene.radio.says(BASE, 0, "and on we go").await;
    let seen = scene
        .alice
        .sees_text(&scene.room, "[Base Camp/LongFast]: made it")
        .await;
    scene
        .alice
        .sees_text(&scene.room, "[Base Camp/LongFast]: and on we go")
        .await;
    assert_eq!(scene.signs_on(&scene.room, &seen.id).await, ["👍"]);
}

#[tokio::test]
async fn under_the_servers_default_limits_messages_pass_in_order_and_signs_yield() {
    const COUNT: usize = 14;
    let plan = Plan::one_room(Kind::Plain).room(Kind::Plain);
    let stage = plan.route(1, 0, "both").set_up_on(Synapse::limited().await);
    let mut scene = stage.await.raise_the_curtain().await;
    for number in 0..COUNT {
        scene.radio.says(BASE, 0, &format!("number {number}")).await;
    }
    scene.relay.logs("the homeserver wants fewer events").await;
    let message = scene.alice.send(&scene.room, "hello").await;
    let last = format!("[Base Camp/LongFast]: number {}", COUNT - 1);
    let long = Duration::from_mins(4);
    for room in &scene.rooms {
        let is_last = |seen: &Seen| seen.body() == last;
        scene
            .alice
            .sees_within(long, room, "the last message", is_last)
            .await;
    }
    assert_eq!(scene.signs_on(&scene.room, &message).await, [""; 0]);
    let health = scene.home.run(["doctor", "--quick"]).await;
    let health = text_of(&health);
    assert!(
        health.contains("wanted fewer events (HTTP 429)"),
        "{health}"
    );
    let wanted = (0..COUNT).map(|number| format!("[Base Camp/LongFast]: number {number}"));
    let wanted: Vec<_> = wanted.collect();
    for room in &scene.rooms {
        let notices = scene.alice.seen_of(room, &scene.bot);
        let said = notices.iter().filter(|seen| !seen.body().is_empty());
        assert_eq!(said.map(Seen::body).collect::<Vec<_>>(), wanted);
    }
    let is_sign = |seen: &Seen| seen.is_reaction(&message, HEARD);
    scene
        .alice
        .sees_within(long, &scene.room, "the sign", is_sign)
        .await;
    assert_eq!(scene.signs_on(&scene.room, &message).await, [HEARD]);
}
