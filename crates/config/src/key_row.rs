//! A row of the table of all keys.

use super::value_types::ValueDoc;

/// A key as it is written in its section, or a value as it is written behind one.
pub(super) type Key = &'static str;

/// What people are told of a key, in the sample, the schema and the reference.
#[derive(Debug)]
pub(super) struct KeyRow {
    /// As in `meshtastic.long_messages.part_bytes`; the keys of an entry of a list stand in `matrix_rooms[]`.
    pub(super) path: String,
    /// What it is for; empty for a switch of MMRelay that only the reader knows.
    pub(super) about: &'static str,
    /// MMRelay's name of it, if that is another.
    pub(super) old: Option<Key>,
    /// The description of its type; a section has none.
    pub(super) doc: Option<ValueDoc>,
    pub(super) given: Requirement,
    /// That a change needs a restart, in these words; `None`: a running relay takes it over when it reads its configuration
    /// again.
    pub(super) restart: Option<Key>,
    /// Whether the key may stand without a value.
    pub(super) may_be_empty: bool,
}

/// What there is without the key, as it is written in a file.
#[derive(Debug, Clone, Copy)]
pub(super) enum Requirement {
    Section,
    Default(Key),
    /// Nothing; an example of what could be.
    Example(Key),
    Required(Key),
    /// Required if this other key of the section is that.
    RequiredWith(Key, Key, Key),
}
