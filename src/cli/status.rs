//! `relay status`: the running daemon's report on itself.

use std::process::ExitCode;

use clap::Args;

use super::failure::{CommandResult, Failure};
use super::{Globals, output::show};
use crate::tools::control::{self, ControlError};
use crate::tools::status;

#[derive(Debug, Args)]
pub(super) struct StatusArgs {
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
