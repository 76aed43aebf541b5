//! What `relay status` and `relay doctor --quick` tell: the objects that go through the control socket. Their keys are
//! described in `docs/reference/status.md` and stay as they are. No message text and no secret is ever in them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use relay_config::Connection;
use relay_matrix::DeviceTrust;
use relay_model::{Chain, Explained as _};
use relay_radio::LinkState;
use relay_store::StoreError;

/// How the daemon stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Status {
    pub(crate) version: String,
    pub(crate) pid: u32,
    /// When it started, in UTC.
    pub(crate) started_at: String,
    /// How long ago that was.
    pub(crate) uptime_seconds: u64,
    pub(crate) radio: RadioStatus,
    pub(crate) matrix: MatrixStatus,
    pub(crate) database: DatabaseStatus,
    /// What waits; `None` while the database does not answer.
    pub(crate) outbox: Option<OutboxStatus>,
    /// The mapped rooms, and others that something was counted for.
    pub(crate) rooms: Vec<RoomStatus>,
    /// The mapped channels, and others that something was counted for.
    pub(crate) channels: Vec<ChannelStatus>,
    /// What was counted beside rooms and channels: packets between single nodes, packets still encrypted, and such.
    pub(crate) elsewhere: BTreeMap<String, u64>,
    /// Nodes that say again what is relayed, as another relay does: their texts are not posted.
    #[serde(default)]
    pub(crate) echoes: Vec<EchoStatus>,
    /// Events that wait for their keys; `None` while the database does not answer.
    pub(crate) undecryptable: Option<u64>,
    /// Direct messages to our node that are kept; `None` while the database does not answer.
    pub(crate) direct_messages: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct RadioStatus {
    pub(crate) connection: Connection,
    /// What is being done about the link.
    pub(crate) state: LinkState,
    /// For how long it has been ready, or has been away.
    pub(crate) for_seconds: u64,
    /// Why it was lost last; `None` while it is ready.
    pub(crate) cause: Option<String>,
    /// What helps against just that, if we know.
    #[serde(default)]
    pub(crate) hint: Option<String>,
    /// How often the radio has restarted since it was ready first, by its own count.
    #[serde(default)]
    pub(crate) restarts: u32,
    /// Its own node; of the radio that was there last.
    pub(crate) node: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) firmware: Option<String>,
    /// How busy its channel is, in percent.
    pub(crate) channel_use_percent: Option<f32>,
    /// How old that figure is.
    pub(crate) channel_use_age_seconds: Option<u64>,
    /// Why nothing is transmitted; `None` if it may.
    pub(crate) silence: Option<String>,
    /// What helps against that.
    #[serde(default)]
    pub(crate) silence_hint: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct MatrixStatus {
    pub(crate) state: MatrixState,
    /// Why no session is open, or why the homeserver cannot be read.
    pub(crate) cause: Option<String>,
    /// The cure, where no session is open, or what the homeserver says cannot be stored on this computer's disk.
    pub(crate) hint: Option<String>,
    /// For how long the homeserver could not be read.
    pub(crate) away_seconds: Option<u64>,
    /// How old the last answer to the sync loop is; with nothing to tell, a server answers every 30 s.
    pub(crate) sync_age_seconds: Option<u64>,
    /// By how many seconds this computer's clock is ahead of the homeserver's; 0: they agree; `None`: it has not told.
    #[serde(default)]
    pub(crate) clock_ahead_seconds: Option<i64>,
    /// By how many seconds what dates the homeserver's answers, a proxy, is ahead of the homeserver's clock; 0: they agree.
    #[serde(default)]
    pub(crate) dates_ahead_seconds: i64,
    pub(crate) account: Option<String>,
    pub(crate) device: Option<String>,
    /// Whether the account's owner has signed the device.
    pub(crate) device_trust: Option<DeviceTrust>,
    /// The homeserver has wanted fewer events; `None`: never since the start.
    #[serde(default)]
    pub(crate) limited: Option<LimitedStatus>,
    /// The account may send nothing, for this reason.
    pub(crate) parked: Option<ParkedStatus>,
}

/// That the homeserver has wanted fewer events (HTTP 429).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LimitedStatus {
    /// How often since the daemon's start.
    pub(crate) times: u64,
    /// How long ago the last time was.
    pub(crate) last_seconds: u64,
}

