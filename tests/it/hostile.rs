//! Texts and names are untrusted, from both sides.

use serde_json::json;

use crate::support::radio::{BASE, Node};
use crate::support::scene::Plan;
use crate::support::user::{Kind, Seen};

const LAST: Node = Node {
    id: "!0a0b0c09",
    long: "Last",
    short: "LAST",
};

fn hex(bytes: &[u8]) -> String {
    let digits: Vec<_> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    digits.concat()
}

/// Every text from the mesh is plain: no HTML, no mention, no invisible or bidirectional control characters.
fn is_harmless(seen: &Seen) {
    assert_eq!(seen.content("/msgtype"), "m.text", "{}", seen.event);
    assert_eq!(seen.content("/format"), &json!(null), "{}", seen.event);
    assert_eq!(
        seen.content("/formatted_body"),
        &json!(null),
        "{}",
        seen.event
    );
    assert_eq!(seen.content("/m.mentions"), &json!({}), "{}", seen.event);
    let hidden = |c: char| {
        c == '\0' || c == '\u{1b}' || matches!(c, '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
    };
    assert!(!seen.body().contains(hidden), "{}", seen.event);
}

#[tokio::test]
async fn hostile_bytes_from_the_mesh_become_harmless_text() {
    let mut scene = Plan::one_room(Kind::Plain).start().await;
    let long = "x".repeat(232);
    let texts: [(&[u8], &str); 10] = [
        (
            b"<b>bold</b><script>alert(1)</script>",
            "<b>bold</b><script>alert(1)</script>",
        ),
        (b"@room and @alice:localhost", "@room and @alice:localhost"),
        ("a\u{202E}b\u{2066}c".as_bytes(), "abc"),
        (b"nul\0 in it", "nul in it"),
        (b"\x1b[31mred\x1b[0m", "[31mred[0m"),
        (b"bell\x07", "bell🔔"),
        (b"broken \xFF\xFE utf-8", "broken \u{FFFD}\u{FFFD} utf-8"),
        (b"magic \x94\xC3 bytes", "magic \u{FFFD}\u{FFFD} bytes"),
        (long.as_bytes(), &long),
        (
            "[link](https://example.org) *stars* _and_ `ticks`".as_bytes(),
            "[link](https://example.org) *stars* _and_ `ticks`",
        ),
    ];
    for (bytes, text) in texts {
        scene
            .radio
            .sends(BASE, json!({"channel": 0, "hex": hex(bytes)}))
            .await;
        let seen = scene
            .alice
            .sees_text(&scene.room, &format!("[Base Camp/LongFast]: {text}"))
            .await;
        is_harmless(&seen);
    }
}

#[tokio::test]
async fn hostile_names_from_the_mesh_become_harmless_prefixes() {
    let mut scene = Plan::one_room(Kind::Plain).start().await;
    let names: [(Node, &str); 3] = [
        (
            Node {
                id: "!0a0b0d01",
                long: "<h1>@room</h1>",
                short: "<b>",
            },
            "<h1>@room</h1>",
        ),
        (
            Node {
                id: "!0a0b0d02",
                long: "ni\u{202E}ce\0",
                short: "\u{202E}",
            },
            "nice",
        ),
        (
            Node {
                id: "!0a0b0d03",
                long: "_*under*_",
                short: "_*_",
            },
            "_*under*_",
        ),
    ];
    for (node, name) in names {
        scene.radio.says(node, 0, "who am I?").await;
        let seen = scene
            .alice
            .sees_text(&scene.room, &format!("[{name}/LongFast]: who am I?"))
            .await;
        is_harmless(&seen);
    }
}

#[tokio::test]
async fn hostile_packets_are_passed_over_and_the_link_lives_on() {
    let mut scene = Plan::one_room(Kind::Plain).start().await;
    for packet in [
        json!({"channel": 0, "hex": ""}),
        json!({"channel": 0, "hex": "ffffffff", "port": 4}),
        json!({"channel": 0, "hex": "0a", "port": 5}),
        json!({"channel": 0, "hex": "08ffffffffffffffffff01", "port": 67}),
    ] {
        scene.radio.sends(BASE, packet).await;
    }
    scene.radio.says(LAST, 0, "the last word").await;
    scene
        .alice
        .sees_text(&scene.room, "[Last/LongFast]: the last word")
        .await;
}

#[tokio::test]
async fn hostile_events_from_matrix_become_harmless_packets() {
    let scene = Plan::one_room(Kind::Encrypted).start().await;
    // In an encrypted room the homeserver cannot refuse malformed content.
    let room = &scene.room;
    let html = json!({"msgtype": "m.text", "body": "plain", "format": "org.matrix.custom.html",
        "formatted_body": "<h1>what people see</h1><script>alert(1)</script>"});
    scene.alice.send_message(room, html).await;
    scene.radio.transmits("Alice[M]: what people see").await;

    scene.alice.send(room, "a\u{202E}b\u{0}c").await;
    scene.radio.transmits("Alice[M]: abc").await;

    for content in [
        json!({"msgtype": "m.text"}),
        json!({"msgtype": "m.text", "body": 7}),
        json!({"msgtype": {}, "body": "an object"}),
        json!({"msgtype": "m.image", "body": "secret-file-name.png"}),
        json!({"msgtype": "m.text", "body": "wrong types", "meshtastic_id": {}, "meshtastic_longname": []}),
        json!({"msgtype": "m.text", "body": ""}),
    ] {
        scene.alice.send_message(room, content).await;
    }
    scene
        .alice
        .send_raw(room, "m.reaction", json!({"m.relates_to": "nothing"}))
        .await;
    scene.alice.send(room, "the last word").await;
    scene.radio.transmits("Alice[M]: the last word").await;
    for text in scene.radio.texts() {
        assert!(!text.contains("secret-file-name"), "{text}");
        assert!(!text.contains("an object"), "{text}");
    }
}

#[tokio::test]
async fn a_text_of_232_bytes_goes_whole_and_one_more_byte_does_not() {
    let scene = Plan::one_room(Kind::Plain).start().await;
    let whole = "x".repeat(232 - "Alice[M]: ".len());
    scene.alice.send(&scene.room, &whole).await;
    scene.radio.transmits(&format!("Alice[M]: {whole}")).await;
    scene.alice.send(&scene.room, &format!("{whole}y")).await;
    let part = |packet: &serde_json::Value| {
        packet["text"]
            .as_str()
            .is_some_and(|text| text.starts_with("Alice[M]: 1/2 "))
    };
    scene
        .radio
        .transmits_where("the first of two parts", part)
        .await;
}
