//! One connection to a radio: handshake, heartbeat, liveness, and what each frame means. No I/O, no clock, no
//! random numbers: all of that is handed in.
//!
//! What a frame holds may be secret (the radio's private key, the channels' keys), so nothing of it is logged.

use std::time::{Duration, Instant};

use tracing::{debug, info, warn};

use crate::model::{NodeNum, PacketId, RadioEvent, RadioMessage, RadioProfile, Timestamp};

use super::answer::Answer;
use super::handshake::{Handshake, plain_nonce};
use super::moment::Moment;
use super::nodedb::{News, NodeDb};
use super::proto::{self, MeshPacket, Message as _, from_radio, to_radio, wire};
use super::translate::{self, Context, Translated};

/// How long the radio may be silent before its handshake is complete.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(30);
/// How often the link is probed.
const HEARTBEAT_EVERY: Duration = Duration::from_secs(30);
/// No frame for so long: the link is lost.
const SILENCE_LIMIT: Duration = Duration::from_secs(75);
/// What a radio does between telling that it rebooted and listening.
const REBOOT_PAUSE: Duration = Duration::from_secs(1);
/// For so long after the handshake the radio may hand over what it kept for us.
const CATCH_UP: Duration = Duration::from_mins(1);
/// A heartbeat with the nonce 1 makes the radio introduce itself to the mesh.
const FIRST_HEARTBEAT: u32 = 2;
/// Before this year 2024 our own clock is not set either.
const PLAUSIBLE_TIME: Timestamp = Timestamp(1_704_067_200_000);

/// `LockdownStatus.state`.
const NEEDS_PROVISION: i32 = 1;
const LOCKED: i32 = 2;
const UNLOCKED: i32 = 3;

/// `LogRecord.Level`.
const WARNING: i32 = 30;

/// How a session behaves.
#[derive(Debug, Clone, Default)]
pub struct SessionOptions {
    /// The radio is given the time.
    pub set_time: bool,
    /// Further ports that carry text.
    pub chat_ports: Vec<u32>,
    /// How long the link needs to come to its senses after the wake bytes.
    pub wake_pause: Duration,
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
    Restarted {
        /// Why.
        cause: &'static str,
    },
    /// Give the link up.
    Lost {
        /// Why.
        cause: &'static str,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The wake bytes are written; asks for the configuration then.
    Waking(Instant),
    /// Asked; the last frame came then.
    Configuring(Instant),
    /// Since then.
    Ready(Instant),
    /// Said that it rebooted; is woken then.
    Rebooting(Instant),
}

/// One connection to a radio.
#[derive(Debug)]
pub struct Session {
    options: SessionOptions,
    nonce: u32,
    phase: Phase,
    handshake: Handshake,
    profile: Option<RadioProfile>,
    last_frame: Instant,
    next_heartbeat: Instant,
    heartbeat_nonce: u32,
    channel_use: Option<f32>,
}

impl Session {
    /// Makes one for a link that has just opened. The nonce is random: an older session's last frame may still come.
    #[must_use]
    pub fn new(options: SessionOptions, random: u32, now: Instant) -> Self {
        Self {
            phase: Phase::Waking(now + options.wake_pause),
            options,
            nonce: plain_nonce(random),
            handshake: Handshake::default(),
            profile: None,
            last_frame: now,
            next_heartbeat: now + HEARTBEAT_EVERY,
            heartbeat_nonce: FIRST_HEARTBEAT,
            channel_use: None,
        }
    }

    /// Returns what is written first.
    pub fn start(&mut self, now: Moment) -> Vec<Output> {
        let mut outputs = vec![Output::Wake];
        outputs.extend(self.on_time(now));
        outputs
    }

    /// Returns whether packets may be sent.
    pub fn is_ready(&self) -> bool {
        matches!(self.phase, Phase::Ready(_))
    }

    /// Returns how busy the channel is in percent, by the radio's own measure; `None` until it has told.
    pub fn channel_use(&self) -> Option<f32> {
        self.channel_use
    }

