//! The radio's answer between `want_config_id` and `config_complete_id`. No I/O, no clock.

use relay_model::{NodeNum, RadioProfile, RadioSetup};

use crate::mesh::nodedb::NodeDb;
use crate::mesh::{names, translate};
use relay_wire::proto::config::{self, LoRaConfig};
use relay_wire::proto::{CONFIG_ONLY, NODES_ONLY, from_radio::PayloadVariant as Part, wire};

/// Every radio sends all its slots, disabled ones included.
const CHANNELS: usize = 8;

/// The firmware's own default.
const DEFAULT_HOP_LIMIT: u8 = 3;
const LARGEST_HOP_LIMIT: u32 = 7;

/// Returns a nonce that requests the whole configuration.
pub(super) fn plain_nonce(random: u32) -> u32 {
    let mut nonce = random.max(1);
    while [CONFIG_ONLY, NODES_ONLY].contains(&nonce) {
        nonce += 1;
    }
    nonce
}

/// The parts of the configuration that have come so far in this handshake.
#[derive(Debug, Default)]
pub(super) struct Handshake {
    own: Option<(NodeNum, u32)>,
    firmware: String,
    hardware: Option<i32>,
    role: Option<i32>,
    channels: Vec<wire::Channel>,
    lora: Option<LoRaConfig>,
}

impl Handshake {
    /// Takes a part. Most are ignored, and some hold secrets.
    pub(super) fn take(&mut self, part: Part) {
        match part {
            // Every handshake begins with it: earlier parts belong to an older one.
            Part::MyInfo(info) => {
                *self = Self {
                    own: Some((NodeNum(info.my_node_num), info.reboot_count)),
                    ..Self::default()
                };
            }
            Part::Metadata(metadata) => {
                self.hardware = Some(metadata.hw_model);
                self.firmware = metadata.firmware_version;
            }
            Part::Config(config) => match config.payload_variant {
                Some(config::PayloadVariant::Lora(lora)) => self.lora = Some(lora),
                Some(config::PayloadVariant::Device(device)) => self.role = Some(device.role),
                _ => {}
            },
            _ => {}
        }
    }

    pub(super) fn channel(&mut self, channel: wire::Channel) {
        if (0..8).contains(&channel.index) {
            self.channels.retain(|other| other.index != channel.index);
            self.channels.push(channel);
        }
    }

    /// Returns whether a part that every radio sends is missing: a frame may have been lost.
    pub(super) fn has_gaps(&self) -> bool {
        let is_whole = self.channels.len() == CHANNELS && self.lora.is_some();
        !is_whole && self.own.is_some_and(|(own, _)| own != NodeNum(0))
    }

    /// Returns whether the answer is by that radio, as far as known.
    pub(super) fn is_of(&self, radio: NodeNum) -> bool {
        self.own.is_none_or(|(own, _)| own == radio)
    }

    /// Returns the radio's configuration; `None` without the radio's identity.
    pub(super) fn complete(self, nodes: &NodeDb) -> Option<RadioProfile> {
        let (own, reboot_count) = self.own.filter(|(own, _)| *own != NodeNum(0))?;
        let lora = self.lora.as_ref();
        let region = lora.map(|lora| lora.region).filter(|region| *region != 0);
        let hop_limit = lora.map(|lora| lora.hop_limit.min(LARGEST_HOP_LIMIT));
        let hop_limit = hop_limit.and_then(|limit| u8::try_from(limit).ok());
        // Every radio has a primary channel: one that sends none is locked.
        let locked = self.channels.iter().all(|channel| channel.role == 0);
        Some(RadioProfile {
            locked,
            own: nodes.node(own),
            firmware: self.firmware,
            channels: translate::channels(&self.channels, lora),
            hop_limit: hop_limit.unwrap_or(DEFAULT_HOP_LIMIT),
            // A missing part restricts nothing.
            region_set: lora.is_none() || region.is_some(),
            transmit_enabled: !locked && lora.is_none_or(|lora| lora.tx_enabled),
            reboot_count,
            setup: RadioSetup {
                hardware: self.hardware.and_then(names::hardware),
                role: self.role.map(names::role),
                region: region.map(names::region),
                preset: lora.map(names::preset),
            },
        })
    }
}
