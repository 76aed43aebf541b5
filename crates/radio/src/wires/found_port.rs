//! A serial port of this computer: what is known of it, and whether it is likely a radio.

use std::path::{Path, PathBuf};

/// Vendors of USB-to-UART bridges, whose DTR and RTS drive the board's reset circuit.
const BRIDGES: [u16; 4] = [
    0x0403, // FTDI
    0x067B, // Prolific
    0x10C4, // Silicon Labs
    0x1A86, // WCH
];

/// Vendors of serial devices that are not radios.
const OTHERS: [u16; 9] = [
    0x0483, // STMicroelectronics: debug probes
    0x05C6, // Qualcomm: modems
    0x1199, // Sierra Wireless: modems
    0x12D1, // Huawei: modems
    0x1366, // SEGGER: debug probes
    0x1546, // u-blox: satellite receivers
    0x19D2, // ZTE: modems
    0x1BC7, // Telit: modems
    0x2C7C, // Quectel: modems
];

/// Product names of such devices, in lower case.
const OTHER_NAMES: [&str; 5] = ["zigbee", "z-wave", "zwave", "conbee", "modem"];

/// A USB serial port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundPort {
    /// Device file, which may change at the next start.
    pub device: PathBuf,
    /// Its name in `/dev/serial/by-id`, which stays when the port is plugged in elsewhere; `None`: it has none.
    pub stable: Option<PathBuf>,
    /// The USB device behind it, as the system describes it; `None`: not known.
    pub usb: Option<Usb>,
}

/// A USB device: vendor, product, and product name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Usb {
    pub vendor: u16,
    pub product: u16,
    pub name: Option<String>,
}

impl FoundPort {
    /// Returns whether it may be a radio; some devices are known not to be one.
    pub fn is_likely(&self) -> bool {
        let Some(usb) = &self.usb else { return true };
        let name = usb.name.as_deref().unwrap_or_default().to_lowercase();
        !OTHERS.contains(&usb.vendor) && !OTHER_NAMES.iter().any(|other| name.contains(other))
    }

    /// Returns the name that is best put into the configuration: the stable one, if there is one.
    pub fn best_name(&self) -> &Path {
        self.stable.as_deref().unwrap_or(&self.device)
    }
}

/// Returns whether a device is a USB-to-UART bridge.
pub(super) fn is_bridge(usb: &Usb) -> bool {
    BRIDGES.contains(&usb.vendor)
}

/// Removes control characters: devices and processes choose their own names.
pub(super) fn printable(name: &str) -> String {
    const LONGEST: usize = 80;
    let shown = name.chars().filter(|character| !character.is_control());
    shown.take(LONGEST).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_packages_keep_modemmanager_from_every_bridge_and_from_nothing_that_is_no_radio() {
        const RULE: &str = include_str!("../../../../packaging/udev/60-relay-modemmanager.rules");
        let names = |vendor: &u16| RULE.contains(&format!("ATTRS{{idVendor}}==\"{vendor:04x}\""));
        assert!(BRIDGES.iter().all(names));
        assert!(!OTHERS.iter().any(names));
    }
}
