//! The adapter's public handle: its inputs, what can be observed, and the task behind it.

use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use relay_model::{Event, MeshRowId};

use super::link::{Link, LinkNotes};
use super::{
    delivery::Delivery, driver::Driver, error::RadioError, mesh::nodedb::KnownNode,
    options::RadioOptions, pacer::submission::Submission,
};

/// Capacity of the queue of withdrawals.
const WITHDRAWALS: usize = 64;

/// The adapter of one radio.
#[derive(Debug)]
pub struct Radio {
    options: RadioOptions,
    withdraw: mpsc::Sender<MeshRowId>,
    withdrawals: mpsc::Receiver<MeshRowId>,
    link: LinkNotes,
    air: watch::Sender<bool>,
    known: watch::Sender<Vec<KnownNode>>,
}

impl Radio {
    /// Creates it; [`Radio::run`] does the work.
    pub fn new(options: RadioOptions) -> Self {
        let (withdraw, withdrawals) = mpsc::channel(WITHDRAWALS);
        Self {
            options,
            withdraw,
            withdrawals,
            link: LinkNotes::default(),
            air: watch::Sender::new(true),
            known: watch::Sender::default(),
        }
    }

    /// Returns the queue for withdrawing submissions. A withdrawn one that is not in flight is reported as
    /// [`Retry`](relay_model::RadioOutcome::Retry) without delay, also if it arrives only after its withdrawal.
    pub fn withdrawals(&self) -> mpsc::Sender<MeshRowId> {
        self.withdraw.clone()
    }

    /// Returns the state of the link, now and after each change, for observers.
    pub fn link(&self) -> watch::Receiver<Link> {
        self.link.watch()
    }

    /// Returns whether the mesh's channel bears more than urgent texts; otherwise other submissions are returned.
    pub fn air(&self) -> watch::Receiver<bool> {
        self.air.subscribe()
    }

    /// Returns the nodes that the radio had reported when it became ready.
    pub fn known(&self) -> watch::Receiver<Vec<KnownNode>> {
        self.known.subscribe()
    }

    /// Keeps the link until `stop`: receives submissions and sends events. Retries while the radio is away; fails only
    /// when the receiver of the events is closed.
    ///
    /// # Cancel safety
    ///
    /// If dropped, submissions get no further report: those in flight may or may not have been transmitted.
    pub async fn run(
        self,
        submissions: mpsc::Receiver<Submission>,
        events: mpsc::Sender<Event>,
        stop: CancellationToken,
    ) -> Result<(), RadioError> {
        let delivery = Delivery {
            pacer: self.options.pacer(),
            submissions,
            withdrawals: self.withdrawals,
            events,
            air: self.air,
            crossed: false,
        };
        let driver = Driver::new(self.options, delivery, self.link, self.known, stop);
        driver.run().await
    }
}
