//! A TCP forwarder that can be cut and opened again.

use std::sync::Arc;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Forwards connections from a new port to another on loopback while open.
#[derive(Debug)]
pub(crate) struct Forwarder {
    port: u16,
    open: Arc<watch::Sender<bool>>,
    /// Aborted on drop.
    _carrying: JoinSet<()>,
}

impl Forwarder {
    /// Opens a forwarder to this port.
    pub(crate) async fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .expect("loopback has a free port");
        let own = listener.local_addr().expect("it has an address").port();
        let open = Arc::new(watch::Sender::new(true));
        let state = Arc::clone(&open);
        let mut carrying = JoinSet::new();
        carrying.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((mut client, _)) = listener.accept().await {
                while connections.try_join_next().is_some() {}
                let mut state = state.subscribe();
                connections.spawn(async move {
                    if !*state.borrow() {
                        return;
                    }
                    let Ok(mut server) = TcpStream::connect(("127.0.0.1", port)).await else {
                        return;
                    };
                    tokio::select! {
                        _ = copy_bidirectional(&mut client, &mut server) => {}
                        _ = state.wait_for(|open| !open) => {}
                    }
                });
            }
        });
        Self {
            port: own,
            open,
            _carrying: carrying,
        }
    }

    /// Returns the port to connect to.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Cuts all connections, present and new.
    pub(crate) fn cut(&self) {
        self.open.send_replace(false);
    }

    /// Forwards connections again.
    pub(crate) fn mend(&self) {
        self.open.send_replace(true);
    }
}
