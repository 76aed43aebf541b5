//! `relay run`: reads the configuration, takes the home, and runs the daemon.

use tracing::warn;

use super::{Globals, config::load_failure, failure::CommandResult};
use crate::daemon::{self, Hold, StartError};
use crate::signals::{Hangup, Signals};
use crate::telemetry;
use relay_matrix::{FilesError, auth::Files};
use relay_model::full_text;

pub(super) async fn run(globals: &Globals) -> CommandResult {
    // First of all: a wish for another reading of the configuration must not end what is still reading it.
    let signals = Signals::begin(Hangup::Reloads).map_err(StartError::Signals)?;
    let home = globals.home()?;
    let loaded = globals.load_config(&home);
    let loaded = loaded.map_err(|error| load_failure(globals, &home, error))?;
    let warnings = home.prepare(globals.allow_network_home)?;
    if let Err(error @ FilesError::Moved(_)) = Files::new(home.matrix()).load_session() {
        return Err(error.into());
    }
    let hold = Hold::take(home.clone())?;
    telemetry::start(&loaded.config.logging, &home, Some(hold.claimant.clone()))?;
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
    let again = globals.clone();
    let read = Box::new(move || again.load_config(&home));
    let running = daemon::run(loaded.config, differences, read, hold, signals);
    Ok(Box::pin(running).await?)
}
