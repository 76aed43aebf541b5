//! The relay as a user runs it: the built program, a home of its own, a configuration file.

use std::ffi::OsStr;
use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{ExitStatus, Output, Stdio};
use std::time::Duration;

use matrix_sdk::ruma::OwnedUserId;
use rustix::process::{Pid, Signal, geteuid, kill_process};
use tempfile::TempDir;
use tokio::io::AsyncRead;
use tokio::process::{Child, ChildStdin, Command};

use super::limit::{last_lines, within};
use super::lines::Lines;
use super::login_service::LoginService;
use super::person::Person;
use super::process::{relay_program, temporary_directory};
use super::synapse::{PASSWORD, Synapse};

/// A home directory of a relay, removed when this is dropped.
#[derive(Debug)]
pub(crate) struct Home {
    directory: TempDir,
    environment: Vec<(&'static str, String)>,
    /// Whether the relay runs without the capabilities of root, if the tests have them.
    ordinary: bool,
}

impl Home {
    /// Makes an empty one.
    pub(crate) fn new() -> Self {
        Self {
            directory: temporary_directory("relay"),
            environment: Vec::new(),
            ordinary: false,
        }
    }

    /// Returns the login on disk.
    pub(crate) fn session(&self) -> serde_json::Value {
        let text = fs::read(self.path("matrix/session.json")).expect("there is a session");
        serde_json::from_slice(&text).expect("a session is JSON")
    }

    /// Runs the relay without root's capabilities, so that permissions apply.
    pub(crate) fn use_ordinary_rights(&mut self) {
        self.ordinary = true;
    }

    /// Adds a variable to the environment of its relay.
    pub(crate) fn set_environment(&mut self, (name, value): (&'static str, String)) {
        self.environment.push((name, value));
    }

    /// Returns a path in it.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Writes its `config.yaml`.
    pub(crate) fn configure(&self, yaml: &str) {
        fs::write(self.path("config.yaml"), yaml).expect("the configuration can be written");
    }

    /// Replaces a text in `config.yaml`.
    pub(crate) fn reconfigure(&self, before: &str, after: &str) {
        let config = fs::read_to_string(self.path("config.yaml")).expect("it was written");
        assert!(config.contains(before), "{before} is not in {config}");
        self.configure(&config.replace(before, after));
    }

    /// Makes an account, and logs the relay in without a terminal.
    pub(crate) async fn log_in(&self, synapse: &Synapse) -> OwnedUserId {
        self.log_in_at(synapse, synapse.url()).await
    }

    /// Does the same at another address of the homeserver.
    pub(crate) async fn log_in_at(&self, synapse: &Synapse, url: &str) -> OwnedUserId {
        let username = synapse.register("bot").await;
        if let Some(service) = synapse.delegates_to() {
            self.log_in_by_code(url, service, &username, &[]).await;
            return format!("@{username}:localhost")
                .parse()
                .expect("a user has an identifier");
        }
        let output = self.log_in_as(url, &username, PASSWORD).await;
        assert!(
            output.status.success(),
            "cannot log in: {}",
            text_of(&output)
        );
        format!("@{username}:localhost")
            .parse()
            .expect("a user has an identifier")
    }

    /// Logs the relay in by a code, which this person types at the login service; returns what was printed.
    pub(crate) async fn log_in_by_code(
        &self,
        server: &str,
        service: &LoginService,
        user: &str,
        further: &[&str],
    ) -> String {
        let arguments = [
            "auth",
            "login",
            "--homeserver",
            server,
            "--oauth",
            "--device-code",
        ];
        let mut login = self.begin(&[&arguments, further].concat());
        let is_code = |line: &str| {
            let code = line.strip_prefix("    ")?;
            (code.len() == 6).then(|| code.to_owned())
        };
        let code = login.errors.first(0, "a code", is_code).await;
        service.types(&code, user).await;
        let ended = login.ends().await;
        tokio::join!(login.output.whole(), login.errors.whole());
        let told = [login.output.all(), login.errors.all()].concat().join("\n");
        assert!(ended.success(), "{told}");
        told
    }

    /// Runs `relay auth login`.
    pub(crate) async fn log_in_as(&self, server: &str, username: &str, password: &str) -> Output {
        let file = self.path("password");
        fs::write(&file, password).expect("the password can be written");
        let arguments = [
            "auth",
            "login",
            "--homeserver",
            server,
            "--username",
            username,
        ];
        let arguments = arguments.iter().map(OsStr::new);
        self.run(arguments.chain([OsStr::new("--password-file"), file.as_os_str()]))
            .await
    }

    /// Runs `relay auth login --force`, with further flags.
    pub(crate) async fn log_in_forced(
        &self,
        server: &str,
        username: &str,
        further: &[&str],
    ) -> Output {
        let file = self.path("password");
        fs::write(&file, PASSWORD).expect("the password can be written");
        let file = file.to_str().expect("a path is a text");
        let arguments = [
            "auth",
            "login",
            "--force",
            "--homeserver",
            server,
            "--username",
            username,
            "--password-file",
            file,
        ];
        self.run(arguments.iter().chain(further)).await
    }

    /// Runs a command of the relay to its end, without a terminal.
    pub(crate) async fn run<A: AsRef<OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = A>,
    ) -> Output {
        let mut command = self.command();
        command.args(arguments).stdin(Stdio::null());
        within("the end of the command", command.output())
            .await
            .expect("the relay runs")
    }

