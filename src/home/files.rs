//! Private directories and files: nobody but their owner reads them, and a file is replaced as a whole or not at all.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{
    DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::path::{Path, PathBuf};

/// Network file systems by the magic number that the kernel tells (linux/magic.h): locks and memory maps of SQLite
/// cannot be trusted on them.
const NETWORK_FILE_SYSTEMS: &[(i128, &str)] = &[
    (0x6969, "NFS"),
    (0x517B, "SMB"),
    (0xFF53_4D42, "CIFS"),
    (0xFE53_4D42, "SMB"),
    (0x0102_1997, "9p"),
    (0x6573_5546, "FUSE"),
    (0x00C3_6400, "Ceph"),
    (0x5346_414F, "AFS"),
    (0x7375_7245, "Coda"),
];

/// Returns the network file system on which a path lies, or would lie once created.
pub(super) fn network_file_system(path: &Path) -> Option<&'static str> {
    let existing = path.ancestors().find(|ancestor| ancestor.exists())?;
    let found = i128::from(rustix::fs::statfs(existing).ok()?.f_type) & 0xFFFF_FFFF;
    network_name(found)
}

fn network_name(magic: i128) -> Option<&'static str> {
    let known = NETWORK_FILE_SYSTEMS.iter().find(|(it, _)| *it == magic);
    known.map(|(_, name)| *name)
}

/// Creates a directory that only its owner may enter, with those above it; one that is there stays as it is.
pub(crate) fn create_private_directory(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    // The umask may have taken rights from the owner.
    fs::set_permissions(path, Permissions::from_mode(0o700))
}

/// Takes away the rights of others, and returns one sentence if that cannot be done. What is a link, or is not there,
/// stays as it is.
pub(super) fn narrow(paths: &[PathBuf]) -> Option<String> {
    let mut failed: Vec<(&Path, io::Error)> = Vec::new();
    for path in paths {
        let Ok(metadata) = fs::symlink_metadata(path) else {
            continue;
        };
        let mode = metadata.permissions().mode();
        let for_others = mode & 0o077;
        if metadata.is_symlink() || for_others == 0 {
            continue;
        }
        if let Err(error) = fs::set_permissions(path, Permissions::from_mode(mode & 0o700)) {
            failed.push((path, error));
        }
    }
    let (path, error) = failed.first()?;
    let others = match failed.len() - 1 {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    Some(format!(
        "others on this machine may read `{}`{others}, and that cannot be changed: {error}",
        path.display()
    ))
}

/// Returns what to say of a home that belongs to somebody else: what we write there, its owner cannot read.
pub(super) fn owner_warning(home: &Path) -> Option<String> {
    let owner = fs::metadata(home).ok()?.uid();
    let us = rustix::process::geteuid().as_raw();
    let home = home.display();
    (owner != us).then(|| {
        format!(
            "the home `{home}` belongs to another user (uid {owner}), and the relay runs as uid {us}: run it as its \
             owner, or give the home to this one with `chown -R {us} {home}`"
        )
    })
}

/// Returns what in a directory has a name that begins so.
pub(super) fn entries(directory: &Path, beginning: &str) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(directory) else {
        return Vec::new();
    };
    let ours = |name: &std::ffi::OsStr| name.as_encoded_bytes().starts_with(beginning.as_bytes());
    let entries = entries.filter_map(Result::ok);
    let named = entries.filter(|entry| ours(&entry.file_name()));
    named.map(|entry| entry.path()).collect()
}

/// Writes a file that only its owner may read, in one step: after a crash there is the old one or the new one, whole.
///
/// # Errors
///
/// When it cannot be written; then the old one is untouched.
pub(crate) fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let directory = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    let directory = directory.unwrap_or(Path::new("."));
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let temporary = directory.join(format!(
        ".{}.{}.new",
        name.to_string_lossy(),
        std::process::id()
    ));
    let written = write_new(&temporary, bytes).and_then(|()| fs::rename(&temporary, path));
    if let Err(error) = written {
        // It may not be there.
        drop(fs::remove_file(&temporary));
        return Err(error);
    }
    File::open(directory)?.sync_all()
}

fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    // Left over by a process that died with the same number.
    drop(fs::remove_file(path));
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.set_permissions(Permissions::from_mode(0o600))?;
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_private_file_replaces_the_old_one_and_leaves_nothing_behind() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("session.json");
        fs::write(&path, "old").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        write_private(&path, b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert_eq!(entries(directory.path(), ""), [path]);
    }

    #[test]
    fn a_file_that_cannot_be_written_is_left_as_it_was() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("taken");
        fs::create_dir(&path).unwrap();
        assert!(write_private(&path, b"new").is_err());
        assert_eq!(entries(directory.path(), ""), [path]);
    }

    #[test]
    fn network_file_systems_are_known_by_their_numbers() {
        assert_eq!(network_name(0x6969), Some("NFS"));
        // ext4, tmpfs, overlayfs, btrfs
        for local in [0xEF53, 0x0102_1994, 0x794C_7630, 0x9123_683E] {
            assert_eq!(network_name(local), None);
        }
    }
}
