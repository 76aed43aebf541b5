//! The JSON objects of `relay status` and `relay doctor --quick`. Their keys are documented in `docs/reference/status.md` and
//! stay stable. They never hold a message text or a secret.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use relay_config::Connection;
use relay_matrix::DeviceTrust;
use relay_model::{Chain, Explained as _};
use relay_radio::LinkState;
use relay_store::StoreError;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Status {
    pub(crate) version: String,
    pub(crate) pid: u32,
    /// In UTC.
    pub(crate) started_at: String,
    pub(crate) uptime_seconds: u64,
    pub(crate) radio: RadioStatus,
    pub(crate) matrix: MatrixStatus,
    pub(crate) database: DatabaseStatus,
    /// `None` while the database does not answer.
    pub(crate) outbox: Option<OutboxStatus>,
    /// The mapped rooms, and others with a count.
    pub(crate) rooms: Vec<RoomStatus>,
    /// The mapped channels, and others with a count.
    pub(crate) channels: Vec<ChannelStatus>,
    /// Counts that belong to no room or channel, by reason: packets between single nodes, packets still encrypted, and others.
    pub(crate) elsewhere: BTreeMap<String, u64>,
    /// Nodes that repeat relayed messages, as another relay does: their texts are not posted.
    #[serde(default)]
    pub(crate) echoes: Vec<EchoStatus>,
    /// Number of events that wait for their keys; `None` while the database does not answer.
    pub(crate) undecryptable: Option<u64>,
    /// Number of direct messages to our node that are kept; `None` while the database does not answer.
    pub(crate) direct_messages: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct RadioStatus {
    pub(crate) connection: Connection,
    pub(crate) state: LinkState,
    /// Time in this state: ready, or away.
    pub(crate) for_seconds: u64,
    /// Why the link was lost; `None` while ready.
    pub(crate) cause: Option<String>,
    #[serde(default)]
    pub(crate) hint: Option<String>,
    /// Number of the radio's restarts since it was first ready, by its own counter.
    #[serde(default)]
    pub(crate) restarts: u32,
    /// The radio's own node; that of the last radio while away.
    pub(crate) node: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) firmware: Option<String>,
    pub(crate) channel_use_percent: Option<f32>,
    /// Age of this measurement.
    pub(crate) channel_use_age_seconds: Option<u64>,
    /// Why nothing is transmitted; `None` if the radio may transmit.
    pub(crate) silence: Option<String>,
    #[serde(default)]
    pub(crate) silence_hint: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct MatrixStatus {
    pub(crate) state: MatrixState,
    /// Why no session is open, or why the homeserver cannot be read.
    pub(crate) cause: Option<String>,
    /// The cure if no session is open, or if this computer's disk keeps the sync from being stored.
    pub(crate) hint: Option<String>,
    /// Time since the sync began to fail.
    pub(crate) away_seconds: Option<u64>,
    /// Age of the last answer to the sync loop; an idle server answers every 30 s.
    pub(crate) sync_age_seconds: Option<u64>,
    /// Seconds by which this computer's clock is ahead of the homeserver's; 0: they agree; `None`: not known yet.
    #[serde(default)]
    pub(crate) clock_ahead_seconds: Option<i64>,
    /// Seconds by which the clock of the proxy that dates the homeserver's answers is ahead of the homeserver's; 0: they agree.
    #[serde(default)]
    pub(crate) dates_ahead_seconds: i64,
    pub(crate) account: Option<String>,
    pub(crate) device: Option<String>,
    pub(crate) device_trust: Option<DeviceTrust>,
    /// `None`: no 429 since the start.
    #[serde(default)]
    pub(crate) limited: Option<LimitedStatus>,
    /// Set while the account may not send at all.
    pub(crate) parked: Option<ParkedStatus>,
}

/// The homeserver's rate limit (HTTP 429).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LimitedStatus {
    /// Number of 429 answers since the daemon's start.
    pub(crate) times: u64,
    /// Time since the last.
    pub(crate) last_seconds: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum MatrixState {
    /// The session is open, and the homeserver answers.
    Connected,
    /// The session is open; the homeserver has not answered yet.
    Connecting,
    /// The session is open; the sync fails.
    Away,
    /// Nobody has logged in, or the login cannot be used now.
    NoSession,
}

/// Why sends to a room, or of the account, wait until something changes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ParkedStatus {
    pub(crate) reason: String,
    #[serde(default)]
    pub(crate) hint: Option<String>,
    pub(crate) for_seconds: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct DatabaseStatus {
    /// The database can be written.
    pub(crate) ok: bool,
    /// Why not, with all causes.
    pub(crate) error: Option<String>,
    pub(crate) hint: Option<String>,
    /// Time since the first failure.
    pub(crate) for_seconds: Option<u64>,
}

impl DatabaseStatus {
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

/// The sums over all rooms and channels.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct OutboxStatus {
    pub(crate) to_matrix: Waits,
    pub(crate) to_mesh: Waits,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Waits {
    pub(crate) waiting: u64,
    /// Age of the oldest row.
    pub(crate) oldest_seconds: Option<u64>,
}

/// Messages in one direction since the start.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Traffic {
    /// Accepted by the other side.
    pub(crate) relayed: u64,
    /// `None` while the database does not answer.
    pub(crate) outbox: Option<Waits>,
    /// Too old when their turn came.
    pub(crate) expired: u64,
    /// Never to be sent, by reason.
    pub(crate) refused: BTreeMap<String, u64>,
    /// Not relayed, by reason.
    pub(crate) dropped: BTreeMap<String, u64>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct RoomStatus {
    /// The room's id, or its configured alias until the id is known.
    pub(crate) room: String,
    pub(crate) name: Option<String>,
    /// Whether the room is in `matrix_rooms`.
    pub(crate) mapped: bool,
    pub(crate) joined: bool,
    /// `None` if not joined.
    pub(crate) encrypted: Option<bool>,
    /// The mapped channels, as configured.
    pub(crate) channels: Vec<String>,
    /// Problems of these channels on the radio, each with its entry of `matrix_rooms`.
    pub(crate) problems: Vec<String>,
    /// The cure of the first problem.
    #[serde(default)]
    pub(crate) hint: Option<String>,
    #[serde(default)]
    pub(crate) trouble: Option<RoomTroubleStatus>,
    /// Set while the homeserver refuses sends to this room.
    pub(crate) parked: Option<ParkedStatus>,
    /// Number of gaps in the room's history not fetched yet; `None` while the database does not answer.
    pub(crate) missing: Option<u64>,
    pub(crate) to_matrix: Traffic,
    pub(crate) to_mesh: Traffic,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RoomTroubleStatus {
    /// A key of `docs/reference/status.md`.
    pub(crate) reason: String,
    /// The reason for people.
    pub(crate) text: String,
    pub(crate) hint: String,
    pub(crate) successor: Option<String>,
    /// Whether the trouble may pass by itself.
    pub(crate) may_pass: bool,
}

/// A node that repeats relayed messages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct EchoStatus {
    pub(crate) node: String,
    pub(crate) name: String,
    /// Number of its texts that were not posted.
    pub(crate) count: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ChannelStatus {
    /// The slot.
    pub(crate) channel: u8,
    pub(crate) name: Option<String>,
    pub(crate) to_matrix: Traffic,
    pub(crate) to_mesh: Traffic,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Health {
    pub(crate) healthy: bool,
    /// In the order in which a message passes them.
    pub(crate) checks: Vec<Check>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Check {
    /// A key of `docs/reference/status.md`, such as `event_loop`.
    pub(crate) name: String,
    pub(crate) result: CheckResult,
    pub(crate) text: String,
    pub(crate) hint: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum CheckResult {
    Ok,
    /// The relay copes with the fault.
    Warning,
    /// A person must act.
    Failed,
}
