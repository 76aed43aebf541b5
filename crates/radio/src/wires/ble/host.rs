//! This computer's Bluetooth adapter, and the search for the radio.

use std::pin::Pin;
use std::str::FromStr as _;
use std::time::Duration;

use btleplug::api::{
    BDAddr, Central as _, CentralEvent, CentralState, Manager as _, Peripheral as _,
    PeripheralProperties, ScanFilter, ValueNotification,
};
use btleplug::platform::{Adapter, Manager, Peripheral, PeripheralId};
use futures_util::{Stream, StreamExt as _};
use tokio::sync::OwnedMutexGuard;
use tokio::time::{Instant, sleep, timeout_at};
use tracing::debug;
use uuid::Uuid;

use super::error::{BleError, Named, SCAN_LIMIT, limited};
use relay_claims::bluetooth_address;

/// Meshtastic's Bluetooth service and its characteristics (`src/BluetoothCommon.h` of the firmware).
pub(super) const SERVICE: Uuid = Uuid::from_u128(0x6ba1_b218_15a8_461f_9fa8_5dca_e273_eafd);
pub(super) const TO_RADIO: Uuid = Uuid::from_u128(0xf75c_76d2_129e_4dad_a1dd_7866_1244_01e7);
pub(super) const FROM_RADIO: Uuid = Uuid::from_u128(0x2c55_e69e_4993_11ed_b878_0242_ac12_0002);
pub(super) const FROM_NUM: Uuid = Uuid::from_u128(0xed9d_a18c_a800_4f66_a670_aa75_47e3_4453);

/// Maximum duration of a call to the Bluetooth service.
pub(super) const CALL_LIMIT: Duration = Duration::from_secs(5);
/// How often the names of found devices are read again: the system reports new devices, but not later names.
const LOOK_EVERY: Duration = Duration::from_millis(500);

pub(super) type Events = Pin<Box<dyn Stream<Item = CentralEvent> + Send>>;
/// The radio as a device of this computer.
#[derive(Debug, Clone)]
pub(super) struct Device {
    pub(super) named: Named,
    pub(super) peripheral: Peripheral,
}

pub(super) type Advertised = (Peripheral, PeripheralProperties);
pub(super) type Notifications = Pin<Box<dyn Stream<Item = ValueNotification> + Send>>;

/// The radio to connect to, as the configuration names it.
#[derive(Debug, Clone)]
pub(super) struct WantedRadio {
    /// Address or name as configured.
    pub(super) name: String,
    address: Option<BDAddr>,
}

/// The library's connection to the Bluetooth service, kept over ends of the service as long as the message bus lives: a
/// second connection would leave the first one open, and dropping an event stream may make the library's task panic.
pub(super) struct Host {
    manager: Manager,
    pub(super) chosen: Option<ChosenRadio>,
}

/// Exclusive access to that connection, held by a link while there is one.
pub(super) type Lent = OwnedMutexGuard<Option<Host>>;

/// What the Bluetooth service says of the radio's device.
#[derive(Debug, Default)]
pub(super) struct DeviceState {
    pub(super) connected: bool,
    /// The device's services are known.
    pub(super) resolved: bool,
    pub(super) doorbell: Option<dbus::Path<'static>>,
    /// A running program is subscribed to its notifications.
    pub(super) used: bool,
}

/// What is kept of a radio between links: its adapter, and what was found.
pub(super) struct ChosenRadio {
    name: String,
    adapter: Adapter,
    pub(super) events: Events,
    /// The radio of the last connection.
    pub(super) known: Option<KnownRadio>,
}

/// A radio that was found before.
pub(super) struct KnownRadio {
    pub(super) radio: Peripheral,
    /// Notifications of its doorbell, which continue over a lost link.
    pub(super) doorbell: Notifications,
}

impl WantedRadio {
    /// Parses an address; anything else is a name.
    pub(super) fn new(name: &str) -> Self {
        let name = name.trim();
        Self {
            name: name.to_owned(),
            address: bluetooth_address(name).and_then(|it| BDAddr::from_str(&it).ok()),
        }
    }

    fn is(&self, id: &str, address: BDAddr, names: [Option<&str>; 2]) -> bool {
        if let Some(wanted) = self.address {
            return address == wanted;
        }
        // Some systems hide addresses and have their own identifiers.
        let mut names = names.into_iter().flatten();
        id == self.name || names.any(|name| name.eq_ignore_ascii_case(&self.name))
    }
}

impl Host {
    pub(super) async fn open() -> Result<Self, BleError> {
        Ok(Self {
            manager: within("opening Bluetooth", Manager::new()).await?,
            chosen: None,
        })
    }

    /// Selects the first adapter that is switched on; none is switched on by this.
    pub(super) async fn choose_adapter(&mut self) -> Result<&mut ChosenRadio, BleError> {
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
            if self.chosen.as_ref().is_none_or(|it| it.name != name) {
                debug!(adapter = name, "Bluetooth adapter chosen");
                let events = within("listening to the adapter", adapter.events()).await?;
                self.chosen = Some(ChosenRadio {
                    name,
                    adapter,
                    events,
                    known: None,
                });
            }
            return self.chosen.as_mut().ok_or(BleError::NoAdapter);
        }
        Err(BleError::AdapterOff)
    }
}

