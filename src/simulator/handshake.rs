//! What the radio tells a client that asks for its configuration, in the order that the firmware keeps
//! (2.7.26, measured). Decides nothing about when.

use std::collections::VecDeque;

use crate::radio::proto::{self, config, from_radio::PayloadVariant, module_config};

use super::mesh::{Mesh, SimulatedNode};

/// Asks for everything but the other nodes.
pub(super) const CONFIG_ONLY: u32 = 69420;

/// Asks for the nodes only.
pub(super) const NODES_ONLY: u32 = 69421;

/// The radio's settings that a client sees in the handshake and that faults can change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RadioState {
    /// How often the radio has started.
    pub reboot_count: u32,
    /// A region is set.
    pub region_set: bool,
    /// Transmission is switched on.
    pub transmit_enabled: bool,
}

/// Returns all frames that answer `want_config_id` = `nonce`, the closing one included.
pub(super) fn series(mesh: &Mesh, state: RadioState, nonce: u32) -> VecDeque<PayloadVariant> {
    let mut frames = VecDeque::new();
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
        ..node_info(&mesh.own)
    }));
    if nonce != NODES_ONLY {
        frames.push_back(metadata());
        frames.extend(mesh.channels.iter().cloned().map(PayloadVariant::Channel));
        frames.extend(configs(mesh, state));
        frames.extend(module_configs());
    }
    if nonce != CONFIG_ONLY {
        frames.extend(
            mesh.nodes
                .iter()
                .map(|node| PayloadVariant::NodeInfo(node_info(node))),
        );
    }
    if nonce != NODES_ONLY {
        frames.extend(files());
    }
    frames.push_back(PayloadVariant::ConfigCompleteId(nonce));
    frames
}

/// Returns what the radio says of itself when it is asked for its metadata.
pub(super) fn device_metadata() -> proto::DeviceMetadata {
    proto::DeviceMetadata {
        firmware_version: "2.7.26.54e0d8d".to_owned(),
        device_state_version: 24,
        has_wifi: true,
        position_flags: 811,
        hw_model: i32::from(proto::HardwareModel::Portduino),
        has_remote_hardware: true,
        has_pkc: true,
        ..proto::DeviceMetadata::default()
    }
}

fn my_info(mesh: &Mesh, state: RadioState) -> PayloadVariant {
    PayloadVariant::MyInfo(proto::MyNodeInfo {
        my_node_num: mesh.own.num.0,
        reboot_count: state.reboot_count,
        min_app_version: 30_200,
        pio_env: "native".to_owned(),
        nodedb_count: u32::try_from(mesh.nodes.len() + 1).unwrap_or(u32::MAX),
        ..proto::MyNodeInfo::default()
    })
}

fn metadata() -> PayloadVariant {
    PayloadVariant::Metadata(device_metadata())
}

fn node_info(node: &SimulatedNode) -> proto::NodeInfo {
    proto::NodeInfo {
        num: node.num.0,
        user: node.user.clone(),
        snr: node.snr,
        last_heard: node.last_heard,
        hops_away: Some(u32::from(node.hops)),
        ..proto::NodeInfo::default()
    }
}

fn configs(mesh: &Mesh, state: RadioState) -> impl Iterator<Item = PayloadVariant> {
    let region = if state.region_set {
        config::lo_ra_config::RegionCode::Us
    } else {
        config::lo_ra_config::RegionCode::Unset
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
            use_preset: true,
            modem_preset: i32::from(config::lo_ra_config::ModemPreset::LongFast),
            bandwidth: 250,
            spread_factor: 11,
            coding_rate: 5,
            region: i32::from(region),
            hop_limit: u32::from(super::air::HOP_LIMIT),
            tx_enabled: state.transmit_enabled,
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

/// The last three have no variant: the firmware sends them for modules that its schema of the day does not name.
fn module_configs() -> impl Iterator<Item = PayloadVariant> {
    use module_config::PayloadVariant as Module;
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
        None,
        None,
        None,
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

    const STATE: RadioState = RadioState {
        reboot_count: 1,
        region_set: true,
        transmit_enabled: true,
    };

    fn kinds(nonce: u32) -> Vec<&'static str> {
        series(&Mesh::new(1, 3), STATE, nonce)
            .iter()
            .map(|frame| match frame {
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
            })
            .collect()
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
