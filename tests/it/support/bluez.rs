//! A fake of Linux's Bluetooth service `bluetoothd`, as its clients see it, with one radio in reach.
//!
//! The radio is the simulated one. Like the original it keeps the link when a client dies, reports the loss of
//! the services before that of the link, and forgets a client's search, subscription and agent with the client. A
//! subscription survives links: the service sets it up again on the next one; `Notifying` is true from the
//! first subscription until the last client with an active one is gone (`src/gatt-client.c`: `register_notify_cb`,
//! `update_notifying`, `btd_gatt_client_connected`).
#![expect(
    clippy::unused_self,
    clippy::needless_pass_by_value,
    clippy::used_underscore_binding,
    reason = "what a method on the bus takes is given"
)]

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures_util::StreamExt;
use relay_simulator::{Command, Machine};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use zbus::message::Header;
use zbus::zvariant::{OwnedObjectPath, OwnedValue, Value};
use zbus::{Connection, fdo, interface};

use super::gatt::{AttError, Gatt};

const ADAPTER: &str = "/org/bluez/hci0";
const SERVICE: &str = "6ba1b218-15a8-461f-9fa8-5dcae273eafd";
const TO_RADIO: &str = "f75c76d2-129e-4dad-a1dd-7866124401e7";
const FROM_RADIO: &str = "2c55e69e-4993-11ed-b878-0242ac120002";
const FROM_NUM: &str = "ed9da18c-a800-4f66-a670-aa7547e34453";
/// Object paths below the device's.
const CHARACTERISTICS: [(&str, &str, &[&str]); 3] = [
    ("service000a/char000b", TO_RADIO, &["write"]),
    ("service000a/char000d", FROM_RADIO, &["read"]),
    ("service000a/char000f", FROM_NUM, &["read", "notify"]),
];

/// The radio's address.
pub(crate) const ADDRESS: &str = "C0:FF:EE:00:12:34";
/// The name in the radio's scan response.
pub(crate) const NAME: &str = "BASE_1234";
/// The alias that a person gave the device on this computer.
pub(crate) const ALIAS: &str = "the one on the roof";

/// The radio, in the air.
#[derive(Debug)]
pub(crate) struct Air {
    gatt: Mutex<Gatt<Machine>>,
    /// Notified when the state of the radio has changed.
    pub(crate) news: Notify,
}

impl Air {
    /// Puts a radio there.
    pub(crate) fn new(gatt: Gatt<Machine>) -> Self {
        Self {
            gatt: Mutex::new(gatt),
            news: Notify::new(),
        }
    }

    /// Does something with the radio.
    pub(crate) fn radio<T>(&self, does: impl FnOnce(&mut Gatt<Machine>) -> T) -> T {
        let done = does(&mut self.gatt.lock().expect("no test panicked in it"));
        self.news.notify_one();
        done
    }
}

/// The simulated Bluetooth service on the bus, as `BlueZ` is to its clients.
#[derive(Debug, Clone)]
pub(crate) struct BlueZ(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    connection: Connection,
    air: Arc<Air>,
    memory: Mutex<Memory>,
    /// While true, reads get no answer.
    holds_reads: watch::Sender<bool>,
    tasks: Mutex<JoinSet<()>>,
}

#[derive(Debug)]
struct Memory {
    powered: bool,
    connected: bool,
    resolved: bool,
    known: bool,
    has_name: bool,
    holds_services: bool,
    scanners: HashSet<String>,
    subscribers: HashSet<String>,
    notifying: bool,
    agents: HashMap<String, OwnedObjectPath>,
    calls: Vec<String>,
}

#[derive(Debug, zbus::DBusError)]
#[zbus(prefix = "org.bluez.Error")]
enum Refusal {
    #[zbus(error)]
    Bus(zbus::Error),
    Failed(String),
    NotPermitted(String),
    NotSupported(String),
    NotReady(String),
    InProgress(String),
    InvalidValueLength(String),
    AuthenticationFailed(String),
    AlreadyExists(String),
}

