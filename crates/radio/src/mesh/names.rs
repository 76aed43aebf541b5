//! The protocol's names for boards, roles, regions, presets and ports. Values of newer firmware that have no name yet
//! are shown as numbers.

use relay_wire::proto::config::LoRaConfig;
use relay_wire::proto::config::device_config::Role;
use relay_wire::proto::config::lo_ra_config::RegionCode;
use relay_wire::proto::{HardwareModel, PortNum};

/// Returns a board's name; `None` where the radio does not send it.
pub(crate) fn hardware(number: i32) -> Option<String> {
    (number != 0).then(|| word(number, "board", HardwareModel::as_str_name))
}

pub(crate) fn role(number: i32) -> String {
    word(number, "role", Role::as_str_name)
}

pub(crate) fn region(number: i32) -> String {
    word(number, "region", RegionCode::as_str_name)
}

fn word<W: TryFrom<i32>>(number: i32, what: &str, name: impl Fn(&W) -> &'static str) -> String {
    let known = W::try_from(number).map(|word| name(&word).to_owned());
    known.unwrap_or_else(|_| format!("{what} {number}"))
}

/// Returns the name of the radio's modem preset.
pub(crate) fn preset(lora: &LoRaConfig) -> String {
    match known_preset(lora.modem_preset) {
        _ if !lora.use_preset => "custom".to_owned(),
        Some(name) => name.to_owned(),
        None => format!("preset {}", lora.modem_preset),
    }
}

/// Returns the name of an unnamed channel, as the firmware's own screen shows it.
pub(super) fn default_channel(lora: Option<&LoRaConfig>) -> &'static str {
    match lora {
        Some(lora) if !lora.use_preset => "Custom",
        Some(lora) => known_preset(lora.modem_preset).unwrap_or("Invalid"),
        None => "LongFast",
    }
}

/// Names of `LoRaConfig.ModemPreset`, including those that the `meshtastic` crate lacks.
fn known_preset(preset: i32) -> Option<&'static str> {
    Some(match preset {
        0 => "LongFast",
        1 => "LongSlow",
        3 => "MediumSlow",
        4 => "MediumFast",
        5 => "ShortSlow",
        6 => "ShortFast",
        7 => "LongMod",
        8 => "ShortTurbo",
        9 => "LongTurbo",
        10 => "LiteFast",
        11 => "LiteSlow",
        12 => "NarrowFast",
        13 => "NarrowSlow",
        14 => "TinyFast",
        15 => "TinySlow",
        16 => "MediumTurbo",
        _ => return None,
    })
}

/// `REMOTE_SHELL_APP`: never relayed, whatever the configuration says.
pub(super) const REMOTE_SHELL: i32 = 13;

/// Returns a port's name in the protocol's spelling, or its number.
pub(crate) fn port(number: i32) -> String {
    // Ports that the `meshtastic` crate lacks.
    let known = match number {
        REMOTE_SHELL => Some("REMOTE_SHELL_APP"),
        37 => Some("MESH_BEACON_APP"),
        _ => PortNum::try_from(number).ok().map(|it| it.as_str_name()),
    };
    known.map_or_else(|| number.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_newer_than_we_are_is_shown_by_its_number() {
        assert_eq!(hardware(43).as_deref(), Some("HELTEC_V3"));
        assert_eq!(hardware(-7).as_deref(), Some("board -7"));
        assert_eq!(hardware(0), None);
        assert_eq!(role(0), "CLIENT");
        assert_eq!(role(99), "role 99");
        assert_eq!(region(3), "EU_868");
        assert_eq!(region(1000), "region 1000");
        let mut lora = LoRaConfig {
            use_preset: true,
            modem_preset: 77,
            ..LoRaConfig::default()
        };
        assert_eq!(
            (preset(&lora).as_str(), default_channel(Some(&lora))),
            ("preset 77", "Invalid")
        );
        lora.modem_preset = 9;
        assert_eq!(
            (preset(&lora).as_str(), default_channel(Some(&lora))),
            ("LongTurbo", "LongTurbo")
        );
        lora.use_preset = false;
        assert_eq!(
            (preset(&lora).as_str(), default_channel(Some(&lora))),
            ("custom", "Custom")
        );
    }

    #[test]
    fn ports_have_the_protocols_names() {
        for (number, expected) in [
            (1, "TEXT_MESSAGE_APP"),
            (4, "NODEINFO_APP"),
            (5, "ROUTING_APP"),
            (6, "ADMIN_APP"),
            (10, "DETECTION_SENSOR_APP"),
            (11, "ALERT_APP"),
            (13, "REMOTE_SHELL_APP"),
            (65, "STORE_FORWARD_APP"),
            (67, "TELEMETRY_APP"),
            (37, "MESH_BEACON_APP"),
            (300, "300"),
            (-1, "-1"),
        ] {
            assert_eq!(port(number), expected);
        }
    }
}
