//! Our own database: what the relay must not forget. It opens and migrates the file and runs transactions; one
//! file for each table offers the functions that work on it. It decides nothing.
//!
//! The outbox tables are the truth about what is still to be sent. Whatever is accepted is committed together with
//! its seen-id before anything is sent; see [`Store::transaction`].
//!
//! A function that takes a [`Tx`] fails only when the database does. Then its transaction is to be given up.

pub mod backlog;
pub mod clock;
mod columns;
pub mod direct;
pub mod drafts;
#[cfg(test)]
mod earlier;
pub mod edits;
mod error;
#[cfg(test)]
pub(crate) mod fault;
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
mod thread;
pub mod told;
mod turns;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::types::FromSql;
use rusqlite::{
    CachedStatement, Connection, OpenFlags, OptionalExtension as _, Params, Row,
    TransactionBehavior,
};
use tracing::warn;

use crate::config;
use crate::model::{RoomOrAliasId, Timestamp};

use file::{Found, Identity};
use outbox_room::RoomRow;

pub use error::{Result, StoreError};
pub use thread::{Database, DatabaseEnd};

/// Marks the file as ours.
const APPLICATION_ID: u32 = config::Database::APPLICATION_ID;

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
    include_str!("migrations/0016_media.sql"),
];

/// How long another program may hold the database before a transaction fails.
const BUSY_LIMIT: Duration = Duration::from_secs(5);

/// More than the number of different statements: none is compiled twice.
const STATEMENTS: usize = 128;

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
}

impl Store {
    /// Opens the database, makes it if there is none, and brings it to the newest version.
    ///
    /// # Errors
    ///
    /// A file that is not ours, or of a later relay, is refused and not changed by a byte.
    pub fn open(path: &Path) -> Result<Self> {
        Self::open_file(path).map_err(|error| error.at(path))
    }

