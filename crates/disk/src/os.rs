//! Owners, modes, identities and disks, as Unix has them.

use std::fs::{self, DirBuilder, File, Metadata, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{
    DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::path::Path;

use rustix::fs::{Access, StatVfsMountFlags, access, statvfs};

use crate::{Disk, Trouble};

/// Minimum free space, in bytes; with less, nothing can be written.
const LEAST_ROOM: u64 = 64 * 1024;

pub(crate) const IO: i32 = rustix::io::Errno::IO.raw_os_error();
/// A firewall refuses network access with another number.
pub(crate) const ACCESS: i32 = rustix::io::Errno::ACCESS.raw_os_error();

/// Identity of a file, whatever its name: device and inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileIdentity(u64, u64);

impl FileIdentity {
    fn of(metadata: &Metadata) -> Self {
        Self(metadata.dev(), metadata.ino())
    }
}

/// Returns the identity of an open file.
pub fn identity_of(file: &File) -> io::Result<FileIdentity> {
    Ok(FileIdentity::of(&file.metadata()?))
}

/// Returns the identity of the file at this path; `None` if there is none.
pub fn identity(path: &Path) -> io::Result<Option<FileIdentity>> {
    match fs::metadata(path) {
        Ok(metadata) => Ok(Some(FileIdentity::of(&metadata))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Returns options that make a file which only its owner may use.
pub fn private_file() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.mode(0o600);
    options
}

/// Gives a file to its owner alone: the umask may have removed the owner's rights as well.
pub fn make_private(file: &File) -> io::Result<()> {
    file.set_permissions(Permissions::from_mode(0o600))
}

/// Takes the rights of others on a file away, if they have any.
pub fn narrow(path: &Path) -> io::Result<()> {
    if fs::metadata(path)?.permissions().mode() & 0o077 != 0 {
        return fs::set_permissions(path, Permissions::from_mode(0o600));
    }
    Ok(())
}

/// Makes a directory that only its owner may enter. Fails if something has its name.
pub fn new_private_directory(path: &Path) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(path)
}

/// Makes a directory that only its owner may enter, with its parents.
pub(crate) fn private_directories(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    // The umask may have removed the owner's rights.
    fs::set_permissions(path, Permissions::from_mode(0o700))
}

/// Makes changes of a directory's entries durable.
pub fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Gives a file or a directory another name, in place of a file that has that name.
pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)
}

/// Fails if this user may not write to a file or a directory.
pub fn is_writable(path: &Path) -> io::Result<()> {
    Ok(access(path, Access::WRITE_OK)?)
}

/// Returns whether this process may do anything here.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

pub(crate) fn disk(path: &Path) -> io::Result<Disk> {
    let disk = statvfs(path)?;
    // Space reserved for root is only available to root.
    let free = if is_root() {
        disk.f_bfree
    } else {
        disk.f_bavail
    };
    let free = free.saturating_mul(disk.f_frsize);
    let trouble = if disk.f_flag.contains(StatVfsMountFlags::RDONLY) {
        Some(Trouble::ReadOnly)
    } else if free < LEAST_ROOM || (disk.f_files > 0 && disk.f_ffree == 0) {
        Some(Trouble::Full)
    } else {
        None
    };
    Ok(Disk { free, trouble })
}
