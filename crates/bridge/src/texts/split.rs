//! Fitting a text into packets: whole, in numbered parts, cut, or refused. Decides on lengths alone; prefixes are passed in and
//! prepended last.

use unicode_segmentation::UnicodeSegmentation as _;

use crate::text::fitting;
use relay_config::{LongMessages, Overflow};
use relay_model::Heading;

/// Maximum text bytes in a channel packet (measured on firmware 2.7).
pub const PACKET_BYTES: usize = 232;
/// Maximum text bytes in a reply on a channel: `reply_id` takes the other five.
pub(crate) const REPLY_BYTES: usize = 227;

/// Mark at the end of a truncated text.
const CUT: &str = "…";

/// A text fitted into packets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fitted {
    /// Prefix of the first packet.
    prefix: String,
    /// The texts of the packets, the first without its prefix.
    pub(crate) packets: Packets,
    /// Whether it is the whole text.
    pub(crate) is_whole: bool,
}

impl Fitted {
    /// Returns the result unless the text is too long.
    pub(crate) fn permitted(self, rules: &LongMessages) -> Option<Self> {
        (self.is_whole || rules.overflow == Overflow::Cut).then_some(self)
    }

    /// Returns the packet contents with this mark after the prefix, regardless of room for it.
    pub(crate) fn packets(&self, mark: &str) -> Packets {
        Packets {
            first: format!("{}{mark}{}", self.prefix, self.packets.first),
            further: self.packets.further.clone(),
        }
    }
}

/// The contents of a text's packets, at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packets {
    /// Text of the first packet, which alone takes the prefix.
    pub first: String,
    /// Texts of the packets behind it, in order.
    pub further: Vec<String>,
}

impl Packets {
    fn one(first: String) -> Self {
        let further = Vec::new();
        Self { first, further }
    }

    pub(crate) fn count(&self) -> u8 {
        u8::try_from(self.further.len()).map_or(u8::MAX, |it| it.saturating_add(1))
    }

    #[cfg(test)]
    pub(crate) fn all(self) -> Vec<String> {
        [self.first].into_iter().chain(self.further).collect()
    }
}

/// Returns how many bytes of text fit into a packet.
pub(crate) fn packet_bytes(is_reply: bool) -> usize {
    if is_reply { REPLY_BYTES } else { PACKET_BYTES }
}

/// Fits a text into packets, and cuts what is too long. The first carries the relation of a reply, if it is one.
pub(crate) fn fit(heading: &Heading, text: &str, is_reply: bool, rules: &LongMessages) -> Fitted {
    // White space at the ends could make parts that say nothing.
    let text = trimmed(text);
    let prefix = heading.prefix.as_str();
    let whole = packet_bytes(is_reply);
    let splits = rules.split && rules.max_parts > 1;
    let parts = Parts {
        heading,
        is_reply,
        rules,
    };
    let most = if splits { rules.max_parts } else { 1 };
    let in_packets = if prefix.len() + text.len() <= whole {
        Some(Packets::one(text.to_owned()))
    } else {
        (2..=most).find_map(|total| parts.numbered(text, total))
    };
    let is_whole = in_packets.is_some();
    let cut = || {
        if splits {
            parts.cut(text)
        } else {
            Packets::one(cut_one("", text, whole.saturating_sub(prefix.len())))
        }
    };
    Fitted {
        prefix: prefix.to_owned(),
        packets: in_packets.unwrap_or_else(cut),
        is_whole,
    }
}

/// The numbered parts of a text.
struct Parts<'a> {
    heading: &'a Heading,
    is_reply: bool,
    rules: &'a LongMessages,
}

