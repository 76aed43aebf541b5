//! Features of Linux's Bluetooth service that the library lacks: the service's presence and end, connecting without
//! leftovers, other users of the radio, and pairing by PIN.

use std::time::Duration;

use btleplug::api::Peripheral as _;
use futures_util::StreamExt as _;
use tokio::time::timeout;
use tracing::{debug, info};
use zbus::fdo::{
    DBusProxy, NameOwnerChangedStream, ObjectManager, ObjectManagerProxy, PeerProxy,
    PropertiesChanged, PropertiesChangedStream, PropertiesProxy,
};
use zbus::message::Sequence;
use zbus::names::InterfaceName;
use zbus::zvariant::{ObjectPath, OwnedObjectPath, OwnedValue};
use zbus::{Connection, Error, Proxy};

use super::error::{BleError, Named, limited};
use super::host::{CALL_LIMIT, Device, DeviceState, FROM_NUM};

const SERVICE: &str = "org.bluez";
const DEVICE: &str = "org.bluez.Device1";
const CHARACTERISTIC: &str = "org.bluez.GattCharacteristic1";
const MANAGER_PATH: &str = "/org/bluez";
const MANAGER: &str = "org.bluez.AgentManager1";
const ROOT_PATH: &str = "/relay";
const AGENT_PATH: &str = "/relay/agent";
/// This agent can enter a PIN and display nothing.
const ABILITY: &str = "KeyboardOnly";

/// Maximum time for a pairing; the radio and both Bluetooth stacks allow 30 s.
const PAIR_LIMIT: Duration = Duration::from_secs(35);

/// A connection to the service beside the library's.
#[derive(Debug, Clone)]
pub(super) struct Service {
    connection: Connection,
}

/// Reports the end of the service or of the message bus.
#[derive(Debug)]
pub(super) struct ServiceEnd {
    owners: NameOwnerChangedStream,
}

/// Reports the end of a link.
#[derive(Debug)]
pub(super) struct LinkEnd {
    changes: PropertiesChangedStream,
    /// When the link was made; earlier signals belong to an earlier link.
    made: Sequence,
}

impl Service {
    /// Connects to the message bus.
    pub(super) async fn open() -> Result<(Self, ServiceEnd), BleError> {
        let open = async {
            // Objects registered with the builder are ready when the connection is. The agent is registered later, and
            // an object server started with it could miss the request for the PIN.
            let connection = zbus::connection::Builder::system()?
                .serve_at(ROOT_PATH, ObjectManager)?
                .build()
                .await?;
            let bus = DBusProxy::new(&connection).await?;
            let owners = bus.receive_name_owner_changed_with_args(&[(0, SERVICE)]);
            let owners = owners.await?;
            Ok::<_, Error>((Self { connection }, ServiceEnd { owners }))
        };
        let opened = timeout(CALL_LIMIT, open).await;
        opened.map_err(|_| BleError::NoBus)?.map_err(|error| {
            debug!(%error, "no way to the message bus");
            BleError::NoBus
        })
    }

    pub(super) async fn answers(&self) -> bool {
        let ping = async {
            let service = PeerProxy::new(&self.connection, SERVICE, MANAGER_PATH).await?;
            service.ping().await
        };
        matches!(timeout(CALL_LIMIT, ping).await, Ok(Ok(())))
    }

    /// Connects a device, and waits until its services are known. The library's own connecting subscribes anew for each
    /// link, and a failed unsubscription stays on the message bus as long as the relay runs.
    pub(super) async fn connect(&self, device: &Device) -> Result<LinkEnd, BleError> {
        let named = &device.named;
        match self.connect_and_resolve(&path_of(device)).await {
            Ok(Some(end)) => Ok(end),
            Ok(None) => Err(BleError::LostAtOnce(named.name.clone())),
            // This adapter makes one connection at a time.
            Err(Error::MethodError(error, _, _)) if error.ends_with(".InProgress") => {
                Err(BleError::Used(named.clone()))
            }
            Err(error) => Err(meaning("connecting", named, error)),
        }
    }

