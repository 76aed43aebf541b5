//! Pages of the reference that are made of the commands' own help; `UPDATE_PAGES=1 cargo test -p relay --lib pages` writes
//! them.

use std::fmt::Write as _;
use std::path::Path;
use std::{env, fs};

use clap::{Arg, Command, CommandFactory as _};

use super::Arguments;
use super::help::with_exit_codes;

const BEGIN: &str = "<!-- made of the commands' help: begin -->\n";
const END: &str = "<!-- end -->\n";

/// Holds what stands between the marks of a page against what is made; writes it if that is asked for.
fn assert_made(page: &str, made: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(page);
    let there = fs::read_to_string(&path).unwrap();
    let (before, rest) = there.split_once(BEGIN).expect("the mark is there");
    let (_, after) = rest.split_once(END).expect("the mark is there");
    let text = format!("{before}{BEGIN}\n{made}\n{END}{after}");
    if env::var_os("UPDATE_PAGES").is_some() {
        fs::write(&path, text).unwrap();
    } else {
        assert!(
            there == text,
            "{page} is not what the help says: `UPDATE_PAGES=1 cargo test -p relay --lib pages` writes it anew"
        );
    }
}

fn commands() -> Command {
    let mut commands = with_exit_codes(Arguments::command(), "");
    commands.build();
    commands
}

/// Calls `each` for a command and those below it, with their paths.
fn walk(command: &Command, path: &str, each: &mut impl FnMut(&Command, &str)) {
    each(command, path);
    let below = command
        .get_subcommands()
        .filter(|it| it.get_name() != "help");
    below.for_each(|it| walk(it, &format!("{path} {}", it.get_name()), each));
}

/// Returns a text as it may stand in a table.
fn cell(text: &str) -> String {
    text.replace('\n', " ").replace('|', "\\|")
}

/// Returns the exit codes of a command, and what stands behind them in its help: examples.
fn after(command: &Command) -> (String, String) {
    let help = command.get_after_help().map(ToString::to_string);
    let help = help.unwrap_or_default();
    let (codes, rest) = help.split_once('\n').unwrap_or((&help, ""));
    let codes = codes.trim_start_matches("Exit codes: ").to_owned();
    let examples = rest
        .replace("Examples:", "")
        .replace("Example:", "")
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .fold(String::new(), |all, line| all + line + "\n");
    (codes, examples)
}

fn name(arg: &Arg) -> String {
    let values = arg
        .get_num_args()
        .is_some_and(|it| it.takes_values())
        .then(|| arg.get_value_names().unwrap_or_default().join(" "));
    let short = arg.get_short().map(|it| format!("-{it}, "));
    match (arg.get_long(), values) {
        (Some(long), Some(values)) => format!("--{long} {values}"),
        (Some(long), None) => format!("{}--{long}", short.unwrap_or_default()),
        (None, values) => values.unwrap_or_default(),
    }
}

fn row(arg: &Arg) -> String {
    let help = arg.get_long_help().or_else(|| arg.get_help());
    let mut text = cell(&help.map(ToString::to_string).unwrap_or_default());
    let mut choices = arg.get_possible_values();
    choices.retain(|it| !it.is_hide_set());
    if arg.get_num_args().is_some_and(|it| it.takes_values()) && !choices.is_empty() {
        let told = choices.iter().map(|it| match it.get_help() {
            Some(help) => format!("`{}` ({})", it.get_name(), lower(&help.to_string())),
            None => format!("`{}`", it.get_name()),
        });
        let _ = write!(text, ": {}", told.collect::<Vec<_>>().join(", "));
    }
    let defaults = arg.get_default_values();
    if arg.get_num_args().is_some_and(|it| it.takes_values()) && !defaults.is_empty() {
        let values = defaults.iter().map(|it| it.to_string_lossy().into_owned());
        let _ = write!(
            text,
            " [default: `{}`]",
            values.collect::<Vec<_>>().join(" ")
        );
    }
    format!("| `{}` | {text} |\n", cell(&name(arg)))
}

fn lower(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|it| it.to_lowercase().to_string());
    first.unwrap_or_default() + letters.as_str()
}

fn table(args: &[&Arg]) -> String {
    if args.is_empty() {
        return String::new();
    }
    let rows: String = args.iter().map(|arg| row(arg)).collect();
    format!("| argument | what it does |\n| --- | --- |\n{rows}\n")
}

#[test]
fn the_page_of_commands_is_made_of_their_help() {
    let mut text = String::new();
    walk(&commands(), "relay", &mut |command, path| {
        let about = command.get_long_about().or_else(|| command.get_about());
        let about = about.map(ToString::to_string).unwrap_or_default();
        let about = about.trim().trim_end_matches('.');
        write!(text, "## `{path}`\n\n{about}.\n\n").unwrap();
        let is_own = |it: &&Arg| !["help", "version"].contains(&it.get_id().as_str());
        let of_every = path == "relay";
        let args: Vec<&Arg> = command
            .get_arguments()
            .filter(is_own)
            .filter(|it| of_every || !it.is_global_set())
            .collect();
        if of_every {
            text.push_str("These can be given with every command:\n\n");
        }
        text.push_str(&table(&args));
        let (codes, examples) = after(command);
        if !command.has_subcommands() || of_every {
            write!(text, "Exit codes: {codes}.\n\n").unwrap();
        }
        if !examples.is_empty() {
            write!(text, "```text\n{examples}```\n\n").unwrap();
        }
    });
    assert_made("docs/reference/commands.md", text.trim_end());
}

#[test]
fn the_page_of_exit_codes_is_made_of_the_help() {
    let mut text = String::from("| command | exit codes |\n| --- | --- |\n");
    walk(&commands(), "relay", &mut |command, path| {
        if !command.has_subcommands() {
            let (codes, _) = after(command);
            writeln!(text, "| `{path}` | {} |", cell(&codes)).unwrap();
        }
    });
    assert_made("docs/reference/exit-codes.md", text.trim_end());
}
