//! A radio on Bluetooth: the simulated radio behind a fake Bluetooth service, on a message bus of its own.

use std::future::pending;
use std::sync::{Arc, Mutex};

use relay_simulator::{Command, Machine, Mesh};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, DuplexStream, duplex};
use tokio::task::JoinSet;

use super::bluez::{Air, BlueZ, now, use_radio};
use super::bus::Bus;
use super::gatt::Gatt;
use super::radio::Radio;

const SEED: u64 = 7;

/// The radio, the service and the bus.
#[derive(Debug)]
pub(crate) struct Bluetooth {
    /// The radio, in the air.
    pub(crate) air: Arc<Air>,
    bus: Option<Bus>,
    service: Arc<Mutex<Option<BlueZ>>>,
    radio: Option<Radio>,
    _running: JoinSet<()>,
}

impl Bluetooth {
    /// Starts everything; `None` where there is no message bus: the test is skipped.
    pub(crate) async fn start() -> Option<Self> {
        let bluetooth = Self::start_without_service().await?;
        bluetooth.start_service().await;
        Some(bluetooth)
    }

    /// Starts the radio and the bus.
    pub(crate) async fn start_without_service() -> Option<Self> {
        let bus = Bus::start().await?;
        let machine = Machine::new(Mesh::new(SEED, 3), SEED, now());
        let air = Arc::new(Air::new(Gatt::new(machine)));
        let service = Arc::new(Mutex::new(None));
        let (input, lines) = duplex(1 << 16);
        let (reports, output) = duplex(1 << 16);
        let mut running = JoinSet::new();
        running.spawn(run(Arc::clone(&air), Arc::clone(&service), lines, reports));
        Some(Self {
            air,
            bus: Some(bus),
            service,
            radio: Some(Radio::of_pipes(input, output)),
            _running: running,
        })
    }

    /// Returns the handle by which a test drives the radio.
    pub(crate) fn take_radio(&mut self) -> Radio {
        self.radio.take().expect("it is taken once")
    }

    /// Returns the address of the bus.
    pub(crate) fn environment(&self) -> (&'static str, String) {
        let bus = self.bus.as_ref().expect("there is a bus");
        ("DBUS_SYSTEM_BUS_ADDRESS", bus.address())
    }

    /// Connects another program of this computer to the radio, subscribed to its doorbell; disconnects on drop.
    pub(crate) async fn another_program(&self) -> zbus::Connection {
        let bus = self.bus.as_ref().expect("there is a bus");
        let program = zbus::connection::Builder::address(&*bus.address());
        let program = program.expect("the bus has an address").build().await;
        let program = program.expect("the bus takes a program in");
        use_radio(&program).await;
        program
    }

    /// Returns the running service.
    pub(crate) fn service(&self) -> BlueZ {
        let service = self.service.lock().expect("no test panicked in it");
        service.clone().expect("the service runs")
    }

    /// Starts the service.
    pub(crate) async fn start_service(&self) {
        self.start_service_with(true).await;
    }

    /// Starts the service, with or without an adapter.
    pub(crate) async fn start_service_with(&self, adapter: bool) {
        let bus = self.bus.as_ref().expect("there is a bus");
        let bluez = BlueZ::start_with(&bus.address(), Arc::clone(&self.air), adapter).await;
        *self.service.lock().expect("no test panicked in it") = Some(bluez);
    }

    /// Ends the service.
    pub(crate) async fn end_service(&self) {
        let service = self.service.lock().expect("no test panicked in it").take();
        service.expect("the service runs").end().await;
    }

    /// Ends the bus, and everything on it.
    pub(crate) async fn end_bus(&mut self) {
        self.bus.as_mut().expect("there is a bus").end().await;
        self.end_service().await;
    }

    /// Starts the bus again, without the service.
    pub(crate) async fn start_bus(&mut self) {
        let bus = self.bus.take().expect("there was a bus");
        self.bus = Some(bus.start_again().await);
    }
}

/// Runs the radio: time, commands, reports.
async fn run(
    air: Arc<Air>,
    service: Arc<Mutex<Option<BlueZ>>>,
    lines: DuplexStream,
    mut reports: DuplexStream,
) {
    let mut lines = BufReader::new(lines).lines();
    loop {
        let deadline = air.live();
        for report in air.take_reports() {
            // The test may have dropped its radio.
            drop(reports.write_all(format!("{report}\n").as_bytes()).await);
        }
        let bluez = service.lock().expect("no test panicked in it").clone();
        if let Some(bluez) = bluez {
            bluez.settle().await;
        }
        let wait = async {
            match deadline {
                Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
                None => pending().await,
            }
        };
        tokio::select! {
            () = air.news.notified() => {}
            () = wait => {}
            line = lines.next_line() => match line {
                Ok(Some(line)) => {
                    let command: Command = line.parse().expect("a test's line can be read");
                    air.obey(&command);
                }
                Ok(None) | Err(_) => return,
            },
        }
    }
}
