//! What becomes of a packet on the air, and how the client hears of it.

use std::time::Instant;

use crate::model::NodeNum;
use crate::radio::proto::{
    Compressed, Data, MeshPacket, Message, PortNum,
    mesh_packet::{PayloadVariant, TransportMechanism},
    routing::Error,
};

use super::air::Outcome;
use super::fault::{BroadcastAnswer, DirectAnswer};
use super::machine::Machine;
use super::packets;
use super::report::{Fate, Report, Transmitted};
use super::sending::error_number;

impl Machine {
    /// Returns what will become of a packet on the air.
    pub(super) fn course(&self, packet: &MeshPacket) -> Vec<Outcome> {
        if !packet.want_ack {
            return vec![Outcome::Sent];
        }
        if self.state.nobody_repeats || !self.mesh.has_direct_neighbour() {
            return vec![Outcome::GaveUp];
        }
        if packet.to == NodeNum::BROADCAST.0 {
            return match self.state.broadcast_answer {
                BroadcastAnswer::Usual => vec![Outcome::Repeated],
                BroadcastAnswer::Twice => vec![Outcome::Repeated, Outcome::Repeated],
                BroadcastAnswer::Late => vec![Outcome::GaveUp, Outcome::Repeated],
                BroadcastAnswer::Never => vec![Outcome::GaveUp],
            };
        }
        match self.state.direct_answer {
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
            DirectAnswer::Error => vec![Outcome::Answered(self.state.direct_error)],
        }
    }

    /// The firmware's own simulator tells its client of each transmission: once more that there is room, and the packet
    /// itself, wrapped up.
    pub(super) fn tell_begun(&mut self, record: &Transmitted, now: Instant) {
        let wrapped = Compressed {
            portnum: record.port,
            data: record.payload.clone(),
        };
        let data = Data {
            portnum: i32::from(PortNum::SimulatorApp),
            payload: wrapped.encode_to_vec(),
            ..Data::default()
        };
        let packet = MeshPacket {
            from: self.mesh.own.num.0,
            to: record.to.0,
            channel: record.channel,
            id: record.id,
            hop_limit: record.hop_limit,
            hop_start: record.hop_limit,
            payload_variant: Some(PayloadVariant::Decoded(data)),
            ..MeshPacket::default()
        };
        self.push_status(0, record.id);
        self.push_packet(packet, now);
    }

    /// Tells the client, and whoever watches, what became of a packet.
    pub(super) fn settle(&mut self, record: Box<Transmitted>, outcome: Outcome, now: Instant) {
        let own = self.mesh.own.num;
        let broadcast = record.to == NodeNum::BROADCAST;
        let by_radio = |error| packets::own_routing(own, record.channel, record.id, error);
        let (answer, fate) = match outcome {
            Outcome::Sent => (None, Fate::Sent),
            Outcome::Repeated if broadcast => (Some(by_radio(0)), Fate::Heard),
            Outcome::Repeated => (Some(by_radio(0)), Fate::Relayed),
            Outcome::Answered(error) => {
                let snr = self.mesh.node(record.to).map_or(0.0, |node| node.snr);
                let answer = packets::answer_of(record.to, own, record.id, error, snr);
                let delivered = error == 0;
                let fate = if delivered {
                    Fate::Delivered
                } else {
                    Fate::Failed(error)
                };
                (Some(answer), fate)
            }
            Outcome::GaveUp => {
                let nak = by_radio(error_number(Error::MaxRetransmit));
                (Some(nak), Fate::Unheard)
            }
        };
        if let Some(mut answer) = answer {
            if self.state.mqtt_echo && fate == Fate::Heard {
                answer.transport_mechanism = i32::from(TransportMechanism::TransportMqtt);
            }
            if self.state.empty_acks
                && matches!(outcome, Outcome::Repeated | Outcome::Answered(0))
                && let Some(PayloadVariant::Decoded(data)) = &mut answer.payload_variant
            {
                data.payload.clear();
            }
            self.push_packet(answer, now);
        }
        self.report(Report::Transmitted {
            packet: record,
            fate,
        });
    }
}
