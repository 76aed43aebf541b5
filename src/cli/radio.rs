//! `relay radio`: looks at a radio, listens to it, sends a text with it; without the daemon, and without Matrix.

mod reader;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, anyhow};
use clap::{Args, Subcommand};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::config::load_failure;
use super::failure::{Failure, Outcome};
use super::output::{as_json, note, print};
use super::progress::Progress;
use super::{Globals, interruptible};
use crate::config::{Config, Connection};
use crate::model::{Explained as _, RadioText};
use crate::telemetry;
use crate::tools::radio::{self, Fate, Heard, Plan, Sent, Visit, VisitError, Visited};

/// The port of radios on the network.
const PORT: u16 = 4403;

/// The commands under `relay radio`.
#[derive(Debug, Subcommand)]
pub(super) enum RadioCommand {
    /// Tell what the radio is, and how it is set up
    #[command(
        after_help = "Examples:\n  relay radio info\n  relay radio info --host 192.168.1.20 --json"
    )]
    Info(LinkArgs),
    /// List the nodes that the radio knows
    #[command(after_help = "Example: relay radio nodes --serial /dev/ttyUSB0")]
    Nodes(LinkArgs),
    /// List the radio's channels
    #[command(after_help = "Example: relay radio channels --ble Base_1234")]
    Channels(LinkArgs),
    /// Print what the radio hears, until Ctrl-C
    ///
    /// A radio hands a message over once: what is printed here the relay does not get any more. It ends, too, when nobody
    /// reads its output any more.
    #[command(
        after_help = "Examples:\n  relay radio listen --json\n  relay radio listen | grep -m 1 Rescue"
    )]
    Listen(LinkArgs),
    /// Send a text, and tell what became of it
    ///
    /// The exit code is 0 if the radio took it, whether or not anybody was heard repeating it. A script puts `--` before the
    /// text: behind it any text is sent as it is, also one that looks like a flag.
    #[command(
        after_help = "Examples:\n  relay radio send --channel 0 \"hello\"\n  relay radio send --channel Rescue --json -- \"$text\""
    )]
    Send(SendArgs),
    /// Look for radios on serial ports, on Bluetooth and on the network; connects to none
    #[command(after_help = "Example: relay radio scan")]
    Scan {
        /// One JSON object instead of lines
        #[arg(long)]
        json: bool,
    },
}

/// Which radio.
#[derive(Debug, Args)]
pub(super) struct LinkArgs {
    /// The radio at this host name or address [default: the configured radio; port 4403]
    #[arg(long, value_name = "HOST[:PORT]", value_parser = host, group = "link")]
    host: Option<Connection>,
    /// The radio at this serial port
    #[arg(long, value_name = "PATH", group = "link")]
    serial: Option<PathBuf>,
    /// The radio with this Bluetooth address or name
    #[arg(long, value_name = "ADDRESS|NAME", value_parser = device, group = "link")]
    ble: Option<String>,
    /// JSON instead of lines: an object (`info`, `send`), a list (`nodes`, `channels`), or an object a line (`listen`)
    #[arg(long)]
    json: bool,
}

/// The arguments of `relay radio send`.
#[derive(Debug, Args)]
pub(super) struct SendArgs {
    /// The channel's number, or its name
    #[arg(long, value_name = "N|NAME")]
    channel: String,
    /// What to send: at most 232 bytes; behind `--` if it begins with two hyphens
    #[arg(allow_hyphen_values = true)]
    text: String,
    #[command(flatten)]
    link: LinkArgs,
}

/// Reads `HOST`, `HOST:PORT`, `ADDRESS` or `[ADDRESS]:PORT`.
fn host(text: &str) -> Result<Connection, String> {
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        let (host, port) = rest.split_once(']').ok_or("the `]` is missing")?;
        (host, port.strip_prefix(':'))
    } else {
        match text.split_once(':') {
            // An IPv6 address without a port.
            Some((_, rest)) if rest.contains(':') => (text, None),
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        }
    };
    let port = match port {
        None => PORT,
        Some(port) => port
            .parse()
            .ok()
            .filter(|port| *port > 0)
            .ok_or_else(|| format!("`{port}` is not a port: expected 1 to 65535"))?,
    };
    if host.is_empty() || host.contains(char::is_whitespace) {
        return Err("expected a host name or an address".to_owned());
    }
    Ok(Connection::Tcp {
        host: host.to_owned(),
        port,
    })
}

