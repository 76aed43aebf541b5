//! `relay doctor` and `relay config check --online`: while parts are broken one by one, each is told as it is, with its cure,
//! beside a running relay and without one.

use std::os::unix::fs::FileExt as _;
use std::process::Output;
use std::time::{Duration, Instant};

use matrix_sdk::reqwest;
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::support::process::PortHolder;
use crate::support::radio::{BASE, Radio};
use crate::support::relay::{Home, text_of};
use crate::support::scene::{Plan, Stage};
use crate::support::synapse::{Synapse, Trouble};
use crate::support::user::Kind;

/// Longer than any probe's limit, on a busy machine.
const SOON: Duration = Duration::from_secs(45);

fn json_of(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", text_of(output)))
}

/// Examines a home; checks that lines, JSON and exit code agree.
async fn examine(home: &Home, arguments: &[&str]) -> Value {
    let lines = home.run(arguments.iter().copied()).await;
    let output = home.run(arguments.iter().copied().chain(["--json"])).await;
    let report = json_of(&output);
    let (text, code) = (text_of(&lines), output.status.code());
    assert_eq!(lines.status.code(), code, "{text}\n{report:#}");
    assert_eq!(code == Some(0), report["healthy"] == true, "{report:#}");
    let summary = report["summary"].as_str().expect("there is a summary");
    let begins = if code == Some(0) {
        "healthy: "
    } else {
        "not healthy: "
    };
    assert!(summary.starts_with(begins), "{summary}");
    let last = text.lines().find(|line| line.starts_with(begins));
    assert!(last.is_some(), "{text}");
    for check in checks(&report).iter().filter(|it| is_sick(it)) {
        let name = check["name"].as_str().expect("a name").replace('_', " ");
        let is_told = |line: &str| line.starts_with(&name);
        assert!(text.lines().any(is_told), "{name} is not in {text}");
        assert!(
            check["hint"].is_string() || check["text"].as_str().is_some_and(|it| it.contains('`')),
            "{check:#} names no cure"
        );
    }
    report
}

fn checks(report: &Value) -> &Vec<Value> {
    report["checks"].as_array().expect("there are checks")
}

fn is_sick(check: &Value) -> bool {
    check["result"] == "failed" || check["result"] == "timed_out"
}

/// Returns the names of what is sick, each once.
fn sick(report: &Value) -> Vec<&str> {
    let sick = checks(report).iter().filter(|it| is_sick(it));
    let mut names: Vec<&str> = sick.filter_map(|it| it["name"].as_str()).collect();
    names.dedup();
    names
}

/// Returns a check's result, text and hint.
fn check<'a>(report: &'a Value, name: &str) -> (&'a str, String, String) {
    let found = checks(report).iter().find(|it| it["name"] == name);
    let found = found.unwrap_or_else(|| panic!("no check {name}: {report:#}"));
    let text = |key: &str| found[key].as_str().unwrap_or_default().to_owned();
    (
        found["result"].as_str().expect("a result"),
        text("text"),
        text("hint"),
    )
}

