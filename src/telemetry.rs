//! Sets up logging: to standard error, and to a file if configured, which no other relay writes.

mod layer;
mod line;
mod rate;
mod recent;
mod rotating;
mod sanitize;
mod sink;

use std::io;
use std::panic::PanicHookInfo;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use tracing::level_filters::LevelFilter;
use tracing::{error, trace};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Registry, reload};

use crate::colour::may_colour;
use crate::home::{Home, HomeError};
use relay_claims::{Claim, Claimant, Holder, Thing};
use relay_config::{Component, Level, LogFormat, Logging};
use relay_disk::{create_private_directory, cure};
use relay_model::Explained;

use layer::{Log, LogLayer};
use rotating::RotatingFile;
use sink::Sink;

/// Why logging cannot be set up as configured.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TelemetryError {
    #[error("cannot write the log `{}`", path.display())]
    File {
        path: PathBuf,
        #[source]
        cause: io::Error,
    },
    /// Another relay on this host writes it.
    #[error("the log `{}` is used by {holder}", path.display())]
    Held { path: PathBuf, holder: Holder },
    #[error("cannot start the thread that writes the log")]
    Thread(#[source] io::Error),
    #[error(transparent)]
    Place(#[from] HomeError),
    #[error("logging is set up already")]
    Twice,
}

impl Explained for TelemetryError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Place(error) => error.hint(),
            Self::File { cause, .. } => cure(cause),
            Self::Held { .. } => Some(
                "give each relay a file of its own with `logging.filename`, or stop that relay"
                    .to_owned(),
            ),
            Self::Thread(_) | Self::Twice => None,
        }
    }
}

/// The running log, its filter, and the claim on its file.
struct Running {
    log: Arc<Log>,
    filter: reload::Handle<Targets, Registry>,
    claimant: Option<Claimant>,
    /// `None`: there is no file, or nothing is claimed.
    file: Mutex<Option<FileClaim>>,
}

/// A claim on the log's file.
type FileClaim = Arc<(Thing, Claim)>;

impl Running {
    fn file(&self) -> MutexGuard<'_, Option<FileClaim>> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Outputs that are open, for the log to go on with.
pub(crate) struct Outputs {
    sinks: Vec<Sink>,
    file: Option<FileClaim>,
}

static LOG: OnceLock<Running> = OnceLock::new();

/// Logs what was suppressed, and waits briefly until everything is written.
pub(crate) fn end() {
    if let Some(running) = LOG.get() {
        running.log.end();
    }
}

/// Returns the last lines of this process's log, oldest first, as JSON: none at trace, where texts of messages may be.
pub(crate) fn recent() -> Vec<String> {
    let running = LOG.get();
    running.map(|it| it.log.recent()).unwrap_or_default()
}

/// Sets up logging for the rest of the process's life. Text from strangers and libraries is limited in length and rate. The
/// claimant claims the log's file.
pub(crate) fn start(
    logging: &Logging,
    home: &Home,
    claimant: Option<Claimant>,
) -> Result<(), TelemetryError> {
    let Outputs { sinks, file } = Outputs::open(logging, home, claimant.as_ref(), None)?;
    let log = Log::start(open_libraries(logging), sinks).map_err(TelemetryError::Thread)?;
    let (filter, handle) = reload::Layer::new(filter(logging));
    tracing_subscriber::registry()
        .with(filter)
        .with(LogLayer(Arc::clone(&log), home.clone()))
        .try_init()
        .map_err(|_| TelemetryError::Twice)?;
    std::panic::set_hook(Box::new(log_panic));
    let running = Running {
        log,
        filter: handle,
        claimant,
        file: Mutex::new(file),
    };
    LOG.set(running).map_err(|_| TelemetryError::Twice)
}

/// Opens the outputs anew. Until they are used, everything stays as it is.
pub(crate) fn reopen(logging: &Logging, home: &Home) -> Result<Outputs, TelemetryError> {
    let running = LOG.get();
    let claimant = running.and_then(|it| it.claimant.as_ref());
    let held = running.and_then(|it| it.file().clone());
    Outputs::open(logging, home, claimant, held.as_ref())
}

/// Logs at these levels from now on.
pub(crate) fn follow_levels(logging: &Logging) {
    if let Some(running) = LOG.get() {
        running.log.open_libraries(open_libraries(logging));
        // It is gone only with the subscriber, at the process's end.
        let _ = running.filter.reload(filter(logging));
    }
}

impl Outputs {
    fn open(
        logging: &Logging,
        home: &Home,
        claimant: Option<&Claimant>,
        held: Option<&FileClaim>,
    ) -> Result<Self, TelemetryError> {
        let colour =
            logging.color_enabled && logging.format == LogFormat::Text && may_colour(&io::stderr());
        let name = "standard error".to_owned();
        let errors = Sink::new(logging.format, colour, name, Box::new(io::stderr()));
        let mut outputs = Self {
            sinks: vec![errors],
            file: None,
        };
        if logging.log_to_file {
            let path = home.resolve(&logging.filename);
            let unusable = |cause| TelemetryError::File {
                path: path.clone(),
                cause,
            };
            home.prepare_file(&path)?;
            let directory = path.parent().unwrap_or(home.path());
            create_private_directory(directory).map_err(unusable)?;
            outputs.file = claimed(&path, claimant, held)?;
            let file = RotatingFile::open(&path, logging.max_log_size, logging.backup_count);
            let file = Box::new(file.map_err(unusable)?);
            let name = path.display().to_string();
            outputs
                .sinks
                .push(Sink::new(logging.format, false, name, file));
        }
        Ok(outputs)
    }

