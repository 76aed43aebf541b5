//! A simulated radio: `relay simulate`, driven by JSON lines.

use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};
use tokio::io::{AsyncWriteExt, DuplexStream};
use tokio::process::{Child, ChildStdin, Command};

use super::limit::last_lines;
use super::lines::Lines;
use super::process::relay_program;

/// A node of the mesh that tests speak for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Node {
    /// Node id, as `!0a0b0c01`.
    pub(crate) id: &'static str,
    /// Long name, which the relay puts before its texts.
    pub(crate) long: &'static str,
    /// Short name.
    pub(crate) short: &'static str,
}

/// The node that most tests speak for.
pub(crate) const BASE: Node = Node {
    id: "!0a0b0c01",
    long: "Base Camp",
    short: "BASE",
};
/// A second node, for tests that need two.
pub(crate) const SUMMIT: Node = Node {
    id: "!0a0b0c02",
    long: "Summit Hut",
    short: "SUMM",
};

static PACKETS: AtomicU32 = AtomicU32::new(0x1A2B_0000);

/// A simulated radio: a program that listens on loopback, or one that lives in the test.
#[derive(Debug)]
pub(crate) struct Radio {
    place: String,
    input: Input,
    /// The JSON lines that it reports.
    pub(crate) output: Lines,
    program: Option<Child>,
}

#[derive(Debug)]
enum Input {
    Program(ChildStdin),
    Pipe(DuplexStream),
}

impl Radio {
    /// Starts a simulated radio on a free port.
    pub(crate) async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// Starts a simulated radio on that port.
    pub(crate) async fn start_on(port: u16) -> Self {
        Self::start_with(&["--listen", &format!("127.0.0.1:{port}")]).await
    }

    /// Starts a simulated radio on a serial port behind that link.
    pub(crate) async fn start_at(link: &Path) -> Self {
        let link = link.to_str().expect("the link's name is a text");
        Self::start_with(&["--pty", link]).await
    }

    /// Starts a simulated radio with more arguments of `relay simulate`.
    pub(crate) async fn start_with(arguments: &[&str]) -> Self {
        let mut command = Command::new(relay_program());
        command.arg("simulate").args(arguments);
        if !arguments.contains(&"--nodes") {
            command.args(["--nodes", "3"]);
        }
        if !arguments.contains(&"--seed") {
            command.args(["--seed", "7"]);
        }
        if !arguments.contains(&"--listen") && !arguments.contains(&"--pty") {
            command.args(["--listen", "127.0.0.1:0"]);
        }
        let mut program = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .kill_on_drop(true)
            .spawn()
            .expect("the simulated radio runs");
        let input = program.stdin.take().expect("its input is a pipe");
        let output = Lines::of(
            "the radio",
            program.stdout.take().expect("its output is a pipe"),
        );
        let place = output.first(0, "where it listens", |line| {
            let line: Value = serde_json::from_str(line).ok()?;
            Some(line["listening"].as_str()?.to_owned())
        });
        let place = place.await;
        Self {
            place,
            input: Input::Program(input),
            output,
            program: Some(program),
        }
    }

    /// Takes one that lives in the test, and has no port.
    pub(crate) fn of_pipes(input: DuplexStream, output: DuplexStream) -> Self {
        Self {
            place: String::new(),
            input: Input::Pipe(input),
            output: Lines::of("the radio", output),
            program: None,
        }
    }

    /// Returns the port on which it listens.
    pub(crate) fn port(&self) -> u16 {
        let port = self.place.rsplit(':').next();
        port.and_then(|port| port.parse().ok())
            .expect("it listens on a port")
    }

    /// Returns where it can be reached: an address, or the path of a serial port.
    pub(crate) fn place(&self) -> &str {
        &self.place
    }

    /// A node sends a text on a channel; returns the packet's id.
    pub(crate) async fn says(&mut self, node: Node, channel: u8, text: &str) -> u32 {
        self.sends(node, json!({"channel": channel, "text": text}))
            .await
    }

    /// A node replies to a packet.
    pub(crate) async fn replies(&mut self, node: Node, channel: u8, to: u32, text: &str) -> u32 {
        self.sends(
            node,
            json!({"channel": channel, "text": text, "reply_id": to}),
        )
        .await
    }

    /// A node reacts to a packet.
    pub(crate) async fn taps(&mut self, node: Node, channel: u8, on: u32, emoji: &str) -> u32 {
        self.sends(
            node,
            json!({"channel": channel, "text": emoji, "reply_id": on, "emoji": 1}),
        )
        .await
    }

