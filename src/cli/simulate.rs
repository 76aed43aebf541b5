//! `relay simulate`: a radio without a radio, for people who try their Matrix side and for tests.

mod people;

use std::io::{BufRead, BufReader, IsTerminal as _, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::builder::RangedU64ValueParser;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::failure::{CommandResult, Failure};
use super::output::print;
use crate::signals::{Hangup, Signals};
use people::People;
use relay_model::Timestamp;
use relay_simulator::recording::{self, Recorder};
use relay_simulator::{
    Command, Controls, Firmware, MOST_NODES, Machine, Mesh, Port, PtyPort, Replay, Report, Script,
    TcpPort, drive,
};

/// Maximum length of a line from standard input, in bytes.
const LINE_LIMIT: u64 = 64 * 1024;

const SCRIPT_LIMIT: u64 = 16 * 1024 * 1024;

/// Maximum number of lines and reports in flight; the faster side waits.
const QUEUE: usize = 256;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  relay simulate --listen 127.0.0.1:4403 --nodes 5\n  \
                        then type: {\"channel\": 1, \"text\": \"hello\"}\n  \
                        or:        {\"fault\": \"away\", \"seconds\": 10}"
)]
pub(super) struct SimulateArgs {
    /// Where to listen; port 0 picks a free one
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:4403", value_parser = address)]
    listen: SocketAddr,

    /// Serves a serial port instead: a pseudo-terminal behind this symbolic link, which is made or replaced
    #[arg(long, value_name = "LINK", conflicts_with = "listen")]
    pty: Option<PathBuf>,

    /// Other nodes on the mesh: 10000 at most
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = RangedU64ValueParser::<usize>::new().range(..=MOST_NODES as u64))]
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
    /// object may also say when: "after" is a time since the step before ("500ms", "2s", "10m", "1h"), and "when" is what the
    /// step waits for before: "connected", "configured", "closed" or "transmitted". Empty lines and those that begin with
    /// # are skipped. The same script and seed give the same events.
    #[arg(long, value_name = "FILE")]
    script: Option<PathBuf>,

    /// Writes what crosses the link to this file, which is made or replaced
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,

    /// Plays the radio's side of a recording instead of a live mesh
    #[arg(long, value_name = "FILE", conflicts_with = "nodes")]
    replay: Option<PathBuf>,
}

/// Serves a simulated radio until SIGINT or SIGTERM.
pub(super) async fn run(args: SimulateArgs) -> CommandResult {
    let now = tokio::time::Instant::now().into_std();
    let moments = args.replay.as_deref().map(recording::read).transpose()?;
    let script = args.script.as_deref().map(read_script).transpose()?;
    // Last, since it replaces a file: not after wrong arguments, and not before the replayed file is read.
    let record = |path: &Path| Recorder::create(path, now);
    let recorder = args.record.as_deref().map(record).transpose()?;
    let (command_sender, commands) = mpsc::channel(QUEUE);
    let (report_sender, reports) = mpsc::channel(QUEUE);
    read_lines(command_sender, report_sender.clone())?;
    let controls = Controls {
        commands,
        reports: report_sender,
        stop: CancellationToken::new(),
        recorder,
        script: script.unwrap_or_default(),
        seed: args.seed,
    };
    let present = u32::try_from(Timestamp::now().0 / 1000).unwrap_or(u32::MAX);
    let mesh = Mesh::new(args.seed, args.nodes).as_of(present);
    let for_people = std::io::stdout().is_terminal();
    let people = for_people.then(|| People(mesh.clone()));
    let replay = moments.map(|moments| Replay::new(&moments, now));
    let machine = Machine::new(mesh, args.seed, now).with_firmware(args.firmware);
    let tell_place = |place: &str, json: &Value| match &people {
        Some(people) => print(&people.invitation(place)),
        None => print(&format!("{json}\n")),
    };
    let served = async {
        if let Some(link) = &args.pty {
            let port = PtyPort::open(link)
                .with_context(|| format!("cannot make a serial port at `{}`", link.display()))?;
            let place = json!({"listening": link, "pty": port.device()});
            tell_place(&link.display().to_string(), &place)?;
            serve(port, replay, machine, controls).await
        } else {
            let port = TcpPort::listen(args.listen)
                .await
                .with_context(|| format!("cannot listen on {}", args.listen))?;
            let address = port.address.to_string();
            let place = json!({ "listening": address });
            tell_place(&address, &place)?;
            serve(port, replay, machine, controls).await
        }
    };
    let mut signals = Signals::listen(Hangup::Ends).context("cannot wait for signals")?;
    // In this order, since the address is printed first.
    tokio::select! {
        biased;
        result = served => result?,
        result = print_reports(reports, people.as_ref()) => result?,
        _ = signals.asked_to_end() => {}
    }
    Ok(ExitCode::SUCCESS)
}

fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        "expected an address in numbers and a port, as 127.0.0.1:4403 or [::1]:4403".to_owned()
    })
}

fn read_script(path: &Path) -> Result<Script, Failure> {
    let text = relay_config::read_text(path, SCRIPT_LIMIT)?;
    let script = text.parse::<Script>().map_err(anyhow::Error::msg);
    Ok(script.with_context(|| format!("cannot follow the script `{}`", path.display()))?)
}

