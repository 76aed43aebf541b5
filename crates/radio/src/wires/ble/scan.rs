//! Lists the radios in Bluetooth range. Never connects to one.

use std::time::Duration;

use super::host::{Host, is_connected};
use super::{bluez::Service, error::BleError};
use crate::wires::found_device::FoundDevice;
use relay_model::full_text;

/// Duration of the scan: a radio that saves power advertises every few seconds.
const LISTEN_FOR: Duration = Duration::from_secs(8);

/// Scans once and returns the radios in range; without a usable adapter, the cause and its remedy.
pub async fn find_bluetooth() -> Result<Vec<FoundDevice>, String> {
    let found = async {
        let (_service, mut end) = Service::open(&mut None).await?;
        tokio::select! {
            biased;
            found = listen() => found,
            end = end.wait() => Err(end),
        }
    };
    found.await.map_err(|error| full_text(&error))
}

async fn listen() -> Result<Vec<FoundDevice>, BleError> {
    let mut host = Host::open().await?;
    let chosen = host.choose_adapter().await?;
    let mut found = Vec::new();
    for (device, properties) in chosen.search(None, LISTEN_FOR).await? {
        found.push(FoundDevice {
            address: properties.address.to_string(),
            name: properties.local_name.or(properties.advertisement_name),
            rssi: properties.rssi,
            connected: is_connected(&device).await.unwrap_or(false),
        });
    }
    found.sort_by(|a, b| b.rssi.cmp(&a.rssi).then(a.address.cmp(&b.address)));
    Ok(found)
}
