//! Frames, printed text and timeouts of a session.

mod alive;
mod clock;
mod forgotten;
mod frames;
mod handshake;
mod mute;
mod restarts;

use std::time::Duration;

use super::{
    due::DATED_BEFORE, timers::HEARTBEAT_EVERY, timers::MUTE_AGAIN, trust::FIRST_PAUSE, *,
};
use crate::captures::{from_radio, to_radio as from_client};
use crate::mesh::fingerprint;
use relay_model::{
    Channel, ChannelIndex, ChannelRole, Destination, Lane, NodeNum, RadioPayload, Timestamp,
};
use relay_wire::proto::wire::{self, lockdown_status::State};
use relay_wire::proto::{from_radio, to_radio};

const OWN: NodeNum = NodeNum(0xA11C_E001);

/// The nonce in `chat.a`.
const NONCE: u32 = 0x6102_62C5;

/// A session with a simulated clock.
struct Bench {
    session: Session,
    now: Now,
}

impl Bench {
    fn new(options: SessionOptions) -> Self {
        let now = Now::at(Timestamp(1_750_000_000_000));
        let session = Session::new(options, NONCE, now.instant);
        Self { session, now }
    }

    /// A session after the recorded handshake.
    fn ready(options: SessionOptions) -> Self {
        let mut bench = Self::new(options);
        bench.session.on_time(bench.now);
        for frame in handshake() {
            bench.frame(&frame);
        }
        assert!(bench.session.is_ready());
        bench
    }

    fn frame(&mut self, bytes: &[u8]) -> Vec<Output> {
        self.session.on_frame(bytes, self.now)
    }

    fn variant(&mut self, variant: from_radio::PayloadVariant) -> Vec<Output> {
        let frame = proto::FromRadio {
            id: 0,
            payload_variant: Some(variant),
        };
        self.frame(&frame.encode_to_vec())
    }

    /// Frames arrive repeatedly for that long.
    fn is_heard_for(&mut self, span: Duration) {
        let last = Now {
            instant: self.now.instant + span,
            ..self.now
        };
        self.session.restart_silence_timer(last);
    }

    /// Returns the time until the session's next action.
    fn due_in(&self) -> Duration {
        self.session.deadline().unwrap() - self.now.instant
    }

    fn wait(&mut self, span: Duration) -> Vec<Output> {
        self.now = Now {
            instant: self.now.instant + span,
            wall: self.now.wall + span,
        };
        self.session.on_time(self.now)
    }
}

/// The radio's frames of a handshake, the last one included.
fn handshake() -> Vec<Vec<u8>> {
    let frames = from_radio("chat.a").into_iter().map(|frame| frame.bytes);
    let mut frames: Vec<_> = frames.take_while(|bytes| bytes[0] != 0x38).collect();
    frames.push(complete(NONCE));
    frames
}

fn complete(nonce: u32) -> Vec<u8> {
    let variant = Some(from_radio::PayloadVariant::ConfigCompleteId(nonce));
    proto::FromRadio {
        id: 0,
        payload_variant: variant,
    }
    .encode_to_vec()
}

fn sent(output: &Output) -> to_radio::PayloadVariant {
    match output {
        Output::Frame(bytes) => {
            let to_radio = proto::ToRadio::decode(bytes.as_slice()).expect("our own frame");
            to_radio.payload_variant.expect("our frames say something")
        }
        other => panic!("not a frame: {other:?}"),
    }
}

fn profile(outputs: &[Output]) -> &RadioProfile {
    match outputs {
        [Output::Event(RadioEvent::Ready(profile)), ..] => profile,
        other => panic!("not ready: {other:?}"),
    }
}

/// The options of a session on a cable.
fn on_a_cable() -> SessionOptions {
    SessionOptions {
        on_cable: true,
        ..Default::default()
    }
}

fn asks(outputs: &[Output]) -> bool {
    let Some(Output::Frame(_)) = outputs.last() else {
        return false;
    };
    matches!(
        sent(&outputs[outputs.len() - 1]),
        to_radio::PayloadVariant::WantConfigId(_)
    )
}

/// The radio answers, with that reboot count.
fn tells(bench: &mut Bench, reboot_count: u32) -> Vec<Output> {
    let mut frames = handshake();
    let my_info = proto::MyNodeInfo {
        my_node_num: OWN.0,
        reboot_count,
        ..Default::default()
    };
    let variant = Some(from_radio::PayloadVariant::MyInfo(my_info));
    let my_info = proto::FromRadio {
        id: 0,
        payload_variant: variant,
    };
    frames[0] = my_info.encode_to_vec();
    let profile = bench.session.memory.profile.clone().unwrap();
    for bytes in &mut frames {
        let mut frame = proto::FromRadio::decode(&bytes[..]).unwrap();
        if let Some(from_radio::PayloadVariant::Metadata(metadata)) = &mut frame.payload_variant {
            metadata.firmware_version.clone_from(&profile.firmware);
            *bytes = frame.encode_to_vec();
        }
    }
    frames.pop();
    frames.push(complete(bench.session.nonce));
    frames.iter().flat_map(|it| bench.frame(it)).collect()
}

fn restarts(outputs: &[Output]) -> bool {
    outputs
        .iter()
        .any(|output| matches!(output, Output::Restarted(_)))
}

fn text(number: u32) -> Vec<u8> {
    text_at(number, 0)
}

fn text_at(number: u32, rx_time: u32) -> Vec<u8> {
    let data = proto::Data {
        portnum: 1,
        payload: b"hi".to_vec(),
        ..Default::default()
    };
    let packet = MeshPacket {
        from: 5,
        to: u32::MAX,
        id: number,
        channel: 1,
        rx_time,
        payload_variant: Some(proto::mesh_packet::PayloadVariant::Decoded(data)),
        ..Default::default()
    };
    let variant = Some(from_radio::PayloadVariant::Packet(packet));
    proto::FromRadio {
        id: 0,
        payload_variant: variant,
    }
    .encode_to_vec()
}

/// Returns the delivered texts, which were translated with the channels of `chat.a`.
fn texts(outputs: &[Output]) -> Vec<u32> {
    let texts = outputs.iter().filter_map(|output| match output {
        Output::Event(RadioEvent::Text(text)) => {
            assert_eq!(text.channel_name, "bridge");
            Some(text.packet.0)
        }
        _ => None,
    });
    texts.collect()
}
