//! Reads the database of MMRelay (`meshtastic.sqlite`), in each form that its versions have left. Never writes to it, nor
//! beside it.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags};

use relay_disk::new_private_directory;
use relay_model::{NodeNum, OwnedEventId, OwnedRoomOrAliasId, PacketId};

use crate::columns::Row;
use crate::file::{self, FileKind};
use crate::{Result, StoreError, open_error};

/// The tables of the message map: the current one, and those that a migration of MMRelay leaves when it is cut short.
const MAPS: [&str; 4] = [
    "message_map",
    "message_map_old_temp",
    "message_map_stale_temp",
    "message_map_legacy",
];
/// Maximum characters of a text, and of a name, that are read.
const LONGEST: u16 = 500;
/// Rows read at once.
const PAGE: usize = 5_000;
/// Bytes copied between two questions whether to go on.
const PIECE: u64 = 4 * 1024 * 1024;

/// MMRelay's database, open for reading.
#[derive(Debug)]
pub struct OldDatabase {
    connection: Connection,
    _copy: Option<Copy>,
}

/// A node's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OldName {
    /// The node.
    pub node: NodeNum,
    /// The name.
    pub name: String,
    /// Whether it is the short name.
    pub is_short: bool,
}

/// A row of the message map: a packet and an event that are the same message. Neither its sender nor its channel is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OldPair {
    /// The packet's id.
    pub packet: PacketId,
    /// The event.
    pub event: OwnedEventId,
    /// The event's room.
    pub room: OwnedRoomOrAliasId,
    /// The author's text, without prefix.
    pub text: String,
}

/// Why there is no database to read.
#[derive(Debug, thiserror::Error)]
pub enum OldDatabaseError {
    /// It cannot be opened.
    #[error(transparent)]
    Open(#[from] StoreError),
    /// The private copy cannot be made.
    #[error("cannot copy the database to `{0}`")]
    Copy(PathBuf, #[source] io::Error),
    /// The copying was ended.
    #[error("interrupted")]
    Interrupted,
}

/// A private copy, removed when this is dropped.
#[derive(Debug)]
struct Copy(PathBuf);

impl Drop for Copy {
    fn drop(&mut self) {
        // The next import removes what is left.
        drop(fs::remove_dir_all(&self.0));
    }
}

impl OldDatabase {
    /// Opens the file. What was written last may stand beside it (in the WAL or a journal, after a crash): then a copy of it
    /// all is read, in the directory `copy`, which is made and removed again. `goes_on` can end the copying.
    pub fn open(
        path: &Path,
        copy: &Path,
        goes_on: impl Fn() -> bool,
    ) -> Result<Self, OldDatabaseError> {
        match file::look_at(path).map_err(|cause| open_error(path, cause))? {
            FileKind::Database { .. } => {}
            FileKind::Nothing => {
                return Err(open_error(path, io::ErrorKind::NotFound.into()).into());
            }
            FileKind::Empty | FileKind::NoDatabase => {
                return Err(StoreError::NotDatabase(path.to_owned()).into());
            }
        }
        let beside = ["-wal", "-journal"].map(|ending| with_ending(path, ending));
        let is_left = |path: &PathBuf| fs::metadata(path).is_ok_and(|it| it.len() > 0);
        if beside.iter().any(is_left) {
            let copy = Copy(copy.to_owned());
            let copied = copy_all(path, &beside, &copy.0, goes_on)?;
            // A journal is rolled back, and a WAL read, in the copy.
            return Self::of(copied, OpenFlags::SQLITE_OPEN_READ_WRITE, Some(copy), path);
        }
        // An immutable file is read without locks: nothing is made beside it.
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
        Self::of(uri(path), flags, None, path)
    }

    fn of(
        name: PathBuf,
        flags: OpenFlags,
        copy: Option<Copy>,
        path: &Path,
    ) -> Result<Self, OldDatabaseError> {
        let opened = Connection::open_with_flags(name, flags);
        Ok(Self {
            connection: opened.map_err(|error| StoreError::from(error).at(path))?,
            _copy: copy,
        })
    }

    /// Returns the names of the nodes.
    pub fn names(&self) -> Pages<'_, OldName> {
        let table = |table, column: &'static str, read| {
            let needed = vec!["meshtastic_id", column];
            let columns = format!("meshtastic_id, substr({column}, 1, {LONGEST})");
            Table::new(table, needed, columns, read)
        };
        Pages::of(
            self,
            [
                table("longnames", "longname", |row| {
                    Ok(name(row)?.map(|(node, name)| OldName {
                        node,
                        name,
                        is_short: false,
                    }))
                }),
                table("shortnames", "shortname", |row| {
                    Ok(name(row)?.map(|(node, name)| OldName {
                        node,
                        name,
                        is_short: true,
                    }))
                }),
            ],
        )
    }

