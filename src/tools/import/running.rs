//! Whether MMRelay runs, and how that is known.

use std::fmt;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use rustix::process::{Flock, FlockOffsetType, FlockType, fcntl_getlk};

/// The byte of a WAL index (`-shm`) on which every program holds a lock that has the database open (SQLite, `os_unix.c`:
/// `UNIX_SHM_DMS`).
const OPEN_BYTE: u64 = 128;
/// Names of files that MMRelay holds open.
const HELD: [&str; 4] = [
    "meshtastic.sqlite",
    "meshtastic.sqlite-wal",
    "meshtastic.sqlite-shm",
    "mmrelay.log",
];

/// A process that uses the old home, or may.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Running {
    /// The process; `None`: it cannot be seen from here, as it is in another container.
    process: Option<(u32, String)>,
    evidence: Evidence,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Evidence {
    /// It has this file open.
    Open(PathBuf),
    /// It holds a lock on this file.
    Lock(PathBuf),
    /// It is called like MMRelay; whether it uses this home cannot be seen.
    Name,
}

impl fmt::Display for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.process {
            Some((pid, command)) => write!(f, "process {pid} (`{command}`) ")?,
            None => f.write_str("a process of another container ")?,
        }
        match &self.evidence {
            Evidence::Open(path) => write!(f, "has `{}` open", path.display()),
            Evidence::Lock(path) => write!(f, "holds a lock on `{}`", path.display()),
            Evidence::Name => f.write_str("is MMRelay by its command line"),
        }
    }
}

/// Returns a process that has one of these databases or a file of this home open, or that is MMRelay and may.
pub(super) fn find(home: &Path, databases: &[PathBuf]) -> Option<Running> {
    let processes = processes();
    let holder = processes.iter().find_map(|process| {
        let open = process.open.iter().flatten();
        let held = open.into_iter().find(|path| is_of(path, home, databases));
        held.map(|path| process.running(Evidence::Open(path.clone())))
    });
    holder
        .or_else(|| databases.iter().find_map(|it| locked(it, &processes)))
        .or_else(|| {
            let mut named = processes.iter().filter(|it| is_mmrelay(&it.arguments));
            let suspect = named.find(|it| !it.uses_another_home())?;
            Some(suspect.running(Evidence::Name))
        })
}

#[derive(Debug)]
struct Process {
    pid: u32,
    arguments: Vec<String>,
    /// The files that it has open; `None`: we may not see them.
    open: Option<Vec<PathBuf>>,
}

impl Process {
    fn running(&self, evidence: Evidence) -> Running {
        let command = self.arguments.join(" ").chars().take(100).collect();
        let process = Some((self.pid, command));
        Running { process, evidence }
    }

    /// Returns whether it has MMRelay's files open, which are then those of another home.
    fn uses_another_home(&self) -> bool {
        self.open.iter().flatten().any(|path| {
            let name = path.file_name().and_then(|it| it.to_str());
            name.is_some_and(|it| HELD.contains(&it))
        })
    }
}

/// Returns all processes but our own.
fn processes() -> Vec<Process> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbers = entries.filter_map(|it| it.file_name().to_str()?.parse().ok());
    let others = numbers.filter(|pid| *pid != std::process::id());
    let process = |pid: u32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        let arguments = line.split(|byte| *byte == 0).filter(|it| !it.is_empty());
        let arguments = arguments.map(|it| String::from_utf8_lossy(it).into_owned());
        let links = fs::read_dir(format!("/proc/{pid}/fd")).ok();
        let targets = |links: fs::ReadDir| {
            let links = links.flatten();
            links
                .filter_map(|it| fs::read_link(it.path()).ok())
                .collect()
        };
        Some(Process {
            pid,
            arguments: arguments.collect(),
            open: links.map(targets),
        })
    };
    others.filter_map(process).collect()
}

/// Returns whether an open file is one of these databases, or one that MMRelay holds open in this home.
fn is_of(path: &Path, home: &Path, databases: &[PathBuf]) -> bool {
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let shown = path.to_string_lossy();
    let is_database = databases.iter().map(|it| real(it)).any(|database| {
        let rest = shown.strip_prefix(&*database.to_string_lossy());
        rest.is_some_and(|rest| ["", "-wal", "-shm"].contains(&rest))
    });
    let name = path.file_name().and_then(|it| it.to_str());
    let is_held = name.is_some_and(|it| HELD.contains(&it));
    is_database || (is_held && path.starts_with(real(home)))
}

