//! The outcome of a packet on the air, and its report to the client.

use std::time::Instant;

use relay_model::NodeNum;
use relay_wire::proto::{
    Compressed, MeshPacket, Message, PortNum,
    mesh_packet::{PayloadVariant, TransportMechanism},
};

use super::Machine;
use crate::lines::{BroadcastAnswer, DirectAnswer, Fate, Fault, Report, Transmitted};
use crate::mesh::packets;

impl Machine {
    /// Returns the successive fates of a packet on the air.
    pub(super) fn course(&self, packet: &Transmitted) -> Vec<Fate> {
        if !packet.header.want_ack {
            return vec![Fate::Sent];
        }
        let mut nodes = self.mesh.nodes.iter();
        let is_anyone_near = nodes.any(|node| node.hops_away == Some(0));
        if self.state.is_on(Fault::NobodyRepeats) || !is_anyone_near {
            return vec![Fate::Unheard];
        }
        let to = NodeNum(packet.header.to);
        if to == NodeNum::BROADCAST {
            return match self.state.broadcast_answer {
                BroadcastAnswer::Usual => vec![Fate::Heard],
                BroadcastAnswer::Twice => vec![Fate::Heard, Fate::Heard],
                BroadcastAnswer::Late => vec![Fate::Unheard, Fate::Heard],
                BroadcastAnswer::Never => vec![Fate::Unheard],
            };
        }
        match self.state.direct_answer {
            DirectAnswer::Usual => match self.mesh.node(to) {
                Some(node) if node.hops_away == Some(0) => vec![Fate::Delivered],
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

    /// Reports a transmission, as the firmware's own simulator does: a further queue status, and the packet itself in a
    /// wrapper.
    pub(super) fn tell_begun(&mut self, packet: &Transmitted, now: Instant) {
        let (header, content) = (&packet.header, &packet.content);
        let wrapped = Compressed {
            portnum: content.portnum,
            data: content.payload.clone(),
        };
        let data = packets::data(PortNum::SimulatorApp, wrapped.encode_to_vec());
        let packet = MeshPacket {
            from: self.mesh.own.num,
            to: header.to,
            channel: header.channel,
            id: header.id,
            hop_limit: header.hop_limit,
            hop_start: header.hop_limit,
            payload_variant: Some(PayloadVariant::Decoded(data)),
            ..MeshPacket::default()
        };
        self.push_status(0, header.id);
        self.push_packet(packet, now);
    }

    /// Reports the fate of a packet to the client and to the observers.
    pub(super) fn settle(&mut self, packet: Box<Transmitted>, fate: Fate, now: Instant) {
        let (header, own, error) = (&packet.header, self.mesh.own_num(), fate.error());
        let number = error.unwrap_or_default();
        let answer = match fate {
            Fate::Heard | Fate::Relayed | Fate::Unheard => {
                Some(packets::own_routing(own, header.channel, header.id, number))
            }
            Fate::Delivered | Fate::Failed(_) => {
                let to = NodeNum(header.to);
                let snr = self.mesh.node(to).map_or(0.0, |node| node.snr);
                Some(packets::answer_of(to, own, header.id, number, snr))
            }
            // Unanswered, or answered at once.
            _ => None,
        };
        if let Some(mut answer) = answer {
            if fate == Fate::Heard && self.state.is_on(Fault::MqttEcho) {
                answer.set_transport_mechanism(TransportMechanism::TransportMqtt);
            }
            if self.state.is_on(Fault::EmptyAcks)
                && error.is_none()
                && let Some(PayloadVariant::Decoded(data)) = &mut answer.payload_variant
            {
                data.payload.clear();
            }
            self.push_packet(answer, now);
        }
        self.report(Report::Transmitted(packet, fate));
    }
}
