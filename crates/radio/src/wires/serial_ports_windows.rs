//! The serial ports of this computer, as Windows lists them. It does not say which programs have one open.

use std::path::{Path, PathBuf};

use tokio_serial::{SerialPortInfo, SerialPortType};

use super::found_port::{FoundPort, Usb, is_bridge, printable};

/// Returns all USB serial ports, sorted by name.
pub fn find() -> Vec<FoundPort> {
    let mut found: Vec<_> = listed().into_iter().filter_map(of_usb).collect();
    found.sort_by(|one, other| one.device.cmp(&other.device));
    found
}

/// Returns the names of USB serial ports, sorted.
pub(super) fn devices() -> Vec<PathBuf> {
    find().into_iter().map(|port| port.device).collect()
}

/// Returns the names of all serial ports.
pub(super) fn all() -> Vec<PathBuf> {
    let name = |port: SerialPortInfo| port.port_name.into();
    listed().into_iter().map(name).collect()
}

/// Returns whether a port is a board's native USB, which sends nothing without DTR; behind a bridge, setting it may reset the
/// board.
pub(super) fn needs_dtr(port: &Path) -> bool {
    let is_port = |it: &FoundPort| it.device.as_os_str().eq_ignore_ascii_case(port.as_os_str());
    let usb = find().into_iter().find(is_port).and_then(|it| it.usb);
    usb.is_some_and(|usb| !is_bridge(&usb))
}

/// Returns nothing: no program is told.
pub(super) fn holders_of(_: &Path) -> Vec<String> {
    Vec::new()
}

fn listed() -> Vec<SerialPortInfo> {
    tokio_serial::available_ports().unwrap_or_default()
}

fn of_usb(port: SerialPortInfo) -> Option<FoundPort> {
    let SerialPortType::UsbPort(usb) = port.port_type else {
        return None;
    };
    Some(FoundPort {
        device: port.port_name.into(),
        stable: None,
        usb: Some(Usb {
            vendor: usb.vid,
            product: usb.pid,
            name: usb.product.map(|name| printable(name.trim())),
        }),
    })
}
