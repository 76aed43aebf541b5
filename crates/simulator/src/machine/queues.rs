//! The radio's queues for its client: bounded and in memory.

use std::collections::VecDeque;

use relay_wire::proto::{MeshPacket, PortNum, from_radio::PayloadVariant};

use crate::mesh::packets::port_of;

/// Maximum number of unread queue statuses, and of notifications; the oldest is dropped.
pub(super) const UNREAD: usize = 2;

/// Maximum number of packets kept by most radios (classic ESP32: 8, native: 100).
pub(super) const PACKETS: usize = 32;

/// The queues, which also fill without a client.
#[derive(Debug, Default)]
pub(super) struct ClientQueues {
    pub(crate) statuses: VecDeque<PayloadVariant>,
    pub(crate) log: VecDeque<PayloadVariant>,
    pub(super) notifications: VecDeque<PayloadVariant>,
    packets: VecDeque<MeshPacket>,
    capacity: usize,
    /// Packets replayed after a handshake, beside the queued ones.
    pub(crate) again: VecDeque<MeshPacket>,
}

impl ClientQueues {
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            capacity,
            ..Self::default()
        }
    }

    /// Changes the capacity for packets; the oldest surplus ones are dropped.
    pub(super) fn set_capacity(&mut self, capacity: usize) {
        self.capacity = capacity;
        let surplus = self.packets.len().saturating_sub(capacity);
        self.packets.drain(..surplus);
    }

    /// Queues a packet. In a full queue a text or range test replaces the oldest packet of any kind, and any other
    /// packet is dropped.
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

    /// Takes the next frame for the client: statuses, then the log, then notifications, then packets.
    pub(super) fn pop(&mut self) -> Option<PayloadVariant> {
        let first = [&mut self.statuses, &mut self.log, &mut self.notifications];
        let frame = first.into_iter().find_map(VecDeque::pop_front);
        frame.or_else(|| {
            let mut packets = [&mut self.packets, &mut self.again].into_iter();
            let packet = packets.find_map(VecDeque::pop_front);
            packet.map(PayloadVariant::Packet)
        })
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::new(self.capacity);
    }
}

/// Appends an item; beyond `most` the oldest is dropped.
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
