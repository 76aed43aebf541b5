//! The wire over the network.

use std::io;
use std::time::Duration;

use rustix::net::sockopt;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::connection::ConnectionError;

/// How long a connection may take.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// A radio that vanished without a word is noticed by the kernel after 30 s and three tries, 10 s apart.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(30);
const KEEPALIVE_EVERY: Duration = Duration::from_secs(10);
const KEEPALIVE_TRIES: u32 = 3;

/// Connects to a radio.
///
/// # Errors
///
/// When nobody is there.
///
/// # Cancel safety
///
/// The attempt is given up.
pub(super) async fn connect(host: &str, port: u16) -> Result<TcpStream, ConnectionError> {
    let address = format!("{host}:{port}");
    let stream = match timeout(CONNECT_LIMIT, TcpStream::connect((host, port))).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(cause)) => return Err(ConnectionError::Connect { address, cause }),
        Err(_) => {
            return Err(ConnectionError::ConnectLimit {
                address,
                limit: CONNECT_LIMIT,
            });
        }
    };
    set_up(&stream).map_err(|cause| ConnectionError::Connect { address, cause })?;
    Ok(stream)
}

fn set_up(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, KEEPALIVE_AFTER)?;
    sockopt::set_tcp_keepintvl(stream, KEEPALIVE_EVERY)?;
    sockopt::set_tcp_keepcnt(stream, KEEPALIVE_TRIES)?;
    Ok(())
}
