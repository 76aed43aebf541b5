//! `relay doctor --bundle`: what a report of a defect needs, and nothing that tells who and where somebody is.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use matrix_sdk::reqwest::Url;
use serde_json::json;

use crate::support::radio::{BASE, Radio, SUMMIT};
use crate::support::relay::{Home, text_of};
use crate::support::scene::{Plan, Scene};
use crate::support::synapse::{PASSWORD, Synapse};
use crate::support::user::Kind;

/// What must not stand in a bundle of this scene.
fn gone(scene: &Scene, server: &str, texts: &[&str]) -> Vec<String> {
    let session = scene.home.session();
    let of_session = |key: &str| session[key].as_str().expect("a text").to_owned();
    let server: Url = server.parse().expect("an address");
    let server_port = server.port().expect("it has a port");
    let node = u32::from_str_radix(&BASE.id[1..], 16).expect("a number");
    let home = scene.home.path("").display().to_string();
    let mut gone = vec![
        PASSWORD.to_owned(),
        of_session("access_token"),
        of_session("device_id"),
        scene.room.to_string(),
        scene.bot.to_string(),
        scene.bot.localpart().to_owned(),
        scene.alice.id().to_string(),
        "127.0.0.1".to_owned(),
        "localhost".to_owned(),
        scene.radio.port().to_string(),
        server_port.to_string(),
        node.to_string(),
        home.trim_end_matches('/').to_owned(),
    ];
    for known in [BASE, SUMMIT] {
        let names = [known.id, &known.id[1..], known.long, known.short];
        gone.extend(names.map(str::to_owned));
    }
    gone.extend(texts.iter().map(|it| (*it).to_owned()));
    gone
}

/// Finds a word that does not go on at either end.
fn has_word(text: &str, word: &str) -> bool {
    text.match_indices(word).any(|(at, _)| {
        let is_part = |it: char| it.is_alphanumeric();
        !text[..at].ends_with(is_part) && !text[at + word.len()..].starts_with(is_part)
    })
}

async fn bundle(scene: &Scene, name: &str) -> String {
    let file = scene.home.path(name);
    let path = file.to_str().expect("a path is a text");
    let output = scene.home.run(["doctor", "--bundle", path]).await;
    let text = text_of(&output);
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(text.contains("Read it before you send it"), "{text}");
    let mode = fs::metadata(&file).expect("it was written").permissions();
    assert_eq!(mode.mode() & 0o777, 0o600);
    fs::read_to_string(file).expect("it was written")
}

fn holds_none(bundle: &str, gone: &[String]) {
    for word in gone {
        assert!(!has_word(bundle, word), "{word} stands in:\n{bundle}");
    }
}

#[tokio::test]
async fn the_bundle_of_a_busy_relay_holds_no_secret_and_nobodys_name() {
    let stage = Plan::one_room(Kind::Encrypted).set_up().await;
    let config = fs::read_to_string(stage.home.path("config.yaml")).expect("it was written");
    let logging =
        "logging: {level: trace, log_to_file: true, debug: {matrix_sdk: trace, http: trace}}\n";
    stage
        .home
        .configure(&format!("{config}{logging}# mind the key under the mat\n"));
    let mut scene = stage.raise_the_curtain().await;
    assert!(scene.relay.stop().await.success());
    scene.relay = scene.home.spawn_with(&[]);
    scene.relay.logs("radio ready").await;
    scene.relay.logs("connected to the homeserver").await;

    let texts = [
        "meet me at the old bridge",
        "bring the red lantern",
        "a word for your node alone",
        "// a thing that is off the air",
        "47.3769, 8.5417",
    ];
    scene.radio.says(BASE, 0, texts[0]).await;
    let shown = format!("[{}/LongFast]: {}", BASE.long, texts[0]);
    scene.alice.sees_text(&scene.room, &shown).await;
    scene.alice.send(&scene.room, texts[1]).await;
    let sent = scene
        .radio
        .transmits(&format!("Alice[M]: {}", texts[1]))
        .await;
    let direct = json!({"to": sent["from"], "text": texts[2]});
    scene.radio.sends(SUMMIT, direct).await;
    scene
        .relay
        .logs("a direct message to our node is kept")
        .await;
    scene.alice.send(&scene.room, texts[3]).await;
    scene.radio.says(SUMMIT, 0, texts[4]).await;
    let shown = format!("[{}/LongFast]: {}", SUMMIT.long, texts[4]);
    scene.alice.sees_text(&scene.room, &shown).await;
    let in_file = fs::read_to_string(scene.home.path("logs/relay.log")).expect("it is written");
    for word in [" TRACE ", "matrix_sdk", scene.room.as_str()] {
        assert!(in_file.contains(word), "{word} is not in the log");
    }

    let mut gone = gone(&scene, Synapse::shared().await.url(), &texts);
    gone.push("under the mat".to_owned());
    let busy = bundle(&scene, "busy.txt").await;
    holds_none(&busy, &gone);
    for word in [
        "== versions",
        "firmware      2.",
        "matrix_rooms[0].id: room-1",
        "meshtastic.port: port-1",
        "\"state\": \"connected\"",
        "\"healthy\": true",
        "== log of the running relay",
        "the radio is looked for",
        "== log file",
        "\"node\": \"node-",
    ] {
        assert!(busy.contains(word), "{word} is missing in:\n{busy}");
    }
    // What is there is not replaced.
    let file = scene.home.path("busy.txt");
    let path = file.to_str().expect("a path is a text");
    let output = scene.home.run(["doctor", "--bundle", path]).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(text_of(&output).contains("is there already"));
    assert_eq!(fs::read_to_string(&file).expect("it is there"), busy);

    // Beside no daemon, and with a configuration that is broken.
    assert!(scene.relay.stop().await.success());
    let alone = bundle(&scene, "alone.txt").await;
    holds_none(&alone, &gone);
    assert!(alone.contains("no relay is running"), "{alone}");
    assert!(alone.contains("relay is ready"), "{alone}");
    scene
        .home
        .reconfigure("connection_type: tcp", "connection_type: carrier_pigeon");
    let broken = bundle(&scene, "broken.txt").await;
    holds_none(&broken, &gone);
    assert!(!broken.contains("pigeon"), "{broken}");
    assert!(broken.contains("meshtastic.connection_type: "), "{broken}");
}

#[tokio::test]
async fn a_bundle_of_a_home_in_which_nothing_ran_yet_tells_no_name_of_the_radio() {
    let radio = Radio::start().await;
    let home = Home::new();
    home.configure(&format!(
        "matrix_rooms: [{{id: '!a:localhost', meshtastic_channel: 0}}]\n\
         meshtastic: {{connection_type: tcp, host: 127.0.0.1, port: {}}}\n",
        radio.port()
    ));
    let file = home.path("new.txt");
    let path = file.to_str().expect("a path is a text");
    let output = home.run(["doctor", "--bundle", path]).await;
    assert_eq!(output.status.code(), Some(0), "{}", text_of(&output));
    let bundle = fs::read_to_string(file).expect("it was written");
    assert!(bundle.contains("firmware"), "{bundle}");
    for name in ["Simulated radio", "LongFast"] {
        assert!(!bundle.contains(name), "{name} stands in:\n{bundle}");
    }
}
