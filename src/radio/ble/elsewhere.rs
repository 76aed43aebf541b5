//! What `bluez.rs` is on Linux: elsewhere the system itself asks for the PIN, and tells the library of its end.

use super::error::BleError;

/// Our own way to the service: there is none.
#[derive(Debug, Clone)]
pub(super) struct Service;

/// Tells when the service has ended.
#[derive(Debug)]
pub(super) struct ServiceEnd;

impl Service {
    /// Does nothing.
    pub(super) async fn open() -> Result<(Self, ServiceEnd), BleError> {
        Ok((Self, ServiceEnd))
    }

    /// Leaves it to the system.
    pub(super) async fn pair(&self, _id: &str, _name: &str, _pin: u32) -> Result<(), BleError> {
        Ok(())
    }
}

impl ServiceEnd {
    /// Waits for ever.
    pub(super) async fn wait(&mut self) {
        std::future::pending().await
    }
}
