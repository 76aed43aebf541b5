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
mod tcp;
mod traffic;
mod translate;

use std::error::Error as _;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, trace, warn};

use crate::config;
use crate::model::{Clock, Event, Node, OutboxId, RadioEvent, RadioOutcome, SendReport, Timestamp};

pub use acks::Acks;
pub use answer::{Answer, Verdict};
pub use ble::{Ble, find_bluetooth};
pub use connection::{Connection, ConnectionError, LossKind, Wire};
pub use found_device::FoundDevice;
pub use link::{Link, LinkState};
pub use moment::Moment;
pub use nodedb::{Details, KnownNode, News, NodeDb};
pub use pacer::{Pacer, Submission};
pub use serial::{SerialError, SerialPort};
pub use serial_ports::{FoundPort, Usb, find as find_serial_ports};
pub use session::{Output, Session, SessionOptions, disconnect};

use codec::Item;
use connection::Loss;
use console::Console;
use link::LinkNotes;
use reconnect::Reconnect;
use session::Memory;

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
    #[error(
        "this relay was built without Bluetooth: build it with the feature `ble`, \
         or use another `connection_type`"
    )]
    NoBluetooth,
    /// The daemon's event loop has ended.
    #[error("nobody takes the radio's events")]
    EventsClosed,
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
    withdraw: mpsc::Sender<OutboxId>,
    withdrawals: mpsc::Receiver<OutboxId>,
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
            pacer = pacer.with_channel_use(limits);
        }
        Self {
            clock: options.clock,
            session_options: SessionOptions {
                set_time: options.set_time,
                chat_ports: options.chat_ports,
                wake_pause: options.wire.wake_pause(),
                ask_every: options.wire.ask_every(),
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
    pub fn withdrawals(&self) -> mpsc::Sender<OutboxId> {
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
    pub fn known(&self) -> watch::Receiver<Vec<KnownNode>> {
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
        self.link.lost(&cause);
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
        )
        .remembering(std::mem::take(&mut self.memory));
        let outputs = session.start(now);
        let served = self
            .converse(&mut connection, &mut session, outputs, ends)
            .await;
        let end = served.err().unwrap_or(End::Stopped);
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
        self.memory = session.into_memory();
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
                Output::Wake
                | Output::Frame(_)
                | Output::Restarted { .. }
                | Output::Lost { .. } => Ok(()),
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
                        let mut outputs = self.on_text(&console.end(), session);
                        outputs.extend(self.on_frame(&frame, session));
                        outputs
                    }
                    Ok(Item::Log(bytes)) => {
                        trace!(size = bytes.len(), "bytes outside frames");
                        self.on_text(&console.take(&bytes), session)
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
    fn on_text(&self, lines: &[String], session: &mut Session) -> Vec<Output> {
        for line in lines {
            debug!(target: console::TARGET, line, "the radio prints");
        }
        let sign = lines.iter().filter_map(|line| console::sign_in(line)).max();
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
            self.pacer.closed_until(now),
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
                Output::Restarted { cause } => {
                    self.link.lost(cause);
                    self.link.step(LinkState::Configuring);
                    let cause = cause.to_owned();
                    ends.tell(Event::Radio(RadioEvent::Lost { cause })).await?;
                    self.give_back(ends).await?;
                }
                Output::Lost { cause } => return Err(End::Lost(Loss::of_silence(cause))),
            }
        }
        written.map_err(|error| lost(&error))
    }

    /// Takes from an event what is of use here.
    fn note(&mut self, event: &RadioEvent) {
        match event {
            RadioEvent::ChannelUse { percent } => {
                let now = Instant::now().into_std();
                self.pacer.on_channel_use(*percent, now);
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
        let is_open = self.pacer.closed_until(Instant::now().into_std()).is_none();
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

/// An error and its causes in one sentence.
fn with_causes(error: &ConnectionError) -> String {
    let mut sentence = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        sentence.push_str(": ");
        sentence.push_str(&error.to_string());
        cause = error.source();
    }
    sentence
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
    use tokio::task::JoinSet;

    use super::captures::from_radio;
    use super::proto::{self, Message as _, from_radio as from, mesh_packet, to_radio};
    use super::*;
    use crate::model::{
        ChannelIndex, Destination, Lane, PacketId, RadioMessage, RadioOutcome, RadioPayload,
        SendReport,
    };

    const OWN: u32 = 0xA11C_E001;

    /// A radio by script, on the other end of a pipe.
    struct Peer {
        connection: Connection,
    }

    impl Peer {
        /// Returns what the relay says, wake bytes apart.
        async fn hears(&mut self) -> to_radio::PayloadVariant {
            loop {
                match self.connection.receive().await.expect("the relay is there") {
                    Item::Log(bytes) => assert!(bytes.iter().all(|byte| *byte == 0xC3)),
                    Item::Frame(frame) => {
                        let frame = proto::ToRadio::decode(frame).expect("a ToRadio");
                        return frame.payload_variant.expect("something said");
                    }
                }
            }
        }

        async fn hears_packet(&mut self) -> proto::MeshPacket {
            loop {
                match self.hears().await {
                    to_radio::PayloadVariant::Packet(packet) => return packet,
                    to_radio::PayloadVariant::Heartbeat(_) => {}
                    other => panic!("not a packet: {other:?}"),
                }
            }
        }

        async fn says(&mut self, variant: from::PayloadVariant) {
            let frame = proto::FromRadio {
                id: 0,
                payload_variant: Some(variant),
            };
            self.connection
                .send(&frame.encode_to_vec())
                .await
                .expect("the relay is there");
        }

        /// Answers the question for the configuration as a real radio did.
        async fn shakes_hands(&mut self) {
            let to_radio::PayloadVariant::WantConfigId(nonce) = self.hears().await else {
                panic!("no question")
            };
            for frame in from_radio("chat.a") {
                if frame.bytes[0] == 0x38 {
                    break;
                }
                self.connection
                    .send(&frame.bytes)
                    .await
                    .expect("the relay is there");
            }
            self.says(from::PayloadVariant::ConfigCompleteId(nonce))
                .await;
        }

        async fn takes(&mut self, packet: u32) {
            let (free, maxlen) = (15, 16);
            let status = proto::QueueStatus {
                res: 0,
                free,
                maxlen,
                mesh_packet_id: packet,
            };
            self.says(from::PayloadVariant::QueueStatus(status)).await;
        }
    }

    /// A running adapter, and the queues and pipes around it.
    struct Bench {
        pipes: mpsc::Sender<DuplexStream>,
        submissions: mpsc::Sender<Submission>,
        events: mpsc::Receiver<Event>,
        withdrawals: mpsc::Sender<OutboxId>,
        stop: CancellationToken,
        running: JoinSet<Result<(), RadioError>>,
    }

    impl Bench {
        fn new() -> Self {
            let (pipes, receiver) = mpsc::channel(1);
            let mut options = RadioOptions::over(Wire::Pipes(receiver));
            options.set_time = false;
            options.seed = Some(7);
            let radio = Radio::new(options);
            let (submissions, submitted) = mpsc::channel(4);
            let (told, events) = mpsc::channel(4);
            let (stop, withdrawals) = (CancellationToken::new(), radio.withdrawals());
            let mut running = JoinSet::new();
            running.spawn(radio.run(submitted, told, stop.clone()));
            Self {
                pipes,
                submissions,
                events,
                withdrawals,
                stop,
                running,
            }
        }

        async fn connects(&self) -> Peer {
            let (ours, theirs) = duplex(64);
            self.pipes.send(ours).await.expect("the adapter connects");
            Peer {
                connection: Connection::over(theirs),
            }
        }

        async fn event(&mut self) -> Event {
            timeout(Duration::from_mins(10), self.events.recv())
                .await
                .expect("an event comes")
                .expect("the adapter runs")
        }

        /// Returns the next event that tells neither of nodes nor of what was ignored.
        async fn news(&mut self) -> Event {
            loop {
                match self.event().await {
                    Event::Radio(RadioEvent::Nodes(_) | RadioEvent::Ignored { .. }) => {}
                    other => return other,
                }
            }
        }

        /// Connects a radio and shakes hands with it.
        async fn ready(&mut self) -> Peer {
            let mut peer = self.connects().await;
            peer.shakes_hands().await;
            match self.news().await {
                Event::Radio(RadioEvent::Ready(profile)) => assert_eq!(profile.own.num.0, OWN),
                other => panic!("not ready: {other:?}"),
            }
            peer
        }

        async fn lost(&mut self) -> String {
            match self.news().await {
                Event::Radio(RadioEvent::Lost { cause }) => cause,
                other => panic!("not lost: {other:?}"),
            }
        }

        async fn outcome(&mut self) -> (u32, RadioOutcome) {
            match self.news().await {
                Event::Report(SendReport::Radio {
                    packet, outcome, ..
                }) => (packet.0, outcome),
                other => panic!("not a report: {other:?}"),
            }
        }

        async fn submit(&self, number: u32) {
            let submission = Submission {
                outbox: OutboxId(i64::from(number)),
                packet: PacketId(number),
                message: RadioMessage {
                    destination: Destination::Channel(ChannelIndex::PRIMARY),
                    lane: Lane::Message,
                    payload: RadioPayload::Text {
                        text: "hello".to_owned(),
                        reply_to: None,
                    },
                },
            };
            self.submissions
                .send(submission)
                .await
                .expect("the adapter runs");
        }
    }

    fn received(id: u32) -> from::PayloadVariant {
        let data = proto::Data {
            portnum: 1,
            payload: b"hi".to_vec(),
            ..Default::default()
        };
        from::PayloadVariant::Packet(proto::MeshPacket {
            from: 5,
            to: u32::MAX,
            id,
            payload_variant: Some(mesh_packet::PayloadVariant::Decoded(data)),
            ..Default::default()
        })
    }

    #[tokio::test(start_paused = true)]
    async fn a_text_goes_out_and_another_comes_in() {
        let mut bench = Bench::new();
        let mut peer = bench.ready().await;
        match bench.event().await {
            Event::Radio(RadioEvent::Nodes(nodes)) => assert_eq!(nodes.len(), 3),
            other => panic!("not nodes: {other:?}"),
        }
        bench.submit(7).await;
        let packet = peer.hears_packet().await;
        assert_eq!((packet.from, packet.id, packet.hop_limit), (OWN, 7, 3));
        peer.takes(7).await;
        assert!(matches!(
            bench.outcome().await,
            (7, RadioOutcome::Accepted { .. })
        ));
        peer.says(received(9)).await;
        match bench.news().await {
            Event::Radio(RadioEvent::Text(text)) => assert_eq!(text.packet, PacketId(9)),
            other => panic!("not a text: {other:?}"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn texts_are_just_the_delay_apart() {
        let mut bench = Bench::new();
        let mut peer = bench.ready().await;
        let mut accepted = Vec::new();
        for number in 1..=5 {
            bench.submit(number).await;
            assert_eq!(peer.hears_packet().await.id, number);
            accepted.push(Instant::now());
            peer.takes(number).await;
            assert!(matches!(
                bench.outcome().await,
                (_, RadioOutcome::Accepted { .. })
            ));
        }
        for pair in accepted.windows(2) {
            let (gap, delay) = (pair[1] - pair[0], Duration::from_millis(2050));
            assert!(
                gap >= delay && gap < delay + Duration::from_millis(100),
                "{gap:?}"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_lost_link_is_made_again_and_the_packet_repeated_under_its_id() {
        let mut bench = Bench::new();
        let mut peer = bench.ready().await;
        bench.submit(7).await;
        peer.hears_packet().await;
        drop(peer);
        assert_eq!(bench.lost().await, "the radio closed the connection");
        let (packet, outcome) = bench.outcome().await;
        let again = matches!(
            outcome,
            RadioOutcome::Retry {
                after: Duration::ZERO,
                new_id: false,
                ..
            }
        );
        assert!(again && packet == 7);
        let lost = Instant::now();
        let mut peer = bench.ready().await;
        assert!(lost.elapsed() < Duration::from_secs(2));
        bench.submit(7).await;
        assert_eq!(peer.hears_packet().await.id, 7);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_handed_over_while_the_link_is_away_is_looked_up_again() {
        let mut bench = Bench::new();
        let peer = bench.ready().await;
        drop(peer);
        bench.lost().await;
        bench.submit(7).await;
        let mut peer = bench.connects().await;
        peer.shakes_hands().await;
        assert!(matches!(
            bench.outcome().await,
            (7, RadioOutcome::Retry { written: false, .. })
        ));
        let ready = bench.news().await;
        assert!(matches!(ready, Event::Radio(RadioEvent::Ready(_))));

        peer.says(from::PayloadVariant::Rebooted(true)).await;
        bench.lost().await;
        bench.submit(8).await;
        peer.shakes_hands().await;
        assert!(matches!(
            bench.outcome().await,
            (8, RadioOutcome::Retry { written: false, .. })
        ));
        let ready = bench.news().await;
        assert!(matches!(ready, Event::Radio(RadioEvent::Ready(_))));
        bench.submit(9).await;
        assert_eq!(peer.hears_packet().await.id, 9);
    }

    #[tokio::test(start_paused = true)]
    async fn a_radio_that_falls_silent_is_lost_after_75_seconds() {
        let mut bench = Bench::new();
        let _peer = bench.ready().await;
        let silent = Instant::now();
        assert_eq!(
            bench.lost().await,
            "the radio has been silent for 75 seconds"
        );
        assert_eq!(silent.elapsed().as_secs(), 75);
    }

    #[tokio::test(start_paused = true)]
    async fn a_radio_that_answers_heartbeats_is_kept() {
        let mut bench = Bench::new();
        let mut peer = bench.ready().await;
        for _ in 0..20 {
            assert!(matches!(
                peer.hears().await,
                to_radio::PayloadVariant::Heartbeat(_)
            ));
            peer.takes(0).await;
        }
        bench.submit(7).await;
        assert_eq!(peer.hears_packet().await.id, 7);
    }

    #[tokio::test(start_paused = true)]
    async fn a_radio_that_prints_its_log_is_asked_before_it_gets_more_and_is_not_told_to_be_lost() {
        let mut bench = Bench::new();
        let mut peer = bench.ready().await;
        let line = b"WARN  | 12:00:00 3 [Power] battery low\r\n";
        peer.connection.write(line).await.unwrap();
        sleep(Duration::from_millis(1)).await;
        bench.submit(7).await;
        peer.says(received(9)).await;
        assert!(matches!(
            bench.news().await,
            Event::Radio(RadioEvent::Text(_))
        ));
        peer.shakes_hands().await;
        assert_eq!(peer.hears_packet().await.id, 7);
        peer.takes(7).await;
        assert!(matches!(
            bench.outcome().await,
            (7, RadioOutcome::Accepted { .. })
        ));
    }

    #[tokio::test(start_paused = true)]
    async fn noise_and_false_headers_do_not_end_the_link() {
        let mut bench = Bench::new();
        let mut peer = bench.connects().await;
        peer.connection
            .write(b"boot\r\n\x94\x94\xC3\xFF\xFF")
            .await
            .unwrap();
        peer.shakes_hands().await;
        assert!(matches!(
            bench.news().await,
            Event::Radio(RadioEvent::Ready(_))
        ));
        // It claims 500 bytes and swallows what follows, for a while.
        peer.connection.write(b"\x94\xC3\x01\xF4").await.unwrap();
        peer.says(received(9)).await;
        assert!(matches!(
            bench.news().await,
            Event::Radio(RadioEvent::Text(_))
        ));
    }

    #[tokio::test(start_paused = true)]
    async fn a_link_that_keeps_dying_is_told_to_be_another_clients() {
        let mut bench = Bench::new();
        let mut causes = Vec::new();
        for _ in 0..4 {
            drop(bench.ready().await);
            causes.push(bench.lost().await);
        }
        assert!(!causes[1].contains("another client"));
        assert!(causes[2].contains("another client"));
    }

    #[tokio::test(start_paused = true)]
    async fn causes_that_take_turns_are_told_once_until_the_radio_is_back() {
        let mut bench = Bench::new();
        for _ in 0..2 {
            drop(bench.ready().await);
            assert_eq!(bench.lost().await, "the radio closed the connection");
            for _ in 0..10 {
                let (ours, theirs) = duplex(64);
                drop(theirs);
                bench.pipes.send(ours).await.unwrap();
                let mut peer = bench.connects().await;
                peer.hears().await;
            }
            let cause = bench.lost().await;
            assert!(cause.contains("cannot write"), "{cause}");
        }
        bench.ready().await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_radio_behind_a_proxy_that_only_hangs_up_while_it_is_away_is_not_another_clients() {
        let mut bench = Bench::new();
        for _ in 0..8 {
            let back = Instant::now();
            let mut peer = bench.connects().await;
            peer.shakes_hands().await;
            loop {
                match bench.news().await {
                    Event::Radio(RadioEvent::Ready(_)) => break,
                    Event::Radio(RadioEvent::Lost { cause }) => {
                        assert!(!cause.contains("another client"), "{cause}");
                    }
                    other => panic!("neither ready nor lost: {other:?}"),
                }
            }
            assert!(back.elapsed() <= Duration::from_secs(3));
            sleep(Duration::from_secs(5)).await;
            drop(peer);
            for _ in 0..3 {
                drop(bench.connects().await);
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_the_radio_said_before_a_write_failed_is_taken() {
        let mut bench = Bench::new();
        let (ours, theirs) = duplex(16 * 1024);
        bench.pipes.send(ours).await.unwrap();
        let mut peer = Peer {
            connection: Connection::over(theirs),
        };
        peer.shakes_hands().await;
        assert!(matches!(
            bench.news().await,
            Event::Radio(RadioEvent::Ready(_))
        ));
        bench.submit(7).await;
        for number in 1..=12 {
            peer.says(received(number)).await;
        }
        drop(peer);
        // The daemon's disk is slow meanwhile, and its queue is full.
        sleep(Duration::from_secs(20)).await;
        let mut texts = Vec::new();
        let cause = loop {
            match bench.news().await {
                Event::Radio(RadioEvent::Text(text)) => texts.push(text.packet.0),
                Event::Radio(RadioEvent::Lost { cause }) => break cause,
                other => panic!("neither a text nor the end: {other:?}"),
            }
        };
        assert!(cause.contains("cannot write"), "{cause}");
        assert_eq!(texts, (1..=12).collect::<Vec<_>>());
    }

    #[tokio::test(start_paused = true)]
    async fn what_the_radio_says_between_a_restart_and_the_end_of_the_link_is_taken() {
        for stops in [false, true] {
            let mut bench = Bench::new();
            let mut peer = bench.ready().await;
            peer.says(from::PayloadVariant::Rebooted(true)).await;
            assert_eq!(bench.lost().await, "the radio rebooted");
            for number in 1..=5 {
                peer.says(received(number)).await;
            }
            if stops {
                bench.stop.cancel();
            } else {
                drop(peer);
            }
            for number in 1..=5 {
                match bench.news().await {
                    Event::Radio(RadioEvent::Text(text)) => {
                        assert_eq!(text.packet, PacketId(number));
                    }
                    other => panic!("not a text: {other:?}"),
                }
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_radio_that_was_ready_just_when_its_link_was_lost_is_told_to_be_lost() {
        let mut bench = Bench::new();
        drop(bench.ready().await);
        bench.lost().await;
        for _ in 0..2 {
            let (ours, theirs) = duplex(16 * 1024);
            bench.pipes.send(ours).await.unwrap();
            let mut peer = Peer {
                connection: Connection::over(theirs),
            };
            let to_radio::PayloadVariant::WantConfigId(nonce) = peer.hears().await else {
                panic!("no question")
            };
            // The first answer lacks the channels: asking once more fails, while the second one waits to be read.
            for (question, lacks_channels) in [(nonce, true), (nonce + 1, false)] {
                let answer = from_radio("chat.a").into_iter().map(|frame| frame.bytes);
                for frame in answer.take_while(|frame| frame[0] != 0x38) {
                    if !(lacks_channels && frame[0] == 0x52) {
                        peer.connection.send(&frame).await.unwrap();
                    }
                }
                peer.says(from::PayloadVariant::ConfigCompleteId(question))
                    .await;
            }
            peer.says(received(9)).await;
            drop(peer);
            assert!(matches!(
                bench.news().await,
                Event::Radio(RadioEvent::Ready(_))
            ));
            assert!(matches!(
                bench.news().await,
                Event::Radio(RadioEvent::Text(_))
            ));
            let cause = bench.lost().await;
            assert!(cause.contains("cannot write"), "{cause}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_stop_waits_for_the_packet_on_its_way_and_takes_leave() {
        let mut bench = Bench::new();
        let mut peer = bench.ready().await;
        bench.submit(7).await;
        peer.hears_packet().await;
        bench.stop.cancel();
        sleep(Duration::from_secs(1)).await;
        peer.takes(7).await;
        assert!(matches!(
            bench.outcome().await,
            (7, RadioOutcome::Accepted { .. })
        ));
        assert_eq!(
            peer.hears().await,
            to_radio::PayloadVariant::Disconnect(true)
        );
        assert!(matches!(bench.running.join_next().await, Some(Ok(Ok(())))));
    }

    #[tokio::test(start_paused = true)]
    async fn what_the_radio_says_before_it_knows_of_the_stop_is_taken() {
        let mut bench = Bench::new();
        let mut peer = bench.ready().await;
        bench.stop.cancel();
        assert_eq!(
            peer.hears().await,
            to_radio::PayloadVariant::Disconnect(true)
        );
        peer.says(received(9)).await;
        match bench.news().await {
            Event::Radio(RadioEvent::Text(text)) => assert_eq!(text.packet, PacketId(9)),
            other => panic!("not a text: {other:?}"),
        }
        assert!(matches!(bench.running.join_next().await, Some(Ok(Ok(())))));
    }

    #[tokio::test(start_paused = true)]
    async fn a_stop_does_not_wait_for_ever() {
        let mut bench = Bench::new();
        let mut peer = bench.ready().await;
        bench.submit(7).await;
        peer.hears_packet().await;
        bench.stop.cancel();
        assert!(matches!(
            bench.outcome().await,
            (7, RadioOutcome::Retry { new_id: false, .. })
        ));
        assert_eq!(
            peer.hears().await,
            to_radio::PayloadVariant::Disconnect(true)
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_withdrawn_row_is_not_sent() {
        let mut bench = Bench::new();
        let mut peer = bench.ready().await;
        bench.submit(1).await;
        bench.submit(2).await;
        assert_eq!(peer.hears_packet().await.id, 1);
        bench.withdrawals.send(OutboxId(2)).await.unwrap();
        assert!(matches!(
            bench.outcome().await,
            (2, RadioOutcome::Retry { .. })
        ));
        peer.takes(1).await;
        bench.submit(3).await;
        assert_eq!(peer.hears_packet().await.id, 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a_daemon_that_takes_no_events_ends_the_adapter() {
        let Bench {
            pipes,
            events,
            mut running,
            ..
        } = Bench::new();
        drop(events);
        let (ours, mut theirs) = duplex(64);
        pipes.send(ours).await.unwrap();
        theirs.write_all(b"\x94\xC3\x00\x01\xFF").await.unwrap();
        let ended = running.join_next().await;
        assert!(matches!(ended, Some(Ok(Err(RadioError::EventsClosed)))));
        theirs.read_to_end(&mut Vec::new()).await.unwrap();
    }
}
