//! The same on Windows. A file has no mode there: who may use it follows from its directory, and a user's own profile is closed
//! to other users.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::iter;
use std::os::windows::fs::OpenOptionsExt as _;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use winapi_util::file::information;

use crate::Disk;

/// `ERROR_IO_DEVICE`. Source: winerror.h.
pub(crate) const IO: i32 = 1117;
/// `ERROR_ACCESS_DENIED`.
pub(crate) const ACCESS: i32 = 5;

/// Identity of a file, whatever its name: volume and index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileIdentity(u64, u64);

/// Returns the identity of an open file.
pub fn identity_of(file: &File) -> io::Result<FileIdentity> {
    let it = information(file)?;
    Ok(FileIdentity(it.volume_serial_number(), it.file_index()))
}

/// Returns the identity of the file at this path; `None` if there is none.
pub fn identity(path: &Path) -> io::Result<Option<FileIdentity>> {
    match File::open(path) {
        Ok(file) => identity_of(&file).map(Some),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Returns options to make a file with.
pub fn private_file() -> OpenOptions {
    OpenOptions::new()
}

/// Does nothing.
#[expect(clippy::unnecessary_wraps, reason = "as on other systems")]
pub fn make_private(_: &File) -> io::Result<()> {
    Ok(())
}

/// Does nothing.
#[expect(clippy::unnecessary_wraps, reason = "as on other systems")]
pub fn narrow(_: &Path) -> io::Result<()> {
    Ok(())
}

/// Makes a directory. Fails if something has its name.
pub fn new_private_directory(path: &Path) -> io::Result<()> {
    fs::create_dir(path)
}

/// Makes a directory, with its parents.
pub(crate) fn private_directories(path: &Path) -> io::Result<()> {
    fs::create_dir_all(path)
}

/// Has the entries of a directory on the disk. A file system that cannot do that has to make do with its journal.
pub fn sync_directory(path: &Path) -> io::Result<()> {
    /// `FILE_FLAG_BACKUP_SEMANTICS`: without it a directory cannot be opened. Source: `CreateFileW`.
    const BACKUP_SEMANTICS: u32 = 0x0200_0000;
    /// `ERROR_INVALID_FUNCTION`, `ERROR_INVALID_HANDLE`, `ERROR_NOT_SUPPORTED`, and no right to write.
    const CANNOT: [i32; 4] = [1, 6, 50, ACCESS];
    let mut options = OpenOptions::new();
    let directory = options
        .write(true)
        .custom_flags(BACKUP_SEMANTICS)
        .open(path);
    match directory.and_then(|it| it.sync_all()) {
        Err(error) if error.raw_os_error().is_some_and(|it| CANNOT.contains(&it)) => Ok(()),
        done => done,
    }
}

/// Gives a file or a directory another name, in place of what has that name. Where something looks into it, such as a virus
/// scanner, it is tried again for a second.
pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    /// `ERROR_SHARING_VIOLATION`, `ERROR_LOCK_VIOLATION`, and what a file that is being deleted gives.
    const HELD: [i32; 3] = [32, 33, ACCESS];
    let is_held = |it: &io::Error| it.raw_os_error().is_some_and(|it| HELD.contains(&it));
    for pause in iter::repeat_n(Duration::from_millis(50), 20) {
        match fs::rename(from, to) {
            Err(error) if is_held(&error) => sleep(pause),
            done => return done,
        }
    }
    fs::rename(from, to)
}

/// Fails if a file is marked as read-only. What rights lack is told by the first write.
pub fn is_writable(path: &Path) -> io::Result<()> {
    let metadata = fs::metadata(path)?;
    // On a directory the mark means something else.
    if metadata.is_file() && metadata.permissions().readonly() {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    Ok(())
}

/// Returns `false`: rights are looked up by the system alone.
pub fn is_root() -> bool {
    false
}

/// Fails: the system does not tell it to programs without `unsafe`.
pub(crate) fn disk(_: &Path) -> io::Result<Disk> {
    let sentence = "how much room is left is not known on Windows";
    Err(io::Error::new(io::ErrorKind::Unsupported, sentence))
}
