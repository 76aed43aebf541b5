//! Whether MMRelay runs in the old home, and how that is known. It is known of a process whose open files or directory can be
//! seen; another user's, or one of a container, shows them to root only.

mod processes;

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use rustix::process::{Flock, FlockOffsetType, FlockType, fcntl_getlk};

use super::mmrelay::{LOGS, VARIABLES};
use crate::home::path_of;
use processes::{FileId, OpenFile, PROC, Process};
use relay_store::mmrelay::with_ending;

/// The byte of a WAL index (`-shm`) on which every program holds a lock that has the database open (SQLite, `os_unix.c`:
/// `UNIX_SHM_DMS`).
const OPEN_BYTE: u64 = 128;
/// Files that MMRelay holds open, by their names.
const HELD: [&str; 4] = [
    "meshtastic.sqlite",
    "meshtastic.sqlite-wal",
    "meshtastic.sqlite-shm",
    "mmrelay.log",
];
/// Its flags that name the home, in order of precedence.
const FLAGS: [&str; 3] = ["--home", "--base-dir", "--data-dir"];

/// Whether a program uses the old home.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum InUse {
    No,
    By(Running),
    /// These are MMRelay, and where they have their files may not be seen.
    Perhaps(Vec<Hidden>),
}

/// A process that uses the old home.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Running {
    /// `None`: it cannot be seen from here, as it is in another container.
    process: Option<Who>,
    evidence: Evidence,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Evidence {
    /// It has this file open.
    Open(PathBuf),
    /// It holds a lock on this file.
    Lock(PathBuf),
    /// It is MMRelay, and has its files in this directory, as it sees it.
    Home(PathBuf),
}

/// An MMRelay whose files we may not see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hidden {
    process: Who,
    cause: io::ErrorKind,
}

/// A process as people know it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Who {
    pid: u32,
    command: Option<String>,
    user: Option<String>,
}

impl fmt::Display for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.process {
            Some(process) => write!(f, "{process} ")?,
            None => f.write_str("a process of another container ")?,
        }
        match &self.evidence {
            Evidence::Open(path) => write!(f, "has `{}` open", path.display()),
            Evidence::Lock(path) => write!(f, "holds a lock on `{}`", path.display()),
            Evidence::Home(path) => write!(f, "works in `{}`", path.display()),
        }
    }
}

impl fmt::Display for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { process, cause } = self;
        write!(
            f,
            "{process}, whose open files and directory are not shown to this user ({cause})"
        )
    }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {}", self.pid)?;
        let command = self.command.iter().map(|it| format!("`{it}`"));
        let known: Vec<_> = command.chain(self.user.clone()).collect();
        if known.is_empty() {
            Ok(())
        } else {
            write!(f, " ({})", known.join(", "))
        }
    }
}

impl Who {
    fn of(process: &Process) -> Self {
        Self {
            pid: process.pid,
            command: Some(process.command()),
            user: process.user(),
        }
    }
}

/// Looks for a process that uses one of these directories of the home, or its databases.
pub(super) fn look(homes: &[&Path], databases: &[PathBuf]) -> InUse {
    look_below(Path::new(PROC), homes, databases)
}

fn look_below(proc: &Path, homes: &[&Path], databases: &[PathBuf]) -> InUse {
    let processes = Process::all(proc);
    let files = OldFiles::of(homes, databases);
    let by = |process: &Process, evidence| Running {
        process: Some(Who::of(process)),
        evidence,
    };
    let opened = processes.iter().find_map(|process| {
        let open = process.open_files().unwrap_or_default();
        let ours = open.into_iter().find(|it| files.has(it))?;
        Some(by(process, Evidence::Open(ours.path)))
    });
    let locked = || databases.iter().find_map(|it| locked(it, &processes));
    if let Some(running) = opened.or_else(locked) {
        return InUse::By(running);
    }
    let mut hidden = Vec::new();
    for process in processes.iter().filter(|it| is_mmrelay(&it.arguments)) {
        match place(process, &files) {
            Ok(None) => {}
            Ok(Some(directory)) => return InUse::By(by(process, Evidence::Home(directory))),
            // It has ended meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => hidden.push(Hidden {
                process: Who::of(process),
                cause: error.kind(),
            }),
        }
    }
    if hidden.is_empty() {
        InUse::No
    } else {
        InUse::Perhaps(hidden)
    }
}

/// What the old home is known by, under whatever path a process sees it.
#[derive(Debug)]
struct OldFiles {
    homes: Vec<FileId>,
    files: Vec<(OsString, FileId)>,
}

