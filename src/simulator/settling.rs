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
use super::report::Fate;
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
    pub(super) fn tell_begun(&mut self, id: u32, now: Instant) {
        let Some(record) = self.flights.get(&id) else {
            return;
        };
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
            id,
            hop_limit: record.hop_limit,
            hop_start: record.hop_limit,
            payload_variant: Some(PayloadVariant::Decoded(data)),
            ..MeshPacket::default()
        };
        self.push_status(0, id);
        self.push_packet(packet, now);
    }

    /// Tells the client, and whoever watches, what became of a packet.
    pub(super) fn settle(&mut self, id: u32, outcome: Outcome, last: bool, now: Instant) {
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
        if let Some(mut answer) = answer {
            if self.state.mqtt_echo && broadcast && outcome == Outcome::Repeated {
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
        self.tell(&record, fate);
    }
}
