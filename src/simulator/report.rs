//! What the simulated radio tells about its client, beside what it tells the client: one JSON object a line.

use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};

use crate::model::NodeNum;
use crate::radio::proto::{Data, MeshPacket, PortNum};

use super::hex;

/// A packet that the client handed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transmitted {
    /// Its id, chosen by the client, or by the radio where the client gave none.
    pub id: u32,
    /// The sender that the client named; 0 if none.
    pub from: NodeNum,
    /// To whom.
    pub to: NodeNum,
    /// The channel's index as the client gave it.
    pub channel: u32,
    /// The port's number.
    pub port: i32,
    /// The payload.
    pub payload: Vec<u8>,
    /// The packet that it answers; 0 if none.
    pub reply_id: u32,
    /// 1 for a tapback.
    pub emoji: u32,
    /// An answer is asked for.
    pub want_ack: bool,
    /// The hop limit that the client gave.
    pub hop_limit: u32,
    /// When it came, since the radio was started.
    pub at: Duration,
}

/// What became of a packet of the client, as far as is known yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Report {
    /// Of a packet of the client; the same packet comes again when more is known.
    Transmitted {
        /// The packet.
        packet: Box<Transmitted>,
        /// Its fate.
        fate: Fate,
    },
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
    /// A line from outside was not understood, or could not be carried out.
    Error {
        /// Why.
        message: String,
    },
}

impl Transmitted {
    /// Describes a packet that came so long after the radio was started.
    pub fn new(packet: &MeshPacket, data: &Data, at: Duration) -> Self {
        Self {
            id: packet.id,
            from: NodeNum(packet.from),
            to: NodeNum(packet.to),
            channel: packet.channel,
            port: data.portnum,
            payload: data.payload.clone(),
            reply_id: data.reply_id,
            emoji: data.emoji,
            want_ack: packet.want_ack,
            hop_limit: packet.hop_limit,
            at,
        }
    }

    /// Returns its text, if it is one.
    pub fn text(&self) -> Option<&str> {
        match PortNum::try_from(self.port) {
            Ok(PortNum::TextMessageApp | PortNum::AlertApp | PortNum::DetectionSensorApp) => {
                std::str::from_utf8(&self.payload).ok()
            }
            Ok(_) | Err(_) => None,
        }
    }

    fn to_json(&self) -> Value {
        json!({
            "id": self.id,
            "from": self.from.to_string(),
            "to": self.to.to_string(),
            "channel": self.channel,
            "port": self.port,
            "text": self.text(),
            "hex": hex::encode(&self.payload),
            "reply_id": (self.reply_id != 0).then_some(self.reply_id),
            "emoji": self.emoji,
            "want_ack": self.want_ack,
            "hop_limit": self.hop_limit,
            "at_ms": u64::try_from(self.at.as_millis()).unwrap_or(u64::MAX),
        })
    }
}

impl Fate {
    /// Returns its name in the reports, and the number that goes with it.
    fn name_and_error(self) -> (&'static str, Option<u32>) {
        match self {
            Self::Accepted => ("accepted", None),
            Self::Refused(error) => ("refused", Some(error)),
            Self::RateLimited => ("rate_limited", Some(38)),
            Self::Duplicate => ("duplicate", None),
            Self::Lost => ("lost", None),
            Self::Local => ("local", None),
            Self::Sent => ("sent", None),
            Self::Heard => ("heard", None),
            Self::Unheard => ("unheard", Some(5)),
            Self::Relayed => ("relayed", None),
            Self::Delivered => ("delivered", None),
            Self::Failed(error) => ("failed", Some(error)),
        }
    }

    /// Returns the number that goes with it.
    pub fn error(self) -> Option<u32> {
        self.name_and_error().1
    }
}

impl Report {
    /// Returns it as a JSON object.
    pub fn to_json(&self) -> Value {
        match self {
            Self::Transmitted { packet, fate } => {
                let (name, error) = fate.name_and_error();
                let packet = packet.to_json();
                match error {
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
            Self::Error { message } => json!({ "error": message }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_is_told_with_all_that_a_test_may_ask() {
        let packet = Transmitted {
            id: 7,
            from: NodeNum(0xA1B2_C3D4),
            to: NodeNum::BROADCAST,
            channel: 1,
            port: 1,
            payload: "hé".into(),
            reply_id: 9,
            emoji: 0,
            want_ack: true,
            hop_limit: 3,
            at: Duration::from_millis(1500),
        };
        let report = Report::Transmitted {
            packet: Box::new(packet),
            fate: Fate::Refused(6),
        };
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
