//! The wire over Bluetooth Low Energy: whole packets, written to one characteristic and read from another, with
//! notifications by a third.
//!
//! `host.rs` finds the radio, this file makes the link, `link.rs` carries packets, and `bluez.rs` has what the library
//! lacks.

mod bluez;
mod error;
mod host;
mod link;
mod scan;

use std::convert::identity;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use btleplug::api::{Characteristic, Peripheral as _};
use btleplug::platform::Peripheral;
use futures_util::{FutureExt as _, StreamExt as _};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, timeout};
use tracing::{debug, info};
use uuid::Uuid;

use relay_claims::Thing;
use relay_config::Secret;

use super::packets::PacketLink;
use crate::claim::RadioClaim;
use crate::error::{ConnectionError, RadioError};

pub use scan::find_bluetooth;

use bluez::{LinkEnd, Opening, Service};
use error::{BleError, limited};
use host::{
    ChosenRadio, Device, FROM_RADIO, Host, KnownRadio, Lent, SERVICE, TO_RADIO, WantedRadio,
    link_change, within,
};

/// Maximum time to connect, discovery of services included.
const CONNECT_LIMIT: Duration = Duration::from_secs(20);
/// Maximum time to subscribe; subscribing may start an encryption.
const SUBSCRIBE_LIMIT: Duration = Duration::from_secs(20);

/// Time without a subscriber after which a link counts as abandoned by its program.
const ABANDONED_AFTER: Duration = Duration::from_secs(2);
/// How often the subscribers of a link are checked.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// A radio on Bluetooth.
pub struct Ble {
    wanted: WantedRadio,
    pin: Option<Secret<u32>>,
    host: Arc<Mutex<Option<Host>>>,
    opening: Opening,
    /// The device while a link to it is being made.
    half_made: Option<Peripheral>,
}

/// A link, and the report of its end.
type LinkResult = Result<(link::BleRadio, LinkEnd), BleError>;

impl fmt::Debug for Ble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ble")
            .field("wanted", &self.wanted)
            .field("pin", &self.pin)
            .finish_non_exhaustive()
    }
}

impl Ble {
    /// Takes a radio's address or name, and its PIN. Fails only in a build without Bluetooth.
    pub fn new(device: &str, pin: Option<Secret<u32>>) -> Result<Self, RadioError> {
        Ok(Self {
            wanted: WantedRadio::new(device),
            pin,
            host: Arc::default(),
            opening: None,
            half_made: None,
        })
    }

    /// Closes the link of a cancelled connect, since a linked device accepts no other client.
    pub(super) async fn give_up(&mut self) {
        if let Some(device) = self.half_made.take() {
            link::hang_up(device).await;
        }
    }

    /// Finds the radio and connects. A later call resumes a cancelled one.
    pub(super) async fn connect(
        &mut self,
        claim: &mut RadioClaim,
    ) -> Result<PacketLink, ConnectionError> {
        let mut lent = Arc::clone(&self.host).lock_owned().await;
        let connecting = async {
            let (service, mut service_end) = Service::open(&mut self.opening).await?;
            tokio::select! {
                biased;
                made = self.make_link(&mut lent, &service, claim) => {
                    made.map(|(radio, link_end)| (radio, (service_end, link_end)))
                }
                end = service_end.wait() => Err(end),
            }
        };
        let made = connecting.await;
        if made.as_ref().is_err_and(BleError::ends_way) {
            *lent = None;
        }
        let (radio, link) = made?;
        let farewell = link::leave(radio.clone());
        let carry = |ends| link::carry(radio, lent, link, ends);
        Ok(PacketLink::new(carry, farewell))
    }

    async fn make_link(
        &mut self,
        lent: &mut Lent,
        service: &Service,
        claim: &mut RadioClaim,
    ) -> LinkResult {
        let host = open_host(lent, service).await?;
        let device = host.find(&self.wanted).await?;
        if let Err(holder) = claim.take(thing_of(&device)) {
            let device = device.named.name;
            return Err(BleError::Held { device, holder });
        }
        end_abandoned_link(service, &device).await?;
        self.half_made = Some(device.peripheral.clone());
        let made = self.link_up(host, service, device).await;
        if made.as_ref().is_err_and(BleError::may_leave_link) {
            self.give_up().await;
        }
        self.half_made = None;
        made
    }

