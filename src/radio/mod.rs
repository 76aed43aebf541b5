//! The radio's side: one link, its session and its pace.
//!
//! [`Radio::run`] joins a [`Connection`] (bytes), a [`Session`] (what frames mean), a [`Pacer`] (what may be sent when)
//! and a [`NodeDb`] (who is who). The last three are pure; whatever waits, and both clocks, stand here.

mod acks;
mod answer;
pub mod codec;
mod connection;
mod handshake;
mod moment;
mod nodedb;
mod pacer;
mod ports;
pub mod proto;
mod reconnect;
mod session;
mod tcp;
mod translate;

use std::error::Error as _;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, trace, warn};

use crate::config;
use crate::model::{Event, Node, OutboxId, RadioEvent, Timestamp};

pub use acks::Acks;
pub use answer::{Answer, Verdict};
pub use connection::{Connection, ConnectionError, Wire};
pub use moment::Moment;
pub use nodedb::{News, NodeDb};
pub use pacer::{Pacer, Submission};
pub use session::{Output, Session, SessionOptions, disconnect};

use codec::Item;
use reconnect::Reconnect;

/// How long a packet on its way may keep a stop waiting; the whole stop has 5 s.
const STOP_LIMIT: Duration = Duration::from_secs(4);

/// Withdrawals that wait to be noticed.
const WITHDRAWALS: usize = 64;

