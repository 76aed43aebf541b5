//! A service manager, as far as a service sees it: the socket that it is told on, and the limit of its watchdog.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use tokio::net::UnixDatagram;
use tokio::time::timeout;

use super::relay::Home;
use super::within;

/// It starts the relay of a home. Source: `sd_notify(3)`.
#[derive(Debug)]
pub(crate) struct ServiceManager {
    socket: UnixDatagram,
    /// By when it is told again that the relay lives, or it would restart it.
    watchdog: Duration,
}

impl ServiceManager {
    /// Tells the relay of this home where it listens, and its watchdog's limit.
    pub(crate) fn of(home: &mut Home, watchdog: Duration) -> Self {
        let path: PathBuf = home.path("notify");
        let socket = UnixDatagram::bind(&path).expect("the home is a directory");
        home.set_environment(("NOTIFY_SOCKET", path.display().to_string()));
        home.set_environment(("WATCHDOG_USEC", watchdog.as_micros().to_string()));
        Self { socket, watchdog }
    }

    async fn told(&self) -> String {
        let mut told = [0; 4096];
        let length = self.socket.recv(&mut told).await.expect("it listens");
        String::from_utf8_lossy(&told[..length]).into_owned()
    }

    /// Waits until the relay says this.
    pub(crate) async fn is_told(&self, what: &str) {
        let hears = async { while !self.told().await.lines().any(|line| line == what) {} };
        within(&format!("the service manager is told {what}"), hears).await;
    }

    /// Forgets what was said until now.
    pub(crate) fn forget(&self) {
        while self.socket.try_recv(&mut [0; 4096]).is_ok() {}
    }

    /// Waits for the next sign of life. Returns false if there is none within the watchdog's limit: the relay would be
    /// restarted.
    pub(crate) async fn sees_life(&self) -> bool {
        let sign = async { while self.told().await != "WATCHDOG=1\n" {} };
        timeout(self.watchdog, sign).await.is_ok()
    }

    /// Watches signs of life for this long, and asserts that none is missing.
    pub(crate) async fn sees_life_for(&self, time: Duration, why: &str) {
        let start = Instant::now();
        while start.elapsed() < time {
            assert!(self.sees_life().await, "restarted while {why}");
        }
    }

    /// Waits until signs of life are missing for so long that it would restart the relay.
    pub(crate) async fn would_restart(&self) {
        let misses = async { while self.sees_life().await {} };
        within("the service manager misses a sign of life", misses).await;
    }
}
