//! `database`, `health`, `logging`: how the daemon runs.

use std::path::PathBuf;
use std::time::Duration;

use strum::{EnumIter, IntoEnumIterator as _, IntoStaticStr};

use super::finding::Wrong;
use super::section::{Section, keys, words};
use super::values::{
    Checked, boolean, choice, scalar, size, some_duration, some_text, truth, whole,
};
use super::yaml::Node;

const LOG: &str = "logs/relay.log";

keys! {
    /// The section `database`.
    Database {
        /// Our database; relative to the home directory.
        path: PathBuf = get(PathBuf::from("database/relay.sqlite"), path);
        /// For so many days, pairs and seen ids are kept.
        keep_days: u32 = get(30, whole(1..=36_500, " days"));
        /// The map of messages.
        msg_map: MsgMap = within(MsgMap::read);
    }

    /// The map of packets and events.
    #[derive(Copy, Eq)]
    MsgMap {
        /// So many pairs are kept even when they are older than `keep_days`; 0: all of them.
        msgs_to_keep: u64 = get(500, whole(0..=100_000_000, " pairs"));
    }

    /// The section `health`.
    #[derive(Copy, Eq)]
    Health {
        /// After so long without the radio we count as unhealthy.
        radio_away: Duration = get(Duration::from_mins(10), some_duration);
    }

    /// The section `logging`.
    Logging {
        /// What is logged of our own code.
        level: Level = get(Level::Info, choice);
        /// In which form.
        format: LogFormat = get(LogFormat::Text, choice);
        /// Also to a file.
        log_to_file: bool = get(false, boolean);
        /// That file; relative to the home directory.
        filename: PathBuf = by(filename);
        /// From so many bytes on, a new file is begun.
        max_log_size: u64 = get(5 * 1024 * 1024, size);
        /// So many old files are kept.
        backup_count: usize = get(5, whole(0..=1000, " files"));
        /// Colour on a terminal.
        color_enabled: bool = get(true, boolean);
        /// Levels of single components, in the order in which they were written.
        debug: Vec<(Component, Level)> = within(component_levels);
    }
}

words! {
    /// How much is logged; `warning` and `critical` are MMRelay's words.
    #[derive(IntoStaticStr)]
    Level {
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
    LogFormat {
        /// For people.
        Text,
        /// One JSON object a line.
        Json,
    }
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

fn filename(section: &mut Section<'_>, key: &'static str) -> PathBuf {
    let name = section.get(key, PathBuf::from(LOG), path);
    if name.file_name().is_none_or(|name| name != "mmrelay.log") {
        return name;
    }
    section.warning(key, format!("is MMRelay's log: `{LOG}` is used instead"));
    PathBuf::from(LOG)
}

fn component_levels(section: &mut Section<'_>) -> Vec<(Component, Level)> {
    let level = |part: Component| Some((part, section.value(part.into(), debug_level)?));
    Component::iter().filter_map(level).collect()
}

/// Returns a component's level; `true` is `debug`, `false` silence.
fn debug_level(node: &Node) -> Checked<Level> {
    match truth(scalar(node, "a word")?) {
        Some(true) => Ok(Level::Debug),
        Some(false) => Ok(Level::Off),
        None => choice(node),
    }
}

fn path(node: &Node) -> Checked<PathBuf> {
    let text = some_text(node)?;
    if text.contains('\0') {
        return Err(Wrong::new("is not a path").into());
    }
    if text == "~" || text.starts_with("~/") {
        let hint = "write the whole path, or one relative to the home directory";
        return Err(Wrong::new("`~` is not understood here").hint(hint).into());
    }
    Ok(PathBuf::from(text))
}
