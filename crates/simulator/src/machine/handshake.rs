//! The frames of the configuration, in the order of the firmware (2.7.26, measured). Their timing is decided elsewhere.

use std::collections::VecDeque;

use prost::encoding::{WireType, encode_key};

use relay_wire::proto::{
    self, CONFIG_ONLY, Message, NODES_ONLY,
    channel::Role,
    config::{PayloadVariant as Config, lo_ra_config::RegionCode},
    from_radio::PayloadVariant,
    wire,
};

use super::{condition::Condition, firmware::Firmware, frame};
use crate::lines::Fault;
use crate::mesh::{HOP_LIMIT, Mesh, packets};

/// Returns all frames that answer `want_config_id` = `nonce`, the final one included.
pub(super) fn series(mesh: &Mesh, state: &Condition, nonce: u32) -> VecDeque<Vec<u8>> {
    let newer = state.firmware == Firmware::V2_8;
    let mut frames = VecDeque::new();
    if nonce != NODES_ONLY {
        let screen = PayloadVariant::DeviceuiConfig(proto::DeviceUiConfig::default());
        frames.extend([my_info(mesh, state), screen].map(frame::encode));
    }
    frames.push_back(node_info(&mesh.own, state.firmware));
    if nonce != NODES_ONLY {
        frames.push_back(frame::encode(metadata(state)));
        frames.extend(newer.then(region_presets));
        let channels = mesh.channels.iter().map(|it| channel(it, state));
        let configs = (1..=10).map(|tag| config(tag, mesh, state));
        let modules = (1..=16).map(|tag| module_config(tag, state.firmware));
        let settings = channels.chain(configs).chain(modules);
        frames.extend(settings.map(frame::encode));
        frames.extend(newer.then(mesh_beacon));
    }
    if nonce != CONFIG_ONLY {
        frames.extend(mesh.nodes.iter().map(|it| node_info(it, state.firmware)));
    }
    if nonce != NODES_ONLY {
        frames.extend(FILES.map(file));
    }
    frames.push_back(frame::encode(PayloadVariant::ConfigCompleteId(nonce)));
    frames
}

fn my_info(mesh: &Mesh, state: &Condition) -> PayloadVariant {
    PayloadVariant::MyInfo(proto::MyNodeInfo {
        my_node_num: mesh.own.num,
        reboot_count: state.reboot_count,
        min_app_version: 30_200,
        pio_env: "native".to_owned(),
        nodedb_count: mesh.node_count(),
        ..proto::MyNodeInfo::default()
    })
}

fn metadata(state: &Condition) -> PayloadVariant {
    if state.is_on(Fault::Locked) {
        return PayloadVariant::Metadata(proto::DeviceMetadata::default());
    }
    PayloadVariant::Metadata(proto::DeviceMetadata {
        firmware_version: state.firmware.version().to_owned(),
        device_state_version: 24,
        hw_model: i32::from(proto::HardwareModel::Portduino),
        has_pkc: true,
        ..proto::DeviceMetadata::default()
    })
}

/// A locked radio sends only the slots.
fn channel(channel: &proto::Channel, state: &Condition) -> PayloadVariant {
    let mut slot = channel.clone();
    if state.is_on(Fault::Locked) {
        slot.settings = None;
        slot.set_role(Role::Disabled);
    }
    PayloadVariant::Channel(slot)
}

/// The permitted presets by region: all, in one region.
fn region_presets() -> Vec<u8> {
    let presets = wire::PresetGroup {
        presets: (0..10).collect(),
        default_preset: 0,
    };
    let region = wire::RegionGroup {
        region: i32::from(RegionCode::Us).unsigned_abs(),
        group: 0,
    };
    let region_presets = wire::RegionPresets {
        groups: vec![presets],
        regions: vec![region],
    };
    frame::encode_newer(|frame| frame.region_presets = Some(region_presets))
}

/// A module that older clients do not know.
fn mesh_beacon() -> Vec<u8> {
    let mesh_beacon = Some(wire::MeshBeaconConfig {});
    let config = wire::NewerModuleConfig { mesh_beacon };
    frame::encode_newer(|frame| frame.module_config = Some(config))
}

/// Firmware 2.8 sends position and telemetry as packets after the handshake instead.
pub(super) fn node_info(node: &proto::NodeInfo, firmware: Firmware) -> Vec<u8> {
    let known = firmware == Firmware::V2_7 && node.user.is_some();
    frame::encode(PayloadVariant::NodeInfo(proto::NodeInfo {
        position: known.then(|| packets::position(node.last_heard)),
        device_metrics: known.then(|| packets::metrics(60, 5)),
        ..node.clone()
    }))
}

/// Returns a message with only an empty part of that tag, if there is one. The firmware also sends its parts by tag.
fn with_part<T: Message + Default>(tag: u32) -> T {
    let mut bytes = Vec::new();
    encode_key(tag, WireType::LengthDelimited, &mut bytes);
    // Its length.
    bytes.push(0);
    T::decode(bytes.as_slice()).unwrap_or_default()
}

/// Sends only those settings that the relay uses.
fn config(tag: u32, mesh: &Mesh, state: &Condition) -> PayloadVariant {
    let mut config: proto::Config = with_part(tag);
    match &mut config.payload_variant {
        Some(Config::Lora(lora)) => {
            lora.use_preset = state.preset.is_some();
            lora.modem_preset = state.preset.unwrap_or_default();
            if !state.is_on(Fault::RegionUnset) {
                lora.set_region(RegionCode::Us);
            }
            lora.hop_limit = HOP_LIMIT;
            lora.tx_enabled = !state.is_on(Fault::TransmitOff);
        }
        Some(Config::Security(security)) => {
            security.public_key = mesh.public_key(mesh.own_num()).unwrap_or_default().to_vec();
        }
        Some(_) | None => {}
    }
    PayloadVariant::Config(config)
}

