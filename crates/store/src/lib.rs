//! The relay's database: opens and migrates the file and runs transactions; one module per table has its queries. It decides
//! nothing.
//!
//! The outbox tables are authoritative for what is still to be sent. An accepted message is committed together with its seen id
//! before it is sent; see [`Store::transaction`].
//!
//! Functions that take or run a [`Tx`] fail only if the database fails or rejects a statement; then the transaction, or the
//! work within [`Tx::apart`], is rolled back. Unreadable rows are logged and left out; rows that reject an update are ended.

pub mod avatars;
pub mod clock;
mod columns;
pub mod cooldown;
mod damage;
#[cfg(test)]
mod earlier;
mod error;
mod examine;
mod file;
pub mod imported;
mod messages;
pub mod mmrelay;
mod names;
mod next;
pub mod nodes;
mod outbox;
pub mod restored;
pub mod retention;
mod rooms;
mod shown;
pub mod single_values;
pub mod story;
pub mod summary;
#[cfg(test)]
mod test_rows;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod thread;
mod tx;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, TransactionBehavior};
use tracing::warn;

use relay_disk::{FileIdentity, identity};
use relay_model::{RoomOrAliasId, Timestamp};

use file::FileKind;
use outbox_room::RoomRow;

pub use error::{Result, StoreError};
pub use examine::{SoundDatabase, copy, examine, read_only};
pub use messages::{direct, edits, message_map, relayed, seen};
pub use names::{Names, names, sqlite_version};
pub use next::Next;
pub use outbox::{backlog, drafts, mesh_report, outbox_mesh, outbox_room};
pub use rooms::{gaps, known_rooms, mapped_rooms, outage, undecryptable};
pub use shown::{feedback, receipts};
pub use thread::{Database, DatabaseEnd};
pub use tx::Tx;

/// Identifies our files (`PRAGMA application_id`).
const APPLICATION_ID: u32 = relay_config::Database::APPLICATION_ID;

/// The schema migrations, oldest first; `user_version` is the number applied.
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
    include_str!("migrations/0019_avatars.sql"),
    include_str!("migrations/0020_gaps_by_time.sql"),
    include_str!("migrations/0021_story.sql"),
];

/// Maximum time to wait for another program's lock.
const BUSY_LIMIT: Duration = Duration::from_secs(5);

/// Capacity of the statement cache: more than the about 265 different statements, each 4 to 60 kB.
const STATEMENTS: usize = 288;

/// The database, opened and migrated.
#[derive(Debug)]
pub struct Store {
    connection: Connection,
    /// Commits do not sync to disk (`synchronous = normal`).
    relaxed: bool,
    /// Changes may have been committed, by the process before as well, that a power cut takes back.
    unsynced: bool,
    /// The file behind it; `None`: it is in memory, for tests.
    file: Option<DatabaseFile>,
}

/// The file of an open database.
#[derive(Debug)]
struct DatabaseFile {
    path: PathBuf,
    identity: FileIdentity,
    /// An operation failed: the connection and its caches may be stale.
    doubtful: bool,
    /// Number of bytes of the WAL that survive a power cut.
    #[cfg(any(test, feature = "testing"))]
    safe: usize,
}

impl Store {
    /// Opens or creates the database and migrates it.
    ///
    /// A file of another program or of a later version is refused and left unchanged.
    pub fn open(path: &Path) -> Result<Self> {
        Self::open_file(path).map_err(|error| error.at(path))
    }

    fn open_file(path: &Path) -> Result<Self> {
        let open_error = |cause| open_error(path, cause);
        let newer = |found| StoreError::Newer(path.to_owned(), found, newest_version());
        let is_new = match file::look_at(path).map_err(open_error)? {
            FileKind::Nothing => {
                file::make(path).map_err(open_error)?;
                true
            }
            FileKind::Empty => true,
            FileKind::Database {
                application,
                version,
            } if application == APPLICATION_ID => {
                if i64::from(version) > newest_version() {
                    return Err(newer(i64::from(version)));
                }
                false
            }
            FileKind::Database { application, .. } => {
                return Err(StoreError::Foreign(path.to_owned(), application));
            }
            FileKind::NoDatabase => return Err(StoreError::NotDatabase(path.to_owned())),
        };
        file::look_whether_writable(path).map_err(open_error)?;
        file::narrow_mode(path);
        let identity = identity(path).map_err(open_error)?;
        let identity = identity.ok_or_else(|| StoreError::Gone(path.to_owned()))?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(BUSY_LIMIT)?;
        // The header in the file can be older than that in the WAL.
        let version = version(&connection)?;
        if version > newest_version() {
            return Err(newer(version));
        }
        if is_new {
            // Before WAL mode, so that it is in the file itself even after a crash.
            connection.pragma_update(None, "application_id", APPLICATION_ID)?;
        }
        connection.pragma_update(None, "journal_mode", "wal")?;
        let file = DatabaseFile {
            path: path.to_owned(),
            identity,
            doubtful: false,
            #[cfg(any(test, feature = "testing"))]
            safe: 0,
        };
        Self::prepare(connection, Some(file))
    }

