//! Reads `meshtastic`.

use std::path::PathBuf;

use super::super::finding::{Wrong, quoted};
use super::super::mmrelay;
use super::super::secret::Secret;
use super::super::section::Section;
use super::super::values::{
    Checked, boolean, choice, choice_or_old_word, duration, list_of, node_num, one_or_list_of,
    one_word, port_num, secret, some_duration, some_text, text_or_none, whole,
};
use super::super::yaml::Node;
use super::super::{
    Connection, Edits, EncryptedAction, Feedback, Media, Meshtastic, OkToMqtt, Overflow,
    ReactionStyle, SensorType,
};
use super::matrix::template;

#[derive(Clone, Copy)]
enum ConnectionType {
    Tcp,
    Serial,
    Ble,
}

const CONNECTION_TYPES: &[(&str, ConnectionType)] = &[
    ("tcp", ConnectionType::Tcp),
    ("serial", ConnectionType::Serial),
    ("ble", ConnectionType::Ble),
];
/// What people call them otherwise.
const OTHER_NAMES: &[(&str, &str)] = &[
    ("bluetooth", "ble"),
    ("bt", "ble"),
    ("usb", "serial"),
    ("lan", "tcp"),
    ("wifi", "tcp"),
];
/// MMRelay's old word.
const OLD_CONNECTION_TYPES: &[(&str, ConnectionType)] = &[("network", ConnectionType::Tcp)];
const REACTION_STYLES: &[(&str, ReactionStyle)] = &[
    ("tapback", ReactionStyle::Tapback),
    ("text", ReactionStyle::Text),
];
const SENSOR_TYPES: &[(&str, SensorType)] =
    &[("text", SensorType::Text), ("notice", SensorType::Notice)];
const ENCRYPTED_ACTIONS: &[(&str, EncryptedAction)] = &[("drop", EncryptedAction::Drop)];
/// MMRelay's word: there are no plugins to hand them to.
const OLD_ENCRYPTED_ACTIONS: &[(&str, EncryptedAction)] = &[("plugin_only", EncryptedAction::Drop)];
const OK_TO_MQTT: &[(&str, OkToMqtt)] = &[
    ("false", OkToMqtt::Off),
    ("public_rooms", OkToMqtt::PublicRooms),
    ("true", OkToMqtt::Always),
];
const OVERFLOWS: &[(&str, Overflow)] = &[("refuse", Overflow::Refuse), ("cut", Overflow::Cut)];
const EDITS: &[(&str, Edits)] = &[
    ("resend", Edits::Resend),
    ("queued", Edits::Queued),
    ("ignore", Edits::Ignore),
];
const MEDIA: &[(&str, Media)] = &[("note", Media::Note), ("ignore", Media::Ignore)];
const FEEDBACK: &[(&str, Feedback)] = &[
    ("reactions", Feedback::Reactions),
    ("failures", Feedback::Failures),
    ("off", Feedback::Off),
];

/// Reads the section `meshtastic`.
pub(in super::super) fn meshtastic(mut section: Section<'_, '_>) -> Meshtastic {
    mmrelay::take_meshtastic(&mut section);
    let mut meshtastic = Meshtastic::new(connection(&mut section));
    let it = &mut meshtastic;
    section.set("meshnet_name", &mut it.meshnet_name, |node| {
        some_text(node).map(Some)
    });
    // MMRelay's old switch, for reactions alone.
    if section.is_given("relay_reactions") {
        section.reader().note_mmrelay();
    }
    section.set(
        "relay_reactions",
        &mut it.message_interactions.reactions,
        boolean,
    );
    let mut interactions = section.section("message_interactions");
    interactions.set("replies", &mut it.message_interactions.replies, boolean);
    interactions.set("reactions", &mut it.message_interactions.reactions, boolean);
    interactions.finish();
    section.set(
        "reaction_style",
        &mut it.reaction_style,
        choice(REACTION_STYLES),
    );
    section.set("broadcast_enabled", &mut it.broadcast_enabled, boolean);
    section.set("detection_sensor", &mut it.detection_sensor, boolean);
    section.set(
        "detection_sensor_type",
        &mut it.detection_sensor_type,
        choice(SENSOR_TYPES),
    );
    section.set("alert_mentions_room", &mut it.alert_mentions_room, boolean);
    from_the_mesh(&mut section, it);
    to_the_mesh(&mut section, it);
    section.set("set_time", &mut it.set_time, boolean);
    section.finish();
    meshtastic
}

