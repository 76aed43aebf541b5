//! A message whose key comes late is relayed late, and once; one whose key does not come gets a notice.

use crate::support::scene::{Plan, Scene};
use crate::support::user::{Kind, Seen};

async fn without_keys(plan: Plan) -> Scene {
    let scene = plan.through_proxy().start().await;
    scene.proxy().hold_keys().await;
    scene
}

async fn sends_unreadable(scene: &Scene, text: &str) {
    let event = scene.alice.send(&scene.room, text).await;
    scene
        .relay
        .logs(&format!("event_id={event} sender={}", scene.alice.id()))
        .await;
}

fn notices(scene: &Scene) -> Vec<String> {
    let said = scene.alice.seen_of(&scene.room, &scene.bot);
    let notices = said
        .iter()
        .filter(|seen| seen.content("/msgtype") == "m.notice");
    notices.map(|seen| seen.body().to_owned()).collect()
}

#[tokio::test]
async fn a_message_whose_key_comes_late_crosses_late_in_order_and_once() {
    let scene = without_keys(Plan::one_room(Kind::Encrypted)).await;
    sends_unreadable(&scene, "first").await;
    sends_unreadable(&scene, "second").await;
    scene.proxy().holds_some().await;
    scene.proxy().give_keys().await;
    scene.alice.send(&scene.room, "third").await;
    scene.radio.transmits("Alice[M]: third").await;
    assert_eq!(
        scene.radio.texts(),
        ["first", "second", "third"].map(|text| format!("Alice[M]: {text}"))
    );
    assert_eq!(notices(&scene), Vec::<String>::new());
}

#[tokio::test]
async fn a_restart_between_a_message_and_its_key_loses_nothing() {
    let mut scene = without_keys(Plan::one_room(Kind::Encrypted)).await;
    sends_unreadable(&scene, "before the end").await;
    scene.relay.kill().await;
    let away = scene.alice.send(&scene.room, "while it was away").await;
    scene.relay = scene.home.start().await;
    scene.relay.logs(&format!("event_id={away}")).await;

    scene.proxy().holds_some().await;
    scene.proxy().give_keys().await;
    scene.alice.send(&scene.room, "after it").await;
    scene.radio.transmits("Alice[M]: after it").await;
    let wanted = ["before the end", "while it was away", "after it"];
    assert_eq!(
        scene.radio.texts(),
        wanted.map(|text| format!("Alice[M]: {text}"))
    );

    // Another start does not relay it again.
    assert!(scene.relay.stop().await.success());
    scene.relay = scene.home.start().await;
    scene.alice.send(&scene.room, "much later").await;
    scene.radio.transmits("Alice[M]: much later").await;
    assert_eq!(scene.radio.texts().len(), 4);
}

#[tokio::test]
async fn what_is_taken_away_before_its_key_comes_is_never_transmitted() {
    let scene = without_keys(Plan::one_room(Kind::Encrypted)).await;
    let event = scene.alice.send(&scene.room, "a slip").await;
    scene.relay.logs(&format!("event_id={event}")).await;
    sends_unreadable(&scene, "meant").await;
    scene.alice.redact(&scene.room, &event).await;
    let taken_away = format!("taken away before its key came event_id={event}");
    scene.relay.logs(&taken_away).await;
    scene.proxy().holds_some().await;
    scene.proxy().give_keys().await;
    scene.alice.send(&scene.room, "over").await;
    scene.radio.transmits("Alice[M]: over").await;
    assert_eq!(scene.radio.texts(), ["Alice[M]: meant", "Alice[M]: over"]);
}

#[tokio::test]
async fn a_room_is_told_once_of_keys_that_do_not_come_in_time() {
    let plan = Plan::one_room(Kind::Encrypted).meshtastic("max_message_age: 3s");
    let scene = without_keys(plan).await;
    sends_unreadable(&scene, "one").await;
    sends_unreadable(&scene, "two").await;
    let told = scene
        .alice
        .sees(&scene.room, "a notice", |seen: &Seen| {
            seen.content("/msgtype") == "m.notice"
        })
        .await;
    assert!(
        told.body().contains("2 messages could not be read")
            && told.body().contains(scene.alice.id().as_str()),
        "{}",
        told.body()
    );
    assert_eq!(told.content("/mmrelay_suppress"), true);

    // A key that comes too late changes nothing, and there is no second notice.
    scene.proxy().give_keys().await;
    scene.alice.send(&scene.room, "three").await;
    scene.radio.transmits("Alice[M]: three").await;
    assert_eq!(scene.radio.texts(), ["Alice[M]: three"]);
    assert_eq!(notices(&scene).len(), 1);
}

#[tokio::test]
async fn what_turns_out_to_be_no_message_is_not_told_of() {
    let plan = Plan::one_room(Kind::Encrypted).meshtastic("max_message_age: 20s");
    let scene = without_keys(plan).await;
    let (alice, room) = (&scene.alice, &scene.room);
    let content = serde_json::json!({"body": "not for people"});
    let event = alice.send_raw(room, "org.example.state", content).await;
    scene.relay.logs(&format!("event_id={event} sender=")).await;
    scene.proxy().holds_some().await;
    scene.proxy().give_keys().await;
    alice.send(room, "over").await;
    scene.radio.transmits("Alice[M]: over").await;
    scene
        .relay
        .logs(&format!("reason=not a text about=\"{event}\""))
        .await;
    let database = rusqlite::Connection::open(scene.home.path("database/relay.sqlite"))
        .expect("the database is there");
    let kept: u32 = database
        .query_row("SELECT COUNT(*) FROM undecryptable", (), |row| row.get(0))
        .expect("it has this table");
    assert_eq!(kept, 0);
}
