//! Any frames, during the handshake and after it, cause no panic.

use std::iter;
use std::time::{Duration, Instant};

use relay_model::Timestamp;
use relay_radio::{Now, Output, Pacer, Session, SessionOptions};
use relay_wire::codec::{Codec, Item};
use relay_wire::proto::config::{self, LoRaConfig};
use relay_wire::proto::from_radio::PayloadVariant;
use relay_wire::proto::{Channel, Config, FromRadio, Message, MyNodeInfo};
use tokio_util::bytes::BytesMut;

const NONCE: u32 = 7;

/// An odd first byte says that the handshake is complete; the rest is a stream of bytes as on the wire.
pub fn session(input: &[u8]) {
    let Some((&ready, stream)) = input.split_first() else {
        return;
    };
    let mut now = Now {
        instant: Instant::now(),
        wall: Timestamp(1_750_000_000_000),
    };
    let options = SessionOptions {
        set_time: true,
        chat_ports: vec![256],
        ..Default::default()
    };
    let mut session = Session::new(options, NONCE, now.instant);
    let mut pacer = Pacer::new(Duration::from_secs(2), None, now);
    session.on_time(now);
    if ready & 1 == 1 {
        let my_info = MyNodeInfo {
            my_node_num: 1,
            ..Default::default()
        };
        let channels = (0..8).map(|index| {
            PayloadVariant::Channel(Channel {
                index,
                role: i32::from(index == 0),
                ..Default::default()
            })
        });
        let lora = Config {
            payload_variant: Some(config::PayloadVariant::Lora(LoRaConfig::default())),
        };
        let parts = iter::once(PayloadVariant::MyInfo(my_info))
            .chain(channels)
            .chain([
                PayloadVariant::Config(lora),
                PayloadVariant::ConfigCompleteId(NONCE),
            ]);
        for variant in parts {
            let frame = FromRadio {
                id: 0,
                payload_variant: Some(variant),
            };
            session.on_frame(&frame.encode_to_vec(), now);
        }
        assert!(session.is_ready());
    }
    let (mut codec, mut buffer) = (Codec::default(), BytesMut::from(stream));
    while let Some(item) = codec.decode(&mut buffer) {
        let Item::Frame(frame) = item else { continue };
        now = Now {
            instant: now.instant + Duration::from_secs(1),
            wall: now.wall + Duration::from_secs(1),
        };
        for output in session.on_frame(&frame, now) {
            match output {
                Output::Answer(answer) => pacer.on_answer(answer, now),
                Output::Wake | Output::Frame(_) | Output::Event(_) => {}
                Output::Restarted(_) | Output::Lost(_) => pacer.on_lost(),
            }
        }
        session.on_time(now);
        session.nodes.take_batch(now.instant);
    }
}
