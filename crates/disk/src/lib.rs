//! Classifies disk errors of any library, with a message and a hint; and private files and sockets.

#[cfg_attr(windows, path = "os_windows.rs")]
mod os;
mod private;
#[cfg_attr(windows, path = "socket_windows.rs")]
mod socket;
mod unpack;

use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;

use relay_model::{Explained, causes};

pub use os::{
    FileIdentity, identity, identity_of, is_root, is_writable, make_private, narrow,
    new_private_directory, private_file, rename, sync_directory,
};
pub use private::{create_private_directory, write_private};
pub use socket::{Connected, Listener, SocketName, connect};
pub use unpack::{UnpackError, unpack};

/// A problem with a disk, or with a file on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// No space is left, or none for this user (quota).
    #[error("the disk is full")]
    Full,
    /// The file system or the file is read-only.
    #[error("the disk cannot be written")]
    ReadOnly,
    /// The user that the relay runs as lacks a permission.
    #[error("the user that the relay runs as may not do that")]
    Denied,
    /// Reading or writing failed, or a limit of the system is exceeded.
    #[error("the disk fails")]
    Failed,
    /// A directory stands where a file is expected.
    #[error("a directory stands in the file's place")]
    Directory,
}

impl Trouble {
    /// Returns the trouble that an error or one of its causes reports, if it is about the disk.
    pub fn of(error: &(dyn Error + 'static)) -> Option<Self> {
        causes(error).find_map(|error| {
            let of_sqlite = || error.downcast_ref().copied().and_then(of_sqlite);
            error.downcast_ref().and_then(of_io).or_else(of_sqlite)
        })
    }

    /// Returns the trouble after checking the disk itself: SQLite and some file systems report a full disk as an I/O
    /// error.
    #[must_use]
    pub fn at(self, path: &Path) -> Self {
        match self {
            Self::Full | Self::ReadOnly | Self::Denied | Self::Directory => self,
            Self::Failed => Disk::of(path)
                .ok()
                .and_then(|it| it.trouble)
                .unwrap_or(self),
        }
    }
}

impl Explained for Trouble {
    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Full => "make room on the disk",
            Self::ReadOnly => {
                "check the owner and mode of the file, and that its disk is not mounted read-only"
            }
            Self::Denied => {
                "check the owner and mode of the file and of the directories above it, and which user the relay runs as"
            }
            Self::Failed => {
                "check the disk, quotas and limits on its use (`ulimit -f`), and the system's log for its errors"
            }
            Self::Directory => {
                "move the directory away that stands in the file's place; a container makes one of a file to be mounted that is not there"
            }
        };
        Some(hint.to_owned())
    }
}

/// Returns the hint for the disk trouble that an error or one of its causes reports.
pub fn cure(error: &(dyn Error + 'static)) -> Option<String> {
    Trouble::of(error)?.hint()
}

fn of_io(error: &io::Error) -> Option<Trouble> {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            Some(Trouble::Full)
        }
        io::ErrorKind::ReadOnlyFilesystem => Some(Trouble::ReadOnly),
        io::ErrorKind::IsADirectory => Some(Trouble::Directory),
        _ => match error.raw_os_error() {
            Some(os::IO) => Some(Trouble::Failed),
            Some(os::ACCESS) => Some(Trouble::Denied),
            Some(_) | None => None,
        },
    }
}

/// The root cause of all SQLite errors, the SDK's included.
fn of_sqlite(error: rusqlite::ffi::Error) -> Option<Trouble> {
    match error.code {
        ErrorCode::DiskFull => Some(Trouble::Full),
        ErrorCode::ReadOnly | ErrorCode::PermissionDenied => Some(Trouble::ReadOnly),
        ErrorCode::SystemIoFailure | ErrorCode::CannotOpen => Some(Trouble::Failed),
        _ => None,
    }
}

/// What is visible of a disk without writing to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Disk {
    /// Free space in bytes, as far as this user may use it.
    pub free: u64,
    /// Why it cannot be written; `None` if nothing speaks against it.
    pub trouble: Option<Trouble>,
}

impl Disk {
    /// Looks at the disk of `path`, which need not exist yet. Fails if the system does not tell.
    pub fn of(path: &Path) -> io::Result<Self> {
        let existing = path.ancestors().find(|ancestor| ancestor.exists());
        os::disk(existing.unwrap_or(path))
    }
}

/// Returns the files of an SQLite database: itself, and what may belong to it after a crash.
pub fn database_files(database: &Path) -> [PathBuf; 3] {
    ["", "-wal", "-shm"].map(|suffix| {
        let mut name = database.as_os_str().to_owned();
        name.push(suffix);
        name.into()
    })
}

#[cfg(test)]
mod tests {
    use rusqlite::ffi;

    use super::*;

    /// An error with a cause, as libraries wrap it.
    #[derive(Debug, thiserror::Error)]
    #[error("the store failed")]
    struct Wrapped(#[source] Box<dyn Error + Send + Sync>);

    fn of(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Option<Trouble> {
        Trouble::of(&Wrapped(Box::new(Wrapped(cause.into()))))
    }

    #[test]
    fn the_trouble_is_found_under_whatever_wraps_it() {
        let sqlite = |code| of(rusqlite::Error::SqliteFailure(ffi::Error::new(code), None));
        let system = |code| of(io::Error::from_raw_os_error(code));
        for full in [
            sqlite(ffi::SQLITE_FULL),
            system(28),
            system(122),
            system(27),
        ] {
            assert_eq!(full, Some(Trouble::Full));
        }
        for read_only in [sqlite(ffi::SQLITE_READONLY), system(30)] {
            assert_eq!(read_only, Some(Trouble::ReadOnly));
        }
        for failed in [
            sqlite(ffi::SQLITE_IOERR_FSYNC),
            sqlite(ffi::SQLITE_CANTOPEN),
            system(5),
        ] {
            assert_eq!(failed, Some(Trouble::Failed));
        }
        assert_eq!(system(21), Some(Trouble::Directory));
        assert_eq!(system(13), Some(Trouble::Denied));
        for other in [sqlite(ffi::SQLITE_CORRUPT), system(111), of("refused")] {
            assert_eq!(other, None);
        }
    }

    #[test]
    fn a_disk_with_room_that_fails_is_not_said_to_be_full() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("not/made/yet");
        assert_eq!(Trouble::Failed.at(&path), Trouble::Failed);
        assert_eq!(Trouble::Full.at(&path), Trouble::Full);
    }
}
