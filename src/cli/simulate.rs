//! `relay simulate`: a radio without a radio, for people who try their Matrix side and for tests.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use serde_json::json;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::simulator::recording::{self, Recorder};
use crate::simulator::{
    Command, Controls, Firmware, Machine, Mesh, Port, PtyPort, Replay, Report, Script, TcpPort,
    drive,
};

/// The longest line that is read from standard input.
const LINE_LIMIT: u64 = 64 * 1024;

/// Lines and reports that wait for each other's side; more than that, and the side that is ahead waits.
const QUEUE: usize = 256;

/// Serves a simulated radio.
///
/// It behaves like a radio with firmware 2.7 or 2.8 on TCP, or on a serial port. Each line on standard input is a text from the first node, or a JSON
/// object that says what a node says or what goes wrong; each packet of the client is told on standard output as a JSON
/// object.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  relay simulate --listen 127.0.0.1:4403 --nodes 5\n  \
                        then type: {\"channel\": 1, \"text\": \"hello\"}"
)]
pub struct SimulateArgs {
    /// Where to listen; port 0 picks a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:4403")]
    listen: SocketAddr,

    /// Serves a serial port instead: a pseudo-terminal behind this symbolic link
    #[arg(long, value_name = "LINK", conflicts_with = "listen")]
    pty: Option<PathBuf>,

    /// Other nodes on the mesh
    #[arg(long, value_name = "N", default_value_t = 4)]
    nodes: usize,

    /// Decides numbers, names and delays: the same seed gives the same mesh
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,

    /// Which firmware the radio has, 2.7 or 2.8
    #[arg(long, value_name = "VERSION", default_value_t = Firmware::default(), conflicts_with = "replay")]
    firmware: Firmware,

    /// Plays a script beside standard input
    ///
    /// One line a step: what standard input takes (a text, or a JSON object of what a node says or what goes wrong). An
    /// object may also say when: "after" is a time since the step before ("500ms", "2s", "10m"), and "when" is what the
    /// step waits for before: "connected", "configured", "closed" or "transmitted". Empty lines and those that begin with
    /// # are skipped. The same script and seed give the same events.
    #[arg(long, value_name = "FILE")]
    script: Option<PathBuf>,

    /// Writes what crosses the link to a file
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,

    /// Plays the radio's side of a recording instead of a live mesh
    #[arg(long, value_name = "FILE", conflicts_with = "nodes")]
    replay: Option<PathBuf>,
}

/// Serves a simulated radio until SIGINT or SIGTERM.
///
/// # Errors
/// It cannot listen there, or a recording cannot be read or written.
pub async fn run(args: SimulateArgs) -> anyhow::Result<ExitCode> {
    let now = tokio::time::Instant::now().into_std();
    let recorder = match &args.record {
        Some(path) => Some(Recorder::create(path, now)?),
        None => None,
    };
    let moments = match &args.replay {
        Some(path) => Some(recording::read(path)?),
        None => None,
    };
    let script = match &args.script {
        Some(path) => read_script(path)?,
        None => Script::default(),
    };
    let (command_sender, commands) = mpsc::channel(QUEUE);
    let (report_sender, reports) = mpsc::channel(QUEUE);
    let stop = CancellationToken::new();
    read_lines(command_sender, report_sender.clone())?;
    let controls = Controls {
        commands,
        reports: report_sender,
        stop: stop.clone(),
        recorder,
        script,
        seed: args.seed,
    };
    let radio = SimulatedRadio {
        moments,
        mesh: Mesh::new(args.seed, args.nodes),
        firmware: args.firmware,
        seed: args.seed,
        now,
        controls,
    };
    let serve = async {
        if let Some(link) = &args.pty {
            let port = PtyPort::open(link)
                .with_context(|| format!("cannot make a serial port at `{}`", link.display()))?;
            print_line(&json!({"listening": link, "pty": port.device()}).to_string())?;
            radio.serve(port).await
        } else {
            let port = TcpPort::listen(args.listen)
                .await
                .with_context(|| format!("cannot listen on {}", args.listen))?;
            print_line(&json!({"listening": port.address().to_string()}).to_string())?;
            radio.serve(port).await
        }
    };
    // In this order: where it listens is told first.
    tokio::select! {
        biased;
        result = serve => result?,
        result = print_reports(reports) => result?,
        result = ended_by_signal() => result?,
    }
    Ok(ExitCode::SUCCESS)
}

