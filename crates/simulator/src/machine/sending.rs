//! Packets of the client: the firmware's checks, the refusals (by rate limit, state or fault) and their reports, and
//! the way to the air. `settling.rs` handles the outcomes.

use std::time::Instant;

use relay_model::NodeNum;
use relay_wire::proto::{
    Data, MeshPacket, Message, PortNum, User, mesh_packet::PayloadVariant, routing::Error,
};

use super::Machine;
use crate::lines::{Fate, Fault, Report, Transmitted};
use crate::mesh::air::{AirEvent, Flight};
use crate::mesh::packets::{self, error_number};

/// Header of a packet on the air.
const AIR_HEADER: usize = 16;

/// Maximum payload of a frame that the radio decodes.
const PAYLOAD_LIMIT: usize = 234;

/// Maximum size of an encoded `Data` on the air, and the overhead of encrypting direct messages.
const DATA_LIMIT: usize = 239;
const DIRECT_OVERHEAD: usize = 12;

/// A queue status that is not a `Routing.Error`.
const STATUS_DISABLED: u32 = 34;

/// A refusal, and how the client is told.
#[derive(Debug)]
struct RefusedSend {
    fate: Fate,
    status: u32,
    /// A routing packet with that `Routing.Error`, on that channel.
    nak: Option<(u32, u32)>,
    notification: Option<&'static str>,
}

impl RefusedSend {
    /// Refuses by a queue status and a routing packet with that number.
    fn by(error: u32) -> Self {
        Self {
            fate: Fate::Refused(error),
            status: error,
            nak: Some((error, 0)),
            notification: None,
        }
    }
}

impl Machine {
    pub(super) fn send(&mut self, mut header: MeshPacket, now: Instant) {
        let Some(PayloadVariant::Decoded(content)) = header.payload_variant.take() else {
            return self.ignore("a packet without readable content", 0);
        };
        let size = content.payload.len();
        if size > PAYLOAD_LIMIT {
            return self.ignore("a payload that the radio cannot decode", size);
        }
        if header.id == 0 {
            header.id = self.fresh_id();
        }
        let packet = Box::new(Transmitted {
            header,
            content,
            at: self.uptime(now),
        });
        let fate = self.handle_packet(&packet, now);
        self.report(Report::Transmitted(packet, fate));
    }

    /// Returns the immediate fate of the packet.
    fn handle_packet(&mut self, packet: &Transmitted, now: Instant) -> Fate {
        if take_one(&mut self.state.lost) {
            return Fate::Lost;
        }
        let session = self.session.as_mut();
        if session.is_none_or(|session| session.limits.is_repeated(packet.header.id)) {
            return Fate::Duplicate;
        }
        let silent = take_one(&mut self.state.silent);
        let limited = self.rate_limit(packet, now);
        if limited.is_none() && packet.header.to == self.mesh.own.num {
            self.deliver_locally(packet, now);
            return Fate::Local;
        }
        let direct = self.is_direct(packet);
        if let Some(refusal) = limited.or_else(|| self.refusal(packet, direct)) {
            self.push_refusal(packet.header.id, &refusal, silent, now);
            return refusal.fate;
        }
        let overhead = AIR_HEADER + if direct { DIRECT_OVERHEAD } else { 0 };
        let flight = Flight {
            packet: Some(Box::new(packet.clone())),
            size: overhead + on_air(&packet.content).encoded_len(),
            fates: self.course(packet),
        };
        let fate = self.air.queue(flight, now);
        if !silent {
            self.push_status(fate.error().unwrap_or_default(), packet.header.id);
        }
        fate
    }

    /// Applies the rate limit: an early packet is dropped, with a status that looks like success. For a text a routing
    /// packet follows, addressed to the sender given by the client: without a sender it never arrives.
    fn rate_limit(&mut self, packet: &Transmitted, now: Instant) -> Option<RefusedSend> {
        let header = &packet.header;
        let port = PortNum::try_from(packet.content.portnum).ok()?;
        let is_trace = port == PortNum::TracerouteApp;
        let floods = is_trace && header.to == NodeNum::BROADCAST.0 && header.hop_limit > 0;
        if !floods && self.session.as_mut()?.limits.passes(port, now) {
            return None;
        }
        let heard_of = port == PortNum::TextMessageApp && header.from == self.mesh.own.num;
        Some(RefusedSend {
            fate: Fate::RateLimited,
            status: 0,
            nak: heard_of.then(|| (error_number(Error::RateLimitExceeded), header.channel)),
            notification: is_trace.then_some("TraceRoute can only be sent once every 30 seconds"),
        })
    }

