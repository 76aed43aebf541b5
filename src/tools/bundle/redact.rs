//! Takes out of a text what tells who and where somebody is, and every secret: what is known, and what looks like it. The same
//! thing has the same placeholder in every text (`user-1`, `room-2`). In doubt it is taken out. Pure.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::LazyLock;

use super::kind::Kind;
use super::patterns::{Pattern, ids, secrets, things};
use super::words::Words;

/// What stands for a secret, and for what has no name of its own.
pub(super) const GONE: &str = "…";

/// Minimum length of a line of a message, in characters, that is looked for: shorter ones stand in other texts, too.
const LEAST_TEXT: usize = 12;

/// What names may stand within: looked for before them.
static FIRST: LazyLock<Vec<Pattern>> = LazyLock::new(|| [secrets(), ids()].concat());
static THEN: LazyLock<Vec<Pattern>> = LazyLock::new(things);

/// What is known to be taken out, and the placeholders given so far.
#[derive(Debug)]
pub(super) struct Redactor {
    /// Taken out wherever they stand.
    secrets: Words,
    /// Names in lower case with their placeholders; taken out where they stand as whole words.
    known: Words,
    given: BTreeMap<(Kind, String), String>,
    counts: BTreeMap<Kind, usize>,
}

/// A stretch of a text, or what has been put in its place.
enum Piece {
    Raw(String),
    Put(String),
}

impl Redactor {
    pub(super) fn new() -> Self {
        Self {
            secrets: Words::new(false),
            known: Words::new(true),
            given: BTreeMap::new(),
            counts: BTreeMap::new(),
        }
    }

    /// Learns a secret, also as it stands in JSON, in an address, and over several lines.
    pub(super) fn hide(&mut self, secret: &str) {
        let in_json = serde_json::Value::from(secret).to_string();
        let in_address =
            percent_encoding::utf8_percent_encode(secret, percent_encoding::NON_ALPHANUMERIC);
        let forms = [
            secret.to_owned(),
            in_json.trim_matches('"').to_owned(),
            in_address.to_string(),
        ];
        let lines = secret.lines().map(str::trim).map(str::to_owned);
        for form in forms.into_iter().chain(lines) {
            // A single character tells nothing, and stands everywhere.
            if form.chars().count() > 1 {
                self.secrets.add(form, GONE);
            }
        }
    }

    /// Learns the text of a message: whoever wrote it shall not choose which words go.
    pub(super) fn hide_text(&mut self, text: &str) {
        let lines = text.lines().map(str::trim);
        for line in lines.filter(|it| it.chars().count() >= LEAST_TEXT) {
            self.hide(line);
        }
    }

