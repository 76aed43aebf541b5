//! Reports on the client: one JSON object a line.

use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};
use strum::IntoStaticStr;

use relay_model::NodeNum;
use relay_wire::proto::{Data, MeshPacket, PortNum, routing::Error};

use crate::mesh::packets::error_number;

/// A packet that the client gave to the radio.
#[derive(Debug, Clone, PartialEq)]
pub struct Transmitted {
    /// The packet without its content, as sent; the radio chooses a missing id.
    pub header: MeshPacket,
    /// What the packet carries, decoded; the radio sees clients' packets unencrypted.
    pub content: Data,
    /// Time of arrival since the start of the radio.
    pub at: Duration,
}

/// What became of a client's packet so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Fate {
    /// It is in the radio's transmit queue.
    Accepted,
    /// Refused, with that `Routing.Error` or queue status.
    Refused(u32),
    /// Refused with `RATE_LIMIT_EXCEEDED`: it came too soon after another one.
    RateLimited,
    /// Ignored without an answer: the id was seen before on this connection.
    Duplicate,
    /// Lost by a fault.
    Lost,
    /// Addressed to the radio itself, so it is not transmitted.
    Local,
    /// Transmitted without a request for an acknowledgement.
    Sent,
    /// Another node was heard repeating it.
    Heard,
    /// Neither repeated nor answered, after all retransmissions.
    Unheard,
    /// A direct message repeated by a node other than its addressee.
    Relayed,
    /// The addressee has acknowledged it.
    Delivered,
    /// Refused by the addressee with that error.
    Failed(u32),
}

/// How far the client's connection has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Connection {
    /// A client has connected, and sent nothing yet.
    Connected,
    /// It has received the whole configuration, up to `config_complete_id`.
    Configured,
    /// It has disconnected, or the radio closed the connection.
    Closed,
}

/// What the simulated radio tells a test, printed as one JSON line.
#[derive(Debug, Clone, PartialEq)]
pub enum Report {
    /// A packet of the client and its fate; repeated when the fate changes.
    Transmitted(Box<Transmitted>, Fate),
    /// A node's packet was put on the mesh, by a line of the input.
    Injected {
        /// Packet id, given in the line or random.
        id: u32,
        /// Node that it comes from.
        from: NodeNum,
    },
    /// The client's connection has come further, or has ended.
    Client(Connection),
    /// The radio can be reached again after an absence or restart.
    Back,
    /// A frame or packet of the client has no effect.
    Ignored {
        /// Why, in words.
        reason: &'static str,
        /// Size of the frame or payload in bytes; 0 for a packet that could not be read.
        bytes: usize,
    },
    /// All steps of the script have been carried out.
    ScriptEnded,
    /// An input line was invalid or could not be carried out, with the reason.
    Error(String),
}

impl Transmitted {
    /// Returns the text of a packet on a port for texts; `None` for other ports, or if it is no UTF-8.
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
    /// Returns the number of the `Routing.Error` or queue status behind the fate; `None` if it is no refusal.
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
    /// Returns the report as the JSON object that is printed.
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