/// Returns the link; all its keys are read whatever its type, so that a switch of the type is one line.
fn connection(section: &mut Section<'_, '_>) -> Connection {
    let why = "is required: `tcp`, `serial` or `ble`";
    let kind = section.required("connection_type", why, connection_type);
    let port = section.value("port", whole(1..=65_535, ""));
    let serial_port = section.value("serial_port", some_text).map(PathBuf::from);
    let ble_pin = section.value("ble_pin", pin);
    match kind {
        Some(ConnectionType::Serial) => {
            let host = section.value("host", some_text);
            let ble_address = section.value("ble_address", some_text);
            let idle = [
                ("host", host.is_some()),
                ("port", port.is_some()),
                ("ble_address", ble_address.is_some()),
                ("ble_pin", ble_pin.is_some()),
            ];
            warn_of_idle(section, "serial", &idle);
            Connection::Serial { serial_port }
        }
        Some(ConnectionType::Ble) => {
            let host = section.value("host", some_text);
            let idle = [
                ("host", host.is_some()),
                ("port", port.is_some()),
                ("serial_port", serial_port.is_some()),
            ];
            warn_of_idle(section, "ble", &idle);
            if cfg!(not(feature = "ble")) {
                let sentence = "asks for Bluetooth, and this relay was built without it";
                let wrong = Wrong::new(sentence).hint("build it with the feature `ble`");
                section.problem("connection_type", wrong);
            }
            let why = "is required for `connection_type: ble`";
            let ble_address = section.required("ble_address", why, some_text);
            Connection::Ble {
                ble_address: ble_address.unwrap_or_default(),
                ble_pin,
            }
        }
        Some(ConnectionType::Tcp) => {
            let ble_address = section.value("ble_address", some_text);
            let idle = [
                ("serial_port", serial_port.is_some()),
                ("ble_address", ble_address.is_some()),
                ("ble_pin", ble_pin.is_some()),
            ];
            warn_of_idle(section, "tcp", &idle);
            let why = "is required for `connection_type: tcp`";
            let host = section.required("host", why, host).unwrap_or_default();
            let port = port.unwrap_or(Connection::TCP_PORT);
            Connection::Tcp { host, port }
        }
        None => {
            section.value("ble_address", some_text);
            let host = section.value("host", host).unwrap_or_default();
            let port = port.unwrap_or(Connection::TCP_PORT);
            Connection::Tcp { host, port }
        }
    }
}

/// Returns how the radio is reached; another name of it is a mistake that names the right one.
fn connection_type(node: &Node) -> Checked<ConnectionType> {
    choice_or_old_word(CONNECTION_TYPES, OLD_CONNECTION_TYPES)(node).map_err(|mut all| {
        let word = one_word(node).unwrap_or_default().trim();
        let is_meant = |(name, _): &&(&str, &str)| name.eq_ignore_ascii_case(word);
        if let Some((_, meant)) = OTHER_NAMES.iter().find(is_meant) {
            for wrong in &mut all {
                wrong.hint = Some(format!("did you mean `{meant}`?"));
            }
        }
        all
    })
}

/// Warns of the keys that are given and belong to another type of connection.
fn warn_of_idle(section: &Section<'_, '_>, kind: &str, keys: &[(&str, bool)]) {
    for (key, _) in keys.iter().filter(|(_, given)| *given) {
        let sentence = format!("does nothing with `connection_type: {kind}`");
        section.warning(key, Wrong::new(sentence));
    }
}

fn from_the_mesh(section: &mut Section<'_, '_>, it: &mut Meshtastic) {
    let mut routing = section.section("packet_routing");
    let ports = one_or_list_of(port_num);
    routing.set(
        "chat_portnums",
        &mut it.packet_routing.chat_portnums,
        &ports,
    );
    routing.set(
        "disabled_portnums",
        &mut it.packet_routing.disabled_portnums,
        &ports,
    );
    let actions = choice_or_old_word(ENCRYPTED_ACTIONS, OLD_ENCRYPTED_ACTIONS);
    routing.set(
        "encrypted_action",
        &mut it.packet_routing.encrypted_action,
        actions,
    );
    routing.finish();
    section.set("ignore_nodes", &mut it.ignore_nodes, list_of(node_num));
    section.set_restricting("relay_mqtt", &mut it.relay_mqtt, boolean);
    let ok_to_mqtt = choice(OK_TO_MQTT);
    section.set_restricting("respect_ok_to_mqtt", &mut it.respect_ok_to_mqtt, ok_to_mqtt);
}

