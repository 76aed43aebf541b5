//! Each trouble of a room has its own text and cure, and messages for a replaced room go to its successor.

use matrix_sdk::reqwest::Method;
use matrix_sdk::ruma::OwnedRoomId;
use serde_json::{Value, json};

use crate::status::{check, status_tells, tells};
use crate::support::radio::{BASE, Radio};
use crate::support::relay::{Home, text_of};
use crate::support::scene::{Plan, Scene};
use crate::support::synapse::PASSWORD;
use crate::support::user::{Kind, Seen, User};

/// Polls until a matching room is shown with this trouble, and returns the room.
async fn trouble(home: &Home, room: &str, reason: &str) -> Value {
    let of = |told: &Value| {
        let rooms = told["rooms"].as_array().expect("rooms are told").clone();
        rooms.into_iter().find(|it| it["room"] == room)
    };
    let is = |told: &Value| of(told).is_some_and(|it| it["trouble"]["reason"] == reason);
    let status = status_tells(home, &format!("{reason} of {room}"), is).await;
    of(&status).expect("it was told")
}

/// Polls until the rooms' check of `doctor --quick` fails, and returns the check.
async fn diagnosis(home: &Home) -> String {
    let doctor = ["doctor", "--quick"];
    let is_sick = |told: &Value| check(told, "rooms")["result"] == "failed";
    let output = tells(home, &doctor, "that a room needs help", is_sick).await;
    assert_eq!(output["healthy"], false);
    check(&output, "rooms").to_string()
}

async fn is_well(home: &Home) {
    let is_well = |told: &Value| told["healthy"] == true;
    tells(home, &["doctor", "--quick"], "that all is well", is_well).await;
}

/// Alice upgrades a room, as a client does.
async fn upgrade(alice: &User, room: &OwnedRoomId) -> OwnedRoomId {
    let path = ["rooms", room.as_str(), "upgrade"];
    let answer = alice
        .request(Method::POST, &path, &json!({"new_version": "12"}))
        .await;
    serde_json::from_value(answer["replacement_room"].clone())
        .unwrap_or_else(|_| panic!("no room was made: {answer}"))
}

/// Alice sends a tombstone for a successor that was made by hand.
async fn entomb(alice: &User, room: &OwnedRoomId, content: Value) {
    let path = ["rooms", room.as_str(), "state", "m.room.tombstone", ""];
    let answer = alice.request(Method::PUT, &path, &content).await;
    assert!(answer["event_id"].is_string(), "no tombstone: {answer}");
}

/// Returns what the relay has carried into a room, from the mesh.
async fn carried(scene: &Scene, room: &OwnedRoomId) -> Vec<String> {
    let history = scene.alice.history(room).await;
    let from_mesh = history
        .iter()
        .filter(|seen| seen.content("/meshtastic_text").is_string());
    from_mesh.map(|seen| seen.body().to_owned()).collect()
}

async fn restart(scene: &mut Scene) {
    assert!(scene.relay.stop().await.success());
    scene.relay = scene.home.start().await;
}

fn mesh(text: &str) -> String {
    format!("[Base Camp/LongFast]: {text}")
}

/// A scene whose room is mapped by this alias.
async fn by_alias(kind: Kind, alias: &str) -> (Scene, String) {
    let stage = Plan::one_room(kind).set_up().await;
    let alias = stage.map_by_alias(0, alias).await;
    (stage.raise_the_curtain().await, alias)
}

/// Polls until this many messages of the mesh wait.
async fn waiting(home: &Home, messages: u64) {
    let waits = |told: &Value| told["outbox"]["to_matrix"]["waiting"] == messages;
    status_tells(home, "what waits", waits).await;
}

