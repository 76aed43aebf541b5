//! One connection to a radio: handshake, heartbeat, liveness, and what each frame means. No I/O, no clock, no
//! random numbers: all of that is handed in.
//!
//! What a frame holds may be secret (the radio's private key, the channels' keys), so nothing of it is logged.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use tracing::{debug, info, warn};

use crate::model::{
    Backoff, Node, NodeNum, PacketId, RadioEvent, RadioMessage, RadioProfile, Timestamp,
};

use super::answer::Answer;
use super::console::{Sign, prints_always, without_text};
use super::doubt::{Doubt, LONGEST_OF_LOG, LONGEST_OF_STARTS, Quiet};
use super::handshake::{Handshake, plain_nonce};
use super::moment::Moment;
use super::nodedb::{News, NodeDb};
use super::proto::{self, MeshPacket, Message as _, from_radio, to_radio, wire};
use super::said::Said;
use super::translate::{self, Context, Translated};

/// On a cable the link needs so long to come to its senses after the wake bytes.
const WAKE_PAUSE: Duration = Duration::from_millis(100);
/// A radio on a cable that has just been plugged in is still starting, and does not hear the first question.
const ASK_EVERY: Duration = Duration::from_secs(2);
/// How long the radio may be silent before its handshake is complete.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(30);
/// How long the whole handshake may take.
const HANDSHAKE_LONGEST: Duration = Duration::from_mins(5);
/// So often a radio is asked whose answer lacked something, before it is taken as it is.
const QUESTIONS: u32 = 3;
/// A radio that transmits nothing, or is locked, may be set right by another client, of which nobody tells us: it is asked
/// again so often.
const MUTE_AGAIN: Duration = Duration::from_mins(10);
/// How often the link is probed.
const HEARTBEAT_EVERY: Duration = Duration::from_secs(30);
/// No frame for so long: the link is lost.
const SILENCE_LIMIT: Duration = Duration::from_secs(75);
/// A radio that answers no heartbeat at all is given twice as long on each further link, up to that: its silence says little,
/// and what is said on the mesh while the link is made again may not be kept.
const LONGEST_SILENCE: Duration = Duration::from_mins(10);
/// So many packets wait for the end of a handshake; firmware holds its own back, so there are hardly any.
const HELD: usize = 64;
/// What a radio does between telling that it rebooted and listening.
const REBOOT_PAUSE: Duration = Duration::from_secs(1);
/// For so long after the handshake the radio may hand over what it kept for us.
const CATCH_UP: Duration = Duration::from_mins(1);
/// A heartbeat with the nonce 1 makes the radio introduce itself to the mesh.
const FIRST_HEARTBEAT: u32 = 2;
/// The radio is given the time again when our clock is off by more from what it was given.
const CLOCK_SLACK: Duration = Duration::from_secs(5);
/// What the radio has dated by the time that it was given before our clock was set may be on its way to us for so long.
const DATED_BEFORE: Duration = Duration::from_secs(10);
/// Before this year 2024 our own clock is not set either.
const PLAUSIBLE_TIME: Timestamp = Timestamp(1_704_067_200_000);

/// `LockdownStatus.state`.
const NEEDS_PROVISION: i32 = 1;
const LOCKED: i32 = 2;
const UNLOCKED: i32 = 3;
const LOCKDOWN_OFF: i32 = 5;

/// `LogRecord.Level`.
const WARNING: i32 = 30;

/// How a session behaves.
#[derive(Debug, Clone, Default)]
pub struct SessionOptions {
    /// The radio is given the time.
    pub set_time: bool,
    /// Further ports that carry text.
    pub chat_ports: Vec<u32>,
    /// The radio is on a cable: it may start anew, or not hear us, without the link's end.
    pub on_cable: bool,
}

/// What a session wants done, in this order.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// Write the wake bytes.
    Wake,
    /// Write a frame.
    Frame(Vec<u8>),
    /// Tell the daemon; [`RadioEvent::Ready`] also tells that packets may be sent.
    Event(RadioEvent),
    /// Tell the pacer.
    Answer(Answer),
    /// The radio starts afresh on the same link: packets on their way are unanswered for ever.
    Restarted(&'static str),
    /// Give the link up.
    Lost(&'static str),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// It is woken then: it may have rebooted.
    Asleep(Instant),
    /// The wake bytes are written; asks for the configuration then.
    Waking(Instant),
    /// Asked; the last frame came then. Asks again then.
    Configuring {
        last: Instant,
        again: Option<Instant>,
    },
    /// It has told everything.
    Idle,
}

/// What outlives a connection.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// How the radio was set up when it was ready last.
    profile: Option<RadioProfile>,
    /// What text of the radio is worth.
    doubt: Doubt,
    /// What signs of a start in it are worth.
    start_doubt: Doubt,
    said: Said,
    /// So many links in a row were lost on which no frame came after a heartbeat.
    mute_links: u32,
}

