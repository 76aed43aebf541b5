//! The wire over Bluetooth Low Energy: whole packets, written to one characteristic and read from another, with a third
//! one as a doorbell.
//!
//! `host.rs` finds the radio, this file makes the link, `link.rs` carries packets, `bluez.rs` does on Linux what the
//! library cannot: pairing by PIN, seeing the Bluetooth service end, and who else uses the radio.

#[cfg(target_os = "linux")]
mod bluez;
#[cfg(not(target_os = "linux"))]
#[path = "elsewhere.rs"]
mod bluez;
mod error;
mod host;
mod link;
mod scan;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use btleplug::api::{BDAddr, Characteristic, Peripheral as _};
use btleplug::platform::Peripheral;
use futures_util::{FutureExt as _, StreamExt as _};
use tokio::time::{Instant, sleep, timeout};
use tracing::{debug, info};
use uuid::Uuid;

use crate::config::Secret;

use super::RadioError;
use super::connection::ConnectionError;
use super::found_device::FoundDevice;
use super::packets::Packets;

pub(crate) use scan::find_bluetooth;

use bluez::{LinkEnd, Service, ServiceEnd};
use error::{BleError, Named};
use host::{Host, Known, Wanted, link_change, within};

/// Meshtastic's Bluetooth service, and its characteristics (`src/BluetoothCommon.h` of the firmware).
const SERVICE: Uuid = Uuid::from_u128(0x6ba1_b218_15a8_461f_9fa8_5dca_e273_eafd);
const TO_RADIO: Uuid = Uuid::from_u128(0xf75c_76d2_129e_4dad_a1dd_7866_1244_01e7);
const FROM_RADIO: Uuid = Uuid::from_u128(0x2c55_e69e_4993_11ed_b878_0242_ac12_0002);
const FROM_NUM: Uuid = Uuid::from_u128(0xed9d_a18c_a800_4f66_a670_aa75_47e3_4453);

/// How long a link may take, its services included.
const CONNECT_LIMIT: Duration = Duration::from_secs(20);
/// How long a subscription may take; it may begin an encryption.
const SUBSCRIBE_LIMIT: Duration = Duration::from_secs(20);

/// Nobody listens to a link for so long who still lives: its maker has died.
const ABANDONED_AFTER: Duration = Duration::from_secs(2);
/// How often is looked whether somebody listens.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// A radio on Bluetooth.
pub struct Ble {
    wanted: Wanted,
    pin: Option<Secret<u32>>,
    shelf: Shelf,
    /// The device while a link to it is being made.
    half_made: Option<Peripheral>,
}

/// Where the way to the Bluetooth service lies while no connection has it.
type Shelf = Arc<Mutex<Option<Host>>>;

/// The way to the Bluetooth service, put back on its shelf when the connection that has it ends.
struct Lent {
    host: Option<Host>,
    shelf: Shelf,
}

impl Lent {
    fn from(shelf: &Shelf) -> Self {
        let host = shelf.lock().unwrap_or_else(PoisonError::into_inner).take();
        Self {
            host,
            shelf: Arc::clone(shelf),
        }
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        *self.shelf.lock().unwrap_or_else(PoisonError::into_inner) = self.host.take();
    }
}

impl fmt::Debug for Ble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ble")
            .field("wanted", &self.wanted)
            .field("pin", &self.pin)
            .finish_non_exhaustive()
    }
}

impl Ble {
    /// Takes a radio's address or name, and its PIN.
    ///
    /// # Errors
    ///
    /// Only in a relay that was built without Bluetooth.
    pub fn new(device: &str, pin: Option<Secret<u32>>) -> Result<Self, RadioError> {
        Ok(Self {
            wanted: Wanted::new(device),
            pin,
            shelf: Shelf::default(),
            half_made: None,
        })
    }

    /// Ends what a connecting that was given up has left: a device that stays linked answers to nobody else.
    pub(super) async fn give_up(&mut self) {
        if let Some(device) = self.half_made.take() {
            link::hang_up(device).await;
        }
    }

    /// Finds the radio and connects.
    ///
    /// # Cancel safety
    ///
    /// The attempt is given up; the next one takes over what it left.
    pub(super) async fn connect(&mut self) -> Result<Packets, ConnectionError> {
        let (service, mut service_end) = match Service::open().await {
            Ok(opened) => opened,
            Err(error) => {
                Lent::from(&self.shelf).host = None;
                return Err(error.into());
            }
        };
        let mut lent = Lent::from(&self.shelf);
        let made = tokio::select! {
            biased;
            made = self.make_link(&mut lent, &service) => made,
            end = service_end.wait() => Err(end),
        };
        match made {
            Ok((radio, link_end)) => Ok(carried(radio, lent, service_end, link_end)),
            Err(error) => {
                if error.ends_way() {
                    lent.host = None;
                }
                Err(error.into())
            }
        }
    }

    async fn make_link(
        &mut self,
        lent: &mut Lent,
        service: &Service,
    ) -> Result<(link::Radio, LinkEnd), BleError> {
        let host = open_host(lent, service).await?;
        let device = host.find(&self.wanted).await?;
        let named = named(&self.wanted, &device);
        end_abandoned_link(service, &device, &named).await?;
        self.half_made = Some(device.clone());
        let made = self.link_up(host, service, device, &named).await;
        if made.as_ref().is_err_and(BleError::may_leave_link) {
            self.give_up().await;
        }
        self.half_made = None;
        made
    }

