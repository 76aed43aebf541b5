//! The time limit of a probe.

use std::time::Duration;

use tokio::time::timeout;

use crate::daemon::checks::check;
use crate::daemon::status::{Check, CheckResult};
use relay_model::{Chain, Explained};

/// Waits for a probe; without an answer in time, returns the check that says so, with that cure.
pub(super) async fn within<T>(
    limit: Duration,
    who: &str,
    cure: &str,
    probe: impl Future<Output = T>,
) -> Result<T, Check> {
    timeout(limit, probe).await.map_err(|_| {
        let text = format!("{who} gave no answer within {} s", limit.as_secs());
        check(CheckResult::TimedOut, text, Some(cure.to_owned()))
    })
}

/// Makes a failed check of an error.
pub(super) fn failed_by(error: &(impl Explained + 'static)) -> Check {
    let text = Chain(error).to_string();
    check(CheckResult::Failed, text, error.hint())
}
