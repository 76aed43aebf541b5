//! How the rooms' workers tell the event loop what became of a message.

use tokio::sync::{mpsc, oneshot};

use crate::model::SendReport;

/// What became of a message, for the event loop.
#[derive(Debug)]
pub(super) struct Report {
    /// What became of it.
    pub(super) report: SendReport,
    /// Told when it is committed.
    pub(super) committed: oneshot::Sender<()>,
}

/// Hands reports to the event loop.
#[derive(Debug, Clone)]
pub(super) struct Reports {
    queue: mpsc::Sender<Report>,
}

impl Reports {
    /// Makes one that feeds `queue`.
    pub(super) fn new(queue: mpsc::Sender<Report>) -> Self {
        Self { queue }
    }

    /// Hands over a report and waits until it is committed, or the event loop has ended: then the row goes on
    /// at the next start as if it had not been tried, under the same identifier.
    pub(super) async fn committed(&self, report: SendReport) {
        let (told, committed) = oneshot::channel();
        if self
            .queue
            .send(Report {
                report,
                committed: told,
            })
            .await
            .is_ok()
        {
            // An error says that the event loop ended without committing.
            drop(committed.await);
        }
    }
}
