//! Echoes of another relay: a mesh text that repeats, with its author's name, what we relayed recently.
//!
//! In doubt a text is relayed: a duplicate is visible, a missing message is not.

use unicode_segmentation::UnicodeSegmentation as _;

use super::text::clean_name;
use relay_model::{NodeNum, Relayed, RoomText};

/// Minimum number of grapheme clusters that must be repeated.
const SHORTEST: usize = 12;
/// Minimum length of a truncated name that identifies an author.
const SHORTEST_NAME: usize = 3;
/// Maximum distance of an author's name from the beginning, in bytes.
const LONGEST_HEAD: usize = 120;
/// Minimum size of a packet that may hold only the beginning of a message: relays cut at 200 bytes or more, at a character
/// boundary, and the receiver drops white space before the cut.
const SHORTEST_CUT: usize = 190;

/// Delimiters that relays put around an author's name (MMRelay, ours, other bridges). The name may be followed by `/` and a
/// mesh name.
const SHAPES: [(&str, &str); 11] = [
    ("", "[M]:"),
    ("", ":"),
    ("", ">"),
    ("[", "]:"),
    ("[", "]"),
    ("<", ">:"),
    ("<", ">"),
    ("(", "):"),
    ("(", ")"),
    ("* ", "[M] "),
    ("* ", " "),
];

/// Returns the names of a message's author, beside those in the user id.
pub(super) fn author_of(text: &RoomText) -> Vec<String> {
    match &text.relay {
        Some(fields) => vec![fields.longname.clone(), fields.shortname.clone()],
        None => vec![text.sender_name.clone()],
    }
}

/// Returns whether a node's text is one of these messages, or a part of one, repeated by another relay.
pub(super) fn is_echo(text: &str, from: NodeNum, relayed: &[Relayed]) -> bool {
    let heads: Vec<Head<'_>> = heads(text).collect();
    let mut others = relayed.iter().filter(|it| it.node != Some(from));
    others.any(|message| {
        is_long_enough(&message.text)
            && (heads.iter().any(|head| head.repeats(text, message))
                || is_as_carried(text, message))
    })
}

/// One way to parse the beginning of a text as another relay's.
#[derive(Debug)]
struct Head<'a> {
    /// The supposed author, perhaps with a mesh name.
    author: &'a str,
    /// The supposed text, behind the author.
    rest: &'a str,
}

fn heads(text: &str) -> impl Iterator<Item = Head<'_>> {
    SHAPES.iter().flat_map(move |(open, close)| {
        let inner = text.strip_prefix(open).unwrap_or_default();
        let ends = inner.match_indices(close);
        let near = ends.take_while(|(at, _)| *at <= LONGEST_HEAD);
        near.filter_map(move |(at, _)| {
            let (author, rest) = inner.split_at_checked(at)?;
            let rest = rest.strip_prefix(close)?.trim_start();
            Some(Head { author, rest })
        })
    })
}

impl Head<'_> {
    fn repeats(&self, text: &str, message: &Relayed) -> bool {
        let earlier = message.text.as_str();
        let is_cut = text.len() >= SHORTEST_CUT;
        let without_mark = self.rest.trim_end_matches(['…', '.']).trim_end();
        if self.rest == earlier || (is_cut && begins(earlier, without_mark)) {
            return is_author(self.author, message);
        }
        // Parts of a long message: `Alice[M]: 1/3 …`, then `Alice 2/3: …`.
        match (numbered(self.rest), numbered_author(self.author)) {
            (Some((1, rest)), _) => begins(earlier, rest) && is_author(self.author, message),
            (_, Some((2.., author))) => {
                earlier.contains(self.rest)
                    && is_long_enough(self.rest)
                    && is_author(author, message)
            }
            _ => false,
        }
    }
}

/// Returns whether a message begins with this text, and the text is long enough.
fn begins(text: &str, rest: &str) -> bool {
    text.starts_with(rest) && is_long_enough(rest)
}

/// Returns whether a text is long enough to be recognised.
pub(super) fn is_long_enough(text: &str) -> bool {
    text.graphemes(true).nth(SHORTEST - 1).is_some()
}

/// Splits `2/3 and so on` into the number and the rest.
fn numbered(text: &str) -> Option<(u8, &str)> {
    let (counter, rest) = text.split_once(' ')?;
    Some((number_of(counter)?, rest.trim_start()))
}

