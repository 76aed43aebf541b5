//! A TCP forwarder to the homeserver with a latency that varies by a tenth; keeps the order.

use std::net::SocketAddr;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

/// Maximum number of pieces (of up to 16 KiB) in flight per connection and direction.
const UNDER_WAY: usize = 64;

/// Returns the latency: `RELAY_TEST_DELAY_MS` milliseconds.
pub(crate) fn wanted() -> Option<Duration> {
    let delay = std::env::var("RELAY_TEST_DELAY_MS").ok()?;
    let delay = delay.parse().expect("RELAY_TEST_DELAY_MS is a number");
    Some(Duration::from_millis(delay))
}

/// Forwards connections from a new port to `port` on loopback, until the process ends. Returns the new port.
pub(crate) fn before(port: u16, delay: Duration) -> u16 {
    let (tell, told) = mpsc::channel();
    // In a thread: the runtime of the first test ends with that test.
    thread::spawn(move || {
        let runtime = runtime::Builder::new_current_thread().enable_all().build();
        runtime
            .expect("a runtime can be made")
            .block_on(carry(port, delay, tell));
    });
    told.recv().expect("it listens")
}

async fn carry(port: u16, delay: Duration, tell: mpsc::Sender<u16>) {
    let listener = TcpListener::bind("127.0.0.1:0").await;
    let listener = listener.expect("loopback has a free port");
    let own = listener.local_addr().expect("it has an address").port();
    tell.send(own).expect("somebody waits for it");
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        while connections.try_join_next().is_some() {}
        connections.spawn(async move {
            let server = SocketAddr::from(([127, 0, 0, 1], port));
            if let Ok(server) = TcpStream::connect(server).await {
                let (from_client, to_client) = client.into_split();
                let (from_server, to_server) = server.into_split();
                tokio::select! {
                    () = pass(from_client, to_server, Duration::ZERO) => {}
                    () = pass(from_server, to_client, delay) => {}
                }
            }
        });
    }
}

/// Forwards each piece after the latency, until either side ends.
async fn pass(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, delay: Duration) {
    let (ahead, mut behind) = tokio::sync::mpsc::channel::<(Instant, Vec<u8>)>(UNDER_WAY);
    let take = async move {
        let mut piece = vec![0; 16 << 10];
        while let Ok(length @ 1..) = from.read(&mut piece).await {
            let due = Instant::now() + delay.mul_f64(rand::random_range(0.9..=1.1));
            if ahead.send((due, piece[..length].to_vec())).await.is_err() {
                return;
            }
        }
    };
    let give = async move {
        while let Some((due, piece)) = behind.recv().await {
            sleep_until(due).await;
            if to.write_all(&piece).await.is_err() {
                return;
            }
        }
    };
    tokio::join!(take, give);
}
