//! Sets up logging, once: to standard error, and to a file if the configuration says so.

mod rotating;

use std::ffi::OsStr;
use std::io::{self, IsTerminal as _};
use std::path::PathBuf;
use std::sync::Mutex;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer, fmt};

use crate::config::{Component, Level, LogFormat, Logging};
use crate::home::Home;

use rotating::RotatingFile;

/// Why nothing can be logged as the configuration says.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The file cannot be written.
    #[error("cannot write the log `{}`", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// It was set up before.
    #[error("logging is set up already")]
    Twice,
}

/// Sets up logging for the rest of the process's life.
///
/// # Errors
///
/// When the file cannot be written, or logging is set up already.
pub fn start(logging: &Logging, home: &Home) -> Result<(), TelemetryError> {
    let colour = logging.color_enabled
        && logging.format == LogFormat::Text
        && may_colour(
            std::env::var_os("NO_COLOR").as_deref(),
            io::stderr().is_terminal(),
        );
    let file = if logging.log_to_file {
        let file = open(logging, home)?;
        Some(layer(logging.format, false, Mutex::new(file)))
    } else {
        None
    };
    tracing_subscriber::registry()
        .with(filter(logging))
        .with(layer(logging.format, colour, io::stderr))
        .with(file)
        .try_init()
        .map_err(|_| TelemetryError::Twice)
}

fn open(logging: &Logging, home: &Home) -> Result<RotatingFile, TelemetryError> {
    let path = home.resolve(&logging.filename);
    let directory = path.parent().unwrap_or(home.path());
    crate::home::create_private_directory(directory)
        .and_then(|()| RotatingFile::open(&path, logging.max_log_size, logging.backup_count))
        .map_err(|cause| TelemetryError::File { path, cause })
}

fn layer<S, W>(format: LogFormat, colour: bool, writer: W) -> Box<dyn Layer<S> + Send + Sync>
where
    S: tracing::Subscriber + for<'span> LookupSpan<'span>,
    W: for<'writer> MakeWriter<'writer> + Send + Sync + 'static,
{
    let layer = fmt::layer().with_ansi(colour).with_writer(writer);
    match format {
        LogFormat::Text => layer.boxed(),
        LogFormat::Json => layer.json().flatten_event(true).boxed(),
    }
}

/// Colour only on a terminal, and not where the user asks for none (<https://no-color.org>).
fn may_colour(no_color: Option<&OsStr>, is_terminal: bool) -> bool {
    is_terminal && no_color.is_none_or(OsStr::is_empty)
}

/// Returns what is logged: our own code at the level asked for, libraries only from warnings on.
fn filter(logging: &Logging) -> Targets {
    let level = level_filter(logging.level);
    let others = level.min(LevelFilter::WARN);
    let mut filter = Targets::new()
        .with_default(others)
        .with_target("relay", level)
        // It calls every answer of a server an error that it is used to; what matters is said by us.
        .with_target("matrix_sdk::http_client", LevelFilter::OFF);
    for (component, level) in &logging.debug {
        for target in targets(*component) {
            filter = filter.with_target(*target, level_filter(*level));
        }
    }
    filter
}

/// Returns the beginnings of the names under which a component logs.
fn targets(component: Component) -> &'static [&'static str] {
    match component {
        Component::Radio => &["relay::radio"],
        Component::RadioLog => &["relay::radio::console"],
        Component::Matrix => &["relay::matrix"],
        Component::Bridge => &["relay::bridge"],
        Component::Store => &["relay::store"],
        Component::Daemon => &["relay::daemon"],
        Component::Simulator => &["relay::simulator"],
        Component::MatrixSdk => &["matrix_sdk", "ruma", "vodozemac", "eyeball"],
        Component::Http => &["reqwest", "hyper", "h2", "rustls"],
    }
}

fn level_filter(level: Level) -> LevelFilter {
    match level {
        Level::Off => LevelFilter::OFF,
        Level::Error => LevelFilter::ERROR,
        Level::Warn => LevelFilter::WARN,
        Level::Info => LevelFilter::INFO,
        Level::Debug => LevelFilter::DEBUG,
        Level::Trace => LevelFilter::TRACE,
    }
}

#[cfg(test)]
mod tests {
    use tracing::Level as Said;

    use super::*;

    #[test]
    fn libraries_are_quiet_unless_they_are_asked() {
        let mut logging = Logging {
            level: Level::Debug,
            ..Logging::default()
        };
        let quiet = filter(&logging);
        assert!(quiet.would_enable("relay::radio::tcp", &Said::DEBUG));
        assert!(!quiet.would_enable("matrix_sdk_crypto::machine", &Said::INFO));
        assert!(quiet.would_enable("matrix_sdk::client", &Said::WARN));
        logging.debug = vec![
            (Component::MatrixSdk, Level::Trace),
            (Component::Radio, Level::Off),
        ];
        let asked = filter(&logging);
        assert!(asked.would_enable("matrix_sdk_crypto::machine", &Said::TRACE));
        assert!(!asked.would_enable("relay::radio::tcp", &Said::ERROR));
        assert!(asked.would_enable("relay::bridge", &Said::DEBUG));
    }

    #[test]
    fn a_quiet_log_silences_libraries_too() {
        let logging = Logging {
            level: Level::Error,
            ..Logging::default()
        };
        assert!(!filter(&logging).would_enable("matrix_sdk", &Said::WARN));
    }

    #[test]
    fn colour_is_for_terminals_of_people_who_want_it() {
        assert!(may_colour(None, true));
        assert!(may_colour(Some(OsStr::new("")), true));
        assert!(!may_colour(Some(OsStr::new("1")), true));
        assert!(!may_colour(None, false));
    }
}