/// Splits `Alice 2/3` in the same way.
fn numbered_author(author: &str) -> Option<(u8, &str)> {
    let (author, counter) = author.rsplit_once(' ')?;
    Some((number_of(counter)?, author))
}

fn number_of(counter: &str) -> Option<u8> {
    let (number, total) = counter.split_once('/')?;
    let (number, total): (u8, u8) = (number.parse().ok()?, total.parse().ok()?);
    (number <= total && total > 1).then_some(number)
}

/// Returns whether this is a name of the message's author, whole or truncated, with or without a mesh name.
fn is_author(author: &str, message: &Relayed) -> bool {
    let without_mesh = author.rsplit_once('/').map(|(name, _)| name);
    let mut names = message.author.iter().map(|it| clean_name(it));
    names.any(|name| {
        is_name(author.trim(), &name) || without_mesh.is_some_and(|it| is_name(it.trim(), &name))
    })
}

fn is_name(word: &str, name: &str) -> bool {
    !word.is_empty()
        && (word == name
            || (name.starts_with(word) && word.chars().nth(SHORTEST_NAME - 1).is_some()))
}

/// Returns whether a text is exactly what we sent: another relay may have our settings, with the operator's own prefix.
fn is_as_carried(text: &str, message: &Relayed) -> bool {
    let is_named = |prefix: &str| {
        let names = message.author.iter().map(|it| clean_name(it));
        let beginning = |name: String| name.chars().take(SHORTEST_NAME).collect::<String>();
        let mut beginnings = names.map(beginning).filter(|it| !it.is_empty());
        beginnings.any(|it| prefix.contains(&it))
    };
    text == message.carried && text.strip_suffix(&message.text).is_some_and(is_named)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{BOB, message};
    use super::*;
    use relay_model::RelayFields;

    const RELAY: NodeNum = NodeNum(0x0000_4711);
    const SAID: &str = "good morning, everybody on the hill";

    fn relayed(author: &[&str], text: &str) -> Vec<Relayed> {
        vec![Relayed {
            author: author.iter().map(|it| (*it).to_owned()).collect(),
            text: text.to_owned(),
            ..Relayed::default()
        }]
    }

    fn alice(text: &str) -> Vec<Relayed> {
        relayed(&["Alexandra Example", "alice", "@alice:example.org"], text)
    }

    #[test]
    fn a_message_under_its_authors_name_in_any_shape_of_a_relay_is_an_echo() {
        for prefix in [
            "Alexa[M]: ",
            "Alexandra Example[M]: ",
            "Alexandra Example: ",
            "Alexandra:",
            "[Alexandra Example/Hilltop]: ",
            "[Alexandra/Matrix]: ",
            "[Alexandra Example]: ",
            "[Alexandra] ",
            "<Alexandra Example> ",
            "<alice> ",
            "(alice): ",
            "alice/Hill: ",
            "alice> ",
            "@alice:example.org: ",
            "* Alexandra Example ",
            "* Alexa[M] ",
        ] {
            let text = format!("{prefix}{SAID}");
            assert!(is_echo(&text, RELAY, &alice(SAID)), "{text}");
        }
    }

    #[test]
    fn a_message_of_the_mesh_comes_back_under_its_nodes_names() {
        let mut of_bob = relayed(&["Bob's Base", "BOB1"], SAID);
        of_bob[0].node = Some(BOB);
        for prefix in ["[Bob's Base/Hill]: ", "BOB1/Hill: ", "Bob's[M]: "] {
            let text = format!("{prefix}{SAID}");
            assert!(is_echo(&text, RELAY, &of_bob), "{text}");
            // These repeat it, but are no relays.
            assert!(!is_echo(&text, BOB, &of_bob), "{text}");
        }
    }

    #[test]
    fn what_people_say_is_no_echo() {
        for said in [
            // Another author, none, or only a name in the middle.
            "Status: good morning, everybody on the hill",
            "Bob: good morning, everybody on the hill",
            "Al: good morning, everybody on the hill",
            "good morning, everybody on the hill",
            "she said good morning, everybody on the hill",
            "[Hilltop]: good morning, everybody on the hill",
            // Not the exact and whole message.
            "Alexandra: good morning, everybody",
            "Alexandra: good morning, everybody on the hill!",
            "Alexandra: Good morning, everybody on the hill",
            "Alexandra: good  morning, everybody on the hill",
            "Alexandra: no, good morning, everybody on the hill",
            "Alexandra: hill",
            "Alexandra:",
            "",
        ] {
            assert!(!is_echo(said, RELAY, &alice(SAID)), "{said}");
        }
    }

    #[test]
    fn what_is_short_is_no_echo_whoever_says_it_and_however() {
        for (said, text) in [
            ("fine", "Status: fine"),
            ("fine", "Alexa[M]: fine"),
            ("11 letters!", "Alexa[M]: 11 letters!"),
            ("👨‍👩‍👧👨‍👩‍👧👨‍👩‍👧", "Alexa[M]: 👨‍👩‍👧👨‍👩‍👧👨‍👩‍👧"),
        ] {
            let mut relayed = alice(said);
            relayed[0].carried = text.to_owned();
            assert!(!is_echo(text, RELAY, &relayed), "{text}");
        }
        assert!(is_echo(
            "Alexa[M]: twelve chars",
            RELAY,
            &alice("twelve chars")
        ));
        assert!(is_echo(
            "Alexa[M]: 12 letters!!",
            RELAY,
            &alice("12 letters!!")
        ));
        assert!(!is_echo("anything", RELAY, &[Relayed::default()]));
    }

    #[test]
    fn a_message_that_a_relay_has_cut_is_an_echo_and_the_beginning_of_one_that_it_has_not_is_none()
    {
        let long = "We meet at the bridge. ".repeat(14);
        let cut = |bytes: usize| format!("Alexa[M]: {}", &long[..bytes]);
        assert!(is_echo(&cut(217), RELAY, &alice(&long)));
        assert!(is_echo(&cut(190), RELAY, &alice(&long)));
        assert!(is_echo(&format!("{}…", cut(217)), RELAY, &alice(&long)));
        assert!(!is_echo(&cut(100), RELAY, &alice(&long)));
        assert!(!is_echo(&cut(22), RELAY, &alice(&long)));
        let other = format!("{} or at the mill", cut(200));
        assert!(!is_echo(&other, RELAY, &alice(&long)));
    }

    #[test]
    fn each_part_of_a_message_is_an_echo_if_it_is_long_enough() {
        let long = "one two three four five six seven eight nine ten eleven";
        for part in [
            "Alexa[M]: 1/3 one two three four",
            "Alexa 2/3: five six seven eight",
            "Alexa 3/3: nine ten eleven",
        ] {
            assert!(is_echo(part, RELAY, &alice(long)), "{part}");
        }
        for part in [
            "Alexa 3/3: eleven",
            "Alexa 4/3: five six seven eight",
            "Alexa 1/2: five six seven eight",
            "Alexa[M]: 2/3 five six seven eight",
            "Bob 2/3: five six seven eight",
            "Alexa 2/3: five six eight nine",
        ] {
            assert!(!is_echo(part, RELAY, &alice(long)), "{part}");
        }
        // A message that looks like a part is treated as one.
        let cup = "1/2 cup of sugar, please";
        assert!(is_echo(&format!("Alexa[M]: {cup}"), RELAY, &alice(cup)));
    }

    #[test]
    fn what_another_relay_sends_with_our_own_prefix_is_an_echo_if_the_prefix_names_the_author() {
        let carried = |prefix: &str| {
            let mut relayed = alice(SAID);
            relayed[0].carried = format!("{prefix}{SAID}");
            relayed
        };
        for (prefix, expected) in [("~Alexa~ ", true), ("Matrix says ", false), ("", false)] {
            let text = format!("{prefix}{SAID}");
            assert_eq!(is_echo(&text, RELAY, &carried(prefix)), expected, "{text}");
        }
        let other = format!("~Alexa~ {SAID}");
        assert!(!is_echo(&other, RELAY, &alice(SAID)));
    }

    #[test]
    fn an_author_is_a_person_or_for_a_relays_message_its_node() {
        assert_eq!(author_of(&message("x")), ["Alice"]);
        let fields = RelayFields {
            longname: "Carol".into(),
            shortname: "CRL7".into(),
            ..RelayFields::default()
        };
        let carried = RoomText {
            relay: Some(Box::new(fields)),
            ..message("x")
        };
        assert_eq!(author_of(&carried), ["Carol", "CRL7"]);
    }
}
