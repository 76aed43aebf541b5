//! The homeserver of a run: beside a fast one, one that answers late, and one that sometimes answers with an error. Both
//! are chosen on the command line and kept in the environment, because the homeserver reads it when it starts.

use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};

use serde_json::{Value, json};

use crate::machine::disk_sync;
use crate::order::Order;
use crate::puts::put_time;
use crate::support::proxy::Proxy;
use crate::support::synapse::Synapse;

/// The latency of every answer in milliseconds; see `tests/it/support/delay.rs`.
const DELAY: &str = "RELAY_TEST_DELAY_MS";
/// Every request of which number is refused; see `tests/it/support/canned.rs`.
const ERRORS: &str = "RELAY_TEST_REFUSE";
const REFUSED: &str = "50";

/// Starts this program again with such a homeserver; returns only if that fails.
pub(crate) fn choose(order: &Order) -> ExitCode {
    let program = std::env::current_exe().expect("a program knows where it is");
    let mut program = Command::new(program);
    program.args(&order.rest);
    if let Some(delay) = &order.delay {
        program.env(DELAY, delay);
    }
    if order.errors {
        program.env(ERRORS, REFUSED);
    }
    let error = program.exec();
    eprintln!("error: this program cannot start itself again: {error}");
    ExitCode::FAILURE
}

/// Returns the address of the homeserver for the relay, and what stands there, if it is not the homeserver itself.
pub(crate) async fn address(synapse: &Synapse) -> (String, Option<Proxy>) {
    if std::env::var_os(ERRORS).is_none() {
        return (synapse.url().to_owned(), None);
    }
    let proxy = Proxy::before(synapse.url()).await;
    (proxy.url().to_owned(), Some(proxy))
}

/// Returns what stands beside each figure: how long the disk takes to sync a page and the homeserver for a `PUT` of a
/// message, and what was chosen.
pub(crate) async fn surroundings() -> Value {
    let mut surroundings = json!({
        "disk_sync_ms": disk_sync().median_rounded(), "put_ms": put_time().await.median_rounded(),
    });
    let delay = std::env::var(DELAY).ok();
    if let Some(delay) = delay.and_then(|delay| delay.parse::<u32>().ok()) {
        surroundings["delay_ms"] = json!(delay);
    }
    if std::env::var_os(ERRORS).is_some() {
        surroundings["refused"] = json!(format!("every {REFUSED}th request of the relay"));
    }
    surroundings
}
