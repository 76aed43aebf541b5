//! Logins by the token of an identity provider.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use matrix_sdk::reqwest;
use matrix_sdk::ruma::{OwnedRoomId, OwnedUserId};
use serde_json::json;
use tokio::time::sleep;

use crate::support::keycloak::{Keycloak, PASSWORD, SECRET};
use crate::support::radio::{BASE, Radio};
use crate::support::relay::{Home, Relay, text_of};
use crate::support::synapse::Synapse;
use crate::support::user::{Kind, User};

/// Writes a secret into the home, and returns its path.
fn secret(home: &Home, name: &str, text: &str) -> String {
    let path: PathBuf = home.path(name);
    fs::write(&path, text).expect("it can be written");
    path.display().to_string()
}

/// Logs in by Keycloak, with these flags for others; returns the exit code and what was said.
async fn log_in(
    home: &Home,
    (keycloak, synapse): &(Keycloak, Synapse),
    username: &str,
    flags: &[&str],
) -> (Option<i32>, String) {
    let password = secret(home, "password", PASSWORD);
    let url = keycloak.url();
    let mut all = vec![
        ("--homeserver", synapse.url()),
        ("--username", username),
        ("--password-file", &*password),
        ("--keycloak-url", &*url),
        ("--keycloak-realm", "club"),
        ("--keycloak-client-id", "relay"),
    ];
    for pair in flags.chunks(2) {
        let [flag, value] = pair else {
            panic!("a flag without its value");
        };
        all.retain(|(other, _)| other != flag);
        all.push((*flag, *value));
    }
    let given = all.into_iter().flat_map(|(flag, value)| [flag, value]);
    let arguments = ["auth", "login", "--jwt"].into_iter().chain(given);
    let output = home.run(arguments).await;
    (output.status.code(), text_of(&output))
}

#[tokio::test]
async fn a_token_of_keycloak_logs_in_by_each_of_the_three_types_and_the_device_is_verified() {
    let both = Synapse::with_provider().await;
    let (_, synapse) = both;
    for login_type in [
        "com.famedly.login.token.oauth",
        "com.famedly.login.token",
        "org.matrix.login.jwt",
    ] {
        let username = synapse.register("bot").await;
        let home = Home::new();
        let (code, text) = log_in(&home, both, &username, &["--jwt-login-type", login_type]).await;
        assert_eq!(code, Some(0), "{text}");
        assert!(
            text.contains("the device is verified by its owner"),
            "{text}"
        );
        assert_eq!(home.session()["login"], "jwt");
        let status = text_of(&home.run(["auth", "status"]).await);
        assert!(status.contains("session      alive"), "{status}");
    }
}

