//! Why a command failed: the message, the hint and the exit code.

use std::error::Error;
use std::fmt;
use std::io;
use std::process::ExitCode;

use relay_config::{Finding, LoadError, TextFileError, UnknownKey};
use relay_disk::cure;
use relay_matrix::FilesError;
use relay_matrix::auth::AuthError;
use relay_matrix::hand::HandError;
use relay_model::{Chain, Explained as _};
use relay_simulator::recording::RecordingError;

use crate::daemon::StartError;
use crate::home::{HomeError, LockError};
use crate::telemetry::TelemetryError;
use crate::tools::backup::BackupError;
use crate::tools::bundle::BundleError;
use crate::tools::control::ControlError;
use crate::tools::import::ImportError;
use crate::tools::moving::MovingError;
use crate::tools::radio::VisitError;
use crate::tools::service::ServiceError;
use crate::tools::trace::TraceError;
use crate::tools::{self, printable};

pub(super) type CommandResult = Result<ExitCode, Failure>;

/// Returns the exit code of a command that worked, but may have found a problem.
pub(super) fn success_if(is_well: bool) -> ExitCode {
    ExitCode::from(u8::from(!is_well))
}

/// Why a command failed. `?` converts every error that has a hint, and the errors of the command line itself.
#[derive(Debug)]
pub(super) struct Failure {
    text: String,
    hints: Vec<String>,
    pub(super) exit: ExitCode,
}

impl Failure {
    /// Wraps a complete text about wrong arguments or a wrong configuration.
    pub(super) fn wrong(text: String) -> Self {
        Self {
            text,
            hints: Vec::new(),
            exit: ExitCode::from(2),
        }
    }

    fn of(error: &(dyn Error + 'static), hint: Option<String>, exit: ExitCode) -> Self {
        Self {
            text: format!("error: {}", Chain(error)),
            hints: hint.or_else(|| cure(error)).into_iter().collect(),
            exit,
        }
    }

    /// Replaces the hint, if there is another one.
    pub(super) fn with_hint(self, hint: Option<String>) -> Self {
        let hints = hint.map_or(self.hints, |hint| vec![hint]);
        Self { hints, ..self }
    }

    pub(super) fn and_hint(mut self, hint: &str) -> Self {
        self.hints.push(hint.to_owned());
        self
    }
}

/// One by one, since a conversion to `anyhow::Error` would lose the hint.
macro_rules! explained {
    ($($error:ty),*) => {$(
        impl From<$error> for Failure {
            fn from(error: $error) -> Self {
                Self::of(&error, error.hint(), error.exit())
            }
        }
    )*};
}

explained!(
    AuthError,
    BackupError,
    BundleError,
    ControlError,
    Box<Finding>,
    HandError,
    FilesError,
    HomeError,
    ImportError,
    LoadError,
    LockError,
    MovingError,
    RecordingError,
    ServiceError,
    StartError,
    TelemetryError,
    TextFileError,
    TraceError,
    UnknownKey,
    VisitError,
    io::Error
);

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::of(error.as_ref(), None, ExitCode::FAILURE)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<_> = self.text.lines().map(printable).collect();
        f.write_str(&lines.join("\n"))?;
        for hint in &self.hints {
            write!(f, "\n{}", tools::hint(hint))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_told_with_its_causes_and_what_helps_against_them() {
        let full = io::Error::from(io::ErrorKind::StorageFull);
        let error = anyhow::Error::new(full).context("cannot write `\u{1b}[2Ja`");
        let expected = "error: cannot write `[2Ja`: no storage space\nhint: make room on the disk";
        assert_eq!(Failure::from(error).to_string(), expected);
    }
}
