//! TCP keepalive on Windows, which gives up after ten probes by itself.

use std::io;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

/// Idle time before the first probe, and the time from one to the next.
const PROBE_EVERY: Duration = Duration::from_secs(5);

pub(super) fn set(stream: &TcpStream) -> io::Result<()> {
    let keepalive = TcpKeepalive::new().with_time(PROBE_EVERY);
    let keepalive = keepalive.with_interval(PROBE_EVERY);
    SockRef::from(stream).set_tcp_keepalive(&keepalive)
}
