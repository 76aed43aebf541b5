//! Packets of a text: counted on acceptance, made when the first is submitted, with the age of a late text.

use std::time::Duration;

use crate::split::{Fitted, PACKET_BYTES, Packets, fit, packet_bytes};
use relay_config::{LongMessages, Overflow};
use relay_model::{Draft, Heading, span, spoken};

/// Counts the packets of a text, and tells whether they hold all of it; `None`: it is too long.
pub(crate) fn plan(draft: Draft, rules: &LongMessages) -> Option<(Draft, bool)> {
    let fitted = fitted(&draft, "", rules).permitted(rules)?;
    let packets = fitted.packets.count();
    Some((Draft { packets, ..draft }, fitted.is_whole))
}

/// Returns the contents of a text's packets. The age follows the prefix and may need one more packet; without room it is left
/// out.
pub fn render(draft: &Draft, age: Option<Duration>, rules: &LongMessages) -> Packets {
    let plain = fitted(draft, "", rules).permitted(rules);
    let plain = plain.unwrap_or_else(|| by_other_rules(draft));
    age.and_then(|age| with_age(draft, &plain, &age_mark(age), rules))
        .unwrap_or_else(|| plain.packets(""))
}

/// Fits a text into packets, with a mark after its prefix.
fn fitted(draft: &Draft, mark: &str, rules: &LongMessages) -> Fitted {
    let heading = Heading {
        prefix: format!("{}{mark}", draft.heading.prefix),
        label: draft.heading.label.clone(),
    };
    let text = spoken(&draft.text, draft.correction);
    fit(&heading, &text, draft.reply_to.is_some(), rules)
}

/// Returns the packets of a text that was accepted under other settings; it is sent anyway.
fn by_other_rules(draft: &Draft) -> Fitted {
    let rules = LongMessages {
        split: draft.packets > 1,
        part_bytes: PACKET_BYTES,
        max_parts: draft.packets.into(),
        overflow: Overflow::Cut,
    };
    fitted(draft, "", &rules)
}

fn with_age(draft: &Draft, plain: &Fitted, mark: &str, rules: &LongMessages) -> Option<Packets> {
    // If the text is cut, drop the age: the sender was told of the cut only.
    let aged = fitted(draft, mark, rules).permitted(rules);
    if let Some(aged) = aged.filter(|it| it.is_whole || !plain.is_whole) {
        return Some(aged.packets(""));
    }
    // A part may be as long as a packet, if necessary.
    let packets = plain.packets(mark);
    let limit = packet_bytes(draft.reply_to.is_some());
    (packets.first.len() <= limit).then_some(packets)
}

