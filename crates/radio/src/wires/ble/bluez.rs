//! Features of Linux's Bluetooth service that the library lacks: the service's presence and end, connecting without
//! leftovers, other users of the radio, and pairing by PIN.

use std::sync::Arc;
use std::time::Duration;

use btleplug::api::Peripheral as _;
use dbus::arg::{PropMap, prop_cast};
use dbus::channel::{MatchingReceiver as _, Sender as _, default_reply};
use dbus::message::{MatchRule, SignalArgs as _};
use dbus::nonblock::stdintf::org_freedesktop_dbus::{
    ObjectManager as _, Peer as _, Properties as _, PropertiesPropertiesChanged,
};
use dbus::nonblock::{NonblockReply as _, Proxy, SyncConnection};
use dbus::{Error, Message, MethodErr, Path};
use dbus_tokio::connection::{IOResource, new_system_sync};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;
use tracing::{debug, info};

use super::error::{BleError, Named, limited};
use super::host::{CALL_LIMIT, Device, DeviceState, FROM_NUM};
use crate::wires::aside::done_aside;

const BUS: &str = "org.freedesktop.DBus";
const SERVICE: &str = "org.bluez";
const DEVICE: &str = "org.bluez.Device1";
const CHARACTERISTIC: &str = "org.bluez.GattCharacteristic1";
const MANAGER_PATH: &str = "/org/bluez";
const MANAGER: &str = "org.bluez.AgentManager1";
const AGENT: &str = "org.bluez.Agent1";
const AGENT_PATH: &str = "/relay/agent";
/// This agent can enter a PIN and display nothing.
const ABILITY: &str = "KeyboardOnly";

/// Maximum time for a pairing; the radio and both Bluetooth stacks allow 30 s.
const PAIR_LIMIT: Duration = Duration::from_secs(35);

/// More than the limit of any call.
const LONGEST: Duration = Duration::from_mins(1);

/// A connection to the service beside the library's.
#[derive(Clone)]
pub(super) struct Service {
    connection: Arc<SyncConnection>,
    /// Reads and writes for the connection.
    _task: Arc<JoinSet<()>>,
}

/// A connection to the message bus that is being opened.
pub(super) type Opening = Option<JoinHandle<Opened>>;
type Opened = Result<(IOResource<SyncConnection>, Arc<SyncConnection>), Error>;

/// Reports the end of the service or of the message bus.
#[derive(Debug)]
pub(super) struct ServiceEnd {
    ends: mpsc::Receiver<BleError>,
}

/// Reports the end of a link.
#[derive(Debug)]
pub(super) struct LinkEnd {
    lost: watch::Receiver<bool>,
}

impl Service {
    /// Connects to the message bus. Cancel safe: the next call resumes the opening.
    pub(super) async fn open(opening: &mut Opening) -> Result<(Self, ServiceEnd), BleError> {
        let open = async {
            // Blocks until the bus has answered.
            let opened = done_aside(opening, new_system_sync).await;
            let (resource, connection) = opened.unwrap_or_else(|| Err(way_ended()))?;
            let (tell, ends) = mpsc::channel(1);
            let service = Self {
                _task: Arc::new(work(resource, Arc::clone(&connection), tell.clone())),
                connection,
            };
            service.hear_of_end(tell).await?;
            Ok::<_, Error>((service, ServiceEnd { ends }))
        };
        let opened = timeout(CALL_LIMIT, open).await;
        opened.map_err(|_| BleError::NoBus)?.map_err(|error| {
            debug!(%error, "no way to the message bus");
            BleError::NoBus
        })
    }

    /// Subscribes to the end of the service.
    async fn hear_of_end(&self, tell: mpsc::Sender<BleError>) -> Result<(), Error> {
        let rule = MatchRule::new_signal(BUS, "NameOwnerChanged").with_sender(BUS);
        let only_its = format!("{},arg0='{SERVICE}'", rule.match_str());
        let hear = move |change: Message, _: &SyncConnection| {
            if let Ok((SERVICE, _, "")) = change.read3::<&str, &str, &str>() {
                drop(tell.try_send(BleError::ServiceEnded));
            }
            true
        };
        self.connection.start_receive(rule, Box::new(hear));
        self.connection.add_match_no_cb(&only_its).await
    }