    /// Runs a command of the relay to its end in a namespace without network. Where there can be none, the test
    /// says so and is skipped.
    #[cfg(target_os = "linux")]
    pub(crate) async fn run_without_network(&self, arguments: &[&str]) -> Option<Output> {
        const ALONE: [&str; 3] = ["--user", "--map-current-user", "--net"];
        let tried = Command::new("unshare").args(ALONE).arg("true").status();
        if !tried.await.is_ok_and(|status| status.success()) {
            eprintln!("SKIPPED: `unshare` cannot make a machine without a network");
            return None;
        }
        let plain = self.command();
        let mut command = Command::new("unshare");
        command.args(ALONE).arg(plain.as_std().get_program());
        command.args(plain.as_std().get_args()).args(arguments);
        for (name, value) in plain.as_std().get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command.stdin(Stdio::null()).kill_on_drop(true);
        let output = within("the end of the command", command.output()).await;
        Some(output.expect("the relay runs"))
    }

    /// Starts a command of the relay at a terminal.
    pub(crate) fn at_terminal<A: AsRef<OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = A>,
    ) -> Person {
        let mut command = self.command();
        command.args(arguments);
        Person::at(&command)
    }

    /// Starts a command of the relay as a job of a shell at a terminal, perhaps through another program: when the job is
    /// suspended, the shell says so, and does what is typed then.
    pub(crate) fn at_shell<A: AsRef<OsStr>>(
        &self,
        through: &[&str],
        arguments: impl IntoIterator<Item = A>,
    ) -> Person {
        let plain = self.command();
        let mut command = Command::new("sh");
        command.args([
            "-mc",
            "\"$@\"; echo suspended; read -r line; eval \"$line\"",
            "sh",
        ]);
        command.args(through);
        command.arg(plain.as_std().get_program());
        command.args(plain.as_std().get_args()).args(arguments);
        for (name, value) in plain.as_std().get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        Person::at(&command)
    }

    /// Starts a long-running command of the relay, without a terminal.
    pub(crate) fn begin(&self, arguments: &[&str]) -> Running {
        self.begin_onto(arguments, Stdio::piped())
    }

    /// Starts a command as [`Self::begin`] does, and returns its standard input, too.
    pub(crate) fn begin_asking(&self, arguments: &[&str]) -> (Running, ChildStdin) {
        let mut running = self.begin_between(arguments, Stdio::piped(), Stdio::piped());
        let input = running.program.stdin.take();
        (running, input.expect("its input is a pipe"))
    }

    /// Starts a command as [`Self::begin`] does, with another standard output; without lines, if that is no pipe.
    pub(crate) fn begin_onto(&self, arguments: &[&str], output: Stdio) -> Running {
        self.begin_between(arguments, Stdio::null(), output)
    }

    fn begin_between(&self, arguments: &[&str], input: Stdio, output: Stdio) -> Running {
        let mut program = self
            .command()
            .args(arguments)
            .stdin(input)
            .stdout(output)
            .stderr(Stdio::piped())
            .spawn()
            .expect("the relay runs");
        let output: Box<dyn AsyncRead + Unpin + Send> = match program.stdout.take() {
            Some(pipe) => Box::new(pipe),
            None => Box::new(tokio::io::empty()),
        };
        let errors = program.stderr.take().expect("its errors are a pipe");
        Running {
            program,
            output: Lines::of("the command", output),
            errors: Lines::of("the command's errors", errors),
        }
    }

    /// Starts the daemon and waits until it is ready.
    pub(crate) async fn start(&self) -> Relay {
        let relay = self.spawn();
        relay.logs("relay is ready").await;
        relay
    }

    /// Starts the daemon.
    pub(crate) fn spawn(&self) -> Relay {
        self.spawn_with(&["--log-level", "debug"])
    }

    /// Starts the daemon with these arguments.
    pub(crate) fn spawn_with(&self, arguments: &[&str]) -> Relay {
        self.spawn_on(Stdio::null(), arguments)
    }

    /// Starts the daemon on a terminal, or whatever else its standard input is.
    pub(crate) fn spawn_on(&self, input: Stdio, arguments: &[&str]) -> Relay {
        let mut program = self
            .command()
            .args(arguments)
            .stdin(input)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the relay runs");
        let log = Lines::of(
            "the relay",
            program.stderr.take().expect("its errors are a pipe"),
        );
        Relay { program, log }
    }

