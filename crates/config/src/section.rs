//! Reads one mapping key by key, the environment's word before the file's, and remembers what it was asked for: so unknown
//! keys are found without a list of the known ones, and the table of all keys is what a reading of nothing asks for.

use super::environment::Environment;
use super::finding::{ValueSource, Wrong, nearest, printable};
use super::key_row::{Key, KeyRow, Requirement};
use super::mmrelay;
use super::reader::Reader;
use super::text_change::{TextChange, UNKNOWN_KEY};
use super::value_types::{ValueDoc, ValueType};
use super::values::{Checked, Convert, nothing, structured};
use super::yaml::{self, Entry, Node, Value};
use super::yaml_traps::is_assignment;

/// A mapping of the configuration; an absent one is an empty one.
#[derive(Debug)]
pub(super) struct Section<'r> {
    pub(super) reader: &'r mut Reader,
    pub(super) path: String,
    origin: ValueSource,
    pub(super) entries: Vec<Entry>,
    known: Vec<Key>,
    /// The key that is read next.
    line: Line,
}

/// A key that is read next, as the table has it.
#[derive(Debug, Default)]
pub(super) struct Line {
    pub(super) key: Key,
    /// What it is for.
    pub(super) about: &'static str,
    /// MMRelay's name of it.
    pub(super) old: Option<Key>,
    /// Whether a wrong value is left out with a warning, as MMRelay does, and no mistake.
    pub(super) is_lenient: bool,
}

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
    /// Reads a node as a section; anything but a mapping is a problem, and then an empty section. Every key in it that
    /// nobody has asked for is unknown.
    pub(super) fn section<T>(
        &mut self,
        path: String,
        origin: ValueSource,
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
            line: Line::default(),
        };
        section.leave_out_meaningless();
        let value = read(&mut section);
        section.refuse_unknown();
        value
    }
}

