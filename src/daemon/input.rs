//! What the event loop is fed with, and the handles that feed it.

use tokio::sync::{mpsc, oneshot};

use crate::model::{Event, SendReport};

/// One thing for the event loop.
#[derive(Debug)]
pub struct Input {
    /// What happened.
    pub event: Event,
    /// Told when it is committed.
    pub committed: Option<oneshot::Sender<()>>,
}

/// Hands what became of messages to the event loop.
#[derive(Debug, Clone)]
pub struct Reports {
    queue: mpsc::Sender<Input>,
}

impl Reports {
    /// Makes one that feeds `queue`.
    pub fn new(queue: mpsc::Sender<Input>) -> Self {
        Self { queue }
    }

    /// Hands over a report and waits until it is committed, or the event loop has ended: then the row goes on
    /// at the next start as if it had not been tried, under the same identifier.
    pub async fn committed(&self, report: SendReport) {
        let (told, committed) = oneshot::channel();
        let input = Input { event: Event::Report(report), committed: Some(told) };
        if self.queue.send(input).await.is_ok() {
            // An error says that the event loop ended without committing.
            drop(committed.await);
        }
    }
}
