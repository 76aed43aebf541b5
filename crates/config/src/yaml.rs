//! YAML as it was written: a tree in which every key and value knows its place, its spelling and its tag.
//! What a value means is not decided here.

use std::collections::HashMap;

use granit_parser::{Event, Marker, Options, Parser, ScalarStyle, ScanError, Span, Tag};

use super::finding::{Position, Wrong};
use super::yaml_traps::in_plain_words;

/// Nodes of a document, aliases expanded; a configuration needs a few hundred.
const MOST_NODES: usize = 20_000;
/// Lists and mappings within each other.
const DEEPEST: usize = 32;

/// A value as it was written, with its place.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Node {
    pub(super) place: Position,
    pub(super) value: Value,
    /// A tag of its own (`!room:example.org`), as written.
    pub(super) tag: Option<String>,
}

impl Node {
    /// What stands for everything that is absent.
    pub(super) const NOTHING: Self = Self {
        place: Position { line: 1, column: 1 },
        value: Value::Null { comment: false },
        tag: None,
    };

    /// Returns a text as one without quotes.
    pub(super) fn text(text: String, place: Position) -> Self {
        let value = Value::Scalar { text, plain: true };
        let tag = None;
        Self { place, value, tag }
    }
}

/// What was written, without its meaning.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    /// Nothing, `~` or `null`.
    Null {
        /// A comment stands where the value should: perhaps an alias without quotes (`#hiking:example.org`).
        comment: bool,
    },
    Scalar {
        text: String,
        /// It stands without quotes, so that it may be meant as a number or a word.
        plain: bool,
    },
    List(Vec<Node>),
    /// A mapping, in the order in which it was written.
    Map(Vec<Entry>),
}

/// A key of a mapping, and its value.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Entry {
    pub(super) key: String,
    /// Where its key stands.
    pub(super) place: Position,
    pub(super) value: Node,
}

/// A document, and the keys in it that are given twice.
#[derive(Debug, PartialEq)]
pub(super) struct Document {
    pub(super) root: Node,
    /// Later mentions of a key, which win: where, and its path.
    pub(super) repeated: Vec<(Position, String)>,
}

/// Reads one document; an empty text is [`Value::Null`].
pub(super) fn parse(text: &str) -> Result<Document, Wrong> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut options = Options::default();
    options.set_emit_comments(false);
    options.flow_nesting_limit = DEEPEST;
    options.block_nesting_limit = DEEPEST;
    Builder {
        parser: Parser::new_from_str_with_options(text, options),
        text,
        anchors: HashMap::new(),
        nodes: 0,
        path: Vec::new(),
        repeated: Vec::new(),
    }
    .document()
    .map_err(|error| in_plain_words(error, text))
}

struct Builder<'text, P: Iterator<Item = Result<(Event<'text>, Span), ScanError>>> {
    parser: P,
    text: &'text str,
    /// What aliases stand for, and of how many nodes that is made.
    anchors: HashMap<usize, (Node, usize)>,
    nodes: usize,
    /// The keys above the place that is being read.
    path: Vec<String>,
    repeated: Vec<(Position, String)>,
}