impl Memory {
    fn silence_limit(&self) -> Duration {
        Backoff::new(SILENCE_LIMIT, LONGEST_SILENCE).after(self.mute_links.saturating_add(1), 0.0)
    }
}

/// One connection to a radio.
#[derive(Debug)]
pub struct Session {
    options: SessionOptions,
    nonce: u32,
    phase: Phase,
    handshake: Handshake,
    /// When it has told everything last; packets may be sent since then, also while it is asked again.
    ready_since: Option<Instant>,
    /// What came when the radio's channels were not known, or not any more; oldest first.
    held: VecDeque<MeshPacket>,
    /// From the connection before, and for the next one.
    pub(super) memory: Box<Memory>,
    /// The radio was asked for its configuration then, and how often for all of it.
    asked_at: Instant,
    questions: u32,
    last_frame: Instant,
    heard: bool,
    /// A frame has come after a heartbeat.
    answers: bool,
    next_heartbeat: Instant,
    heartbeat_nonce: u32,
    /// When it was given the time last.
    time_given: Option<Moment>,
    /// How often it was.
    times_given: u32,
    /// Until then packets are dated by a time that it does not have any more.
    dated_before: Option<Instant>,
    quiet: Quiet,
}

impl Session {
    /// Makes one for a link that has just opened. The nonce is random: an older session's last frame may still come.
    #[must_use]
    pub fn new(options: SessionOptions, random: u32, now: Instant) -> Self {
        Self {
            phase: Phase::Asleep(now),
            options,
            nonce: plain_nonce(random),
            handshake: Handshake::default(),
            ready_since: None,
            held: VecDeque::new(),
            memory: Box::default(),
            asked_at: now,
            questions: 0,
            last_frame: now,
            heard: false,
            answers: false,
            next_heartbeat: now + HEARTBEAT_EVERY,
            heartbeat_nonce: FIRST_HEARTBEAT,
            time_given: None,
            times_given: 0,
            dated_before: None,
            quiet: Quiet::since(now),
        }
    }

    /// Returns whether packets may be sent.
    pub fn is_ready(&self) -> bool {
        self.ready_since.is_some()
    }

    /// Returns whether the radio is asked for its configuration beside its work. It may have forgotten us, and have other
    /// channels: nothing is written until it has answered.
    pub fn is_looking_again(&self) -> bool {
        self.is_ready() && self.phase != Phase::Idle
    }

    /// Returns whether packets of the radio can be understood, if need be by how it was set up before.
    pub(super) fn understands(&self) -> bool {
        self.memory.profile.is_some()
    }

    /// Returns whether the radio has said anything on this link.
    pub fn has_heard(&self) -> bool {
        self.heard
    }

    /// Returns when [`Session::on_time`] wants to be called.
    pub fn deadline(&self) -> Instant {
        match self.phase {
            Phase::Asleep(until) | Phase::Waking(until) => until,
            Phase::Configuring { last, again } => {
                let limit = self.handshake_limit(last);
                again.map_or(limit, |again| again.min(limit))
            }
            Phase::Idle => {
                let silence = self.last_frame + self.memory.silence_limit();
                let due = self.next_heartbeat.min(silence);
                let doubts = [&self.memory.doubt, &self.memory.start_doubt].map(Doubt::deadline);
                let sooner = doubts.into_iter().chain([self.quiet_until()]);
                sooner.flatten().fold(due, Instant::min)
            }
        }
    }

    fn handshake_limit(&self, last: Instant) -> Instant {
        (last + HANDSHAKE_LIMIT).min(self.asked_at + HANDSHAKE_LONGEST)
    }

    /// Returns when a radio is asked again that only says that it is there.
    fn quiet_until(&self) -> Option<Instant> {
        let since = self.ready_since?;
        let is_mute = |profile: &RadioProfile| !profile.region_set || !profile.transmit_enabled;
        if self.profile().is_some_and(is_mute) {
            return Some(since + MUTE_AGAIN);
        }
        // On other links a radio cannot start anew behind our back.
        self.options.on_cable.then(|| self.quiet.deadline())
    }