fn to_the_mesh(section: &mut Section<'_, '_>, it: &mut Meshtastic) {
    section.set("message_delay", &mut it.message_delay, duration);
    if it.message_delay < Meshtastic::SHORTEST_DELAY {
        it.message_delay = Meshtastic::SHORTEST_DELAY;
        let sentence = "is raised to 2.02 s: the radio refuses texts that follow faster";
        section.warning("message_delay", Wrong::new(sentence));
    }
    section.set("prefix_enabled", &mut it.prefix_enabled, boolean);
    section.set_text("prefix_format", &mut it.prefix_format, template);
    let mut long = section.section("long_messages");
    long.set("split", &mut it.long_messages.split, boolean);
    long.set(
        "part_bytes",
        &mut it.long_messages.part_bytes,
        whole(40..=232, " bytes"),
    );
    long.set(
        "max_parts",
        &mut it.long_messages.max_parts,
        whole(1..=9, " parts"),
    );
    long.set(
        "overflow",
        &mut it.long_messages.overflow,
        choice(OVERFLOWS),
    );
    long.finish();
    section.set("max_message_age", &mut it.max_message_age, some_duration);
    let mut backlog = section.section("backlog");
    backlog.set(
        "newest",
        &mut it.backlog.newest,
        whole(0..=1000, " messages"),
    );
    backlog.set("spacing", &mut it.backlog.spacing, duration);
    backlog.finish();
    channel_use(section, it);
    section.set("edits", &mut it.edits, choice(EDITS));
    section.set("media", &mut it.media, choice(MEDIA));
    section.set(
        "delivery_feedback",
        &mut it.delivery_feedback,
        choice(FEEDBACK),
    );
    section.set_text("dm_reply", &mut it.dm_reply, dm_reply);
}

fn channel_use(section: &mut Section<'_, '_>, it: &mut Meshtastic) {
    let mut channel_use = section.section("channel_use");
    let percent = whole(1..=100, " percent");
    channel_use.set("slow_above", &mut it.channel_use.slow_above, &percent);
    channel_use.set("stop_above", &mut it.channel_use.stop_above, &percent);
    if it.channel_use.slow_above > it.channel_use.stop_above {
        let sentence = "is less than `slow_above`: traffic would stop before it is slowed";
        channel_use.problem("stop_above", Wrong::new(sentence));
    }
    channel_use.finish();
}

/// Returns a host's name or address.
fn host(node: &Node) -> Checked<String> {
    let text = some_text(node)?.trim().to_owned();
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    if bare.parse::<std::net::Ipv6Addr>().is_ok() {
        return Ok(bare.to_owned());
    }
    let wrong = Wrong::new(format!("{} is not a host's name or address", quoted(&text)));
    if text.contains("://") || text.contains('/') {
        return Err(vec![
            wrong.hint("write the name or address alone, as in `192.168.1.20`"),
        ]);
    }
    if text.contains(':') {
        return Err(vec![
            wrong.hint("the port has a key of its own: `meshtastic.port`"),
        ]);
    }
    let fits = |character: char| character.is_alphanumeric() || ".-_%".contains(character);
    if text.len() > 253 || !text.chars().all(fits) {
        return Err(vec![wrong]);
    }
    Ok(text)
}

/// Returns a pairing PIN: up to six digits, leading zeros included.
fn pin(node: &Node) -> Checked<Secret<u32>> {
    let text = secret(node)?;
    let digits = text.reveal().trim();
    let is_pin = digits.len() <= 6 && digits.bytes().all(|it| it.is_ascii_digit());
    let pin = digits.parse().ok().filter(|_| is_pin);
    // What was written instead is not repeated.
    pin.map(Secret::new)
        .ok_or_else(|| vec![Wrong::new("is not a PIN of up to six digits")])
}

/// Returns the answer to a direct message, which must fit into one packet.
fn dm_reply(node: &Node) -> Checked<Option<String>> {
    const MOST: usize = 200;
    let reply = text_or_none(node)?;
    match &reply {
        Some(text) if text.len() > MOST => {
            let sentence = format!("has {} bytes, and a packet takes {MOST}", text.len());
            Err(vec![Wrong::new(sentence)])
        }
        Some(_) | None => Ok(reply),
    }
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
