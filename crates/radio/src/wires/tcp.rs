//! The wire over the network.

#[cfg_attr(windows, path = "tcp/keepalive_windows.rs")]
mod keepalive;

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tracing::debug;

use relay_claims::{Holder, Thing};
use relay_config::{Connection, host_and_port};
use relay_model::{Explained, LossKind};

use crate::claim::{HELD_HINT, RadioClaim};
use crate::error::ConnectionError;

/// Maximum time to resolve a host name.
const LOOKUP_LIMIT: Duration = Duration::from_secs(5);

/// Maximum time to connect to one address. Where nothing refuses the connection, as behind a router while the radio is
/// off, the system retries after 1 s and then after 3 s, too late for a radio that is back.
const CONNECT_LIMIT: Duration = Duration::from_secs(2);

/// Why there is no radio at an address.
#[derive(Debug, thiserror::Error)]
pub(super) enum TcpError {
    #[error("cannot connect to the radio at `{address}`")]
    Connect { address: String, source: io::Error },
    #[error("the radio at `{address}` did not answer within {} s", CONNECT_LIMIT.as_secs())]
    NoAnswer { address: String },
    #[error("the radio at `{address}` is used by {holder}")]
    Held { address: String, holder: Holder },
    #[error("what answers at `{address}` is {who}, not a radio")]
    Stranger { address: String, who: &'static str },
}

impl Explained for TcpError {
    fn hint(&self) -> Option<String> {
        let port = Connection::TCP_PORT;
        match self {
            Self::Held { .. } => Some(HELD_HINT.to_owned()),
            Self::Stranger { .. } => Some(format!(
                "check the host and the port (a radio has port {port})"
            )),
            Self::Connect { .. } | Self::NoAnswer { .. } => None,
        }
    }
}

impl From<TcpError> for ConnectionError {
    fn from(error: TcpError) -> Self {
        let kind = match error {
            TcpError::Connect { .. } | TcpError::NoAnswer { .. } => LossKind::Absent,
            TcpError::Held { .. } | TcpError::Stranger { .. } => LossKind::Barred,
        };
        Self::no_way(kind, error)
    }
}

/// Why no address of a host was connected to.
#[derive(Debug)]
enum Missed {
    Failed(io::Error),
    /// All timed out.
    NoAnswer,
    Held(Holder),
}

/// Connects to the first address of the host that answers, unless another relay uses the radio there.
pub(super) async fn connect(
    host: &str,
    port: u16,
    claim: &mut RadioClaim,
) -> Result<TcpStream, TcpError> {
    let stream = match timeout(LOOKUP_LIMIT, lookup_host((host, port))).await {
        Ok(Ok(addresses)) => connect_to_one(addresses, claim).await,
        Ok(Err(source)) => {
            claim.let_go();
            Err(Missed::Failed(source))
        }
        Err(_) => {
            claim.let_go();
            let cause = "the name service does not answer";
            let cause = io::Error::new(io::ErrorKind::TimedOut, cause);
            Err(Missed::Failed(cause))
        }
    };
    let set_up = stream.and_then(|it| set_up(&it).map(|()| it).map_err(Missed::Failed));
    set_up.map_err(|missed| {
        let address = host_and_port(host, port);
        match missed {
            Missed::Failed(source) => TcpError::Connect { address, source },
            Missed::NoAnswer => TcpError::NoAnswer { address },
            Missed::Held(holder) => TcpError::Held { address, holder },
        }
    })
}

/// Tries each address in turn, and returns the last error.
async fn connect_to_one(
    addresses: impl IntoIterator<Item = SocketAddr>,
    claim: &mut RadioClaim,
) -> Result<TcpStream, Missed> {
    let mut missed = Missed::NoAnswer;
    for address in addresses {
        claim.take(Thing::network(address)).map_err(Missed::Held)?;
        match timeout(CONNECT_LIMIT, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(cause)) => missed = Missed::Failed(cause),
            Err(_) => debug!(%address, "the address does not answer"),
        }
    }
    Err(missed)
}

