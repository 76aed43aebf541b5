//! What becomes of a packet on the air, and how the client hears of it.

use std::time::Instant;

use crate::model::NodeNum;
use crate::radio::proto::{MeshPacket, routing::Error};

use super::air::Outcome;
use super::fault::DirectAnswer;
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
        if let Some(answer) = answer {
            self.push_packet(answer, now);
        }
        self.tell(&record, fate);
    }
}