impl<'text, P: Iterator<Item = Result<(Event<'text>, Span), ScanError>>> Builder<'text, P> {
    fn document(mut self) -> Result<Document, Wrong> {
        let mut root = None;
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::StreamEnd => break,
                Event::StreamStart | Event::DocumentStart(..) | Event::DocumentEnd => {}
                _ if root.is_some() => {
                    return Err(error(place(&span.start), "a second document begins here")
                        .hint("a configuration is one document: take `---` away"));
                }
                other => root = Some(self.node(other, &span)?),
            }
        }
        Ok(Document {
            root: root.unwrap_or(Node::NOTHING),
            repeated: self.repeated,
        })
    }

    fn next(&mut self) -> Result<(Event<'text>, Span), Wrong> {
        match self.parser.next() {
            Some(Ok(event)) => Ok(event),
            Some(Err(cause)) => Err(error(place(cause.marker()), &cause.info())),
            None => Ok((Event::StreamEnd, Span::default())),
        }
    }

    /// Returns the next node; none at the end of the list or mapping.
    fn next_node(&mut self) -> Result<Option<Node>, Wrong> {
        match self.next()? {
            (Event::SequenceEnd | Event::MappingEnd, _) => Ok(None),
            (event, span) => self.node(event, &span).map(Some),
        }
    }

    /// Returns a node with all that is in it; the parser sees to it that this is not too deep.
    fn node(&mut self, event: Event<'text>, span: &Span) -> Result<Node, Wrong> {
        let at = place(&span.tag_start.unwrap_or(span.start));
        let before = self.nodes;
        self.count(1, at)?;
        let (value, anchor, tag) = match event {
            Event::Alias(anchor) => return self.alias(anchor, at),
            Event::Scalar(text, style, anchor, tag) => {
                let plain = style == ScalarStyle::Plain;
                let null = plain && matches!(&*text, "" | "~" | "null" | "Null" | "NULL");
                let value = if null {
                    let comment = self.is_comment_instead(at);
                    Value::Null { comment }
                } else {
                    let text = text.into_owned();
                    Value::Scalar { text, plain }
                };
                (value, anchor, tag)
            }
            Event::SequenceStart(_, anchor, tag) => (self.list()?, anchor, tag),
            Event::MappingStart(_, anchor, tag) => (self.map()?, anchor, tag),
            _ => return Err(error(at, "a value is missing here")),
        };
        let node = Node {
            place: at,
            value,
            tag: tag.and_then(|tag| own_tag(&tag)),
        };
        if anchor != 0 {
            let size = self.nodes - before;
            self.anchors.insert(anchor, (node.clone(), size));
        }
        Ok(node)
    }

    fn alias(&mut self, anchor: usize, at: Position) -> Result<Node, Wrong> {
        let Some((target, size)) = self.anchors.get(&anchor).cloned() else {
            return Err(error(at, "an alias within the value that it stands for"));
        };
        self.count(size, at)?;
        Ok(Node {
            place: at,
            ..target
        })
    }

    fn list(&mut self) -> Result<Value, Wrong> {
        let items = std::iter::from_fn(|| self.next_node().transpose());
        items.collect::<Result<_, _>>().map(Value::List)
    }

    fn map(&mut self) -> Result<Value, Wrong> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut inherited: Vec<Entry> = Vec::new();
        while let Some(key) = self.next_node()? {
            let text = key_text(&key)?;
            self.path.push(text.clone());
            let value = self.next_node()?;
            let value = value.ok_or_else(|| error(key.place, "a value is missing here"))?;
            let path = self.path.join(".");
            self.path.pop();
            if text == "<<" {
                inherited.extend(merged(value)?);
                continue;
            }
            if let Some(index) = entries.iter().position(|entry| entry.key == text) {
                self.repeated.push((key.place, path));
                entries.remove(index);
            }
            entries.push(Entry {
                key: text,
                place: key.place,
                value,
            });
        }
        for entry in inherited {
            if entries.iter().all(|own| own.key != entry.key) {
                entries.push(entry);
            }
        }
        Ok(Value::Map(entries))
    }

    /// Returns whether a comment without a space after its `#` stands where the value should. The parser puts an
    /// empty value after its key's colon, and an empty item of a list at the end of its line.
    fn is_comment_instead(&self, at: Position) -> bool {
        let line = self.text.lines().nth(at.line - 1).unwrap_or_default();
        let after_key: String = line.chars().skip(at.column - 1).collect();
        let is_comment = |text: &str| {
            text.trim_start()
                .strip_prefix('#')
                .is_some_and(|comment| comment.starts_with(|first: char| !first.is_whitespace()))
        };
        let item = line.trim_start().strip_prefix('-');
        is_comment(after_key.trim_start_matches(':')) || item.is_some_and(is_comment)
    }

    fn count(&mut self, more: usize, at: Position) -> Result<(), Wrong> {
        self.nodes = self.nodes.saturating_add(more);
        if self.nodes > MOST_NODES {
            return Err(error(at, "too many values for a configuration"));
        }
        Ok(())
    }
}

/// Returns what a merge key (`<<`) brings: the entries of a mapping, or of several.
fn merged(value: Node) -> Result<Vec<Entry>, Wrong> {
    match value.value {
        Value::Map(entries) => Ok(entries),
        Value::List(items) => {
            let all: Result<Vec<_>, _> = items.into_iter().map(merged).collect();
            Ok(all?.into_iter().flatten().collect())
        }
        Value::Null { .. } | Value::Scalar { .. } => Err(error(
            value.place,
            "`<<` takes a mapping, or a list of them",
        )),
    }
}

fn key_text(key: &Node) -> Result<String, Wrong> {
    let wrong = match (&key.value, &key.tag) {
        (Value::Scalar { text, .. }, None) => return Ok(text.clone()),
        (Value::Null { .. }, None) => Wrong::new("a key is missing before `:`"),
        (Value::List(_) | Value::Map(_), _) => {
            Wrong::new("a key is a list or a mapping, not a word")
        }
        (_, Some(_)) => Wrong::new("a key begins with `!`, which begins a tag in YAML")
            .hint("put a room id in quotes: \"!abc:example.org\""),
    };
    Err(wrong.at(key.place))
}

/// Returns a tag that YAML itself does not define, as it was written.
fn own_tag(tag: &Tag) -> Option<String> {
    let known = tag.handle().starts_with("tag:yaml.org,2002:") || tag.suffix().is_empty();
    (!known).then(|| format!("{}{}", tag.handle(), tag.suffix()))
}

fn place(marker: &Marker) -> Position {
    Position {
        line: marker.line().max(1),
        column: marker.col() + 1,
    }
}

