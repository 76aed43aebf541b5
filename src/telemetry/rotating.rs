//! A log file that rotates at a size, keeping a number of old files. Never panics: a log that cannot be written must
//! not stop the relay.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

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
        for number in (0..self.keep).rev() {
            match fs::rename(self.numbered(number), self.numbered(number + 1)) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        if self.keep == 0 {
            fs::remove_file(&self.path)?;
        }
        self.file = append(&self.path)?;
        self.size = self.file.metadata()?.len();
        Ok(())
    }

    fn numbered(&self, number: usize) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        if number > 0 {
            name.push(format!(".{number}"));
        }
        name.into()
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)
}

impl Write for RotatingFile {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let coming = u64::try_from(buffer.len()).unwrap_or(u64::MAX);
        if self.size > 0 && self.size.saturating_add(coming) > self.limit {
            // If the rotation fails, the file keeps growing, which is better than no log. The next line tries again.
            drop(self.rotate());
        }
        let written = self.file.write(buffer)?;
        let added = u64::try_from(written).unwrap_or(0);
        self.size = self.size.saturating_add(added);
        Ok(written)
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
