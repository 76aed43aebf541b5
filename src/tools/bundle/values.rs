//! The configuration and the daemon's answers, without what tells who and where somebody is.

use serde_json::{Map, Value, json};

use super::kind::Kind;
use super::lines::named;
use super::redact::{GONE, Redactor};
use relay_config::{Connection, Setting};

/// Names of channels that the firmware gives itself.
const PRESETS: [&str; 10] = [
    "LongFast",
    "LongSlow",
    "LongMod",
    "LongTurbo",
    "MediumFast",
    "MediumSlow",
    "ShortFast",
    "ShortSlow",
    "ShortTurbo",
    "VLongSlow",
];

/// Keys of an answer whose texts are words of ours.
const OURS: [&str; 9] = [
    "version",
    "started_at",
    "type",
    "state",
    "firmware",
    "device_trust",
    "result",
    "reason",
    "kind",
];

/// Returns a key of the configuration in a line.
pub(super) fn setting(setting: &Setting, redactor: &mut Redactor) -> String {
    let Setting { key, value, origin } = setting;
    let value = match (value, origin) {
        (None, _) => "not set".to_owned(),
        (Some(value), None) => value.clone(),
        (Some(value), Some(_)) => given(key, value, redactor),
    };
    let from = origin.as_ref().map(|origin| match origin.split_once(':') {
        // The file may have a name of its own.
        Some((_, place)) => format!("  (line {})", place.split(':').next().unwrap_or_default()),
        None => format!("  ({origin})"),
    });
    format!("{key}: {value}{}", from.unwrap_or_default())
}

/// Returns what is shown of a value that somebody has given.
fn given(key: &str, value: &str, redactor: &mut Redactor) -> String {
    let bare = value.trim_matches('"');
    match key.rsplit('.').next().unwrap_or(key) {
        "host" | "homeserver" => redactor.placeholder(Kind::Host, &host_of(bare)),
        "port" => port(bare, redactor),
        "serial_port" | "path" | "filename" | "avatar" => redactor.placeholder(Kind::Path, bare),
        "ble_address" => redactor.placeholder(Kind::Address, bare),
        "meshnet_name" => redactor.placeholder(Kind::Mesh, bare),
        "meshtastic_channel" => channel(bare, redactor),
        "id" => redactor.placeholder(Kind::Room, bare),
        "bot_user_id" => redactor.placeholder(Kind::User, bare),
        "prefix_format" | "reaction_format" | "name_format" => template(value),
        "display_name" => GONE.to_owned(),
        "dm_reply" | "command_prefix" | "off_air_prefix" if bare.chars().count() > 2 => {
            GONE.to_owned()
        }
        "allowed_users" | "ignored_users" | "trusted_relays" | "verify_with" | "ignore_nodes"
        | "invites" => people(value, redactor),
        _ => redactor.redact(value),
    }
}

/// Returns the host of an address, without its port.
pub(super) fn host_of(address: &str) -> String {
    let (_, host) = address.split_once("://").unwrap_or(("", address));
    let host = host.split(['/', '?']).next().unwrap_or(host);
    let host = host.rsplit('@').next().unwrap_or(host);
    match host.rsplit_once(':') {
        Some((name, port)) if !name.ends_with(':') && port.parse::<u16>().is_ok() => name,
        _ => host,
    }
    .trim_matches(['[', ']'])
    .to_owned()
}

fn port(value: &str, redactor: &mut Redactor) -> String {
    if value.parse() == Ok(Connection::TCP_PORT) {
        return value.to_owned();
    }
    redactor.placeholder(Kind::Port, value)
}

fn channel(value: &str, redactor: &mut Redactor) -> String {
    if is_public(value) {
        return value.to_owned();
    }
    redactor.placeholder(Kind::Channel, value)
}

/// Returns whether the name of a channel, or its number, is nobody's.
pub(super) fn is_public(channel: &str) -> bool {
    channel.parse::<u8>().is_ok() || PRESETS.contains(&channel)
}

/// Keeps what a template does, not the words in it.
fn template(value: &str) -> String {
    let (mut told, mut is_inside, mut is_gone) = (String::new(), false, false);
    for character in value.chars() {
        is_inside = match character {
            '{' => true,
            '}' => false,
            _ => is_inside,
        };
        let is_kept = is_inside || !character.is_alphanumeric();
        if is_kept {
            told.push(character);
        } else if !is_gone {
            told.push_str(GONE);
        }
        is_gone = !is_kept;
    }
    told
}

/// A list of users or nodes, or a word of ours.
fn people(value: &str, redactor: &mut Redactor) -> String {
    if ["mapped", "none", "[]"].contains(&value) {
        return value.to_owned();
    }
    let redacted = redactor.redact(value);
    let items = redacted.trim_matches(['[', ']']).split(',').map(|item| {
        let item = item.trim().trim_matches(['"', '\'']);
        let is_placeholder = item.starts_with("user-") || item.starts_with("node-");
        if is_placeholder { item } else { GONE }.to_owned()
    });
    format!("[{}]", items.collect::<Vec<_>>().join(", "))
}

