//! The JSON object of `relay trace`, and how it is made of the tables. Its keys are documented in `docs/reference/trace.md` and
//! stay stable. It never holds a message's text.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::home::utc;
use relay_bridge::story::{waits, words};
use relay_model::{
    ChannelIndex, EventId, Evidence, NodeNum, OwnedEventId, PacketId, Reception, Standing, Step,
    StepKind, Story, StorySubject,
};
use relay_store::{Result, Tx, story};

/// Which message is asked about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) enum About {
    /// An event, or the packet that it stands for.
    Event(OwnedEventId),
    /// The packets with this id, of one node or of all.
    Packet(Option<NodeNum>, PacketId),
}

/// A text that names no message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is neither an event id (`$…`) nor a packet id (a number, or `!a1b2c3d4:NUMBER` of that node)"
)]
pub(crate) struct NoMessage(String);

impl FromStr for About {
    type Err = NoMessage;

    fn from_str(text: &str) -> Result<Self, NoMessage> {
        let wrong = || NoMessage(text.to_owned());
        if text.starts_with('$') {
            let event = EventId::parse(text).map_err(|_| wrong())?;
            return Ok(Self::Event(event));
        }
        let (node, packet) = match text.split_once(':') {
            Some((node, packet)) => (Some(node.parse().map_err(|_| wrong())?), packet),
            None => (None, text),
        };
        let number = packet.parse().map_err(|_| wrong())?;
        let packet = PacketId(number);
        if packet == PacketId::NONE {
            return Err(wrong());
        }
        Ok(Self::Packet(node, packet))
    }
}

impl TryFrom<String> for About {
    type Error = NoMessage;

    fn try_from(text: String) -> Result<Self, NoMessage> {
        text.parse()
    }
}

impl From<About> for String {
    fn from(about: About) -> Self {
        about.to_string()
    }
}

impl fmt::Display for About {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Event(event) => event.fmt(f),
            Self::Packet(None, packet) => packet.fmt(f),
            Self::Packet(Some(node), packet) => write!(f, "{node}:{packet}"),
        }
    }
}

/// The object that `relay trace --json` prints.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Trace {
    /// What was asked about.
    pub(crate) about: String,
    /// The messages that it names; a packet id alone can name several.
    pub(crate) stories: Vec<TracedStory>,
}

/// The story of a message.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct TracedStory {
    pub(crate) way: TracedWay,
    /// What names this message alone.
    pub(crate) name: String,
    /// Towards the mesh: its room; `None` if it is not known.
    pub(crate) room: Option<String>,
    /// Towards the mesh: its event.
    pub(crate) event: Option<String>,
    /// Towards the mesh: the slot that it goes to.
    pub(crate) channel: Option<u8>,
    /// Towards Matrix: the node that sent it.
    pub(crate) node: Option<String>,
    /// Towards Matrix: the packet's id.
    pub(crate) packet: Option<u32>,
    pub(crate) steps: Vec<TracedStep>,
    /// What it waits for now; empty if nothing is outstanding.
    pub(crate) waits: Vec<TracedWait>,
}

/// To which side a message goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum TracedWay {
    ToMesh,
    ToMatrix,
}

/// A step of a story.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct TracedStep {
    /// When, in UTC.
    pub(crate) at: String,
    pub(crate) step: StepKind,
    pub(crate) evidence: Evidence,
    /// Which part it concerns, from 1; `None`: the whole message.
    pub(crate) part: Option<u8>,
    pub(crate) parts: Option<u8>,
    /// 0: the message itself; otherwise the number of its correction.
    pub(crate) correction: u8,
    /// The packet that was given to the radio.
    pub(crate) packet: Option<u32>,
    pub(crate) number: Option<u32>,
    pub(crate) detail: Option<String>,
    pub(crate) reception: Option<TracedReception>,
    /// The step in words.
    pub(crate) text: String,
}

