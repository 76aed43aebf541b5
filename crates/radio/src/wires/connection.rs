//! A connection that sends and receives one frame at a time, on any wire.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, DuplexStream};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::bytes::BytesMut;

use relay_config::host_and_port;

use super::tcp::{self, TcpError};
use super::{ble::Ble, packets::PacketLink, serial::SerialPort};
use crate::claim::RadioClaim;
use crate::error::{ConnectionError, WRITE_LIMIT};
use relay_wire::codec::{Codec, Item, framed};

const READ_SIZE: usize = 4096;

/// How to reach the radio. A further wire is another variant, and a file like `tcp.rs`.
#[derive(Debug)]
pub enum Wire {
    /// Over the network.
    Tcp {
        /// Host name or address, without brackets.
        host: String,
        /// TCP port, normally 4403.
        port: u16,
    },
    /// Over Bluetooth.
    Ble(Ble),
    /// Over a cable.
    Serial(SerialPort),
    /// Over in-memory pipes, one for each connection; for tests.
    Pipes(mpsc::Receiver<DuplexStream>),
}

impl Wire {
    /// Connects, whoever else on this computer uses the radio. An error may be temporary. Cancelling it abandons the attempt.
    pub async fn connect(&mut self) -> Result<Connection, ConnectionError> {
        self.connect_as(&mut RadioClaim::default()).await
    }

    /// Connects if no other relay on this computer holds the radio.
    pub(crate) async fn connect_as(
        &mut self,
        claim: &mut RadioClaim,
    ) -> Result<Connection, ConnectionError> {
        match self {
            Self::Tcp { host, port } => {
                let stream = tcp::connect(host, *port, claim).await?;
                Ok(Connection::over(stream))
            }
            Self::Ble(ble) => Ok(Connection(Carrier::PacketLink(ble.connect(claim).await?))),
            Self::Serial(port) => Ok(Connection::over(port.connect_as(claim).await?)),
            Self::Pipes(pipes) => match pipes.recv().await {
                Some(pipe) => Ok(Connection::over(pipe)),
                None => std::future::pending().await,
            },
        }
    }

    /// Cleans up after a cancelled [`Wire::connect`] that is not followed by another one.
    pub(crate) async fn give_up(&mut self) {
        if let Self::Ble(ble) = self {
            ble.give_up().await;
        }
    }

    /// Returns the likely cause of links that keep ending right after they became ready.
    pub(crate) fn cause_of_short_lives(&self) -> &'static str {
        match self {
            Self::Serial(_) | Self::Ble(_) => {
                "the radio is at the edge of reach, or keeps restarting"
            }
            Self::Tcp { .. } | Self::Pipes(_) => {
                "another client uses this radio, which can have only one (a phone app?)"
            }
        }
    }

    /// Returns the error for a peer that is not a radio; `None` on a wire where a radio itself prints text.
    pub(crate) fn no_radio(&self, who: &'static str) -> Option<ConnectionError> {
        let Self::Tcp { host, port } = self else {
            return None;
        };
        let address = host_and_port(host, *port);
        Some(TcpError::Stranger { address, who }.into())
    }

    /// Completes when an early retry is worthwhile; only serial ports report this. Cancel safe.
    pub(crate) async fn returns(&mut self) {
        match self {
            Self::Serial(port) => port.returns().await,
            Self::Tcp { .. } | Self::Ble(_) | Self::Pipes(_) => std::future::pending().await,
        }
    }
}

/// Both directions of a byte stream.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// An open connection that carries whole frames, whatever the wire.
pub struct Connection(Carrier);

/// What the wire carries: bytes among which frames are to be found, or whole frames.
enum Carrier {
    Bytes(Bytes),
    PacketLink(PacketLink),
}

impl Connection {
    /// Makes a connection over any byte stream, with frames found by their headers.
    pub(crate) fn over(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Self {
        Self(Carrier::Bytes(Bytes {
            stream: Box::new(stream),
            codec: Codec::default(),
            received: BytesMut::new(),
        }))
    }

    /// Receives a frame, or bytes outside frames. Cancel safe: received bytes stay in the buffer.
    pub async fn receive(&mut self) -> Result<Item, ConnectionError> {
        match &mut self.0 {
            Carrier::Bytes(bytes) => bytes.receive().await,
            Carrier::PacketLink(packets) => packets.receive().await.map(Item::Frame),
        }
    }

    /// Writes a whole frame. Not cancel safe: half a frame may be written, after which the connection must be dropped.
    pub async fn send(&mut self, frame: &[u8]) -> Result<(), ConnectionError> {
        match &mut self.0 {
            Carrier::Bytes(bytes) => bytes.write(&framed(frame)?).await,
            Carrier::PacketLink(packets) => packets.send(frame).await,
        }
    }

    /// Prompts a peer that is not a radio with an empty line and the end of the stream. Nothing may be written
    /// afterwards.
    pub(super) async fn ask_stranger(&mut self) {
        if let Carrier::Bytes(bytes) = &mut self.0 {
            // An error is ignored: the peer may be gone.
            drop(bytes.write(b"\r\n\r\n").await);
            drop(timeout(WRITE_LIMIT, bytes.stream.shutdown()).await);
        }
    }

    /// Writes bytes outside frames, such as the wake bytes; not cancel safe. Does nothing on wires of whole packets.
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> Result<(), ConnectionError> {
        match &mut self.0 {
            Carrier::Bytes(carrier) => carrier.write(bytes).await,
            Carrier::PacketLink(_) => Ok(()),
        }
    }

    /// Closes a connection that dropping would leave open; quick, and never fails.
    pub async fn close(&mut self) {
        if let Carrier::PacketLink(packets) = &mut self.0 {
            packets.close().await;
        }
    }
}

/// Frames in a byte stream.
struct Bytes {
    stream: Box<dyn Stream>,
    codec: Codec,
    received: BytesMut,
}

impl Bytes {
    async fn receive(&mut self) -> Result<Item, ConnectionError> {
        loop {
            if let Some(item) = self.codec.decode(&mut self.received) {
                return Ok(item);
            }
            let now = Instant::now().into_std();
            let deadline = self.codec.deadline(&self.received, now);
            self.received.reserve(READ_SIZE);
            let read = self.stream.read_buf(&mut self.received);
            let read = match deadline {
                Some(deadline) => timeout_at(Instant::from_std(deadline), read).await,
                None => Ok(read.await),
            };
            match read {
                Ok(Ok(0)) if self.received.is_empty() => return Err(ConnectionError::Closed),
                // A clean end does not cut a packet.
                Ok(Ok(0)) => {
                    return Err(ConnectionError::Read(io::ErrorKind::UnexpectedEof.into()));
                }
                Ok(Ok(_)) => {}
                Ok(Err(error)) => return Err(ConnectionError::Read(error)),
                Err(_) => {
                    let now = Instant::now().into_std();
                    self.codec.resync(&mut self.received, now);
                }
            }
        }
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), ConnectionError> {
        let write = async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        };
        timeout(WRITE_LIMIT, write)
            .await
            .map_err(|_| ConnectionError::WriteLimit)?
            .map_err(ConnectionError::Write)
    }
}
