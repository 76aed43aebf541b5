//! A connection: receives and sends one frame at a time, whatever the wire.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, DuplexStream};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::bytes::BytesMut;

use relay_config::host_and_port;

use super::ble::Ble;
use super::packets::Packets;
use super::serial::SerialPort;
use super::tcp::{self, TcpError};
use crate::error::{ConnectionError, WRITE_LIMIT};
use relay_wire::codec::{Codec, Item, framed};

const READ_SIZE: usize = 4096;

/// How to reach the radio. A further wire is one more variant, and one file like `tcp.rs`.
#[derive(Debug)]
pub enum Wire {
    /// Over the network.
    Tcp {
        /// Host name or address.
        host: String,
        /// Port.
        port: u16,
    },
    /// Over Bluetooth.
    Ble(Ble),
    /// Over a cable.
    Serial(SerialPort),
    /// Through pipes in memory, one for each connection; for tests.
    Pipes(mpsc::Receiver<DuplexStream>),
}

impl Wire {
    /// Connects. Where that fails, trying again later may help. To cancel it gives a connection up that is being made.
    pub async fn connect(&mut self) -> Result<Connection, ConnectionError> {
        match self {
            Self::Tcp { host, port } => Ok(Connection::over(tcp::connect(host, *port).await?)),
            Self::Ble(ble) => Ok(Connection(Carrier::Packets(ble.connect().await?))),
            Self::Serial(port) => Ok(Connection::over(port.connect().await?)),
            Self::Pipes(pipes) => match pipes.recv().await {
                Some(pipe) => Ok(Connection::over(pipe)),
                None => std::future::pending().await,
            },
        }
    }

    /// Tidies up behind a [`Wire::connect`] that was given up, where nobody will connect again.
    pub(crate) async fn give_up(&mut self) {
        if let Self::Ble(ble) = self {
            ble.give_up().await;
        }
    }

    /// Returns what it means that links keep ending right after they were ready.
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

    /// Returns what it means that somebody else answers where the radio should; `None` on a wire on which a radio itself
    /// prints text.
    pub(crate) fn no_radio(&self, who: &'static str) -> Option<ConnectionError> {
        let Self::Tcp { host, port } = self else {
            return None;
        };
        let address = host_and_port(host, *port);
        Some(TcpError::Stranger { address, who }.into())
    }

    /// Returns as soon as it is worth trying again before its time; only a serial port tells. Cancel safe.
    pub(crate) async fn returns(&mut self) {
        match self {
            Self::Serial(port) => port.returns().await,
            Self::Tcp { .. } | Self::Ble(_) | Self::Pipes(_) => std::future::pending().await,
        }
    }
}

/// Both directions of a wire that carries bytes.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// An open connection.
pub struct Connection(Carrier);

/// What carries frames: each wire is one of these.
enum Carrier {
    Bytes(Bytes),
    Packets(Packets),
}

impl Connection {
    /// Makes one over anything that carries bytes both ways.
    pub(crate) fn over(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Self {
        Self(Carrier::Bytes(Bytes {
            stream: Box::new(stream),
            codec: Codec::default(),
            received: BytesMut::new(),
        }))
    }

    /// Receives a frame, or what is none. Cancel safe: what was received before stays in the buffer.
    pub async fn receive(&mut self) -> Result<Item, ConnectionError> {
        match &mut self.0 {
            Carrier::Bytes(bytes) => bytes.receive().await,
            Carrier::Packets(packets) => packets.receive().await.map(Item::Frame),
        }
    }

    /// Writes a whole frame. Not cancel safe: half a frame may be written, and the connection is to be dropped then.
    pub async fn send(&mut self, frame: &[u8]) -> Result<(), ConnectionError> {
        match &mut self.0 {
            Carrier::Bytes(bytes) => bytes.write(&framed(frame)?).await,
            Carrier::Packets(packets) => packets.send(frame).await,
        }
    }

    /// Asks whoever is there for a word, where that is no radio: an empty line, and that nothing more comes. Whatever it is,
    /// nothing else is written to it any more.
    pub(super) async fn ask_stranger(&mut self) {
        if let Carrier::Bytes(bytes) = &mut self.0 {
            // It may be gone already.
            drop(bytes.write(b"\r\n\r\n").await);
            drop(timeout(WRITE_LIMIT, bytes.stream.shutdown()).await);
        }
    }

    /// Writes what is no frame, such as the wake bytes; not cancel safe either. Where whole packets are carried there is nothing
    /// else.
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> Result<(), ConnectionError> {
        match &mut self.0 {
            Carrier::Bytes(carrier) => carrier.write(bytes).await,
            Carrier::Packets(_) => Ok(()),
        }
    }

    /// Closes the connection where dropping it would not: it takes a moment, and never fails.
    pub async fn close(&mut self) {
        if let Carrier::Packets(packets) = &mut self.0 {
            packets.close().await;
        }
    }
}

/// Frames among bytes.
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
                // Nobody takes leave in the middle of a packet.
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
