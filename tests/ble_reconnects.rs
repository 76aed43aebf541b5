//! A hundred links that are lost in a row over Bluetooth, and a hundred attempts that fail, leave nothing behind: no task, no
//! file descriptor and no memory in the process, no client and no match rule on the message bus, no search and no
//! subscription in the Bluetooth service.
//!
//! The library reads the address of the bus once in a process's life, and what is counted is counted for a whole process.
//! So each test starts itself again, with the address of a bus of its own: links are made and lost there, while the radio,
//! the Bluetooth service and the bus are here. The wire alone: what stands above it is the same over every wire, and is
//! counted in `reconnects.rs`. Without the pauses between attempts a hundred links take seconds.
#![cfg(all(feature = "ble", target_os = "linux"))]
#![expect(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "in a test a failed assumption is the failure, and says why"
)]

#[expect(dead_code, reason = "the other tests use the rest")]
#[path = "it/support"]
mod support {
    pub(crate) mod bluetooth;
    pub(crate) mod bluez;
    pub(crate) mod bus;
    pub(crate) mod gatt;
    pub(crate) mod held;
    pub(crate) mod limit;
    pub(crate) mod lines;
    pub(crate) mod process;
    pub(crate) mod radio;

    pub(crate) use limit::{LIMIT, within};
}

use std::collections::HashMap;
use std::env;
use std::io::Write as _;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use relay_config::Secret;
use relay_radio::{Ble, Wire};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::runtime;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use support::bluetooth::Bluetooth;
use support::bluez::ADDRESS;
use support::held::{Held, memory};
use support::lines::Lines;
use support::{LIMIT, within};

/// Set in the process that is counted.
const COUNTED: &str = "RELAY_TEST_COUNTED";

const PIN: u32 = 123_456;

/// Asks the radio for its configuration: field 3 of `ToRadio`.
const WANT_CONFIG: [u8; 2] = [0x18, 0x01];

/// From the end of a link, or of an attempt, to the next.
const PAUSE: Duration = Duration::from_millis(1);

/// Before the counting begins: buffers and pools have their size then.
const WARM_UP: usize = 6;

/// In each of them every kind of loss.
const ROUNDS: usize = 20;

const ATTEMPTS: usize = 100;

/// How often the bus ends. Each time takes a second: nobody answers the farewell.
const BUSES: usize = 4;

/// What may come and go by itself, in KiB. What a connection to the bus keeps for itself, times 100, does not fit.
const SLACK: u64 = 400;

/// So many counts in a row that are the same are no moment of coming and going.
const STEADY: usize = 10;

/// What the counted process tells of itself.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Count {
    /// How often the radio was heard on a new link.
    heard: usize,
    /// How often a link was lost, or could not be made.
    lost: usize,
    held: Held,
    /// In KiB.
    memory: u64,
}

/// Makes links and lets them be lost, again and again.
async fn make_links(heard: Arc<AtomicUsize>, lost: Arc<AtomicUsize>) {
    let pin = Some(Secret::new(PIN));
    let mut wire = Wire::Ble(Ble::new(ADDRESS, pin).expect("Bluetooth is built in"));
    loop {
        match wire.connect().await {
            Ok(mut connection) => {
                let asked = connection.send(&WANT_CONFIG).await.is_ok();
                if asked && connection.receive().await.is_ok() {
                    heard.fetch_add(1, Ordering::Relaxed);
                    while connection.receive().await.is_ok() {}
                }
                connection.close().await;
            }
            Err(error) => eprintln!("{error:?}"),
        }
        lost.fetch_add(1, Ordering::Relaxed);
        sleep(PAUSE).await;
    }
}

/// Makes links, and counts whenever a line asks for it.
async fn be_counted() {
    let heard = Arc::new(AtomicUsize::new(0));
    let lost = Arc::new(AtomicUsize::new(0));
    let mut tasks = JoinSet::new();
    tasks.spawn(make_links(Arc::clone(&heard), Arc::clone(&lost)));
    let mut questions = BufReader::new(tokio::io::stdin()).lines();
    while let Ok(Some(_)) = questions.next_line().await {
        let count = Count {
            heard: heard.load(Ordering::Relaxed),
            lost: lost.load(Ordering::Relaxed),
            held: Held::now(),
            memory: memory(),
        };
        let answer = serde_json::to_string(&count).expect("a count is JSON");
        // What runs the tests writes there too, and need not end its lines.
        writeln!(std::io::stdout(), "\n{answer}").expect("somebody listens");
    }
}

