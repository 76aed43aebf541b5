//! A hundred lost links in a row leave nothing behind: no task, no file descriptor, no memory.

use std::future::Future;
use std::time::Duration;

use relay_model::{Event, RadioEvent};
use relay_radio::{Radio, RadioOptions, SerialPort, Wire};
use relay_simulator::{Command, Controls, Machine, Mesh, Port, PtyPort, Script, TcpPort, drive};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::support::held::{Held, again, is_counted, memory};

const SEED: u64 = 7;

/// Number of links before the first count, for buffers and pools to reach their size.
const WARM_UP: usize = 20;

const ROUNDS: usize = 100;

/// Tolerated growth of memory in KiB over a hundred links; the buffers of 100 connections, 4 KiB each, exceed it.
const SLACK: u64 = 300;

/// Hundreds of links at most. A leak grows in each; what a busy machine makes the allocator take at once grows in one.
const HUNDREDS: usize = 4;

/// An adapter and its radio.
struct Bench {
    commands: mpsc::Sender<Command>,
    events: mpsc::Receiver<Event>,
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

impl Bench {
    fn start(port: impl Port + 'static, wire: Wire) -> Self {
        let machine = Machine::new(Mesh::new(SEED, 3), SEED, Instant::now().into_std());
        let (commands, obeyed) = mpsc::channel(8);
        // Nobody listens.
        let (reports, _) = mpsc::channel(1);
        let stop = CancellationToken::new();
        let controls = Controls {
            commands: obeyed,
            reports,
            stop: stop.clone(),
            recorder: None,
            seed: SEED,
            script: Script::default(),
        };
        let mut options = RadioOptions::over(wire);
        options.seed = Some(SEED);
        let (_, submitted) = mpsc::channel(1);
        let (told, events) = mpsc::channel(64);
        let running = Radio::new(options).run(submitted, told, stop.clone());
        let mut tasks = JoinSet::new();
        let driving = drive(port, machine, controls);
        tasks.spawn(async { driving.await.expect("the radio runs") });
        tasks.spawn(async { running.await.expect("the adapter runs") });
        Self {
            commands,
            events,
            stop,
            tasks,
        }
    }

    async fn ready(&mut self) {
        let ready = async {
            loop {
                let event = self.events.recv().await.expect("the adapter runs");
                if matches!(event, Event::Radio(RadioEvent::Ready(_))) {
                    return;
                }
            }
        };
        timeout(Duration::from_mins(10), ready)
            .await
            .expect("the radio is ready");
    }

    /// Loses so many links in a row, each after this time, and waits for one more.
    async fn lose(&mut self, links: usize, loss: &str, life: Duration) {
        for _ in 0..links {
            sleep(life).await;
            let command = loss.parse().expect("a command");
            self.commands.send(command).await.expect("the radio runs");
            self.ready().await;
        }
    }

    async fn endure(mut self, loss: &str, life: Duration) {
        self.ready().await;
        self.lose(WARM_UP, loss, life).await;
        let held = Held::now();
        let mut used = memory();
        let mut grown = Vec::new();
        while grown.last().is_none_or(|&more| more >= SLACK) {
            assert!(grown.len() < HUNDREDS, "{grown:?} KiB more in use");
            self.lose(ROUNDS, loss, life).await;
            let now = memory();
            grown.push(now.saturating_sub(used));
            used = now;
        }
        // A link that was just lost is closed aside.
        let closed = async {
            while Held::now().exceeds(held) {
                sleep(Duration::from_millis(10)).await;
            }
        };
        let is_closed = timeout(Duration::from_mins(1), closed).await.is_ok();
        assert!(is_closed, "held: {:?}, before {held:?}", Held::now());
        self.stop.cancel();
        while self.tasks.join_next().await.is_some() {}
    }
}

/// Runs the test in a process of its own.
fn counted(name: &str, test: impl Future<Output = ()>, paused: bool) {
    if !is_counted() {
        let ended = again(name).output().expect("the test runs again");
        let said = String::from_utf8_lossy(&ended.stderr);
        assert!(ended.status.success(), "{said}");
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(paused)
        .build();
    runtime.expect("a runtime").block_on(test);
}

#[test]
fn a_hundred_reconnects_over_the_network_leave_nothing_behind() {
    let test = async {
        let loopback = "127.0.0.1:0".parse().expect("an address");
        let port = TcpPort::listen(loopback).await.expect("a free port");
        let wire = Wire::Tcp {
            host: "127.0.0.1".to_owned(),
            port: port.address.port(),
        };
        // A link that lives longer than this was not taken by another client.
        let life = Duration::from_secs(16);
        Bench::start(port, wire)
            .endure(r#"{"fault": "close"}"#, life)
            .await;
    };
    let name = "leftovers::a_hundred_reconnects_over_the_network_leave_nothing_behind";
    counted(name, test, true);
}

#[test]
fn a_hundred_reconnects_over_a_cable_leave_nothing_behind() {
    let test = async {
        let directory = tempfile::tempdir().expect("a directory");
        let link = directory.path().join("radio");
        let port = PtyPort::open(&link).expect("a serial port");
        let wire = Wire::Serial(SerialPort::new(Some(link)));
        let loss = r#"{"fault": "away", "seconds": 0}"#;
        Bench::start(port, wire).endure(loss, Duration::ZERO).await;
    };
    let name = "leftovers::a_hundred_reconnects_over_a_cable_leave_nothing_behind";
    counted(name, test, false);
}
