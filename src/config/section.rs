//! Reads one mapping key by key, the environment's word before the file's, and remembers what it was asked for:
//! so unknown keys are found without a list of the known ones.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;

use super::environment::Environment;
use super::finding::{Origin, Report, Wrong, nearest};
use super::values::{Checked, structured, tag_hint};
use super::yaml::{Entry, Node, Place, Value};

/// What all sections of one configuration share.
#[derive(Debug)]
pub(super) struct Reader<'e> {
    environment: &'e Environment,
    report: RefCell<Report>,
    /// The paths that were asked for.
    asked: RefCell<BTreeSet<String>>,
    /// The paths that are given, with their places and texts.
    given: RefCell<Vec<Field>>,
    /// Keys of MMRelay were met that mean nothing here, or its old names.
    mmrelay: Cell<bool>,
}

/// A key that is given.
#[derive(Debug, Clone)]
pub(super) struct Field {
    /// Its path.
    pub(super) path: String,
    /// Where it comes from.
    pub(super) origin: Origin,
    /// Its value.
    pub(super) node: Node,
}

/// A mapping of the configuration; an absent one is an empty one.
#[derive(Debug)]
pub(super) struct Section<'r, 'e> {
    reader: &'r Reader<'e>,
    path: String,
    origin: Origin,
    entries: Vec<Entry>,
    known: Vec<&'static str>,
}

/// What a key without a value means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Empty {
    /// As if it were absent.
    Absent,
    /// A mistake: the default would be less strict than what was perhaps meant.
    Mistake,
    /// The empty text.
    Text,
    /// A mistake in the file; an empty variable is as none.
    Required,
}

impl<'e> Reader<'e> {
    /// Begins to read.
    pub(super) fn new(environment: &'e Environment, report: Report) -> Self {
        Self {
            environment,
            report: RefCell::new(report),
            asked: RefCell::default(),
            given: RefCell::default(),
            mmrelay: Cell::new(environment.has_mmrelay()),
        }
    }

    /// Returns the outermost section.
    pub(super) fn root(&self, node: Node) -> Section<'_, 'e> {
        self.section(String::new(), Origin::Nowhere, node)
    }

    /// Returns a node as a section; anything but a mapping is a problem, and then an empty section.
    pub(super) fn section(&self, path: String, origin: Origin, node: Node) -> Section<'_, 'e> {
        let node = match structured(&node) {
            Ok(node) => node,
            Err(wrong) => {
                self.problem(&origin, &path, wrong);
                node
            }
        };
        let entries = match node.value {
            Value::Map(entries) => entries,
            Value::Null { .. } => Vec::new(),
            Value::List(_) | Value::Scalar { .. } => {
                let wrong = Wrong::new("expected a mapping of keys to values");
                let wrong = match &node.value {
                    Value::Scalar { text, .. } if super::yaml_traps::is_assignment(text) => {
                        wrong.hint("write `key: value`, not `key = value`")
                    }
                    Value::Scalar { .. } | Value::List(_) | Value::Map(_) | Value::Null { .. } => {
                        wrong
                    }
                };
                self.problem(
                    &origin,
                    &path,
                    Wrong {
                        place: Some(node.place),
                        ..wrong
                    },
                );
                Vec::new()
            }
        };
        Section {
            reader: self,
            path,
            origin,
            entries,
            known: Vec::new(),
        }
    }

    /// Reports something wrong.
    pub(super) fn problem(&self, origin: &Origin, path: &str, wrong: Wrong) {
        self.report.borrow_mut().problem(origin, path, wrong);
    }

    /// Reports a warning.
    pub(super) fn warning(&self, origin: &Origin, path: &str, wrong: Wrong) {
        self.report.borrow_mut().warning(origin, path, wrong);
    }

    /// Notes that the file is, or was, MMRelay's.
    pub(super) fn note_mmrelay(&self) {
        self.mmrelay.set(true);
    }

    /// Ends reading.
    pub(super) fn finish(self) -> Read {
        let mut report = self.report.into_inner();
        let asked = self.asked.into_inner();
        for (variable, message, hint) in self.environment.unknown(&asked) {
            let wrong = Wrong {
                hint,
                ..Wrong::new(message)
            };
            report.warning(&Origin::Variable(variable), "", wrong);
        }
        Read {
            report,
            asked,
            given: self.given.into_inner(),
            is_mmrelay: self.mmrelay.into_inner(),
        }
    }
}

/// What reading has brought beside the values.
#[derive(Debug)]
pub(super) struct Read {
    /// What was found.
    pub(super) report: Report,
    /// The paths that were asked for.
    pub(super) asked: BTreeSet<String>,
    /// The keys that are given.
    pub(super) given: Vec<Field>,
    /// There were keys that only MMRelay has.
    pub(super) is_mmrelay: bool,
}

