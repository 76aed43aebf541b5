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
    Clock, Event, Explained, MeshRowId, Node, RadioEvent, RadioOutcome, SendReport, Timestamp,
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

use codec::Item;
use connection::Loss;
use console::{Console, Line};
use link::LinkNotes;
use reconnect::Reconnect;
use session::Memory;
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
        let is_missing = matches!(self, Self::NoBluetooth);
        is_missing
            .then(|| "build it with the feature `ble`, or use another `connection_type`".to_owned())
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
    /// Takes them from the configuration, with nothing known from before.
    ///
    /// # Errors
    ///
    /// When the configured wire is not built in.
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
        Ok(Self {
            message_delay: config.message_delay,
            channel_use: Some(config.channel_use),
            set_time: config.set_time,
            chat_ports: config
                .packet_routing
                .chat_portnums
                .iter()
                .map(|port| port.0)
                .collect(),
            ..Self::over(wire)
        })
    }

    /// Takes the defaults for a wire.
    #[must_use]
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
    session_options: SessionOptions,
    pacer: Pacer,
    nodes: NodeDb,
    reconnect: Reconnect,
    random: StdRng,
    withdraw: mpsc::Sender<MeshRowId>,
    withdrawals: mpsc::Receiver<MeshRowId>,
    /// What was told of since the link was ready.
    told_cause: Option<Vec<Loss>>,
    link: LinkNotes,
    /// What is known from the connection before.
    memory: Box<Memory>,
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

/// The other ends of the radio's queues.
struct Ends {
    submissions: mpsc::Receiver<Submission>,
    submissions_open: bool,
    events: mpsc::Sender<Event>,
    stop: CancellationToken,
}

impl Ends {
    async fn tell(&self, event: Event) -> Result<(), End> {
        self.events.send(event).await.map_err(|_| End::EventsClosed)
    }

    /// Returns a row that may be sent; waits for ever once the daemon gives none any more.
    async fn submission(&mut self) -> Submission {
        if self.submissions_open {
            if let Some(submission) = self.submissions.recv().await {
                return submission;
            }
            self.submissions_open = false;
        }
        std::future::pending().await
    }
}

impl Radio {
    /// Makes one; [`Radio::run`] does the work.
    #[must_use]
    pub fn new(options: RadioOptions) -> Self {
        let (withdraw, withdrawals) = mpsc::channel(WITHDRAWALS);
        let now = Moment::now(&options.clock);
        let mut pacer = Pacer::new(options.message_delay, options.last_accepted, now);
        if let Some(limits) = options.channel_use {
            pacer.traffic.limit(limits);
        }
        Self {
            clock: options.clock,
            session_options: SessionOptions {
                set_time: options.set_time,
                chat_ports: options.chat_ports,
                on_cable: options.wire.is_cable(),
            },
            wire: options.wire,
            pacer,
            nodes: NodeDb::new(options.nodes),
            reconnect: Reconnect::default(),
            random: options
                .seed
                .map_or_else(rand::make_rng, StdRng::seed_from_u64),
            withdraw,
            withdrawals,
            told_cause: None,
            link: LinkNotes::default(),
            memory: Box::default(),
            air: watch::Sender::new(true),
            known: watch::Sender::default(),
        }
    }

    /// Returns where to name rows that are to be given back if they wait here still: they are reported as
    /// [`RadioOutcome::Retry`] without delay, to be looked up again.
    #[must_use]
    pub fn withdrawals(&self) -> mpsc::Sender<MeshRowId> {
        self.withdraw.clone()
    }

    /// Returns where to look how the link stands.
    #[must_use]
    pub fn link(&self) -> watch::Receiver<Link> {
        self.link.watch()
    }

    /// Returns where to look whether the air bears more than urgent texts: what else is submitted is given back meanwhile.
    #[must_use]
    pub fn air(&self) -> watch::Receiver<bool> {
        self.air.subscribe()
    }

    /// Returns where to look for the nodes that the radio told of until it was ready.
    #[must_use]
    pub(crate) fn known(&self) -> watch::Receiver<Vec<KnownNode>> {
        self.known.subscribe()
    }

