//! Reads `database`, `health` and `logging`.

use std::path::PathBuf;
use std::time::Duration;

use strum::IntoEnumIterator as _;

use super::super::finding::Wrong;
use super::super::section::Section;
use super::super::values::{
    Checked, boolean, choice, one_word, size, some_duration, some_text, truth, whole,
};
use super::super::yaml::Node;
use super::super::{Component, Database, Health, Level, LogFormat, Logging, MsgMap};

const LOG: &str = "logs/relay.log";

/// Reads the section `database`.
pub(in super::super) fn database(it: &mut Section<'_>) -> Database {
    Database {
        path: it.get("path", PathBuf::from("database/relay.sqlite"), path),
        keep_days: it.get("keep_days", 30, whole(1..=36_500, " days")),
        msg_map: it.within("msg_map", |it| MsgMap {
            msgs_to_keep: it.get("msgs_to_keep", 500, whole(0..=100_000_000, " pairs")),
        }),
    }
}

/// Reads the section `health`.
pub(in super::super) fn health(it: &mut Section<'_>) -> Health {
    Health {
        radio_away: it.get("radio_away", Duration::from_mins(10), some_duration),
    }
}

/// Reads the section `logging`.
pub(in super::super) fn logging(it: &mut Section<'_>) -> Logging {
    Logging {
        level: it.get("level", Level::Info, choice),
        format: it.get("format", LogFormat::Text, choice),
        log_to_file: it.get("log_to_file", false, boolean),
        filename: filename(it),
        max_log_size: it.get("max_log_size", 5 * 1024 * 1024, size),
        backup_count: it.get("backup_count", 5, whole(0..=1000, " files")),
        color_enabled: it.get("color_enabled", true, boolean),
        debug: it.within("debug", |it| {
            let level = |part: Component| Some((part, it.value(part.into(), debug_level)?));
            Component::iter().filter_map(level).collect()
        }),
    }
}

fn filename(section: &mut Section<'_>) -> PathBuf {
    let name = section.get("filename", PathBuf::from(LOG), path);
    if name.file_name().is_none_or(|name| name != "mmrelay.log") {
        return name;
    }
    section.warning(
        "filename",
        format!("is MMRelay's log: `{LOG}` is used instead"),
    );
    PathBuf::from(LOG)
}

/// Returns a component's level; `true` is `debug`, `false` silence.
fn debug_level(node: &Node) -> Checked<Level> {
    match truth(one_word(node)?) {
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
