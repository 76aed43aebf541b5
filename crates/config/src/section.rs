//! Reads one mapping key by key, the environment's word before the file's, and remembers what it was asked for:
//! so unknown keys are found without a list of the known ones.

use std::collections::{BTreeMap, BTreeSet};

use super::environment::Environment;
use super::finding::{Finding, Origin, Problems, Wrong, nearest, printable};
use super::mmrelay;
use super::values::{Convert, nothing, structured};
use super::yaml::{Entry, Node, Value};
use super::yaml_traps::is_assignment;

/// Makes sections of the table of their keys: what each is for, its type, by which method of [`Section`] it is read, and
/// with what: the default, and what knows range and unit. A key may use the values of those above it.
macro_rules! keys {
    ($(
        $(#[$about:meta])*
        $name:ident {
            $( $(#[$purpose:meta])* $key:ident: $kind:ty = $how:ident($($with:expr),*); )*
        }
    )*) => { $(
        $(#[$about])*
        #[derive(Debug, Clone, PartialEq)]
        pub struct $name {
            $( $(#[$purpose])* pub $key: $kind, )*
        }

        impl $name {
            pub(in $crate) fn read(it: &mut $crate::section::Section<'_>) -> Self {
                $( let $key = it.$how(stringify!($key), $($with),*); )*
                Self { $( $key ),* }
            }
        }

        impl Default for $name {
            fn default() -> Self {
                $crate::section::defaults(Self::read)
            }
        }
    )* };
}
pub(super) use keys;

/// Makes types of the words that a key takes, each with what it stands for.
macro_rules! words {
    ($(
        $(#[$about:meta])*
        $name:ident { $( $(#[$meaning:meta])* $word:ident, )* }
    )*) => { $(
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, strum::EnumString, strum::VariantNames)]
        #[strum(serialize_all = "snake_case", ascii_case_insensitive)]
        pub enum $name { $( $(#[$meaning])* $word, )* }
    )* };
}
pub(super) use words;

/// What is known while a configuration is read, and what was found in it.
#[derive(Debug, Default)]
pub(super) struct Reader {
    file: String,
    environment: Environment,
    found: Problems,
    /// The paths that were asked for.
    pub(super) asked: BTreeSet<String>,
    /// The paths that are given, and where.
    pub(super) given: BTreeMap<String, Origin>,
    /// Keys of MMRelay were met that mean nothing here, or its old names.
    pub(super) is_mmrelay: bool,
}

/// A mapping of the configuration; an absent one is an empty one.
#[derive(Debug)]
pub(super) struct Section<'r> {
    pub(super) reader: &'r mut Reader,
    pub(super) path: String,
    origin: Origin,
    pub(super) entries: Vec<Entry>,
    known: Vec<Key>,
}

/// A key, as it is written in its section.
pub(super) type Key = &'static str;

/// What a key without a value means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Empty {
    /// As if it were absent.
    Absent,
    /// A mistake: the default would be less strict than what was perhaps meant.
    Mistake,
    Text,
    /// A mistake in the file; an empty variable is as none.
    Required,
}

impl Reader {
    pub(super) fn new(file: &str, environment: Environment) -> Self {
        Self {
            file: file.to_owned(),
            is_mmrelay: environment.has_mmrelay(),
            environment,
            ..Self::default()
        }
    }

    pub(super) fn problem(&mut self, origin: &Origin, key: &str, wrong: Wrong) {
        let finding = Finding::of(&self.file, origin, key, wrong);
        self.found.problems.push(finding);
    }

    pub(super) fn warning(&mut self, origin: &Origin, key: &str, wrong: Wrong) {
        let finding = Finding::of(&self.file, origin, key, wrong);
        self.found.warnings.push(finding);
    }

    /// Returns what was found, in the order of the file.
    pub(super) fn found(&mut self) -> Problems {
        let position = |finding: &Finding| (finding.line.unwrap_or(usize::MAX), finding.column);
        let mut found = std::mem::take(&mut self.found);
        found.problems.sort_by_key(position);
        found.warnings.sort_by_key(position);
        found
    }

    /// Reads a node as a section; anything but a mapping is a problem, and then an empty section. Every key in it that
    /// nobody has asked for is unknown.
    pub(super) fn section<T>(
        &mut self,
        path: String,
        origin: Origin,
        node: Node,
        read: impl FnOnce(&mut Section<'_>) -> T,
    ) -> T {
        let node = structured(&node).unwrap_or_else(|wrong| {
            self.problem(&origin, &path, wrong);
            node
        });
        let wrong = Wrong::new("expected a mapping of keys to values").at(node.place);
        let entries = match node.value {
            Value::Map(entries) => Ok(entries),
            Value::Null { .. } => Ok(Vec::new()),
            Value::Scalar { text, .. } if is_assignment(&text) => {
                Err(wrong.hint("write `key: value`, not `key = value`"))
            }
            Value::List(_) | Value::Scalar { .. } => Err(wrong),
        };
        let entries = entries.unwrap_or_else(|wrong| {
            self.problem(&origin, &path, wrong);
            Vec::new()
        });
        let mut section = Section {
            reader: self,
            path,
            origin,
            entries,
            known: Vec::new(),
        };
        mmrelay::adopt(&mut section);
        let value = read(&mut section);
        section.refuse_unknown();
        value
    }
}

impl Section<'_> {
    /// Returns the key's value, or this default if it is not given or not right.
    pub(super) fn get<T>(&mut self, key: Key, default: T, convert: impl Convert<T>) -> T {
        self.read(key, Empty::Absent, convert).unwrap_or(default)
    }

    /// Likewise, for a key that restricts who or what passes: without a value it is a mistake.
    pub(super) fn restricting<T>(&mut self, key: Key, default: T, convert: impl Convert<T>) -> T {
        self.read(key, Empty::Mistake, convert).unwrap_or(default)
    }

    /// Likewise, for a key to which the empty text means something; an empty variable does too.
    pub(super) fn text<T>(&mut self, key: Key, default: T, convert: impl Convert<T>) -> T {
        self.read(key, Empty::Text, convert).unwrap_or(default)
    }

    /// Returns the key's value, if it is given and right.
    pub(super) fn value<T>(&mut self, key: Key, convert: impl Convert<T>) -> Option<T> {
        self.read(key, Empty::Absent, convert)
    }

    /// Returns the key's value, which must be given and right.
    pub(super) fn required<T>(
        &mut self,
        key: Key,
        why: &str,
        convert: impl Convert<T>,
    ) -> Option<T> {
        if !self.is_given(key) {
            self.problem(key, Wrong::new(why));
        }
        self.read(key, Empty::Required, convert)
    }

    /// Reads a key by what also looks at others beside it.
    pub(super) fn by<T>(&mut self, key: Key, read: impl FnOnce(&mut Self, Key) -> T) -> T {
        read(self, key)
    }

    /// Reads the section under a key.
    pub(super) fn within<T>(&mut self, key: Key, read: impl FnOnce(&mut Section<'_>) -> T) -> T {
        let node = self.take(key, Empty::Absent).unwrap_or(Node::NOTHING);
        let (path, origin) = (self.path_of(key), self.origin_of(key).clone());
        self.reader.section(path, origin, node, read)
    }

    /// Says why a key of MMRelay is left out.
    pub(super) fn leave_out(&mut self, entry: &Entry, why: String) {
        self.reader.is_mmrelay = true;
        let (path, origin) = (self.path_of(&entry.key), self.origin.at(entry.place));
        self.reader.warning(&origin, &path, Wrong::new(why));
    }

    /// Returns whether the file or the environment gives the key.
    pub(super) fn is_given(&self, key: &str) -> bool {
        let setting = self.reader.environment.setting(&self.path_of(key));
        self.entries.iter().any(|entry| entry.key == key)
            || setting.is_some_and(|setting| setting.text.as_deref() != Ok(""))
    }

    /// Returns where the key's value comes from, or this section if it is not given.
    pub(super) fn origin_of(&self, key: &str) -> &Origin {
        let given = self.reader.given.get(&self.path_of(key));
        given.unwrap_or(&self.origin)
    }

    /// Reports a problem with a key of this section, at its place if it is given.
    pub(super) fn problem(&mut self, key: &str, wrong: Wrong) {
        let (path, origin) = (self.path_of(key), self.origin_of(key).clone());
        self.reader.problem(&origin, &path, wrong);
    }

    /// Reports a warning about a key of this section, at its place if it is given.
    pub(super) fn warning(&mut self, key: &str, sentence: impl Into<String>) {
        let (path, origin) = (self.path_of(key), self.origin_of(key).clone());
        let wrong = Wrong::new(sentence);
        self.reader.warning(&origin, &path, wrong);
    }

    fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() || key.is_empty() {
            format!("{}{key}", self.path)
        } else {
            format!("{}.{key}", self.path)
        }
    }

    fn refuse_unknown(self) {
        for entry in &self.entries {
            let wrong = Wrong {
                hint: nearest(&entry.key, self.known.iter().copied()),
                ..Wrong::new("unknown key")
            };
            let path = self.path_of(&printable(&entry.key));
            let origin = self.origin.at(entry.place);
            self.reader.problem(&origin, &path, wrong);
        }
    }

    fn read<T>(&mut self, key: Key, empty: Empty, convert: impl Convert<T>) -> Option<T> {
        let wrongs = match convert(&self.take(key, empty)?) {
            Ok(value) => return Some(value),
            Err(wrongs) => wrongs,
        };
        for wrong in wrongs {
            self.problem(key, wrong);
        }
        None
    }

    fn take(&mut self, key: Key, empty: Empty) -> Option<Node> {
        self.known.push(key);
        let path = self.path_of(key);
        self.reader.asked.insert(path.clone());
        let index = self.entries.iter().position(|entry| entry.key == key);
        let entry = index.map(|index| self.entries.remove(index));
        let (origin, node) = self
            .environments_word(&path, empty)
            .or_else(|| self.files_word(&path, entry?, empty))?;
        self.reader.given.insert(path, origin);
        Some(node)
    }

    fn environments_word(&mut self, path: &str, empty: Empty) -> Option<(Origin, Node)> {
        if path.contains('[') {
            return None;
        }
        let setting = self.reader.environment.setting(path)?;
        let origin = Origin::Variable(setting.variable);
        let wrong = match setting.text {
            Ok(text) if text.is_empty() && empty == Empty::Mistake => empty_mistake(),
            Ok(text) if text.is_empty() && empty != Empty::Text => return None,
            Ok(text) => {
                let value = Value::Scalar { text, plain: true };
                let node = Node::NOTHING;
                return Some((origin, Node { value, ..node }));
            }
            Err(wrong) => wrong,
        };
        self.reader.problem(&origin, path, wrong);
        None
    }

    fn files_word(&mut self, path: &str, entry: Entry, empty: Empty) -> Option<(Origin, Node)> {
        let (key, node) = (self.origin.at(entry.place), entry.value);
        let value = self.origin.at(node.place);
        let comment = match node.value {
            // What is missing in a mapping is missing where its key stands.
            Value::Map(_) => return Some((key, node)),
            Value::Scalar { .. } | Value::List(_) => return Some((value, node)),
            Value::Null { comment } => comment,
        };
        let reader = &mut *self.reader;
        let wrong = nothing(&node);
        match empty {
            _ if node.tag.is_some() => reader.problem(&value, path, wrong),
            Empty::Mistake if !comment => reader.problem(&key, path, empty_mistake()),
            Empty::Mistake | Empty::Required => reader.problem(&key, path, wrong),
            Empty::Absent | Empty::Text if comment => reader.warning(&key, path, wrong),
            Empty::Absent | Empty::Text => {}
        }
        None
    }
}

/// Returns what a section is of which nothing is given.
pub(super) fn defaults<T>(read: impl FnOnce(&mut Section<'_>) -> T) -> T {
    let mut reader = Reader::new("", Environment::default());
    reader.section(String::new(), Origin::Nowhere, Node::NOTHING, read)
}

fn empty_mistake() -> Wrong {
    Wrong::new("is empty").hint("give a value, or take the key away")
}
