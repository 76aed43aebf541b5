//! From a node to a checked value: texts, words, times, identifiers, lists of them.

use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

use strum::VariantNames;

use super::finding::{Wrong, nearest, printable, quoted};
use super::pattern::UserPattern;
use super::secret::Secret;
use super::yaml::{self, Node, Value};
use relay_model::OwnedUserId;

/// A value, or everything that is wrong with it.
pub(super) type Checked<T> = Result<T, Vec<Wrong>>;

/// What reads a value from a node of the file, or says what is wrong with it.
pub(super) trait Convert<T>: Fn(&Node) -> Checked<T> {}

impl<T, F: Fn(&Node) -> Checked<T>> Convert<T> for F {}

/// The longest time that a key takes.
const LONGEST: Duration = Duration::from_hours(24 * 366);

/// Returns a text; a number or a word without quotes is one too.
pub(super) fn text(node: &Node) -> Checked<String> {
    scalar(node, "a text").map(str::to_owned)
}

pub(super) fn nonblank(node: &Node) -> Checked<String> {
    let text = text(node)?;
    if text.trim().is_empty() {
        return Err(Wrong::new("is empty").into());
    }
    Ok(text)
}

pub(super) fn text_or_none(node: &Node) -> Checked<Option<String>> {
    Ok(Some(text(node)?).filter(|text| !text.is_empty()))
}

/// Returns a text that is never shown, not even when it is wrong: its first line, as of a file that is named to
/// `relay auth login`.
pub(super) fn secret(node: &Node) -> Checked<Secret<String>> {
    let text = text(node)?;
    match text.lines().next() {
        None | Some("") => Err(Wrong::new("is empty").into()),
        Some(line) => Ok(Secret::new(line.to_owned())),
    }
}

/// Returns what one of a few words stands for. `off` and `false`, `true` and `on` are each other's spellings.
pub(super) fn choice<T: FromStr + VariantNames>(node: &Node) -> Checked<T> {
    let listed: Vec<String> = T::VARIANTS.iter().map(|it| format!("`{it}`")).collect();
    let expected = format!("one of {}", listed.join(", "));
    let text = scalar(node, &expected)?.trim();
    let spellings: &[&str] = match truth(text) {
        Some(true) => &["true", "on"],
        Some(false) => &["false", "off"],
        None => &[text],
    };
    let meant = spellings.iter().find_map(|word| word.parse().ok());
    Ok(meant.ok_or_else(|| Wrong {
        hint: nearest(text, T::VARIANTS.iter().copied()),
        ..Wrong::not(text, &expected)
    })?)
}

/// Returns a time: `90s`, `10m`, `1h30m`; a bare number is seconds.
pub(super) fn duration(node: &Node) -> Checked<Duration> {
    let text = scalar(node, "a time, as in `90s`, `10m`, `1h`")?;
    let duration = parse_duration(text).ok_or_else(|| {
        let hint = "write it as `90s`, `10m`, `1h`; a bare number is seconds";
        Wrong::not(text, "a time").hint(hint)
    })?;
    if duration > LONGEST {
        let sentence = format!("{} is longer than a year", quoted(text));
        return Err(Wrong::new(sentence).into());
    }
    Ok(duration)
}

/// Returns a time of more than nothing.
pub(super) fn some_duration(node: &Node) -> Checked<Duration> {
    let duration = duration(node)?;
    if duration.is_zero() {
        return Err(Wrong::new("must be more than no time at all").into());
    }
    Ok(duration)
}

/// Returns a list; a single value is not one.
pub(super) fn list_of<T>(item: impl Convert<T>) -> impl Convert<Vec<T>> {
    move |node: &Node| {
        let Value::List(items) = structured(node)?.value else {
            let hint = "write it as `[\"one\", \"two\"]`, or one `- item` a line";
            return Err(Wrong::new("expected a list").hint(hint).into());
        };
        let mut values = Vec::new();
        let mut wrongs = Vec::new();
        for (index, node) in items.iter().enumerate() {
            match item(node) {
                Ok(value) => values.push(value),
                Err(all) => wrongs.extend(all.into_iter().map(|it| it.item(index, node.place))),
            }
        }
        if wrongs.is_empty() {
            Ok(values)
        } else {
            Err(wrongs)
        }
    }
}

pub(super) fn pattern(node: &Node) -> Checked<UserPattern> {
    parsed(scalar(node, "a text")?.trim())
}

pub(super) fn user_id(node: &Node) -> Checked<OwnedUserId> {
    let text = scalar(node, "a user id")?.trim();
    let expected = "a user id: expected `@name:server`";
    Ok(OwnedUserId::try_from(text).map_err(|_| Wrong::not(text, expected))?)
}

/// Returns what its own type makes of a text.
pub(super) fn parsed<T: FromStr<Err: Display>>(text: &str) -> Checked<T> {
    let parsed = text.parse::<T>();
    Ok(parsed.map_err(|error| Wrong::new(error.to_string()))?)
}

