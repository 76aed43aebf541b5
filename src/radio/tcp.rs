//! The wire over the network.

use std::io;
use std::time::Duration;

use rustix::net::sockopt;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::connection::ConnectionError;

/// How long a connection may take.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// The kernel asks a silent radio every 5 s whether it still knows the connection. One that restarted without closing it,
/// as boards on a wireless network do, says at once that it does not; our next heartbeat may be half a minute away. One
/// that vanished is given up after a minute.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(5);
const KEEPALIVE_EVERY: Duration = Duration::from_secs(5);
const KEEPALIVE_TRIES: u32 = 11;

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

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::super::codec::Item;
    use super::super::connection::{Connection, Wire};
    use super::*;

    #[tokio::test]
    async fn frames_go_both_ways_over_a_socket_set_up_for_radios() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut wire = Wire::Tcp {
            host: "127.0.0.1".to_owned(),
            port,
        };
        let mut ours = wire.connect().await.unwrap();
        let (accepted, _) = listener.accept().await.unwrap();
        let mut theirs = Connection::over(accepted);
        ours.send(b"question").await.unwrap();
        theirs.send(b"answer").await.unwrap();
        assert_eq!(
            theirs.receive().await.unwrap(),
            Item::Frame(b"question".as_slice().into())
        );
        assert_eq!(
            ours.receive().await.unwrap(),
            Item::Frame(b"answer".as_slice().into())
        );
        drop(theirs);
        assert!(matches!(ours.receive().await, Err(ConnectionError::Closed)));

        let stream = connect("localhost", port).await.unwrap();
        assert!(stream.nodelay().unwrap());
        assert!(sockopt::socket_keepalive(&stream).unwrap());
        let five_seconds = Duration::from_secs(5);
        assert_eq!(sockopt::tcp_keepidle(&stream).unwrap(), five_seconds);
        assert_eq!(sockopt::tcp_keepintvl(&stream).unwrap(), five_seconds);
        assert_eq!(sockopt::tcp_keepcnt(&stream).unwrap(), 11);
    }

    #[tokio::test]
    async fn an_address_where_nobody_listens_is_named() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let error = connect("127.0.0.1", port).await.unwrap_err();
        let expected = format!("cannot connect to the radio at `127.0.0.1:{port}`");
        assert_eq!(error.to_string(), expected);
    }
}