/// Returns an answer of the daemon; the names of its keys stay.
pub(super) fn answer(value: &Value, redactor: &mut Redactor) -> Value {
    match value {
        Value::Object(fields) => {
            let fields = fields.iter().map(|(key, value)| {
                let value = field(fields, key, value, redactor);
                (key.clone(), value)
            });
            Value::Object(fields.collect())
        }
        Value::Array(items) => items.iter().map(|it| answer(it, redactor)).collect(),
        Value::String(text) => json!(redactor.redact(text)),
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    }
}

fn field(fields: &Map<String, Value>, key: &str, value: &Value, redactor: &mut Redactor) -> Value {
    match (key, value) {
        ("port", Value::Number(number)) => json!(port(&number.to_string(), redactor)),
        ("port", Value::String(path)) => json!(redactor.placeholder(Kind::Path, path)),
        // Of the checks: a word of ours.
        ("name", Value::String(_)) if fields.contains_key("result") => value.clone(),
        ("name", Value::String(name)) if fields.contains_key("channel") => {
            json!(channel(name, redactor))
        }
        ("channels", Value::Array(channels)) => {
            let told = |it: &Value| match it {
                Value::String(name) => json!(channel(name, redactor)),
                other => answer(other, redactor),
            };
            channels.iter().map(told).collect()
        }
        (_, Value::String(text)) if OURS.contains(&key) && is_word(text) => value.clone(),
        (_, Value::String(text)) => json!(named(key, text, redactor)),
        _ => answer(value, redactor),
    }
}

fn is_word(text: &str) -> bool {
    let is_part = |it: char| it.is_ascii_alphanumeric() || "._:-+".contains(it);
    text.len() <= 40 && text.chars().all(is_part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_value_that_is_given_only_what_tells_nobody_is_shown() {
        let mut redactor = Redactor::new();
        for (key, value, told) in [
            ("meshtastic.host", "radio", "host-1"),
            (
                "matrix.homeserver",
                "https://matrix.example.org:8448/x",
                "host-2",
            ),
            ("meshtastic.port", "4403", "4403"),
            ("meshtastic.port", "4404", "port-1"),
            ("meshtastic.serial_port", "/dev/ttyUSB0", "path-1"),
            ("meshtastic.ble_address", "Base_1234", "address-1"),
            ("matrix_rooms[0].meshtastic_channel", "3", "3"),
            ("matrix_rooms[0].meshtastic_channel", "LongFast", "LongFast"),
            ("matrix_rooms[0].meshtastic_channel", "Family", "channel-1"),
            ("matrix_rooms[0].id", "#hiking:example.org", "room-1"),
            (
                "matrix.prefix_format",
                "\"[Club {long}]: \"",
                "\"[… {long}]: \"",
            ),
            (
                "matrix.allowed_users",
                "['@*:example.org', bob]",
                "[user-1, …]",
            ),
            ("matrix.invites", "mapped", "mapped"),
            ("matrix.display_name", "Klub", "…"),
            ("matrix_rooms[0].avatar", "/srv/klub.png", "path-2"),
            ("meshtastic.dm_reply", "call 555 1234", "…"),
            ("meshtastic.max_message_age", "1h30m", "1h30m"),
            ("matrix.password", "…", "…"),
        ] {
            assert_eq!(given(key, value, &mut redactor), told, "{key}: {value}");
        }
    }

    #[test]
    fn an_answer_keeps_its_keys_numbers_and_our_words() {
        let mut redactor = Redactor::new();
        redactor.know(Kind::Room, ["!abc:example.org", "The Club"]);
        let said = json!({
            "radio": {"connection": {"type": "tcp", "host": "10.0.0.7", "port": 4404},
                      "state": "ready", "firmware": "2.7.15.567b8ea", "name": "Base Camp", "for_seconds": 12},
            "rooms": [{"room": "!abc:example.org", "name": "The Club", "channels": ["0", "Family"]}],
            "channels": [{"channel": 0, "name": "LongFast"}],
            "checks": [{"name": "radio", "result": "ok", "text": "10.0.0.7:4404 is away"}],
        });
        let told = json!({
            "radio": {"connection": {"type": "tcp", "host": "host-1", "port": "port-1"},
                      "state": "ready", "firmware": "2.7.15.567b8ea", "name": "name-1", "for_seconds": 12},
            "rooms": [{"room": "room-1", "name": "room-1", "channels": ["0", "channel-1"]}],
            "channels": [{"channel": 0, "name": "LongFast"}],
            "checks": [{"name": "radio", "result": "ok", "text": "host-1 is away"}],
        });
        assert_eq!(answer(&said, &mut redactor), told);
    }
}
