//! A person at a terminal: a command of the relay on a pseudo-terminal of its own, as its controlling terminal.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::OpenptFlags;
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
use tokio::process::{Child, Command};
use tokio::sync::watch;

use super::{LIMIT, within};

/// A person who reads the terminal and types.
#[derive(Debug)]
pub(crate) struct Person {
    program: Child,
    terminal: File,
    screen: watch::Receiver<String>,
    /// End of the output that was seen already.
    seen: usize,
}

impl Person {
    /// Starts a command at a terminal.
    pub(crate) fn at(command: &Command) -> Self {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = rustix::pty::openpt(flags).expect("there are pseudo-terminals");
        rustix::pty::grantpt(&master).expect("it is ours");
        rustix::pty::unlockpt(&master).expect("it is ours");
        let name = rustix::pty::ptsname(&master, Vec::new()).expect("it has a name");
        let name = name.to_str().expect("its name is a text").to_owned();
        let slave = || -> Stdio {
            let options = File::options().read(true).write(true).open(&name);
            options.expect("it can be opened").into()
        };
        let terminal = File::from(master);
        // A key that sends a signal flushes pending output, also the answer of a program that is
        // faster than the key's way through the kernel: not here.
        let mut settings = tcgetattr(&terminal).expect("a terminal has settings");
        settings.local_modes.insert(LocalModes::NOFLSH);
        tcsetattr(&terminal, OptionalActions::Now, &settings).expect("they can be changed");
        let command = command.as_std();
        // With this as its controlling terminal: for Ctrl-C and `/dev/tty`. The umask is 0, as a person may have set it, so
        // that new files are readable for all unless the relay restricts them.
        let mut program = Command::new("setsid");
        program
            .args(["--ctty", "sh", "-c", "umask 0; exec \"$0\" \"$@\""])
            .arg(command.get_program())
            .args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => program.env(name, value),
                None => program.env_remove(name),
            };
        }
        let program = program
            .stdin(slave())
            .stdout(slave())
            .stderr(slave())
            .kill_on_drop(true)
            .spawn()
            .expect("the command runs");
        let reader = terminal.try_clone().expect("it can be read");
        let (sender, screen) = watch::channel(String::new());
        std::thread::spawn(move || read(reader, &sender));
        Self {
            program,
            terminal,
            screen,
            seen: 0,
        }
    }

    /// Waits for a text on the screen, after the output seen before.
    pub(crate) async fn sees(&mut self, text: &str) {
        let seen = self.seen;
        let mut found = None;
        let mut screen = self.screen.clone();
        let wait = screen.wait_for(|screen| {
            found = screen[seen..].find(text).map(|at| seen + at + text.len());
            found.is_some()
        });
        let waited = tokio::time::timeout(LIMIT, wait).await.map(|it| it.is_ok());
        match (waited, found) {
            (Ok(true), Some(found)) => self.seen = found,
            (_, _) => panic!("{text:?} is not on the screen:\n{}", self.screen()),
        }
    }

    /// Waits for the command's end, and returns the status and all that was written to the terminal.
    pub(crate) async fn reads_to_the_end(&mut self) -> (ExitStatus, String) {
        let status = self.ends().await;
        let mut screen = self.screen.clone();
        let all = async { while screen.changed().await.is_ok() {} };
        within("the end of the screen", all).await;
        (status, self.screen())
    }

    /// Returns what was written to the terminal.
    pub(crate) fn screen(&self) -> String {
        self.screen.borrow().clone()
    }

    /// Types something and the Enter key.
    pub(crate) fn types(&self, line: &str) {
        self.presses(&format!("{line}\n"));
    }

    /// Presses keys.
    pub(crate) fn presses(&self, keys: &str) {
        (&self.terminal)
            .write_all(keys.as_bytes())
            .expect("the terminal takes keys");
    }

    /// Returns whether the terminal echoes.
    pub(crate) fn is_shown_what_is_typed(&self) -> bool {
        let settings = tcgetattr(&self.terminal).expect("a terminal has settings");
        settings.local_modes.contains(LocalModes::ECHO)
    }

    /// Waits until a program of this name, at this terminal, is suspended, with all its threads: one that still runs may
    /// read what is typed next.
    pub(crate) async fn has_stopped(&self, name: &str) {
        let is_stopped = || {
            let mut threads = stats(&self.process(name).join("task"));
            threads.all(|stat| stat.state == "T")
        };
        let stopped = async {
            while !is_stopped() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        within("the command stops", stopped).await;
    }

    /// Sends a signal to a program of this name, at this terminal.
    pub(crate) fn signal_to(&self, name: &str, signal: Signal) {
        let pid = self.process(name);
        let pid = pid.file_name().and_then(|pid| pid.to_str()?.parse().ok());
        let pid = pid.and_then(Pid::from_raw).expect("the program runs");
        kill_process(pid, signal).expect("the program takes signals");
    }

    /// Returns the folder of a program of this name, at this terminal, below `/proc`.
    fn process(&self, name: &str) -> PathBuf {
        let session = self.program.id().expect("the command runs").to_string();
        let mut processes = stats(Path::new("/proc"));
        let found = processes.find(|stat| stat.name == name && stat.session == session);
        found.expect("the program runs").folder
    }

    /// Sends the command a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        let pid = self.program.id().and_then(|pid| i32::try_from(pid).ok());
        let pid = pid.and_then(Pid::from_raw).expect("the command runs");
        kill_process(pid, signal).expect("the command takes signals");
    }

    /// Waits for the command's end.
    pub(crate) async fn ends(&mut self) -> ExitStatus {
        let Ok(ended) = tokio::time::timeout(LIMIT, self.program.wait()).await else {
            panic!("the command does not end:\n{}", self.screen());
        };
        ended.expect("the command can be waited for")
    }
}

