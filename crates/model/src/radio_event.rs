//! Events of the mesh and of the link to the radio.

use super::ids::{ChannelIndex, PacketId};
use super::message::{Channel, Destination, Fingerprint, Node};
use super::time::Timestamp;

/// Something that happened on the mesh, or to the link to the radio.
#[derive(Debug, Clone, PartialEq)]
pub enum RadioEvent {
    /// The radio is ready; comes again after every connect.
    Ready(Box<RadioProfile>),
    /// The link is lost. The adapter reconnects by itself.
    Lost {
        /// Kind of the loss.
        kind: LossKind,
        /// Reason, in one sentence.
        cause: String,
        /// Hint, if known.
        hint: Option<String>,
    },
    /// A packet with readable content.
    Text(Box<RadioText>),
    /// New or changed data of nodes, in batches.
    Nodes(Vec<Node>),
    /// A packet was counted that is no message, such as one that is still encrypted.
    Ignored {
        /// Reason, in a word or two for the counters of `status`.
        reason: &'static str,
    },
    /// The radio reported its channel utilisation.
    ChannelUse {
        /// Channel utilisation in percent, of all nodes that the radio hears.
        percent: f32,
    },
}

/// Kind of a link loss; decides on log lines and reconnection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LossKind {
    /// The radio closed the link in an orderly way; a cause is assumed if it does so repeatedly.
    Ended,
    /// The link broke.
    Broken,
    /// The link is up, but the radio does not respond properly.
    Silent,
    /// The link is up, but nothing answers in the radio's protocol.
    Nobody,
    /// The radio was not found.
    Absent,
    /// Another obstacle, each with its own hint.
    Barred,
    /// The radio requires an action by a person, as for pairing. Retrying is useless until then, and may show a prompt on the
    /// radio's screen.
    Refused,
}

/// The attached radio's configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct RadioProfile {
    /// Our own node.
    pub own: Node,
    /// Its firmware version (`2.7.26.54e0d8d`), may be empty.
    pub firmware: String,
    /// All eight slots by index, disabled ones included.
    pub channels: Vec<Channel>,
    /// The configured hop limit.
    pub hop_limit: u8,
    /// Whether a region is set; without one a radio never transmits.
    pub region_set: bool,
    /// Whether transmission is enabled.
    pub transmit_enabled: bool,
    /// Increases with each reboot of the radio.
    pub reboot_count: u32,
    /// Whether the radio is locked (firmware 2.8): it reports no channels and relays no messages.
    pub locked: bool,
    /// Data for display only.
    pub setup: RadioSetup,
}

impl RadioProfile {
    /// Returns whether the radio is able to transmit.
    pub fn transmits(&self) -> bool {
        self.region_set && self.transmit_enabled
    }

    /// Returns its firmware version; a locked radio does not report it.
    pub fn told_firmware(&self) -> Option<&str> {
        Some(self.firmware.as_str()).filter(|it| !it.is_empty())
    }
}

/// A radio's configuration in the protocol's own terms, for display only.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RadioSetup {
    /// Its board (`HELTEC_V3`).
    pub hardware: Option<String>,
    /// Its role on the mesh (`CLIENT`).
    pub role: Option<String>,
    /// Its region (`EU_868`); `None`: not reported, or not set.
    pub region: Option<String>,
    /// Its modem preset (`LongFast`).
    pub preset: Option<String>,
}

/// Kind of a readable packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TextPort {
    /// `TEXT_MESSAGE_APP` (1).
    Text,
    /// `ALERT_APP` (11).
    Alert,
    /// `DETECTION_SENSOR_APP` (10).
    DetectionSensor,
    /// Any other port number; `chat_portnums` decides whether it is relayed.
    Other(u32),
}

/// A packet with readable content. Its text is unsanitised, except that invalid UTF-8 is replaced.
#[derive(Debug, Clone, PartialEq)]
pub struct RadioText {
    /// Who sent it, with the names known now.
    pub sender: Node,
    /// The packet's id; [`PacketId::NONE`] is never a duplicate.
    pub packet: PacketId,
    /// Its destination.
    pub destination: Destination,
    /// The channel's displayed name; empty for a direct message.
    pub channel_name: String,
    /// The channel's fingerprint, if reported; `None` for a direct message.
    pub fingerprint: Option<Fingerprint>,
    /// Its port.
    pub port: TextPort,
    /// The port's name in the protocol's own spelling (`TEXT_MESSAGE_APP`).
    pub port_name: String,
    /// The text.
    pub text: String,
    /// The packet that it replies or reacts to.
    pub reply_to: Option<PacketId>,
    /// Whether it is a tapback: `text` is an emoji on `reply_to`.
    pub is_reaction: bool,
    /// When the radio heard it: `rx_time` if plausible, else the time of arrival.
    pub heard_at: Timestamp,
    /// Number of hops, if known.
    pub hops: Option<u8>,
    /// Signal-to-noise ratio in dB, if known.
    pub snr: Option<f32>,
    /// Signal strength in dBm, if known.
    pub rssi: Option<i32>,
    /// Whether it came over MQTT at some point.
    pub via_mqtt: bool,
    /// Whether its author consents to publication outside the mesh (bit 0 of `bitfield`).
    pub ok_to_mqtt: bool,
    /// Whether a store-and-forward server repeated it.
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