    /// Returns `None` if the link was lost meanwhile.
    async fn connect_and_resolve(&self, path: &str) -> Result<Option<LinkEnd>, Error> {
        let properties = PropertiesProxy::new(&self.connection, SERVICE, path).await?;
        let changes = properties.receive_properties_changed().await?;
        let device = Proxy::new(&self.connection, SERVICE, path, DEVICE).await?;
        let connected = device.call_method("Connect", &()).await?;
        let made = connected.recv_position();
        let mut end = LinkEnd { changes, made };
        loop {
            let interface = InterfaceName::try_from(DEVICE)?;
            let resolved = properties.get(interface, "ServicesResolved").await?;
            if resolved.try_into()? {
                return Ok(Some(end));
            }
            let change = end.changes.next().await;
            if change.is_none_or(|change| end.is_told_by(&change)) {
                return Ok(None);
            }
        }
    }

    /// Returns the state of a device's link. A link outlives the program that made it, but a subscription does not: it
    /// shows that a program is alive.
    pub(super) async fn standing(&self, device: &Device) -> Result<DeviceState, BleError> {
        let what = "asking who uses the radio";
        let path = path_of(device);
        let ask = async {
            let objects = ObjectManagerProxy::new(&self.connection, SERVICE, "/").await?;
            Ok::<_, Error>(objects.get_managed_objects().await?)
        };
        let meaning = |error: Error| {
            let all = error.to_string();
            BleError::meant(what, None, all.clone(), &all)
        };
        let objects = limited(what, CALL_LIMIT, ask, meaning).await?;
        let is = |it: Option<&OwnedValue>| it.is_some_and(|it| bool::try_from(it) == Ok(true));
        let mut standing = DeviceState::default();
        for (place, interfaces) in &objects {
            if place.as_str() == path
                && let Some(properties) = interfaces.get(DEVICE)
            {
                standing.connected = is(properties.get("Connected"));
                standing.resolved = is(properties.get("ServicesResolved"));
            }
            if place.starts_with(&format!("{path}/"))
                && let Some(properties) = interfaces.get(CHARACTERISTIC)
                && let Some(uuid) = properties.get("UUID")
                && <&str>::try_from(uuid).is_ok_and(|uuid| uuid.parse() == Ok(FROM_NUM))
            {
                standing.doorbell = Some(place.to_string());
                standing.used =
                    is(properties.get("Notifying")) || is(properties.get("NotifyAcquired"));
            }
        }
        Ok(standing)
    }

    /// Subscribes to a device's notifications until this connection ends.
    pub(super) async fn subscribe(&self, device: &Device, place: &str) -> Result<(), BleError> {
        let subscribed = self.call_doorbell(place, "StartNotify").await;
        subscribed.map_err(|error| meaning("subscribing to the radio", &device.named, error))
    }

    /// Cancels the subscription, which outlives a link.
    pub(super) async fn unsubscribe(&self, place: &str) {
        let unsubscribed = self.call_doorbell(place, "StopNotify");
        if let Ok(Err(error)) = timeout(CALL_LIMIT / 5, unsubscribed).await {
            debug!(%error, "the subscription was gone already");
        }
    }

    async fn call_doorbell(&self, place: &str, method: &str) -> Result<(), Error> {
        let doorbell = Proxy::new(&self.connection, SERVICE, place, CHARACTERISTIC).await?;
        doorbell.call_method(method, &()).await.map(drop)
    }

    /// Pairs with a device, unless it is paired.
    pub(super) async fn pair(&self, device: &Device, pin: u32) -> Result<(), BleError> {
        let named = &device.named;
        let name = &named.name;
        let failed = |error: Error| BleError::Pairing {
            device: name.clone(),
            cause: error.to_string(),
        };
        let path = path_of(device);
        let device = Proxy::new(&self.connection, SERVICE, path, DEVICE).await;
        let device = device.map_err(failed)?;
        let what = "asking whether the radio is paired";
        let is_paired = device.get_property::<bool>("Paired");
        if limited(what, CALL_LIMIT, is_paired, failed).await? {
            return Ok(());
        }
        debug!(device = name, "pairing with the radio");
        let meaning = |error| match error {
            Error::MethodError(error, _, _) if error.contains(".Authentication") => {
                BleError::WrongPin(named.clone())
            }
            error => failed(error),
        };
        let pair = self.pair_with_agent(&device, pin);
        let paired = limited("pairing", PAIR_LIMIT, pair, meaning).await;
        // After success and failure; when the connection ends, the service drops the agent itself.
        let server = self.connection.object_server();
        if let Err(error) = server.remove::<Agent, _>(AGENT_PATH).await {
            debug!(%error, "the agent was not there");
        }
        if paired? {
            info!(device = name, "the radio is paired");
        }
        Ok(())
    }

