//! The radio's side: one link, its session and its pace.
//!
//! [`Radio::run`] joins a [`Connection`] (bytes), a [`Session`] (what frames mean), a [`Pacer`] (what may be sent when)
//! and a [`NodeDb`] (who is who). The last three are pure; whatever waits, and both clocks, stand here and in
//! `conversation.rs`.
#![cfg_attr(
    test,
    expect(
        clippy::disallowed_methods,
        reason = "a test owns the tasks that it starts, and ends them"
    )
)]

mod acks;
mod answer;
#[cfg(feature = "ble")]
mod ble;
#[cfg(not(feature = "ble"))]
#[path = "no_ble.rs"]
mod ble;
#[cfg(test)]
mod captures;
mod connection;
mod console;
mod conversation;
mod doubt;
mod fingerprint;
mod found_device;
mod handshake;
mod link;
mod moment;
mod names;
mod nodedb;
mod options;
mod pacer;
#[cfg_attr(
    not(any(feature = "ble", test)),
    expect(dead_code, reason = "only Bluetooth carries whole packets so far")
)]
mod packets;
mod reconnect;
mod said;
mod serial;
mod serial_ports;
mod session;
mod stranger;
mod tcp;
mod traffic;
mod translate;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use relay_model::{Clock, Event, MeshRowId};

pub use answer::Answer;
pub use ble::Ble;
pub use connection::{Connection, ConnectionError, LossKind, Wire};
pub use link::{Link, LinkState};
pub use moment::Moment;
pub use nodedb::NodeDb;
pub use options::{RadioError, RadioOptions};
pub use pacer::{Pacer, Submission};
pub use serial::SerialPort;
pub use session::{Output, Session, SessionOptions, disconnect};

pub use ble::find_bluetooth;
pub use nodedb::Details;
pub use nodedb::KnownNode;
pub use serial_ports::{FoundPort, find as find_serial_ports};
pub use session::HANDSHAKE_LIMIT;

use connection::Loss;
use link::LinkNotes;
use reconnect::Reconnect;
use stranger::Greeting;

/// Which causes are remembered to have been told.
const TOLD_CAUSES: usize = 16;

/// Withdrawals that wait to be noticed.
const WITHDRAWALS: usize = 64;

/// The radio's side.
#[derive(Debug)]
pub struct Radio {
    wire: Wire,
    session: Session,
    pacer: Pacer,
    reconnect: Reconnect,
    random: StdRng,
    withdraw: mpsc::Sender<MeshRowId>,
    withdrawals: mpsc::Receiver<MeshRowId>,
    /// What was told of since the link was ready.
    told_causes: Vec<Loss>,
    /// What was said on this link before any frame.
    greeting: Greeting,
    link: LinkNotes,
    /// More than urgent texts may be submitted.
    air: watch::Sender<bool>,
    /// The nodes, for whoever looks.
    known: watch::Sender<Vec<KnownNode>>,
    clock: Clock,
}

/// Why a connection is no longer served.
enum End {
    /// The link is lost; why.
    Lost(Loss),
    /// The daemon stops.
    Stopped,
    /// The daemon's event loop has ended.
    EventsClosed,
}

impl From<ConnectionError> for End {
    fn from(error: ConnectionError) -> Self {
        Self::Lost(Loss::from(&error))
    }
}

/// The other ends of the radio's queues.
struct Ends {
    submissions: mpsc::Receiver<Submission>,
    events: mpsc::Sender<Event>,
    stop: CancellationToken,
}

impl Ends {
    async fn tell(&self, event: Event) -> Result<(), End> {
        self.events.send(event).await.map_err(|_| End::EventsClosed)
    }
}