/// Reads a Bluetooth device's address or name.
fn device(text: &str) -> Result<String, String> {
    if text.trim().is_empty() {
        return Err("expected a Bluetooth address or name".to_owned());
    }
    Ok(text.to_owned())
}

/// Runs one of the commands.
pub(super) async fn run(command: RadioCommand, globals: &Globals) -> Outcome {
    match command {
        RadioCommand::Scan { json } => {
            let found = Progress::of("looking for radios", radio::scan()).await;
            show(json, &found, radio::found_lines)?;
        }
        RadioCommand::Info(link) => {
            let work = async |visit: &mut Visit| {
                let profile = visit.ready().await?;
                Ok(radio::radio(&profile, &visit.known()))
            };
            let told = visit(plan(&link, globals).await?, work).await?;
            show(link.json, &told, radio::radio_lines)?;
        }
        RadioCommand::Nodes(link) => {
            let work = async |visit: &mut Visit| {
                let profile = visit.unlocked().await?;
                Ok(radio::nodes(&profile, &visit.known()))
            };
            let told = visit(plan(&link, globals).await?, work).await?;
            show(link.json, &told, |it| radio::node_lines(it))?;
        }
        RadioCommand::Channels(link) => {
            let work = async |visit: &mut Visit| Ok(radio::channels(&*visit.unlocked().await?));
            let told = visit(plan(&link, globals).await?, work).await?;
            show(link.json, &told, |it| radio::channel_lines(it))?;
        }
        RadioCommand::Listen(link) => Box::pin(listen(&link, globals)).await?,
        RadioCommand::Send(arguments) => return Box::pin(send(&arguments, globals)).await,
    }
    Ok(ExitCode::SUCCESS)
}

fn show<T: Serialize>(json: bool, told: &T, lines: impl Fn(&T) -> String) -> anyhow::Result<()> {
    print(&if json { as_json(told)? } else { lines(told) })
}

async fn listen(link: &LinkArgs, globals: &Globals) -> Result<(), Failure> {
    let plan = plan(link, globals).await?;
    let lines = |texts: &[_]| {
        if link.json {
            let lines = radio::json_lines(texts).context("cannot be told as JSON")?;
            print(&lines)
        } else {
            print(&radio::lines(texts))
        }
    };
    let mut reader_gone = std::pin::pin!(reader::gone());
    let mut unwritten = Vec::new();
    let mut written = Ok(());
    let (done, kept) = until_interrupted(plan, async |visit| {
        let profile = visit.ready().await?;
        note(&format!(
            "listening on {} ({}); Ctrl-C ends",
            profile.own.long(),
            profile.own.num
        ));
        note_locked(profile.locked);
        let mut hinted = Vec::new();
        loop {
            // What nobody would get stays in the radio. Both are safe to cancel.
            let heard = tokio::select! {
                biased;
                () = &mut reader_gone => {
                    note("nobody reads the output any more");
                    return Ok(());
                }
                heard = radio::heard(visit) => heard,
            };
            let text = match heard {
                Ok(Heard::Text(text)) => [*text],
                Ok(Heard::Ready(profile)) => {
                    note("the radio is there again");
                    note_locked(profile.locked);
                    continue;
                }
                Ok(Heard::Lost { cause, hint }) => {
                    note(&format!(
                        "the link to the radio is lost, trying again: {cause}"
                    ));
                    // Each once: two programs that take a radio from each other lose it all the time.
                    if let Some(hint) = hint.filter(|hint| !hinted.contains(hint)) {
                        note(&format!("hint: {hint}"));
                        hinted.push(hint);
                    }
                    continue;
                }
                Err(VisitError::Interrupted) => return Ok(()),
                Err(error) => return Err(error),
            };
            written = lines(&text);
            if written.is_err() {
                unwritten.extend(text);
                return Ok(());
            }
        }
    })
    .await?;
    // What came while we took leave was heard like the rest.
    written = written.and_then(|()| lines(&kept));
    if written.is_err() {
        unwritten.extend(kept);
        note_texts(
            "the radio handed these over, and does not do so again; they could not be written:",
            &unwritten,
        );
    }
    done?;
    Ok(written?)
}