    /// Returns an object of the service.
    fn at<'a>(&'a self, path: impl Into<Path<'a>>) -> Proxy<'a, &'a SyncConnection> {
        Proxy::new(SERVICE, path, LONGEST, &self.connection)
    }

    async fn call(&self, path: &Path<'_>, interface: &str, method: &str) -> Result<(), Error> {
        self.at(path).method_call(interface, method, ()).await
    }

    pub(super) async fn answers(&self) -> bool {
        let ping = self.at(MANAGER_PATH).ping();
        matches!(timeout(CALL_LIMIT, ping).await, Ok(Ok(())))
    }

    /// Connects a device, and waits until its services are known. The library's own connecting subscribes anew for each
    /// link, and a failed unsubscription stays on the message bus as long as the relay runs.
    pub(super) async fn connect(&self, device: &Device) -> Result<LinkEnd, BleError> {
        let named = &device.named;
        match self.connect_and_resolve(path_of(device)).await {
            Ok(Some(end)) => Ok(end),
            Ok(None) => Err(BleError::LostAtOnce(named.name.clone())),
            // This adapter makes one connection at a time.
            Err(error) if name_of(&error).ends_with(".InProgress") => {
                Err(BleError::Used(named.clone()))
            }
            Err(error) => Err(meaning("connecting", named, &error)),
        }
    }

    /// Returns `None` if the link was lost meanwhile.
    async fn connect_and_resolve(&self, path: Path<'static>) -> Result<Option<LinkEnd>, Error> {
        let rule = PropertiesPropertiesChanged::match_rule(Some(&SERVICE.into()), Some(&path))
            .static_clone();
        self.connection.add_match_no_cb(&rule.match_str()).await?;
        let (tell, lost) = watch::channel(false);
        let (answer, answered) = oneshot::channel();
        // Messages are handled in their order, and signals before the answer belong to an earlier link.
        let hear_from_now = move |reply: Message, connection: &SyncConnection| {
            let hear = move |change: Message, _: &SyncConnection| {
                tell.send_modify(|lost| *lost |= tells_loss(&change));
                true
            };
            connection.start_receive(rule, Box::new(hear));
            drop(answer.send(reply));
        };
        let connect =
            Message::method_call(&SERVICE.into(), &path, &DEVICE.into(), &"Connect".into());
        let sent = self
            .connection
            .send_with_reply(connect, Box::new(hear_from_now));
        sent.map_err(|()| way_ended())?;
        let mut reply = answered.await.map_err(|_| way_ended())?;
        reply.as_result()?;
        let mut end = LinkEnd { lost };
        loop {
            if self.at(&path).get(DEVICE, "ServicesResolved").await? {
                return Ok(Some(end));
            }
            if end.lost.changed().await.is_err() || *end.lost.borrow() {
                return Ok(None);
            }
        }
    }

    /// Returns the state of a device's link. A link outlives the program that made it, but a subscription does not: it
    /// shows that a program is alive.
    pub(super) async fn standing(&self, device: &Device) -> Result<DeviceState, BleError> {
        let what = "asking who uses the radio";
        let path = path_of(device);
        let meaning = |error: Error| {
            let all = text_of(&error);
            BleError::meant(what, None, all.clone(), &all)
        };
        let ask = self.at("/").get_managed_objects();
        let objects = limited(what, CALL_LIMIT, ask, meaning).await?;
        let is = |it: &PropMap, property| prop_cast(it, property) == Some(&true);
        let mut standing = DeviceState::default();
        for (place, interfaces) in objects {
            if place == path
                && let Some(properties) = interfaces.get(DEVICE)
            {
                standing.connected = is(properties, "Connected");
                standing.resolved = is(properties, "ServicesResolved");
            }
            if place.starts_with(&format!("{path}/"))
                && let Some(properties) = interfaces.get(CHARACTERISTIC)
                && let Some(uuid) = prop_cast::<String>(properties, "UUID")
                && uuid.parse() == Ok(FROM_NUM)
            {
                standing.used = is(properties, "Notifying") || is(properties, "NotifyAcquired");
                standing.doorbell = Some(place);
            }
        }
        Ok(standing)
    }

    /// Subscribes to a device's notifications until this connection ends.
    pub(super) async fn subscribe(
        &self,
        device: &Device,
        place: &Path<'_>,
    ) -> Result<(), BleError> {
        let subscribed = self.call(place, CHARACTERISTIC, "StartNotify").await;
        subscribed.map_err(|error| meaning("subscribing to the radio", &device.named, &error))
    }

    /// Cancels the subscription, which outlives a link.
    pub(super) async fn unsubscribe(&self, place: &Path<'_>) {
        let unsubscribed = self.call(place, CHARACTERISTIC, "StopNotify");
        if let Ok(Err(error)) = timeout(CALL_LIMIT / 5, unsubscribed).await {
            debug!(%error, "the subscription was gone already");
        }
    }

    /// Pairs with a device, unless it is paired.
    pub(super) async fn pair(&self, device: &Device, pin: u32) -> Result<(), BleError> {
        let named = &device.named;
        let name = &named.name;
        let failed = |error: Error| BleError::Pairing {
            device: name.clone(),
            cause: text_of(&error),
        };
        let path = path_of(device);
        let what = "asking whether the radio is paired";
        let is_paired = self.at(&path).get::<bool>(DEVICE, "Paired");
        if limited(what, CALL_LIMIT, is_paired, failed).await? {
            return Ok(());
        }
        debug!(device = name, "pairing with the radio");
        let meaning = |error| match name_of(&error) {
            error if error.contains(".Authentication") => BleError::WrongPin(named.clone()),
            _ => failed(error),
        };
        let agent = Agent {
            device: path.clone(),
            pin,
        };
        let calls = MatchRule::new_method_call()
            .with_path(AGENT_PATH)
            .with_interface(AGENT);
        let answer = move |call: Message, connection: &SyncConnection| {
            let answer = agent.answer(&call).filter(|_| !call.get_no_reply());
            answer.is_none_or(|answer| connection.send(answer).is_ok())
        };
        let agent = self.connection.start_receive(calls, Box::new(answer));
        let paired = limited("pairing", PAIR_LIMIT, self.pair_with_agent(&path), meaning).await;
        // After success and failure; when the connection ends, the service drops the agent itself.
        self.connection.stop_receive(agent);
        if paired? {
            info!(device = name, "the radio is paired");
        }
        Ok(())
    }

    /// Returns whether this call paired the device; another program may have been faster.
    async fn pair_with_agent(&self, path: &Path<'_>) -> Result<bool, Error> {
        let (manager, agent) = (self.at(MANAGER_PATH), Path::from(AGENT_PATH));
        let registered = manager.method_call(MANAGER, "RegisterAgent", (&agent, ABILITY));
        let () = registered.await?;
        let paired = self.call(path, DEVICE, "Pair").await;
        let unregistered = manager.method_call(MANAGER, "UnregisterAgent", (agent,));
        drop::<Result<(), _>>(unregistered.await);
        match paired {
            Err(error) if name_of(&error).ends_with(".AlreadyExists") => Ok(false),
            paired => paired.map(|()| true),
        }
    }
}

