//! One worker for each (mesh destination, lane): hands its oldest due row to the radio's pacer, waits for
//! the verdict, and takes the next. The pacer decides when which of the candidates goes on the air.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tracing::error;

use crate::bridge;
use crate::config::{LongMessages, Meshtastic};
use crate::model::{Clock, Destination, Lane, MeshRowId, RadioOutcome, SendReport};
use crate::radio::Submission;
use crate::store::{Aged, Database, MeshPace, NextMesh, StoreError};

/// How long to wait when the database cannot be read.
const DATABASE_DELAY: Duration = Duration::from_secs(5);

/// A row that is due but cannot go yet is not looked at more often.
const SHORTEST_WAIT: Duration = Duration::from_millis(100);

/// Rows that the pacer holds, and who waits for their verdict.
#[derive(Debug, Clone, Default)]
pub(super) struct InFlight {
    rows: Arc<Mutex<HashMap<MeshRowId, oneshot::Sender<()>>>>,
}

impl InFlight {
    fn add(&self, row: MeshRowId) -> oneshot::Receiver<()> {
        let (told, verdict) = oneshot::channel();
        self.rows
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(row, told);
        verdict
    }

    /// Wakes the worker of a row whose verdict is committed: the pacer holds it no longer.
    pub(super) fn settle(&self, report: &SendReport) {
        let SendReport::Radio {
            outbox, outcome, ..
        } = report
        else {
            return;
        };
        match outcome {
            // Comes after the radio took the packet: nobody waits any more.
            RadioOutcome::Heard | RadioOutcome::Unheard | RadioOutcome::Delivered => {}
            RadioOutcome::Accepted { .. }
            | RadioOutcome::Retry { .. }
            | RadioOutcome::Refused(_) => {
                let waiting = self
                    .rows
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .remove(outbox);
                if let Some(told) = waiting {
                    // The worker may have been stopped.
                    let _ = told.send(());
                }
            }
        }
    }
}

/// How messages go to the mesh.
#[derive(Debug, Clone, Copy)]
pub(super) struct MeshRules {
    /// From one message of a room's backlog to the next.
    pub(super) spacing: Duration,
    /// How texts fit into packets.
    pub(super) long_messages: LongMessages,
}

impl MeshRules {
    /// Takes them from the configuration.
    pub(super) fn of(config: &Meshtastic) -> Self {
        Self {
            spacing: config.backlog.spacing,
            long_messages: config.long_messages,
        }
    }
}

/// What such a worker needs.
pub(super) struct MeshWorker {
    /// Its destination.
    pub(super) destination: Destination,
    /// Its lane.
    pub(super) lane: Lane,
    /// The tables.
    pub(super) database: Database,
    /// The radio's pacer.
    pub(super) submissions: mpsc::Sender<Submission>,
    /// Whether the link is ready: rows stay in the table until it is, where they can still be withdrawn.
    pub(super) ready: watch::Receiver<bool>,
    /// Whether the air bears more than urgent texts: the others stay in the table until it does, too.
    pub(super) air: watch::Receiver<bool>,
    /// Rung when there may be something new in the table.
    pub(super) wake: Arc<Notify>,
    /// Rows whose verdict is awaited.
    pub(super) in_flight: InFlight,
    /// How messages go to the mesh.
    pub(super) rules: MeshRules,
    /// Tells the time.
    pub(super) clock: Clock,
    /// It ends when it has had nothing to do for so long; `None`: never.
    pub(super) idle: Option<Duration>,
}

impl MeshWorker {
    /// Works until `stop`, or until it is idle.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        loop {
            let handed_over = tokio::select! {
                () = stop.cancelled() => return,
                done = self.step() => done,
            };
            let pause = match handed_over {
                Ok(Step::Sent) => continue,
                Ok(Step::Nothing) => None,
                Ok(Step::Wait(wait)) => Some(wait),
                Ok(Step::RadioGone) => return,
                Err(error) => {
                    error!(destination = %self.destination, %error, "cannot read the outbox, trying again");
                    Some(DATABASE_DELAY)
                }
            };
            let timer = async {
                match pause.or(self.idle) {
                    Some(wait) => tokio::time::sleep(wait).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.wake.notified() => {}
                () = timer => if pause.is_none() { return },
            }
        }
    }

    /// Waits until a row of this lane may be handed to the pacer; the error says that the radio's task has ended.
    async fn may_submit(&mut self) -> Result<(), watch::error::RecvError> {
        loop {
            self.ready.wait_for(|ready| *ready).await?;
            if self.lane == Lane::Urgent || *self.air.borrow() {
                return Ok(());
            }
            self.air.wait_for(|open| *open).await?;
        }
    }

    /// Cancel safe: a row handed to the pacer and not settled stays in the table as submitted, and goes on at the
    /// next start under the same packet id.
    async fn step(&mut self) -> Result<Step, StoreError> {
        if self.may_submit().await.is_err() {
            return Ok(Step::RadioGone);
        }
        let (destination, lane) = (self.destination, self.lane);
        let now = self.clock.now();
        let rules = self.rules;
        let next = self.database.run(move |store| {
            let tell_age = |it: &Aged| {
                bridge::with_age(
                    &it.packets,
                    &it.text,
                    it.is_reply,
                    it.age,
                    &rules.long_messages,
                )
            };
            let pace = MeshPace {
                spacing: rules.spacing,
                tell_age: &tell_age,
            };
            store.next_for_mesh(destination, lane, &pace, now)
        });
        let row = match next.await? {
            NextMesh::Due(row) => row,
            NextMesh::Later(due) => return Ok(Step::Wait(due.since(now).max(SHORTEST_WAIT))),
            NextMesh::Nothing => return Ok(Step::Nothing),
        };
        let verdict = self.in_flight.add(row.id);
        let submission = Submission {
            outbox: row.id,
            packet: row.packet,
            message: row.message,
        };
        if self.submissions.send(submission).await.is_err() {
            return Ok(Step::RadioGone);
        }
        // An error says that the event loop has ended.
        drop(verdict.await);
        Ok(Step::Sent)
    }
}

