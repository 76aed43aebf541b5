//! What looks like an identifier, an address, a place or a secret, in the order in which it is looked for. Pure.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::ops::Range;

use regex::{Captures, Regex};

use super::kind::Kind;

/// What is kept of the names with dots: files, and names that are ours or those of the protocol.
const FILES: [&str; 16] = [
    "yaml", "yml", "json", "sqlite", "sock", "lock", "log", "key", "md", "rs", "toml", "service",
    "conf", "db", "wal", "shm",
];
const BEGINNINGS: [&str; 9] = [
    "matrix",
    "matrix_rooms",
    "meshtastic",
    "database",
    "health",
    "logging",
    "m",
    "docs",
    "relay",
];

/// A place in a text that is to be taken out.
pub(super) struct Found {
    pub(super) range: Range<usize>,
    /// What is kept of it, before what is put in its place.
    pub(super) before: String,
    /// `None`: it is a secret.
    pub(super) kind: Option<Kind>,
    pub(super) thing: String,
}

/// One way in which something can look.
#[derive(Clone)]
pub(super) struct Pattern {
    regex: Regex,
    judge: Judge,
}

/// What is kept of a match, what it is, and the thing.
type Verdict = (String, Option<Kind>, String);

impl std::fmt::Debug for Pattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.regex.fmt(f)
    }
}

impl Pattern {
    /// Returns what is to be taken out, in the order of the text.
    pub(super) fn find_all(&self, text: &str) -> Vec<Found> {
        let all = self.regex.captures_iter(text);
        let found = all.filter_map(|captures| {
            let (before, kind, thing) = self.judge.verdict(&captures, text)?;
            let range = captures.get(0)?.range();
            Some(Found {
                range,
                before,
                kind,
                thing,
            })
        });
        found.collect()
    }
}

fn group<'a>(captures: &Captures<'a>, number: usize) -> &'a str {
    captures.get(number).map_or("", |it| it.as_str())
}

