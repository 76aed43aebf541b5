//! A transaction: its statements, and what becomes of rows that cannot be read or changed.

use std::cell::{Cell, RefCell};

use rusqlite::types::FromSql;
use rusqlite::{CachedStatement, Connection, Params, Row};
use tracing::error;

use relay_model::{Chain, Timestamp};

use crate::error::{Result, StoreError};
use crate::{columns, damage};

/// A transaction, as the tables' functions take it.
pub struct Tx<'a> {
    pub(super) connection: &'a Connection,
    /// Log lines to write after the commit.
    pub(super) lines: Lines,
    /// The time of steps (`story.rs`).
    pub(super) now: Cell<Option<Timestamp>>,
}

pub(super) type Lines = RefCell<Vec<Box<dyn FnOnce()>>>;

pub(super) fn write(lines: Lines) {
    for line in lines.into_inner() {
        line();
    }
}

impl<'a> Tx<'a> {
    pub(super) fn on(connection: &'a Connection) -> Self {
        let lines = RefCell::default();
        let now = Cell::default();
        Self {
            connection,
            lines,
            now,
        }
    }

    /// Logs a line after the commit: a rolled-back transaction logs nothing.
    pub fn log(&self, line: impl FnOnce() + 'static) {
        self.lines.borrow_mut().push(Box::new(line));
    }

    /// Runs `work` in a savepoint: if a row is unreadable, only `work` is rolled back, and the inner error says why.
    pub fn apart<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<Result<T>> {
        self.run("SAVEPOINT apart", ())?;
        let lines = self.lines.borrow().len();
        let done = work();
        if let Err(error) = &done {
            if !error.is_of_content() {
                return done.map(Ok);
            }
            self.run("ROLLBACK TO apart", ())?;
            self.lines.borrow_mut().truncate(lines);
        }
        self.run("RELEASE apart", ())?;
        Ok(done)
    }

    pub(super) fn statement(&self, sql: &'static str) -> Result<CachedStatement<'_>> {
        // Without WHERE, SQLite writes a page even if the table is empty (its "truncate optimization"), and the commit waits
        // for the disk.
        debug_assert!(!sql.starts_with("DELETE") || sql.contains("WHERE"), "{sql}");
        #[cfg(any(test, feature = "testing"))]
        crate::testing::fault::pass()?;
        Ok(self.connection.prepare_cached(sql)?)
    }

    /// Returns the number of changed rows. A damaged row that rejects the change is ended.
    pub(super) fn execute(&self, sql: &'static str, parameters: impl Params) -> Result<usize> {
        let mut statement = self.statement(sql)?;
        // Otherwise SQLite may keep changes made before the damaged row.
        let is_update = sql.starts_with("UPDATE");
        if is_update {
            self.statement("SAVEPOINT one")?.execute(())?;
        }
        let rows = match statement.execute(parameters) {
            Err(error) if damage::is_of_type(&error) => {
                if is_update {
                    self.statement("ROLLBACK TO one")?.execute(())?;
                }
                if !damage::end_rows(self)? {
                    return Err(error.into());
                }
                // The parameters are still bound.
                statement.raw_execute()?
            }
            done => done?,
        };
        if is_update {
            self.statement("RELEASE one")?.execute(())?;
        }
        Ok(rows)
    }

    pub(super) fn changes(&self, sql: &'static str, parameters: impl Params) -> Result<bool> {
        Ok(self.execute(sql, parameters)? > 0)
    }

    pub(super) fn run(&self, sql: &'static str, parameters: impl Params) -> Result<()> {
        self.execute(sql, parameters).map(drop)
    }

    pub(super) fn insert(&self, sql: &'static str, parameters: impl Params) -> Result<i64> {
        match self.execute(sql, parameters)? {
            1 => Ok(self.connection.last_insert_rowid()),
            rows => Err(rusqlite::Error::StatementChangedRows(rows).into()),
        }
    }

    pub(super) fn exists(&self, sql: &'static str, parameters: impl Params) -> Result<bool> {
        Ok(self.statement(sql)?.exists(parameters)?)
    }

    /// Returns the first readable row; see [`all`](Self::all).
    pub(super) fn first<T>(
        &self,
        sql: &'static str,
        parameters: impl Params,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Option<T>> {
        self.first_due(sql, parameters, read, |_: i64| Ok(()))
    }

    /// Returns the first readable row; unreadable rows before it are passed to `end` as in [`all_due`](Self::all_due).
    pub(super) fn first_due<K: FromSql, T>(
        &self,
        sql: &'static str,
        parameters: impl Params,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
        end: impl FnMut(K) -> Result<()>,
    ) -> Result<Option<T>> {
        Ok(self.all_due(sql, parameters, 1, read, end)?.pop())
    }

    /// Returns the readable rows; others are logged and left out.
    pub(super) fn all<T>(
        &self,
        sql: &'static str,
        parameters: impl Params,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>> {
        self.all_due(sql, parameters, usize::MAX, read, |_: i64| Ok(()))
    }

    /// Returns at most `most` rows. Unreadable rows up to there are logged, and their first column is passed to `end`.
    pub(super) fn all_due<K: FromSql, T>(
        &self,
        sql: &'static str,
        parameters: impl Params,
        most: usize,
        mut read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
        end: impl FnMut(K) -> Result<()>,
    ) -> Result<Vec<T>> {
        let mut statement = self.statement(sql)?;
        let mut rows = statement.query(parameters)?;
        let (mut readable, mut damaged) = (Vec::new(), Vec::new());
        while readable.len() < most
            && let Some(row) = rows.next()?
        {
            match StoreError::of_row(read(row))? {
                Ok(row) => readable.push(row),
                Err(error) => {
                    damaged.extend(row.get(0).ok());
                    let (room, event_id) = columns::place(row);
                    self.log(move || error!(error = %Chain(&error), room, event_id, statement = sql, "left out; please report this"));
                }
            }
        }
        drop(rows);
        damaged.into_iter().try_for_each(end)?;
        Ok(readable)
    }

    /// Returns the only value of an aggregate query; the default if it is unreadable.
    pub(super) fn value<T: FromSql + Default>(
        &self,
        sql: &'static str,
        parameters: impl Params,
    ) -> Result<T> {
        let value = self.first(sql, parameters, |row| row.get(0));
        value.map(Option::unwrap_or_default)
    }

    /// Returns the values of a one-column query.
    pub(super) fn column<T: FromSql>(
        &self,
        sql: &'static str,
        parameters: impl Params,
    ) -> Result<Vec<T>> {
        self.all(sql, parameters, |row| row.get(0))
    }
}