impl OldFiles {
    fn of(homes: &[&Path], databases: &[PathBuf]) -> Self {
        let endings = |path: &PathBuf| ["", "-wal", "-shm"].map(|it| with_ending(path, it));
        let logs = homes
            .iter()
            .flat_map(|home| LOGS.map(|name| home.join(name)));
        let files = databases.iter().flat_map(endings).chain(logs);
        let file = |path: PathBuf| {
            // A process shows what a link leads to.
            let name = path.canonicalize().ok()?.file_name()?.to_owned();
            Some((name, FileId::of(&path)?))
        };
        Self {
            homes: homes.iter().filter_map(|it| FileId::of(it)).collect(),
            files: files.filter_map(file).collect(),
        }
    }

    /// Returns whether an open file is one of these. Only what has such a name is looked at: others may be on a disk that
    /// does not answer.
    fn has(&self, open: &OpenFile) -> bool {
        let mut named = self.files.iter().filter(|(name, _)| name == open.name());
        named.any(|(_, id)| open.id().as_ref() == Some(id))
    }
}

/// Returns the directory of the old home where this MMRelay has its files; `None`: it has them in another home. Fails if that
/// may not be seen.
fn place(process: &Process, files: &OldFiles) -> io::Result<Option<PathBuf>> {
    let open = process.open_files()?;
    // Those of the old home have been looked for.
    let has_others = |it: &OpenFile| HELD.iter().any(|name| it.name() == OsStr::new(name));
    if open.iter().any(has_others) {
        return Ok(None);
    }
    let is_here = |it: &PathBuf| {
        process
            .id_of(it)
            .is_some_and(|id| files.homes.contains(&id))
    };
    Ok(places(process)?.into_iter().find(is_here))
}

/// Returns where an MMRelay may have its files: in the home that its arguments or variables name; else in the usual one,
/// beside the named configuration, or in its working directory, as the oldest versions do.
fn places(process: &Process) -> io::Result<Vec<PathBuf>> {
    let (working, variables) = (process.directory()?, process.variables()?);
    let variable = |name: &str| path_of(variables.get(OsStr::new(name)).cloned());
    let flag = |name: &str| value_of(&process.arguments, name).map(PathBuf::from);
    let by_flag = FLAGS.iter().find_map(|name| flag(name));
    let named = by_flag.or_else(|| VARIABLES.iter().find_map(|name| variable(name)));
    if let Some(named) = named {
        return Ok(vec![working.join(named)]);
    }
    let usual = variable("HOME").map(|it| it.join(".mmrelay"));
    let config = flag("--config").and_then(|it| Some(working.join(it).parent()?.to_owned()));
    let places = [usual, config, Some(working)];
    Ok(places.into_iter().flatten().collect())
}

/// Returns the value of a flag in a command line: its next word, or what stands behind `=`.
fn value_of<'a>(arguments: &'a [String], flag: &str) -> Option<&'a str> {
    let next = arguments.iter().skip_while(|it| *it != flag).nth(1);
    let within = |it: &'a String| it.strip_prefix(flag)?.strip_prefix('=');
    next.map(String::as_str)
        .or_else(|| arguments.iter().find_map(within))
}

/// Returns whether a program has a database open, by its lock: that is seen also where the process is not.
fn locked(database: &Path, processes: &[Process]) -> Option<Running> {
    let path = with_ending(database, "-shm");
    let file = File::open(&path).ok()?;
    let lock = Flock {
        start: OPEN_BYTE,
        length: 1,
        pid: None,
        typ: FlockType::WriteLock,
        offset_type: FlockOffsetType::Set,
    };
    let held = fcntl_getlk(&file, &lock).ok()??;
    let pid = held
        .pid
        .and_then(|it| u32::try_from(it.as_raw_nonzero().get()).ok());
    let who = |pid| {
        let process = processes.iter().find(|it| it.pid == pid);
        process.map_or(
            Who {
                pid,
                command: None,
                user: None,
            },
            Who::of,
        )
    };
    Some(Running {
        process: pid.map(who),
        evidence: Evidence::Lock(path),
    })
}

/// Returns whether a command line is MMRelay's: the program itself, its script or its module under Python.
fn is_mmrelay(arguments: &[String]) -> bool {
    let base = |text: &str| Path::new(text).file_name().map(OsStr::to_owned);
    let is_name = |text: &String| base(text).is_some_and(|it| it == "mmrelay");
    let Some((program, rest)) = arguments.split_first() else {
        return false;
    };
    let is_python = base(program).is_some_and(|it| it.to_string_lossy().starts_with("python"));
    let mut options = rest
        .iter()
        .skip_while(|it| it.starts_with('-') && *it != "-m");
    let mut is_run = || match options.next() {
        Some(flag) if flag == "-m" => options.next().is_some_and(|it| it == "mmrelay"),
        Some(script) => is_name(script),
        None => false,
    };
    is_name(program) || (is_python && is_run())
}

#[cfg(test)]
mod tests;
