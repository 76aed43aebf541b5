//! Packets of the radio itself: acknowledgements, telemetry, answers to its owner.

use relay_model::NodeNum;
use relay_wire::proto::{
    Data, DeviceMetrics, EnvironmentMetrics, MeshPacket, Message, PortNum, Position, Routing,
    StatusMessage, Telemetry,
    mesh_packet::{PayloadVariant, Priority, TransportMechanism},
    routing, telemetry,
};

use super::{HOP_LIMIT, Mesh};

/// Returns the radio's own routing packet for a packet of its client: an acknowledgement if `error` is 0, else a
/// refusal.
pub(crate) fn own_routing(own: NodeNum, channel: u32, request_id: u32, error: u32) -> MeshPacket {
    MeshPacket {
        from: own.0,
        to: own.0,
        channel,
        priority: i32::from(Priority::Ack),
        payload_variant: Some(routing_data(request_id, error, None)),
        ..MeshPacket::default()
    }
}

/// Returns another node's routing packet for a direct message.
pub(crate) fn answer_of(
    peer: NodeNum,
    own: NodeNum,
    request_id: u32,
    error: u32,
    snr: f32,
) -> MeshPacket {
    MeshPacket {
        from: peer.0,
        to: own.0,
        rx_snr: snr,
        rx_rssi: -60,
        hop_limit: 2,
        hop_start: 2,
        want_ack: true,
        relay_node: peer.0 & 0xFF,
        transport_mechanism: i32::from(TransportMechanism::TransportLora),
        payload_variant: Some(routing_data(request_id, error, Some(0))),
        ..MeshPacket::default()
    }
}

/// Returns a broadcast of the radio itself that only its client receives.
pub(crate) fn own_broadcast(own: NodeNum, port: PortNum, payload: Vec<u8>) -> MeshPacket {
    MeshPacket {
        from: own.0,
        to: NodeNum::BROADCAST.0,
        hop_limit: HOP_LIMIT,
        priority: i32::from(Priority::Background),
        payload_variant: Some(PayloadVariant::Decoded(data(port, payload))),
        ..MeshPacket::default()
    }
}

pub(crate) fn data(port: PortNum, payload: Vec<u8>) -> Data {
    Data {
        portnum: i32::from(port),
        payload,
        ..Data::default()
    }
}

pub(crate) fn port_of(packet: &MeshPacket) -> Option<i32> {
    match &packet.payload_variant {
        Some(PayloadVariant::Decoded(data)) => Some(data.portnum),
        Some(PayloadVariant::Encrypted(_)) | None => None,
    }
}

/// Returns the position of all simulated nodes.
pub(crate) fn position(time: u32) -> Position {
    Position {
        latitude_i: Some(470_000_000),
        longitude_i: Some(110_000_000),
        time,
        ..Position::default()
    }
}

/// Returns the packets of other nodes that firmware 2.8 has stored, the same each time.
pub(crate) fn cached(mesh: &Mesh) -> Vec<MeshPacket> {
    let status = "at home".to_owned();
    let status = StatusMessage { status }.encode_to_vec();
    let weather = EnvironmentMetrics {
        temperature: Some(7.5),
        ..EnvironmentMetrics::default()
    };
    let measured = [
        telemetry::Variant::DeviceMetrics(metrics(60, 5)),
        telemetry::Variant::EnvironmentMetrics(weather),
    ];
    let [device, weather] = measured.map(|variant| telemetry(0, variant));
    let kinds = [
        (PortNum::PositionApp, position(0).encode_to_vec()),
        (PortNum::TelemetryApp, device),
        (PortNum::TelemetryApp, weather),
        (PortNum::NodeStatusApp, status),
    ];
    let known = mesh.nodes.iter().filter(|node| node.user.is_some());
    let kept = known.flat_map(|node| {
        let numbered = (1_u32..).zip(&kinds);
        numbered.map(|(number, (port, payload))| MeshPacket {
            id: node.num ^ number,
            rx_time: node.last_heard,
            rx_snr: node.snr,
            transport_mechanism: i32::from(TransportMechanism::TransportLora),
            ..own_broadcast(NodeNum(node.num), *port, payload.clone())
        })
    });
    kept.collect()
}

pub(crate) fn metrics(uptime: u32, channel_use: u8) -> DeviceMetrics {
    DeviceMetrics {
        battery_level: Some(101),
        voltage: Some(4.1),
        channel_utilization: Some(f32::from(channel_use)),
        air_util_tx: Some(0.4),
        uptime_seconds: Some(uptime),
    }
}

pub(crate) fn telemetry(time: u32, variant: telemetry::Variant) -> Vec<u8> {
    let variant = Some(variant);
    Telemetry { time, variant }.encode_to_vec()
}

/// Returns an error's number, as in queue statuses and reports.
pub(crate) fn error_number(error: routing::Error) -> u32 {
    i32::from(error).unsigned_abs()
}

/// The error is encoded even if it is 0 (`18 00`), as by the firmware.
fn routing_data(request_id: u32, error: u32, bitfield: Option<u32>) -> PayloadVariant {
    let reason = i32::try_from(error).unwrap_or(i32::MAX);
    let variant = Some(routing::Variant::ErrorReason(reason));
    PayloadVariant::Decoded(Data {
        request_id,
        bitfield,
        ..data(PortNum::RoutingApp, Routing { variant }.encode_to_vec())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload(packet: MeshPacket) -> Vec<u8> {
        match packet.payload_variant {
            Some(PayloadVariant::Decoded(data)) => data.payload,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_acknowledgement_spells_out_that_there_is_no_error() {
        assert_eq!(payload(own_routing(NodeNum(9), 1, 7, 0)), [0x18, 0]);
        assert_eq!(payload(own_routing(NodeNum(9), 1, 7, 38)), [0x18, 38]);
    }
}
