//! Reads `meshtastic`.

use std::path::PathBuf;
use std::time::Duration;

use strum::{Display, EnumString, VariantNames};

use super::super::finding::Wrong;
use super::super::secret::Secret;
use super::super::section::Section;
use super::super::template::Template;
use super::super::values::{
    Checked, boolean, choice, duration, hinted, list_of, node_num, one_or_list_of, one_word,
    port_num, secret, some_duration, some_text, template, text_or_none, whole,
};
use super::super::yaml::Node;
use super::super::{
    Backlog, ChannelUse, Connection, Edits, Feedback, LongMessages, Media, Meshtastic,
    MessageInteractions, OkToMqtt, Overflow, PacketRouting, ReactionStyle, SensorType,
};

#[derive(Clone, Copy, PartialEq, Eq, Display, EnumString, VariantNames)]
#[strum(serialize_all = "snake_case", ascii_case_insensitive)]
enum ConnectionType {
    /// `network` is MMRelay's old word.
    #[strum(to_string = "tcp", serialize = "network")]
    Tcp,
    Serial,
    Ble,
}

/// What people call them otherwise.
const OTHER_NAMES: &[(&str, &str)] = &[
    ("bluetooth", "ble"),
    ("bt", "ble"),
    ("usb", "serial"),
    ("lan", "tcp"),
    ("wifi", "tcp"),
];

/// What happens to packets that the radio could not decrypt: they are counted and forgotten.
#[derive(EnumString, VariantNames)]
#[strum(serialize_all = "snake_case", ascii_case_insensitive)]
enum EncryptedAction {
    /// `plugin_only` is MMRelay's word: there are no plugins to hand them to.
    #[strum(to_string = "drop", serialize = "plugin_only")]
    Drop,
}

const DM_REPLY: &str = "This node is a bridge to Matrix and cannot deliver private messages. \
                        Please write on the channel.";

/// Reads the section `meshtastic`.
pub(in super::super) fn meshtastic(it: &mut Section<'_>) -> Meshtastic {
    Meshtastic {
        connection: connection(it),
        meshnet_name: it.value("meshnet_name", some_text),
        message_interactions: message_interactions(it),
        reaction_style: it.get("reaction_style", ReactionStyle::Tapback, choice),
        broadcast_enabled: it.get("broadcast_enabled", true, boolean),
        detection_sensor: it.get("detection_sensor", true, boolean),
        detection_sensor_type: it.get("detection_sensor_type", SensorType::Text, choice),
        alert_mentions_room: it.get("alert_mentions_room", false, boolean),
        packet_routing: it.within("packet_routing", packet_routing),
        ignore_nodes: it.get("ignore_nodes", Vec::new(), list_of(node_num)),
        relay_mqtt: it.restricting("relay_mqtt", true, boolean),
        respect_ok_to_mqtt: it.restricting("respect_ok_to_mqtt", OkToMqtt::Off, choice),
        message_delay: message_delay(it),
        prefix_enabled: it.get("prefix_enabled", true, boolean),
        prefix_format: it.text("prefix_format", Template::of("{display5}[M]: "), template),
        long_messages: it.within("long_messages", |it| LongMessages {
            split: it.get("split", true, boolean),
            part_bytes: it.get("part_bytes", 200, whole(40..=232, " bytes")),
            max_parts: it.get("max_parts", 3, whole(1..=9, " parts")),
            overflow: it.get("overflow", Overflow::Refuse, choice),
        }),
        max_message_age: it.get("max_message_age", Duration::from_hours(1), some_duration),
        backlog: it.within("backlog", |it| Backlog {
            newest: it.get("newest", 20, whole(0..=1000, " messages")),
            spacing: it.get("spacing", Duration::from_secs(10), duration),
        }),
        channel_use: it.within("channel_use", channel_use),
        edits: it.get("edits", Edits::Resend, choice),
        media: it.get("media", Media::Note, choice),
        delivery_feedback: it.get("delivery_feedback", Feedback::Reactions, choice),
        dm_reply: it.text("dm_reply", Some(DM_REPLY.to_owned()), dm_reply),
        set_time: it.get("set_time", true, boolean),
    }
}

