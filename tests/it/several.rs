//! Several relays on one host: none takes a radio, a file or a device of another one, and each says who holds it.

use std::fs;
use std::path::Path;

use rustix::process::Signal;

use crate::status::{check, status_tells, tells};
use crate::support::radio::{BASE, Radio};
use crate::support::relay::{Home, Relay, text_of};
use crate::support::scene::{Plan, Scene};
use crate::support::synapse::{PASSWORD, Synapse};
use crate::support::user::Kind;

/// A second home whose relay is nobody in Matrix, with these keys for its radio.
fn second(keys: &str) -> Home {
    let home = Home::new();
    home.configure(&format!(
        "matrix_rooms: [{{id: '!room:localhost', meshtastic_channel: 0}}]\nmeshtastic: {{{keys}}}\n"
    ));
    home
}

fn path_of(home: &Home) -> String {
    let path = home.path("").display().to_string();
    path.trim_end_matches('/').to_owned()
}

/// Who a relay is, as others are told.
fn told_of(home: &Home, relay: &Relay) -> String {
    let pid = relay.pid().as_raw_nonzero();
    format!("the relay in `{}` (process {pid}, since ", path_of(home))
}

async fn carries(scene: &mut Scene, text: &str) {
    scene.radio.says(BASE, 0, text).await;
    let shown = format!("[Base Camp/LongFast]: {text}");
    scene.alice.sees_text(&scene.room, &shown).await;
    scene.alice.send(&scene.room, text).await;
    scene.radio.transmits(&format!("Alice[M]: {text}")).await;
}

/// The second relay waits, says for whom, and has the radio when the first one ends.
async fn takes_turns(mut scene: Scene, home: &Home, words: &str) {
    scene.relay.logs("radio ready").await;
    let first = told_of(&scene.home, &scene.relay);
    let mut relay = home.spawn();
    let line = relay.logs(words).await;
    assert!(line.contains(&first), "{line}");
    relay.logs_times("still no link to the radio", 2).await;
    let told = status_tells(home, "who holds the radio", |told| {
        told["radio"]["cause"].is_string()
    });
    let told = told.await;
    let (cause, hint) = (&told["radio"]["cause"], &told["radio"]["hint"]);
    assert!(
        cause.as_str().is_some_and(|it| it.contains(&first)),
        "{told:#}"
    );
    assert!(
        hint.as_str()
            .is_some_and(|it| it.contains("stop that relay")),
        "{told:#}"
    );
    let health = tells(home, &["doctor", "--quick"], "it", |_| true).await;
    let radio = &check(&health, "radio")["text"];
    assert!(
        radio.as_str().is_some_and(|it| it.contains(&first)),
        "{health:#}"
    );
    carries(&mut scene, "undisturbed").await;
    assert!(!scene.relay.log().contains("no link to the radio"));

    assert!(scene.relay.stop().await.success());
    relay.logs("radio ready").await;
    let second = told_of(home, &relay);
    let again = scene.home.start().await;
    let line = again.logs(words).await;
    assert!(line.contains(&second), "{line}");
    // Also when it is killed.
    relay.kill().await;
    again.logs("radio ready").await;
}

#[tokio::test]
async fn a_radio_on_the_network_is_one_relays_under_any_name_until_it_ends() {
    let scene = Plan::one_room(Kind::Plain).start().await;
    let port = scene.radio.port();
    let home = second(&format!(
        "connection_type: tcp, host: localhost, port: {port}"
    ));
    let output = home
        .run(["radio", "info", "--host", &format!("127.0.0.1:{port}")])
        .await;
    let text = text_of(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains(&told_of(&scene.home, &scene.relay)), "{text}");
    takes_turns(scene, &home, "is used by").await;
}

#[tokio::test]
async fn a_serial_port_is_one_relays_behind_any_link_until_it_ends() {
    let scene = Plan::one_room(Kind::Plain).over_serial().start().await;
    let device = fs::read_link(scene.home.path("radio")).expect("it is a link");
    let home = second(&format!(
        "connection_type: serial, serial_port: {}",
        device.display()
    ));
    takes_turns(scene, &home, "is in use by the relay in").await;
}