/// Waits until an examination finds just this to be sick.
async fn finds(home: &Home, expected: &[&str]) -> Value {
    let end = Instant::now() + SOON;
    loop {
        let report = examine(home, &["doctor"]).await;
        if sick(&report) == expected {
            return report;
        }
        assert!(Instant::now() < end, "expected {expected:?}: {report:#}");
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}

fn session_of(home: &Home) -> Value {
    let text = std::fs::read_to_string(home.path("matrix/session.json")).expect("a session");
    serde_json::from_str(&text).expect("JSON")
}

#[tokio::test]
async fn while_all_is_well_it_says_so_beside_a_relay_and_without_one() {
    let mut scene = Plan::one_room(Kind::Encrypted).start().await;
    let report = finds(&scene.home, &[]).await;
    for (name, word) in [
        ("configuration", "no mistakes"),
        ("home", "for its owner only"),
        ("disk", "free"),
        ("database", "no damage found"),
        ("daemon", "process"),
        ("event_loop", "at work"),
        ("storing", "can be written"),
        ("homeserver", "Matrix up to v1."),
        ("clock", "agrees"),
        ("session", scene.bot.as_str()),
        ("verification", "verified by its owner"),
        ("key_backup", "are backed up"),
        ("sync", "last answer"),
        ("room", "joined, encrypted, may send, version"),
        ("radio", "ready for"),
        ("region", "US"),
        ("channels", "0 (LongFast)"),
        ("radio_time", "gives it"),
    ] {
        let (result, text, _) = check(&report, name);
        assert_eq!(result, "ok", "{name}: {report:#}");
        assert!(text.contains(word), "{name}: {text}");
    }
    let token = session_of(&scene.home);
    let token = token["access_token"].as_str().expect("a token");
    assert!(!report.to_string().contains(token));

    assert!(scene.relay.stop().await.success());
    let report = finds(&scene.home, &[]).await;
    assert_eq!(check(&report, "daemon").0, "skipped");
    for (name, word) in [
        ("database", "no damage found"),
        ("session", scene.bot.as_str()),
        ("room", "joined, encrypted, may send, version"),
        ("radio", "firmware 2.7"),
        ("region", "US"),
        ("channels", "0 (LongFast)"),
    ] {
        let (result, text, _) = check(&report, name);
        assert_eq!(result, "ok", "{name}: {report:#}");
        assert!(text.contains(word), "{name}: {text}");
    }
    for (side, other) in [("matrix", "radio"), ("radio", "matrix")] {
        let report = examine(&scene.home, &["doctor", side]).await;
        assert!(
            checks(&report).iter().all(|it| it["side"] != other),
            "{report:#}"
        );
        assert!(
            checks(&report).iter().any(|it| it["side"] == side),
            "{report:#}"
        );
    }
    let mut person = scene.home.at_terminal(["doctor"]);
    person.sees("healthy: ").await;
}

#[tokio::test]
async fn a_homeserver_that_is_away_or_hangs_is_told_within_seconds() {
    let (synapse, _trouble) = Synapse::unreliable().await;
    let stage = Plan::one_room(Kind::Plain).set_up_on(synapse).await;
    synapse.does(Trouble::Stop);
    let report = finds(&stage.home, &["homeserver"]).await;
    let (result, text, hint) = check(&report, "homeserver");
    assert_eq!(result, "failed");
    assert!(text.contains("cannot reach the homeserver"), "{text}");
    assert!(hint.contains("the network"), "{hint}");
    for name in ["session", "verification", "key_backup", "room"] {
        let (result, text, _) = check(&report, name);
        assert_eq!(result, "skipped", "{name}");
        assert!(text.contains("the homeserver does not answer"), "{text}");
    }
    assert_eq!(check(&report, "radio").0, "ok");

    synapse.does(Trouble::Start);
    synapse.answers().await;
    let scene = stage.raise_the_curtain().await;
    synapse.does(Trouble::Hang);
    let begun = Instant::now();
    let report = json_of(&scene.home.run(["doctor", "--json"]).await);
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
    let (result, text, hint) = check(&report, "homeserver");
    assert_eq!(result, "timed_out");
    assert!(text.contains("gave no answer within 10 s"), "{text}");
    assert!(hint.contains("whether it runs"), "{hint}");
    assert_eq!(check(&report, "radio").0, "ok");
    synapse.does(Trouble::Resume);
    finds(&scene.home, &[]).await;
}

#[tokio::test]
async fn a_login_page_in_the_homeservers_place_is_taken_for_what_it_is() {
    let stage = Plan::one_room(Kind::Plain).set_up().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let mut portal = JoinSet::new();
    portal.spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let mut request = [0; 2048];
            if client.read(&mut request).await.is_err() {
                continue;
            }
            let page = "<html>Welcome to our network</html>";
            let length = page.len();
            let answer = format!("HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{page}");
            client.write_all(answer.as_bytes()).await.ok();
        }
    });
    let mut session = session_of(&stage.home);
    session["homeserver"] = format!("http://127.0.0.1:{port}").into();
    let file = stage.home.path("matrix/session.json");
    std::fs::write(file, session.to_string()).expect("it can be written");
    let report = examine(&stage.home, &["doctor", "matrix"]).await;
    let (result, text, hint) = check(&report, "homeserver");
    assert_eq!(result, "failed");
    assert!(text.contains("it is not a Matrix homeserver"), "{text}");
    assert!(hint.contains("login page of a network"), "{hint}");
    assert_eq!(sick(&report), ["homeserver"]);
}

