//! Compares the machine with recordings of real radios: for the recorded frames of a client, it must answer with the
//! same kinds of frames in the same order.

use std::fmt::Debug;
use std::path::PathBuf;
use std::time::Duration;

use relay_wire::proto::{
    FromRadio, Message, NodeInfo, ToRadio, from_radio::PayloadVariant as ToClient,
    to_radio::PayloadVariant as FromClient,
};

use super::harness::{Harness, answers};
use super::recording::{self, Recorded, What};
use super::{mesh::Mesh, simulated_radio::SimulatedRadio};

/// The recordings in `tests/fixtures/captures`, described in its README.
const NAMES: [&str; 10] = [
    "burst.a",
    "burst.b",
    "chat.a",
    "chat.b",
    "direct.a",
    "direct.b",
    "largest.a",
    "largest.b",
    "refused.a",
    "refused.b",
];

fn read(name: &str) -> Vec<Recorded> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/captures");
    recording::read(&folder.join(format!("{name}.jsonl"))).unwrap()
}

fn answered(recording: &[Recorded]) -> Vec<ToClient> {
    recording
        .iter()
        .filter_map(|it| match &it.what {
            What::FromRadio(frame) => FromRadio::decode(frame.as_slice()).unwrap().payload_variant,
            What::ToRadio(_) | What::Closed(_) => None,
        })
        .collect()
}

fn requests(recording: &[Recorded]) -> Vec<(Duration, FromClient)> {
    recording
        .iter()
        .filter_map(|it| match &it.what {
            What::ToRadio(frame) => {
                let message = ToRadio::decode(frame.as_slice()).unwrap();
                Some((it.at, message.payload_variant?))
            }
            What::FromRadio(_) | What::Closed(_) => None,
        })
        .collect()
}

/// Returns the recorded radio's mesh.
fn mesh_of(frames: &[ToClient]) -> Mesh {
    let mut mesh = Mesh::new(1, 0);
    mesh.channels.clear();
    for frame in frames {
        match frame {
            ToClient::NodeInfo(info) => {
                let node = NodeInfo {
                    hops_away: Some(0),
                    ..info.clone()
                };
                if info.is_favorite {
                    mesh.own = node;
                } else {
                    mesh.nodes.push(node);
                }
            }
            ToClient::Channel(channel) => mesh.channels.push(channel.clone()),
            _ => {}
        }
    }
    mesh
}

/// Returns the kinds of a handshake's frames; the number of files differs by radio and is ignored.
fn handshake(frames: &[ToClient]) -> Vec<String> {
    let mut kinds: Vec<String> = frames
        .iter()
        .take_while(|frame| !is_complete(frame))
        .map(kind)
        .collect();
    kinds.dedup_by(|next, before| next == "file" && before == "file");
    kinds
}

fn is_complete(frame: &ToClient) -> bool {
    matches!(frame, ToClient::ConfigCompleteId(_))
}

fn kind(frame: &ToClient) -> String {
    match frame {
        ToClient::MyInfo(_) => "my_info".to_owned(),
        ToClient::DeviceuiConfig(_) => "device_ui".to_owned(),
        ToClient::NodeInfo(info) => format!("node {:08x}", info.num),
        ToClient::Metadata(_) => "metadata".to_owned(),
        ToClient::Channel(channel) => format!("channel {} {}", channel.index, channel.role),
        ToClient::Config(config) => {
            format!("config {}", variant_name(config.payload_variant.as_ref()))
        }
        ToClient::ModuleConfig(config) => {
            format!("module {}", variant_name(config.payload_variant.as_ref()))
        }
        ToClient::FileInfo(_) => "file".to_owned(),
        other => format!("{other:?}"),
    }
}

/// Returns the name of a variant, from its `Debug` form.
fn variant_name(variant: Option<&impl Debug>) -> String {
    let debug = format!("{variant:?}");
    let inner = debug.strip_prefix("Some(").unwrap_or(&debug);
    inner
        .chars()
        .take_while(char::is_ascii_alphanumeric)
        .collect()
}

fn own_statuses(frames: &[ToClient]) -> usize {
    let is_own = |frame: &&ToClient| matches!(frame, ToClient::QueueStatus(status) if status.mesh_packet_id == 0);
    frames.iter().filter(is_own).count()
}

#[test]
fn a_recorded_client_gets_the_same_kinds_of_answers_in_the_same_order() {
    for name in NAMES {
        let recording = read(name);
        let expected = answered(&recording);
        let mut harness = Harness::of(mesh_of(&expected));
        harness.fault(r#"{"fault": "slow_reads"}"#);
        let complete = expected.iter().position(is_complete).unwrap();
        let first_after_start =
            own_statuses(expected.get(complete + 1..complete + 2).unwrap_or_default()) == 1;
        if !first_after_start {
            harness.connect();
        }

        let mut frames = Vec::new();
        harness.machine.on_connect(harness.now);
        let start = harness.now;
        for (at, request) in requests(&recording) {
            frames.extend(harness.wait((start + at).saturating_duration_since(harness.now)));
            if matches!(request, FromClient::Disconnect(_)) {
                frames.extend(harness.wait(Duration::from_mins(1)));
            }
            frames.extend(harness.tell(request));
        }
        harness.wait(Duration::from_secs(1));

        assert_eq!(handshake(&frames), handshake(&expected), "{name}");
        assert_eq!(own_statuses(&frames), own_statuses(&expected), "{name}");
        for (_, request) in requests(&recording) {
            if let FromClient::Packet(packet) = request {
                let (ours, theirs) = (answers(&frames, packet.id), answers(&expected, packet.id));
                assert_eq!(ours, theirs, "{name}: {packet:?}");
            }
        }
        assert!(harness.closed, "{name}");
    }
}
