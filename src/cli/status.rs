//! `relay status` and `relay doctor`: the running daemon's report on itself.

use std::process::ExitCode;

use clap::Args;

use super::failure::{CommandResult, Failure, success_if};
use super::{Globals, output::show};
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
    if !arguments.quick {
        let text = "error: only the quick examination exists yet".to_owned();
        return Err(Failure::wrong(text).and_hint("relay doctor --quick"));
    }
    let home = globals.home()?;
    let health = doctor::examine(&home).await;
    show(Some(&home), arguments.json, &health, doctor::lines)?;
    Ok(success_if(health.healthy))
}