    fn profile(&self) -> Option<&RadioProfile> {
        self.memory.profile.as_ref().filter(|_| self.is_ready())
    }

    /// Does what is due.
    pub fn on_time(&mut self, now: Moment) -> Vec<Output> {
        match self.phase {
            Phase::Asleep(until) if now.instant >= until => {
                let pause = if self.options.on_cable {
                    WAKE_PAUSE
                } else {
                    Duration::ZERO
                };
                self.phase = Phase::Waking(now.instant + pause);
                let mut outputs = vec![Output::Wake];
                outputs.extend(self.on_time(now));
                outputs
            }
            Phase::Waking(until) if now.instant >= until => {
                self.asked_at = now.instant;
                self.questions = 1;
                self.asks(now.instant, now);
                vec![self.question()]
            }
            Phase::Configuring { last, .. } if now.instant >= self.handshake_limit(last) => {
                vec![Output::Lost(if !self.heard {
                    "nothing that speaks as a radio does answers there"
                } else if now.instant >= last + HANDSHAKE_LIMIT {
                    "the radio did not tell its configuration"
                } else {
                    "the radio did not come to the end of its configuration within 5 minutes"
                })]
            }
            Phase::Configuring {
                last,
                again: Some(again),
            } if now.instant >= again => {
                self.asks(last, now);
                vec![Output::Wake, self.question()]
            }
            Phase::Idle if now.instant >= self.last_frame + self.memory.silence_limit() => {
                let cause = if self.memory.mute_links == 0 {
                    "the radio has been silent for 75 seconds"
                } else {
                    "the radio is silent again, and answers no heartbeat"
                };
                if !self.answers {
                    self.memory.mute_links = self.memory.mute_links.saturating_add(1);
                }
                vec![Output::Lost(cause)]
            }
            Phase::Idle if is_due(self.memory.start_doubt.deadline(), now) => {
                self.on_sign(Sign::Start, now)
            }
            Phase::Idle if is_due(self.memory.doubt.deadline(), now) => {
                self.on_sign(Sign::Log, now)
            }
            Phase::Idle if is_due(self.quiet_until(), now) => {
                self.quiet.asks(now.instant);
                self.look_again("it hands over no packet", now)
            }
            Phase::Idle if now.instant >= self.next_heartbeat => {
                let mut outputs = vec![Output::Frame(self.heartbeat(now.instant))];
                outputs.extend(self.give_time(now));
                outputs
            }
            _ => Vec::new(),
        }
    }

    /// Asks a radio whose last frame came then.
    fn asks(&mut self, last: Instant, now: Moment) {
        let again = self.options.on_cable.then(|| now.instant + ASK_EVERY);
        self.phase = Phase::Configuring { last, again };
    }

    fn question(&self) -> Output {
        frame(to_radio::PayloadVariant::WantConfigId(self.nonce))
    }

    /// Returns a heartbeat to be written now; the next one is due as long after it as after any other.
    pub fn heartbeat(&mut self, now: Instant) -> Vec<u8> {
        self.next_heartbeat = now + HEARTBEAT_EVERY;
        let nonce = self.heartbeat_nonce;
        self.heartbeat_nonce = nonce.checked_add(1).unwrap_or(FIRST_HEARTBEAT);
        encoded(to_radio::PayloadVariant::Heartbeat(proto::Heartbeat {
            nonce,
        }))
    }

    /// Takes a frame that the radio sent.
    pub fn on_frame(&mut self, bytes: &[u8], nodes: &mut NodeDb, now: Moment) -> Vec<Output> {
        let special = wire::FromRadio::decode(bytes);
        let ordinary = match special {
            Ok(wire::FromRadio {
                node_info: None,
                channel: None,
                lockdown_status: None,
            }) => proto::FromRadio::decode(bytes),
            Ok(special) => {
                self.alive(now);
                return self.on_special(special, nodes, now);
            }
            Err(error) => Err(error),
        };
        match ordinary {
            Ok(ordinary) => {
                self.alive(now);
                ordinary
                    .payload_variant
                    .map_or_else(Vec::new, |variant| self.on_variant(variant, nodes, now))
            }
            Err(error) => {
                debug!(size = bytes.len(), %error, "frame ignored, it cannot be decoded");
                vec![ignored("undecodable")]
            }
        }
    }

    fn alive(&mut self, now: Moment) {
        self.last_frame = now.instant;
        self.heard = true;
        if self.heartbeat_nonce != FIRST_HEARTBEAT {
            self.answers = true;
            self.memory.mute_links = 0;
        }
    }

