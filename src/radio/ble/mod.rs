//! The wire over Bluetooth Low Energy: whole packets, written to one characteristic and read from another, with a third
//! one as a doorbell.
//!
//! `host.rs` finds the radio, this file makes the link, `link.rs` carries packets, `bluez.rs` does on Linux what the
//! library cannot: pairing by PIN, and seeing the Bluetooth service end.

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

use btleplug::api::{Characteristic, Peripheral as _};
use btleplug::platform::Peripheral;
use futures_util::{FutureExt as _, StreamExt as _};
use tokio::time::timeout;
use tracing::{debug, info};
use uuid::Uuid;

use crate::config::Secret;

use super::RadioError;
use super::connection::ConnectionError;
use super::found_device::FoundDevice;
use super::packets::Packets;

pub use scan::find_bluetooth;

use bluez::{Service, ServiceEnd};
use error::BleError;
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
            Ok(radio) => Ok(carried(radio, lent, service_end)),
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
    ) -> Result<link::Radio, BleError> {
        let host = open_host(lent, service).await?;
        let device = host.find(&self.wanted).await?;
        self.half_made = Some(device.clone());
        let radio = self.link_up(host, service, device).await;
        if radio.is_err() {
            self.give_up().await;
        }
        self.half_made = None;
        radio
    }

    async fn link_up(
        &self,
        host: &mut Host,
        service: &Service,
        device: Peripheral,
    ) -> Result<link::Radio, BleError> {
        let name = &self.wanted.name;
        if within("asking for the link", device.is_connected()).await? {
            info!(
                device = name,
                "the radio is connected to this computer already; taking it over"
            );
            within("ending an old link", device.disconnect()).await?;
        }
        debug!(device = name, "connecting");
        self.connect_device(host, service, &device).await?;
        if let Some(pin) = &self.pin {
            service
                .pair(&device.id().to_string(), name, *pin.reveal())
                .await?;
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
        match timeout(SUBSCRIBE_LIMIT, device.subscribe(&doorbell)).await {
            Ok(Ok(())) => {}
            // Older services keep a subscription over links, and say so in this way.
            Ok(Err(error)) if error.to_string().contains("Already notifying") => {}
            Ok(Err(error)) => {
                return Err(BleError::of("subscribing to the radio", Some(name), &error));
            }
            Err(_) => {
                return Err(BleError::TooLong {
                    what: "subscribing to the radio",
                    limit: SUBSCRIBE_LIMIT,
                });
            }
        }
        Ok(link::Radio {
            name: name.clone(),
            device,
            written: to_radio,
            read: from_radio,
        })
    }

    /// Connects, and waits for the radio's services. The system does not notice that the link is lost meanwhile, so its
    /// events are listened to.
    async fn connect_device(
        &self,
        host: &mut Host,
        service: &Service,
        device: &Peripheral,
    ) -> Result<(), BleError> {
        let name = &self.wanted.name;
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
            connected = timeout(CONNECT_LIMIT, service.connect(device, name)) => match connected {
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

fn carried(radio: link::Radio, lent: Lent, service_end: ServiceEnd) -> Packets {
    let farewell = link::hang_up(radio.device.clone());
    Packets::new(|ends| link::carry(radio, lent, service_end, ends), farewell)
}
