//! The conversation on one connection: what is read goes to the session, what that and the pacer want is done.

use std::time::Duration;

use futures_util::future::OptionFuture;
use tokio::time::{Instant, sleep_until};
use tracing::{debug, info, trace, warn};

use relay_model::{Event, RadioEvent, RadioProfile};
use relay_wire::codec::{Item, WAKE};

use super::connection::Connection;
use super::console::{self, Console, Line};
use super::driver::Driver;
use super::error::{End, Loss};
use super::link::LinkState;
use super::moment::Moment;
use super::session::Output;

/// How long a packet on its way may keep a stop waiting; the whole stop has 5 s, with the two of `driver.rs`.
const STOP_LIMIT: Duration = Duration::from_secs(3);

/// Handing an event to the daemon takes no longer unless its disk is in trouble.
const OWN_STALL: Duration = Duration::from_secs(1);

impl Driver {
    /// The conversation on one connection. `Ok` when the daemon stops and nothing is on its way.
    pub(super) async fn converse(&mut self, connection: &mut Connection) -> Result<(), End> {
        let outputs = self.session.on_time(Moment::now(&self.clock));
        self.carry_out(outputs, Some(connection)).await?;
        let mut console = Console::default();
        let stop = self.stop.clone();
        let mut stop_limit = None;
        loop {
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
                () = stop.cancelled(), if stop_limit.is_none() => {
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
            if began.elapsed() > OWN_STALL {
                // It was us who were slow (a full disk?): what waits in the link is read before its silence is judged.
                continue;
            }
            let due = self.session.on_time(Moment::now(&self.clock));
            self.carry_out(due, Some(connection)).await?;
        }
    }

    pub(super) fn on_frame(&mut self, frame: &[u8]) -> Vec<Output> {
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
    pub(super) async fn carry_out(
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

    /// The link is ready: texts may cross.
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
}