    /// Returns when [`Session::on_time`] wants to be called.
    pub fn deadline(&self) -> Instant {
        match self.phase {
            Phase::Waking(until) | Phase::Rebooting(until) => until,
            Phase::Configuring(last) => last + HANDSHAKE_LIMIT,
            Phase::Ready(_) => self.next_heartbeat.min(self.last_frame + SILENCE_LIMIT),
        }
    }

    /// Does what is due.
    pub fn on_time(&mut self, now: Moment) -> Vec<Output> {
        match self.phase {
            Phase::Waking(until) if now.instant >= until => {
                self.phase = Phase::Configuring(now.instant);
                vec![frame(to_radio::PayloadVariant::WantConfigId(self.nonce))]
            }
            Phase::Rebooting(until) if now.instant >= until => {
                self.phase = Phase::Waking(now.instant + self.options.wake_pause);
                self.start(now)
            }
            Phase::Configuring(last) if now.instant >= last + HANDSHAKE_LIMIT => {
                vec![Output::Lost {
                    cause: "the radio did not tell its configuration",
                }]
            }
            Phase::Ready(_) if now.instant >= self.last_frame + SILENCE_LIMIT => {
                vec![Output::Lost {
                    cause: "the radio has been silent for 75 seconds",
                }]
            }
            Phase::Ready(_) if now.instant >= self.next_heartbeat => {
                self.next_heartbeat = now.instant + HEARTBEAT_EVERY;
                let nonce = self.heartbeat_nonce;
                self.heartbeat_nonce = nonce.checked_add(1).unwrap_or(FIRST_HEARTBEAT);
                vec![frame(to_radio::PayloadVariant::Heartbeat(
                    proto::Heartbeat { nonce },
                ))]
            }
            Phase::Waking(_) | Phase::Rebooting(_) | Phase::Configuring(_) | Phase::Ready(_) => {
                Vec::new()
            }
        }
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
    }

    fn on_special(
        &mut self,
        frame: wire::FromRadio,
        nodes: &mut NodeDb,
        now: Moment,
    ) -> Vec<Output> {
        self.handshake_goes_on(now);
        if let Some(info) = frame.node_info {
            nodes.learn(NodeNum(info.num), translate::news_of_node(&info, now.wall));
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
            From::Packet(packet) => return self.on_packet(packet, nodes, now),
            From::Rebooted(_) => return self.restart("the radio rebooted", now),
            From::ConfigCompleteId(nonce) => {
                self.handshake_goes_on(now);
                return self.on_complete(nonce, nodes, now);
            }
            From::ClientNotification(notification) => {
                let (packet, message) = (notification.reply_id, notification.message);
                if notification.level >= WARNING {
                    warn!(packet, ?message, "the radio warns");
                } else {
                    info!(packet, ?message, "the radio has something to say");
                }
            }
            From::LogRecord(record) => {
                debug!(source = ?record.source, message = ?record.message, "the radio's own log");
            }
            From::MyInfo(my_info) => {
                self.handshake_goes_on(now);
                self.handshake.my_info(&my_info);
            }
            From::Metadata(metadata) => {
                self.handshake_goes_on(now);
                self.handshake.metadata(metadata);
            }
            From::Config(config) => {
                self.handshake_goes_on(now);
                self.handshake.config(config);
            }
            // The rest of the handshake.
            From::NodeInfo(_)
            | From::Channel(_)
            | From::ModuleConfig(_)
            | From::FileInfo(_)
            | From::DeviceuiConfig(_) => self.handshake_goes_on(now),
            From::XmodemPacket(_) | From::MqttClientProxyMessage(_) => {}
        }
        Vec::new()
    }

    /// Only what belongs to a handshake keeps it from being given up.
    fn handshake_goes_on(&mut self, now: Moment) {
        if let Phase::Configuring(last) = &mut self.phase {
            *last = now.instant;
        }
    }