    fn on_special(
        &mut self,
        frame: wire::FromRadio,
        nodes: &mut NodeDb,
        now: Moment,
    ) -> Vec<Output> {
        self.handshake_goes_on(now);
        if let Some(info) = frame.node_info {
            let num = NodeNum(info.num);
            nodes.learn(num, translate::news_of_node(&info, now.wall));
            nodes.learn_details(num, translate::details_of_node(&info));
        }
        if let Some(channel) = frame.channel {
            self.handshake.channel(channel);
        }
        match frame.lockdown_status {
            Some(lockdown) => self.on_lockdown(lockdown.state, now),
            None => Vec::new(),
        }
    }

    fn on_variant(
        &mut self,
        variant: from_radio::PayloadVariant,
        nodes: &mut NodeDb,
        now: Moment,
    ) -> Vec<Output> {
        use from_radio::PayloadVariant as From;
        match variant {
            From::QueueStatus(status) => {
                return vec![Output::Answer(Answer::Queue {
                    packet: PacketId(status.mesh_packet_id),
                    res: status.res,
                    free: status.free,
                    maxlen: status.maxlen,
                })];
            }
            From::Packet(packet) => {
                // Who has forgotten us hands over none.
                self.settle_doubts();
                self.quiet.ends(now.instant);
                return self.on_packet(packet, nodes, now);
            }
            From::Rebooted(_) => return self.restart("the radio rebooted", now),
            From::ConfigCompleteId(nonce) => {
                self.handshake_goes_on(now);
                return self.on_complete(nonce, nodes, now);
            }
            From::ClientNotification(notification) => {
                let (packet, message) = (notification.reply_id, notification.message);
                if !self.memory.said.is_news(&message, now.instant) {
                    debug!(packet, ?message, "the radio has more to say");
                } else if notification.level >= WARNING {
                    warn!(packet, ?message, "the radio warns");
                } else {
                    info!(packet, ?message, "the radio has something to say");
                }
            }
            From::LogRecord(record) => {
                let message = without_text(&record.message);
                debug!(source = ?record.source, ?message, "the radio's own log");
            }
            From::XmodemPacket(_) | From::MqttClientProxyMessage(_) => {}
            part => {
                self.handshake_goes_on(now);
                self.handshake.take(part);
            }
        }
        Vec::new()
    }

    /// Only what belongs to a handshake keeps it from being given up.
    fn handshake_goes_on(&mut self, now: Moment) {
        if let Phase::Configuring { last, again } = &mut self.phase {
            *last = now.instant;
            *again = None;
        }
    }

    fn on_complete(&mut self, nonce: u32, nodes: &mut NodeDb, now: Moment) -> Vec<Output> {
        let asked = matches!(self.phase, Phase::Configuring { .. });
        if !asked || nonce != self.nonce {
            debug!("the end of an older handshake ignored");
            return Vec::new();
        }
        if self.handshake.has_number() && !self.handshake.is_whole() && self.questions < QUESTIONS {
            debug!("a part of the radio's configuration is missing, asking again");
            self.questions += 1;
            self.nonce = plain_nonce(self.nonce.wrapping_add(1));
            return vec![self.question()];
        }
        let Some(profile) = std::mem::take(&mut self.handshake).complete(nodes) else {
            return vec![Output::Lost("the radio did not tell its own number")];
        };
        self.phase = Phase::Idle;
        self.next_heartbeat = now.instant + HEARTBEAT_EVERY;
        let looked_again = self.ready_since.replace(now.instant).is_some();
        if !looked_again {
            self.quiet = Quiet::since(now.instant);
        }
        let before = self.memory.profile.replace(profile.clone());
        if before
            .as_ref()
            .is_some_and(|before| is_another_start(before, &profile))
        {
            (self.memory.doubt, self.memory.start_doubt) = (Doubt::default(), Doubt::default());
        }
        let mut outputs = Vec::new();
        if looked_again && before.is_some_and(|before| is_as_before(before, &profile)) {
            debug!("the radio is as it was");
        } else {
            let ready = RadioEvent::Ready(Box::new(profile));
            outputs.push(Output::Event(ready));
        }
        self.time_given = None;
        outputs.extend(self.give_time(now));
        outputs.extend(self.take_held(nodes, now));
        outputs
    }