fn read_script(path: &Path) -> anyhow::Result<Script> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read the script `{}`", path.display()))?;
    text.parse()
        .with_context(|| format!("cannot follow the script `{}`", path.display()))
}

/// A radio that is not served yet.
struct SimulatedRadio {
    moments: Option<Vec<recording::Moment>>,
    mesh: Mesh,
    firmware: Firmware,
    seed: u64,
    now: std::time::Instant,
    controls: Controls,
}

impl SimulatedRadio {
    async fn serve(self, port: impl Port) -> anyhow::Result<()> {
        let served = if let Some(moments) = self.moments {
            drive(port, Replay::new(moments, self.now), self.controls).await
        } else {
            let machine = Machine::new(self.mesh, self.seed, self.now);
            let machine = machine.with_firmware(self.firmware);
            drive(port, machine, self.controls).await
        };
        served.context("the simulated radio failed")
    }
}

/// Reads standard input on a thread of its own, which nobody waits for: a blocked read must not keep the program.
fn read_lines(
    commands: mpsc::Sender<Command>,
    reports: mpsc::Sender<Report>,
) -> anyhow::Result<()> {
    let read = move || {
        let mut input = BufReader::new(std::io::stdin());
        loop {
            let Ok(Some(line)) = next_line(&mut input) else {
                return;
            };
            if line.trim().is_empty() {
                continue;
            }
            let result = match line.parse() {
                Ok(command) => commands.blocking_send(command).map_err(drop),
                Err(message) => reports
                    .blocking_send(Report::Error { message })
                    .map_err(drop),
            };
            if result.is_err() {
                return;
            }
        }
    };
    std::thread::Builder::new()
        .name("standard input".to_owned())
        .spawn(read)
        .context("cannot start the thread that reads standard input")?;
    Ok(())
}

/// Returns the next line, with invalid UTF-8 replaced; what is longer than a line may be is cut off.
fn next_line(input: &mut impl BufRead) -> std::io::Result<Option<String>> {
    let mut line = Vec::new();
    if input
        .by_ref()
        .take(LINE_LIMIT)
        .read_until(b'\n', &mut line)?
        == 0
    {
        return Ok(None);
    }
    if line.last() != Some(&b'\n') {
        input.skip_until(b'\n')?;
    }
    let text = String::from_utf8_lossy(&line);
    Ok(Some(text.trim_end_matches(['\r', '\n']).to_owned()))
}

async fn print_reports(mut reports: mpsc::Receiver<Report>) -> anyhow::Result<()> {
    while let Some(report) = reports.recv().await {
        print_line(&report.to_json().to_string())?;
    }
    std::future::pending().await
}

fn print_line(line: &str) -> anyhow::Result<()> {
    let mut output = std::io::stdout().lock();
    writeln!(output, "{line}")
        .and_then(|()| output.flush())
        .context("cannot write to standard output")
}

async fn ended_by_signal() -> anyhow::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot wait for SIGINT")?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?;
    tokio::select! {
        _ = interrupt.recv() => Ok(()),
        _ = terminate.recv() => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_is_too_long_is_cut_and_the_next_one_is_whole() {
        let text = format!("{}\nnext\r\nlast", "x".repeat(100_000));
        let mut input = BufReader::new(text.as_bytes());
        let mut lines = std::iter::from_fn(|| next_line(&mut input).unwrap());
        assert_eq!(lines.next().unwrap().len(), 65_536);
        assert_eq!(lines.next().unwrap(), "next");
        assert_eq!(lines.next().unwrap(), "last");
        assert_eq!(lines.next(), None);
    }
}
