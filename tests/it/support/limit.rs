//! Timeouts of tests.

use std::future::Future;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, timeout, timeout_at};

/// Timeout for an expected event, or for any progress towards it. Generous: machines that run tests are slow
/// and busy.
pub(crate) const LIMIT: Duration = Duration::from_mins(1);

/// Maximum time to wait while there is progress: for a program that keeps writing lines, but never the expected one.
const LONGEST: Duration = Duration::from_mins(15);

/// Number of lines that a failure shows.
const SHOWN: usize = 10;

/// Waits for a future; at the timeout panics with `what`.
pub(crate) async fn within<T>(what: &str, happens: impl Future<Output = T>) -> T {
    let happened = timeout(LIMIT, happens).await;
    happened.unwrap_or_else(|_| panic!("in {} s did not happen: {what}", LIMIT.as_secs()))
}

/// Why a wait for progress failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Waited {
    /// No progress for the timeout.
    NothingNew,
    /// Progress without end.
    TooLong,
    /// The source has ended.
    Ended,
}

/// Waits until `done` returns a result for a growing value. Fails when the value has not grown for `limit`.
pub(crate) async fn while_new<T>(
    value: &mut watch::Receiver<T>,
    limit: Duration,
    mut done: impl FnMut(&T) -> bool,
) -> Result<(), Waited> {
    let latest = Instant::now() + LONGEST.max(limit);
    loop {
        if done(&value.borrow_and_update()) {
            return Ok(());
        }
        let patience = (Instant::now() + limit).min(latest);
        match timeout_at(patience, value.changed()).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return Err(Waited::Ended),
            Err(_) if Instant::now() >= latest => return Err(Waited::TooLong),
            Err(_) => return Err(Waited::NothingNew),
        }
    }
}

/// Returns the last lines, and the number of those before.
pub(crate) fn last_lines(lines: &[String]) -> String {
    let hidden = lines.len().saturating_sub(SHOWN);
    let mut shown = lines[hidden..].join("\n");
    if hidden > 0 {
        shown.insert_str(0, &format!("(… {hidden} lines)\n"));
    }
    shown
}
