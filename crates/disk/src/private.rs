//! Private directories and files: readable for their owner only, and replaced atomically.

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

use crate::os::{make_private, private_directories, private_file, rename, sync_directory};

/// Creates a directory that only its owner may enter, with its parents; existing ones stay as they are.
pub fn create_private_directory(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    private_directories(path)
}

/// Writes a file that only its owner may read. Atomic: after a crash or a failure, either the old file or the new one
/// is there.
pub fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let temporary = path.with_file_name(format!(".{}.new", name.to_string_lossy()));
    // Left behind by a process that crashed.
    drop(fs::remove_file(&temporary));
    let written = write_new(&temporary, bytes).and_then(|()| rename(&temporary, path));
    if let Err(error) = written {
        // On a full disk, half a file takes space that others need. It may not exist.
        drop(fs::remove_file(&temporary));
        return Err(error);
    }
    let directory = path.parent().filter(|it| !it.as_os_str().is_empty());
    sync_directory(directory.unwrap_or(Path::new(".")))
}

fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = private_file().write(true).create_new(true).open(path)?;
    // Some file systems have no modes.
    make_private(&file).ok();
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).unwrap();
        let name = |entry: io::Result<fs::DirEntry>| entry.unwrap().file_name().into_string();
        entries.map(|entry| name(entry).unwrap()).collect()
    }

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
        assert_eq!(names(directory.path()), ["session.json"]);
    }

    #[test]
    fn what_a_killed_process_left_is_no_obstacle() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join(".session.json.new"), "half").unwrap();
        write_private(&directory.path().join("session.json"), b"new").unwrap();
        assert_eq!(names(directory.path()), ["session.json"]);
    }

    #[test]
    fn a_file_that_cannot_be_written_is_left_as_it_was() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("taken");
        fs::create_dir(&path).unwrap();
        assert!(write_private(&path, b"new").is_err());
        assert_eq!(names(directory.path()), ["taken"]);
    }
}
