//! A machine with systemd as its first process, made by `scripts/systemd-machine`.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use super::process::relay_program;
use super::relay::text_of;
use super::within;

/// Ends on drop: its script ends it when its standard input is closed.
#[derive(Debug)]
pub(crate) struct Machine {
    _script: Child,
    /// Its first process, as this system numbers it.
    pid: u32,
}

impl Machine {
    /// Starts one, with the relay in `/usr/local/bin`. Where there can be none, the test says so and is skipped.
    pub(crate) async fn start() -> Option<Self> {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/systemd-machine");
        let mut command = Command::new(script);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut script = command.spawn().expect("the script runs");
        let mut lines = BufReader::new(script.stdout.take().expect("it is a pipe")).lines();
        let line = within("a machine with systemd", lines.next_line()).await;
        let line = line.expect("it can be read").unwrap_or_default();
        let Some(pid) = line.strip_prefix("ready ").and_then(|pid| pid.parse().ok()) else {
            let output = script.wait_with_output().await.expect("it ends");
            eprintln!(
                "SKIPPED: no machine with systemd here: {}",
                text_of(&output).trim()
            );
            return None;
        };
        let machine = Self {
            _script: script,
            pid,
        };
        let place = machine.path("/usr/local/bin/relay");
        fs::copy(relay_program(), place).expect("the program can be copied");
        // Its user is root, which needs no help to become another one.
        machine.write(
            "/usr/local/bin/sudo",
            "#!/bin/sh\nif [ \"$1\" = -u ]; then user=$2; shift 2; exec runuser -u \"$user\" -- \"$@\"; fi\nexec \"$@\"\n",
        );
        machine
            .run("chmod 755 /usr/local/bin/sudo && systemctl start dbus systemd-logind")
            .await;
        Some(machine)
    }

    /// Returns where a file of the machine is for this system.
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        Path::new("/proc")
            .join(self.pid.to_string())
            .join("root")
            .join(path.trim_start_matches('/'))
    }

    pub(crate) fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().expect("a file is in a directory"))
            .expect("it can be made");
        fs::write(path, text).expect("it can be written");
    }

    pub(crate) fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// Runs a line of a shell on the machine as root, and returns what came of it.
    pub(crate) async fn tries(&self, line: &str) -> Output {
        self.tries_as("root", line).await
    }

    /// Runs a line as this user.
    pub(crate) async fn tries_as(&self, user: &str, line: &str) -> Output {
        let mut command = Command::new("nsenter");
        command.args([
            "-t",
            &self.pid.to_string(),
            "-m",
            "-p",
            "-u",
            "-i",
            "-C",
            "--",
        ]);
        command.args(["runuser", "-u", user, "--", "sh", "-c"]);
        // As a login would set them.
        let login = "HOME=$(getent passwd \"$(id -un)\" | cut -d: -f6) USER=$(id -un) XDG_RUNTIME_DIR=/run/user/$(id -u); \
                     export HOME USER XDG_RUNTIME_DIR; cd /";
        command.arg(format!("{login}; {line}"));
        for (name, _) in std::env::vars_os() {
            let name: &OsStr = &name;
            if name != "RELAY_MATRIX_PASSWORD" {
                command.env_remove(name);
            }
        }
        command.env("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin");
        command
            .env("RELAY_MATRIX_PASSWORD", super::synapse::PASSWORD)
            .env("NO_COLOR", "1");
        command.stdin(Stdio::null()).kill_on_drop(true);
        within(&format!("the end of `{line}`"), command.output())
            .await
            .expect("nsenter is here")
    }

    /// Runs a line, asserts that it works, and returns what it wrote.
    pub(crate) async fn run(&self, line: &str) -> String {
        self.run_as("root", line).await
    }

    pub(crate) async fn run_as(&self, user: &str, line: &str) -> String {
        let output = self.tries_as(user, line).await;
        if !output.status.success() {
            let log = self.tries("journalctl --no-pager --lines 40").await;
            panic!(
                "`{line}`: {}\n--- the machine's log:\n{}",
                text_of(&output),
                text_of(&log)
            );
        }
        text_of(&output)
    }

    /// Waits until a line prints this.
    pub(crate) async fn comes_to(&self, line: &str, expected: &str) {
        let comes = async {
            loop {
                let text = text_of(&self.tries(line).await);
                if text.trim() == expected {
                    return;
                }
                tokio::time::sleep(std::time::Duration::from_millis(200)).await;
            }
        };
        within(&format!("`{line}` prints {expected}"), comes).await;
    }
}
