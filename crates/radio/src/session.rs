//! One connection to a radio: handshake, heartbeat, liveness, and what each frame means. No I/O, no clock, no
//! random numbers: all of that is handed in. `timers.rs` holds what is due when, `due.rs` does it, what the mesh says in `packets.rs`.
//!
//! What a frame holds may be secret (the radio's private key, the channels' keys), so nothing of it is logged.

pub(crate) mod console;
mod doubt;
mod due;
mod handshake;
mod packets;
mod said;
mod timers;

use std::collections::VecDeque;
use std::time::Instant;

use tracing::{debug, info, warn};

use relay_model::{NodeNum, PacketId, RadioEvent, RadioMessage, RadioProfile};

use super::mesh::nodedb::NodeDb;
use super::mesh::translate;
use super::moment::Moment;
use super::pacer::answer::Answer;
use console::{Sign, prints_always, without_text};
use doubt::{Doubt, OF_LOG, OF_STARTS, Quiet};
use handshake::{Handshake, plain_nonce};
use relay_wire::proto::from_radio::PayloadVariant as FromRadio;
use relay_wire::proto::log_record::Level;
use relay_wire::proto::to_radio::PayloadVariant as ToRadio;
use relay_wire::proto::wire::lockdown_status::State;
use relay_wire::proto::{self, MeshPacket, Message as _, wire};
use said::Said;

pub use timers::HANDSHAKE_LIMIT;

use timers::{HEARTBEAT_EVERY, REBOOT_PAUSE, Timer, Timers};

/// So often a radio is asked whose answer lacked something, before it is taken as it is.
const QUESTIONS: u32 = 3;
/// A heartbeat with the nonce 1 makes the radio introduce itself to the mesh.
const FIRST_HEARTBEAT: u32 = 2;

/// How a session behaves.
#[derive(Debug, Clone, Default)]
pub struct SessionOptions {
    /// The radio is given the time.
    pub set_time: bool,
    /// Further ports that carry text.
    pub chat_ports: Vec<u32>,
    /// The radio is on a cable: it prints text between frames, does not notice who comes and goes, and may start anew, or not
    /// hear us, without the link's end.
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
    /// It is woken, as it may have rebooted, and then asked for its configuration.
    Waking,
    /// Asked.
    Configuring,
    /// It has told everything.
    Idle,
}

/// What outlives a connection.
#[derive(Debug, Default)]
struct Memory {
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

/// One connection to a radio, and after it the next one.
#[derive(Debug)]
pub struct Session {
    options: SessionOptions,
    /// The nodes that the radio told of.
    pub nodes: NodeDb,
    nonce: u32,
    phase: Phase,
    timers: Timers,
    handshake: Handshake,
    /// When it has told everything last; packets may be sent since then, also while it is asked again.
    ready_since: Option<Instant>,
    /// What came when the radio's channels were not known, or not any more; oldest first.
    held: VecDeque<MeshPacket>,
    memory: Memory,
    /// How often the radio was asked for all of its configuration.
    questions: u32,
    heard: bool,
    /// A frame has come after a heartbeat.
    answers: bool,
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
    pub fn new(options: SessionOptions, random: u32, now: Instant) -> Self {
        Self {
            phase: Phase::Waking,
            timers: Timers::from([(Timer::Wake, now)]),
            options,
            nodes: NodeDb::default(),
            nonce: plain_nonce(random),
            handshake: Handshake::default(),
            ready_since: None,
            held: VecDeque::new(),
            memory: Memory::default(),
            questions: 0,
            heard: false,
            answers: false,
            heartbeat_nonce: FIRST_HEARTBEAT,
            time_given: None,
            times_given: 0,
            dated_before: None,
            quiet: Quiet::since(now),
        }
    }