    fn on_complete(&mut self, nonce: u32, nodes: &mut NodeDb, now: Moment) -> Vec<Output> {
        let asked = matches!(self.phase, Phase::Configuring(_));
        if !asked || nonce != self.nonce {
            debug!("the end of an older handshake ignored");
            return Vec::new();
        }
        let Some((profile, held)) = std::mem::take(&mut self.handshake).complete(nodes) else {
            return vec![Output::Lost {
                cause: "the radio did not tell its own number",
            }];
        };
        self.phase = Phase::Ready(now.instant);
        self.next_heartbeat = now.instant + HEARTBEAT_EVERY;
        tell_cures(&profile);
        let own = profile.own.num;
        self.profile = Some(profile.clone());
        let mut outputs = vec![Output::Event(RadioEvent::Ready(Box::new(profile)))];
        if self.options.set_time && now.wall >= PLAUSIBLE_TIME {
            let id = PacketId(self.nonce);
            outputs.extend(translate::set_time(own, id, now.wall).map(packet_frame));
        }
        for packet in held {
            outputs.extend(self.on_packet(packet, nodes, now));
        }
        outputs
    }

    fn on_packet(&mut self, packet: MeshPacket, nodes: &mut NodeDb, now: Moment) -> Vec<Output> {
        let (Phase::Ready(since), Some(profile)) = (self.phase, &self.profile) else {
            let held = self.handshake.hold(packet);
            return if held {
                Vec::new()
            } else {
                vec![ignored("before the handshake's end")]
            };
        };
        let from = NodeNum(packet.from);
        let context = Context {
            own: profile.own.num,
            channels: &profile.channels,
            nodes,
            chat_ports: &self.options.chat_ports,
            catching_up: now.instant < since + CATCH_UP,
            now: now.wall,
        };
        let translated = translate::packet(&packet, &context);
        let heard = News {
            last_heard: Some(now.wall),
            ..News::default()
        };
        nodes.learn(from, heard);
        match translated {
            Translated::Text(text) => vec![Output::Event(RadioEvent::Text(text))],
            Translated::Answer(answer) => vec![Output::Answer(answer)],
            Translated::News(num, news) => {
                nodes.learn(num, news);
                Vec::new()
            }
            Translated::ChannelUse(percent) => {
                self.channel_use = Some(percent);
                Vec::new()
            }
            Translated::Ignored(reason) => {
                debug!(node = %from, packet = packet.id, reason, "packet ignored");
                vec![ignored(reason)]
            }
        }
    }

    fn on_lockdown(&mut self, state: i32, now: Moment) -> Vec<Output> {
        let ready = self.is_ready();
        match (state, &mut self.profile) {
            (NEEDS_PROVISION | LOCKED, Some(profile)) if profile.transmit_enabled => {
                warn!("the radio is locked: unlock it with the app that locked it");
                profile.transmit_enabled = false;
                vec![Output::Event(RadioEvent::Ready(Box::new(profile.clone())))]
            }
            (UNLOCKED, Some(profile)) if ready && !profile.transmit_enabled => {
                self.restart("the radio was unlocked", now)
            }
            _ => Vec::new(),
        }
    }

    /// Everything that was told is told again: channels may have new places.
    fn restart(&mut self, cause: &'static str, now: Moment) -> Vec<Output> {
        info!(cause, "asking the radio for its configuration again");
        self.phase = Phase::Rebooting(now.instant + REBOOT_PAUSE);
        self.nonce = plain_nonce(self.nonce.wrapping_add(1));
        self.handshake = Handshake::default();
        self.profile = None;
        vec![Output::Restarted { cause }]
    }

    /// Returns the frame that carries a message; `None` before the handshake's end.
    pub fn send(&self, packet: PacketId, message: &RadioMessage) -> Option<Vec<u8>> {
        let profile = self.profile.as_ref().filter(|_| self.is_ready())?;
        let packet = translate::outgoing(profile.own.num, profile.hop_limit, packet, message);
        Some(encoded(to_radio::PayloadVariant::Packet(packet)))
    }
}

/// Returns the frame that ends a session: only then does the radio keep for us what comes meanwhile.
pub fn disconnect() -> Vec<u8> {
    encoded(to_radio::PayloadVariant::Disconnect(true))
}

fn tell_cures(profile: &RadioProfile) {
    if !profile.region_set {
        warn!(
            "the radio has no region set and transmits nothing: \
             set `lora.region` with the app or `meshtastic --set lora.region`"
        );
    } else if !profile.transmit_enabled {
        warn!(
            "the radio's transmitter is switched off: \
             set `lora.tx_enabled` with the app or `meshtastic --set lora.tx_enabled true`"
        );
    }
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
