//! The link to the radio: the keys of `meshtastic` that say how it is reached.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::json;
use strum::Display;

use super::choice::choices;
use super::finding::Wrong;
use super::keys::keys;
use super::secret::Secret;
use super::section::Section;
use super::value_types::{ValueDoc, ValueType, some_text, whole};
use super::values::{self, hinted, scalar};

/// The one link to the radio; also as `relay status --json` tells it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Connection {
    /// Over the network (`connection_type: tcp`).
    Tcp {
        /// Host name or address, without brackets.
        host: String,
        /// TCP port, normally 4403.
        port: u16,
    },
    /// Over a USB cable (`connection_type: serial`).
    Serial {
        /// The device's path; `None`: the one likely port.
        #[serde(rename = "port")]
        serial_port: Option<PathBuf>,
    },
    /// Over Bluetooth (`connection_type: ble`).
    Ble {
        /// Bluetooth address, or the name that the radio advertises.
        #[serde(rename = "device")]
        ble_address: String,
        /// PIN for pairing, of up to six digits; `None`: the radio needs none, or is paired already.
        #[serde(skip)]
        ble_pin: Option<Secret<u32>>,
    },
}

/// Returns how a place on the network is written.
pub fn host_and_port(host: &str, port: u16) -> String {
    if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

impl fmt::Display for Connection {
    /// Writes how the radio is reached, without the pairing code.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } => write!(f, "tcp {}", host_and_port(host, *port)),
            Self::Serial {
                serial_port: Some(port),
            } => write!(f, "serial {}", port.display()),
            Self::Serial { serial_port: None } => write!(f, "serial, the one likely port"),
            Self::Ble { ble_address, .. } => write!(f, "ble {ble_address}"),
        }
    }
}

impl Connection {
    /// The port of the radio's own TCP server.
    pub const TCP_PORT: u16 = 4403;

    /// Returns the keys by which two links differ.
    pub(super) fn keys_that_differ(&self, other: &Self) -> Vec<&'static str> {
        let differing = match (self, other) {
            (
                Self::Tcp { host, port },
                Self::Tcp {
                    host: other_host,
                    port: other_port,
                },
            ) => vec![("host", host != other_host), ("port", port != other_port)],
            (Self::Serial { .. }, Self::Serial { .. }) => vec![("serial_port", self != other)],
            (
                Self::Ble {
                    ble_address,
                    ble_pin,
                },
                Self::Ble {
                    ble_address: other_address,
                    ble_pin: other_pin,
                },
            ) => vec![
                ("ble_address", ble_address != other_address),
                ("ble_pin", ble_pin != other_pin),
            ],
            _ => vec![("connection_type", true)],
        };
        let differing = differing.into_iter().filter(|(_, differs)| *differs);
        differing.map(|(key, _)| key).collect()
    }

    /// Returns where the radio is, in a sentence.
    pub fn place(&self) -> String {
        match self {
            Self::Tcp { host, port } => host_and_port(host, *port),
            Self::Serial {
                serial_port: Some(port),
            } => format!("serial port {}", port.display()),
            Self::Serial { serial_port: None } => "the serial port of a radio".to_owned(),
            Self::Ble { ble_address, .. } => format!("Bluetooth device {ble_address}"),
        }
    }
}

choices! {
    /// How the radio is reached.
    #[derive(Display)]
    ConnectionType {
        /// Over the network.
        #[strum(to_string = "tcp", serialize = "network")]
        Tcp,
        /// Over a cable.
        Serial,
        /// Over Bluetooth.
        Ble,
    }
}

