//! A message bus per test: `dbus-daemon` on a socket in a temporary directory.

use std::fs;
use std::path::PathBuf;
use std::process::Stdio;

use tempfile::TempDir;
use tokio::process::{Child, Command};

use super::lines::Lines;
use super::process::temporary_directory;

const PROGRAM: &str = "dbus-daemon";

/// A running bus; killed on drop.
#[derive(Debug)]
pub(crate) struct Bus {
    directory: TempDir,
    program: Child,
}

impl Bus {
    /// Starts a bus. Where `dbus-daemon` is missing, prints this, and the test is skipped; CI has it.
    pub(crate) async fn start() -> Option<Self> {
        let directory = temporary_directory("bus");
        let configuration = format!(
            r#"<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
                 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
               <busconfig>
                 <type>system</type>
                 <listen>unix:path={}</listen>
                 <auth>EXTERNAL</auth>
                 <policy context="default">
                   <allow user="*"/><allow own="*"/>
                   <allow send_type="method_call"/><allow send_type="signal"/>
                   <allow send_type="method_return"/><allow send_type="error"/>
                   <allow receive_type="method_call"/><allow receive_type="signal"/>
                   <allow receive_type="method_return"/><allow receive_type="error"/>
                 </policy>
               </busconfig>"#,
            directory.path().join("socket").display()
        );
        fs::write(directory.path().join("bus.conf"), configuration).expect("it can be written");
        match run(&directory) {
            Ok(program) => Some(Self::listening(directory, program).await),
            Err(error) => {
                let sentence = format!("cannot run {PROGRAM} ({error}): apt install dbus-daemon");
                assert!(std::env::var_os("CI").is_none(), "{sentence}");
                eprintln!("SKIPPED: {sentence}");
                None
            }
        }
    }

    async fn listening(directory: TempDir, mut program: Child) -> Self {
        let output = program.stdout.take().expect("its output is a pipe");
        let output = Lines::of("the message bus", output);
        output.first(0, "its address", |_| Some(())).await;
        Self { directory, program }
    }

    /// Returns the bus's address, for `DBUS_SYSTEM_BUS_ADDRESS`.
    pub(crate) fn address(&self) -> String {
        format!("unix:path={}", self.socket().display())
    }

    fn socket(&self) -> PathBuf {
        self.directory.path().join("socket")
    }

    /// Kills the bus, without warning its clients.
    pub(crate) async fn end(&mut self) {
        self.program.kill().await.expect("the bus can be ended");
        fs::remove_file(self.socket()).expect("its socket is there");
    }

    /// Starts the bus again at the same address, without its former clients.
    pub(crate) async fn start_again(self) -> Self {
        let Self { directory, .. } = self;
        let program = run(&directory).expect("the bus ran before");
        Self::listening(directory, program).await
    }
}

fn run(directory: &TempDir) -> std::io::Result<Child> {
    Command::new(PROGRAM)
        .arg(format!(
            "--config-file={}",
            directory.path().join("bus.conf").display()
        ))
        .args(["--nofork", "--nopidfile", "--nosyslog", "--print-address=1"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
}
