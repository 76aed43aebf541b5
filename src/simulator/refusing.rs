//! What the radio does not send, and how it says so: rate limits, refusals by the state of the radio, and by order.

use std::time::Instant;

use crate::model::NodeNum;
use crate::radio::proto::{Data, Message, PortNum, routing::Error};

use super::machine::Machine;
use super::packets;
use super::report::{Fate, Transmitted};
use super::sending::{error_number, on_air, take_one};

/// Encoded `Data` that fits on the air, and how much of it the encryption of direct messages takes.
const DATA_LIMIT: usize = 239;
pub(super) const DIRECT_OVERHEAD: usize = 12;

/// Queue statuses with numbers of their own.
pub(super) const STATUS_QUEUE_FULL: u32 = 32;
const STATUS_DISABLED: u32 = 34;

/// Why a packet is not sent, and how its client hears of it.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) fate: Fate,
    /// The queue status.
    status: u32,
    /// A routing packet with that `Routing.Error`, on that channel.
    nak: Option<(u32, u32)>,
    notification: Option<&'static str>,
}

impl Refusal {
    /// By a queue status and a routing packet with that number.
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
    /// A packet that comes too soon is dropped, and the status looks like success. Only for a text there is a routing
    /// packet, addressed to the sender that the client named: without a sender it never comes.
    pub(super) fn rate_limit(&mut self, packet: &Transmitted, now: Instant) -> Option<Refusal> {
        let port = PortNum::try_from(packet.port).ok()?;
        let is_trace = port == PortNum::TracerouteApp;
        let floods = is_trace && packet.to == NodeNum::BROADCAST && packet.hop_limit > 0;
        if !floods && self.session.as_mut()?.limits.passes(port, now) {
            return None;
        }
        let heard_of = port == PortNum::TextMessageApp && packet.from == self.mesh.own.num;
        Some(Refusal {
            fate: Fate::RateLimited,
            status: 0,
            nak: heard_of.then(|| (error_number(Error::RateLimitExceeded), packet.channel)),
            notification: is_trace.then_some("TraceRoute can only be sent once every 30 seconds"),
        })
    }

    /// Returns why the packet cannot be sent, if so; the order of the checks is the firmware's.
    pub(super) fn refusal(
        &mut self,
        packet: &Transmitted,
        data: &Data,
        direct: bool,
    ) -> Option<Refusal> {
        let refuse = &mut self.state.refuse;
        if !take_one(&mut refuse.skip) && take_one(&mut refuse.count) {
            let mut refusal = Refusal::by(refuse.error);
            if refuse.error == error_number(Error::RateLimitExceeded) {
                // The rate limit looks like success until its routing packet comes.
                refusal.status = 0;
            }
            refusal.nak = refusal.nak.filter(|_| refuse.nak);
            return Some(refusal);
        }
        if self.state.duty_cycle {
            let text = "Duty cycle limit exceeded. You can send again in 12 mins";
            return Some(Refusal {
                notification: Some(text),
                ..Refusal::by(error_number(Error::DutyCycleLimit))
            });
        }
        let error = if direct {
            let addressee = self.mesh.node(packet.to);
            let key = addressee.and_then(|node| node.public_key());
            key.is_none().then_some(Error::PkiSendFailPublicKey)
        } else {
            let enabled = self.mesh.channel_enabled(packet.channel);
            (!enabled).then_some(Error::NoChannel)
        };
        let limit = DATA_LIMIT - if direct { DIRECT_OVERHEAD } else { 0 };
        let too_large = on_air(data).encoded_len() > limit;
        let error = error.or(too_large.then_some(Error::TooLarge));
        if let Some(error) = error {
            return Some(Refusal::by(error_number(error)));
        }
        let disabled = self.state.region_unset || self.state.transmit_off;
        disabled.then(|| Refusal {
            nak: None,
            ..Refusal::by(STATUS_DISABLED)
        })
    }

    pub(super) fn push_refusal(&mut self, id: u32, refusal: &Refusal, silent: bool, now: Instant) {
        if !silent {
            self.push_status(refusal.status, id);
        }
        if let Some(text) = refusal.notification {
            self.push_notification(text, Some(id), now);
        }
        if let Some((error, channel)) = refusal.nak {
            let nak = packets::own_routing(self.mesh.own.num, channel, id, error);
            self.push_packet(nak, now);
        }
    }
}
