//! What commands write: results to standard output, everything else to standard error.

use std::fmt::Display;
use std::io::{self, Write as _};

use anyhow::Context as _;
use serde::Serialize;

use crate::colour::may_colour;
use crate::home::Home;
use crate::tools::{escaped, printable, radio};
use relay_model::RadioText;

/// How lines for people begin, and their colours: as clap has them.
const BEGINNINGS: [(&str, &str); 3] = [("error:", "1;31"), ("warning:", "1;33"), ("hint:", "1;32")];

pub(super) fn print(text: &str) -> anyhow::Result<()> {
    let mut output = io::stdout().lock();
    let written = output
        .write_all(text.as_bytes())
        .and_then(|()| output.flush());
    match written {
        // Whoever has read enough, as `head` does, wants no complaint.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.context("cannot write to standard output"),
    }
}

/// Writes a result as JSON, or as lines; the relay's commands in lines and hints name the home.
pub(super) fn show<T: Serialize>(
    home: Option<&Home>,
    json: bool,
    value: &T,
    lines: impl Fn(&T) -> String,
) -> anyhow::Result<()> {
    if !json {
        let text = lines(value);
        return print(&home.map(|home| home.named_in(&text)).unwrap_or(text));
    }
    let mut value = serde_json::to_value(value).context("cannot be told as JSON")?;
    if let Some(home) = home {
        home.name_hints(&mut value);
    }
    print(&as_json(&value)?)
}

/// Returns a value as JSON that is safe for a terminal.
pub(super) fn as_json(value: &impl Serialize) -> anyhow::Result<String> {
    let text = serde_json::to_string_pretty(value).context("cannot be told as JSON")?;
    Ok(format!("{}\n", escaped(&text)))
}

/// Writes a message that must reach the user; fails if it cannot be written.
pub(super) fn say(line: &str) -> anyhow::Result<()> {
    writeln!(io::stderr(), "{line}").context("cannot write to standard error")
}

pub(super) fn warn(what: impl Display) -> anyhow::Result<()> {
    say(&coloured(&format!("warning: {what}")))
}

/// Colours the words that begin a line for standard error, if it is a terminal that shows colours.
pub(super) fn coloured(text: &str) -> String {
    if may_colour(&io::stderr()) {
        colour(text)
    } else {
        text.to_owned()
    }
}

fn colour(text: &str) -> String {
    let lines = text.split('\n').map(|line| {
        let begins = BEGINNINGS
            .iter()
            .find_map(|(word, code)| Some((word, code, line.strip_prefix(word)?)));
        begins.map_or(line.to_owned(), |(word, code, rest)| {
            format!("\u{1b}[{code}m{word}\u{1b}[0m{rest}")
        })
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Writes a message beside the result; failures are ignored.
pub(super) fn remark(line: &str) {
    drop(writeln!(io::stderr(), "{}", printable(line)));
}

/// Shows what the radio handed over to a command that does not listen.
pub(super) fn note_handed_over(kept: &[RadioText]) {
    let heading = "the radio handed these over, which it had kept; it does not do so again:";
    note_texts(heading, kept);
}

/// Shows messages that the radio handed over and nobody was shown.
pub(super) fn note_texts(heading: &str, texts: &[RadioText]) {
    if !texts.is_empty() {
        remark(heading);
    }
    radio::lines(texts).lines().for_each(remark);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_word_that_begins_a_line_is_coloured_and_nothing_else() {
        let text = "error: no hint: here\nhint: there";
        let expected =
            "\u{1b}[1;31merror:\u{1b}[0m no hint: here\n\u{1b}[1;32mhint:\u{1b}[0m there";
        assert_eq!(colour(text), expected);
    }

    #[test]
    fn a_home_with_an_odd_name_plays_no_tricks_in_json() {
        let home = Home::locate(Some("/srv/\u{1b}[31m\u{9b}\u{202e}".as_ref()), |_| None).unwrap();
        let mut value = serde_json::json!({"hint": "run `relay status`"});
        home.name_hints(&mut value);
        let json = as_json(&value).unwrap();
        assert!(
            json.contains(r"--home '/srv/\u001b[31m\u009b\u202e'"),
            "{json}"
        );
    }
}
