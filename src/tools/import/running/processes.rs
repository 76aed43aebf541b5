//! What the system tells of the programs that run, as far as this user may see it. Source: `proc(5)`.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use nix::unistd::{Uid, User};

/// Where the system tells of them.
pub(super) const PROC: &str = "/proc";
/// Maximum characters of a command line that are shown.
const LONGEST: usize = 100;

/// A process.
#[derive(Debug)]
pub(super) struct Process {
    /// Its directory below [`PROC`].
    folder: PathBuf,
    pub(super) pid: u32,
    pub(super) arguments: Vec<String>,
}

/// A file, whatever its name and wherever it is mounted: device and inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FileId(u64, u64);

impl FileId {
    /// Returns `None` if nothing is there, or if it may not be seen.
    pub(super) fn of(path: &Path) -> Option<Self> {
        let metadata = fs::metadata(path).ok()?;
        Some(Self(metadata.dev(), metadata.ino()))
    }
}

/// A file that a process has open.
#[derive(Debug)]
pub(super) struct OpenFile {
    /// Its path where the process sees it: in a container that is another one than ours.
    pub(super) path: PathBuf,
    /// Leads to the file itself.
    link: PathBuf,
}

impl OpenFile {
    pub(super) fn id(&self) -> Option<FileId> {
        FileId::of(&self.link)
    }

    pub(super) fn name(&self) -> &OsStr {
        self.path.file_name().unwrap_or_default()
    }
}

impl Process {
    /// Returns all processes but our own; `proc` is [`PROC`].
    pub(super) fn all(proc: &Path) -> Vec<Self> {
        let entries = fs::read_dir(proc).into_iter().flatten().flatten();
        let process = |entry: fs::DirEntry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            let folder = entry.path();
            let line = fs::read(folder.join("cmdline")).ok()?;
            let arguments = words(&line).map(|it| String::from_utf8_lossy(it).into_owned());
            let arguments = arguments.collect();
            (pid != std::process::id()).then_some(Self {
                folder,
                pid,
                arguments,
            })
        };
        entries.filter_map(process).collect()
    }

    /// Returns the beginning of its command line.
    pub(super) fn command(&self) -> String {
        self.arguments.join(" ").chars().take(LONGEST).collect()
    }

    /// Returns the name of its user, or their number if they have none here.
    pub(super) fn user(&self) -> Option<String> {
        let uid = fs::metadata(&self.folder).ok()?.uid();
        let user = User::from_uid(Uid::from_raw(uid)).ok().flatten();
        Some(user.map_or_else(|| format!("uid {uid}"), |it| it.name))
    }

    /// Returns the files that it has open. Fails if we may not see them.
    pub(super) fn open_files(&self) -> io::Result<Vec<OpenFile>> {
        let mut files = Vec::new();
        for entry in fs::read_dir(self.folder.join("fd"))?.flatten() {
            let link = entry.path();
            match fs::read_link(&link) {
                Ok(path) => files.push(OpenFile { path, link }),
                // It is closed meanwhile.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                // The names of the links may be seen by more users than what they lead to.
                Err(error) => return Err(error),
            }
        }
        Ok(files)
    }

    /// Returns the variables that it was started with. Fails if we may not see them.
    pub(super) fn variables(&self) -> io::Result<BTreeMap<OsString, OsString>> {
        let variables = fs::read(self.folder.join("environ"))?;
        let pair = |variable: &[u8]| {
            let at = variable.iter().position(|byte| *byte == b'=')?;
            let (name, value) = variable.split_at(at);
            let text = |bytes| OsStr::from_bytes(bytes).to_owned();
            Some((text(name), text(value.get(1..)?)))
        };
        Ok(words(&variables).filter_map(pair).collect())
    }

    /// Returns its working directory. Fails if we may not see it.
    pub(super) fn directory(&self) -> io::Result<PathBuf> {
        fs::read_link(self.folder.join("cwd"))
    }

    /// Returns what a path of the process leads to: its root may be another one than ours.
    pub(super) fn id_of(&self, path: &Path) -> Option<FileId> {
        let below_root = path.strip_prefix("/").unwrap_or(path);
        FileId::of(&self.folder.join("root").join(below_root))
    }
}

/// Splits what ends with a NUL each.
fn words(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|byte| *byte == 0).filter(|it| !it.is_empty())
}