impl<'r, 'e> Section<'r, 'e> {
    /// Sets `target` to the key's value, if it is given and right.
    pub(super) fn set<T>(
        &mut self,
        key: &'static str,
        target: &mut T,
        convert: impl Fn(&Node) -> Checked<T>,
    ) {
        self.set_from(Empty::Absent, key, target, convert);
    }

    /// Likewise, for a key that restricts who or what passes: without a value it is a mistake.
    pub(super) fn set_restricting<T>(
        &mut self,
        key: &'static str,
        target: &mut T,
        convert: impl Fn(&Node) -> Checked<T>,
    ) {
        self.set_from(Empty::Mistake, key, target, convert);
    }

    /// Likewise, for a key to which the empty text means something; an empty variable does too.
    pub(super) fn set_text<T>(
        &mut self,
        key: &'static str,
        target: &mut T,
        convert: impl Fn(&Node) -> Checked<T>,
    ) {
        self.set_from(Empty::Text, key, target, convert);
    }

    fn set_from<T>(
        &mut self,
        empty: Empty,
        key: &'static str,
        target: &mut T,
        convert: impl Fn(&Node) -> Checked<T>,
    ) {
        if let Some(field) = self.take(key, empty)
            && let Some(value) = self.convert(&field, convert)
        {
            *target = value;
        }
    }

    /// Returns the key's value, if it is given and right.
    pub(super) fn value<T>(
        &mut self,
        key: &'static str,
        convert: impl Fn(&Node) -> Checked<T>,
    ) -> Option<T> {
        let field = self.take(key, Empty::Absent)?;
        self.convert(&field, convert)
    }

    /// Returns the key's value, which must be given and right.
    pub(super) fn required<T>(
        &mut self,
        key: &'static str,
        why: &str,
        convert: impl Fn(&Node) -> Checked<T>,
    ) -> Option<T> {
        if self.is_given(key) {
            let field = self.take(key, Empty::Required)?;
            return self.convert(&field, convert);
        }
        self.known.push(key);
        let path = self.path_of(key);
        self.note_asked(&path);
        self.reader.problem(&self.origin, &path, Wrong::new(why));
        None
    }

    /// Returns the section under a key.
    pub(super) fn section(&mut self, key: &'static str) -> Section<'r, 'e> {
        let path = self.path_of(key);
        match self.take(key, Empty::Absent) {
            Some(field) => self.reader.section(path, field.origin, field.node),
            None => Section {
                reader: self.reader,
                path,
                origin: self.origin.clone(),
                entries: Vec::new(),
                known: Vec::new(),
            },
        }
    }

    /// Reads MMRelay's old name of a key as if it were `key`.
    pub(super) fn old_name(&mut self, old: &'static str, key: &'static str) {
        let Some(index) = self.entries.iter().position(|entry| entry.key == old) else {
            return;
        };
        self.reader.note_mmrelay();
        if self.entries.iter().any(|entry| entry.key == key) {
            let entry = self.entries.remove(index);
            let message = format!("is the old name of `{key}`, which is given too and counts");
            self.warn_at(entry.place, old, Wrong::new(message));
        } else if let Some(entry) = self.entries.get_mut(index) {
            key.clone_into(&mut entry.key);
        }
    }

