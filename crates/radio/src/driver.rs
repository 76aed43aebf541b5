//! Keeps the link to a radio: connects, serves the connection until its end, and tries again when it is lost. What is read goes
//! to the session; what that and the pacer want is done.

use std::time::Duration;

use futures_util::future::OptionFuture;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, trace, warn};

use relay_model::{Clock, Event, RadioEvent, RadioProfile};
use relay_wire::codec::{Item, WAKE};

use super::delivery::Delivery;
use super::error::{End, Loss, RadioError};
use super::link::{LinkNotes, LinkState};
use super::mesh::nodedb::{KnownNode, NodeDb};
use super::moment::Moment;
use super::options::RadioOptions;
use super::reconnect::Reconnect;
use super::session::console::{self, Console, Line};
use super::session::{Output, Session, SessionOptions, disconnect};
use super::wires::stranger::{self, Greeting};
use super::wires::{Connection, Wire};

/// How long a packet on its way may keep a stop waiting; the whole stop has 5 s, with the two below.
const STOP_LIMIT: Duration = Duration::from_secs(3);

/// How long telling the radio that we leave may take.
const GOODBYE: Duration = Duration::from_secs(1);

/// How long a radio may take to close the link after we have left.
const FAREWELL: Duration = Duration::from_millis(500);

/// Handing an event to the daemon takes no longer unless its disk is in trouble.
const OWN_STALL: Duration = Duration::from_secs(1);

/// Which causes are remembered to have been told.
const TOLD_CAUSES: usize = 16;

#[derive(Debug)]
pub(super) struct Driver {
    wire: Wire,
    session: Session,
    delivery: Delivery,
    reconnect: Reconnect,
    random: StdRng,
    /// What was told of since the link was ready.
    told_causes: Vec<Loss>,
    /// What was said on this link before any frame.
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

    /// The conversation on one connection. `Ok` when the daemon stops and nothing is on its way.
    async fn converse(&mut self, connection: &mut Connection) -> Result<(), End> {
        let mut console = Console::default();
        let (mut stop_limit, mut stalled) = (None, false);
        loop {
            if !stalled {
                let due = self.session.on_time(Moment::now(&self.clock));
                self.carry_out(due, Some(connection)).await?;
            }
            self.send_next(connection).await?;
            self.delivery.look_at_air();
            self.delivery.report().await?;
            self.tell_nodes().await?;
            if let Some(limit) = stop_limit
                && (!self.delivery.pacer.is_waiting_for_answer() || Instant::now() >= limit)
            {
                self.delivery.pacer.on_lost();
                return self.delivery.report().await;
            }
            let has_room = self.delivery.pacer.has_room();
            let takes_more = self.session.is_ready() && has_room && stop_limit.is_none();
            let due = self.deadline(stop_limit);
            let due = due.map(|due| sleep_until(Instant::from_std(due)));
            let mut outputs = Vec::new();
            // Rows before frames: they are few, and a busy mesh is not to keep them waiting.
            tokio::select! {
                biased;
                () = self.stop.cancelled(), if stop_limit.is_none() => {
                    self.delivery.pacer.take_no_more();
                    stop_limit = Some(Instant::now() + STOP_LIMIT);
                }
                () = self.delivery.take_next(takes_more) => {}
                item = connection.receive() => match item? {
                    Item::Frame(frame) => {
                        // A line that a frame interrupts does not go on after it.
                        outputs = self.on_text(console.end());
                        outputs.extend(self.on_frame(&frame));
                    }
                    Item::Log(bytes) => {
                        trace!(size = bytes.len(), "bytes outside frames");
                        if !self.session.has_heard()
                            && let Some(who) = self.greeting.take(&bytes)
                            && let Some(error) = self.wire.no_radio(who)
                        {
                            return Err(error.into());
                        }
                        outputs = self.on_text(console.take(&bytes));
                    }
                },
                Some(()) = OptionFuture::from(due) => {}
            }
            let began = Instant::now();
            self.carry_out(outputs, Some(connection)).await?;
            // It was us who were slow (a full disk?): what waits in the link is read before its silence is judged.
            stalled = began.elapsed() > OWN_STALL;
        }
    }

    fn on_frame(&mut self, frame: &[u8]) -> Vec<Output> {
        let now = Moment::now(&self.clock);
        self.delivery.pacer.on_frame(now.instant);
        let outputs = self.session.on_frame(frame, now);
        if self.session.has_heard() {
            self.link.heard();
        }
        outputs
    }

    /// Shows what the radio prints; it may tell that the radio has forgotten us.
    fn on_text(&mut self, lines: impl IntoIterator<Item = Line>) -> Vec<Output> {
        let mut sign = None;
        for line in lines {
            debug!(target: console::TARGET, line = line.text, "the radio prints");
            sign = sign.max(line.sign);
        }
        let now = Moment::now(&self.clock);
        sign.map_or_else(Vec::new, |sign| self.session.on_sign(sign, now))
    }

