//! Faults of the wire, on pipes.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::task::JoinSet;
use tokio_util::bytes::BytesMut;

use super::pipe::{PipeRadio, radio};
use super::{Machine, Mesh, Report, Script};
use relay_wire::codec::{Codec, Item, WAKE, framed};
use relay_wire::proto::{
    FromRadio, Heartbeat, Message, ToRadio, from_radio::PayloadVariant as ToClient,
    mesh_packet::PayloadVariant as Body, to_radio::PayloadVariant as FromClient,
};

/// A radio, its driver, and one client of it.
struct Bench {
    radio: PipeRadio,
    drivers: JoinSet<io::Result<()>>,
}

struct TestClient {
    pipe: DuplexStream,
    codec: Codec,
    input: BytesMut,
    noise: usize,
}

impl Bench {
    fn start() -> Self {
        Self::with(Script::default())
    }

    fn with(script: Script) -> Self {
        let now = tokio::time::Instant::now().into_std();
        let machine = Machine::new(Mesh::new(1, 3), 1, now);
        let (radio, driver) = radio(machine, 1, script);
        let mut drivers = JoinSet::new();
        drivers.spawn(driver);
        Self { radio, drivers }
    }

    async fn unconfigured(&self) -> TestClient {
        TestClient {
            pipe: self.radio.connect().await.unwrap(),
            codec: Codec::default(),
            input: BytesMut::new(),
            noise: 0,
        }
    }

    async fn client(&self) -> TestClient {
        let mut client = self.unconfigured().await;
        client.pipe.write_all(&WAKE).await.unwrap();
        client.configure(42).await;
        client
    }

    async fn does(&self, line: &str) {
        self.radio
            .commands
            .send(line.parse().unwrap())
            .await
            .unwrap();
    }
}

impl TestClient {
    async fn tell(&mut self, variant: FromClient) {
        let message = ToRadio {
            payload_variant: Some(variant),
        };
        let bytes = framed(&message.encode_to_vec()).unwrap();
        self.pipe.write_all(&bytes).await.unwrap();
    }

    /// Returns the next frame with content; `None` at the end.
    async fn next(&mut self) -> Option<ToClient> {
        loop {
            match self.codec.decode(&mut self.input) {
                Some(Item::Frame(frame)) => {
                    let message = FromRadio::decode(frame).ok();
                    if let Some(variant) = message.and_then(|message| message.payload_variant) {
                        return Some(variant);
                    }
                }
                Some(Item::Log(bytes)) => self.noise += bytes.len(),
                None if self.pipe.read_buf(&mut self.input).await.unwrap() == 0 => return None,
                None => {}
            }
        }
    }

    async fn configure(&mut self, nonce: u32) {
        self.tell(FromClient::WantConfigId(nonce)).await;
        while self.next().await.unwrap() != ToClient::ConfigCompleteId(nonce) {}
    }