    fn open_file(path: &Path) -> Result<Self> {
        let open_error = |cause| open_error(path, cause);
        let newer = |found| StoreError::Newer {
            path: path.to_owned(),
            found,
            known: newest_version(),
        };
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
                return Err(StoreError::Foreign {
                    path: path.to_owned(),
                    found: application,
                });
            }
            Found::NoDatabase => {
                let path = path.to_owned();
                return Err(StoreError::NotDatabase { path });
            }
        };
        file::look_whether_writable(path).map_err(open_error)?;
        file::narrow_mode(path);
        let gone = || StoreError::Gone {
            path: path.to_owned(),
        };
        let identity = file::identity(path).map_err(open_error)?.ok_or_else(gone)?;
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
        };
        Self::prepare(connection, Some(file))
    }

    /// Makes an empty database in memory, for tests.
    ///
    /// # Errors
    ///
    /// When there is no memory.
    pub fn in_memory() -> Result<Self> {
        Self::prepare(Connection::open_in_memory()?, None)
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
    ///
    /// # Errors
    ///
    /// Those of `work` and of the commit.
    pub fn transaction<T>(&mut self, work: impl FnOnce(&Tx<'_>) -> Result<T>) -> Result<T> {
        self.in_place(|store| {
            store.wait_for_disk(true)?;
            store.commit(work)
        })
    }

    /// Runs `work` in one transaction whose commit does not wait for the disk: it survives the end of this process, but
    /// a power cut can take it back. For notes without which nothing is lost and nothing sent under another identifier.
    ///
    /// # Errors
    ///
    /// Those of `work` and of the commit.
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
        let is_same = match now {
            Some(now) => now == file.identity,
            None => {
                return Err(StoreError::Gone {
                    path: file.path.clone(),
                });
            }
        };
        if !is_same || file.doubtful {
            let path = file.path.clone();
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
        let result = work(&Tx {
            connection: &transaction,
        })?;
        #[cfg(test)]
        fault::pass()?;
        transaction.commit()?;
        Ok(result)
    }

    /// Runs `work`, which only reads, on one consistent state of the tables.
    ///
    /// # Errors
    ///
    /// Those of `work`.
    pub fn read<T>(&mut self, work: impl FnOnce(&Tx<'_>) -> Result<T>) -> Result<T> {
        self.in_place(|store| {
            let transaction = store.connection.transaction()?;
            work(&Tx {
                connection: &transaction,
            })
        })
    }

    /// Returns the row that is to be sent to a room next; writes nothing, normally. A room's worker asks again only after
    /// that row's outcome is stored.
    ///
    /// # Errors
    ///
    /// When the database cannot be read.
    pub fn next_for_room(&mut self, room: &RoomOrAliasId) -> Result<Option<RoomRow>> {
        self.commit(|tx| outbox_room::next(tx, room))
    }

    /// Writes a few bytes, to find out whether that works.
    ///
    /// # Errors
    ///
    /// When it does not.
    pub fn probe(&mut self, now: Timestamp) -> Result<()> {
        self.note(|tx| meta::set_probed(tx, now))
    }

    /// Lets the file grow to so many pages and no further, as a disk does.
    #[cfg(test)]
    pub(crate) fn limit_pages(&mut self, pages: u32) -> Result<()> {
        self.connection
            .pragma_update(None, "max_page_count", pages)?;
        Ok(())
    }

    /// Returns every row of every table, without what was chosen at random.
    #[cfg(test)]
    pub(crate) fn dump(&mut self) -> Vec<String> {
        const RANDOM: [&str; 4] = ["packet", "reference", "txn", "relay_id"];
        let names = "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name";
        let mut tables = self.connection.prepare(names).unwrap();
        let tables = tables.query_map((), |row| row.get::<_, String>(0)).unwrap();
        let mut rows = Vec::new();
        for table in tables.map(Result::unwrap) {
            let mut all = self
                .connection
                .prepare(&format!("SELECT * FROM {table}"))
                .unwrap();
            let columns: Vec<String> = all.column_names().into_iter().map(str::to_owned).collect();
            let read = all.query_map((), |row| {
                let mut shown = table.clone();
                for (number, column) in columns.iter().enumerate() {
                    if !RANDOM.contains(&column.as_str()) {
                        let value: rusqlite::types::Value = row.get(number)?;
                        let value = format!("{value:?}");
                        // In the content of a post.
                        let value = match value.split_once(r#""relay_id\":\""#) {
                            Some((before, id)) => format!("{before}{}", &id[32..]),
                            None => value,
                        };
                        shown = format!("{shown} {column}={value}");
                    }
                }
                Ok(shown)
            });
            rows.extend(read.unwrap().map(Result::unwrap));
        }
        rows.sort();
        rows
    }

    /// Waits for no other program.
    #[cfg(test)]
    pub(crate) fn wait_for_nobody(&mut self) -> Result<()> {
        Ok(self.connection.busy_timeout(Duration::ZERO)?)
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
#[derive(Debug)]
pub struct Tx<'a> {
    connection: &'a Connection,
}

impl Tx<'_> {
    fn statement(&self, sql: &'static str) -> Result<CachedStatement<'_>> {
        #[cfg(test)]
        fault::pass()?;
        Ok(self.connection.prepare_cached(sql)?)
    }

    /// Returns the number of rows that were changed.
    fn execute(&self, sql: &'static str, parameters: impl Params) -> Result<usize> {
        Ok(self.statement(sql)?.execute(parameters)?)
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
        Ok(self.statement(sql)?.insert(parameters)?)
    }

    fn exists(&self, sql: &'static str, parameters: impl Params) -> Result<bool> {
        Ok(self.statement(sql)?.exists(parameters)?)
    }

    /// Returns the first row, if there is one.
    fn first<T>(
        &self,
        sql: &'static str,
        parameters: impl Params,
        read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Option<T>> {
        Ok(self
            .statement(sql)?
            .query_row(parameters, read)
            .optional()?)
    }

    fn all<T>(
        &self,
        sql: &'static str,
        parameters: impl Params,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>> {
        Ok(self
            .statement(sql)?
            .query_map(parameters, read)?
            .collect::<Result<_, _>>()?)
    }

    /// Returns what the one column of the only row holds, as of a sum or a least value.
    fn value<T: FromSql>(&self, sql: &'static str, parameters: impl Params) -> Result<T> {
        Ok(self
            .statement(sql)?
            .query_row(parameters, |row| row.get(0))?)
    }

    /// Returns what the one column of every row holds.
    fn column<T: FromSql>(&self, sql: &'static str, parameters: impl Params) -> Result<Vec<T>> {
        self.all(sql, parameters, |row| row.get(0))
    }
}

fn open_error(path: &Path, cause: io::Error) -> StoreError {
    StoreError::Open {
        path: path.to_owned(),
        cause,
    }
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
mod tests {
    use std::fmt::Write as _;
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::model::{EventId, Explained as _, NodeNum, PacketId, RoomContent, Timestamp};

    const RADIO: NodeNum = NodeNum(1);

    fn path_in(directory: &tempfile::TempDir) -> std::path::PathBuf {
        directory.path().join("relay.sqlite")
    }

    #[test]
    fn a_new_file_is_ours_private_and_safe_against_power_cuts() {
        let directory = tempfile::tempdir().unwrap();
        let path = path_in(&directory);
        let mut store = Store::open(&path).unwrap();
        store
            .transaction(|tx| told::remember(tx, "a", Timestamp(1)))
            .unwrap();
        for file in fs::read_dir(directory.path()).unwrap() {
            let mode = file.unwrap().metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        let pragma = |name| -> String {
            store
                .connection
                .pragma_query_value(None, name, |row| {
                    row.get_ref(0).map(|value| match value {
                        rusqlite::types::ValueRef::Integer(number) => number.to_string(),
                        other => other.as_str().unwrap().to_owned(),
                    })
                })
                .unwrap()
        };
        assert_eq!(pragma("journal_mode"), "wal");
        assert_eq!(pragma("synchronous"), "2");
        assert_eq!(pragma("foreign_keys"), "1");
        assert_eq!(pragma("application_id"), APPLICATION_ID.to_string());
        assert_eq!(pragma("user_version"), MIGRATIONS.len().to_string());
    }

    /// Opens a database that an earlier relay has left, at that version of the schema and with these rows.
    fn left_by_earlier(version: usize, rows: &str) -> Store {
        let connection = Connection::open_in_memory().unwrap();
        for migration in &MIGRATIONS[..version] {
            connection.execute_batch(migration).unwrap();
        }
        connection.execute_batch(rows).unwrap();
        connection
            .pragma_update(None, "user_version", version)
            .unwrap();
        Store::prepare(connection, None).unwrap()
    }

    #[test]
    fn of_what_an_earlier_relay_carried_no_channel_is_known_and_answers_that_wait_are_bound() {
        // A text, an answer in two parts, a tapback and a correction that wait, and a text that was sent.
        let mut rows = String::new();
        for (id, message, state, tapback, reference, correction) in [
            (1, 1, 0, 0, "NULL", 0),
            (2, 2, 0, 0, "7", 0),
            (3, 2, 0, 0, "NULL", 0),
            (4, 4, 1, 1, "7", 0),
            (5, 5, 0, 0, "NULL", 1),
            (6, 6, 3, 0, "NULL", 0),
        ] {
            write!(
                rows,
                "INSERT INTO mesh_outbox (id, message, part, parts, radio, target_kind, target, lane, tapback, text,
                     reference, packet, state, not_before, expires, room, event, sender, sent_at, source_text, alert,
                     accepted_at, active_at, correction)
                 VALUES ({id}, {message}, {id} - {message}, 1, 1, 0, 1, 1, {tapback}, 'x', {reference}, {id}, {state},
                     0, 9, '!room:example.org', '$e{message}:example.org', '@bob:example.org', 1, 'x', 0, 1, 1,
                     {correction});
                 INSERT INTO message_pair (origin, radio, sender, packet, target_kind, target, room, event, text, alert,
                     part, at, mesh_outbox)
                 VALUES (1, 1, 1, {id}, 0, 1, '!room:example.org', '$e{message}:example.org', 'x', 0, 0, 1, {id});"
            )
            .unwrap();
        }
        let mut store = left_by_earlier(7, &rows);
        let waiting = store.transaction(mesh_report::on_channels).unwrap();
        let bound: Vec<_> = waiting.iter().map(|row| (row.id.0, row.bound)).collect();
        let expected = [(1, false), (2, true), (3, true), (4, true), (5, true)];
        assert_eq!(bound, expected);
        assert!(waiting.iter().all(|row| row.channel.is_none()));
        let event = EventId::parse("$e6:example.org").unwrap();
        let pairs = store
            .transaction(|tx| message_map::by_event(tx, &event))
            .unwrap();
        assert_eq!(pairs[0].channel, None);
    }

    #[test]
    fn what_an_earlier_relay_had_waiting_is_about_the_same_events() {
        let text = r#"{"text":{"notice":false,"prefix":"","text":"x","heard_at":null,"reply_to":null,"thread":null,
            "mentions":[],"mentions_room":false,"fields":null,"suppress":false}}"#;
        let reaction = |target| format!(r#"{{"reaction":{{"target":"{target}","key":"👍"}}}}"#);
        let mut rows = String::new();
        for (id, content, packet) in [
            (1, text.to_owned(), "5"),
            (2, reaction("$waiting:relay.invalid"), "5"),
            (3, reaction("$other:example.org"), "NULL"),
            (4, text.to_owned(), "NULL"),
            (5, "no JSON".to_owned(), "5"),
        ] {
            write!(
                rows,
                "INSERT INTO room_outbox (id, room, txn, content, target_sender, target_packet, accepted_at)
                 VALUES ({id}, '!room:example.org', '{id}', '{{\"version\":1,\"content\":{content}}}', {packet} + 1, {packet}, 1);"
            )
            .unwrap();
        }
        rows.push_str(
            "INSERT INTO message_pair (origin, radio, sender, packet, target_kind, target, room, event, text, alert, part, at)
             VALUES (0, 1, 6, 5, 0, 1, '!room:example.org', '$five:example.org', 'x', 0, 0, 1);",
        );
        let mut store = left_by_earlier(12, &rows);
        let room = "!room:example.org".try_into().unwrap();
        let about = store.transaction(|tx| {
            let mut about = Vec::new();
            while let Some(row) = outbox_room::next(tx, room)? {
                about.push(match row.content {
                    RoomContent::Text { reply_to, .. } => reply_to.map(|it| it.to_string()),
                    RoomContent::Reaction { target, .. } => Some(target.to_string()),
                    RoomContent::Redaction { .. } => None,
                });
                outbox_room::sent(tx, row.id, None)?;
            }
            Ok(about)
        });
        let (five, other) = ("$five:example.org", "$other:example.org");
        let expected = [Some(five), Some(five), Some(other), None].map(|it| it.map(str::to_owned));
        assert_eq!(about.unwrap(), expected);
    }

    #[test]
    fn a_commit_waits_for_the_disk_again_after_one_that_did_not() {
        let directory = tempfile::tempdir().unwrap();
        let mut store = Store::open(&path_in(&directory)).unwrap();
        let mode = |tx: &Tx<'_>| {
            let mode = tx
                .connection
                .pragma_query_value(None, "synchronous", |row| row.get(0));
            Ok::<i64, StoreError>(mode?)
        };
        assert_eq!(store.transaction(mode).unwrap(), 2);
        assert_eq!(store.note(mode).unwrap(), 1);
        assert_eq!(store.note(mode).unwrap(), 1);
        assert_eq!(store.transaction(mode).unwrap(), 2);
    }

    #[test]
    fn the_mark_stands_in_the_file_even_if_the_log_beside_it_is_lost() {
        let directory = tempfile::tempdir().unwrap();
        let path = path_in(&directory);
        let store = Store::open(&path).unwrap();
        // As another program sees the file while this one is killed.
        let found = file::look_at(&path).unwrap();
        assert!(
            matches!(found, Found::Database { application, .. } if application == APPLICATION_ID)
        );
        drop(store);
    }

    #[test]
    fn an_empty_file_becomes_our_database() {
        let directory = tempfile::tempdir().unwrap();
        let path = path_in(&directory);
        fs::write(&path, "").unwrap();
        drop(Store::open(&path).unwrap());
        assert!(Store::open(&path).is_ok());
    }

    #[test]
    fn what_was_committed_is_there_after_opening_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = path_in(&directory);
        let event = EventId::parse("$one:example.org").unwrap();
        Store::open(&path)
            .unwrap()
            .transaction(|tx| seen::mark_event(tx, &event, Timestamp(1)))
            .unwrap();
        let known = Store::open(&path)
            .unwrap()
            .transaction(|tx| seen::has_event(tx, &event))
            .unwrap();
        assert!(known);
    }

    #[test]
    fn a_batch_that_fails_half_way_leaves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let mut store = Store::open(&path_in(&directory)).unwrap();
        let failed = store.transaction(|tx| {
            seen::mark_packet(tx, RADIO, NodeNum(2), PacketId(3), Timestamp(1))?;
            told::remember(tx, "a", Timestamp(9))?;
            Err::<(), _>(StoreError::Closed)
        });
        assert!(matches!(failed, Err(StoreError::Closed)));
        store
            .transaction(|tx| {
                assert!(!seen::has_packet(tx, NodeNum(2), PacketId(3))?);
                assert!(!told::is_told(tx, "a", Timestamp(1))?);
                Ok(())
            })
            .unwrap();
    }

    #[test]
    fn a_full_disk_takes_nothing_of_a_batch_and_everything_once_there_is_room() {
        let directory = tempfile::tempdir().unwrap();
        let mut store = Store::open(&path_in(&directory)).unwrap();
        let long = "x".repeat(100_000);
        let batch = |tx: &Tx<'_>| {
            told::remember(tx, "short", Timestamp(9))?;
            told::remember(tx, &long, Timestamp(9))
        };
        store
            .connection
            .pragma_update(None, "max_page_count", 1)
            .unwrap();
        let error = store.transaction(batch).unwrap_err();
        assert!(matches!(error, StoreError::Full(..)), "{error:?}");
        let is_told = store.transaction(|tx| told::is_told(tx, "short", Timestamp(1)));
        assert!(!is_told.unwrap());
        store
            .connection
            .pragma_update(None, "max_page_count", 10_000)
            .unwrap();
        store.transaction(batch).unwrap();
    }

    #[test]
    fn a_database_that_another_program_holds_is_an_error_that_passes() {
        let directory = tempfile::tempdir().unwrap();
        let path = path_in(&directory);
        let mut store = Store::open(&path).unwrap();
        store.connection.busy_timeout(Duration::ZERO).unwrap();
        let other = Connection::open(&path).unwrap();
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        let mark = |tx: &Tx<'_>| told::remember(tx, "a", Timestamp(9));
        assert!(matches!(store.transaction(mark), Err(StoreError::Busy(_))));
        other.execute_batch("ROLLBACK").unwrap();
        store.transaction(mark).unwrap();
    }

    #[test]
    fn a_database_of_another_program_is_refused_and_stays_as_it_is_to_the_byte() {
        let directory = tempfile::tempdir().unwrap();
        let path = path_in(&directory);
        let other = Connection::open(&path).unwrap();
        other
            .execute_batch(
                "CREATE TABLE message_map (id TEXT); INSERT INTO message_map VALUES ('a')",
            )
            .unwrap();
        drop(other);
        let before = fs::read(&path).unwrap();
        assert!(matches!(
            Store::open(&path),
            Err(StoreError::Foreign { found: 0, .. })
        ));
        assert_eq!(fs::read(&path).unwrap(), before);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_that_is_no_database_is_refused_and_stays_as_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let path = path_in(&directory);
        for content in ["short", &"long ".repeat(100)] {
            fs::write(&path, content).unwrap();
            assert!(matches!(
                Store::open(&path),
                Err(StoreError::NotDatabase { .. })
            ));
            assert_eq!(fs::read_to_string(&path).unwrap(), content);
        }
    }

    #[test]
    fn a_database_of_a_later_relay_is_refused_with_both_versions() {
        let directory = tempfile::tempdir().unwrap();
        let path = path_in(&directory);
        let store = Store::open(&path).unwrap();
        store
            .connection
            .pragma_update(None, "user_version", 99)
            .unwrap();
        // Once from the log beside the file, once from its header.
        let beside = Store::open(&path);
        drop(store);
        for refused in [beside, Store::open(&path)] {
            let error = refused.unwrap_err();
            assert!(
                matches!(error, StoreError::Newer { found: 99, known, .. } if known == newest_version())
            );
            assert!(error.hint().is_some());
        }
    }

    #[test]
    fn a_directory_that_is_missing_is_a_plain_error() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("none").join("relay.sqlite");
        assert!(matches!(Store::open(&path), Err(StoreError::Open { .. })));
    }

    #[test]
    fn a_damaged_file_is_an_error_that_names_the_cure() {
        let directory = tempfile::tempdir().unwrap();
        let path = path_in(&directory);
        drop(Store::open(&path).unwrap());
        let mut bytes = fs::read(&path).unwrap();
        for byte in bytes.iter_mut().skip(100) {
            *byte = 0xFF;
        }
        fs::write(&path, bytes).unwrap();
        let error = Store::open(&path)
            .and_then(|mut store| store.transaction(|tx| told::is_told(tx, "a", Timestamp(1))))
            .unwrap_err();
        assert!(matches!(error, StoreError::Damaged(..)), "{error:?}");
    }

    /// Fills the database so that it has leaves to damage; returns its size in pages of 4096 bytes.
    fn filled(path: &Path) -> usize {
        let mut store = Store::open(path).unwrap();
        let fill = |tx: &Tx<'_>| {
            for number in 0..2_000 {
                told::remember(tx, &format!("{number:0100}"), Timestamp(9))?;
            }
            Ok(())
        };
        store.transaction(fill).unwrap();
        drop(store);
        usize::try_from(fs::metadata(path).unwrap().len() / 4096).unwrap()
    }

    fn count_told(store: &mut Store) -> Result<u64, StoreError> {
        store.read(|tx| tx.value::<u64>("SELECT COUNT(*) FROM told NOT INDEXED", ()))
    }

    #[test]
    fn a_file_whose_header_is_damaged_is_an_error_that_names_the_cure() {
        let directory = tempfile::tempdir().unwrap();
        let path = path_in(&directory);
        filled(&path);
        let mut bytes = fs::read(&path).unwrap();
        // The magic and the marks are sound, what stands between is not (page size, versions, sizes).
        bytes[16..60].fill(0xFF);
        fs::write(&path, &bytes).unwrap();
        let error = Store::open(&path).unwrap_err();
        assert!(matches!(error, StoreError::Damaged(..)), "{error:?}");
        assert!(error.hint().is_some());
        assert_eq!(fs::read(&path).unwrap(), bytes, "it was not touched");
    }

    #[test]
    fn a_damaged_page_in_the_middle_is_an_error_where_it_is_used_and_the_rest_goes_on() {
        let directory = tempfile::tempdir().unwrap();
        let path = path_in(&directory);
        let pages = filled(&path);
        let mut bytes = fs::read(&path).unwrap();
        let sound = bytes.clone();
        for page in bytes.chunks_mut(4096).skip(pages - 20) {
            page.fill(0xA5);
        }
        fs::write(&path, &bytes).unwrap();

        let mut store = Store::open(&path).unwrap();
        let error = count_told(&mut store).unwrap_err();
        assert!(matches!(error, StoreError::Damaged(..)), "{error:?}");
        let event = EventId::parse("$one:example.org").unwrap();
        store
            .transaction(|tx| seen::mark_event(tx, &event, Timestamp(1)))
            .unwrap();
        drop(store);

        // A copy from before takes its place while the database is in use.
        let mut store = Store::open(&path).unwrap();
        assert!(count_told(&mut store).is_err());
        fs::write(&path, &sound).unwrap();
        assert_eq!(count_told(&mut store).unwrap(), 2_000);
    }

    #[test]
    fn a_file_that_is_taken_away_is_missed_and_nothing_is_written_until_it_is_back() {
        let directory = tempfile::tempdir().unwrap();
        let home = directory.path().join("home");
        fs::create_dir(&home).unwrap();
        let path = home.join("relay.sqlite");
        let mut store = Store::open(&path).unwrap();
        let mark = |tx: &Tx<'_>| told::remember(tx, "a", Timestamp(9));
        store.transaction(mark).unwrap();

        let away = directory.path().join("away");
        fs::rename(&home, &away).unwrap();
        let error = store.transaction(mark).unwrap_err();
        assert!(matches!(error, StoreError::Gone { .. }), "{error:?}");
        assert!(error.hint().is_some());
        assert!(matches!(
            count_told(&mut store),
            Err(StoreError::Gone { .. })
        ));
        assert!(!home.exists(), "nothing is made in its place");

        fs::rename(&away, &home).unwrap();
        store.transaction(mark).unwrap();
    }

    #[test]
    fn a_copy_that_takes_the_files_place_is_used_from_then_on() {
        let directory = tempfile::tempdir().unwrap();
        let path = path_in(&directory);
        let copy = directory.path().join("copy.sqlite");
        let mut store = Store::open(&path).unwrap();
        let mark = |name: &'static str| move |tx: &Tx<'_>| told::remember(tx, name, Timestamp(9));
        store.transaction(mark("before")).unwrap();
        store
            .connection
            .execute("VACUUM INTO ?1", [copy.to_str().unwrap()])
            .unwrap();
        store.transaction(mark("after the copy")).unwrap();
        fs::rename(&copy, &path).unwrap();
        for beside in ["-wal", "-shm"] {
            fs::remove_file(format!("{}{beside}", path.display())).unwrap();
        }

        store.transaction(mark("later")).unwrap();
        drop(store);
        let mut store = Store::open(&path).unwrap();
        let told = |store: &mut Store, name: &'static str| {
            store.read(|tx| told::is_told(tx, name, Timestamp(1)))
        };
        assert!(told(&mut store, "before").unwrap());
        assert!(told(&mut store, "later").unwrap());
        assert!(!told(&mut store, "after the copy").unwrap());
    }
}