    /// Gives the radio the time, once, and again when our clock was set: what it hears is dated by it.
    fn give_time(&mut self, now: Moment) -> Option<Output> {
        let is_told = self.time_given.is_some_and(|given| {
            let shown = given.wall + now.instant.saturating_duration_since(given.instant);
            now.wall.since(shown).max(shown.since(now.wall)) <= CLOCK_SLACK
        });
        if !self.options.set_time || now.wall < PLAUSIBLE_TIME || is_told {
            return None;
        }
        let own = self.last_profile()?.own.num;
        if self.time_given.replace(now).is_some() {
            self.dated_before = Some(now.instant + DATED_BEFORE);
        }
        // Not one of its last ids, which it would ignore.
        self.times_given = self.times_given.wrapping_add(1);
        let id = PacketId(self.nonce.wrapping_add(self.times_given).max(1));
        translate::set_time(own, id, now.wall).map(packet_frame)
    }

    /// Takes what waits for a handshake that will not end on this link: the radio does not say it again. It is understood
    /// by how the radio was set up when it was ready last.
    pub(super) fn take_held(&mut self, nodes: &mut NodeDb, now: Moment) -> Vec<Output> {
        let held = std::mem::take(&mut self.held);
        if !held.is_empty() && self.last_profile().is_none() {
            let packets = held.len();
            warn!(
                packets,
                "what the radio said is lost: it did not tell its channels"
            );
        }
        held.iter()
            .flat_map(|packet| self.translate(packet, nodes, now))
            .collect()
    }

    /// Returns how the radio was set up when it was ready last, unless it is known to be another one now.
    fn last_profile(&self) -> Option<&RadioProfile> {
        let last = self.memory.profile.as_ref();
        last.filter(|last| self.is_ready() || self.handshake.is_of(last.own.num))
    }

    fn on_packet(&mut self, packet: MeshPacket, nodes: &mut NodeDb, now: Moment) -> Vec<Output> {
        if self.is_ready() {
            let mut outputs: Vec<_> = self.give_time(now).into_iter().collect();
            outputs.extend(self.translate(&packet, nodes, now));
            return outputs;
        }
        self.held.push_back(packet);
        let too_many = self.held.len() > HELD;
        let oldest = too_many.then(|| self.held.pop_front()).flatten();
        oldest.map_or_else(Vec::new, |oldest| self.translate(&oldest, nodes, now))
    }

    fn translate(&mut self, packet: &MeshPacket, nodes: &mut NodeDb, now: Moment) -> Vec<Output> {
        let catching_up = self
            .ready_since
            .is_none_or(|since| now.instant < since + CATCH_UP);
        let Some(profile) = self.last_profile() else {
            return vec![ignored("before the handshake's end")];
        };
        let from = NodeNum(packet.from);
        let context = Context {
            own: profile.own.num,
            channels: &profile.channels,
            nodes,
            chat_ports: &self.options.chat_ports,
            catching_up,
            now: now.wall,
        };
        let translated = translate::packet(packet, &context);
        let heard = News {
            last_heard: Some(now.wall),
            ..News::default()
        };
        nodes.learn(from, heard);
        match translated {
            Ok(Translated::Text(mut text)) => {
                let is_dated_before = self.dated_before.is_some_and(|until| now.instant < until);
                if is_dated_before && !catching_up && !text.replayed {
                    text.heard_at = now.wall;
                }
                vec![Output::Event(RadioEvent::Text(text))]
            }
            Ok(Translated::Answer(answer)) => vec![Output::Answer(answer)],
            Ok(Translated::News(num, news)) => {
                nodes.learn(num, news);
                Vec::new()
            }
            Ok(Translated::ChannelUse(percent)) => {
                vec![Output::Event(RadioEvent::ChannelUse { percent })]
            }
            Err(reason) => {
                debug!(node = %from, packet = packet.id, reason, "packet ignored");
                vec![ignored(reason)]
            }
        }
    }

    fn on_lockdown(&mut self, state: i32, now: Moment) -> Vec<Output> {
        if !self.is_ready() {
            return Vec::new();
        }
        match (state, &mut self.memory.profile) {
            (NEEDS_PROVISION | LOCKED, Some(profile)) if !profile.locked => {
                profile.locked = true;
                profile.transmit_enabled = false;
                vec![Output::Event(RadioEvent::Ready(Box::new(profile.clone())))]
            }
            (UNLOCKED | LOCKDOWN_OFF, Some(profile)) if profile.locked => {
                self.restart("the radio was unlocked", now)
            }
            _ => Vec::new(),
        }
    }

