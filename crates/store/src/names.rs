//! The names and ids of people's things in a database, for what must not show them: read from a file that the daemon may have
//! open, without changing it.

use std::path::Path;

use rusqlite::{Connection, OpenFlags};

use super::{BUSY_LIMIT, Result};
use relay_model::NodeNum;

/// The names in a database.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// Nodes, each with its long and its short name.
    pub nodes: Vec<(NodeNum, Vec<String>)>,
    /// Ids and aliases of rooms.
    pub rooms: Vec<String>,
    /// Users who have written.
    pub users: Vec<String>,
    /// Texts of the newest messages.
    pub texts: Vec<String>,
}

/// Returns the version of SQLite.
pub fn sqlite_version() -> &'static str {
    rusqlite::version()
}

/// Reads the names in the database at a path. Rows that cannot be read are left out.
pub fn names(path: &Path) -> Result<Names> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_LIMIT)?;
    let texts = |query: &str| -> Result<Vec<String>> {
        let mut statement = connection.prepare(query)?;
        let rows = statement.query_map([], |row| row.get(0))?;
        Ok(rows.filter_map(std::result::Result::ok).collect())
    };
    let mut statement = connection.prepare("SELECT num, long_name, short_name FROM node")?;
    let nodes = statement.query_map([], |row| {
        let names: [Option<String>; 2] = [row.get(1)?, row.get(2)?];
        let names = names.into_iter().flatten();
        Ok((row.get(0)?, names.filter(|it| !it.is_empty()).collect()))
    })?;
    Ok(Names {
        nodes: nodes.filter_map(std::result::Result::ok).collect(),
        rooms: texts(
            "SELECT room FROM mapped_room UNION SELECT alias FROM mapped_room WHERE alias IS NOT NULL
             UNION SELECT name FROM known_room UNION SELECT room FROM known_room",
        )?,
        users: texts("SELECT DISTINCT sender FROM mesh_outbox WHERE sender IS NOT NULL")?,
        texts: texts("SELECT text FROM message_pair WHERE text IS NOT NULL ORDER BY id DESC LIMIT 1000")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Store, nodes};
    use relay_model::{Node, Timestamp};

    #[test]
    fn names_are_read_beside_who_has_the_database_open() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("relay.sqlite");
        assert!(names(&path).is_err());
        let mut store = Store::open(&path).unwrap();
        let node = Node {
            long_name: Some("Base Camp".to_owned()),
            ..Node::unknown(NodeNum(5))
        };
        let now = Timestamp::now();
        store
            .transaction(|tx| nodes::update(tx, NodeNum(1), std::slice::from_ref(&node), now))
            .unwrap();
        let names = names(&path).unwrap();
        assert_eq!(names.nodes, [(NodeNum(5), vec!["Base Camp".to_owned()])]);
        assert_eq!(names.rooms, [""; 0]);
    }
}