impl BlueZ {
    /// Starts the service on this bus, with or without an adapter.
    pub(crate) async fn start_with(bus: &str, air: Arc<Air>, adapter: bool) -> Self {
        let connection = zbus::connection::Builder::address(bus)
            .expect("the bus has an address")
            .build()
            .await
            .expect("the bus takes a service in");
        let bluez = Self(Arc::new(Inner {
            connection,
            air,
            memory: Mutex::new(Memory {
                powered: true,
                connected: false,
                resolved: false,
                known: false,
                has_name: false,
                holds_services: false,
                scanners: HashSet::new(),
                subscribers: HashSet::new(),
                notifying: false,
                agents: HashMap::new(),
                calls: Vec::new(),
            }),
            holds_reads: watch::Sender::new(false),
            tasks: Mutex::new(JoinSet::new()),
        }));
        bluez.export(adapter).await.expect("the bus takes objects");
        bluez
    }

    async fn export(&self, adapter: bool) -> zbus::Result<()> {
        let connection = &self.0.connection;
        let server = connection.object_server();
        server.at("/", fdo::ObjectManager).await?;
        server.at("/org/bluez", AgentManager(self.clone())).await?;
        if adapter {
            server.at(ADAPTER, Adapter(self.clone())).await?;
        }
        let bus = fdo::DBusProxy::new(connection).await?;
        let mut owners = bus.receive_name_owner_changed().await?;
        let watching = self.clone();
        self.spawn(async move {
            while let Some(change) = owners.next().await {
                if let Ok(args) = change.args()
                    && args.new_owner().is_none()
                {
                    watching.forget_client(args.name().as_str()).await;
                }
            }
        });
        // The name is requested last: a client that sees it sees the objects.
        connection.request_name("org.bluez").await
    }

    /// Ends the service, and the link with it.
    pub(crate) async fn end(self) {
        self.0.air.radio(|radio| radio.disconnect(now()));
        self.tasks().abort_all();
        // Fails if the bus has ended first.
        drop(self.0.connection.clone().close().await);
    }

    /// Switches the adapter on or off; off ends the link.
    pub(crate) async fn set_powered(&self, powered: bool) {
        self.memory().powered = powered;
        if !powered {
            self.lose_link().await;
        }
        self.tell(
            ADAPTER,
            "org.bluez.Adapter1",
            "Powered",
            Value::from(powered),
        )
        .await;
    }

    /// While it holds them, services stay unresolved on a new link.
    pub(crate) fn hold_services(&self, hold: bool) {
        self.memory().holds_services = hold;
    }

    /// While it holds them, reads get no answer as long as the link stands.
    pub(crate) fn hold_reads(&self, hold: bool) {
        self.0.holds_reads.send_replace(hold);
    }

    /// The link ends, as when the radio is carried away.
    pub(crate) async fn lose_link(&self) {
        self.0.air.radio(|radio| radio.disconnect(now()));
        self.settle().await;
    }

    /// Ends the link, and connects again for another program before a client can notice.
    pub(crate) async fn change_hands(&self) {
        let made = self.0.air.radio(|radio| {
            radio.disconnect(now());
            radio.connect(now())
        });
        assert!(made, "the radio is in reach");
        for (property, value) in [
            ("ServicesResolved", false),
            ("Connected", false),
            ("Connected", true),
            ("ServicesResolved", true),
        ] {
            self.tell_device(property, value.into()).await;
        }
    }

    /// A person removes the device, its bond included.
    pub(crate) async fn remove_device(&self) {
        self.lose_link().await;
        {
            let mut memory = self.memory();
            memory.known = false;
            memory.subscribers.clear();
            memory.notifying = false;
        }
        let server = self.0.connection.object_server();
        for (place, _, _) in CHARACTERISTICS {
            drop(
                server
                    .remove::<GattCharacteristic, _>(at_device(place))
                    .await,
            );
        }
        drop(
            server
                .remove::<GattService, _>(at_device("service000a"))
                .await,
        );
        drop(server.remove::<Device, _>(device_path()).await);
    }

    /// Returns the calls so far.
    pub(crate) fn calls(&self) -> Vec<String> {
        self.memory().calls.clone()
    }

    /// Returns the number of these calls so far.
    pub(crate) fn count(&self, call: &str) -> usize {
        let calls = self.calls();
        calls.iter().filter(|it| it.starts_with(call)).count()
    }

    /// Returns how many clients search.
    pub(crate) fn searches(&self) -> usize {
        self.memory().scanners.len()
    }

    /// Returns how many clients listen to the doorbell.
    pub(crate) fn subscriptions(&self) -> usize {
        self.memory().subscribers.len()
    }

