//! Which radios are heard on Bluetooth. Never connects to one.

use std::time::Duration;

use btleplug::api::{Central as _, Peripheral as _, ScanFilter};
use tokio::time::Instant;
use tracing::debug;

use super::bluez::Service;
use super::error::BleError;
use super::host::{Host, hears_off, within};
use super::{FoundDevice, SERVICE};
use crate::model::told;

/// How long is listened: a radio that saves power calls every few seconds.
const LISTEN_FOR: Duration = Duration::from_secs(8);

/// Returns the radios that are heard.
///
/// # Errors
///
/// When nobody can listen: with the cure.
pub(crate) async fn find_bluetooth() -> Result<Vec<FoundDevice>, String> {
    let (service, mut end) = Service::open().await.map_err(|error| told(&error))?;
    let found = tokio::select! {
        biased;
        found = listen() => found,
        end = end.wait() => Err(end),
    };
    drop(service);
    found.map_err(|error| told(&error))
}

async fn listen() -> Result<Vec<FoundDevice>, BleError> {
    let mut host = Host::open().await?;
    host.choose_adapter().await?;
    let Some((adapter, events)) = host.listener() else {
        return Err(BleError::NoAdapter);
    };
    let filter = ScanFilter {
        services: vec![SERVICE],
    };
    match within("looking for radios", adapter.start_scan(filter)).await {
        Ok(()) => {}
        // Another program looks too.
        Err(BleError::Other { cause, .. }) if cause.contains("already in progress") => {}
        Err(error) => return Err(error),
    }
    let until = Instant::now() + LISTEN_FOR;
    let mut heard = Ok(());
    while Instant::now() < until {
        match hears_off(adapter, events).await {
            Ok(false) => {}
            Ok(true) => heard = Err(BleError::AdapterOff),
            Err(error) => heard = Err(error),
        }
        if heard.is_err() {
            break;
        }
    }
    let mut found = Vec::new();
    if heard.is_ok() {
        for device in within("listing the Bluetooth devices", adapter.peripherals()).await? {
            // One that vanishes meanwhile is none.
            let Ok(Some(properties)) = within("asking a device", device.properties()).await else {
                continue;
            };
            if !properties.services.contains(&SERVICE) {
                continue;
            }
            let connected = within("asking a device", device.is_connected()).await;
            let connected = connected.unwrap_or(false);
            if properties.rssi.is_none() && !connected {
                continue;
            }
            let name = properties.local_name.or(properties.advertisement_name);
            found.push(FoundDevice {
                address: properties.address.to_string(),
                name,
                rssi: properties.rssi,
                connected,
            });
        }
    }
    if let Err(error) = within("ending the search", adapter.stop_scan()).await {
        debug!(%error, "the search for radios could not be ended");
    }
    heard?;
    found.sort_by(|a, b| b.rssi.cmp(&a.rssi).then(a.address.cmp(&b.address)));
    Ok(found)
}