impl Parts<'_> {
    /// Splits a text into parts numbered up to `total`; `None` if it needs more.
    fn numbered(&self, text: &str, total: usize) -> Option<Packets> {
        let mut pieces = Vec::with_capacity(total);
        let mut rest = text;
        while !rest.is_empty() {
            let part = pieces.len();
            if part == total {
                return None;
            }
            let (piece, left) = take(rest, self.room_for_text(part, total)?)?;
            pieces.push(piece);
            rest = left;
        }
        let total = pieces.len();
        let packets = pieces.iter().enumerate();
        let mut packets = packets.map(|(part, piece)| format!("{}{piece}", self.head(part, total)));
        Some(Packets {
            first: packets.next()?,
            further: packets.collect(),
        })
    }

    /// Fills all parts that are allowed and loses the rest.
    fn cut(&self, text: &str) -> Packets {
        let total = self.rules.max_parts;
        let mut rest = text;
        let mut packet = |part: usize| {
            let (head, limit) = (self.head(part, total), self.limit(part).unwrap_or(0));
            if part + 1 == total {
                return cut_one(&head, rest, limit);
            }
            let room = limit.saturating_sub(head.len());
            let (piece, left) = take(rest, room).unwrap_or(("", rest));
            rest = left;
            format!("{head}{piece}")
        };
        Packets {
            first: packet(0),
            further: (1..total).map(packet).collect(),
        }
    }

    /// Returns what stands before a part's text, behind the prefix if it is the first.
    fn head(&self, part: usize, total: usize) -> String {
        let (number, label) = (part + 1, &self.heading.label);
        match part {
            0 => format!("{number}/{total} "),
            _ if label.is_empty() => format!("{number}/{total}: "),
            _ => format!("{label} {number}/{total}: "),
        }
    }

    /// Returns how many bytes a part has behind the prefix; `None` if that fills it.
    fn limit(&self, part: usize) -> Option<usize> {
        let (is_reply, prefix) = match part {
            0 => (self.is_reply, self.heading.prefix.len()),
            _ => (false, 0),
        };
        let limit = self.rules.part_bytes.min(packet_bytes(is_reply));
        limit.checked_sub(prefix)
    }

    fn room_for_text(&self, part: usize, total: usize) -> Option<usize> {
        self.limit(part)?.checked_sub(self.head(part, total).len())
    }
}

fn cut_one(head: &str, text: &str, limit: usize) -> String {
    let room = limit.saturating_sub(head.len() + CUT.len());
    let kept = match fitting(text, room) {
        "" => characters(text, room),
        graphemes => graphemes,
    };
    format!("{head}{}{CUT}", kept.trim_end())
}

/// Takes a piece of at most `room` bytes from the beginning: up to a space in its second half, else up to the end
/// of a grapheme cluster, else (one longer than the room) of a character. White space at the cut is dropped.
/// `None` if nothing fits.
fn take(text: &str, room: usize) -> Option<(&str, &str)> {
    if text.len() <= room {
        return Some((text, ""));
    }
    let mut end = 0;
    let mut space = None;
    for (start, grapheme) in text.grapheme_indices(true) {
        if start > room {
            break;
        }
        if start > room / 2 && grapheme.chars().all(char::is_whitespace) {
            space = Some(start);
        }
        if start + grapheme.len() <= room {
            end = start + grapheme.len();
        }
    }
    let cut = match space {
        Some(space) => space,
        None if end > 0 => end,
        None => characters(text, room).len(),
    };
    if cut == 0 {
        return None;
    }
    let (piece, rest) = text.split_at_checked(cut)?;
    Some((trimmed(piece), trimmed(rest)))
}

/// Returns a text without white space at its ends. A space that carries an accent is a character of the text.
fn trimmed(text: &str) -> &str {
    let is_seen = |(_, grapheme): &(usize, &str)| !grapheme.chars().all(char::is_whitespace);
    let mut seen = text.grapheme_indices(true).filter(is_seen);
    let Some((start, first)) = seen.next() else {
        return "";
    };
    let (last, end) = seen.next_back().unwrap_or((start, first));
    text.get(start..last + end.len()).unwrap_or(text)
}

