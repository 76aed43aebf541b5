//! The table of all keys: what a reading of nothing asks for, in the order in which people read it.

use super::Config;
use super::environment::Environment;
use super::finding::Origin;
use super::rooms;
use super::section::{Key, Reader};
use super::takes::Kind;
use super::yaml::Node;

/// A key.
#[derive(Debug)]
pub(super) struct Row {
    /// As in `meshtastic.long_messages.part_bytes`; the keys of an entry of a list stand in `matrix_rooms[]`.
    pub(super) path: String,
    /// What it is for; empty for a switch of MMRelay that only the reader knows.
    pub(super) about: &'static str,
    /// MMRelay's name of it, if that is another.
    pub(super) old: Option<Key>,
    /// What it takes; a section has none.
    pub(super) kind: Option<Kind>,
    pub(super) given: Given,
}

/// What there is without the key, as it is written in a file.
#[derive(Debug, Clone, Copy)]
pub(super) enum Given {
    Section,
    Default(Key),
    /// Nothing; an example of what could be.
    Example(Key),
    Required(Key),
    /// Required if this other key of the section is that.
    RequiredWith(Key, Key, Key),
}

impl Row {
    /// Returns the section, and the key in it.
    pub(super) fn split(&self) -> (&str, &str) {
        self.path.rsplit_once('.').unwrap_or(("", &self.path))
    }
}

/// Returns all keys.
pub(super) fn table() -> Vec<Row> {
    let mut reader = Reader::new("", Environment::default());
    reader.table = Some(Vec::new());
    let mut read = |path: &str, read: fn(&mut super::section::Section<'_>)| {
        reader.section(path.to_owned(), Origin::Nowhere, Node::NOTHING, read);
    };
    read("", |it| drop(Config::read(it)));
    read("matrix_rooms[]", |it| drop(rooms::Entry::read(it)));
    reader.table.unwrap_or_default()
}
