//! The story of a message: what became of it on its way to the other side, step by step.

use serde::{Deserialize, Serialize};
use strum::VariantArray;

use super::ids::{ChannelIndex, NodeNum, OwnedEventId, OwnedRoomId, PacketId};
use super::time::Timestamp;

/// Kind of a step. Stored by its position here: new ones go to the end.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    VariantArray,
    Serialize,
    Deserialize,
    strum::Display,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum StepKind {
    /// Towards the mesh: accepted from its room.
    Accepted,
    /// Split into packets; how many is the step's number.
    Split,
    /// It waits in its room's backlog, spaced, behind what is new.
    Backlog,
    /// Given to the link to the radio; the number counts the attempts.
    Handed,
    /// The radio said that it has put the packet into its transmit queue.
    Taken,
    /// The radio was silent to a repeated question, as it is for a packet that it knows.
    TakenSilently,
    /// The radio did not take it; it is tried again. The detail says why.
    NotTaken,
    /// The radio was asked, and the link was lost, or the like, before it answered; it is tried again under the same id. The
    /// detail says why.
    Unanswered,
    /// It came back from the link before it was written to the radio. The detail says why.
    NotTried,
    /// The relay started while the radio had been asked: what the radio did is not known.
    Restarted,
    /// The radio reported that the packet came back to it from another node or from MQTT.
    Repeated,
    /// The radio reported that nobody was heard repeating it.
    Unheard,
    /// The addressee's acknowledgement.
    Delivered,
    /// The radio took it, and nothing further was heard of it.
    Silent,
    /// The radio refused it. The detail is the [`super::Refusal`].
    RefusedByRadio,
    /// The relay's own rules refused it while it waited. The detail is the rule's name.
    RefusedHere,
    /// It was not sent because a part before it was refused.
    PartRefused,
    /// Too old, or too many after an outage: not sent.
    Expired,
    /// Taken back before it was transmitted.
    Withdrawn,
    /// Its text was changed while it waited.
    Changed,
    /// It follows its channel to another slot, the number.
    Moved,
    /// The row is damaged, or what the radio said of it cannot be stored: the relay does not try it any more.
    GivenUp,
    /// An event of a room that does not go to the mesh. The detail is the reason's name.
    NotRelayed,
    /// An event of a room whose key has not arrived.
    Undecryptable,
    /// Its key did not come in time.
    KeyGivenUp,
    /// Towards Matrix: the radio delivered the packet.
    Heard,
    /// The radio delivered the packet once more.
    HeardAgain,
    /// A store-and-forward server repeated it.
    Replayed,
    /// Accepted for a room, the detail; so many seconds late as the number says, if it is late.
    Posted,
    /// The homeserver does not let us send there now. The detail is what it says.
    Parked,
    /// It waits for the room that replaces its room, the detail.
    HandedOver,
    /// The homeserver has taken it as an event, the detail.
    Sent,
    /// Its event, the detail, came back in the sync.
    CameBack,
    /// The homeserver will never take it. The detail is what it says.
    RefusedByServer,
    /// It is not posted: its room is given up, it cannot be read, or another room gets it.
    PostGivenUp,
    /// It was given up as the database was restored from a backup.
    Restored,
}

/// What a step rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, strum::Display)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Evidence {
    /// The other side said so.
    Reported,
    /// The relay did or saw it itself.
    Observed,
    /// It follows from something else.
    Inferred,
    /// Nobody has said what happened.
    Unknown,
}

