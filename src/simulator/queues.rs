//! What waits in the radio for its client: few of each kind, in memory only, and what is pushed out when they are full.

use std::collections::VecDeque;

use crate::radio::proto::{
    ClientNotification, LogRecord, MeshPacket, PortNum, QueueStatus, from_radio::PayloadVariant,
    mesh_packet::PayloadVariant as Body,
};

/// The firmware keeps so many unread queue statuses, and as many notifications; the oldest goes first.
const STATUSES: usize = 2;

/// Packets that most radios keep for their client (classic ESP32: 8, native: 100).
pub(super) const PACKETS: usize = 32;

/// What waits for the client, whether one is connected or not.
#[derive(Debug)]
pub(super) struct ClientQueues {
    statuses: VecDeque<QueueStatus>,
    notifications: VecDeque<ClientNotification>,
    log: VecDeque<LogRecord>,
    packets: VecDeque<MeshPacket>,
    capacity: usize,
}

impl ClientQueues {
    /// Makes empty queues; `capacity` is that of the packets.
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            statuses: VecDeque::new(),
            notifications: VecDeque::new(),
            log: VecDeque::new(),
            packets: VecDeque::new(),
            capacity,
        }
    }

    /// Changes how many packets are kept; surplus ones go, oldest first.
    pub(super) fn set_capacity(&mut self, capacity: usize) {
        self.capacity = capacity;
        while self.packets.len() > capacity {
            self.packets.pop_front();
        }
    }

    /// Adds a queue status; of more than two unread ones the oldest is lost.
    pub(super) fn push_status(&mut self, status: QueueStatus) {
        push_bounded(&mut self.statuses, status, STATUSES);
    }

    /// Adds a notification; of more than two unread ones the oldest is lost.
    pub(super) fn push_notification(&mut self, notification: ClientNotification) {
        push_bounded(&mut self.notifications, notification, STATUSES);
    }

    /// Adds a frame of the log; of more than two unread ones the oldest is lost.
    pub(super) fn push_log_record(&mut self, record: LogRecord) {
        push_bounded(&mut self.log, record, STATUSES);
    }

    /// Takes the next queue status.
    pub(super) fn pop_status(&mut self) -> Option<QueueStatus> {
        self.statuses.pop_front()
    }

    /// Adds a packet. When the queue is full, a text or range test pushes out the oldest packet of any kind, and every
    /// other packet is itself dropped.
    pub(super) fn push_packet(&mut self, packet: MeshPacket) {
        if self.packets.len() >= self.capacity {
            if !pushes_others_out(&packet) {
                return;
            }
            self.packets.pop_front();
        }
        if self.capacity > 0 {
            self.packets.push_back(packet);
        }
    }

    /// Takes what goes to the client next: statuses before notifications before packets.
    pub(super) fn pop(&mut self) -> Option<PayloadVariant> {
        if let Some(status) = self.pop_status() {
            return Some(PayloadVariant::QueueStatus(status));
        }
        if let Some(record) = self.log.pop_front() {
            return Some(PayloadVariant::LogRecord(record));
        }
        if let Some(notification) = self.notifications.pop_front() {
            return Some(PayloadVariant::ClientNotification(notification));
        }
        self.packets.pop_front().map(PayloadVariant::Packet)
    }

    /// Forgets everything, as a reboot does.
    pub(super) fn clear(&mut self) {
        self.statuses.clear();
        self.notifications.clear();
        self.log.clear();
        self.packets.clear();
    }
}

fn push_bounded<T>(queue: &mut VecDeque<T>, item: T, capacity: usize) {
    if queue.len() >= capacity {
        queue.pop_front();
    }
    queue.push_back(item);
}

fn pushes_others_out(packet: &MeshPacket) -> bool {
    match &packet.payload_variant {
        Some(Body::Decoded(data)) => {
            data.portnum == i32::from(PortNum::TextMessageApp)
                || data.portnum == i32::from(PortNum::RangeTestApp)
        }
        Some(Body::Encrypted(_)) | None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::radio::proto::Data;

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
            queues.push_status(QueueStatus {
                mesh_packet_id,
                ..QueueStatus::default()
            });
        }
        assert_eq!(drain(&mut queues), [4, 5]);
    }

    #[test]
    fn a_status_overtakes_a_packet() {
        let mut queues = ClientQueues::new(3);
        queues.push_packet(packet(1, PortNum::RoutingApp));
        queues.push_status(QueueStatus {
            mesh_packet_id: 2,
            ..QueueStatus::default()
        });
        assert_eq!(drain(&mut queues), [2, 1]);
    }
}
