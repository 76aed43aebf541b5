//! `database`, `health`, `logging`: how the daemon runs.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;
use strum::{EnumIter, IntoEnumIterator as _, IntoStaticStr};

use super::choice::{Choice as _, choices};
use super::finding::Wrong;
use super::keys::keys;
use super::section::{Line, Section};
use super::value_types::{
    ValueDoc, ValueType, boolean, choice, path, size, some_duration, truth, whole,
};
use super::values::{self, scalar, structured};
use super::yaml::{Node, Value};

const LOG: &str = "logs/relay.log";
const DATABASE: &str = "database/relay.sqlite";

keys! {
    /// The section `database`.
    pub Database {
        /// The file.
        #[changed = "needs a restart"]
        path: PathBuf = by(|it, key| own_path(it, key, DATABASE, "meshtastic.sqlite"));
        /// Days for which messages are remembered, so that replies find them and nothing comes twice.
        keep_days: u32 = get("30", whole(1..=36_500, " days"));
        /// What is remembered of messages.
        msg_map: MsgMap = within(MsgMap::read);
    }

    /// The map of packets and events.
    #[derive(Copy, Eq)]
    pub MsgMap {
        /// So many messages are remembered even when they are older than `keep_days`; 0: all of them, for ever.
        #[wrong = "is left out"]
        msgs_to_keep: u64 = get("500", whole(0..=100_000_000, " pairs"));
    }

    /// The section `health`.
    #[derive(Copy, Eq)]
    pub Health {
        /// After how long without the radio `relay doctor --quick` says unhealthy.
        radio_away: Duration = get("10m", some_duration());
    }

    /// The section `logging`.
    pub Logging {
        /// How much is logged.
        #[wrong = "is left out"]
        level: Level = get("info", choice());
        /// In which form.
        format: LogFormat = get("text", choice());
        /// Whether it is also logged to a file.
        #[wrong = "is left out"]
        log_to_file: bool = get("false", boolean());
        /// That file.
        filename: PathBuf = by(|it, key| own_path(it, key, LOG, "mmrelay.log"));
        /// The size at which a new file is begun.
        #[wrong = "is left out"]
        max_log_size: u64 = get("5 MiB", size());
        /// So many old files are kept.
        #[wrong = "is left out"]
        backup_count: usize = get("5", whole(0..=1000, " files"));
        /// Whether there is colour on a terminal; the variable `NO_COLOR` switches it off too.
        #[wrong = "is left out"]
        color_enabled: bool = get("true", boolean());
        /// Levels of single parts; `true` is `debug`, `false` is `off`. What libraries (`matrix_sdk`, `http`) say of messages
        /// and of strangers is told at `trace` only.
        #[wrong = "is left out"]
        debug: Vec<(Component, Level)> = by(component_levels);
    }
}

choices! {
    /// How much is logged; `warning` and `critical` are MMRelay's words.
    #[derive(IntoStaticStr)]
    pub Level {
        /// A person must act.
        #[strum(to_string = "error", serialize = "critical")]
        Error,
        /// Something was dropped, or recovered from.
        #[strum(to_string = "warn", serialize = "warning")]
        Warn,
        /// State changes.
        Info,
        /// Each message, without its text.
        Debug,
        /// Bytes and texts.
        Trace,
        /// Nothing.
        Off,
    }

    /// In which form the log is written.
    pub LogFormat {
        /// For people.
        Text,
        /// One JSON object a line.
        Json,
    }

    /// A part of the program whose level can be set on its own.
    #[derive(EnumIter, IntoStaticStr)]
    pub Component {
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
}

impl Database {
    /// What stands in the header of our database, so that nobody else's is taken for it: `RLAY`.
    pub const APPLICATION_ID: u32 = 0x524C_4159;
}

/// Reads a path; in place of one that ends with this name of a file of MMRelay's the default is used.
fn own_path(
    section: &mut Section<'_>,
    key: &'static str,
    default: &'static str,
    theirs: &'static str,
) -> PathBuf {
    let ValueType { read, doc } = path();
    let doc = move || {
        let ours = doc();
        let name = theirs.replace('.', r"\.");
        let pattern = json!({ "type": "string", "pattern": format!("(^|/){name}$") });
        ValueDoc::new(ours.text, json!({ "anyOf": [ours.schema, pattern] }))
    };
    let (read_ours, doc) = (read, Box::new(doc));
    let read = move |node: &Node| {
        let is_theirs = scalar(node, "a path").is_ok_and(|it| Path::new(it).ends_with(theirs));
        if is_theirs {
            return Ok(None);
        }
        read_ours(node).map(Some)
    };
    let read = Box::new(read);
    section
        .get(key, default, ValueType { read, doc })
        .unwrap_or_else(|| {
            section.reader.is_mmrelay = true;
            section.warning(key, format!("is MMRelay's: `{default}` is used instead"));
            PathBuf::from(default)
        })
}

fn component_levels(section: &mut Section<'_>, key: &'static str) -> Vec<(Component, Level)> {
    section.leave_out_wrong(key, None, &|node: &Node| match structured(node)?.value {
        Value::Map(_) => Ok(()),
        _ => Err(Wrong::new("expected a mapping of keys to values").into()),
    });
    section.within(key, levels)
}

fn levels(section: &mut Section<'_>) -> Vec<(Component, Level)> {
    let level = |(part, about): (Component, &&'static str)| {
        let (old, example) = match part {
            Component::Radio => (Some("meshtastic"), "debug"),
            Component::MatrixSdk => (Some("matrix_nio"), "warn"),
            Component::Http => (None, "warn"),
            _ => (None, "debug"),
        };
        section.line(Line {
            key: part.into(),
            about,
            old,
            is_lenient: old.is_some(),
        });
        Some((part, section.value(part.into(), example, debug_level())?))
    };
    let parts = Component::iter().zip(Component::MEANINGS);
    parts.filter_map(level).collect()
}

/// A component's level; `true` is `debug`, `false` silence.
fn debug_level() -> ValueType<Level> {
    let doc = || {
        let words = ValueDoc::choice::<Level>();
        let text = "a level, `true` or `false`";
        ValueDoc::new(text, words.or(&truth()).schema)
    };
    ValueType::new(doc, |node| match values::truth(scalar(node, "a word")?) {
        Some(true) => Ok(Level::Debug),
        Some(false) => Ok(Level::Off),
        None => values::choice(node),
    })
}
