//! The state of one reading of a configuration.

use std::collections::BTreeMap;

use super::environment::Environment;
use super::finding::{Finding, Problems, ValueSource, Wrong};
use super::key_row::{Key, KeyRow};
use super::text_change::TextChange;
use super::yaml::Node;

/// What is known while a configuration is read, and what was found in it.
#[derive(Debug, Default)]
pub(super) struct Reader {
    file: String,
    pub(super) environment: Environment,
    found: Problems,
    /// What is read, if that is asked for.
    pub(super) table: Option<Vec<KeyRow>>,
    /// That a change of what is read needs a restart.
    pub(super) restart: Option<Key>,
    /// The paths that are given, and where.
    pub(super) given: BTreeMap<String, ValueSource>,
    /// The values that are given and right, as they were written, by path.
    pub(super) values: BTreeMap<String, Node>,
    /// Keys of MMRelay were met that mean nothing here, or its old names.
    pub(super) is_mmrelay: bool,
    /// What becomes of MMRelay's keys where its file is taken over.
    pub(super) changes: Vec<TextChange>,
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

    /// Returns where a value of this origin stands, as a finding says it.
    pub(super) fn place(&self, origin: &ValueSource) -> String {
        match origin {
            ValueSource::File(place) => format!("{}:{}:{}", self.file, place.line, place.column),
            ValueSource::Nowhere => self.file.clone(),
            ValueSource::Variable(name) => name.clone(),
        }
    }

    pub(super) fn problem(&mut self, origin: &ValueSource, key: &str, wrong: Wrong) {
        let finding = Finding::of(&self.file, origin, key, wrong);
        self.found.problems.push(finding);
    }

    pub(super) fn warning(&mut self, origin: &ValueSource, key: &str, wrong: Wrong) {
        let finding = Finding::of(&self.file, origin, key, wrong);
        self.found.warnings.push(finding);
    }

    /// Warns of what is wrong with a value that is left out, and says what counts instead.
    pub(super) fn left_out(
        &mut self,
        origin: &ValueSource,
        key: &str,
        wrong: Vec<Wrong>,
        instead: &str,
    ) {
        for it in wrong {
            let message = format!("{}: {instead}", it.message);
            self.warning(origin, key, Wrong { message, ..it });
        }
    }

    /// Notes that a key is left out where the file is taken over.
    pub(super) fn note_left_out(&mut self, path: &str, origin: &ValueSource, why: &str) {
        if let ValueSource::File(place) = origin {
            let change = TextChange::leave_out(path, *place, why, false);
            self.changes.push(change);
        }
    }

    /// Returns what was found, in the order of the file.
    pub(super) fn found(&mut self) -> Problems {
        let position = |finding: &Finding| (finding.line.unwrap_or(usize::MAX), finding.column);
        let mut found = std::mem::take(&mut self.found);
        found.problems.sort_by_key(position);
        found.warnings.sort_by_key(position);
        found
    }
}
