//! The adapter and a scripted radio, connected by a pipe.

use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::net::TcpSocket;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::{captures::from_radio, *};
use relay_claims::{Claim, Claimant, Thing};
use relay_model::{
    ChannelIndex, Destination, Event, Fingerprint, Lane, MeshRowId, PacketId, RadioEvent,
    RadioMessage, RadioOutcome, RadioPayload, SendReport,
};
use relay_wire::codec::Item;
use relay_wire::proto::{self, Message as _, from_radio as from, mesh_packet, to_radio, wire};

const OWN: u32 = 0xA11C_E001;

/// A scripted radio at the other end of a pipe.
struct Peer {
    connection: Connection,
}

impl Peer {
    /// Returns the relay's next frame, without wake bytes.
    async fn hears(&mut self) -> to_radio::PayloadVariant {
        loop {
            match self.connection.receive().await.expect("the relay is there") {
                Item::Log(bytes) => assert!(bytes.iter().all(|byte| *byte == 0xC3)),
                Item::Frame(frame) => {
                    let frame = proto::ToRadio::decode(frame).expect("a ToRadio");
                    return frame.payload_variant.expect("something said");
                }
            }
        }
    }

    async fn hears_packet(&mut self) -> proto::MeshPacket {
        loop {
            match self.hears().await {
                to_radio::PayloadVariant::Packet(packet) => return packet,
                to_radio::PayloadVariant::Heartbeat(_) => {}
                other => panic!("not a packet: {other:?}"),
            }
        }
    }

    async fn says(&mut self, variant: from::PayloadVariant) {
        let frame = proto::FromRadio {
            id: 0,
            payload_variant: Some(variant),
        };
        self.connection
            .send(&frame.encode_to_vec())
            .await
            .expect("the relay is there");
    }

    /// Answers the configuration request with a recorded handshake.
    async fn shakes_hands(&mut self) {
        self.shakes_hands_with(None).await;
    }

    /// Answers the configuration request with a recorded handshake; if set, with this key of the primary channel.
    async fn shakes_hands_with(&mut self, key: Option<u8>) {
        let to_radio::PayloadVariant::WantConfigId(nonce) = self.hears().await else {
            panic!("no question")
        };
        for frame in from_radio("chat.a") {
            if frame.bytes[0] == 0x38 {
                break;
            }
            self.connection
                .send(&frame.bytes)
                .await
                .expect("the relay is there");
        }
        if let Some(key) = key {
            let settings = wire::ChannelSettings {
                name: b"Rescue".to_vec(),
                psk: vec![key; 16],
            };
            let frame = wire::FromRadio {
                channel: Some(wire::Channel {
                    index: 0,
                    settings: Some(settings),
                    role: 1,
                }),
                ..Default::default()
            };
            self.connection
                .send(&frame.encode_to_vec())
                .await
                .expect("the relay is there");
        }
        self.says(from::PayloadVariant::ConfigCompleteId(nonce))
            .await;
    }

    async fn takes(&mut self, packet: u32) {
        let (free, maxlen) = (15, 16);
        let status = proto::QueueStatus {
            res: 0,
            free,
            maxlen,
            mesh_packet_id: packet,
        };
        self.says(from::PayloadVariant::QueueStatus(status)).await;
    }
}

/// A running adapter with its queues and pipes.
struct Bench {
    pipes: mpsc::Sender<DuplexStream>,
    submissions: mpsc::Sender<Submission>,
    events: mpsc::Receiver<Event>,
    withdrawals: mpsc::Sender<MeshRowId>,
    stop: CancellationToken,
    running: JoinSet<Result<(), RadioError>>,
}

impl Bench {
    fn new() -> Self {
        let (pipes, receiver) = mpsc::channel(1);
        let mut options = RadioOptions::over(Wire::Pipes(receiver));
        options.set_time = false;
        options.seed = Some(7);
        let radio = Radio::new(options);
        let (submissions, submitted) = mpsc::channel(4);
        let (told, events) = mpsc::channel(4);
        let (stop, withdrawals) = (CancellationToken::new(), radio.withdrawals());
        let mut running = JoinSet::new();
        running.spawn(radio.run(submitted, told, stop.clone()));
        Self {
            pipes,
            submissions,
            events,
            withdrawals,
            stop,
            running,
        }
    }