#[tokio::test]
async fn a_login_that_was_ended_elsewhere_is_told_beside_a_relay_and_without_one() {
    let mut scene = Plan::one_room(Kind::Plain).start().await;
    let session = session_of(&scene.home);
    let (server, token) = (&session["homeserver"], &session["access_token"]);
    let url = format!(
        "{}_matrix/client/v3/logout",
        server.as_str().expect("a URL")
    );
    let ended = reqwest::Client::new().post(url).body("{}");
    let ended = ended
        .bearer_auth(token.as_str().expect("a token"))
        .send()
        .await;
    assert!(ended.expect("it answers").status().is_success());
    scene.relay.logs("Matrix cannot be used now").await;
    let report = finds(&scene.home, &["session"]).await;
    assert_eq!(check(&report, "homeserver").0, "ok");
    // One cause is one failure.
    let (result, text, _) = check(&report, "sync");
    assert_eq!(result, "skipped");
    assert!(text.contains("see above"), "{text}");
    scene.relay.stop().await;
    let report = finds(&scene.home, &["session"]).await;
    let (_, text, _) = check(&report, "session");
    assert!(text.contains("does not accept the login of"), "{text}");
    assert!(text.contains("`relay auth login --force"), "{text}");
    for name in ["verification", "key_backup", "room"] {
        assert_eq!(check(&report, name).0, "skipped", "{name}");
    }
}

#[tokio::test]
async fn a_radio_that_is_away_is_told_beside_a_relay_and_without_one() {
    let mut scene = Plan::one_room(Kind::Plain).start().await;
    scene.radio.end().await;
    scene.relay.logs("Connection refused").await;
    let report = finds(&scene.home, &["radio"]).await;
    let (_, text, hint) = check(&report, "radio");
    assert!(
        text.contains("away for") && text.contains("refused"),
        "{text}"
    );
    assert!(hint.contains("check its power"), "{hint}");
    assert_eq!(check(&report, "channels").0, "skipped");
    scene.relay.stop().await;
    let report = finds(&scene.home, &["radio"]).await;
    let (result, text, hint) = check(&report, "radio");
    assert_eq!(result, "failed");
    assert!(text.contains("cannot reach the radio"), "{text}");
    assert!(hint.contains("relay radio scan"), "{hint}");
}

#[tokio::test]
async fn a_radio_that_accepts_and_says_nothing_is_told_within_seconds() {
    let stage = Plan::one_room(Kind::Plain).set_up().await;
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = silent.local_addr().expect("an address").port();
    let before = format!("port: {}", stage.radio.port());
    stage.home.reconfigure(&before, &format!("port: {port}"));
    let report = examine(&stage.home, &["doctor", "radio"]).await;
    let (result, text, hint) = check(&report, "radio");
    assert_eq!(result, "timed_out", "{report:#}");
    assert!(
        text.contains("connected, but nothing came within 15 s"),
        "{text}"
    );
    assert!(hint.contains("check the host and the port"), "{hint}");

    // Beside a relay that waits for it, too.
    let scene = stage.raise_the_curtain().await;
    let report = finds(&scene.home, &["radio"]).await;
    let (result, text, _) = check(&report, "radio");
    assert_eq!(result, "failed", "{report:#}");
    assert!(text.contains("away for"), "{text}");
    assert_eq!(check(&report, "channels").0, "skipped");
    drop(silent);
}