    async fn link_up(
        &self,
        host: &mut Host,
        service: &Service,
        device: Peripheral,
        named: &Named,
    ) -> Result<(link::Radio, LinkEnd), BleError> {
        let name = &named.name;
        debug!(device = name, "connecting");
        let link_end = connect_device(host, service, &device, named).await?;
        if let Some(pin) = &self.pin {
            service.pair(&device, named, *pin.reveal()).await?;
        }
        // The same device keeps its notifications over links.
        let known = host.known.take().filter(|it| it.radio.id() == device.id());
        let known = match known {
            Some(known) => known,
            None => Known {
                doorbell: within("listening to the radio", device.notifications()).await?,
                radio: device,
            },
        };
        let known = host.known.insert(known);
        let device = known.radio.clone();
        within("reading the radio's services", device.discover_services()).await?;
        let found = device.characteristics();
        let characteristic = |uuid: Uuid| -> Result<Characteristic, BleError> {
            let its = |it: &&Characteristic| it.uuid == uuid && it.service_uuid == SERVICE;
            let found = found.iter().find(its).cloned();
            found.ok_or_else(|| BleError::NotARadio(name.clone()))
        };
        let (to_radio, from_radio) = (characteristic(TO_RADIO)?, characteristic(FROM_RADIO)?);
        let doorbell = characteristic(FROM_NUM)?;
        // Two programs that connect at the same moment get the same link: it is the one's who listens first.
        let standing = service.standing(&device, FROM_NUM).await?;
        if standing.used {
            return Err(BleError::Used(named.clone()));
        }
        let place = standing
            .doorbell
            .ok_or_else(|| BleError::NotARadio(name.clone()))?;
        let subscribed = service.subscribe(&device, &doorbell, &place, named);
        match timeout(SUBSCRIBE_LIMIT, subscribed).await {
            Ok(subscribed) => subscribed?,
            Err(_) => {
                return Err(BleError::TooLong {
                    what: "subscribing to the radio",
                    limit: SUBSCRIBE_LIMIT,
                });
            }
        }
        let radio = link::Radio {
            named: named.clone(),
            device,
            written: to_radio,
            read: from_radio,
            service: service.clone(),
            doorbell: place,
        };
        Ok((radio, link_end))
    }
}

fn named(wanted: &Wanted, device: &Peripheral) -> Named {
    let address = device.address();
    // Some systems hide it.
    let is_hidden = address == BDAddr::default();
    Named {
        name: wanted.name.clone(),
        address: if is_hidden {
            device.id().to_string()
        } else {
            address.to_string()
        },
    }
}

/// Ends a link whose maker has died. One that somebody uses is theirs, and who is just making it will listen in a moment.
async fn end_abandoned_link(
    service: &Service,
    device: &Peripheral,
    named: &Named,
) -> Result<(), BleError> {
    let began = Instant::now();
    let mut unused_since = began;
    loop {
        let standing = service.standing(device, FROM_NUM).await?;
        if standing.used && standing.connected {
            return Err(BleError::Used(named.clone()));
        }
        if !standing.connected {
            return Ok(());
        }
        let now = Instant::now();
        if !standing.resolved && now < began + CONNECT_LIMIT {
            unused_since = now;
        }
        if now >= unused_since + ABANDONED_AFTER {
            info!(
                device = named.name,
                "the radio is connected to this computer already, and nobody uses it; taking it over"
            );
            return within("ending an old link", device.disconnect()).await;
        }
        sleep(LOOK_EVERY).await;
    }
}

/// Connects, and waits for the radio's services. Not every system notices that the link is lost meanwhile, so the adapter's
/// events are listened to.
async fn connect_device(
    host: &mut Host,
    service: &Service,
    device: &Peripheral,
    named: &Named,
) -> Result<LinkEnd, BleError> {
    let name = &named.name;
    let id = device.id();
    // What happened before is of no interest, and would pile up while one attempt after the other fails.
    if let Some(known) = &mut host.known {
        while let Some(Some(_)) = known.doorbell.next().now_or_never() {}
    }
    let Some(events) = host.events() else {
        return Err(BleError::NoAdapter);
    };
    while let Some(Some(_)) = events.next().now_or_never() {}
    let lost = async {
        let mut up = false;
        while let Some(event) = events.next().await {
            match link_change(&event, &id) {
                Some(true) => up = true,
                Some(false) if up => return,
                Some(false) | None => {}
            }
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        biased;
        connected = timeout(CONNECT_LIMIT, service.connect(device, named)) => match connected {
            Ok(Err(BleError::Other { cause, .. })) => Err(BleError::Connect {
                device: name.clone(),
                cause,
            }),
            Ok(connected) => connected,
            Err(_) => Err(BleError::Connect {
                device: name.clone(),
                cause: format!("no answer within {} s", CONNECT_LIMIT.as_secs()),
            }),
        },
        () = lost => Err(BleError::LostAtOnce(name.clone())),
    }
}

/// Returns the way to the service, with an adapter chosen. What fails leaves it on its shelf: each further one would stay
/// open behind it. Only one that is dead is replaced: nothing comes through while the service answers on another.
async fn open_host<'a>(lent: &'a mut Lent, service: &Service) -> Result<&'a mut Host, BleError> {
    if let Some(host) = &mut lent.host {
        match host.choose_adapter().await {
            Ok(()) => {}
            Err(error) if error.ends_way() || error.is_silence() && service.answers().await => {
                debug!("the way to the Bluetooth service is dead, opening another one");
                lent.host = None;
            }
            Err(error) => return Err(error),
        }
    }
    if lent.host.is_none() {
        let host = lent.host.insert(Host::open().await?);
        host.choose_adapter().await?;
    }
    lent.host.as_mut().ok_or(BleError::NoService)
}

fn carried(radio: link::Radio, lent: Lent, service_end: ServiceEnd, link_end: LinkEnd) -> Packets {
    let farewell = link::leave(radio.clone());
    let carry = |ends| link::carry(radio, lent, (service_end, link_end), ends);
    Packets::new(carry, farewell)
}