async fn send(arguments: &SendArgs, globals: &Globals) -> Outcome {
    let SendArgs {
        channel,
        text,
        link,
    } = arguments;
    radio::check_text(text)?;
    check_flag(text, std::env::args_os())?;
    let plan = plan(link, globals).await?;
    let accepted = |sent: &Sent| {
        if !link.json {
            // A closed output is noticed at the end.
            drop(print(&format!(
                "accepted: the radio took it (channel {}, packet {})\n",
                sent.channel, sent.packet
            )));
        }
    };
    let work = async |visit: &mut Visit| radio::send(visit, channel, text, accepted).await;
    let sent = visit(plan, work).await?;
    let reason = sent.reason.as_deref().unwrap_or_default();
    let line = match sent.fate {
        Fate::Heard => "heard: another node repeated it",
        Fate::Unheard => {
            "unheard: nobody was heard repeating it; whoever is in reach may have received it all the same"
        }
        Fate::NoAnswer => "no answer: the radio has not said whether anybody repeated it",
        Fate::Refused => "refused",
        Fate::NotTaken => "not sent",
        Fate::Unknown => "not known whether it was sent",
    };
    let told = if link.json {
        as_json(&sent)?
    } else if sent.taken {
        format!("{line}\n")
    } else {
        return Err(anyhow!("{line}: {reason}").into());
    };
    if let Err(error) = print(&told) {
        // Who thinks that it failed sends it again.
        note(&format!("packet {}: {line}", sent.packet));
        return Err(error.into());
    }
    Ok(if sent.taken {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Refuses a text that is a mistyped flag, as far as can be told: nobody takes back what was on the air.
fn check_flag(text: &str, arguments: impl IntoIterator<Item = OsString>) -> Result<(), Failure> {
    if !text.starts_with("--") || arguments.into_iter().any(|it| it == "--") {
        return Ok(());
    }
    let hint = "to send it as a text, put `--` before it, behind the flags";
    Err(Failure::wrong(format!("error: `{text}` is no flag of this command")).and_hint(hint))
}

/// Finds the radio that is meant, and looks that the daemon does not hold it.
async fn plan(link: &LinkArgs, globals: &Globals) -> Result<Plan, Failure> {
    let named = link.connection();
    // A radio that is named needs neither a home nor a configuration.
    let home = match globals.home() {
        Ok(home) => Some(home),
        Err(_) if named.is_some() => None,
        Err(error) => return Err(error.into()),
    };
    let loaded = home.as_ref().map(|home| (home, globals.load_config(home)));
    let configured = match loaded {
        Some((_, Ok(loaded))) => Some(loaded.config),
        Some((home, Err(error))) if named.is_none() => {
            let hint =
                "without a configuration a radio is named with `--host`, `--serial` or `--ble`";
            return Err(load_failure(globals, home, error).and_hint(hint));
        }
        Some((_, Err(_))) | None => None,
    };
    if globals.log_level.is_some()
        && let Some(home) = &home
    {
        telemetry::start(&globals.logging(), home)?;
    }
    let known = configured.as_ref().map(|it| &it.meshtastic.connection);
    let config = match (named, &configured) {
        (None, Some(configured)) => configured.clone(),
        (named, _) => {
            let named = named.context("no radio is named")?;
            let named = match known {
                Some(known) => with_pin(named, known),
                None => named,
            };
            Config::new(named, Vec::new())
        }
    };
    let not = match &home {
        Some(home) => radio::held_by_daemon(home, known, &config.meshtastic.connection).await?,
        None => None,
    };
    Ok(Plan::new(config, not, CancellationToken::new()))
}

/// The configured radio keeps its PIN when it is named.
fn with_pin(named: Connection, configured: &Connection) -> Connection {
    match (&named, configured) {
        (
            Connection::Ble { ble_address, .. },
            Connection::Ble {
                ble_address: known, ..
            },
        ) if ble_address.eq_ignore_ascii_case(known) => configured.clone(),
        _ => named,
    }
}

impl LinkArgs {
    fn connection(&self) -> Option<Connection> {
        let serial = |path: &PathBuf| Connection::Serial {
            serial_port: Some(path.clone()),
        };
        let ble = |device: &String| Connection::Ble {
            ble_address: device.clone(),
            ble_pin: None,
        };
        self.host
            .clone()
            .or_else(|| self.serial.as_ref().map(serial))
            .or_else(|| self.ble.as_ref().map(ble))
    }
}

/// Visits a radio; Ctrl-C ends the visit. What the radio handed over and nobody was shown is shown now.
async fn visit<T>(
    plan: Plan,
    work: impl AsyncFnOnce(&mut Visit) -> Result<T, VisitError>,
) -> Result<T, Failure> {
    let (done, kept) = until_interrupted(plan, work).await?;
    note_texts(
        "the radio handed these over, which it had kept; it does not do so again:",
        &kept,
    );
    Ok(done?)
}

/// Says that nothing will be heard of a locked radio.
fn note_locked(locked: bool) {
    let told = VisitError::Locked;
    if locked {
        note(&told.to_string());
        note(&format!("hint: {}", told.hint().unwrap_or_default()));
    }
}

/// Says what the radio handed over and nobody was shown.
fn note_texts(heading: &str, texts: &[RadioText]) {
    if !texts.is_empty() {
        note(heading);
    }
    for line in radio::lines(texts).lines() {
        note(line);
    }
}

/// Visits a radio; Ctrl-C ends the visit, and a second one the program.
async fn until_interrupted<T>(
    plan: Plan,
    work: impl AsyncFnOnce(&mut Visit) -> Result<T, VisitError>,
) -> Result<Visited<T>, Failure> {
    let (stop, phase) = (plan.stop.clone(), plan.phase.subscribe());
    let visiting = Box::pin(radio::visit(plan, work));
    interruptible(&stop, Progress::in_phases(phase, visiting)).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bluetooth_device_has_a_name() {
        assert_eq!(device("Base_1234").as_deref(), Ok("Base_1234"));
        assert!(device("").is_err() && device(" ").is_err());
    }

    #[test]
    fn what_looks_like_a_flag_is_a_text_only_behind_two_hyphens() {
        let check = |text: &str, arguments: &[&str]| {
            check_flag(text, arguments.iter().map(OsString::from)).is_ok()
        };
        assert!(check("-5 degrees", &["send", "-5 degrees"]));
        assert!(!check("--jsn", &["send", "--jsn"]));
        assert!(check("--jsn", &["send", "--", "--jsn"]));
    }

    #[test]
    fn a_host_comes_with_or_without_a_port() {
        let read = |text: &str| match host(text) {
            Ok(Connection::Tcp { host, port }) => Ok((host, port)),
            Ok(other) => panic!("{other:?}"),
            Err(error) => Err(error),
        };
        let is = |host: &str, port| Ok((host.to_owned(), port));
        assert_eq!(read("radio.local"), is("radio.local", 4403));
        assert_eq!(read("192.0.2.7:4404"), is("192.0.2.7", 4404));
        assert_eq!(read("fe80::1"), is("fe80::1", 4403));
        assert_eq!(read("[fe80::1]"), is("fe80::1", 4403));
        assert_eq!(read("[fe80::1]:9"), is("fe80::1", 9));
        for wrong in [
            "",
            ":4403",
            "radio:",
            "radio:x",
            "radio:0",
            "radio:65536",
            "[::1",
            "a b",
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