#[tokio::test]
async fn a_replaced_room_is_followed_and_what_waits_each_way_goes_along() {
    let mut scene = Plan::one_room(Kind::Encrypted).start().await;
    let old = scene.room.clone();
    scene.radio.says(BASE, 0, "before").await;
    let before = scene.alice.sees_text(&old, &mesh("before")).await;
    let port = scene.radio.port();
    let next = upgrade(&scene.alice, &old).await;
    let shown = trouble(&scene.home, old.as_str(), "not_invited").await;
    assert_eq!(shown["trouble"]["successor"], next.as_str());

    let first = scene.radio.says(BASE, 0, "waits").await;
    scene.radio.replies(BASE, 0, first, "waits as well").await;
    waiting(&scene.home, 2).await;
    let diagnosis = diagnosis(&scene.home).await;
    for word in [old.as_str(), next.as_str(), "2 waiting", "invite"] {
        assert!(diagnosis.contains(word), "{word} is missing: {diagnosis}");
    }
    let line = scene.relay.logs("what is for this room waits").await;
    assert!(line.contains(next.as_str()), "{line}");

    // What was said there before goes to the mesh when the radio is back.
    scene.radio.end().await;
    scene.relay.logs("no link to the radio").await;
    scene.alice.send(&old, "from before").await;
    scene.relay.logs("accepted for the mesh").await;
    // The bot gets no key for that.
    scene.alice.send(&next, "not yet").await;
    scene.alice.invite(&next, scene.bot.as_str()).await;
    let waited = scene.alice.sees_text(&next, &mesh("waits")).await;
    let reply = scene.alice.sees_text(&next, &mesh("waits as well")).await;
    assert_eq!(reply.answers(), Some(waited.id.as_str()));
    let line = scene.relay.logs("this room was replaced").await;
    assert!(line.contains(&format!("put {next} into")), "{line}");

    scene.radio = Radio::start_on(port).await;
    scene.radio.transmits("Alice[M]: from before").await;
    scene.radio.says(BASE, 0, "after").await;
    scene.alice.sees_text(&next, &mesh("after")).await;
    scene.alice.send(&next, "here now").await;
    scene.radio.transmits("Alice[M]: here now").await;

    // Until the configuration is changed the relay goes on so.
    restart(&mut scene).await;
    let shown = trouble(&scene.home, next.as_str(), "followed").await;
    assert_eq!(shown["configured"], json!([old]));
    let hint = shown["trouble"]["hint"].as_str().expect("a hint");
    assert!(hint.contains(&format!("put {next} into")), "{hint}");
    is_well(&scene.home).await;
    scene.alice.send(&next, "again").await;
    scene.radio.transmits("Alice[M]: again").await;
    scene.radio.says(BASE, 0, "after the start").await;
    scene.alice.sees_text(&next, &mesh("after the start")).await;

    scene.home.reconfigure(old.as_str(), next.as_str());
    restart(&mut scene).await;
    scene.radio.says(BASE, 0, "by its own id").await;
    scene.alice.sees_text(&next, &mesh("by its own id")).await;
    let is_plain = |told: &Value| {
        let rooms = told["rooms"].as_array().expect("rooms are told");
        rooms
            .iter()
            .any(|it| it["room"] == next.as_str() && it["trouble"].is_null())
    };
    status_tells(&scene.home, "that nothing is left to do", is_plain).await;
    let texts = [
        "waits",
        "waits as well",
        "after",
        "after the start",
        "by its own id",
    ]
    .map(mesh);
    assert_eq!(carried(&scene, &next).await, texts);
    assert_eq!(carried(&scene, &old).await, [before.body()]);
    let sent = ["from before", "here now", "again"].map(|text| format!("Alice[M]: {text}"));
    assert_eq!(scene.radio.texts(), sent[..]);
}

#[tokio::test]
async fn what_is_said_in_the_successor_before_the_bot_is_in_it_crosses_and_what_is_older_than_the_upgrade_does_not()
 {
    let (mut scene, _) = by_alias(Kind::Plain, "early").await;
    let old = scene.room.clone();
    let predecessor = json!({"room_id": old, "event_id": "$last"});
    let fields = json!({"creation_content": {"predecessor": predecessor}});
    let next = scene.alice.create_room_with(Kind::Plain, &[], fields).await;
    scene.alice.send(&next, "not yet the successor").await;
    let tombstone = json!({"body": "moved", "replacement_room": next});
    entomb(&scene.alice, &old, tombstone).await;
    trouble(&scene.home, old.as_str(), "not_invited").await;
    scene.alice.send(&next, "where is the bot?").await;
    // Upgraded while the relay is down, it is the same.
    assert!(scene.relay.stop().await.success());
    scene.alice.send(&next, "still not here").await;
    scene.alice.invite(&next, scene.bot.as_str()).await;
    scene.relay = scene.home.start().await;
    scene.radio.transmits("Alice[M]: still not here").await;
    scene.alice.send(&next, "there it is").await;
    scene.radio.transmits("Alice[M]: there it is").await;
    restart(&mut scene).await;
    scene.alice.send(&next, "again").await;
    scene.radio.transmits("Alice[M]: again").await;
    let sent = [
        "where is the bot?",
        "still not here",
        "there it is",
        "again",
    ];
    assert_eq!(
        scene.radio.texts(),
        sent.map(|text| format!("Alice[M]: {text}"))
    );
}