/// Before 2.8 the last three have no variant: the firmware sends them for modules that it lacks.
fn module_config(tag: u32, firmware: Firmware) -> PayloadVariant {
    let is_known = firmware == Firmware::V2_8 || tag <= 13;
    let config = is_known.then(|| with_part(tag));
    PayloadVariant::ModuleConfig(config.unwrap_or_default())
}

/// The radio's files.
const FILES: [&str; 5] = ["device", "nodes", "channels", "config", "module"];

fn file(name: &str) -> Vec<u8> {
    frame::encode(PayloadVariant::FileInfo(proto::FileInfo {
        file_name: format!("/prefs/{name}.proto"),
        size_bytes: 129,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lines::fault::Switch;

    fn kinds(nonce: u32) -> Vec<&'static str> {
        kinds_of(Firmware::V2_7, nonce)
    }

    fn state(firmware: Firmware) -> Condition {
        Condition {
            firmware,
            ..Condition::default()
        }
    }

    fn kinds_of(firmware: Firmware, nonce: u32) -> Vec<&'static str> {
        let frames = series(&Mesh::new(1, 3), &state(firmware), nonce);
        let kinds = frames.iter().map(|frame| match frame::decode(frame) {
            Some(PayloadVariant::MyInfo(_)) => "my_info",
            Some(PayloadVariant::DeviceuiConfig(_)) => "deviceui",
            Some(PayloadVariant::NodeInfo(_)) => "node",
            Some(PayloadVariant::Metadata(_)) => "metadata",
            Some(PayloadVariant::Channel(_)) => "channel",
            Some(PayloadVariant::Config(_)) => "config",
            Some(PayloadVariant::ModuleConfig(_)) => "module",
            Some(PayloadVariant::FileInfo(_)) => "file",
            Some(PayloadVariant::ConfigCompleteId(_)) => "complete",
            Some(_) => "other",
            None => match wire::NewerFromRadio::decode(frame.as_slice()).unwrap() {
                newer if newer.region_presets.is_some() => "region_presets",
                newer if newer.module_config.is_some() => "module",
                _ => "other",
            },
        });
        kinds.collect()
    }

    #[test]
    fn firmware_2_8_adds_region_presets_and_a_module_and_tells_thin_nodes() {
        let expected = shape(&[
            ("my_info", 1),
            ("deviceui", 1),
            ("node", 1),
            ("metadata", 1),
            ("region_presets", 1),
            ("channel", 8),
            ("config", 10),
            ("module", 17),
            ("node", 3),
            ("file", 5),
            ("complete", 1),
        ]);
        assert_eq!(kinds_of(Firmware::V2_8, 7), expected);
        for (firmware, thin) in [(Firmware::V2_7, false), (Firmware::V2_8, true)] {
            for frame in series(&Mesh::new(1, 3), &state(firmware), 7) {
                match frame::decode(&frame) {
                    Some(PayloadVariant::NodeInfo(node)) => {
                        assert!(node.user.is_some());
                        assert_eq!(node.position.is_none(), thin);
                        assert_eq!(node.device_metrics.is_none(), thin);
                    }
                    // A module unknown to this client decodes to nothing.
                    Some(PayloadVariant::ModuleConfig(module)) if thin => {
                        assert!(module.payload_variant.is_some() || frame == mesh_beacon());
                    }
                    Some(_) | None => {}
                }
            }
        }
    }

    #[test]
    fn a_locked_radio_tells_blank_channels_and_no_metadata() {
        let locked = Condition {
            faults: vec![Fault::Locked(Switch::ON)],
            ..state(Firmware::V2_8)
        };
        for frame in series(&Mesh::new(1, 3), &locked, 7) {
            match frame::decode(&frame) {
                Some(PayloadVariant::Channel(channel)) => {
                    assert_eq!((channel.role, channel.settings), (0, None));
                }
                Some(PayloadVariant::Metadata(metadata)) => {
                    assert_eq!(metadata, proto::DeviceMetadata::default());
                }
                Some(_) | None => {}
            }
        }
    }

    fn shape(parts: &[(&'static str, usize)]) -> Vec<&'static str> {
        parts
            .iter()
            .flat_map(|(kind, count)| std::iter::repeat_n(*kind, *count))
            .collect()
    }

    #[test]
    fn the_series_keeps_the_firmwares_order() {
        let expected = shape(&[
            ("my_info", 1),
            ("deviceui", 1),
            ("node", 1),
            ("metadata", 1),
            ("channel", 8),
            ("config", 10),
            ("module", 16),
            ("node", 3),
            ("file", 5),
            ("complete", 1),
        ]);
        assert_eq!(kinds(12345), expected);
        assert_eq!(kinds(0), expected);
    }

    #[test]
    fn nonce_69420_leaves_out_the_other_nodes() {
        let all = kinds(12345);
        assert_eq!(kinds(CONFIG_ONLY).len(), all.len() - 3);
        assert_eq!(
            kinds(CONFIG_ONLY)
                .iter()
                .filter(|kind| **kind == "node")
                .count(),
            1
        );
    }

    #[test]
    fn nonce_69421_sends_nodes_and_nothing_else() {
        assert_eq!(kinds(NODES_ONLY), shape(&[("node", 4), ("complete", 1)]));
    }
}
