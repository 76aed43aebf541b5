//! Client of a running daemon's control socket.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use tokio::io::{
    AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWriteExt as _, BufReader,
};
use tokio::time::timeout;

use crate::daemon::status::{Health, Status};
use crate::daemon::trace::{About, Trace};
use crate::daemon::{ControlAnswer, ControlRequest};
use crate::home::{Holder, Home, Lock};
use relay_disk::connect;
use relay_matrix::hand::{Done, HandError, Operation};
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

/// How many bytes of a file are handed over at a time.
const CHUNK: usize = 64 * 1024;
const ANOTHER: &str = "it answers another question";

/// Requests the status of a home's daemon.
pub(crate) async fn status(home: &Home) -> Result<Status, ControlError> {
    match ask(home, ControlRequest::Status).await? {
        ControlAnswer::Status(status) => Ok(*status),
        ControlAnswer::Doctor(_)
        | ControlAnswer::Log(_)
        | ControlAnswer::Trace(_)
        | ControlAnswer::Matrix(_)
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
        | ControlAnswer::Matrix(_)
        | ControlAnswer::Error(_) => Err(ControlError::Other(ANOTHER.to_owned())),
    }
}

/// Requests the story of a message from a home's daemon.
pub(super) async fn trace(home: &Home, about: About) -> Result<Trace, ControlError> {
    match ask(home, ControlRequest::Trace { about }).await? {
        ControlAnswer::Trace(trace) => Ok(*trace),
        ControlAnswer::Error(error) => Err(ControlError::Other(error)),
        ControlAnswer::Status(_)
        | ControlAnswer::Doctor(_)
        | ControlAnswer::Matrix(_)
        | ControlAnswer::Log(_) => Err(ControlError::Other(ANOTHER.to_owned())),
    }
}

/// Requests the last lines of the log of a home's daemon, as JSON.
pub(super) async fn log(home: &Home) -> Result<Vec<String>, ControlError> {
    match ask(home, ControlRequest::Log).await? {
        ControlAnswer::Log(lines) => Ok(lines),
        ControlAnswer::Status(_)
        | ControlAnswer::Doctor(_)
        | ControlAnswer::Trace(_)
        | ControlAnswer::Matrix(_)
        | ControlAnswer::Error(_) => Err(ControlError::Other(ANOTHER.to_owned())),
    }
}

async fn ask(home: &Home, request: ControlRequest) -> Result<ControlAnswer, ControlError> {
    let line = match timeout(LIMIT, exchange(home, request)).await {
        Ok(Ok(line)) if !line.is_empty() => line,
        Ok(Err(cause)) => return Err(unreached(home, cause)),
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

/// Asks a home's daemon for work with the account, and returns what it answers, line by line. `bytes` follow the request.
pub(crate) async fn work(
    home: &Home,
    operation: Operation,
    mut bytes: impl AsyncRead + Unpin,
) -> Result<Answers, ControlError> {
    let begin = async {
        let mut stream = connect(&home.socket()).await?;
        let mut question = serde_json::to_vec(&ControlRequest::Matrix { operation })?;
        question.push(b'\n');
        stream.write_all(&question).await?;
        let mut part = vec![0; CHUNK];
        loop {
            let read = bytes.read(&mut part).await?;
            let Some(part) = part.get(..read).filter(|part| !part.is_empty()) else {
                break;
            };
            // A daemon that refuses the upload has said so: the answer is read.
            if stream.write_all(part).await.is_err() {
                break;
            }
        }
        Ok(stream)
    };
    match begin.await {
        Ok(stream) => {
            let stream: Box<dyn AsyncRead + Unpin> = Box::new(stream);
            Ok(Answers(BufReader::new(stream), home.path().to_owned()))
        }
        Err(cause) => Err(unreached(home, cause)),
    }
}

/// What the daemon answers.
pub(crate) struct Answers(BufReader<Box<dyn AsyncRead + Unpin>>, PathBuf);

impl Answers {
    /// Returns the next answer; `None` once the daemon has ended, or has ended this.
    pub(crate) async fn next(&mut self) -> Result<Option<Result<Done, HandError>>, ControlError> {
        let mut line = Vec::new();
        let mut limited = (&mut self.0).take(LONGEST_ANSWER);
        match limited.read_until(b'\n', &mut line).await {
            Ok(0) | Err(_) => return Ok(None),
            Ok(_) => {}
        }
        match serde_json::from_slice(&line) {
            Ok(ControlAnswer::Matrix(done)) => Ok(Some(done)),
            Ok(ControlAnswer::Error(error)) => Err(ControlError::Other(error)),
            Ok(_) => Err(ControlError::Other(ANOTHER.to_owned())),
            Err(error) => Err(ControlError::Other(error.to_string())),
        }
    }

    /// Returns the error for an answer that did not come.
    pub(crate) fn silent(self) -> ControlError {
        ControlError::Silent { home: self.1 }
    }
}

fn unreached(home: &Home, cause: io::Error) -> ControlError {
    match cause.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => absent(home),
        _ => ControlError::Use(home.socket(), cause),
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