    async fn connects(&self) -> Peer {
        let (ours, theirs) = duplex(64);
        self.pipes.send(ours).await.expect("the adapter connects");
        Peer {
            connection: Connection::over(theirs),
        }
    }

    async fn event(&mut self) -> Event {
        timeout(Duration::from_mins(10), self.events.recv())
            .await
            .expect("an event comes")
            .expect("the adapter runs")
    }

    /// Returns the next event that is neither about nodes nor about ignored frames.
    async fn news(&mut self) -> Event {
        loop {
            match self.event().await {
                Event::Radio(RadioEvent::Nodes(_) | RadioEvent::Ignored { .. }) => {}
                other => return other,
            }
        }
    }

    /// Connects a radio and completes the handshake.
    async fn ready(&mut self) -> Peer {
        let mut peer = self.connects().await;
        peer.shakes_hands().await;
        match self.news().await {
            Event::Radio(RadioEvent::Ready(profile)) => assert_eq!(profile.own.num.0, OWN),
            other => panic!("not ready: {other:?}"),
        }
        peer
    }

    async fn lost(&mut self) -> String {
        match self.news().await {
            Event::Radio(RadioEvent::Lost { cause, .. }) => cause,
            other => panic!("not lost: {other:?}"),
        }
    }

    async fn outcome(&mut self) -> (u32, RadioOutcome) {
        match self.news().await {
            Event::Report(SendReport::Radio {
                packet, outcome, ..
            }) => (packet.0, outcome),
            other => panic!("not a report: {other:?}"),
        }
    }

    async fn submit(&self, number: u32) {
        self.submit_for(number, None).await;
    }

    /// Submits a text for a primary channel with that key.
    async fn submit_for(&self, number: u32, channel: Option<Fingerprint>) {
        let submission = Submission {
            outbox: MeshRowId(i64::from(number)),
            packet: PacketId(number),
            channel,
            message: RadioMessage {
                destination: Destination::Channel(ChannelIndex::PRIMARY),
                lane: Lane::Message,
                payload: RadioPayload::Text {
                    text: "hello".to_owned(),
                    reply_to: None,
                },
            },
        };
        self.submissions
            .send(submission)
            .await
            .expect("the adapter runs");
    }
}

fn received(id: u32) -> from::PayloadVariant {
    let data = proto::Data {
        portnum: 1,
        payload: b"hi".to_vec(),
        ..Default::default()
    };
    from::PayloadVariant::Packet(proto::MeshPacket {
        from: 5,
        to: u32::MAX,
        id,
        payload_variant: Some(mesh_packet::PayloadVariant::Decoded(data)),
        ..Default::default()
    })
}

