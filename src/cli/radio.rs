//! `relay radio`: inspects a radio, listens, sends a text; without the daemon and Matrix.

#[cfg_attr(windows, path = "radio/reader_windows.rs")]
mod reader;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, anyhow};
use clap::builder::{PathBufValueParser, TypedValueParser as _};
use clap::{Args, Subcommand};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::failure::{CommandResult, Failure, success_if};
use super::output::{as_json, note_handed_over, note_texts, print, remark, show};
use super::{Globals, config::load_failure, interruptible, progress};
use crate::tools::radio::{self, RadioOfDaemon, Sent, TextFate, Visit, VisitError, Visited};
use crate::{telemetry, tools::hint as hint_line};
use relay_config::{Connection, Meshtastic};
use relay_model::{Event, Explained as _, RadioEvent, RadioText, Timestamp};

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

#[derive(Debug, Args)]
pub(super) struct LinkArgs {
    /// The radio at this host name or address [default: the configured radio; port 4403]
    #[arg(long, value_name = "HOST[:PORT]", value_parser = host, group = "link")]
    host: Option<Connection>,
    /// The radio at this serial port
    #[arg(long, value_name = "PATH", value_parser = PathBufValueParser::new().map(serial), group = "link")]
    serial: Option<Connection>,
    /// The radio with this Bluetooth address or name
    #[arg(long, value_name = "ADDRESS|NAME", value_parser = device, group = "link")]
    ble: Option<Connection>,
    /// JSON instead of lines: an object (`info`, `send`), a list (`nodes`, `channels`), or an object a line (`listen`)
    #[arg(long)]
    json: bool,
}

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

/// Parses `HOST`, `HOST:PORT`, `ADDRESS` or `[ADDRESS]:PORT`.
fn host(text: &str) -> Result<Connection, String> {
    let is_bare_ipv6 = !text.starts_with('[') && text.matches(':').count() > 1;
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !is_bare_ipv6 && !text.ends_with(']') => {
            let number = port.parse().ok().filter(|port| *port > 0);
            let wrong = || format!("`{port}` is not a port: expected 1 to 65535");
            (host, number.ok_or_else(wrong)?)
        }
        Some(_) | None => (text, Connection::TCP_PORT),
    };
    let host = match host.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']').ok_or("the `]` is missing")?,
        None => host,
    };
    if host.is_empty() || host.contains(char::is_whitespace) {
        return Err("expected a host name or an address".to_owned());
    }
    let host = host.to_owned();
    Ok(Connection::Tcp { host, port })
}

fn serial(path: PathBuf) -> Connection {
    let serial_port = Some(path);
    Connection::Serial { serial_port }
}

fn device(text: &str) -> Result<Connection, String> {
    if text.trim().is_empty() {
        return Err("expected a Bluetooth address or name".to_owned());
    }
    Ok(Connection::Ble {
        ble_address: text.to_owned(),
        ble_pin: None,
    })
}

pub(super) async fn run(command: RadioCommand, globals: &Globals) -> CommandResult {
    match command {
        RadioCommand::Scan { json } => {
            let found = progress::of("looking for radios", radio::scan()).await;
            show(None, json, &found, radio::found_lines)?;
        }
        RadioCommand::Info(link) => {
            let work = async |visit: &mut Visit| {
                let profile = visit.ready().await?;
                Ok(radio::radio(&profile, &visit.known()))
            };
            let result = visit(&link, globals, work).await?;
            show(None, link.json, &result, radio::radio_lines)?;
        }
        RadioCommand::Nodes(link) => {
            let work = async |visit: &mut Visit| {
                let own = visit.unlocked().await?.own.num;
                Ok(radio::nodes(own, &visit.known(), Timestamp::now()))
            };
            let result = visit(&link, globals, work).await?;
            show(None, link.json, &result, |it| radio::node_lines(it))?;
        }
        RadioCommand::Channels(link) => {
            let work = async |visit: &mut Visit| Ok(radio::channels(&*visit.unlocked().await?));
            let result = visit(&link, globals, work).await?;
            show(None, link.json, &result, |it| radio::channel_lines(it))?;
        }
        RadioCommand::Listen(link) => Box::pin(listen(&link, globals)).await?,
        RadioCommand::Send(arguments) => return Box::pin(send(&arguments, globals)).await,
    }
    Ok(ExitCode::SUCCESS)
}

