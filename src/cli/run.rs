//! `relay run`: reads the configuration, takes the home, and runs the daemon.

use std::process::ExitCode;

use tracing::{info, warn};

use super::Globals;
use super::config::report_load_error;
use crate::{daemon, telemetry};

/// Runs the daemon until it is told to stop.
///
/// # Errors
///
/// What keeps it from starting, with the cure.
pub async fn run(globals: &Globals) -> anyhow::Result<ExitCode> {
    let home = globals.home()?;
    let loaded = match globals.load_config(&home) {
        Ok(loaded) => loaded,
        Err(error) => {
            report_load_error(globals, &home, &error)?;
            return Ok(ExitCode::from(2));
        }
    };
    let warnings = home.prepare(globals.allow_network_home)?;
    telemetry::start(&loaded.config.logging, &home)?;
    for warning in warnings {
        warn!("{warning}");
    }
    for warning in &loaded.warnings {
        warn!("{warning}");
    }
    for example in loaded.config.examples() {
        warn!("{example}");
    }
    for difference in loaded.notes(!home.mmrelay_files().is_empty()) {
        info!("differs from MMRelay: {difference}");
    }
    Box::pin(daemon::run(loaded.config, home)).await
}
