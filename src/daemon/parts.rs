//! Joins the parts between the two networks: tables, event loop, workers, radio. What lies outside is handed in: the
//! wire to the radio, and who speaks with the homeserver.

use std::error::Error;
use std::sync::{Arc, Mutex};

use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tracing::error;

use super::account_limit::AccountLimit;
use super::event_loop::EventLoop;
use super::ledger::{Ledger, Outcome};
use super::live::Live;
use super::mesh_worker::{MeshRules, MeshSide};
use super::queues::{Queues, Shared};
use super::room_worker::RoomSide;
use super::supervisor::Supervisor;
use relay_config::Config;
use relay_matrix::Batch;
use relay_model::{Clock, Event, Node, SendToRoom, Timestamp};
use relay_radio::{Link, Radio, RadioOptions};
use relay_store::{Database, Result, Store, nodes, single_values};

/// Events of the radio, and reports of the workers, that wait for the event loop: one transaction's worth, so that a
/// slow disk slows the adapters down instead of filling the memory.
const EVENTS: usize = 256;
/// Packets between the workers and the pacer: it holds one for each destination and lane itself.
const SUBMISSIONS: usize = 8;

/// What the tables say at a start.
#[derive(Debug)]
pub(super) struct Found {
    ledger: Ledger,
    waiting: Outcome,
    nodes: Vec<Node>,
    last_accepted: Option<Timestamp>,
    rules: MeshRules,
}

impl Found {
    /// Reads it; what was under way when the relay stopped goes back into its queue.
    pub(super) fn in_store(store: &mut Store, config: &Config, now: Timestamp) -> Result<Self> {
        store.transaction(|tx| {
            let (ledger, waiting) = Ledger::open(tx, config, now)?;
            Ok(Self {
                nodes: nodes::all(tx, ledger.bridge.radio())?,
                waiting,
                last_accepted: single_values::last_acceptance(tx)?,
                rules: MeshRules::of(&config.meshtastic),
                ledger,
            })
        })
    }
}

/// What the Matrix side holds of the parts that run.
#[derive(Debug)]
pub(super) struct Parts<S> {
    pub(super) database: Database,
    pub(super) ledger: Arc<Mutex<Ledger>>,
    /// Where what happens elsewhere goes.
    pub(super) events: mpsc::Sender<Event>,
    /// Where what happens in the rooms goes.
    pub(super) batches: mpsc::Sender<Batch>,
    /// Who sends to rooms, while there is somebody.
    pub(super) sender: watch::Sender<Option<S>>,
    pub(super) live: Arc<Live>,
    pub(super) link: watch::Receiver<Link>,
    pub(super) limit: AccountLimit,
}

impl<S: SendToRoom> Parts<S> {
    /// Starts them as tasks of `supervisor`. `radio` says how to reach the radio; what the tables know of it, and the clock,
    /// are put in here.
    pub(super) fn start(
        supervisor: &Supervisor,
        mut found: Found,
        database: Database,
        radio: RadioOptions,
        clock: Clock,
    ) -> Self {
        let names = found.ledger.bridge.names().clone();
        let ledger = Arc::new(Mutex::new(found.ledger));
        let (events, take_events) = mpsc::channel(EVENTS);
        let radio_events = events.clone();
        let (reports, take_reports) = mpsc::channel(EVENTS);
        let (batches, take_batches) = mpsc::channel(1);
        let (submissions, take_submissions) = mpsc::channel(SUBMISSIONS);
        let (sender, take_sender) = watch::channel(None);
        let (radio_ready, is_radio_ready) = watch::channel(false);

        let radio = Radio::new(RadioOptions {
            nodes: found.nodes,
            last_accepted: found.last_accepted,
            clock: clock.clone(),
            ..radio
        });
        let (live, link) = (Arc::new(Live::new(names)), radio.link());
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
                rules: found.rules,
                clock: clock.clone(),
            },
            workers: supervisor.workers.clone(),
            withdrawals: radio.withdrawals(),
        });
        live.committed(&[], &mut found.waiting);
        queues.wake(&found.waiting);

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
            queues,
            radio_ready,
            chores_at: Instant::now(),
            live: Arc::clone(&live),
            clock,
        };
        let work = event_loop.run(workers.stop.clone(), last.stop.clone());
        last.start("event loop", work);
        Self {
            database,
            ledger,
            events,
            batches,
            sender,
            live,
            link,
            limit,
        }
    }
}
