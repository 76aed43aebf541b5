//! What `relay status` and `relay doctor --quick` tell: the objects that go through the control socket. Their keys are
//! described in `docs/reference/status.md` and stay as they are. No message text and no secret is ever in them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::config::Connection;
use crate::matrix::DeviceTrust;
use crate::radio::LinkState;

/// How the daemon stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The relay's version.
    pub version: String,
    /// Its process.
    pub pid: u32,
    /// When it started, in UTC.
    pub started_at: String,
    /// How long ago that was.
    pub uptime_seconds: u64,
    /// The radio.
    pub radio: RadioStatus,
    /// The Matrix side.
    pub matrix: MatrixStatus,
    /// The database.
    pub database: DatabaseStatus,
    /// What waits; `None` while the database does not answer.
    pub outbox: Option<OutboxStatus>,
    /// The mapped rooms, and others that something was counted for.
    pub rooms: Vec<RoomStatus>,
    /// The mapped channels, and others that something was counted for.
    pub channels: Vec<ChannelStatus>,
    /// What was counted beside rooms and channels: packets between single nodes, packets still encrypted, and such.
    pub elsewhere: BTreeMap<String, u64>,
    /// Nodes that say again what is relayed, as another relay does: their texts are not posted.
    #[serde(default)]
    pub echoes: Vec<EchoStatus>,
    /// Events that wait for their keys; `None` while the database does not answer.
    pub undecryptable: Option<u64>,
    /// Direct messages to our node that are kept; `None` while the database does not answer.
    pub direct_messages: Option<u64>,
}

/// How the radio stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RadioStatus {
    /// How it is reached.
    pub connection: Connection,
    /// What is being done about the link.
    pub state: LinkState,
    /// For how long it has been ready, or has been away.
    pub for_seconds: u64,
    /// Why it was lost last; `None` while it is ready.
    pub cause: Option<String>,
    /// How often the radio has restarted since it was ready first, by its own count.
    #[serde(default)]
    pub restarts: u32,
    /// Its own node; of the radio that was there last.
    pub node: Option<String>,
    /// Its long name.
    pub name: Option<String>,
    /// Its firmware.
    pub firmware: Option<String>,
    /// How busy its channel is, in percent.
    pub channel_use_percent: Option<f32>,
    /// How old that figure is.
    pub channel_use_age_seconds: Option<u64>,
    /// Why nothing is transmitted; `None` if it may.
    pub silence: Option<String>,
}

/// How the Matrix side stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MatrixStatus {
    /// The session.
    pub state: MatrixState,
    /// Why there is no session, or why the homeserver cannot be read.
    pub cause: Option<String>,
    /// The cure, where what the homeserver says cannot be stored on this computer's disk.
    pub hint: Option<String>,
    /// For how long the homeserver could not be read.
    pub away_seconds: Option<u64>,
    /// How old the last answer to the sync loop is; with nothing to tell, a server answers every 30 s.
    pub sync_age_seconds: Option<u64>,
    /// By how many seconds this computer's clock is ahead of the homeserver's; 0: they agree; `None`: it has not told.
    #[serde(default)]
    pub clock_ahead_seconds: Option<i64>,
    /// By how many seconds what dates the homeserver's answers, a proxy, is ahead of the homeserver's clock; 0: they agree.
    #[serde(default)]
    pub dates_ahead_seconds: i64,
    /// The account.
    pub account: Option<String>,
    /// Its device.
    pub device: Option<String>,
    /// Whether the account's owner has signed the device.
    pub device_trust: Option<DeviceTrust>,
    /// The homeserver has wanted fewer events; `None`: never since the start.
    #[serde(default)]
    pub limited: Option<LimitedStatus>,
    /// The account may send nothing, for this reason.
    pub parked: Option<ParkedStatus>,
}

/// That the homeserver has wanted fewer events (HTTP 429).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitedStatus {
    /// How often since the daemon's start.
    pub times: u64,
    /// How long ago the last time was.
    pub last_seconds: u64,
}

