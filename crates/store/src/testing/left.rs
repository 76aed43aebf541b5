//! What an earlier relay has left.

use std::collections::BTreeMap;
use std::path::PathBuf;

use relay_model::Timestamp;
use rusqlite::Connection;

use crate::{MIGRATIONS, Store};

/// A minute after that relay ended.
pub const THEN: Timestamp = Timestamp(1_767_225_600_000 + 92_000);

/// What was left at that version of the schema, and what the tables held then.
#[derive(Debug)]
pub struct Left {
    _directory: tempfile::TempDir,
    path: PathBuf,
    /// Packet id → text, of what waits for the mesh and is wanted.
    pub packets: BTreeMap<u32, String>,
    /// Transaction → content, of what waits for rooms.
    pub events: BTreeMap<String, String>,
}

/// Returns the database that this SQL makes.
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
    /// Opens the database with the schema of today.
    pub fn open(&self) -> Store {
        Store::open(&self.path).unwrap()
    }
}

/// What was left with version 12 of the schema before any radio was attached, some of it set aside.
pub fn left_aside() -> Left {
    let rows = include_str!("../../../../tests/fixtures/database/schema-12-aside.sql");
    left(&(MIGRATIONS[..12].concat() + rows))
}

/// What was left with version 12 of the schema, with rows in every state.
pub const SCHEMA_12: &str = include_str!("../../../../tests/fixtures/database/schema-12.sql");
