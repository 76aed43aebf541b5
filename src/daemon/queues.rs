//! The workers: one for each room and one for each (mesh destination, lane), started when first needed.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::model::{Destination, Lane, OwnedRoomOrAliasId};
use crate::radio::Submission;
use crate::store::Database;

use super::reports::Reports;
use super::ledger::Outcome;
use super::mesh_worker::{InFlight, MeshWorker};
use super::room_worker::{RoomWorker, SendToRoom};
use super::supervisor::Workers;

/// Starts and wakes the workers.
pub struct Queues {
    start_room: Box<dyn Fn(OwnedRoomOrAliasId, Arc<Notify>) + Send>,
    start_mesh: Box<dyn Fn((Destination, Lane), Arc<Notify>) + Send>,
    rooms: HashMap<OwnedRoomOrAliasId, Arc<Notify>>,
    mesh: HashMap<(Destination, Lane), Arc<Notify>>,
    in_flight: InFlight,
}

/// What every worker shares.
pub struct Shared<S> {
    /// The tables.
    pub database: Database,
    /// Who sends to rooms; `None` while no session is open.
    pub sender: watch::Receiver<Option<S>>,
    /// The radio's pacer.
    pub submissions: mpsc::Sender<Submission>,
    /// Whether the link is ready.
    pub radio_ready: watch::Receiver<bool>,
    /// Where outcomes go.
    pub reports: Reports,
    /// Starts the workers' tasks.
    pub workers: Workers,
    /// Ends them.
    pub stop: CancellationToken,
}

impl Queues {
    /// Makes them; no worker runs yet.
    pub fn new<S: SendToRoom>(shared: Shared<S>) -> Self {
        let shared = Arc::new(shared);
        let in_flight = InFlight::default();
        let start_room = {
            let shared = Arc::clone(&shared);
            Box::new(move |room, wake| {
                let worker = RoomWorker {
                    room,
                    database: shared.database.clone(),
                    sender: shared.sender.clone(),
                    wake,
                    reports: shared.reports.clone(),
                };
                shared.workers.start("room worker", worker.run(shared.stop.clone()));
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
                    wake,
                    in_flight: in_flight.clone(),
                };
                shared.workers.start("mesh worker", worker.run(shared.stop.clone()));
            })
        };
        Self { start_room, start_mesh, rooms: HashMap::new(), mesh: HashMap::new(), in_flight }
    }

    /// Returns the rows that the radio's pacer holds.
    pub fn in_flight(&self) -> &InFlight {
        &self.in_flight
    }

    /// Wakes the workers of everything that a batch touched.
    pub fn wake(&mut self, outcome: &Outcome) {
        for room in &outcome.rooms {
            let start = &self.start_room;
            self.rooms
                .entry(room.clone())
                .or_insert_with(|| {
                    let wake = Arc::new(Notify::new());
                    start(room.clone(), Arc::clone(&wake));
                    wake
                })
                .notify_one();
        }
        for queue in &outcome.mesh {
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
}
