//! Keeps the link to a radio: connects, has the connection served, and tries again when it is lost.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use relay_model::Clock;
use relay_wire::codec::Item;

use super::connection::{Connection, Wire};
use super::delivery::Delivery;
use super::error::{End, Loss, RadioError};
use super::link::{LinkNotes, LinkState};
use super::moment::Moment;
use super::nodedb::{KnownNode, NodeDb};
use super::options::RadioOptions;
use super::reconnect::Reconnect;
use super::session::{Session, SessionOptions, disconnect};
use super::stranger::{self, Greeting};

/// How long telling the radio that we leave may take.
const GOODBYE: Duration = Duration::from_secs(1);

/// How long a radio may take to close the link after we have left.
const FAREWELL: Duration = Duration::from_millis(500);

/// Which causes are remembered to have been told.
const TOLD_CAUSES: usize = 16;

#[derive(Debug)]
pub(super) struct Driver {
    pub(super) wire: Wire,
    pub(super) session: Session,
    pub(super) delivery: Delivery,
    pub(super) reconnect: Reconnect,
    random: StdRng,
    /// What was told of since the link was ready.
    pub(super) told_causes: Vec<Loss>,
    /// What was said on this link before any frame.
    pub(super) greeting: Greeting,
    pub(super) link: LinkNotes,
    pub(super) known: watch::Sender<Vec<KnownNode>>,
    pub(super) clock: Clock,
    pub(super) stop: CancellationToken,
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
        // Each link has a nonce of its own.
        let mut session = Session::new(session_options, 0, Instant::now().into_std());
        session.nodes = NodeDb::new(options.nodes);
        let seed = options.seed;
        Self {
            wire: options.wire,
            session,
            delivery,
            reconnect: Reconnect::default(),
            random: seed.map_or_else(rand::make_rng, StdRng::seed_from_u64),
            told_causes: Vec::new(),
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
                End::Lost(loss) => self.lost(loss).await,
                end => Err(end),
            };
            match ended {
                Ok(()) => {}
                Err(End::Stopped | End::Lost(_)) => return Ok(()),
                Err(End::EventsClosed) => return Err(RadioError::EventsClosed),
            }
        }
    }

    async fn connect_and_serve(&mut self) -> End {
        self.link.step(LinkState::Connecting);
        let began = Instant::now();
        let connected = tokio::select! {
            () = self.stop.cancelled() => {
                self.wire.give_up().await;
                return End::Stopped;
            }
            connected = self.wire.connect() => connected,
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

    /// Serves a connection until its end, or the daemon's.
    async fn serve(&mut self, mut connection: Connection) -> End {
        let now = Moment::now(&self.clock);
        self.session.begin(self.random.random(), now.instant);
        self.greeting = Greeting::default();
        let served = self.converse(&mut connection).await;
        let mut end = served.err().unwrap_or(End::Stopped);
        if matches!(end, End::Lost(_))
            && !self.session.has_heard()
            // Only there somebody else than a radio may be at the other end.
            && matches!(self.wire, Wire::Tcp { .. })
            && let Some(who) = stranger::whose(&mut self.greeting, &mut connection).await
            && let Some(error) = self.wire.no_radio(who)
        {
            end = error.into();
        }
        if !self.session.has_heard() {
            // A proxy takes connections for a radio that is away, too, and ends them.
            self.reconnect.on_absent();
        }
        if matches!(end, End::Lost(_)) && self.session.understands() {
            // Where writing failed, what came before that still waits to be read.
            self.hear_out(&mut connection).await;
        }
        if matches!(end, End::Stopped | End::EventsClosed) {
            // The radio may be gone already, then there is nobody to tell.
            let bye = timeout(GOODBYE, connection.send(&disconnect())).await;
            self.hear_out(&mut connection).await;
            if matches!(bye, Ok(Ok(()))) {
                info!("disconnected from the radio");
            }
        }
        let held = self.session.take_held(Moment::now(&self.clock));
        // Where nobody takes it, nobody takes anything.
        drop(self.carry_out(held, None).await);
        connection.close().await;
        let skipped = connection.skipped();
        if skipped > 0 {
            debug!(skipped, "bytes outside frames on this connection");
        }
        end
    }

    /// Takes what the radio had sent before it heard that we leave, or before the link was lost: it does not send that
    /// again. The radio closes; one that does not is not waited for for long. The daemon is: what was read is in nobody's
    /// hands until it has taken it.
    async fn hear_out(&mut self, connection: &mut Connection) {
        let mut limit = Instant::now() + FAREWELL;
        while Instant::now() < limit
            && let Ok(Ok(item)) = timeout_at(limit, connection.receive()).await
        {
            let Item::Frame(frame) = item else { continue };
            let began = Instant::now();
            let outputs = self.on_frame(&frame);
            if self.carry_out(outputs, None).await.is_err() {
                return;
            }
            limit += began.elapsed();
        }
    }

    /// Tells that the link is lost, and waits until it may be tried again.
    async fn lost(&mut self, mut loss: Loss) -> Result<(), End> {
        if std::mem::take(&mut self.delivery.crossed) {
            self.reconnect.on_text();
        }
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
            self.delivery.tell(loss.into()).await?;
        }
        self.delivery.give_back().await?;
        tokio::select! {
            () = self.stop.cancelled() => Err(End::Stopped),
            () = sleep(next.delay) => Ok(()),
            () = self.wire.returns() => {
                debug!("the radio's port has appeared");
                self.reconnect.on_return();
                Ok(())
            }
        }
    }
}
