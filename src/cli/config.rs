//! `relay config`: creates and checks a configuration, and shows paths.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, anyhow};
use clap::Subcommand;
use serde_json::{Value, json};

use super::failure::{CommandResult, Failure, success_if};
use super::output::{as_json, print, say, show, warn};
use super::{Globals, doctor, explain, globals::mmrelay_hint};
use crate::home::{Home, quoted};
use crate::tools;
use crate::tools::doctor::{Extent, Report};
use relay_config::{Database, LoadError, Loaded};
use relay_disk::write_private;
use relay_matrix::auth::Files;
use relay_model::{Chain, Explained as _, full_text};

/// The commands under `relay config`.
#[derive(Debug, Subcommand)]
pub(super) enum ConfigCommand {
    /// Write a new configuration, with every key and its default, and its schema
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
    #[command(
        after_help = "Examples:\n  relay --config ./config.yaml config check --json\n  relay config check --online"
    )]
    Check {
        /// Try the login, the rooms and the radio, too, as `relay doctor` does
        #[arg(long)]
        online: bool,
        /// One JSON object instead of sentences
        #[arg(long)]
        json: bool,
    },
    /// Tell what a key is for, what it takes, and its value in effect with where that was given
    ///
    /// KEY is a path as in `meshtastic.host`, a section, a name that MMRelay has for it, or an environment variable. The
    /// configuration need not be there. Secrets are not shown.
    #[command(after_help = "Example: relay config explain meshtastic.long_messages")]
    Explain(explain::ExplainArgs),
    /// Print the JSON Schema of the configuration, by which editors complete and check it
    #[command(after_help = "Example: relay config schema > ~/.relay/config.schema.json")]
    Schema,
    /// Show where everything is
    #[command(after_help = "Example: relay --home /var/lib/relay config paths")]
    Paths,
}

pub(super) async fn run(command: ConfigCommand, globals: &Globals) -> CommandResult {
    let home = globals.home()?;
    match command {
        ConfigCommand::Generate { output, force } => generate(globals, &home, output, force),
        ConfigCommand::Check { online, json } => {
            return check(globals, &home, online, json).await;
        }
        ConfigCommand::Explain(arguments) => return explain::run(&arguments, globals, &home),
        ConfigCommand::Schema => Ok(print(&relay_config::schema())?),
        ConfigCommand::Paths => paths(globals, &home),
    }?;
    Ok(ExitCode::SUCCESS)
}

fn generate(
    globals: &Globals,
    home: &Home,
    output: Option<PathBuf>,
    force: bool,
) -> Result<(), Failure> {
    // Before the file is written: afterwards a configuration exists.
    let mmrelay = mmrelay_hint().map(|hint| tools::hint(&home.named_in(&hint)));
    if output.as_deref() == Some(Path::new("-")) {
        mmrelay.iter().try_for_each(|hint| say(hint))?;
        return Ok(print(&relay_config::sample())?);
    }
    let path = output.unwrap_or_else(|| globals.config_path(home));
    let shown = path.display();
    if path == home.config() {
        for warning in home.prepare(globals.allow_network_home)? {
            say(&warning)?;
        }
    }
    if path.symlink_metadata().is_ok() && !force {
        let error = anyhow!("`{shown}` is there already");
        return Err(Failure::from(error).and_hint("`--force` replaces it"));
    }
    let schema = path.with_file_name(relay_config::SCHEMA_FILE);
    // What is there may be anybody's: only a schema of ours is replaced.
    let is_ours = std::fs::read_to_string(&schema).is_ok_and(|it| relay_config::is_schema(&it));
    let mut written = shown.to_string();
    if is_ours || schema.symlink_metadata().is_err() {
        write(&schema, &relay_config::schema())?;
        written = format!("{written}\n{} (for editors)", schema.display());
    }
    write(&path, &relay_config::sample())?;
    mmrelay.iter().try_for_each(|hint| say(hint))?;
    let elsewhere = (path != home.config()).then(|| format!(" --config {}", quoted(&path)));
    let config = elsewhere.unwrap_or_default();
    let next = format!(
        "set `matrix_rooms` and `meshtastic.host` in it, then run `relay config check{config}`"
    );
    let next = home.named_in(&next);
    Ok(print(&format!("{written}\nNext: {next}.\n"))?)
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    let written = write_private(path, text.as_bytes());
    written.with_context(|| format!("cannot write `{}`", path.display()))
}

