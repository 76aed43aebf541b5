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
use crate::model::{Clock, Destination, Lane, OutboxId, RadioOutcome, SendReport};
use crate::radio::Submission;
use crate::store::{Aged, Database, MeshPace, NextMesh, StoreError};

/// How long to wait when the database cannot be read.
const DATABASE_DELAY: Duration = Duration::from_secs(5);

/// A row that is due but cannot go yet is not looked at more often.
const SHORTEST_WAIT: Duration = Duration::from_millis(100);

/// Rows that the pacer holds, and who waits for their verdict.
#[derive(Debug, Clone, Default)]
pub(super) struct InFlight {
    rows: Arc<Mutex<HashMap<OutboxId, oneshot::Sender<()>>>>,
}

impl InFlight {
    fn add(&self, row: OutboxId) -> oneshot::Receiver<()> {
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

    /// Cancel safe: a row handed to the pacer and not settled stays in the table as submitted, and goes on at the
    /// next start under the same packet id.
    async fn step(&mut self) -> Result<Step, StoreError> {
        if self.ready.wait_for(|ready| *ready).await.is_err() {
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
    use crate::model::NodeNum;
    use crate::store::Store;

    #[tokio::test]
    async fn a_worker_that_is_idle_ends_if_it_is_told_to() {
        let (database, _end) = Database::start(Store::in_memory().unwrap()).unwrap();
        let (submissions, _taken) = mpsc::channel(1);
        let (_link, ready) = watch::channel(true);
        let worker = MeshWorker {
            destination: Destination::Direct(NodeNum(7)),
            lane: Lane::Message,
            database,
            submissions,
            ready,
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
            clock: Clock::system(),
            idle: Some(Duration::from_millis(1)),
        };
        let run = worker.run(CancellationToken::new());
        assert!(
            tokio::time::timeout(Duration::from_mins(1), run)
                .await
                .is_ok()
        );
    }
}