fn error(place: Position, message: &str) -> Wrong {
    Wrong::new(message).at(place)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry<'a>(node: &'a Node, key: &str) -> &'a Entry {
        let Value::Map(entries) = &node.value else {
            panic!("not a mapping: {node:?}")
        };
        entries.iter().find(|entry| entry.key == key).unwrap()
    }

    #[test]
    fn keys_and_values_know_their_places() {
        let root = parse("a:\n  bé: [x, 'y']\n").unwrap().root;
        let inner = entry(&entry(&root, "a").value, "bé");
        assert_eq!(inner.place, Position { line: 2, column: 3 });
        let Value::List(items) = &inner.value.value else {
            panic!("not a list")
        };
        assert_eq!(
            items[1].place,
            Position {
                line: 2,
                column: 11
            }
        );
        assert_eq!(
            items
                .iter()
                .map(|item| item.value.clone())
                .collect::<Vec<_>>(),
            [("x", true), ("y", false)].map(|(text, plain)| Value::Scalar {
                text: text.to_owned(),
                plain
            })
        );
    }

    #[test]
    fn the_last_of_two_keys_wins_and_is_named() {
        let document = parse("a: 1\nb: 2\na: 3\n").unwrap();
        assert_eq!(
            document.repeated,
            [(Position { line: 3, column: 1 }, "a".to_owned())]
        );
        let Value::Scalar { text, .. } = &entry(&document.root, "a").value.value else {
            panic!("not a scalar")
        };
        assert_eq!(text, "3");
    }

    #[test]
    fn aliases_and_merge_keys_are_expanded() {
        let document = parse("x: &x {a: 1, b: 2}\ny: {<<: *x, b: 3}\n").unwrap();
        let y = &entry(&document.root, "y").value;
        assert_eq!(
            entry(y, "a").value.value,
            entry(&entry(&document.root, "x").value, "a").value.value
        );
        assert!(document.repeated.is_empty());
        assert!(matches!(&entry(y, "b").value.value, Value::Scalar { text, .. } if text == "3"));
    }

    #[test]
    fn a_bomb_of_aliases_is_refused() {
        let level = |level: usize| match level.checked_sub(1) {
            None => "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned(),
            Some(below) => {
                let all = vec![format!("*a{below}"); 9].join(", ");
                format!("a{level}: &a{level} [{all}]\n")
            }
        };
        let text: String = (0..12).map(level).collect();
        assert_eq!(
            parse(&text).unwrap_err().message,
            "too many values for a configuration"
        );
    }

    #[test]
    fn deep_nesting_is_an_error_and_not_a_crash() {
        for text in [
            "[".repeat(100_000),
            "- ".repeat(100_000),
            "{a: ".repeat(100_000),
        ] {
            assert!(parse(&text).is_err());
        }
    }

    #[test]
    fn an_alias_of_itself_is_an_error() {
        assert!(parse("a: &a [*a]\n").is_err());
    }

    #[test]
    fn an_unquoted_room_id_is_seen_as_a_tag() {
        let root = parse("id: !abc:example.org\n").unwrap().root;
        let id = entry(&root, "id");
        assert_eq!(id.value.value, Value::Null { comment: false });
        assert_eq!(id.value.tag.as_deref(), Some("!abc:example.org"));
    }

    #[test]
    fn a_comment_in_place_of_a_value_is_seen() {
        let root = parse("id: #hiking:example.org\nb: # nothing\nc:\n")
            .unwrap()
            .root;
        let comment = |key: &str| entry(&root, key).value.value == Value::Null { comment: true };
        assert!(comment("id"));
        assert!(!comment("b"));
        assert!(!comment("c"));
        let Value::List(items) = parse("- #hiking:example.org\n- x\n").unwrap().root.value else {
            panic!("not a list")
        };
        assert_eq!(items[0].value, Value::Null { comment: true });
    }

    #[test]
    fn the_usual_traps_get_a_hint() {
        for (text, hint) in [
            ("a: @alice:example.org\n", "user ids in quotes"),
            ("a:\n  - @alice:example.org\n", "user ids in quotes"),
            ("a: [@alice:example.org]\n", "user ids in quotes"),
            ("a:\n\tb: 1\n", "tabs"),
            ("a:\n  b: 1\n  c = 2\n", "key = value"),
            ("a: [{x}/y]: z\n", "needs quotes"),
        ] {
            let error = parse(text).unwrap_err();
            let given = error.hint.clone().unwrap_or_default();
            assert!(given.contains(hint), "{text:?}: {error:?}");
        }
    }

    #[test]
    fn a_second_document_is_refused() {
        let second = parse("a: 1\n---\nb: 2\n").unwrap_err();
        assert_eq!(second.place.unwrap().line, 3);
        assert!(parse("--- {a: 1}\n...\n").is_ok());
    }
}