/// Returns whether a program has a database open, by its lock: that is seen also where the process is not.
fn locked(database: &Path, processes: &[Process]) -> Option<Running> {
    let path = PathBuf::from(format!("{}-shm", database.display()));
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
    let process = pid.and_then(|pid| processes.iter().find(|it| it.pid == pid));
    let evidence = Evidence::Lock(path);
    Some(match process {
        Some(process) => process.running(evidence),
        None => Running {
            process: pid.map(|pid| (pid, "unknown".to_owned())),
            evidence,
        },
    })
}

/// Returns whether a command line is MMRelay's: the program itself, its script or its module under Python.
fn is_mmrelay(arguments: &[String]) -> bool {
    let base = |text: &str| {
        Path::new(text)
            .file_name()
            .map(|it| it.to_string_lossy().into_owned())
    };
    let is_name = |text: &String| base(text).as_deref() == Some("mmrelay");
    let Some((program, rest)) = arguments.split_first() else {
        return false;
    };
    let is_python = base(program).is_some_and(|it| it.starts_with("python"));
    let mut options = rest
        .iter()
        .skip_while(|it| it.starts_with('-') && *it != "-m");
    let module = || match options.next() {
        Some(flag) if flag == "-m" => options.next().is_some_and(|it| it == "mmrelay"),
        Some(script) => is_name(script),
        None => false,
    };
    is_name(program) || (is_python && { module }())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mmrelay_is_known_by_its_command_line() {
        let is = |line: &str| {
            let arguments: Vec<String> = line.split(' ').map(str::to_owned).collect();
            is_mmrelay(&arguments)
        };
        for line in [
            "mmrelay",
            "/usr/bin/mmrelay --config a.yaml",
            "/usr/bin/python3 /home/club/.local/bin/mmrelay",
            "python -m mmrelay",
            "python3.11 -u -m mmrelay --home /data",
        ] {
            assert!(is(line), "{line}");
        }
        for line in [
            "vim mmrelay",
            "python3 other.py mmrelay",
            "relay import mmrelay",
            "grep mmrelay",
            "python3",
        ] {
            assert!(!is(line), "{line}");
        }
    }

    #[test]
    fn a_program_that_has_the_database_open_is_found_by_its_process() {
        let directory = tempfile::tempdir().unwrap();
        let database = directory.path().join("meshtastic.sqlite");
        let connection = rusqlite::Connection::open(&database).unwrap();
        connection
            .execute_batch("PRAGMA journal_mode = wal; CREATE TABLE a (a)")
            .unwrap();
        // A lock of our own process is none for us: another one has to hold it.
        let databases = [database.clone()];
        let others = processes();
        assert!(others.iter().all(|it| it.pid != std::process::id()));
        assert_eq!(locked(&database, &others), None);
        let mut tail = std::process::Command::new("tail")
            .args(["-f", database.to_str().unwrap()])
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        // Before it is that program, it is a copy of this one.
        let found = loop {
            let found = find(directory.path(), &databases).map(|it| it.to_string());
            if let Some(found) = found.filter(|it| it.contains("`tail")) {
                break found;
            }
            assert!(tail.try_wait().unwrap().is_none(), "it has ended");
        };
        tail.kill().unwrap();
        tail.wait().unwrap();
        let expected = format!(
            "process {} (`tail -f {}`) has `{}` open",
            tail.id(),
            database.display(),
            database.display()
        );
        assert_eq!(found, expected);
    }

    #[test]
    fn an_mmrelay_that_has_the_files_of_another_home_open_is_none_of_this_one() {
        let process = |open: Option<Vec<PathBuf>>| Process {
            pid: 1,
            arguments: vec!["mmrelay".to_owned()],
            open,
        };
        let other = PathBuf::from("/home/other/.mmrelay/logs/mmrelay.log");
        assert!(process(Some(vec![other])).uses_another_home());
        assert!(!process(Some(vec!["/dev/null".into()])).uses_another_home());
        assert!(!process(None).uses_another_home());
        let running = process(None).running(Evidence::Name);
        assert_eq!(
            running.to_string(),
            "process 1 (`mmrelay`) is MMRelay by its command line"
        );
    }
}