keys! {
    /// The keys of `meshtastic` that say how the radio is reached; all are read whatever the type, so that a switch of the
    /// type is one line.
    Link {
        /// How the radio is reached.
        connection_type: Option<ConnectionType> = required(
            "tcp",
            "is required: `tcp`, `serial` or `ble`",
            connection_type()
        );
        /// For `tcp`: the radio's name or address.
        host: Option<String> = required_with(
            "192.0.2.20",
            ("connection_type", "tcp", connection_type == Some(ConnectionType::Tcp)),
            host(connection_type)
        );
        /// For `tcp`: its port.
        #[wrong = "is left out"]
        port: u16 = get("4403", whole(1..=65_535, ""));
        /// For `serial`: the port, best by its name in /dev/serial/by-id, which stays the same; needless where there is exactly
        /// one likely port.
        serial_port: Option<String> = value("/dev/ttyUSB0", some_text());
        /// For `ble`: the radio's Bluetooth address or name.
        ble_address: Option<String> = required_with(
            r#""AA:BB:CC:DD:EE:FF""#,
            ("connection_type", "ble", connection_type == Some(ConnectionType::Ble)),
            some_text()
        );
        /// For `ble`: its fixed PIN, with which it is paired once.
        ble_pin: Option<Secret<u32>> = value(r#""123456""#, pin());
    }
}

/// Reads the keys of `meshtastic` that say how the radio is reached; warns of those of another kind of link.
pub(super) fn connection(section: &mut Section<'_>, _: &str) -> Connection {
    let link = Link::read(section);
    let kind = link.connection_type;
    let keys = [
        ("host", ConnectionType::Tcp),
        ("port", ConnectionType::Tcp),
        ("serial_port", ConnectionType::Serial),
        ("ble_address", ConnectionType::Ble),
        ("ble_pin", ConnectionType::Ble),
    ];
    for (key, owner) in keys {
        let is_given = section.reader.given.contains_key(&section.path_of(key));
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
        Some(ConnectionType::Tcp) => Connection::Tcp {
            host: link.host.unwrap_or_default(),
            port: link.port,
        },
        Some(ConnectionType::Ble) => Connection::Ble {
            ble_address: link.ble_address.unwrap_or_default(),
            ble_pin: link.ble_pin,
        },
        // Where it is required, the result without a type is never used.
        Some(ConnectionType::Serial) | None => Connection::Serial {
            serial_port: link.serial_port.map(PathBuf::from),
        },
    }
}

/// How the radio is reached; another name of it is a mistake that names the right one.
fn connection_type() -> ValueType<ConnectionType> {
    ValueType::new(ValueDoc::choice::<ConnectionType>, |node| {
        let word = scalar(node, "a word").unwrap_or_default().trim();
        let meant = match word.to_ascii_lowercase().as_str() {
            "bluetooth" | "bt" => "ble",
            "usb" => "serial",
            "lan" | "wifi" => "tcp",
            _ => return values::choice(node),
        };
        hinted(&format!("did you mean `{meant}`?"), values::choice(node))
    })
}

/// A host's name or address; any text where it does nothing.
fn host(kind: Option<ConnectionType>) -> ValueType<String> {
    use ConnectionType::{Ble, Serial};
    let pattern = r"^ *([^/:\s]+|\[?[0-9A-Fa-f.]*(:[0-9A-Fa-f.]*){2,}\]?) *$";
    let described = move || ValueDoc::text("a name or address", pattern);
    ValueType::new(described, move |node| {
        let text = values::nonblank(node)?;
        let text = text.trim();
        let bare = text.trim_start_matches('[').trim_end_matches(']');
        if bare.parse::<std::net::Ipv6Addr>().is_ok() {
            return Ok(bare.to_owned());
        }
        let wrong = Wrong::not(text, "a host's name or address");
        let fits = |character: char| character.is_alphanumeric() || ".-_%".contains(character);
        if matches!(kind, Some(Serial | Ble)) {
            Ok(text.to_owned())
        } else if text.contains('/') {
            let hint = "write the name or address alone, as in `192.168.1.20`";
            Err(wrong.hint(hint).into())
        } else if text.contains(':') {
            let hint = "the port has a key of its own: `meshtastic.port`";
            Err(wrong.hint(hint).into())
        } else if text.len() > 253 || !text.chars().all(fits) {
            Err(wrong.into())
        } else {
            Ok(text.to_owned())
        }
    })
}

/// A pairing PIN: up to six digits, leading zeros included.
fn pin() -> ValueType<Secret<u32>> {
    let doc = || {
        let text = json!({ "type": "string", "pattern": "^ *[0-9]{1,6} *$" });
        let number = json!({ "type": "integer", "minimum": 0, "maximum": 999_999 });
        ValueDoc::new("up to six digits", json!({ "anyOf": [text, number] })).secret()
    };
    ValueType::new(doc, |node| {
        let text = values::secret(node)?;
        let digits = text.reveal().trim();
        let is_pin = digits.len() <= 6 && digits.bytes().all(|it| it.is_ascii_digit());
        let pin = digits.parse().ok().filter(|_| is_pin);
        // What was written instead is not repeated.
        let pin = pin.ok_or_else(|| Wrong::new("is not a PIN of up to six digits"))?;
        Ok(Secret::new(pin))
    })
}

#[cfg(test)]
mod tests {
    use super::super::{Config, Connection, Secret};

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