/// Starts to read and write for the connection.
fn work(
    resource: IOResource<SyncConnection>,
    connection: Arc<SyncConnection>,
    tell: mpsc::Sender<BleError>,
) -> JoinSet<()> {
    let mut task = JoinSet::new();
    let work = async move {
        // Dropped after the resource: it closes the socket, which the runtime has to forget first.
        let _connection = connection;
        let error = resource.await;
        debug!(%error, "the way to the message bus has ended");
        // Fails if an end was told before.
        drop(tell.try_send(BleError::WayEnded));
    };
    #[expect(
        clippy::disallowed_methods,
        reason = "in its owner's set, with which it ends"
    )]
    task.spawn(work);
    task
}

impl LinkEnd {
    /// Waits until this link is lost, also if another one follows at once. Cancel safe.
    pub(super) async fn wait(&mut self) -> BleError {
        let lost = self.lost.wait_for(|lost| *lost).await;
        lost.map_or(BleError::WayEnded, |_| BleError::Lost)
    }
}

fn tells_loss(change: &Message) -> bool {
    change
        .read_all()
        .is_ok_and(|change: PropertiesPropertiesChanged| {
            let connected = prop_cast(&change.changed_properties, "Connected");
            change.interface_name == DEVICE && connected == Some(&false)
        })
}

