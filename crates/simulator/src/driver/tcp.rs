//! The simulated radio's TCP port.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use rustix::net::sockopt;
use tokio::net::{TcpListener, TcpStream};

use super::Port;

/// A TCP port for clients.
#[derive(Debug)]
pub struct TcpPort {
    listener: Option<TcpListener>,
    /// The address that it listens on, with the port that was chosen.
    pub address: SocketAddr,
}

impl TcpPort {
    /// Listens at that address; port 0 selects a free one.
    pub async fn listen(address: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        Ok(Self {
            listener: Some(listener),
            address,
        })
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

    fn reset(stream: TcpStream) {
        // If it fails, the connection ends normally.
        let _ = sockopt::set_socket_linger(&stream, Some(Duration::ZERO));
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

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;

    #[tokio::test]
    async fn a_connection_can_end_by_a_reset() {
        let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut port = TcpPort::listen(loopback).await.unwrap();
        let mut client = TcpStream::connect(port.address).await.unwrap();
        TcpPort::reset(port.accept().await.unwrap());
        let error = client.read(&mut [0; 8]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    }
}