/// Returns the age of a text as it follows its prefix.
fn age_mark(age: Duration) -> String {
    format!("({} ago) ", span::short(age))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::split::REPLY_BYTES;
    use crate::testing::config;
    use relay_model::PacketId;

    fn rules() -> LongMessages {
        config().meshtastic.long_messages
    }

    fn draft(text: &str, is_reply: bool) -> Draft {
        Draft {
            heading: Heading {
                prefix: "Alice[M]: ".into(),
                label: "Alice".into(),
            },
            text: text.into(),
            reply_to: is_reply.then_some(PacketId(5)),
            ..Draft::default()
        }
    }

    fn render(draft: &Draft, age: Option<Duration>, rules: &LongMessages) -> Vec<String> {
        crate::render(draft, age, rules).all()
    }

    fn plain(text: &str, is_reply: bool, rules: &LongMessages) -> Vec<String> {
        render(&draft(text, is_reply), None, rules)
    }

    fn aged(text: &str, is_reply: bool, minutes: u64) -> Vec<String> {
        let age = Duration::from_mins(minutes);
        render(&draft(text, is_reply), Some(age), &rules())
    }

    #[test]
    fn an_old_text_says_so_after_its_prefix() {
        assert_eq!(aged("hello", false, 14), ["Alice[M]: (14 min ago) hello"]);
        assert_eq!(aged("hello", true, 150), ["Alice[M]: (2 h ago) hello"]);
        assert_eq!(aged("hello", true, 5000), ["Alice[M]: (3 days ago) hello"]);
        let age = Some(Duration::from_mins(6));
        let emote = Draft {
            heading: Heading {
                prefix: "* Alice[M] ".into(),
                label: "Alice".into(),
            },
            ..draft("waves", false)
        };
        assert_eq!(
            render(&emote, age, &rules()),
            ["* Alice[M] (6 min ago) waves"]
        );
        let correction = Draft {
            correction: 1,
            ..draft("hello", true)
        };
        assert_eq!(
            render(&correction, age, &rules()),
            ["Alice[M]: (6 min ago) * hello"]
        );
        let nobody = Draft {
            heading: Heading::default(),
            ..draft("hello", false)
        };
        assert_eq!(render(&nobody, age, &rules()), ["(6 min ago) hello"]);
    }

    #[test]
    fn a_text_that_fitted_is_not_cut_to_tell_its_age() {
        let cutting = LongMessages {
            overflow: Overflow::Cut,
            ..rules()
        };
        for split in [true, false] {
            let rules = LongMessages { split, ..cutting };
            let fits = |length: &usize| {
                let draft = draft(&"x".repeat(*length), false);
                plan(draft, &rules).is_some_and(|(_, is_whole)| is_whole)
            };
            let longest = (1..1000).rev().find(fits).unwrap();
            for (length, is_whole) in [(longest, true), (longest + 1, false)] {
                let draft = draft(&"x".repeat(length), false);
                let rendered = render(&draft, Some(Duration::from_mins(14)), &rules).concat();
                assert_eq!(
                    rendered.matches('x').count() == length,
                    is_whole,
                    "{rendered}"
                );
                assert_eq!(rendered.contains('…'), !is_whole, "{rendered}");
            }
        }
    }

    #[test]
    fn a_text_that_filled_its_packet_needs_one_more() {
        for (is_reply, bytes) in [(false, PACKET_BYTES), (true, REPLY_BYTES)] {
            let text = "x".repeat(bytes - "Alice[M]: ".len());
            assert_eq!(plain(&text, is_reply, &rules()).len(), 1);
            let marked = aged(&text, is_reply, 14);
            assert_eq!(marked.len(), 2);
            assert!(marked[0].starts_with("Alice[M]: (14 min ago) 1/2 xx"));
            assert!(marked[1].starts_with("Alice 2/2: xx"));
        }
    }

    #[test]
    fn a_text_that_filled_all_its_parts_is_marked_within_the_packets_own_limit() {
        let room = 200 - "Alice[M]: 1/3 ".len() + 2 * (200 - "Alice 2/3: ".len());
        let text = "x".repeat(room);
        let plain = plain(&text, false, &rules());
        let marked = aged(&text, false, 14);
        assert_eq!(marked.len(), 3);
        assert_eq!(marked[1..], plain[1..]);
        assert_eq!(marked[0].len(), 200 + "(14 min ago) ".len());
        assert!(marked[0].starts_with("Alice[M]: (14 min ago) 1/3 x"));
    }

    #[test]
    fn what_has_no_room_for_its_age_goes_without() {
        let rules = LongMessages {
            split: false,
            ..rules()
        };
        let text = "x".repeat(PACKET_BYTES - "Alice[M]: ".len());
        let late = Some(Duration::from_mins(14));
        assert_eq!(
            render(&draft(&text, false), late, &rules),
            plain(&text, false, &rules)
        );
    }

    #[test]
    fn what_was_accepted_goes_whatever_the_rules_say_by_then() {
        let stricter = LongMessages {
            max_parts: 2,
            part_bytes: 60,
            ..rules()
        };
        for (length, packets) in [(250, 2), (500, 3)] {
            let text = "x".repeat(length);
            assert_eq!(plan(draft(&text, false), &stricter), None);
            let (draft, is_whole) = plan(draft(&text, false), &rules()).unwrap();
            assert_eq!((draft.packets, is_whole), (packets, true));
            for age in [None, Some(Duration::from_mins(14))] {
                let rendered = render(&draft, age, &stricter);
                assert_eq!(rendered.len(), usize::from(packets));
                assert_eq!(rendered.concat().matches('x').count(), length);
            }
        }
    }

    #[test]
    fn there_is_always_a_packet_whatever_the_heading_the_text_and_the_rules_are() {
        for prefix in ["", "Alice[M]: ", &"x".repeat(300)] {
            for text in ["", " ", "hello", &"y".repeat(900)] {
                for max_parts in [0, 1, 2, 3] {
                    let heading = Heading {
                        prefix: prefix.to_owned(),
                        label: String::new(),
                    };
                    let draft = Draft {
                        heading,
                        ..draft(text, true)
                    };
                    let rules = LongMessages {
                        max_parts,
                        ..rules()
                    };
                    let rendered = render(&draft, None, &rules);
                    assert!(rendered.first().is_some_and(|it| it.starts_with(prefix)));
                }
            }
        }
    }

    proptest! {
        #[test]
        fn a_marked_message_fits_and_loses_nothing(
            text in "[a-zé🙂 ]{1,600}",
            is_reply in any::<bool>(),
            minutes in 5..100_000_u64,
            part_bytes in 60..=232_usize,
            overflow in prop_oneof![Just(Overflow::Refuse), Just(Overflow::Cut)],
        ) {
            let rules = LongMessages { part_bytes, overflow, ..rules() };
            let Some((draft, _)) = plan(draft(text.trim(), is_reply), &rules) else {
                return Ok(());
            };
            let plain = render(&draft, None, &rules);
            prop_assert_eq!(plain.len(), usize::from(draft.packets));
            let age = Duration::from_mins(minutes);
            let marked = render(&draft, Some(age), &rules);
            prop_assert!(marked == plain || marked[0].contains(&age_mark(age)));
            prop_assert!(marked.len() <= rules.max_parts);
            for (part, packet) in marked.iter().enumerate() {
                let limit = if is_reply && part == 0 { REPLY_BYTES } else { PACKET_BYTES };
                prop_assert!(packet.len() <= limit);
            }
            let letters = |packets: &[String]| {
                packets.concat().chars().filter(|it| "é🙂".contains(*it)).count()
            };
            if overflow == Overflow::Refuse {
                prop_assert_eq!(letters(&marked), letters(&plain));
            }
        }
    }
}
