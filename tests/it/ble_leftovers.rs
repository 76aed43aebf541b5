//! A hundred lost links over Bluetooth in a row, and a hundred failed attempts, leave nothing behind: no task, no
//! file descriptor and no memory in the process, no client and no match rule on the message bus, no search and no
//! subscription in the Bluetooth service.
//!
//! The library reads the address of the bus once per process, and the resources are counted per process.
//! So each test starts itself again as a child with the address of its own bus. The links are made in the child; the radio,
//! the Bluetooth service and the bus run in the parent. Only the wire is tested: the layers above are the same for all wires,
//! and are tested in `leftovers.rs`. Without the back-off between attempts a hundred links take seconds.

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

use crate::support::bluetooth::Bluetooth;
use crate::support::bluez::ADDRESS;
use crate::support::held::{Held, again, is_counted, memory};
use crate::support::lines::Lines;
use crate::support::{LIMIT, within};

const PIN: u32 = 123_456;

/// Asks the radio for its configuration: field 3 of `ToRadio`.
const WANT_CONFIG: [u8; 2] = [0x18, 0x01];

/// Pause between two links or attempts.
const PAUSE: Duration = Duration::from_millis(1);

/// Number of links before the first count, for buffers and pools to reach their size.
const WARM_UP: usize = 6;

/// Number of rounds, each with every kind of loss.
const ROUNDS: usize = 20;

const ATTEMPTS: usize = 100;

/// How often the bus ends. Each time takes a second, the timeout of the unanswered disconnect.
const BUSES: usize = 4;

/// Tolerated growth of memory in KiB; less than 100 connections to the bus take.
const SLACK: u64 = 400;

/// Number of equal counts in a row after which the counts are stable.
const STEADY: usize = 10;

/// The child's answer.
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

/// Connects again whenever the link is lost.
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

/// The child: connects, and counts for each line on its input.
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
        // The test harness writes there, too, and may not end its lines.
        writeln!(std::io::stdout(), "\n{answer}").expect("somebody listens");
    }
}

/// How a link is lost.
#[derive(Debug, Clone, Copy)]
enum Loss {
    /// While idle.
    Idle,
    /// Also the next one, before its services are resolved.
    Resolving,
    /// Also the next one, during a read.
    Reading,
    /// A person removes the device.
    Removed,
    /// The Bluetooth service ends, and restarts after some failed attempts.
    Service,
}

const LOSSES: [Loss; 5] = [
    Loss::Idle,
    Loss::Resolving,
    Loss::Reading,
    Loss::Removed,
    Loss::Service,
];

/// The resources in the child, on the bus, and in the Bluetooth service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Everything {
    held: Held,
    clients: usize,
    match_rules: usize,
    searches: usize,
    subscriptions: usize,
}

/// The child and its surroundings.
struct Bench {
    bluetooth: Bluetooth,
    bus: zbus::Connection,
    questions: ChildStdin,
    answers: Lines,
    /// The child's output other than answers.
    remarks: Lines,
    _process: Child,
}

impl Bench {
    /// Starts the child for this test, and waits for its first link.
    async fn linked(test: &str, bluetooth: Bluetooth) -> Self {
        let mut bench = Self::start(test, bluetooth).await;
        bench
            .wait("the radio is heard", |count| count.heard > 0)
            .await;
        bench
    }

    /// Starts the child for this test.
    async fn start(test: &str, bluetooth: Bluetooth) -> Self {
        let (name, address) = bluetooth.environment();
        let mut process = Command::from(again(&format!("ble_leftovers::{test}")))
            .env(name, &address)
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

    /// Waits until the child has printed this line this many times.
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

    /// Counts until the counts are stable.
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

    /// Counts until the counts are as before, or the timeout.
    async fn is_as_before(&mut self, before: Everything) {
        let mut now = self.everything().await;
        let counting = async {
            while now != before {
                sleep(Duration::from_millis(20)).await;
                now = self.everything().await;
            }
        };
        // At the timeout the last count shows the leak.
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

/// Returns the match rules of each client of the bus; empty where the bus was built without statistics.
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

/// Runs the test in the parent, and the counted part in the child.
fn run(test: impl Future<Output = ()>) {
    if is_counted() {
        // Several threads, so that tasks can race as in the relay.
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

/// Lets attempts fail from the beginning, and then one succeed; returns the counts.
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
        // The radio's advertisements in each attempt must not wait for a successful link.
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
        // Owns the service's name, and answers no call.
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

/// Some of the library's tasks wait ten seconds for an answer of the ended bus.
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
