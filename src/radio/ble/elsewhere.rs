//! What `bluez.rs` is on Linux: elsewhere the system itself asks for the PIN, and tells the library of its end.

use std::future::{Pending, Ready, pending, ready};

use btleplug::api::{Characteristic, Peripheral as _};

use super::error::BleError;
use super::host::{Device, Standing, within};

/// Our own way to the service: there is none.
#[derive(Debug, Clone)]
pub(super) struct Service;

#[derive(Debug)]
pub(super) struct ServiceEnd;

#[derive(Debug)]
pub(super) struct LinkEnd;

impl Service {
    pub(super) fn open() -> Ready<Result<(Self, ServiceEnd), BleError>> {
        ready(Ok((Self, ServiceEnd)))
    }

    /// There is nobody else to ask: a way on which nothing comes is dead.
    pub(super) fn answers(&self) -> Ready<bool> {
        ready(true)
    }

    pub(super) async fn connect(&self, device: &Device) -> Result<LinkEnd, BleError> {
        let connected = device.peripheral.connect().await;
        connected.map_err(|error| BleError::of("connecting", Some(&device.named), &error))?;
        Ok(LinkEnd)
    }

    /// Returns whether there is a link; who uses it, the system does not tell.
    pub(super) async fn standing(&self, device: &Device) -> Result<Standing, BleError> {
        let is_connected = device.peripheral.is_connected();
        Ok(Standing {
            connected: within("asking for the link", is_connected).await?,
            resolved: true,
            doorbell: Some(String::new()),
            used: false,
        })
    }

    pub(super) async fn subscribe(
        &self,
        device: &Device,
        doorbell: &Characteristic,
        _place: &str,
    ) -> Result<(), BleError> {
        let subscribed = device.peripheral.subscribe(doorbell).await;
        let named = Some(&device.named);
        subscribed.map_err(|error| BleError::of("subscribing to the radio", named, &error))
    }

    /// Does nothing: a subscription ends with its link.
    pub(super) fn unsubscribe(&self, _place: &str) -> Ready<()> {
        ready(())
    }

    /// Leaves it to the system.
    pub(super) fn pair(&self, _device: &Device, _pin: u32) -> Ready<Result<(), BleError>> {
        ready(Ok(()))
    }
}

impl LinkEnd {
    /// Waits for ever: the adapter's events tell.
    pub(super) fn wait(&mut self) -> Pending<BleError> {
        pending()
    }
}

impl ServiceEnd {
    pub(super) fn wait(&mut self) -> Pending<BleError> {
        pending()
    }
}