/// Returns the link; all its keys are read whatever its type, so that a switch of the type is one line.
fn connection(section: &mut Section<'_>) -> Connection {
    let why = "is required: `tcp`, `serial` or `ble`";
    let kind = section.required("connection_type", why, connection_type);
    let port = section.value("port", whole(1..=65_535, ""));
    let serial_port = section.value("serial_port", some_text).map(PathBuf::from);
    let ble_pin = section.value("ble_pin", pin);
    let why = "is required for `connection_type: tcp`";
    let host = match kind {
        Some(ConnectionType::Tcp) => section.required("host", why, host),
        Some(ConnectionType::Serial | ConnectionType::Ble) => section.value("host", some_text),
        None => section.value("host", host),
    };
    let why = "is required for `connection_type: ble`";
    let ble_address = match kind {
        Some(ConnectionType::Ble) => section.required("ble_address", why, some_text),
        Some(ConnectionType::Tcp | ConnectionType::Serial) | None => {
            section.value("ble_address", some_text)
        }
    };
    let keys = [
        ("host", ConnectionType::Tcp, host.is_some()),
        ("port", ConnectionType::Tcp, port.is_some()),
        ("serial_port", ConnectionType::Serial, serial_port.is_some()),
        ("ble_address", ConnectionType::Ble, ble_address.is_some()),
        ("ble_pin", ConnectionType::Ble, ble_pin.is_some()),
    ];
    for (key, owner, is_given) in keys {
        if let Some(kind) = kind.filter(|kind| is_given && *kind != owner) {
            let sentence = format!("does nothing with `connection_type: {kind}`");
            section.warning(key, sentence);
        }
    }
    if kind == Some(ConnectionType::Ble) && cfg!(not(feature = "ble")) {
        let sentence = "asks for Bluetooth, and this relay was built without it";
        let wrong = Wrong::new(sentence).hint("build it with the feature `ble`");
        section.problem("connection_type", wrong);
    }
    match kind {
        Some(ConnectionType::Serial) => Connection::Serial { serial_port },
        Some(ConnectionType::Ble) => Connection::Ble {
            ble_address: ble_address.unwrap_or_default(),
            ble_pin,
        },
        // Without a type the result is never used.
        Some(ConnectionType::Tcp) | None => Connection::Tcp {
            host: host.unwrap_or_default(),
            port: port.unwrap_or(Connection::TCP_PORT),
        },
    }
}

/// Returns how the radio is reached; another name of it is a mistake that names the right one.
fn connection_type(node: &Node) -> Checked<ConnectionType> {
    let word = one_word(node).unwrap_or_default().trim();
    let mut others = OTHER_NAMES.iter();
    match others.find(|(name, _)| name.eq_ignore_ascii_case(word)) {
        Some((_, meant)) => hinted(&format!("did you mean `{meant}`?"), choice(node)),
        None => choice(node),
    }
}

fn message_interactions(section: &mut Section<'_>) -> MessageInteractions {
    // MMRelay's old switch, for reactions alone.
    if section.is_given("relay_reactions") {
        section.reader.is_mmrelay = true;
    }
    let reactions = section.get("relay_reactions", true, boolean);
    section.within("message_interactions", |it| MessageInteractions {
        replies: it.get("replies", true, boolean),
        reactions: it.get("reactions", reactions, boolean),
    })
}

fn packet_routing(section: &mut Section<'_>) -> PacketRouting {
    let ports = one_or_list_of(port_num);
    let routing = PacketRouting {
        chat_portnums: section.get("chat_portnums", Vec::new(), &ports),
        disabled_portnums: section.get("disabled_portnums", Vec::new(), &ports),
    };
    section.value("encrypted_action", choice::<EncryptedAction>);
    routing
}

fn message_delay(section: &mut Section<'_>) -> Duration {
    let delay = section.get("message_delay", Duration::from_millis(2050), duration);
    if delay < Meshtastic::SHORTEST_DELAY {
        let sentence = "is raised to 2.02 s: the radio refuses texts that follow faster";
        section.warning("message_delay", sentence);
    }
    delay.max(Meshtastic::SHORTEST_DELAY)
}

fn channel_use(section: &mut Section<'_>) -> ChannelUse {
    let channel_use = ChannelUse {
        slow_above: section.get("slow_above", 25, whole(1..=100, " percent")),
        stop_above: section.get("stop_above", 40, whole(1..=100, " percent")),
    };
    if channel_use.slow_above > channel_use.stop_above {
        let sentence = "is less than `slow_above`: traffic would stop before it is slowed";
        section.problem("stop_above", Wrong::new(sentence));
    }
    channel_use
}

/// Returns a host's name or address.
fn host(node: &Node) -> Checked<String> {
    let text = some_text(node)?.trim().to_owned();
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    if bare.parse::<std::net::Ipv6Addr>().is_ok() {
        return Ok(bare.to_owned());
    }
    let wrong = Wrong::not(&text, "a host's name or address");
    let fits = |character: char| character.is_alphanumeric() || ".-_%".contains(character);
    if text.contains('/') {
        let hint = "write the name or address alone, as in `192.168.1.20`";
        Err(wrong.hint(hint).into())
    } else if text.contains(':') {
        let hint = "the port has a key of its own: `meshtastic.port`";
        Err(wrong.hint(hint).into())
    } else if text.len() > 253 || !text.chars().all(fits) {
        Err(wrong.into())
    } else {
        Ok(text)
    }
}