/// How a link is lost.
#[derive(Debug, Clone, Copy)]
enum Loss {
    /// Nothing is on its way.
    Idle,
    /// The next one too, before its services are known.
    Resolving,
    /// The next one too, while a read waits for its answer.
    Reading,
    /// A person removes the device.
    Removed,
    /// The Bluetooth service ends; it comes back when some attempts have failed.
    Service,
}

const LOSSES: [Loss; 5] = [
    Loss::Idle,
    Loss::Resolving,
    Loss::Reading,
    Loss::Removed,
    Loss::Service,
];

/// What there is in the counted process, on the bus, and in the Bluetooth service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Everything {
    held: Held,
    clients: usize,
    match_rules: usize,
    searches: usize,
    subscriptions: usize,
}

/// The process that is counted, and all that is around it.
struct Bench {
    bluetooth: Bluetooth,
    bus: zbus::Connection,
    questions: ChildStdin,
    answers: Lines,
    /// What it says beside its answers.
    remarks: Lines,
    _process: Child,
}

impl Bench {
    /// Starts that test again, and waits until its radio is heard.
    async fn linked(test: &str, bluetooth: Bluetooth) -> Self {
        let mut bench = Self::start(test, bluetooth).await;
        bench
            .wait("the radio is heard", |count| count.heard > 0)
            .await;
        bench
    }

    /// Starts that test again, as the process that is counted.
    async fn start(test: &str, bluetooth: Bluetooth) -> Self {
        let (name, address) = bluetooth.environment();
        let program = env::current_exe().expect("the test is a program");
        let mut process = Command::new(program)
            .args([test, "--exact", "--nocapture"])
            .env(name, &address)
            .env(COUNTED, "")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the test runs again");
        let questions = process.stdin.take().expect("its input is a pipe");
        let output = process.stdout.take().expect("its output is a pipe");
        let remarks = process.stderr.take().expect("its errors are a pipe");
        let name = "the counted process";
        Self {
            bus: on_the_bus(&bluetooth).await,
            bluetooth,
            questions,
            answers: Lines::of(name, output),
            remarks: Lines::of(name, remarks),
            _process: process,
        }
    }

    async fn count(&mut self) -> Count {
        let from = self.answers.count();
        let asked = self.questions.write_all(b"\n").await;
        asked.expect("the counted process runs");
        let answer = |line: &str| serde_json::from_str(line).ok();
        self.answers.first(from, "a count", answer).await
    }

    async fn wait(&mut self, what: &str, until: impl Fn(&Count) -> bool) {
        let counting = async {
            while !until(&self.count().await) {
                sleep(Duration::from_millis(5)).await;
            }
        };
        within(what, counting).await;
    }

    async fn is_heard_after(&mut self, before: &Count) {
        let what = "the radio is heard on a new link";
        self.wait(what, |count| count.heard > before.heard).await;
    }

    async fn fails(&mut self, attempts: usize) {
        let before = self.count().await.lost;
        let what = format!("{attempts} attempts fail");
        self.wait(&what, |count| count.lost >= before + attempts)
            .await;
    }

    /// Waits until the counted process has said that so often.
    async fn says(&self, words: &str, times: usize) {
        let mut said = 0;
        let words = |line: &str| {
            said += usize::from(line.contains(words));
            (said == times).then_some(())
        };
        self.remarks.first(0, "why an attempt fails", words).await;
    }

    /// Loses the link, and waits for the next one.
    async fn lose(&mut self, loss: Loss) {
        let before = self.count().await;
        let bluez = self.bluetooth.service();
        match loss {
            Loss::Idle => bluez.lose_link().await,
            Loss::Resolving => {
                let calls = bluez.count("Connect");
                bluez.hold_services(true);
                bluez.lose_link().await;
                bluez.is_called("Connect", calls + 1).await;
                bluez.lose_link().await;
                bluez.hold_services(false);
            }
            Loss::Reading => {
                bluez.hold_reads(true);
                let reads = bluez.count("ReadValue");
                bluez.lose_link().await;
                bluez.is_called("ReadValue", reads + 1).await;
                bluez.lose_link().await;
                bluez.hold_reads(false);
            }
            Loss::Removed => bluez.remove_device().await,
            Loss::Service => {
                self.bluetooth.end_service().await;
                self.fails(3).await;
                self.bluetooth.start_service().await;
            }
        }
        self.is_heard_after(&before).await;
    }

