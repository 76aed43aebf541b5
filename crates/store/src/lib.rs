//! Our own database: what the relay must not forget. It opens and migrates the file and runs transactions; one
//! file for each table offers the functions that work on it. It decides nothing.
//!
//! The outbox tables are the truth about what is still to be sent. Whatever is accepted is committed together with
//! its seen-id before anything is sent; see [`Store::transaction`].
//!
//! A function that takes a [`Tx`], or runs one, fails only when the database does, or refuses a statement. Then its transaction is
//! to be given up, or what was done [`Tx::apart`]. Rows that cannot be read are left out, and told; those that take no change
//! are ended.

pub mod backlog;
pub mod clock;
mod columns;
mod damage;
pub mod direct;
pub mod drafts;
#[cfg(test)]
mod earlier;
pub mod edits;
mod error;
pub mod feedback;
mod file;
pub mod gaps;
pub mod known_rooms;
pub mod late;
pub mod mapped_rooms;
mod mesh_facts;
pub mod mesh_report;
mod mesh_state;
mod mesh_waiting;
pub mod message_map;
pub mod meta;
mod next;
pub mod nodes;
pub mod outage;
pub mod outbox_mesh;
pub mod outbox_room;
mod own_packets;
mod parked;
pub mod receipts;
pub mod relayed;
pub mod retention;
mod room_content;
#[cfg(test)]
mod samples;
pub mod seen;
pub mod summary;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod thread;
pub mod told;
mod turns;

use std::cell::RefCell;
use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::types::FromSql;
use rusqlite::{CachedStatement, Connection, OpenFlags, Params, Row, TransactionBehavior};
use tracing::{error, warn};

use relay_model::{RoomOrAliasId, Timestamp};

use file::{Found, Identity};
use outbox_room::RoomRow;

pub use error::{Result, StoreError};
pub use next::Next;
pub use thread::{Database, DatabaseEnd};

/// Marks the file as ours.
const APPLICATION_ID: u32 = relay_config::Database::APPLICATION_ID;

/// The schema's versions, oldest first; `user_version` counts those that a file has seen.
const MIGRATIONS: &[&str] = &[
    include_str!("migrations/0001_first.sql"),
    include_str!("migrations/0002_feedback.sql"),
    include_str!("migrations/0003_backlog.sql"),
    include_str!("migrations/0004_late_and_edits.sql"),
    include_str!("migrations/0005_radios.sql"),
    include_str!("migrations/0006_gaps.sql"),
    include_str!("migrations/0007_outage.sql"),
    include_str!("migrations/0008_rooms.sql"),
    include_str!("migrations/0009_turns.sql"),
    include_str!("migrations/0010_channels.sql"),
    include_str!("migrations/0011_authors.sql"),
    include_str!("migrations/0012_edits_and_forwards.sql"),
    include_str!("migrations/0013_event_refs.sql"),
    include_str!("migrations/0014_states.sql"),
    include_str!("migrations/0015_drafts.sql"),
    include_str!("migrations/0016_names.sql"),
    include_str!("migrations/0017_media.sql"),
    include_str!("migrations/0018_expired_edits.sql"),
];

/// How long another program may hold the database before a transaction fails.
const BUSY_LIMIT: Duration = Duration::from_secs(5);

/// More than the number of different statements, about 240: none is compiled twice. Each that was used takes 4 to 60 kB.
const STATEMENTS: usize = 256;

/// The database, opened and migrated.
#[derive(Debug)]
pub struct Store {
    connection: Connection,
    /// Commits do not wait for the disk just now.
    relaxed: bool,
    /// The file; `None`: in memory.
    file: Option<Opened>,
}

/// The file of an open database.
#[derive(Debug)]
struct Opened {
    path: PathBuf,
    identity: Identity,
    /// It failed: what is open, or remembered of it, may be of no use any more.
    doubtful: bool,
    /// So much of the log beside it no power cut takes away.
    #[cfg(any(test, feature = "testing"))]
    safe: usize,
}

impl Store {
    /// Opens the database, makes it if there is none, and brings it to the newest version.
    ///
    /// A file that is not ours, or of a later relay, is refused and not changed by a byte.
    pub fn open(path: &Path) -> Result<Self> {
        Self::open_file(path).map_err(|error| error.at(path))
    }