    /// Returns the refusal of the packet, if any; the checks are in the firmware's order.
    fn refusal(&mut self, packet: &Transmitted, direct: bool) -> Option<RefusedSend> {
        let refuse = &mut self.state.refuse;
        if !take_one(&mut refuse.skip) && take_one(&mut refuse.count) {
            let mut refusal = RefusedSend::by(refuse.error);
            if refuse.error == error_number(Error::RateLimitExceeded) {
                // The rate limit looks like success until its routing packet arrives.
                refusal.status = 0;
            }
            refusal.nak = refusal.nak.filter(|_| refuse.nak);
            return Some(refusal);
        }
        if self.state.is_on(Fault::DutyCycle) {
            let text = "Duty cycle limit exceeded. You can send again in 12 mins";
            return Some(RefusedSend {
                notification: Some(text),
                ..RefusedSend::by(error_number(Error::DutyCycleLimit))
            });
        }
        let error = if direct {
            let key = self.mesh.public_key(NodeNum(packet.header.to));
            key.is_none().then_some(Error::PkiSendFailPublicKey)
        } else {
            let enabled = self.mesh.channel_enabled(packet.header.channel);
            (!enabled).then_some(Error::NoChannel)
        };
        let limit = DATA_LIMIT - if direct { DIRECT_OVERHEAD } else { 0 };
        let too_large = on_air(&packet.content).encoded_len() > limit;
        let error = error.or(too_large.then_some(Error::TooLarge));
        if let Some(error) = error {
            return Some(RefusedSend::by(error_number(error)));
        }
        let state = &self.state;
        let disabled = state.is_on(Fault::RegionUnset) || state.is_on(Fault::TransmitOff);
        disabled.then(|| RefusedSend {
            nak: None,
            ..RefusedSend::by(STATUS_DISABLED)
        })
    }

    fn push_refusal(&mut self, id: u32, refusal: &RefusedSend, silent: bool, now: Instant) {
        if !silent {
            self.push_status(refusal.status, id);
        }
        if let Some(text) = refusal.notification {
            self.push_notification(text, Some(id), now);
        }
        if let Some((error, channel)) = refusal.nak {
            let nak = packets::own_routing(self.mesh.own_num(), channel, id, error);
            self.push_packet(nak, now);
        }
    }

    pub(super) fn progress_on_air(&mut self, now: Instant) {
        while let Some(event) = self.air.next(now) {
            match event {
                AirEvent::Begun { packet, room_again } => {
                    if room_again {
                        self.push_status(0, 0);
                    }
                    if let Some(packet) = packet
                        && self.state.is_on(Fault::SimulatedRadio)
                    {
                        self.tell_begun(&packet, now);
                    }
                }
                AirEvent::Became(packet, fate) => self.settle(packet, fate, now),
            }
        }
    }

    /// Broadcasts the radio's own names, as a heartbeat with nonce 1 requests.
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
        let fate = self.air.queue(flight, now);
        self.push_status(fate.error().unwrap_or_default(), id);
    }

    /// Returns whether the packet is encrypted for its addressee alone, as direct messages on most ports are.
    fn is_direct(&self, packet: &Transmitted) -> bool {
        let on_channel = [
            PortNum::TracerouteApp,
            PortNum::NodeinfoApp,
            PortNum::RoutingApp,
            PortNum::PositionApp,
        ];
        let on_channel = on_channel.map(i32::from).contains(&packet.content.portnum);
        let own_user = self.mesh.own.user.as_ref();
        let licensed = own_user.is_some_and(|user| user.is_licensed);
        packet.header.to != NodeNum::BROADCAST.0 && !on_channel && !licensed
    }
}

/// Returns the content on the air, where the firmware adds the bit field of two bytes.
fn on_air(data: &Data) -> Data {
    Data {
        bitfield: Some(u32::from(data.want_response) << 1),
        ..data.clone()
    }
}

/// Decrements a counter; returns whether it was above 0.
fn take_one(count: &mut u32) -> bool {
    let left = *count > 0;
    *count = count.saturating_sub(1);
    left
}

#[cfg(test)]
mod tests;