    async fn link_up(
        &self,
        host: &mut ChosenRadio,
        service: &Service,
        mut device: Device,
    ) -> LinkResult {
        let name = device.named.name.clone();
        debug!(device = name, "connecting to the device");
        let link_end = connect_device(host, service, &device).await?;
        if let Some(pin) = &self.pin {
            service.pair(&device, *pin.reveal()).await?;
        }
        // The notifications of the same device continue over links.
        let found = device.peripheral;
        let known = host.known.take().filter(|it| it.radio.id() == found.id());
        let known = match known {
            Some(known) => known,
            None => KnownRadio {
                doorbell: within("listening to the radio", found.notifications()).await?,
                radio: found,
            },
        };
        device.peripheral = host.known.insert(known).radio.clone();
        let discover = device.peripheral.discover_services();
        within("reading the radio's services", discover).await?;
        let found = device.peripheral.characteristics();
        let no_radio = || BleError::NotARadio(name.clone());
        let characteristic = |uuid: Uuid| {
            let its = |it: &&Characteristic| it.uuid == uuid && it.service_uuid == SERVICE;
            found.iter().find(its).cloned().ok_or_else(no_radio)
        };
        let (written, read) = (characteristic(TO_RADIO)?, characteristic(FROM_RADIO)?);
        // Two programs that connect at the same time share one link; it belongs to the first subscriber.
        let standing = service.standing(&device).await?;
        if standing.used {
            return Err(BleError::Used(device.named));
        }
        let doorbell = standing.doorbell.ok_or_else(no_radio)?;
        let subscribed = service.subscribe(&device, &doorbell);
        let what = "subscribing to the radio";
        limited(what, SUBSCRIBE_LIMIT, subscribed, identity).await?;
        let radio = link::BleRadio {
            device,
            written,
            read,
            service: service.clone(),
            doorbell,
        };
        Ok((radio, link_end))
    }
}

/// Returns what is claimed of a radio on Bluetooth.
fn thing_of(device: &Device) -> Thing {
    let bus = std::env::var("DBUS_SYSTEM_BUS_ADDRESS").unwrap_or_default();
    Thing::bluetooth(&device.named.address, &bus)
}

/// Closes a link whose program has died, which shows by the lasting lack of a subscriber.
async fn end_abandoned_link(service: &Service, device: &Device) -> Result<(), BleError> {
    let began = Instant::now();
    let mut unused_since = began;
    loop {
        let standing = service.standing(device).await?;
        if !standing.connected {
            return Ok(());
        }
        if standing.used {
            return Err(BleError::Used(device.named.clone()));
        }
        let now = Instant::now();
        if !standing.resolved && now < began + CONNECT_LIMIT {
            unused_since = now;
        }
        if now >= unused_since + ABANDONED_AFTER {
            info!(
                device = device.named.name,
                "the radio is connected to this computer already, and nobody uses it; taking it over"
            );
            return within("ending an old link", device.peripheral.disconnect()).await;
        }
        sleep(LOOK_EVERY).await;
    }
}

/// Connects and waits for the radio's services. The adapter's events show a loss that the call itself misses on some
/// systems.
async fn connect_device(
    host: &mut ChosenRadio,
    service: &Service,
    device: &Device,
) -> Result<LinkEnd, BleError> {
    let name = &device.named.name;
    let id = device.peripheral.id();
    // Drops old events, which would pile up during failed attempts.
    if let Some(known) = &mut host.known {
        while let Some(Some(_)) = known.doorbell.next().now_or_never() {}
    }
    let events = &mut host.events;
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
        connected = timeout(CONNECT_LIMIT, service.connect(device)) => {
            let cause = match connected {
                Ok(Err(BleError::Other { cause, .. })) => cause,
                Ok(connected) => return connected,
                Err(_) => format!("no answer within {} s", CONNECT_LIMIT.as_secs()),
            };
            let device = name.clone();
            Err(BleError::Connect { device, cause })
        }
        () = lost => Err(BleError::LostAtOnce(name.clone())),
    }
}

/// Returns the library's connection, with an adapter selected. An error keeps the connection, since another would stay
/// open beside it; only a dead one is replaced, when the service answers on the other connection.
async fn open_host<'a>(
    lent: &'a mut Lent,
    service: &Service,
) -> Result<&'a mut ChosenRadio, BleError> {
    if let Some(host) = lent.as_mut()
        && let Some(error) = host.choose_adapter().await.err()
    {
        let is_silence = matches!(error, BleError::TooLong { .. });
        let is_dead = error.ends_way() || is_silence && service.answers().await;
        if !is_dead {
            return Err(error);
        }
        debug!("the way to the Bluetooth service is dead, opening another one");
        **lent = None;
    }
    if lent.is_none() {
        let host = lent.insert(Host::open().await?);
        host.choose_adapter().await?;
    }
    let chosen = lent.as_mut().and_then(|host| host.chosen.as_mut());
    chosen.ok_or(BleError::NoAdapter)
}