    fn open_file(path: &Path) -> Result<Self> {
        let open_error = |cause| open_error(path, cause);
        let newer = |found| StoreError::Newer(path.to_owned(), found, newest_version());
        let is_new = match file::look_at(path).map_err(open_error)? {
            Found::Nothing => {
                file::make(path).map_err(open_error)?;
                true
            }
            Found::Empty => true,
            Found::Database {
                application,
                version,
            } if application == APPLICATION_ID => {
                if i64::from(version) > newest_version() {
                    return Err(newer(i64::from(version)));
                }
                false
            }
            Found::Database { application, .. } => {
                return Err(StoreError::Foreign(path.to_owned(), application));
            }
            Found::NoDatabase => return Err(StoreError::NotDatabase(path.to_owned())),
        };
        file::look_whether_writable(path).map_err(open_error)?;
        file::narrow_mode(path);
        let identity = file::identity(path).map_err(open_error)?;
        let identity = identity.ok_or_else(|| StoreError::Gone(path.to_owned()))?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(BUSY_LIMIT)?;
        // What stands in the file's header can be older than what stands in the log beside it.
        let version = version(&connection)?;
        if version > newest_version() {
            return Err(newer(version));
        }
        if is_new {
            // Before WAL: so it stands in the file itself even if the machine dies right after.
            connection.pragma_update(None, "application_id", APPLICATION_ID)?;
        }
        connection.pragma_update(None, "journal_mode", "wal")?;
        let file = Opened {
            path: path.to_owned(),
            identity,
            doubtful: false,
            #[cfg(any(test, feature = "testing"))]
            safe: 0,
        };
        Self::prepare(connection, Some(file))
    }

