//! The database's file, looked at and made without SQLite.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use rustix::fs::{Access, access};
use tracing::warn;

/// What stands where the database should be.
pub(super) enum Found {
    Nothing,
    Empty,
    Database { application: u32, version: u32 },
    NoDatabase,
}

/// Which file it is, whatever its name: device and number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity(u64, u64);

/// Returns which file has this name now; `None` if there is none.
pub(super) fn identity(path: &Path) -> io::Result<Option<Identity>> {
    match fs::metadata(path) {
        Ok(metadata) => Ok(Some(Identity(metadata.dev(), metadata.ino()))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Reads the file's header without SQLite, which would already make files beside it.
pub(super) fn look_at(path: &Path) -> io::Result<Found> {
    // The SQLite file format: magic at 0, user version at 60, application id at 68, 100 bytes in all.
    const HEADER: u64 = 100;
    const MAGIC: &[u8] = b"SQLite format 3\0";
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
        Err(error) => return Err(error),
    };
    let mut header = Vec::new();
    file.take(HEADER).read_to_end(&mut header)?;
    if header.is_empty() {
        return Ok(Found::Empty);
    }
    if u64::try_from(header.len()) != Ok(HEADER) || !header.starts_with(MAGIC) {
        return Ok(Found::NoDatabase);
    }
    let number = |at: usize| {
        header
            .iter()
            .skip(at)
            .take(4)
            .fold(0, |number, byte| number << 8 | u32::from(*byte))
    };
    Ok(Found::Database {
        application: number(68),
        version: number(60),
    })
}

/// Looks whether the file can be written, and the directory in which SQLite makes files beside it.
pub(super) fn look_whether_writable(path: &Path) -> io::Result<()> {
    for path in path.parent().into_iter().chain([path]) {
        access(path, Access::WRITE_OK)?;
    }
    Ok(())
}

/// Makes an empty file that only its owner can read; SQLite gives the files beside it the same mode.
pub(super) fn make(path: &Path) -> io::Result<()> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map(drop)
}

/// Makes the file private to its owner; where that fails (a read-only mount, CIFS) one warning says so.
pub(super) fn narrow_mode(path: &Path) {
    let narrowed = fs::metadata(path).and_then(|metadata| {
        if metadata.permissions().mode() & 0o077 != 0 {
            return fs::set_permissions(path, Permissions::from_mode(0o600));
        }
        Ok(())
    });
    if let Err(error) = narrowed {
        warn!(path = %path.display(), %error, "cannot make the database private to its owner");
    }
}
