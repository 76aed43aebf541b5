//! The lines of a log, without what tells who and where somebody is. A line that cannot be taken apart is left out, and so is
//! what the radio prints: nobody knows what stands in it.

use serde_json::{Map, Value};

use super::kind::Kind;
use super::redact::{GONE, Redactor};

/// Where a radio's own log is told.
const CONSOLE: &str = "relay::radio::console";

/// Fields that hold a name, and whose.
const NAMES: [(&str, Kind); 3] = [
    ("name", Kind::Name),
    ("meshnet", Kind::Mesh),
    ("device", Kind::Device),
];
/// Fields of which nothing is kept.
const WORDS: [&str; 3] = ["line", "text", "panic"];

/// Returns the newest lines of a log in either format, at most `most`, without what is not to be shown.
pub(super) fn redacted<'a>(
    lines: impl DoubleEndedIterator<Item = &'a str>,
    most: usize,
    redactor: &mut Redactor,
) -> Vec<String> {
    let kept = lines.rev().filter(|line| is_kept(line)).take(most);
    let mut kept: Vec<_> = kept.collect();
    kept.reverse();
    let lines = kept.into_iter().filter_map(|line| match as_object(line) {
        Some(object) => of_object(&object, redactor),
        None => of_text(line, redactor),
    });
    lines.collect()
}

/// Returns whether a line is one of the log, and neither at trace nor the radio's.
fn is_kept(line: &str) -> bool {
    let level = match as_object(line) {
        Some(object) => object
            .get("level")
            .and_then(Value::as_str)
            .map(str::to_owned),
        None => split(line).map(|(_, level, _)| level.to_owned()),
    };
    let is_known =
        level.is_some_and(|it| ["ERROR", "WARN", "INFO", "DEBUG"].contains(&it.as_str()));
    is_known && !line.contains(CONSOLE)
}

fn as_object(line: &str) -> Option<Map<String, Value>> {
    serde_json::from_str(line).ok()
}

/// Returns whether a line is the relay's own: one of a library may hold anything, if all of it was asked for.
fn is_ours(target: &str) -> bool {
    target == "relay" || target.starts_with("relay::")
}

/// Returns time, level and the rest of a line in the text format.
fn split(line: &str) -> Option<(&str, &str, &str)> {
    let (time, rest) = line.split_once(' ')?;
    let is_time = time.len() == 27 && time.starts_with("20") && time.ends_with('Z');
    let (level, rest) = rest.trim_start().split_once(' ')?;
    is_time.then_some((time, level, rest))
}

fn of_object(object: &Map<String, Value>, redactor: &mut Redactor) -> Option<String> {
    let text = |key: &str| object.get(key).and_then(Value::as_str);
    let (time, level, target) = (text("timestamp")?, text("level")?, text("target")?);
    if !is_ours(target) {
        return Some(format!("{time} {level:>5} {target}: {GONE}"));
    }
    let mut line = format!("{time} {level:>5} {target}: ");
    line.push_str(&redactor.redact(text("message").unwrap_or_default()));
    for (key, value) in object {
        if ["timestamp", "level", "target", "message"].contains(&key.as_str()) {
            continue;
        }
        let value = match value {
            Value::String(text) => format!("{:?}", of_field(key, text, redactor)),
            Value::Number(_) | Value::Bool(_) | Value::Null => value.to_string(),
            Value::Array(_) | Value::Object(_) => redactor.redact(&value.to_string()),
        };
        line.extend([" ", key, "=", &value]);
    }
    Some(line)
}

/// Returns what is shown of a field's value.
fn of_field(key: &str, text: &str, redactor: &mut Redactor) -> String {
    if WORDS.contains(&key) {
        return GONE.to_owned();
    }
    named(key, text, redactor)
}

/// Returns what is shown of a value that may be a name by its key.
pub(super) fn named(key: &str, text: &str, redactor: &mut Redactor) -> String {
    match NAMES.iter().find(|(name, _)| *name == key) {
        Some((_, kind)) if !text.is_empty() => redactor.placeholder(*kind, text),
        Some(_) | None => redactor.redact(text),
    }
}

fn of_text(line: &str, redactor: &mut Redactor) -> Option<String> {
    let (time, level, rest) = split(line)?;
    let target = rest.split(": ").next().unwrap_or_default();
    if !is_ours(target) {
        let is_part = |it: char| it.is_ascii_alphanumeric() || it == '_' || it == ':';
        let end = target.find(|it| !is_part(it)).unwrap_or(target.len());
        let target = target.get(..end).unwrap_or_default();
        return Some(format!("{time} {level:>5} {target}: {GONE}"));
    }
    let mut told = format!("{time} {level:>5} ");
    let mut rest = rest;
    // Names and words stand behind their key, in quotes or up to the next key.
    while let Some((at, key)) = next_field(rest) {
        let (before, value) = rest.split_at(at + key.len() + 1);
        told.push_str(&redactor.redact(before));
        let (value, after) = value_of(value);
        told.push_str(&of_field(key, value.trim_matches('"'), redactor));
        rest = after;
    }
    told.push_str(&redactor.redact(rest));
    Some(told)
}

