//! One connection to the radio, until its end: what is read goes to the session, what that and the pacer want is done.

use std::time::Duration;

use futures_util::future::OptionFuture;
use rand::RngExt as _;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use tracing::{debug, info, trace, warn};

use relay_model::{Event, RadioEvent, RadioOutcome, RadioProfile, SendReport};

use super::connection::{Connection, Loss, Wire};
use super::console::{self, Console, Line};
use super::link::LinkState;
use super::moment::Moment;
use super::session::{Output, disconnect};
use super::stranger::{self, Greeting};
use super::{End, Ends, Radio};
use relay_wire::codec::{Item, WAKE};

/// How long a packet on its way may keep a stop waiting; the whole stop has 5 s, with the two below.
const STOP_LIMIT: Duration = Duration::from_secs(3);

/// How long telling the radio that we leave may take.
const GOODBYE: Duration = Duration::from_secs(1);

/// Handing an event to the daemon takes no longer unless its disk is in trouble.
const OWN_STALL: Duration = Duration::from_secs(1);

/// How long a radio may take to close the link after we have left.
const FAREWELL: Duration = Duration::from_millis(500);

impl Radio {
    /// Serves a connection until its end, or the daemon's.
    pub(super) async fn serve(&mut self, mut connection: Connection, ends: &mut Ends) -> End {
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
            let bye = timeout(GOODBYE, connection.send(&disconnect())).await;
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
            let due = self.deadline(stop_limit);
            let due = due.map(|due| sleep_until(Instant::from_std(due)));
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
                Some(()) = OptionFuture::from(due) => {}
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

    fn deadline(&self, stop_limit: Option<Instant>) -> Option<std::time::Instant> {
        let (now, session) = (Instant::now().into_std(), &self.session);
        let writes = !session.is_looking_again();
        let times = [
            session.deadline(),
            self.pacer.deadline().filter(|_| writes),
            self.pacer.prompt_deadline().filter(|_| writes),
            self.pacer.traffic.closed_until(now),
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
                    let loss = Loss::of_silence(cause, true);
                    self.link.lost(&loss);
                    self.link.step(LinkState::Configuring);
                    ends.tell(loss.into()).await?;
                    self.give_back(ends).await?;
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

    pub(super) async fn report(&mut self, ends: &Ends) -> Result<(), End> {
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
