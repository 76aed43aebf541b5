//! Additions to the arguments' parser: the exit codes in every command's help, and suggestions for a wrong command.

use std::collections::BTreeMap;

use clap::Command;
use clap::error::{ContextKind, ContextValue, ErrorKind};

/// Exit codes of a command without a configuration.
const DONE: &str = "0 done, 1 failed, 2 wrong arguments";

/// Exit codes of the other commands, by the command's path.
const EXIT_CODES: &[&str] = &[
    ": 0 done, 1 failed, 2 wrong arguments or configuration",
    "run: 0 ended when asked to, 1 failed, 2 wrong arguments or configuration",
    "status: 0 a relay answers, 1 none does, 2 wrong arguments",
    "config: 0 done, 1 failed, 2 wrong arguments or configuration",
    "radio: 0 done, 1 failed, 2 wrong arguments or configuration",
    "doctor: 0 healthy, 1 something has failed, 2 wrong arguments or configuration",
    "auth login: 0 logged in, 1 not (an earlier login is as it was), 2 wrong arguments",
    "auth export: 0 exported, 1 not (the login is as it was), 2 wrong arguments or configuration",
    "auth import: 0 imported, 1 not (there is no login), 2 wrong arguments or configuration",
    "backup: 0 written, 1 not, 2 wrong arguments",
    "restore: 0 restored and logged in, 1 not, 2 wrong arguments or configuration",
    "auth recover: 0 recovered or nothing to recover, 1 not (the login is as it was), 2 wrong arguments",
    "auth verify: 0 verified, 1 not, 2 wrong arguments or no terminal",
    "auth status: 0 the homeserver accepts the login, 1 it does not or nobody is logged in, 2 wrong arguments",
    "auth logout: 0 logged out, 1 not, 2 wrong arguments",
    "config explain: 0 explained, 1 failed, 2 no such key or wrong arguments",
    "config check: 0 no mistakes, 1 failed (with --online: something has), 2 mistakes or wrong arguments",
    "import mmrelay: 0 taken over, 1 not, or not all of it, 2 wrong arguments",
    "radio info: 0 done, 1 failed, 2 wrong arguments or configuration",
    "radio nodes: 0 done, 1 failed, 2 wrong arguments or configuration",
    "radio channels: 0 done, 1 failed, 2 wrong arguments or configuration",
    "radio listen: 0 ended by Ctrl-C or because nobody reads it, 1 failed, 2 wrong arguments or configuration",
    "radio send: 0 the radio took the text, 1 it did not, 2 wrong arguments or configuration",
    "service install: 0 installed, 1 not, 2 wrong arguments",
    "service uninstall: 0 no service is left, 1 it is, 2 wrong arguments",
    "service status: 0 it runs, 1 it does not, 2 wrong arguments",
    "simulate: 0 ended when asked to, 1 failed, 2 wrong arguments",
];

/// Other words for commands.
const OTHER_WORDS: &[(&str, &str)] = &[
    ("signin", "auth login"),
    ("signout", "auth logout"),
    ("whoami", "auth status"),
    ("init", "config generate"),
    ("setup", "config generate"),
    ("validate", "config check"),
    ("start", "run"),
    ("daemon", "run"),
    ("health", "doctor"),
    ("simulator", "simulate"),
    ("migrate", "import mmrelay"),
];

/// Returns the exit codes of a command, with a comma between.
pub(super) fn exit_codes(path: &str) -> &'static str {
    let mut others = EXIT_CODES.iter();
    let codes = others.find_map(|it| it.strip_prefix(path)?.strip_prefix(": "));
    codes.unwrap_or(DONE)
}

/// Adds the exit codes to the help of a command and its subcommands; `path` is the command's path.
pub(super) fn with_exit_codes(mut command: Command, path: &str) -> Command {
    let names = command.get_subcommands().map(|it| it.get_name().to_owned());
    for name in names.collect::<Vec<_>>() {
        let below = format!("{path} {name}");
        command = command.mut_subcommand(name, |it| with_exit_codes(it, below.trim_start()));
    }
    let codes = exit_codes(path);
    let help = command.get_after_help().map(|help| format!("\n\n{help}"));
    let help = help.unwrap_or_default();
    command.after_help(format!("Exit codes: {codes}{help}"))
}

