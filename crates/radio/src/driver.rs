//! Keeps the link to the radio: connects, has the connection served until it ends, and reconnects.

mod conversation;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use relay_model::Clock;

use super::claim::{KEPT_FOR, RadioClaim};
use super::error::{ConnectionEnd, Loss, RadioError};
use super::link::{LinkNotes, LinkState};
use super::mesh::nodedb::{KnownNode, NodeDb};
use super::session::{Session, SessionOptions};
use super::wires::{Wire, stranger::Greeting};
use super::{delivery::Delivery, options::RadioOptions, reconnect::Reconnect};

/// Maximum number of causes remembered as already reported.
const LOGGED_CAUSES: usize = 16;

/// The task of the radio's side: makes a link, carries out what the session and the pacer ask for, and makes the next link.
#[derive(Debug)]
pub(super) struct Driver {
    wire: Wire,
    claim: RadioClaim,
    session: Session,
    delivery: Delivery,
    reconnect: Reconnect,
    random: StdRng,
    /// The causes of lost links reported since the link was last ready.
    logged_causes: Vec<Loss>,
    /// The bytes received on this link before the first frame.
    greeting: Greeting,
    link: LinkNotes,
    known: watch::Sender<Vec<KnownNode>>,
    clock: Clock,
    stop: CancellationToken,
}

impl Driver {
    pub(super) fn new(
        options: RadioOptions,
        delivery: Delivery,
        link: LinkNotes,
        known: watch::Sender<Vec<KnownNode>>,
        stop: CancellationToken,
    ) -> Self {
        let session_options = SessionOptions {
            set_time: options.set_time,
            chat_ports: options.chat_ports,
            on_cable: matches!(options.wire, Wire::Serial(_)),
        };
        // Placeholder: each link begins with a nonce of its own.
        let mut session = Session::new(session_options, 0, Instant::now().into_std());
        session.nodes = NodeDb::new(options.nodes);
        let seed = options.seed;
        Self {
            wire: options.wire,
            claim: RadioClaim::new(options.claimant),
            session,
            delivery,
            reconnect: Reconnect::default(),
            random: seed.map_or_else(rand::make_rng, StdRng::seed_from_u64),
            logged_causes: Vec::new(),
            greeting: Greeting::default(),
            link,
            known,
            clock: options.clock,
            stop,
        }
    }

    pub(super) async fn run(mut self) -> Result<(), RadioError> {
        loop {
            let ended = match self.connect_and_serve().await {
                ConnectionEnd::Lost(loss) => self.lost(loss).await,
                end => Err(end),
            };
            match ended {
                Ok(()) => {}
                Err(ConnectionEnd::Stopped | ConnectionEnd::Lost(_)) => return Ok(()),
                Err(ConnectionEnd::EventsClosed) => return Err(RadioError::EventsClosed),
            }
        }
    }

    async fn connect_and_serve(&mut self) -> ConnectionEnd {
        self.link.step(LinkState::Connecting);
        let began = Instant::now();
        let connected = tokio::select! {
            () = self.stop.cancelled() => {
                self.wire.give_up().await;
                return ConnectionEnd::Stopped;
            }
            connected = self.wire.connect_as(&mut self.claim) => connected,
        };
        match connected {
            Ok(connection) => {
                debug!("connected to the radio, asking for its configuration");
                self.link.step(LinkState::Configuring);
                self.serve(connection).await
            }
            Err(error) => {
                self.reconnect.on_failed(began.elapsed());
                error.into()
            }
        }
    }

    /// Reports the lost link, and waits until the next attempt.
    async fn lost(&mut self, mut loss: Loss) -> Result<(), ConnectionEnd> {
        self.reconnect.crossed = std::mem::take(&mut self.delivery.crossed);
        let now = Instant::now().into_std();
        let next = self.reconnect.on_lost(now, loss.kind, self.random.random());
        let delay_ms = u64::try_from(next.delay.as_millis()).unwrap_or(u64::MAX);
        if next.another_client {
            let why = self.wire.cause_of_short_lives();
            loss.cause = format!("{}: {why}", loss.cause);
        }
        self.link.lost(&loss);
        if self.link.away_for() >= KEPT_FOR {
            self.claim.let_go();
        }
        let Loss { cause, hint, .. } = &loss;
        // Two causes may alternate for days.
        let logged = &mut self.logged_causes;
        if logged.iter().any(|logged| logged.is_like(&loss)) {
            debug!(
                error = cause,
                delay_ms, "still no link to the radio, trying again"
            );
        } else {
            warn!(
                error = cause,
                hint, delay_ms, "no link to the radio, trying again"
            );
            logged.truncate(LOGGED_CAUSES - 1);
            logged.insert(0, loss.clone());
            self.delivery.tell(loss.into()).await?;
        }
        self.delivery.give_back().await?;
        tokio::select! {
            () = self.stop.cancelled() => Err(ConnectionEnd::Stopped),
            () = sleep(next.delay) => Ok(()),
            () = self.claim.freed() => {
                debug!("the other relay has let go of the radio");
                self.reconnect.on_return();
                Ok(())
            }
            () = self.wire.returns() => {
                debug!("the radio's port has appeared");
                self.reconnect.on_return();
                Ok(())
            }
        }
    }
}
