//! Messages sent while the relay was away are relayed in order; those from before it joined are not.

use std::time::Duration;

use matrix_sdk::ruma::OwnedRoomId;
use rusqlite::Connection;
use serde_json::json;

use crate::support::limit::within;
use crate::support::scene::{Plan, Scene};
use crate::support::user::Kind;

/// More than one sync answer and one page of history hold.
const MANY: usize = 480;

/// Maps one more room, by its id or alias.
fn map(scene: &Scene, name: &str) {
    let config = std::fs::read_to_string(scene.home.path("config.yaml")).expect("it was written");
    let line = format!("matrix_rooms:\n  - {{id: '{name}', meshtastic_channel: 0}}\n");
    scene
        .home
        .configure(&config.replacen("matrix_rooms:\n", &line, 1));
}

async fn starts_again(scene: &mut Scene) {
    scene.relay = scene.home.start().await;
}

async fn hears_of(scene: &Scene, room: &OwnedRoomId) {
    scene.alice.sees_join(room, &scene.bot).await;
    scene
        .relay
        .logs(&format!("room joined room={room} name="))
        .await;
}

#[tokio::test]
async fn hundreds_of_messages_are_heard_in_order_even_if_a_page_fails() {
    let plan = Plan::one_room(Kind::Plain)
        .matrix("sender_limit: {per_minute: 1000, per_hour: 10000}")
        .through_proxy();
    let mut scene = plan.start().await;
    scene.alice.send(&scene.room, "here").await;
    scene.radio.transmits("Alice[M]: here").await;
    assert!(scene.relay.stop().await.success());
    for number in 0..MANY {
        scene
            .alice
            .send(&scene.room, &format!("away {number}"))
            .await;
    }
    scene.alice.send(&scene.room, "🚨 the last").await;
    scene.proxy().fail_a_page_after(1);
    starts_again(&mut scene).await;
    scene.radio.transmits("Alice[M]: 🚨 the last").await;
    assert!(scene.proxy().has_failed(), "no second page was asked for");
    scene.relay.kill().await;

    let database =
        Connection::open(scene.home.path("database/relay.sqlite")).expect("the database is there");
    let mut rows = database
        .prepare("SELECT source_text FROM mesh_outbox WHERE source_text LIKE 'away %' ORDER BY id")
        .expect("it has this table");
    let heard: Vec<String> = rows
        .query_map((), |row| row.get(0))
        .expect("it can be read")
        .map(|text| text.expect("a text is there"))
        .collect();
    let said: Vec<String> = (0..MANY).map(|number| format!("away {number}")).collect();
    assert_eq!(heard, said);
}