/// Puts this hint in the place of others.
pub(super) fn hinted<T>(hint: &str, checked: Checked<T>) -> Checked<T> {
    checked.map_err(|all| all.into_iter().map(|it| it.hint(hint)).collect())
}

/// Returns a node as the list or mapping that it is meant to be: a plain text, as the environment gives it, is read
/// as YAML. In a file no plain text begins like a list or mapping, so it stays what it is.
pub(super) fn structured(node: &Node) -> Result<Node, Wrong> {
    let Value::Scalar { text, plain: true } = &node.value else {
        return Ok(node.clone());
    };
    Ok(Node {
        place: node.place,
        ..yaml::parse(text)?.root
    })
}

/// Returns why there is no value, where there is none: YAML may have taken it for a tag or a comment.
pub(super) fn nothing(node: &Node) -> Wrong {
    match (&node.tag, &node.value) {
        (Some(tag), _) => {
            let sentence = "begins with `!`, which begins a tag in YAML";
            Wrong::new(format!("{} {sentence}", quoted(tag)))
                .hint(format!("put it in quotes: \"{}\"", printable(tag)))
        }
        (None, Value::Null { comment: true }) => Wrong::new("is empty")
            .hint("`#` begins a comment in YAML: put a value that begins with it in quotes"),
        (None, _) => Wrong::new("is empty"),
    }
}

/// Returns a single value's text as it stands.
pub(super) fn scalar<'a>(node: &'a Node, expected: &str) -> Checked<&'a str> {
    let wrong = match &node.value {
        _ if node.tag.is_some() => nothing(node),
        Value::Scalar { text, .. } => return Ok(text),
        Value::Null { .. } => nothing(node),
        Value::List(_) => Wrong::new(format!("expected {expected}, not a list")),
        Value::Map(_) => Wrong::new(format!("expected {expected}, not a mapping")),
    };
    Err(wrong.into())
}

/// The words for yes and no.
pub(super) const YES: [&str; 5] = ["true", "yes", "on", "y", "1"];
pub(super) const NO: [&str; 5] = ["false", "no", "off", "n", "0"];

/// Returns what a word for yes or no means.
pub(super) fn truth(text: &str) -> Option<bool> {
    let word = text.trim().to_ascii_lowercase();
    let is_yes = YES.contains(&word.as_str());
    (is_yes || NO.contains(&word.as_str())).then_some(is_yes)
}

fn parse_duration(text: &str) -> Option<Duration> {
    let text = text.trim();
    if let Ok(seconds) = text.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    let mut rest = text;
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits =
            rest.find(|character: char| !(character.is_ascii_digit() || character == '.'))?;
        let (number, after) = rest.split_at(digits);
        let unit_end = after.find(|character: char| !character.is_ascii_alphabetic());
        let (unit, after) = after.split_at(unit_end.unwrap_or(after.len()));
        let seconds = match unit {
            "ms" => 0.001,
            "s" => 1.0,
            "m" | "min" => 60.0,
            "h" => 3600.0,
            "d" => 86_400.0,
            _ => return None,
        };
        let part = Duration::try_from_secs_f64(number.parse::<f64>().ok()? * seconds).ok()?;
        total = total.checked_add(part)?;
        rest = after.trim_start();
    }
    (!text.is_empty()).then_some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(yaml: &str) -> Node {
        yaml::parse(yaml).unwrap().root
    }

    fn message<T>(checked: Checked<T>) -> String {
        match checked {
            Ok(_) => panic!("nothing is wrong"),
            Err(all) => all[0].message.clone(),
        }
    }

    #[test]
    fn a_secret_is_one_line() {
        let found = |yaml: &str| secret(&node(yaml)).map(|it| it.reveal().to_owned());
        assert_eq!(
            found("|\n  pass word\n  second\n"),
            Ok("pass word".to_owned())
        );
        assert_eq!(found("' pass '"), Ok(" pass ".to_owned()));
        assert!(found("|\n\n  second\n").is_err());
    }

    #[test]
    fn times_are_seconds_unless_they_say_otherwise() {
        for (yaml, milliseconds) in [
            ("90s", 90_000),
            ("10m", 600_000),
            ("1h", 3_600_000),
            ("2", 2_000),
            ("2.05", 2_050),
            ("1h30m", 5_400_000),
            ("250ms", 250),
            ("0", 0),
        ] {
            assert_eq!(
                duration(&node(yaml)),
                Ok(Duration::from_millis(milliseconds)),
                "{yaml}"
            );
        }
        for yaml in [
            "-5",
            "10 parsecs",
            "m",
            "1e400",
            ".nan",
            "5m x",
            "1.2.3s",
            "[]",
            "''",
        ] {
            assert!(duration(&node(yaml)).is_err(), "{yaml}");
        }
        assert!(message(duration(&node("400d"))).contains("longer than a year"));
    }

    #[test]
    fn a_secret_is_not_told_when_it_is_wrong() {
        let wrongs = secret(&node("[hunter2]")).unwrap_err();
        assert!(!format!("{wrongs:?}").contains("hunter2"));
    }
}