/// Adds a suggestion to the error for an unknown command.
pub(super) fn with_nearest(mut error: clap::Error, commands: &Command) -> clap::Error {
    if error.kind() == ErrorKind::InvalidSubcommand
        && let Some(ContextValue::String(word)) = error.get(ContextKind::InvalidSubcommand)
        && let Some(tip) = tip(word, commands)
    {
        let tips = ContextValue::StyledStrs(vec![tip.into()]);
        error.insert(ContextKind::Suggested, tips);
    }
    error
}

fn tip(word: &str, commands: &Command) -> Option<String> {
    let word: String = word.to_lowercase().replace(['-', '_'], "");
    let mut all = Vec::new();
    collect(commands, "", &mut all);
    let named = all
        .iter()
        .map(|path| (path.rsplit(' ').next().unwrap_or_default(), path.as_str()));
    let mut by_slips = BTreeMap::<usize, Vec<String>>::new();
    for (known, path) in named.chain(OTHER_WORDS.iter().copied()) {
        let paths = by_slips.entry(strsim::damerau_levenshtein(known, &word));
        paths.or_default().push(format!("`relay {path}`"));
    }
    let (nearest, meant) = by_slips.pop_first()?;
    // A short word allows fewer typing errors.
    if nearest > word.chars().count().saturating_sub(1) / 2 || nearest > 2 {
        return None;
    }
    Some(format!("did you mean {}?", meant.join(" or ")))
}

fn collect(command: &Command, path: &str, all: &mut Vec<String>) {
    for command in command.get_subcommands() {
        let path = format!("{path} {}", command.get_name());
        all.push(path.trim_start().to_owned());
        collect(command, &path, all);
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;
    use crate::cli::Arguments;

    #[test]
    fn whoever_leaves_out_a_word_is_told_the_whole_command() {
        let commands = Arguments::command();
        let tip = |word: &str| tip(word, &commands).unwrap_or_default();
        for (word, expected) in [
            ("login", "did you mean `relay auth login`?"),
            ("logout", "did you mean `relay auth logout`?"),
            ("Log-In", "did you mean `relay auth login`?"),
            ("logn", "did you mean `relay auth login`?"),
            ("check", "did you mean `relay config check`?"),
            ("nodes", "did you mean `relay radio nodes`?"),
            ("sign-out", "did you mean `relay auth logout`?"),
            ("confgi", "did you mean `relay config`?"),
            ("dcotor", "did you mean `relay doctor`?"),
            ("verify", "did you mean `relay auth verify`?"),
            ("recovery", "did you mean `relay auth recover`?"),
        ] {
            assert_eq!(tip(word), expected, "{word}");
        }
        assert_eq!(tip("frobnicate"), "");
        assert_eq!(tip("x"), "");
    }

    #[test]
    fn the_help_of_every_command_tells_its_exit_codes_and_an_example() {
        fn check(command: &Command) {
            let help = command.get_after_help().map(ToString::to_string);
            let help = help.unwrap_or_default();
            assert!(help.contains("Exit codes: 0 "), "{command}: {help}");
            let is_group = command.has_subcommands();
            assert!(is_group || help.contains("Example"), "{command}: {help}");
            command.get_subcommands().for_each(check);
        }
        check(&with_exit_codes(Arguments::command(), ""));
    }

    #[test]
    fn every_command_with_codes_of_its_own_exists() {
        let mut all = vec![String::new()];
        collect(&Arguments::command(), "", &mut all);
        let others = OTHER_WORDS.iter().map(|(_, path)| *path);
        let codes = EXIT_CODES.iter().map(|it| it.split_once(": ").unwrap().0);
        for path in codes.chain(others) {
            assert!(all.iter().any(|it| it == path), "{path}");
        }
    }
}
