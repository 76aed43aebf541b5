//! What people and tests make the simulated mesh do: one JSON object a line, or a plain text.

use std::str::FromStr;

use serde::Deserialize;
use serde::de::{self, Deserializer};
use serde_json::{Map, Value};

use relay_model::NodeNum;

use super::fault::Fault;
use super::values::{bytes, node};

/// No message about a line is longer than that: it may repeat what the line says. A list of all faults has room.
const MESSAGE_LIMIT: usize = 2000;

/// Something to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// A node says something.
    Say(Box<Say>),
    /// Something goes wrong, or right again.
    Fault(Fault),
}

/// What a node of the mesh says.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Say {
    /// The node; the radio's own number for what is typed on the device; absent: the first neighbour.
    #[serde(deserialize_with = "node")]
    pub from: Option<NodeNum>,
    /// To whom; absent: everyone.
    #[serde(deserialize_with = "node")]
    pub to: Option<NodeNum>,
    /// The channel's index.
    pub channel: u32,
    pub text: Option<String>,
    /// The payload's bytes, where they are not a text.
    #[serde(deserialize_with = "bytes")]
    pub hex: Option<Vec<u8>>,
    /// The packet's id; absent: a random one.
    pub id: Option<u32>,
    /// The packet that it answers, or reacts to.
    pub reply_id: Option<u32>,
    /// It is a tapback (`true` or 1).
    #[serde(deserialize_with = "flag")]
    pub emoji: u32,
    /// The port's number; absent: a text.
    pub port: Option<i32>,
    /// It came by MQTT somewhere on its way.
    pub via_mqtt: bool,
    /// Its author agrees to publication by MQTT.
    pub ok_to_mqtt: bool,
    /// Hops that it made.
    pub hops: Option<u8>,
    /// Signal to noise ratio in dB.
    pub snr: Option<f32>,
    /// Signal strength in dBm.
    pub rssi: Option<i32>,
    /// The node's long name from now on; told to the radio first.
    pub name: Option<String>,
    /// The node's short name from now on; told to the radio first.
    pub short: Option<String>,
    /// When the radio heard it, in Unix seconds; absent: now, by the radio's clock.
    pub rx_time: Option<u32>,
    /// A store-and-forward server tells it again, to the radio alone.
    pub stored: bool,
    /// It does not say how many hops it made, as old firmware does.
    pub hopless: bool,
    /// The client sees it although it is for another node.
    pub overheard: bool,
    /// The radio has no key for it: the client gets it encrypted.
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
