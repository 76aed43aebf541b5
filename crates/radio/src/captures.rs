//! For tests: the recordings of real radios in `tests/fixtures/captures`.

use std::path::Path;
use std::time::Duration;

use relay_simulator::recording::{What, read};

/// A frame of a recording.
#[derive(Debug, Clone)]
pub(super) struct Frame {
    /// Time since the connection opened.
    pub(super) at: Duration,
    /// Content of the frame: a protobuf.
    pub(super) bytes: Vec<u8>,
}

/// Returns the radio's frames of a recording; the name is given as `chat.a`.
pub(super) fn from_radio(name: &str) -> Vec<Frame> {
    frames(name, |what| match what {
        What::FromRadio(bytes) => Some(bytes),
        What::ToRadio(_) | What::Closed(_) => None,
    })
}

/// Returns the client's frames of a recording.
pub(super) fn to_radio(name: &str) -> Vec<Frame> {
    frames(name, |what| match what {
        What::ToRadio(bytes) => Some(bytes),
        What::FromRadio(_) | What::Closed(_) => None,
    })
}

fn frames(name: &str, pick: impl Fn(What) -> Option<Vec<u8>>) -> Vec<Frame> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/captures");
    let moments = read(&folder.join(format!("{name}.jsonl"))).expect("the recording is there");
    let frame = |at, what| pick(what).map(|bytes| Frame { at, bytes });
    let frames = moments.into_iter().filter_map(|it| frame(it.at, it.what));
    frames.collect()
}

mod tests {
    use tokio_util::bytes::BytesMut;

    use super::super::{MeshAnswer, Now, Output, Session, SessionOptions};
    use super::*;
    use relay_model::{
        ChannelIndex, Destination, NodeNum, PacketId, RadioEvent, RadioText, Timestamp,
    };
    use relay_wire::codec::{Codec, Item, framed};
    use relay_wire::proto::{self, Message as _, to_radio};

    const OWN: NodeNum = NodeNum(0xA11C_E001);
    const BOB: NodeNum = NodeNum(0xB0B0_B002);

    /// Feeds the radio's frames of a recording, cut into pieces, through the codec and the session.
    fn play(name: &str) -> Vec<Output> {
        let question = &super::to_radio(name)[0].bytes;
        let question = proto::ToRadio::decode(question.as_slice()).expect("a ToRadio");
        let Some(to_radio::PayloadVariant::WantConfigId(nonce)) = question.payload_variant else {
            panic!("not the question: {question:?}")
        };
        let start = Now::at(Timestamp(1_750_000_000_000));
        let mut session = Session::new(SessionOptions::default(), nonce, start.instant);
        let mut codec = Codec::default();
        let (mut outputs, mut received) = (Vec::new(), BytesMut::new());
        session.on_time(start);
        for frame in from_radio(name) {
            let bytes = framed(&frame.bytes).unwrap();
            let now = Now {
                instant: start.instant + frame.at,
                wall: start.wall + frame.at,
            };
            for piece in bytes.chunks(7) {
                received.extend_from_slice(piece);
                while let Some(item) = codec.decode(&mut received) {
                    match item {
                        Item::Frame(frame) => {
                            outputs.extend(session.on_frame(&frame, now));
                        }
                        Item::Log(noise) => panic!("noise: {noise:?}"),
                    }
                }
            }
        }
        assert!(session.is_ready());
        outputs
    }

    fn texts(outputs: &[Output]) -> Vec<&RadioText> {
        outputs
            .iter()
            .filter_map(|output| match output {
                Output::Event(RadioEvent::Text(text)) => Some(&**text),
                _ => None,
            })
            .collect()
    }

    fn routings(outputs: &[Output]) -> Vec<(NodeNum, u32)> {
        outputs
            .iter()
            .filter_map(|output| match output {
                Output::Answer(MeshAnswer::Routing(it)) => Some((it.from, it.error)),
                _ => None,
            })
            .collect()
    }

    #[test]
    fn a_recorded_chat_comes_through() {
        let outputs = play("chat.a");
        let [reply, tapback] = texts(&outputs)[..] else {
            panic!("two texts: {outputs:?}")
        };
        assert_eq!(reply.sender.num, BOB);
        assert_eq!(reply.sender.short(), "b002");
        assert_eq!(
            reply.destination,
            Destination::Channel(ChannelIndex::try_from(1).unwrap())
        );
        assert_eq!(reply.channel_name, "bridge");
        assert_eq!(reply.text, "reply from B \u{2014} \u{e0} \u{414} \u{1F9D9}");
        assert_eq!(reply.port_name, "TEXT_MESSAGE_APP");
        assert!(!reply.is_reaction && !reply.ok_to_mqtt && !reply.via_mqtt && !reply.replayed);
        assert_eq!(
            (reply.hops, reply.snr, reply.rssi),
            (Some(0), Some(6.25), Some(-60))
        );
        assert_eq!(tapback.text, "\u{1F44D}");
        assert!(tapback.is_reaction);
        assert_eq!(tapback.reply_to, Some(PacketId(0xC6BF_3F5F)));
        assert_eq!(routings(&outputs), [(OWN, 0)]);
    }

    #[test]
    fn a_recorded_direct_message_and_its_acknowledgement_come_through() {
        let outputs = play("direct.a");
        let [answer] = texts(&outputs)[..] else {
            panic!("one text: {outputs:?}")
        };
        assert_eq!(answer.destination, Destination::Direct(OWN));
        assert_eq!(answer.text, "answer");
        assert_eq!(answer.channel_name, "");
        // The second is an answer to a packet of another client, which the pacer does not know.
        assert_eq!(routings(&outputs), [(BOB, 0), (BOB, 0)]);
    }

    #[test]
    fn recorded_refusals_come_through() {
        let outputs = play("refused.a");
        let errors: Vec<_> = routings(&outputs).iter().map(|(_, error)| *error).collect();
        assert_eq!(errors, [7, 38, 0, 6, 0, 39]);
    }

    #[test]
    fn every_recording_plays_without_a_lost_link() {
        for name in ["burst", "chat", "direct", "largest", "refused"] {
            for side in ["a", "b"] {
                for output in play(&format!("{name}.{side}")) {
                    let undecodable = RadioEvent::Ignored {
                        reason: "undecodable",
                    };
                    assert_ne!(output, Output::Event(undecodable), "{name}");
                    assert!(!matches!(output, Output::Lost(_) | Output::Restarted(_)));
                }
            }
        }
    }
}
