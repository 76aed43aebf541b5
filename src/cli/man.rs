//! `relay man`: the manual page, made from the commands' own help.

use std::io;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Command;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

use super::failure::CommandResult;
use super::help::exit_codes;
use super::output::print;

const ENVIRONMENT: &[(&str, &str)] = &[
    ("RELAY_HOME", "The home directory, unless --home names it."),
    (
        "RELAY_CONFIG",
        "The configuration file, unless --config names it.",
    ),
    (
        "RELAY_SECTION_KEY",
        "The value of any key of the configuration, as in RELAY_MESHTASTIC_HOST; it beats the file. Lists and maps are written \
         as YAML. With _FILE behind the name the value is read from that file.",
    ),
    (
        "NO_COLOR",
        "If it is set and not empty: no colours, also on a terminal. There are none with TERM=dumb either.",
    ),
    (
        "NOTIFY_SOCKET, WATCHDOG_USEC",
        "Set by systemd: the relay tells it there that it is ready, how it stands, that it lives, and that it stops.",
    ),
];

const FILES: &[(&str, &str)] = &[
    (
        "~/.relay",
        "The home; /var/lib/relay for a service of the system.",
    ),
    (
        "config.yaml",
        "The configuration. This and what follows is in the home.",
    ),
    (
        "matrix/",
        "The login, its keys, and the recovery key if no terminal was there to show it.",
    ),
    (
        "database/relay.sqlite",
        "What waits, and what belongs together on both sides.",
    ),
    (
        "logs/relay.log",
        "The log, if logging.log_to_file says so; it goes to standard error in any case.",
    ),
    (
        "relay.lock, relay.sock",
        "Which process runs here, and where relay status asks it.",
    ),
    (
        "/etc/systemd/system/relay.service",
        "The unit that relay service install writes.",
    ),
];

pub(super) fn run(commands: Command) -> CommandResult {
    let page = page(commands).context("cannot write the manual page")?;
    let page = String::from_utf8_lossy(&page);
    // No date, which would otherwise be taken from the next word; and a gap as `mandoc` wants it.
    let page = page.replacen(".TH relay 1  ", ".TH relay 1 \"\" ", 1);
    print(&page.replace(".br\n\n.br\n", ".sp\n"))?;
    Ok(ExitCode::SUCCESS)
}

fn page(mut commands: Command) -> io::Result<Vec<u8>> {
    commands.build();
    let man = Man::new(commands.clone()).manual("User Commands");
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    section("COMMANDS").to_writer(&mut page)?;
    for command in commands.get_subcommands() {
        describe(command, "relay", &mut page)?;
    }
    let mut rest = section("EXIT STATUS");
    paragraphs(&mut rest, exit_codes("").split(", "));
    rest.text([roman(
        "Some commands have codes of their own, which stand with them.",
    )]);
    for (name, entries) in [("ENVIRONMENT", ENVIRONMENT), ("FILES", FILES)] {
        rest.control("SH", [name]);
        for (word, meaning) in entries {
            rest.control("TP", []);
            rest.text([bold(*word)]);
            rest.text([roman(*meaning)]);
        }
    }
    rest.to_writer(&mut page)?;
    Ok(page)
}

/// Describes a command, and below it its own commands.
fn describe(command: &Command, above: &str, page: &mut Vec<u8>) -> io::Result<()> {
    if command.get_name() == "help" {
        return Ok(());
    }
    let path = format!("{above} {}", command.get_name());
    let mut head = Roff::new();
    head.control("SS", [path.as_str()]);
    let about = command.get_long_about().or_else(|| command.get_about());
    let about = about.map(ToString::to_string).unwrap_or_default();
    paragraphs(&mut head, about.lines());
    head.to_writer(page)?;
    page.extend(options(command)?);
    let mut end = Roff::new();
    let after = command
        .get_after_help()
        .map(ToString::to_string)
        .unwrap_or_default();
    for line in after.lines().filter(|line| !line.is_empty()) {
        end.control("PP", []);
        end.text([roman(line)]);
    }
    end.to_writer(page)?;
    command
        .get_subcommands()
        .try_for_each(|it| describe(it, &path, page))
}

/// Returns the flags and arguments that only this command has, without the headings of their sections.
fn options(command: &Command) -> io::Result<Vec<u8>> {
    let own = command
        .get_arguments()
        .filter(|it| !it.is_global_set() && it.get_id() != "help");
    let alone = Command::new("relay")
        .disable_help_flag(true)
        .args(own.cloned());
    if alone.get_arguments().next().is_none() {
        return Ok(Vec::new());
    }
    let mut options = Vec::new();
    Man::new(alone).render_options_section(&mut options)?;
    let options = String::from_utf8_lossy(&options).into_owned();
    let lines = options.lines().filter(|line| !line.starts_with(".SH"));
    Ok(lines
        .flat_map(|line| [line, "\n"])
        .collect::<String>()
        .into_bytes())
}

fn section(name: &str) -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", [name]);
    roff
}

fn paragraphs<'a>(roff: &mut Roff, lines: impl Iterator<Item = &'a str>) {
    for line in lines {
        if line.is_empty() {
            roff.control("PP", []);
        } else {
            roff.text([roman(line)]);
        }
    }
}