/// How the session with the homeserver stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum MatrixState {
    /// It is open, and the homeserver answers.
    Connected,
    /// It is open; the homeserver has not answered yet.
    Connecting,
    /// It is open; the homeserver cannot be read.
    Away,
    /// None is open: nobody has logged in, or the login cannot be used now.
    NoSession,
}

/// Something that takes nothing until something changes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ParkedStatus {
    pub(crate) reason: String,
    #[serde(default)]
    pub(crate) hint: Option<String>,
    pub(crate) for_seconds: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct DatabaseStatus {
    /// What is received can be stored.
    pub(crate) ok: bool,
    /// Why not, with all causes.
    pub(crate) error: Option<String>,
    pub(crate) hint: Option<String>,
    /// For how long it has not worked.
    pub(crate) for_seconds: Option<u64>,
}

impl DatabaseStatus {
    /// It does not work, for this reason.
    pub(super) fn failing(error: String, hint: Option<String>) -> Self {
        Self {
            error: Some(error),
            hint,
            ..Self::default()
        }
    }
}

impl From<&StoreError> for DatabaseStatus {
    fn from(error: &StoreError) -> Self {
        Self::failing(Chain(error).to_string(), error.hint())
    }
}

/// What waits in all.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct OutboxStatus {
    pub(crate) to_matrix: Waits,
    pub(crate) to_mesh: Waits,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Waits {
    pub(crate) waiting: u64,
    /// How old the oldest is.
    pub(crate) oldest_seconds: Option<u64>,
}

/// What became of messages since the start, one way.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Traffic {
    /// The other side has them.
    pub(crate) relayed: u64,
    /// How much waits; `None` while the database does not answer.
    pub(crate) outbox: Option<Waits>,
    /// They were too old when their turn came.
    pub(crate) expired: u64,
    /// They will never be sent; by reason.
    pub(crate) refused: BTreeMap<String, u64>,
    /// They were not to be relayed; by reason.
    pub(crate) dropped: BTreeMap<String, u64>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct RoomStatus {
    /// Its id, or the alias under which it is configured as long as no server has told the id.
    pub(crate) room: String,
    pub(crate) name: Option<String>,
    /// It is in `matrix_rooms`.
    pub(crate) mapped: bool,
    pub(crate) joined: bool,
    /// It is encrypted; `None` if it is not joined.
    pub(crate) encrypted: Option<bool>,
    /// The channels that it is tied to, as they are configured.
    pub(crate) channels: Vec<String>,
    /// What is wrong with these channels on the radio, each with its entry of `matrix_rooms`.
    pub(crate) problems: Vec<String>,
    /// What helps against the first of them.
    #[serde(default)]
    pub(crate) hint: Option<String>,
    #[serde(default)]
    pub(crate) trouble: Option<RoomTroubleStatus>,
    /// It takes nothing, for this reason.
    pub(crate) parked: Option<ParkedStatus>,
    /// So many stretches of what was said in it could not be fetched yet; `None` while the database does not answer.
    pub(crate) missing: Option<u64>,
    pub(crate) to_matrix: Traffic,
    pub(crate) to_mesh: Traffic,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RoomTroubleStatus {
    /// What, in one word of `docs/reference/status.md`.
    pub(crate) reason: String,
    /// What, for people.
    pub(crate) text: String,
    pub(crate) hint: String,
    pub(crate) successor: Option<String>,
    /// It may pass without anybody doing something.
    pub(crate) may_pass: bool,
}

/// A node that says again what is relayed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct EchoStatus {
    pub(crate) node: String,
    pub(crate) name: String,
    /// How many of its texts were not posted.
    pub(crate) count: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ChannelStatus {
    /// Its slot.
    pub(crate) channel: u8,
    /// Its name, as the radio told it.
    pub(crate) name: Option<String>,
    pub(crate) to_matrix: Traffic,
    pub(crate) to_mesh: Traffic,
}

/// Whether the daemon does its work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Health {
    pub(crate) healthy: bool,
    /// The checks, in the order of a message's way.
    pub(crate) checks: Vec<Check>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Check {
    /// What was looked at: `daemon`, `event_loop`, `database`, `radio`, `matrix`, `rooms`, `outbox`.
    pub(crate) name: String,
    pub(crate) result: CheckResult,
    pub(crate) text: String,
    pub(crate) hint: Option<String>,
}

/// How what was looked at is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum CheckResult {
    /// As it should be.
    Ok,
    /// Worth a look; the relay does what it can.
    Warning,
    /// A person must act.
    Failed,
}