    async fn everything(&mut self) -> Everything {
        let rules = match_rules(&self.bus).await;
        let bluez = self.bluetooth.service();
        Everything {
            held: self.count().await.held,
            clients: rules.len(),
            match_rules: rules.values().map(Vec::len).sum(),
            searches: bluez.searches(),
            subscriptions: bluez.subscriptions(),
        }
    }

    /// Counts everything, once nothing comes and goes any more.
    async fn steady(&mut self) -> Everything {
        let counting = async {
            let mut last = self.everything().await;
            let mut same = 0;
            while same < STEADY {
                let now = self.everything().await;
                same = if now == last { same + 1 } else { 0 };
                last = now;
            }
            last
        };
        within("a steady count", counting).await
    }

    /// Counts everything until it is as before.
    async fn is_as_before(&mut self, before: Everything) {
        let mut now = self.everything().await;
        let counting = async {
            while now != before {
                sleep(Duration::from_millis(20)).await;
                now = self.everything().await;
            }
        };
        // Then the last count says what is too much.
        drop(timeout(LIMIT, counting).await);
        assert_eq!(now, before);
    }

    async fn uses_no_more_than(&mut self, before: u64) {
        let grown = self.count().await.memory.saturating_sub(before);
        assert!(grown < SLACK, "{grown} KiB more in use");
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- the counted process said:\n{}", self.remarks.text());
        }
    }
}

async fn on_the_bus(bluetooth: &Bluetooth) -> zbus::Connection {
    let (_, address) = bluetooth.environment();
    let bus = zbus::connection::Builder::address(&*address);
    let bus = bus.expect("the bus has an address").build().await;
    bus.expect("the bus takes a test in")
}

/// Returns what each client of the bus listens to; nothing where the bus was built without statistics.
async fn match_rules(bus: &zbus::Connection) -> HashMap<String, Vec<String>> {
    let (name, path) = ("org.freedesktop.DBus", "/org/freedesktop/DBus");
    let interface = Some("org.freedesktop.DBus.Debug.Stats");
    let told = bus.call_method(Some(name), path, interface, "GetAllMatchRules", &());
    let told = match told.await {
        Ok(told) => told,
        Err(error) => {
            assert!(env::var_os("CI").is_none(), "the bus counts: {error}");
            return HashMap::new();
        }
    };
    told.body().deserialize().expect("they are lists of rules")
}

/// Runs a test, or in the process that is counted what it counts.
fn run(test: impl Future<Output = ()>) {
    if env::var_os(COUNTED).is_some() {
        // As many threads as it takes for tasks to get into each other's way, as in the relay.
        let runtime = runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build();
        return runtime.expect("a runtime").block_on(be_counted());
    }
    let runtime = runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(test);
}

#[test]
fn a_hundred_links_that_are_lost_leave_nothing_behind() {
    run(async {
        let Some(bluetooth) = Bluetooth::start().await else {
            return;
        };
        bluetooth.air.radio(|radio| radio.set_pin(Some(PIN)));
        let test = "a_hundred_links_that_are_lost_leave_nothing_behind";
        let mut bench = Bench::linked(test, bluetooth).await;
        for loss in [LOSSES; WARM_UP].concat() {
            bench.lose(loss).await;
        }
        let (before, used) = (bench.steady().await, bench.count().await.memory);
        for loss in [LOSSES; ROUNDS].concat() {
            bench.lose(loss).await;
        }
        bench.is_as_before(before).await;
        bench.uses_no_more_than(used).await;
    });
}

/// Why no attempt can succeed.
#[derive(Debug, Clone, Copy)]
enum Obstacle {
    None,
    NoService,
    NoAdapter,
    AdapterOff,
    WrongPin,
}