    /// Waits for this number of calls.
    pub(crate) async fn is_called(&self, call: &str, times: usize) {
        let called = async {
            while self.count(call) < times {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        super::within(&format!("{times} calls of {call}"), called).await;
    }

    /// Signals the changes of the radio since the last time to clients.
    pub(crate) async fn settle(&self) {
        let linked = self.0.air.gatt().is_linked();
        let (connected, resolved) = {
            let mut memory = self.memory();
            let was = (memory.connected, memory.resolved);
            if !linked {
                (memory.connected, memory.resolved) = (false, false);
            }
            was
        };
        if !linked && resolved {
            self.tell_device("ServicesResolved", false.into()).await;
        }
        if !linked && connected {
            self.tell_device("Connected", false.into()).await;
            // Reads that wait end with the link.
            self.0.holds_reads.send_modify(|_| {});
        }
        while let Some(number) = self.0.air.next_doorbell() {
            if !self.memory().subscribers.is_empty() {
                let (place, interface) = (CHARACTERISTICS[2].0, "org.bluez.GattCharacteristic1");
                let value = Value::from(number.to_le_bytes().to_vec());
                self.tell(&at_device(place), interface, "Value", value)
                    .await;
            }
        }
        self.hear().await;
    }

    /// Reports the radio to clients that scan.
    async fn hear(&self) {
        if self.memory().scanners.is_empty() || !self.0.air.gatt().is_heard(now()) {
            return;
        }
        let is_new = !std::mem::replace(&mut self.memory().known, true);
        if !is_new {
            self.tell_device("RSSI", Value::from(-61_i16)).await;
            return;
        }
        let server = self.0.connection.object_server();
        let exported = server.at(device_path(), Device(self.clone())).await;
        exported.expect("the bus takes objects");
        let bluez = self.clone();
        self.spawn(async move {
            // The name comes in a separate scan response.
            tokio::time::sleep(Duration::from_millis(100)).await;
            bluez.memory().has_name = true;
            bluez.tell_device("Name", NAME.into()).await;
        });
    }

    async fn connect(&self) -> Result<(), Refusal> {
        if !self.memory().powered {
            return Err(Refusal::NotReady("Resource Not Ready".to_owned()));
        }
        if self.memory().connected {
            return Ok(());
        }
        if !self.0.air.radio(|radio| radio.connect(now())) {
            return Err(Refusal::Failed("le-connection-abort-by-local".to_owned()));
        }
        self.memory().connected = true;
        self.tell_device("Connected", true.into()).await;
        if self.memory().holds_services {
            return Ok(());
        }
        // The objects of earlier links still exist.
        let server = self.0.connection.object_server();
        server
            .at(at_device("service000a"), GattService(self.clone()))
            .await?;
        for (place, uuid, flags) in CHARACTERISTICS {
            let bluez = self.clone();
            let characteristic = GattCharacteristic { bluez, uuid, flags };
            server.at(at_device(place), characteristic).await?;
        }
        self.memory().resolved = true;
        self.tell_device("ServicesResolved", true.into()).await;
        self.tell_notifying().await;
        Ok(())
    }

    async fn pair(&self, client: &str) -> Result<(), Refusal> {
        if self.0.air.gatt().is_bonded() {
            return Err(Refusal::AlreadyExists("Already Exists".to_owned()));
        }
        self.connect().await?;
        let agent = self.memory().agents.get(client).cloned();
        let pin = match agent {
            Some(path) => self.ask_for_pin(client, &path).await,
            None => None,
        };
        if !self.0.air.radio(|radio| radio.pair(pin)) {
            self.lose_link().await;
            let sentence = "Authentication Failed".to_owned();
            return Err(Refusal::AuthenticationFailed(sentence));
        }
        self.tell_device("Paired", true.into()).await;
        Ok(())
    }

    async fn ask_for_pin(&self, client: &str, agent: &OwnedObjectPath) -> Option<u32> {
        let device = OwnedObjectPath::try_from(device_path()).ok()?;
        let interface = Some("org.bluez.Agent1");
        let connection = &self.0.connection;
        let answer = connection
            .call_method(Some(client), agent, interface, "RequestPasskey", &(device,))
            .await;
        answer.ok()?.body().deserialize().ok()
    }

    /// Removes a client's subscription; returns whether it had one.
    async fn unsubscribe(&self, client: &str) -> bool {
        let had = self.memory().subscribers.remove(client);
        self.tell_notifying().await;
        had
    }

    async fn forget_client(&self, client: &str) {
        {
            let mut memory = self.memory();
            memory.scanners.remove(client);
            memory.agents.remove(client);
        }
        self.unsubscribe(client).await;
    }

    /// Signals `Notifying` if it has changed. The end of a link does not change it.
    async fn tell_notifying(&self) {
        let changed = {
            let mut memory = self.memory();
            let set_up = memory.resolved && !memory.subscribers.is_empty();
            (std::mem::replace(&mut memory.notifying, set_up) != set_up).then_some(set_up)
        };
        if let Some(notifying) = changed {
            let (place, interface) = (CHARACTERISTICS[2].0, "org.bluez.GattCharacteristic1");
            self.tell(&at_device(place), interface, "Notifying", notifying.into())
                .await;
        }
    }

    async fn tell_device(&self, property: &str, value: Value<'_>) {
        self.tell(&device_path(), "org.bluez.Device1", property, value)
            .await;
    }

    async fn tell(&self, path: &str, interface: &str, property: &str, value: Value<'_>) {
        let changed = HashMap::from([(property, value)]);
        let body = (interface, changed, Vec::<&str>::new());
        let properties = "org.freedesktop.DBus.Properties";
        let connection = &self.0.connection;
        // Fails once the bus has ended.
        drop(
            connection
                .emit_signal(None::<&str>, path, properties, "PropertiesChanged", &body)
                .await,
        );
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.0.memory.lock().expect("no test panicked in it")
    }

    fn tasks(&self) -> MutexGuard<'_, JoinSet<()>> {
        self.0.tasks.lock().expect("no test panicked in it")
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks().spawn(task);
    }

    fn note(&self, call: impl Into<String>) {
        self.memory().calls.push(call.into());
    }
}

impl Air {
    /// Runs the radio's timers, and returns the next deadline.
    pub(crate) fn live(&self) -> Option<std::time::Instant> {
        let mut radio = self.gatt();
        radio.on_time(now());
        radio.deadline()
    }

