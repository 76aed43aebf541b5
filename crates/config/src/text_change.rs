//! Changes of a configuration's text, each at the place of a key.

use std::collections::BTreeSet;

use super::finding::{Position, printable};
use super::yaml::{Node, Value};

/// What is said of a key that nobody knows.
pub(super) const UNKNOWN_KEY: &str = "unknown key";

/// A change at a key.
#[derive(Debug, Clone)]
pub(super) struct TextChange {
    /// Where the key stands.
    pub(super) place: Position,
    /// The key's path, as people read it.
    path: String,
    kind: Kind,
}

#[derive(Debug, Clone)]
enum Kind {
    /// The key has this name now.
    Rename(&'static str),
    /// It is commented out for this reason.
    LeaveOut {
        why: String,
        /// Not even a comment keeps the value.
        is_secret: bool,
    },
    /// `relay_reactions` and its value become a section; the value begins there, and ends before that column.
    Reactions(Position, usize),
}

impl TextChange {
    pub(super) fn rename(path: &str, place: Position, to: &'static str) -> Self {
        let kind = Kind::Rename(to);
        let path = path.to_owned();
        Self { place, path, kind }
    }

    pub(super) fn leave_out(path: &str, place: Position, why: &str, is_secret: bool) -> Self {
        let why = why.to_owned();
        Self {
            place,
            path: path.to_owned(),
            kind: Kind::LeaveOut { why, is_secret },
        }
    }

    pub(super) fn reactions(place: Position, value: Position, end: usize) -> Self {
        Self {
            place,
            path: "meshtastic.relay_reactions".to_owned(),
            kind: Kind::Reactions(value, end),
        }
    }
}

/// Applies changes, which are in order, to a text with that root. Returns the new text, and a sentence for each change made.
pub(super) fn apply(text: &str, root: &Node, changes: &[TextChange]) -> (String, Vec<String>) {
    let mut keys = BTreeSet::new();
    collect(root, &mut keys);
    let mut lines: Vec<String> = text.split_inclusive('\n').map(str::to_owned).collect();
    // From the end, so that places before stay what they are.
    let changes = changes.iter().rev();
    let told = changes.filter_map(|it| it.make(&mut lines, &keys));
    let mut told: Vec<String> = told.collect();
    told.reverse();
    (lines.concat(), told)
}

impl TextChange {
    /// Makes the change, and returns a sentence about it; `None`: the key does not stand there in such a way.
    fn make(&self, lines: &mut Vec<String>, keys: &BTreeSet<Position>) -> Option<String> {
        let Position { line, column } = self.place;
        let (first, indent) = (lines.get_mut(line - 1)?, column - 1);
        let path = printable(&self.path);
        match &self.kind {
            Kind::Rename(to) => {
                *first = renamed(first, indent, last(&self.path), to)?;
                Some(format!("`{path}` is called `{to}`"))
            }
            Kind::Reactions(value, end) => {
                *first = as_section(first, line, indent, *value, *end)?;
                Some(format!("`{path}` is `message_interactions.reactions`"))
            }
            Kind::LeaveOut { why, is_secret } => {
                // Not in braces, nor behind a dash, nor inside what is left out already.
                let stands_alone = first.chars().take(indent).all(char::is_whitespace);
                stands_alone.then(|| {
                    let end = block_end(self.place, keys, lines);
                    let block = lines.get(line - 1..end).unwrap_or_default().iter();
                    let block = block.filter(|_| !is_secret);
                    let comment = format!("{}# Not taken over: {why}.\n", " ".repeat(indent));
                    let comments = block.map(|it| commented(it, indent));
                    let comments: Vec<String> = std::iter::once(comment).chain(comments).collect();
                    lines.splice(line - 1..end, comments);
                    format!("`{path}` is left out: {why}")
                })
            }
        }
    }
}

fn last(path: &str) -> &str {
    path.rsplit('.').next().unwrap_or(path)
}

/// Collects the places of all keys.
fn collect(node: &Node, keys: &mut BTreeSet<Position>) {
    match &node.value {
        Value::Map(entries) => {
            for entry in entries {
                keys.insert(entry.place);
                collect(&entry.value, keys);
            }
        }
        Value::List(items) => items.iter().for_each(|it| collect(it, keys)),
        Value::Null { .. } | Value::Scalar { .. } => {}
    }
}

/// Returns behind which line the block of a key ends: before the next key that does not stand deeper, and the comments above
/// that.
fn block_end(key: Position, keys: &BTreeSet<Position>, lines: &[String]) -> usize {
    let mut behind = keys.iter().filter(|it| it.line > key.line);
    let next = behind.find(|it| it.column <= key.column);
    let mut end = next.map_or(lines.len(), |it| it.line - 1);
    let is_outside = |line: &String| {
        let bare = line.trim_start();
        bare.is_empty() || bare.starts_with('#')
    };
    while end > key.line && lines.get(end - 1).is_some_and(is_outside) {
        end -= 1;
    }
    end
}

/// Comments a line out, unless it is one already.
fn commented(line: &str, indent: usize) -> String {
    let bare = line.trim_start();
    if bare.is_empty() || bare.starts_with('#') {
        return line.to_owned();
    }
    let at = byte(line, indent).unwrap_or(0).min(line.len() - bare.len());
    let (before, rest) = line.split_at(at);
    let end = if line.ends_with('\n') { "" } else { "\n" };
    format!("{before}#{rest}{end}")
}

/// Returns the line with another key at that column; `None`: the key does not stand there.
fn renamed(line: &str, indent: usize, from: &str, to: &str) -> Option<String> {
    let at = byte(line, indent)?;
    let (before, rest) = line.split_at(at);
    let quote = rest.chars().next().filter(|it| "\"'".contains(*it));
    let bare = rest.trim_start_matches(['"', '\'']);
    let behind = bare.strip_prefix(from)?;
    let quote = quote.map(String::from).unwrap_or_default();
    Some(format!("{before}{quote}{to}{behind}"))
}

/// Returns the line with `relay_reactions: value` as a section.
fn as_section(
    line: &str,
    number: usize,
    indent: usize,
    value: Position,
    end: usize,
) -> Option<String> {
    let key = byte(line, indent)?;
    let (from, to) = (byte(line, value.column - 1)?, byte(line, end - 1)?);
    let (before, value_text) = (line.get(..key)?, line.get(from..to)?);
    let is_one_line = value.line == number && before.trim().is_empty();
    is_one_line.then(|| {
        let behind = line.get(to..).unwrap_or_default();
        format!("{before}message_interactions: {{reactions: {value_text}}}{behind}")
    })
}

/// Returns the place of a character in bytes.
fn byte(line: &str, character: usize) -> Option<usize> {
    let mut places = line.char_indices().map(|(at, _)| at).chain([line.len()]);
    places.nth(character)
}
