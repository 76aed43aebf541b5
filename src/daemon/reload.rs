//! Reads the configuration again when asked (SIGHUP), and has the running relay follow it. A configuration that cannot be used
//! changes nothing.

use std::error::Error;
use std::sync::Arc;

use tokio::sync::{Notify, mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::event_loop::Reload;
use super::runtime_state::RuntimeState;
use super::service_manager;
use super::status::FailedReload;
use crate::home::{Home, utc};
use crate::telemetry::{self, Outputs};
use relay_config::{Changes, Config, LoadError, Loaded, Logging};
use relay_model::{Clock, Explained, full_text};

/// Reads the configuration as at the start: the same file, environment and flags.
pub(crate) type ReadConfig = Box<dyn Fn() -> Result<Loaded, LoadError> + Send + Sync>;

/// The cure, whatever is wrong.
const MEND: &str =
    "`relay config check` tells all that is wrong; when it is mended, have it read again (SIGHUP)";

/// Follows the configuration's file.
pub(super) struct Reloading {
    pub(super) read: ReadConfig,
    /// What the relay runs with; what needs a restart is as at the start.
    pub(super) running: Config,
    pub(super) home: Home,
    /// Where the account takes configurations, for the event loop.
    pub(super) reloads: mpsc::Sender<Reload>,
    pub(super) runtime_state: Arc<RuntimeState>,
    pub(super) clock: Clock,
}

impl Reloading {
    /// Reads it at each wish, until `stop`. Wishes that come meanwhile are one.
    pub(super) async fn run(mut self, wish: Arc<Notify>, stop: CancellationToken) {
        while stop.run_until_cancelled(wish.notified()).await.is_some() {
            service_manager::say_reloading();
            if stop.run_until_cancelled(self.reload()).await.is_none() {
                return;
            }
            service_manager::say_ready();
        }
    }

    async fn reload(&mut self) {
        let has_file = self.running.logging.log_to_file;
        // Even if nothing else changes: its file may have been moved away.
        let outputs = has_file.then(|| self.open_log(&self.running.logging));
        if let Some(outputs) = outputs.flatten() {
            outputs.follow();
            info!("asked to read the configuration again; the log's file is opened anew");
        } else {
            info!("asked to read the configuration again");
        }
        let mut loaded = match (self.read)() {
            Ok(loaded) => loaded,
            Err(error) => return self.refuse(&error),
        };
        for warning in &loaded.warnings {
            warn!(
                problem = full_text(warning),
                "the configuration or the home deserves attention"
            );
        }
        let outputs = self.other_outputs(&mut loaded.config.logging);
        let mut next = self.running.clone();
        let changes = next.take_over(&loaded.config);
        for key in &changes.need_restart {
            warn!(key, "this change needs a restart");
        }
        if !changes.taken.is_empty() && !self.follow(&next).await {
            return;
        }
        telemetry::follow_levels(&next.logging);
        if let Some(outputs) = outputs {
            outputs.follow();
        }
        self.running = next;
        let read_at = utc(self.clock.now().into());
        let Changes {
            taken,
            need_restart,
        } = changes;
        if taken.is_empty() {
            info!("the configuration was read again: nothing changes");
        } else {
            let keys = taken.join(", ");
            info!(
                keys,
                "the configuration was read again, and is followed now"
            );
        }
        self.runtime_state.configuration(|status| {
            status.read_at = read_at;
            status.need_restart = need_restart;
            status.failed = None;
        });
    }

    /// Has the relay decide by a configuration. Returns whether it does.
    async fn follow(&self, config: &Config) -> bool {
        let (done, is_done) = oneshot::channel();
        let config = Arc::new(config.clone());
        let is_taken = self.reloads.send(Reload { config, done }).await.is_ok();
        match is_done.await {
            Ok(Ok(())) if is_taken => true,
            Ok(Err(error)) => {
                self.refuse(&error);
                false
            }
            // The relay ends.
            _ => false,
        }
    }

    /// Says why everything stays as it is.
    fn refuse(&self, error: &(impl Explained + 'static)) {
        // One line for each thing that is wrong.
        let told = full_text(error);
        for problem in told.lines() {
            error!(problem, "the configuration cannot be followed");
        }
        warn!("nothing changes: the relay goes on with the configuration from before");
        let mut problems = told.lines();
        let first = problems.next().unwrap_or_default();
        let cause = match problems.count() {
            0 => first.to_owned(),
            more => format!("{first} (and {more} more)"),
        };
        let at = utc(self.clock.now().into());
        self.runtime_state.configuration(|status| {
            status.failed = Some(FailedReload {
                at,
                cause,
                hint: Some(MEND.to_owned()),
            });
        });
    }

    /// Opens the log's outputs, if they are to be others. What cannot be opened is not followed: `wanted` then holds the
    /// outputs from before, with its own levels.
    fn other_outputs(&self, wanted: &mut Logging) -> Option<Outputs> {
        let as_before = Logging {
            level: wanted.level,
            debug: wanted.debug.clone(),
            ..self.running.logging.clone()
        };
        if *wanted == as_before {
            return None;
        }
        let outputs = self.open_log(wanted);
        if outputs.is_none() {
            *wanted = as_before;
        }
        outputs
    }

    fn open_log(&self, logging: &Logging) -> Option<Outputs> {
        let opened = telemetry::reopen(logging, &self.home);
        let opened = opened.inspect_err(|error| {
            error!(
                error = error as &dyn Error,
                hint = error.hint(),
                "the log's file cannot be opened: what was open before is written on"
            );
        });
        opened.ok()
    }
}
