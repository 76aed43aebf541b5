//! The replacement for Bluetooth in a build without it.

use std::future::Ready;

use relay_config::Secret;
use relay_model::full_text;

use super::{found_device::FoundDevice, packets::PacketLink};
use crate::claim::RadioClaim;
use crate::error::{ConnectionError, RadioError};

/// Bluetooth, of which this build has none.
#[derive(Debug)]
pub enum Ble {}

impl Ble {
    /// Always fails.
    pub fn new(_device: &str, _pin: Option<Secret<u32>>) -> Result<Self, RadioError> {
        Err(RadioError::NoBluetooth)
    }

    pub(super) fn connect(
        &mut self,
        _claim: &mut RadioClaim,
    ) -> Ready<Result<PacketLink, ConnectionError>> {
        match *self {}
    }

    pub(super) fn give_up(&mut self) -> Ready<()> {
        match *self {}
    }
}

/// Returns why no radio is found.
pub async fn find_bluetooth() -> Result<Vec<FoundDevice>, String> {
    Err(full_text(&RadioError::NoBluetooth))
}
