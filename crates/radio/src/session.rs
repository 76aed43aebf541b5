//! One connection to a radio: handshake, heartbeats, liveness, and the meaning of each frame. No I/O, no clock, no
//! random numbers. `timers.rs` lists the deadlines, `due.rs` handles them, `packets.rs` handles packets of the mesh.
//!
//! Frames may hold secrets (the radio's private key, the channels' keys), so they are never logged.

pub(crate) mod console;
mod due;
mod handshake;
mod packets;
mod repeat_filter;
mod timers;
mod trust;

use std::collections::VecDeque;
use std::time::Instant;

use tracing::{debug, info, warn};

use relay_model::{NodeNum, PacketId, RadioEvent, RadioMessage, RadioProfile};

use super::{mesh::nodedb::NodeDb, mesh::translate, now::Now, pacer::mesh_answer::MeshAnswer};
use console::{LineKind, prints_always, without_text};
use handshake::{Handshake, plain_nonce};
use relay_wire::proto::from_radio::PayloadVariant as FromRadio;
use relay_wire::proto::log_record::Level;
use relay_wire::proto::to_radio::PayloadVariant as ToRadio;
use relay_wire::proto::wire::lockdown_status::State;
use relay_wire::proto::{self, MeshPacket, Message as _, wire};
use repeat_filter::RepeatFilter;
use trust::{OF_LOG, OF_STARTS, Quiet, Trust};

pub use timers::HANDSHAKE_LIMIT;

use timers::{HEARTBEAT_EVERY, REBOOT_PAUSE, Timer, Timers};

/// Maximum number of configuration requests before an incomplete answer is accepted.
const QUESTIONS: u32 = 3;
/// First nonce of a heartbeat; the nonce 1 makes the radio broadcast its node info.
const FIRST_HEARTBEAT: u32 = 2;

/// What a session is told at its start.
#[derive(Debug, Clone, Default)]
pub struct SessionOptions {
    /// Whether to set the radio's clock, as in [`RadioOptions`](crate::RadioOptions).
    pub set_time: bool,
    /// Port numbers beside those of texts whose payload is read as text.
    pub chat_ports: Vec<u32>,
    /// The radio is on a cable: it prints text between frames, does not notice a client's end, and may restart, or miss
    /// a frame, while the link stays open.
    pub on_cable: bool,
}

/// An action that the session requests; to be carried out in order.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// Write [`WAKE`](relay_wire::codec::WAKE) before anything else.
    Wake,
    /// Write this protobuf (`ToRadio`) as a frame.
    Frame(Vec<u8>),
    /// Send an event; after [`RadioEvent::Ready`] packets may be sent.
    Event(RadioEvent),
    /// Pass what the radio or a node says of a packet of ours to the pacer.
    Answer(MeshAnswer),
    /// The radio restarted on this link; packets in flight stay unanswered.
    Restarted(&'static str),
    /// Close the link, for this reason.
    Lost(&'static str),
}

/// How far the handshake on this connection has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// To be woken, or woken just now, as it may have restarted; the configuration request follows.
    Waking,
    /// The configuration was requested.
    Configuring,
    /// The configuration is complete.
    Idle,
}

/// State kept over connections.
#[derive(Debug, Default)]
struct Memory {
    /// The configuration when the radio was last ready.
    profile: Option<RadioProfile>,
    /// How far log lines are trusted as a sign that the radio has forgotten this client.
    log_trust: Trust,
    /// How far boot messages are trusted as such a sign.
    start_trust: Trust,
    repeat_filter: RepeatFilter,
    /// Number of links in a row that were lost without a frame after a heartbeat.
    mute_links: u32,
}

