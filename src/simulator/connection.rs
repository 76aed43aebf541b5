//! The radio's side of one connection: from the client's first question over its configuration to the end, and the
//! restart of the radio.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::radio::proto::from_radio::PayloadVariant as ToClient;

use super::handshake;
use super::limits::Limits;
use super::machine::Machine;
use super::packets;
use super::report::{Connection, Report};
use super::telemetry::TELEMETRY_EVERY;

/// A client that sends nothing for so long is dropped.
pub(super) const IDLE: Duration = Duration::from_mins(15);

/// So long a radio takes to close the connection of a client that says goodbye.
pub(super) const HANG_UP: Duration = Duration::from_millis(20);

/// One connection of a client.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) limits: Limits,
    pub(super) phase: Phase,
    pub(super) heartbeat: bool,
    pub(super) heard_at: Instant,
}

#[derive(Debug)]
pub(super) enum Phase {
    /// The client has not asked for anything yet.
    Silent,
    /// The configuration is on its way.
    Configuring {
        frames: VecDeque<ToClient>,
        next_at: Instant,
    },
    /// The configuration is told.
    Live,
}

impl Machine {
    pub(super) fn begin_config(&mut self, nonce: u32, now: Instant) {
        let mut frames = handshake::series(&self.mesh, self.state, nonce);
        if self.faults.never_complete {
            frames.pop_back();
        }
        let next_at = now + self.faults.slow_config;
        if let Some(session) = &mut self.session {
            session.phase = Phase::Configuring { frames, next_at };
        }
    }

    /// Closes the connection then; what waits for the client waits for the next one.
    pub(super) fn close(&mut self, at: Instant) {
        if self.session.take().is_some() {
            self.report(Report::Client(Connection::Closed));
        }
        self.late_frames.clear();
        self.closes_at = Some(at);
    }

    pub(super) fn reboot(&mut self, now: Instant) {
        self.close(now);
        self.queues.clear();
        self.air.clear();
        self.flights.clear();
        self.clock = None;
        self.writes_are_lost = false;
        self.state.reboot_count += 1;
        self.started = now;
        self.telemetry_at = now + TELEMETRY_EVERY;
        self.statistics_at = now + TELEMETRY_EVERY;
        self.push_status(0, 0);
    }

    pub(super) fn next_config_frame(&mut self, now: Instant) -> Option<ToClient> {
        let pause = self.faults.slow_config;
        let session = self.session.as_mut()?;
        let Phase::Configuring { frames, next_at } = &mut session.phase else {
            return None;
        };
        if now < *next_at {
            return None;
        }
        *next_at = now + pause;
        let frame = frames.pop_front()?;
        if let ToClient::ConfigCompleteId(_) = frame {
            session.phase = Phase::Live;
            self.report(Report::Client(Connection::Configured));
            if self.faults.cached {
                for packet in packets::cached(&self.mesh) {
                    self.push_packet(packet, now);
                }
            }
        }
        Some(frame)
    }
}
