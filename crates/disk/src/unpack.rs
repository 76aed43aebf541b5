//! Writes a file out of an archive, and tells an archive that cannot be read from a disk that cannot be written.

use std::fs;
use std::io::{self, Read, Write as _};
use std::path::Path;

use super::private_file;

/// Why a file was not unpacked. A part of it may be left.
#[derive(Debug)]
pub enum UnpackError {
    /// The archive ends before the file does, or is damaged there.
    Cut,
    /// The archive cannot be read.
    Read(io::Error),
    /// The file cannot be written.
    Write(io::Error),
}

impl UnpackError {
    /// Tells a failing disk from an archive that is no whole one: only the former comes from the system.
    pub fn of_archive(error: io::Error) -> Self {
        match error.raw_os_error() {
            Some(_) => Self::Read(error),
            None => Self::Cut,
        }
    }
}

/// Writes the next `size` bytes of an archive to a file that only its owner may read, in the place of an earlier one, and waits
/// for the disk.
pub fn unpack(archive: &mut impl Read, size: u64, to: &Path) -> Result<(), UnpackError> {
    // Left behind by a command that crashed. It may not exist.
    drop(fs::remove_file(to));
    let file = private_file().write(true).create_new(true).open(to);
    let mut file = file.map_err(UnpackError::Write)?;
    let (mut buffer, mut left) = (vec![0; 64 * 1024], size);
    while left > 0 {
        let wanted = usize::try_from(left).unwrap_or(usize::MAX);
        let wanted = buffer.len().min(wanted);
        let part = buffer.get_mut(..wanted).unwrap_or_default();
        let count = match archive.read(part) {
            Ok(0) => return Err(UnpackError::Cut),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(UnpackError::of_archive(error)),
        };
        let read = part.get(..count).unwrap_or_default();
        file.write_all(read).map_err(UnpackError::Write)?;
        left -= count as u64;
    }
    file.sync_all().map_err(UnpackError::Write)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_written_whole_or_what_failed_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let to = directory.path().join("file");
        let archive = vec![7; 200_000];
        fs::write(&to, "left behind").unwrap();
        unpack(&mut &archive[..], 150_000, &to).unwrap();
        assert_eq!(fs::read(&to).unwrap(), archive[..150_000]);
        let cut = unpack(&mut &archive[..], 200_001, &to).unwrap_err();
        assert!(matches!(cut, UnpackError::Cut), "{cut:?}");
        let nowhere = directory.path().join("nowhere/file");
        let error = unpack(&mut &archive[..], 1, &nowhere).unwrap_err();
        assert!(matches!(error, UnpackError::Write(_)), "{error:?}");
        // A directory cannot be read as a file.
        let Ok(mut archive) = fs::File::open(directory.path()) else {
            return;
        };
        let error = unpack(&mut archive, 1, &to).unwrap_err();
        assert!(matches!(error, UnpackError::Read(_)), "{error:?}");
    }
}