/// What the system says of a process or a thread.
struct Stat {
    folder: PathBuf,
    name: String,
    state: String,
    session: String,
}

/// Reads it for each process or thread of a folder; one may have ended meanwhile. Source: `proc_pid_stat(5)`.
fn stats(folder: &Path) -> impl Iterator<Item = Stat> + use<> {
    let folders = std::fs::read_dir(folder).expect("there are processes");
    let folders = folders.map(|it| it.expect("it can be read").path());
    folders.filter_map(|folder| {
        let stat = std::fs::read_to_string(folder.join("stat")).ok()?;
        let (named, about) = stat.rsplit_once(')')?;
        let (_, name) = named.split_once('(')?;
        let about: Vec<_> = about.split_whitespace().collect();
        Some(Stat {
            name: name.to_owned(),
            state: about[0].to_owned(),
            session: about[3].to_owned(),
            folder,
        })
    })
}

fn read(mut terminal: File, screen: &watch::Sender<String>) {
    let mut buffer = [0; 1024];
    // Fails when the other side is closed.
    while let Ok(count @ 1..) = terminal.read(&mut buffer) {
        let text = String::from_utf8_lossy(&buffer[..count]).into_owned();
        screen.send_modify(|screen| screen.push_str(&text));
    }
}

/// Returns the paths below a directory that others than the owner may read.
pub(crate) fn readable_by_others(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for name in names(directory) {
        let path = directory.join(name);
        let metadata = std::fs::symlink_metadata(&path).expect("it is there");
        if metadata.permissions().mode() & 0o077 != 0 {
            found.push(path.clone());
        }
        if metadata.is_dir() {
            found.extend(readable_by_others(&path));
        }
    }
    found
}

/// Returns the names in a directory, sorted.
pub(crate) fn names(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).expect("it is a directory");
    let names = entries.map(|entry| entry.expect("it can be read").file_name());
    let mut names: Vec<_> = names
        .map(|name| name.to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}
