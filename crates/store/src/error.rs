//! Errors of the database, with their hints.

use std::io;
use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;

use relay_disk::{Trouble, cure};
use relay_model::{Explained, MeshRowId};

/// Result of a database call.
pub type Result<T, E = StoreError> = std::result::Result<T, E>;

/// Why a database call failed. Its transaction has been rolled back.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file cannot be opened, created or read.
    #[error("cannot open the database `{0}`")]
    Open(PathBuf, #[source] io::Error),
    /// The file was removed while in use; further writes would be lost.
    #[error("the database `{0}` is gone")]
    Gone(PathBuf),
    /// The file belongs to another program. It was not changed.
    #[error("`{0}` is not a database of the relay (application id {1:#010x})")]
    Foreign(PathBuf, u32),
    /// The file is not an SQLite database. It was not changed.
    #[error("`{0}` is not an SQLite database")]
    NotDatabase(PathBuf),
    /// The file was written by a later version of the relay.
    #[error("the database `{0}` has schema version {1}; this relay knows versions up to {2}")]
    Newer(PathBuf, i64, i64),
    /// The disk, or this user's share of it, is full; with the file and SQLite's error.
    #[error("the disk that holds the database is full{}", place(.0.as_deref()))]
    Full(Option<PathBuf>, #[source] rusqlite::Error),
    /// SQLite finds the file damaged; with the file and SQLite's error.
    #[error("the database is damaged{}", place(.0.as_deref()))]
    Damaged(Option<PathBuf>, #[source] rusqlite::Error),
    /// Another program has locked the database for longer than the busy timeout.
    #[error("the database is locked by another program")]
    Busy(#[source] rusqlite::Error),
    /// The file, its directory or its disk does not permit writing; with the file and SQLite's error.
    #[error("the database cannot be written{}", place(.0.as_deref()))]
    ReadOnly(Option<PathBuf>, #[source] rusqlite::Error),
    /// The disk failed to read or write; with the file and SQLite's error.
    #[error("the disk failed while the database was used{}", place(.0.as_deref()))]
    Disk(Option<PathBuf>, #[source] rusqlite::Error),
    /// A row holds what this version cannot read; with the cause.
    #[error("a row of the database cannot be read")]
    Unreadable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A message was to be changed that the radio may know: a bug.
    #[error("message {0} cannot be changed: the radio may know of it")]
    Known(MeshRowId),
    /// The system refused to start the database's thread.
    #[error("cannot start the database's thread")]
    Thread(#[source] io::Error),
    /// The database's thread has ended, after a stop or a panic; nothing can be stored.
    #[error("the database is closed")]
    Closed,
    /// SQLite rejected a statement: a bug.
    #[error("the database refused a statement")]
    Statement(#[source] rusqlite::Error),
}

fn place(path: Option<&Path>) -> String {
    path.map_or_else(String::new, |path| format!(" (`{}`)", path.display()))
}

impl StoreError {
    /// Adds the path, after checking the file's disk.
    #[must_use]
    pub(super) fn at(self, path: &Path) -> Self {
        let place = Some(path.to_owned());
        match self {
            Self::Full(_, cause) => Self::Full(place, cause),
            Self::Damaged(_, cause) => Self::Damaged(place, cause),
            Self::ReadOnly(_, cause) => Self::ReadOnly(place, cause),
            Self::Disk(_, cause) => match Trouble::Failed.at(path) {
                Trouble::Full => Self::Full(place, cause),
                Trouble::ReadOnly => Self::ReadOnly(place, cause),
                Trouble::Failed | Trouble::Denied | Trouble::Directory => Self::Disk(place, cause),
            },
            other => other,
        }
    }

    /// Returns whether the cause can pass without a repair of the database: a full disk, a lock.
    pub fn passes(&self) -> bool {
        matches!(self, Self::Full(..) | Self::Busy(_) | Self::Disk(..))
    }

    /// Returns whether the database is sound and a retry fails again: an unreadable row, or a bug.
    pub fn is_of_content(&self) -> bool {
        matches!(
            self,
            Self::Unreadable(_) | Self::Known(_) | Self::Statement(_)
        )
    }

    /// Separates the error of one unreadable row from errors that concern more than this row.
    pub(super) fn of_row<T>(read: rusqlite::Result<T>) -> Result<Result<T>> {
        match read.map_err(Self::from) {
            Err(error) if !error.is_of_content() => Err(error),
            row => Ok(row),
        }
    }

    /// Returns whether the file may have to be reopened.
    pub(super) fn concerns_file(&self) -> bool {
        matches!(
            self,
            Self::Damaged(..) | Self::ReadOnly(..) | Self::Disk(..)
        )
    }
}

impl Explained for StoreError {
    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Open(_, cause) if Trouble::of(cause).is_some() => return cure(cause),
            Self::Open(..) => {
                "check that the directory exists, belongs to the relay's user, and is not mounted read-only"
            }
            Self::Gone(_) => {
                "put it back, or mount its disk again: the relay goes on then; for a new one start the relay again"
            }
            Self::Foreign(..) | Self::NotDatabase(_) => {
                "name another file in `database.path`; this one is left as it is"
            }
            Self::Newer(..) => "install the newer relay again; its database is left as it is",
            Self::Full(..) => "make room on the disk; the relay tries again by itself",
            Self::Damaged(..) => {
                "stop the relay, keep a copy of the database file with its `-wal` file, and move both away: \
                 a new one is made at the next start"
            }
            Self::Busy(_) => "close the other program that has the database open",
            Self::ReadOnly(..) => return Trouble::ReadOnly.hint(),
            Self::Disk(..) => return Trouble::Failed.hint(),
            Self::Unreadable(_)
            | Self::Known(_)
            | Self::Thread(_)
            | Self::Closed
            | Self::Statement(_) => return None,
        };
        Some(hint.to_owned())
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        match error {
            rusqlite::Error::FromSqlConversionFailure(_, _, cause) => Self::Unreadable(cause),
            rusqlite::Error::IntegralValueOutOfRange(..)
            | rusqlite::Error::InvalidColumnType(..)
            | rusqlite::Error::Utf8Error(_) => Self::Unreadable(Box::new(error)),
            other => match other.sqlite_error_code() {
                Some(ErrorCode::DiskFull) => Self::Full(None, other),
                Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                    Self::Damaged(None, other)
                }
                Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Busy(other),
                Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => {
                    Self::ReadOnly(None, other)
                }
                Some(
                    ErrorCode::SystemIoFailure
                    | ErrorCode::CannotOpen
                    | ErrorCode::OutOfMemory
                    | ErrorCode::FileLockingProtocolFailed,
                ) => Self::Disk(None, other),
                Some(_) | None => Self::Statement(other),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sqlite(code: i32) -> StoreError {
        rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(code), None).into()
    }

    #[test]
    fn each_fault_of_the_host_has_its_own_error_with_a_cure() {
        assert!(matches!(
            sqlite(rusqlite::ffi::SQLITE_FULL),
            StoreError::Full(..)
        ));
        assert!(matches!(
            sqlite(rusqlite::ffi::SQLITE_CORRUPT),
            StoreError::Damaged(..)
        ));
        assert!(matches!(
            sqlite(rusqlite::ffi::SQLITE_BUSY),
            StoreError::Busy(_)
        ));
        assert!(matches!(
            sqlite(rusqlite::ffi::SQLITE_READONLY),
            StoreError::ReadOnly(..)
        ));
        assert!(matches!(
            sqlite(rusqlite::ffi::SQLITE_IOERR_FSYNC),
            StoreError::Disk(..)
        ));
        for code in [
            rusqlite::ffi::SQLITE_FULL,
            rusqlite::ffi::SQLITE_CORRUPT,
            rusqlite::ffi::SQLITE_BUSY,
            rusqlite::ffi::SQLITE_READONLY,
            rusqlite::ffi::SQLITE_IOERR_FSYNC,
        ] {
            assert!(sqlite(code).hint().is_some());
        }
    }

    #[test]
    fn a_full_disk_is_tried_again_and_a_damaged_file_is_not() {
        assert!(sqlite(rusqlite::ffi::SQLITE_FULL).passes());
        assert!(!sqlite(rusqlite::ffi::SQLITE_CORRUPT).passes());
    }
}