    fn prepare(mut connection: Connection, file: Option<Opened>) -> Result<Self> {
        connection.pragma_update(None, "synchronous", "full")?;
        connection.pragma_update(None, "foreign_keys", "on")?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS);
        migrate(&mut connection)?;
        Ok(Self {
            connection,
            relaxed: false,
            file,
        })
    }

    /// Runs `work` in one transaction and commits it: when this returns, what was written is on the disk. If `work` or
    /// the commit fails, nothing is left of it.
    pub fn transaction<T>(&mut self, work: impl FnOnce(&Tx<'_>) -> Result<T>) -> Result<T> {
        self.in_place(|store| {
            store.wait_for_disk(true)?;
            store.commit(work)
        })
    }

    /// Runs `work` in one transaction whose commit does not wait for the disk: it survives the end of this process, but
    /// a power cut can take it back. For notes without which nothing is lost and nothing sent under another identifier.
    pub fn note<T>(&mut self, work: impl FnOnce(&Tx<'_>) -> Result<T>) -> Result<T> {
        self.in_place(|store| {
            store.wait_for_disk(false)?;
            store.commit(work)
        })
    }

    /// Does `work` on the file that has the database's name. SQLite goes on writing to a file that was deleted or whose
    /// disk was taken away, and all of it is lost: so what was moved away is missed, and what was put back is opened again.
    fn in_place<T>(&mut self, work: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        let Some(file) = &self.file else {
            return work(self);
        };
        let now = file::identity(&file.path).map_err(|cause| open_error(&file.path, cause))?;
        let path = file.path.clone();
        let Some(now) = now else {
            return Err(StoreError::Gone(path));
        };
        if now != file.identity || file.doubtful {
            *self = Self::open(&path)?;
            warn!(path = %path.display(), "the database was opened again, after its file or its disk had failed or was replaced");
        }
        let error = match (work(self), &mut self.file) {
            (Err(error), Some(file)) => {
                file.doubtful = error.concerns_file();
                error.at(&file.path)
            }
            (done, _) => return done,
        };
        Err(error)
    }

    fn commit<T>(&mut self, work: impl FnOnce(&Tx<'_>) -> Result<T>) -> Result<T> {
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        let tx = Tx::on(&transaction);
        let result = work(&tx)?;
        let lines = tx.lines;
        #[cfg(any(test, feature = "testing"))]
        testing::fault::pass()?;
        transaction.commit()?;
        write(lines);
        #[cfg(any(test, feature = "testing"))]
        self.note_what_is_safe();
        Ok(result)
    }

    /// Runs `work`, which only reads, on one consistent state of the tables.
    pub fn read<T>(&mut self, work: impl FnOnce(&Tx<'_>) -> Result<T>) -> Result<T> {
        self.in_place(|store| {
            let transaction = store.connection.transaction()?;
            let tx = Tx::on(&transaction);
            let found = work(&tx)?;
            write(tx.lines);
            Ok(found)
        })
    }

    /// Returns the row that is to be sent to a room next; writes nothing, normally. A room's worker asks again only after
    /// that row's outcome is stored.
    pub fn next_for_room(&mut self, room: &RoomOrAliasId) -> Result<Option<RoomRow>> {
        self.commit(|tx| outbox_room::next(tx, room))
    }

    /// Writes a few bytes, to find out whether that works.
    pub fn probe(&mut self, now: Timestamp) -> Result<()> {
        self.note(|tx| meta::set_probed(tx, now))
    }

    fn wait_for_disk(&mut self, wait: bool) -> Result<()> {
        if self.relaxed == wait {
            let mode = if wait { "full" } else { "normal" };
            self.connection.pragma_update(None, "synchronous", mode)?;
            self.relaxed = !wait;
        }
        Ok(())
    }
}

/// A transaction; the functions of the tables take it.
pub struct Tx<'a> {
    connection: &'a Connection,
    /// To be written once it is committed.
    lines: Lines,
}

type Lines = RefCell<Vec<Box<dyn FnOnce()>>>;

fn write(lines: Lines) {
    for line in lines.into_inner() {
        line();
    }
}

impl<'a> Tx<'a> {
    fn on(connection: &'a Connection) -> Self {
        let lines = RefCell::default();
        Self { connection, lines }
    }

    /// Writes a line to the log once this is committed: what is rolled back, and may be run again, leaves none.
    pub fn log(&self, line: impl FnOnce() + 'static) {
        self.lines.borrow_mut().push(Box::new(line));
    }

    /// Runs `work` so that it can fail alone: where a row cannot be read, nothing is left of it, and the transaction goes on.
    /// The error within says why.
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

    fn statement(&self, sql: &'static str) -> Result<CachedStatement<'_>> {
        #[cfg(any(test, feature = "testing"))]
        testing::fault::pass()?;
        Ok(self.connection.prepare_cached(sql)?)
    }

    /// Returns the number of rows that were changed. A row that takes no change, as it is damaged, costs itself alone.
    fn execute(&self, sql: &'static str, parameters: impl Params) -> Result<usize> {
        let mut statement = self.statement(sql)?;
        // Without that SQLite may leave what an UPDATE had changed before it met such a row.
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
                // The parameters are bound still.
                statement.raw_execute()?
            }
            done => done?,
        };
        if is_update {
            self.statement("RELEASE one")?.execute(())?;
        }
        Ok(rows)
    }

    /// Returns whether a row was changed.
    fn changes(&self, sql: &'static str, parameters: impl Params) -> Result<bool> {
        Ok(self.execute(sql, parameters)? > 0)
    }

    fn run(&self, sql: &'static str, parameters: impl Params) -> Result<()> {
        self.execute(sql, parameters).map(drop)
    }

    /// Returns the number of the new row.
    fn insert(&self, sql: &'static str, parameters: impl Params) -> Result<i64> {
        match self.execute(sql, parameters)? {
            1 => Ok(self.connection.last_insert_rowid()),
            rows => Err(rusqlite::Error::StatementChangedRows(rows).into()),
        }
    }

    fn exists(&self, sql: &'static str, parameters: impl Params) -> Result<bool> {
        Ok(self.statement(sql)?.exists(parameters)?)
    }

    /// Returns the first row that can be read, if there is one; see [`all`](Self::all).
    fn first<T>(
        &self,
        sql: &'static str,
        parameters: impl Params,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Option<T>> {
        self.first_due(sql, parameters, read, |_: i64| Ok(()))
    }

    /// Likewise. Those before it that cannot be read are ended as by [`all_due`](Self::all_due).
    fn first_due<K: FromSql, T>(
        &self,
        sql: &'static str,
        parameters: impl Params,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
        end: impl FnMut(K) -> Result<()>,
    ) -> Result<Option<T>> {
        Ok(self.all_due(sql, parameters, 1, read, end)?.pop())
    }

    /// Returns the rows. Each that cannot be read costs itself alone: it is told, and left out.
    fn all<T>(
        &self,
        sql: &'static str,
        parameters: impl Params,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>> {
        self.all_due(sql, parameters, usize::MAX, read, |_: i64| Ok(()))
    }

    /// Returns so many rows at most. Each up to there that cannot be read is told, and given to `end` by what its first column
    /// holds.
    fn all_due<K: FromSql, T>(
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
                    self.log(move || {
                        let error = &error as &dyn Error;
                        error!(error, statement = sql, "left out; please report this");
                    });
                }
            }
        }
        drop(rows);
        damaged.into_iter().try_for_each(end)?;
        Ok(readable)
    }

    /// Returns what the one column of the only row holds, as of a sum or a least value; none if that cannot be read.
    fn value<T: FromSql + Default>(&self, sql: &'static str, parameters: impl Params) -> Result<T> {
        let value = self.first(sql, parameters, |row| row.get(0));
        value.map(Option::unwrap_or_default)
    }

    /// Returns what the one column of every row holds.
    fn column<T: FromSql>(&self, sql: &'static str, parameters: impl Params) -> Result<Vec<T>> {
        self.all(sql, parameters, |row| row.get(0))
    }
}

fn open_error(path: &Path, cause: io::Error) -> StoreError {
    StoreError::Open(path.to_owned(), cause)
}

fn newest_version() -> i64 {
    i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX)
}

fn version(connection: &Connection) -> Result<i64> {
    Ok(connection.pragma_query_value(None, "user_version", |row| row.get(0))?)
}

/// Runs the migrations that the file has not seen, each in a transaction.
fn migrate(connection: &mut Connection) -> Result<()> {
    let seen = usize::try_from(version(connection)?).unwrap_or(0);
    for (index, sql) in MIGRATIONS.iter().enumerate().skip(seen) {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.execute_batch(sql)?;
        transaction.pragma_update(None, "user_version", index + 1)?;
        transaction.commit()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
