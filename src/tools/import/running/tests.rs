use std::fs;
use std::os::unix::fs::symlink;

use rusqlite::Connection;

use super::*;

/// A home of MMRelay with a database and a log, and beside it what the system would tell of processes.
struct Machine {
    directory: tempfile::TempDir,
}

impl Machine {
    fn new() -> Self {
        let machine = Self {
            directory: tempfile::tempdir().unwrap(),
        };
        for name in ["logs/mmrelay.log", "database/meshtastic.sqlite"] {
            machine.has(&format!("home/{name}"));
        }
        machine
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Makes a file.
    fn has(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, "x").unwrap();
        path
    }

    /// Runs a process; words and variables with spaces between. Its root is `container`, if that is there.
    fn runs(&self, pid: u32, words: &str, variables: &str, open: &[&Path]) {
        let folder = self.path(&format!("proc/{pid}"));
        fs::create_dir_all(folder.join("fd")).unwrap();
        for (name, text) in [("cmdline", words), ("environ", variables)] {
            fs::write(folder.join(name), format!("{text} ").replace(' ', "\0")).unwrap();
        }
        for (number, path) in open.iter().enumerate() {
            symlink(path, folder.join("fd").join(number.to_string())).unwrap();
        }
        let container = self.path("container");
        let root = if container.exists() {
            container
        } else {
            PathBuf::from("/")
        };
        symlink(root, folder.join("root")).unwrap();
        symlink(self.path(""), folder.join("cwd")).unwrap();
    }

    fn look(&self) -> InUse {
        let databases = [self.path("home/database/meshtastic.sqlite")];
        look_below(&self.path("proc"), &[&self.path("home")], &databases)
    }

    /// Returns what is said of the process that uses the home, without where this machine is, and whose process it is.
    fn uses(&self) -> String {
        let InUse::By(running) = self.look() else {
            return format!("{:?}", self.look());
        };
        let user = Process::all(&self.path("proc"))[0].user().unwrap();
        let machine = format!("{}/", self.directory.path().display());
        let text = running.to_string().replace(&machine, "");
        text.replace(&format!(", {user})"), ", USER)")
    }
}

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
fn whoever_has_a_file_of_the_home_open_uses_it_whatever_it_is_called() {
    for (name, said) in [
        (
            "home/database/meshtastic.sqlite",
            "process 7 (`cp a b`, USER) has `home/database/meshtastic.sqlite` open",
        ),
        (
            "home/logs/mmrelay.log",
            "process 7 (`cp a b`, USER) has `home/logs/mmrelay.log` open",
        ),
    ] {
        let machine = Machine::new();
        machine.runs(7, "cp a b", "", &[&machine.path(name)]);
        assert_eq!(machine.uses(), said);
    }
    // The volume of a container: the path is another one there, the file is the same.
    let machine = Machine::new();
    let log = machine.path("data/logs/mmrelay.log");
    fs::create_dir_all(log.parent().unwrap()).unwrap();
    fs::hard_link(machine.path("home/logs/mmrelay.log"), &log).unwrap();
    machine.runs(7, "python3 /usr/bin/mmrelay", "", &[&log]);
    assert_eq!(
        machine.uses(),
        "process 7 (`python3 /usr/bin/mmrelay`, USER) has `data/logs/mmrelay.log` open"
    );
}

#[test]
fn an_mmrelay_without_open_files_is_where_its_words_and_variables_say() {
    let here = "process 7 (`mmrelay`, USER) works in `home`";
    for (words, variables, is_here) in [
        ("mmrelay --home HERE", "", true),
        ("mmrelay --base-dir=HERE", "HOME=/nowhere", true),
        ("mmrelay --data-dir home", "", true),
        ("mmrelay --config HERE/config.yaml", "", true),
        ("mmrelay", "MMRELAY_HOME=HERE", true),
        ("mmrelay", "HOME=USER", true),
        ("mmrelay", "", false),
        ("mmrelay", "HOME=/nowhere MMRELAY_HOME=", false),
        ("mmrelay", "MMRELAY_HOME=/nowhere HOME=USER", false),
        (
            "mmrelay --home /nowhere --config HERE/config.yaml",
            "MMRELAY_HOME=HERE",
            false,
        ),
        ("mmrelay --verbose", "", false),
    ] {
        let machine = Machine::new();
        let user = machine.path("user");
        fs::create_dir(&user).unwrap();
        symlink(machine.path("home"), user.join(".mmrelay")).unwrap();
        let filled = |text: &str| {
            let home = machine.path("home").display().to_string();
            let text = text.replace("HERE", &home);
            text.replace("USER", &user.display().to_string())
        };
        machine.runs(7, &filled(words), &filled(variables), &[]);
        let found = machine.look();
        assert_eq!(
            matches!(found, InUse::By(_)),
            is_here,
            "{words}, {variables}: {found:?}"
        );
        assert!(is_here || found == InUse::No, "{words}: {found:?}");
    }
    let machine = Machine::new();
    machine.runs(7, "mmrelay", "MMRELAY_HOME=home", &[]);
    assert_eq!(machine.uses(), here);
    // The oldest versions work where they are started.
    let machine = Machine::new();
    machine.runs(7, "mmrelay", "", &[]);
    let working = machine.path("proc/7/cwd");
    fs::remove_file(&working).unwrap();
    symlink(machine.path("home"), working).unwrap();
    assert_eq!(machine.uses(), here);
}

