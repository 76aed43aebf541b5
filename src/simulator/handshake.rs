//! What the radio tells a client that asks for its configuration, in the order that the firmware keeps
//! (2.7.26, measured). Decides nothing about when.

use std::collections::VecDeque;

use crate::radio::proto::{self, config, from_radio::PayloadVariant, module_config, wire};

use super::condition::Condition;
use super::firmware::Firmware;
use super::frame::Frame;
use super::mesh::{Mesh, SimulatedNode};
use super::packets;

/// Asks for everything but the other nodes.
pub(super) const CONFIG_ONLY: u32 = 69420;

/// Asks for the nodes only.
pub(super) const NODES_ONLY: u32 = 69421;

/// Returns all frames that answer `want_config_id` = `nonce`, the closing one included.
pub(super) fn series(mesh: &Mesh, state: &Condition, nonce: u32) -> VecDeque<Frame> {
    let mut frames = Series::default();
    if nonce != NODES_ONLY {
        frames.push_back(my_info(mesh, state));
        frames.push_back(PayloadVariant::DeviceuiConfig(proto::DeviceUiConfig {
            screen_brightness: 153,
            screen_timeout: 30,
            ..proto::DeviceUiConfig::default()
        }));
    }
    frames.push_back(PayloadVariant::NodeInfo(proto::NodeInfo {
        is_favorite: true,
        ..node_info(&mesh.own, state.firmware)
    }));
    if nonce != NODES_ONLY {
        frames.push_back(metadata(state));
        if state.firmware == Firmware::V2_8 {
            frames.push_newer(region_presets());
        }
        frames.extend(channels(mesh, state).map(PayloadVariant::Channel));
        frames.extend(configs(mesh, state));
        frames.extend(module_configs(state.firmware));
        if state.firmware == Firmware::V2_8 {
            frames.push_newer(mesh_beacon());
        }
    }
    if nonce != CONFIG_ONLY {
        frames.extend(
            mesh.nodes
                .iter()
                .map(|node| PayloadVariant::NodeInfo(node_info(node, state.firmware))),
        );
    }
    if nonce != NODES_ONLY {
        frames.extend(files());
    }
    frames.push_back(PayloadVariant::ConfigCompleteId(nonce));
    frames.0
}

/// The frames so far.
#[derive(Default)]
struct Series(VecDeque<Frame>);

impl Series {
    fn push_back(&mut self, variant: PayloadVariant) {
        self.0.push_back(Frame::Known(variant));
    }

    fn push_newer(&mut self, newer: wire::NewerFromRadio) {
        self.0.push_back(Frame::Newer(newer));
    }

    fn extend(&mut self, variants: impl IntoIterator<Item = PayloadVariant>) {
        self.0.extend(variants.into_iter().map(Frame::Known));
    }
}

/// Returns what the radio says of itself when it is asked for its metadata.
pub(super) fn device_metadata(firmware: Firmware) -> proto::DeviceMetadata {
    proto::DeviceMetadata {
        firmware_version: firmware.version().to_owned(),
        device_state_version: 24,
        has_wifi: true,
        position_flags: 811,
        hw_model: i32::from(proto::HardwareModel::Portduino),
        has_remote_hardware: true,
        has_pkc: true,
        ..proto::DeviceMetadata::default()
    }
}

fn my_info(mesh: &Mesh, state: &Condition) -> PayloadVariant {
    PayloadVariant::MyInfo(proto::MyNodeInfo {
        my_node_num: mesh.own.num.0,
        reboot_count: state.reboot_count,
        min_app_version: 30_200,
        pio_env: "native".to_owned(),
        nodedb_count: u32::try_from(mesh.nodes.len() + 1).unwrap_or(u32::MAX),
        ..proto::MyNodeInfo::default()
    })
}

fn metadata(state: &Condition) -> PayloadVariant {
    PayloadVariant::Metadata(if state.locked {
        proto::DeviceMetadata::default()
    } else {
        device_metadata(state.firmware)
    })
}

/// Of a locked radio only the slots are told.
fn channels(mesh: &Mesh, state: &Condition) -> impl Iterator<Item = proto::Channel> {
    mesh.channels.iter().map(move |channel| {
        if state.locked {
            proto::Channel {
                index: channel.index,
                ..proto::Channel::default()
            }
        } else {
            channel.clone()
        }
    })
}

