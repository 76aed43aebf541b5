//! One radio, as others have it: what they hand over, where they look, and what keeps the link meanwhile.

use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use relay_model::{Event, MeshRowId};

use super::delivery::Delivery;
use super::driver::Driver;
use super::error::RadioError;
use super::link::{Link, LinkNotes};
use super::mesh::nodedb::KnownNode;
use super::options::RadioOptions;
use super::pacer::submission::Submission;

/// Withdrawals that wait to be noticed.
const WITHDRAWALS: usize = 64;

/// The radio's side.
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
    /// Makes one; [`Radio::run`] does the work.
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

    /// Returns where to name rows that are to be given back if they wait here still, or when they come: they are reported
    /// as [`Retry`](relay_model::RadioOutcome::Retry) without delay, to be looked up again.
    pub fn withdrawals(&self) -> mpsc::Sender<MeshRowId> {
        self.withdraw.clone()
    }

    /// Returns where to look how the link stands.
    pub fn link(&self) -> watch::Receiver<Link> {
        self.link.watch()
    }

    /// Returns where to look whether the air bears more than urgent texts: what else is submitted is given back meanwhile.
    pub fn air(&self) -> watch::Receiver<bool> {
        self.air.subscribe()
    }

    /// Returns where to look for the nodes that the radio told of until it was ready.
    pub fn known(&self) -> watch::Receiver<Vec<KnownNode>> {
        self.known.subscribe()
    }

    /// Keeps the link until `stop`: takes rows that may be sent, and tells what happens. Fails only when nobody takes the
    /// events any more; a radio that is away is waited for.
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
