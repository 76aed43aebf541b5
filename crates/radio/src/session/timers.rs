//! The timers of a session. No I/O, no clock.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use relay_model::Backoff;

/// Time that a serial link needs after the wake bytes.
pub(super) const WAKE_PAUSE: Duration = Duration::from_millis(100);
/// How often the configuration is requested on a cable; a radio that was just plugged in misses the first requests.
pub(super) const ASK_EVERY: Duration = Duration::from_secs(2);
/// Time between a radio's report of its restart and its readiness.
pub(super) const REBOOT_PAUSE: Duration = Duration::from_secs(1);
/// Maximum silence of the radio before its handshake is complete.
pub const HANDSHAKE_LIMIT: Duration = Duration::from_secs(30);
/// Maximum duration of the handshake.
pub(super) const HANDSHAKE_LONGEST: Duration = Duration::from_mins(5);
/// How often a radio that transmits nothing, or is locked, is asked again: another client may have changed that without
/// notice.
pub(super) const MUTE_AGAIN: Duration = Duration::from_mins(10);
/// How often a heartbeat is sent.
pub(super) const HEARTBEAT_EVERY: Duration = Duration::from_secs(30);
/// Maximum time between two frames before the link counts as lost. For a radio that answers no heartbeats it doubles on
/// each further link: its silence is weak evidence, and packets during a reconnect may be lost.
pub(super) const SILENCE: Backoff = Backoff::new(Duration::from_secs(75), Duration::from_mins(10));

/// The timers; of several that are due, the first is handled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    Wake,
    Ask,
    /// No further part of the configuration arrives.
    Untold,
    /// The handshake does not complete.
    Handshake,
    AskAgain,
    /// No frame arrives any more.
    Silence,
    /// Printed text that was distrusted before is trusted.
    BelieveStart,
    BelieveLog,
    /// A radio that answers heartbeats delivers no packets, or one that is mute or locked is to be asked again.
    Quiet,
    Heartbeat,
}

/// The deadlines of the active timers.
pub(super) type Timers = BTreeMap<Timer, Instant>;
