//! A radio that is heard on Bluetooth, whoever listens.

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FoundDevice {
    pub(crate) address: String,
    pub(crate) name: Option<String>,
    /// How well it is heard, in dBm.
    pub(crate) rssi: Option<i16>,
    /// This computer is connected to it.
    pub(crate) connected: bool,
}
