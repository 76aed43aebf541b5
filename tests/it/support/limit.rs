//! How long a test waits.

use std::future::Future;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, timeout, timeout_at};

/// How long a test waits for what it expects, or for any progress towards it. Generous: machines that run tests are slow
/// and busy.
pub(crate) const LIMIT: Duration = Duration::from_mins(1);

/// How long a test waits at most while there is progress: ends one that writes lines for ever, but never the expected one.
const LONGEST: Duration = Duration::from_mins(15);

/// How many lines a failure shows of what was seen.
const SHOWN: usize = 10;

/// Waits for something that has to happen, and says what did not if it does not.
pub(crate) async fn within<T>(what: &str, happens: impl Future<Output = T>) -> T {
    let happened = timeout(LIMIT, happens).await;
    happened.unwrap_or_else(|_| panic!("in {} s did not happen: {what}", LIMIT.as_secs()))
}

/// Why a wait for progress ended without what was waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Waited {
    /// Nothing new came for the limit.
    NothingNew,
    /// New things came and came.
    TooLong,
    /// Nothing more can come.
    Ended,
}

/// Waits until `done` says so of a growing value. What counts is progress: it gives up when nothing new came for `limit`.
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

/// Returns the last lines, and how many stand before them.
pub(crate) fn last_lines(lines: &[String]) -> String {
    let hidden = lines.len().saturating_sub(SHOWN);
    let mut shown = lines[hidden..].join("\n");
    if hidden > 0 {
        shown.insert_str(0, &format!("(… {hidden} lines)\n"));
    }
    shown
}
