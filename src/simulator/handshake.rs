//! What the radio tells a client that asks for its configuration, in the order that the firmware keeps
//! (2.7.26, measured). Decides nothing about when.

use std::collections::VecDeque;

use crate::radio::proto::{
    self, Message,
    config::{
        BluetoothConfig, DeviceConfig, DisplayConfig, LoRaConfig, NetworkConfig,
        PayloadVariant as Config, PositionConfig, PowerConfig, SecurityConfig, SessionkeyConfig,
        bluetooth_config::PairingMode, lo_ra_config::RegionCode, position_config::GpsMode,
    },
    from_radio::PayloadVariant,
    module_config::{
        AmbientLightingConfig, AudioConfig, CannedMessageConfig, DetectionSensorConfig,
        ExternalNotificationConfig, MqttConfig, NeighborInfoConfig, PaxcounterConfig,
        PayloadVariant as Module, RangeTestConfig, RemoteHardwareConfig, SerialConfig,
        StatusMessageConfig, StoreForwardConfig, TakConfig, TelemetryConfig,
        TrafficManagementConfig,
    },
    wire,
};

use super::condition::Condition;
use super::firmware::Firmware;
use super::frame;
use super::mesh::{Mesh, SimulatedNode};
use super::packets;

/// Asks for everything but the other nodes.
pub(super) const CONFIG_ONLY: u32 = 69420;

/// Asks for the nodes only.
pub(super) const NODES_ONLY: u32 = 69421;