    /// Keeps the link until `stop`: takes rows that may be sent, and tells what happens.
    ///
    /// # Errors
    ///
    /// Only when nobody takes the events any more; a radio that is away is waited for.
    pub async fn run(
        mut self,
        submissions: mpsc::Receiver<Submission>,
        events: mpsc::Sender<Event>,
        stop: CancellationToken,
    ) -> Result<(), RadioError> {
        let mut ends = Ends {
            submissions,
            submissions_open: true,
            events,
            stop,
        };
        loop {
            self.link.step(LinkState::Connecting);
            let began = Instant::now();
            let connected = tokio::select! {
                () = ends.stop.cancelled() => None,
                connected = self.wire.connect() => Some(connected),
            };
            let Some(connected) = connected else {
                self.wire.give_up().await;
                return Ok(());
            };
            let end = match connected {
                Ok(connection) => {
                    debug!("connected to the radio, asking for its configuration");
                    self.link.step(LinkState::Configuring);
                    self.serve(connection, &mut ends).await
                }
                Err(error) => {
                    self.reconnect.on_failed(began.elapsed());
                    lost(&error)
                }
            };
            let end = match end {
                End::Lost(loss) => self.lost(loss, &mut ends).await.err(),
                End::Stopped | End::EventsClosed => Some(end),
            };
            match end {
                None => {}
                Some(End::Stopped | End::Lost(_)) => return Ok(()),
                Some(End::EventsClosed) => return Err(RadioError::EventsClosed),
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
        let cause = loss.cause.clone();
        self.link.lost(&loss);
        // Causes may take turns for days.
        let told = self.told_cause.get_or_insert_default();
        if told.iter().any(|told| told.is_like(&loss)) {
            debug!(cause, delay_ms, "still no link to the radio, trying again");
        } else {
            warn!(cause, delay_ms, "no link to the radio, trying again");
            told.truncate(TOLD_CAUSES - 1);
            told.insert(0, loss);
            ends.tell(Event::Radio(RadioEvent::Lost { cause })).await?;
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
        let mut session = Session::new(
            self.session_options.clone(),
            self.random.random(),
            now.instant,
        );
        session.memory = std::mem::take(&mut self.memory);
        let outputs = session.on_time(now);
        let mut greeting = Greeting::default();
        let served = self
            .converse(&mut connection, &mut session, &mut greeting, outputs, ends)
            .await;
        let mut end = served.err().unwrap_or(End::Stopped);
        if matches!(end, End::Lost(_)) && !session.has_heard() && self.wire.may_lead_elsewhere() {
            let who = stranger::whose(greeting, &mut connection).await;
            if let Some(loss) = who.and_then(|who| self.wire.no_radio(who)) {
                end = End::Lost(loss);
            }
        }
        if !session.has_heard() {
            // A proxy takes connections for a radio that is away, too, and ends them.
            self.reconnect.on_absent();
        }
        if matches!(end, End::Lost(_)) && session.understands() {
            // Where writing failed, what came before that still waits to be read.
            self.hear_out(&mut connection, &mut session, ends).await;
        }
        if matches!(end, End::Stopped | End::EventsClosed) {
            // The radio may be gone already, then there is nobody to tell.
            let bye = timeout(Duration::from_secs(1), connection.send(&disconnect())).await;
            self.hear_out(&mut connection, &mut session, ends).await;
            if matches!(bye, Ok(Ok(()))) {
                info!("disconnected from the radio");
            }
        }
        let held = session.take_held(&mut self.nodes, Moment::now(&self.clock));
        self.tell_last(held, ends).await;
        self.memory = session.memory;
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
    async fn hear_out(
        &mut self,
        connection: &mut Connection,
        session: &mut Session,
        ends: &mut Ends,
    ) {
        let mut limit = Instant::now() + FAREWELL;
        while Instant::now() < limit
            && let Ok(Ok(item)) = timeout_at(limit, connection.receive()).await
        {
            let Item::Frame(frame) = item else { continue };
            let began = Instant::now();
            let outputs = self.on_frame(&frame, session);
            if !self.tell_last(outputs, ends).await {
                return;
            }
            limit += began.elapsed();
        }
    }

    /// Tells what a link that ends has brought: nothing is written to it any more. Returns whether the daemon takes it.
    async fn tell_last(&mut self, outputs: Vec<Output>, ends: &mut Ends) -> bool {
        for output in outputs {
            let told = match output {
                Output::Event(event) => {
                    self.note(&event);
                    if let RadioEvent::Ready(_) = &event {
                        // The daemon is to know by which channels it understands what follows, and then of the loss.
                        self.told_cause = None;
                    }
                    ends.tell(Event::Radio(event)).await
                }
                Output::Answer(answer) => {
                    self.pacer.on_answer(answer, Moment::now(&self.clock));
                    self.report(ends).await
                }
                // The link ends anyway, and that is told by whoever ended it.
                Output::Wake | Output::Frame(_) | Output::Restarted(_) | Output::Lost(_) => Ok(()),
            };
            if told.is_err() {
                return false;
            }
        }
        true
    }

    /// The conversation on one connection. `Ok` when the daemon stops and nothing is on its way.
    async fn converse(
        &mut self,
        connection: &mut Connection,
        session: &mut Session,
        greeting: &mut Greeting,
        outputs: Vec<Output>,
        ends: &mut Ends,
    ) -> Result<(), End> {
        self.carry_out(outputs, connection, ends).await?;
        let mut console = Console::default();
        let stop = ends.stop.clone();
        let mut stop_limit = None;
        loop {
            self.send_next(connection, session).await?;
            self.look_at_air();
            self.report(ends).await?;
            self.tell_nodes(session, ends).await?;
            if let Some(limit) = stop_limit
                && (!self.pacer.is_waiting_for_answer() || Instant::now() >= limit)
            {
                self.pacer.on_lost();
                return self.report(ends).await;
            }
            let takes_more = session.is_ready() && self.pacer.has_room() && stop_limit.is_none();
            let deadline = self.deadline(session, stop_limit);
            // Rows before frames: they are few, and a busy mesh is not to keep them waiting.
            let outputs = tokio::select! {
                biased;
                () = stop.cancelled(), if stop_limit.is_none() => {
                    self.pacer.take_no_more();
                    stop_limit = Some(Instant::now() + STOP_LIMIT);
                    Vec::new()
                }
                Some(outbox) = self.withdrawals.recv() => {
                    self.pacer.withdraw(outbox);
                    Vec::new()
                }
                submission = ends.submission(), if takes_more => {
                    self.pacer.submit(submission);
                    Vec::new()
                }
                item = connection.receive() => match item {
                    Ok(Item::Frame(frame)) => {
                        // A line that a frame interrupts does not go on after it.
                        let mut outputs = self.on_text(console.end(), session);
                        outputs.extend(self.on_frame(&frame, session));
                        outputs
                    }
                    Ok(Item::Log(bytes)) => {
                        trace!(size = bytes.len(), "bytes outside frames");
                        if !session.has_heard()
                            && let Some(who) = greeting.take(&bytes)
                            && let Some(loss) = self.wire.no_radio(who)
                        {
                            return Err(End::Lost(loss));
                        }
                        self.on_text(console.take(&bytes), session)
                    }
                    Err(error) => return Err(lost(&error)),
                },
                () = sleep_until(deadline) => Vec::new(),
            };
            let began = Instant::now();
            self.carry_out(outputs, connection, ends).await?;
            if began.elapsed() > OWN_STALL {
                // It was us who were slow (a full disk?): what waits in the link is read before its silence is judged.
                continue;
            }
            let due = session.on_time(Moment::now(&self.clock));
            self.carry_out(due, connection, ends).await?;
        }
    }

    fn on_frame(&mut self, frame: &[u8], session: &mut Session) -> Vec<Output> {
        let now = Moment::now(&self.clock);
        self.pacer.on_frame(now.instant);
        session.on_frame(frame, &mut self.nodes, now)
    }

    /// Shows what the radio prints; it may tell that the radio has forgotten us.
    fn on_text(&self, lines: impl IntoIterator<Item = Line>, session: &mut Session) -> Vec<Output> {
        let mut sign = None;
        for line in lines {
            debug!(target: console::TARGET, line = line.text, "the radio prints");
            sign = sign.max(line.sign);
        }
        sign.map_or_else(Vec::new, |sign| {
            session.on_sign(sign, Moment::now(&self.clock))
        })
    }

    fn deadline(&self, session: &Session, stop_limit: Option<Instant>) -> Instant {
        let now = Instant::now().into_std();
        let nodes = self.nodes.deadline(now).filter(|_| session.is_ready());
        let writes = !session.is_looking_again();
        let packet = self.pacer.deadline().filter(|_| writes);
        let prompt = self.pacer.prompt_deadline().filter(|_| writes);
        [
            Some(session.deadline()),
            packet,
            self.pacer.traffic.closed_until(now),
            prompt,
            nodes,
        ]
        .into_iter()
        .flatten()
        .map(Instant::from_std)
        .chain(stop_limit)
        .min()
        .unwrap_or_else(|| Instant::from_std(now))
    }

    async fn carry_out(
        &mut self,
        outputs: Vec<Output>,
        connection: &mut Connection,
        ends: &mut Ends,
    ) -> Result<(), End> {
        // What is to be told is told, also where writing fails.
        let mut written = Ok(());
        for output in outputs {
            match output {
                Output::Wake if written.is_ok() => written = connection.wake().await,
                Output::Frame(frame) if written.is_ok() => written = connection.send(&frame).await,
                Output::Wake | Output::Frame(_) => {}
                Output::Answer(answer) => self.pacer.on_answer(answer, Moment::now(&self.clock)),
                Output::Event(event) => {
                    self.note(&event);
                    if let RadioEvent::Ready(profile) = &event {
                        // What was handed over just when the link was lost is looked up again.
                        self.give_back(ends).await?;
                        let may_transmit = profile.region_set && profile.transmit_enabled;
                        self.pacer.on_ready(profile.own.num, may_transmit);
                        self.told_cause = None;
                        let node = profile.own.num;
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
                        self.show_nodes();
                        info!(
                            node = %profile.own.num,
                            firmware = profile.told_firmware().map(tracing::field::display),
                            hop_limit = profile.hop_limit,
                            "radio ready"
                        );
                    }
                    ends.tell(Event::Radio(event)).await?;
                }
                Output::Restarted(cause) => {
                    self.link.lost(&Loss::of_silence(cause));
                    self.link.step(LinkState::Configuring);
                    let cause = cause.to_owned();
                    ends.tell(Event::Radio(RadioEvent::Lost { cause })).await?;
                    self.give_back(ends).await?;
                }
                Output::Lost(cause) => return Err(End::Lost(Loss::of_silence(cause))),
            }
        }
        written.map_err(|error| lost(&error))
    }

    /// Takes from an event what is of use here.
    fn note(&mut self, event: &RadioEvent) {
        match event {
            RadioEvent::ChannelUse { percent } => {
                let now = Instant::now().into_std();
                self.pacer.traffic.on_channel_use(*percent, now);
            }
            RadioEvent::Text(_) => self.reconnect.on_text(),
            RadioEvent::Ready(_)
            | RadioEvent::Lost { .. }
            | RadioEvent::Nodes(_)
            | RadioEvent::Ignored { .. } => {}
        }
    }

    /// Writes the packet whose turn it is, if it is any packet's.
    async fn send_next(
        &mut self,
        connection: &mut Connection,
        session: &mut Session,
    ) -> Result<(), End> {
        if session.is_looking_again() {
            return Ok(());
        }
        let now = Moment::now(&self.clock);
        let Some((packet, message)) = self.pacer.poll(now) else {
            if session.is_ready() && self.pacer.prompts(now.instant) {
                let heartbeat = session.heartbeat(now.instant);
                connection
                    .send(&heartbeat)
                    .await
                    .map_err(|error| lost(&error))?;
            }
            return Ok(());
        };
        // Only a ready session has a pacer with a link.
        let Some(frame) = session.send(packet, &message) else {
            return Ok(());
        };
        debug!(%packet, to = %message.destination, size = frame.len(), "packet handed to the radio");
        connection.send(&frame).await.map_err(|error| lost(&error))
    }

    /// Tells who submits, before they get back what the air does not bear.
    fn look_at_air(&self) {
        let is_open = self
            .pacer
            .traffic
            .closed_until(Instant::now().into_std())
            .is_none();
        self.air
            .send_if_modified(|was_open| std::mem::replace(was_open, is_open) != is_open);
    }

    fn show_nodes(&self) {
        if self.known.receiver_count() > 0 {
            self.known.send_replace(self.nodes.known());
        }
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
    async fn tell_nodes(&mut self, session: &Session, ends: &Ends) -> Result<(), End> {
        if !session.is_ready() {
            return Ok(());
        }
        let batch = self.nodes.take_batch(Instant::now().into_std());
        if batch.is_empty() {
            return Ok(());
        }
        ends.tell(Event::Radio(RadioEvent::Nodes(batch))).await
    }
}

fn lost(error: &ConnectionError) -> End {
    End::Lost(error.into())
}

#[cfg(test)]
mod tests;