/// Returns as many whole characters from the beginning as fit.
fn characters(text: &str, bytes: usize) -> &str {
    text.get(..text.floor_char_boundary(bytes))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn alice() -> Heading {
        Heading {
            prefix: "Alice[M]: ".to_owned(),
            label: "Alice".to_owned(),
        }
    }

    fn rules() -> LongMessages {
        LongMessages {
            split: true,
            part_bytes: 200,
            max_parts: 3,
            overflow: Overflow::Refuse,
        }
    }

    /// Returns the text of Alice's part without its prefix.
    fn head(part: usize, total: usize) -> String {
        let (heading, rules) = (&alice(), &rules());
        let parts = Parts {
            heading,
            is_reply: false,
            rules,
        };
        let prefix = if part == 0 {
            heading.prefix.as_str()
        } else {
            ""
        };
        format!("{prefix}{}", parts.head(part, total))
    }

    fn fit(heading: &Heading, text: &str, is_reply: bool, rules: &LongMessages) -> Option<Fitted> {
        super::fit(heading, text, is_reply, rules).permitted(rules)
    }

    fn packets(fitted: Option<Fitted>) -> Vec<String> {
        fitted.expect("not too long").packets("").all()
    }

    #[test]
    fn a_text_is_sent_whole_up_to_232_bytes_and_227_as_a_reply() {
        let fits = "x".repeat(222);
        let fitted = fit(&alice(), &fits, false, &rules()).unwrap();
        assert_eq!(
            (fitted.packets("").all(), fitted.is_whole),
            (vec![format!("Alice[M]: {fits}")], true)
        );
        assert_eq!(
            packets(fit(&alice(), &"x".repeat(223), false, &rules())).len(),
            2
        );
        assert_eq!(
            packets(fit(&alice(), &"x".repeat(217), true, &rules())).len(),
            1
        );
        assert_eq!(
            packets(fit(&alice(), &"x".repeat(218), true, &rules())).len(),
            2
        );
    }

    #[test]
    fn parts_are_counted_after_the_prefix_and_after_the_name() {
        let words = "word ".repeat(60);
        let parts = packets(fit(&alice(), words.trim(), false, &rules()));
        assert_eq!(parts.len(), 2);
        assert!(parts[0].starts_with("Alice[M]: 1/2 word "), "{}", parts[0]);
        assert!(parts[1].starts_with("Alice 2/2: word "), "{}", parts[1]);
        assert!(parts.iter().all(|part| part.ends_with("word")));
    }

    #[test]
    fn without_a_prefix_parts_carry_the_counter_alone() {
        let nobody = Heading {
            prefix: String::new(),
            label: String::new(),
        };
        let parts = packets(fit(&nobody, &"y".repeat(300), false, &rules()));
        assert!(parts[0].starts_with("1/2 y") && parts[1].starts_with("2/2: y"));
    }

    #[test]
    fn five_hundred_bytes_of_emoji_cross_in_three_parts_and_seven_hundred_are_refused() {
        let family = "👨‍👩‍👧";
        let parts = packets(fit(
            &alice(),
            &family.repeat(500 / family.len()),
            false,
            &rules(),
        ));
        assert_eq!(parts.len(), 3);
        for part in &parts {
            assert!(part.len() <= 200 && part.ends_with(family));
        }
        let long = "x".repeat(700);
        assert_eq!(fit(&alice(), &long, false, &rules()), None);
    }

    #[test]
    fn what_is_cut_ends_with_a_mark_and_within_the_limit() {
        let cut = LongMessages {
            overflow: Overflow::Cut,
            ..rules()
        };
        let fitted = fit(&alice(), &"x ".repeat(400), false, &cut).unwrap();
        assert!(!fitted.is_whole);
        let parts = fitted.packets("").all();
        assert_eq!(parts.len(), 3);
        assert!(parts.iter().all(|part| part.len() <= 200));
        assert!(parts[2].starts_with("Alice 3/3: x") && parts[2].ends_with('…'));
        let one = LongMessages {
            split: false,
            ..cut
        };
        let fitted = fit(&alice(), &"ä".repeat(400), true, &one).unwrap();
        assert!(!fitted.is_whole);
        let parts = fitted.packets("").all();
        assert_eq!(parts.len(), 1);
        assert!(parts[0].len() <= REPLY_BYTES && parts[0].len() > REPLY_BYTES - 3);
    }

    #[test]
    fn without_splitting_what_is_over_one_packet_is_refused() {
        let whole = LongMessages {
            split: false,
            ..rules()
        };
        assert_eq!(fit(&alice(), &"x".repeat(223), false, &whole), None);
    }

    #[test]
    fn a_grapheme_longer_than_a_part_is_divided_between_its_characters() {
        let tower = format!("e{}", "\u{301}".repeat(150));
        let parts = packets(fit(&alice(), &tower, false, &rules()));
        assert_eq!(parts.len(), 2);
        assert_eq!(
            parts.concat().matches('\u{301}').count(),
            150,
            "nothing is lost"
        );
    }

    #[test]
    fn a_heading_that_leaves_no_room_is_refused_and_not_looped_over() {
        let heading = Heading {
            prefix: "p".repeat(240),
            label: "l".repeat(240),
        };
        let fitted = fit(&heading, "text", false, &rules());
        assert_eq!(fitted, None);
    }

    #[test]
    fn a_mark_stands_behind_the_prefix_of_the_first_packet_and_changes_nothing_else() {
        // The text begins like the prefix.
        let text = format!("Alice[M]: {}", "x".repeat(300));
        let fitted = fit(&alice(), &text, false, &rules()).unwrap();
        let (plain, marked) = (fitted.packets("").all(), fitted.packets("(late) ").all());
        assert_eq!((plain.len(), marked.len()), (2, 2));
        let said = plain[0].strip_prefix("Alice[M]: ").unwrap();
        assert_eq!(marked[0], format!("Alice[M]: (late) {said}"));
        assert_eq!(marked[1], plain[1]);
    }

    fn without_space(text: &str) -> String {
        text.chars().filter(|it| !it.is_whitespace()).collect()
    }

    #[test]
    fn a_part_never_says_nothing_and_white_space_is_no_reason_for_one() {
        let rules = LongMessages {
            part_bytes: 40,
            ..rules()
        };
        for text in [
            format!("{}word", " ".repeat(300)),
            format!("word{}", "\n".repeat(300)),
            " ".repeat(300),
        ] {
            let parts = packets(fit(&alice(), &text, false, &rules));
            assert_eq!(parts, [format!("Alice[M]: {}", text.trim())]);
        }
        let gap = format!("{}{}{}", "a".repeat(150), " ".repeat(150), "b".repeat(150));
        let parts = packets(fit(
            &alice(),
            &gap,
            false,
            &LongMessages {
                part_bytes: 200,
                ..rules
            },
        ));
        assert_eq!(parts[1], format!("Alice 2/2: {}", "b".repeat(150)));
    }

    #[test]
    fn an_accent_on_a_space_stays_on_it() {
        let text = "a \u{301}".repeat(100);
        let parts = packets(fit(&alice(), &text, false, &rules()));
        assert_eq!(parts.concat().matches(" \u{301}").count(), 100);
    }

    /// Removes the heading of each packet, and returns the pieces.
    fn pieces(packets: &[String]) -> Vec<&str> {
        let total = packets.len();
        let piece = |(part, packet)| {
            let head = match total {
                1 => alice().prefix,
                _ => head(part, total),
            };
            str::strip_prefix(packet, &head).expect("each packet begins with its heading")
        };
        packets
            .iter()
            .map(String::as_str)
            .enumerate()
            .map(piece)
            .collect()
    }

    /// Returns the range of each piece in the text; only white space may be missing between them.
    fn places(text: &str, pieces: &[&str]) -> Vec<(usize, usize)> {
        let mut at = 0;
        let mut places = Vec::new();
        for piece in pieces {
            let rest = &text[at..];
            let gap = rest
                .find(piece)
                .unwrap_or_else(|| panic!("{piece:?} is not in {rest:?}"));
            assert!(rest[..gap].trim().is_empty(), "{:?} is lost", &rest[..gap]);
            places.push((at + gap, at + gap + piece.len()));
            at += gap + piece.len();
        }
        assert_eq!(text[at..].trim(), "", "the end is lost");
        places
    }

    proptest! {
        #[test]
        fn parts_are_within_the_limit_and_together_hold_the_whole_text(
            text in "([a-zäß]{1,12}[ \n]?|👨‍👩‍👧|\u{301}{1,9}|漢字){1,120}",
            part_bytes in 40_usize..=232,
            max_parts in 1_usize..=9,
            is_reply in any::<bool>(),
        ) {
            let text = text.trim();
            let rules = LongMessages { split: true, part_bytes, max_parts, overflow: Overflow::Refuse };
            let fitted = fit(&alice(), text, is_reply, &rules);
            prop_assert_eq!(&fitted, &fit(&alice(), text, is_reply, &rules));
            let Some(fitted) = fitted else { return Ok(()) };
            let packets = fitted.packets("").all();
            let total = packets.len();
            prop_assert!(total <= max_parts);
            let mut joined = String::new();
            for (part, packet) in packets.iter().enumerate() {
                let limit = if is_reply && part == 0 { REPLY_BYTES } else { PACKET_BYTES };
                let limit = if total > 1 { limit.min(part_bytes) } else { limit };
                prop_assert!(packet.len() <= limit, "{} > {limit}", packet.len());
                let head = if total > 1 { head(part, total) } else { alice().prefix };
                joined.push_str(packet.strip_prefix(&head).unwrap_or("?"));
            }
            prop_assert_eq!(without_space(&joined), without_space(text));
        }

        #[test]
        fn parts_are_cut_at_spaces_or_else_between_characters_as_people_see_them(
            text in "([a-zäß]{1,70}[ \n]{0,3}|👨‍👩‍👧|🇩🇪|e\u{301}{1,3}|漢字| ){1,120}",
            part_bytes in 60_usize..=232,
            is_reply in any::<bool>(),
        ) {
            let text = text.trim();
            prop_assume!(!text.is_empty());
            let rules = LongMessages { split: true, part_bytes, max_parts: 9, overflow: Overflow::Refuse };
            let Some(fitted) = fit(&alice(), text, is_reply, &rules) else { return Ok(()) };
            let packets = fitted.packets("").all();
            let pieces = pieces(&packets);
            let boundaries: Vec<usize> =
                text.grapheme_indices(true).map(|(start, _)| start).chain([text.len()]).collect();
            let total = packets.len();
            for (part, (start, end)) in places(text, &pieces).into_iter().enumerate() {
                prop_assert!(start < end, "part {part} says nothing");
                prop_assert!(boundaries.contains(&start) && boundaries.contains(&end));
                let at_space = text[end..].chars().next().is_none_or(char::is_whitespace);
                if at_space || part + 1 == total {
                    continue;
                }
                // Cut within a word only if its second half had no space.
                let parts = Parts { heading: &alice(), is_reply, rules: &rules };
                let room = parts.room_for_text(part, total).unwrap();
                let mut second_half = text[start..end]
                    .grapheme_indices(true)
                    .filter(|(place, _)| *place > room / 2);
                let space = second_half.find(|(_, it)| it.chars().all(char::is_whitespace));
                prop_assert_eq!(space, None);
                let next = text[end..].graphemes(true).next().unwrap();
                prop_assert!(end - start + next.len() > room, "{next:?} had fitted too");
            }
        }

        #[test]
        fn cut_texts_are_within_the_limit(
            text in any::<String>(),
            part_bytes in 40_usize..=232,
            max_parts in 1_usize..=9,
            split in any::<bool>(),
        ) {
            let text = text.repeat(40);
            let rules = LongMessages { split, part_bytes, max_parts, overflow: Overflow::Cut };
            let parts = packets(fit(&alice(), text.trim(), true, &rules));
            prop_assert!(parts.len() <= max_parts);
            for (part, packet) in parts.iter().enumerate() {
                let limit = if part == 0 { REPLY_BYTES } else { PACKET_BYTES };
                let limit = if parts.len() > 1 { limit.min(part_bytes) } else { limit };
                prop_assert!(packet.len() <= limit);
            }
        }
    }
}