/// Returns a pairing PIN: up to six digits, leading zeros included.
fn pin(node: &Node) -> Checked<Secret<u32>> {
    let text = secret(node)?;
    let digits = text.reveal().trim();
    let is_pin = digits.len() <= 6 && digits.bytes().all(|it| it.is_ascii_digit());
    let pin = digits.parse().ok().filter(|_| is_pin);
    // What was written instead is not repeated.
    let pin = pin.ok_or_else(|| Wrong::new("is not a PIN of up to six digits"))?;
    Ok(Secret::new(pin))
}

/// Returns the answer to a direct message, which must fit into one packet.
fn dm_reply(node: &Node) -> Checked<Option<String>> {
    const MOST: usize = 200;
    let reply = text_or_none(node)?;
    let bytes = reply.as_ref().map_or(0, String::len);
    if bytes > MOST {
        let sentence = format!("has {bytes} bytes, and a packet takes {MOST}");
        return Err(Wrong::new(sentence).into());
    }
    Ok(reply)
}

#[cfg(test)]
mod tests {
    use super::super::super::{Config, Connection, Secret};

    fn connection(keys: &str) -> Result<Connection, String> {
        let rooms = r#"matrix_rooms: [{id: "!a:example.org", meshtastic_channel: 0}]"#;
        let loaded = Config::from_yaml(&format!("{rooms}\nmeshtastic: {{{keys}}}\n"));
        loaded
            .map(|loaded| loaded.config.meshtastic.connection)
            .map_err(|problems| problems.to_string())
    }

    #[test]
    fn bluetooth_is_a_connection_where_it_is_built_in_and_a_mistake_elsewhere() {
        let keys = "connection_type: ble, ble_address: BASE_1234, ble_pin: 012345";
        let connection = connection(keys);
        if cfg!(feature = "ble") {
            let expected = Connection::Ble {
                ble_address: "BASE_1234".to_owned(),
                ble_pin: Some(Secret::new(12_345)),
            };
            assert_eq!(connection, Ok(expected));
        } else {
            let sentence = connection.unwrap_err();
            assert!(sentence.contains("built without"), "{sentence}");
        }
    }

    #[test]
    fn other_names_of_a_connection_lead_to_the_right_one() {
        for (word, meant) in [
            ("Bluetooth", "ble"),
            ("usb", "serial"),
            ("wifi", "tcp"),
            ("LAN", "tcp"),
            ("serail", "serial"),
        ] {
            let sentence = connection(&format!("connection_type: {word}")).unwrap_err();
            let hint = format!("did you mean `{meant}`?");
            assert!(sentence.contains(&hint), "{sentence}");
        }
    }

    #[test]
    fn keys_of_other_connections_are_a_warning_each() {
        let all = "host: radio, port: 4403, serial_port: /dev/ttyUSB0, ble_address: Base, ble_pin: 123456";
        let cases: [(&str, &[&str]); 3] = [
            ("tcp", &["serial_port", "ble_address", "ble_pin"]),
            ("serial", &["host", "port", "ble_address", "ble_pin"]),
            ("ble", &["host", "port", "serial_port"]),
        ];
        for (kind, idle) in cases {
            if kind == "ble" && cfg!(not(feature = "ble")) {
                continue;
            }
            let rooms = r#"matrix_rooms: [{id: "!a:example.org", meshtastic_channel: 0}]"#;
            let keys = format!("{rooms}\nmeshtastic: {{connection_type: {kind}, {all}}}\n");
            let loaded = Config::from_yaml(&keys).unwrap();
            let warned: Vec<&str> = loaded.warnings.iter().map(|it| it.key.as_str()).collect();
            let idle: Vec<String> = idle.iter().map(|key| format!("meshtastic.{key}")).collect();
            assert_eq!(warned, idle);
        }
    }

    #[test]
    fn what_is_no_pin_is_not_repeated() {
        for pin in ["1234567", "12a456", "-12345", "+12345", "' '"] {
            let keys = format!("connection_type: tcp, host: a.example.org, ble_pin: {pin}");
            let sentence = connection(&keys).unwrap_err();
            assert!(sentence.contains("is not a PIN"), "{sentence}");
            assert!(!sentence.contains(pin.trim_matches('\'').trim()) || pin == "' '");
        }
    }
}
