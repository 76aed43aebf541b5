//! Windows has no pseudo-terminals: there the simulated radio has no serial port.

use std::convert::Infallible;
use std::io;
use std::path::Path;

use tokio::io::DuplexStream;

use super::Port;

/// A serial port that is never there.
#[derive(Debug)]
pub struct PtyPort(Infallible);

impl PtyPort {
    /// Fails.
    pub fn open(_: &Path) -> io::Result<Self> {
        let sentence = "Windows has no pseudo-terminals: let the radio listen on the network";
        Err(io::Error::new(io::ErrorKind::Unsupported, sentence))
    }

    /// Returns the device behind the link.
    pub fn device(&self) -> Option<&Path> {
        match self.0 {}
    }
}

impl Port for PtyPort {
    type Stream = DuplexStream;

    async fn accept(&mut self) -> io::Result<DuplexStream> {
        match self.0 {}
    }

    fn set_shut(&mut self, _: bool) -> io::Result<()> {
        match self.0 {}
    }
}