    /// Learns names of one thing, which may be known under some of them.
    pub(super) fn know<'a>(&mut self, kind: Kind, names: impl IntoIterator<Item = &'a str>) {
        let names = names.into_iter().map(|it| it.trim().to_ascii_lowercase());
        // A single letter tells nothing, and stands everywhere.
        let names: Vec<_> = names.filter(|it| !it.is_ascii() || it.len() > 1).collect();
        let Some(first) = names.first() else {
            return;
        };
        let mut known = names.iter().filter_map(|name| self.known.get(name));
        let placeholder = match known.next() {
            Some(placeholder) => placeholder.to_owned(),
            None => self.placeholder(kind, first),
        };
        for name in names {
            self.known.add(name, &placeholder);
        }
    }

    /// Returns what stands for a thing, a new number if it was not met before.
    pub(super) fn placeholder(&mut self, kind: Kind, thing: &str) -> String {
        let thing = thing.trim().to_ascii_lowercase();
        if let Some(placeholder) = self.known.get(&thing) {
            return placeholder.to_owned();
        }
        let count = self.counts.entry(kind).or_default();
        let given = self.given.entry((kind, thing)).or_insert_with(|| {
            *count += 1;
            format!("{}-{count}", <&str>::from(kind))
        });
        given.clone()
    }

    /// Returns a text without what is to be taken out.
    pub(super) fn redact(&mut self, text: &str) -> String {
        let mut pieces = vec![Piece::Raw(text.to_owned())];
        pieces = replaced(pieces, |raw| self.secrets_in(raw));
        pieces = self.without(&FIRST, pieces);
        pieces = replaced(pieces, |raw| self.names_in(raw));
        pieces = self.without(&THEN, pieces);
        let texts = pieces.into_iter().map(|piece| match piece {
            Piece::Raw(text) | Piece::Put(text) => text,
        });
        texts.collect()
    }

    /// Returns a text without the secrets that are known.
    pub(super) fn without_secrets(&self, text: &str) -> String {
        let pieces = vec![Piece::Raw(text.to_owned())];
        let pieces = replaced(pieces, |raw| self.secrets_in(raw)).into_iter();
        let texts = pieces.map(|piece| match piece {
            Piece::Raw(text) | Piece::Put(text) => text,
        });
        texts.collect()
    }

    fn secrets_in(&self, raw: &str) -> Vec<(Range<usize>, &str)> {
        self.secrets.find_all(raw, GONE, |_| true)
    }

    /// Finds names as whole words, hosts with the port behind them.
    fn names_in(&self, raw: &str) -> Vec<(Range<usize>, &str)> {
        let mut found = self.known.find_all(raw, GONE, |it| is_whole(raw, it));
        let mut next = raw.len();
        for (range, put) in found.iter_mut().rev() {
            if put.starts_with(<&str>::from(Kind::Host)) {
                range.end += port_behind(raw.get(range.end..next).unwrap_or_default());
            }
            next = range.start;
        }
        found
    }

    fn without(&mut self, patterns: &[Pattern], mut pieces: Vec<Piece>) -> Vec<Piece> {
        for pattern in patterns {
            let mut result = Vec::new();
            for piece in pieces {
                match piece {
                    Piece::Put(_) => result.push(piece),
                    Piece::Raw(raw) => self.replace_all(pattern, &raw, &mut result),
                }
            }
            pieces = result;
        }
        pieces
    }

    fn replace_all(&mut self, pattern: &Pattern, raw: &str, result: &mut Vec<Piece>) {
        let mut end = 0;
        for found in pattern.find_all(raw) {
            let before = raw.get(end..found.range.start).unwrap_or_default();
            result.push(Piece::Raw(before.to_owned()));
            let put = match found.kind {
                Some(kind) => self.placeholder(kind, &found.thing),
                None => GONE.to_owned(),
            };
            result.push(Piece::Put(format!("{}{put}", found.before)));
            end = found.range.end;
        }
        let rest = raw.get(end..).unwrap_or_default();
        result.push(Piece::Raw(rest.to_owned()));
    }
}

/// Replaces everything that `find` finds in what is still raw: where, in the order of the text, and by what.
fn replaced<'a>(
    pieces: Vec<Piece>,
    find: impl Fn(&str) -> Vec<(Range<usize>, &'a str)>,
) -> Vec<Piece> {
    let mut result = Vec::new();
    for piece in pieces {
        let raw = match piece {
            Piece::Put(_) => {
                result.push(piece);
                continue;
            }
            Piece::Raw(raw) => raw,
        };
        let mut end = 0;
        for (range, put) in find(&raw) {
            let before = raw.get(end..range.start).unwrap_or_default();
            result.push(Piece::Raw(before.to_owned()));
            result.push(Piece::Put(put.to_owned()));
            end = range.end;
        }
        let rest = raw.get(end..).unwrap_or_default();
        result.push(Piece::Raw(rest.to_owned()));
    }
    result
}

/// Returns the length of a port behind a host.
fn port_behind(text: &str) -> usize {
    let port = text.strip_prefix(':').unwrap_or_default();
    let digits = port.bytes().take_while(u8::is_ascii_digit).count();
    if (1..=5).contains(&digits) {
        digits + 1
    } else {
        0
    }
}

