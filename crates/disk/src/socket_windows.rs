//! What stands for a Unix socket on Windows: a named pipe, called after the socket's path. This user and administrators alone
//! may write into it, and nobody from another computer (the system's default for pipes, and tokio's).

use std::future::poll_fn;
use std::io;
use std::iter;
use std::path::{Path, PathBuf};
use std::task::Poll;
use std::time::Duration;

use tokio::net::windows::named_pipe::{
    ClientOptions, NamedPipeClient, NamedPipeServer, ServerOptions,
};
use tokio::time::sleep;

/// The listener's end of a connection.
pub type Connected = NamedPipeServer;

/// Number of clients that may connect at once. One more is told that the pipe is busy, which an HTTP client takes for a
/// failure.
const BACKLOG: usize = 32;

/// Maximum length of a pipe's name in UTF-16 units. Source: `CreateNamedPipeW`.
const LONGEST_NAME: usize = 256;

/// A listening pipe.
#[derive(Debug)]
pub struct Listener {
    name: SocketName,
    /// What the next clients connect to.
    waiting: Vec<NamedPipeServer>,
}

impl Listener {
    /// Listens. Fails if somebody else does under this name.
    pub fn open(path: PathBuf) -> io::Result<Self> {
        let name = SocketName::of(&path)?;
        let mut options = ServerOptions::new();
        let first = options.first_pipe_instance(true).create(name.name())?;
        let mut waiting = vec![first];
        for _ in 1..BACKLOG {
            waiting.push(ServerOptions::new().create(name.name())?);
        }
        Ok(Self { name, waiting })
    }

    /// Waits for the next client. Cancel safe.
    pub async fn accept(&mut self) -> io::Result<Connected> {
        let mut connecting: Vec<_> = self
            .waiting
            .iter()
            .map(|it| Box::pin(it.connect()))
            .collect();
        let (index, connected) = poll_fn(|context| {
            for (index, one) in connecting.iter_mut().enumerate() {
                if let Poll::Ready(connected) = one.as_mut().poll(context) {
                    return Poll::Ready((index, connected));
                }
            }
            Poll::Pending
        })
        .await;
        drop(connecting);
        let next = ServerOptions::new().create(self.name.name())?;
        self.waiting.push(next);
        let client = self.waiting.swap_remove(index);
        connected.map(|()| client)
    }
}

/// Connects to the pipe that stands for the socket at a path. Fails if it stays busy for five seconds.
pub async fn connect(path: &Path) -> io::Result<NamedPipeClient> {
    /// `ERROR_PIPE_BUSY` (winerror.h): the listener is between two clients.
    const BUSY: i32 = 231;
    let name = SocketName::of(path)?;
    for pause in iter::repeat_n(Duration::from_millis(20), 250) {
        match ClientOptions::new().open(name.name()) {
            Err(error) if error.raw_os_error() == Some(BUSY) => sleep(pause).await,
            opened => return opened,
        }
    }
    ClientOptions::new().open(name.name())
}

/// The name under which a client finds a pipe.
#[derive(Debug)]
pub struct SocketName(PathBuf);

impl SocketName {
    /// Returns that of the pipe that stands for the socket at a path.
    pub fn of(path: &Path) -> io::Result<Self> {
        // A pipe's name has no backslashes, and a file's no colons.
        let path = path.to_string_lossy().replace('\\', ":");
        let name = format!(r"\\.\pipe\relay:{path}");
        if name.encode_utf16().count() > LONGEST_NAME {
            let sentence = format!(
                "the path of the home is too long for a pipe, whose name has at most {LONGEST_NAME} characters"
            );
            return Err(io::Error::new(io::ErrorKind::InvalidFilename, sentence));
        }
        Ok(Self(name.into()))
    }

    /// Returns the name itself.
    pub fn name(&self) -> &Path {
        &self.0
    }
}