    /// Has the log go on with them, in place of those before.
    pub(crate) fn follow(self) {
        if let Some(running) = LOG.get() {
            running.log.go_on_with(self.sinks);
            *running.file() = self.file;
        }
    }
}

/// Claims the log's file before it is written, unless it is the one that is held.
fn claimed(
    path: &Path,
    claimant: Option<&Claimant>,
    held: Option<&FileClaim>,
) -> Result<Option<FileClaim>, TelemetryError> {
    let Some((claimant, file)) = claimant.zip(Thing::file(path)) else {
        return Ok(None);
    };
    if let Some(held) = held.filter(|held| held.0 == file) {
        return Ok(Some(Arc::clone(held)));
    }
    match Claim::take(&file, claimant) {
        Ok(claim) => Ok(Some(Arc::new((file, claim)))),
        Err(holder) => {
            let path = path.to_owned();
            Err(TelemetryError::Held { path, holder })
        }
    }
}

/// Logs where a panic happened. Its message may contain a stranger's text, so it is logged at trace only.
fn log_panic(panic: &PanicHookInfo<'_>) {
    let location = panic.location().map(tracing::field::display);
    error!(location, "a part of the relay failed; please report this");
    trace!(%panic, "what failed said this");
}

/// Returns the log filter: our own code at the configured level, libraries from warnings on.
fn filter(logging: &Logging) -> Targets {
    let level = level_filter(logging.level);
    let others = level.min(LevelFilter::WARN);
    Targets::new()
        .with_default(others)
        .with_target("relay", level)
        // The SDK logs each expected failure of a request as an error; we log those that matter.
        .with_target("matrix_sdk::http_client", LevelFilter::OFF)
        .with_targets(asked_for(logging, level_filter))
}

/// Returns the libraries that are logged in full, including values that may be texts of messages: those configured at
/// trace.
fn open_libraries(logging: &Logging) -> Targets {
    let opened = |level| match level {
        Level::Trace => LevelFilter::TRACE,
        Level::Off | Level::Error | Level::Warn | Level::Info | Level::Debug => LevelFilter::OFF,
    };
    Targets::new()
        .with_default(opened(logging.level))
        .with_targets(asked_for(logging, opened))
}

/// Returns the configured levels of components.
fn asked_for(
    logging: &Logging,
    filter: impl Fn(Level) -> LevelFilter,
) -> impl Iterator<Item = (String, LevelFilter)> {
    logging.debug.iter().flat_map(move |(component, level)| {
        let filter = filter(*level);
        targets(*component).into_iter().map(move |it| (it, filter))
    })
}

/// Returns the target prefixes of a component.
fn targets(component: Component) -> Vec<String> {
    let names: &[&str] = match component {
        Component::RadioLog => &["relay_radio::console"],
        Component::Daemon => &["relay::daemon"],
        Component::MatrixSdk => &["matrix_sdk", "ruma", "vodozemac", "eyeball"],
        Component::Http => &["reqwest", "hyper", "h2", "rustls"],
        ours => return vec![format!("relay_{}", <&str>::from(ours))],
    };
    names.iter().copied().map(str::to_owned).collect()
}

fn level_filter(level: Level) -> LevelFilter {
    // Our level names are a subset of theirs.
    <&str>::from(level).parse().unwrap_or(LevelFilter::OFF)
}

#[cfg(test)]
mod tests {
    use tracing::Level as TracingLevel;

    use super::*;

    #[test]
    fn libraries_are_quiet_unless_they_are_asked() {
        let mut logging = Logging {
            level: Level::Debug,
            ..Logging::default()
        };
        let quiet = filter(&logging);
        assert!(quiet.would_enable("relay_radio::tcp", &TracingLevel::DEBUG));
        assert!(!quiet.would_enable("matrix_sdk_crypto::machine", &TracingLevel::INFO));
        assert!(quiet.would_enable("matrix_sdk::client", &TracingLevel::WARN));
        logging.debug = vec![
            (Component::MatrixSdk, Level::Trace),
            (Component::Radio, Level::Off),
        ];
        let asked = filter(&logging);
        assert!(asked.would_enable("matrix_sdk_crypto::machine", &TracingLevel::TRACE));
        assert!(!asked.would_enable("relay_radio::tcp", &TracingLevel::ERROR));
        assert!(asked.would_enable("relay_bridge", &TracingLevel::DEBUG));
    }

    #[test]
    fn a_full_disk_is_told_with_its_cure() {
        let (path, cause) = ("relay.log".into(), io::ErrorKind::StorageFull.into());
        let hint = TelemetryError::File { path, cause }.hint();
        assert_eq!(hint.as_deref(), Some("make room on the disk"));
    }

    #[test]
    fn a_quiet_log_silences_libraries_too() {
        let logging = Logging {
            level: Level::Error,
            ..Logging::default()
        };
        assert!(!filter(&logging).would_enable("matrix_sdk", &TracingLevel::WARN));
    }
}
