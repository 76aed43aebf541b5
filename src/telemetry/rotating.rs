//! A log file that rotates at a size, keeping a number of old files. Never panics: a log that cannot be written must
//! not stop the relay.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use relay_disk::{identity, identity_of, private_file, rename};

/// `relay.log`, and `relay.log.1` (the newest) to `relay.log.N`.
#[derive(Debug)]
pub(super) struct RotatingFile {
    path: PathBuf,
    file: File,
    size: u64,
    limit: u64,
    keep: usize,
}

impl RotatingFile {
    pub(super) fn open(path: &Path, limit: u64, keep: usize) -> io::Result<Self> {
        let file = append(path)?;
        Ok(Self {
            path: path.to_owned(),
            size: file.metadata()?.len(),
            file,
            limit,
            keep,
        })
    }

    /// Renames each file to the next number; the oldest is overwritten.
    fn rotate(&mut self) -> io::Result<()> {
        if self.keep == 0 {
            absent_is_fine(fs::remove_file(&self.path))?;
        }
        for number in (0..self.keep).rev() {
            let [from, to] = [number, number + 1].map(|number| self.numbered(number));
            absent_is_fine(rename(&from, &to))?;
        }
        self.reopen()
    }

    fn reopen(&mut self) -> io::Result<()> {
        let file = append(&self.path)?;
        self.size = file.metadata()?.len();
        self.file = file;
        Ok(())
    }

    /// Returns whether the path still leads to the open file: somebody may have moved or removed it.
    fn is_in_place(&self) -> io::Result<bool> {
        Ok(identity(&self.path)? == Some(identity_of(&self.file)?))
    }

    fn numbered(&self, number: usize) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        if number > 0 {
            name.push(format!(".{number}"));
        }
        name.into()
    }
}

fn absent_is_fine(done: io::Result<()>) -> io::Result<()> {
    done.or_else(|error| match error.kind() {
        io::ErrorKind::NotFound => Ok(()),
        _ => Err(error),
    })
}

fn append(path: &Path) -> io::Result<File> {
    private_file().append(true).create(true).open(path)
}

impl Write for RotatingFile {
    /// Writes a whole line, or nothing of it.
    fn write_all(&mut self, line: &[u8]) -> io::Result<()> {
        if matches!(self.is_in_place(), Ok(false)) {
            // Without a new file it goes on in the old one.
            drop(self.reopen());
        }
        let coming = u64::try_from(line.len()).unwrap_or(u64::MAX);
        if self.size > 0 && self.size.saturating_add(coming) > self.limit {
            // If the rotation fails, the file keeps growing, which is better than no log. The next line tries again.
            drop(self.rotate());
        }
        let written = self.file.write_all(line);
        match &written {
            Ok(()) => self.size = self.size.saturating_add(coming),
            // A full disk may have taken half of it.
            Err(_) => drop(self.file.set_len(self.size)),
        }
        written
    }

    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.write_all(buffer).map(|()| buffer.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn read(path: &Path, suffix: &str) -> Option<String> {
        fs::read_to_string(format!("{}{suffix}", path.display())).ok()
    }

    #[test]
    fn a_full_file_is_begun_afresh_and_the_oldest_goes() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("relay.log");
        let mut log = RotatingFile::open(&path, 10, 2).unwrap();
        for line in ["first..\n", "second.\n", "third..\n", "fourth.\n"] {
            log.write_all(line.as_bytes()).unwrap();
        }
        assert_eq!(read(&path, "").as_deref(), Some("fourth.\n"));
        assert_eq!(read(&path, ".1").as_deref(), Some("third..\n"));
        assert_eq!(read(&path, ".2").as_deref(), Some("second.\n"));
        assert_eq!(read(&path, ".3"), None);
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn an_existing_file_is_continued() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("relay.log");
        fs::write(&path, "before\n").unwrap();
        let mut log = RotatingFile::open(&path, 10, 0).unwrap();
        log.write_all(b"a\n").unwrap();
        assert_eq!(read(&path, "").as_deref(), Some("before\na\n"));
        log.write_all(b"later\n").unwrap();
        assert_eq!(read(&path, "").as_deref(), Some("later\n"));
    }

    #[test]
    fn a_file_that_somebody_moves_or_removes_is_made_anew() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("relay.log");
        for keep in [0, 2] {
            let mut log = RotatingFile::open(&path, 12, keep).unwrap();
            log.write_all(b"one\n").unwrap();
            fs::rename(&path, directory.path().join("relay.log.old")).unwrap();
            log.write_all(b"two\n").unwrap();
            assert_eq!(read(&path, ".old").as_deref(), Some("one\n"));
            assert_eq!(read(&path, "").as_deref(), Some("two\n"));
            fs::remove_file(&path).unwrap();
            log.write_all(b"three\n").unwrap();
            log.write_all(b"four\n").unwrap();
            assert_eq!(read(&path, "").as_deref(), Some("three\nfour\n"));
            log.write_all(b"five\n").unwrap();
            assert_eq!(read(&path, "").as_deref(), Some("five\n"));
            fs::remove_file(&path).unwrap();
        }
    }

    #[test]
    fn a_log_that_cannot_be_rotated_goes_on() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("relay.log");
        let mut log = RotatingFile::open(&path, 4, 1).unwrap();
        let in_the_way = directory.path().join("relay.log.1");
        fs::create_dir_all(in_the_way.join("x")).unwrap();
        for _ in 0..3 {
            log.write_all(b"line\n").unwrap();
        }
        assert_eq!(read(&path, "").as_deref(), Some("line\nline\nline\n"));
    }
}
