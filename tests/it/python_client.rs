//! The official Python client accepts the simulated radio: it connects, reads the configuration and sends a text.
//!
//! It comes from a virtual environment (`RELAY_TEST_VENV`, else `relay/venv` in the user's cache directory) that
//! `scripts/test` sets up.

use std::env;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// Timeout of the client, which takes about a second.
const LIMIT: Duration = Duration::from_mins(1);

/// A running `relay simulate`, ended when it is dropped.
struct Radio {
    program: Child,
    lines: Receiver<String>,
    /// The client's arguments for the connection.
    place: [String; 2],
    /// The directory of the serial port; removed on drop.
    _directory: Option<tempfile::TempDir>,
}

impl Radio {
    fn start() -> Self {
        Self::start_at("--host", &["--listen", "127.0.0.1:0"], None)
    }

    fn with_firmware(firmware: &str) -> Self {
        let arguments = ["--listen", "127.0.0.1:0", "--firmware", firmware];
        Self::start_at("--host", &arguments, None)
    }

    /// Starts one on a serial port.
    fn start_on_a_cable() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let link = directory.path().join("radio");
        let link = link.to_str().expect("its name is a text");
        Self::start_at("--port", &["--pty", link], Some(directory))
    }

    fn start_at(flag: &str, where_to: &[&str], directory: Option<tempfile::TempDir>) -> Self {
        let mut program = Command::new(env!("CARGO_BIN_EXE_relay"))
            .args(["simulate", "--nodes", "8"])
            .args(where_to)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the simulated radio runs");
        let output = BufReader::new(program.stdout.take().expect("its output is a pipe"));
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let first = lines.recv_timeout(LIMIT).expect("it says where it listens");
        let first: serde_json::Value = serde_json::from_str(&first).expect("a JSON object");
        let address = first["listening"].as_str().expect("an address").to_owned();
        Self {
            program,
            lines,
            place: [flag.to_owned(), address],
            _directory: directory,
        }
    }

    /// Runs the client; returns what it wrote.
    fn ask(&self, arguments: &[&str]) -> String {
        let client = Command::new("timeout")
            .arg(LIMIT.as_secs().to_string())
            .arg(client_program())
            .args(&self.place)
            .args(arguments)
            .stdin(Stdio::null())
            .output();
        let Output {
            status,
            stdout,
            stderr,
        } = client.expect("the client runs");
        let (written, errors) = (
            String::from_utf8_lossy(&stdout).into_owned(),
            String::from_utf8_lossy(&stderr),
        );
        assert!(
            status.success(),
            "{arguments:?}: {status}\n{written}\n{errors}"
        );
        written
    }
}

impl Drop for Radio {
    fn drop(&mut self) {
        self.program.kill().ok();
        self.program.wait().ok();
    }
}

fn client_program() -> PathBuf {
    let environment = env::var_os("RELAY_TEST_VENV").map_or_else(
        || {
            let cache = env::var_os("XDG_CACHE_HOME").map_or_else(
                || PathBuf::from(env::var_os("HOME").unwrap_or_default()).join(".cache"),
                PathBuf::from,
            );
            cache.join("relay").join("venv")
        },
        PathBuf::from,
    );
    let program = environment.join("bin").join("meshtastic");
    assert!(
        program.exists(),
        "there is no {}: run `scripts/test`, which sets it up, or name a virtual environment with `meshtastic` \
         in RELAY_TEST_VENV",
        program.display()
    );
    program
}

#[test]
fn the_official_client_reads_the_radios_configuration() {
    let radio = Radio::start();
    let info = radio.ask(&["--info"]);
    for part in [
        "Owner: Simulated radio (SIM)",
        "\"firmwareVersion\": \"2.7.26",
        "\"longName\": \"Alice\"",
        "\"region\": \"US\"",
        "\"name\": \"bridge\"",
    ] {
        assert!(info.contains(part), "{part} is missing in:\n{info}");
    }
}

#[test]
fn the_official_client_understands_firmware_2_8_too() {
    let radio = Radio::with_firmware("2.8");
    let told = radio.ask(&["--info"]);
    for expected in ["2.8.0", "Simulated radio", "bridge"] {
        assert!(told.contains(expected), "{expected}: {told}");
    }
}

#[test]
fn the_official_client_lists_the_nodes_with_their_odd_names() {
    let radio = Radio::start();
    let nodes = radio.ask(&["--nodes"]);
    for name in [
        "Simulated radio",
        "Alice",
        "Bob",
        "🧙",
        "A name that fills all thirty-nine bytes",
    ] {
        assert!(nodes.contains(name), "{name} is missing in:\n{nodes}");
    }
}

#[test]
fn the_official_client_sends_a_text_and_sees_it_acknowledged() {
    sends_a_text(&Radio::start());
}

#[test]
fn the_official_client_does_so_over_a_cable_too() {
    sends_a_text(&Radio::start_on_a_cable());
}

fn sends_a_text(radio: &Radio) {
    let said = radio.ask(&["--sendtext", "oui —à demain", "--ch-index", "1", "--ack"]);
    assert!(said.contains("implicit ACK"), "{said}");
    let mut fates = Vec::new();
    while !fates.contains(&"heard".to_owned()) {
        let line = radio.lines.recv_timeout(LIMIT).expect("the text is told");
        let line: serde_json::Value = serde_json::from_str(&line).expect("a JSON object");
        let packet = &line["transmitted"];
        if packet["text"] == "oui —à demain" {
            assert_eq!(
                (&packet["channel"], &packet["to"]),
                (&1.into(), &"!ffffffff".into())
            );
            fates.extend(line["fate"].as_str().map(str::to_owned));
        }
    }
    assert_eq!(fates, ["accepted", "heard"]);
}