#[tokio::test]
async fn a_public_room_is_followed_as_soon_as_it_is_replaced_and_again_when_that_is_replaced() {
    let mut stage = Plan::one_room(Kind::Plain).set_up().await;
    let bot = std::slice::from_ref(&stage.bot);
    let fields = json!({"preset": "public_chat", "room_version": "11"});
    let first = stage.alice.create_room_with(Kind::Plain, bot, fields).await;
    stage
        .home
        .reconfigure(stage.rooms[0].as_str(), first.as_str());
    stage.rooms = vec![first.clone()];
    let mut scene = stage.raise_the_curtain().await;
    scene.alice.send(&first, "one").await;
    scene.radio.transmits("Alice[M]: one").await;
    let second = upgrade(&scene.alice, &first).await;
    scene.alice.sees_join(&second, &scene.bot).await;
    scene.alice.send(&second, "two").await;
    scene.radio.transmits("Alice[M]: two").await;
    let third = upgrade(&scene.alice, &second).await;
    scene.alice.sees_join(&third, &scene.bot).await;
    scene.radio.says(BASE, 0, "three").await;
    scene.alice.sees_text(&third, &mesh("three")).await;
    restart(&mut scene).await;
    scene.alice.send(&third, "four").await;
    scene.radio.transmits("Alice[M]: four").await;
    trouble(&scene.home, third.as_str(), "followed").await;
    let sent = ["one", "two", "four"].map(|text| format!("Alice[M]: {text}"));
    assert_eq!(scene.radio.texts(), sent[..]);
}

#[tokio::test]
async fn a_replaced_room_that_stays_in_the_configuration_beside_its_successor_is_no_failure() {
    let mut scene = Plan::one_room(Kind::Plain).start().await;
    let old = scene.room.clone();
    let next = upgrade(&scene.alice, &old).await;
    trouble(&scene.home, old.as_str(), "not_invited").await;
    scene.alice.invite(&next, scene.bot.as_str()).await;
    let route = "meshtastic_channel: 0, direction: both";
    let both = format!("{old}', {route}}}\n  - {{id: '{next}', {route}");
    let entry = format!("{old}', {route}");
    scene.home.reconfigure(&entry, &both);
    restart(&mut scene).await;
    let shown = trouble(&scene.home, next.as_str(), "followed").await;
    let hint = shown["trouble"]["hint"].as_str().expect("a hint");
    assert!(hint.contains(&format!("take {old} out")), "{hint}");
    is_well(&scene.home).await;
    scene.radio.says(BASE, 0, "after it").await;
    scene.alice.sees_text(&next, &mesh("after it")).await;
    // Out of the old room the bot misses nothing.
    let path = ["rooms", old.as_str(), "kick"];
    let bot = json!({"user_id": scene.bot});
    scene.alice.request(Method::POST, &path, &bot).await;
    restart(&mut scene).await;
    trouble(&scene.home, next.as_str(), "followed").await;
    is_well(&scene.home).await;
    assert_eq!(carried(&scene, &next).await, [mesh("after it")]);
}

#[tokio::test]
async fn an_upgrade_while_the_relay_was_down_is_followed_like_any_other() {
    let mut scene = Plan::one_room(Kind::Plain).start().await;
    let old = scene.room.clone();
    // The homeserver refuses sends to the room, so that messages wait.
    scene
        .alice
        .set_levels(&old, json!({"events_default": 50}))
        .await;
    scene.radio.says(BASE, 0, "waits").await;
    let shown = trouble(&scene.home, old.as_str(), "may_not_write").await;
    assert!(
        shown["trouble"]["hint"]
            .as_str()
            .expect("a hint")
            .contains("let the bot write")
    );
    let waits = |shown: &Value| shown["rooms"][0]["to_matrix"]["outbox"]["waiting"] == 1;
    status_tells(&scene.home, "that it waits", waits).await;
    assert!(scene.relay.stop().await.success());

    scene.alice.send(&old, "while you were down").await;
    let next = upgrade(&scene.alice, &old).await;
    scene
        .alice
        .set_levels(&next, json!({"events_default": 0}))
        .await;
    scene.alice.invite(&next, scene.bot.as_str()).await;
    scene.home.reconfigure(old.as_str(), next.as_str());
    scene.relay = scene.home.start().await;
    scene.alice.sees_text(&next, &mesh("waits")).await;
    scene.radio.transmits("Alice[M]: while you were down").await;
    assert_eq!(carried(&scene, &old).await, [] as [String; 0]);
}

#[tokio::test]
async fn an_alias_leads_to_the_successor() {
    let (mut scene, _) = by_alias(Kind::Encrypted, "followed").await;
    let old = scene.room.clone();
    scene.radio.says(BASE, 0, "before").await;
    scene.alice.sees_text(&old, &mesh("before")).await;
    let next = upgrade(&scene.alice, &old).await;
    let shown = trouble(&scene.home, old.as_str(), "not_invited").await;
    assert_eq!(shown["trouble"]["successor"], next.as_str());
    scene.radio.says(BASE, 0, "waits").await;
    scene.alice.invite(&next, scene.bot.as_str()).await;
    scene.alice.sees_text(&next, &mesh("waits")).await;
    scene.alice.send(&next, "here now").await;
    scene.radio.transmits("Alice[M]: here now").await;
    is_well(&scene.home).await;
    assert_eq!(carried(&scene, &next).await, [mesh("waits")]);
    assert_eq!(carried(&scene, &old).await, [mesh("before")]);
    // The alias is in the configuration, and nothing had to be done.
    let said = scene.relay.log().contains("not in `matrix_rooms`");
    assert!(!said);
}

