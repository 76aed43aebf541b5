//! The simulated radio's TCP port.

use std::io;
use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpStream};

use super::driver::Port;

/// A TCP port that takes clients.
#[derive(Debug)]
pub struct TcpPort {
    listener: Option<TcpListener>,
    address: SocketAddr,
}

impl TcpPort {
    /// Listens there; port 0 picks a free one.
    ///
    /// # Errors
    /// The address cannot be used.
    pub async fn listen(address: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        Ok(Self {
            listener: Some(listener),
            address,
        })
    }

    /// Returns where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Port for TcpPort {
    type Stream = TcpStream;

    async fn accept(&mut self) -> io::Result<TcpStream> {
        let Some(listener) = &self.listener else {
            return std::future::pending().await;
        };
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    /// A shut port refuses connections.
    fn set_shut(&mut self, shut: bool) -> io::Result<()> {
        if shut {
            self.listener = None;
        } else if self.listener.is_none() {
            let listener = std::net::TcpListener::bind(self.address)?;
            listener.set_nonblocking(true)?;
            self.listener = Some(TcpListener::from_std(listener)?);
        }
        Ok(())
    }
}
