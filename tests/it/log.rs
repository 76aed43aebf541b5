//! The log: strangers cannot forge lines or flood it, and it holds no message texts.

use std::fs;

use matrix_sdk::reqwest::Method;
use serde_json::{Value, json};

use crate::support::radio::BASE;
use crate::support::relay::Relay;
use crate::support::scene::{Plan, Scene};
use crate::support::synapse::Synapse;
use crate::support::user::{Kind, User};

/// Number of to-device messages of each kind with each word: some three hundred in all.
const OFTEN: usize = 8;
/// More than the log's rate limit permits one place in the code.
const MANY: usize = 160;
/// A line that a stranger tries to forge in the log.
const FALSE_LINE: &str = "2026-01-31T12:00:00.000000Z ERROR relay::daemon: the radio is broken";
/// Part of messages, and never in the log.
const TEXT: &str = "the-cat-is-in-the-bag";

/// Values that a stranger puts where the SDK expects a string.
fn hostile() -> Vec<String> {
    vec![
        format!("word\n{FALSE_LINE}\n"),
        format!("word\r\u{1b}[2J{FALSE_LINE}\u{85}\u{2028}\u{202e}"),
        "x".repeat(60_000),
    ]
}

/// All events that the SDK parses before it knows their sender.
fn to_device(word: &str) -> Vec<(&'static str, Value)> {
    let olm = json!({"algorithm": "m.olm.v1.curve25519-aes-sha2", "sender_key": word,
        "ciphertext": {word: {"type": 0, "body": word}}});
    let megolm = json!({"algorithm": word, "sender_key": word, "ciphertext": word, "session_id": word, "device_id": word});
    let request = json!({"action": "request", "request_id": word, "requesting_device_id": word,
        "body": {"algorithm": word, "room_id": word, "session_id": word, "sender_key": word}});
    let secret = json!({"action": "request", "name": word, "request_id": word, "requesting_device_id": word});
    let verification = json!({"from_device": word, "transaction_id": word, "methods": [word],
        "timestamp": 1_700_000_000_000_u64});
    let start = json!({"from_device": word, "transaction_id": word, "method": word});
    let cancel = json!({"transaction_id": word, "code": word, "reason": word});
    vec![
        ("m.room.encrypted", olm),
        ("m.room.encrypted", megolm),
        ("m.room_key_request", request),
        ("m.secret.request", secret),
        ("m.secret.send", json!({"request_id": word, "secret": word})),
        ("m.key.verification.request", verification),
        ("m.key.verification.start", start),
        ("m.key.verification.cancel", cancel),
        (
            "m.key.verification.mac",
            json!({"transaction_id": word, "mac": word, "keys": word}),
        ),
        (
            "m.room_key",
            json!({"algorithm": word, "room_id": word, "session_id": word, "session_key": word}),
        ),
        (
            "m.room_key.withheld",
            json!({"algorithm": word, "code": word, "reason": word}),
        ),
        ("m.dummy", json!(word)),
    ]
}

async fn sends_to_device(stranger: &User, bot: &str, word: &str, times: usize) {
    for (kind, content) in to_device(word) {
        let body = json!({"messages": {bot: {"*": content}}});
        let sending = (0..times).map(async |_| {
            let transaction = rand::random::<u64>().to_string();
            let path = ["sendToDevice", kind, &transaction];
            stranger.request(Method::PUT, &path, &body).await;
        });
        futures_util::future::join_all(sending).await;
    }
}