/// Lets attempts fail from the beginning, and then one succeed; returns what there is then.
async fn count_after(obstacle: Obstacle) -> Option<Everything> {
    let bluetooth = Bluetooth::start_without_service().await?;
    bluetooth.air.radio(|radio| radio.set_pin(Some(PIN)));
    match obstacle {
        Obstacle::NoService => {}
        Obstacle::NoAdapter => bluetooth.start_service_with(false).await,
        Obstacle::None => bluetooth.start_service().await,
        Obstacle::AdapterOff => {
            bluetooth.start_service().await;
            bluetooth.service().set_powered(false).await;
        }
        Obstacle::WrongPin => {
            bluetooth.start_service().await;
            bluetooth.air.radio(|radio| radio.set_pin(Some(PIN + 1)));
        }
    }
    let test = "a_hundred_attempts_that_fail_leave_nothing_behind";
    let mut bench = Bench::start(test, bluetooth).await;
    if !matches!(obstacle, Obstacle::None) {
        bench.fails(ATTEMPTS / 5).await;
        let used = bench.count().await.memory;
        bench.fails(ATTEMPTS).await;
        bench.uses_no_more_than(used).await;
        assert_eq!(bench.count().await.heard, 0, "{obstacle:?}");
    }
    match obstacle {
        Obstacle::None => {}
        Obstacle::NoService => bench.bluetooth.start_service().await,
        Obstacle::NoAdapter => {
            bench.bluetooth.end_service().await;
            bench.bluetooth.start_service().await;
        }
        Obstacle::AdapterOff => bench.bluetooth.service().set_powered(true).await,
        Obstacle::WrongPin => bench.bluetooth.air.radio(|radio| radio.set_pin(Some(PIN))),
    }
    bench
        .wait("the radio is heard", |count| count.heard > 0)
        .await;
    // The first link is the one on which the radio was paired.
    bench.lose(Loss::Idle).await;
    Some(bench.steady().await)
}

#[test]
fn a_hundred_attempts_that_fail_leave_nothing_behind() {
    run(async {
        let Some(without) = count_after(Obstacle::None).await else {
            return;
        };
        for obstacle in [
            Obstacle::NoService,
            Obstacle::NoAdapter,
            Obstacle::AdapterOff,
            Obstacle::WrongPin,
        ] {
            let after = count_after(obstacle).await;
            assert_eq!(after, Some(without), "{obstacle:?}");
        }
    });
}

#[test]
fn attempts_on_a_radio_with_another_pin_by_now_leave_nothing_behind() {
    run(async {
        let Some(bluetooth) = Bluetooth::start().await else {
            return;
        };
        bluetooth.air.radio(|radio| radio.set_pin(Some(PIN)));
        let test = "attempts_on_a_radio_with_another_pin_by_now_leave_nothing_behind";
        let mut bench = Bench::linked(test, bluetooth).await;
        bench.lose(Loss::Idle).await;
        let (before, count) = (bench.steady().await, bench.count().await);
        let bluez = bench.bluetooth.service();
        let air = Arc::clone(&bench.bluetooth.air);
        air.radio(|radio| radio.set_pin(Some(PIN + 1)));
        bluez.lose_link().await;
        bench.fails(ATTEMPTS).await;
        let used = bench.count().await.memory;
        // What the radio tells in each of them must not wait for a link that comes about.
        bench.fails(ATTEMPTS).await;
        bench.fails(ATTEMPTS).await;
        bench.uses_no_more_than(used).await;
        air.radio(|radio| radio.set_pin(Some(PIN)));
        bench.is_heard_after(&count).await;
        // The first link is the one on which the radio was paired.
        bench.lose(Loss::Idle).await;
        bench.is_as_before(before).await;
    });
}

#[test]
fn attempts_on_a_service_that_hangs_leave_nothing_behind() {
    run(async {
        let Some(bluetooth) = Bluetooth::start().await else {
            return;
        };
        let test = "attempts_on_a_service_that_hangs_leave_nothing_behind";
        let mut bench = Bench::linked(test, bluetooth).await;
        bench.lose(Loss::Idle).await;
        let (before, count) = (bench.steady().await, bench.count().await);
        bench.bluetooth.end_service().await;
        // It has the name, and answers nobody.
        let hanging = on_the_bus(&bench.bluetooth).await;
        let named = hanging.request_name("org.bluez").await;
        named.expect("the name is free");
        bench.says("TooLong", 2).await;
        hanging.close().await.expect("the bus lets it go");
        bench.bluetooth.start_service().await;
        bench.is_heard_after(&count).await;
        bench.is_as_before(before).await;
    });
}

/// Of the library's tasks some wait ten seconds for an answer of the bus that has ended.
#[test]
fn message_buses_that_end_leave_nothing_behind() {
    run(async {
        let Some(bluetooth) = Bluetooth::start().await else {
            return;
        };
        let test = "message_buses_that_end_leave_nothing_behind";
        let mut bench = Bench::linked(test, bluetooth).await;
        bench.lose(Loss::Idle).await;
        let before = bench.steady().await;
        for _ in 0..BUSES {
            let count = bench.count().await;
            bench.bluetooth.end_bus().await;
            bench.fails(3).await;
            bench.bluetooth.start_bus().await;
            bench.bus = on_the_bus(&bench.bluetooth).await;
            bench.bluetooth.start_service().await;
            bench.is_heard_after(&count).await;
        }
        bench.is_as_before(before).await;
    });
}