/// Finds the first field that holds a name or words.
fn next_field(text: &str) -> Option<(usize, &'static str)> {
    let names = NAMES.iter().map(|(name, _)| *name).chain(WORDS);
    let found = names.filter_map(|key| {
        let at = text.find(&format!(" {key}="))?;
        Some((at + 1, key))
    });
    found.min()
}

/// Splits a value from what comes behind it.
fn value_of(text: &str) -> (&str, &str) {
    let end = if let Some(inside) = text.strip_prefix('"') {
        let mut is_escaped = false;
        let end = inside.char_indices().find(|(_, it)| {
            let ends = *it == '"' && !is_escaped;
            is_escaped = *it == '\\' && !is_escaped;
            ends
        });
        end.map_or(text.len(), |(at, _)| at + 2)
    } else {
        next_key(text).unwrap_or(text.len())
    };
    text.split_at(end)
}

/// Returns where the next ` key=` begins.
fn next_key(text: &str) -> Option<usize> {
    let mut spaces = text.match_indices(' ');
    spaces.find_map(|(at, _)| {
        let word = text.get(at + 1..)?;
        let key = word.split_once('=')?.0;
        let is_key = !key.is_empty() && key.bytes().all(|it| it.is_ascii_lowercase() || it == b'_');
        is_key.then_some(at)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIME: &str = "2026-01-31T12:00:00.123456Z";

    fn told(line: &str) -> Option<String> {
        let mut redactor = Redactor::new();
        redactor.know(Kind::Node, ["!0a0b0c01", "Base Camp"]);
        redacted(std::iter::once(line), 10, &mut redactor).pop()
    }

    #[test]
    fn names_and_ids_are_taken_out_of_both_formats() {
        let text = format!(
            "{TIME}  INFO relay::daemon: room joined room=!abc:example.org name=\"The \\\"Club\\\" x\" encrypted=true node=!0a0b0c01 error=Base Camp is away"
        );
        let expected = format!(
            "{TIME}  INFO relay::daemon: room joined room=room-1 name=name-1 encrypted=true node=node-1 error=node-1 is away"
        );
        assert_eq!(told(&text), Some(expected));
        let json = format!(
            r#"{{"timestamp":"{TIME}","level":"INFO","message":"room joined","room":"!abc:example.org","name":"The Club","count":3,"target":"relay::daemon"}}"#
        );
        let told = told(&json).unwrap();
        assert!(told.starts_with(&format!("{TIME}  INFO relay::daemon: room joined")));
        for word in ["room=\"room-1\"", "name=\"name-1\"", "count=3"] {
            assert!(told.contains(word), "{told}");
        }
    }

    #[test]
    fn what_the_radio_prints_what_is_traced_and_what_is_no_line_are_left_out() {
        for line in [
            &format!("{TIME} DEBUG relay::radio::console: the radio prints line=\"secret\""),
            &format!("{TIME} TRACE relay::radio: text=\"secret\""),
            &format!(r#"{{"timestamp":"{TIME}","level":"TRACE","message":"m","target":"relay"}}"#),
            "secret",
            "",
        ] {
            assert_eq!(told(line), None, "{line}");
        }
    }

    #[test]
    fn of_a_librarys_line_only_its_place_is_shown() {
        let text = format!("{TIME} DEBUG matrix_sdk::sync: body=\"secret\" relay: x");
        let json = format!(
            r#"{{"timestamp":"{TIME}","level":"WARN","message":"secret","body":"secret","target":"matrix_sdk::sync"}}"#
        );
        for (line, level) in [(text, "DEBUG"), (json, " WARN")] {
            let expected = format!("{TIME} {level} matrix_sdk::sync: …");
            assert_eq!(told(&line), Some(expected));
        }
    }

    #[test]
    fn the_newest_lines_are_shown() {
        let lines: Vec<_> = (0..9)
            .map(|number| format!("{TIME}  INFO relay: number {number}"))
            .collect();
        let told = redacted(lines.iter().map(String::as_str), 3, &mut Redactor::new());
        assert_eq!(told.len(), 3);
        assert!(told[0].ends_with("number 6") && told[2].ends_with("number 8"));
    }
}