    /// A node sends a packet with these fields; returns its id.
    pub(crate) async fn sends(&mut self, node: Node, mut packet: Value) -> u32 {
        let defaults = json!({
            "from": node.id, "name": node.long, "short": node.short,
            "id": PACKETS.fetch_add(1, Ordering::Relaxed),
        });
        for (key, value) in defaults.as_object().into_iter().flatten() {
            if packet.get(key).is_none() {
                packet[key] = value.clone();
            }
        }
        let from = self.output.count();
        self.write(&packet).await;
        let (id, what) = (packet["id"].clone(), format!("that it took {packet}"));
        let taken = self.output.first(from, &what, |line| {
            let line: Value = serde_json::from_str(line).ok()?;
            assert!(
                line["error"].is_null() || !line["transmitted"].is_null(),
                "the radio says {line}"
            );
            (line["injected"]["id"] == id).then_some(())
        });
        taken.await;
        id.as_u64()
            .and_then(|id| u32::try_from(id).ok())
            .expect("a packet's id is a number")
    }

    /// Sets a fault.
    pub(crate) async fn fault(&mut self, fault: Value) {
        self.write(&fault).await;
    }

    /// Waits until the radio accepts a packet with this text, and returns the packet.
    pub(crate) async fn transmits(&self, text: &str) -> Value {
        self.transmits_where(&format!("{text:?}"), |packet| packet["text"] == text)
            .await
    }

    /// Waits until the radio accepts a matching packet, and returns it.
    pub(crate) async fn transmits_where(
        &self,
        what: &str,
        wanted: impl Fn(&Value) -> bool,
    ) -> Value {
        let what = format!("a transmitted packet: {what}");
        let packet = self.output.first(0, &what, |line| {
            let packet = transmitted(line)?;
            wanted(&packet).then_some(packet)
        });
        packet.await
    }

    /// Returns the texts accepted so far, in order; a packet that was sent twice counts once.
    pub(crate) fn texts(&self) -> Vec<String> {
        let text = |packet: Value| Some(packet["text"].as_str()?.to_owned());
        self.packets().into_iter().filter_map(text).collect()
    }

    /// Returns the packets accepted so far, in order; one that was sent twice counts once.
    pub(crate) fn packets(&self) -> Vec<Value> {
        let mut packets: Vec<Value> = Vec::new();
        for packet in self
            .output
            .all()
            .iter()
            .filter_map(|line| transmitted(line))
        {
            if packets.iter().all(|earlier| earlier["id"] != packet["id"]) {
                packets.push(packet);
            }
        }
        packets
    }

    /// Waits for a line that contains that text.
    pub(crate) async fn writes(&self, text: &str) {
        self.output
            .first(0, text, |line| line.contains(text).then_some(()))
            .await;
    }

    /// Waits until this number of links have been closed.
    pub(crate) async fn is_left(&self, times: usize) {
        let mut closed = 0;
        let what = format!("the end of link number {times}");
        let pick = |line: &str| {
            closed += usize::from(line.contains("closed"));
            (closed == times).then_some(())
        };
        self.output.first(0, &what, pick).await;
    }

    /// Ends the radio, as a power cut does.
    pub(crate) async fn end(&mut self) {
        let program = self.program.as_mut().expect("the radio is a program");
        program.kill().await.expect("the radio can be ended");
    }

    /// Returns everything that it wrote.
    pub(crate) fn log(&self) -> String {
        self.output.text()
    }

    /// Sends a line, without waiting until it is read.
    pub(crate) async fn write(&mut self, line: &Value) {
        let line = format!("{line}\n");
        let written = match &mut self.input {
            Input::Program(input) => input.write_all(line.as_bytes()).await,
            Input::Pipe(input) => input.write_all(line.as_bytes()).await,
        };
        written.expect("the radio reads its input");
    }
}

/// Returns how many clients have sent `disconnect`, by the radio's recording.
pub(crate) fn leaves(recording: &Path) -> usize {
    // `to_radio` of the recording (field 3), holding a `ToRadio` with only `disconnect` (field 4).
    let disconnect = [0x1A, 2, 0x20, 1];
    let recording = std::fs::read(recording).expect("the radio records");
    let leaves = recording.windows(4).filter(|bytes| *bytes == disconnect);
    leaves.count()
}

/// Returns the packet of a line that reports an accepted packet.
pub(crate) fn transmitted(line: &str) -> Option<Value> {
    let mut line: Value = serde_json::from_str(line).ok()?;
    let refused =
        ["refused", "rate_limited", "duplicate", "lost", "local"].contains(&line["fate"].as_str()?);
    (!refused && line["transmitted"].is_object()).then(|| line["transmitted"].take())
}

/// Returns a packet's id.
pub(crate) fn id_of(packet: &Value) -> u32 {
    let id = packet["id"].as_u64().and_then(|id| u32::try_from(id).ok());
    id.unwrap_or_else(|| panic!("a packet has an id: {packet}"))
}

impl Drop for Radio {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let lines = last_lines(&self.output.all());
            eprintln!("--- the radio's last lines:\n{lines}");
        }
    }
}
