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
        /// What happened to the link, which decides how soon it is tried again.
        kind: LossKind,
        /// The error with its causes, in one sentence.
        cause: String,
        /// What a person can do about it; `None` if nothing is known to help.
        hint: Option<String>,
    },
    /// A packet with readable content, for us or on a channel.
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
    /// Reading or writing failed on an open link.
    Broken,
    /// The link is up, but the radio does not respond properly.
    Silent,
    /// The link is up, but nothing answers in the radio's protocol.
    Nobody,
    /// Nothing was found at the configured address or port.
    Absent,
    /// Another obstacle, such as a port in use; its own hint says what to do.
    Barred,
    /// The radio requires an action by a person, as for pairing. Retrying is useless until then, and may show a prompt on the
    /// radio's screen.
    Refused,
}

/// The attached radio's configuration, as of its last handshake.
#[derive(Debug, Clone, PartialEq)]
pub struct RadioProfile {
    /// The radio's own node, from which our packets are sent.
    pub own: Node,
    /// Firmware version (`2.7.26.54e0d8d`), from `DeviceMetadata`; empty if not reported.
    pub firmware: String,
    /// All eight slots by index, disabled ones included.
    pub channels: Vec<Channel>,
    /// `LoRaConfig.hop_limit`, at most 7; 3 if not reported. Our packets are sent with it.
    pub hop_limit: u8,
    /// Whether a region is set; without one a radio never transmits.
    pub region_set: bool,
    /// `LoRaConfig.tx_enabled`; true if not reported, false while the radio is locked.
    pub transmit_enabled: bool,
    /// `MyNodeInfo.reboot_count`; a rise tells of a restart that the link did not show.
    pub reboot_count: u32,
    /// Whether the radio is locked (firmware 2.8): it reports no channels and relays no messages.
    pub locked: bool,
    /// Configuration that is only displayed.
    pub setup: RadioSetup,
}

impl RadioProfile {
    /// Returns whether the radio is able to transmit.
    pub fn transmits(&self) -> bool {
        self.region_set && self.transmit_enabled
    }

    /// Returns the firmware version; `None` if not reported, as by a locked radio.
    pub fn told_firmware(&self) -> Option<&str> {
        Some(self.firmware.as_str()).filter(|it| !it.is_empty())
    }
}

/// A radio's configuration in the protocol's own terms, for display only.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RadioSetup {
    /// Board, as Meshtastic names it (`HELTEC_V3`); `None`: not reported.
    pub hardware: Option<String>,
    /// Role on the mesh, as Meshtastic names it (`CLIENT`); `None` if not reported.
    pub role: Option<String>,
    /// Region (`EU_868`); `None`: not reported, or not set.
    pub region: Option<String>,
    /// Modem preset (`LongFast`), or `custom`; `None` if not reported.
    pub preset: Option<String>,
}

/// Port of a readable packet (`PortNum`).
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
    /// Node that sent it, or that wrote a replayed text; with the names known at its arrival.
    pub sender: Node,
    /// The packet's id; [`PacketId::NONE`] is never a duplicate.
    pub packet: PacketId,
    /// Channel slot, or our own node for a direct message.
    pub destination: Destination,
    /// The channel's displayed name; empty for a direct message.
    pub channel_name: String,
    /// The channel's fingerprint, if reported; `None` for a direct message.
    pub fingerprint: Option<Fingerprint>,
    /// Port, as far as it changes how the text is relayed.
    pub port: TextPort,
    /// The port's name in the protocol's own spelling (`TEXT_MESSAGE_APP`).
    pub port_name: String,
    /// The text, or the emoji of a tapback; the bridge cleans it.
    pub text: String,
    /// Id of the packet that it replies or reacts to (`Data.reply_id`); `None` if 0.
    pub reply_to: Option<PacketId>,
    /// Whether it is a tapback: `text` is an emoji on `reply_to`.
    pub is_reaction: bool,
    /// When the radio heard it: `rx_time` if plausible, else the time of arrival.
    pub heard_at: Timestamp,
    /// Number of hops to the radio, 0 to 7; `None` if the sender's firmware is too old to tell.
    pub hops: Option<u8>,
    /// Last byte of the number of the node that transmitted it to the radio (`relay_node`); `None` if not told.
    pub relayed_by: Option<u8>,
    /// Signal-to-noise ratio at the radio in dB; `None` if not measured.
    pub snr: Option<f32>,
    /// Signal strength at the radio in dBm; `None` if not measured.
    pub rssi: Option<i32>,
    /// Whether it passed an MQTT server (`via_mqtt`, or MQTT as the last transport).
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
