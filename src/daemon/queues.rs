//! The workers: one for each room and one for each (mesh destination, lane), started when first needed; and the one that
//! shows what became of messages.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::model::{Clock, Destination, Lane, MeshRowId, OwnedRoomOrAliasId};
use crate::radio::Submission;
use crate::store::Database;

use super::account_limit::AccountLimit;
use super::feedback_worker::FeedbackWorker;
use super::ledger::Outcome;
use super::mesh_worker::{InFlight, MeshRules, MeshWorker};
use super::reports::Reports;
use super::room_worker::{RoomBell, RoomWorker, SendToRoom};
use super::supervisor::Workers;

/// Starts a worker for one key, with what wakes it.
type Start<K, B> = Box<dyn Fn(K, Arc<B>) + Send + Sync>;

/// Starts and wakes the workers.
pub(super) struct Queues {
    start_room: Start<OwnedRoomOrAliasId, RoomBell>,
    start_mesh: Start<(Destination, Lane), Notify>,
    rooms: HashMap<OwnedRoomOrAliasId, Arc<RoomBell>>,
    mesh: HashMap<(Destination, Lane), Arc<Notify>>,
    feedback: Arc<Notify>,
    in_flight: InFlight,
    withdrawals: mpsc::Sender<MeshRowId>,
}

/// What every worker shares.
pub(super) struct Shared<S> {
    /// The tables.
    pub(super) database: Database,
    /// Who sends to rooms; `None` while no session is open.
    pub(super) sender: watch::Receiver<Option<S>>,
    /// The radio's pacer.
    pub(super) submissions: mpsc::Sender<Submission>,
    /// Whether the link is ready.
    pub(super) radio_ready: watch::Receiver<bool>,
    /// Whether the air bears more than urgent texts.
    pub(super) air: watch::Receiver<bool>,
    /// Where outcomes go.
    pub(super) reports: Reports,
    /// Starts the workers' tasks.
    pub(super) workers: Workers,
    /// Takes rows back from the pacer.
    pub(super) withdrawals: mpsc::Sender<MeshRowId>,
    /// How messages go to the mesh.
    pub(super) rules: MeshRules,
    /// Tells the time.
    pub(super) clock: Clock,
    /// The one limit of the account.
    pub(super) limit: AccountLimit,
    /// Ends them.
    pub(super) stop: CancellationToken,
}

impl Queues {
    /// Makes them; only the one for feedback runs yet.
    pub(super) fn new<S: SendToRoom>(shared: Shared<S>) -> Self {
        let shared = Arc::new(shared);
        let in_flight = InFlight::default();
        let withdrawals = shared.withdrawals.clone();
        let limit = shared.limit.clone();
        let feedback = Arc::new(Notify::new());
        let feedback_worker = FeedbackWorker {
            database: shared.database.clone(),
            sender: shared.sender.clone(),
            bell: Arc::clone(&feedback),
            limit: limit.clone(),
            clock: shared.clock.clone(),
        };
        shared
            .workers
            .start("feedback worker", feedback_worker.run(shared.stop.clone()));
        let start_room = {
            let shared = Arc::clone(&shared);
            Box::new(move |room, bell| {
                let worker = RoomWorker {
                    room,
                    database: shared.database.clone(),
                    sender: shared.sender.clone(),
                    bell,
                    reports: shared.reports.clone(),
                    limit: limit.clone(),
                    clock: shared.clock.clone(),
                };
                shared
                    .workers
                    .start("room worker", worker.run(shared.stop.clone()));
            })
        };
        let start_mesh = {
            let in_flight = in_flight.clone();
            Box::new(move |(destination, lane), wake| {
                let worker = MeshWorker {
                    destination,
                    lane,
                    database: shared.database.clone(),
                    submissions: shared.submissions.clone(),
                    ready: shared.radio_ready.clone(),
                    air: shared.air.clone(),
                    wake,
                    in_flight: in_flight.clone(),
                    rules: shared.rules,
                    clock: shared.clock.clone(),
                    idle: match destination {
                        Destination::Channel(_) => None,
                        // There can be any number of nodes.
                        Destination::Direct(_) => Some(Duration::from_mins(1)),
                    },
                };
                shared
                    .workers
                    .start("mesh worker", worker.run(shared.stop.clone()));
            })
        };
        Self {
            start_room,
            start_mesh,
            rooms: HashMap::new(),
            mesh: HashMap::new(),
            feedback,
            in_flight,
            withdrawals,
        }
    }

    /// Returns the rows that the radio's pacer holds.
    pub(super) fn in_flight(&self) -> &InFlight {
        &self.in_flight
    }

    /// Wakes the workers of everything that a batch touched.
    pub(super) fn wake(&mut self, outcome: &Outcome) {
        for row in &outcome.withdrawn {
            // Not taken: then it is transmitted, as if the withdrawal had come a moment later.
            let _ = self.withdrawals.try_send(*row);
        }
        for room in &outcome.rooms {
            self.bell(room).news.notify_one();
        }
        for room in &outcome.changed {
            self.bell(room).changed.notify_one();
        }
        if outcome.feedback {
            self.feedback.notify_one();
        }
        for queue in &outcome.mesh {
            // A worker that has ended has let go of its bell.
            self.mesh.retain(|_, wake| Arc::strong_count(wake) > 1);
            let start = &self.start_mesh;
            self.mesh
                .entry(*queue)
                .or_insert_with(|| {
                    let wake = Arc::new(Notify::new());
                    start(*queue, Arc::clone(&wake));
                    wake
                })
                .notify_one();
        }
    }

    fn bell(&mut self, room: &OwnedRoomOrAliasId) -> &RoomBell {
        let start = &self.start_room;
        self.rooms.entry(room.clone()).or_insert_with(|| {
            let bell = Arc::new(RoomBell::default());
            start(room.clone(), Arc::clone(&bell));
            bell
        })
    }
}