    /// Returns the next text.
    async fn text(&mut self) -> String {
        loop {
            if let ToClient::Packet(packet) = self.next().await.unwrap()
                && let Some(Body::Decoded(data)) = packet.payload_variant
                && data.portnum == 1
            {
                return String::from_utf8(data.payload).unwrap();
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn texts_come_through_noise_split_and_joined_frames() {
    let bench = Bench::start();
    let mut client = bench.client().await;
    for (fault, text) in [
        (r#"{"fault": "garbage", "bytes": 200}"#, "after noise —é"),
        (
            r#"{"fault": "garbage", "hex": "949494c3ffff94"}"#,
            "after false headers",
        ),
        (
            r#"{"fault": "garbage", "hex": "94c3020194"}"#,
            "after a header with a length of 513",
        ),
        (
            r#"{"fault": "log", "text": "INFO | booting"}"#,
            "after a line of the log",
        ),
        (r#"{"fault": "frame"}"#, "after an empty frame"),
        (
            r#"{"fault": "frame", "hex": "ffffff"}"#,
            "after a broken frame",
        ),
        // An unknown variant; a packet with an unknown field, of an unknown port, with an unknown priority.
        (
            r#"{"fault": "frame", "hex": "fa0f020801"}"#,
            "after a newer frame",
        ),
        (
            r#"{"fault": "frame", "hex": "12140d05000000220308e80735090000005863f80702"}"#,
            "after a newer packet \u{414}",
        ),
        (r#"{"fault": "split"}"#, "byte by byte"),
        (r#"{"fault": "join"}"#, "in one piece"),
    ] {
        bench.does(fault).await;
        bench.does(text).await;
        assert_eq!(client.text().await, text);
    }
    assert_eq!(client.noise, 200 + 7 + 5 + 16);
}

#[tokio::test(start_paused = true)]
async fn a_burst_of_500_texts_comes_in_order_and_once() {
    let bench = Bench::start();
    let mut client = bench.client().await;
    let send = async {
        for number in 0..500 {
            bench.does(&format!("text {number}")).await;
        }
    };
    let receive = async {
        for number in 0..500 {
            assert_eq!(client.text().await, format!("text {number}"));
        }
    };
    tokio::join!(send, receive);
}

#[tokio::test(start_paused = true)]
async fn a_second_client_evicts_the_first_and_starts_blank() {
    let bench = Bench::start();
    let mut first = bench.client().await;
    let mut second = bench.client().await;
    while first.next().await.is_some() {}
    bench.does("for the second").await;
    assert_eq!(second.text().await, "for the second");
}

#[tokio::test(start_paused = true)]
async fn a_half_open_link_neither_answers_nor_ends_and_loses_what_is_written() {
    let bench = Bench::start();
    let mut client = bench.client().await;
    bench.does(r#"{"fault": "half_open"}"#).await;
    bench.does("lost").await;
    client
        .tell(FromClient::Heartbeat(Heartbeat { nonce: 2 }))
        .await;
    let silence = tokio::time::timeout(Duration::from_mins(5), client.text()).await;
    assert!(silence.is_err());
    let mut next = bench.client().await;
    bench.does("heard").await;
    assert_eq!(next.text().await, "heard");
}

#[tokio::test(start_paused = true)]
async fn a_radio_that_is_away_hangs_up_until_it_is_back() {
    let mut bench = Bench::start();
    let mut client = bench.client().await;
    bench.does(r#"{"fault": "away", "seconds": 30}"#).await;
    while client.next().await.is_some() {}
    let gone = tokio::time::Instant::now();
    let mut refused = bench.radio.connect().await.unwrap();
    assert_eq!(refused.read(&mut [0; 8]).await.unwrap(), 0);
    while bench.radio.reports.recv().await != Some(Report::Back) {}
    assert_eq!(gone.elapsed().as_secs(), 30);
    bench.does("back").await;
    let mut client = bench.unconfigured().await;
    client.configure(7).await;
    assert_eq!(client.text().await, "back");
}

#[tokio::test(start_paused = true)]
async fn a_link_can_end_in_the_middle_of_a_frame() {
    let bench = Bench::start();
    let mut client = bench.client().await;
    bench.does(r#"{"fault": "close", "mid_frame": true}"#).await;
    while client.next().await.is_some() {}
    assert_eq!(&client.input[..2], [0x94, 0xC3]);
}

#[tokio::test(start_paused = true)]
async fn a_stalled_radio_makes_the_client_wait() {
    let bench = Bench::start();
    let mut client = bench.client().await;
    bench.does(r#"{"fault": "stall"}"#).await;
    // The fault is applied in order: the text after it shows that it is in force.
    bench.does("stalled").await;
    assert_eq!(client.text().await, "stalled");
    let flood = vec![0; 100_000];
    let writing = client.pipe.write_all(&flood);
    assert!(
        tokio::time::timeout(Duration::from_mins(1), writing)
            .await
            .is_err()
    );
    bench.does(r#"{"fault": "stall", "on": false}"#).await;
    client.pipe.write_all(&flood).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_stopped_driver_ends_and_the_client_with_it() {
    let mut bench = Bench::start();
    let mut client = bench.client().await;
    bench.radio.stop.cancel();
    bench.drivers.join_next().await.unwrap().unwrap().unwrap();
    while client.next().await.is_some() {}
}

#[tokio::test(start_paused = true)]
async fn what_is_no_frame_of_a_client_is_skipped_and_the_next_one_heard() {
    let bench = Bench::start();
    let mut client = bench.client().await;
    let mut noise = vec![0x42, 0x94, 0x94, 0xC3, 0x02, 0x01];
    noise.extend_from_slice(&[0; 0x0201]);
    client.pipe.write_all(&noise).await.unwrap();
    let heartbeat = FromClient::Heartbeat(Heartbeat { nonce: 2 });
    client.tell(heartbeat).await;
    loop {
        match client.next().await.expect("the connection stays") {
            ToClient::QueueStatus(status) if status.mesh_packet_id == 0 => break,
            _ => {}
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_link_can_end_in_the_middle_of_the_configuration() {
    let bench = Bench::start();
    let mut first = bench.client().await;
    bench.does(r#"{"fault": "hang_up", "after": 9}"#).await;
    // The text after it shows that it is in force.
    bench.does("in force").await;
    assert_eq!(first.text().await, "in force");
    let mut client = bench.unconfigured().await;
    client.tell(FromClient::WantConfigId(7)).await;
    let mut frames = 0;
    while client.next().await.is_some() {
        frames += 1;
    }
    assert_eq!(frames, 9);
}

#[tokio::test(start_paused = true)]
async fn a_script_happens_at_its_times_whatever_the_client_does() {
    let script = "{\"when\": \"configured\", \"after\": \"2s\", \"text\": \"one\"}\n\
                  {\"after\": \"500ms\", \"text\": \"two\"}\n\
                  {\"after\": \"1m\", \"fault\": \"close\"}\n";
    for _ in 0..2 {
        let mut bench = Bench::with(script.parse().unwrap());
        let mut client = bench.client().await;
        let start = tokio::time::Instant::now();
        let mut times = Vec::new();
        for text in ["one", "two"] {
            assert_eq!(client.text().await, text);
            times.push(start.elapsed().as_millis());
        }
        while client.next().await.is_some() {}
        times.push(start.elapsed().as_millis());
        assert_eq!(times, [2_000, 2_500, 62_500]);
        loop {
            if bench.radio.reports.recv().await == Some(Report::ScriptEnded) {
                break;
            }
        }
    }
}