/// Returns all frames that answer `want_config_id` = `nonce`, the closing one included.
pub(super) fn series(mesh: &Mesh, state: &Condition, nonce: u32) -> VecDeque<Vec<u8>> {
    let newer = state.firmware == Firmware::V2_8;
    let mut frames = VecDeque::new();
    if nonce != NODES_ONLY {
        frames.extend([my_info(mesh, state), screen()].map(frame::encode));
    }
    frames.push_back(frame::encode(PayloadVariant::NodeInfo(proto::NodeInfo {
        is_favorite: true,
        ..node_info(&mesh.own, state.firmware)
    })));
    if nonce != NODES_ONLY {
        frames.push_back(frame::encode(metadata(state)));
        frames.extend(newer.then(region_presets));
        let modules = module_configs(state.firmware);
        let settings = [channels(mesh, state), configs(mesh, state), modules];
        frames.extend(settings.into_iter().flatten().map(frame::encode));
        frames.extend(newer.then(mesh_beacon));
    }
    if nonce != CONFIG_ONLY {
        let infos = mesh.nodes.iter().map(|it| node_info(it, state.firmware));
        frames.extend(infos.map(|info| frame::encode(PayloadVariant::NodeInfo(info))));
    }
    if nonce != NODES_ONLY {
        frames.extend(FILES.map(file));
    }
    frames.push_back(frame::encode(PayloadVariant::ConfigCompleteId(nonce)));
    frames
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

fn screen() -> PayloadVariant {
    PayloadVariant::DeviceuiConfig(proto::DeviceUiConfig {
        screen_brightness: 153,
        screen_timeout: 30,
        ..proto::DeviceUiConfig::default()
    })
}

/// Of a locked radio only the slots are told.
fn channels(mesh: &Mesh, state: &Condition) -> Vec<PayloadVariant> {
    let blank = |channel: &proto::Channel| proto::Channel {
        index: channel.index,
        ..proto::Channel::default()
    };
    let told = if state.locked {
        mesh.channels.iter().map(blank).collect()
    } else {
        mesh.channels.clone()
    };
    told.into_iter().map(PayloadVariant::Channel).collect()
}

/// Which presets are lawful where, for two regions.
fn region_presets() -> Vec<u8> {
    let region = |code: RegionCode, group| wire::RegionGroup {
        region: i32::from(code).unsigned_abs(),
        group,
    };
    let group = |presets: &[u32]| wire::PresetGroup {
        presets: presets.to_vec(),
        default_preset: 0,
    };
    let region_presets = wire::RegionPresets {
        groups: vec![
            group(&[0, 1, 3, 4, 5, 6, 7, 8, 9]),
            group(&[0, 1, 3, 4, 5, 6, 7]),
        ],
        regions: vec![region(RegionCode::Us, 0), region(RegionCode::Eu868, 1)],
    };
    wire::NewerFromRadio {
        region_presets: Some(region_presets),
        ..wire::NewerFromRadio::default()
    }
    .encode_to_vec()
}

/// A module that older clients do not know.
fn mesh_beacon() -> Vec<u8> {
    let module_config = wire::NewerModuleConfig {
        mesh_beacon: Some(wire::MeshBeaconConfig {}),
    };
    wire::NewerFromRadio {
        module_config: Some(module_config),
        ..wire::NewerFromRadio::default()
    }
    .encode_to_vec()
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

fn configs(mesh: &Mesh, state: &Condition) -> Vec<PayloadVariant> {
    let region = if state.region_unset {
        RegionCode::Unset
    } else {
        RegionCode::Us
    };
    let variants = [
        Config::Device(DeviceConfig {
            node_info_broadcast_secs: 10_800,
            ..DeviceConfig::default()
        }),
        Config::Position(PositionConfig {
            position_broadcast_secs: 3_600,
            position_broadcast_smart_enabled: true,
            gps_update_interval: 120,
            position_flags: 811,
            broadcast_smart_minimum_distance: 100,
            broadcast_smart_minimum_interval_secs: 300,
            gps_mode: i32::from(GpsMode::NotPresent),
            ..PositionConfig::default()
        }),
        Config::Power(PowerConfig {
            wait_bluetooth_secs: 60,
            sds_secs: u32::MAX,
            ls_secs: 300,
            min_wake_secs: 10,
            ..PowerConfig::default()
        }),
        Config::Network(NetworkConfig {
            ntp_server: "ntp.example.org".to_owned(),
            ..NetworkConfig::default()
        }),
        Config::Display(DisplayConfig {
            screen_on_secs: 600,
            ..DisplayConfig::default()
        }),
        Config::Lora(LoRaConfig {
            use_preset: state.preset.is_some(),
            modem_preset: state.preset.unwrap_or_default(),
            bandwidth: 250,
            spread_factor: 11,
            coding_rate: 5,
            region: i32::from(region),
            hop_limit: u32::from(super::air::HOP_LIMIT),
            tx_enabled: !state.transmit_off,
            tx_power: 30,
            ..LoRaConfig::default()
        }),
        Config::Bluetooth(BluetoothConfig {
            enabled: true,
            mode: i32::from(PairingMode::FixedPin),
            fixed_pin: 123_456,
        }),
        Config::Security(SecurityConfig {
            public_key: mesh.own.public_key().unwrap_or_default().to_vec(),
            serial_enabled: true,
            ..SecurityConfig::default()
        }),
        Config::Sessionkey(SessionkeyConfig {}),
        Config::DeviceUi(proto::DeviceUiConfig::default()),
    ];
    let told = variants.map(|variant| proto::Config {
        payload_variant: Some(variant),
    });
    Vec::from(told.map(PayloadVariant::Config))
}

/// The last three have no variant before 2.8: the firmware sends them for modules that it does not have yet.
fn module_configs(firmware: Firmware) -> Vec<PayloadVariant> {
    let newer = |module: Module| (firmware == Firmware::V2_8).then_some(module);
    let variants = [
        Some(Module::Mqtt(MqttConfig {
            address: "mqtt.example.org".to_owned(),
            encryption_enabled: true,
            root: "msh/US".to_owned(),
            ..MqttConfig::default()
        })),
        Some(Module::Serial(SerialConfig::default())),
        Some(Module::ExternalNotification(
            ExternalNotificationConfig::default(),
        )),
        Some(Module::StoreForward(StoreForwardConfig::default())),
        Some(Module::RangeTest(RangeTestConfig::default())),
        Some(Module::Telemetry(TelemetryConfig {
            device_update_interval: 3_600,
            ..TelemetryConfig::default()
        })),
        Some(Module::CannedMessage(CannedMessageConfig::default())),
        Some(Module::Audio(AudioConfig::default())),
        Some(Module::RemoteHardware(RemoteHardwareConfig::default())),
        Some(Module::NeighborInfo(NeighborInfoConfig::default())),
        Some(Module::AmbientLighting(AmbientLightingConfig {
            current: 10,
            red: 28,
            green: 224,
            blue: 1,
            ..AmbientLightingConfig::default()
        })),
        Some(Module::DetectionSensor(DetectionSensorConfig {
            minimum_broadcast_secs: 45,
            ..DetectionSensorConfig::default()
        })),
        Some(Module::Paxcounter(PaxcounterConfig::default())),
        newer(Module::Statusmessage(StatusMessageConfig::default())),
        newer(Module::TrafficManagement(TrafficManagementConfig::default())),
        newer(Module::Tak(TakConfig::default())),
    ];
    let told = variants.map(|payload_variant| proto::ModuleConfig { payload_variant });
    Vec::from(told.map(PayloadVariant::ModuleConfig))
}

/// The radio's files, with their sizes in bytes.
const FILES: [(&str, u32); 5] = [
    ("/prefs/device.proto", 129),
    ("/prefs/nodes.proto", 660),
    ("/prefs/channels.proto", 113),
    ("/prefs/config.proto", 179),
    ("/prefs/module.proto", 96),
];

fn file((name, size_bytes): (&str, u32)) -> Vec<u8> {
    frame::encode(PayloadVariant::FileInfo(proto::FileInfo {
        file_name: name.to_owned(),
        size_bytes,
    }))
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
                    // A module that this client does not know is none for it.
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
            locked: true,
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
