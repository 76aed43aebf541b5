//! A text that is too long for one packet is sent in parts, and is still one message.

use serde_json::{Value, json};

use crate::support::radio::{BASE, SUMMIT, id_of, transmitted};
use crate::support::scene::{Plan, Scene};
use crate::support::user::{BOTH_KINDS, Kind};

/// Makes a text of this many bytes out of characters of one to 25 bytes.
fn text_of(bytes: usize) -> String {
    let characters = ["👩‍👩‍👧‍👦", "漢", "字", "é", "ß", "🇩🇪", "a"];
    let mut text = String::new();
    for character in characters.iter().cycle() {
        if text.len() + character.len() <= bytes {
            text.push_str(character);
        } else if text.len() < bytes {
            text.push('x');
        } else {
            break;
        }
    }
    text
}

/// Waits for all parts of a text, and returns their packets.
async fn parts(scene: &Scene, total: usize) -> Vec<Value> {
    let mut packets = Vec::new();
    for part in 1..=total {
        let counter = format!("{part}/{total}");
        let is_part = |packet: &Value| {
            let text = packet["text"].as_str().unwrap_or_default();
            text.contains(&format!("{counter} ")) || text.contains(&format!("{counter}: "))
        };
        packets.push(scene.radio.transmits_where(&counter, is_part).await);
    }
    packets
}

/// Returns the text of the parts without prefixes and counters.
fn joined(packets: &[Value]) -> String {
    let total = packets.len();
    let said = packets.iter().enumerate().map(|(part, packet)| {
        let text = packet["text"].as_str().expect("a part is a text");
        let head = match part {
            0 => format!("Alice[M]: 1/{total} "),
            _ => format!("Alice {}/{total}: ", part + 1),
        };
        text.strip_prefix(&head)
            .unwrap_or_else(|| panic!("{text:?} does not begin with {head:?}"))
    });
    said.collect()
}

async fn crosses_in_three_parts_that_are_one_message(kind: Kind) {
    let mut scene = Plan::one_room(kind).start().await;
    let text = text_of(500);
    assert_eq!(text.len(), 500);
    let event = scene.alice.send(&scene.room, &text).await;
    let packets = parts(&scene, 3).await;
    assert_eq!(joined(&packets), text);
    for packet in &packets {
        let size = packet["text"].as_str().map_or(0, str::len);
        assert!(size <= 200, "a part of {size} bytes");
    }

    // A reply to any part is a reply to the message.
    for (packet, emoji) in packets.iter().zip(["👍", "🎉", "👋"]) {
        let answer = format!("an answer with {emoji}");
        scene.radio.replies(BASE, 0, id_of(packet), &answer).await;
        let seen = scene
            .alice
            .sees_text(&scene.room, &format!("[Base Camp/LongFast]: {answer}"))
            .await;
        assert_eq!(seen.answers(), Some(event.as_str()));
        scene.radio.taps(SUMMIT, 0, id_of(packet), emoji).await;
        let reaction = scene.alice.sees(&scene.room, emoji, |seen| {
            seen.event["type"] == "m.reaction"
                && seen.content("/m.relates_to/event_id") == event.as_str()
                && seen
                    .content("/m.relates_to/key")
                    .as_str()
                    .is_some_and(|key| key.contains(emoji))
        });
        reaction.await;
    }
    // Alice's reaction to the message goes to its first part.
    scene
        .alice
        .reply(&scene.room, &event, "my own answer")
        .await;
    scene.alice.react(&scene.room, &event, "🔥").await;
    let answer = scene.radio.transmits("Alice[M]: my own answer").await;
    assert_eq!(answer["reply_id"], packets[0]["id"]);
    let tapback = scene.radio.transmits("🔥").await;
    assert_eq!(tapback["reply_id"], packets[0]["id"]);
}

#[tokio::test]
async fn a_long_text_crosses_in_parts_that_are_one_message_in_both_kinds_of_rooms() {
    let [plain, encrypted] = BOTH_KINDS.map(crosses_in_three_parts_that_are_one_message);
    tokio::join!(plain, encrypted);
}

/// The second part is refused with that number once.
async fn one_refused_part_is_sent_again_alone(error: u32, nak: bool) {
    let mut scene = Plan::one_room(Kind::Plain).start().await;
    scene.alice.send(&scene.room, "before").await;
    scene.radio.transmits("Alice[M]: before").await;
    let refuse = json!({"fault": "refuse", "error": error, "nak": nak, "skip": 1});
    scene.radio.fault(refuse).await;
    scene.alice.send(&scene.room, &text_of(500)).await;
    scene.alice.send(&scene.room, "after").await;
    scene.radio.transmits("Alice[M]: after").await;

    let packets = parts(&scene, 3).await;
    assert_eq!(joined(&packets), text_of(500));
    let texts = scene.radio.texts();
    let wanted: Vec<_> = packets
        .iter()
        .filter_map(|packet| packet["text"].as_str())
        .collect();
    assert_eq!(texts[1..texts.len() - 1], wanted, "in order, each once");
    let refused = scene.radio.output.all().into_iter().filter_map(|line| {
        let line: Value = serde_json::from_str(&line).ok()?;
        (line["fate"] == "refused").then(|| line["transmitted"]["text"].clone())
    });
    assert_eq!(
        refused.collect::<Vec<_>>(),
        [wanted[1]],
        "that part was refused once"
    );

    // A reply to the part that was sent twice finds the message, too.
    scene
        .radio
        .replies(BASE, 0, id_of(&packets[1]), "to the second")
        .await;
    let seen = scene
        .alice
        .sees_text(&scene.room, "[Base Camp/LongFast]: to the second");
    assert!(seen.await.answers().is_some());
}