#[tokio::test]
async fn an_alias_of_the_successor_in_the_place_of_the_old_id_leads_there_as_well() {
    let mut scene = Plan::one_room(Kind::Plain).start().await;
    let old = scene.room.clone();
    let next = upgrade(&scene.alice, &old).await;
    trouble(&scene.home, old.as_str(), "not_invited").await;
    scene.radio.says(BASE, 0, "waits").await;
    let waits = |told: &Value| told["outbox"]["to_matrix"]["waiting"] == 1;
    status_tells(&scene.home, "that it waits", waits).await;
    let unique: String = next.as_str().chars().skip(1).take(12).collect();
    let alias = format!("#next-{}:localhost", unique.to_lowercase());
    scene.alice.set_alias(&alias, &next).await;
    assert!(scene.relay.stop().await.success());
    scene.home.reconfigure(old.as_str(), &alias);
    scene.relay = scene.home.start().await;
    trouble(&scene.home, old.as_str(), "successor_not_joined").await;
    scene.alice.invite(&next, scene.bot.as_str()).await;
    scene.alice.sees_text(&next, &mesh("waits")).await;
    is_well(&scene.home).await;
}

#[tokio::test]
async fn what_could_not_be_read_before_an_upgrade_crosses_when_its_key_comes() {
    let plan = Plan::one_room(Kind::Encrypted).through_proxy();
    let mut scene = plan.start().await;
    let old = scene.room.clone();
    scene.proxy().hold_keys().await;
    let event = scene.alice.send(&old, "written before").await;
    scene.relay.logs(&format!("event_id={event} sender=")).await;
    let next = upgrade(&scene.alice, &old).await;
    trouble(&scene.home, old.as_str(), "not_invited").await;
    assert!(scene.relay.stop().await.success());
    scene.home.reconfigure(old.as_str(), next.as_str());
    scene.alice.invite(&next, scene.bot.as_str()).await;
    scene.relay = scene.home.start().await;
    scene.alice.sees_join(&next, &scene.bot).await;
    scene.proxy().holds_some().await;
    scene.proxy().give_keys().await;
    scene.radio.transmits("Alice[M]: written before").await;
    scene.alice.send(&next, "here now").await;
    scene.radio.transmits("Alice[M]: here now").await;
    let sent = ["written before", "here now"].map(|text| format!("Alice[M]: {text}"));
    assert_eq!(scene.radio.texts(), sent);
}

#[tokio::test]
async fn a_room_that_was_replaced_twice_and_the_bot_was_put_out_of_leads_to_the_last() {
    let mut scene = Plan::one_room(Kind::Plain).start().await;
    let first = scene.room.clone();
    let second = upgrade(&scene.alice, &first).await;
    trouble(&scene.home, first.as_str(), "not_invited").await;
    scene.radio.says(BASE, 0, "waits").await;
    let waits = |told: &Value| told["outbox"]["to_matrix"]["waiting"] == 1;
    status_tells(&scene.home, "that it waits", waits).await;
    let room = scene
        .alice
        .client()
        .get_room(&first)
        .expect("Alice is in it");
    room.kick_user(&scene.bot, None)
        .await
        .expect("Alice may kick");
    scene.relay.logs("no longer in this room").await;
    // Nothing is lost by this.
    trouble(&scene.home, first.as_str(), "not_invited").await;
    let third = upgrade(&scene.alice, &second).await;
    assert!(scene.relay.stop().await.success());
    scene.home.reconfigure(first.as_str(), third.as_str());
    scene.alice.invite(&third, scene.bot.as_str()).await;
    scene.relay = scene.home.start().await;
    scene.alice.sees_text(&third, &mesh("waits")).await;
    is_well(&scene.home).await;
}

