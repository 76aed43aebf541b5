//! What commands do beside the daemon.

pub(crate) mod control;
pub(crate) mod doctor;
pub(crate) mod radio;
pub(crate) mod status;

use std::fmt::Write as _;

use relay_model::without_tricks;

/// Returns a text without what could play tricks on a terminal: names come from strangers.
pub(crate) fn printable(text: &str) -> String {
    without_tricks(text).collect()
}

/// Returns the line that tells what helps, in every command the same.
pub(crate) fn hint(cure: &str) -> String {
    format!("hint: {}", printable(cure))
}

/// Escapes in JSON what a terminal acts on: a message's, or a name's. The lines of the JSON itself stay.
pub(crate) fn escaped(json: &str) -> String {
    let mut safe = String::with_capacity(json.len());
    for character in json.chars() {
        if character != '\n' && printable(character.encode_utf8(&mut [0; 4])).is_empty() {
            // All of them are below U+10000; and writing to a string does not fail.
            let _ = write!(safe, "\\u{:04x}", u32::from(character));
        } else {
            safe.push(character);
        }
    }
    safe
}
