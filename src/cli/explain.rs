//! `relay config explain`: one key, for people or as JSON.

use std::fmt::Write as _;
use std::process::ExitCode;

use clap::Args;

use super::Globals;
use super::failure::CommandResult;
use super::output::show;
use crate::home::Home;
use crate::tools::printable;
use relay_config::{Environment, Explanation, KeyExplanation, ListedKey, Setting};
use relay_model::full_text;

#[derive(Debug, Args)]
pub(super) struct ExplainArgs {
    /// The key
    #[arg(value_name = "KEY")]
    key: String,
    /// One JSON object instead of lines
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &ExplainArgs, globals: &Globals, home: &Home) -> CommandResult {
    let path = globals.config_path(home);
    let explanation = relay_config::explain(&arguments.key, &path, &Environment::of_process())?;
    show(Some(home), arguments.json, &explanation, lines)?;
    Ok(ExitCode::SUCCESS)
}

fn lines(explanation: &Explanation) -> String {
    match explanation {
        Explanation::Key(key) => of_key(key),
        Explanation::Section {
            key,
            about,
            keys,
            file_problem,
        } => of_section(key, about, keys, file_problem.as_ref()),
        Explanation::Meaningless { key, why } => {
            let key = printable(key);
            format!("{key} is MMRelay's, and has no meaning here: {why}.\n")
        }
    }
}

fn of_key(key: &KeyExplanation) -> String {
    let mut page = Page::new(&key.key, &key.about);
    page.line("takes", &key.takes);
    let default = match (&key.default, &key.required) {
        (Some(default), _) => default.clone(),
        (None, Some(when)) if when == "always" => "none: it is required".to_owned(),
        (None, Some(when)) => format!("none: it is required {when}"),
        (None, None) => "none".to_owned(),
    };
    page.line("default", &default);
    if let Some(example) = &key.example {
        page.line("example", example);
    }
    if let Some((first, others)) = key.variables.split_first() {
        page.line(
            "variable",
            &format!("{first}, or {first}_FILE with a file that holds the value"),
        );
        for other in others {
            page.line("", &format!("{other} (another name)"));
        }
    }
    if let Some(name) = &key.mmrelay {
        page.line("MMRelay", &format!("calls it `{name}`"));
    }
    if let Some(differs) = &key.differs {
        page.line("differs", differs);
    }
    page.file_problem(key.file_problem.as_ref());
    if key.now.is_empty() {
        page.line("now", "there is no entry");
    }
    for setting in &key.now {
        let value = with_origin(setting.value.as_ref(), setting.origin.as_ref());
        page.line("now", &format!("{}{value}", entry_of(setting)));
    }
    for finding in &key.findings {
        page.line("but", &full_text(finding));
    }
    page.0
}

fn of_section(key: &str, about: &str, keys: &[ListedKey], file_problem: Option<&String>) -> String {
    let mut page = Page::new(key, about);
    page.file_problem(file_problem);
    page.0.truncate(page.0.trim_end().len());
    page.0.push('\n');
    for listed in keys {
        let value = match (&listed.value, &listed.origin) {
            (None, None) => String::new(),
            (value, origin) => format!(" = {}", with_origin(value.as_ref(), origin.as_ref())),
        };
        let key = printable(&listed.key);
        let _ = writeln!(page.0, "\n{key}{}", printable(&value));
        let _ = writeln!(page.0, "  {}", listed.about);
    }
    page.0
}

/// Returns which entry of a list a setting belongs to.
fn entry_of(setting: &Setting) -> String {
    match setting.key.split_once(']') {
        Some((entry, _)) => format!("{entry}]: "),
        None => String::new(),
    }
}

fn with_origin(value: Option<&String>, origin: Option<&String>) -> String {
    match (value, origin) {
        (None, _) => "not set".to_owned(),
        (Some(value), Some(origin)) => format!("{value}  ({origin})"),
        (Some(value), None) => format!("{value}  (default)"),
    }
}

/// A heading, what it is about, and aligned lines.
struct Page(String);

impl Page {
    fn new(key: &str, about: &str) -> Self {
        Self(format!("{key}\n  {about}\n\n"))
    }

    fn line(&mut self, heading: &str, text: &str) {
        let _ = writeln!(self.0, "{heading:<9} {}", printable(text));
    }

    fn file_problem(&mut self, problem: Option<&String>) {
        if let Some(problem) = problem {
            let text = format!("{problem}: nothing in it counts (`relay config check`)");
            self.line("but", &text);
        }
    }
}
