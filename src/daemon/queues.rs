//! Starts and wakes the workers: one per room and one per (mesh destination, lane), each started when first needed, and
//! the feedback worker.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc};

use super::mesh_worker::{MeshSide, MeshWorker};
use super::room_worker::{RoomBell, RoomSide, RoomWorker};
use super::{feedback_worker::FeedbackWorker, ledger::Outcome, supervisor::Workers};
use relay_model::{Destination, Lane, MeshRowId, OwnedRoomOrAliasId, SendToRoom};

/// Idle time after which the worker of a single node ends.
const IDLE: Duration = Duration::from_mins(1);

/// The workers that were started, and their bells. Holds no rows: those are in the tables.
pub(super) struct Queues<S> {
    shared: Shared<S>,
    rooms: HashMap<OwnedRoomOrAliasId, Arc<RoomBell>>,
    mesh: HashMap<(Destination, Lane), Arc<Notify>>,
    feedback: Arc<Notify>,
}

/// What is needed to start a worker, and to call back what the pacer holds.
pub(super) struct Shared<S> {
    pub(super) rooms: RoomSide<S>,
    pub(super) mesh: MeshSide,
    pub(super) workers: Workers,
    /// Rows that the pacer must not transmit any more.
    pub(super) withdrawals: mpsc::Sender<MeshRowId>,
}

impl<S: SendToRoom> Queues<S> {
    /// Makes it without workers for rooms and the mesh, and starts the feedback worker.
    pub(super) fn new(shared: Shared<S>) -> Self {
        let feedback = Arc::new(Notify::new());
        let worker = FeedbackWorker {
            bell: Arc::clone(&feedback),
            side: shared.rooms.clone(),
        };
        let workers = &shared.workers;
        workers.start("feedback worker", worker.run(workers.stop.clone()));
        Self {
            shared,
            rooms: HashMap::new(),
            mesh: HashMap::new(),
            feedback,
        }
    }

    /// Wakes or starts the workers that a batch has given something to do. Never waits.
    pub(super) fn wake(&mut self, outcome: &Outcome) {
        for row in &outcome.withdrawn {
            // If the queue is full, the packet is transmitted, as if the withdrawal had come too late.
            let _ = self.shared.withdrawals.try_send(*row);
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
            // A worker that has ended no longer holds its `wake`.
            self.mesh.retain(|_, wake| Arc::strong_count(wake) > 1);
            let (workers, mesh) = (&self.shared.workers, &self.shared.mesh);
            let wake = self.mesh.entry(*queue).or_insert_with(|| {
                let (destination, lane) = *queue;
                let wake = Arc::new(Notify::new());
                let worker = |idle| {
                    let worker = MeshWorker {
                        destination,
                        lane,
                        wake: Arc::clone(&wake),
                        side: mesh.clone(),
                        idle,
                    };
                    worker.run(workers.stop.clone())
                };
                match destination {
                    Destination::Channel(_) => workers.start("mesh worker", worker(None)),
                    // The number of nodes is unbounded: their workers end when idle.
                    Destination::Direct(_) => workers.errand("mesh worker", worker(Some(IDLE))),
                }
                wake
            });
            wake.notify_one();
        }
    }

    /// Returns the bell of a room; starts its worker if it has none.
    fn bell(&mut self, room: &OwnedRoomOrAliasId) -> &RoomBell {
        let shared = &self.shared;
        self.rooms.entry(room.clone()).or_insert_with(|| {
            let bell = Arc::new(RoomBell::default());
            let worker = RoomWorker {
                room: room.clone(),
                bell: Arc::clone(&bell),
                side: shared.rooms.clone(),
            };
            let workers = &shared.workers;
            workers.start("room worker", worker.run(workers.stop.clone()));
            bell
        })
    }
}