enum Step {
    /// A row has its verdict; there may be another.
    Sent,
    /// The table holds nothing for this destination and lane.
    Nothing,
    /// Not before this time has passed.
    Wait(Duration),
    /// The radio's task has ended.
    RadioGone,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Overflow;
    use crate::model::{ChannelIndex, MeshMessage, NodeNum, RadioPayload, Timestamp};
    use crate::store::Store;
    use crate::store::outbox_mesh;

    const NOON: Timestamp = Timestamp(1_767_225_600_000);

    /// A worker of a lane, and what the test holds of it.
    struct Bench {
        worker: MeshWorker,
        submitted: mpsc::Receiver<Submission>,
        air: watch::Sender<bool>,
        _ready: watch::Sender<bool>,
    }

    fn bench(store: Store, destination: Destination, lane: Lane) -> Bench {
        let (database, _end) = Database::start(store).unwrap();
        let (submissions, submitted) = mpsc::channel(1);
        let (link, ready) = watch::channel(true);
        let (open, air) = watch::channel(true);
        let worker = MeshWorker {
            destination,
            lane,
            database,
            submissions,
            ready,
            air,
            wake: Arc::new(Notify::new()),
            in_flight: InFlight::default(),
            rules: MeshRules {
                spacing: Duration::from_secs(10),
                long_messages: LongMessages {
                    split: true,
                    part_bytes: 200,
                    max_parts: 3,
                    overflow: Overflow::Refuse,
                },
            },
            clock: Clock::new(|| NOON),
            idle: Some(Duration::from_millis(1)),
        };
        Bench {
            worker,
            submitted,
            air: open,
            _ready: link,
        }
    }

    #[tokio::test]
    async fn a_worker_that_is_idle_ends_if_it_is_told_to() {
        let store = Store::in_memory().unwrap();
        let bench = bench(store, Destination::Direct(NodeNum(7)), Lane::Message);
        let run = bench.worker.run(CancellationToken::new());
        assert!(
            tokio::time::timeout(Duration::from_mins(1), run)
                .await
                .is_ok()
        );
    }

    #[tokio::test]
    async fn what_the_air_does_not_bear_stays_in_the_table_and_can_be_changed() {
        let channel = Destination::Channel(ChannelIndex::PRIMARY);
        for lane in [Lane::Urgent, Lane::Message, Lane::Reaction] {
            let mut store = Store::in_memory().unwrap();
            let message = MeshMessage {
                destination: channel,
                channel: None,
                bound: false,
                lane,
                parts: vec![RadioPayload::Text {
                    text: "hello".to_owned(),
                    reply_to: None,
                }],
                source: None,
                not_before: None,
                expires: NOON + Duration::from_hours(1),
            };
            let accepted =
                store.transaction(|tx| outbox_mesh::insert(tx, NodeNum(1), &message, NOON));
            let mut bench = bench(store, channel, lane);
            bench.air.send_replace(false);
            let database = bench.worker.database.clone();
            let stop = CancellationToken::new();
            let run = bench.worker.run(stop.clone());
            let look = async {
                if lane != Lane::Urgent {
                    // The worker has had its turn when the database has had one.
                    for _ in 0..20 {
                        tokio::task::yield_now().await;
                        let waits = database.run(|store| store.transaction(outbox_mesh::queues));
                        assert_eq!(waits.await.unwrap(), [(channel, lane)]);
                    }
                    assert!(bench.submitted.try_recv().is_err());
                    bench.air.send_replace(true);
                }
                let submission = bench.submitted.recv().await.unwrap();
                assert_eq!(submission.outbox, accepted.unwrap()[0].0);
                stop.cancel();
            };
            tokio::join!(run, look);
        }
    }
}