    fn next_doorbell(&self) -> Option<u32> {
        self.gatt().next_doorbell()
    }

    /// Executes a command line.
    pub(crate) fn obey(&self, command: &Command) {
        let obeyed = self.gatt().obey(command, now());
        obeyed.expect("the radio can do that");
    }

    /// Returns the radio's reports about its client, as lines.
    pub(crate) fn take_reports(&self) -> Vec<String> {
        let mut radio = self.gatt();
        std::iter::from_fn(|| radio.next_report())
            .map(|report| report.to_json().to_string())
            .collect()
    }

    fn gatt(&self) -> MutexGuard<'_, Gatt<Machine>> {
        self.gatt.lock().expect("no test panicked in it")
    }
}

struct Adapter(BlueZ);

#[interface(name = "org.bluez.Adapter1")]
impl Adapter {
    fn set_discovery_filter(&self, _filter: HashMap<String, OwnedValue>) {
        self.0.note("SetDiscoveryFilter");
    }

    async fn start_discovery(&self, #[zbus(header)] header: Header<'_>) -> Result<(), Refusal> {
        {
            let mut memory = self.0.memory();
            memory.calls.push("StartDiscovery".to_owned());
            if !memory.powered {
                return Err(Refusal::NotReady("Resource Not Ready".to_owned()));
            }
            if !memory.scanners.insert(client(&header)) {
                let sentence = "Operation already in progress".to_owned();
                return Err(Refusal::InProgress(sentence));
            }
        }
        self.0.hear().await;
        Ok(())
    }

    fn stop_discovery(&self, #[zbus(header)] header: Header<'_>) -> Result<(), Refusal> {
        let mut memory = self.0.memory();
        memory.calls.push("StopDiscovery".to_owned());
        if memory.scanners.remove(&client(&header)) {
            return Ok(());
        }
        Err(Refusal::Failed("No discovery started".to_owned()))
    }