    fn deadline(&self, stop_limit: Option<Instant>) -> Option<std::time::Instant> {
        let (now, session) = (Instant::now().into_std(), &self.session);
        let (pacer, writes) = (&self.delivery.pacer, !session.is_looking_again());
        let times = [
            session.deadline(),
            pacer.deadline().filter(|_| writes),
            pacer.prompt_deadline().filter(|_| writes),
            pacer.traffic.closed_until(now),
            session.nodes.deadline(now).filter(|_| session.is_ready()),
            stop_limit.map(Instant::into_std),
        ];
        times.into_iter().flatten().min()
    }

    /// Does what the session wants. On a link that ends, which is `None`, nothing is written any more, and whoever ended it
    /// tells that it is lost.
    async fn carry_out(
        &mut self,
        outputs: Vec<Output>,
        mut link: Option<&mut Connection>,
    ) -> Result<(), End> {
        // What is to be told is told, also where writing fails.
        let mut written = Ok(());
        for output in outputs {
            match (output, &mut link) {
                (Output::Event(event), link) => {
                    match &event {
                        RadioEvent::Ready(profile) => {
                            if link.is_some() {
                                self.on_ready(profile).await?;
                            }
                            // The daemon is to know by which channels it understands what follows, and then of the loss.
                            self.told_causes.clear();
                        }
                        RadioEvent::ChannelUse { percent } => {
                            let now = Instant::now().into_std();
                            let traffic = &mut self.delivery.pacer.traffic;
                            traffic.on_channel_use(*percent, now);
                        }
                        _ => {}
                    }
                    self.delivery.tell(Event::Radio(event)).await?;
                }
                (Output::Answer(answer), link) => {
                    let now = Moment::now(&self.clock);
                    self.delivery.pacer.on_answer(answer, now);
                    if link.is_none() {
                        self.delivery.report().await?;
                    }
                }
                (Output::Wake, Some(link)) if written.is_ok() => written = link.write(&WAKE).await,
                (Output::Frame(frame), Some(link)) if written.is_ok() => {
                    written = link.send(&frame).await;
                }
                (Output::Restarted(cause), Some(_)) => {
                    let loss = Loss::of_silence(cause, true);
                    self.link.lost(&loss);
                    self.link.step(LinkState::Configuring);
                    self.delivery.tell(loss.into()).await?;
                    self.delivery.give_back().await?;
                }
                (Output::Lost(cause), Some(_)) => {
                    let has_heard = self.session.has_heard();
                    return Err(End::Lost(Loss::of_silence(cause, has_heard)));
                }
                (Output::Wake | Output::Frame(_) | Output::Restarted(_) | Output::Lost(_), _) => {}
            }
        }
        written.map_err(End::from)
    }

    async fn on_ready(&mut self, profile: &RadioProfile) -> Result<(), End> {
        // What was handed over just when the link was lost is looked up again.
        self.delivery.give_back().await?;
        let node = profile.own.num;
        self.delivery.pacer.on_ready(profile);
        let times = self.link.started(node, profile.reboot_count);
        if times > 0 {
            self.reconnect.on_absent();
            warn!(
                %node,
                times,
                "the radio has restarted since it was connected last: what waited in it is lost"
            );
        }
        self.reconnect.on_ready(Instant::now().into_std());
        self.link.step(LinkState::Ready);
        if self.known.receiver_count() > 0 {
            self.known.send_replace(self.session.nodes.known());
        }
        info!(
            %node,
            firmware = profile.told_firmware().map(tracing::field::display),
            hop_limit = profile.hop_limit,
            "radio ready"
        );
        Ok(())
    }

    /// Writes the packet whose turn it is, if it is any packet's.
    async fn send_next(&mut self, connection: &mut Connection) -> Result<(), End> {
        if self.session.is_looking_again() {
            return Ok(());
        }
        let now = Moment::now(&self.clock);
        let pacer = &mut self.delivery.pacer;
        let Some(submission) = pacer.poll(now) else {
            if self.session.is_ready() && pacer.prompts(now.instant) {
                let heartbeat = self.session.heartbeat(now.instant);
                connection.send(&heartbeat).await?;
            }
            return Ok(());
        };
        // Only a ready session has a pacer with a link.
        let (packet, message) = (submission.packet, &submission.message);
        let Some(frame) = self.session.send(packet, message) else {
            return Ok(());
        };
        debug!(%packet, to = %message.destination, size = frame.len(), "packet handed to the radio");
        connection.send(&frame).await?;
        Ok(())
    }

    /// During the handshake the nodes come one by one; they are told together at its end.
    async fn tell_nodes(&mut self) -> Result<(), End> {
        if !self.session.is_ready() {
            return Ok(());
        }
        let batch = self.session.nodes.take_batch(Instant::now().into_std());
        if batch.is_empty() {
            return Ok(());
        }
        let nodes = RadioEvent::Nodes(batch);
        self.delivery.tell(Event::Radio(nodes)).await
    }

    /// Tells that the link is lost, and waits until it may be tried again.
    async fn lost(&mut self, mut loss: Loss) -> Result<(), End> {
        self.reconnect.crossed = std::mem::take(&mut self.delivery.crossed);
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
