//! Injected faults: a failing statement or commit, a full disk, a lock by another program, a power cut.

use std::cell::Cell;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::{Result, Store, StoreError};

thread_local! {
    /// Number of statements and commits of this thread that succeed before one fails.
    static LEFT: Cell<Option<u32>> = const { Cell::new(None) };
}

/// Makes one of this thread's statements or commits fail after this many successes; `None`: none fails.
pub fn after(successes: Option<u32>) {
    LEFT.set(successes);
}

/// Fails if it is this call's turn.
pub(crate) fn pass() -> Result<()> {
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
    /// Limits the file's size in pages, like a full disk.
    pub fn limit_pages(&mut self, pages: u32) -> Result<()> {
        self.connection
            .pragma_update(None, "max_page_count", pages)?;
        Ok(())
    }

    /// Runs SQL that damages the tables.
    pub fn damage(&self, sql: &str) {
        self.connection.execute_batch(sql).unwrap();
    }

    /// Runs SQL that damages the tables without type checks, for values of wrong types as in a damaged page.
    pub fn damage_types(&self, sql: &str) {
        let types = [
            (") STRICT, WITHOUT", ") WITHOUT /**/"),
            (") STRICT", ") /**/"),
        ];
        let replace = |from: &str, to: &str| {
            self.damage(&format!(
                "PRAGMA writable_schema = ON;
                 UPDATE sqlite_schema SET sql = replace(sql, '{from}', '{to}') WHERE type = 'table';
                 PRAGMA writable_schema = RESET;"
            ));
        };
        for (strict, loose) in types {
            replace(strict, loose);
        }
        self.damage(sql);
        for (strict, loose) in types {
            replace(loose, strict);
        }
    }

    /// Disables the busy timeout.
    pub fn wait_for_nobody(&mut self) -> Result<()> {
        Ok(self.connection.busy_timeout(Duration::ZERO)?)
    }

    /// Records that everything is on disk, if the last commit was synced: one without changes was not.
    pub(crate) fn note_what_is_safe(&mut self, has_changed: bool) {
        if let (Some(file), false, true) = (&mut self.file, self.relaxed, has_changed) {
            file.safe = log_length(&file.path);
        }
    }

    /// Returns whether a power cut would take back nothing.
    pub fn is_on_disk(&self) -> bool {
        let file = self.file.as_ref().expect("one in memory has no disk");
        file.safe == log_length(&file.path)
    }

    /// Opens the worst case after a power cut: the state after the last synced commit.
    #[must_use]
    pub fn after_power_cut(self) -> Self {
        let file = self.file.as_ref().expect("one in memory has no disk");
        let (path, safe) = (file.path.clone(), file.safe);
        let database = fs::read(&path).unwrap();
        let log = fs::read(log_of(&path)).unwrap();
        // Writes the WAL into the file.
        drop(self);
        fs::write(&path, database).unwrap();
        fs::write(log_of(&path), &log[..safe]).unwrap();
        Self::open(&path).unwrap()
    }
}

fn log_length(database: &Path) -> usize {
    let log = fs::metadata(log_of(database));
    log.map_or(0, |log| usize::try_from(log.len()).unwrap_or(0))
}

fn log_of(database: &Path) -> PathBuf {
    database.with_extension("sqlite-wal")
}