/// Serves a recording, or else a live machine.
async fn serve(
    port: impl Port,
    replay: Option<Replay>,
    machine: Machine,
    controls: Controls,
) -> anyhow::Result<()> {
    let served = match replay {
        Some(replay) => drive(port, replay, controls).await,
        None => drive(port, machine, controls).await,
    };
    served.context("the simulated radio failed")
}

/// Reads standard input on a thread that is never joined: a blocked read must not keep the program running.
fn read_lines(
    commands: mpsc::Sender<Command>,
    reports: mpsc::Sender<Report>,
) -> anyhow::Result<()> {
    let read = move || {
        let mut input = BufReader::new(std::io::stdin());
        while let Some(line) = next_line(&mut input) {
            if line.as_ref().is_ok_and(|line| line.trim().is_empty()) {
                continue;
            }
            let is_taken = match line.and_then(|line| line.parse()) {
                Ok(command) => commands.blocking_send(command).is_ok(),
                Err(message) => reports.blocking_send(Report::Error(message)).is_ok(),
            };
            if !is_taken {
                return;
            }
        }
    };
    #[expect(
        clippy::disallowed_methods,
        reason = "it ends with the input, with who takes its lines, or with the process"
    )]
    std::thread::Builder::new()
        .name("standard input".to_owned())
        .spawn(read)
        .context("cannot start the thread that reads standard input")?;
    Ok(())
}

/// Returns the next line, or why it is invalid; `None` at the end, or if reading fails. An invalid line does not affect
/// the following ones.
fn next_line(input: &mut impl BufRead) -> Option<Result<String, String>> {
    let mut line = Vec::new();
    // One more for the newline.
    let mut limited = input.by_ref().take(LINE_LIMIT + 1);
    if limited.read_until(b'\n', &mut line).ok()? == 0 {
        return None;
    }
    if line.pop_if(|last| *last == b'\n').is_none() && limited.limit() == 0 {
        input.skip_until(b'\n').ok()?;
        return Some(Err(format!("the line is longer than {LINE_LIMIT} bytes")));
    }
    line.pop_if(|last| *last == b'\r');
    let no_text = "the line is not UTF-8; bytes that are no text go into `hex`";
    Some(String::from_utf8(line).map_err(|_| no_text.to_owned()))
}

async fn print_reports(
    mut reports: mpsc::Receiver<Report>,
    people: Option<&People>,
) -> anyhow::Result<()> {
    while let Some(report) = reports.recv().await {
        let line = match people {
            Some(people) => people.line(&report, Timestamp::now()),
            None => report.to_json().to_string(),
        };
        print(&format!("{line}\n"))?;
    }
    std::future::pending().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_is_too_long_or_no_text_is_refused_and_the_next_one_is_whole() {
        let longest = "y".repeat(65_536);
        let mut bytes = format!("{}\n{longest}\nnext\r\n", "x".repeat(100_000)).into_bytes();
        bytes.extend_from_slice(b"\xff\xfe\n\nlast");
        let mut input = BufReader::new(bytes.as_slice());
        let mut lines = std::iter::from_fn(|| next_line(&mut input));
        let too_long = lines.next().unwrap().unwrap_err();
        assert!(too_long.contains("longer than 65536 bytes"), "{too_long}");
        assert_eq!(lines.next().unwrap(), Ok(longest));
        assert_eq!(lines.next().unwrap().as_deref(), Ok("next"));
        assert!(lines.next().unwrap().unwrap_err().contains("not UTF-8"));
        assert_eq!(lines.next().unwrap().as_deref(), Ok(""));
        assert_eq!(lines.next().unwrap().as_deref(), Ok("last"));
        assert_eq!(lines.next(), None);
    }

    #[test]
    fn a_mesh_has_no_more_nodes_than_can_be_made() {
        use clap::Args as _;

        let command = SimulateArgs::augment_args(clap::Command::new("simulate"));
        let nodes = |text: &str| {
            let given = command
                .clone()
                .try_get_matches_from(["simulate", "--nodes", text]);
            given
                .map(|given| *given.get_one::<usize>("nodes").unwrap())
                .ok()
        };
        assert_eq!((nodes("0"), nodes("10000")), (Some(0), Some(10_000)));
        for wrong in ["10001", "100000000", "99999999999999999999", "-1", "x"] {
            assert_eq!(nodes(wrong), None, "{wrong}");
        }
    }

    #[tokio::test]
    async fn a_recording_is_not_replaced_for_a_mistake() {
        use clap::Args as _;

        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
        std::fs::write(path("kept"), "precious").unwrap();
        std::fs::write(path("script"), "{").unwrap();
        let command = SimulateArgs::augment_args(clap::Command::new("simulate"));
        let (kept, script) = (path("kept"), path("script"));
        let arguments = ["simulate", "--record", &kept, "--script", &script];
        let matches = command.try_get_matches_from(arguments).unwrap();
        let arguments = clap::FromArgMatches::from_arg_matches(&matches).unwrap();
        let error = run(arguments).await.unwrap_err();
        assert!(format!("{error:#}").contains("line 1"), "{error:#}");
        assert_eq!(std::fs::read_to_string(&kept).unwrap(), "precious");
    }

    #[test]
    fn a_script_without_an_end_is_refused() {
        let error = read_script(Path::new("/dev/zero")).unwrap_err();
        assert!(format!("{error:#}").contains("16777216 bytes"), "{error:#}");
    }
}