#[tokio::test]
async fn a_serial_port_in_use_is_told_with_its_user() {
    let stage = Plan::one_room(Kind::Plain).over_serial().set_up().await;
    let holder = PortHolder::open(&stage.home.path("radio"), true);
    let report = examine(&stage.home, &["doctor", "radio"]).await;
    let (result, text, hint) = check(&report, "radio");
    assert_eq!(result, "failed");
    let named = format!("is in use by {}", holder.name());
    assert!(text.contains(&named), "{text}");
    assert!(hint.contains("only one program can have it"), "{hint}");
    drop(holder);
    let report = examine(&stage.home, &["doctor", "radio"]).await;
    assert_eq!(check(&report, "radio").0, "ok", "{report:#}");
}

#[tokio::test]
async fn a_missing_channel_and_a_missing_region_are_told_beside_a_relay_and_without_one() {
    let plan = Plan::one_room(Kind::Plain).route(0, "Nowhere", "both");
    let mut stage = plan.set_up().await;
    stage.radio.fault(json!({"fault": "region_unset"})).await;
    let told = |report: &Value| {
        let (_, text, hint) = check(report, "region");
        assert!(text.contains("the radio has no region"), "{text}");
        assert!(hint.contains("set lora.region on it"), "{hint}");
        let (_, text, hint) = check(report, "channels");
        assert!(text.contains("no channel named `Nowhere`"), "{text}");
        assert!(hint.contains("matrix_rooms"), "{hint}");
    };
    told(&finds(&stage.home, &["region", "channels"]).await);
    let scene = stage.raise_the_curtain().await;
    told(&finds(&scene.home, &["region", "channels"]).await);
}

/// Replaces the configured room.
fn maps(stage: &Stage, before: &str, after: &str) {
    stage.home.reconfigure(before, after);
}

#[tokio::test]
async fn a_room_that_the_bot_is_not_in_is_told_with_what_lets_it_in() {
    let stage = Plan::one_room(Kind::Plain).set_up().await;
    let invited = stage.rooms[0].to_string();
    let report = finds(&stage.home, &[]).await;
    let (result, text, _) = check(&report, "room");
    assert_eq!(result, "warning");
    assert!(text.contains("is invited and not in it yet"), "{text}");

    let private = stage.alice.create_room(Kind::Plain, &[]).await.to_string();
    maps(&stage, &invited, &private);
    let report = finds(&stage.home, &["room"]).await;
    let (_, text, hint) = check(&report, "room");
    assert!(
        text.starts_with(&format!("{private}: the bot is not invited")),
        "{text}"
    );
    assert!(hint.contains(stage.bot.as_str()), "{hint}");

    let open = json!({"preset": "public_chat"});
    let open = stage
        .alice
        .create_room_with(Kind::Plain, &[], open)
        .await
        .to_string();
    maps(&stage, &private, &open);
    let report = finds(&stage.home, &[]).await;
    let (result, text, _) = check(&report, "room");
    assert_eq!(result, "warning");
    assert!(
        text.contains("not in it yet, and anyone may join"),
        "{text}"
    );

    maps(&stage, &open, "#nowhere:localhost");
    let report = finds(&stage.home, &["room"]).await;
    let (_, text, hint) = check(&report, "room");
    assert!(text.contains("no such room alias"), "{text}");
    assert!(hint.contains("check how it is written"), "{hint}");
    let checks = checks(&report);
    assert!(
        checks
            .iter()
            .any(|it| it["subject"] == "#nowhere:localhost")
    );
}