/// One connection to a radio, and after it the next one.
#[derive(Debug)]
pub struct Session {
    options: SessionOptions,
    /// The nodes that the radio reported, kept over connections.
    pub nodes: NodeDb,
    nonce: u32,
    phase: Phase,
    timers: Timers,
    handshake: Handshake,
    /// When the configuration was last completed; packets may be sent from then on, also while it is requested again.
    ready_since: Option<Instant>,
    /// Packets received while the channels are unknown, oldest first.
    held: VecDeque<MeshPacket>,
    memory: Memory,
    questions: u32,
    heard: bool,
    /// A frame has arrived after a heartbeat.
    answers: bool,
    heartbeat_nonce: u32,
    /// When its clock was last set.
    time_given: Option<Now>,
    times_given: u32,
    /// Until then packets may carry a time of the radio's clock before it was set.
    dated_before: Option<Instant>,
    quiet: Quiet,
}

impl Session {
    /// Creates a session for a link that has just opened. The nonce is random, since the last frame of an older session
    /// may still arrive.
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
            quiet: Quiet::new(now),
        }
    }

    /// Starts over on a new link, and keeps the state of earlier ones.
    pub(super) fn begin(&mut self, random: u32, now: Instant) {
        *self = Self {
            nodes: std::mem::take(&mut self.nodes),
            memory: std::mem::take(&mut self.memory),
            ..Self::new(std::mem::take(&mut self.options), random, now)
        };
    }

    /// Returns whether packets may be sent: the configuration was completed on this connection.
    pub fn is_ready(&self) -> bool {
        self.ready_since.is_some()
    }

    /// Returns whether the configuration is being requested again on a ready link. Nothing is written until the answer
    /// is complete: the radio may have forgotten this client, and may have other channels.
    pub fn is_looking_again(&self) -> bool {
        self.is_ready() && self.phase != Phase::Idle
    }

    /// Returns whether packets can be translated, by the last configuration if necessary.
    pub(super) fn understands(&self) -> bool {
        self.memory.profile.is_some()
    }

    /// Returns whether a frame has arrived on this link.
    pub fn has_heard(&self) -> bool {
        self.heard
    }

    fn profile(&self) -> Option<&RadioProfile> {
        self.memory.profile.as_ref().filter(|_| self.is_ready())
    }

    /// Takes a frame of the radio (`FromRadio`), which may be damaged; returns what is to be done.
    pub fn on_frame(&mut self, bytes: &[u8], now: Now) -> Vec<Output> {
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

    fn alive(&mut self, now: Now) {
        self.heard = true;
        if self.heartbeat_nonce != FIRST_HEARTBEAT {
            self.answers = true;
            self.memory.mute_links = 0;
        }
        if self.phase == Phase::Idle {
            self.restart_silence_timer(now);
        }
    }

    fn on_special(&mut self, frame: wire::FromRadio, now: Now) -> Vec<Output> {
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

    fn on_variant(&mut self, variant: FromRadio, now: Now) -> Vec<Output> {
        match variant {
            FromRadio::QueueStatus(status) => {
                return vec![Output::Answer(MeshAnswer::Queue {
                    packet: PacketId(status.mesh_packet_id),
                    res: status.res,
                    free: status.free,
                    maxlen: status.maxlen,
                })];
            }
            FromRadio::Packet(packet) => {
                // A radio that has forgotten this client delivers no packets.
                self.timers.remove(&Timer::BelieveStart);
                self.timers.remove(&Timer::BelieveLog);
                self.quiet.on_packet(now.instant);
                self.watch_quiet();
                return self.on_packet(packet, now);
            }
            FromRadio::Rebooted(_) => return self.restart("the radio rebooted", now),
            FromRadio::ConfigCompleteId(nonce) => {
                self.handshake_goes_on(now);
                return self.on_complete(nonce, now);
            }
            FromRadio::ClientNotification(notification) => {
                let (packet, text) = (notification.reply_id, notification.message);
                if !self.memory.repeat_filter.is_news(&text, now.instant) {
                    debug!(packet, ?text, "the radio has more to say");
                } else if notification.level >= Level::Warning.into() {
                    warn!(packet, ?text, "the radio warns");
                } else {
                    info!(packet, ?text, "the radio has something to say");
                }
            }
            FromRadio::LogRecord(record) => {
                let text = without_text(&record.message);
                debug!(source = ?record.source, ?text, "the radio's own log");
            }
            FromRadio::XmodemPacket(_) | FromRadio::MqttClientProxyMessage(_) => {}
            part => {
                self.handshake_goes_on(now);
                self.handshake.take(part);
            }
        }
        Vec::new()
    }

    /// Extends the timeout of the handshake; only frames that belong to it do.
    fn handshake_goes_on(&mut self, now: Now) {
        if self.phase == Phase::Configuring {
            self.timers.remove(&Timer::AskAgain);
            self.expect_configuration(now);
        }
    }

    fn on_complete(&mut self, nonce: u32, now: Now) -> Vec<Output> {
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
        self.restart_silence_timer(now);
        let looked_again = self.ready_since.replace(now.instant).is_some();
        if !looked_again {
            self.quiet = Quiet::new(now.instant);
        }
        let before = self.memory.profile.replace(profile.clone());
        self.watch_quiet();
        let start_of = |it: &RadioProfile| (it.own.num, it.reboot_count);
        if before.as_ref().map(start_of) != Some(start_of(&profile)) {
            // The printed text was a true sign: the radio has restarted, or is another one.
            (self.memory.log_trust, self.memory.start_trust) = (Trust::default(), Trust::default());
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

    fn on_lockdown(&mut self, state: State, now: Now) -> Vec<Output> {
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

    /// Takes a printed line that may show that the radio has forgotten this client. Such a radio answers heartbeats,
    /// but delivers packets only after a new configuration request.
    pub(super) fn on_line(&mut self, kind: LineKind, now: Now) -> Vec<Output> {
        let memory = &mut self.memory;
        let profile = memory.profile.as_ref();
        let means_nothing = profile.is_some_and(|it| prints_always(&it.firmware));
        match (self.phase, kind) {
            (Phase::Idle, LineKind::Start) => {
                if let Some(until) = memory.start_trust.distrusted_until(OF_STARTS, now.instant) {
                    self.timers.insert(Timer::BelieveStart, until);
                } else {
                    debug!("looking whether the radio has started anew, as it prints");
                    self.asks_anew(now.instant + REBOOT_PAUSE);
                }
            }
            (Phase::Idle, LineKind::Log) if !means_nothing => {
                if let Some(until) = memory.log_trust.distrusted_until(OF_LOG, now.instant) {
                    self.timers.insert(Timer::BelieveLog, until);
                } else {
                    return self.look_again("it prints its log", now);
                }
            }
            // The radio had begun to answer, and has forgotten the request.
            (Phase::Configuring, _) if self.options.on_cable => {
                let again = now.instant + REBOOT_PAUSE;
                self.timers.entry(Timer::AskAgain).or_insert(again);
            }
            _ => {}
        }
        Vec::new()
    }

    /// Requests everything again after a restart, since channels may have moved. Further restarts until the answer is
    /// complete are not reported.
    fn restart(&mut self, reason: &'static str, now: Now) -> Vec<Output> {
        self.asks_anew(now.instant + REBOOT_PAUSE);
        if self.ready_since.take().is_none() {
            debug!(reason, "the radio has restarted before it was ready");
            return Vec::new();
        }
        info!(reason, "asking the radio for its configuration again");
        vec![Output::Restarted(reason)]
    }

    /// Requests the configuration again, in case the radio has forgotten this client; reports only a change.
    fn look_again(&mut self, reason: &str, now: Now) -> Vec<Output> {
        debug!(reason, "looking whether the radio is as it was");
        self.asks_anew(now.instant);
        self.on_time(now)
    }

    fn asks_anew(&mut self, at: Instant) {
        self.phase = Phase::Waking;
        self.timers = Timers::from([(Timer::Wake, at)]);
        self.nonce = plain_nonce(self.nonce.wrapping_add(1));
        self.handshake = Handshake::default();
    }

    /// Returns the frame of a message; `None` before the handshake is complete.
    pub fn send(&self, packet: PacketId, message: &RadioMessage) -> Option<Vec<u8>> {
        let profile = self.profile()?;
        let packet = translate::outgoing(profile.own.num, profile.hop_limit, packet, message);
        Some(encoded(ToRadio::Packet(packet)))
    }
}

/// Returns the disconnect frame: only after it does the radio store packets for this client.
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
