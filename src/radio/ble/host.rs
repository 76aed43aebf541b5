//! This computer's side of Bluetooth: its adapter, and the radio among the devices that the adapter hears.

use std::pin::Pin;
use std::str::FromStr as _;
use std::time::Duration;

use btleplug::api::{
    BDAddr, Central as _, CentralEvent, CentralState, Manager as _, Peripheral as _, ScanFilter,
    ValueNotification,
};
use btleplug::platform::{Adapter, Manager, Peripheral, PeripheralId};
use futures_util::{Stream, StreamExt as _};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tracing::debug;

use super::SERVICE;
use super::error::BleError;

/// How long a call to the Bluetooth service may take.
pub(super) const CALL_LIMIT: Duration = Duration::from_secs(5);
/// How long the radio is looked for.
const SCAN_LIMIT: Duration = Duration::from_secs(20);
/// The system tells of new devices, but not when it learns a name: names are looked at again so often.
const LOOK_EVERY: Duration = Duration::from_millis(500);

pub(super) type Events = Pin<Box<dyn Stream<Item = CentralEvent> + Send>>;
pub(super) type Notifications = Pin<Box<dyn Stream<Item = ValueNotification> + Send>>;

/// The radio that is looked for.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    /// As the configuration names it.
    pub(super) name: String,
    address: Option<BDAddr>,
}

/// The way to the Bluetooth service, kept as long as the message bus lives, over ends of the service: a further one would
/// leave the first one's connection open for ever, and a stream that is dropped may make the library's own task panic.
pub(super) struct Host {
    manager: Manager,
    adapter: Option<HostAdapter>,
    /// The radio of the last connection, and its notifications.
    pub(super) known: Option<Known>,
}

/// How a link to a device stands.
#[derive(Debug, Default)]
pub(super) struct Standing {
    /// There is one.
    pub(super) connected: bool,
    /// The device's services are known.
    pub(super) resolved: bool,
    /// Where its doorbell is.
    pub(super) doorbell: Option<String>,
    /// A program that lives listens to its doorbell.
    pub(super) used: bool,
}

struct HostAdapter {
    name: String,
    adapter: Adapter,
    events: Events,
}

/// A radio that was found once.
pub(super) struct Known {
    /// The radio.
    pub(super) radio: Peripheral,
    /// Its notifications; they go on over a lost link.
    pub(super) doorbell: Notifications,
}

impl Wanted {
    /// Takes an address, or anything else as a name.
    pub(super) fn new(name: &str) -> Self {
        let name = name.trim();
        let address = BDAddr::from_str(&name.replace('-', ":"))
            .ok()
            .filter(|_| name.len() == 17);
        Self {
            name: name.to_owned(),
            address,
        }
    }

    fn is_name(&self, name: Option<&str>) -> bool {
        name.is_some_and(|name| name.eq_ignore_ascii_case(&self.name))
    }

    /// Returns whether the radio is that device.
    fn is(&self, id: &str, address: BDAddr, names: [Option<&str>; 2]) -> bool {
        match self.address {
            Some(wanted) => address == wanted,
            // Systems that hide addresses have an identifier of their own.
            None => id == self.name || names.into_iter().any(|name| self.is_name(name)),
        }
    }
}

impl Host {
    /// Opens the way to the service.
    pub(super) async fn open() -> Result<Self, BleError> {
        let manager = within("opening Bluetooth", Manager::new()).await?;
        Ok(Self {
            manager,
            adapter: None,
            known: None,
        })
    }

    /// Takes the adapter that is switched on; the first one where there are several. None is switched on.
    pub(super) async fn choose_adapter(&mut self) -> Result<(), BleError> {
        let mut found = Vec::new();
        for adapter in within("listing the Bluetooth adapters", self.manager.adapters()).await? {
            let name = within("asking a Bluetooth adapter", adapter.adapter_info()).await?;
            found.push((name, adapter));
        }
        found.sort_by(|(a, _), (b, _)| a.cmp(b));
        if found.is_empty() {
            return Err(BleError::NoAdapter);
        }
        for (name, adapter) in found {
            if is_off(&adapter).await? {
                continue;
            }
            if self.adapter.as_ref().is_none_or(|it| it.name != name) {
                debug!(adapter = name, "Bluetooth adapter chosen");
                let events = within("listening to the adapter", adapter.events()).await?;
                self.known = None;
                self.adapter = Some(HostAdapter {
                    name,
                    adapter,
                    events,
                });
            }
            return Ok(());
        }
        Err(BleError::AdapterOff)
    }

