//! One connection to the radio, served from its first frame to its end: received frames go to the session; what the
//! session and the pacer ask for is carried out here.

use std::time::Duration;

use futures_util::future::OptionFuture;
use rand::RngExt as _;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use tracing::{debug, info, trace, warn};

use relay_model::{Event, RadioEvent, RadioProfile};
use relay_wire::codec::{Item, WAKE};

use super::Driver;
use crate::error::{ConnectionEnd, Loss};
use crate::link::LinkState;
use crate::now::Now;
use crate::session::console::{self, Console, Line};
use crate::session::{Output, disconnect};
use crate::wires::stranger::{self, Greeting};
use crate::wires::{Connection, Wire};

/// Maximum time that a packet in flight delays a stop. The whole stop has 5 s, the two limits below included.
const STOP_LIMIT: Duration = Duration::from_secs(3);

/// Maximum time to send the disconnect message.
const GOODBYE: Duration = Duration::from_secs(1);

/// Maximum time for the radio to close the link after the disconnect message.
const FAREWELL: Duration = Duration::from_millis(500);

/// Time to hand an event to the daemon after which this side counts as stalled, for example by a full disk.
const OWN_STALL: Duration = Duration::from_secs(1);

impl Driver {
    /// Serves a connection until it ends or the daemon stops.
    pub(super) async fn serve(&mut self, mut connection: Connection) -> ConnectionEnd {
        let now = Now::of(&self.clock);
        self.session.begin(self.random.random(), now.instant);
        self.greeting = Greeting::default();
        let served = self.converse(&mut connection).await;
        let mut end = served.err().unwrap_or(ConnectionEnd::Stopped);
        if matches!(end, ConnectionEnd::Lost(_))
            && !self.session.has_heard()
            // Only on the network can something other than a radio answer.
            && matches!(self.wire, Wire::Tcp { .. })
            && let Some(who) = stranger::whose(&mut self.greeting, &mut connection).await
            && let Some(error) = self.wire.no_radio(who)
        {
            end = error.into();
        }
        if !self.session.has_heard() {
            // A proxy accepts and closes connections also while the radio is away.
            self.reconnect.on_absent();
        }
        if matches!(end, ConnectionEnd::Lost(_)) && self.session.understands() {
            // After a failed write, frames received earlier may still be unread.
            self.hear_out(&mut connection).await;
        }
        if matches!(end, ConnectionEnd::Stopped | ConnectionEnd::EventsClosed) {
            // An error is ignored: the radio may be gone already.
            let bye = timeout(GOODBYE, connection.send(&disconnect())).await;
            self.hear_out(&mut connection).await;
            if matches!(bye, Ok(Ok(()))) {
                info!("disconnected from the radio");
            }
        }
        let held = self.session.take_held(Now::of(&self.clock));
        // An error is ignored: it means that the daemon receives no more events.
        drop(self.carry_out(held, None).await);
        connection.close().await;
        end
    }

    /// Reads the frames that the radio sent before the disconnect or the loss, since it does not send them again. Waits
    /// at most [`FAREWELL`] for the radio to close, but without limit for the daemon: until it has received an event,
    /// nothing else holds that event.
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

    /// Exchanges frames on one connection. `Ok` when the daemon stops and no packet is in flight.
    async fn converse(&mut self, connection: &mut Connection) -> Result<(), ConnectionEnd> {
        let mut console = Console::default();
        let (mut stop_limit, mut stalled) = (None, false);
        loop {
            if !stalled {
                let due = self.session.on_time(Now::of(&self.clock));
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
            // Submissions before frames: they are few, and a busy mesh must not delay them.
            tokio::select! {
                biased;
                () = self.stop.cancelled(), if stop_limit.is_none() => {
                    self.delivery.pacer.take_no_more();
                    stop_limit = Some(Instant::now() + STOP_LIMIT);
                }
                () = self.delivery.take_next(takes_more) => {}
                item = connection.receive() => match item? {
                    Item::Frame(frame) => {
                        // A frame ends a console line that it interrupts.
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
            // The stall was ours, so the unread bytes are processed before the radio counts as silent.
            stalled = began.elapsed() > OWN_STALL;
        }
    }

    fn on_frame(&mut self, frame: &[u8]) -> Vec<Output> {
        let now = Now::of(&self.clock);
        self.delivery.pacer.on_frame(now.instant);
        let outputs = self.session.on_frame(frame, now);
        if self.session.has_heard() {
            self.link.heard();
        }
        outputs
    }

    /// Logs what the radio prints; a line may show that the radio has forgotten this client.
    fn on_text(&mut self, lines: impl IntoIterator<Item = Line>) -> Vec<Output> {
        let mut kind = None;
        for line in lines {
            debug!(target: console::TARGET, line = line.text, "the radio prints");
            kind = kind.max(line.kind);
        }
        let now = Now::of(&self.clock);
        kind.map_or_else(Vec::new, |kind| self.session.on_line(kind, now))
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

    /// Carries out the session's outputs. `None` is a link that is ending: nothing is written, and the caller reports
    /// the loss.
    async fn carry_out(
        &mut self,
        outputs: Vec<Output>,
        mut link: Option<&mut Connection>,
    ) -> Result<(), ConnectionEnd> {
        // Events are delivered even if a write fails.
        let mut written = Ok(());
        for output in outputs {
            match (output, &mut link) {
                (Output::Event(event), link) => {
                    match &event {
                        RadioEvent::Ready(profile) => {
                            if link.is_some() {
                                self.on_ready(profile).await?;
                            }
                            // From now on each cause of a loss is told anew.
                            self.logged_causes.clear();
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
                    let now = Now::of(&self.clock);
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
                    return Err(ConnectionEnd::Lost(Loss::of_silence(cause, has_heard)));
                }
                (Output::Wake | Output::Frame(_) | Output::Restarted(_) | Output::Lost(_), _) => {}
            }
        }
        written.map_err(ConnectionEnd::from)
    }

    async fn on_ready(&mut self, profile: &RadioProfile) -> Result<(), ConnectionEnd> {
        // Submissions received while the link was being lost return to the outbox.
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

    async fn send_next(&mut self, connection: &mut Connection) -> Result<(), ConnectionEnd> {
        if self.session.is_looking_again() {
            return Ok(());
        }
        let now = Now::of(&self.clock);
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
        debug!(%packet, destination = %message.destination, size = frame.len(), "packet handed to the radio");
        connection.send(&frame).await?;
        Ok(())
    }

    /// During the handshake the nodes arrive one by one; they are published together at its end.
    async fn tell_nodes(&mut self) -> Result<(), ConnectionEnd> {
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
}