#[tokio::test]
async fn no_two_relays_use_one_database_or_one_log() {
    let first = second("connection_type: tcp, host: 127.0.0.1, port: 1");
    let text = fs::read_to_string(first.path("config.yaml")).expect("it was written");
    first.configure(&format!("{text}logging: {{log_to_file: true}}\n"));
    let mut relay = first.start().await;
    let elsewhere = Home::new();
    let link = elsewhere.path("link");
    std::os::unix::fs::symlink(first.path("database"), &link).expect("a link can be made");
    let own = text.replace("port: 1", "port: 2");
    let home = Home::new();
    for (keys, what, key) in [
        (
            format!("database: {{path: {}/relay.sqlite}}", link.display()),
            "the database",
            "`database.path`",
        ),
        (
            format!(
                "logging: {{log_to_file: true, filename: {}}}",
                first.path("logs/relay.log").display()
            ),
            "the log",
            "`logging.filename`",
        ),
    ] {
        home.configure(&format!("{own}{keys}\n"));
        let output = home.run(["run"]).await;
        let text = text_of(&output);
        assert_eq!(output.status.code(), Some(1), "{text}");
        for word in [what, key, &told_of(&first, &relay)] {
            assert!(text.contains(word), "{word} is missing in {text}");
        }
    }
    assert!(relay.stop().await.success());
    let mut relay = home.start().await;
    assert!(relay.stop().await.success());
}

#[tokio::test]
async fn a_log_that_a_relay_turns_to_while_it_runs_is_claimed_and_the_one_before_is_let_go_of() {
    let logging = |home: &Home, level: &str, file: &Path| {
        let port = if level == "debug" { 1 } else { 2 };
        home.configure(&format!(
            "matrix_rooms: [{{id: '!room:localhost', meshtastic_channel: 0}}]\n\
             meshtastic: {{connection_type: tcp, host: 127.0.0.1, port: {port}}}\n\
             logging: {{level: {level}, log_to_file: true, filename: {}}}\n",
            file.display()
        ));
    };
    let (first, second) = (Home::new(), Home::new());
    let (one, two, three) = (
        first.path("one.log"),
        second.path("two.log"),
        second.path("three.log"),
    );
    logging(&first, "debug", &one);
    logging(&second, "warn", &two);
    let relay = first.start().await;
    let mut other = second.spawn_with(&[]);
    other.logs("no link to the radio").await;

    // What can be followed is, and only that is said to be.
    logging(&second, "info", &one);
    other.signal(Signal::HUP);
    let line = other.logs("the log's file cannot be opened").await;
    assert!(line.contains(&told_of(&first, &relay)), "{line}");
    let line = other.logs("is followed now").await;
    assert!(line.contains("keys=\"logging.level\""), "{line}");
    logging(&second, "info", &three);
    other.signal(Signal::HUP);
    other.logs("the log's file is opened anew").await;
    other.logs("keys=\"logging.filename\"").await;
    let written = |path: &Path| fs::read_to_string(path).expect("it was made");
    assert!(!written(&one).contains("is followed now"));
    assert!(written(&two).contains("keys=\"logging.level\""));

    // The first one may have what the other one has no more.
    logging(&first, "debug", &two);
    relay.signal(Signal::HUP);
    relay.logs("keys=\"logging.filename\"").await;
    logging(&second, "info", &two);
    other.signal(Signal::HUP);
    other.logs_times("the log's file cannot be opened", 2).await;
    assert!(other.stop().await.success());
    assert!(written(&three).contains("relay ends"));
}

/// Copies what is in a directory.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("it can be made");
    for entry in fs::read_dir(from).expect("it is there") {
        let entry = entry.expect("it can be read");
        let (kind, target) = (
            entry.file_type().expect("it has one"),
            to.join(entry.file_name()),
        );
        if kind.is_dir() {
            copy(&entry.path(), &target);
        } else if kind.is_file() {
            fs::copy(entry.path(), target).expect("it can be copied");
        }
    }
}

