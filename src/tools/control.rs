//! Client of a running daemon's control socket.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::time::timeout;

use crate::daemon::status::{Health, Status};
use crate::daemon::trace::{About, Trace};
use crate::daemon::{ControlAnswer, ControlRequest};
use crate::home::{Holder, Home, Lock};
use relay_disk::connect;
use relay_model::Explained;

/// Maximum time for an answer; the daemon's own timeout for a slow database is shorter.
const LIMIT: Duration = Duration::from_secs(20);
/// Maximum length of an answer, in bytes.
const LONGEST_ANSWER: u64 = 16 * 1024 * 1024;

/// Why a running daemon gave no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ControlError {
    #[error("no relay is running in `{home}`")]
    NotRunning { home: PathBuf },
    #[error("the relay in `{home}` ({holder}) has no control socket")]
    NoSocket { home: PathBuf, holder: Holder },
    #[error("the relay in `{home}` does not answer")]
    Silent { home: PathBuf },
    #[error("cannot use the control socket `{0}`")]
    Use(PathBuf, #[source] io::Error),
    /// Daemon and client do not understand each other.
    #[error("the running relay answers in another way than this program expects: {0}")]
    Other(String),
}

impl Explained for ControlError {
    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::NotRunning { .. } => {
                "start it with `relay run`, or name the home of one that runs with `--home DIR`"
            }
            Self::NoSocket { .. } => "its log says why; start it again when that is mended",
            Self::Silent { .. } => "look into its log, and start it again",
            Self::Use(..) => "run this command as the relay's user",
            Self::Other(_) => {
                "run the program of the same version, or start the relay again after an update"
            }
        };
        Some(hint.to_owned())
    }
}

const ANOTHER: &str = "it answers another question";

/// Requests the status of a home's daemon.
pub(crate) async fn status(home: &Home) -> Result<Status, ControlError> {
    match ask(home, ControlRequest::Status).await? {
        ControlAnswer::Status(status) => Ok(*status),
        ControlAnswer::Doctor(_)
        | ControlAnswer::Log(_)
        | ControlAnswer::Trace(_)
        | ControlAnswer::Error(_) => Err(ControlError::Other(ANOTHER.to_owned())),
    }
}

/// Requests the health of a home's daemon.
pub(super) async fn health(home: &Home) -> Result<Health, ControlError> {
    match ask(home, ControlRequest::Doctor).await? {
        ControlAnswer::Doctor(health) => Ok(health),
        ControlAnswer::Status(_)
        | ControlAnswer::Log(_)
        | ControlAnswer::Trace(_)
        | ControlAnswer::Error(_) => Err(ControlError::Other(ANOTHER.to_owned())),
    }
}

/// Requests the story of a message from a home's daemon.
pub(super) async fn trace(home: &Home, about: About) -> Result<Trace, ControlError> {
    match ask(home, ControlRequest::Trace { about }).await? {
        ControlAnswer::Trace(trace) => Ok(*trace),
        ControlAnswer::Error(error) => Err(ControlError::Other(error)),
        ControlAnswer::Status(_) | ControlAnswer::Doctor(_) | ControlAnswer::Log(_) => {
            Err(ControlError::Other(ANOTHER.to_owned()))
        }
    }
}

/// Requests the last lines of the log of a home's daemon, as JSON.
pub(super) async fn log(home: &Home) -> Result<Vec<String>, ControlError> {
    match ask(home, ControlRequest::Log).await? {
        ControlAnswer::Log(lines) => Ok(lines),
        ControlAnswer::Status(_)
        | ControlAnswer::Doctor(_)
        | ControlAnswer::Trace(_)
        | ControlAnswer::Error(_) => Err(ControlError::Other(ANOTHER.to_owned())),
    }
}

async fn ask(home: &Home, request: ControlRequest) -> Result<ControlAnswer, ControlError> {
    let line = match timeout(LIMIT, exchange(home, request)).await {
        Ok(Ok(line)) if !line.is_empty() => line,
        Ok(Err(cause)) => {
            return Err(match cause.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => absent(home),
                _ => ControlError::Use(home.socket(), cause),
            });
        }
        Ok(Ok(_)) | Err(_) => {
            let home = home.path().to_owned();
            return Err(ControlError::Silent { home });
        }
    };
    match serde_json::from_slice(&line) {
        Ok(ControlAnswer::Error(error)) => Err(ControlError::Other(error)),
        Ok(answer) => Ok(answer),
        Err(error) => Err(ControlError::Other(error.to_string())),
    }
}

async fn exchange(home: &Home, request: ControlRequest) -> io::Result<Vec<u8>> {
    let mut stream = connect(&home.socket()).await?;
    let mut question = serde_json::to_vec(&request)?;
    question.push(b'\n');
    stream.write_all(&question).await?;
    let mut line = Vec::new();
    let mut answer = BufReader::new(stream).take(LONGEST_ANSWER);
    answer.read_until(b'\n', &mut line).await?;
    Ok(line)
}

fn absent(home: &Home) -> ControlError {
    let holder = Lock::holder(home);
    let home = home.path().to_owned();
    match holder {
        Some(holder) => ControlError::NoSocket { home, holder },
        None => ControlError::NotRunning { home },
    }
}
