//! What the simulated radio tells about its client, beside what it tells the client: one JSON object a line.

use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};
use strum::IntoStaticStr;

use relay_model::NodeNum;
use relay_wire::proto::{Data, MeshPacket, PortNum, routing::Error};

use crate::mesh::packets::error_number;

/// A packet that the client handed over.
#[derive(Debug, Clone, PartialEq)]
pub struct Transmitted {
    /// All but its content, as the client gave it; the id is the radio's choice where the client gave none.
    pub header: MeshPacket,
    /// What it says.
    pub content: Data,
    /// When it came, since the radio was started.
    pub at: Duration,
}

/// What became of a packet of the client, as far as is known yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Fate {
    /// The radio queued it for the air.
    Accepted,
    /// The radio refused it, with that `Routing.Error` or queue status.
    Refused(u32),
    /// It came too soon after another, and was dropped.
    RateLimited,
    /// Its id was seen on this connection before: ignored without an answer.
    Duplicate,
    /// A fault made the radio lose it.
    Lost,
    /// It was for the radio itself.
    Local,
    /// It was transmitted, and no answer is asked for.
    Sent,
    /// Another node repeated it.
    Heard,
    /// Nobody was heard repeating or answering it.
    Unheard,
    /// A direct message was repeated by another node than its addressee.
    Relayed,
    /// The addressee has it.
    Delivered,
    /// The addressee answered with that error.
    Failed(u32),
}

/// What the client's connection is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Connection {
    /// A client connected.
    Connected,
    /// It was told the whole configuration.
    Configured,
    /// It is gone, or the radio closed the connection.
    Closed,
}

/// Something to tell.
#[derive(Debug, Clone, PartialEq)]
pub enum Report {
    /// A packet of the client, and its fate; the same packet comes again when more is known.
    Transmitted(Box<Transmitted>, Fate),
    /// A packet was put on the mesh from outside.
    Injected {
        /// Its id.
        id: u32,
        /// Its sender.
        from: NodeNum,
    },
    /// The client's connection changed.
    Client(Connection),
    /// The radio was away, or restarted, and can be reached again.
    Back,
    /// A frame of the client was ignored.
    Ignored {
        /// Why.
        reason: &'static str,
        /// Its size in bytes.
        bytes: usize,
    },
    /// The script has come to its end.
    ScriptEnded,
    /// A line from outside was not understood, or could not be carried out, for that reason.
    Error(String),
}

impl Transmitted {
    /// Returns its text, if it is one.
    pub fn text(&self) -> Option<&str> {
        match self.content.portnum() {
            PortNum::TextMessageApp | PortNum::AlertApp | PortNum::DetectionSensorApp => {
                std::str::from_utf8(&self.content.payload).ok()
            }
            _ => None,
        }
    }

    fn to_json(&self) -> Value {
        let (header, content) = (&self.header, &self.content);
        json!({
            "id": header.id,
            "from": NodeNum(header.from).to_string(),
            "to": NodeNum(header.to).to_string(),
            "channel": header.channel,
            "port": content.portnum,
            "text": self.text(),
            "hex": hex::encode(&content.payload),
            "reply_id": (content.reply_id != 0).then_some(content.reply_id),
            "emoji": content.emoji,
            "want_ack": header.want_ack,
            "hop_limit": header.hop_limit,
            "at_ms": u64::try_from(self.at.as_millis()).unwrap_or(u64::MAX),
        })
    }
}

impl Fate {
    /// Returns the number that goes with it.
    pub fn error(self) -> Option<u32> {
        match self {
            Self::Refused(error) | Self::Failed(error) => Some(error),
            Self::RateLimited => Some(error_number(Error::RateLimitExceeded)),
            Self::Unheard => Some(error_number(Error::MaxRetransmit)),
            _ => None,
        }
    }
}

impl Report {
    /// Returns it as a JSON object.
    pub fn to_json(&self) -> Value {
        match self {
            Self::Transmitted(packet, fate) => {
                let (packet, name) = (packet.to_json(), <&str>::from(fate));
                match fate.error() {
                    Some(error) => json!({"transmitted": packet, "fate": name, "error": error}),
                    None => json!({"transmitted": packet, "fate": name}),
                }
            }
            Self::Injected { id, from } => {
                json!({"injected": {"id": id, "from": from.to_string()}})
            }
            Self::Client(connection) => json!({ "client": connection }),
            Self::Back => json!({ "radio": "back" }),
            Self::Ignored { reason, bytes } => {
                json!({"ignored": {"reason": reason, "bytes": bytes}})
            }
            Self::ScriptEnded => json!({ "script": "ended" }),
            Self::Error(message) => json!({ "error": message }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mesh::packets;

    #[test]
    fn a_packet_is_told_with_all_that_a_test_may_ask() {
        let packet = Transmitted {
            header: MeshPacket {
                id: 7,
                from: 0xA1B2_C3D4,
                to: NodeNum::BROADCAST.0,
                channel: 1,
                want_ack: true,
                hop_limit: 3,
                ..MeshPacket::default()
            },
            content: Data {
                reply_id: 9,
                ..packets::data(PortNum::TextMessageApp, "hé".into())
            },
            at: Duration::from_millis(1500),
        };
        let report = Report::Transmitted(Box::new(packet), Fate::Refused(6));
        let expected = json!({
            "transmitted": {
                "id": 7, "from": "!a1b2c3d4", "to": "!ffffffff", "channel": 1, "port": 1, "text": "hé", "hex": "68c3a9",
                "reply_id": 9, "emoji": 0, "want_ack": true, "hop_limit": 3, "at_ms": 1500,
            },
            "fate": "refused",
            "error": 6,
        });
        assert_eq!(report.to_json(), expected);
    }
}
