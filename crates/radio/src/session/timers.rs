//! When a session does what: one moment for each thing that it does by itself. No I/O, no clock.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use relay_model::Backoff;

/// On a cable the link needs so long to come to its senses after the wake bytes.
pub(super) const WAKE_PAUSE: Duration = Duration::from_millis(100);
/// A radio on a cable that has just been plugged in is still starting, and does not hear the first question.
pub(super) const ASK_EVERY: Duration = Duration::from_secs(2);
/// What a radio does between telling that it rebooted and listening.
pub(super) const REBOOT_PAUSE: Duration = Duration::from_secs(1);
/// How long the radio may be silent before its handshake is complete.
pub const HANDSHAKE_LIMIT: Duration = Duration::from_secs(30);
/// How long the whole handshake may take.
pub(super) const HANDSHAKE_LONGEST: Duration = Duration::from_mins(5);
/// A radio that transmits nothing, or is locked, may be set right by another client, of which nobody tells us: it is asked
/// again so often.
pub(super) const MUTE_AGAIN: Duration = Duration::from_mins(10);
/// How often the link is probed.
pub(super) const HEARTBEAT_EVERY: Duration = Duration::from_secs(30);
/// No frame for so long: the link is lost. A radio that answers no heartbeat at all is given twice as long on each further
/// link, up to the longest: its silence says little, and what is said on the mesh while the link is made again may not be
/// kept.
pub(super) const SILENCE: Backoff = Backoff::new(Duration::from_secs(75), Duration::from_mins(10));

/// What a session does when its time has come; where several are due, the first is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    Wake,
    Ask,
    /// Gives up a radio that tells nothing more of its configuration.
    Untold,
    /// Gives up a handshake that does not end.
    Handshake,
    AskAgain,
    /// Gives up a radio from which nothing comes any more.
    Silence,
    /// Believes text that it has not believed yet.
    BelieveStart,
    BelieveLog,
    /// Asks a radio that only says that it is there.
    Quiet,
    Heartbeat,
}

/// When each of them is due; what is not in it is not.
pub(super) type Timers = BTreeMap<Timer, Instant>;