/// Which presets are lawful where, for two regions.
fn region_presets() -> wire::NewerFromRadio {
    use config::lo_ra_config::RegionCode;
    let region = |code: RegionCode, group| wire::RegionGroup {
        region: i32::from(code).unsigned_abs(),
        group,
    };
    let region_presets = wire::RegionPresets {
        groups: vec![
            wire::PresetGroup {
                presets: vec![0, 1, 3, 4, 5, 6, 7, 8, 9],
                default_preset: 0,
            },
            wire::PresetGroup {
                presets: vec![0, 1, 3, 4, 5, 6, 7],
                default_preset: 0,
            },
        ],
        regions: vec![region(RegionCode::Us, 0), region(RegionCode::Eu868, 1)],
    };
    wire::NewerFromRadio {
        region_presets: Some(region_presets),
        ..wire::NewerFromRadio::default()
    }
}

/// A module that older clients do not know.
fn mesh_beacon() -> wire::NewerFromRadio {
    let module_config = wire::NewerModuleConfig {
        mesh_beacon: Some(wire::MeshBeaconConfig {}),
    };
    wire::NewerFromRadio {
        module_config: Some(module_config),
        ..wire::NewerFromRadio::default()
    }
}

/// Firmware 2.8 tells position and telemetry as packets after the handshake instead.
pub(super) fn node_info(node: &SimulatedNode, firmware: Firmware) -> proto::NodeInfo {
    let known = firmware == Firmware::V2_7 && node.user.is_some();
    proto::NodeInfo {
        position: known.then(|| packets::position(node.last_heard)),
        device_metrics: known.then(|| packets::metrics(60, 5)),
        num: node.num.0,
        user: node.user.clone(),
        snr: node.snr,
        last_heard: node.last_heard,
        hops_away: Some(u32::from(node.hops)),
        ..proto::NodeInfo::default()
    }
}

fn configs(mesh: &Mesh, state: &Condition) -> impl Iterator<Item = PayloadVariant> {
    let region = if state.region_unset {
        config::lo_ra_config::RegionCode::Unset
    } else {
        config::lo_ra_config::RegionCode::Us
    };
    let variants = [
        config::PayloadVariant::Device(config::DeviceConfig {
            node_info_broadcast_secs: 10_800,
            ..config::DeviceConfig::default()
        }),
        config::PayloadVariant::Position(config::PositionConfig {
            position_broadcast_secs: 3_600,
            position_broadcast_smart_enabled: true,
            gps_update_interval: 120,
            position_flags: 811,
            broadcast_smart_minimum_distance: 100,
            broadcast_smart_minimum_interval_secs: 300,
            gps_mode: i32::from(config::position_config::GpsMode::NotPresent),
            ..config::PositionConfig::default()
        }),
        config::PayloadVariant::Power(config::PowerConfig {
            wait_bluetooth_secs: 60,
            sds_secs: u32::MAX,
            ls_secs: 300,
            min_wake_secs: 10,
            ..config::PowerConfig::default()
        }),
        config::PayloadVariant::Network(config::NetworkConfig {
            ntp_server: "ntp.example.org".to_owned(),
            ..config::NetworkConfig::default()
        }),
        config::PayloadVariant::Display(config::DisplayConfig {
            screen_on_secs: 600,
            ..config::DisplayConfig::default()
        }),
        config::PayloadVariant::Lora(config::LoRaConfig {
            use_preset: state.preset.is_some(),
            modem_preset: state.preset.unwrap_or_default(),
            bandwidth: 250,
            spread_factor: 11,
            coding_rate: 5,
            region: i32::from(region),
            hop_limit: u32::from(super::air::HOP_LIMIT),
            tx_enabled: !state.transmit_off,
            tx_power: 30,
            ..config::LoRaConfig::default()
        }),
        config::PayloadVariant::Bluetooth(config::BluetoothConfig {
            enabled: true,
            mode: i32::from(config::bluetooth_config::PairingMode::FixedPin),
            fixed_pin: 123_456,
        }),
        config::PayloadVariant::Security(config::SecurityConfig {
            public_key: mesh.own.public_key().unwrap_or_default().to_vec(),
            serial_enabled: true,
            ..config::SecurityConfig::default()
        }),
        config::PayloadVariant::Sessionkey(config::SessionkeyConfig {}),
        config::PayloadVariant::DeviceUi(proto::DeviceUiConfig::default()),
    ];
    variants.into_iter().map(|variant| {
        PayloadVariant::Config(proto::Config {
            payload_variant: Some(variant),
        })
    })
}