/// What a match of a pattern is.
#[derive(Clone, Copy)]
enum Judge {
    /// A secret behind the first group, which is kept.
    Secret,
    Whole(Kind),
    /// What this says; `None`: nothing that is to be taken out.
    By(fn(&Captures<'_>, &str) -> Option<Verdict>),
}

impl Judge {
    fn verdict(self, captures: &Captures<'_>, text: &str) -> Option<Verdict> {
        match self {
            Self::Secret => Some((group(captures, 1).to_owned(), None, String::new())),
            Self::Whole(kind) => {
                let thing = group(captures, 0).to_owned();
                Some((String::new(), Some(kind), thing))
            }
            Self::By(judge) => judge(captures, text),
        }
    }
}

/// Returns how secrets look that say so.
pub(super) fn secrets() -> Vec<Pattern> {
    compiled(secret_sources())
}

/// Returns how identifiers look, and addresses of the web.
pub(super) fn ids() -> Vec<Pattern> {
    compiled(id_sources())
}

/// Returns how everything else looks.
pub(super) fn things() -> Vec<Pattern> {
    compiled(thing_sources())
}

/// What does not compile is left out, which a test rules out.
fn compiled(sources: Vec<(&str, Judge)>) -> Vec<Pattern> {
    let all = sources.into_iter().filter_map(|(source, judge)| {
        let regex = Regex::new(source).ok()?;
        Some(Pattern { regex, judge })
    });
    all.collect()
}

fn secret_sources() -> Vec<(&'static str, Judge)> {
    vec![
        // What is called a secret.
        (
            r#"(?i)(\b(?:password|passwd|passphrase|secret|[a-z_]*token|psk|[a-z]*_key|pin|bearer)\b["']?(?:\s*[=:]\s*|\s+=\s*))(?:"(?:[^"\\]|\\.)*"|[^\s,;&]+)"#,
            Judge::Secret,
        ),
        (r"(?i)(\bbearer\s+)\S+", Judge::Secret),
        // Recovery keys: base 58 in groups of four.
        (
            r"()\bE[1-9A-HJ-NP-Za-km-z]{3}(?:[ -]?[1-9A-HJ-NP-Za-km-z]{4}){4,}(?:[ -]?[1-9A-HJ-NP-Za-km-z]{1,4})?\b",
            Judge::Secret,
        ),
        (
            r"()\b(?:(?:syt|mat|mar|mct|mcr|mas|sct)_|MDA|eyJ)[A-Za-z0-9][_A-Za-z0-9.+/=-]{5,}",
            Judge::Secret,
        ),
    ]
}

fn id_sources() -> Vec<(&'static str, Judge)> {
    vec![
        // Addresses of the web, and of Matrix.
        (r"(?i)()\bmatrix:(?:r|roomid|u|e)/[^\s`'<>]+", Judge::Secret),
        (
            r#"(?i)\b([a-z][a-z0-9+.-]*://)([^\s"'`<>\\/]+)(/[^\s"'`<>\\]*)?"#,
            Judge::By(url),
        ),
        // Users (globs as well), rooms, nodes, events.
        (
            r#"@[^\s:@"'`<>(),;=\[\]{}]*:(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9*?](?:[A-Za-z0-9.*?-]*[A-Za-z0-9*?])?)(?::\d{1,5})?"#,
            Judge::Whole(Kind::User),
        ),
        (
            r#"#[^\s:#"'`<>(),;]+:(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?)(?::\d{1,5})?"#,
            Judge::Whole(Kind::Room),
        ),
        (
            r#"![^\s:!"'`<>(),;=\[\]{}]+:(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?)(?::\d{1,5})?"#,
            Judge::Whole(Kind::Room),
        ),
        (r"![0-9A-Fa-f]{8}\b", Judge::Whole(Kind::Node)),
        (r"![A-Za-z0-9_-]{2,}", Judge::Whole(Kind::Room)),
        (
            r"\$[A-Za-z0-9_+/-]{10,}(?::[A-Za-z0-9.-]+(?::\d{1,5})?)?",
            Judge::Whole(Kind::Event),
        ),
        (
            r"[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+",
            Judge::Whole(Kind::User),
        ),
    ]
}

fn thing_sources() -> Vec<(&'static str, Judge)> {
    vec![
        // Places: what is called so, pairs, and numbers that are as exact.
        (
            r#"(?i)(\b(?:lat|lon|lng|long|latitude|longitude|altitude|alt)(?:_?i)?\b["']?\s*[=:]\s*)[-+]?\d+(?:\.\d+)?"#,
            Judge::Secret,
        ),
        (
            r"()[-+]?\b\d{1,3}\.\d{2,}(?:\s*°)?(?:\s*[NSns]\b)?\s*[,;/ ]\s*[-+]?\d{1,3}\.\d{2,}(?:\s*°)?(?:\s*[EWew]\b)?",
            Judge::Secret,
        ),
        (r"()[-+]?\b\d{1,3}(?:\.\d+)?\s*°[^,;]*", Judge::Secret),
        (r"()[-+]?\b\d+\.\d{4,}\b", Judge::Secret),
        (r"(?i)()\bgeo:[^\s,]+(?:,[^\s]+)?", Judge::Secret),
        // Hardware, network, files.
        (
            r"\b[0-9A-Fa-f]{2}(?:[:-][0-9A-Fa-f]{2}){5,}\b",
            Judge::Whole(Kind::Address),
        ),
        (
            r"\b[0-9A-Fa-f]{8}-(?:[0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12}\b",
            Judge::Whole(Kind::Address),
        ),
        (
            r"(?:/home|/Users|/root|/var/home|/media|/mnt|/run/user|/run/media|/dev/serial)/[^\s`'<>:,;)]+",
            Judge::Whole(Kind::Path),
        ),
        (r"~[a-z0-9_-]*/[^\s`'<>:,;)]*", Judge::Whole(Kind::Path)),
        (
            r"\b(?:\d{1,3}\.){3}\d{1,3}\b(?::\d{1,5}\b)?",
            Judge::By(ipv4),
        ),
        (
            r"\[?[0-9A-Fa-f:.]*:[0-9A-Fa-f]*:[0-9A-Fa-f:.]*(?:%[A-Za-z0-9.]+)?(?:\]:\d{1,5}|\])?",
            Judge::By(ipv6),
        ),
        (
            r"\b(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?\.)+[A-Za-z]{2,63}\b(?::\d{1,5}\b)?",
            Judge::By(domain),
        ),
        (
            r"\b[A-Za-z][A-Za-z0-9-]*:\d{4,5}\b",
            Judge::By(|it, _| {
                let host = without_port(group(it, 0)).to_owned();
                Some((String::new(), Some(Kind::Host), host))
            }),
        ),
        // Keys.
        (r"()\b[0-9A-Fa-f]{16,}\b", Judge::Secret),
        (r"()[A-Za-z0-9+/_-]{20,}={0,2}", Judge::By(long_run)),
        (
            r"\b(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)",
            Judge::By(base64),
        ),
        (r"\b[A-Z]{10}\b", Judge::Whole(Kind::Device)),
    ]
}

/// Keeps the scheme, and that there was a path.
fn url(captures: &Captures<'_>, _: &str) -> Option<Verdict> {
    let authority = group(captures, 2);
    let host = authority.rsplit('@').next().unwrap_or(authority);
    let host = without_port(host);
    if host.is_empty() {
        return None;
    }
    let scheme = group(captures, 1).to_owned();
    Some((scheme, Some(Kind::Host), host.to_owned()))
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|it| it.is_ascii_digit()) => name,
        _ => host,
    }
}