    /// Looks for the radio: first among the devices that are connected or heard, since a connected one is silent.
    pub(super) async fn find(&mut self, wanted: &Wanted) -> Result<Peripheral, BleError> {
        let Some(HostAdapter {
            adapter, events, ..
        }) = &mut self.adapter
        else {
            return Err(BleError::NoAdapter);
        };
        if let Some(radio) = look(adapter, wanted).await? {
            return Ok(radio);
        }
        let filter = ScanFilter {
            services: vec![SERVICE],
        };
        match within("looking for the radio", adapter.start_scan(filter)).await {
            Ok(()) => {}
            // An earlier search of ours was given up and goes on.
            Err(BleError::Other { cause, .. }) if cause.contains("already in progress") => {}
            Err(error) => return Err(error),
        }
        let deadline = Instant::now() + SCAN_LIMIT;
        let found = loop {
            match look(adapter, wanted).await {
                Ok(None) if Instant::now() < deadline => {}
                Ok(None) => {
                    break Err(BleError::NotFound {
                        device: wanted.name.clone(),
                        limit: SCAN_LIMIT,
                    });
                }
                Ok(Some(radio)) => break Ok(radio),
                Err(error) => break Err(error),
            }
            match hears_off(adapter, events).await {
                Ok(false) => {}
                Ok(true) => break Err(BleError::AdapterOff),
                Err(error) => break Err(error),
            }
        };
        // A radio cannot be connected while it is looked for.
        if let Err(error) = within("ending the search", adapter.stop_scan()).await {
            debug!(%error, "the search for radios could not be ended");
        }
        found
    }

    /// Returns the events of the adapter; none without one.
    pub(super) fn events(&mut self) -> Option<&mut Events> {
        self.adapter.as_mut().map(|it| &mut it.events)
    }

    /// Returns the adapter and its events; none before one is chosen.
    pub(super) fn listener(&mut self) -> Option<(&Adapter, &mut Events)> {
        let chosen = self.adapter.as_mut()?;
        Some((&chosen.adapter, &mut chosen.events))
    }

    /// Returns what is listened to while a link stands.
    pub(super) fn streams(&mut self) -> Option<(&mut Events, &mut Known)> {
        Some((&mut self.adapter.as_mut()?.events, self.known.as_mut()?))
    }
}

/// Waits for something new, or for the time to look again; returns whether the adapter is off now. What its events say may
/// have waited here while nobody listened.
pub(super) async fn hears_off(adapter: &Adapter, events: &mut Events) -> Result<bool, BleError> {
    match hears_news(events).await {
        Some(CentralState::PoweredOff) => is_off(adapter).await,
        Some(_) | None => Ok(false),
    }
}

/// Returns whether the adapter is off.
async fn is_off(adapter: &Adapter) -> Result<bool, BleError> {
    let state = within("asking a Bluetooth adapter", adapter.adapter_state()).await?;
    Ok(state == CentralState::PoweredOff)
}

async fn hears_news(events: &mut Events) -> Option<CentralState> {
    let until = Instant::now() + LOOK_EVERY;
    loop {
        match timeout_at(until, events.next()).await {
            Ok(Some(CentralEvent::StateUpdate(state))) => return Some(state),
            Ok(Some(CentralEvent::DeviceDiscovered(_))) | Err(_) => return None,
            Ok(Some(_)) => {}
            Ok(None) => {
                sleep(LOOK_EVERY).await;
                return None;
            }
        }
    }
}

/// Returns the radio if it is among the devices that are connected, or heard at this moment.
async fn look(adapter: &Adapter, wanted: &Wanted) -> Result<Option<Peripheral>, BleError> {
    for device in within("listing the Bluetooth devices", adapter.peripherals()).await? {
        // One that vanishes meanwhile is none.
        let Ok(Some(properties)) = within("asking a device", device.properties()).await else {
            continue;
        };
        let names = [
            properties.advertisement_name.as_deref(),
            properties.local_name.as_deref(),
        ];
        if !wanted.is(&device.id().to_string(), properties.address, names) {
            continue;
        }
        let is_heard = properties.rssi.is_some();
        if is_heard || within("asking a device", device.is_connected()).await? {
            return Ok(Some(device));
        }
    }
    Ok(None)
}

/// Returns whether an event says that this device is connected, or not any more.
pub(super) fn link_change(event: &CentralEvent, id: &PeripheralId) -> Option<bool> {
    match event {
        CentralEvent::DeviceConnected(device) if device == id => Some(true),
        CentralEvent::DeviceDisconnected(device) if device == id => Some(false),
        _ => None,
    }
}

/// Calls the Bluetooth service, and waits only so long.
pub(super) async fn within<T>(
    what: &'static str,
    call: impl Future<Output = btleplug::Result<T>>,
) -> Result<T, BleError> {
    match timeout(CALL_LIMIT, call).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(BleError::of(what, None, &error)),
        Err(_) => Err(BleError::TooLong {
            what,
            limit: CALL_LIMIT,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_radio_is_known_by_its_address_or_by_either_of_its_names() {
        let address: BDAddr = "C0:FF:EE:00:12:34".parse().unwrap();
        let other: BDAddr = "C0:FF:EE:00:12:35".parse().unwrap();
        let names = [Some("BASE_1234"), Some("the one on the roof")];
        for (wanted, expected) in [
            ("C0:FF:EE:00:12:34", true),
            ("c0-ff-ee-00-12-34", true),
            (" C0:FF:EE:00:12:34 ", true),
            ("C0:FF:EE:00:12:35", false),
            ("BASE_1234", true),
            ("base_1234", true),
            ("the one on the roof", true),
            ("BASE", false),
            ("c0ffee001234", false),
            ("hci0/dev_C0_FF_EE_00_12_34", true),
        ] {
            let wanted = Wanted::new(wanted);
            let is_it = wanted.is("hci0/dev_C0_FF_EE_00_12_34", address, names);
            assert_eq!(is_it, expected, "{}", wanted.name);
        }
        let nameless = Wanted::new("BASE_1234");
        assert!(!nameless.is("x", other, [None, None]));
    }
}
