//! A test client of the machine: sends packets, advances the time, keeps reports.

use std::time::{Duration, Instant};

use relay_wire::proto::{
    Data, Heartbeat, MeshPacket, Message, PortNum, QueueStatus, Routing, ToRadio,
    from_radio::PayloadVariant as ToClient, mesh_packet::PayloadVariant as Body, routing,
    to_radio::PayloadVariant as FromClient, wire,
};

use super::lines::{Fate, Report};
use super::{machine::Machine, machine::frame, mesh::Mesh, simulated_radio::SimulatedRadio};

/// A machine, and the current time of its client.
pub(super) struct Harness {
    pub(super) machine: Machine,
    pub(super) now: Instant,
    /// The machine has closed the connection.
    pub(super) closed: bool,
    /// The frames that only firmware 2.8 sends.
    pub(super) newer: Vec<wire::NewerFromRadio>,
}

/// An answer to a packet.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum ClientAnswer {
    /// A queue status with that result.
    Status(i32),
    /// A routing packet from that node, with that error.
    Routing { from: u32, error: i32 },
}

impl Harness {
    /// A machine with that many neighbours and a configured client, all frames read.
    pub(super) fn live(neighbours: usize) -> Self {
        let mut harness = Self::new(neighbours);
        harness.connect();
        harness
    }

    /// A machine without a client.
    pub(super) fn new(neighbours: usize) -> Self {
        Self::of(Mesh::new(1, neighbours))
    }

    /// A machine without a client, in that mesh.
    pub(super) fn of(mesh: Mesh) -> Self {
        let now = Instant::now();
        let mut harness = Self {
            machine: Machine::new(mesh, 1, now),
            now,
            closed: false,
            newer: Vec::new(),
        };
        harness.fault(r#"{"fault": "telemetry", "on": false}"#);
        harness.fault(r#"{"fault": "slow_reads", "on": false}"#);
        harness
    }

    /// Connects a client and reads the configuration; returns the frames after it.
    pub(super) fn connect(&mut self) -> Vec<ToClient> {
        self.machine.on_connect(self.now);
        let frames = self.tell(FromClient::WantConfigId(77));
        let complete = frames
            .iter()
            .position(|frame| *frame == ToClient::ConfigCompleteId(77))
            .expect("the configuration ends");
        frames[complete + 1..].to_vec()
    }

    pub(super) fn own(&self) -> u32 {
        self.machine.mesh.own.num
    }

    pub(super) fn neighbour(&self, place: usize) -> u32 {
        self.machine.mesh.nodes[place].num
    }

    /// Sends a frame without reading.
    pub(super) fn write(&mut self, variant: FromClient) {
        let message = ToRadio {
            payload_variant: Some(variant),
        };
        self.machine.on_to_radio(&message.encode_to_vec(), self.now);
    }

    /// Sends a frame; returns the frames that follow at once.
    pub(super) fn tell(&mut self, variant: FromClient) -> Vec<ToClient> {
        self.write(variant);
        self.frames()
    }

    pub(super) fn heartbeat(&mut self, nonce: u32) -> Vec<ToClient> {
        self.tell(FromClient::Heartbeat(Heartbeat { nonce }))
    }

    /// Reads all waiting frames.
    pub(super) fn frames(&mut self) -> Vec<ToClient> {
        let (machine, now) = (&mut self.machine, self.now);
        let mut known = Vec::new();
        while let Some(frame) = machine.next_frame(now) {
            if let Some(variant) = frame::decode(&frame) {
                known.push(variant);
            } else {
                let newer = wire::NewerFromRadio::decode(frame.as_slice());
                self.newer.push(newer.expect("a frame decodes"));
            }
        }
        known
    }

    /// Advances the time step by step; returns the frames meanwhile.
    pub(super) fn wait(&mut self, span: Duration) -> Vec<ToClient> {
        let end = self.now + span;
        let mut frames = Vec::new();
        while let Some(at) = self.machine.deadline().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.machine.on_time(self.now);
            frames.extend(self.frames());
            self.closed |= self.machine.take_close(self.now);
        }
        self.now = end;
        frames
    }

    /// A broadcast text on channel 1, as the relay sends it.
    pub(super) fn text(&self, id: u32, text: &str) -> MeshPacket {
        self.packet(id, PortNum::TextMessageApp, text.as_bytes())
    }

    pub(super) fn packet(&self, id: u32, port: PortNum, payload: &[u8]) -> MeshPacket {
        MeshPacket {
            from: self.own(),
            to: u32::MAX,
            channel: 1,
            id,
            hop_limit: 3,
            want_ack: true,
            payload_variant: Some(Body::Decoded(Data {
                portnum: i32::from(port),
                payload: payload.to_vec(),
                ..Data::default()
            })),
            ..MeshPacket::default()
        }
    }

    /// Sends a packet; returns the answers to it that follow at once.
    pub(super) fn send(&mut self, packet: MeshPacket) -> Vec<ClientAnswer> {
        let id = packet.id;
        let frames = self.tell(FromClient::Packet(packet));
        answers(&frames, id)
    }

    /// Takes the reports; returns the fates of that packet.
    pub(super) fn fates(&mut self, id: u32) -> Vec<Fate> {
        std::iter::from_fn(|| self.machine.next_report())
            .filter_map(|report| match report {
                Report::Transmitted(packet, fate) if packet.header.id == id => Some(fate),
                _ => None,
            })
            .collect()
    }

    pub(super) fn fault(&mut self, line: &str) {
        let fault = serde_json::from_str(line).expect("a fault");
        self.machine
            .set_condition(&fault, self.now)
            .expect("a possible fault");
    }

    pub(super) fn hear(&mut self, line: &str) -> Vec<ToClient> {
        let say = serde_json::from_str(line).expect("something to say");
        self.machine.hear(&say, self.now).expect("it can be said");
        self.frames()
    }
}

/// Returns the answers to a packet among the frames, in order.
pub(super) fn answers(frames: &[ToClient], id: u32) -> Vec<ClientAnswer> {
    frames
        .iter()
        .filter_map(|frame| match frame {
            ToClient::QueueStatus(QueueStatus {
                res,
                mesh_packet_id,
                ..
            }) if *mesh_packet_id == id => Some(ClientAnswer::Status(*res)),
            ToClient::Packet(packet) => {
                let data = content(packet);
                let routing = Routing::decode(data.payload.as_slice()).ok()?;
                let routing::Variant::ErrorReason(error) = routing.variant? else {
                    return None;
                };
                let is_answer =
                    data.portnum == i32::from(PortNum::RoutingApp) && data.request_id == id;
                is_answer.then_some(ClientAnswer::Routing {
                    from: packet.from,
                    error,
                })
            }
            _ => None,
        })
        .collect()
}

/// Returns the packets among the frames.
pub(super) fn packets(frames: &[ToClient]) -> Vec<&MeshPacket> {
    frames
        .iter()
        .filter_map(|frame| match frame {
            ToClient::Packet(packet) => Some(packet),
            _ => None,
        })
        .collect()
}

/// Returns what a packet of the machine carries; panics if it is encrypted.
pub(super) fn content(packet: &MeshPacket) -> &Data {
    match &packet.payload_variant {
        Some(Body::Decoded(data)) => data,
        other => panic!("{other:?}"),
    }
}