#[tokio::test]
async fn a_room_that_was_never_joined_is_told_as_what_it_is() {
    let stage = Plan::one_room(Kind::Plain).set_up().await;
    let bans = stage.alice.create_room(Kind::Plain, &[]).await;
    let room = stage
        .alice
        .client()
        .get_room(&bans)
        .expect("Alice is in it");
    room.ban_user(&stage.bot, None)
        .await
        .expect("Alice may ban");
    let closed = stage.alice.create_room(Kind::Plain, &[]).await;
    let (nowhere, far) = ("!nowhere:localhost", "#far:relay.invalid");
    let rooms = [bans.as_str(), closed.as_str(), nowhere, far];
    let mut config =
        std::fs::read_to_string(stage.home.path("config.yaml")).expect("it was written");
    for room in rooms {
        let line = format!("matrix_rooms:\n  - {{id: '{room}', meshtastic_channel: 0}}\n");
        config = config.replacen("matrix_rooms:\n", &line, 1);
    }
    stage.home.configure(&config);
    let scene = stage.raise_the_curtain().await;
    trouble(&scene.home, bans.as_str(), "banned").await;
    trouble(&scene.home, closed.as_str(), "not_invited").await;
    trouble(&scene.home, nowhere, "no_such_room").await;
    let status = status_tells(&scene.home, "what keeps it from the far one", |status| {
        let rooms = status["rooms"].as_array().expect("rooms are told");
        rooms
            .iter()
            .any(|it| it["room"] == far && it["trouble"].is_object())
    });
    let told = status.await;
    let rooms = told["rooms"].as_array().expect("rooms are told");
    let far = rooms
        .iter()
        .find(|it| it["room"] == far)
        .expect("it is told");
    assert_eq!(far["trouble"]["reason"], "server_away");
}

#[tokio::test]
async fn nothing_moves_to_a_room_with_weaker_protection_before_the_configuration_names_its_id() {
    for (kind, preset, reason) in [
        (Kind::Encrypted, "private_chat", "successor_unencrypted"),
        (Kind::Plain, "public_chat", "successor_public"),
    ] {
        let (mut scene, alias) = by_alias(kind, "weaker").await;
        let old = scene.room.clone();
        let bot = std::slice::from_ref(&scene.bot);
        let predecessor = json!({"room_id": old, "event_id": "$last"});
        let fields = json!({"preset": preset, "creation_content": {"predecessor": predecessor}});
        let next = scene.alice.create_room_with(Kind::Plain, bot, fields).await;
        // The alias moves: the relay stays where it is, and says so.
        scene.alice.set_alias(&alias, &next).await;
        restart(&mut scene).await;
        let shown = trouble(&scene.home, old.as_str(), reason).await;
        assert_eq!(shown["trouble"]["successor"], next.as_str());
        let diagnosis = diagnosis(&scene.home).await;
        assert!(diagnosis.contains(next.as_str()), "{diagnosis}");
        scene.radio.says(BASE, 0, "still here").await;
        scene.alice.sees_text(&old, &mesh("still here")).await;
        // The room is replaced: what is said waits.
        entomb(
            &scene.alice,
            &old,
            json!({"body": "moved", "replacement_room": next}),
        )
        .await;
        let is_held = |told: &Value| {
            let rooms = told["rooms"].as_array().expect("rooms are told");
            let of_old = rooms.iter().find(|it| it["room"] == old.as_str());
            of_old.is_some_and(|it| it["to_matrix"]["outbox"]["waiting"] == 1)
        };
        // What is said there still goes on the air; with it the tombstone is read.
        scene.alice.send(&old, "over there").await;
        scene.radio.transmits("Alice[M]: over there").await;
        scene.radio.says(BASE, 0, "not for everybody").await;
        status_tells(&scene.home, "that it waits", is_held).await;
        trouble(&scene.home, old.as_str(), reason).await;
        assert_eq!(carried(&scene, &next).await, [] as [String; 0]);

        assert!(scene.relay.stop().await.success());
        scene.home.reconfigure(&alias, next.as_str());
        scene.relay = scene.home.start().await;
        scene
            .alice
            .sees_text(&next, &mesh("not for everybody"))
            .await;
        is_well(&scene.home).await;
        assert_eq!(carried(&scene, &next).await, [mesh("not for everybody")]);
    }
}

#[tokio::test]
async fn a_tombstone_leads_to_no_room_that_does_not_say_that_it_replaces_the_old_one() {
    let mut scene = Plan::one_room(Kind::Plain).start().await;
    let old = scene.room.clone();
    let bot = std::slice::from_ref(&scene.bot);
    let next = scene.alice.create_room(Kind::Plain, bot).await;
    let tombstone = json!({"body": "moved", "replacement_room": next});
    entomb(&scene.alice, &old, tombstone).await;
    let shown = trouble(&scene.home, old.as_str(), "successor_unconfirmed").await;
    assert_eq!(shown["trouble"]["successor"], next.as_str());
    scene.radio.says(BASE, 0, "waits").await;
    waiting(&scene.home, 1).await;
    assert_eq!(carried(&scene, &next).await, [] as [String; 0]);
    scene.home.reconfigure(old.as_str(), next.as_str());
    restart(&mut scene).await;
    scene.alice.sees_text(&next, &mesh("waits")).await;
    is_well(&scene.home).await;
}