#[test]
fn an_mmrelay_of_another_home_is_in_nobody_s_way() {
    let machine = Machine::new();
    let other = machine.has("other/logs/mmrelay.log");
    // Its files speak, whatever its words are.
    let home = machine.path("home").display().to_string();
    machine.runs(7, &format!("mmrelay --home {home}"), "", &[&other]);
    assert_eq!(machine.look(), InUse::No);

    // In a container the same path is another directory.
    let machine = Machine::new();
    machine.has("container/data/config.yaml");
    machine.runs(7, "mmrelay --home /data", "", &[]);
    machine.runs(8, &format!("mmrelay --home {home}"), "", &[]);
    assert_eq!(machine.look(), InUse::No);
}

#[test]
fn an_mmrelay_whose_files_may_not_be_seen_is_told_with_what_is_known_of_it() {
    let machine = Machine::new();
    machine.runs(7, "python3 -m mmrelay", "", &[]);
    machine.runs(8, "vim notes", "", &[]);
    machine.runs(9, "mmrelay", "", &[]);
    // Stands for what is forbidden: root, who may run these tests, may see everything.
    for pid in [7, 8] {
        let files = machine.path(&format!("proc/{pid}/fd"));
        fs::remove_dir(&files).unwrap();
        fs::write(&files, "").unwrap();
    }
    // It has ended meanwhile.
    fs::remove_dir(machine.path("proc/9/fd")).unwrap();
    let InUse::Perhaps(hidden) = machine.look() else {
        panic!("{:?}", machine.look());
    };
    let user = Process::all(&machine.path("proc"))[0].user().unwrap();
    let expected = format!(
        "process 7 (`python3 -m mmrelay`, {user}), whose open files and directory are not shown to this user (not a directory)"
    );
    let told: Vec<_> = hidden.iter().map(ToString::to_string).collect();
    assert_eq!(told, [expected]);

    // What is known counts more.
    let database = machine.path("home/database/meshtastic.sqlite");
    machine.runs(10, "cp a b", "", &[&database]);
    assert!(machine.uses().starts_with("process 10 "));
}

#[test]
fn a_program_that_has_the_database_open_is_found_by_its_process() {
    let machine = Machine::new();
    let database = machine.path("home/database/meshtastic.sqlite");
    fs::remove_file(&database).unwrap();
    let connection = Connection::open(&database).unwrap();
    connection
        .execute_batch("PRAGMA journal_mode = wal; CREATE TABLE a (a)")
        .unwrap();
    // A lock of our own process is none for us: another one has to hold it.
    let proc = Path::new(PROC);
    let others = Process::all(proc);
    assert!(others.iter().all(|it| it.pid != std::process::id()));
    assert_eq!(locked(&database, &others), None);
    let mut tail = std::process::Command::new("tail")
        .args(["-f", database.to_str().unwrap()])
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let home = machine.path("home");
    // Before it is that program, it is a copy of this one.
    let found = loop {
        if let InUse::By(found) = look_below(proc, &[&home], std::slice::from_ref(&database)) {
            let found = found.to_string();
            if found.contains("`tail") {
                break found;
            }
        }
        assert!(tail.try_wait().unwrap().is_none(), "it has ended");
    };
    tail.kill().unwrap();
    tail.wait().unwrap();
    let shown = database.display();
    let begin = format!("process {} (`tail -f {shown}`, ", tail.id());
    assert!(found.starts_with(&begin), "{found}");
    assert!(found.ends_with(&format!(") has `{shown}` open")), "{found}");
}
