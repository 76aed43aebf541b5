//! The JSON objects of `relay status` and `relay doctor --quick`. Their keys are documented in `docs/reference/status.md` and
//! stay stable. They never hold a message text or a secret.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use relay_config::Connection;
use relay_matrix::DeviceTrust;
use relay_model::{Chain, Explained as _};
use relay_radio::LinkState;
use relay_store::StoreError;

/// The object that `relay status --json` prints.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Status {
    pub(crate) version: String,
    pub(crate) pid: u32,
    /// When the daemon started, in UTC, as `2025-01-31T12:00:00Z`.
    pub(crate) started_at: String,
    pub(crate) uptime_seconds: u64,
    #[serde(default)]
    pub(crate) configuration: ConfigurationStatus,
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

/// The configuration that the daemon runs with.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ConfigurationStatus {
    /// When it was read, in UTC.
    pub(crate) read_at: String,
    /// The keys whose new value needs a restart.
    pub(crate) need_restart: Vec<String>,
    /// Set if it was read again since then, and could not be taken over.
    pub(crate) failed: Option<FailedReload>,
}

/// A configuration that could not be taken over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FailedReload {
    /// When it was read, in UTC.
    pub(crate) at: String,
    pub(crate) cause: String,
    #[serde(default)]
    pub(crate) hint: Option<String>,
}

/// The link to the radio, and the radio as of its last handshake.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct RadioStatus {
    pub(crate) connection: Connection,
    pub(crate) state: LinkState,
    /// Seconds since it is ready, or since it is not.
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
    /// Region, as Meshtastic names it (`EU_868`); `None`: not reported, or not set.
    #[serde(default)]
    pub(crate) region: Option<String>,
    pub(crate) channel_use_percent: Option<f32>,
    /// Seconds since the radio reported that channel use.
    pub(crate) channel_use_age_seconds: Option<u64>,
    /// Why nothing is transmitted; `None` if the radio may transmit.
    pub(crate) silence: Option<String>,
    #[serde(default)]
    pub(crate) silence_hint: Option<String>,
}

/// The session, and the homeserver.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct MatrixStatus {
    pub(crate) state: MatrixState,
    /// Why no session is open, or why the homeserver cannot be read.
    pub(crate) cause: Option<String>,
    /// The cure if no session is open, or if this computer's disk keeps the sync from being stored.
    pub(crate) hint: Option<String>,
    /// Seconds since the sync began to fail; `None`: it does not fail.
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
    /// The homeserver's rate limit; `None`: no 429 since the start.
    #[serde(default)]
    pub(crate) limited: Option<LimitedStatus>,
    /// Why the bot does not show its name or picture as configured, and the cure.
    #[serde(default)]
    pub(crate) not_shown: Option<NotShownStatus>,
    /// Other relays with this account that have posted within the last hour.
    #[serde(default)]
    pub(crate) other_relays: Vec<OtherRelayStatus>,
    /// The homeserver's database was put back to an older copy, within the last day.
    #[serde(default)]
    pub(crate) put_back: Option<PutBackStatus>,
    /// Set while the account may not send at all.
    pub(crate) parked: Option<ParkedStatus>,
}

/// What the homeserver has forgotten, as its database was put back to an older copy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PutBackStatus {
    /// Number of events of the rooms that it does not know any more.
    pub(crate) events: usize,
    /// Seconds since that was noticed.
    pub(crate) last_seconds: u64,
}

/// Why the bot does not show its name or picture as configured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NotShownStatus {
    pub(crate) cause: String,
    /// The cure.
    pub(crate) hint: Option<String>,
}

/// How often the homeserver has limited the account (HTTP 429).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LimitedStatus {
    /// Number of 429 answers since the daemon's start.
    pub(crate) times: u64,
    /// Seconds since the last of these answers.
    pub(crate) last_seconds: u64,
}