/// How the session with the homeserver stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MatrixState {
    /// It is open, and the homeserver answers.
    Connected,
    /// It is open; the homeserver has not answered yet.
    Connecting,
    /// It is open; the homeserver cannot be read.
    Away,
    /// There is none.
    NoSession,
}

/// Something that takes nothing until something changes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ParkedStatus {
    /// Why.
    pub reason: String,
    /// For how long.
    pub for_seconds: u64,
}

/// How the database stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DatabaseStatus {
    /// What is received can be stored.
    pub ok: bool,
    /// Why not, with all causes.
    pub error: Option<String>,
    /// What a person can do about it.
    pub hint: Option<String>,
    /// For how long it has not worked.
    pub for_seconds: Option<u64>,
}

/// What waits in all.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OutboxStatus {
    /// Events for rooms.
    pub to_matrix: Waits,
    /// Packets for the mesh.
    pub to_mesh: Waits,
}

/// How much waits, and for how long.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waits {
    /// How many.
    pub waiting: u64,
    /// How old the oldest is.
    pub oldest_seconds: Option<u64>,
}

/// What became of messages since the start, one way.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traffic {
    /// The other side has them.
    pub relayed: u64,
    /// How much waits; `None` while the database does not answer.
    pub outbox: Option<Waits>,
    /// They were too old when their turn came.
    pub expired: u64,
    /// They will never be sent; by reason.
    pub refused: BTreeMap<String, u64>,
    /// They were not to be relayed; by reason.
    pub dropped: BTreeMap<String, u64>,
}

/// How a room stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RoomStatus {
    /// Its id, or the alias under which it is configured as long as no server has told the id.
    pub room: String,
    /// Its name.
    pub name: Option<String>,
    /// It is in `matrix_rooms`.
    pub mapped: bool,
    /// The bot is in it.
    pub joined: bool,
    /// It is encrypted; `None` if it is not joined.
    pub encrypted: Option<bool>,
    /// The channels that it is tied to, as they are configured.
    pub channels: Vec<String>,
    /// What is wrong with these channels on the radio, each with its entry of `matrix_rooms`.
    pub problems: Vec<String>,
    /// What is wrong with it.
    #[serde(default)]
    pub trouble: Option<RoomTroubleStatus>,
    /// It takes nothing, for this reason.
    pub parked: Option<ParkedStatus>,
    /// So many stretches of what was said in it could not be fetched yet; `None` while the database does not answer.
    pub missing: Option<u64>,
    /// What goes into it.
    pub to_matrix: Traffic,
    /// What comes from it.
    pub to_mesh: Traffic,
}

/// What is wrong with a room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomTroubleStatus {
    /// What, in one word of `docs/reference/status.md`.
    pub reason: String,
    /// What, for people.
    pub text: String,
    /// What a person can do about it.
    pub hint: String,
    /// The room that takes its place.
    pub successor: Option<String>,
    /// It may pass without anybody doing something.
    pub may_pass: bool,
}

/// A node that says again what is relayed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EchoStatus {
    /// The node.
    pub node: String,
    /// Its long name.
    pub name: String,
    /// How many of its texts were not posted.
    pub count: u64,
}

/// How a channel stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ChannelStatus {
    /// Its slot.
    pub channel: u8,
    /// Its name, as the radio told it.
    pub name: Option<String>,
    /// What comes from it.
    pub to_matrix: Traffic,
    /// What goes into it.
    pub to_mesh: Traffic,
}

/// Whether the daemon does its work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// No check failed.
    pub healthy: bool,
    /// The checks, in the order of a message's way.
    pub checks: Vec<Check>,
}

/// What one check found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// What was looked at: `daemon`, `event_loop`, `database`, `radio`, `matrix`, `rooms`, `outbox`.
    pub name: String,
    /// How it is.
    pub result: CheckResult,
    /// What was found.
    pub text: String,
    /// What a person can do about it.
    pub hint: Option<String>,
}

/// How what was looked at is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckResult {
    /// As it should be.
    Ok,
    /// Worth a look; the relay does what it can.
    Warning,
    /// A person must act.
    Failed,
}
