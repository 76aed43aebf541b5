//! Fixtures, also for other crates: a database in memory, faults, and databases of earlier versions.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::missing_panics_doc,
    reason = "a test that cannot go on says why"
)]

pub mod fault;
mod left;

use rusqlite::Connection;

use super::{Result, Store, Tx};
use crate::outbox::drafts;

pub use left::{Left, SCHEMA_12, THEN, left, left_aside};

/// Returns the number of packets waiting for the mesh, without those in flight.
pub fn waiting_packets(tx: &Tx<'_>) -> Result<u64> {
    let sql = concat!(
        "SELECT COALESCE(",
        drafts::packets!(),
        ", 0) FROM mesh_waiting"
    );
    tx.value(sql, ())
}

impl Store {
    /// Makes an empty database in memory.
    pub fn in_memory() -> Result<Self> {
        Self::prepare(Connection::open_in_memory()?, None)
    }

    /// Returns every row of every table, without random values.
    pub fn dump(&mut self) -> Vec<String> {
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
}
