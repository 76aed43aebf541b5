//! The meaning of each frame: signs of life, the parts of the handshake, answers, packets of the mesh.

use tracing::{debug, info, warn};

use super::console::without_text;
use super::handshake::plain_nonce;
use super::timers::{HEARTBEAT_EVERY, Timer, Timers};
use super::trust::{Quiet, Trust};
use super::{FIRST_HEARTBEAT, Output, Phase, Session, ignored};
use crate::{mesh::translate, now::Now, pacer::mesh_answer::MeshAnswer};
use relay_model::{NodeNum, PacketId, RadioEvent, RadioProfile};
use relay_wire::proto::from_radio::PayloadVariant as FromRadio;
use relay_wire::proto::log_record::Level;
use relay_wire::proto::wire::lockdown_status::State;
use relay_wire::proto::{self, Message as _, wire};

/// Maximum number of configuration requests before an incomplete answer is accepted.
const QUESTIONS: u32 = 3;

impl Session {
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
}