    /// Returns the message map, the newest rows of a sound table first.
    pub fn pairs(&self) -> Pages<'_, OldPair> {
        let needed = ["meshtastic_id", "matrix_event_id", "matrix_room_id"];
        let table = |table| {
            // The oldest versions kept no text.
            let text = match self.has(table, &["meshtastic_text"]) {
                Ok(true) => &format!("substr(meshtastic_text, 1, {LONGEST})"),
                Ok(false) | Err(_) => "''",
            };
            let columns = format!("{}, {text}", needed.join(", "));
            Table::new(table, needed.to_vec(), columns, pair)
        };
        Pages::of(self, MAPS.map(table))
    }

    /// Returns how many records of plugins there are, as far as they can be counted.
    pub fn plugin_data(&self) -> u64 {
        let sql = "SELECT count(*) FROM plugin_data";
        let counted = self.connection.query_row(sql, (), |row| row.get(0));
        counted.unwrap_or_default()
    }

    /// Returns whether a table has these columns; a missing table has none.
    fn has(&self, table: &str, columns: &[&str]) -> rusqlite::Result<bool> {
        let sql = "SELECT count(*) FROM pragma_table_info(?1) WHERE name = ?2";
        let mut statement = self.connection.prepare(sql)?;
        for column in columns {
            if statement.query_row((table, column), |row| row.get::<_, u32>(0))? == 0 {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// A table to be read: what is read of it, and how a row becomes what it says; `None`: it says nothing usable.
#[derive(Debug)]
struct Table<T> {
    name: &'static str,
    needed: Vec<&'static str>,
    columns: String,
    read: fn(&Row<'_>) -> rusqlite::Result<Option<T>>,
    /// Numbers of the rows read first, from the end of the table: from this one on.
    lowest: i64,
    /// The table is damaged: it is read from its beginning as well, and so far up to this row.
    highest: Option<i64>,
}

impl<T> Table<T> {
    fn new(
        name: &'static str,
        needed: Vec<&'static str>,
        columns: String,
        read: fn(&Row<'_>) -> rusqlite::Result<Option<T>>,
    ) -> Self {
        Self {
            name,
            needed,
            columns,
            read,
            lowest: i64::MAX,
            highest: None,
        }
    }
}

/// What tables hold, page by page; beside it, what could not be read.
#[derive(Debug)]
pub struct Pages<'a, T> {
    database: &'a OldDatabase,
    tables: VecDeque<Table<T>>,
    /// Rows that say nothing usable: no id of a packet, a node, an event or a room.
    pub unusable: u64,
    /// The damaged tables, of which only a part could be read, or nothing.
    pub damaged: Vec<&'static str>,
}

impl<'a, T> Pages<'a, T> {
    fn of<const N: usize>(database: &'a OldDatabase, tables: [Table<T>; N]) -> Self {
        Self {
            database,
            tables: tables.into(),
            unusable: 0,
            damaged: Vec::new(),
        }
    }

    /// Reads a page of a table into `page`. Returns whether there may be more.
    fn read(&mut self, table: &mut Table<T>, page: &mut Vec<T>) -> rusqlite::Result<bool> {
        let (bounds, order) = match table.highest {
            None => ("rowid < ?1 AND rowid >= ?2", "DESC"),
            Some(_) => ("rowid < ?1 AND rowid > ?2", "ASC"),
        };
        let Table { name, columns, .. } = table;
        let sql = format!(
            "SELECT rowid, {columns} FROM {name} WHERE {bounds} ORDER BY rowid {order} LIMIT {PAGE}"
        );
        let mut statement = self.database.connection.prepare(&sql)?;
        let mut rows = statement.query((table.lowest, table.highest.unwrap_or(i64::MIN)))?;
        let mut count = 0;
        while let Some(row) = rows.next()? {
            let number = row.get(0)?;
            match &mut table.highest {
                None => table.lowest = number,
                Some(highest) => *highest = number,
            }
            count += 1;
            match (table.read)(row)? {
                Some(found) => page.push(found),
                None => self.unusable += 1,
            }
        }
        Ok(count == PAGE)
    }
}

impl<T> Iterator for Pages<'_, T> {
    type Item = Vec<T>;

    fn next(&mut self) -> Option<Self::Item> {
        while let Some(mut table) = self.tables.pop_front() {
            let mut page = Vec::new();
            let is_there = match self.database.has(table.name, &table.needed) {
                Ok(is_there) => is_there,
                Err(_damaged) => {
                    self.damaged.push(table.name);
                    continue;
                }
            };
            if is_there {
                match self.read(&mut table, &mut page) {
                    Ok(false) => {}
                    Ok(true) => self.tables.push_front(table),
                    Err(_damaged) if table.highest.is_none() => {
                        self.damaged.push(table.name);
                        table.highest = Some(i64::MIN);
                        self.tables.push_front(table);
                    }
                    Err(_damaged) => {}
                }
            }
            if !page.is_empty() {
                return Some(page);
            }
        }
        None
    }
}

/// Reads a node and its name; columns: row number, node, name.
fn name(row: &Row<'_>) -> rusqlite::Result<Option<(NodeNum, String)>> {
    let node = text(row.get_ref(1)?).and_then(|it| it.trim().parse().ok());
    let name = text(row.get_ref(2)?).filter(|it| !it.trim().is_empty());
    Ok(node.zip(name))
}

/// Reads a row of the map; columns: row number, packet, event, room, text.
fn pair(row: &Row<'_>) -> rusqlite::Result<Option<OldPair>> {
    let packet = packet_id(row.get_ref(1)?);
    let event = text(row.get_ref(2)?).and_then(|it| OwnedEventId::try_from(it).ok());
    let room = text(row.get_ref(3)?).and_then(|it| OwnedRoomOrAliasId::try_from(it).ok());
    let text = text(row.get_ref(4)?).unwrap_or_default();
    Ok(packet
        .zip(event.zip(room))
        .map(|(packet, (event, room))| OldPair {
            packet,
            event,
            room,
            text,
        }))
}

/// Reads a packet id: a number or, in later versions, its decimal digits.
fn packet_id(value: ValueRef<'_>) -> Option<PacketId> {
    let number = match value {
        ValueRef::Integer(number) => u32::try_from(number).ok(),
        ValueRef::Text(_) => text(value)?.trim().parse().ok(),
        ValueRef::Null | ValueRef::Real(_) | ValueRef::Blob(_) => None,
    };
    number.map(PacketId).filter(|it| *it != PacketId::NONE)
}

fn text(value: ValueRef<'_>) -> Option<String> {
    match value {
        ValueRef::Text(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
        ValueRef::Null | ValueRef::Integer(_) | ValueRef::Real(_) | ValueRef::Blob(_) => None,
    }
}

/// Returns the path of a file that SQLite keeps beside a database (`-wal`, `-shm`, `-journal`).
pub fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

/// Returns a path as SQLite takes it for an immutable file.
fn uri(path: &Path) -> PathBuf {
    // Of a URI SQLite decodes these (https://www.sqlite.org/uri.html).
    let path = path.to_string_lossy();
    let path = path
        .replace('%', "%25")
        .replace('?', "%3f")
        .replace('#', "%23");
    format!("file:{path}?immutable=1").into()
}

/// Copies the file and what stands beside it into a new private directory, and returns the copy's path.
fn copy_all(
    path: &Path,
    beside: &[PathBuf],
    directory: &Path,
    goes_on: impl Fn() -> bool,
) -> Result<PathBuf, OldDatabaseError> {
    let failed = |cause| OldDatabaseError::Copy(directory.to_owned(), cause);
    // Of an import that was killed.
    drop(fs::remove_dir_all(directory));
    // Only a new one is nobody else's.
    new_private_directory(directory).map_err(failed)?;
    let beside = beside.iter().map(PathBuf::as_path).filter(|it| it.exists());
    for from in beside.chain([path]) {
        let name = from.file_name().unwrap_or_default();
        let mut source = File::open(from).map_err(|cause| open_error(from, cause))?;
        let mut copy = File::create_new(directory.join(name)).map_err(failed)?;
        while io::copy(&mut (&mut source).take(PIECE), &mut copy).map_err(failed)? > 0 {
            if !goes_on() {
                return Err(OldDatabaseError::Interrupted);
            }
        }
    }
    Ok(directory.join(path.file_name().unwrap_or_default()))
}

#[cfg(test)]
mod tests;
