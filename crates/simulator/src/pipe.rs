//! The simulated radio on in-memory pipes, for tests in process: no port, and no waiting under paused time. Tests
//! outside the crate include this file.

use std::io;

use tokio::io::DuplexStream;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{Command, Controls, Port, Report, Script, SimulatedRadio, drive};

/// Capacity of each direction of a pipe in bytes; small, so that a reader that stalls blocks the writer.
pub const PIPE: usize = 4096;

/// A test's handle to a radio on pipes. Its driver ends when `stop` is cancelled.
#[derive(Debug)]
pub struct PipeRadio {
    /// Messages of nodes, and faults, for the radio.
    pub commands: mpsc::Sender<Command>,
    /// What the radio reports of its client.
    pub reports: mpsc::Receiver<Report>,
    /// Ends the driver, and closes the connection.
    pub stop: CancellationToken,
    /// Takes the far ends of pipes, each a new client.
    pub clients: mpsc::Sender<DuplexStream>,
}

/// Creates a radio on pipes, and the future that drives it.
pub fn radio<S: SimulatedRadio + Send + 'static>(
    simulated: S,
    seed: u64,
    script: Script,
) -> (PipeRadio, impl Future<Output = io::Result<()>> + Send) {
    // Tests act one step at a time; a few commands may queue up.
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
    (radio, drive(port, simulated, controls))
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

/// A port whose clients come through a queue.
struct PipePort {
    clients: mpsc::Receiver<DuplexStream>,
    shut: bool,
}

impl Port for PipePort {
    type Stream = DuplexStream;

    /// A client that connects while the port is shut is disconnected.
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
