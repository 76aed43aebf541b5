//! `relay status` and `relay doctor`: the running daemon's report on itself.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use super::Globals;
use super::failure::{CommandResult, Failure, success_if};
use super::output::{print, show};
use crate::tools::bundle::{self, Configuration};
use crate::tools::control::{self, ControlError};
use crate::tools::{doctor, status};

#[derive(Debug, Args)]
pub(super) struct StatusArgs {
    /// One JSON object instead of lines
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(super) struct DoctorArgs {
    /// Ask the running relay only: an answer within seconds, for health checks (so far the only way)
    #[arg(long)]
    quick: bool,
    /// Write a new file with what a report of a defect needs, without secrets, texts, names and places
    #[arg(long, value_name = "FILE", conflicts_with_all = ["quick", "json"])]
    bundle: Option<PathBuf>,
    /// One JSON object instead of lines
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(arguments: &StatusArgs, globals: &Globals) -> CommandResult {
    let home = globals.home()?;
    let status = control::status(&home).await.map_err(|error| {
        let is_elsewhere = matches!(error, ControlError::NotRunning { .. });
        Failure::from(error).with_hint(home.hint().filter(|_| is_elsewhere))
    })?;
    show(Some(&home), arguments.json, &status, status::lines)?;
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn examine(arguments: &DoctorArgs, globals: &Globals) -> CommandResult {
    if let Some(file) = &arguments.bundle {
        return write_bundle(file, globals).await;
    }
    if !arguments.quick {
        let text = "error: only the quick examination exists yet".to_owned();
        return Err(Failure::wrong(text).and_hint("relay doctor --quick"));
    }
    let home = globals.home()?;
    let health = doctor::examine(&home).await;
    show(Some(&home), arguments.json, &health, doctor::lines)?;
    Ok(success_if(health.healthy))
}

async fn write_bundle(file: &Path, globals: &Globals) -> CommandResult {
    let home = globals.home()?;
    let loaded = globals.load_config(&home);
    let logging = match &loaded {
        Ok(loaded) => loaded.config.logging.clone(),
        Err(_) => globals.logging(),
    };
    let configuration = Configuration {
        path: &globals.config_path(&home),
        loaded: &loaded,
        logging: &logging,
    };
    bundle::write(file, &home, &configuration).await?;
    let shown = file.display();
    print(&format!("{shown}\nRead it before you send it.\n"))?;
    Ok(ExitCode::SUCCESS)
}
