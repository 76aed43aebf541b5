//! Submissions from their receipt until they are reported, and the other reports to the daemon.

use std::mem::replace;

use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use relay_model::{Event, MeshRowId, RadioEvent, RadioOutcome, SendReport};

use super::{error::ConnectionEnd, pacer::Pacer, pacer::submission::Submission};

/// What stands between the daemon's queues and the pacer; outlives the links.
#[derive(Debug)]
pub(super) struct Delivery {
    pub(super) pacer: Pacer,
    pub(super) submissions: mpsc::Receiver<Submission>,
    pub(super) withdrawals: mpsc::Receiver<MeshRowId>,
    pub(super) events: mpsc::Sender<Event>,
    pub(super) air: watch::Sender<bool>,
    /// A text has crossed in either direction since the last loss of the link.
    pub(super) crossed: bool,
}

impl Delivery {
    pub(super) async fn tell(&mut self, event: Event) -> Result<(), ConnectionEnd> {
        self.crossed |= matches!(
            event,
            Event::Radio(RadioEvent::Text(_))
                | Event::Report(SendReport::Radio {
                    outcome: RadioOutcome::Accepted { .. },
                    ..
                })
        );
        self.events
            .send(event)
            .await
            .map_err(|_| ConnectionEnd::EventsClosed)
    }

    /// Receives the next submission or withdrawal. Cancel safe.
    pub(super) async fn take_next(&mut self, takes_more: bool) {
        tokio::select! {
            biased;
            Some(outbox) = self.withdrawals.recv() => self.pacer.withdraw(outbox),
            Some(submission) = self.submissions.recv(), if takes_more => {
                self.pacer.submit(submission);
            }
            else => std::future::pending().await,
        }
    }

    pub(super) async fn report(&mut self) -> Result<(), ConnectionEnd> {
        for report in self.pacer.take_reports() {
            self.tell(Event::Report(report)).await?;
        }
        Ok(())
    }

    /// Returns every submission that is not concluded, those in the queue included, to the outbox, where it can change or
    /// expire.
    pub(super) async fn give_back(&mut self) -> Result<(), ConnectionEnd> {
        while let Ok(submission) = self.submissions.try_recv() {
            self.pacer.submit(submission);
        }
        self.pacer.on_lost();
        self.report().await
    }

    /// Publishes whether the mesh's channel bears more than urgent texts. Call before refused submissions are returned: whoever
    /// gets one back must see already that others wait.
    pub(super) fn look_at_air(&self) {
        let now = Instant::now().into_std();
        let is_open = self.pacer.traffic.closed_until(now).is_none();
        self.air
            .send_if_modified(|was_open| replace(was_open, is_open) != is_open);
    }
}