impl Radio {
    /// Makes one; [`Radio::run`] does the work.
    pub fn new(options: RadioOptions) -> Self {
        let (withdraw, withdrawals) = mpsc::channel(WITHDRAWALS);
        let (now, seed) = (Moment::now(&options.clock), options.seed);
        let mut pacer = Pacer::new(options.message_delay, options.last_accepted, now);
        pacer.traffic.limits = options.channel_use;
        let session_options = SessionOptions {
            set_time: options.set_time,
            chat_ports: options.chat_ports,
            on_cable: matches!(options.wire, Wire::Serial(_)),
        };
        // Each link has a nonce of its own.
        let mut session = Session::new(session_options, 0, now.instant);
        session.nodes = NodeDb::new(options.nodes);
        Self {
            clock: options.clock,
            wire: options.wire,
            session,
            pacer,
            reconnect: Reconnect::default(),
            random: seed.map_or_else(rand::make_rng, StdRng::seed_from_u64),
            withdraw,
            withdrawals,
            told_causes: Vec::new(),
            greeting: Greeting::default(),
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
        mut self,
        submissions: mpsc::Receiver<Submission>,
        events: mpsc::Sender<Event>,
        stop: CancellationToken,
    ) -> Result<(), RadioError> {
        let mut ends = Ends {
            submissions,
            events,
            stop,
        };
        loop {
            self.link.step(LinkState::Connecting);
            let began = Instant::now();
            let connected = tokio::select! {
                () = ends.stop.cancelled() => {
                    self.wire.give_up().await;
                    return Ok(());
                }
                connected = self.wire.connect() => connected,
            };
            let end = match connected {
                Ok(connection) => {
                    debug!("connected to the radio, asking for its configuration");
                    self.link.step(LinkState::Configuring);
                    self.serve(connection, &mut ends).await
                }
                Err(error) => {
                    self.reconnect.on_failed(began.elapsed());
                    error.into()
                }
            };
            let ended = match end {
                End::Lost(loss) => self.lost(loss, &mut ends).await,
                End::Stopped | End::EventsClosed => Err(end),
            };
            match ended {
                Ok(()) => {}
                Err(End::Stopped | End::Lost(_)) => return Ok(()),
                Err(End::EventsClosed) => return Err(RadioError::EventsClosed),
            }
        }
    }

    /// Tells that the link is lost, and waits until it may be tried again.
    async fn lost(&mut self, mut loss: Loss, ends: &mut Ends) -> Result<(), End> {
        let now = Instant::now().into_std();
        let next = self.reconnect.on_lost(now, loss.kind, self.random.random());
        let delay_ms = u64::try_from(next.delay.as_millis()).unwrap_or(u64::MAX);
        if next.another_client {
            let why = self.wire.cause_of_short_lives();
            loss.cause = format!("{}: {why}", loss.cause);
        }
        self.link.lost(&loss);
        let Loss { cause, hint, .. } = &loss;
        // Causes may take turns for days.
        let told = &mut self.told_causes;
        if told.iter().any(|told| told.is_like(&loss)) {
            debug!(cause, delay_ms, "still no link to the radio, trying again");
        } else {
            warn!(cause, hint, delay_ms, "no link to the radio, trying again");
            told.truncate(TOLD_CAUSES - 1);
            told.insert(0, loss.clone());
            ends.tell(loss.into()).await?;
        }
        self.give_back(ends).await?;
        tokio::select! {
            () = ends.stop.cancelled() => Err(End::Stopped),
            () = sleep(next.delay) => Ok(()),
            () = self.wire.returns() => {
                debug!("the radio's port has appeared");
                self.reconnect.on_return();
                Ok(())
            }
        }
    }

    /// Gives back what is not sent, the rows on their way to the pacer too: in the table they can be withdrawn, or expire.
    async fn give_back(&mut self, ends: &mut Ends) -> Result<(), End> {
        while let Ok(submission) = ends.submissions.try_recv() {
            self.pacer.submit(submission);
        }
        self.pacer.on_lost();
        self.report(ends).await
    }
}

#[cfg(test)]
mod tests;
