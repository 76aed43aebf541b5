//! Input of the simulated mesh: one JSON object a line, or a plain text.

use std::str::FromStr;

use serde::Deserialize;
use serde::de::{self, Deserializer};
use serde_json::{Map, Value};

use relay_model::NodeNum;

use super::fault::Fault;
use super::values::{bytes, node};

/// Maximum length of an error message in bytes: it may quote the line. A list of all faults fits.
const MESSAGE_LIMIT: usize = 2000;

/// An input line of the simulated radio.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// A node puts a message on the mesh.
    Say(Box<Say>),
    /// A fault begins or ends.
    Fault(Fault),
}

/// What a node puts on the mesh.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Say {
    /// The sender; the radio's own number for a text typed on the device; absent: the first neighbour.
    #[serde(deserialize_with = "node")]
    pub from: Option<NodeNum>,
    /// The addressee; absent: a broadcast.
    #[serde(deserialize_with = "node")]
    pub to: Option<NodeNum>,
    /// Slot of the channel, 0 to 7.
    pub channel: u32,
    pub text: Option<String>,
    /// The payload, if it is not a text.
    #[serde(deserialize_with = "bytes")]
    pub hex: Option<Vec<u8>>,
    /// The packet's id; absent: a random one.
    pub id: Option<u32>,
    /// Id of the packet that it replies or reacts to.
    pub reply_id: Option<u32>,
    /// Whether it is a tapback (`true` or 1).
    #[serde(deserialize_with = "flag")]
    pub emoji: u32,
    /// Port number (`PortNum`); absent: that of texts.
    pub port: Option<i32>,
    /// Whether it came by MQTT.
    pub via_mqtt: bool,
    /// Whether the sender agrees to publication by MQTT.
    pub ok_to_mqtt: bool,
    /// Number of hops that it has made, at most 7.
    pub hops: Option<u8>,
    /// Signal-to-noise ratio in dB.
    pub snr: Option<f32>,
    /// Signal strength in dBm.
    pub rssi: Option<i32>,
    /// The node's new long name, sent to the radio first.
    pub name: Option<String>,
    /// The node's new short name, sent to the radio first.
    pub short: Option<String>,
    /// Time of reception in Unix seconds; absent: now, by the radio's clock.
    pub rx_time: Option<u32>,
    /// A replay of a store-and-forward server, to the radio alone.
    pub stored: bool,
    /// Without the number of hops, as by old firmware.
    pub hopless: bool,
    /// Delivered to the client although addressed to another node.
    pub overheard: bool,
    /// Delivered encrypted, since the radio lacks the key.
    pub encrypted: bool,
}

impl FromStr for Command {
    type Err = String;

    fn from_str(line: &str) -> Result<Self, Self::Err> {
        if line.trim_start().starts_with('{') {
            let command = object(line).and_then(Self::from_object);
            return command.map_err(shortened);
        }
        Ok(Self::Say(Box::new(Say {
            text: Some(line.to_owned()),
            ..Say::default()
        })))
    }
}

impl Command {
    pub(super) fn from_object(object: Map<String, Value>) -> Result<Self, String> {
        let command = if object.contains_key("fault") {
            Fault::deserialize(Value::Object(object)).map(Self::Fault)
        } else {
            Box::deserialize(Value::Object(object)).map(Self::Say)
        };
        command.map_err(|error| error.to_string())
    }
}

pub(crate) fn object(line: &str) -> Result<Map<String, Value>, String> {
    serde_json::from_str(line).map_err(|error| format!("not JSON: {error}"))
}

pub(super) fn shortened(mut message: String) -> String {
    if message.len() > MESSAGE_LIMIT {
        message.truncate(message.floor_char_boundary(MESSAGE_LIMIT));
        message.push('…');
    }
    message
}

fn flag<'de, D: Deserializer<'de>>(input: D) -> Result<u32, D::Error> {
    match Value::deserialize(input)? {
        Value::Null => Ok(0),
        Value::Bool(known) => Ok(known.into()),
        number => u32::deserialize(number).map_err(de::Error::custom),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn say(line: &str) -> Say {
        match line.parse() {
            Ok(Command::Say(say)) => *say,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_plain_line_is_a_text_of_the_first_node() {
        let expected = Say {
            text: Some("hello there".to_owned()),
            ..Say::default()
        };
        assert_eq!(say("hello there"), expected);
    }

    #[test]
    fn an_object_says_who_says_what_where() {
        let said = say(
            r#"{"from": "!a1b2c3d4", "channel": 1, "text": "👍", "reply_id": 9, "emoji": true, "to": "^all"}"#,
        );
        assert_eq!(said.from, Some(NodeNum(0xA1B2_C3D4)));
        assert_eq!(said.to, Some(NodeNum::BROADCAST));
        assert_eq!((said.channel, said.reply_id, said.emoji), (1, Some(9), 1));
        assert_eq!(
            say(r#"{"hex": "ff94c3", "port": 256}"#).hex,
            Some(vec![0xFF, 0x94, 0xC3])
        );
        assert_eq!(say(r#"{"text": "x", "emoji": 128077}"#).emoji, 128_077);
    }

    #[test]
    fn a_bad_line_says_what_is_wrong_with_it() {
        for (line, reason) in [
            ("{", "not JSON"),
            (r#"{"txt": "x"}"#, "unknown field `txt`"),
            (
                r#"{"from": "alice", "text": "x"}"#,
                "`alice` is not a node id",
            ),
            (r#"{"hex": "9"}"#, "`9` is not hexadecimal"),
            (r#"{"fault": "flood"}"#, "unknown variant `flood`"),
            (r#"{"fault": "garbage", "byte": 1}"#, "unknown field `byte`"),
        ] {
            let error = line.parse::<Command>().unwrap_err();
            assert!(error.contains(reason), "{line}: {error}");
        }
    }
}