async fn listen(link: &LinkArgs, globals: &Globals) -> Result<(), Failure> {
    let write = |texts: &[RadioText]| {
        if link.json {
            print(&radio::json_lines(texts).context("cannot be told as JSON")?)
        } else {
            print(&radio::lines(texts))
        }
    };
    let mut reader_gone = std::pin::pin!(reader::gone());
    let mut unwritten = Vec::new();
    let mut written = Ok(());
    let (done, kept) = until_interrupted(link, globals, async |visit| {
        let profile = visit.ready().await?;
        let (name, node) = (profile.own.long(), profile.own.num);
        remark(&format!("listening on {name} ({node}); Ctrl-C ends"));
        note_locked(profile.locked);
        let mut hinted = Vec::new();
        loop {
            // Nothing is fetched from the radio without a reader. Both are cancel safe.
            let heard = tokio::select! {
                biased;
                () = &mut reader_gone => {
                    remark("nobody reads the output any more");
                    return Ok(());
                }
                heard = visit.heard() => heard,
            };
            match heard {
                Ok(Event::Radio(RadioEvent::Text(text))) => {
                    written = write(std::slice::from_ref(&*text));
                    if written.is_err() {
                        unwritten.push(*text);
                        return Ok(());
                    }
                }
                Ok(Event::Radio(RadioEvent::Ready(profile))) => {
                    remark("the radio is there again");
                    note_locked(profile.locked);
                }
                Ok(Event::Radio(RadioEvent::Lost { kind, cause, hint })) => {
                    let lost = visit.lost(kind, cause, hint);
                    let text = format!("the link to the radio is lost, trying again: {lost}");
                    remark(&text);
                    // Each hint once: two programs that compete for a radio lose it all the time.
                    let hint = lost.hint().filter(|hint| !hinted.contains(hint));
                    if let Some(hint) = hint {
                        remark(&hint_line(&hint));
                        hinted.push(hint);
                    }
                }
                Ok(_) => {}
                Err(VisitError::Interrupted) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    })
    .await?;
    // Messages that arrived during the disconnect are shown like the rest.
    written = written.and_then(|()| write(&kept));
    if written.is_err() {
        unwritten.extend(kept);
        let heading =
            "the radio handed these over, and does not do so again; they could not be written:";
        note_texts(heading, &unwritten);
    }
    done?;
    Ok(written?)
}

async fn send(arguments: &SendArgs, globals: &Globals) -> CommandResult {
    let (text, link) = (&arguments.text, &arguments.link);
    radio::check_text(text)?;
    check_flag(text, std::env::args_os())?;
    let accepted = |sent: &Sent| {
        if !link.json {
            let (channel, packet) = (sent.channel, sent.packet);
            let text =
                format!("accepted: the radio took it (channel {channel}, packet {packet})\n");
            // A closed output is noticed at the end.
            drop(print(&text));
        }
    };
    let work =
        async |visit: &mut Visit| radio::send(visit, &arguments.channel, text, accepted).await;
    let sent = visit(link, globals, work).await?;
    let became = match sent.fate {
        TextFate::Heard => "heard: another node repeated it",
        TextFate::Unheard => {
            "unheard: nobody was heard repeating it; whoever is in reach may have received it all the same"
        }
        TextFate::NoAnswer => "no answer: the radio has not said whether anybody repeated it",
        TextFate::Refused => "refused",
        TextFate::NotTaken => "not sent",
        TextFate::Unknown => "not known whether it was sent",
    };
    let text = if link.json {
        as_json(&sent)?
    } else if sent.taken {
        format!("{became}\n")
    } else {
        let reason = sent.reason.unwrap_or_default();
        let failure = Failure::from(anyhow!("{became}: {reason}"));
        return Err(failure.with_hint(sent.hint));
    };
    if let Err(error) = print(&text) {
        // Without this, the user may think that it failed, and send it again.
        remark(&format!("packet {}: {became}", sent.packet));
        return Err(error.into());
    }
    Ok(success_if(sent.taken))
}

/// Rejects a text that looks like a mistyped flag: a transmission cannot be undone.
fn check_flag(text: &str, arguments: impl IntoIterator<Item = OsString>) -> Result<(), Failure> {
    if !text.starts_with("--") || arguments.into_iter().any(|it| it == "--") {
        return Ok(());
    }
    let hint = "to send it as a text, put `--` before it, behind the flags";
    Err(Failure::wrong(format!("error: `{text}` is no flag of this command")).and_hint(hint))
}

/// Returns the radio to use, after checking that the daemon does not hold it; and the radio that the daemon holds.
async fn plan(link: &LinkArgs, globals: &Globals) -> Result<(Meshtastic, RadioOfDaemon), Failure> {
    let mut flags = [&link.host, &link.serial, &link.ble].into_iter().flatten();
    let named = flags.next().cloned();
    // A radio given by a flag needs neither a home nor a configuration.
    let home = match globals.home() {
        Ok(home) => home,
        Err(error) => return Ok((Meshtastic::new(named.ok_or(error)?), None)),
    };
    let configured = match globals.load_config(&home) {
        Ok(loaded) => Some(loaded.config.meshtastic),
        Err(_) if named.is_some() => None,
        Err(error) => {
            let hint =
                "without a configuration a radio is named with `--host`, `--serial` or `--ble`";
            return Err(load_failure(globals, &home, error).and_hint(hint));
        }
    };
    if globals.log_level.is_some() {
        telemetry::start(&globals.logging(), &home, None)?;
    }
    let known = configured.as_ref().map(|it| it.connection.clone());
    let meant = match named {
        Some(named) => Meshtastic::new(with_pin(named, known.as_ref())),
        None => configured.context("no radio is named")?,
    };
    let held = radio::held_by_daemon(&home, known.as_ref(), &meant.connection).await?;
    Ok((meant, held))
}

/// A radio given by a flag keeps the configured PIN if it is the configured one.
fn with_pin(named: Connection, configured: Option<&Connection>) -> Connection {
    let device = |it: &Connection| match it {
        Connection::Ble { ble_address, .. } => Some(ble_address.to_ascii_lowercase()),
        Connection::Tcp { .. } | Connection::Serial { .. } => None,
    };
    let is_named = |it: &&Connection| device(it).is_some() && device(it) == device(&named);
    configured.filter(is_named).cloned().unwrap_or(named)
}

/// Visits a radio until the work ends or Ctrl-C. Messages that the radio handed over and nobody was shown are shown
/// now.
async fn visit<T>(
    link: &LinkArgs,
    globals: &Globals,
    work: impl AsyncFnOnce(&mut Visit) -> Result<T, VisitError>,
) -> Result<T, Failure> {
    let (done, kept) = until_interrupted(link, globals, work).await?;
    note_handed_over(&kept);
    Ok(done?)
}

/// Warns that a locked radio reports no messages.
fn note_locked(locked: bool) {
    if locked {
        let text = VisitError::Locked;
        remark(&text.to_string());
        remark(&hint_line(&text.hint().unwrap_or_default()));
    }
}

/// Visits a radio; Ctrl-C ends the visit, a second one the program.
async fn until_interrupted<T>(
    link: &LinkArgs,
    globals: &Globals,
    work: impl AsyncFnOnce(&mut Visit) -> Result<T, VisitError>,
) -> Result<Visited<T>, Failure> {
    let (meant, held) = plan(link, globals).await?;
    let home = globals.home()?;
    let stop = CancellationToken::new();
    let (status_tx, awaited) = watch::channel(None);
    let tell = |line: &str| {
        progress::clear();
        remark(line);
    };
    let visiting = Box::pin(radio::visit(
        meant,
        &home,
        held,
        status_tx,
        tell,
        stop.clone(),
        work,
    ));
    interruptible(&stop, progress::watch(|| *awaited.borrow(), visiting)).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bluetooth_device_has_a_name() {
        let expected = Connection::Ble {
            ble_address: "Base_1234".to_owned(),
            ble_pin: None,
        };
        assert_eq!(device("Base_1234"), Ok(expected));
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