    /// Takes a sign, in what the radio prints, that it may have forgotten us. It would answer heartbeats all the same, but
    /// hand over no packet until it is asked for everything.
    pub(super) fn on_sign(&mut self, sign: Sign, now: Moment) -> Vec<Output> {
        let memory = &mut self.memory;
        match &mut self.phase {
            // A radio that prints all the time must not be asked all the time.
            Phase::Idle => match sign {
                Sign::Start if memory.start_doubt.believes(LONGEST_OF_STARTS, now.instant) => {
                    debug!("looking whether the radio has started anew, as it prints");
                    self.asks_anew(now.instant + REBOOT_PAUSE);
                    Vec::new()
                }
                Sign::Log
                    if !(memory.profile.as_ref()).is_some_and(|it| prints_always(&it.firmware))
                        && memory.doubt.believes(LONGEST_OF_LOG, now.instant) =>
                {
                    self.look_again("it prints its log", now)
                }
                Sign::Start | Sign::Log => Vec::new(),
            },
            // It had begun to answer, and has forgotten the question.
            Phase::Configuring {
                again: again @ None,
                ..
            } => {
                let cable = self.options.on_cable;
                *again = cable.then(|| now.instant + REBOOT_PAUSE);
                Vec::new()
            }
            Phase::Asleep(_) | Phase::Waking(_) | Phase::Configuring { .. } => Vec::new(),
        }
    }

    /// Everything that was told is told again: channels may have new places. Until it has been, nobody needs to know of
    /// a further restart.
    fn restart(&mut self, cause: &'static str, now: Moment) -> Vec<Output> {
        self.asks_anew(now.instant + REBOOT_PAUSE);
        if self.ready_since.take().is_none() {
            debug!(cause, "the radio has restarted before it was ready");
            return Vec::new();
        }
        info!(cause, "asking the radio for its configuration again");
        vec![Output::Restarted(cause)]
    }

    /// Asks a radio again that may have forgotten us, or is another one now; nobody is told unless it is.
    fn look_again(&mut self, cause: &str, now: Moment) -> Vec<Output> {
        debug!(cause, "looking whether the radio is as it was");
        self.asks_anew(now.instant);
        self.on_time(now)
    }

    fn settle_doubts(&mut self) {
        self.memory.doubt.settle();
        self.memory.start_doubt.settle();
    }

    fn asks_anew(&mut self, at: Instant) {
        self.phase = Phase::Asleep(at);
        self.settle_doubts();
        self.nonce = plain_nonce(self.nonce.wrapping_add(1));
        self.handshake = Handshake::default();
    }

    /// Returns the frame that carries a message; `None` before the handshake's end.
    pub fn send(&self, packet: PacketId, message: &RadioMessage) -> Option<Vec<u8>> {
        let profile = self.profile()?;
        let packet = translate::outgoing(profile.own.num, profile.hop_limit, packet, message);
        Some(encoded(to_radio::PayloadVariant::Packet(packet)))
    }
}

/// Returns the frame that ends a session: only then does the radio keep for us what comes meanwhile.
pub fn disconnect() -> Vec<u8> {
    encoded(to_radio::PayloadVariant::Disconnect(true))
}

fn is_due(at: Option<Instant>, now: Moment) -> bool {
    at.is_some_and(|at| now.instant >= at)
}

/// Returns whether what the radio printed meant something: it has started since, or is another one.
fn is_another_start(before: &RadioProfile, now: &RadioProfile) -> bool {
    let start_of = |profile: &RadioProfile| (profile.own.num, profile.reboot_count);
    start_of(before) != start_of(now)
}

/// Returns whether nobody needs to know what the radio has told.
fn is_as_before(before: RadioProfile, now: &RadioProfile) -> bool {
    let own = Node {
        last_heard: now.own.last_heard,
        ..before.own
    };
    RadioProfile { own, ..before } == *now
}

fn ignored(reason: &'static str) -> Output {
    Output::Event(RadioEvent::Ignored { reason })
}

fn packet_frame(packet: MeshPacket) -> Output {
    frame(to_radio::PayloadVariant::Packet(packet))
}

fn frame(variant: to_radio::PayloadVariant) -> Output {
    Output::Frame(encoded(variant))
}

fn encoded(variant: to_radio::PayloadVariant) -> Vec<u8> {
    proto::ToRadio {
        payload_variant: Some(variant),
    }
    .encode_to_vec()
}

#[cfg(test)]
mod tests;
