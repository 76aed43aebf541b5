//! The home's file system, owner and permissions.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD, Mode, RenameFlags, accessat, renameat_with};
use rustix::io::Errno;
use rustix::system::uname;

/// The variable that names a user's own directory.
pub(super) const USER_HOME: &str = "HOME";

/// Has this process make files and directories for its user alone.
pub(super) fn make_new_files_private() {
    rustix::process::umask(Mode::RWXG | Mode::RWXO);
}

/// Returns the file that is locked for a file: itself.
pub(super) fn lockable(path: &Path) -> PathBuf {
    path.to_owned()
}

/// Opens what is locked for a directory: itself.
pub(super) fn open_directory(path: &Path) -> io::Result<File> {
    File::open(path)
}

/// Returns the name of this computer, or of its container.
pub(crate) fn host_name() -> String {
    uname().nodename().to_string_lossy().into_owned()
}

/// Returns the names of the system, of its release and of the processor.
pub(crate) fn system_name() -> String {
    let system = uname();
    let names = [system.sysname(), system.release(), system.machine()];
    names.map(|it| it.to_string_lossy()).join(" ")
}

/// Gives a file another name, and replaces nothing.
pub(crate) fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // Not every file system and kernel knows how; some have no links either.
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => fs::hard_link(from, to),
        renamed => Ok(renamed?),
    }
}

/// Returns the network file system of a path, which need not exist yet; `None`: it is local.
pub(super) fn network_file_system(path: &Path) -> Option<&'static str> {
    let existing = path.ancestors().find(|ancestor| ancestor.exists())?;
    let found = i128::from(rustix::fs::statfs(existing).ok()?.f_type) & 0xFFFF_FFFF;
    network_name(found)
}

/// Network file systems by the kernel's magic number (linux/magic.h): SQLite's locks and memory maps are not reliable
/// on them.
fn network_name(magic: i128) -> Option<&'static str> {
    Some(match magic {
        0x6969 => "NFS",
        0x517B | 0xFE53_4D42 => "SMB",
        0xFF53_4D42 => "CIFS",
        0x0102_1997 => "9p",
        0x6573_5546 => "FUSE",
        0x00C3_6400 => "Ceph",
        0x5346_414F => "AFS",
        0x7375_7245 => "Coda",
        _ => return None,
    })
}

/// Removes other users' rights; returns a sentence on failure. Skips symbolic links and missing files.
pub(super) fn narrow(paths: &[PathBuf]) -> Option<String> {
    let mut failed = paths.iter().filter_map(|path| {
        let mode = wide_mode(path)?;
        let narrowed = fs::set_permissions(path, Permissions::from_mode(mode & 0o700));
        Some((path.display(), narrowed.err()?))
    });
    let (path, error) = failed.next()?;
    let others = match failed.count() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    Some(format!(
        "others on this machine may read `{path}`{others}, and that cannot be changed: {error}"
    ))
}

/// Returns a sentence on the first of these that others may use.
pub(super) fn wide(paths: &[PathBuf]) -> Option<String> {
    let path = paths.iter().find(|path| wide_mode(path).is_some())?;
    let path = path.display();
    Some(format!(
        "others on this machine may read `{path}`; the next start of the relay takes that away"
    ))
}

/// Returns the first of these that lets others in: a file that they may read, or a directory in which they may replace files.
pub(super) fn exposed(paths: &[PathBuf]) -> Option<&PathBuf> {
    let is_exposed = |path: &&PathBuf| {
        let refused = if path.is_dir() { 0o022 } else { 0o077 };
        wide_mode(path).is_some_and(|mode| mode & refused != 0)
    };
    paths.iter().find(is_exposed)
}

/// Returns the mode of a file that others may use; `None` for symbolic links and missing files.
fn wide_mode(path: &Path) -> Option<u32> {
    let metadata = fs::symlink_metadata(path).ok()?;
    let mode = metadata.permissions().mode();
    (!metadata.is_symlink() && mode & 0o077 != 0).then_some(mode)
}

/// Returns the owner of a home, if that is another user than this one, and this one.
pub(super) fn other_owner(home: &Path) -> Option<(u32, u32)> {
    let owner = fs::metadata(home).ok()?.uid();
    let us = rustix::process::geteuid().as_raw();
    (owner != us).then_some((owner, us))
}

/// Returns the first of these that belongs to another user and that this one may not use, with that user and this one.
pub(super) fn barred(paths: &[PathBuf]) -> Option<(&PathBuf, u32, u32)> {
    let us = rustix::process::geteuid().as_raw();
    paths.iter().find_map(|path| {
        let metadata = fs::symlink_metadata(path).ok()?;
        let needed = if metadata.is_dir() {
            Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK
        } else {
            Access::READ_OK | Access::WRITE_OK
        };
        let is_closed = || accessat(CWD, path, needed, AtFlags::EACCESS) == Err(Errno::ACCESS);
        let owner = metadata.uid();
        (owner != us && is_closed()).then_some((path, owner, us))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn network_file_systems_are_known_by_their_numbers() {
        assert_eq!(network_name(0x6969), Some("NFS"));
        // ext4, tmpfs, overlayfs, btrfs
        for local in [0xEF53, 0x0102_1994, 0x794C_7630, 0x9123_683E] {
            assert_eq!(network_name(local), None);
        }
    }
}