#[tokio::test]
async fn the_relay_of_a_copied_home_leaves_the_device_alone_and_needs_one_of_its_own() {
    let mut scene = Plan::one_room(Kind::Encrypted).start().await;
    carries(&mut scene, "before").await;
    let home = Home::new();
    copy(&scene.home.path(""), &home.path(""));
    let first = told_of(&scene.home, &scene.relay);
    let report = tells(&home, &["doctor", "matrix"], "it", |_| true).await;
    let session = check(&report, "session");
    assert_eq!(session["result"], "failed", "{session:#}");
    let text = session["text"].as_str().expect("it says why");
    assert!(text.contains(&first), "{text}");
    let relay = home.start().await;
    let line = relay.logs("of this home is in use by").await;
    assert!(line.contains(&first) && line.contains("ERROR"), "{line}");
    let health = tells(&home, &["doctor", "--quick"], "it", |_| true).await;
    let matrix = check(&health, "matrix");
    assert_eq!(matrix["result"], "failed");
    let hint = matrix["hint"].as_str().expect("there is a cure");
    assert!(hint.contains("`relay auth login --force --home "), "{hint}");
    carries(&mut scene, "undisturbed").await;

    // Its copy of the device's keys is out of date: it is not for use later, either.
    assert!(scene.relay.stop().await.success());
    relay.logs("radio ready").await;
    let told = status_tells(&home, "its state", |_| true).await;
    assert_eq!(told["matrix"]["state"], "no_session", "{told:#}");
    let synapse = Synapse::shared().await;
    let output = home
        .log_in_forced(synapse.url(), scene.bot.localpart(), &[])
        .await;
    assert!(output.status.success(), "{}", text_of(&output));
    relay.logs("Matrix session open").await;
}

#[tokio::test]
async fn a_second_relay_with_the_same_account_is_named_where_it_posts() {
    let scene = Plan::one_room(Kind::Encrypted).start().await;
    let mut radio = Radio::start().await;
    let other = Home::new();
    let synapse = Synapse::shared().await;
    let login = other.log_in_as(synapse.url(), scene.bot.localpart(), PASSWORD);
    let login = login.await;
    assert!(login.status.success(), "{}", text_of(&login));
    let config = fs::read_to_string(scene.home.path("config.yaml")).expect("it was written");
    other.configure(&config);
    let port = |radio: &Radio| format!("port: {}", radio.port());
    other.reconfigure(&port(&scene.radio), &port(&radio));
    let relay = other.start().await;
    relay.logs("room joined").await;
    relay.logs("radio ready").await;

    radio.says(BASE, 0, "on another mesh").await;
    let shown = "[Base Camp/LongFast]: on another mesh";
    scene.alice.sees_text(&scene.room, shown).await;
    let warned = scene
        .relay
        .logs("another relay works with the bot's account")
        .await;
    assert!(
        warned.contains(scene.room.as_str()) && warned.contains("relay=\"other_device\""),
        "{warned}"
    );
    let told = status_tells(&scene.home, "the other relay", |told| {
        told["matrix"]["other_relays"][0]["kind"] == "other_device"
    });
    let told = told.await;
    assert_eq!(
        told["matrix"]["other_relays"][0]["room"],
        scene.room.as_str()
    );
    let text = text_of(&scene.home.run(["status"]).await);
    assert!(
        text.contains("it posted in") && text.contains("stop one of them"),
        "{text}"
    );
    let health = tells(&scene.home, &["doctor", "--quick"], "it", |_| true).await;
    assert_eq!(check(&health, "other_relays")["result"], "warning");
    // It has posted, and this one has not.
    let health = tells(&other, &["doctor", "--quick"], "it", |_| true).await;
    assert_eq!(check(&health, "other_relays")["result"], "ok");
    assert!(!relay.log().contains("another relay works"));
}
