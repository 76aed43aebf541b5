//! Trials: the daemon's own pipeline in one process under paused time, with the simulated radio on an in-memory pipe, a
//! scripted homeserver, and both clocks set by the test. Hours pass in no time, and a relay can be killed at any step of
//! any task, hundreds of times.

mod day;
mod homeserver;
mod kills;
mod life;
mod mesh;
mod outages;
mod reloads;
mod rooms;
mod signs;

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use relay_config::{ChannelRef, Config, Connection, Direction, MappedRoom, SenderLimit};
use relay_model::{ChannelIndex, Clock, OwnedRoomId, OwnedUserId, PacketId, Timestamp};
use relay_radio::{RadioOptions, Wire};
use relay_store::{Database, Store, StoreError, Tx, seen, single_values, summary};

use super::event_loop::Reload;
use super::pipeline::{Pipeline, StoredState};
use super::supervisor::{DaemonEnd, Supervisor};

use homeserver::{Homeserver, Mood};
pub(super) use life::Life;
use mesh::SimulatedMesh;

/// The start of every trial: 2026-01-01.
const BEGIN: Timestamp = Timestamp(1_767_225_600_000);
/// Rooms, on the radio's first channels.
const ROOMS: usize = 3;
/// How often a trial polls the condition that it waits for.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// A relay, and the world that outlives it.
struct Trial {
    /// The directory of the relay's database.
    store: Arc<Mutex<Store>>,
    config: Config,
    /// Milliseconds by which the test has set the wall clock forward or back.
    turned: Arc<AtomicI64>,
    clock: Clock,
    homeserver: Homeserver,
    mesh: SimulatedMesh,
    relay: Option<Relay>,
    world: JoinSet<()>,
}

/// A relay that runs.
struct Relay {
    life: Life,
    stop: CancellationToken,
    end: oneshot::Receiver<DaemonEnd>,
    reloads: mpsc::Sender<Reload>,
}

impl Trial {
    /// Makes the world, without a relay.
    fn new(seed: u64) -> Self {
        let began = Instant::now();
        let turned = Arc::new(AtomicI64::new(0));
        let turn = Arc::clone(&turned);
        let clock = Clock::new(move || {
            let passed = began.elapsed();
            let shown = BEGIN + passed;
            let turned = turn.load(Ordering::Relaxed);
            (Timestamp(shown.0 + turned), passed)
        });
        let rooms: Vec<OwnedRoomId> = (0..ROOMS)
            .map(|room| format!("!room{room}:example.org").try_into().unwrap())
            .collect();
        let mut world = JoinSet::new();
        Self {
            store: Arc::new(Mutex::new(Store::in_memory().unwrap())),
            config: config(&rooms),
            turned,
            homeserver: Homeserver::new(rooms, clock.clone()),
            clock,
            mesh: SimulatedMesh::start(&mut world, seed),
            relay: None,
            world,
        }
    }

    /// Makes the world and starts the relay; returns when its radio is ready.
    async fn started(seed: u64) -> Self {
        let mut trial = Self::new(seed);
        trial.start();
        trial
            .until("the radio is ready", |trial| trial.mesh.handshakes() > 0)
            .await;
        trial
    }

    /// Starts the relay.
    fn start(&mut self) {
        self.start_with(Life::default());
    }

    /// Starts the relay with that life.
    fn start_with(&mut self, life: Life) {
        assert!(self.relay.is_none(), "one relay at a time");
        let account: OwnedUserId = "@relay:example.org".try_into().unwrap();
        let (position, found) = {
            let mut store = self.store.lock().unwrap();
            let found = StoredState::in_store(&mut store, &self.config, self.clock.now());
            (
                store
                    .read(|tx| single_values::sync_position(tx, &account))
                    .unwrap(),
                found.unwrap(),
            )
        };
        let stop = CancellationToken::new();
        let supervisor = Supervisor::mortal(stop.clone(), life.clone());
        let (pipes, take_pipes) = mpsc::channel(1);
        self.world.spawn(self.mesh.pipes(pipes));
        let pipeline = Pipeline::start(
            &supervisor,
            found,
            Database::here(Arc::clone(&self.store)),
            RadioOptions {
                message_delay: self.config.meshtastic.message_delay,
                channel_use: Some(self.config.meshtastic.channel_use),
                ..RadioOptions::over(Wire::Pipes(take_pipes))
            },
            self.clock.clone(),
        );
        pipeline
            .ledger
            .lock()
            .unwrap()
            .bridge
            .remember_own_user(account);
        let homeserver = self.homeserver.session();
        pipeline.sender.send_replace(Some(homeserver.clone()));
        let stopped = stop.clone();
        let reloads = pipeline.reloads.clone();
        let mapped = self.config.matrix_rooms.iter();
        let mapped: Vec<_> = mapped.map(|it| it.id.clone()).collect();
        supervisor.workers.start("matrix", async move {
            // Holds the sender until the relay ends.
            let Pipeline {
                batches, sender, ..
            } = pipeline;
            let syncing = homeserver.sync(position, mapped, batches, stopped.clone());
            syncing.await;
            stopped.cancelled().await;
            drop(sender);
        });
        let (told, end) = oneshot::channel();
        self.world.spawn(life.of(async move {
            let _ = told.send(supervisor.run().await);
        }));
        self.relay = Some(Relay {
            life,
            stop,
            end,
            reloads,
        });
    }

    /// Changes the configuration of the running relay.
    async fn reload(&mut self, change: impl FnOnce(&mut Config)) {
        change(&mut self.config);
        let config = Arc::new(self.config.clone());
        let (done, is_done) = oneshot::channel();
        let relay = self.relay.as_ref().expect("a relay runs");
        relay.reloads.send(Reload { config, done }).await.unwrap();
        is_done.await.unwrap().unwrap();
    }

