//! The real parts that the tests are made of: a homeserver, a Matrix user, a radio, the relay, and the scene that joins them.

#[cfg(feature = "ble")]
pub(crate) mod bluetooth;
#[cfg(feature = "ble")]
pub(crate) mod bluez;
pub(crate) mod books;
#[cfg(feature = "ble")]
pub(crate) mod bus;
pub(crate) mod forwarder;
pub(crate) mod lines;
pub(crate) mod process;
pub(crate) mod proxy;
pub(crate) mod radio;
pub(crate) mod relay;
pub(crate) mod scene;
pub(crate) mod synapse;
pub(crate) mod user;

use std::future::Future;
use std::time::Duration;

/// How long a test waits for what it expects. Generous: machines that run tests are slow and busy.
pub(crate) const LIMIT: Duration = Duration::from_mins(1);

/// Waits for something that has to happen, and says what did not if it does not.
pub(crate) async fn within<T>(what: &str, happens: impl Future<Output = T>) -> T {
    let happened = tokio::time::timeout(LIMIT, happens).await;
    happened.unwrap_or_else(|_| panic!("in {} s did not happen: {what}", LIMIT.as_secs()))
}