/// How the radio received a packet.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct TracedReception {
    pub(crate) snr: Option<f32>,
    pub(crate) rssi: Option<i32>,
    pub(crate) hops: Option<u8>,
    /// Last byte of the number of the node that relayed it, as two hexadecimal digits.
    pub(crate) relayed_by: Option<String>,
    /// The known nodes whose id ends so.
    pub(crate) candidates: Vec<String>,
    pub(crate) via_mqtt: bool,
}

/// What a message waits for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct TracedWait {
    /// `turn`, `answer`, `mesh` or `homeserver`.
    #[serde(rename = "for")]
    pub(crate) what: String,
    /// When it expires, in UTC.
    pub(crate) expires: Option<String>,
    pub(crate) room: Option<String>,
    pub(crate) text: String,
}

/// Looks up what is known of a message.
pub(crate) fn trace(tx: &Tx<'_>, about: &About) -> Result<Trace> {
    let stories = match about {
        About::Event(event) => story::of_event(tx, event, None)?,
        About::Packet(node, packet) => story::of_packet(tx, *packet, *node)?,
    };
    Ok(Trace {
        about: about.to_string(),
        stories: stories.iter().map(traced).collect(),
    })
}

fn traced(story: &Story) -> TracedStory {
    let steps = story.steps.iter().map(step).collect();
    let waits = story.standing.iter().map(wait).collect();
    match &story.subject {
        StorySubject::Room {
            room,
            event,
            channel,
        } => TracedStory {
            way: TracedWay::ToMesh,
            name: event.to_string(),
            room: room.as_ref().map(ToString::to_string),
            event: Some(event.to_string()),
            channel: channel.map(ChannelIndex::number),
            node: None,
            packet: None,
            steps,
            waits,
        },
        StorySubject::Packet { sender, packet } => TracedStory {
            way: TracedWay::ToMatrix,
            name: About::Packet(Some(*sender), *packet).to_string(),
            room: None,
            event: None,
            channel: None,
            node: Some(sender.to_string()),
            packet: Some(packet.0),
            steps,
            waits,
        },
    }
}

fn step(step: &Step) -> TracedStep {
    TracedStep {
        at: utc(step.at.into()),
        step: step.kind,
        evidence: step.evidence(),
        part: step.part.map(|it| it.0),
        parts: step.part.map(|it| it.1),
        correction: step.correction,
        packet: step.packet.map(|it| it.0),
        number: step.number,
        detail: step.detail.clone(),
        reception: step.reception.as_ref().map(reception),
        text: words(step),
    }
}

fn reception(it: &Reception) -> TracedReception {
    TracedReception {
        snr: it.snr,
        rssi: it.rssi,
        hops: it.hops,
        relayed_by: it.relayed_by.map(|byte| format!("{byte:02x}")),
        candidates: it.candidates.iter().map(ToString::to_string).collect(),
        via_mqtt: it.via_mqtt,
    }
}

fn wait(standing: &Standing) -> TracedWait {
    let (expires, room) = match standing {
        Standing::Turn { expires } => (Some(utc((*expires).into())), None),
        Standing::Answer | Standing::Mesh => (None, None),
        Standing::Homeserver { room, .. } => (None, Some(room.clone())),
    };
    TracedWait {
        what: standing.to_string(),
        expires,
        room,
        text: waits(standing),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_named_by_its_event_or_by_its_packet() {
        let packet = PacketId(123);
        let node = NodeNum(0xA1B2_C3D4);
        for (text, about) in [
            (
                "$event:example.org",
                About::Event("$event:example.org".try_into().unwrap()),
            ),
            ("123", About::Packet(None, packet)),
            ("!a1b2c3d4:123", About::Packet(Some(node), packet)),
        ] {
            assert_eq!(text.parse(), Ok(about.clone()));
            assert_eq!(about.to_string(), text);
        }
        for wrong in [
            "",
            "0",
            "-1",
            "!a1b2c3d4",
            "a1b2c3d4:1",
            "4294967296",
            "!a1b2c3d4:",
        ] {
            assert_eq!(wrong.parse::<About>(), Err(NoMessage(wrong.to_owned())));
        }
    }
}
