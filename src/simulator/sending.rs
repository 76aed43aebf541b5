//! What the radio does with its client's packets: the firmware's checks, and the way to the air. Refusals are
//! `refusing.rs`, what becomes of a packet on the air is `settling.rs`.

use std::time::Instant;

use crate::model::NodeNum;
use crate::radio::proto::{
    Data, MeshPacket, Message, PortNum, User, mesh_packet::PayloadVariant, routing::Error,
};

use super::air::{AirEvent, Flight};
use super::machine::Machine;
use super::packets;
use super::refusing::{DIRECT_OVERHEAD, STATUS_QUEUE_FULL};
use super::report::{Fate, Report, Transmitted};

/// Header of a packet on the air.
const AIR_HEADER: usize = 16;

/// A frame with a longer payload does not even decode on the radio.
const PAYLOAD_LIMIT: usize = 234;

impl Machine {
    pub(super) fn send(&mut self, mut packet: MeshPacket, now: Instant) {
        let Some(PayloadVariant::Decoded(data)) = packet.payload_variant.take() else {
            return self.ignore("a packet without readable content", 0);
        };
        if data.payload.len() > PAYLOAD_LIMIT {
            let size = data.payload.len();
            return self.ignore("a payload that the radio cannot decode", size);
        }
        if packet.id == 0 {
            packet.id = self.fresh_id();
        }
        let record = Box::new(Transmitted::new(&packet, &data, self.uptime(now)));
        let fate = self.handle_packet(&record, &data, now);
        self.report(Report::Transmitted {
            packet: record,
            fate,
        });
    }

    /// Returns what becomes of the packet at once.
    fn handle_packet(&mut self, packet: &Transmitted, data: &Data, now: Instant) -> Fate {
        if take_one(&mut self.state.lost) {
            return Fate::Lost;
        }
        let session = self.session.as_mut();
        if session.is_none_or(|session| session.limits.is_repeated(packet.id)) {
            return Fate::Duplicate;
        }
        let silent = take_one(&mut self.state.silent);
        let limited = self.rate_limit(packet, now);
        if limited.is_none() && packet.to == self.mesh.own.num {
            self.deliver_locally(packet, now);
            return Fate::Local;
        }
        let direct = self.is_direct(packet);
        if let Some(refusal) = limited.or_else(|| self.refusal(packet, data, direct)) {
            self.push_refusal(packet.id, &refusal, silent, now);
            return refusal.fate;
        }
        let overhead = AIR_HEADER + if direct { DIRECT_OVERHEAD } else { 0 };
        let flight = Flight {
            packet: Some(Box::new(packet.clone())),
            size: overhead + on_air(data).encoded_len(),
            fates: self.course(packet),
        };
        let queued = self.air.queue(flight, now);
        if !silent {
            self.push_status(if queued { 0 } else { STATUS_QUEUE_FULL }, packet.id);
        }
        if queued {
            Fate::Accepted
        } else {
            Fate::Refused(STATUS_QUEUE_FULL)
        }
    }

    /// Lets time pass on the air.
    pub(super) fn progress_on_air(&mut self, now: Instant) {
        while let Some(event) = self.air.next(now) {
            match event {
                AirEvent::Begun { packet, room_again } => {
                    if room_again {
                        self.push_status(0, 0);
                    }
                    if let Some(packet) = packet.filter(|_| self.state.simulated_radio) {
                        self.tell_begun(&packet, now);
                    }
                }
                AirEvent::Became(packet, fate) => self.settle(packet, fate, now),
            }
        }
    }

    /// Broadcasts the radio's own names, as a heartbeat with nonce 1 asks for.
    pub(super) fn announce_own_node(&mut self, now: Instant) {
        let user = self.mesh.own.user.as_ref().map(User::encode_to_vec);
        let data = Data {
            want_response: true,
            ..packets::data(PortNum::NodeinfoApp, user.unwrap_or_default())
        };
        let flight = Flight {
            packet: None,
            size: AIR_HEADER + data.encoded_len(),
            fates: vec![Fate::Sent],
        };
        let id = self.fresh_id();
        let queued = self.air.queue(flight, now);
        self.push_status(if queued { 0 } else { STATUS_QUEUE_FULL }, id);
    }

    /// Returns whether it is encrypted for its addressee alone: all direct messages, but for a few ports.
    fn is_direct(&self, packet: &Transmitted) -> bool {
        let on_channel = matches!(
            PortNum::try_from(packet.port),
            Ok(PortNum::TracerouteApp
                | PortNum::NodeinfoApp
                | PortNum::RoutingApp
                | PortNum::PositionApp)
        );
        let own_user = self.mesh.own.user.as_ref();
        let licensed = own_user.is_some_and(|user| user.is_licensed);
        packet.to != NodeNum::BROADCAST && !on_channel && !licensed
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
