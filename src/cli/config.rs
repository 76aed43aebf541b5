//! `relay config`: writes a new configuration, checks one, shows where things are.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::Subcommand;
use serde_json::{Value, json};

use crate::config::{Database, Finding, LoadError, Loaded};
use crate::home::{self, Home};
use crate::model::Chain;

use super::Globals;

/// What a new configuration holds: every key with its default.
const SAMPLE: &str = include_str!("../../config.sample.yaml");

/// The exit code for a wrong configuration.
const WRONG: u8 = 2;

/// The commands under `relay config`.
#[derive(Debug, Subcommand)]
pub(super) enum ConfigCommand {
    /// Write a new configuration, with every key and its default
    #[command(after_help = "Example: relay config generate --output ./config.yaml")]
    Generate {
        /// Where to write it; `-` is standard output [default: config.yaml in the home directory]
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
        /// Replace a file that is there
        #[arg(long)]
        force: bool,
    },
    /// Tell everything that is wrong with the configuration, with its place
    #[command(after_help = "Example: relay --config ./config.yaml config check --json")]
    Check {
        /// One JSON object instead of sentences
        #[arg(long)]
        json: bool,
    },
    /// Show where everything is
    #[command(after_help = "Example: relay --home /var/lib/relay config paths")]
    Paths,
}

/// Runs one of the commands.
///
/// # Errors
///
/// What failed.
pub(super) fn run(command: ConfigCommand, globals: &Globals) -> anyhow::Result<ExitCode> {
    let home = globals.home()?;
    match command {
        ConfigCommand::Generate { output, force } => generate(globals, &home, output, force),
        ConfigCommand::Check { json } => check(globals, &home, json),
        ConfigCommand::Paths => paths(globals, &home),
    }
}

fn generate(
    globals: &Globals,
    home: &Home,
    output: Option<PathBuf>,
    force: bool,
) -> anyhow::Result<ExitCode> {
    if output.as_deref() == Some(Path::new("-")) {
        return print(SAMPLE);
    }
    let path = output.unwrap_or_else(|| globals.config_path(home));
    if path == home.config() {
        say_all(&home.prepare(globals.allow_network_home)?)?;
    }
    if path.symlink_metadata().is_ok() && !force {
        bail!(
            "`{}` is there already; `--force` replaces it",
            path.display()
        );
    }
    home::write_private(&path, SAMPLE.as_bytes())
        .with_context(|| format!("cannot write `{}`", path.display()))?;
    print(&format!(
        "{}\nNext: set `matrix_rooms` and `meshtastic.host` in it, then run `relay config check`.\n",
        path.display()
    ))
}

fn check(globals: &Globals, home: &Home, as_json: bool) -> anyhow::Result<ExitCode> {
    let path = globals.config_path(home);
    let outcome = globals.load_config(home);
    let is_good = outcome.is_ok();
    if as_json {
        let report = json_report(&path, home, &outcome);
        print(&format!("{report:#}\n"))?;
    } else {
        match &outcome {
            Ok(loaded) => {
                say_all(&sentences(&loaded.warnings))?;
                say_all(&foreign_database(loaded, home))?;
                say_all(&notes(loaded, home))?;
                let examples = loaded.config.examples();
                say_all(
                    &examples
                        .iter()
                        .map(|it| format!("warning: {it}"))
                        .collect::<Vec<_>>(),
                )?;
                let verdict = if examples.is_empty() {
                    "no mistakes"
                } else {
                    "no mistakes, but there are examples in it to be replaced by what is yours"
                };
                print(&format!("{}: {verdict}\n", path.display()))?;
            }
            Err(error) => report_load_error(globals, home, error)?,
        }
    }
    Ok(if is_good {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(WRONG)
    })
}

/// Tells on standard error why there is no configuration; the exit code to go with it is 2.
///
/// # Errors
///
/// When standard error is closed.
pub(super) fn report_load_error(
    globals: &Globals,
    home: &Home,
    error: &LoadError,
) -> anyhow::Result<()> {
    match error {
        LoadError::Missing { .. } => say(&format!(
            "error: {error}\nhint: {}",
            globals.missing_hint(home)
        )),
        LoadError::Read { cause, .. } => {
            say(&format!("error: {}", Chain(error)))?;
            let hint = cause.hint().map(|hint| format!("hint: {hint}"));
            say_all(&Vec::from_iter(hint))
        }
        LoadError::Wrong(problems) => {
            say_all(&sentences(&problems.warnings))?;
            say(&problems.to_string())
        }
    }
}

