//! The work of commands that run beside the daemon.

pub(crate) mod backup;
pub(crate) mod bundle;
pub(crate) mod control;
pub(crate) mod doctor;
pub(crate) mod import;
pub(crate) mod moving;
pub(crate) mod pictures;
pub(crate) mod radio;
#[cfg_attr(windows, path = "service_windows.rs")]
pub(crate) mod service;
pub(crate) mod status;
pub(crate) mod trace;

use std::fmt::Write as _;
use std::path::PathBuf;

use crate::home::Home;
use relay_config::{Config, Database};
use relay_model::without_tricks;

/// Returns where the database of a home is.
fn database_of(home: &Home, config: &Config) -> PathBuf {
    let named = &config.database.path;
    home.database(named, Database::APPLICATION_ID).path
}

/// Escapes what could manipulate a terminal: names come from strangers.
pub(crate) fn printable(text: &str) -> String {
    without_tricks(text).collect()
}

/// Returns the hint's line, the same for every command.
pub(crate) fn hint(cure: &str) -> String {
    format!("hint: {}", printable(cure))
}

/// Escapes in JSON what a terminal interprets, in texts and names. Newlines between JSON values stay.
pub(crate) fn escaped(json: &str) -> String {
    let mut safe = String::with_capacity(json.len());
    for character in json.chars() {
        if character != '\n' && printable(character.encode_utf8(&mut [0; 4])).is_empty() {
            // All of them are below U+10000; and writing to a string cannot fail.
            let _ = write!(safe, "\\u{:04x}", u32::from(character));
        } else {
            safe.push(character);
        }
    }
    safe
}
