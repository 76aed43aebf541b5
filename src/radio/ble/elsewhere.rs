//! What `bluez.rs` is on Linux: elsewhere the system itself asks for the PIN, and tells the library of its end.

use std::future::{Pending, Ready, pending, ready};

use btleplug::api::Peripheral as _;
use btleplug::platform::Peripheral;

use super::error::BleError;

/// Our own way to the service: there is none.
#[derive(Debug, Clone)]
pub(super) struct Service;

/// Tells when the service has ended.
#[derive(Debug)]
pub(super) struct ServiceEnd;

impl Service {
    /// Does nothing.
    pub(super) fn open() -> Ready<Result<(Self, ServiceEnd), BleError>> {
        ready(Ok((Self, ServiceEnd)))
    }

    /// There is nobody else to ask: a way on which nothing comes is dead.
    pub(super) fn answers(&self) -> Ready<bool> {
        ready(true)
    }

    /// Connects a device, and waits until its services are known.
    pub(super) async fn connect(&self, device: &Peripheral, name: &str) -> Result<(), BleError> {
        let connected = device.connect().await;
        connected.map_err(|error| BleError::of("connecting", Some(name), &error))
    }

    /// Leaves it to the system.
    pub(super) fn pair(&self, _id: &str, _name: &str, _pin: u32) -> Ready<Result<(), BleError>> {
        ready(Ok(()))
    }
}

impl ServiceEnd {
    /// Waits for ever.
    pub(super) fn wait(&mut self) -> Pending<BleError> {
        pending()
    }
}
