//! `relay run`: reads the configuration, takes the home, and runs the daemon.

use tracing::warn;

use super::{Globals, config::load_failure, failure::CommandResult};
use crate::{daemon, telemetry};
use relay_model::full_text;

pub(super) async fn run(globals: &Globals) -> CommandResult {
    let home = globals.home()?;
    let loaded = globals.load_config(&home);
    let loaded = loaded.map_err(|error| load_failure(globals, &home, error))?;
    let warnings = home.prepare(globals.allow_network_home)?;
    telemetry::start(&loaded.config.logging, &home)?;
    let warnings_of_config = loaded.warnings.iter().map(|it| full_text(it));
    let examples = loaded.config.examples();
    for warning in warnings
        .into_iter()
        .chain(warnings_of_config)
        .chain(examples)
    {
        warn!(
            problem = warning,
            "the configuration or the home deserves attention"
        );
    }
    let differences = loaded.notes(home.is_shared()).to_vec();
    let (again, of) = (globals.clone(), home.clone());
    let read = Box::new(move || again.load_config(&of));
    Ok(Box::pin(daemon::run(loaded.config, differences, home, read)).await?)
}
