//! What happens on the mesh, and to the link to the radio.

use super::ids::{ChannelIndex, PacketId};
use super::message::{Channel, Destination, Fingerprint, Node};
use super::time::Timestamp;

/// Something that happened on the mesh, or to the link to the radio.
#[derive(Debug, Clone, PartialEq)]
pub enum RadioEvent {
    /// The radio is ready; comes again after every connect.
    Ready(Box<RadioProfile>),
    /// The link is lost. The adapter tries again by itself.
    Lost {
        /// What that means.
        kind: LossKind,
        /// Why, in one sentence.
        cause: String,
        /// What helps, if we know.
        hint: Option<String>,
    },
    /// A packet that carries something to read.
    Text(Box<RadioText>),
    /// Nodes of which something new is known, in batches.
    Nodes(Vec<Node>),
    /// A packet that is nobody's message was counted: packets still encrypted, and such.
    Ignored {
        /// Why, in a word or two for the counters of `status`.
        reason: &'static str,
    },
    /// The radio told how busy its channel is.
    ChannelUse {
        /// Channel utilisation in percent, of the air time of all nodes that the radio hears.
        percent: f32,
    },
}

/// What the loss of a link means: for how it is told, and for when the link is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LossKind {
    /// The radio itself ended the link, in order: if it does so again and again, there is a reason.
    Ended,
    /// The link broke.
    Broken,
    /// The link stands, and the radio does not do its part.
    Silent,
    /// The link stands, and nobody has spoken on it as a radio does.
    Nobody,
    /// The radio is not there.
    Absent,
    /// Something else keeps us from it: each cause has a cure of its own.
    Barred,
    /// The radio does not let this computer in until a person has done something: until then each try is as much in vain,
    /// and may be a request on the radio's screen.
    Refused,
}

/// The radio attached to us, as it is set up now.
#[derive(Debug, Clone, PartialEq)]
pub struct RadioProfile {
    /// Our own node.
    pub own: Node,
    /// Its firmware's version (`2.7.26.54e0d8d`), may be empty.
    pub firmware: String,
    /// All eight slots, disabled ones too, in order of their index.
    pub channels: Vec<Channel>,
    /// The hop limit that the radio is set to.
    pub hop_limit: u8,
    /// A region is set; without one a radio never transmits.
    pub region_set: bool,
    /// Transmission is switched on.
    pub transmit_enabled: bool,
    /// Rises when the radio reboots.
    pub reboot_count: u32,
    /// The radio is locked (firmware 2.8) and tells its client nothing: its channels are not known, and it carries no
    /// message.
    pub locked: bool,
    /// What only people are interested in.
    pub setup: RadioSetup,
}

impl RadioProfile {
    /// Returns whether the radio transmits what it is asked to.
    pub fn transmits(&self) -> bool {
        self.region_set && self.transmit_enabled
    }

    /// Returns its firmware's version; a locked radio does not tell it.
    pub fn told_firmware(&self) -> Option<&str> {
        Some(self.firmware.as_str()).filter(|it| !it.is_empty())
    }
}

/// How a radio is set up, in the protocol's own words. Nothing is decided by it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RadioSetup {
    /// Its board (`HELTEC_V3`).
    pub hardware: Option<String>,
    /// Its role on the mesh (`CLIENT`).
    pub role: Option<String>,
    /// Its region (`EU_868`); `None`: not told, or not set.
    pub region: Option<String>,
    /// Its modem preset (`LongFast`).
    pub preset: Option<String>,
}

/// Which kind of readable packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TextPort {
    /// `TEXT_MESSAGE_APP` (1).
    Text,
    /// `ALERT_APP` (11).
    Alert,
    /// `DETECTION_SENSOR_APP` (10).
    DetectionSensor,
    /// Any other port number, still undecided whether it is relayed (`chat_portnums`).
    Other(u32),
}

/// A packet that carries something to read. Its text is as the sender sent it: invalid UTF-8 is replaced
/// already, nothing else is cleaned.
#[derive(Debug, Clone, PartialEq)]
pub struct RadioText {
    /// Who sent it, with the names known now.
    pub sender: Node,
    /// The packet's id; [`PacketId::NONE`] is never a duplicate.
    pub packet: PacketId,
    /// A channel, or a single node.
    pub destination: Destination,
    /// The channel's name as people see it; empty for a direct message.
    pub channel_name: String,
    /// What the channel is, if the radio has told it; `None` for a direct message.
    pub fingerprint: Option<Fingerprint>,
    /// Its port.
    pub port: TextPort,
    /// The port's name in the protocol's own spelling (`TEXT_MESSAGE_APP`).
    pub port_name: String,
    /// The text.
    pub text: String,
    /// The packet that it answers or reacts to.
    pub reply_to: Option<PacketId>,
    /// It is a tapback: `text` is an emoji on `reply_to`.
    pub is_reaction: bool,
    /// When the radio heard it: its `rx_time` where plausible, else the time of arrival.
    pub heard_at: Timestamp,
    /// How many hops it made, if known.
    pub hops: Option<u8>,
    /// Signal to noise ratio in dB, if known.
    pub snr: Option<f32>,
    /// Signal strength in dBm, if known.
    pub rssi: Option<i32>,
    /// It came by MQTT somewhere on its way.
    pub via_mqtt: bool,
    /// Its author agrees to publication outside the mesh (bit 0 of `bitfield`).
    pub ok_to_mqtt: bool,
    /// It is told again by a store-and-forward server.
    pub replayed: bool,
}

impl RadioText {
    /// Returns the channel, unless it is a direct message.
    pub fn channel(&self) -> Option<ChannelIndex> {
        match self.destination {
            Destination::Channel(index) => Some(index),
            Destination::Direct(_) => None,
        }
    }
}