    /// Kills the relay.
    async fn kill(&mut self) {
        let relay = self.relay.take().expect("a relay runs");
        relay.life.kill().await;
    }

    /// Asks the relay to stop, and returns how long that took.
    async fn stop(&mut self) -> Duration {
        let relay = self.relay.take().expect("a relay runs");
        let asked = Instant::now();
        relay.stop.cancel();
        assert_eq!(relay.end.await, Ok(DaemonEnd::Asked));
        let took = asked.elapsed();
        // Tasks that have not ended by then end with the process.
        relay.life.kill().await;
        took
    }

    /// Lets time pass.
    async fn wait(&self, span: Duration) {
        tokio::time::sleep(span).await;
    }

    /// Waits for a condition, one hour at most; panics with its name.
    async fn until(&self, what: &str, mut happened: impl FnMut(&Self) -> bool) {
        let limit = Instant::now() + Duration::from_hours(1);
        while !happened(self) {
            assert!(
                Instant::now() < limit,
                "in an hour did not happen: {what}\n{}",
                self.told()
            );
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Sets the wall clock forward or back.
    fn turn_clock(&self, milliseconds: i64) {
        self.turned.fetch_add(milliseconds, Ordering::Relaxed);
    }

    /// Returns the numbers of the texts that a room accepted, in order; see [`number`].
    fn in_room(&self, room: usize) -> Vec<u32> {
        let texts = self.homeserver.texts(room);
        texts.iter().map(|text| number(text)).collect()
    }

    /// Returns the numbers of the texts that the radio accepted for a channel, in order, each once.
    fn on_mesh(&self, channel: usize) -> Vec<u32> {
        let mut numbers = Vec::new();
        for text in self.mesh.on_air() {
            let number = number(&text.text);
            if usize::try_from(text.channel) == Ok(channel) && !numbers.contains(&number) {
                numbers.push(number);
            }
        }
        numbers
    }

    /// Returns how many messages wait in the outboxes for rooms, and how many packets for the mesh.
    fn waiting(&self) -> (u64, u64) {
        self.look(|tx| {
            let rooms = summary::to_matrix(tx)?.iter().map(|it| it.count).sum();
            let mesh = summary::to_mesh(tx)?.iter().map(|it| it.count).sum();
            Ok((rooms, mesh))
        })
    }

    /// Returns those of these packets that the relay has accepted.
    fn accepted(&self, packets: &[u32]) -> Vec<u32> {
        self.look(|tx| {
            let radio = single_values::own_radio(tx)?;
            let mut accepted = Vec::new();
            for packet in packets {
                if let Some(radio) = radio
                    && seen::was_heard(tx, radio, PacketId(*packet))?
                {
                    accepted.push(*packet);
                }
            }
            Ok(accepted)
        })
    }

    /// Reads the database, also while the relay runs.
    fn look<T>(&self, work: impl FnOnce(&Tx<'_>) -> Result<T, StoreError>) -> T {
        self.store.lock().unwrap().transaction(work).unwrap()
    }

    /// Asserts that the radio never accepted a text under two ids, unless it had refused or may have lost the first.
    fn no_text_went_under_two_ids(&self) {
        let on_air = self.mesh.on_air();
        for text in &on_air {
            let other = on_air
                .iter()
                .find(|other| other.text == text.text && other.id != text.id);
            assert_eq!(other, None, "{text:?} again\n{}", self.told());
        }
    }

    /// Asserts that two texts were always at least 2 s apart on the air.
    fn texts_kept_their_distance(&self) {
        let on_air = self.mesh.on_air();
        for pair in on_air.windows(2) {
            let distance = pair[1].at.saturating_sub(pair[0].at);
            assert!(distance >= Duration::from_secs(2), "{pair:?}");
        }
    }

    /// Asserts that no message was sent twice to a room.
    fn no_transaction_was_posted_twice(&self) {
        for room in 0..ROOMS {
            let posted = self.homeserver.posted(room);
            let mut transactions: Vec<_> = posted.iter().map(|it| &it.transaction).collect();
            transactions.sort_unstable();
            transactions.dedup();
            assert_eq!(transactions.len(), posted.len(), "room {room}");
        }
    }

    /// Describes what has arrived where, for a failed assertion.
    fn told(&self) -> String {
        let mut told = format!("waiting: {:?}\n", self.waiting());
        for place in 0..ROOMS {
            let (room, mesh) = (self.in_room(place), self.on_mesh(place));
            let line = format!("{place}: in the room {room:?}, on the mesh {mesh:?}\n");
            told.push_str(&line);
        }
        told
    }
}

/// Returns the number at the end of a text: trials number their messages.
fn number(text: &str) -> u32 {
    let word = text.rsplit(' ').next().and_then(|word| word.parse().ok());
    word.unwrap_or_else(|| panic!("{text:?} does not end in a number"))
}

/// Returns the numbers from 1 to `last`.
fn up_to(last: u32) -> Vec<u32> {
    (1..=last).collect()
}

fn config(rooms: &[OwnedRoomId]) -> Config {
    let mapped = (0_u32..).zip(rooms).map(|(channel, room)| MappedRoom {
        id: room.clone().into(),
        via: Vec::new(),
        meshtastic_channel: ChannelRef::Index(ChannelIndex::try_from(channel).unwrap()),
        direction: Direction::Both,
        appearance: relay_config::Appearance::default(),
    });
    // Unused: the wire is a pipe.
    let connection = Connection::Tcp {
        host: "127.0.0.1".to_owned(),
        port: 4403,
    };
    let mut config = Config::new(connection, mapped.collect());
    config.matrix.sender_limit = SenderLimit {
        per_minute: 1_000_000,
        per_hour: 1_000_000,
    };
    config
}
