//! What the radio does with its client's packets: the firmware's checks, the air, the answers.

use std::time::Instant;

use crate::model::NodeNum;
use crate::radio::proto::{
    Data, MeshPacket, Message, PortNum, User, mesh_packet::PayloadVariant, routing::Error,
};

use super::air::{AirEvent, Flight, Outcome};
use super::fault::DirectAnswer;
use super::limits::Limit;
use super::machine::Machine;
use super::packets;
use super::report::{Fate, Report, Transmitted};

/// Encoded `Data` that fits on the air, and how much of it the encryption of direct messages takes.
const DATA_LIMIT: usize = 239;
const DIRECT_OVERHEAD: usize = 12;

/// Header of a packet on the air.
const AIR_HEADER: usize = 16;

/// A frame with a longer payload does not even decode on the radio.
const PAYLOAD_LIMIT: usize = 234;

/// Queue statuses with numbers of their own.
const STATUS_QUEUE_FULL: i32 = 32;
const STATUS_DISABLED: i32 = 34;

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
        if take_one(&mut self.faults.lost) {
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
        let status_told = !take_one(&mut self.faults.silent);
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
    fn tell(&mut self, record: &Transmitted, fate: Fate) {
        self.report(Report::Transmitted {
            packet: Box::new(record.clone()),
            fate,
        });
    }

    fn rate_limit(&mut self, packet: &MeshPacket, data: &Data, now: Instant) -> Option<Limit> {
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
    fn push_limited(&mut self, packet: &MeshPacket, limit: Limit, status_told: bool, now: Instant) {
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
    fn refusal(&mut self, packet: &MeshPacket, data: &Data) -> Option<Refusal> {
        if let Some(refuse) = &mut self.faults.refuse
            && take_one(&mut refuse.count)
        {
            return Some(Refusal {
                number: refuse.error,
                nak: refuse.nak,
                duty_cycle: false,
            });
        }
        if self.faults.duty_cycle {
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
        if !self.state.region_set || !self.state.transmit_enabled {
            return Some(Refusal {
                number: STATUS_DISABLED.unsigned_abs(),
                nak: false,
                duty_cycle: false,
            });
        }
        None
    }

    fn push_refusal(
        &mut self,
        packet: &MeshPacket,
        refusal: Refusal,
        status_told: bool,
        now: Instant,
    ) {
        if status_told {
            let res = i32::try_from(refusal.number).unwrap_or(i32::MAX);
            self.push_status(res, packet.id);
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

    /// Returns what will become of a packet on the air.
    fn course(&self, packet: &MeshPacket) -> Vec<Outcome> {
        if !packet.want_ack {
            return vec![Outcome::Sent];
        }
        if self.faults.nobody_repeats || !self.mesh.has_direct_neighbour() {
            return vec![Outcome::GaveUp];
        }
        if packet.to == NodeNum::BROADCAST.0 {
            return vec![Outcome::Repeated];
        }
        match self.faults.direct_answer {
            DirectAnswer::Usual => match self.mesh.node(NodeNum(packet.to)) {
                Some(node) if node.hops == 0 => vec![Outcome::Answered(0)],
                Some(_) => vec![Outcome::Repeated, Outcome::Answered(0)],
                None => vec![Outcome::GaveUp],
            },
            DirectAnswer::ImplicitOnly => vec![Outcome::Repeated],
            DirectAnswer::Swapped => vec![Outcome::Answered(0), Outcome::Repeated],
            DirectAnswer::Twice => vec![Outcome::Answered(0), Outcome::Answered(0)],
            DirectAnswer::Late => vec![Outcome::GaveUp, Outcome::Answered(0)],
            DirectAnswer::Never => vec![Outcome::GaveUp],
            DirectAnswer::Error => vec![Outcome::Answered(self.faults.direct_error)],
        }
    }

    /// Tells the client, and whoever watches, what became of a packet.
    fn settle(&mut self, id: u32, outcome: Outcome, last: bool, now: Instant) {
        let record = if last {
            self.flights.remove(&id)
        } else {
            self.flights.get(&id).cloned()
        };
        let Some(record) = record else {
            return;
        };
        let own = self.mesh.own.num;
        let broadcast = record.to == NodeNum::BROADCAST;
        let (answer, fate) = match outcome {
            Outcome::Sent => (None, Fate::Sent),
            Outcome::Repeated => (
                Some(packets::own_routing(own, record.channel, id, 0)),
                if broadcast {
                    Fate::Heard
                } else {
                    Fate::Relayed
                },
            ),
            Outcome::Answered(error) => {
                let snr = self.mesh.node(record.to).map_or(0.0, |node| node.snr);
                (
                    Some(packets::answer_of(record.to, own, id, error, snr)),
                    if error == 0 {
                        Fate::Delivered
                    } else {
                        Fate::Failed(error)
                    },
                )
            }
            Outcome::GaveUp => {
                let number = error_number(Error::MaxRetransmit);
                let nak = packets::own_routing(own, record.channel, id, number);
                (Some(nak), Fate::Unheard)
            }
        };
        if let Some(answer) = answer {
            self.push_packet(answer, now);
        }
        self.tell(&record, fate);
    }

    /// Returns whether it is encrypted for its addressee alone: all direct messages, but for a few ports.
    fn is_direct(&self, packet: &MeshPacket, data: &Data) -> bool {
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

    fn key_of(&self, node: u32) -> Option<&[u8]> {
        self.mesh.node(NodeNum(node))?.public_key()
    }
}

/// Why a packet cannot be sent.
#[derive(Debug, Clone, Copy)]
struct Refusal {
    /// The queue status, and the `Routing.Error`.
    number: u32,
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

/// Returns the content as it goes on the air: the firmware adds the bit field, which takes two bytes.
fn on_air(data: &Data) -> Data {
    Data {
        bitfield: Some(u32::from(data.want_response) << 1),
        ..data.clone()
    }
}

fn error_number(error: Error) -> u32 {
    i32::from(error).unsigned_abs()
}

/// Counts one down; returns whether there was one left.
fn take_one(count: &mut u32) -> bool {
    let left = *count > 0;
    *count = count.saturating_sub(1);
    left
}