#[tokio::test]
async fn what_the_bot_may_not_do_in_a_room_is_told_beside_a_relay_and_without_one() {
    let mut scene = Plan::one_room(Kind::Plain).start().await;
    let (alice, room) = (&scene.alice, &scene.room);
    let rules = ["rooms", room.as_str(), "state", "m.room.join_rules"];
    let method = reqwest::Method::PUT;
    alice
        .request(method, &rules, &json!({"join_rule": "public"}))
        .await;
    let levels = json!({"events": {"m.reaction": 50}});
    alice.set_levels(room, levels).await;
    let report = finds(&scene.home, &[]).await;
    let (result, text, hint) = check(&report, "room");
    assert_eq!(result, "warning");
    assert!(
        text.contains("show no signs") && text.contains("anyone may join"),
        "{text}"
    );
    assert!(
        hint.contains("m.reaction") && hint.contains("matrix.allowed_users"),
        "{hint}"
    );

    alice.set_levels(room, json!({"events_default": 50})).await;
    let told = |report: &Value| {
        let (_, text, hint) = check(report, "room");
        assert!(text.contains("the bot may not write there"), "{text}");
        assert!(hint.contains("power level"), "{hint}");
    };
    told(&finds(&scene.home, &["room"]).await);
    scene.relay.stop().await;
    told(&finds(&scene.home, &["room"]).await);

    let path = ["rooms", room.as_str(), "kick"];
    let body = json!({"user_id": scene.bot});
    alice.request(reqwest::Method::POST, &path, &body).await;
    let report = finds(&scene.home, &["room"]).await;
    let (_, text, hint) = check(&report, "room");
    assert!(text.contains("was put out of the room by"), "{text}");
    assert!(hint.contains("invite"), "{hint}");
}

#[tokio::test]
async fn a_broken_database_and_a_broken_configuration_are_told() {
    let mut scene = Plan::one_room(Kind::Plain).start().await;
    scene.relay.stop().await;
    let path = scene.home.path("database/relay.sqlite");
    let file = std::fs::File::options().write(true).open(&path);
    let file = file.expect("there is a database");
    let length = file.metadata().expect("it has a size").len();
    for page in 1..length / 4096 {
        let written = file.write_all_at(&[0x5A; 512], page * 4096);
        written.expect("it can be written");
    }
    let report = finds(&scene.home, &["database"]).await;
    let (_, text, hint) = check(&report, "database");
    assert!(text.contains("the database is damaged"), "{text}");
    assert!(hint.contains("keep a copy"), "{hint}");

    scene.home.reconfigure("matrix_rooms:", "matrix_room:");
    let output = scene.home.run(["doctor", "--json"]).await;
    assert_eq!(output.status.code(), Some(2), "{}", text_of(&output));
    let report = json_of(&output);
    let (result, text, hint) = check(&report, "configuration");
    assert_eq!(result, "failed");
    assert!(text.contains("matrix_room"), "{text}");
    assert!(hint.contains("relay config check"), "{hint}");
    assert_eq!(check(&report, "session").0, "ok");
    assert_eq!(check(&report, "radio").0, "skipped");
}

#[tokio::test]
async fn a_relay_that_hangs_is_told_and_its_radio_is_left_alone() {
    let scene = Plan::one_room(Kind::Plain).start().await;
    scene.relay.signal(Signal::STOP);
    let output = scene.home.run(["doctor", "--json"]).await;
    scene.relay.signal(Signal::CONT);
    let report = json_of(&output);
    assert_eq!(sick(&report), ["daemon"], "{report:#}");
    let (result, text, _) = check(&report, "daemon");
    assert_eq!(result, "timed_out");
    assert!(text.contains("the running relay gave no answer"), "{text}");
    let (result, text, _) = check(&report, "radio");
    assert_eq!(result, "skipped");
    assert!(text.contains("holds the radio"), "{text}");
    assert_eq!(check(&report, "room").0, "ok");
    finds(&scene.home, &[]).await;
}

