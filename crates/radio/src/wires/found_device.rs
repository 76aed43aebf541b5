//! A radio found by a Bluetooth scan.

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundDevice {
    pub address: String,
    pub name: Option<String>,
    /// Signal strength in dBm.
    pub rssi: Option<i16>,
    /// Whether this computer is connected to it.
    pub connected: bool,
}
