//! What waits in the radio for its client: few of each kind, in memory only, and what is pushed out when they are full.

use std::collections::VecDeque;

use relay_wire::proto::{MeshPacket, PortNum, from_radio::PayloadVariant};

use crate::mesh::packets::port_of;

/// The firmware keeps so many unread queue statuses, and as many notifications; the oldest goes first.
pub(super) const UNREAD: usize = 2;

/// Packets that most radios keep for their client (classic ESP32: 8, native: 100).
pub(super) const PACKETS: usize = 32;

/// What waits for the client, whether one is connected or not.
#[derive(Debug, Default)]
pub(super) struct ClientQueues {
    pub(crate) statuses: VecDeque<PayloadVariant>,
    pub(crate) log: VecDeque<PayloadVariant>,
    pub(super) notifications: VecDeque<PayloadVariant>,
    packets: VecDeque<MeshPacket>,
    capacity: usize,
    /// What is told after a handshake, beside what waits.
    pub(crate) again: VecDeque<MeshPacket>,
}

impl ClientQueues {
    /// Makes empty queues; `capacity` is that of the packets.
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            capacity,
            ..Self::default()
        }
    }

    /// Changes how many packets are kept; surplus ones go, oldest first.
    pub(super) fn set_capacity(&mut self, capacity: usize) {
        self.capacity = capacity;
        let surplus = self.packets.len().saturating_sub(capacity);
        self.packets.drain(..surplus);
    }

    /// Adds a packet. When the queue is full, a text or range test pushes out the oldest packet of any kind, and every
    /// other packet is itself dropped.
    pub(super) fn push_packet(&mut self, packet: MeshPacket) {
        if self.packets.len() >= self.capacity {
            let strong = [PortNum::TextMessageApp, PortNum::RangeTestApp].map(i32::from);
            if !port_of(&packet).is_some_and(|port| strong.contains(&port)) {
                return;
            }
            self.packets.pop_front();
        }
        if self.capacity > 0 {
            self.packets.push_back(packet);
        }
    }

    /// Takes what goes to the client next: statuses before the log before notifications before packets.
    pub(super) fn pop(&mut self) -> Option<PayloadVariant> {
        let told = [&mut self.statuses, &mut self.log, &mut self.notifications];
        let told = told.into_iter().find_map(VecDeque::pop_front);
        told.or_else(|| {
            let mut packets = [&mut self.packets, &mut self.again].into_iter();
            let packet = packets.find_map(VecDeque::pop_front);
            packet.map(PayloadVariant::Packet)
        })
    }

    /// Forgets everything, as a reboot does.
    pub(crate) fn clear(&mut self) {
        *self = Self::new(self.capacity);
    }
}

/// Adds an item; of more than `most` the oldest is lost.
pub(crate) fn push_latest<T>(queue: &mut VecDeque<T>, item: T, most: usize) {
    if queue.len() >= most {
        queue.pop_front();
    }
    queue.push_back(item);
}

#[cfg(test)]
mod tests {
    use super::*;
    use relay_wire::proto::{Data, QueueStatus, mesh_packet::PayloadVariant as Body};

    fn packet(id: u32, port: PortNum) -> MeshPacket {
        MeshPacket {
            id,
            payload_variant: Some(Body::Decoded(Data {
                portnum: i32::from(port),
                ..Data::default()
            })),
            ..MeshPacket::default()
        }
    }

    fn push_status(queues: &mut ClientQueues, mesh_packet_id: u32) {
        let status = PayloadVariant::QueueStatus(QueueStatus {
            mesh_packet_id,
            ..QueueStatus::default()
        });
        push_latest(&mut queues.statuses, status, UNREAD);
    }

    fn drain(queues: &mut ClientQueues) -> Vec<u32> {
        std::iter::from_fn(|| queues.pop())
            .map(|frame| match frame {
                PayloadVariant::Packet(packet) => packet.id,
                PayloadVariant::QueueStatus(status) => status.mesh_packet_id,
                other => panic!("{other:?}"),
            })
            .collect()
    }

    #[test]
    fn a_text_pushes_out_the_oldest_packet_and_other_kinds_are_dropped() {
        let mut queues = ClientQueues::new(3);
        queues.push_packet(packet(1, PortNum::TelemetryApp));
        queues.push_packet(packet(2, PortNum::TextMessageApp));
        queues.push_packet(packet(3, PortNum::RoutingApp));
        queues.push_packet(packet(4, PortNum::PositionApp));
        queues.push_packet(packet(5, PortNum::TextMessageApp));
        queues.push_packet(packet(6, PortNum::RangeTestApp));
        assert_eq!(drain(&mut queues), [3, 5, 6]);
    }

    #[test]
    fn only_the_last_two_queue_statuses_are_kept() {
        let mut queues = ClientQueues::new(3);
        for mesh_packet_id in 1..=5 {
            push_status(&mut queues, mesh_packet_id);
        }
        assert_eq!(drain(&mut queues), [4, 5]);
    }

    #[test]
    fn a_status_overtakes_a_packet() {
        let mut queues = ClientQueues::new(3);
        queues.push_packet(packet(1, PortNum::RoutingApp));
        push_status(&mut queues, 2);
        assert_eq!(drain(&mut queues), [2, 1]);
    }
}