/// Sends events that the homeserver accepts and the SDK cannot parse.
async fn says_oddly(scene: &Scene) {
    let message =
        |relation: Value| json!({"msgtype": "m.text", "body": TEXT, "m.relates_to": relation});
    let target = format!("${TEXT}");
    let contents = [
        (
            "m.room.message",
            message(json!({"rel_type": TEXT, "event_id": TEXT, "key": TEXT})),
        ),
        (
            "m.room.message",
            message(json!({"rel_type": "m.thread", "event_id": {"text": TEXT}})),
        ),
        (
            "m.room.message",
            message(json!({"rel_type": "m.replace", "event_id": target})),
        ),
        (
            "m.room.message",
            message(json!({"m.in_reply_to": {"event_id": TEXT}})),
        ),
        ("m.room.message", message(json!({"m.in_reply_to": TEXT}))),
        (
            "m.room.message",
            json!({"msgtype": TEXT, "body": TEXT, "m.new_content": TEXT, "m.mentions": {"user_ids": [TEXT]}}),
        ),
        (
            "m.room.message",
            json!({"msgtype": "m.location", "body": TEXT, "geo_uri": {"x": TEXT}}),
        ),
        (
            "m.room.message",
            json!({"msgtype": "m.image", "body": TEXT, "url": TEXT, "info": TEXT}),
        ),
        (
            "m.room.encrypted",
            json!({"algorithm": TEXT, "ciphertext": TEXT, "m.relates_to": {"rel_type": TEXT, "event_id": TEXT}}),
        ),
        (
            "m.room.encrypted",
            json!({"algorithm": "m.megolm.v1.aes-sha2", "ciphertext": TEXT, "session_id": TEXT, "sender_key": TEXT, "device_id": TEXT}),
        ),
        (
            "m.reaction",
            json!({"m.relates_to": {"rel_type": "m.annotation", "event_id": {"x": TEXT}, "key": TEXT}}),
        ),
        (
            "m.sticker",
            json!({"body": {"x": TEXT}, "url": TEXT, "info": TEXT}),
        ),
        ("m.poll.start", json!({"m.poll": TEXT, "m.text": TEXT})),
        ("m.room.name", json!({"name": {"x": TEXT}})),
        ("m.room.topic", json!({"topic": {"x": TEXT}})),
        ("m.room.pinned_events", json!({"pinned": TEXT})),
        (
            "m.room.join_rules",
            json!({"join_rule": TEXT, "allow": TEXT}),
        ),
    ];
    for room in &scene.rooms[1..] {
        for (kind, content) in &contents {
            let transaction = rand::random::<u64>().to_string();
            let is_state = matches!(
                *kind,
                "m.room.name" | "m.room.topic" | "m.room.pinned_events" | "m.room.join_rules"
            );
            let path = if is_state {
                vec!["rooms", room.as_str(), "state", kind, ""]
            } else {
                vec!["rooms", room.as_str(), "send", kind, &transaction]
            };
            // Events that the homeserver refuses do not reach the relay.
            scene.alice.request(Method::PUT, &path, content).await;
            if !is_state {
                let sent = scene.alice.client().get_room(room).expect("it is her room");
                drop(sent.send_raw(kind, content.clone()).await);
            }
        }
    }
}

/// Waits until the relay has read everything up to here.
async fn is_up_to_date(scene: &Scene, stranger: &User, word: &str) {
    // A to-device message comes before later events.
    sends_to_device(stranger, scene.bot.as_str(), "the last one", 1).await;
    scene.alice.send(&scene.room, word).await;
    scene.radio.transmits(&format!("Alice[M]: {word}")).await;
}

async fn behaves_badly(scene: &Scene, stranger: &User, times: usize) {
    for word in hostile() {
        sends_to_device(stranger, scene.bot.as_str(), &word, times).await;
    }
    says_oddly(scene).await;
}

fn holds_only_lines_of_ours(log: &str) {
    for line in log.lines() {
        let is_line = line.starts_with("20") && line.get(26..28) == Some("Z ");
        assert!(is_line && !line.starts_with(&FALSE_LINE[..10]), "{line:?}");
        let is_trick =
            |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202e}');
        assert!(!line.contains(is_trick), "{line:?}");
        assert!(line.len() < 7_000, "{line}");
    }
}

async fn bounded(relay: &mut Relay, most: usize) -> String {
    assert!(relay.stop().await.success());
    let log = relay.log();
    assert!(!log.contains(TEXT), "a text stands in the log");
    assert!(log.len() < most, "the log has {} bytes:\n{log}", log.len());
    log
}