/// Returns whether a name stands in a text as a whole word.
fn is_whole(text: &str, range: &Range<usize>) -> bool {
    let is_part = |it: char| it.is_alphabetic() || it.is_ascii_digit() || it == '_';
    let of = |range: Range<usize>| text.get(range).unwrap_or_default();
    let (name, before) = (of(range.clone()), of(0..range.start));
    let after = of(range.end..text.len());
    !(name.starts_with(is_part) && before.ends_with(is_part)
        || name.ends_with(is_part) && after.starts_with(is_part))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn redacted(text: &str) -> String {
        Redactor::new().redact(text)
    }

    #[test]
    fn the_same_thing_has_the_same_placeholder_in_every_text_and_under_every_name() {
        let mut redactor = Redactor::new();
        redactor.know(Kind::Node, ["!0a0b0c01", "Base Camp", "BASE"]);
        redactor.know(
            Kind::Room,
            ["!abc:example.org", "#club:example.org", "The Club"],
        );
        for (said, told) in [
            (
                "node=!0a0b0c01 name=\"Base Camp\"",
                "node=node-1 name=\"node-1\"",
            ),
            ("base camp (BASE) says", "node-1 (node-1) says"),
            ("DATABASE basement", "DATABASE basement"),
            ("in #club:example.org, The Club", "in room-1, room-1"),
            ("@bob:example.org and @eve:example.com", "user-1 and user-2"),
            ("@eve:example.com in !new:example.org", "user-2 in room-2"),
            ("@Bob:Example.org", "user-1"),
        ] {
            assert_eq!(redactor.redact(said), told);
        }
    }

    #[test]
    fn what_looks_like_somebodys_is_taken_out() {
        for (said, told) in [
            (
                "at https://user:pw@matrix.example.org:8448/_matrix/client",
                "at https://host-1",
            ),
            (
                "cannot reach 192.168.1.20:4403: refused",
                "cannot reach host-1: refused",
            ),
            ("[fe80::1%eth0]:4403 and 2001:db8::7", "host-1 and host-2"),
            ("radio.lan:4403 is away", "host-1 is away"),
            ("device C0:FF:EE:00:12:34", "device address-1"),
            (
                "event $143273582443PhrSnabcdefghijkl:example.org",
                "event event-1",
            ),
            (
                "event $Rqnc-F-dvnEYJTyHq_iKxU2bZ1CI92-kuZq3a5lr5Zg",
                "event event-1",
            ),
            ("from bob@example.org", "from user-1"),
            ("to !a1b2c3d4 on 0", "to node-1 on 0"),
            ("syt_cmVsYXk_abcdefghij_0aBcDe", "…"),
            ("key 1PG7OiApB1nwvP+rz05pAQ==", "key …"),
            (
                "curve25519:Xgd0vLnd1vJtgXwrSBYr2yGlXnX6GcOZYjZ8nAvxKzM",
                "curve25519:…",
            ),
            (
                "EsTB dVGa pWZH 4xY3 kNLp Cf3V o6zd RpYd 7Hgs 9sXu mQ4t 2kWv",
                "…",
            ),
            ("psk: AQ==", "psk: …"),
            ("password=hunter2, user", "password=…, user"),
            ("at 47.3769, 8.5417 now", "at … now"),
            ("latitude_i=473769000 lon: 8.5", "latitude_i=… lon: …"),
            ("47.37690", "…"),
            ("/home/bob/relay/config.yaml: no", "path-1: no"),
            ("in ~bob/x and ~/y", "in path-1 and path-2"),
            ("device ABCDEFGHIJ", "device device-1"),
            ("matrix:r/club:example.org?via=a", "…"),
        ] {
            assert_eq!(redacted(said), told, "{said}");
        }
    }

    #[test]
    fn what_tells_nothing_stays_readable() {
        for said in [
            "check its power, its network, and `meshtastic.host`; a phone app may hold it",
            "relay::radio::console: the radio is looked for",
            "2.7.15.567b8ea",
            "the database is locked (5 s)",
            "m.room.message in config.yaml and relay.sqlite",
            "RELAY_MESHTASTIC_LONG_MESSAGES_PART_BYTES",
            "not_one_of_the_channels_that_are_mapped",
            "ready for 12 min, channel use 3.4 %",
            "see docs/reference/status.md, run `relay auth login --force`",
            "12:00:08 on /dev/ttyUSB0",
        ] {
            assert_eq!(redacted(said), said);
        }
    }

    #[test]
    fn a_secret_is_taken_out_wherever_it_stands() {
        let mut redactor = Redactor::new();
        redactor.hide("p\"ass wörd");
        for said in [
            "xp\"ass wördx",
            "{\"a\":\"p\\\"ass wörd\"}",
            "?q=p%22ass%20w%C3%B6rd&x",
        ] {
            let told = redactor.redact(said);
            assert!(told.contains(GONE) && !told.contains("ass"), "{told}");
        }
    }

    #[test]
    fn whoever_writes_a_message_does_not_choose_which_words_go() {
        let mut redactor = Redactor::new();
        redactor.hide_text("meet me at the old bridge\nok\nrelay\nis");
        let told = redactor.redact("the relay is ok: meet me at the old bridge");
        assert_eq!(told, "the relay is ok: …");
        assert_eq!(redactor.without_secrets(&told), told);
    }

    #[test]
    fn thousands_of_names_are_looked_for_at_once() {
        let mut redactor = Redactor::new();
        for node in 0..5000 {
            let (id, name) = (format!("!{node:08x}"), format!("Hiker {node}"));
            redactor.know(Kind::Node, [name.as_str(), id.as_str(), &node.to_string()]);
            redactor.hide_text(&format!("we met at the hut number {node}"));
        }
        for line in 0..200 {
            let said = format!("node=!{line:08x} name=\"hiker {line}\" told");
            let number = line + 1;
            let told = format!("node=node-{number} name=\"node-{number}\" told");
            assert_eq!(redactor.redact(&said), told);
        }
    }

    const SECRETS: [&str; 6] = [
        "hunter2",
        "syt_cmVsYXk_abcdefghij_0aBcDe",
        "ABCDEFGHIJ",
        "EsTB dVGa pWZH 4xY3 kNLp Cf3V",
        "it's a (secret)",
        "+*?[a]$",
    ];
    const NAMES: [(Kind, &str); 8] = [
        (Kind::Node, "!0a0b0c01"),
        (Kind::Node, "Base Camp"),
        (Kind::Node, "🏔️"),
        (Kind::User, "@alice:example.org"),
        (Kind::Room, "!AbC:example.org"),
        (Kind::Host, "radio.lan"),
        (Kind::Host, "myradio"),
        (Kind::Path, "/home/alice/relay"),
    ];

    proptest! {
        #[test]
        fn no_known_secret_survives_in_any_surrounding(
            before in "[ -~\u{e9}\n]{0,12}",
            after in "[ -~\u{e9}\n]{0,12}",
            secret in prop::sample::select(&SECRETS),
        ) {
            let mut redactor = Redactor::new();
            for it in SECRETS {
                redactor.hide(it);
            }
            let told = redactor.redact(&format!("{before}{secret}{after}"));
            prop_assert!(!told.contains(secret), "{told}");
            prop_assert_eq!(&redactor.without_secrets(&told), &told);
        }

        #[test]
        fn no_known_name_survives_between_punctuation(
            before in "([ -~]{0,8}[^\\w]|)",
            after in "([^\\w][ -~]{0,8}|)",
            (kind, name) in prop::sample::select(&NAMES),
        ) {
            // The tables of the generator may be older than those of the language.
            prop_assume!(!before.ends_with(char::is_alphanumeric));
            prop_assume!(!after.starts_with(char::is_alphanumeric));
            let mut redactor = Redactor::new();
            for (kind, name) in NAMES {
                redactor.know(kind, [name]);
            }
            let expected = redactor.placeholder(kind, name);
            let text = format!("{before}{name}{after}");
            let told = redactor.redact(&text);
            prop_assert!(!told.to_lowercase().contains(&name.to_lowercase()), "{told}");
            // Alone it is told by its own placeholder, and always by the same.
            prop_assert_eq!(redactor.redact(name), expected.clone());
            prop_assert_eq!(redactor.redact(&text), told);
        }

        #[test]
        fn no_text_makes_it_panic(text in "[\\PC\n\t]{0,200}") {
            let mut redactor = Redactor::new();
            redactor.know(Kind::Name, ["é", "ß", "İ"]);
            drop(redactor.redact(&text));
        }
    }
}
