//! What `bluez.rs` is on Linux: elsewhere the system itself asks for the PIN, and tells the library of its end.

use std::future::{Pending, Ready, pending, ready};

use btleplug::api::{Characteristic, Peripheral as _};
use btleplug::platform::Peripheral;
use uuid::Uuid;

use super::error::{BleError, Named};
use super::host::{Standing, within};

/// Our own way to the service: there is none.
#[derive(Debug, Clone)]
pub(super) struct Service;

/// Tells when the service has ended.
#[derive(Debug)]
pub(super) struct ServiceEnd;

/// Tells when a link has ended.
#[derive(Debug)]
pub(super) struct LinkEnd;

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
    pub(super) async fn connect(
        &self,
        device: &Peripheral,
        named: &Named,
    ) -> Result<LinkEnd, BleError> {
        let connected = device.connect().await;
        connected.map_err(|error| BleError::of("connecting", Some(named), &error))?;
        Ok(LinkEnd)
    }

    /// Returns whether there is a link; who uses it, the system does not tell.
    pub(super) async fn standing(
        &self,
        device: &Peripheral,
        _doorbell: Uuid,
    ) -> Result<Standing, BleError> {
        Ok(Standing {
            connected: within("asking for the link", device.is_connected()).await?,
            resolved: true,
            doorbell: Some(String::new()),
            used: false,
        })
    }

    /// Lets the system pass a device's notifications on.
    pub(super) async fn subscribe(
        &self,
        device: &Peripheral,
        doorbell: &Characteristic,
        _place: &str,
        named: &Named,
    ) -> Result<(), BleError> {
        let subscribed = device.subscribe(doorbell).await;
        subscribed.map_err(|error| BleError::of("subscribing to the radio", Some(named), &error))
    }

    /// Does nothing: a subscription ends with its link.
    pub(super) fn unsubscribe(&self, _place: &str) -> Ready<()> {
        ready(())
    }

    /// Leaves it to the system.
    pub(super) fn pair(
        &self,
        _device: &Peripheral,
        _named: &Named,
        _pin: u32,
    ) -> Ready<Result<(), BleError>> {
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
    /// Waits for ever.
    pub(super) fn wait(&mut self) -> Pending<BleError> {
        pending()
    }
}
