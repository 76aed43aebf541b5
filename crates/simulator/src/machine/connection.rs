//! The radio's end of one connection, from the configuration request to the end, and the restart of the radio.

use std::time::{Duration, Instant};

use relay_wire::proto::wire::lockdown_status::State;
use relay_wire::proto::{MeshPacket, PortNum, from_radio::PayloadVariant as ToClient};

use super::{
    Machine, firmware::Firmware, frame, handshake, queues::push_latest, session::Phase,
    telemetry::TELEMETRY_EVERY,
};
use crate::lines::{Connection, Fault, Report};
use crate::mesh::packets;

/// Pause between the frames of an endless configuration.
const ENDLESS_PAUSE: Duration = Duration::from_millis(100);

/// Maximum number of texts kept by a store-and-forward server.
const HISTORY: usize = 1000;

impl Machine {
    pub(super) fn begin_config(&mut self, nonce: u32, now: Instant) {
        let mut frames = handshake::series(&self.mesh, &self.state, nonce);
        if self.state.is_on(Fault::NeverComplete) {
            frames.pop_back();
        }
        if let Some((from, count)) = self.state.lost_frames.take() {
            let from = from.min(frames.len());
            let end = from.saturating_add(count).min(frames.len());
            frames.drain(from..end);
        }
        if let Some(nonce) = self.state.stale_complete.take() {
            frames.push_front(frame::encode(ToClient::ConfigCompleteId(nonce)));
        }
        let next_at = now + self.state.slow_config;
        if let Some(session) = &mut self.session {
            session.phase = Phase::Configuring { frames, next_at };
        }
    }

    /// Schedules the end of the connection; undelivered packets wait for the next client.
    pub(super) fn close(&mut self, at: Instant) {
        if self.session.take().is_some() {
            self.report(Report::Client(Connection::Closed));
        }
        self.closes_at = Some(at);
    }

    /// Tells the current client that the radio is locked, or unlocked for it.
    pub(super) fn tell_lock(&mut self) {
        let locked = self.state.is_on(Fault::Locked);
        if let Some(session) = &mut self.session {
            session.lockdown = Some(if locked {
                State::Locked
            } else {
                State::Unlocked
            });
        }
    }

    /// Stores a text, if the radio is a store-and-forward server. Returns whether the client gets it by a replay, so
    /// that it is not queued too.
    pub(super) fn remember(&mut self, packet: &MeshPacket) -> bool {
        let is_text = packets::port_of(packet) == Some(i32::from(PortNum::TextMessageApp));
        if !is_text || !self.state.is_on(Fault::StoreForwardServer) {
            return false;
        }
        push_latest(&mut self.history, packet.clone(), HISTORY);
        let session = self.session.as_ref();
        session.is_none_or(|session| !matches!(session.phase, Phase::Live))
    }

    pub(super) fn restart(&mut self, now: Instant) {
        self.history.clear();
        self.queues.clear();
        self.air.clear();
        self.clock = None;
        self.writes_are_lost = false;
        self.state.reboot_count += 1;
        self.started = now;
        self.telemetry_at = now + TELEMETRY_EVERY;
        self.statistics_at = now + TELEMETRY_EVERY;
        self.push_status(0, 0);
    }

    pub(super) fn next_config_frame(&mut self, now: Instant) -> Option<Vec<u8>> {
        if self.state.hang_up.take_if(|left| *left == 0).is_some() {
            self.close(now);
            return None;
        }
        let pause = self.state.slow_config;
        let session = self.session.as_mut()?;
        let Phase::Configuring { frames, next_at } = &mut session.phase else {
            return None;
        };
        if now < *next_at {
            return None;
        }
        *next_at = now + pause;
        if frames.len() == 1 && self.state.is_on(Fault::EndlessConfig) {
            *next_at = now + pause.max(ENDLESS_PAUSE);
            return Some(handshake::node_info(&self.mesh.own, self.state.firmware));
        }
        let frame = frames.pop_front()?;
        if let Some(left) = &mut self.state.hang_up {
            *left = left.saturating_sub(1);
        }
        // A stale one is not the last.
        if frames.is_empty() && frame::is_complete(&frame) {
            session.phase = Phase::Live;
            if self.state.is_on(Fault::Locked) {
                session.lockdown = Some(State::Locked);
            }
            self.report(Report::Client(Connection::Configured));
            self.queues.again = self.history.clone();
            if self.state.firmware == Firmware::V2_8 || self.state.is_on(Fault::Cached) {
                self.queues.again.extend(packets::cached(&self.mesh));
            }
        }
        Some(frame)
    }
}

#[cfg(test)]
mod tests;
