//! What becomes of a packet on the air, and how the client hears of it.

use std::time::Instant;

use crate::model::NodeNum;
use crate::radio::proto::{
    Compressed, MeshPacket, Message, PortNum,
    mesh_packet::{PayloadVariant, TransportMechanism},
    routing::Error,
};

use super::fault::{BroadcastAnswer, DirectAnswer};
use super::machine::Machine;
use super::packets;
use super::report::{Fate, Report, Transmitted};
use super::sending::error_number;

impl Machine {
    /// Returns what will become of a packet on the air, one after the other.
    pub(super) fn course(&self, packet: &Transmitted) -> Vec<Fate> {
        if !packet.want_ack {
            return vec![Fate::Sent];
        }
        if self.state.nobody_repeats || !self.mesh.has_direct_neighbour() {
            return vec![Fate::Unheard];
        }
        if packet.to == NodeNum::BROADCAST {
            return match self.state.broadcast_answer {
                BroadcastAnswer::Usual => vec![Fate::Heard],
                BroadcastAnswer::Twice => vec![Fate::Heard, Fate::Heard],
                BroadcastAnswer::Late => vec![Fate::Unheard, Fate::Heard],
                BroadcastAnswer::Never => vec![Fate::Unheard],
            };
        }
        match self.state.direct_answer {
            DirectAnswer::Usual => match self.mesh.node(packet.to) {
                Some(node) if node.hops == 0 => vec![Fate::Delivered],
                Some(_) => vec![Fate::Relayed, Fate::Delivered],
                None => vec![Fate::Unheard],
            },
            DirectAnswer::ImplicitOnly => vec![Fate::Relayed],
            DirectAnswer::Swapped => vec![Fate::Delivered, Fate::Relayed],
            DirectAnswer::Twice => vec![Fate::Delivered, Fate::Delivered],
            DirectAnswer::Late => vec![Fate::Unheard, Fate::Delivered],
            DirectAnswer::Never => vec![Fate::Unheard],
            DirectAnswer::Error if self.state.direct_error == 0 => vec![Fate::Delivered],
            DirectAnswer::Error => vec![Fate::Failed(self.state.direct_error)],
        }
    }

    /// The firmware's own simulator tells its client of each transmission: once more that there is room, and the packet
    /// itself, wrapped up.
    pub(super) fn tell_begun(&mut self, record: &Transmitted, now: Instant) {
        let wrapped = Compressed {
            portnum: record.port,
            data: record.payload.clone(),
        };
        let data = packets::data(PortNum::SimulatorApp, wrapped.encode_to_vec());
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
    pub(super) fn settle(&mut self, packet: Box<Transmitted>, fate: Fate, now: Instant) {
        let own = self.mesh.own.num;
        let by_radio = |error| packets::own_routing(own, packet.channel, packet.id, error);
        let by_addressee = |error| {
            let snr = self.mesh.node(packet.to).map_or(0.0, |node| node.snr);
            packets::answer_of(packet.to, own, packet.id, error, snr)
        };
        let answer = match fate {
            Fate::Heard | Fate::Relayed => Some(by_radio(0)),
            Fate::Unheard => Some(by_radio(error_number(Error::MaxRetransmit))),
            Fate::Delivered => Some(by_addressee(0)),
            Fate::Failed(error) => Some(by_addressee(error)),
            // Nobody answers, or the client was told at once.
            _ => None,
        };
        if let Some(mut answer) = answer {
            if self.state.mqtt_echo && fate == Fate::Heard {
                answer.transport_mechanism = i32::from(TransportMechanism::TransportMqtt);
            }
            if self.state.empty_acks
                && matches!(fate, Fate::Heard | Fate::Relayed | Fate::Delivered)
                && let Some(PayloadVariant::Decoded(data)) = &mut answer.payload_variant
            {
                data.payload.clear();
            }
            self.push_packet(answer, now);
        }
        self.report(Report::Transmitted { packet, fate });
    }
}