    /// Begins anew on another link, with what is known from the one before.
    pub(super) fn begin(&mut self, random: u32, now: Instant) {
        *self = Self {
            nodes: std::mem::take(&mut self.nodes),
            memory: std::mem::take(&mut self.memory),
            ..Self::new(std::mem::take(&mut self.options), random, now)
        };
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

    fn profile(&self) -> Option<&RadioProfile> {
        self.memory.profile.as_ref().filter(|_| self.is_ready())
    }

    /// Takes a frame that the radio sent.
    pub fn on_frame(&mut self, bytes: &[u8], now: Moment) -> Vec<Output> {
        let special = wire::FromRadio::decode(bytes);
        let ordinary = match special {
            Ok(special) if special == wire::FromRadio::default() => proto::FromRadio::decode(bytes),
            Ok(special) => {
                self.alive(now);
                return self.on_special(special, now);
            }
            Err(error) => Err(error),
        };
        match ordinary {
            Ok(ordinary) => {
                self.alive(now);
                let variant = ordinary.payload_variant;
                variant.map_or_else(Vec::new, |variant| self.on_variant(variant, now))
            }
            Err(error) => {
                debug!(size = bytes.len(), %error, "frame ignored, it cannot be decoded");
                vec![ignored("undecodable")]
            }
        }
    }

    fn alive(&mut self, now: Moment) {
        self.heard = true;
        if self.heartbeat_nonce != FIRST_HEARTBEAT {
            self.answers = true;
            self.memory.mute_links = 0;
        }
        if self.phase == Phase::Idle {
            self.is_heard(now);
        }
    }

    fn on_special(&mut self, frame: wire::FromRadio, now: Moment) -> Vec<Output> {
        self.handshake_goes_on(now);
        if let Some(info) = frame.node_info {
            let num = NodeNum(info.num);
            let news = translate::news_of_node(&info, now.wall);
            self.nodes.learn(num, news);
            self.nodes
                .learn_details(num, translate::details_of_node(&info));
        }
        if let Some(channel) = frame.channel {
            self.handshake.channel(channel);
        }
        match frame.lockdown_status {
            Some(lockdown) => self.on_lockdown(lockdown.state(), now),
            None => Vec::new(),
        }
    }

    fn on_variant(&mut self, variant: FromRadio, now: Moment) -> Vec<Output> {
        match variant {
            FromRadio::QueueStatus(status) => {
                return vec![Output::Answer(Answer::Queue {
                    packet: PacketId(status.mesh_packet_id),
                    res: status.res,
                    free: status.free,
                    maxlen: status.maxlen,
                })];
            }
            FromRadio::Packet(packet) => {
                // Who has forgotten us hands over none.
                self.timers.remove(&Timer::BelieveStart);
                self.timers.remove(&Timer::BelieveLog);
                self.quiet.ends(now.instant);
                self.watch_quiet();
                return self.on_packet(packet, now);
            }
            FromRadio::Rebooted(_) => return self.restart("the radio rebooted", now),
            FromRadio::ConfigCompleteId(nonce) => {
                self.handshake_goes_on(now);
                return self.on_complete(nonce, now);
            }
            FromRadio::ClientNotification(notification) => {
                let (packet, message) = (notification.reply_id, notification.message);
                if !self.memory.said.is_news(&message, now.instant) {
                    debug!(packet, ?message, "the radio has more to say");
                } else if notification.level >= Level::Warning.into() {
                    warn!(packet, ?message, "the radio warns");
                } else {
                    info!(packet, ?message, "the radio has something to say");
                }
            }
            FromRadio::LogRecord(record) => {
                let message = without_text(&record.message);
                debug!(source = ?record.source, ?message, "the radio's own log");
            }
            FromRadio::XmodemPacket(_) | FromRadio::MqttClientProxyMessage(_) => {}
            part => {
                self.handshake_goes_on(now);
                self.handshake.take(part);
            }
        }
        Vec::new()
    }

    /// Only what belongs to a handshake keeps it from being given up.
    fn handshake_goes_on(&mut self, now: Moment) {
        if self.phase == Phase::Configuring {
            self.timers.remove(&Timer::AskAgain);
            self.is_told(now);
        }
    }

    fn on_complete(&mut self, nonce: u32, now: Moment) -> Vec<Output> {
        if self.phase != Phase::Configuring || nonce != self.nonce {
            debug!("the end of an older handshake ignored");
            return Vec::new();
        }
        if self.handshake.has_gaps() && self.questions < QUESTIONS {
            debug!("a part of the radio's configuration is missing, asking again");
            self.questions += 1;
            self.nonce = plain_nonce(self.nonce.wrapping_add(1));
            return vec![self.question()];
        }
        let Some(profile) = std::mem::take(&mut self.handshake).complete(&self.nodes) else {
            return vec![Output::Lost("the radio did not tell its own number")];
        };
        self.phase = Phase::Idle;
        let heartbeat_at = now.instant + HEARTBEAT_EVERY;
        self.timers = Timers::from([(Timer::Heartbeat, heartbeat_at)]);
        self.is_heard(now);
        let looked_again = self.ready_since.replace(now.instant).is_some();
        if !looked_again {
            self.quiet = Quiet::since(now.instant);
        }
        let before = self.memory.profile.replace(profile.clone());
        self.watch_quiet();
        let start_of = |it: &RadioProfile| (it.own.num, it.reboot_count);
        if before.as_ref().map(start_of) != Some(start_of(&profile)) {
            // What it printed meant something, if it printed: it has started since, or is another one.
            (self.memory.doubt, self.memory.start_doubt) = (Doubt::default(), Doubt::default());
        }
        let mut outputs = Vec::new();
        let is_as_before = |mut before: RadioProfile| {
            before.own.last_heard = profile.own.last_heard;
            before == profile
        };
        if looked_again && before.is_some_and(is_as_before) {
            debug!("the radio is as it was");
        } else {
            let ready = RadioEvent::Ready(Box::new(profile));
            outputs.push(Output::Event(ready));
        }
        self.time_given = None;
        outputs.extend(self.give_time(now));
        outputs.extend(self.take_held(now));
        outputs
    }

    fn on_lockdown(&mut self, state: State, now: Moment) -> Vec<Output> {
        if !self.is_ready() {
            return Vec::new();
        }
        match (state, &mut self.memory.profile) {
            (State::NeedsProvision | State::Locked, Some(profile)) if !profile.locked => {
                profile.locked = true;
                profile.transmit_enabled = false;
                let ready = RadioEvent::Ready(Box::new(profile.clone()));
                self.watch_quiet();
                vec![Output::Event(ready)]
            }
            (State::Unlocked | State::Disabled, Some(profile)) if profile.locked => {
                self.restart("the radio was unlocked", now)
            }
            _ => Vec::new(),
        }
    }

    /// Takes a sign, in what the radio prints, that it may have forgotten us. It would answer heartbeats all the same, but
    /// hand over no packet until it is asked for everything.
    pub(super) fn on_sign(&mut self, sign: Sign, now: Moment) -> Vec<Output> {
        let memory = &mut self.memory;
        let profile = memory.profile.as_ref();
        let means_nothing = profile.is_some_and(|it| prints_always(&it.firmware));
        match (self.phase, sign) {
            (Phase::Idle, Sign::Start) => {
                if let Some(until) = memory.start_doubt.lasts(OF_STARTS, now.instant) {
                    self.timers.insert(Timer::BelieveStart, until);
                } else {
                    debug!("looking whether the radio has started anew, as it prints");
                    self.asks_anew(now.instant + REBOOT_PAUSE);
                }
            }
            (Phase::Idle, Sign::Log) if !means_nothing => {
                if let Some(until) = memory.doubt.lasts(OF_LOG, now.instant) {
                    self.timers.insert(Timer::BelieveLog, until);
                } else {
                    return self.look_again("it prints its log", now);
                }
            }
            // It had begun to answer, and has forgotten the question.
            (Phase::Configuring, _) if self.options.on_cable => {
                let again = now.instant + REBOOT_PAUSE;
                self.timers.entry(Timer::AskAgain).or_insert(again);
            }
            _ => {}
        }
        Vec::new()
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

    fn asks_anew(&mut self, at: Instant) {
        self.phase = Phase::Waking;
        self.timers = Timers::from([(Timer::Wake, at)]);
        self.nonce = plain_nonce(self.nonce.wrapping_add(1));
        self.handshake = Handshake::default();
    }

    /// Returns the frame that carries a message; `None` before the handshake's end.
    pub fn send(&self, packet: PacketId, message: &RadioMessage) -> Option<Vec<u8>> {
        let profile = self.profile()?;
        let packet = translate::outgoing(profile.own.num, profile.hop_limit, packet, message);
        Some(encoded(ToRadio::Packet(packet)))
    }
}

/// Returns the frame that ends a session: only then does the radio keep for us what comes meanwhile.
pub(super) fn disconnect() -> Vec<u8> {
    encoded(ToRadio::Disconnect(true))
}

fn ignored(reason: &'static str) -> Output {
    Output::Event(RadioEvent::Ignored { reason })
}

fn encoded(variant: ToRadio) -> Vec<u8> {
    proto::ToRadio {
        payload_variant: Some(variant),
    }
    .encode_to_vec()
}

#[cfg(test)]
mod tests;