    /// Returns the relay's program with this home, and no other variables of the relay in its environment.
    fn command(&self) -> Command {
        let mut command = if self.ordinary && geteuid().is_root() {
            // Still user id 0, which owns the home and may run the program from any directory.
            let mut command = Command::new("setpriv");
            command.args(["--bounding-set=-all", "--inh-caps=-all", "--"]);
            command.arg(relay_program());
            command
        } else {
            Command::new(relay_program())
        };
        let ours = |name: &str| name.starts_with("RELAY_") || name.starts_with("MMRELAY_");
        for (name, _) in std::env::vars_os() {
            if name.to_str().is_some_and(ours) {
                command.env_remove(name);
            }
        }
        command
            .arg("--home")
            .arg(self.directory.path())
            .env("NO_COLOR", "1")
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .kill_on_drop(true);
        command
    }
}

/// A running command; killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Running {
    program: Child,
    /// What it writes to standard output.
    pub(crate) output: Lines,
    /// What it writes to standard error.
    pub(crate) errors: Lines,
}

impl Running {
    /// Stops reading standard output, and waits for the end.
    pub(crate) async fn ends_unread(mut self) -> (ExitStatus, Lines) {
        self.output = Lines::of("nobody", tokio::io::empty());
        (self.ends().await, self.errors)
    }

    /// Waits for its end.
    pub(crate) async fn ends(&mut self) -> ExitStatus {
        within("the command's end", self.program.wait())
            .await
            .expect("the command can be waited for")
    }

    /// Asks it to end, as Ctrl-C does, and waits until it has.
    pub(crate) async fn interrupt(&mut self) -> ExitStatus {
        self.signal(Signal::INT);
        self.ends().await
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        let pid = self.program.id().and_then(|pid| i32::try_from(pid).ok());
        let pid = pid.and_then(Pid::from_raw).expect("the command runs");
        kill_process(pid, signal).expect("the command takes signals");
    }
}

/// A running daemon; killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Relay {
    program: Child,
    log: Lines,
}

impl Relay {
    /// Waits for a line in the log that contains this text, also among earlier lines.
    pub(crate) async fn logs(&self, text: &str) -> String {
        let pick = |line: &str| line.contains(text).then(|| line.to_owned());
        self.log
            .first(0, &format!("a line with {text:?}"), pick)
            .await
    }

    /// Waits for a line as [`Self::logs`] does, with a timeout.
    pub(crate) async fn logs_within(&self, text: &str, limit: Duration) -> String {
        let pick = |line: &str| line.contains(text).then(|| line.to_owned());
        let what = format!("a line with {text:?}");
        self.log.first_within(limit, 0, &what, pick).await
    }

    /// Waits until the log has this number of lines that contain this text.
    pub(crate) async fn logs_times(&self, text: &str, times: usize) {
        let mut found = 0;
        let what = format!("{times} lines with {text:?}");
        let pick = |line: &str| {
            found += usize::from(line.contains(text));
            (found == times).then_some(())
        };
        self.log.first(0, &what, pick).await;
    }

    /// Returns the lines of its log so far.
    pub(crate) fn log(&self) -> String {
        self.log.text()
    }

    /// Stops reading the log.
    pub(crate) fn stop_reading(&mut self) {
        self.log = Lines::of("nobody", tokio::io::empty());
    }

    /// Asks it to stop, and waits until it has.
    pub(crate) async fn stop(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.ended().await
    }

    /// Kills the daemon, as a power cut does.
    pub(crate) async fn kill(&mut self) {
        self.program.kill().await.expect("the relay can be killed");
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("the relay takes signals");
    }

    /// Returns the process id of the daemon.
    pub(crate) fn pid(&self) -> Pid {
        let pid = self.program.id().and_then(|pid| i32::try_from(pid).ok());
        pid.and_then(Pid::from_raw).expect("the relay runs")
    }

    /// Waits until it ends by itself, and its log is read to the end.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        let status = within("the relay's end", self.program.wait()).await;
        within("the end of its log", self.log.whole()).await;
        status.expect("the relay can be waited for")
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!(
                "--- the relay's last lines:\n{}",
                last_lines(&self.log.all())
            );
            let file = tempfile::Builder::new().prefix("relay-log-").tempfile();
            if let Ok((mut file, path)) = file.and_then(|file| file.keep().map_err(Into::into))
                && file.write_all(self.log().as_bytes()).is_ok()
            {
                eprintln!("--- the whole log: {}", path.display());
            }
        }
    }
}

/// Returns both outputs of a command, as text.
pub(crate) fn text_of(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    format!("{}{}", text(&output.stdout), text(&output.stderr))
}