    /// Takes keys of MMRelay that mean nothing here, each with a warning that says why.
    pub(super) fn meaningless(&mut self, keys: &[(&'static str, &str)]) {
        for (key, why) in keys {
            if let Some(index) = self.entries.iter().position(|entry| entry.key == *key) {
                let entry = self.entries.remove(index);
                self.reader.note_mmrelay();
                let message = format!("has no meaning here: {why}");
                self.warn_at(entry.place, key, Wrong::new(message));
            }
        }
    }

    /// Returns whether the file or the environment gives the key.
    pub(super) fn is_given(&self, key: &str) -> bool {
        let setting = self.reader.environment.setting(&self.path_of(key));
        self.entries.iter().any(|entry| entry.key == key)
            || setting.is_some_and(|setting| setting.text.as_deref() != Ok(""))
    }

    /// Returns where the value that was taken last comes from.
    pub(super) fn last_origin(&self) -> Origin {
        let given = self.reader.given.borrow();
        given
            .last()
            .map_or(Origin::Nowhere, |field| field.origin.clone())
    }

    /// Reports a problem with a key of this section, at its place if it is given.
    pub(super) fn problem(&self, key: &str, wrong: Wrong) {
        let path = self.path_of(key);
        self.reader.problem(&self.origin_of(&path), &path, wrong);
    }

    /// Reports a warning about a key of this section, at its place if it is given.
    pub(super) fn warning(&self, key: &str, wrong: Wrong) {
        let path = self.path_of(key);
        self.reader.warning(&self.origin_of(&path), &path, wrong);
    }

    /// Returns what all sections share.
    pub(super) fn reader(&self) -> &'r Reader<'e> {
        self.reader
    }

    /// Ends the section: every key that nobody asked for is unknown.
    pub(super) fn finish(self) {
        for entry in &self.entries {
            let hint = nearest(&entry.key, self.known.iter().copied());
            let wrong = Wrong {
                hint,
                ..Wrong::new("unknown key")
            };
            let path = self.path_of(&super::finding::printable(&entry.key));
            self.reader
                .problem(&self.origin_at(entry.place), &path, wrong);
        }
    }

    fn convert<T>(&self, field: &Field, convert: impl Fn(&Node) -> Checked<T>) -> Option<T> {
        match convert(&field.node) {
            Ok(value) => Some(value),
            Err(all) => {
                for wrong in all {
                    self.reader.problem(&field.origin, &field.path, wrong);
                }
                None
            }
        }
    }

    fn take(&mut self, key: &'static str, empty: Empty) -> Option<Field> {
        self.known.push(key);
        let path = self.path_of(key);
        self.note_asked(&path);
        let from_file = self
            .entries
            .iter()
            .position(|entry| entry.key == key)
            .map(|index| self.entries.remove(index));
        let field = self.environments_word(&path, empty).or_else(|| {
            let entry = from_file?;
            self.files_word(path, entry, empty)
        })?;
        self.reader.given.borrow_mut().push(field.clone());
        Some(field)
    }

    fn environments_word(&self, path: &str, empty: Empty) -> Option<Field> {
        if path.contains('[') {
            return None;
        }
        let setting = self.reader.environment.setting(path)?;
        let origin = Origin::Variable(setting.variable);
        let text = match setting.text {
            Ok(text) => text,
            Err(message) => {
                self.reader.problem(&origin, path, Wrong::new(message));
                return None;
            }
        };
        if text.is_empty() {
            match empty {
                Empty::Absent | Empty::Required => return None,
                Empty::Mistake => {
                    self.reader.problem(&origin, path, empty_mistake());
                    return None;
                }
                Empty::Text => {}
            }
        }
        Some(Field {
            path: path.to_owned(),
            origin,
            node: Node {
                place: Place { line: 1, column: 1 },
                value: Value::Scalar { text, plain: true },
                tag: None,
            },
        })
    }

    fn files_word(&self, path: String, entry: Entry, empty: Empty) -> Option<Field> {
        let Value::Null { comment } = entry.value.value else {
            // What is missing in a mapping is missing where its key stands.
            let place = match &entry.value.value {
                Value::Map(_) => entry.place,
                Value::Null { .. } | Value::Scalar { .. } | Value::List(_) => entry.value.place,
            };
            let origin = self.origin_at(place);
            return Some(Field {
                path,
                origin,
                node: entry.value,
            });
        };
        let origin = self.origin_at(entry.place);
        if let Some(tag) = &entry.value.tag {
            let origin = self.origin_at(entry.value.place);
            self.reader.problem(&origin, &path, tag_hint(tag));
            return None;
        }
        let wrong = Wrong::new("is empty");
        let wrong = if comment {
            wrong.hint("`#` begins a comment in YAML: put a value that begins with it in quotes")
        } else {
            wrong
        };
        match empty {
            Empty::Mistake | Empty::Required if comment => {
                self.reader.problem(&origin, &path, wrong);
            }
            Empty::Mistake => self.reader.problem(&origin, &path, empty_mistake()),
            Empty::Required => self.reader.problem(&origin, &path, wrong),
            Empty::Absent | Empty::Text if comment => self.reader.warning(&origin, &path, wrong),
            Empty::Absent | Empty::Text => {}
        }
        None
    }

    fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() || key.is_empty() {
            format!("{}{key}", self.path)
        } else {
            format!("{}.{key}", self.path)
        }
    }

    fn origin_of(&self, path: &str) -> Origin {
        let given = self.reader.given.borrow();
        let field = given.iter().rev().find(|field| field.path == path);
        field.map_or_else(|| self.origin.clone(), |field| field.origin.clone())
    }

    fn note_asked(&self, path: &str) {
        self.reader.asked.borrow_mut().insert(path.to_owned());
    }

    fn warn_at(&self, place: Place, key: &str, wrong: Wrong) {
        self.reader
            .warning(&self.origin_at(place), &self.path_of(key), wrong);
    }

    /// Returns the origin of something in this section; a section from a variable has no places.
    fn origin_at(&self, place: Place) -> Origin {
        match &self.origin {
            Origin::Variable(name) => Origin::Variable(name.clone()),
            Origin::File(_) | Origin::Nowhere => Origin::File(place),
        }
    }
}

fn empty_mistake() -> Wrong {
    Wrong::new("is empty").hint("give a value, or take the key away")
}
