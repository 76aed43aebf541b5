//! The radio's side: one link, its session and its pace.
//!
//! [`Radio::run`] joins a [`Connection`] (bytes), a [`Session`] (what frames mean), a [`Pacer`] (what may be sent when)
//! and a [`NodeDb`] (who is who). The last three are pure; whatever waits, and both clocks, stand here.

mod acks;
mod answer;
#[cfg(feature = "ble")]
mod ble;
#[cfg(not(feature = "ble"))]
#[path = "no_ble.rs"]
mod ble;
#[cfg(test)]
mod captures;
pub mod codec;
mod connection;
mod console;
mod doubt;
mod fingerprint;
mod found_device;
mod handshake;
mod link;
mod moment;
mod names;
mod nodedb;
mod pacer;
#[cfg_attr(
    not(any(feature = "ble", test)),
    expect(dead_code, reason = "only Bluetooth carries whole packets so far")
)]
mod packets;
mod ports;
pub mod proto;
mod reconnect;
mod said;
mod serial;
mod serial_ports;
mod session;
mod stranger;
mod tcp;
mod traffic;
mod translate;

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, trace, warn};

use crate::config;
use crate::model::{
    Clock, Event, Explained, MeshRowId, Node, RadioEvent, RadioOutcome, RadioProfile, SendReport,
    Timestamp,
};

pub use answer::Answer;
pub use ble::Ble;
pub use connection::{Connection, ConnectionError, LossKind, Wire};
pub use link::{Link, LinkState};
pub use moment::Moment;
pub use nodedb::NodeDb;
pub use pacer::{Pacer, Submission};
pub use serial::SerialPort;
pub use session::{Output, Session, SessionOptions, disconnect};

pub(crate) use ble::find_bluetooth;
#[cfg(test)]
pub(crate) use nodedb::Details;
pub(crate) use nodedb::KnownNode;
pub(crate) use serial_ports::{FoundPort, find as find_serial_ports};
pub(crate) use session::{HANDSHAKE_LIMIT, NOBODY};

use codec::{Item, WAKE};
use connection::Loss;
use console::{Console, Line};
use link::LinkNotes;
use reconnect::Reconnect;
use stranger::Greeting;

/// How long a packet on its way may keep a stop waiting; the whole stop has 5 s.
const STOP_LIMIT: Duration = Duration::from_secs(4);

/// Handing an event to the daemon takes no longer unless its disk is in trouble.
const OWN_STALL: Duration = Duration::from_secs(1);

/// How long a radio may take to close the link after we have left.
const FAREWELL: Duration = Duration::from_millis(500);

/// Which causes are remembered to have been told.
const TOLD_CAUSES: usize = 16;

/// Withdrawals that wait to be noticed.
const WITHDRAWALS: usize = 64;

/// Why the radio's side cannot work.
#[derive(Debug, thiserror::Error)]
pub enum RadioError {
    /// Bluetooth is not built in.
    #[error("this relay was built without Bluetooth")]
    NoBluetooth,
    /// The daemon's event loop has ended.
    #[error("nobody takes the radio's events")]
    EventsClosed,
}

impl Explained for RadioError {
    fn hint(&self) -> Option<String> {
        let cure = "build it with the feature `ble`, or use another `connection_type`";
        matches!(self, Self::NoBluetooth).then(|| cure.to_owned())
    }
}

/// What the radio's side has to know.
#[derive(Debug)]
pub struct RadioOptions {
    /// How to reach the radio.
    pub wire: Wire,
    /// From the radio's acceptance of a text to the next.
    pub message_delay: Duration,
    /// The radio is given the time.
    pub set_time: bool,
    /// Further ports that carry text.
    pub chat_ports: Vec<u32>,
    /// The nodes known from before.
    pub nodes: Vec<Node>,
    /// How busy a channel slows traffic down, or stops it.
    pub channel_use: Option<config::ChannelUse>,
    /// When the radio took a text of ours last.
    pub last_accepted: Option<Timestamp>,
    /// For random numbers that are the same in every run of a test.
    pub seed: Option<u64>,
    /// Tells the wall-clock time.
    pub clock: Clock,
}

impl RadioOptions {
    /// Takes them from the configuration, with nothing known from before. Fails if the configured wire is not built in.
    pub fn new(config: &config::Meshtastic) -> Result<Self, RadioError> {
        let wire = match &config.connection {
            config::Connection::Tcp { host, port } => Wire::Tcp {
                host: host.clone(),
                port: *port,
            },
            config::Connection::Serial { serial_port } => {
                Wire::Serial(SerialPort::new(serial_port.clone()))
            }
            config::Connection::Ble {
                ble_address,
                ble_pin,
            } => Wire::Ble(Ble::new(ble_address, ble_pin.clone())?),
        };
        let chat_ports = config.packet_routing.chat_portnums.iter();
        Ok(Self {
            message_delay: config.message_delay,
            channel_use: Some(config.channel_use),
            set_time: config.set_time,
            chat_ports: chat_ports.map(|port| port.0).collect(),
            ..Self::over(wire)
        })
    }