#[tokio::test]
async fn what_the_radio_hands_over_to_the_doctor_is_posted_when_the_relay_runs() {
    let mut stage = Plan::one_room(Kind::Plain).set_up().await;
    // A radio keeps messages only for a client that was there before.
    examine(&stage.home, &["doctor", "radio"]).await;
    stage.radio.says(BASE, 0, "kept for somebody").await;
    let output = stage.home.run(["doctor", "radio", "--json"]).await;
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("kept for somebody"), "{said}");
    let report = json_of(&output);
    assert!(!report.to_string().contains("kept for somebody"));
    let (result, text, _) = check(&report, "handed_over");
    assert_eq!(result, "ok", "{text}");
    assert!(text.contains("stored, to be posted"), "{text}");
    let scene = stage.raise_the_curtain().await;
    let posted = "[Base Camp/LongFast]: kept for somebody";
    scene.alice.sees_text(&scene.room, posted).await;
}

#[tokio::test]
async fn a_configuration_is_tried_online() {
    let stage = Plan::one_room(Kind::Plain).set_up().await;
    let online = ["config", "check", "--online"];
    let output = stage.home.run(online).await;
    let text = text_of(&output);
    assert_eq!(output.status.code(), Some(0), "{text}");
    for words in [
        "no mistakes",
        "accepts the login",
        "is invited",
        "0 (LongFast)",
        "healthy: ",
    ] {
        assert!(text.contains(words), "{words} is not in {text}");
    }
    let output = stage.home.run(online.iter().chain(&["--json"])).await;
    let told = json_of(&output);
    assert_eq!(
        (&told["valid"], &told["online"]["healthy"]),
        (&true.into(), &true.into())
    );

    std::fs::remove_dir_all(stage.home.path("matrix")).expect("it can be removed");
    let output = stage.home.run(online.iter().chain(&["--json"])).await;
    assert_eq!(output.status.code(), Some(1), "{}", text_of(&output));
    let told = &json_of(&output)["online"];
    assert_eq!(sick(told), ["session"]);
    assert!(check(told, "session").2.contains("relay auth login"));
    assert_eq!(check(told, "room").0, "skipped");
    assert_eq!(check(told, "radio").0, "ok");

    stage
        .home
        .reconfigure("meshtastic_channel", "meshtastic_chanel");
    let output = stage.home.run(online).await;
    assert_eq!(output.status.code(), Some(2), "{}", text_of(&output));
}

#[tokio::test]
async fn without_anything_it_says_where_to_begin() {
    let home = Home::new();
    let output = home.run(["doctor"]).await;
    let text = text_of(&output);
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(text.contains("relay config generate"), "{text}");
    assert!(text.contains("relay auth login"), "{text}");
    let radio = Radio::start().await;
    home.configure(&format!(
        "matrix_rooms: [{{id: '#a:localhost', meshtastic_channel: 0}}]\n\
         meshtastic: {{connection_type: tcp, host: 127.0.0.1, port: {}}}\n",
        radio.port()
    ));
    let report = finds(&home, &["session"]).await;
    assert_eq!(check(&report, "homeserver").0, "skipped");
    assert_eq!(check(&report, "database").0, "skipped");
}

#[tokio::test]
async fn of_a_file_that_the_relay_does_not_follow_yet_nothing_is_said_to_be_well() {
    let scene = Plan::one_room(Kind::Plain).start().await;
    let report = finds(&scene.home, &[]).await;
    assert_eq!(check(&report, "followed").0, "ok");
    let config = std::fs::read_to_string(scene.home.path("config.yaml")).expect("it was written");
    let port = scene.radio.port().to_string();
    scene.home.configure(&config.replace(&port, "1"));
    let file = std::fs::File::options()
        .write(true)
        .open(scene.home.path("config.yaml"))
        .expect("it is there");
    let later = std::time::SystemTime::now() + Duration::from_mins(1);
    file.set_modified(later).expect("it is ours");
    for command in [&["doctor"][..], &["doctor", "radio"]] {
        let report = examine(&scene.home, command).await;
        let (result, text, hint) = check(&report, "followed");
        assert_eq!(result, "warning", "{text}");
        assert!(hint.contains("SIGHUP"), "{hint}");
        let (result, text, _) = check(&report, "radio");
        assert_eq!(result, "warning", "{text}");
        assert!(text.contains("not tried"), "{text}");
    }
}