impl StepKind {
    /// Returns what a step of this kind rests on.
    pub fn evidence(self) -> Evidence {
        match self {
            Self::Accepted
            | Self::Split
            | Self::Backlog
            | Self::Handed
            | Self::NotTried
            | Self::RefusedHere
            | Self::PartRefused
            | Self::Expired
            | Self::Withdrawn
            | Self::Changed
            | Self::Moved
            | Self::NotRelayed
            | Self::Undecryptable
            | Self::KeyGivenUp
            | Self::Posted
            | Self::HandedOver
            | Self::CameBack
            | Self::PostGivenUp => Evidence::Observed,
            Self::Taken
            | Self::NotTaken
            | Self::Repeated
            | Self::Unheard
            | Self::Delivered
            | Self::RefusedByRadio
            | Self::Heard
            | Self::HeardAgain
            | Self::Replayed
            | Self::Parked
            | Self::Sent
            | Self::RefusedByServer => Evidence::Reported,
            Self::TakenSilently => Evidence::Inferred,
            Self::Unanswered | Self::Restarted | Self::Silent | Self::GivenUp | Self::Restored => {
                Evidence::Unknown
            }
        }
    }
}

/// A step of a story, with what is told of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// What happened.
    pub kind: StepKind,
    /// When, by our clock; of a packet that was heard, by the radio's if plausible.
    pub at: Timestamp,
    /// Number of the part that it concerns, from 1, and of how many; `None`: the message is one packet, or it is posted.
    pub part: Option<(u8, u8)>,
    /// 0: the message itself; otherwise the number of the correction that it concerns.
    pub correction: u8,
    /// Id of the packet that was given to the radio.
    pub packet: Option<PacketId>,
    /// A count: attempts, packets, the slot, or seconds of lateness.
    pub number: Option<u32>,
    /// A reason, a room or an event, by the kind of the step.
    pub detail: Option<String>,
    /// How the packet was received.
    pub reception: Option<Reception>,
}

impl Step {
    /// Returns what it rests on. The relay knows some limits of a radio, and refuses for it what the radio would refuse: of
    /// such a refusal it is not known whether the radio was asked.
    pub fn evidence(&self) -> Evidence {
        let is_known_before = matches!(self.detail.as_deref(), Some("too_long" | "transmit_off"));
        match self.kind {
            StepKind::RefusedByRadio if is_known_before => Evidence::Inferred,
            kind => kind.evidence(),
        }
    }
}

/// How the radio received a packet, as far as it tells.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Reception {
    /// Signal-to-noise ratio at the radio in dB.
    pub snr: Option<f32>,
    /// Signal strength at the radio in dBm.
    pub rssi: Option<i32>,
    /// Number of hops to the radio.
    pub hops: Option<u8>,
    /// Last byte of the number of the node that transmitted it to the radio.
    pub relayed_by: Option<u8>,
    /// The known nodes whose number ends in that byte. Unknown nodes may do so as well.
    pub candidates: Vec<NodeNum>,
    /// Whether it passed an MQTT server; which gateway put it there the radio does not tell.
    pub via_mqtt: bool,
}

/// Which message a story is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StorySubject {
    /// A message of a room, for the mesh.
    Room {
        /// Its room; `None` if it was never accepted for the mesh.
        room: Option<OwnedRoomId>,
        /// The event.
        event: OwnedEventId,
        /// The slot that it goes to; `None` if it was never accepted for the mesh.
        channel: Option<ChannelIndex>,
    },
    /// A packet of the mesh, for rooms.
    Packet {
        /// The node that sent it.
        sender: NodeNum,
        /// Its id.
        packet: PacketId,
    },
}

/// What a message waits for now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, strum::Display)]
#[serde(tag = "for", rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Standing {
    /// Its turn on the way to the radio; it expires at that time.
    Turn {
        /// Time from which it is not sent any more, by our clock.
        expires: Timestamp,
    },
    /// The radio's answer.
    Answer,
    /// A word of the mesh.
    Mesh,
    /// The homeserver; with the room that it waits for.
    Homeserver {
        /// Room, or its alias.
        room: String,
        /// Why nothing is sent there now.
        parked: Option<String>,
    },
}

/// All that is known of a message's way.
#[derive(Debug, Clone, PartialEq)]
pub struct Story {
    /// Which message it is.
    pub subject: StorySubject,
    /// What happened, in its order.
    pub steps: Vec<Step>,
    /// What it waits for now; empty if nothing is outstanding.
    pub standing: Vec<Standing>,
}
