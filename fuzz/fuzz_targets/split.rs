//! Any text, any rules: what goes on the air is within the packet's limit, and nothing is lost unless that is said.

#![no_main]

use libfuzzer_sys::fuzz_target;
use relay::bridge::{Fitted, Heading, PACKET_BYTES, REPLY_BYTES, fit};
use relay::config::{LongMessages, Overflow};

fn letters(text: &str) -> String {
    text.chars()
        .filter(|letter| !letter.is_whitespace())
        .collect()
}

fuzz_target!(|input: (String, u8, u8, bool, bool, bool)| {
    let (text, part_bytes, max_parts, is_reply, split, cut) = input;
    let text = text.trim();
    let rules = LongMessages {
        split,
        part_bytes: 40 + usize::from(part_bytes) % 193,
        max_parts: 1 + usize::from(max_parts) % 9,
        overflow: if cut { Overflow::Cut } else { Overflow::Refuse },
    };
    let heading = Heading {
        prefix: "Alice[M]: ".to_owned(),
        label: "Alice".to_owned(),
    };
    let fitted = fit(&heading, text, is_reply, &rules);
    let (packets, whole) = match &fitted {
        Fitted::Packets(packets) => (packets, true),
        Fitted::Cut(packets) => (packets, false),
        Fitted::TooLong { bytes } => {
            assert!(*bytes > REPLY_BYTES && !cut);
            return;
        }
    };
    assert!(whole || cut);
    let mut rest = letters(text);
    for (part, packet) in packets.iter().enumerate() {
        let limit = if is_reply && part == 0 {
            REPLY_BYTES
        } else {
            PACKET_BYTES
        };
        assert!(packet.len() <= limit);
        // What follows the heading stands in the text, in its order.
        let said = match packet.split_once(": ") {
            Some((_, said)) if part > 0 || packets.len() == 1 => said,
            Some((_, said)) => said.split_once(' ').map_or("", |(_, said)| said),
            None => "",
        };
        let said = letters(said);
        if whole {
            rest = rest
                .strip_prefix(&said)
                .expect("the parts hold the text")
                .to_owned();
        }
    }
    assert!(!whole || rest.is_empty());
});
