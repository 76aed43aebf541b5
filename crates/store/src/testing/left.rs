//! Databases of earlier versions.

use std::collections::BTreeMap;
use std::path::PathBuf;

use relay_model::Timestamp;
use rusqlite::Connection;

use crate::{MIGRATIONS, Store};

/// A minute after the earlier version stopped.
pub const THEN: Timestamp = Timestamp(1_767_225_600_000 + 92_000);

/// A database of that schema version, with the content of its outboxes.
#[derive(Debug)]
pub struct Left {
    _directory: tempfile::TempDir,
    path: PathBuf,
    /// Packet id → text, of rows waiting for the mesh.
    pub packets: BTreeMap<u32, String>,
    /// Transaction id → content, of rows waiting for rooms.
    pub events: BTreeMap<String, String>,
}

/// Makes the database of this SQL.
pub fn left(sql: &str) -> Left {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("relay.sqlite");
    let connection = Connection::open(&path).unwrap();
    connection.execute_batch(sql).unwrap();
    let packets = "SELECT packet, text FROM mesh_outbox WHERE state <= 1 AND withdraw = 0";
    let events = "SELECT txn, content FROM room_outbox";
    Left {
        packets: pairs(&connection, packets),
        events: pairs(&connection, events),
        _directory: directory,
        path,
    }
}

fn pairs<K: rusqlite::types::FromSql + Ord>(
    connection: &Connection,
    sql: &str,
) -> BTreeMap<K, String> {
    let mut statement = connection.prepare(sql).unwrap();
    let rows = statement.query_map((), |row| Ok((row.get(0)?, row.get(1)?)));
    rows.unwrap().collect::<Result<_, _>>().unwrap()
}

impl Left {
    /// Opens the database, migrated to the current schema.
    pub fn open(&self) -> Store {
        Store::open(&self.path).unwrap()
    }
}

/// Schema version 12 before any radio was attached, with some rows set aside.
pub fn left_aside() -> Left {
    let rows = include_str!("../../../../tests/fixtures/database/schema-12-aside.sql");
    left(&(MIGRATIONS[..12].concat() + rows))
}

/// Schema version 12, with rows in every state.
pub const SCHEMA_12: &str = include_str!("../../../../tests/fixtures/database/schema-12.sql");
