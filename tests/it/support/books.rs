//! The database of a relay, as a test reads it.

use std::collections::HashSet;
use std::fs;

use matrix_sdk::ruma::EventId;
use rusqlite::{Connection, OpenFlags, OptionalExtension as _};
use tempfile::TempDir;

use super::process::temporary_directory;
use super::relay::Home;

/// A copy of a relay's database: reading it does not change the original.
#[derive(Debug)]
pub(crate) struct Books {
    copy: Connection,
    _directory: Option<TempDir>,
}

impl Books {
    /// Copies the database of a relay that has ended, in whatever way.
    pub(crate) fn of(home: &Home) -> Self {
        let directory = temporary_directory("books");
        for name in ["relay.sqlite", "relay.sqlite-wal"] {
            let file = home.path("database").join(name);
            if file.exists() {
                fs::copy(file, directory.path().join(name)).expect("a file can be copied");
            }
        }
        let copy = Connection::open(directory.path().join("relay.sqlite"));
        Self {
            copy: copy.expect("a database can be opened"),
            _directory: Some(directory),
        }
    }

    /// Reads the committed state of a running relay.
    pub(crate) fn of_running(home: &Home) -> Self {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let path = home.path("database").join("relay.sqlite");
        let open = Connection::open_with_flags(path, flags);
        Self {
            copy: open.expect("the relay has a database"),
            _directory: None,
        }
    }

    /// Returns the packets of the mesh that the relay has accepted.
    pub(crate) fn accepted(&self) -> HashSet<u32> {
        let mut statement = self
            .copy
            .prepare("SELECT packet FROM seen_packet")
            .expect("the table is there");
        let packets = statement.query_map((), |row| row.get(0));
        let packets = packets.expect("the table can be read");
        packets.map(|packet| packet.expect("a number")).collect()
    }

    /// Returns the message pair up to which a homeserver whose database was put back was read anew.
    pub(crate) fn read_anew(&self) -> Option<String> {
        let sql = "SELECT value FROM meta WHERE name LIKE 'measured_after %'";
        let value = self.copy.query_row(sql, (), |row| row.get(0));
        value.optional().expect("the table is there")
    }

    /// Returns the wanted sign of a message.
    pub(crate) fn wanted_sign(&self, message: &EventId) -> Option<String> {
        let sign = self.copy.query_row(
            "SELECT wanted FROM feedback WHERE event = ?1",
            [message.as_str()],
            |row| row.get(0),
        );
        sign.optional().expect("the table can be read").flatten()
    }

    /// Returns the number of messages in flight: rows for rooms, and packets that the radio has not answered.
    pub(crate) fn in_flight(&self) -> u32 {
        let count = self.copy.query_row(
            "SELECT (SELECT COUNT(*) FROM room_outbox)
                  + (SELECT COUNT(*) FROM mesh_outbox WHERE state = 1)",
            (),
            |row| row.get(0),
        );
        count.expect("the tables are there")
    }
}
