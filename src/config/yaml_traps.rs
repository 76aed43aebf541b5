//! The usual mistakes in YAML, in plain words: what the parser says of them is true, and of little help.

use super::finding::Wrong;

/// Looks at the lines around an error for the usual traps. Never quotes a line: it may hold a password.
pub(super) fn in_plain_words(wrong: Wrong, text: &str) -> Wrong {
    let Some(place) = wrong.place.filter(|_| wrong.hint.is_none()) else {
        return wrong;
    };
    let lines: Vec<&str> = text.lines().collect();
    let at = place.line.saturating_sub(1);
    let line = lines.get(at).copied().unwrap_or_default();
    let earlier = lines.get(..at).unwrap_or_default();
    let before = earlier.iter().rposition(|line| is_said(line));
    let before = before.and_then(|index| Some((index + 1, *earlier.get(index)?)));
    let near = std::iter::once(line).chain(before.map(|(_, line)| line));
    let near: Vec<&str> = near.collect();
    if let Some(hint) = slip(&near, &wrong.message) {
        return wrong.hint(hint);
    }
    if let Some(wrong) = before.and_then(|before| indented(line, before, earlier)) {
        return wrong.at(place);
    }
    match value_without_quotes(line, &near) {
        Some(hint) => wrong.hint(hint),
        None => wrong,
    }
}

/// Returns what is to be done about a slip of the fingers in a line or the one before it.
fn slip(near: &[&str], message: &str) -> Option<&'static str> {
    let any = |is_trap: &dyn Fn(&str) -> bool| near.iter().any(|line| is_trap(line));
    Some(if any(&|line| indentation(line).contains('\t')) {
        "YAML does not take tabs: indent with spaces"
    } else if any(&|line| scalar_begins(line, '@')) {
        "`@` cannot begin a value in YAML: put user ids in quotes, \"@alice:example.org\""
    } else if any(&|line| scalar_begins(line, '`') || scalar_begins(line, '%')) {
        "this character cannot begin a value in YAML: put the value in quotes"
    } else if message.contains("after single-quoted") {
        "within '…' a ' is written twice; or use \"…\""
    } else if any(&|line| line.matches('"').count() % 2 == 1) || message.contains("quoted scalar") {
        "is a quote opened and not closed?"
    } else if any(&is_assignment) {
        "write `key: value`, not `key = value`"
    } else if any(&lacks_space_after_dash) {
        "write a space after the `-` that begins an item of a list"
    } else if any(&lacks_space_after_colon) {
        "write a space after the `:` that follows a key"
    } else if any(&lacks_colon) {
        "is the `:` missing that follows a key?"
    } else {
        return None;
    })
}

/// Returns what is to be done about a value in a line, or the one before it, that needs quotes.
fn value_without_quotes(line: &str, near: &[&str]) -> Option<&'static str> {
    let begins = |character| near.iter().any(|line| scalar_begins(line, character));
    if begins('!') {
        Some("`!` begins a tag in YAML: put room ids in quotes, \"!abc:example.org\"")
    } else if has_two_colons(line) || begins('[') || begins('{') {
        Some("a text with `[`, `{` or `: ` in it needs quotes")
    } else {
        None
    }
}

/// Says so where a line begins in a column in which no line before it does, though it belongs to them.
fn indented(line: &str, (number, before): (usize, &str), earlier: &[&str]) -> Option<Wrong> {
    let spaces = |line: &str| line.len() - line.trim_start().len();
    let is_item = |line: &str| line.trim_start().starts_with("- ");
    let column = |line: &str| indentation(line).len() + 1;
    let (here, there) = (column(line), column(before));
    let is_level = |line: &&str| is_said(line) && column(line) == here;
    let message = if is_item(line) && !is_item(before) && spaces(line) == spaces(before) {
        "an item of a list (`- …`) stands between keys"
    } else if said(before).ends_with(':') && here > there || earlier.iter().any(is_level) {
        return None;
    } else if here < there {
        "this line is indented less than its neighbours"
    } else {
        "this line is indented more than its neighbours"
    };
    Some(Wrong::new(message).hint(format!(
        "what belongs together begins in the same column: this line in column {here}, line {number} in column {there}"
    )))
}

/// Returns whether a line holds more than a comment.
fn is_said(line: &str) -> bool {
    let line = line.trim_start();
    !line.is_empty() && !line.starts_with('#')
}

/// Returns what stands before what a line says: of an item, before its key. All of it is ASCII.
fn indentation(line: &str) -> &str {
    let rest = line.trim_start_matches([' ', '\t', '-']);
    line.get(..line.len() - rest.len()).unwrap_or_default()
}

