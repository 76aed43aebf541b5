//! The usual mistakes in YAML, in plain words: what the parser says of them is true, and of little help.

use super::finding::Wrong;

/// What the parser says, and what is to be done about it; the first that fits counts.
const CURES: [(&str, &str); 7] = [
    ("tabs", "YAML does not take tabs: indent with spaces"),
    (
        "unexpected character: `@",
        "`@` cannot begin a value in YAML: put user ids in quotes, \"@alice:example.org\"",
    ),
    (
        "unexpected character",
        "this character cannot begin a value in YAML: put the value in quotes",
    ),
    (
        "after single-quoted",
        "within '…' a ' is written twice; or use \"…\"",
    ),
    ("quoted scalar", "is a quote opened and not closed?"),
    ("flow", NEEDS_QUOTES),
    ("illegal placement", NEEDS_QUOTES),
];

const NEEDS_QUOTES: &str = "a text with `[`, `{` or `: ` in it needs quotes";

/// Looks at the lines around an error for the usual traps. Never quotes a line: it may hold a password.
pub(super) fn in_plain_words(wrong: Wrong, text: &str) -> Wrong {
    let Some(place) = wrong.place.filter(|_| wrong.hint.is_none()) else {
        return wrong;
    };
    if let Some((_, cure)) = CURES.iter().find(|(it, _)| wrong.message.contains(it)) {
        return wrong.hint(*cure);
    }
    let lines = (1..).zip(text.lines()).take(place.line);
    let lines =
        lines.filter(|(_, line)| !without_comment(line).is_empty() && !line.starts_with('#'));
    let lines: Vec<(usize, &str)> = lines.collect();
    let Some(((_, line), earlier)) = lines.split_last() else {
        return wrong;
    };
    let near = [Some(line), earlier.last().map(|(_, before)| before)];
    if let Some(hint) = near.into_iter().flatten().find_map(|line| slip(line)) {
        wrong.hint(hint)
    } else if let Some(indented) = indented(line, earlier) {
        indented.at(place)
    } else if without_comment(line).matches(": ").count() > 1 {
        wrong.hint(NEEDS_QUOTES)
    } else {
        wrong
    }
}

/// Returns what is to be done about a slip of the fingers in a line.
fn slip(line: &str) -> Option<&'static str> {
    let content = without_comment(line);
    let (key, value) = content.split_once(':').unwrap_or((content, " "));
    let (word, more) = content.split_once(' ').unwrap_or((content, ""));
    Some(if is_assignment(content) {
        "write `key: value`, not `key = value`"
    } else if content
        .strip_prefix('-')
        .is_some_and(|it| it.starts_with(char::is_alphabetic))
    {
        "write a space after the `-` that begins an item of a list"
    } else if is_key(key) && !value.is_empty() && !value.starts_with([' ', '/']) {
        "write a space after the `:` that follows a key"
    } else if is_key(word) && word.contains('_') && !more.is_empty() && !more.contains(':') {
        "is the `:` missing that follows a key?"
    } else {
        return None;
    })
}

/// Says so where a line begins in a column in which no line before it does, though it belongs to them.
fn indented(line: &str, earlier: &[(usize, &str)]) -> Option<Wrong> {
    let (number, before) = *earlier.last()?;
    let spaces = |line: &str| line.len() - line.trim_start().len();
    let is_item = |line: &str| line.trim_start().starts_with("- ");
    // Of an item, that of its key. What stands before it is ASCII.
    let column = |line: &str| line.len() - line.trim_start_matches([' ', '-']).len() + 1;
    let (here, there) = (column(line), column(before));
    let message = if is_item(line) && !is_item(before) && spaces(line) == spaces(before) {
        "an item of a list (`- …`) stands between keys"
    } else if without_comment(before).ends_with(':') && here > there
        || earlier.iter().any(|(_, line)| column(line) == here)
    {
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

/// Returns a line without its indentation, comment and the dash of an item.
fn without_comment(line: &str) -> &str {
    let line = line.split(" #").next().unwrap_or(line).trim();
    line.trim_start_matches("- ").trim_start()
}

fn is_key(word: &str) -> bool {
    let is_plain = |it: char| it.is_ascii_alphanumeric() || "_.-".contains(it);
    !word.is_empty() && word.chars().all(is_plain)
}

/// Returns whether a line looks like `key = value`.
pub(super) fn is_assignment(line: &str) -> bool {
    let assigned = line.split_once('=');
    assigned.is_some_and(|(key, _)| is_key(key.trim().trim_start_matches("- ")))
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
