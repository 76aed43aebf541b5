//! What the radio does with its client's packets: the firmware's checks, and the way to the air. Refusals are
//! `refusing.rs`, what becomes of a packet on the air is `settling.rs`.

use std::time::Instant;

use crate::model::NodeNum;
use crate::radio::proto::{
    Data, MeshPacket, Message, PortNum, User, mesh_packet::PayloadVariant, routing::Error,
};

use super::air::{AirEvent, Flight, Outcome};
use super::machine::Machine;
use super::refusing::{DIRECT_OVERHEAD, STATUS_QUEUE_FULL};
use super::report::{Fate, Report, Transmitted};

/// Header of a packet on the air.
const AIR_HEADER: usize = 16;

/// A frame with a longer payload does not even decode on the radio.
const PAYLOAD_LIMIT: usize = 234;

/// Packets whose fate is still open; of more than that the later fates are not told.
const TRACKED: usize = 4096;

impl Machine {
    /// Takes a packet of the client.
    pub(super) fn send(&mut self, mut packet: MeshPacket, now: Instant) {
        let Some(PayloadVariant::Decoded(data)) = packet.payload_variant.take() else {
            self.report(Report::Ignored {
                reason: "a packet without readable content",
                bytes: 0,
            });
            return;
        };
        if data.payload.len() > PAYLOAD_LIMIT {
            self.report(Report::Ignored {
                reason: "a payload that the radio cannot decode",
                bytes: data.payload.len(),
            });
            return;
        }
        if packet.id == 0 {
            packet.id = self.fresh_id();
        }
        let record = Transmitted::new(&packet, &data, self.uptime(now));
        if take_one(&mut self.state.lost) {
            self.tell(&record, Fate::Lost);
            return;
        }
        let repeated = self
            .session
            .as_mut()
            .map(|session| session.limits.is_repeated(packet.id));
        if repeated != Some(false) {
            self.tell(&record, Fate::Duplicate);
            return;
        }
        let status_told = !take_one(&mut self.state.silent);
        if let Some(limit) = self.rate_limit(&packet, &data, now) {
            self.push_limited(&packet, limit, status_told, now);
            self.tell(&record, Fate::RateLimited);
            return;
        }
        if packet.to == self.mesh.own.num.0 {
            self.deliver_locally(&packet, &data, now);
            self.tell(&record, Fate::Local);
            return;
        }
        let fate = match self.refusal(&packet, &data) {
            Some(refusal) => {
                self.push_refusal(&packet, refusal, status_told, now);
                Fate::Refused(refusal.number)
            }
            None => self.transmit(&packet, &data, &record, status_told, now),
        };
        self.tell(&record, fate);
    }

    /// Lets time pass on the air.
    pub(super) fn progress_on_air(&mut self, now: Instant) {
        for event in self.air.on_time(now) {
            match event {
                AirEvent::Room => self.push_status(0, 0),
                AirEvent::Begun { id } => self.tell_begun(id, now),
                AirEvent::Outcome { id, outcome, last } => self.settle(id, outcome, last, now),
            }
        }
    }

    /// Broadcasts the radio's own names, as a heartbeat with nonce 1 asks for.
    pub(super) fn announce_own_node(&mut self, now: Instant) {
        let user = self.mesh.own.user.as_ref().map(User::encode_to_vec);
        let data = Data {
            portnum: i32::from(PortNum::NodeinfoApp),
            payload: user.unwrap_or_default(),
            want_response: true,
            ..Data::default()
        };
        let id = self.fresh_id();
        let flight = Flight {
            id,
            size: AIR_HEADER + data.encoded_len(),
            outcomes: vec![Outcome::Sent],
        };
        let queued = self.air.queue(flight, now);
        self.push_status(if queued { 0 } else { STATUS_QUEUE_FULL }, id);
    }

    /// Tells what became of a packet of the client.
    pub(super) fn tell(&mut self, record: &Transmitted, fate: Fate) {
        self.report(Report::Transmitted {
            packet: Box::new(record.clone()),
            fate,
        });
    }

    fn transmit(
        &mut self,
        packet: &MeshPacket,
        data: &Data,
        record: &Transmitted,
        status_told: bool,
        now: Instant,
    ) -> Fate {
        let direct = self.is_direct(packet, data);
        let overhead = AIR_HEADER + if direct { DIRECT_OVERHEAD } else { 0 };
        let flight = Flight {
            id: packet.id,
            size: overhead + on_air(data).encoded_len(),
            outcomes: self.course(packet),
        };
        let queued = self.air.queue(flight, now);
        if self.flights.len() < TRACKED {
            self.flights.insert(packet.id, record.clone());
        }
        if status_told {
            self.push_status(if queued { 0 } else { STATUS_QUEUE_FULL }, packet.id);
        }
        if queued {
            Fate::Accepted
        } else {
            Fate::Refused(STATUS_QUEUE_FULL.unsigned_abs())
        }
    }

    /// Returns whether it is encrypted for its addressee alone: all direct messages, but for a few ports.
    pub(super) fn is_direct(&self, packet: &MeshPacket, data: &Data) -> bool {
        let on_channel = match PortNum::try_from(data.portnum) {
            Ok(
                PortNum::TracerouteApp
                | PortNum::NodeinfoApp
                | PortNum::RoutingApp
                | PortNum::PositionApp,
            ) => true,
            Ok(_) | Err(_) => false,
        };
        let licensed = self
            .mesh
            .own
            .user
            .as_ref()
            .is_some_and(|user| user.is_licensed);
        packet.to != NodeNum::BROADCAST.0 && !on_channel && !licensed
    }

    pub(super) fn key_of(&self, node: u32) -> Option<&[u8]> {
        self.mesh.node(NodeNum(node))?.public_key()
    }
}

/// Returns the content as it goes on the air: the firmware adds the bit field, which takes two bytes.
pub(super) fn on_air(data: &Data) -> Data {
    Data {
        bitfield: Some(u32::from(data.want_response) << 1),
        ..data.clone()
    }
}

pub(super) fn error_number(error: Error) -> u32 {
    i32::from(error).unsigned_abs()
}

/// Counts one down; returns whether there was one left.
pub(super) fn take_one(count: &mut u32) -> bool {
    let left = *count > 0;
    *count = count.saturating_sub(1);
    left
}

#[cfg(test)]
mod tests;