    /// Returns whether this call paired the device; another program may have been faster.
    async fn pair_with_agent(&self, device: &Proxy<'_>, pin: u32) -> Result<bool, Error> {
        let server = self.connection.object_server();
        let agent = Agent {
            device: device.path().to_owned().into(),
            pin,
        };
        server.at(AGENT_PATH, agent).await?;
        let manager = Proxy::new(&self.connection, SERVICE, MANAGER_PATH, MANAGER).await?;
        let path = ObjectPath::try_from(AGENT_PATH)?;
        let agent = (&path, ABILITY);
        manager.call_method("RegisterAgent", &agent).await?;
        let paired = device.call_method("Pair", &()).await;
        drop(manager.call_method("UnregisterAgent", &(&path,)).await);
        match paired {
            Err(Error::MethodError(error, _, _)) if error.ends_with(".AlreadyExists") => Ok(false),
            paired => paired.map(|_| true),
        }
    }
}

impl LinkEnd {
    /// Waits until this link is lost, also if another one follows at once. Cancel safe.
    pub(super) async fn wait(&mut self) -> BleError {
        while let Some(change) = self.changes.next().await {
            if self.is_told_by(&change) {
                return BleError::Lost;
            }
        }
        BleError::WayEnded
    }

    fn is_told_by(&self, change: &PropertiesChanged) -> bool {
        change.message().recv_position() > self.made
            && change.args().is_ok_and(|args| {
                let connected = args.changed_properties().get("Connected");
                args.interface_name() == DEVICE
                    && connected.is_some_and(|it| bool::try_from(it) == Ok(false))
            })
    }
}

fn path_of(device: &Device) -> String {
    format!("{MANAGER_PATH}/{}", device.peripheral.id())
}

fn meaning(what: &'static str, named: &Named, error: Error) -> BleError {
    let all = error.to_string();
    let sentence = match error {
        Error::MethodError(_, Some(sentence), _) => sentence,
        _ => all.clone(),
    };
    BleError::meant(what, Some(named), sentence, &all)
}

impl ServiceEnd {
    /// Waits until the service or the message bus has ended, and returns which. Cancel safe.
    pub(super) async fn wait(&mut self) -> BleError {
        while let Some(change) = self.owners.next().await {
            if change.args().is_ok_and(|args| args.new_owner().is_none()) {
                return BleError::ServiceEnded;
            }
        }
        BleError::WayEnded
    }
}

/// Answers the service's request for the PIN of the one radio that is being paired.
struct Agent {
    device: OwnedObjectPath,
    pin: u32,
}

impl Agent {
    fn pin_of(&self, device: OwnedObjectPath) -> zbus::fdo::Result<u32> {
        if device.into_inner() == *self.device {
            return Ok(self.pin);
        }
        let sentence = format!("the PIN is that of {}", self.device);
        Err(zbus::fdo::Error::AccessDenied(sentence))
    }
}

#[zbus::interface(name = "org.bluez.Agent1")]
impl Agent {
    fn request_passkey(&self, device: OwnedObjectPath) -> zbus::fdo::Result<u32> {
        self.pin_of(device)
    }

    fn request_pin_code(&self, device: OwnedObjectPath) -> zbus::fdo::Result<String> {
        Ok(format!("{:06}", self.pin_of(device)?))
    }

    fn release(&self) {
        debug!(device = %self.device, "the Bluetooth service needs no PIN any more");
    }

    fn cancel(&self) {
        debug!(device = %self.device, "the Bluetooth service has given up the pairing");
    }
}