#[tokio::test]
async fn a_room_whose_history_cannot_be_fetched_holds_nobody_up_and_is_read_when_it_can() {
    let plan = Plan::one_room(Kind::Plain)
        .matrix("invites: ['@alice*:*']\n  sender_limit: {per_minute: 1000, per_hour: 10000}")
        .through_proxy();
    let mut scene = plan.start().await;
    let bot = std::slice::from_ref(&scene.bot);
    let other = scene.alice.create_room(Kind::Plain, bot).await;
    assert!(scene.relay.stop().await.success());
    map(&scene, other.as_str());
    starts_again(&mut scene).await;
    hears_of(&scene, &other).await;
    for (room, text) in [(&scene.room, "one"), (&other, "two")] {
        scene.alice.send(room, text).await;
        scene.radio.transmits(&format!("Alice[M]: {text}")).await;
    }
    assert!(scene.relay.stop().await.success());
    // More than one sync answer holds.
    for number in 0..230 {
        let text = format!("away {number}");
        scene.alice.send(&scene.room, &text).await;
    }
    scene.alice.send(&other, "🚨 elsewhere").await;
    scene.proxy().fail_pages_of(Some(&scene.room)).await;
    starts_again(&mut scene).await;
    scene.relay.logs("cannot be fetched yet").await;
    scene.radio.transmits("Alice[M]: 🚨 elsewhere").await;

    // A gap survives a kill, as soon as the limited sync answer is committed.
    let database =
        Connection::open(scene.home.path("database/relay.sqlite")).expect("the database is there");
    let missing = async {
        let read = |row: &rusqlite::Row<'_>| row.get::<_, String>(0);
        loop {
            if let Ok(room) = database.query_row("SELECT room FROM gap", (), read) {
                return room;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let missing = within("that one room's history is known to be missing", missing).await;
    assert_eq!(missing, scene.room.as_str());
    scene.relay.kill().await;
    scene.proxy().fail_pages_of(None).await;
    starts_again(&mut scene).await;
    scene
        .relay
        .logs("what was missed in this room is fetched")
        .await;
    scene.alice.send(&scene.room, "🚨 the last").await;
    scene.radio.transmits("Alice[M]: 🚨 the last").await;
    let sql = "SELECT COUNT(DISTINCT source_text) FROM mesh_outbox WHERE source_text LIKE 'away %'";
    let heard: i64 = database
        .query_row(sql, (), |row| row.get(0))
        .expect("it has this table");
    assert_eq!(heard, 230);
}

#[tokio::test]
async fn a_room_that_was_joined_before_it_was_mapped_begins_when_it_is_mapped() {
    let mut scene = Plan::one_room(Kind::Plain)
        .matrix("invites: ['@alice*:*']")
        .start()
        .await;
    let bot = std::slice::from_ref(&scene.bot);
    let room = scene.alice.create_room(Kind::Plain, bot).await;
    scene.alice.sees_join(&room, &scene.bot).await;
    scene.alice.send(&room, "not your business").await;
    scene.alice.send(&scene.room, "here").await;
    scene.radio.transmits("Alice[M]: here").await;
    scene.relay.kill().await;
    scene.alice.send(&room, "still not").await;

    map(&scene, room.as_str());
    starts_again(&mut scene).await;
    hears_of(&scene, &room).await;
    scene.alice.send(&room, "now it is").await;
    scene.radio.transmits("Alice[M]: now it is").await;
    assert_eq!(
        scene.radio.texts(),
        ["Alice[M]: here", "Alice[M]: now it is"]
    );

    // From now on the room is like any other.
    assert!(scene.relay.stop().await.success());
    scene.alice.send(&room, "while you were away").await;
    starts_again(&mut scene).await;
    scene.radio.transmits("Alice[M]: while you were away").await;
}

#[tokio::test]
async fn an_invitation_that_comes_while_the_relay_is_away_begins_at_the_join() {
    let mut scene = Plan::one_room(Kind::Plain).start().await;
    assert!(scene.relay.stop().await.success());
    let bot = std::slice::from_ref(&scene.bot);
    let room = scene.alice.create_room(Kind::Encrypted, bot).await;
    scene.alice.send(&room, "before the join").await;
    map(&scene, room.as_str());
    starts_again(&mut scene).await;
    hears_of(&scene, &room).await;
    scene.alice.send(&room, "after it").await;
    scene.radio.transmits("Alice[M]: after it").await;
    assert_eq!(scene.radio.texts(), ["Alice[M]: after it"]);
}

#[tokio::test]
async fn a_room_that_becomes_encrypted_while_the_relay_is_away_is_read_and_answered_encrypted() {
    let mut scene = Plan::one_room(Kind::Plain).start().await;
    scene.alice.send(&scene.room, "in the clear").await;
    scene.radio.transmits("Alice[M]: in the clear").await;
    assert!(scene.relay.stop().await.success());
    let room = scene.alice.client().get_room(&scene.room);
    room.expect("Alice is in the room")
        .enable_encryption()
        .await
        .expect("Alice may encrypt the room");
    scene.alice.send(&scene.room, "in secret").await;
    starts_again(&mut scene).await;
    scene.radio.transmits("Alice[M]: in secret").await;
    let base = crate::support::radio::BASE;
    scene.radio.says(base, 0, "understood").await;
    let answer = scene
        .alice
        .sees_text(&scene.room, "[Base Camp/LongFast]: understood")
        .await;
    assert!(answer.encrypted);
}

#[tokio::test]
async fn what_was_said_in_a_room_that_is_mapped_by_its_alias_is_heard_after_a_restart() {
    let mut scene = Plan::one_room(Kind::Plain).start().await;
    assert!(scene.relay.stop().await.success());
    let bot = std::slice::from_ref(&scene.bot);
    let alias = format!("hill{}", scene.alice.id().localpart());
    let fields = json!({"room_alias_name": alias});
    let room = scene.alice.create_room_with(Kind::Plain, bot, fields).await;
    map(&scene, &format!("#{alias}:localhost"));
    starts_again(&mut scene).await;
    hears_of(&scene, &room).await;
    scene.alice.send(&room, "here").await;
    scene.radio.transmits("Alice[M]: here").await;

    for round in 0..2 {
        scene.relay.kill().await;
        scene.alice.send(&room, &format!("away {round}")).await;
        starts_again(&mut scene).await;
        scene
            .radio
            .transmits(&format!("Alice[M]: away {round}"))
            .await;
    }
    assert_eq!(scene.radio.texts().len(), 3);
}