#[tokio::test]
async fn what_keycloak_or_the_homeserver_refuses_is_told_apart_and_leaves_nothing() {
    let both = Synapse::with_provider().await;
    let (_, synapse) = both;
    let username = synapse.register("bot").await;
    let other = synapse.register("other").await;
    let home = Home::new();
    let wrong = secret(&home, "wrong", "not this one");
    let right = secret(&home, "right", SECRET);
    let no_token = secret(&home, "token.jwt", "aaa.bbb.ccc");
    for (flags, words) in [
        (
            vec!["--password-file", &wrong],
            "does not accept this user name and password",
        ),
        (vec!["--username", "disabled"], "Account disabled"),
        (
            vec!["--keycloak-client-id", "nobody"],
            "does not accept the client `nobody`",
        ),
        (
            vec![
                "--keycloak-client-id",
                "secret-relay",
                "--keycloak-client-secret-file",
                &wrong,
            ],
            "does not accept the client `secret-relay`",
        ),
        (
            vec!["--keycloak-client-id", "for-browsers"],
            "Direct access grants",
        ),
        (
            vec!["--keycloak-realm", "nowhere"],
            "has no realm `nowhere`",
        ),
        (vec!["--keycloak-realm", "behind-a-proxy"], "HTTP 502"),
        (
            vec!["--keycloak-url", "http://127.0.0.1:1"],
            "cannot reach the login service",
        ),
        (vec!["--keycloak-url", "http://192.0.2.1"], "not encrypted"),
    ] {
        let (code, text) = log_in(&home, both, &username, &flags).await;
        assert_eq!(code, Some(1), "{text}");
        assert!(text.contains(words), "{text}");
        assert!(!text.contains(PASSWORD) && !text.contains(SECRET), "{text}");
    }
    let arguments = [
        "auth",
        "login",
        "--homeserver",
        synapse.url(),
        "--username",
        &other,
        "--jwt-file",
        &no_token,
    ];
    let output = home.run(arguments).await;
    let text = text_of(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(
        text.contains("does not accept the identity provider's token"),
        "{text}"
    );
    // A homeserver that takes no such tokens says what it takes.
    let plain = Synapse::shared().await;
    let (code, text) = log_in(&home, both, &username, &["--homeserver", plain.url()]).await;
    assert_eq!(code, Some(1), "{text}");
    assert!(
        text.contains("m.login.password: `--password-file`"),
        "{text}"
    );
    assert!(!home.path("matrix/session.json").exists());

    let with_secret = [
        "--keycloak-client-id",
        "secret-relay",
        "--keycloak-client-secret-file",
        &right,
    ];
    let (code, text) = log_in(&home, both, &username, &with_secret).await;
    assert_eq!(code, Some(0), "{text}");
}

/// Ends the login of a home, as another client of the account would.
async fn end_login(home: &Home) {
    let session = home.session();
    let text = |name: &str| session[name].as_str().expect("it is there");
    let ended = reqwest::Client::new()
        .post(format!("{}_matrix/client/v3/logout", text("homeserver")))
        .bearer_auth(text("access_token"))
        .body(json!({}).to_string())
        .send()
        .await;
    assert!(ended.is_ok_and(|it| it.status().is_success()));
}

/// A relay that logs in by Keycloak, with what its environment says, and a room that it is invited to.
struct Provided {
    home: Home,
    alice: User,
    radio: Radio,
    room: OwnedRoomId,
    bot: OwnedUserId,
}

impl Provided {
    async fn set_up() -> Self {
        let (keycloak, synapse) = Synapse::with_provider().await;
        let (alice, radio) = tokio::join!(User::new(synapse, "Alice"), Radio::start());
        let username = synapse.register("bot").await;
        let bot = format!("@{username}:localhost").parse().expect("a user");
        let room = alice
            .create_room(Kind::Encrypted, std::slice::from_ref(&bot))
            .await;
        let mut home = Home::new();
        for (name, value) in [
            ("MATRIX_HOMESERVER", synapse.url().to_owned()),
            ("MATRIX_USER", bot.to_string()),
            ("MATRIX_PASSWORD", PASSWORD.to_owned()),
            ("KEYCLOAK_URL", keycloak.url()),
            ("KEYCLOAK_REALM", "club".to_owned()),
            ("KEYCLOAK_CLIENT_ID", "secret-relay".to_owned()),
            ("KEYCLOAK_CLIENT_SECRET", SECRET.to_owned()),
            ("JWT_LOGIN_TYPE", "org.matrix.login.jwt".to_owned()),
        ] {
            home.set_environment((name, value));
        }
        home.configure(&format!(
            "matrix_rooms:\n  - {{id: '{room}', meshtastic_channel: 0}}\nmeshtastic:\n  connection_type: tcp\n  \
             host: 127.0.0.1\n  port: {}\n",
            radio.port()
        ));
        Self {
            home,
            alice,
            radio,
            room,
            bot,
        }
    }

    /// Starts the relay for the first time.
    async fn start(&self) -> Relay {
        let relay = self.home.start().await;
        self.alice.sees_join(&self.room, &self.bot).await;
        relay.logs(&format!("room joined room={}", self.room)).await;
        assert_eq!(self.home.session()["login"], "jwt");
        relay
    }

    /// Checks that a text crosses each way.
    async fn carries(&mut self, text: &str) {
        self.radio.says(BASE, 0, text).await;
        let shown = format!("[Base Camp/LongFast]: {text}");
        self.alice.sees_text(&self.room, &shown).await;
        self.alice.send(&self.room, text).await;
        self.radio.transmits(&format!("Alice[M]: {text}")).await;
    }
}

#[tokio::test]
async fn a_daemon_logs_in_by_keycloak_from_the_environment_and_again_when_its_device_was_deleted() {
    let mut all = Provided::set_up().await;
    let mut relay = all.start().await;
    all.carries("hello").await;
    let first = all.home.session();
    end_login(&all.home).await;
    all.radio.says(BASE, 0, "meanwhile").await;
    let made = "logged in to Matrix with what the configuration holds";
    relay.logs_times(made, 2).await;
    let shown = "[Base Camp/LongFast]: meanwhile";
    all.alice.sees_text(&all.room, shown).await;
    all.carries("back again").await;
    assert_ne!(all.home.session()["device_id"], first["device_id"]);
    assert!(relay.stop().await.success());
    for secret in [PASSWORD, SECRET] {
        assert!(!relay.log().contains(secret));
    }
}

#[tokio::test]
async fn who_was_away_for_too_long_is_logged_in_again_as_the_same_device_by_the_identity_provider()
{
    let mut all = Provided::set_up().await;
    let mut relay = all.start().await;
    all.carries("hello").await;
    let first = all.home.session();
    relay.kill().await;
    // Longer than its refresh token lives.
    sleep(Duration::from_secs(15)).await;
    all.alice.send(&all.room, "while it was away").await;
    relay = all.home.start().await;
    relay
        .logs("logged in to Matrix again, as the same device")
        .await;
    all.radio.transmits("Alice[M]: while it was away").await;
    all.carries("back again").await;
    assert_eq!(all.home.session()["device_id"], first["device_id"]);
    assert!(relay.stop().await.success());
}
