//! `relay status` and `relay doctor`: what the running daemon says of itself.

use std::process::ExitCode;

use clap::Args;

use super::Globals;
use super::failure::{Failure, Outcome};
use super::output::{as_json, print};
use crate::tools::{control::ControlError, doctor, status};

/// The arguments of `relay status`.
#[derive(Debug, Args)]
pub(super) struct StatusArgs {
    /// One JSON object instead of lines
    #[arg(long)]
    json: bool,
}

/// The arguments of `relay doctor`.
#[derive(Debug, Args)]
pub(super) struct DoctorArgs {
    /// Ask the running relay only: an answer within seconds, for health checks (so far the only way)
    #[arg(long)]
    quick: bool,
    /// One JSON object instead of lines
    #[arg(long)]
    json: bool,
}

/// Tells how the daemon stands.
pub(super) async fn run(arguments: &StatusArgs, globals: &Globals) -> Outcome {
    let home = globals.home()?;
    let status = status::status(&home).await.map_err(|error| {
        let is_elsewhere = matches!(error, ControlError::NotRunning { .. });
        Failure::from(error).with_hint(home.hint().filter(|_| is_elsewhere))
    })?;
    print(&if arguments.json {
        as_json(&status)?
    } else {
        status::lines(&status)
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Tells whether the daemon does its work.
pub(super) async fn examine(arguments: &DoctorArgs, globals: &Globals) -> Outcome {
    if !arguments.quick {
        let text = "error: only the quick examination exists yet".to_owned();
        return Err(Failure::wrong(text).and_hint("relay doctor --quick"));
    }
    let health = doctor::examine(&globals.home()?).await;
    print(&if arguments.json {
        as_json(&health)?
    } else {
        doctor::lines(&health)
    })?;
    Ok(if health.healthy {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