fn set_up(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    keepalive::set(stream)
}

#[cfg(test)]
mod tests {
    use rustix::net::sockopt;
    use tokio::net::{TcpListener, TcpSocket};

    use super::super::connection::{Connection, Wire};
    use super::*;
    use crate::error::Loss;
    use relay_wire::codec::Item;

    fn unclaimed() -> RadioClaim {
        RadioClaim::default()
    }

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

        let stream = connect("localhost", port, &mut unclaimed()).await.unwrap();
        assert!(stream.nodelay().unwrap());
        assert!(sockopt::socket_keepalive(&stream).unwrap());
        let five_seconds = Duration::from_secs(5);
        assert_eq!(sockopt::tcp_keepidle(&stream).unwrap(), five_seconds);
        assert_eq!(sockopt::tcp_keepintvl(&stream).unwrap(), five_seconds);
        assert_eq!(sockopt::tcp_keepcnt(&stream).unwrap(), 11);
    }

    #[tokio::test]
    async fn an_address_where_nobody_listens_is_named() {
        for (host, named) in [("127.0.0.1", "127.0.0.1"), ("::1", "[::1]")] {
            let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
            let port = listener.local_addr().unwrap().port();
            drop(listener);
            let error = connect(host, port, &mut unclaimed()).await.unwrap_err();
            let expected = format!("cannot connect to the radio at `{named}:{port}`");
            assert_eq!(error.to_string(), expected);
        }
    }

    #[test]
    fn why_there_is_no_connection_is_told_once_and_in_full() {
        let (address, source) = ("radio.lan:4403".to_owned(), io::Error::other("refused"));
        let error = ConnectionError::from(TcpError::Connect { address, source });
        assert_eq!(
            error.to_string(),
            "cannot connect to the radio at `radio.lan:4403`"
        );
        assert_eq!(Loss::from(&error).cause, format!("{error}: refused"));
    }

    #[test]
    fn who_is_no_radio_is_named_and_what_helps_is_its_hint() {
        let (address, who) = ("radio.lan:80".to_owned(), "a web server");
        let error = ConnectionError::from(TcpError::Stranger { address, who });
        assert_eq!(
            error.to_string(),
            "what answers at `radio.lan:80` is a web server, not a radio"
        );
        let hint = "check the host and the port (a radio has port 4403)";
        assert_eq!(error.hint().as_deref(), Some(hint));
        let loss = Loss::from(&error);
        assert_eq!(
            (loss.kind, loss.cause),
            (LossKind::Barred, error.to_string())
        );
        assert_eq!(loss.hint.as_deref(), Some(hint));
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_that_swallows_everything_keeps_the_next_one_from_nothing() {
        let silent = TcpSocket::new_v4().unwrap();
        silent.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let silent = silent.listen(1).unwrap();
        let silent = silent.local_addr().map(|it| (it, silent)).unwrap();
        // With the backlog full, the system drops further connections.
        let mut waiting = Vec::new();
        while let Ok(stream) = connect_to_one([silent.0], &mut unclaimed()).await {
            waiting.push(stream);
        }
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let good = listener.local_addr().unwrap();
        let began = tokio::time::Instant::now();
        let stream = connect_to_one([silent.0, good], &mut unclaimed())
            .await
            .unwrap();
        assert_eq!(stream.peer_addr().unwrap(), good);
        assert_eq!(began.elapsed().as_secs(), CONNECT_LIMIT.as_secs());
        assert!(matches!(
            connect_to_one([silent.0], &mut unclaimed()).await,
            Err(Missed::NoAnswer)
        ));
        drop(listener);
        let missed = connect_to_one([good, silent.0], &mut unclaimed()).await;
        let Err(Missed::Failed(refused)) = missed else {
            panic!("{missed:?}");
        };
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    }
}
