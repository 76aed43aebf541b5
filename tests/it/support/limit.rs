//! How long a test waits.

use std::future::Future;
use std::time::Duration;

/// How long a test waits for what it expects. Generous: machines that run tests are slow and busy.
pub(crate) const LIMIT: Duration = Duration::from_mins(1);

/// Waits for something that has to happen, and says what did not if it does not.
pub(crate) async fn within<T>(what: &str, happens: impl Future<Output = T>) -> T {
    let happened = tokio::time::timeout(LIMIT, happens).await;
    happened.unwrap_or_else(|_| panic!("in {} s did not happen: {what}", LIMIT.as_secs()))
}
