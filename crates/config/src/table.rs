//! The table of all keys: what a reading of nothing asks for, in the order in which people read it.

use super::Config;
use super::environment::Environment;
use super::finding::ValueSource;
use super::key_row::KeyRow;
use super::reader::Reader;
use super::rooms;
use super::section::Section;
use super::yaml::Node;

/// Returns all keys in the order of the sample, as reading an empty configuration finds them.
pub(super) fn table() -> Vec<KeyRow> {
    let mut reader = Reader::new("", Environment::default());
    reader.table = Some(Vec::new());
    let mut read = |path: &str, read: fn(&mut Section<'_>)| {
        reader.section(path.to_owned(), ValueSource::Nowhere, Node::NOTHING, read);
    };
    read("", |it| drop(Config::read(it)));
    read("matrix_rooms[]", |it| drop(rooms::Entry::read(it)));
    reader.table.unwrap_or_default()
}

/// Returns the path of each key.
pub(super) fn paths() -> Vec<String> {
    let paths = table().into_iter().map(|row| row.path);
    // No variable names an entry of a list.
    paths.filter(|path| !path.contains('[')).collect()
}
