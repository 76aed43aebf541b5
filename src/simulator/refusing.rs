//! What the radio does not send, and how it says so: rate limits, refusals by the state of the radio, and by order.

use std::time::Instant;

use crate::model::NodeNum;
use crate::radio::proto::{Data, MeshPacket, Message, PortNum, routing::Error};

use super::limits::Limit;
use super::machine::Machine;
use super::packets;
use super::sending::{error_number, on_air, take_one};

/// Encoded `Data` that fits on the air, and how much of it the encryption of direct messages takes.
const DATA_LIMIT: usize = 239;
pub(super) const DIRECT_OVERHEAD: usize = 12;

/// Queue statuses with numbers of their own.
pub(super) const STATUS_QUEUE_FULL: i32 = 32;
const STATUS_DISABLED: i32 = 34;

impl Machine {
    pub(super) fn rate_limit(
        &mut self,
        packet: &MeshPacket,
        data: &Data,
        now: Instant,
    ) -> Option<Limit> {
        let is_trace = data.portnum == i32::from(PortNum::TracerouteApp);
        if is_trace && packet.to == NodeNum::BROADCAST.0 && packet.hop_limit > 0 {
            return Some(Limit::Trace);
        }
        let session = self.session.as_mut()?;
        match session.limits.check(data.portnum, now) {
            Limit::Passes => None,
            limit @ (Limit::Text | Limit::Port | Limit::Trace) => Some(limit),
        }
    }

    /// The status looks like success; only for a text there is a routing packet, addressed to the sender that the
    /// client named: without a sender it never comes.
    pub(super) fn push_limited(
        &mut self,
        packet: &MeshPacket,
        limit: Limit,
        status_told: bool,
        now: Instant,
    ) {
        if status_told {
            self.push_status(0, packet.id);
        }
        let own = self.mesh.own.num;
        match limit {
            Limit::Text if packet.from == own.0 => {
                let number = error_number(Error::RateLimitExceeded);
                let nak = packets::own_routing(own, packet.channel, packet.id, number);
                self.push_packet(nak, now);
            }
            Limit::Trace => {
                let text = "TraceRoute can only be sent once every 30 seconds";
                self.push_notification(text, Some(packet.id), now);
            }
            Limit::Text | Limit::Port | Limit::Passes => {}
        }
    }

    /// Returns why the packet cannot be sent, if so; the order of the checks is the firmware's.
    pub(super) fn refusal(&mut self, packet: &MeshPacket, data: &Data) -> Option<Refusal> {
        let refuse = &mut self.state.refuse;
        if !take_one(&mut refuse.skip) && take_one(&mut refuse.count) {
            return Some(Refusal {
                number: refuse.error,
                nak: refuse.nak,
                duty_cycle: false,
            });
        }
        if self.state.duty_cycle {
            return Some(Refusal {
                duty_cycle: true,
                ..Refusal::by(Error::DutyCycleLimit)
            });
        }
        let direct = self.is_direct(packet, data);
        if direct && self.key_of(packet.to).is_none() {
            return Some(Refusal::by(Error::PkiSendFailPublicKey));
        }
        if !direct && !self.mesh.channel_enabled(packet.channel) {
            return Some(Refusal::by(Error::NoChannel));
        }
        let limit = DATA_LIMIT - if direct { DIRECT_OVERHEAD } else { 0 };
        if on_air(data).encoded_len() > limit {
            return Some(Refusal::by(Error::TooLarge));
        }
        if self.state.region_unset || self.state.transmit_off {
            return Some(Refusal {
                number: STATUS_DISABLED.unsigned_abs(),
                nak: false,
                duty_cycle: false,
            });
        }
        None
    }

    pub(super) fn push_refusal(
        &mut self,
        packet: &MeshPacket,
        refusal: Refusal,
        status_told: bool,
        now: Instant,
    ) {
        if status_told {
            // The rate limit looks like success until its routing packet comes.
            let limited = refusal.number == error_number(Error::RateLimitExceeded);
            let res = i32::try_from(refusal.number).unwrap_or(i32::MAX);
            self.push_status(if limited { 0 } else { res }, packet.id);
        }
        if refusal.duty_cycle {
            let text = "Duty cycle limit exceeded. You can send again in 12 mins";
            self.push_notification(text, Some(packet.id), now);
        }
        if refusal.nak {
            let own = self.mesh.own.num;
            let nak = packets::own_routing(own, 0, packet.id, refusal.number);
            self.push_packet(nak, now);
        }
    }
}

/// Why a packet cannot be sent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Refusal {
    /// The queue status, and the `Routing.Error`.
    pub(super) number: u32,
    /// A routing packet says so too.
    nak: bool,
    /// A notification says so too.
    duty_cycle: bool,
}

impl Refusal {
    fn by(error: Error) -> Self {
        Self {
            number: error_number(error),
            nak: true,
            duty_cycle: false,
        }
    }
}