/// Returns a warning if the configuration names the database of another program.
fn foreign_database(loaded: &Loaded, home: &Home) -> Vec<String> {
    let place = home.database(&loaded.config.database.path, Database::APPLICATION_ID);
    let sentence = |warning| format!("warning: {warning}");
    place.warning.map(sentence).into_iter().collect()
}

/// Returns what differs from MMRelay, for a configuration or a home that comes from it.
fn notes(loaded: &Loaded, home: &Home) -> Vec<String> {
    let notes = loaded.notes(!home.mmrelay_files().is_empty());
    notes
        .iter()
        .map(|note| format!("note: unlike MMRelay: {note}"))
        .collect()
}

fn sentences(warnings: &[Finding]) -> Vec<String> {
    let sentence = |finding: &Finding| format!("warning: {finding}");
    warnings.iter().map(sentence).collect()
}

fn json_report(path: &Path, home: &Home, outcome: &Result<Loaded, LoadError>) -> Value {
    let (problems, warnings, notes) = match outcome {
        Ok(loaded) => {
            let mut warnings = findings(&loaded.warnings);
            let examples = loaded.config.examples();
            warnings.extend(examples.into_iter().map(|it| json!({ "message": it })));
            (Vec::new(), warnings, notes(loaded, home))
        }
        Err(LoadError::Wrong(wrong)) => (
            findings(&wrong.problems),
            findings(&wrong.warnings),
            Vec::new(),
        ),
        Err(error @ (LoadError::Missing { .. } | LoadError::Read { .. })) => {
            let message = Chain(error).to_string();
            (vec![json!({ "message": message })], Vec::new(), Vec::new())
        }
    };
    json!({
        "file": path,
        "valid": outcome.is_ok(),
        "problems": problems,
        "warnings": warnings,
        "notes": notes,
    })
}

fn findings(findings: &[Finding]) -> Vec<Value> {
    let value = |finding: &Finding| {
        json!({
            "origin": finding.origin,
            "line": finding.position.map(|(line, _)| line),
            "column": finding.position.map(|(_, column)| column),
            "key": finding.key,
            "message": finding.message,
            "hint": finding.hint,
        })
    };
    findings.iter().map(value).collect()
}

fn paths(globals: &Globals, home: &Home) -> anyhow::Result<ExitCode> {
    if let Some(hint) = home.hint() {
        say(&format!("hint: {hint}"))?;
    }
    let config_path = globals.config_path(home);
    // Where things are is also of use when the configuration is wrong: then the defaults are shown.
    let loaded = globals.load_config(home).ok();
    let defaults = Database::default();
    let database = loaded
        .as_ref()
        .map_or(&defaults, |loaded| &loaded.config.database);
    let place = home.database(&database.path, Database::APPLICATION_ID);
    if let Some(warning) = &place.warning {
        say(&format!("warning: {warning}"))?;
    }
    let logging = loaded.map_or_else(|| globals.logging(), |loaded| loaded.config.logging);
    let log = if logging.log_to_file {
        home.resolve(&logging.filename).display().to_string()
    } else {
        "standard error only".to_owned()
    };
    let lines = [
        ("home", home.path().display().to_string()),
        ("configuration", config_path.display().to_string()),
        ("session", home.session().display().to_string()),
        ("Matrix stores", home.sdk().display().to_string()),
        ("their key", home.sdk_key().display().to_string()),
        ("recovery key", home.recovery_key().display().to_string()),
        ("database", place.path.display().to_string()),
        ("log", log),
        ("lock", home.lock_file().display().to_string()),
        ("control socket", home.socket().display().to_string()),
    ];
    let text = lines
        .map(|(name, path)| format!("{name:<15} {path}\n"))
        .concat();
    print(&text)
}

fn print(text: &str) -> anyhow::Result<ExitCode> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .context("cannot write to standard output")?;
    Ok(ExitCode::SUCCESS)
}

fn say(text: &str) -> anyhow::Result<()> {
    writeln!(std::io::stderr().lock(), "{text}").context("cannot write to standard error")
}

fn say_all(texts: &[String]) -> anyhow::Result<()> {
    texts.iter().try_for_each(|text| say(text))
}
