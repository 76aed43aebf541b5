//! What comes late: which messages of Matrix are a backlog, how an old text says so on the mesh, and how a room is told
//! of what expired.

use std::time::Duration;

use super::late::written;
use super::split::{Fitted, Heading, PACKET_BYTES, REPLY_BYTES, fit, heading_of, is_cut};
use crate::config::{Config, LongMessages};
use crate::model::{Expired, Notice, RoomMessage, Timestamp, span};

/// An outage that was shorter leaves no backlog.
pub const OUTAGE: Duration = Duration::from_mins(2);

/// Returns whether a message that comes to us now belongs to a backlog: it was written long ago, or before the end of
/// the outage whose messages are `gathering` in its room since then.
#[must_use]
pub fn is_backlog(written: Timestamp, gathering: Option<Timestamp>, now: Timestamp) -> bool {
    now.since(written) > OUTAGE || gathering.is_some_and(|since| written <= since)
}

/// Returns a message's packets with its age after the prefix; `None` if there is no room for it.
///
/// `text` is the whole text without prefix. The text is fitted anew, and may need a packet more.
#[must_use]
pub fn with_age(
    packets: &[String],
    text: &str,
    is_reply: bool,
    age: Duration,
    rules: &LongMessages,
) -> Option<Vec<String>> {
    let mark = age_mark(age);
    let packets: &[String] = &unmarked(packets, text);
    let first = packets.first()?;
    let heading = heading_of(packets, text).unwrap_or_default();
    if let Some(heading) = heading_of(packets, text) {
        let marked = Heading {
            prefix: format!("{}{mark}", heading.prefix),
            label: heading.label,
        };
        match fit(&marked, text, is_reply, rules) {
            Fitted::Packets(packets) => return Some(packets),
            // Its sender was told that its end is lost; nobody would be told that the age has cost it.
            Fitted::Cut(cut) if is_cut(packets, text) => return Some(cut),
            Fitted::Cut(_) | Fitted::TooLong { .. } => {}
        }
    }
    // A part may be as long as a packet, if need be.
    let limit = if is_reply { REPLY_BYTES } else { PACKET_BYTES };
    let (prefix, rest) = first.split_at_checked(heading.prefix.len())?;
    let mut packets = packets.to_vec();
    if let Some(place) = packets.first_mut() {
        *place = format!("{prefix}{mark}{rest}");
    }
    (first.len() + mark.len() <= limit).then_some(packets)
}

/// Returns packets without the age that they tell already: their turn had come before, and they were held up.
fn unmarked(packets: &[String], text: &str) -> Vec<String> {
    let mut packets = packets.to_vec();
    let heading = heading_of(&packets, text).map(|heading| heading.prefix);
    if let Some(first) = packets.first_mut() {
        *first = match heading {
            None => after_mark(first).to_owned(),
            Some(prefix) => {
                let rest = first.strip_prefix(prefix.as_str()).unwrap_or_default();
                let end = prefix.rfind('(').and_then(|at| prefix.split_at_checked(at));
                let plain = end.filter(|(_, mark)| after_mark(mark).is_empty());
                format!(
                    "{}{rest}",
                    plain.map_or(prefix.as_str(), |(plain, _)| plain)
                )
            }
        };
    }
    packets
}

/// Returns what follows an age at the beginning of a text; all of it if there is none.
fn after_mark(text: &str) -> &str {
    let number = text.strip_prefix('(');
    let unit = number.map(|it| it.trim_start_matches(|letter: char| letter.is_ascii_digit()));
    let unit = unit.and_then(|it| it.strip_prefix(' '));
    let rest = unit.and_then(|it| AGE_UNITS.iter().find_map(|unit| it.strip_prefix(unit)));
    rest.unwrap_or(text)
}

/// What follows the number in [`age_mark`].
const AGE_UNITS: [&str; 4] = ["s ago) ", "min ago) ", "h ago) ", "days ago) "];

/// Returns how old a text is, as it stands after its prefix.
fn age_mark(age: Duration) -> String {
    format!("({} ago) ", span::short(age))
}