impl ChosenRadio {
    /// Finds the radio: first among the known devices, since a connected one does not advertise.
    pub(super) async fn find(&mut self, wanted: &WantedRadio) -> Result<Device, BleError> {
        let mut found = look(&self.adapter, Some(wanted)).await?;
        if found.is_empty() {
            found = self.search(Some(wanted), SCAN_LIMIT).await?;
        }
        let name = wanted.name.clone();
        let Some((peripheral, _)) = found.pop() else {
            return Err(BleError::NotFound { device: name });
        };
        // Some systems hide the address.
        let address = match peripheral.address() {
            address if address == BDAddr::default() => peripheral.id().to_string(),
            address => address.to_string(),
        };
        let named = Named { name, address };
        Ok(Device { named, peripheral })
    }

    /// Searches until the wanted radio is found or the limit is reached; without a name, for all radios.
    pub(super) async fn search(
        &mut self,
        wanted: Option<&WantedRadio>,
        limit: Duration,
    ) -> Result<Vec<Advertised>, BleError> {
        let (adapter, events) = (&self.adapter, &mut self.events);
        let services = vec![SERVICE];
        let what = wanted.map_or("looking for radios", |_| "looking for the radio");
        match within(what, adapter.start_scan(ScanFilter { services })).await {
            Ok(()) => {}
            // An earlier search of ours was cancelled and continues, or another program is searching.
            Err(BleError::Other { cause, .. }) if cause.contains("already in progress") => {}
            Err(error) => return Err(error),
        }
        let deadline = Instant::now() + limit;
        let search = async {
            loop {
                let found = look(adapter, wanted).await?;
                let is_found = wanted.is_some() && !found.is_empty();
                if is_found || Instant::now() >= deadline {
                    return Ok(found);
                }
                wait_for_news(adapter, events).await?;
            }
        };
        let found = search.await;
        // A radio cannot be connected during a search.
        if let Err(error) = within("ending the search", adapter.stop_scan()).await {
            debug!(%error, "the search for radios could not be ended");
        }
        found
    }
}

/// Waits for an event or the next look; fails if the adapter is off by now. An event may be old.
async fn wait_for_news(adapter: &Adapter, events: &mut Events) -> Result<(), BleError> {
    let until = Instant::now() + LOOK_EVERY;
    loop {
        match timeout_at(until, events.next()).await {
            Ok(Some(CentralEvent::StateUpdate(CentralState::PoweredOff))) => {
                let is_on = !is_off(adapter).await?;
                return is_on.then_some(()).ok_or(BleError::AdapterOff);
            }
            Ok(Some(CentralEvent::StateUpdate(_) | CentralEvent::DeviceDiscovered(_))) | Err(_) => {
                return Ok(());
            }
            Ok(Some(_)) => {}
            Ok(None) => {
                sleep(LOOK_EVERY).await;
                return Ok(());
            }
        }
    }
}

async fn is_off(adapter: &Adapter) -> Result<bool, BleError> {
    let state = within("asking a Bluetooth adapter", adapter.adapter_state()).await?;
    Ok(state == CentralState::PoweredOff)
}

/// Returns the wanted radio, or all of them, among the devices connected or found now.
async fn look(
    adapter: &Adapter,
    wanted: Option<&WantedRadio>,
) -> Result<Vec<Advertised>, BleError> {
    let mut found = Vec::new();
    for device in within("listing the Bluetooth devices", adapter.peripherals()).await? {
        // The device has vanished meanwhile.
        let Ok(Some(properties)) = within("asking a device", device.properties()).await else {
            continue;
        };
        let names = [
            properties.advertisement_name.as_deref(),
            properties.local_name.as_deref(),
        ];
        let is_it = wanted.map_or_else(
            || properties.services.contains(&SERVICE),
            |it| it.is(&device.id().to_string(), properties.address, names),
        );
        if is_it && (properties.rssi.is_some() || is_connected(&device).await?) {
            found.push((device, properties));
            if wanted.is_some() {
                break;
            }
        }
    }
    Ok(found)
}

pub(super) async fn is_connected(device: &Peripheral) -> Result<bool, BleError> {
    within("asking a device", device.is_connected()).await
}

/// Returns whether an event reports this device as connected or disconnected.
pub(super) fn link_change(event: &CentralEvent, id: &PeripheralId) -> Option<bool> {
    match event {
        CentralEvent::DeviceConnected(device) if device == id => Some(true),
        CentralEvent::DeviceDisconnected(device) if device == id => Some(false),
        _ => None,
    }
}

/// Calls the Bluetooth service with a timeout.
pub(super) async fn within<T>(
    what: &'static str,
    call: impl Future<Output = btleplug::Result<T>>,
) -> Result<T, BleError> {
    let meaning = |error| BleError::of(what, None, &error);
    limited(what, CALL_LIMIT, call, meaning).await
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
            let wanted = WantedRadio::new(wanted);
            let is_it = wanted.is("hci0/dev_C0_FF_EE_00_12_34", address, names);
            assert_eq!(is_it, expected, "{}", wanted.name);
        }
        let nameless = WantedRadio::new("BASE_1234");
        assert!(!nameless.is("x", other, [None, None]));
    }
}
