//! The mesh: the simulated radio on an in-memory pipe, and its reports. It outlives the relay.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::io::DuplexStream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use relay_simulator::pipe::{self, PipeRadio};
use relay_simulator::{Connection, Fate, Machine, Mesh, Report, Script, Transmitted};

/// The port of text messages; other packets of the relay do not matter here.
const TEXT_PORT: i32 = 1;

/// Time after an answer within which the client has read it, if still connected.
const TAKES_AN_ANSWER: Duration = Duration::from_secs(2);

/// A simulated radio with three neighbours, which outlives the relays of a trial.
#[derive(Debug)]
pub(super) struct SimulatedMesh {
    radio: PipeRadio,
    /// The radio's reports, with their times.
    reports: Arc<Mutex<Vec<(Instant, Report)>>>,
}

/// A tapback that the radio accepted from the relay.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Tapback {
    /// Slot of the channel that it was sent on.
    pub(super) channel: usize,
    /// Id of the packet that it is put on.
    pub(super) target: u32,
    /// The one emoji of the reaction.
    pub(super) emoji: String,
}

/// A text that the radio accepted from the relay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct OnAir {
    /// Id of the packet that carries it.
    pub(super) id: u32,
    /// Slot of the channel that it was sent on.
    pub(super) channel: u32,
    /// The text, prefix included.
    pub(super) text: String,
    /// Time since the radio was switched on.
    pub(super) at: Duration,
}

impl SimulatedMesh {
    /// Switches a radio with three neighbours on; it runs as tasks of `world`.
    pub(super) fn start(world: &mut JoinSet<()>, seed: u64) -> Self {
        let machine = Machine::new(Mesh::new(seed, 3), seed, Instant::now().into_std());
        let (mut radio, driver) = pipe::radio(machine, seed, Script::default());
        world.spawn(async { driver.await.expect("the simulated radio runs") });
        let reports = Arc::new(Mutex::new(Vec::new()));
        let (_, nobody) = mpsc::channel(1);
        let mut incoming = std::mem::replace(&mut radio.reports, nobody);
        let kept = Arc::clone(&reports);
        world.spawn(async move {
            while let Some(report) = incoming.recv().await {
                let mut kept = kept.lock().expect("no test has panicked");
                kept.push((Instant::now(), report));
            }
        });
        Self { radio, reports }
    }

    /// Returns a task that keeps one pipe ready in `pipes`; the adapter that takes it is the radio's client. The task ends with
    /// the adapter or the radio.
    pub(super) fn pipes(
        &self,
        pipes: mpsc::Sender<DuplexStream>,
    ) -> impl Future<Output = ()> + use<> {
        let clients = self.radio.clients.clone();
        async move {
            let mut offered = None;
            // The queue has room again once the previous pipe is taken.
            while let Ok(place) = pipes.reserve().await {
                if let Some(taken) = offered.take()
                    && clients.send(taken).await.is_err()
                {
                    return;
                }
                let (near, far) = tokio::io::duplex(pipe::PIPE);
                place.send(near);
                offered = Some(far);
            }
        }
    }

    /// A node says something on a channel.
    pub(super) async fn says(&self, channel: usize, id: u32, text: &str) {
        let say = serde_json::json!({"channel": channel, "text": text, "id": id});
        self.does(&say.to_string()).await;
    }

    /// Sets or clears a fault.
    pub(super) async fn fault(&self, line: &str) {
        self.does(line).await;
    }

    /// Returns the number of the radio's answers to texts so far, of any kind.
    pub(super) fn answers(&self) -> usize {
        self.transmitted(true).len()
    }

    /// Returns the texts that the radio accepted, in order; repetitions under one id once.
    pub(super) fn on_air(&self) -> Vec<OnAir> {
        let on_air = self.taken(true).into_iter().map(|packet| OnAir {
            id: packet.header.id,
            channel: packet.header.channel,
            text: packet.text().unwrap_or_default().to_owned(),
            at: packet.at,
        });
        on_air.collect()
    }

    /// Returns the tapbacks that the radio accepted, likewise.
    pub(super) fn tapbacks(&self) -> Vec<Tapback> {
        let tapbacks = self.taken(false).into_iter().map(|packet| Tapback {
            channel: packet.header.channel.try_into().expect("a channel"),
            target: packet.content.reply_id,
            emoji: packet.text().unwrap_or_default().to_owned(),
        });
        tapbacks.collect()
    }

    /// Returns the ids of the packets whose sender was still connected to learn that they were heard.
    pub(super) fn told_as_heard(&self) -> HashSet<u32> {
        let (mut sent, mut heard, mut told) = (HashSet::new(), Vec::new(), HashSet::new());
        for (at, report) in &*self.reports() {
            match report {
                Report::Transmitted(packet, Fate::Accepted) => {
                    sent.insert(packet.header.id);
                }
                Report::Transmitted(packet, Fate::Heard) if sent.contains(&packet.header.id) => {
                    heard.push((*at, packet.header.id));
                }
                Report::Client(Connection::Closed) => {
                    heard.retain(|(then, _)| *at - *then >= TAKES_AN_ANSWER);
                    told.extend(heard.drain(..).map(|(_, id)| id));
                    sent.clear();
                }
                _ => {}
            }
        }
        told.extend(heard.into_iter().map(|(_, id)| id));
        told
    }

    /// Returns how many handshakes were completed.
    pub(super) fn handshakes(&self) -> usize {
        let reports = self.reports();
        let configured = Report::Client(Connection::Configured);
        reports
            .iter()
            .filter(|(_, report)| *report == configured)
            .count()
    }

    fn taken(&self, texts: bool) -> Vec<Transmitted> {
        let mut known = HashSet::new();
        let taken = self
            .transmitted(texts)
            .into_iter()
            .filter(|(packet, fate)| *fate == Fate::Accepted && known.insert(packet.header.id));
        taken.map(|(packet, _)| packet).collect()
    }

    /// Returns the fates of texts, or of tapbacks, in order.
    fn transmitted(&self, texts: bool) -> Vec<(Transmitted, Fate)> {
        let reports = self.reports();
        let transmitted = reports.iter().filter_map(|(_, report)| match report {
            Report::Transmitted(packet, fate)
                if packet.content.portnum == TEXT_PORT && (packet.content.emoji == 0) == texts =>
            {
                Some((Transmitted::clone(packet), *fate))
            }
            _ => None,
        });
        transmitted.collect()
    }

    fn reports(&self) -> MutexGuard<'_, Vec<(Instant, Report)>> {
        self.reports.lock().expect("no test has panicked")
    }

    async fn does(&self, line: &str) {
        let command = line.parse().expect("a command");
        let sent = self.radio.commands.send(command).await;
        sent.expect("the simulated radio runs");
    }
}