#[tokio::test(start_paused = true)]
async fn a_text_goes_out_and_another_comes_in() {
    let mut bench = Bench::new();
    let mut peer = bench.ready().await;
    match bench.event().await {
        Event::Radio(RadioEvent::Nodes(nodes)) => assert_eq!(nodes.len(), 3),
        other => panic!("not nodes: {other:?}"),
    }
    bench.submit(7).await;
    let packet = peer.hears_packet().await;
    assert_eq!((packet.from, packet.id, packet.hop_limit), (OWN, 7, 3));
    peer.takes(7).await;
    assert!(matches!(
        bench.outcome().await,
        (7, RadioOutcome::Accepted { .. })
    ));
    peer.says(received(9)).await;
    match bench.news().await {
        Event::Radio(RadioEvent::Text(text)) => assert_eq!(text.packet, PacketId(9)),
        other => panic!("not a text: {other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn texts_are_just_the_delay_apart() {
    let mut bench = Bench::new();
    let mut peer = bench.ready().await;
    let mut accepted = Vec::new();
    for number in 1..=5 {
        bench.submit(number).await;
        assert_eq!(peer.hears_packet().await.id, number);
        accepted.push(Instant::now());
        peer.takes(number).await;
        assert!(matches!(
            bench.outcome().await,
            (_, RadioOutcome::Accepted { .. })
        ));
    }
    for pair in accepted.windows(2) {
        let (gap, delay) = (pair[1] - pair[0], Duration::from_millis(2050));
        assert!(
            gap >= delay && gap < delay + Duration::from_millis(100),
            "{gap:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_link_is_made_again_and_the_packet_repeated_under_its_id() {
    let mut bench = Bench::new();
    let mut peer = bench.ready().await;
    bench.submit(7).await;
    peer.hears_packet().await;
    drop(peer);
    assert_eq!(bench.lost().await, "the radio closed the connection");
    let (packet, outcome) = bench.outcome().await;
    let again = matches!(
        outcome,
        RadioOutcome::Retry {
            after: Duration::ZERO,
            new_id: false,
            ..
        }
    );
    assert!(again && packet == 7);
    let lost = Instant::now();
    let mut peer = bench.ready().await;
    assert!(lost.elapsed() < Duration::from_secs(2));
    bench.submit(7).await;
    assert_eq!(peer.hears_packet().await.id, 7);
}

#[tokio::test(start_paused = true)]
async fn what_is_handed_over_while_the_link_is_away_is_looked_up_again() {
    let mut bench = Bench::new();
    let peer = bench.ready().await;
    drop(peer);
    bench.lost().await;
    bench.submit(7).await;
    let mut peer = bench.connects().await;
    peer.shakes_hands().await;
    assert!(matches!(
        bench.outcome().await,
        (7, RadioOutcome::Retry { written: false, .. })
    ));
    let ready = bench.news().await;
    assert!(matches!(ready, Event::Radio(RadioEvent::Ready(_))));

    peer.says(from::PayloadVariant::Rebooted(true)).await;
    bench.lost().await;
    bench.submit(8).await;
    peer.shakes_hands().await;
    assert!(matches!(
        bench.outcome().await,
        (8, RadioOutcome::Retry { written: false, .. })
    ));
    let ready = bench.news().await;
    assert!(matches!(ready, Event::Radio(RadioEvent::Ready(_))));
    bench.submit(9).await;
    assert_eq!(peer.hears_packet().await.id, 9);
}

#[tokio::test(start_paused = true)]
async fn a_radio_that_falls_silent_is_lost_after_75_seconds() {
    let mut bench = Bench::new();
    let _peer = bench.ready().await;
    let silent = Instant::now();
    assert_eq!(
        bench.lost().await,
        "the radio has been silent for 75 seconds"
    );
    assert_eq!(silent.elapsed().as_secs(), 75);
}

#[tokio::test(start_paused = true)]
async fn a_radio_that_answers_heartbeats_is_kept() {
    let mut bench = Bench::new();
    let mut peer = bench.ready().await;
    for _ in 0..20 {
        assert!(matches!(
            peer.hears().await,
            to_radio::PayloadVariant::Heartbeat(_)
        ));
        peer.takes(0).await;
    }
    bench.submit(7).await;
    assert_eq!(peer.hears_packet().await.id, 7);
}

#[tokio::test(start_paused = true)]
async fn a_radio_that_prints_what_a_start_prints_is_asked_before_it_gets_more_and_is_not_told_to_be_lost()
 {
    let mut bench = Bench::new();
    let mut peer = bench.ready().await;
    let line = b"rst:0x1 (POWERON_RESET),boot:0x13\r\n";
    peer.connection.write(line).await.unwrap();
    sleep(Duration::from_millis(1)).await;
    bench.submit(7).await;
    peer.says(received(9)).await;
    assert!(matches!(
        bench.news().await,
        Event::Radio(RadioEvent::Text(_))
    ));
    peer.shakes_hands().await;
    assert_eq!(peer.hears_packet().await.id, 7);
    peer.takes(7).await;
    assert!(matches!(
        bench.outcome().await,
        (7, RadioOutcome::Accepted { .. })
    ));
}

#[tokio::test(start_paused = true)]
async fn noise_and_false_headers_do_not_end_the_link() {
    let mut bench = Bench::new();
    let mut peer = bench.connects().await;
    peer.connection
        .write(b"boot\r\n\x94\x94\xC3\xFF\xFF")
        .await
        .unwrap();
    peer.shakes_hands().await;
    assert!(matches!(
        bench.news().await,
        Event::Radio(RadioEvent::Ready(_))
    ));
    // Its header announces 500 bytes, which swallows later frames for a while.
    peer.connection.write(b"\x94\xC3\x01\xF4").await.unwrap();
    peer.says(received(9)).await;
    assert!(matches!(
        bench.news().await,
        Event::Radio(RadioEvent::Text(_))
    ));
}

#[tokio::test(start_paused = true)]
async fn a_link_that_keeps_dying_is_told_to_be_another_clients() {
    let mut bench = Bench::new();
    let mut causes = Vec::new();
    for _ in 0..4 {
        drop(bench.ready().await);
        causes.push(bench.lost().await);
    }
    assert!(!causes[1].contains("another client"));
    assert!(causes[2].contains("another client"));
}

#[tokio::test(start_paused = true)]
async fn causes_that_take_turns_are_told_once_until_the_radio_is_back() {
    let mut bench = Bench::new();
    for _ in 0..2 {
        drop(bench.ready().await);
        assert_eq!(bench.lost().await, "the radio closed the connection");
        for _ in 0..10 {
            let (ours, theirs) = duplex(64);
            drop(theirs);
            bench.pipes.send(ours).await.unwrap();
            let mut peer = bench.connects().await;
            peer.hears().await;
        }
        let cause = bench.lost().await;
        assert!(cause.contains("cannot write"), "{cause}");
    }
    bench.ready().await;
}

#[tokio::test(start_paused = true)]
async fn a_radio_behind_a_proxy_that_only_hangs_up_while_it_is_away_is_not_another_clients() {
    let mut bench = Bench::new();
    for _ in 0..8 {
        let back = Instant::now();
        let mut peer = bench.connects().await;
        peer.shakes_hands().await;
        loop {
            match bench.news().await {
                Event::Radio(RadioEvent::Ready(_)) => break,
                Event::Radio(RadioEvent::Lost { cause, .. }) => {
                    assert!(!cause.contains("another client"), "{cause}");
                }
                other => panic!("neither ready nor lost: {other:?}"),
            }
        }
        assert!(back.elapsed() <= Duration::from_secs(3));
        sleep(Duration::from_secs(5)).await;
        drop(peer);
        for _ in 0..3 {
            drop(bench.connects().await);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_radio_said_before_a_write_failed_is_taken() {
    let mut bench = Bench::new();
    let (ours, theirs) = duplex(16 * 1024);
    bench.pipes.send(ours).await.unwrap();
    let mut peer = Peer {
        connection: Connection::over(theirs),
    };
    peer.shakes_hands().await;
    assert!(matches!(
        bench.news().await,
        Event::Radio(RadioEvent::Ready(_))
    ));
    bench.submit(7).await;
    for number in 1..=12 {
        peer.says(received(number)).await;
    }
    drop(peer);
    // The daemon's disk is slow meanwhile, and its queue is full.
    sleep(Duration::from_secs(20)).await;
    let mut texts = Vec::new();
    let cause = loop {
        match bench.news().await {
            Event::Radio(RadioEvent::Text(text)) => texts.push(text.packet.0),
            Event::Radio(RadioEvent::Lost { cause, .. }) => break cause,
            other => panic!("neither a text nor the end: {other:?}"),
        }
    };
    assert!(cause.contains("cannot write"), "{cause}");
    assert_eq!(texts, (1..=12).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn what_the_radio_says_between_a_restart_and_the_end_of_the_link_is_taken() {
    for stops in [false, true] {
        let mut bench = Bench::new();
        let mut peer = bench.ready().await;
        peer.says(from::PayloadVariant::Rebooted(true)).await;
        assert_eq!(bench.lost().await, "the radio rebooted");
        for number in 1..=5 {
            peer.says(received(number)).await;
        }
        if stops {
            bench.stop.cancel();
        } else {
            drop(peer);
        }
        for number in 1..=5 {
            match bench.news().await {
                Event::Radio(RadioEvent::Text(text)) => {
                    assert_eq!(text.packet, PacketId(number));
                }
                other => panic!("not a text: {other:?}"),
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_radio_that_was_ready_just_when_its_link_was_lost_is_told_to_be_lost() {
    let mut bench = Bench::new();
    drop(bench.ready().await);
    bench.lost().await;
    for _ in 0..2 {
        let (ours, theirs) = duplex(16 * 1024);
        bench.pipes.send(ours).await.unwrap();
        let mut peer = Peer {
            connection: Connection::over(theirs),
        };
        let to_radio::PayloadVariant::WantConfigId(nonce) = peer.hears().await else {
            panic!("no question")
        };
        // The first answer lacks the channels: a further request fails, while the second answer is still unread.
        for (question, lacks_channels) in [(nonce, true), (nonce + 1, false)] {
            let answer = from_radio("chat.a").into_iter().map(|frame| frame.bytes);
            for frame in answer.take_while(|frame| frame[0] != 0x38) {
                if !(lacks_channels && frame[0] == 0x52) {
                    peer.connection.send(&frame).await.unwrap();
                }
            }
            peer.says(from::PayloadVariant::ConfigCompleteId(question))
                .await;
        }
        peer.says(received(9)).await;
        drop(peer);
        assert!(matches!(
            bench.news().await,
            Event::Radio(RadioEvent::Ready(_))
        ));
        assert!(matches!(
            bench.news().await,
            Event::Radio(RadioEvent::Text(_))
        ));
        let cause = bench.lost().await;
        assert!(cause.contains("cannot write"), "{cause}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_stop_waits_for_the_packet_on_its_way_and_takes_leave() {
    let mut bench = Bench::new();
    let mut peer = bench.ready().await;
    bench.submit(7).await;
    peer.hears_packet().await;
    bench.stop.cancel();
    sleep(Duration::from_secs(1)).await;
    peer.takes(7).await;
    assert!(matches!(
        bench.outcome().await,
        (7, RadioOutcome::Accepted { .. })
    ));
    assert_eq!(
        peer.hears().await,
        to_radio::PayloadVariant::Disconnect(true)
    );
    assert!(matches!(bench.running.join_next().await, Some(Ok(Ok(())))));
}

#[tokio::test(start_paused = true)]
async fn what_the_radio_says_before_it_knows_of_the_stop_is_taken() {
    let mut bench = Bench::new();
    let mut peer = bench.ready().await;
    bench.stop.cancel();
    assert_eq!(
        peer.hears().await,
        to_radio::PayloadVariant::Disconnect(true)
    );
    peer.says(received(9)).await;
    match bench.news().await {
        Event::Radio(RadioEvent::Text(text)) => assert_eq!(text.packet, PacketId(9)),
        other => panic!("not a text: {other:?}"),
    }
    assert!(matches!(bench.running.join_next().await, Some(Ok(Ok(())))));
}

#[cfg(target_os = "linux")]
#[tokio::test(start_paused = true)]
async fn a_radio_without_a_link_is_kept_for_five_minutes_and_then_is_whose_relay_reaches_it() {
    // Nobody listens there, and the port is nobody else's: each attempt is refused.
    let port = TcpSocket::new_v4().unwrap();
    port.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let address = port.local_addr().unwrap();
    let (host, port) = (address.ip().to_string(), address.port());
    let claimant = |home: &str| Claimant::new(Path::new(home), "2025-01-31T12:00:00Z".to_owned());
    let mut options = RadioOptions::over(Wire::Tcp { host, port });
    options.claimant = Some(claimant("/srv/one"));
    let radio = Radio::new(options);
    let mut link = radio.link();
    let (_submit, submissions) = mpsc::channel(1);
    let (events, _heard) = mpsc::channel(64);
    let running = radio.run(submissions, events, CancellationToken::new());
    let watching = async {
        let (began, thing) = (Instant::now(), Thing::network(address));
        drop(
            link.wait_for(|it| it.state == LinkState::Lost)
                .await
                .unwrap(),
        );
        while !Claim::is_free(&thing) {
            sleep(Duration::from_secs(1)).await;
        }
        let kept = began.elapsed();
        assert!(
            kept >= Duration::from_mins(5) && kept < Duration::from_mins(7),
            "{kept:?}"
        );
        let other = Claim::take(&thing, &claimant("/srv/two")).unwrap();
        let is_held = |it: &Link| {
            it.cause
                .as_ref()
                .is_some_and(|it| it.contains("`/srv/two`"))
        };
        drop(link.wait_for(is_held).await.unwrap());
        drop(other);
        drop(link.wait_for(|it| !is_held(it)).await.unwrap());
    };
    tokio::select! {
        ended = running => panic!("{ended:?}"),
        () = watching => {}
    }
}

#[tokio::test(start_paused = true)]
async fn a_stop_does_not_wait_for_ever() {
    let mut bench = Bench::new();
    let mut peer = bench.ready().await;
    bench.submit(7).await;
    peer.hears_packet().await;
    bench.stop.cancel();
    let asked = tokio::time::Instant::now();
    assert!(matches!(
        bench.outcome().await,
        (7, RadioOutcome::Retry { new_id: false, .. })
    ));
    assert_eq!(
        peer.hears().await,
        to_radio::PayloadVariant::Disconnect(true)
    );
    assert!(matches!(bench.running.join_next().await, Some(Ok(Ok(())))));
    // The whole stop has 5 s, and the disconnect from a radio that does not read one more second.
    assert!(asked.elapsed() + Duration::from_secs(1) < Duration::from_secs(5));
}

#[tokio::test(start_paused = true)]
async fn a_withdrawn_row_is_not_sent() {
    let mut bench = Bench::new();
    let mut peer = bench.ready().await;
    bench.submit(1).await;
    bench.submit(2).await;
    assert_eq!(peer.hears_packet().await.id, 1);
    bench.withdrawals.send(MeshRowId(2)).await.unwrap();
    assert!(matches!(
        bench.outcome().await,
        (2, RadioOutcome::Retry { .. })
    ));
    peer.takes(1).await;
    bench.submit(3).await;
    assert_eq!(peer.hears_packet().await.id, 3);
}

#[tokio::test(start_paused = true)]
async fn a_row_that_is_withdrawn_on_its_way_to_the_adapter_is_not_sent() {
    for is_late in [false, true] {
        let mut bench = Bench::new();
        let mut peer = bench.ready().await;
        if !is_late {
            bench.submit(1).await;
        }
        bench.withdrawals.send(MeshRowId(1)).await.unwrap();
        if is_late {
            // The worker has looked it up, but not yet submitted it.
            sleep(Duration::from_secs(1)).await;
            bench.submit(1).await;
        }
        let outcome = bench.outcome().await;
        let is_back = matches!(outcome, (1, RadioOutcome::Retry { written: false, .. }));
        assert!(is_back, "{outcome:?}");
        bench.submit(2).await;
        assert_eq!(peer.hears_packet().await.id, 2);
    }
}

#[tokio::test(start_paused = true)]
async fn a_text_that_is_handed_over_late_does_not_go_out_on_the_channel_that_has_taken_its_slot() {
    let mut bench = Bench::new();
    let mut peer = bench.connects().await;
    let mut private = None;
    for key in [1, 2] {
        peer.shakes_hands_with(Some(key)).await;
        let Event::Radio(RadioEvent::Ready(profile)) = bench.news().await else {
            panic!("not ready")
        };
        let primary = profile.channels[0].fingerprint;
        let handed_over = *private.get_or_insert(primary);
        bench.submit_for(7, handed_over).await;
        if handed_over == primary {
            assert_eq!(peer.hears_packet().await.id, 7);
            peer.takes(7).await;
            let (_, outcome) = bench.outcome().await;
            assert!(matches!(outcome, RadioOutcome::Accepted { .. }));
            peer.says(from::PayloadVariant::Rebooted(true)).await;
            bench.lost().await;
        }
    }
    let outcome = bench.outcome().await;
    let is_back = matches!(outcome, (7, RadioOutcome::Retry { written: false, .. }));
    assert!(is_back, "{outcome:?}");
    bench.submit(8).await;
    assert_eq!(peer.hears_packet().await.id, 8);
}

#[tokio::test(start_paused = true)]
async fn a_daemon_that_takes_no_events_ends_the_adapter() {
    let Bench {
        pipes,
        events,
        mut running,
        ..
    } = Bench::new();
    drop(events);
    let (ours, mut theirs) = duplex(64);
    pipes.send(ours).await.unwrap();
    theirs.write_all(b"\x94\xC3\x00\x01\xFF").await.unwrap();
    let ended = running.join_next().await;
    assert!(matches!(ended, Some(Ok(Err(RadioError::EventsClosed)))));
    theirs.read_to_end(&mut Vec::new()).await.unwrap();
}