    #[zbus(property)]
    fn address(&self) -> &'static str {
        "00:11:22:33:44:55"
    }

    #[zbus(property)]
    fn address_type(&self) -> &'static str {
        "public"
    }

    #[zbus(property)]
    fn name(&self) -> &'static str {
        "stand-in"
    }

    #[zbus(property)]
    fn alias(&self) -> &'static str {
        "stand-in"
    }

    #[zbus(property)]
    fn modalias(&self) -> &'static str {
        "usb:v1D6Bp0246d0542"
    }

    #[zbus(property)]
    fn powered(&self) -> bool {
        self.0.memory().powered
    }

    #[zbus(property)]
    fn set_powered(&self, powered: bool) {
        let mut memory = self.0.memory();
        if powered != memory.powered {
            memory.calls.push(format!("Powered = {powered}"));
        }
        memory.powered = powered;
    }

    #[zbus(property)]
    fn discovering(&self) -> bool {
        !self.0.memory().scanners.is_empty()
    }
}

struct Device(BlueZ);

#[interface(name = "org.bluez.Device1")]
impl Device {
    async fn connect(&self) -> Result<(), Refusal> {
        let scans = !self.0.memory().scanners.is_empty();
        self.0.note(if scans {
            "Connect while searching"
        } else {
            "Connect"
        });
        self.0.connect().await
    }

    async fn disconnect(&self) {
        self.0.note("Disconnect");
        self.0.lose_link().await;
    }

    async fn pair(&self, #[zbus(header)] header: Header<'_>) -> Result<(), Refusal> {
        self.0.note("Pair");
        self.0.pair(&client(&header)).await
    }

    #[zbus(property)]
    fn address(&self) -> &'static str {
        ADDRESS
    }

    #[zbus(property)]
    fn address_type(&self) -> &'static str {
        "random"
    }

    #[zbus(property)]
    fn name(&self) -> fdo::Result<&'static str> {
        let has_name = self.0.memory().has_name;
        has_name.then_some(NAME).ok_or_else(absent)
    }

    #[zbus(property)]
    fn alias(&self) -> &'static str {
        ALIAS
    }

    #[zbus(property)]
    fn adapter(&self) -> OwnedObjectPath {
        OwnedObjectPath::try_from(ADAPTER).expect("it is a path")
    }

    #[zbus(property)]
    fn paired(&self) -> bool {
        self.0.0.air.gatt().is_bonded()
    }

    #[zbus(property)]
    fn trusted(&self) -> bool {
        false
    }

    #[zbus(property)]
    fn blocked(&self) -> bool {
        false
    }

    #[zbus(property)]
    fn legacy_pairing(&self) -> bool {
        false
    }

    #[zbus(property)]
    fn connected(&self) -> bool {
        self.0.memory().connected
    }

    #[zbus(property)]
    fn services_resolved(&self) -> bool {
        self.0.memory().resolved
    }

    /// Present only while the radio is heard.
    #[zbus(property, name = "RSSI")]
    fn rssi(&self) -> fdo::Result<i16> {
        let heard = self.0.0.air.gatt().is_heard(now());
        let is_told = heard && !self.0.memory().scanners.is_empty();
        is_told.then_some(-60).ok_or_else(absent)
    }

    #[zbus(property, name = "UUIDs")]
    fn uuids(&self) -> Vec<&'static str> {
        vec![SERVICE]
    }
}

struct GattService(BlueZ);

#[interface(name = "org.bluez.GattService1")]
impl GattService {
    #[zbus(property, name = "UUID")]
    fn uuid(&self) -> &'static str {
        SERVICE
    }

    #[zbus(property)]
    fn primary(&self) -> bool {
        true
    }

    #[zbus(property)]
    fn device(&self) -> OwnedObjectPath {
        self.0.note("GattService1.Device");
        OwnedObjectPath::try_from(device_path()).expect("it is a path")
    }
}

struct GattCharacteristic {
    bluez: BlueZ,
    uuid: &'static str,
    flags: &'static [&'static str],
}

#[interface(name = "org.bluez.GattCharacteristic1")]
impl GattCharacteristic {
    async fn read_value(&self, _options: HashMap<String, OwnedValue>) -> Result<Vec<u8>, Refusal> {
        let air = &self.bluez.0.air;
        self.bluez.note("ReadValue");
        let mut holds = self.bluez.0.holds_reads.subscribe();
        while *holds.borrow_and_update() && air.gatt().is_linked() {
            if holds.changed().await.is_err() {
                break;
            }
        }
        let value = if self.uuid == FROM_RADIO {
            air.radio(|radio| radio.read(now()))
        } else {
            air.radio(|radio| radio.read_number())
        };
        value.map_err(refusal)
    }

