//! Faults for tests: a statement, or the commit, fails; or the power does.

use std::cell::Cell;
use std::fs;
use std::path::{Path, PathBuf};

use super::{Result, Store, StoreError};

thread_local! {
    /// So many statements and commits of this thread succeed before one fails.
    static LEFT: Cell<Option<u32>> = const { Cell::new(None) };
}

/// Has one of this thread's statements or commits fail, after so many more have succeeded; `None`: none fails.
pub(crate) fn after(successes: Option<u32>) {
    LEFT.set(successes);
}

/// Fails if it is this one's turn.
pub(super) fn pass() -> Result<()> {
    match LEFT.get() {
        Some(0) => {
            LEFT.set(None);
            Err(StoreError::Closed)
        }
        left => {
            LEFT.set(left.map(|left| left - 1));
            Ok(())
        }
    }
}

impl Store {
    /// Notes that all of it is on the disk, if the last commit has waited for that.
    pub(super) fn note_what_is_safe(&mut self) {
        if let (Some(file), false) = (&mut self.file, self.relaxed) {
            file.safe = fs::read(log_of(&file.path)).map_or(0, |log| log.len());
        }
    }

    /// Opens what a power cut leaves at worst: what the last commit that waited for the disk has left.
    pub(crate) fn after_power_cut(self) -> Self {
        let file = self.file.as_ref().expect("one in memory has no disk");
        let (path, safe) = (file.path.clone(), file.safe);
        let database = fs::read(&path).unwrap();
        let log = fs::read(log_of(&path)).unwrap();
        // Writes the log into the file.
        drop(self);
        fs::write(&path, database).unwrap();
        fs::write(log_of(&path), &log[..safe]).unwrap();
        Self::open(&path).unwrap()
    }
}

fn log_of(database: &Path) -> PathBuf {
    database.with_extension("sqlite-wal")
}
