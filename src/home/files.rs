//! What lies in the home: on which file system, whose it is, and who may read it.

use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// Returns the network file system on which a path lies, or would lie once created.
pub(super) fn network_file_system(path: &Path) -> Option<&'static str> {
    let existing = path.ancestors().find(|ancestor| ancestor.exists())?;
    let found = i128::from(rustix::fs::statfs(existing).ok()?.f_type) & 0xFFFF_FFFF;
    network_name(found)
}

/// Network file systems by the magic number that the kernel tells (linux/magic.h): locks and memory maps of SQLite
/// cannot be trusted on them.
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

/// Takes away the rights of others, and returns one sentence if that cannot be done. What is a link, or is not there,
/// stays as it is.
pub(super) fn narrow(paths: &[PathBuf]) -> Option<String> {
    let mut failed = paths.iter().filter_map(|path| {
        let metadata = fs::symlink_metadata(path).ok()?;
        let mode = metadata.permissions().mode();
        let for_others = mode & 0o077;
        if metadata.is_symlink() || for_others == 0 {
            return None;
        }
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
    let ours = |name: &OsStr| name.as_encoded_bytes().starts_with(beginning.as_bytes());
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let named = entries.filter(|entry| ours(&entry.file_name()));
    named.map(|entry| entry.path()).collect()
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