async fn check(globals: &Globals, home: &Home, online: bool, is_json: bool) -> CommandResult {
    let outcome = globals.load_config(home);
    if is_json {
        let mut report = json_report(globals, home, &outcome);
        let mut exit = match &outcome {
            Ok(_) => ExitCode::SUCCESS,
            Err(error) => error.exit(),
        };
        if online {
            report["online"] = Value::Null;
        }
        if let (true, Ok(loaded)) = (online, &outcome) {
            let examined = doctor::examine(home, globals, Ok(loaded), Extent::Online).await?;
            exit = success_if(examined.healthy);
            let mut examined = serde_json::to_value(&examined).context("cannot be told as JSON")?;
            home.name_hints(&mut examined);
            report["online"] = examined;
        }
        print(&as_json(&report)?)?;
        return Ok(exit);
    }
    let loaded = outcome.map_err(|error| load_failure(globals, home, error))?;
    let examples = loaded.config.examples();
    let place = home.database(&loaded.config.database.path, Database::APPLICATION_ID);
    loaded
        .warnings
        .iter()
        .try_for_each(|it| warn(full_text(it)))?;
    place.warning.iter().try_for_each(warn)?;
    notes(&loaded, home).iter().try_for_each(|note| say(note))?;
    examples.iter().try_for_each(warn)?;
    let verdict = if examples.is_empty() {
        "no mistakes"
    } else {
        "no mistakes, but there are examples in it to be replaced by what is yours"
    };
    let path = globals.config_path(home);
    print(&format!("{}: {verdict}\n", path.display()))?;
    if !online {
        return Ok(ExitCode::SUCCESS);
    }
    let examined = doctor::examine(home, globals, Ok(&loaded), Extent::Online).await?;
    show(Some(home), false, &examined, Report::lines)?;
    Ok(success_if(examined.healthy))
}

/// Returns the failure of loading the configuration, after printing its warnings.
pub(super) fn load_failure(globals: &Globals, home: &Home, error: LoadError) -> Failure {
    match error {
        LoadError::Missing(_) => Failure::from(error).with_hint(Some(globals.missing_hint(home))),
        LoadError::Read(..) => error.into(),
        LoadError::Wrong(problems) => {
            let warned = problems
                .warnings
                .iter()
                .try_for_each(|it| warn(full_text(it)));
            warned.map_or_else(Failure::from, |()| Failure::wrong(problems.to_string()))
        }
    }
}

/// Returns the differences from MMRelay, if the configuration or the home comes from it.
fn notes(loaded: &Loaded, home: &Home) -> Vec<String> {
    let notes = loaded.notes(home.is_shared()).iter();
    let notes = notes.map(|note| format!("note: unlike MMRelay: {note}"));
    notes.collect()
}

fn json_report(globals: &Globals, home: &Home, outcome: &Result<Loaded, LoadError>) -> Value {
    let (problems, warnings, notes) = match outcome {
        Ok(loaded) => {
            let examples = loaded.config.examples().into_iter();
            let examples = examples.map(|it| json!({ "message": it }));
            let warnings = loaded.warnings.iter().map(|it| json!(it)).chain(examples);
            (json!([]), warnings.collect(), notes(loaded, home))
        }
        Err(LoadError::Wrong(wrong)) => (json!(wrong.problems), json!(wrong.warnings), Vec::new()),
        Err(error) => {
            let hint = match error {
                LoadError::Missing(_) => Some(home.named_in(&globals.missing_hint(home))),
                LoadError::Read(..) | LoadError::Wrong(_) => error.hint(),
            };
            let problem = json!({ "message": Chain(error).to_string(), "hint": hint });
            (json!([problem]), json!([]), Vec::new())
        }
    };
    json!({
        "file": globals.config_path(home),
        "valid": outcome.is_ok(),
        "problems": problems,
        "warnings": warnings,
        "notes": notes,
    })
}

fn paths(globals: &Globals, home: &Home) -> Result<(), Failure> {
    if let Some(hint) = home.hint() {
        say(&tools::hint(&hint))?;
    }
    let config_path = globals.config_path(home);
    // Paths are useful even if the configuration is wrong: then the defaults are shown.
    let (database, logging) = match globals.load_config(home) {
        Ok(loaded) => (loaded.config.database, loaded.config.logging),
        Err(_) => (Database::default(), globals.logging()),
    };
    let place = home.database(&database.path, Database::APPLICATION_ID);
    place.warning.iter().try_for_each(warn)?;
    let log = if logging.log_to_file {
        home.resolve(&logging.filename).display().to_string()
    } else {
        "standard error only".to_owned()
    };
    let login = Files::new(home.matrix());
    let lines = [
        ("home", home.path().display().to_string()),
        ("configuration", config_path.display().to_string()),
        ("session", login.session().display().to_string()),
        ("Matrix stores", login.sdk().display().to_string()),
        ("their key", login.key().display().to_string()),
        ("recovery key", login.recovery_key().display().to_string()),
        ("database", place.path.display().to_string()),
        ("log", log),
        ("lock", home.lock_file().display().to_string()),
        ("control socket", home.socket().display().to_string()),
    ];
    let lines = lines.map(|(name, path)| format!("{name:<15} {path}\n"));
    Ok(print(&lines.concat())?)
}
