//! Looks for damage in the database, beside a daemon that uses it or without one. Writes nothing to it.

use std::path::Path;

use rusqlite::{Connection, OpenFlags, ffi};

use crate::file::{self, FileKind};
use crate::{APPLICATION_ID, BUSY_LIMIT, Result, StoreError, newest_version, open_error, version};

/// A database without damage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SoundDatabase {
    /// Size of the file with its log, in bytes.
    pub bytes: u64,
    /// Version of its schema; the next start migrates an older one.
    pub schema: i64,
}

/// Reads the whole file (SQLite's `quick_check`); on a large file and a slow disk that can take minutes. `None`: there is no
/// database yet. Fails as opening it would, or if it is damaged.
pub fn examine(path: &Path) -> Result<Option<SoundDatabase>> {
    examine_file(path).map_err(|error| error.at(path))
}

fn examine_file(path: &Path) -> Result<Option<SoundDatabase>> {
    let open_error = |cause| open_error(path, cause);
    match file::look_at(path).map_err(open_error)? {
        FileKind::Nothing | FileKind::Empty => return Ok(None),
        FileKind::NoDatabase => return Err(StoreError::NotDatabase(path.to_owned())),
        FileKind::Database { application, .. } if application != APPLICATION_ID => {
            return Err(StoreError::Foreign(path.to_owned(), application));
        }
        FileKind::Database { .. } => {}
    }
    file::look_whether_writable(path).map_err(open_error)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_LIMIT)?;
    let schema = version(&connection)?;
    if schema > newest_version() {
        return Err(StoreError::Newer(path.to_owned(), schema, newest_version()));
    }
    let found: String = connection.query_row("PRAGMA quick_check(1)", (), |row| row.get(0))?;
    if found != "ok" {
        let corrupt = ffi::Error::new(ffi::SQLITE_CORRUPT);
        return Err(rusqlite::Error::SqliteFailure(corrupt, Some(found)).into());
    }
    let size = |suffix: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        std::fs::metadata(name).map_or(0, |it| it.len())
    };
    Ok(Some(SoundDatabase {
        bytes: size("") + size("-wal"),
        schema,
    }))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt as _;

    use super::*;
    use crate::Store;

    #[test]
    fn a_sound_database_is_told_with_its_size_also_while_it_is_in_use() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("relay.sqlite");
        assert_eq!(examine(&path).unwrap(), None);
        let store = Store::open(&path).unwrap();
        let found = examine(&path).unwrap().unwrap();
        assert!(found.bytes > 4096, "{found:?}");
        assert_eq!(found.schema, newest_version());
        drop(store);
        assert!(examine(&path).unwrap().is_some());
    }

    #[test]
    fn damage_in_the_middle_of_the_file_is_found() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("relay.sqlite");
        drop(Store::open(&path).unwrap());
        let file = std::fs::File::options().write(true).open(&path).unwrap();
        let length = file.metadata().unwrap().len();
        for page in 1..length / 4096 {
            file.write_all_at(&[0x5A; 64], page * 4096).unwrap();
        }
        let error = examine(&path).unwrap_err();
        assert!(matches!(error, StoreError::Damaged(Some(_), _)), "{error}");
    }

    #[test]
    fn what_is_no_database_of_the_relay_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("other.sqlite");
        let other = Connection::open(&path).unwrap();
        other.execute_batch("CREATE TABLE it (x)").unwrap();
        drop(other);
        assert!(matches!(examine(&path), Err(StoreError::Foreign(..))));
        std::fs::write(&path, "no database").unwrap();
        assert!(matches!(examine(&path), Err(StoreError::NotDatabase(_))));
    }
}