    fn prepare(mut connection: Connection, file: Option<DatabaseFile>) -> Result<Self> {
        connection.pragma_update(None, "synchronous", "full")?;
        connection.pragma_update(None, "foreign_keys", "on")?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS);
        migrate(&mut connection)?;
        Ok(Self {
            connection,
            relaxed: false,
            unsynced: file.is_some(),
            file,
        })
    }

    /// Runs `work` in a transaction that is synced to disk on commit. If `work` or the commit fails, it is rolled back.
    pub fn transaction<T>(&mut self, work: impl FnOnce(&Tx<'_>) -> Result<T>) -> Result<T> {
        self.in_place(|store| {
            store.wait_for_disk(true)?;
            store.commit(work)
        })
    }

    /// Runs `work` in a transaction that survives a crash of the process, but may be lost in a power cut. For data whose loss
    /// neither loses a message nor sends one under another id.
    pub fn commit_relaxed<T>(&mut self, work: impl FnOnce(&Tx<'_>) -> Result<T>) -> Result<T> {
        self.in_place(|store| {
            store.wait_for_disk(false)?;
            store.commit(work)
        })
    }

    /// Runs `work` as [`Self::commit_relaxed`] does, and rolls it back unless its result `is_kept`.
    pub fn commit_relaxed_if<T>(
        &mut self,
        work: impl FnOnce(&Tx<'_>) -> Result<T>,
        is_kept: impl FnOnce(&T) -> bool,
    ) -> Result<T> {
        self.in_place(|store| {
            store.wait_for_disk(false)?;
            store.commit_if(work, is_kept)
        })
    }

    /// Waits until all that was committed is on the disk, by a small write if it is not.
    pub fn sync(&mut self, now: Timestamp) -> Result<()> {
        if !self.unsynced {
            return Ok(());
        }
        self.transaction(|tx| single_values::set_probed(tx, now))?;
        self.unsynced = false;
        Ok(())
    }

    /// Runs `work` on the file at the database's path. SQLite keeps writing to a file that was deleted or unmounted, and the
    /// data is lost: a missing file is an error, and a replaced one is reopened.
    fn in_place<T>(&mut self, work: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        let Some(file) = &self.file else {
            return work(self);
        };
        let now = identity(&file.path).map_err(|cause| open_error(&file.path, cause))?;
        let path = file.path.clone();
        let Some(now) = now else {
            return Err(StoreError::Gone(path));
        };
        if now != file.identity || file.doubtful {
            *self = Self::open(&path)?;
            self.empty_log().map_err(|error| error.at(&path))?;
            warn!(path = %path.display(), "the database was opened again, after its file or its disk had failed or was replaced");
        }
        let error = match (work(self), &mut self.file) {
            (Err(error), Some(file)) => {
                file.doubtful |= error.concerns_file();
                error.at(&file.path)
            }
            (done, _) => return done,
        };
        Err(error)
    }

    /// Writes what stands in the WAL into the file, and begins the WAL anew. After a failed sync the system may take pages of
    /// the WAL for written that are not: a power cut would take back also the later commits, those that waited for the disk.
    fn empty_log(&mut self) -> Result<()> {
        self.doubt(true);
        let sql = "PRAGMA wal_checkpoint(TRUNCATE)";
        // Another program that reads the file holds it up. It is not waited for: the next use tries again.
        self.connection.busy_timeout(Duration::ZERO)?;
        let is_held_up = self.connection.query_row(sql, (), |row| row.get(0))?;
        self.connection.busy_timeout(BUSY_LIMIT)?;
        self.doubt(is_held_up);
        Ok(())
    }

    fn doubt(&mut self, is_doubtful: bool) {
        if let Some(file) = &mut self.file {
            file.doubtful = is_doubtful;
        }
    }

    fn commit<T>(&mut self, work: impl FnOnce(&Tx<'_>) -> Result<T>) -> Result<T> {
        self.commit_if(work, |_| true)
    }

    fn commit_if<T>(
        &mut self,
        work: impl FnOnce(&Tx<'_>) -> Result<T>,
        is_kept: impl FnOnce(&T) -> bool,
    ) -> Result<T> {
        let before = self.connection.total_changes();
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        let tx = Tx::on(&transaction);
        let result = work(&tx)?;
        if !is_kept(&result) {
            return Ok(result);
        }
        let lines = tx.lines;
        #[cfg(any(test, feature = "testing"))]
        testing::fault::pass()?;
        transaction.commit()?;
        let has_changed = self.connection.total_changes() != before;
        // One that waits for the disk takes the earlier ones along, unless it has nothing to write: only `sync` is sure.
        self.unsynced |= self.relaxed && has_changed;
        tx::write(lines);
        #[cfg(any(test, feature = "testing"))]
        self.note_what_is_safe(has_changed);
        Ok(result)
    }

    /// Runs read-only `work` on a consistent snapshot.
    pub fn read<T>(&mut self, work: impl FnOnce(&Tx<'_>) -> Result<T>) -> Result<T> {
        self.in_place(|store| {
            let transaction = store.connection.transaction()?;
            let tx = Tx::on(&transaction);
            let found = work(&tx)?;
            tx::write(tx.lines);
            Ok(found)
        })
    }

    /// Returns the row to send to a room next; usually writes nothing. A room's worker asks again only after that row's outcome
    /// is stored.
    pub fn next_for_room(&mut self, room: &RoomOrAliasId) -> Result<Option<RoomRow>> {
        self.commit(|tx| outbox_room::next(tx, room))
    }

    /// Writes a small value, to check that the database is writable.
    pub fn probe(&mut self, now: Timestamp) -> Result<()> {
        self.commit_relaxed(|tx| single_values::set_probed(tx, now))
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

fn open_error(path: &Path, cause: io::Error) -> StoreError {
    StoreError::Open(path.to_owned(), cause)
}

fn newest_version() -> i64 {
    i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX)
}

fn version(connection: &Connection) -> Result<i64> {
    Ok(connection.pragma_query_value(None, "user_version", |row| row.get(0))?)
}

/// Runs the pending migrations, each in a transaction.
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