#[tokio::test]
async fn a_room_that_is_taken_out_of_the_configuration_has_the_log_say_what_is_given_up() {
    let plan = Plan::default().room(Kind::Plain).room(Kind::Plain);
    let plan = plan.route(0, 0, "both").route(1, 1, "both");
    let mut scene = plan.start().await;
    let (old, other) = (scene.rooms[0].clone(), scene.rooms[1].clone());
    let next = upgrade(&scene.alice, &old).await;
    trouble(&scene.home, old.as_str(), "not_invited").await;
    scene.radio.says(BASE, 0, "waits").await;
    let waits = |told: &Value| told["outbox"]["to_matrix"]["waiting"] == 1;
    status_tells(&scene.home, "that it waits", waits).await;
    assert!(scene.relay.stop().await.success());
    let line = format!("- {{id: '{old}', meshtastic_channel: 0, direction: both}}");
    scene.home.reconfigure(&line, "");
    scene.relay = scene.home.start().await;
    let line = scene.relay.logs("what waited is given up").await;
    for word in [
        format!("room={old}"),
        format!("successor=\"{next}\""),
        "messages=1".to_owned(),
    ] {
        assert!(line.contains(&word), "{word} is missing: {line}");
    }
    let is_counted = |told: &Value| {
        let rooms = told["rooms"].as_array().expect("rooms are told");
        let old = rooms.iter().find(|it| it["room"] == old.as_str());
        old.is_some_and(|it| it["to_matrix"]["dropped"]["unmapped_room"] == 1)
    };
    status_tells(&scene.home, "that it is given up", is_counted).await;
    scene.radio.says(BASE, 1, "elsewhere").await;
    scene.alice.sees_text(&other, &mesh("elsewhere")).await;
}

#[tokio::test]
async fn an_alias_that_moves_takes_its_name_along() {
    let (mut scene, alias) = by_alias(Kind::Plain, "moving").await;
    let first = scene.room.clone();
    let bot = std::slice::from_ref(&scene.bot);
    let second = scene.alice.create_room(Kind::Plain, bot).await;
    for (round, room) in [&second, &first, &second].into_iter().enumerate() {
        scene.alice.set_alias(&alias, room).await;
        restart(&mut scene).await;
        let text = format!("round {round}");
        let is_there = |told: &Value| {
            let rooms = told["rooms"].as_array().expect("rooms are told");
            let mapped: Vec<_> = rooms.iter().filter(|it| it["mapped"] == true).collect();
            mapped.len() == 1 && mapped[0]["room"] == room.as_str() && mapped[0]["joined"] == true
        };
        status_tells(&scene.home, "one room, the right one", is_there).await;
        scene.radio.says(BASE, 0, &text).await;
        scene.alice.sees_text(room, &mesh(&text)).await;
    }
    // Also while the relay runs: being removed from a room makes it resolve the alias again.
    scene.alice.set_alias(&alias, &first).await;
    let room = scene
        .alice
        .client()
        .get_room(&second)
        .expect("Alice is in it");
    room.kick_user(&scene.bot, None)
        .await
        .expect("Alice may kick");
    let is_back = |told: &Value| {
        let rooms = told["rooms"].as_array().expect("rooms are told");
        let mapped: Vec<_> = rooms.iter().filter(|it| it["mapped"] == true).collect();
        mapped.len() == 1 && mapped[0]["room"] == first.as_str() && mapped[0]["joined"] == true
    };
    status_tells(&scene.home, "the first room again", is_back).await;
    scene.radio.says(BASE, 0, "and back").await;
    scene.alice.sees_text(&first, &mesh("and back")).await;
    assert_eq!(
        carried(&scene, &first).await,
        ["round 1", "and back"].map(mesh)
    );
}

#[tokio::test]
async fn an_alias_that_does_not_exist_is_a_matter_of_spelling_and_not_of_invitations() {
    let (mut scene, alias) = by_alias(Kind::Plain, "spelt").await;
    assert!(scene.relay.stop().await.success());
    let wrong = alias.replace("#spelt", "#spelled");
    scene.home.reconfigure(&alias, &wrong);
    scene.relay = scene.home.start().await;
    let shown = trouble(&scene.home, &wrong, "no_such_alias").await;
    let hint = shown["trouble"]["hint"].as_str().expect("a hint");
    assert!(hint.contains("check how it is written"), "{hint}");
    let diagnosis = diagnosis(&scene.home).await;
    assert!(
        diagnosis.contains("no such room alias") && !diagnosis.contains("invite"),
        "{diagnosis}"
    );
}

