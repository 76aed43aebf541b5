//! The handle to a bare client, the lower bound for any relay that uses the SDK.

use std::process::Stdio;

use matrix_sdk::ruma::{OwnedRoomId, OwnedUserId};
use rustix::process::Pid;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, ChildStdin, Command};

use crate::bare_program::ARGUMENT;
use crate::support::lines::Lines;
use crate::support::process::temporary_directory;
use crate::support::synapse::Synapse;
use crate::support::within;

/// A bare client's account and the directory of its store.
#[derive(Debug)]
pub(crate) struct BareHome {
    directory: TempDir,
    username: String,
    url: String,
}

impl BareHome {
    /// Registers an account for a bare client on this homeserver, and makes its directory.
    pub(crate) async fn new(synapse: &Synapse) -> Self {
        Self {
            directory: temporary_directory("bare"),
            username: synapse.register("bare").await,
            url: synapse.url().to_owned(),
        }
    }

    /// Returns the user id of its account.
    pub(crate) fn user(&self) -> OwnedUserId {
        let user = format!("@{}:localhost", self.username);
        user.parse().expect("a user has an identifier")
    }

    /// Starts the client and waits until it has a session: a new one at the first start, the restored one later.
    pub(crate) async fn start(&self) -> Bare {
        let bare = self.spawn();
        bare.ready().await;
        bare
    }

    /// Starts the client, without waiting until it has a session.
    pub(crate) fn spawn(&self) -> Bare {
        let program = std::env::current_exe().expect("a program knows where it is");
        let mut program = Command::new(program)
            .arg(ARGUMENT)
            .arg(self.directory.path())
            .args([&self.url, &self.username])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .kill_on_drop(true)
            .spawn()
            .expect("a program can run itself");
        let input = program.stdin.take().expect("its input is a pipe");
        let output = program.stdout.take().expect("its output is a pipe");
        Bare {
            program,
            input,
            output: Lines::of("the bare client", output),
        }
    }
}

/// A running bare client; killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Bare {
    program: Child,
    input: ChildStdin,
    output: Lines,
}

impl Bare {
    /// Waits until the client has a session and may be given messages.
    pub(crate) async fn ready(&self) {
        let pick = |line: &str| line.contains("ready").then_some(());
        self.output.first(0, "that it is ready", pick).await;
    }

    /// Queues a message, without waiting until it is sent.
    pub(crate) async fn send(&mut self, room: &OwnedRoomId, content: &Value) {
        let line = format!("{}\n", json!({"room": room, "content": content}));
        let written = self.input.write_all(line.as_bytes()).await;
        written.expect("the bare client reads its input");
        let flushed = self.input.flush().await;
        flushed.expect("the bare client reads its input");
    }

    /// Returns the number of lines written so far.
    pub(crate) fn lines(&self) -> usize {
        self.output.count()
    }

    /// Waits until it has received a text, reported at or after line `from`.
    pub(crate) async fn sees(&self, from: usize, text: &str) {
        let pick = |line: &str| {
            let line: Value = serde_json::from_str(line).ok()?;
            (line["seen"] == text).then_some(())
        };
        self.output.first(from, text, pick).await;
    }

    /// Returns the client's process id; panics if it has ended.
    pub(crate) fn pid(&self) -> Pid {
        let pid = self.program.id().and_then(|pid| i32::try_from(pid).ok());
        pid.and_then(Pid::from_raw).expect("the bare client runs")
    }

    /// Closes the client's input, and waits until it has ended well.
    pub(crate) async fn stop(self) {
        let Self {
            mut program, input, ..
        } = self;
        drop(input);
        let ended = within("the bare client's end", program.wait()).await;
        assert!(ended.expect("it can be waited for").success());
    }
}