/// Why the radio's side cannot work.
#[derive(Debug, thiserror::Error)]
pub enum RadioError {
    /// The wire is not built yet.
    #[error("a radio cannot be reached by {0} yet: use `connection_type: tcp`")]
    NoSuchWire(&'static str),
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
    /// When the radio took a text of ours last.
    pub last_accepted: Option<Timestamp>,
    /// For random numbers that are the same in every run of a test.
    pub seed: Option<u64>,
}

impl RadioOptions {
    /// Takes them from the configuration, with nothing known from before.
    ///
    /// # Errors
    ///
    /// When the configured wire is not built yet.
    pub fn new(config: &config::Meshtastic) -> Result<Self, RadioError> {
        let wire = match &config.connection {
            config::Connection::Tcp { host, port } => Wire::Tcp {
                host: host.clone(),
                port: *port,
            },
            config::Connection::Serial { .. } => return Err(RadioError::NoSuchWire("serial")),
            config::Connection::Ble { .. } => return Err(RadioError::NoSuchWire("Bluetooth")),
        };
        Ok(Self {
            message_delay: config.message_delay,
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
            set_time: true,
            chat_ports: Vec::new(),
            nodes: Vec::new(),
            last_accepted: None,
            seed: None,
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
    told_cause: Option<String>,
}

/// Why a connection is no longer served.
enum End {
    /// The link is lost; why.
    Lost(String),
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
        let now = Moment::now();
        Self {
            session_options: SessionOptions {
                set_time: options.set_time,
                chat_ports: options.chat_ports,
                wake_pause: options.wire.wake_pause(),
            },
            wire: options.wire,
            pacer: Pacer::new(options.message_delay, options.last_accepted, now),
            nodes: NodeDb::new(options.nodes),
            reconnect: Reconnect::default(),
            random: options
                .seed
                .map_or_else(rand::make_rng, StdRng::seed_from_u64),
            withdraw,
            withdrawals,
            told_cause: None,
        }
    }

    /// Returns where to name rows that are to be given back if they wait here still: they are reported as
    /// [`RadioOutcome::Retry`](crate::model::RadioOutcome::Retry) without delay, to be looked up again.
    #[must_use]
    pub fn withdrawals(&self) -> mpsc::Sender<OutboxId> {
        self.withdraw.clone()
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
            let connected = tokio::select! {
                () = ends.stop.cancelled() => return Ok(()),
                connected = self.wire.connect() => connected,
            };
            let end = match connected {
                Ok(connection) => {
                    debug!("connected to the radio, asking for its configuration");
                    self.serve(connection, &mut ends).await
                }
                Err(error) => End::Lost(with_causes(&error)),
            };
            let end = match end {
                End::Lost(cause) => self.lost(cause, &ends).await.err(),
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
    async fn lost(&mut self, cause: String, ends: &Ends) -> Result<(), End> {
        let next = self
            .reconnect
            .on_lost(Instant::now().into_std(), self.random.random());
        let news = self.told_cause.as_ref() != Some(&cause);
        let delay_ms = u64::try_from(next.delay.as_millis()).unwrap_or(u64::MAX);
        let cause = if next.another_client {
            format!(
                "{cause}: another client uses this radio, which can have only one (a phone app?)"
            )
        } else {
            cause
        };
        if news {
            warn!(cause, delay_ms, "no link to the radio, trying again");
            ends.tell(Event::Radio(RadioEvent::Lost {
                cause: cause.clone(),
            }))
            .await?;
        } else {
            debug!(cause, delay_ms, "still no link to the radio, trying again");
        }
        self.told_cause = Some(cause);
        self.pacer.on_lost();
        self.report(ends).await?;
        tokio::select! {
            () = ends.stop.cancelled() => Err(End::Stopped),
            () = sleep(next.delay) => Ok(()),
        }
    }

    /// Serves a connection until its end, or the daemon's.
    async fn serve(&mut self, mut connection: Connection, ends: &mut Ends) -> End {
        let now = Moment::now();
        let mut session = Session::new(
            self.session_options.clone(),
            self.random.random(),
            now.instant,
        );
        let outputs = session.start(now);
        let served = self
            .converse(&mut connection, &mut session, outputs, ends)
            .await;
        let end = served.err().unwrap_or(End::Stopped);
        if matches!(end, End::Stopped | End::EventsClosed) {
            // The radio may be gone already, then there is nobody to tell.
            let bye = timeout(Duration::from_secs(1), connection.send(&disconnect())).await;
            if matches!(bye, Ok(Ok(()))) {
                info!("disconnected from the radio");
            }
        }
        let skipped = connection.skipped();
        if skipped > 0 {
            debug!(skipped, "bytes outside frames on this connection");
        }
        end
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
        let stop = ends.stop.clone();
        let mut stop_limit = None;
        loop {
            self.send_next(connection, session).await?;
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
                    Ok(Item::Frame(frame)) => self.on_frame(&frame, session),
                    Ok(Item::Log(bytes)) => {
                        trace!(size = bytes.len(), "bytes outside frames");
                        Vec::new()
                    }
                    Err(error) => return Err(lost(&error)),
                },
                () = sleep_until(deadline) => Vec::new(),
            };
            self.carry_out(outputs, connection, ends).await?;
            let due = session.on_time(Moment::now());
            self.carry_out(due, connection, ends).await?;
        }
    }

    fn on_frame(&mut self, frame: &[u8], session: &mut Session) -> Vec<Output> {
        let now = Moment::now();
        self.pacer.on_frame(now.instant);
        session.on_frame(frame, &mut self.nodes, now)
    }

    fn deadline(&self, session: &Session, stop_limit: Option<Instant>) -> Instant {
        let now = Instant::now().into_std();
        let nodes = self.nodes.deadline(now).filter(|_| session.is_ready());
        [Some(session.deadline()), self.pacer.deadline(), nodes]
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
        ends: &Ends,
    ) -> Result<(), End> {
        for output in outputs {
            match output {
                Output::Wake => connection.wake().await.map_err(|error| lost(&error))?,
                Output::Frame(frame) => connection
                    .send(&frame)
                    .await
                    .map_err(|error| lost(&error))?,
                Output::Answer(answer) => self.pacer.on_answer(answer, Moment::now()),
                Output::Event(event) => {
                    if let RadioEvent::Ready(profile) = &event {
                        let may_transmit = profile.region_set && profile.transmit_enabled;
                        self.pacer.on_ready(profile.own.num, may_transmit);
                        self.reconnect.on_ready(Instant::now().into_std());
                        self.told_cause = None;
                        info!(
                            node = %profile.own.num,
                            firmware = %profile.firmware,
                            hop_limit = profile.hop_limit,
                            "radio ready"
                        );
                    }
                    ends.tell(Event::Radio(event)).await?;
                }
                Output::Restarted { cause } => {
                    let cause = cause.to_owned();
                    ends.tell(Event::Radio(RadioEvent::Lost { cause })).await?;
                    self.pacer.on_lost();
                    self.report(ends).await?;
                }
                Output::Lost { cause } => return Err(End::Lost(cause.to_owned())),
            }
        }
        Ok(())
    }

    /// Writes the packet whose turn it is, if it is any packet's.
    async fn send_next(
        &mut self,
        connection: &mut Connection,
        session: &Session,
    ) -> Result<(), End> {
        let Some((packet, message)) = self.pacer.poll(Moment::now()) else {
            return Ok(());
        };
        // Only a ready session has a pacer with a link.
        let Some(frame) = session.send(packet, &message) else {
            return Ok(());
        };
        debug!(%packet, to = %message.destination, size = frame.len(), "packet handed to the radio");
        connection.send(&frame).await.map_err(|error| lost(&error))
    }

    async fn report(&mut self, ends: &Ends) -> Result<(), End> {
        for report in self.pacer.take_reports() {
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
    End::Lost(with_causes(error))
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