fn ipv4(captures: &Captures<'_>, text: &str) -> Option<Verdict> {
    let found = group(captures, 0);
    let host = without_port(found);
    host.parse::<Ipv4Addr>().ok()?;
    let range = captures.get(0)?.range();
    let beyond = text.get(range.end..).unwrap_or_default();
    // A version number may go on.
    let goes_on = beyond.starts_with(|it: char| it.is_alphanumeric());
    (!goes_on).then(|| (String::new(), Some(Kind::Host), host.to_owned()))
}

fn ipv6(captures: &Captures<'_>, text: &str) -> Option<Verdict> {
    let found = group(captures, 0);
    let inside = found.trim_start_matches('[').split([']', '%']).next()?;
    inside.trim_end_matches('.').parse::<Ipv6Addr>().ok()?;
    let range = captures.get(0)?.range();
    let is_part = |it: char| it.is_alphanumeric() || it == '_';
    let before = text.get(..range.start).unwrap_or_default();
    let after = text.get(range.end..).unwrap_or_default();
    // The words of a path in the sources.
    let is_code = before.ends_with(is_part) || after.starts_with(is_part);
    (!is_code).then(|| (String::new(), Some(Kind::Host), inside.to_owned()))
}

fn domain(captures: &Captures<'_>, text: &str) -> Option<Verdict> {
    let found = group(captures, 0);
    let host = without_port(found);
    let mut labels = host.split('.');
    let (first, last) = (labels.next()?, labels.next_back()?);
    let range = captures.get(0)?.range();
    // A name of the environment or of the sources goes on with an underline.
    let after = text.get(range.end..).unwrap_or_default();
    let is_ours = BEGINNINGS.contains(&first) && range.len() == host.len()
        || FILES.contains(&last)
        || after.starts_with('_');
    (!is_ours).then(|| (String::new(), Some(Kind::Host), host.to_owned()))
}

/// A long run of letters and digits is a key, unless it is words.
fn long_run(captures: &Captures<'_>, _: &str) -> Option<Verdict> {
    let found = group(captures, 0);
    let has = |is: fn(&u8) -> bool| found.as_bytes().iter().any(is);
    let mixes = has(u8::is_ascii_lowercase) && has(u8::is_ascii_uppercase);
    let is_words = !has(u8::is_ascii_digit) && !mixes && !found.contains(['+', '=']);
    (!is_words).then(|| (String::new(), None, String::new()))
}

/// A short key ends with its padding; the name of a field goes on behind `=`.
fn base64(captures: &Captures<'_>, text: &str) -> Option<Verdict> {
    let after = text.get(captures.get(0)?.end()..).unwrap_or_default();
    let ends = after.is_empty()
        || after.starts_with(|it: char| it.is_whitespace() || ",;)]}".contains(it));
    ends.then(|| (String::new(), None, String::new()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pattern_compiles() {
        assert_eq!(secrets().len(), secret_sources().len());
        assert_eq!(ids().len(), id_sources().len());
        assert_eq!(things().len(), thing_sources().len());
    }
}
