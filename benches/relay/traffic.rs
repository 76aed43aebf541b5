//! The packets of a busy mesh in a day, as lines for the simulated radio: mostly positions and telemetry, some texts.
//! The same number gives the same packet.

use relay_wire::proto::{
    DeviceMetrics, HardwareModel, Message, Neighbor, NeighborInfo, PortNum, Position, Telemetry,
    User, telemetry,
};
use serde_json::{Value, json};

/// Number of nodes.
pub(crate) const NODES: u32 = 300;

/// Number of channels.
pub(crate) const CHANNELS: u32 = 2;

/// Number of packets after which the mixture repeats.
const MIXTURE: u32 = 20;

const FIRST_NODE: u32 = 0x5000_0000;
const FIRST_PACKET: u32 = 0x6000_0000;

/// A packet of the mesh.
#[derive(Debug)]
pub(crate) struct Packet {
    /// The input line of the simulated radio.
    pub(crate) line: Value,
    /// The channel and the text, if it has to be relayed.
    pub(crate) text: Option<(u32, String)>,
}

/// Returns the packet with that number. The first packets name every node, all kinds follow mixed.
pub(crate) fn packet(number: u32) -> Packet {
    let node = number * 7 % NODES;
    let channel = number / MIXTURE % CHANNELS;
    let in_mixture = number % MIXTURE;
    if number < NODES {
        return silent(number, number, 0, PortNum::NodeinfoApp, &user(number));
    }
    match in_mixture {
        0..=5 => text(
            number,
            node,
            channel,
            (in_mixture == 5).then_some(number - 1),
        ),
        6 => tapback(number, node, channel, number - 1),
        7..=12 => silent(number, node, 0, PortNum::PositionApp, &position(number)),
        13..=17 => silent(number, node, 0, PortNum::TelemetryApp, &telemetry(number)),
        18 => silent(number, node, 0, PortNum::NeighborinfoApp, &neighbours(node)),
        _ => silent(number, node, 0, PortNum::NodeinfoApp, &user(node)),
    }
}

fn text(number: u32, node: u32, channel: u32, answers: Option<u32>) -> Packet {
    let text = format!("soak, packet {number}");
    let mut line = line(number, node, channel);
    line["text"] = json!(text);
    if let Some(answered) = answers {
        line["reply_id"] = json!(FIRST_PACKET + answered);
    }
    Packet {
        line,
        text: Some((channel, text)),
    }
}

fn tapback(number: u32, node: u32, channel: u32, on: u32) -> Packet {
    let mut line = line(number, node, channel);
    line["text"] = json!("👍");
    line["emoji"] = json!(1);
    line["reply_id"] = json!(FIRST_PACKET + on);
    Packet { line, text: None }
}

/// Builds a packet that is not relayed.
fn silent(number: u32, node: u32, channel: u32, port: PortNum, payload: &[u8]) -> Packet {
    let mut line = line(number, node, channel);
    let hex: Vec<_> = payload.iter().map(|byte| format!("{byte:02x}")).collect();
    line["port"] = json!(i32::from(port));
    line["hex"] = json!(hex.concat());
    Packet { line, text: None }
}

fn line(number: u32, node: u32, channel: u32) -> Value {
    json!({"id": FIRST_PACKET + number, "from": id_of(node), "channel": channel})
}

fn id_of(node: u32) -> String {
    format!("!{:08x}", FIRST_NODE + node)
}

fn user(node: u32) -> Vec<u8> {
    let user = User {
        id: id_of(node),
        long_name: format!("Node {node} of the soak"),
        short_name: format!("{node:04}"),
        hw_model: i32::from(HardwareModel::Portduino),
        ..User::default()
    };
    user.encode_to_vec()
}

fn position(number: u32) -> Vec<u8> {
    let metres = i32::try_from(number % 3000).unwrap_or_default();
    let position = Position {
        latitude_i: Some(470_000_000 + metres * 90),
        longitude_i: Some(110_000_000 - metres * 90),
        altitude: Some(metres),
        ..Position::default()
    };
    position.encode_to_vec()
}

fn telemetry(number: u32) -> Vec<u8> {
    let telemetry = Telemetry {
        variant: Some(telemetry::Variant::DeviceMetrics(DeviceMetrics {
            battery_level: Some(number % 101),
            voltage: Some(3.9),
            channel_utilization: Some(7.5),
            air_util_tx: Some(0.5),
            uptime_seconds: Some(number),
        })),
        ..Telemetry::default()
    };
    telemetry.encode_to_vec()
}

fn neighbours(node: u32) -> Vec<u8> {
    let neighbour = |distance: u32| Neighbor {
        node_id: FIRST_NODE + (node + distance) % NODES,
        snr: 6.25,
        ..Neighbor::default()
    };
    let info = NeighborInfo {
        node_id: FIRST_NODE + node,
        neighbors: (1..=5).map(neighbour).collect(),
        ..NeighborInfo::default()
    };
    info.encode_to_vec()
}