/// Returns the device's path; the library has its identifier from there.
fn path_of(device: &Device) -> Path<'static> {
    Path::from(format!("{MANAGER_PATH}/{}", device.peripheral.id()))
}

fn meaning(what: &'static str, named: &Named, error: &Error) -> BleError {
    BleError::meant(what, Some(named), error.to_string(), &text_of(error))
}

fn name_of(error: &Error) -> &str {
    error.name().unwrap_or_default()
}

fn text_of(error: &Error) -> String {
    format!("{}: {error}", name_of(error))
}

fn way_ended() -> Error {
    Error::new_failed("Failed to send message")
}

impl ServiceEnd {
    /// Waits until the service or the message bus has ended, and returns which. Cancel safe.
    pub(super) async fn wait(&mut self) -> BleError {
        self.ends.recv().await.unwrap_or(BleError::WayEnded)
    }
}

/// Answers the service's request for the PIN of the one radio that is being paired.
struct Agent {
    device: Path<'static>,
    pin: u32,
}

impl Agent {
    fn answer(&self, call: &Message) -> Option<Message> {
        let method = call.member()?;
        let answer = match &*method {
            "RequestPasskey" => self.pin_of(call).map(|pin| call.return_with_args((pin,))),
            "RequestPinCode" => self
                .pin_of(call)
                .map(|pin| call.return_with_args((format!("{pin:06}"),))),
            "Release" => {
                debug!(device = %self.device, "the Bluetooth service needs no PIN any more");
                Ok(call.method_return())
            }
            "Cancel" => {
                debug!(device = %self.device, "the Bluetooth service has given up the pairing");
                Ok(call.method_return())
            }
            _ => return default_reply(call),
        };
        Some(answer.unwrap_or_else(|error| error.to_message(call)))
    }

    fn pin_of(&self, call: &Message) -> Result<u32, MethodErr> {
        let device: Path = call.read1()?;
        if device == self.device {
            return Ok(self.pin);
        }
        let sentence = format!("the PIN is that of {}", self.device);
        Err(("org.freedesktop.DBus.Error.AccessDenied", sentence).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pin_is_told_for_the_radio_that_is_being_paired_alone() {
        let agent = Agent {
            device: "/org/bluez/hci0/dev_C0_FF_EE_00_12_34".into(),
            pin: 1234,
        };
        let asked = |method: &str, device: &Path| {
            let mut call = Message::call_with_args(":1.1", AGENT_PATH, AGENT, method, (device,));
            call.set_serial(1);
            agent.answer(&call).unwrap()
        };
        assert_eq!(
            asked("RequestPasskey", &agent.device).get1(),
            Some(agent.pin)
        );
        assert_eq!(
            asked("RequestPinCode", &agent.device).get1(),
            Some("001234")
        );
        for (method, device, refusal) in [
            ("RequestPasskey", "/another", "AccessDenied"),
            ("RequestPinCode", "/another", "AccessDenied"),
            ("RequestConfirmation", &*agent.device, "UnknownMethod"),
        ] {
            let error = asked(method, &device.into()).as_result().map(drop);
            let error = error.unwrap_err();
            assert!(name_of(&error).ends_with(refusal), "{method}: {error:?}");
        }
    }
}