/// Returns the notice that tells a room of what expired in it, as an answer to the newest of them.
pub(super) fn expired_notice(config: &Config, expired: &Expired, now: Timestamp) -> RoomMessage {
    let when = written(now.since(expired.newest), now.since(expired.oldest));
    let what = match expired.messages {
        0 | 1 => format!("Not sent to the mesh: a message written {when}."),
        several => format!("Not sent to the mesh: {several} messages written {when}."),
    };
    let rule = format!(
        "What waits longer than {} expires, and after an outage only the {} newest messages of a room are sent.",
        span::short(config.meshtastic.max_message_age),
        config.meshtastic.backlog.newest
    );
    let notice = Notice {
        text: format!("{what} {rule}"),
        reply_to: Some(expired.event.clone()),
        thread: expired.thread.clone(),
        ..Notice::default()
    };
    notice.for_room(&expired.room)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing::*;
    use super::*;
    use crate::config::Overflow;
    use crate::model::RoomContent;

    fn rules() -> LongMessages {
        config().meshtastic.long_messages
    }

    fn heading() -> Heading {
        Heading {
            prefix: "Alice[M]: ".into(),
            label: "Alice".into(),
        }
    }

    fn packets(text: &str, is_reply: bool, rules: &LongMessages) -> Vec<String> {
        match fit(&heading(), text, is_reply, rules) {
            Fitted::Packets(packets) | Fitted::Cut(packets) => packets,
            Fitted::TooLong { .. } => panic!("it fits"),
        }
    }

    fn aged(text: &str, is_reply: bool, minutes: u64) -> Option<Vec<String>> {
        let packets = packets(text, is_reply, &rules());
        let age = Duration::from_mins(minutes);
        with_age(&packets, text, is_reply, age, &rules())
    }

    #[test]
    fn a_message_is_backlog_if_it_comes_late_or_with_late_ones() {
        let minutes = |count| NOON + Duration::from_mins(count);
        assert!(!is_backlog(NOON, None, minutes(2)));
        assert!(is_backlog(NOON, None, minutes(3)));
        assert!(is_backlog(NOON, Some(minutes(1)), minutes(1)));
        assert!(!is_backlog(minutes(1), Some(NOON), minutes(1)));
        assert!(
            !is_backlog(minutes(9), None, NOON),
            "the server's clock is ahead"
        );
    }

    #[test]
    fn an_old_text_says_so_after_its_prefix() {
        assert_eq!(
            aged("hello", false, 14).unwrap(),
            ["Alice[M]: (14 min ago) hello"]
        );
        assert_eq!(
            aged("hello", true, 150).unwrap(),
            ["Alice[M]: (2 h ago) hello"]
        );
        assert_eq!(
            aged("hello", true, 5000).unwrap(),
            ["Alice[M]: (3 days ago) hello"]
        );
        let emote = with_age(
            &["* Alice[M] waves".to_owned()],
            "waves",
            false,
            Duration::from_mins(6),
            &rules(),
        );
        assert_eq!(emote.unwrap(), ["* Alice[M] (6 min ago) waves"]);
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
                let text = "x".repeat(*length);
                matches!(fit(&heading(), &text, false, &rules), Fitted::Packets(_))
            };
            let longest = (1..1000).rev().find(fits).unwrap();
            for (length, is_whole) in [(longest, true), (longest + 1, false)] {
                let text = "x".repeat(length);
                let packets = packets(&text, false, &rules);
                let marked = with_age(&packets, &text, false, Duration::from_mins(14), &rules);
                let said = marked.unwrap_or(packets).concat();
                assert_eq!(said.matches('x').count() == length, is_whole, "{said}");
                assert_eq!(said.contains('…'), !is_whole, "{said}");
            }
        }
    }

    #[test]
    fn a_text_that_was_held_up_again_tells_one_age() {
        let room = 200 - "Alice[M]: 1/3 ".len() + 2 * (200 - "Alice 2/3: ".len());
        let texts = [
            "hello",
            "(7 min ago) she said (2 h ago) ",
            &"y".repeat(240),
            &"x".repeat(room),
        ];
        for text in texts {
            let text = text.trim();
            let once = aged(text, false, 14).unwrap();
            let age = Duration::from_mins(150);
            let twice = with_age(&once, text, false, age, &rules()).unwrap();
            assert_eq!(twice, aged(text, false, 150).unwrap(), "{text}");
        }
        let note = ["(9 min ago) Alice[M]: [3 images]".to_owned()];
        let marked = with_age(&note, "[image]", false, Duration::from_mins(20), &rules());
        assert_eq!(marked.unwrap(), ["(20 min ago) Alice[M]: [3 images]"]);
    }

    #[test]
    fn a_text_that_filled_its_packet_needs_one_more() {
        for (is_reply, bytes) in [(false, PACKET_BYTES), (true, REPLY_BYTES)] {
            let text = "x".repeat(bytes - "Alice[M]: ".len());
            assert_eq!(packets(&text, is_reply, &rules()).len(), 1);
            let marked = aged(&text, is_reply, 14).unwrap();
            assert_eq!(marked.len(), 2);
            assert!(marked[0].starts_with("Alice[M]: (14 min ago) 1/2 xx"));
            assert!(marked[1].starts_with("Alice 2/2: xx"));
        }
    }

    #[test]
    fn a_text_that_filled_all_its_parts_is_marked_within_the_packets_own_limit() {
        let room = 200 - "Alice[M]: 1/3 ".len() + 2 * (200 - "Alice 2/3: ".len());
        let text = "x".repeat(room);
        let plain = packets(&text, false, &rules());
        let marked = aged(&text, false, 14).unwrap();
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
        let whole = packets(&text, false, &rules);
        assert_eq!(
            with_age(&whole, &text, false, Duration::from_mins(14), &rules),
            None
        );
        assert_eq!(with_age(&[], "", false, OUTAGE, &rules), None);
    }

    #[test]
    fn a_text_that_does_not_show_its_prefix_is_marked_at_its_beginning() {
        let note = ["Alice[M]: [3 images]".to_owned()];
        let marked = with_age(&note, "[image]", false, Duration::from_mins(9), &rules());
        assert_eq!(marked.unwrap(), ["(9 min ago) Alice[M]: [3 images]"]);
    }

    #[test]
    fn a_room_is_told_how_many_expired_and_from_when() {
        let expired = Expired {
            room: room(ROOM),
            messages: 280,
            oldest: NOON,
            newest: NOON + Duration::from_hours(1),
            event: event("$newest"),
            thread: None,
            since: NOON,
            last: NOON,
            more_waits: false,
        };
        let now = NOON + Duration::from_hours(3);
        let RoomContent::Text {
            text,
            notice,
            suppress,
            reply_to,
            ..
        } = expired_notice(&config(), &expired, now).content
        else {
            panic!("a text");
        };
        assert_eq!(
            text,
            "Not sent to the mesh: 280 messages written between 3 hours and 2 hours ago. What waits longer than 60 min \
             expires, and after an outage only the 20 newest messages of a room are sent."
        );
        assert!(notice && suppress);
        assert_eq!(reply_to, Some(expired.event.clone().into()));
        let one = Expired {
            messages: 1,
            newest: NOON,
            ..expired
        };
        let RoomContent::Text { text, .. } = expired_notice(&config(), &one, now).content else {
            panic!("a text");
        };
        assert!(text.starts_with("Not sent to the mesh: a message written 3 hours ago."));
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
            let text = text.trim();
            let rules = LongMessages { part_bytes, overflow, ..rules() };
            let (Fitted::Packets(plain) | Fitted::Cut(plain)) = fit(&heading(), text, is_reply, &rules) else {
                return Ok(());
            };
            let age = Duration::from_mins(minutes);
            let Some(marked) = with_age(&plain, text, is_reply, age, &rules) else {
                return Ok(());
            };
            prop_assert!(marked.len() <= rules.max_parts);
            for (part, packet) in marked.iter().enumerate() {
                let limit = if is_reply && part == 0 { REPLY_BYTES } else { PACKET_BYTES };
                prop_assert!(packet.len() <= limit);
            }
            prop_assert!(marked[0].contains(&age_mark(age)));
            let letters = |packets: &[String]| {
                packets.concat().chars().filter(|it| "é🙂".contains(*it)).count()
            };
            if overflow == Overflow::Refuse {
                prop_assert_eq!(letters(&marked), letters(&plain));
            }
        }
    }
}
