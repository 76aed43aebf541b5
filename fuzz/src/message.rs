//! Any message of Matrix is read aloud without a panic, and what is read is bounded.

use relay_model::RoomTextKind;
use relay_reading::{Names, Quote, read_message};
use serde_json::{Value, json};

/// An event has at most 64 KiB.
const LARGEST: usize = 64 * 1024;
/// How much longer than its content a text can become: each of at most 100 nested quotes puts `> ` before each line.
const GROWTH: usize = 256;

/// The input is a message's content in JSON, or else text that is both its plain and its formatted body.
pub fn message(input: &[u8]) {
    let Some(text) = std::str::from_utf8(input)
        .ok()
        .filter(|it| it.len() <= LARGEST)
    else {
        return;
    };
    let content = serde_json::from_str(text).ok().filter(Value::is_object);
    let content = content.unwrap_or_else(|| {
        json!({
            "msgtype": "m.text",
            "body": text,
            "format": "org.matrix.custom.html",
            "formatted_body": text,
        })
    });
    let plain = json!({"msgtype": "m.text", "body": text});
    let bob = "@bob:example.org".try_into().expect("a user's id");
    let names = Names::from([(bob, "Bob".to_owned())]);
    for (kind, content) in [
        ("m.room.message", &content),
        ("m.room.message", &plain),
        ("m.sticker", &content),
        ("m.poll.start", &content),
        ("m.beacon_info", &content),
        ("m.room.topic", &content),
    ] {
        for quote in [Quote::None, Quote::Perhaps, Quote::Reply] {
            let read = read_message(kind, content, quote, &names);
            assert_eq!(read, read_message(kind, content, quote, &names));
            let Some((read_as, words)) = read else {
                continue;
            };
            assert!(words.len() <= GROWTH * (text.len() + 1));
            if matches!(read_as, RoomTextKind::LiveLocation) {
                assert!(words.is_empty());
            }
        }
    }
}
