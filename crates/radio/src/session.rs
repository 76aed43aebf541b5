//! One connection to a radio: handshake, heartbeats, liveness. No I/O, no clock, no random numbers. `frames.rs` handles
//! the radio's frames, `packets.rs` the packets of the mesh in them; `timers.rs` lists the deadlines, `due.rs` handles them.
//!
//! Frames may hold secrets (the radio's private key, the channels' keys), so they are never logged.

pub(crate) mod console;
mod due;
mod frames;
mod handshake;
mod packets;
mod repeat_filter;
mod timers;
mod trust;

use std::collections::VecDeque;
use std::time::Instant;

use tracing::{debug, info};

use relay_model::{PacketId, RadioEvent, RadioMessage, RadioProfile};

use super::{mesh::nodedb::NodeDb, mesh::translate, now::Now, pacer::mesh_answer::MeshAnswer};
use console::{LineKind, prints_always};
use handshake::{Handshake, plain_nonce};
use relay_wire::proto::to_radio::PayloadVariant as ToRadio;
use relay_wire::proto::{self, MeshPacket, Message as _};
use repeat_filter::RepeatFilter;
use trust::{OF_LOG, OF_STARTS, Quiet, Trust};

pub use timers::HANDSHAKE_LIMIT;

use timers::{REBOOT_PAUSE, Timer, Timers};

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
