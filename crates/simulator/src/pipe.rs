//! The simulated radio on in-memory pipes, for tests in process: no port, and under paused time no waiting. The tests
//! outside the crate take this file in.

use std::io;

use tokio::io::DuplexStream;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{Command, Controls, Port, Report, Script, Side, drive};

/// Bytes that each direction of a pipe holds; small enough that a reader who stalls is felt.
pub const PIPE: usize = 4096;

/// A radio on pipes, as a test holds it. Its driver ends when `stop` is cancelled.
#[derive(Debug)]
pub struct PipeRadio {
    /// What is to happen on the mesh, and to the link.
    pub commands: mpsc::Sender<Command>,
    /// What is told about the client.
    pub reports: mpsc::Receiver<Report>,
    /// Ends the driver.
    pub stop: CancellationToken,
    /// Takes the far ends of pipes: each is its client from then on.
    pub clients: mpsc::Sender<DuplexStream>,
}

/// Makes a radio on pipes, and the future that has to run for it.
pub fn radio<S: Side + Send + 'static>(
    side: S,
    seed: u64,
    script: Script,
) -> (PipeRadio, impl Future<Output = io::Result<()>> + Send) {
    // Tests do one thing after the other; a few may pile up before the driver's turn.
    let (client_sender, clients) = mpsc::channel(4);
    let (command_sender, commands) = mpsc::channel(64);
    let (report_sender, reports) = mpsc::channel(1024);
    let stop = CancellationToken::new();
    let controls = Controls {
        commands,
        reports: report_sender,
        stop: stop.clone(),
        recorder: None,
        seed,
        script,
    };
    let port = PipePort {
        clients,
        shut: false,
    };
    let radio = PipeRadio {
        commands: command_sender,
        reports,
        stop,
        clients: client_sender,
    };
    (radio, drive(port, side, controls))
}

impl PipeRadio {
    /// Connects a client, unless the radio has been stopped.
    pub async fn connect(&self) -> io::Result<DuplexStream> {
        let (near, far) = tokio::io::duplex(PIPE);
        let sent = self.clients.send(far).await;
        sent.map_err(|_| io::ErrorKind::ConnectionRefused)?;
        Ok(near)
    }
}

struct PipePort {
    clients: mpsc::Receiver<DuplexStream>,
    shut: bool,
}

impl Port for PipePort {
    type Stream = DuplexStream;

    /// A client that comes while the port is shut is hung up on.
    async fn accept(&mut self) -> io::Result<DuplexStream> {
        loop {
            match self.clients.recv().await {
                Some(client) if self.shut => drop(client),
                Some(client) => return Ok(client),
                None => return std::future::pending().await,
            }
        }
    }

    fn set_shut(&mut self, shut: bool) -> io::Result<()> {
        self.shut = shut;
        Ok(())
    }
}