#[tokio::test]
async fn strangers_write_no_lines_of_the_log_do_not_fill_it_and_no_text_stands_in_it() {
    // What is said oddly is not for the air, which is slow.
    let plan = Plan::one_room(Kind::Plain)
        .room(Kind::Plain)
        .room(Kind::Encrypted);
    let plan = plan.route(1, 1, "to_matrix").route(2, 1, "to_matrix");
    let mut scene = plan.start().await;
    let stranger = User::new(Synapse::shared().await, "Mallory").await;
    assert!(scene.relay.stop().await.success());

    // As most people run it.
    scene.relay = scene.home.spawn_with(&[]);
    behaves_badly(&scene, &stranger, OFTEN).await;
    is_up_to_date(&scene, &stranger, "at info").await;
    let log = bounded(&mut scene.relay, 60_000).await;
    holds_only_lines_of_ours(&log);

    // With a log file, and what the SDK says, too.
    let config = fs::read_to_string(scene.home.path("config.yaml")).expect("it was written");
    let logging = "logging: {level: debug, log_to_file: true, debug: {matrix_sdk: debug}}\n";
    scene.home.configure(&format!("{config}{logging}"));
    scene.relay = scene.home.spawn_with(&[]);
    behaves_badly(&scene, &stranger, 1).await;
    is_up_to_date(&scene, &stranger, "at debug").await;
    let log = bounded(&mut scene.relay, 20_000_000).await;
    holds_only_lines_of_ours(&log);
    let file = fs::read_to_string(scene.home.path("logs/relay.log")).expect("it was written");
    holds_only_lines_of_ours(&file);
    assert!(!file.contains(TEXT), "a text stands in the file");

    // For programs.
    scene.home.configure(&config);
    scene.relay = scene.home.spawn_with(&["--log-format", "json"]);
    behaves_badly(&scene, &stranger, 1).await;
    is_up_to_date(&scene, &stranger, "as JSON").await;
    let log = bounded(&mut scene.relay, 80_000).await;
    for line in log.lines() {
        let json: Value = serde_json::from_str(line).expect("each line is JSON");
        assert!(
            json["timestamp"].is_string() && json["level"].is_string(),
            "{line}"
        );
        assert!(!json.to_string().contains("\\u001b"), "{line}");
    }
}

#[tokio::test]
async fn lines_of_our_own_that_others_cause_are_bounded_too_and_the_last_is_told() {
    let mut scene = Plan::one_room(Kind::Encrypted).start().await;
    scene.alice.send(&scene.room, "hello").await;
    let own = scene.radio.transmits("Alice[M]: hello").await["from"].clone();
    assert!(scene.relay.stop().await.success());
    scene.relay = scene.home.spawn_with(&[]);
    scene.relay.logs("connected to the homeserver").await;
    for number in 0..MANY {
        let message = json!({"to": own, "text": format!("private {number}")});
        scene.radio.sends(BASE, message).await;
        let content = json!({"algorithm": "m.megolm.v1.aes-sha2", "session_id": "unknown",
            "sender_key": "", "device_id": "", "ciphertext": ""});
        let transaction = rand::random::<u64>().to_string();
        let path = [
            "rooms",
            scene.room.as_str(),
            "send",
            "m.room.encrypted",
            &transaction,
        ];
        scene.alice.request(Method::PUT, &path, &content).await;
    }
    scene.alice.send(&scene.room, "the last word").await;
    scene.radio.transmits("Alice[M]: the last word").await;
    assert!(scene.relay.stop().await.success());
    let log = scene.relay.log();
    // One for a sender.
    assert_eq!(log.matches("a message cannot be decrypted").count(), 1);
    let words = "a direct message to our node is kept";
    let lines: Vec<_> = log.lines().filter(|line| line.contains(words)).collect();
    // The burst, the lines permitted meanwhile, and the last suppressed one.
    assert!(
        (100..MANY - 20).contains(&lines.len()),
        "{words}: {}",
        lines.len()
    );
    // The number of suppressed lines is logged.
    let left_out = lines
        .iter()
        .filter_map(|line| line.split_once(" left_out="));
    let left_out = left_out.map(|(_, count)| count.parse::<usize>().expect("a number"));
    assert_eq!(lines.len() + left_out.sum::<usize>(), MANY, "{words}");
    assert!(!log.contains("private"));
}
