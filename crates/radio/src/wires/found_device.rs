//! A radio that is heard on Bluetooth, whoever listens.

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundDevice {
    pub address: String,
    pub name: Option<String>,
    /// How well it is heard, in dBm.
    pub rssi: Option<i16>,
    /// This computer is connected to it.
    pub connected: bool,
}
