//! `database`, `health`, `logging`: how the daemon runs.

use std::path::PathBuf;
use std::time::Duration;

use strum::{EnumIter, EnumString, IntoStaticStr, VariantNames};

use super::read;

/// The section `database`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Database {
    /// Our database; relative to the home directory.
    pub path: PathBuf,
    /// For so many days, pairs and seen ids are kept.
    pub keep_days: u32,
    /// The map of messages.
    pub msg_map: MsgMap,
}

/// The map of packets and events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MsgMap {
    /// So many pairs are kept even when they are older than `keep_days`; 0: all of them.
    pub msgs_to_keep: u64,
}

/// The section `health`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Health {
    /// After so long without the radio we count as unhealthy.
    pub radio_away: Duration,
}

/// The section `logging`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logging {
    /// What is logged of our own code.
    pub level: Level,
    /// In which form.
    pub format: LogFormat,
    /// Also to a file.
    pub log_to_file: bool,
    /// That file; relative to the home directory.
    pub filename: PathBuf,
    /// From so many bytes on, a new file is begun.
    pub max_log_size: u64,
    /// So many old files are kept.
    pub backup_count: usize,
    /// Colour on a terminal.
    pub color_enabled: bool,
    /// Levels of single components, in the order in which they were written.
    pub debug: Vec<(Component, Level)>,
}

/// How much is logged; `warning` and `critical` are MMRelay's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, EnumString, VariantNames)]
#[strum(serialize_all = "snake_case", ascii_case_insensitive)]
pub enum Level {
    /// A person must act.
    #[strum(to_string = "error", serialize = "critical")]
    Error,
    /// We recovered, or dropped something.
    #[strum(to_string = "warn", serialize = "warning")]
    Warn,
    /// State changes.
    Info,
    /// Each message.
    Debug,
    /// Bytes.
    Trace,
    /// Nothing.
    Off,
}

/// In which form the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, EnumString, VariantNames)]
#[strum(serialize_all = "snake_case", ascii_case_insensitive)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// A part of the program whose level can be set on its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, EnumIter, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Component {
    /// The radio's side.
    Radio,
    /// What the radio itself prints on a cable.
    RadioLog,
    /// The Matrix side.
    Matrix,
    /// The decisions.
    Bridge,
    /// The database.
    Store,
    /// The parts' life.
    Daemon,
    /// The simulated radio.
    Simulator,
    /// The Matrix SDK, and the crates that it is made of.
    MatrixSdk,
    /// HTTP, TLS and name look-ups.
    Http,
}

impl Database {
    /// What stands in the header of our database, so that nobody else's is taken for it: `RLAY`.
    pub const APPLICATION_ID: u32 = 0x524C_4159;
}

impl Default for Database {
    fn default() -> Self {
        read::defaults(read::database)
    }
}

impl Default for Health {
    fn default() -> Self {
        read::defaults(read::health)
    }
}

impl Default for Logging {
    fn default() -> Self {
        read::defaults(read::logging)
    }
}
