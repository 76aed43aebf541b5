//! Joins everything between the two networks: database, event loop, workers, radio. The wire to the radio and the client of
//! the homeserver are handed in.

use std::error::Error;
use std::sync::{Arc, Mutex};

use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tracing::error;

use super::ledger::{Ledger, Outcome};
use super::mesh_worker::MeshSide;
use super::queues::{Queues, Shared};
use super::{
    account_limit::AccountLimit,
    event_loop::{EventLoop, Reload, SYNC_WITHIN},
    room_worker::RoomSide,
    runtime_state::RuntimeState,
    supervisor::Supervisor,
};
use relay_config::Config;
use relay_matrix::Batch;
use relay_model::{Clock, Event, Node, SendToRoom, Timestamp};
use relay_radio::{Link, Radio, RadioOptions};
use relay_store::{Database, Result, Store, nodes, single_values};

/// Capacity of the event loop's queues: one transaction's worth, so that a slow disk causes back-pressure instead of filling
/// the memory.
const EVENTS: usize = 256;
/// Capacity of the queue to the pacer, which itself holds one packet per destination and lane.
const SUBMISSIONS: usize = 8;

/// The state read from the database at a start.
#[derive(Debug)]
pub(super) struct StoredState {
    ledger: Ledger,
    waiting: Outcome,
    nodes: Vec<Node>,
    last_accepted: Option<Timestamp>,
    config: Arc<Config>,
}

impl StoredState {
    /// Reads the state, and returns rows that were in flight when the relay stopped to their queues.
    pub(super) fn in_store(store: &mut Store, config: &Config, now: Timestamp) -> Result<Self> {
        store.transaction(|tx| {
            let (ledger, waiting) = Ledger::open(tx, config, now)?;
            Ok(Self {
                nodes: nodes::all(tx, ledger.bridge.radio())?,
                waiting,
                last_accepted: single_values::last_acceptance(tx)?,
                config: Arc::new(config.clone()),
                ledger,
            })
        })
    }
}

/// Handles of the running pipeline, for the Matrix side.
#[derive(Debug)]
pub(super) struct Pipeline<S> {
    pub(super) database: Database,
    pub(super) ledger: Arc<Mutex<Ledger>>,
    pub(super) events: mpsc::Sender<Event>,
    pub(super) batches: mpsc::Sender<Batch>,
    pub(super) reloads: mpsc::Sender<Reload>,
    /// The configuration that decides.
    pub(super) config: watch::Receiver<Arc<Config>>,
    /// `None` while no Matrix session is open.
    pub(super) sender: watch::Sender<Option<S>>,
    pub(super) runtime_state: Arc<RuntimeState>,
    pub(super) link: watch::Receiver<Link>,
    pub(super) limit: AccountLimit,
}

impl<S: SendToRoom> Pipeline<S> {
    /// Starts the tasks. The nodes, the last acceptance and the clock of `radio` are filled in here.
    pub(super) fn start(
        supervisor: &Supervisor,
        mut stored: StoredState,
        database: Database,
        radio: RadioOptions,
        clock: Clock,
    ) -> Self {
        let names = stored.ledger.bridge.names().clone();
        let ledger = Arc::new(Mutex::new(stored.ledger));
        let (events, take_events) = mpsc::channel(EVENTS);
        let radio_events = events.clone();
        let (reports, take_reports) = mpsc::channel(EVENTS);
        let (batches, take_batches) = mpsc::channel(1);
        let (reloads, take_reloads) = mpsc::channel(1);
        let (config, live) = watch::channel(stored.config);
        let (submissions, take_submissions) = mpsc::channel(SUBMISSIONS);
        let (sender, take_sender) = watch::channel(None);
        let (radio_ready, is_radio_ready) = watch::channel(false);

        let radio = Radio::new(RadioOptions {
            nodes: stored.nodes,
            last_accepted: stored.last_accepted,
            clock: clock.clone(),
            ..radio
        });
        let (runtime_state, link) = (Arc::new(RuntimeState::new(names)), radio.link());
        let limit = AccountLimit::default();
        let mut queues = Queues::new(Shared {
            rooms: RoomSide {
                database: database.clone(),
                sender: take_sender,
                reports,
                limit: limit.clone(),
                clock: clock.clone(),
            },
            mesh: MeshSide {
                database: database.clone(),
                submissions,
                ready: is_radio_ready,
                air: radio.air(),
                config: live.clone(),
                clock: clock.clone(),
            },
            workers: supervisor.workers.clone(),
            withdrawals: radio.withdrawals(),
        });
        runtime_state.committed(&[], &mut stored.waiting);
        queues.wake(&stored.waiting);

        let Supervisor { workers, last } = supervisor;
        let stop = workers.stop.clone();
        workers.start("radio", async move {
            if let Err(error) = radio.run(take_submissions, radio_events, stop).await {
                error!(error = &error as &dyn Error, "the radio's side ended");
            }
        });
        let event_loop = EventLoop {
            database: database.clone(),
            ledger: Arc::clone(&ledger),
            radio: take_events,
            reports: take_reports,
            batches: take_batches,
            reloads: take_reloads,
            config,
            queues,
            radio_ready,
            chores_at: Instant::now(),
            // What the process before committed may not be on the disk yet.
            sync_at: Some(Instant::now() + SYNC_WITHIN),
            runtime_state: Arc::clone(&runtime_state),
            clock,
        };
        let work = event_loop.run(workers.stop.clone(), last.stop.clone());
        last.start("event loop", work);
        Self {
            database,
            ledger,
            events,
            batches,
            reloads,
            config: live,
            sender,
            runtime_state,
            link,
            limit,
        }
    }
}