#[tokio::test]
async fn a_part_over_the_rate_limit_is_sent_again_alone_and_in_order() {
    one_refused_part_is_sent_again_alone(38, true).await;
}

#[tokio::test]
async fn a_part_that_finds_the_queue_full_is_sent_again_alone_and_in_order() {
    one_refused_part_is_sent_again_alone(32, false).await;
}

#[tokio::test]
async fn a_redaction_withdraws_the_parts_that_wait() {
    let mut scene = Plan::one_room(Kind::Encrypted).start().await;
    // The second part meets a full queue, and waits long enough to be withdrawn.
    let refuse = json!({"fault": "refuse", "error": 32, "nak": false, "skip": 1});
    scene.radio.fault(refuse).await;
    let event = scene.alice.send(&scene.room, &text_of(500)).await;
    scene.radio.writes("\"fate\":\"refused\"").await;
    scene.alice.redact(&scene.room, &event).await;
    scene
        .relay
        .logs("taken back before it was transmitted")
        .await;
    scene.alice.send(&scene.room, "after").await;
    scene.radio.transmits("Alice[M]: after").await;
    let texts = scene.radio.texts();
    assert_eq!(texts.len(), 2, "{texts:?}");
    assert!(texts[0].starts_with("Alice[M]: 1/3 "), "{texts:?}");
}

#[tokio::test]
async fn a_text_that_is_too_long_is_refused_whole_and_its_sender_is_told() {
    let scene = Plan::one_room(Kind::Encrypted).start().await;
    let event = scene.alice.send(&scene.room, &text_of(700)).await;
    let notice = scene.alice.sees(&scene.room, "a notice", |seen| {
        seen.event["sender"] == scene.bot.as_str() && seen.content("/msgtype") == "m.notice"
    });
    let notice = notice.await;
    assert_eq!(notice.answers(), Some(event.as_str()));
    assert!(notice.body().contains("does not fit"), "{}", notice.body());
    assert_eq!(notice.content("/mmrelay_suppress"), true);
    scene.alice.send(&scene.room, "short").await;
    scene.radio.transmits("Alice[M]: short").await;
    assert_eq!(scene.radio.texts(), ["Alice[M]: short"]);
}

#[tokio::test]
async fn with_overflow_cut_a_long_text_is_cut_and_its_sender_is_told() {
    let scene = Plan::one_room(Kind::Plain)
        .meshtastic("long_messages: {overflow: cut}")
        .start()
        .await;
    let event = scene.alice.send(&scene.room, &text_of(700)).await;
    let packets = parts(&scene, 3).await;
    let said = joined(&packets);
    let kept = said
        .strip_suffix('…')
        .expect("the end shows that it was cut");
    assert!(text_of(700).starts_with(kept) && kept.len() > 500, "{kept}");
    let notice = scene.alice.sees(&scene.room, "a notice", |seen| {
        seen.event["sender"] == scene.bot.as_str() && seen.content("/msgtype") == "m.notice"
    });
    assert_eq!(notice.await.answers(), Some(event.as_str()));
}

#[tokio::test]
async fn a_name_or_a_character_that_no_packet_holds_hinders_nobody() {
    let scene = Plan::one_room(Kind::Plain)
        .meshtastic("prefix_format: '{display}[M]: '")
        .start()
        .await;
    let tower = format!("e{}", "\u{301}".repeat(150));
    scene.alice.send(&scene.room, &tower).await;
    let packets = parts(&scene, 2).await;
    assert_eq!(joined(&packets), tower, "nothing of it is lost");

    let name = "👩‍👩‍👧‍👦".repeat(8);
    let account = scene.alice.client().account();
    account
        .set_display_name(Some(&name))
        .await
        .expect("a name can be set");
    scene
        .alice
        .sees(&scene.room, "the new name", |seen| {
            seen.content("/displayname") == name.as_str()
        })
        .await;
    scene.alice.send(&scene.room, "by a long name").await;
    let packet = scene
        .radio
        .transmits_where("a text by a long name", |packet| {
            let text = packet["text"].as_str().unwrap_or_default();
            text.ends_with("[M]: by a long name")
        })
        .await;
    let size = packet["text"].as_str().map_or(0, str::len);
    assert!(size < 232 / 2, "{size} bytes");
    let taken = scene
        .radio
        .output
        .all()
        .iter()
        .filter_map(|line| transmitted(line))
        .count();
    assert!(taken >= 3);
}