/// Returns a line without its indentation, comment and the dash of an item.
fn said(line: &str) -> &str {
    let line = line.split(" #").next().unwrap_or(line);
    line.trim_start_matches([' ', '\t'])
        .trim_start_matches("- ")
        .trim()
}

fn lacks_space_after_dash(line: &str) -> bool {
    let item = line.trim_start().strip_prefix('-');
    item.is_some_and(|item| {
        item.starts_with(|first: char| first.is_ascii_alphabetic() || first == '{')
    })
}

/// Returns whether a line looks like `key:value`; an address (`a:example.org` in quotes) does not.
fn lacks_space_after_colon(line: &str) -> bool {
    said(line).split_once(':').is_some_and(|(key, value)| {
        is_key(key) && !value.is_empty() && !value.starts_with([' ', '/'])
    })
}

/// Returns whether a line looks like `key value`.
fn lacks_colon(line: &str) -> bool {
    let said = said(line);
    let mut words = said.split_whitespace();
    let key = words
        .next()
        .is_some_and(|key| is_key(key) && key.contains('_'));
    key && words.next().is_some() && !said.contains(':')
}

fn has_two_colons(line: &str) -> bool {
    let said = said(line);
    !said.starts_with(['"', '\'']) && said.matches(": ").count() > 1
}

fn is_key(word: &str) -> bool {
    !word.is_empty()
        && word
            .chars()
            .all(|character| character.is_ascii_alphanumeric() || "_.-".contains(character))
}

/// Returns whether a value of this line, or an item of a list in it, begins with this character.
fn scalar_begins(line: &str, character: char) -> bool {
    let line = line.trim_start();
    let starts = |part: &str| part.trim_start().starts_with(character);
    starts(line.trim_start_matches("- "))
        || line
            .split_once(": ")
            .is_some_and(|(_, value)| starts(value))
        || line.split(['[', ',', '{']).skip(1).any(starts)
}

/// Returns whether a line looks like `key = value`.
pub(super) fn is_assignment(line: &str) -> bool {
    line.split_once('=')
        .is_some_and(|(key, _)| is_key(key.trim().trim_start_matches("- ")))
}

#[cfg(test)]
mod tests {
    use super::super::yaml::parse;

    fn told(text: &str) -> String {
        let error = parse(text).unwrap_err();
        format!("{}: {}", error.message, error.hint.unwrap_or_default())
    }

    #[test]
    fn a_line_that_does_not_stand_below_its_neighbours_is_called_that() {
        for (text, words) in [
            ("a:\n  - id: x\n   b: 0\n", "less than"),
            ("a:\n    b: x\n  c: y\n", "less than"),
            (" a: 1\nb: 2\n", "less than"),
            ("a:\n- b: 1\n  c: 0\n - b: 2\n", "more than"),
            (
                "a:\n    b: x\n\n  # a comment\n  c: y\n",
                "line 2 in column 5",
            ),
            ("a:\n  b: x\n    c: y\n", "more than"),
            ("a:\n  - id: x\n      b: 0\n", "more than"),
            ("a:\n  b: \"x\"\n    c: y\n", "more than"),
        ] {
            assert!(told(text).contains(words), "{text:?}: {}", told(text));
        }
    }

    #[test]
    fn a_missing_space_colon_or_quote_is_named() {
        for (text, words) in [
            ("a:\n  -id: x\n   b: 0\n", "space after the `-`"),
            ("a:\n  kind:tcp\n  host: h\n", "space after the `:`"),
            ("a:\n  host: h\n  kind:tcp\n", "space after the `:`"),
            ("a:\n  serial_port tcp\n  host: h\n", "`:` missing"),
            ("a:\n  name: Base: Camp\n", "needs quotes"),
            ("a:\n  name: 'it's here'\n", "written twice"),
            ("a:\n  host: \"h\n  port: 4403\n", "not closed"),
            ("a:\n  host: 'h\n  port: it's\n", "not closed"),
            ("a:\n  id: \"#b:c\"\n  - id: \"#d:e\"\n", "item of a list"),
        ] {
            assert!(told(text).contains(words), "{text:?}: {}", told(text));
        }
    }

    #[test]
    fn no_line_is_quoted() {
        for text in [
            "a:\n  password secret-1\n  b: c\n",
            "a: x\n   secret-1: y\n",
        ] {
            assert!(!told(text).contains("secret-1"), "{}", told(text));
        }
    }
}
