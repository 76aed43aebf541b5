//! Looks for damage in the database, and copies it, beside a daemon that uses it or without one. Writes nothing to it.

use std::fs::File;
use std::io;
use std::path::Path;

use rusqlite::{Connection, OpenFlags, ffi};

use crate::file::{self, FileKind};
use relay_disk::private_file;

use crate::{
    APPLICATION_ID, BUSY_LIMIT, Result, StoreError, Tx, newest_version, open_error, tx, version,
};

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
    let (connection, schema) = open(path)?;
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

/// Writes what the database holds at this moment into a new file that only its owner may read. Returns whether there is a
/// database. Fails as opening it would, or if the copy cannot be written.
pub fn copy(path: &Path, to: &Path) -> Result<bool> {
    if examine(path)?.is_none() {
        return Ok(false);
    }
    let name = to.to_str().ok_or(io::ErrorKind::InvalidFilename);
    let made = name.map_err(io::Error::from).and_then(|name| {
        private_file().write(true).create_new(true).open(to)?;
        Ok(name)
    });
    let name = made.map_err(|cause| open_error(to, cause))?;
    let copied =
        open(path).and_then(|(connection, _)| Ok(connection.execute("VACUUM INTO ?1", [name])?));
    copied.map_err(|error| error.at(to))?;
    // Windows flushes only what is open for writing.
    let copy = File::options().write(true).open(to);
    let synced = copy.and_then(|file| file.sync_all());
    synced.map_err(|cause| open_error(to, cause))?;
    Ok(true)
}

/// Reads from the database at a path, beside a daemon that uses it or without one. `None`: there is no database yet, or its
/// schema is that of an earlier version, which the next start of the relay migrates.
pub fn read_only<T>(path: &Path, work: impl FnOnce(&Tx<'_>) -> Result<T>) -> Result<Option<T>> {
    let read = || {
        let found = file::look_at(path).map_err(|cause| open_error(path, cause))?;
        if matches!(found, FileKind::Nothing | FileKind::Empty) {
            return Ok(None);
        }
        let (mut connection, schema) = open(path)?;
        if schema < newest_version() {
            return Ok(None);
        }
        let transaction = connection.transaction()?;
        let tx = Tx::on(&transaction);
        let found = work(&tx)?;
        tx::write(tx.lines);
        Ok(Some(found))
    };
    read().map_err(|error: StoreError| error.at(path))
}

/// Opens it to be read; returns the version of its schema.
fn open(path: &Path) -> Result<(Connection, i64)> {
    file::look_whether_writable(path).map_err(|cause| open_error(path, cause))?;
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_LIMIT)?;
    let schema = version(&connection)?;
    if schema > newest_version() {
        return Err(StoreError::Newer(path.to_owned(), schema, newest_version()));
    }
    Ok((connection, schema))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt as _;

    use super::*;
    use crate::Store;

    #[test]
    fn a_copy_holds_what_was_committed_also_while_the_database_is_in_use() {
        let directory = tempfile::tempdir().unwrap();
        let [path, to] = ["relay.sqlite", "copy.sqlite"].map(|it| directory.path().join(it));
        assert!(!copy(&path, &to).unwrap() && !to.exists());
        let mut store = Store::open(&path).unwrap();
        let name = |name: &'static str| {
            move |tx: &crate::Tx<'_>| crate::single_values::set_meshnet(tx, name)
        };
        store.transaction(name("Club")).unwrap();
        assert!(copy(&path, &to).unwrap());
        store.transaction(name("later")).unwrap();
        let mut copied = Store::open(&to).unwrap();
        let found = copied.read(crate::single_values::meshnet).unwrap();
        assert_eq!(found.as_deref(), Some("Club"));
        assert!(copy(&path, &to).is_err(), "it is never overwritten");
    }

    #[test]
    fn a_database_is_read_beside_its_user_once_it_is_there_and_of_this_version() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("relay.sqlite");
        let read = || read_only(&path, crate::single_values::meshnet);
        assert_eq!(read().unwrap(), None);
        let mut store = Store::open(&path).unwrap();
        let name = |tx: &crate::Tx<'_>| crate::single_values::set_meshnet(tx, "Club");
        store.transaction(name).unwrap();
        assert_eq!(read().unwrap(), Some(Some("Club".to_owned())));
        let writes = read_only(&path, name);
        assert!(writes.is_err(), "it is not changed");
        store.damage("PRAGMA user_version = 20");
        assert_eq!(read().unwrap(), None);
    }

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
