//! The first login without a terminal, with the credentials in the configuration.

use std::fs;

use matrix_sdk::reqwest;
use serde_json::{Value, json};

use crate::support::radio::{BASE, Radio};
use crate::support::relay::{Home, text_of};
use crate::support::synapse::{PASSWORD, Synapse};
use crate::support::user::{Kind, User};

/// Logs in like a client without encryption, and returns the token.
async fn token(synapse: &Synapse, username: &str) -> String {
    let request = json!({
        "type": "m.login.password", "password": PASSWORD,
        "identifier": {"type": "m.id.user", "user": username},
    });
    let answer = reqwest::Client::new()
        .post(format!("{}/_matrix/client/v3/login", synapse.url()))
        .body(request.to_string())
        .send()
        .await
        .expect("the homeserver answers");
    let text = answer.text().await.expect("an answer has text");
    let answer: Value = serde_json::from_str(&text).expect("an answer is JSON");
    let token = answer["access_token"].as_str();
    token
        .unwrap_or_else(|| panic!("no login: {text}"))
        .to_owned()
}

fn configuration(synapse: &Synapse, login: &str, room: &str, port: u16) -> String {
    format!(
        "matrix:\n  homeserver: {}\n{login}matrix_rooms:\n  - {{id: '{room}', meshtastic_channel: 0}}\n\
         meshtastic:\n  connection_type: tcp\n  host: 127.0.0.1\n  port: {port}\n",
        synapse.url()
    )
}

#[tokio::test]
async fn an_access_token_logs_in_once_and_its_device_is_never_given_a_second_set_of_keys() {
    let synapse = Synapse::shared().await;
    let (alice, mut radio) = tokio::join!(User::new(synapse, "Alice"), Radio::start());
    let username = synapse.register("bot").await;
    let bot = format!("@{username}:localhost").parse().expect("a user");
    let room = alice
        .create_room(Kind::Encrypted, std::slice::from_ref(&bot))
        .await;
    let token = token(synapse, &username).await;
    let login = format!("  access_token: {token}\n");
    let config = configuration(synapse, &login, room.as_str(), radio.port());

    let home = Home::new();
    home.configure(&config);
    let mut relay = home.start().await;
    alice.sees_join(&room, &bot).await;
    relay.logs(&format!("room joined room={room}")).await;
    radio.says(BASE, 0, "hello").await;
    alice.sees_text(&room, "[Base Camp/LongFast]: hello").await;
    alice.send(&room, "hello too").await;
    radio.transmits("Alice[M]: hello too").await;
    let status = home.run(["auth", "status"]).await;
    assert!(
        text_of(&status).contains("yes, by its owner"),
        "{}",
        text_of(&status)
    );
    assert!(relay.stop().await.success());
    assert!(!relay.log().contains(&token), "the token is in the log");

    // A start with a session uses that, whatever the configuration says.
    let mut relay = home.start().await;
    relay.logs("Matrix session open").await;
    assert!(!relay.log().contains("logged in to Matrix"));
    assert!(relay.stop().await.success());

    let second = Home::new();
    second.configure(&config);
    let mut relay = second.start().await;
    relay.logs("has encryption keys of another program").await;
    relay.logs("run `relay auth login --home ").await;
    assert!(!second.path("matrix/session.json").exists());
    assert!(!second.path("matrix/sdk").exists());
    // The cure works beside it.
    let cure = second.log_in_as(synapse.url(), &username, PASSWORD).await;
    assert!(cure.status.success(), "{}", text_of(&cure));
    relay.logs("Matrix session open").await;
    assert!(relay.stop().await.success());
}

#[tokio::test]
async fn a_token_that_is_wrong_or_somebody_elses_is_told_and_leaves_nothing() {
    let synapse = Synapse::shared().await;
    let username = synapse.register("bot").await;
    let token = token(synapse, &username).await;
    for (login, words) in [
        (
            "  access_token: mistyped\n".to_owned(),
            "does not accept the access token",
        ),
        (
            format!("  access_token: {token}\n  bot_user_id: '@other:localhost'\n"),
            "belongs to @bot",
        ),
    ] {
        let home = Home::new();
        home.configure(&configuration(synapse, &login, "!room:localhost", 4403));
        let mut relay = home.start().await;
        relay.logs(words).await;
        relay.logs("correct the configuration").await;
        assert!(relay.stop().await.success());
        assert!(!relay.log().contains(&token));
        let left = fs::read_dir(home.path("matrix")).map_or(0, Iterator::count);
        assert_eq!(left, 0, "files of a login that failed");
    }
}

#[tokio::test]
async fn a_password_logs_in_as_a_device_of_its_own() {
    let synapse = Synapse::shared().await;
    let username = synapse.register("bot").await;
    let home = Home::new();
    let login = format!("  bot_user_id: '@{username}:localhost'\n  password: '{PASSWORD}'\n");
    home.configure(&configuration(synapse, &login, "!room:localhost", 4403));
    let mut relay = home.start().await;
    relay.logs("logged in to Matrix").await;
    relay.logs("Matrix session open").await;
    assert!(relay.stop().await.success());
    let status = home.run(["auth", "status"]).await;
    assert!(
        text_of(&status).contains("yes, by its owner"),
        "{}",
        text_of(&status)
    );
    assert!(!relay.log().contains(PASSWORD));
}

#[tokio::test]
async fn an_access_token_in_a_file_logs_in_by_hand_and_only_for_its_own_account() {
    let synapse = Synapse::shared().await;
    let username = synapse.register("bot").await;
    let other = synapse.register("other").await;
    let home = Home::new();
    let path = home.path("token");
    let write = |token: &str| fs::write(&path, format!("{token}\n")).expect("it can be written");
    let flag = path.display().to_string();
    let log_in = async |further: &[&str], code: i32, words: &str| {
        let given = [
            "auth",
            "login",
            "--homeserver",
            synapse.url(),
            "--access-token-file",
            &flag,
        ];
        let output = home.run(given.iter().chain(further)).await;
        let text = text_of(&output);
        assert_eq!(output.status.code(), Some(code), "{text}");
        assert!(text.contains(words), "{text}");
    };
    write("mistyped");
    log_in(&[], 1, "does not accept the access token").await;
    write(&token(synapse, &username).await);
    log_in(&["--username", &other], 1, "not to").await;
    assert!(!home.path("matrix/session.json").exists());
    log_in(
        &["--username", &username],
        0,
        "the device is verified by its owner",
    )
    .await;
    assert_eq!(home.session()["user_id"], format!("@{username}:localhost"));
    let first = home.session()["device_id"].clone();

    // The device has keys now.
    log_in(&["--force"], 1, "has encryption keys of another program").await;
    log_in(&[], 1, "already logged in").await;
    write(&token(synapse, &username).await);
    log_in(&["--force"], 0, "is signed out").await;
    assert_ne!(home.session()["device_id"], first);
    let status = text_of(&home.run(["auth", "status"]).await);
    assert!(status.contains("session      alive"), "{status}");
}
