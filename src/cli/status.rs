//! `relay status` and `relay doctor`: what the running daemon says of itself.

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use serde::Serialize;

use super::Globals;
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
///
/// # Errors
///
/// When nothing can be written.
pub(super) async fn run(arguments: &StatusArgs, globals: &Globals) -> anyhow::Result<ExitCode> {
    let home = globals.home()?;
    match status::status(&home).await {
        Ok(status) => {
            print(&if arguments.json {
                json(&status)?
            } else {
                status::lines(&status)
            })?;
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => {
            let hint = match &error {
                ControlError::NotRunning { .. } => home.hint(),
                _ => None,
            };
            let hint = hint.unwrap_or_else(|| error.hint().to_owned());
            let error = anyhow::Error::new(error);
            let text = format!("error: {error:#}\nhint: {hint}\n");
            std::io::stderr()
                .write_all(text.as_bytes())
                .context("cannot write to standard error")?;
            Ok(ExitCode::FAILURE)
        }
    }
}

/// Tells whether the daemon does its work.
///
/// # Errors
///
/// When nothing can be written.
pub(super) async fn examine(arguments: &DoctorArgs, globals: &Globals) -> anyhow::Result<ExitCode> {
    if !arguments.quick {
        let text = "error: only the quick examination exists yet\nhint: relay doctor --quick\n";
        std::io::stderr()
            .write_all(text.as_bytes())
            .context("cannot write to standard error")?;
        return Ok(ExitCode::from(2));
    }
    let health = doctor::examine(&globals.home()?).await;
    print(&if arguments.json {
        json(&health)?
    } else {
        doctor::lines(&health)
    })?;
    Ok(if health.healthy {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn json(told: &impl Serialize) -> anyhow::Result<String> {
    let mut text = serde_json::to_string_pretty(told).context("cannot be told as JSON")?;
    text.push('\n');
    Ok(text)
}

fn print(text: &str) -> anyhow::Result<()> {
    std::io::stdout()
        .write_all(text.as_bytes())
        .context("cannot write to standard output")
}
