//! Reads `database`, `health` and `logging`.

use std::path::PathBuf;

use super::super::finding::Wrong;
use super::super::mmrelay;
use super::super::section::Section;
use super::super::values::{
    Checked, boolean, choice, choice_or_old_word, one_word, size, some_duration, some_text, truth,
    whole,
};
use super::super::yaml::Node;
use super::super::{Component, Database, Health, Level, LogFormat, Logging};

const LEVELS: &[(&str, Level)] = &[
    ("error", Level::Error),
    ("warn", Level::Warn),
    ("info", Level::Info),
    ("debug", Level::Debug),
    ("trace", Level::Trace),
    ("off", Level::Off),
];
/// MMRelay's words.
const OLD_LEVELS: &[(&str, Level)] = &[("warning", Level::Warn), ("critical", Level::Error)];
const FORMATS: &[(&str, LogFormat)] = &[("text", LogFormat::Text), ("json", LogFormat::Json)];
const COMPONENTS: &[(&str, Component)] = &[
    ("radio", Component::Radio),
    ("radio_log", Component::RadioLog),
    ("matrix", Component::Matrix),
    ("bridge", Component::Bridge),
    ("store", Component::Store),
    ("daemon", Component::Daemon),
    ("simulator", Component::Simulator),
    ("matrix_sdk", Component::MatrixSdk),
    ("http", Component::Http),
];

/// Reads the section `database`.
pub(in super::super) fn database(mut section: Section<'_, '_>) -> Database {
    mmrelay::take_database(&mut section);
    let mut database = Database::default();
    section.set("path", &mut database.path, path);
    section.set(
        "keep_days",
        &mut database.keep_days,
        whole(1..=36_500, " days"),
    );
    let mut msg_map = section.section("msg_map");
    mmrelay::take_msg_map(&mut msg_map);
    let pairs = whole(0..=100_000_000, " pairs");
    msg_map.set("msgs_to_keep", &mut database.msg_map.msgs_to_keep, pairs);
    msg_map.finish();
    section.finish();
    database
}

/// Reads the section `health`.
pub(in super::super) fn health(mut section: Section<'_, '_>) -> Health {
    let mut health = Health::default();
    section.set("radio_away", &mut health.radio_away, some_duration);
    section.finish();
    health
}

/// Reads the section `logging`.
pub(in super::super) fn logging(mut section: Section<'_, '_>) -> Logging {
    mmrelay::take_logging(&mut section);
    let mut logging = Logging::default();
    section.set("level", &mut logging.level, level);
    section.set("format", &mut logging.format, choice(FORMATS));
    section.set("log_to_file", &mut logging.log_to_file, boolean);
    section.set("filename", &mut logging.filename, path);
    if is_mmrelays_log(&logging.filename) {
        let default = Logging::default().filename;
        let sentence = format!("is MMRelay's log: `{}` is used instead", default.display());
        section.warning("filename", Wrong::new(sentence));
        logging.filename = default;
    }
    section.set("max_log_size", &mut logging.max_log_size, log_size);
    section.set(
        "backup_count",
        &mut logging.backup_count,
        whole(0..=1000, " files"),
    );
    section.set("color_enabled", &mut logging.color_enabled, boolean);
    let mut debug = section.section("debug");
    mmrelay::take_debug(&mut debug);
    for (name, component) in COMPONENTS {
        if let Some(level) = debug.value(name, debug_level) {
            logging.debug.push((*component, level));
        }
    }
    debug.finish();
    section.finish();
    logging
}

fn level(node: &Node) -> Checked<Level> {
    choice_or_old_word(LEVELS, OLD_LEVELS)(node)
}

/// Returns a component's level; `true` is `debug`, `false` silence.
fn debug_level(node: &Node) -> Checked<Level> {
    match truth(one_word(node)?) {
        Some(true) => Ok(Level::Debug),
        Some(false) => Ok(Level::Off),
        None => level(node),
    }
}

fn path(node: &Node) -> Checked<PathBuf> {
    let text = some_text(node)?;
    if text.contains('\0') {
        return Err(vec![Wrong::new("is not a path")]);
    }
    if text == "~" || text.starts_with("~/") {
        let wrong = Wrong::new("`~` is not understood here");
        return Err(vec![wrong.hint(
            "write the whole path, or one relative to the home directory",
        )]);
    }
    Ok(PathBuf::from(text))
}

fn log_size(node: &Node) -> Checked<u64> {
    let bytes = size(node)?;
    if !(1024..=1 << 40).contains(&bytes) {
        return Err(vec![Wrong::new("is out of range: 1 KiB to 1 TiB")]);
    }
    Ok(bytes)
}

fn is_mmrelays_log(path: &std::path::Path) -> bool {
    path.file_name().is_some_and(|name| name == "mmrelay.log")
}
