//! A radio that is heard on Bluetooth, whoever listens.

/// A radio that is heard on Bluetooth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundDevice {
    /// Its address.
    pub address: String,
    /// Its name.
    pub name: Option<String>,
    /// How well it is heard, in dBm.
    pub rssi: Option<i16>,
    /// This computer is connected to it.
    pub connected: bool,
}
