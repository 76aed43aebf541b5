//! Checks and creation of the database file without SQLite.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use tracing::warn;

use relay_disk::{is_writable, narrow, private_file};

/// What is at the database's path.
pub(super) enum FileKind {
    Nothing,
    Empty,
    Database { application: u32, version: u32 },
    NoDatabase,
}

/// Reads the file's header without SQLite, which would create files beside it.
pub(super) fn look_at(path: &Path) -> io::Result<FileKind> {
    // The SQLite file format: magic at 0, user version at 60, application id at 68, 100 bytes in all.
    const HEADER: u64 = 100;
    const MAGIC: &[u8] = b"SQLite format 3\0";
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(FileKind::Nothing),
        Err(error) => return Err(error),
    };
    let mut header = Vec::new();
    file.take(HEADER).read_to_end(&mut header)?;
    if header.is_empty() {
        return Ok(FileKind::Empty);
    }
    if u64::try_from(header.len()) != Ok(HEADER) || !header.starts_with(MAGIC) {
        return Ok(FileKind::NoDatabase);
    }
    let number = |at: usize| {
        header
            .iter()
            .skip(at)
            .take(4)
            .fold(0, |number, byte| number << 8 | u32::from(*byte))
    };
    Ok(FileKind::Database {
        application: number(68),
        version: number(60),
    })
}

/// Checks write access to the file, and to its directory, where SQLite creates files.
pub(super) fn look_whether_writable(path: &Path) -> io::Result<()> {
    for path in path.parent().into_iter().chain([path]) {
        is_writable(path)?;
    }
    Ok(())
}

/// Creates an empty file with mode 0600; SQLite gives the files beside it the same mode.
pub(super) fn make(path: &Path) -> io::Result<()> {
    let made = private_file().write(true).create_new(true).open(path);
    made.map(drop)
}

/// Restricts the file to its owner; a failure (read-only mount, CIFS) is only a warning.
pub(super) fn narrow_mode(path: &Path) {
    if let Err(error) = narrow(path) {
        warn!(path = %path.display(), %error, "cannot make the database private to its owner");
    }
}
