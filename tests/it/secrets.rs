//! Whatever is asked of the log, no secret stands in it: not what the relay was given, and not what came to be.

use std::fs;

use matrix_sdk::ruma::OwnedUserId;
use serde_json::{Value, json};

use crate::support::radio::{BASE, Radio};
use crate::support::relay::{Home, text_of};
use crate::support::synapse::Synapse;
use crate::support::user::{Kind, User};

/// The password of the bot, like nothing else that may stand in a log.
const PASSWORD: &str = "Zq7-password-of-the-bot-kX9";
/// Part of all messages.
const TEXT: &str = "the-cat-is-in-the-bag";
/// A PIN that no number of a log is equal to by chance.
const PIN: &str = "918273";
/// Every part that has a level of its own.
const PARTS: [&str; 9] = [
    "radio",
    "radio_log",
    "matrix",
    "bridge",
    "store",
    "daemon",
    "simulator",
    "matrix_sdk",
    "http",
];

/// A secret, in a form in which it might be written.
struct Secret(&'static str, String);

/// All forms of bytes.
fn forms(name: &'static str, bytes: &[u8]) -> Vec<Secret> {
    let base64 = matrix_sdk::ruma::serde::Base64::<matrix_sdk::ruma::serde::base64::Standard>::new(
        bytes.to_vec(),
    );
    let hex: Vec<_> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let hex = hex.concat();
    let list = format!("{bytes:?}");
    let inside = list.trim_matches(['[', ']']).to_owned();
    let escaped: String = bytes.escape_ascii().map(char::from).collect();
    let all = [base64.encode(), hex.to_uppercase(), hex, inside, escaped];
    all.map(|it| Secret(name, it)).into()
}

/// Runs a relay with that level through all that there are secrets in, and returns everything that it wrote, and the secrets.
async fn life(level: &str) -> (String, Vec<Secret>) {
    let synapse = Synapse::shared().await;
    let (alice, mut radio) = tokio::join!(User::new(synapse, "Alice"), Radio::start());
    let username = synapse.register_with("bot", PASSWORD).await;
    let bot: OwnedUserId = format!("@{username}:localhost").parse().unwrap();
    let invited = std::slice::from_ref(&bot);
    let encrypted = alice.create_room(Kind::Encrypted, invited).await;
    let plain = alice.create_room(Kind::Plain, invited).await;
    let mut secrets = vec![
        Secret("password", PASSWORD.to_owned()),
        Secret("PIN", PIN.to_owned()),
    ];
    for slot in 0..2_u8 {
        let key: Vec<u8> = (0..32).map(|it| ((slot + 1) * 77) ^ (it * 7)).collect();
        secrets.extend(forms("channel key", &key));
        radio
            .fault(json!({"fault": "channel", "index": slot, "key": key, "enabled": true}))
            .await;
    }

    let home = Home::new();
    let levels = PARTS.map(|part| format!("{part}: {level}")).join(", ");
    let (port, server) = (radio.port(), synapse.url());
    home.configure(&format!(
        "matrix: {{homeserver: '{server}', bot_user_id: '{bot}', password: '{PASSWORD}'}}\n\
         matrix_rooms:\n  - {{id: '{encrypted}', meshtastic_channel: 0}}\n  - {{id: '{plain}', meshtastic_channel: 1}}\n\
         meshtastic: {{connection_type: tcp, host: 127.0.0.1, port: {port}, ble_pin: '{PIN}', message_delay: 2.02}}\n\
         logging: {{level: {level}, log_to_file: true, max_log_size: 500 MiB, debug: {{{levels}}}}}\n"
    ));
    let mut relay = home.spawn_with(&[]);
    relay.logs("relay is ready").await;
    let rooms = [(&encrypted, 0), (&plain, 1)];
    for (room, channel) in rooms {
        alice.sees_join(room, &bot).await;
        relay.logs(&format!("room joined room={room}")).await;
        let text = format!("{TEXT} from channel {channel}");
        radio.says(BASE, channel, &text).await;
        alice
            .sees(room, &text, |seen| seen.body().ends_with(&text))
            .await;
        let text = format!("{TEXT} for channel {channel}");
        alice.send(room, &text).await;
        radio.transmits(&format!("Alice[M]: {text}")).await;
    }
    // A restart opens the session and its store again.
    assert!(relay.stop().await.success());
    let mut written = relay.log();
    relay = home.spawn_with(&[]);
    relay.logs("connected to the homeserver").await;
    let text = format!("{TEXT} after a restart");
    radio.says(BASE, 0, &text).await;
    alice
        .sees(&encrypted, &text, |seen| seen.body().ends_with(&text))
        .await;

    let read =
        |name: &str| fs::read(home.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    let session: Value = serde_json::from_slice(&read("matrix/session.json")).unwrap();
    for name in ["access_token", "refresh_token"] {
        secrets.extend(
            session[name]
                .as_str()
                .map(|it| Secret("token", it.to_owned())),
        );
    }
    let recovery = String::from_utf8(read("matrix/recovery.key")).unwrap();
    let recovery: String = recovery.lines().filter(|it| it.starts_with('E')).collect();
    assert!(recovery.len() > 40, "no recovery key");
    secrets.push(Secret("recovery key", recovery.replace(' ', "")));
    secrets.push(Secret("recovery key", recovery));
    secrets.extend(forms("key of the store", &read("matrix/sdk.key")));

    assert!(relay.stop().await.success());
    written.push_str(&relay.log());
    let file = home.path("password");
    fs::write(&file, PASSWORD).unwrap();
    let file = file.to_str().unwrap();
    let logout = [
        "auth",
        "logout",
        "-y",
        "--log-level",
        level,
        "--password-file",
        file,
    ];
    let output = home.run(logout).await;
    assert!(output.status.success(), "{}", text_of(&output));
    written.push_str(&text_of(&output));
    for log in fs::read_dir(home.path("logs")).unwrap() {
        written.push_str(&fs::read_to_string(log.unwrap().path()).unwrap());
    }
    (written, secrets)
}

fn holds_none(written: &str, secrets: &[Secret]) {
    for Secret(name, secret) in secrets {
        let line = written.lines().find(|line| line.contains(secret.as_str()));
        if let Some(line) = line {
            panic!("the {name} ({secret}) stands in the log: {line}");
        }
    }
}

#[tokio::test]
async fn at_trace_of_everything_no_secret_is_in_the_log() {
    let (written, secrets) = life("trace").await;
    for part in ["matrix_sdk", "hyper"] {
        let mut lines = written.lines();
        let speaks = lines.any(|line| line.contains(" TRACE ") && line.contains(part));
        assert!(speaks, "{part} says nothing");
    }
    holds_none(&written, &secrets);
}

#[tokio::test]
async fn at_debug_of_everything_no_secret_and_no_text_is_in_the_log() {
    let (written, secrets) = life("debug").await;
    assert!(written.contains(" DEBUG "));
    holds_none(&written, &secrets);
    let line = written.lines().find(|line| line.contains(TEXT));
    assert_eq!(line, None, "a text stands in the log");
}