#[tokio::test]
async fn a_bot_that_was_put_out_of_a_public_room_comes_back_when_it_is_invited_and_not_before() {
    let mut stage = Plan::one_room(Kind::Plain).set_up().await;
    let bot = std::slice::from_ref(&stage.bot);
    let fields = json!({"preset": "public_chat"});
    let public = stage.alice.create_room_with(Kind::Plain, bot, fields).await;
    stage
        .home
        .reconfigure(stage.rooms[0].as_str(), public.as_str());
    stage.rooms = vec![public.clone()];
    let mut scene = stage.raise_the_curtain().await;
    let alice = scene
        .alice
        .client()
        .get_room(&public)
        .expect("Alice is in it");
    alice
        .kick_user(&scene.bot, Some("enough"))
        .await
        .expect("Alice may kick");
    trouble(&scene.home, public.as_str(), "put_out").await;
    let diagnosis = diagnosis(&scene.home).await;
    assert!(
        diagnosis.contains("was put out") && diagnosis.contains("again"),
        "{diagnosis}"
    );
    restart(&mut scene).await;
    trouble(&scene.home, public.as_str(), "put_out").await;
    let path = [
        "rooms",
        public.as_str(),
        "state",
        "m.room.member",
        scene.bot.as_str(),
    ];
    let member = scene.alice.request(Method::GET, &path, &json!({})).await;
    assert_eq!(member["membership"], "leave");
    // A new login knows nothing of it.
    assert!(scene.relay.stop().await.success());
    std::fs::remove_dir_all(scene.home.path("matrix")).expect("the login can be removed");
    let server = scene.alice.client().homeserver();
    let login = scene
        .home
        .log_in_as(server.as_str(), scene.bot.localpart(), PASSWORD);
    let output = login.await;
    assert!(output.status.success(), "{}", text_of(&output));
    scene.relay = scene.home.start().await;
    trouble(&scene.home, public.as_str(), "put_out").await;

    let joins = |scene: &Scene| {
        let seen = scene.alice.seen_of(&public, &scene.bot);
        let is_join = |seen: &&Seen| seen.content("/membership") == "join";
        seen.iter().filter(is_join).count()
    };
    assert_eq!(joins(&scene), 1);
    scene.alice.invite(&public, scene.bot.as_str()).await;
    is_well(&scene.home).await;
    scene.radio.says(BASE, 0, "here again").await;
    scene.alice.sees_text(&public, &mesh("here again")).await;
}

#[tokio::test]
async fn a_ban_is_for_an_admin_to_lift() {
    let mut scene = Plan::one_room(Kind::Plain).start().await;
    let alice = scene
        .alice
        .client()
        .get_room(&scene.room)
        .expect("Alice is in it");
    alice
        .ban_user(&scene.bot, None)
        .await
        .expect("Alice may ban");
    let shown = trouble(&scene.home, scene.room.as_str(), "banned").await;
    let hint = shown["trouble"]["hint"].as_str().expect("a hint");
    assert!(hint.contains("lift the ban"), "{hint}");
    scene.relay.logs("the bot is banned").await;
    scene.radio.says(BASE, 0, "meanwhile").await;
    waiting(&scene.home, 1).await;
    alice
        .unban_user(&scene.bot, None)
        .await
        .expect("Alice may unban");
    scene.alice.invite(&scene.room, scene.bot.as_str()).await;
    is_well(&scene.home).await;
    scene.alice.sees_text(&scene.room, &mesh("meanwhile")).await;
    scene.alice.send(&scene.room, "welcome back").await;
    scene.radio.transmits("Alice[M]: welcome back").await;
}

#[tokio::test]
async fn a_room_may_be_given_as_the_link_that_a_client_copies() {
    let stage = Plan::one_room(Kind::Plain).set_up().await;
    let room = stage.rooms[0].to_string();
    let link = format!("https://matrix.to/#/{room}?via=localhost");
    stage.home.reconfigure(&room, &link);
    let mut scene = stage.raise_the_curtain().await;
    scene.radio.says(BASE, 0, "over a link").await;
    scene
        .alice
        .sees_text(&scene.room, &mesh("over a link"))
        .await;
}

/// Maps a further room to channel 0.
fn map_too(home: &Home, room: &OwnedRoomId) {
    let line = format!("matrix_rooms:\n  - {{id: '{room}', meshtastic_channel: 0}}\n");
    home.reconfigure("matrix_rooms:\n", &line);
}

