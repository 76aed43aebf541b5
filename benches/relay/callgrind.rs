//! The relay under `valgrind --tool=callgrind`, which counts the instructions of the program: nearly
//! the same on processors of one family, whatever else runs.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::support::lines::Lines;
use crate::support::process::{relay_program, temporary_directory};
use crate::support::relay::Home;

/// How long it may take until the relay is ready: the program runs some fifty times slower.
const START: Duration = Duration::from_mins(10);
/// How long it may take to end.
const END: Duration = Duration::from_mins(2);

/// Returns a sentence if there is no valgrind here.
pub(crate) async fn missing() -> Option<String> {
    for program in ["valgrind", "callgrind_control"] {
        let mut command = Command::new(program);
        command.arg("--version").stdout(Stdio::null());
        if let Err(error) = command.status().await {
            return Some(format!("`{program}` cannot be started ({error})"));
        }
    }
    None
}

/// A running relay; killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Counted {
    program: Child,
    log: Lines,
    directory: TempDir,
}

impl Counted {
    /// Starts it, without counting yet, and waits until it is ready.
    pub(crate) async fn start(home: &Home) -> Self {
        let directory = temporary_directory("callgrind");
        let mut command = Command::new("valgrind");
        command.args(["--tool=callgrind", "--instr-atstart=no", "--quiet"]);
        command.arg(format!(
            "--callgrind-out-file={}",
            directory.path().join("counted").display()
        ));
        command
            .arg(relay_program())
            .arg("--home")
            .arg(home.path(""));
        for (name, _) in std::env::vars_os() {
            let ours = |name: &str| name.starts_with("RELAY_") || name.starts_with("MMRELAY_");
            if name.to_str().is_some_and(ours) {
                command.env_remove(name);
            }
        }
        let mut program = command
            .env("NO_COLOR", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("valgrind runs");
        let log = program.stderr.take().expect("its errors are a pipe");
        let log = Lines::of("the relay under valgrind", log);
        let ready = |line: &str| line.contains("relay is ready").then_some(());
        log.first_within(START, 0, "that it is ready", ready).await;
        Self {
            program,
            log,
            directory,
        }
    }

    /// Begins to count.
    pub(crate) async fn begin(&self) {
        self.control(&["--instr=on"]).await;
    }

    /// Returns the instructions since the last call, or since it began to count.
    pub(crate) async fn counted(&self) -> u64 {
        self.control(&["--dump"]).await;
        newest_total(self.directory.path())
    }

    /// Ends counting.
    pub(crate) async fn end(&self) {
        self.control(&["--instr=off"]).await;
        // What is left of this count does not belong to the next one.
        self.counted().await;
    }

    /// Asks it to stop, and waits until it has.
    pub(crate) async fn stop(mut self) {
        kill_process(self.pid(), Signal::TERM).expect("the relay takes signals");
        let ended = tokio::time::timeout(END, self.program.wait()).await;
        let ended = ended.expect("the relay ends in time");
        let status = ended.expect("the relay can be waited for");
        assert!(
            status.success(),
            "the relay ends with {status}: {}",
            self.log.text()
        );
    }

    fn pid(&self) -> Pid {
        let pid = self.program.id().and_then(|pid| i32::try_from(pid).ok());
        pid.and_then(Pid::from_raw).expect("the relay runs")
    }

    async fn control(&self, arguments: &[&str]) {
        let mut command = Command::new("callgrind_control");
        command
            .args(arguments)
            .arg(self.pid().as_raw_nonzero().to_string());
        let output = command.stdin(Stdio::null()).output();
        let output = tokio::time::timeout(END, output).await;
        let output = output
            .expect("valgrind answers in time")
            .expect("callgrind_control runs");
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            output.status.success() && told.contains("OK"),
            "callgrind_control {arguments:?}: {told}{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

/// Returns the total of the newest dump: files are numbered.
fn newest_total(directory: &Path) -> u64 {
    let files = fs::read_dir(directory).expect("the directory is ours");
    let number = |path: &Path| path.extension()?.to_str()?.parse::<u32>().ok();
    let files = files.filter_map(|file| Some(file.ok()?.path()));
    let newest = files.max_by_key(|path| number(path));
    let newest = newest.expect("valgrind wrote a dump");
    let dump = fs::read_to_string(&newest).expect("a dump is text");
    fs::remove_file(&newest).expect("the dump is ours");
    let total = dump
        .lines()
        .find_map(|line| line.strip_prefix("totals: ")?.trim().parse().ok());
    total.unwrap_or_else(|| panic!("there is no total in {}", newest.display()))
}
