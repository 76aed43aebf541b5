//! `relay status` and `relay doctor --quick`: the running daemon's answers are true, and set exit codes.

use std::process::Output;
use std::time::Duration;

use serde_json::Value;

use crate::support::LIMIT;
use crate::support::forwarder::Forwarder;
use crate::support::radio::{BASE, Radio};
use crate::support::relay::{Home, text_of};
use crate::support::scene::Plan;
use crate::support::synapse::{PASSWORD, Synapse};
use crate::support::user::{Kind, User};

fn json_of(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", text_of(output)))
}

/// Polls until the daemon's answer is as expected.
pub(crate) async fn tells(
    home: &Home,
    command: &[&str],
    what: &str,
    is: impl Fn(&Value) -> bool,
) -> Value {
    let mut last = Value::Null;
    let asking = async {
        loop {
            let output = home.run(command.iter().copied().chain(["--json"])).await;
            last = json_of(&output);
            if is(&last) {
                return last.clone();
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let told = tokio::time::timeout(LIMIT, asking).await;
    told.unwrap_or_else(|_| panic!("{command:?} never told {what}: {last:#}"))
}

/// Polls `relay status` until it is as expected.
pub(crate) async fn status_tells(home: &Home, what: &str, is: impl Fn(&Value) -> bool) -> Value {
    tells(home, &["status"], what, is).await
}

/// Returns a check of `doctor --quick`.
pub(crate) fn check<'a>(health: &'a Value, name: &str) -> &'a Value {
    let checks = health["checks"].as_array().expect("there are checks");
    let found = checks.iter().find(|check| check["name"] == name);
    found.unwrap_or_else(|| panic!("no check {name}: {health:#}"))
}

#[tokio::test]
async fn while_both_sides_work_it_tells_what_was_carried_each_way() {
    let mut scene = Plan::one_room(Kind::Encrypted).start().await;
    scene.radio.says(BASE, 0, "secret words").await;
    scene
        .alice
        .sees_text(&scene.room, "[Base Camp/LongFast]: secret words")
        .await;
    scene.alice.send(&scene.room, "hidden words").await;
    scene.radio.transmits("Alice[M]: hidden words").await;
    scene.alice.send(&scene.room, "!ping").await;
    scene.alice.send(&scene.room, "// hidden words").await;

    let told = status_tells(&scene.home, "all of it", |told| {
        let room = &told["rooms"][0];
        room["to_matrix"]["relayed"] == 1
            && room["to_mesh"]["relayed"] == 1
            && room["to_mesh"]["refused"]["command"] == 1
            && room["to_mesh"]["dropped"]["off_air"] == 1
            && told["outbox"]["to_mesh"]["waiting"] == 0
    })
    .await;
    assert_eq!(told["radio"]["state"], "ready");
    assert!(told["radio"]["cause"].is_null());
    assert!(told["radio"]["firmware"].is_string() && told["radio"]["name"].is_string());
    assert_eq!(told["matrix"]["state"], "connected");
    assert_eq!(told["matrix"]["account"], scene.bot.as_str());
    assert_eq!(told["matrix"]["device_trust"], "verified");
    assert_eq!(told["database"]["ok"], true);
    let room = &told["rooms"][0];
    assert_eq!(room["room"], scene.room.as_str());
    assert_eq!(
        (&room["joined"], &room["encrypted"]),
        (&true.into(), &true.into())
    );
    let channel = &told["channels"][0];
    assert_eq!(
        (&channel["channel"], &channel["name"]),
        (&0.into(), &"LongFast".into())
    );
    assert_eq!(channel["to_matrix"]["relayed"], 1);
    assert_eq!(channel["to_mesh"]["relayed"], 1);

    let output = scene.home.run(["status"]).await;
    let text = text_of(&output);
    assert_eq!(output.status.code(), Some(0), "{text}");
    for word in [
        ", ready for",
        "connected",
        "1 relayed",
        "verified by its owner",
    ] {
        assert!(text.contains(word), "{word} is missing in {text}");
    }
    let all = format!("{text}{told}");
    let token = std::fs::read_to_string(scene.home.path("matrix/session.json"));
    let token: Value = serde_json::from_str(&token.expect("there is a session")).expect("JSON");
    for secret in [
        "secret words",
        "hidden words",
        token["access_token"].as_str().expect("a token"),
    ] {
        assert!(!all.contains(secret), "{secret} is told");
    }

    let output = scene.home.run(["doctor", "--quick"]).await;
    assert_eq!(output.status.code(), Some(0), "{}", text_of(&output));
}

#[tokio::test]
async fn a_radio_that_is_away_is_told_with_its_cause_and_makes_the_relay_unhealthy_in_the_end() {
    let mut stage = Plan::one_room(Kind::Plain).set_up().await;
    let config = std::fs::read_to_string(stage.home.path("config.yaml")).expect("it was written");
    stage
        .home
        .configure(&format!("{config}health: {{radio_away: 3s}}\n"));
    let port = stage.radio.port();
    stage.radio.end().await;
    let mut scene = stage.raise_the_curtain().await;
    let told = status_tells(&scene.home, "why the radio is away", |told| {
        told["radio"]["cause"].is_string()
    })
    .await;
    assert_ne!(told["radio"]["state"], "ready");
    scene.alice.send(&scene.room, "waits").await;
    let waits = |told: &Value| told["rooms"][0]["to_mesh"]["outbox"]["waiting"] == 1;
    let told = status_tells(&scene.home, "that a message waits", waits).await;
    assert_eq!(told["outbox"]["to_mesh"]["waiting"], 1);
    assert!(told["outbox"]["to_mesh"]["oldest_seconds"].is_number());

    let doctor = ["doctor", "--quick"];
    let sick = |told: &Value| told["healthy"] == false;
    let told = tells(&scene.home, &doctor, "that it is unhealthy", sick).await;
    assert_eq!(check(&told, "radio")["result"], "failed");
    assert_eq!(check(&told, "database")["result"], "ok");
    let output = scene.home.run(doctor).await;
    let text = text_of(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("hint: "), "{text}");

    scene.radio = Radio::start_on(port).await;
    scene.radio.transmits("Alice[M]: waits").await;
    let well = |told: &Value| told["healthy"] == true;
    tells(&scene.home, &doctor, "that it is well again", well).await;
}

#[tokio::test]
async fn a_room_that_the_bot_was_thrown_out_of_is_told_until_it_is_back() {
    let scene = Plan::one_room(Kind::Plain).start().await;
    let is = |joined: bool| move |told: &Value| told["rooms"][0]["joined"] == joined;
    status_tells(&scene.home, "that it is in the room", is(true)).await;
    let room = scene.alice.client().get_room(&scene.room);
    let room = room.expect("Alice is in the room");
    room.kick_user(&scene.bot, None)
        .await
        .expect("Alice may kick");
    status_tells(&scene.home, "that it is not", is(false)).await;
    let sick = |told: &Value| told["healthy"] == false;
    let output = tells(&scene.home, &["doctor", "--quick"], "that", sick).await;
    assert_eq!(check(&output, "rooms")["result"], "failed");
    room.invite_user_by_id(&scene.bot)
        .await
        .expect("Alice may invite");
    status_tells(&scene.home, "that it is back", is(true)).await;
}

#[tokio::test]
async fn without_a_daemon_it_says_so_with_the_cure() {
    let home = Home::new();
    let output = home.run(["status"]).await;
    let text = text_of(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(output.stdout.is_empty(), "{text}");
    assert!(text.contains("no relay is running in"), "{text}");
    assert!(
        text.contains("hint: start it with `relay run --home "),
        "{text}"
    );

    let output = home.run(["doctor", "--quick", "--json"]).await;
    assert_eq!(output.status.code(), Some(1), "{}", text_of(&output));
    assert_eq!(json_of(&output)["healthy"], false);
}

#[tokio::test]
async fn a_daemon_that_was_killed_leaves_a_socket_that_the_next_one_replaces() {
    let mut scene = Plan::one_room(Kind::Plain).start().await;
    scene.relay.kill().await;
    assert!(scene.home.path("relay.sock").exists());
    let output = scene.home.run(["status"]).await;
    let text = text_of(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("no relay is running in"), "{text}");

    scene.relay = scene.home.start().await;
    assert_eq!(scene.home.run(["status"]).await.status.code(), Some(0));

    // A second daemon is refused, and does not touch the first one's socket.
    let output = scene.home.run(["run"]).await;
    assert_eq!(output.status.code(), Some(1), "{}", text_of(&output));
    assert_eq!(scene.home.run(["status"]).await.status.code(), Some(0));

    assert!(scene.relay.stop().await.success());
    assert!(!scene.home.path("relay.sock").exists());
}

#[tokio::test]
async fn a_homeserver_that_is_away_is_told_and_is_no_reason_to_restart_the_relay() {
    let synapse = Synapse::shared().await;
    let port = synapse
        .url()
        .rsplit(':')
        .next()
        .and_then(|it| it.parse().ok());
    let way = Forwarder::to(port.expect("the server has a port")).await;
    let home = Home::new();
    let username = synapse.register("bot").await;
    let server = format!("http://127.0.0.1:{}", way.port());
    let output = home.log_in_as(&server, &username, PASSWORD).await;
    assert!(output.status.success(), "{}", text_of(&output));
    let alice = User::new(synapse, "Alice").await;
    let bot = format!("@{username}:localhost").parse().expect("a user");
    let room = alice.create_room(Kind::Plain, &[bot]).await;
    let mut radio = Radio::start().await;
    home.configure(&format!(
        "matrix_rooms: [{{id: '{room}', meshtastic_channel: 0}}]\n\
         meshtastic: {{connection_type: tcp, host: 127.0.0.1, port: {}}}\n",
        radio.port()
    ));
    let relay = home.start().await;
    relay.logs("room joined room=").await;

    way.cut();
    let away = |told: &Value| told["matrix"]["state"] == "away";
    let told = status_tells(&home, "that the homeserver is away", away).await;
    assert!(told["matrix"]["cause"].is_string());
    radio.says(BASE, 0, "kept").await;
    let waits = |told: &Value| told["rooms"][0]["to_matrix"]["outbox"]["waiting"] == 1;
    let told = status_tells(&home, "that a message waits", waits).await;
    assert_eq!(told["outbox"]["to_matrix"]["waiting"], 1);
    let output = home.run(["doctor", "--quick", "--json"]).await;
    assert_eq!(output.status.code(), Some(0), "{}", text_of(&output));
    assert_eq!(check(&json_of(&output), "matrix")["result"], "warning");

    way.mend();
    alice.sees_text(&room, "[Base Camp/LongFast]: kept").await;
    let back = |told: &Value| told["matrix"]["state"] == "connected";
    status_tells(&home, "that the homeserver is back", back).await;
}