    /// Takes the defaults for a wire.
    pub fn over(wire: Wire) -> Self {
        Self {
            wire,
            message_delay: Duration::from_millis(2050),
            channel_use: None,
            set_time: true,
            chat_ports: Vec::new(),
            nodes: Vec::new(),
            last_accepted: None,
            seed: None,
            clock: Clock::system(),
        }
    }
}

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
    /// as [`RadioOutcome::Retry`] without delay, to be looked up again.
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
    pub(crate) fn known(&self) -> watch::Receiver<Vec<KnownNode>> {
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
        let (cause, hint) = (loss.cause.clone(), loss.hint.clone());
        // Causes may take turns for days.
        let told = &mut self.told_causes;
        if told.iter().any(|told| told.is_like(&loss)) {
            debug!(cause, delay_ms, "still no link to the radio, trying again");
        } else {
            warn!(cause, hint, delay_ms, "no link to the radio, trying again");
            told.truncate(TOLD_CAUSES - 1);
            told.insert(0, loss);
            ends.tell(Event::Radio(RadioEvent::Lost { cause, hint }))
                .await?;
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

    /// Serves a connection until its end, or the daemon's.
    async fn serve(&mut self, mut connection: Connection, ends: &mut Ends) -> End {
        let now = Moment::now(&self.clock);
        self.session.begin(self.random.random(), now.instant);
        self.greeting = Greeting::default();
        let served = self.converse(&mut connection, ends).await;
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
            self.hear_out(&mut connection, ends).await;
        }
        if matches!(end, End::Stopped | End::EventsClosed) {
            // The radio may be gone already, then there is nobody to tell.
            let bye = timeout(Duration::from_secs(1), connection.send(&disconnect())).await;
            self.hear_out(&mut connection, ends).await;
            if matches!(bye, Ok(Ok(()))) {
                info!("disconnected from the radio");
            }
        }
        let held = self.session.take_held(Moment::now(&self.clock));
        // Where nobody takes it, nobody takes anything.
        drop(self.carry_out(held, None, ends).await);
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
    async fn hear_out(&mut self, connection: &mut Connection, ends: &mut Ends) {
        let mut limit = Instant::now() + FAREWELL;
        while Instant::now() < limit
            && let Ok(Ok(item)) = timeout_at(limit, connection.receive()).await
        {
            let Item::Frame(frame) = item else { continue };
            let began = Instant::now();
            let outputs = self.on_frame(&frame);
            if self.carry_out(outputs, None, ends).await.is_err() {
                return;
            }
            limit += began.elapsed();
        }
    }

    /// The conversation on one connection. `Ok` when the daemon stops and nothing is on its way.
    async fn converse(&mut self, connection: &mut Connection, ends: &mut Ends) -> Result<(), End> {
        let outputs = self.session.on_time(Moment::now(&self.clock));
        self.carry_out(outputs, Some(connection), ends).await?;
        let mut console = Console::default();
        let stop = ends.stop.clone();
        let mut stop_limit = None;
        loop {
            self.send_next(connection).await?;
            self.look_at_air();
            self.report(ends).await?;
            self.tell_nodes(ends).await?;
            if let Some(limit) = stop_limit
                && (!self.pacer.is_waiting_for_answer() || Instant::now() >= limit)
            {
                self.pacer.on_lost();
                return self.report(ends).await;
            }
            let takes_more =
                self.session.is_ready() && self.pacer.has_room() && stop_limit.is_none();
            let deadline = self.deadline(stop_limit);
            let mut outputs = Vec::new();
            // Rows before frames: they are few, and a busy mesh is not to keep them waiting.
            tokio::select! {
                biased;
                () = stop.cancelled(), if stop_limit.is_none() => {
                    self.pacer.take_no_more();
                    stop_limit = Some(Instant::now() + STOP_LIMIT);
                }
                Some(outbox) = self.withdrawals.recv() => self.pacer.withdraw(outbox),
                Some(submission) = ends.submissions.recv(), if takes_more => {
                    self.pacer.submit(submission);
                }
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
                () = sleep_until(Instant::from_std(deadline)) => {}
            }
            let began = Instant::now();
            self.carry_out(outputs, Some(connection), ends).await?;
            if began.elapsed() > OWN_STALL {
                // It was us who were slow (a full disk?): what waits in the link is read before its silence is judged.
                continue;
            }
            let due = self.session.on_time(Moment::now(&self.clock));
            self.carry_out(due, Some(connection), ends).await?;
        }
    }

    fn on_frame(&mut self, frame: &[u8]) -> Vec<Output> {
        let now = Moment::now(&self.clock);
        self.pacer.on_frame(now.instant);
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

    fn deadline(&self, stop_limit: Option<Instant>) -> std::time::Instant {
        let (now, session) = (Instant::now().into_std(), &self.session);
        let writes = !session.is_looking_again();
        let others = [
            self.pacer.deadline().filter(|_| writes),
            self.pacer.prompt_deadline().filter(|_| writes),
            self.pacer.traffic.closed_until(now),
            session.nodes.deadline(now).filter(|_| session.is_ready()),
            stop_limit.map(Instant::into_std),
        ];
        let others = others.into_iter().flatten();
        others.fold(session.deadline(), Ord::min)
    }

    /// Does what the session wants. On a link that ends, which is `None`, nothing is written any more, and whoever ended it
    /// tells that it is lost.
    async fn carry_out(
        &mut self,
        outputs: Vec<Output>,
        mut link: Option<&mut Connection>,
        ends: &mut Ends,
    ) -> Result<(), End> {
        // What is to be told is told, also where writing fails.
        let mut written = Ok(());
        for output in outputs {
            match (output, &mut link) {
                (Output::Event(event), link) => {
                    match &event {
                        RadioEvent::Ready(profile) => {
                            if link.is_some() {
                                self.on_ready(profile, ends).await?;
                            }
                            // The daemon is to know by which channels it understands what follows, and then of the loss.
                            self.told_causes.clear();
                        }
                        RadioEvent::ChannelUse { percent } => {
                            let now = Instant::now().into_std();
                            self.pacer.traffic.on_channel_use(*percent, now);
                        }
                        RadioEvent::Text(_) => self.reconnect.on_text(),
                        RadioEvent::Lost { .. }
                        | RadioEvent::Nodes(_)
                        | RadioEvent::Ignored { .. } => {}
                    }
                    ends.tell(Event::Radio(event)).await?;
                }
                (Output::Answer(answer), link) => {
                    self.pacer.on_answer(answer, Moment::now(&self.clock));
                    if link.is_none() {
                        self.report(ends).await?;
                    }
                }
                (Output::Wake, Some(link)) if written.is_ok() => written = link.write(&WAKE).await,
                (Output::Frame(frame), Some(link)) if written.is_ok() => {
                    written = link.send(&frame).await;
                }
                (Output::Restarted(cause), Some(_)) => {
                    self.link.lost(&Loss::of_silence(cause));
                    self.link.step(LinkState::Configuring);
                    let (cause, hint) = (cause.to_owned(), None);
                    ends.tell(Event::Radio(RadioEvent::Lost { cause, hint }))
                        .await?;
                    self.give_back(ends).await?;
                }
                (Output::Lost(cause), Some(_)) => return Err(End::Lost(Loss::of_silence(cause))),
                (Output::Wake | Output::Frame(_) | Output::Restarted(_) | Output::Lost(_), _) => {}
            }
        }
        written.map_err(End::from)
    }

    /// The link is ready: texts may cross.
    async fn on_ready(&mut self, profile: &RadioProfile, ends: &mut Ends) -> Result<(), End> {
        // What was handed over just when the link was lost is looked up again.
        self.give_back(ends).await?;
        let node = profile.own.num;
        self.pacer.on_ready(profile);
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
        let Some(submission) = self.pacer.poll(now) else {
            if self.session.is_ready() && self.pacer.prompts(now.instant) {
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

    /// Tells who submits, before they get back what the air does not bear.
    fn look_at_air(&self) {
        let now = Instant::now().into_std();
        let is_open = self.pacer.traffic.closed_until(now).is_none();
        self.air
            .send_if_modified(|was_open| std::mem::replace(was_open, is_open) != is_open);
    }

    async fn report(&mut self, ends: &Ends) -> Result<(), End> {
        for report in self.pacer.take_reports() {
            if let SendReport::Radio {
                outcome: RadioOutcome::Accepted { .. },
                ..
            } = &report
            {
                self.reconnect.on_text();
            }
            ends.tell(Event::Report(report)).await?;
        }
        Ok(())
    }

    /// During the handshake the nodes come one by one; they are told together at its end.
    async fn tell_nodes(&mut self, ends: &Ends) -> Result<(), End> {
        if !self.session.is_ready() {
            return Ok(());
        }
        let batch = self.session.nodes.take_batch(Instant::now().into_std());
        if batch.is_empty() {
            return Ok(());
        }
        ends.tell(Event::Radio(RadioEvent::Nodes(batch))).await
    }
}

#[cfg(test)]
mod tests;