/// Another relay that works with the account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OtherRelayStatus {
    /// For machines: a key of `docs/reference/status.md`.
    pub(crate) kind: String,
    /// Id of the room that it posted in last.
    pub(crate) room: String,
    /// Seconds since that post came.
    pub(crate) last_seconds: u64,
    /// What is known of it, in a sentence.
    pub(crate) text: String,
    pub(crate) hint: String,
}

/// How far the Matrix side has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum MatrixState {
    /// The session is open, and the homeserver answers.
    Connected,
    /// The session is open; the homeserver has not answered yet.
    Connecting,
    /// The session is open; the homeserver does not answer, or its answers cannot be stored.
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

/// Whether what comes in can be stored.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct DatabaseStatus {
    /// Whether what came in last could be stored.
    pub(crate) ok: bool,
    /// Why it could not be stored, with all causes; `None` if it was.
    pub(crate) error: Option<String>,
    pub(crate) hint: Option<String>,
    /// Seconds since the first failure in a row.
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

/// Rows of an outbox that wait.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Waits {
    pub(crate) waiting: u64,
    /// Seconds since the oldest row was accepted; `None`: nothing waits.
    pub(crate) oldest_seconds: Option<u64>,
}

/// Messages in one direction since the start.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Traffic {
    /// Number of messages that the other side has accepted.
    pub(crate) relayed: u64,
    /// `None` while the database does not answer.
    pub(crate) outbox: Option<Waits>,
    /// Number of messages that were too old when their turn came.
    pub(crate) expired: u64,
    /// Number of messages that were taken though they came unencrypted into an encrypted room.
    #[serde(default)]
    pub(crate) in_clear: u64,
    /// Number of messages that can never be sent, by reason.
    pub(crate) refused: BTreeMap<String, u64>,
    /// Number of messages that were not to be relayed, by reason.
    pub(crate) dropped: BTreeMap<String, u64>,
}

/// A room, with what crosses between it and the mesh.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct RoomStatus {
    /// The room's id, or its configured alias until the id is known.
    pub(crate) room: String,
    pub(crate) name: Option<String>,
    /// What `matrix_rooms` calls it: its id or aliases; empty if it is not there.
    #[serde(default)]
    pub(crate) configured: Vec<String>,
    /// Whether the room is in `matrix_rooms`.
    pub(crate) mapped: bool,
    pub(crate) joined: bool,
    /// Whether it is encrypted; `None` if not joined.
    pub(crate) encrypted: Option<bool>,
    /// The channels that it is tied to, as configured.
    pub(crate) channels: Vec<String>,
    /// Problems of these channels on the radio, each with its entry of `matrix_rooms`.
    pub(crate) problems: Vec<String>,
    /// What a person can do about the first problem.
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

/// Why the bot is not in a room, or why what waits for the room is held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RoomTroubleStatus {
    /// Reason for machines: a key of `docs/reference/status.md`.
    pub(crate) reason: String,
    /// The reason in a sentence.
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

/// A channel, with what crosses between it and Matrix.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ChannelStatus {
    /// Slot of the channel, 0 to 7.
    pub(crate) channel: u8,
    pub(crate) name: Option<String>,
    pub(crate) to_matrix: Traffic,
    pub(crate) to_mesh: Traffic,
}

/// The object that `relay doctor --quick --json` prints of a running daemon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Health {
    pub(crate) healthy: bool,
    /// In the order in which a message passes them.
    pub(crate) checks: Vec<Check>,
}

/// One check of the running daemon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Check {
    /// A key of `docs/reference/status.md`, such as `event_loop`.
    pub(crate) name: String,
    pub(crate) result: CheckResult,
    pub(crate) text: String,
    pub(crate) hint: Option<String>,
}

/// What a check has found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum CheckResult {
    Ok,
    /// The relay copes with the fault.
    Warning,
    /// A person must act.
    Failed,
    /// There was no answer in time. Only `relay doctor` without `--quick` waits for others.
    TimedOut,
    /// It was not checked; the text says why.
    Skipped,
}

impl CheckResult {
    /// Returns whether the relay does not do its work because of this.
    pub(crate) fn is_sick(self) -> bool {
        matches!(self, Self::Failed | Self::TimedOut)
    }
}