    fn write_value(
        &self,
        value: Vec<u8>,
        options: HashMap<String, OwnedValue>,
    ) -> Result<(), Refusal> {
        let kind = options.get("type").map(|kind| (**kind).clone());
        if self.uuid != TO_RADIO || kind != Some(Value::from("request")) {
            return Err(Refusal::NotSupported(format!("a write of type {kind:?}")));
        }
        let written = self.bluez.0.air.radio(|radio| radio.write(&value, now()));
        self.bluez.note("WriteValue");
        written.map_err(refusal)
    }

    async fn start_notify(&self, #[zbus(header)] header: Header<'_>) -> Result<(), Refusal> {
        self.bluez.note("StartNotify");
        self.bluez.0.air.gatt().admit().map_err(refusal)?;
        self.bluez.memory().subscribers.insert(client(&header));
        self.bluez.tell_notifying().await;
        Ok(())
    }

    async fn stop_notify(&self, #[zbus(header)] header: Header<'_>) -> Result<(), Refusal> {
        if self.bluez.unsubscribe(&client(&header)).await {
            return Ok(());
        }
        Err(Refusal::Failed("No notify session started".to_owned()))
    }

    /// Only of characteristics that notify.
    #[zbus(property)]
    fn notifying(&self) -> fdo::Result<bool> {
        let notifies = self.flags.contains(&"notify");
        let notifying = self.bluez.memory().notifying;
        notifies.then_some(notifying).ok_or_else(absent)
    }

    /// Whether a client has acquired the notifications: always false, and absent where there are none.
    #[zbus(property)]
    fn notify_acquired(&self) -> fdo::Result<bool> {
        let notifies = self.flags.contains(&"notify");
        notifies.then_some(false).ok_or_else(absent)
    }

    #[zbus(property, name = "UUID")]
    fn uuid(&self) -> &'static str {
        self.uuid
    }

    #[zbus(property)]
    fn service(&self) -> OwnedObjectPath {
        OwnedObjectPath::try_from(at_device("service000a")).expect("it is a path")
    }

    #[zbus(property)]
    fn flags(&self) -> Vec<&'static str> {
        self.flags.to_vec()
    }

    #[zbus(property, name = "MTU")]
    fn mtu(&self) -> u16 {
        517
    }
}

struct AgentManager(BlueZ);

#[interface(name = "org.bluez.AgentManager1")]
impl AgentManager {
    fn register_agent(
        &self,
        agent: OwnedObjectPath,
        ability: String,
        #[zbus(header)] header: Header<'_>,
    ) {
        self.0.note(format!("RegisterAgent {ability}"));
        self.0.memory().agents.insert(client(&header), agent);
    }

    fn unregister_agent(&self, _agent: OwnedObjectPath, #[zbus(header)] header: Header<'_>) {
        self.0.note("UnregisterAgent");
        self.0.memory().agents.remove(&client(&header));
    }
}

/// Connects and subscribes like any program that uses the radio.
pub(crate) async fn use_radio(program: &Connection) {
    let doorbell = at_device(CHARACTERISTICS[2].0);
    for (path, interface, method) in [
        (ADAPTER, "org.bluez.Adapter1", "StartDiscovery"),
        (ADAPTER, "org.bluez.Adapter1", "StopDiscovery"),
        (&device_path(), "org.bluez.Device1", "Connect"),
        (&doorbell, "org.bluez.GattCharacteristic1", "StartNotify"),
    ] {
        let service = Some("org.bluez");
        let called = program.call_method(service, path, Some(interface), method, &());
        called.await.expect("the service lets a program do that");
    }
}

fn client(header: &Header<'_>) -> String {
    header
        .sender()
        .expect("the bus names who calls")
        .to_string()
}

fn refusal(error: AttError) -> Refusal {
    match error {
        AttError::NotConnected => Refusal::Failed("Not connected".to_owned()),
        AttError::InsufficientAuthentication => Refusal::NotPermitted("Not paired".to_owned()),
        AttError::InvalidLength => Refusal::InvalidValueLength("Invalid Length".to_owned()),
    }
}

fn absent() -> fdo::Error {
    fdo::Error::UnknownProperty("not known".to_owned())
}

fn device_path() -> String {
    format!("{ADAPTER}/dev_{}", ADDRESS.replace(':', "_"))
}

fn at_device(place: &str) -> String {
    format!("{}/{place}", device_path())
}

/// Returns the radio's time.
pub(crate) fn now() -> std::time::Instant {
    Instant::now().into_std()
}
