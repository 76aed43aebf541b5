//! Any text of any age by any rules: each packet is within the size limit, and every omission is marked.

use std::iter;
use std::time::Duration;

use relay_bridge::{PACKET_BYTES, render};
use relay_config::{LongMessages, Overflow};
use relay_model::{Draft, Heading, PacketId, span};

/// The bytes of a packet that answers another one (`RadioPayload::Text`).
const REPLY_BYTES: usize = 227;
/// Length in bytes of a text that fits into 255 packets, the maximum.
const LONGEST: usize = 16_000;

fn letters(text: &str) -> String {
    text.chars()
        .filter(|letter| !letter.is_whitespace())
        .collect()
}

/// Four bytes are the rules and the age, the rest is the text.
pub fn split(input: &[u8]) {
    let Some((&[part_bytes, max_parts, choices, minutes], text)) = input.split_first_chunk() else {
        return;
    };
    let text = String::from_utf8_lossy(text);
    if text.len() > LONGEST {
        return;
    }
    let chosen = |bit: u8| choices & (1 << bit) != 0;
    let (is_reply, split, cut, is_old) = (chosen(0), chosen(1), chosen(2), chosen(3));
    let rules = LongMessages {
        split,
        part_bytes: 40 + usize::from(part_bytes) % 193,
        max_parts: 1 + usize::from(max_parts) % 9,
        overflow: if cut { Overflow::Cut } else { Overflow::Refuse },
    };
    let draft = Draft {
        heading: Heading {
            prefix: "Alice[M]: ".to_owned(),
            label: "Alice".to_owned(),
        },
        text: text.trim().to_owned(),
        reply_to: is_reply.then_some(PacketId(5)),
        packets: u8::MAX,
        ..Draft::default()
    };
    // Up to three days, in steps of 17 minutes.
    let age = is_old.then(|| Duration::from_mins(u64::from(minutes) * 17));
    let mark = age.map_or_else(String::new, |age| format!("({} ago) ", span::short(age)));
    let rendered = render(&draft, age, &rules);
    let packets: Vec<_> = iter::once(rendered.first).chain(rendered.further).collect();
    let total = packets.len();
    assert!(!cut || total <= rules.max_parts);
    let mut rest = letters(&draft.text);
    let mut is_marked = false;
    for (part, packet) in packets.iter().enumerate() {
        let limit = if is_reply && part == 0 {
            REPLY_BYTES
        } else {
            PACKET_BYTES
        };
        assert!(packet.len() <= limit);
        let said = if part == 0 {
            let said = packet.strip_prefix("Alice[M]: ").expect("the prefix");
            // Without room, the age is omitted.
            let said = said.strip_prefix(&mark).unwrap_or(said);
            let counter = if total > 1 {
                format!("1/{total} ")
            } else {
                String::new()
            };
            said.strip_prefix(&counter).expect("the counter")
        } else {
            let head = format!("Alice {}/{total}: ", part + 1);
            packet.strip_prefix(&head).expect("the heading")
        };
        // The text after each heading occurs in the original, in order.
        let said = letters(said);
        is_marked = cut && said.ends_with('…');
        if let Some(left) = rest.strip_prefix(&said) {
            rest = left.to_owned();
        } else {
            let kept = said.strip_suffix('…').expect("the parts hold the text");
            assert!(cut && part + 1 == total && rest.starts_with(kept));
            return;
        }
    }
    // Where it is cut the text itself may have the mark.
    assert!(rest.is_empty() || is_marked);
}