#[tokio::test]
async fn where_the_bot_may_only_knock_it_does_so_once_and_a_member_of_an_allowed_room_comes_in() {
    let stage = Plan::one_room(Kind::Plain).set_up().await;
    let with_rule = async |rule: Value| {
        let rule = json!({"type": "m.room.join_rules", "state_key": "", "content": rule});
        let fields = json!({"room_version": "10", "initial_state": [rule]});
        let room = stage.alice.create_room_with(Kind::Plain, &[], fields).await;
        map_too(&stage.home, &room);
        room
    };
    let allow = |room: &OwnedRoomId| json!([{"type": "m.room_membership", "room_id": room}]);
    let private = stage.alice.create_room(Kind::Plain, &[]).await;
    let knock = with_rule(json!({"join_rule": "knock"})).await;
    let either = json!({"join_rule": "knock_restricted", "allow": allow(&private)});
    let either = with_rule(either).await;
    let closed = json!({"join_rule": "restricted", "allow": allow(&private)});
    let closed = with_rule(closed).await;
    let open = json!({"join_rule": "restricted", "allow": allow(&stage.rooms[0])});
    let open = with_rule(open).await;
    let mut scene = stage.raise_the_curtain().await;
    scene.alice.sees_join(&open, &scene.bot).await;
    let shown = trouble(&scene.home, closed.as_str(), "restricted").await;
    let hint = shown["trouble"]["hint"].as_str().expect("a hint");
    assert!(hint.contains("into one of those rooms"), "{hint}");
    for room in [&knock, &either] {
        let shown = trouble(&scene.home, room.as_str(), "knocked").await;
        let hint = shown["trouble"]["hint"].as_str().expect("a hint");
        assert!(hint.contains("accept its request"), "{hint}");
    }
    restart(&mut scene).await;
    trouble(&scene.home, knock.as_str(), "knocked").await;
    for room in [&knock, &either] {
        scene.alice.invite(room, scene.bot.as_str()).await;
        scene.alice.sees_join(room, &scene.bot).await;
        let seen = scene.alice.seen_of(room, &scene.bot);
        let is_knock = |seen: &&Seen| seen.content("/membership") == "knock";
        assert_eq!(seen.iter().filter(is_knock).count(), 1);
    }
    scene.radio.says(BASE, 0, "to all").await;
    for room in [&knock, &either, &open] {
        scene.alice.sees_text(room, &mesh("to all")).await;
    }
}

#[tokio::test]
async fn rooms_of_the_versions_11_and_12_carry_both_ways_and_their_creators_have_their_power() {
    let plan = Plan::default().matrix("min_power_level: 100");
    let mut stage = plan.set_up().await;
    let bot = std::slice::from_ref(&stage.bot);
    let config = stage.home.path("config.yaml");
    let config = std::fs::read_to_string(config).expect("it was written");
    stage.home.configure(&format!("{config}matrix_rooms:\n"));
    for (version, kind) in [("11", Kind::Plain), ("12", Kind::Encrypted)] {
        let fields = json!({"room_version": version});
        let room = stage.alice.create_room_with(kind, bot, fields).await;
        // The ids of version 12 name no server.
        assert_eq!(room.as_str().contains(':'), version == "11");
        map_too(&stage.home, &room);
        stage.rooms.push(room);
    }
    let mut scene = stage.raise_the_curtain().await;
    scene.radio.says(BASE, 0, "hello").await;
    for (room, text) in [
        (&scene.rooms[0], "from eleven"),
        (&scene.rooms[1], "from twelve"),
    ] {
        scene.alice.sees_text(room, &mesh("hello")).await;
        scene.alice.send(room, text).await;
        scene.radio.transmits(&format!("Alice[M]: {text}")).await;
        // The bot may be kept from writing, in either.
        let levels = json!({"events_default": 50});
        scene.alice.set_levels(room, levels).await;
        trouble(&scene.home, room.as_str(), "may_not_write").await;
    }
}

#[tokio::test]
async fn a_room_that_becomes_encrypted_in_mid_conversation_goes_on_encrypted() {
    let mut scene = Plan::one_room(Kind::Plain).start().await;
    scene.radio.says(BASE, 0, "in the clear").await;
    let seen = scene
        .alice
        .sees_text(&scene.room, &mesh("in the clear"))
        .await;
    assert!(!seen.encrypted);
    let room = scene.alice.client().get_room(&scene.room);
    room.expect("Alice is in the room")
        .enable_encryption()
        .await
        .expect("Alice may encrypt the room");
    scene.alice.send(&scene.room, "in secret").await;
    scene.radio.transmits("Alice[M]: in secret").await;
    scene.radio.says(BASE, 0, "understood").await;
    let answer = scene
        .alice
        .sees_text(&scene.room, &mesh("understood"))
        .await;
    assert!(answer.encrypted);
    is_well(&scene.home).await;
}

#[tokio::test]
async fn with_invites_off_no_invitation_is_accepted_and_the_status_says_so() {
    let plan = Plan::one_room(Kind::Plain).matrix("invites: none");
    let stage = plan.set_up().await;
    let mut relay = stage.home.start().await;
    let shown = trouble(&stage.home, stage.rooms[0].as_str(), "invites_off").await;
    assert_eq!(shown["joined"], false);
    assert!(relay.stop().await.success());
}