/// The last three have no variant before 2.8: the firmware sends them for modules that it does not have yet.
fn module_configs(firmware: Firmware) -> impl Iterator<Item = PayloadVariant> {
    use module_config::PayloadVariant as Module;
    let newer = |module: Module| (firmware == Firmware::V2_8).then_some(module);
    let variants = [
        Some(Module::Mqtt(module_config::MqttConfig {
            address: "mqtt.example.org".to_owned(),
            encryption_enabled: true,
            root: "msh/US".to_owned(),
            ..module_config::MqttConfig::default()
        })),
        Some(Module::Serial(module_config::SerialConfig::default())),
        Some(Module::ExternalNotification(
            module_config::ExternalNotificationConfig::default(),
        )),
        Some(Module::StoreForward(
            module_config::StoreForwardConfig::default(),
        )),
        Some(Module::RangeTest(module_config::RangeTestConfig::default())),
        Some(Module::Telemetry(module_config::TelemetryConfig {
            device_update_interval: 3_600,
            ..module_config::TelemetryConfig::default()
        })),
        Some(Module::CannedMessage(
            module_config::CannedMessageConfig::default(),
        )),
        Some(Module::Audio(module_config::AudioConfig::default())),
        Some(Module::RemoteHardware(
            module_config::RemoteHardwareConfig::default(),
        )),
        Some(Module::NeighborInfo(
            module_config::NeighborInfoConfig::default(),
        )),
        Some(Module::AmbientLighting(
            module_config::AmbientLightingConfig {
                current: 10,
                red: 28,
                green: 224,
                blue: 1,
                ..module_config::AmbientLightingConfig::default()
            },
        )),
        Some(Module::DetectionSensor(
            module_config::DetectionSensorConfig {
                minimum_broadcast_secs: 45,
                ..module_config::DetectionSensorConfig::default()
            },
        )),
        Some(Module::Paxcounter(
            module_config::PaxcounterConfig::default(),
        )),
        newer(Module::Statusmessage(
            module_config::StatusMessageConfig::default(),
        )),
        newer(Module::TrafficManagement(
            module_config::TrafficManagementConfig::default(),
        )),
        newer(Module::Tak(module_config::TakConfig::default())),
    ];
    variants.into_iter().map(|payload_variant| {
        PayloadVariant::ModuleConfig(proto::ModuleConfig { payload_variant })
    })
}

fn files() -> impl Iterator<Item = PayloadVariant> {
    let files = [
        ("/prefs/device.proto", 129),
        ("/prefs/nodes.proto", 660),
        ("/prefs/channels.proto", 113),
        ("/prefs/config.proto", 179),
        ("/prefs/module.proto", 96),
    ];
    files.into_iter().map(|(name, size_bytes)| {
        PayloadVariant::FileInfo(proto::FileInfo {
            file_name: name.to_owned(),
            size_bytes,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let kinds = frames.iter().map(|frame| match frame {
            Frame::Known(known) => match known {
                PayloadVariant::MyInfo(_) => "my_info",
                PayloadVariant::DeviceuiConfig(_) => "deviceui",
                PayloadVariant::NodeInfo(_) => "node",
                PayloadVariant::Metadata(_) => "metadata",
                PayloadVariant::Channel(_) => "channel",
                PayloadVariant::Config(_) => "config",
                PayloadVariant::ModuleConfig(_) => "module",
                PayloadVariant::FileInfo(_) => "file",
                PayloadVariant::ConfigCompleteId(_) => "complete",
                _ => "other",
            },
            Frame::Newer(newer) if newer.region_presets.is_some() => "region_presets",
            Frame::Newer(newer) if newer.module_config.is_some() => "module",
            Frame::Newer(_) => "other",
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
                match frame {
                    Frame::Known(PayloadVariant::NodeInfo(node)) => {
                        assert!(node.user.is_some());
                        assert_eq!(node.position.is_none(), thin);
                        assert_eq!(node.device_metrics.is_none(), thin);
                    }
                    Frame::Known(PayloadVariant::ModuleConfig(module)) if thin => {
                        assert!(module.payload_variant.is_some());
                    }
                    Frame::Known(_) | Frame::Newer(_) => {}
                }
            }
        }
    }

    #[test]
    fn a_locked_radio_tells_blank_channels_and_no_metadata() {
        let locked = Condition {
            locked: true,
            ..state(Firmware::V2_8)
        };
        for frame in series(&Mesh::new(1, 3), &locked, 7) {
            match frame {
                Frame::Known(PayloadVariant::Channel(channel)) => {
                    assert_eq!((channel.role, channel.settings), (0, None));
                }
                Frame::Known(PayloadVariant::Metadata(metadata)) => {
                    assert_eq!(metadata, proto::DeviceMetadata::default());
                }
                Frame::Known(_) | Frame::Newer(_) => {}
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