impl Section<'_> {
    /// Says what the key that is read next is for, and takes MMRelay's name of it as ours.
    pub(super) fn line(&mut self, line: Line) {
        let (key, old) = (line.key, line.old);
        self.line = line;
        let mut entries = self.entries.iter();
        let Some(index) = old.and_then(|old| entries.position(|it| it.key == old)) else {
            return;
        };
        if self.entries.iter().any(|it| it.key == key) {
            let entry = self.entries.remove(index);
            let counts = format!("is the old name of `{key}`, which is given too and counts");
            self.leave_out(&entry, counts);
        } else if let Some(entry) = self.entries.get_mut(index) {
            self.reader.is_mmrelay = true;
            let place = self.origin.at(entry.place);
            let path = join(&self.path, &entry.key);
            key.clone_into(&mut entry.key);
            if let ValueSource::File(place) = place {
                let change = TextChange::rename(&path, place, key);
                self.reader.changes.push(change);
            }
        }
    }

    /// Returns the key's value, or this default if it is not given or not right.
    pub(super) fn get<T: Default>(&mut self, key: Key, default: Key, value: ValueType<T>) -> T {
        self.or_default(key, Empty::Absent, default, value)
    }

    /// Returns the value of a key that restricts who or what passes, or this default: without a value it is a mistake.
    pub(super) fn restricting<T: Default>(
        &mut self,
        key: Key,
        default: Key,
        value: ValueType<T>,
    ) -> T {
        self.or_default(key, Empty::Mistake, default, value)
    }

    /// Returns the value of a key to which the empty text means something, or this default; an empty variable does too.
    pub(super) fn text<T: Default>(&mut self, key: Key, default: Key, value: ValueType<T>) -> T {
        self.or_default(key, Empty::Text, default, value)
    }

    /// Returns the key's value, if it is given and right; the example is for people.
    pub(super) fn value<T>(&mut self, key: Key, example: Key, value: ValueType<T>) -> Option<T> {
        self.note(
            key,
            Requirement::Example(example),
            Empty::Absent,
            Some(value.doc),
        );
        self.read(key, Empty::Absent, None, &value.read)
    }

    /// Returns the value of a key that restricts who or what passes, if it is given: without a value it is a mistake.
    pub(super) fn restriction<T>(
        &mut self,
        key: Key,
        example: Key,
        value: ValueType<T>,
    ) -> Option<T> {
        self.note(
            key,
            Requirement::Example(example),
            Empty::Mistake,
            Some(value.doc),
        );
        self.read(key, Empty::Mistake, None, &value.read)
    }

    /// Returns the key's value, which must be given and right.
    pub(super) fn required<T>(
        &mut self,
        key: Key,
        example: Key,
        why: &str,
        value: ValueType<T>,
    ) -> Option<T> {
        self.note(
            key,
            Requirement::Required(example),
            Empty::Required,
            Some(value.doc),
        );
        self.needed(key, why, &value.read)
    }

    /// Returns the key's value, which must be given if another key has a certain value.
    pub(super) fn required_with<T>(
        &mut self,
        key: Key,
        example: Key,
        (other, word, is_so): (Key, Key, bool),
        value: ValueType<T>,
    ) -> Option<T> {
        self.note(
            key,
            Requirement::RequiredWith(example, other, word),
            Empty::Absent,
            Some(value.doc),
        );
        if is_so {
            let why = format!("is required for `{other}: {word}`");
            self.needed(key, &why, &value.read)
        } else {
            self.read(key, Empty::Absent, None, &value.read)
        }
    }

    /// Reads a key by what also looks at others beside it.
    pub(super) fn by<T>(&mut self, key: Key, read: impl FnOnce(&mut Self, Key) -> T) -> T {
        read(self, key)
    }

    /// Reads the section under a key.
    pub(super) fn within<T>(&mut self, key: Key, read: impl FnOnce(&mut Section<'_>) -> T) -> T {
        self.note(key, Requirement::Section, Empty::Required, None);
        let node = self.take(key, Empty::Absent).unwrap_or(Node::NOTHING);
        let (path, origin) = (self.path_of(key), self.origin_of(key).clone());
        self.reader.section(path, origin, node, read)
    }

    /// Leaves out the keys of MMRelay that mean nothing here.
    fn leave_out_meaningless(&mut self) {
        for entry in std::mem::take(&mut self.entries) {
            match mmrelay::meaningless(&self.path_of(&entry.key)) {
                Some(why) => self.leave_out(&entry, format!("has no meaning here: {why}")),
                None => self.entries.push(entry),
            }
        }
    }

    /// Says why a key of MMRelay is left out.
    fn leave_out(&mut self, entry: &Entry, why: String) {
        self.reader.is_mmrelay = true;
        let (path, origin) = (self.path_of(&entry.key), self.origin.at(entry.place));
        self.reader.note_left_out(&path, &origin, &why);
        self.reader.warning(&origin, &path, Wrong::new(why));
    }

    /// Returns whether the file or the environment gives the key.
    pub(super) fn is_given(&self, key: &str) -> bool {
        let setting = self.reader.environment.setting(&self.path_of(key));
        self.entries.iter().any(|entry| entry.key == key)
            || setting.is_some_and(|setting| setting.text.as_deref() != Ok(""))
    }

    /// Returns where the key's value comes from, or this section if it is not given.
    pub(super) fn origin_of(&self, key: &str) -> &ValueSource {
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

    pub(super) fn path_of(&self, key: &str) -> String {
        join(&self.path, key)
    }

    fn refuse_unknown(self) {
        for entry in &self.entries {
            let wrong = Wrong {
                hint: nearest(&entry.key, self.known.iter().copied()),
                ..Wrong::new(UNKNOWN_KEY)
            };
            let path = self.path_of(&printable(&entry.key));
            let origin = self.origin.at(entry.place);
            self.reader.note_left_out(&path, &origin, UNKNOWN_KEY);
            self.reader.problem(&origin, &path, wrong);
        }
    }

    /// Puts a key into the table.
    fn note(
        &mut self,
        key: Key,
        given: Requirement,
        empty: Empty,
        doc: Option<Box<dyn Fn() -> ValueDoc>>,
    ) {
        let (path, restart) = (self.path_of(key), self.reader.restart);
        if let Some(table) = &mut self.reader.table {
            let is_it = self.line.key == key;
            let doc = doc.map(|it| it());
            let row = KeyRow {
                path,
                about: if is_it { self.line.about.trim() } else { "" },
                old: self.line.old.filter(|_| is_it),
                doc,
                given,
                restart,
                may_be_empty: matches!(empty, Empty::Absent | Empty::Text),
            };
            table.push(row);
        }
    }

    fn needed<T>(&mut self, key: Key, why: &str, read: &impl Convert<T>) -> Option<T> {
        if !self.is_given(key) {
            self.problem(key, Wrong::new(why));
        }
        self.read(key, Empty::Required, None, read)
    }

    fn or_default<T: Default>(
        &mut self,
        key: Key,
        empty: Empty,
        default: Key,
        value: ValueType<T>,
    ) -> T {
        self.note(key, Requirement::Default(default), empty, Some(value.doc));
        let given = self.read(key, empty, Some(default), &value.read);
        given.unwrap_or_else(|| {
            // A default that its own key refuses is a mistake like any other.
            let node = yaml::parse(default).map_err(Vec::from);
            let checked = node.and_then(|it| (value.read)(&it.root));
            self.right(key, checked).unwrap_or_default()
        })
    }

    fn read<T>(
        &mut self,
        key: Key,
        empty: Empty,
        default: Option<Key>,
        read: &impl Convert<T>,
    ) -> Option<T> {
        self.leave_out_wrong(key, default, read);
        let node = self.take(key, empty)?;
        let value = self.right(key, read(&node))?;
        self.reader.values.insert(self.path_of(key), node);
        Some(value)
    }

    /// Leaves out a value that is wrong, with a warning, where MMRelay goes on without it, too.
    pub(super) fn leave_out_wrong<T>(
        &mut self,
        key: Key,
        default: Option<Key>,
        read: &impl Convert<T>,
    ) {
        let path = self.path_of(key);
        while let Some((variable, text)) = self.reader.environment.variable_of(&path) {
            let node = Node::text(text, Node::NOTHING.place);
            let wrong = read(&node).err().unwrap_or_default();
            if wrong.is_empty() || !Environment::may_be_wrong(&variable, &path) {
                // The file's value does not count.
                return;
            }
            self.reader.environment.forget(&variable);
            let origin = ValueSource::Variable(variable);
            self.reader
                .left_out(&origin, &path, wrong, "it counts as not set");
        }
        let is_lenient = self.line.key == key && self.line.is_lenient;
        let index = self.entries.iter().position(|entry| entry.key == key);
        let Some(index) = index.filter(|_| is_lenient) else {
            return;
        };
        let mut entry = self.entries.remove(index);
        if !matches!(entry.value.value, Value::Null { .. })
            && let Err(wrong) = read(&entry.value)
        {
            if self.leave_out_items(&path, &mut entry.value, read) {
                self.entries.insert(index, entry);
                return;
            }
            let origin = self.origin.at(entry.value.place);
            let instead = match default {
                Some(default) => format!("`{default}` is used instead"),
                None => "it is left out".to_owned(),
            };
            self.reader.left_out(&origin, &path, wrong, &instead);
            return;
        }
        self.entries.insert(index, entry);
    }

    /// Leaves out the items of a list that are wrong, with a warning each; returns false, and has done nothing, if it is not
    /// right then.
    fn leave_out_items<T>(&mut self, path: &str, node: &mut Node, read: &impl Convert<T>) -> bool {
        let Value::List(items) = &node.value else {
            return false;
        };
        let list = |items: Vec<Node>| Node {
            value: Value::List(items),
            ..node.clone()
        };
        let (mut kept, mut wrongs) = (Vec::new(), Vec::new());
        for (at, item) in items.iter().enumerate() {
            match read(&list(vec![item.clone()])) {
                Ok(_) => kept.push(item.clone()),
                // It stands elsewhere than in a list of its own.
                Err(wrong) => wrongs.extend(wrong.into_iter().map(|it| Wrong {
                    within: format!("[{at}]"),
                    ..it
                })),
            }
        }
        let kept = list(kept);
        if read(&kept).is_err() {
            return false;
        }
        let origin = self.origin.at(node.place);
        self.reader
            .left_out(&origin, path, wrongs, "it is left out");
        *node = kept;
        true
    }

    /// Returns what is right, and reports what is wrong.
    fn right<T>(&mut self, key: Key, checked: Checked<T>) -> Option<T> {
        for wrong in checked.as_ref().err().into_iter().flatten() {
            self.problem(key, wrong.clone());
        }
        checked.ok()
    }

    fn take(&mut self, key: Key, empty: Empty) -> Option<Node> {
        self.known.push(key);
        let path = self.path_of(key);
        let index = self.entries.iter().position(|entry| entry.key == key);
        let entry = index.map(|index| self.entries.remove(index));
        let (origin, node) = self
            .node_of_environment(&path, empty)
            .or_else(|| self.node_of_file(&path, entry?, empty))?;
        self.reader.given.insert(path, origin);
        Some(node)
    }

    fn node_of_environment(&mut self, path: &str, empty: Empty) -> Option<(ValueSource, Node)> {
        if path.contains('[') {
            return None;
        }
        let setting = self.reader.environment.setting(path)?;
        let origin = ValueSource::Variable(setting.variable);
        let wrong = match setting.text {
            Ok(text) if text.is_empty() && empty == Empty::Mistake => empty_mistake(),
            Ok(text) if text.is_empty() && empty != Empty::Text => return None,
            Ok(text) => return Some((origin, Node::text(text, Node::NOTHING.place))),
            Err(wrong) => wrong,
        };
        self.reader.problem(&origin, path, wrong);
        None
    }

    fn node_of_file(
        &mut self,
        path: &str,
        entry: Entry,
        empty: Empty,
    ) -> Option<(ValueSource, Node)> {
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

fn join(path: &str, key: &str) -> String {
    if path.is_empty() || key.is_empty() {
        format!("{path}{key}")
    } else {
        format!("{path}.{key}")
    }
}

fn empty_mistake() -> Wrong {
    Wrong::new("is empty").hint("give a value, or take the key away")
}
