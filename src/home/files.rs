//! The home's file system, owner and permissions.

use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD, accessat};
use rustix::io::Errno;

use super::{HomeError, in_container};

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

/// Returns the first of these that others may use.
pub(super) fn wide(paths: &[PathBuf]) -> Option<&PathBuf> {
    paths.iter().find(|path| wide_mode(path).is_some())
}

/// Returns the mode of a file that others may use; `None` for symbolic links and missing files.
fn wide_mode(path: &Path) -> Option<u32> {
    let metadata = fs::symlink_metadata(path).ok()?;
    let mode = metadata.permissions().mode();
    (!metadata.is_symlink() && mode & 0o077 != 0).then_some(mode)
}

/// Returns a warning if the home belongs to another user, who could not read what we write there.
pub(super) fn owner_warning(home: &Path) -> Option<String> {
    let owner = fs::metadata(home).ok()?.uid();
    let us = rustix::process::geteuid().as_raw();
    (owner != us).then(|| {
        let cure = cure_of_owner(home, owner, us, in_container());
        let home = home.display();
        format!("the home `{home}` belongs to another user (uid {owner}), and the relay runs as uid {us}: {cure}")
    })
}

/// Fails if another user keeps one of these from this one.
pub(super) fn check_owner(home: &Path, paths: &[PathBuf]) -> Result<(), HomeError> {
    let us = rustix::process::geteuid().as_raw();
    for path in paths {
        let Ok(metadata) = fs::symlink_metadata(path) else {
            continue;
        };
        let owner = metadata.uid();
        let needed = if metadata.is_dir() {
            Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK
        } else {
            Access::READ_OK | Access::WRITE_OK
        };
        let is_closed = || accessat(CWD, path, needed, AtFlags::EACCESS) == Err(Errno::ACCESS);
        if owner != us && is_closed() {
            return Err(HomeError::Foreign {
                path: path.clone(),
                owner,
                us,
                cure: cure_of_owner(home, owner, us, in_container()),
            });
        }
    }
    Ok(())
}

/// Returns what helps where the home, or something in it, belongs to another user.
fn cure_of_owner(home: &Path, owner: u32, us: u32, in_container: bool) -> String {
    let home = home.display();
    let (as_owner, chown) = if in_container {
        (
            format!("run the container as its owner (`--user {owner}`)"),
            format!(
                "`docker run --rm --user 0 --entrypoint chown --volume VOLUME:{home} IMAGE -R {us} {home}`"
            ),
        )
    } else if us == 0 {
        (
            format!("run it as its owner: `sudo -u '#{owner}' relay …`"),
            String::new(),
        )
    } else {
        (
            "run it as its owner".to_owned(),
            format!("`chown -R {us} {home}`"),
        )
    };
    match (owner, us) {
        // Root can give it to itself, and the service of that user would not start any more.
        (_, 0) => as_owner,
        (0, _) => format!("give the home to this one with {chown}"),
        (_, _) => format!("{as_owner}, or give the home to this one with {chown}"),
    }
}

/// Returns a directory's entries whose names have this prefix.
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

    #[test]
    fn who_cannot_use_a_home_of_another_user_learns_what_helps_where_it_runs() {
        let cure =
            |owner, us, in_container| cure_of_owner(Path::new("/data"), owner, us, in_container);
        assert_eq!(
            cure(0, 1000, false),
            "give the home to this one with `chown -R 1000 /data`"
        );
        assert_eq!(
            cure(501, 1000, false),
            "run it as its owner, or give the home to this one with `chown -R 1000 /data`"
        );
        assert_eq!(
            cure(501, 0, false),
            "run it as its owner: `sudo -u '#501' relay …`"
        );
        let chown = "`docker run --rm --user 0 --entrypoint chown --volume VOLUME:/data IMAGE -R 1000 /data`";
        assert_eq!(
            cure(0, 1000, true),
            format!("give the home to this one with {chown}")
        );
        assert_eq!(
            cure(501, 0, true),
            "run the container as its owner (`--user 501`)"
        );
    }
}
