//! The radio adapter against the simulated radio, in one process, under paused time.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on says why"
)]

use std::time::Duration;

use relay::config::ChannelUse;
use relay::model::{
    ChannelIndex, Destination, Event, Lane, NodeNum, OutboxId, PacketId, RadioEvent, RadioMessage,
    RadioOutcome, RadioPayload, RadioProfile, RadioText, Refusal, SendReport,
};
use relay::radio::{Radio, RadioOptions, Submission, Wire};
use relay::simulator::pipe::{self, PipeRadio};
use relay::simulator::{Connection, Fate, Machine, Mesh, Report};
use tokio::io::DuplexStream;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

const SEED: u64 = 7;

/// An adapter, a simulated radio, and what is between them.
struct Bench {
    simulated: PipeRadio,
    pipes: mpsc::Sender<DuplexStream>,
    submissions: mpsc::Sender<Submission>,
    events: mpsc::Receiver<Event>,
    air: watch::Receiver<bool>,
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

impl Bench {
    async fn new(neighbours: usize) -> (Self, Box<RadioProfile>) {
        Self::with(neighbours, |_| {}).await
    }

    /// With other options.
    async fn with(
        neighbours: usize,
        change: impl FnOnce(&mut RadioOptions),
    ) -> (Self, Box<RadioProfile>) {
        let machine = Machine::new(Mesh::new(SEED, neighbours), SEED, Instant::now().into_std());
        let (simulated, driver) = pipe::radio(machine, SEED);
        let (pipes, receiver) = mpsc::channel(1);
        let mut options = RadioOptions::over(Wire::Pipes(receiver));
        options.seed = Some(SEED);
        change(&mut options);
        let (submissions, submitted) = mpsc::channel(8);
        let (told, events) = mpsc::channel(64);
        let stop = CancellationToken::new();
        let radio = Radio::new(options);
        let air = radio.air();
        let running = radio.run(submitted, told, stop.clone());
        let mut tasks = JoinSet::new();
        tasks.spawn(async { driver.await.expect("the simulated radio runs") });
        tasks.spawn(async { running.await.expect("the adapter runs") });
        let mut bench = Self {
            simulated,
            pipes,
            submissions,
            events,
            air,
            stop,
            tasks,
        };
        let profile = bench.connect().await;
        (bench, profile)
    }

    /// Gives the adapter a connection to the radio, and waits until it is ready.
    async fn connect(&mut self) -> Box<RadioProfile> {
        let pipe = self
            .simulated
            .connect()
            .await
            .expect("the simulated radio runs");
        self.pipes.send(pipe).await.expect("the adapter connects");
        self.find("ready", |event| match event {
            Event::Radio(RadioEvent::Ready(profile)) => Some(profile),
            _ => None,
        })
        .await
    }

    async fn command(&self, line: &str) {
        let command = line.parse().expect("a command");
        self.simulated
            .commands
            .send(command)
            .await
            .expect("the simulated radio runs");
    }

    /// Waits for an event, and skips others.
    async fn find<T>(&mut self, what: &str, pick: impl Fn(Event) -> Option<T>) -> T {
        let found = async {
            loop {
                let event = self.events.recv().await.expect("the adapter runs");
                if let Some(found) = pick(event) {
                    return found;
                }
            }
        };
        let Ok(found) = timeout(Duration::from_mins(10), found).await else {
            panic!("{what} did not come")
        };
        found
    }

    async fn outcome(&mut self) -> (u32, RadioOutcome) {
        self.find("a report", |event| match event {
            Event::Report(SendReport::Radio {
                packet, outcome, ..
            }) => Some((packet.0, outcome)),
            _ => None,
        })
        .await
    }

    async fn text(&mut self) -> Box<RadioText> {
        self.find("a text", |event| match event {
            Event::Radio(RadioEvent::Text(text)) => Some(text),
            _ => None,
        })
        .await
    }

    async fn lost(&mut self) -> String {
        self.find("the loss of the link", |event| match event {
            Event::Radio(RadioEvent::Lost { cause }) => Some(cause),
            _ => None,
        })
        .await
    }

    async fn submit(&self, number: u32, destination: Destination) {
        self.submit_in(number, destination, Lane::Message).await;
    }

    async fn submit_in(&self, number: u32, destination: Destination, lane: Lane) {
        let payload = RadioPayload::Text {
            text: format!("text {number}"),
            reply_to: None,
        };
        let message = RadioMessage {
            destination,
            lane,
            payload,
        };
        let (outbox, packet) = (OutboxId(i64::from(number)), PacketId(number));
        let submission = Submission {
            outbox,
            packet,
            message,
        };
        self.submissions
            .send(submission)
            .await
            .expect("the adapter runs");
    }

    /// Returns the first fate of each packet that the simulated radio got since the last call.
    fn fates(&mut self) -> Vec<(u32, Fate)> {
        let mut fates = Vec::new();
        while let Ok(report) = self.simulated.reports.try_recv() {
            if let Report::Transmitted { packet, fate } = report
                && packet.port == 1
            {
                fates.push((packet.id, fate));
            }
        }
        fates
    }
}

fn primary() -> Destination {
    Destination::Channel(ChannelIndex::PRIMARY)
}

fn accepted(outcome: &RadioOutcome) -> bool {
    matches!(outcome, RadioOutcome::Accepted { .. })
}

#[tokio::test(start_paused = true)]
async fn texts_cross_both_ways() {
    let (mut bench, profile) = Bench::new(3).await;
    assert_eq!(profile.channels[0].name, "LongFast");
    assert!(profile.region_set && profile.transmit_enabled);
    bench
        .command(r#"{"channel": 0, "text": "oui —à demain", "id": 99}"#)
        .await;
    let text = bench.text().await;
    assert_eq!(
        (text.text.as_str(), text.packet),
        ("oui —à demain", PacketId(99))
    );
    assert_eq!(text.channel_name, "LongFast");
    assert!(text.sender.long_name.is_some());
    bench.submit(7, primary()).await;
    let (packet, outcome) = bench.outcome().await;
    assert!(packet == 7 && accepted(&outcome));
    assert_eq!(bench.outcome().await, (7, RadioOutcome::Heard));
    assert_eq!(bench.fates(), [(7, Fate::Accepted), (7, Fate::Heard)]);
}

#[tokio::test(start_paused = true)]
async fn of_a_burst_each_text_is_taken_once_and_in_order() {
    let (mut bench, _) = Bench::new(3).await;
    for number in 1..=30 {
        bench.submit(number, primary()).await;
        loop {
            let (packet, outcome) = bench.outcome().await;
            if packet == number {
                assert!(accepted(&outcome), "{outcome:?}");
                break;
            }
        }
    }
    let fates = bench.fates();
    assert!(
        !fates.iter().any(|(_, fate)| *fate == Fate::RateLimited),
        "{fates:?}"
    );
    let taken = fates
        .iter()
        .filter(|(_, fate)| *fate == Fate::Accepted)
        .map(|(id, _)| *id);
    assert!(taken.eq(1..=30));
}

#[tokio::test(start_paused = true)]
async fn five_hundred_texts_come_once_and_in_order_also_through_noise() {
    let (mut bench, _) = Bench::new(20).await;
    for number in 1000..1500 {
        if number % 50 == 0 {
            bench.command(r#"{"fault": "garbage", "bytes": 100}"#).await;
        }
        bench
            .command(&format!(r#"{{"text": "text {number}", "id": {number}}}"#))
            .await;
        assert_eq!(bench.text().await.packet, PacketId(number));
    }
}

#[tokio::test(start_paused = true)]
async fn a_text_that_nobody_repeats_is_unheard() {
    let (mut bench, _) = Bench::new(3).await;
    bench.command(r#"{"fault": "nobody_repeats"}"#).await;
    bench.submit(7, primary()).await;
    assert!(accepted(&bench.outcome().await.1));
    assert_eq!(bench.outcome().await, (7, RadioOutcome::Unheard));
}

#[tokio::test(start_paused = true)]
async fn refusals_are_told_with_their_reason() {
    let (mut bench, _) = Bench::new(3).await;
    let disabled = Destination::Channel(ChannelIndex::try_from(7).unwrap());
    bench.submit(1, disabled).await;
    assert_eq!(
        bench.outcome().await,
        (1, RadioOutcome::Refused(Refusal::NoChannel))
    );
    bench
        .submit(2, Destination::Direct(NodeNum(0x1234_5678)))
        .await;
    assert_eq!(
        bench.outcome().await,
        (2, RadioOutcome::Refused(Refusal::NoKey))
    );
    bench.command(r#"{"fault": "refuse", "error": 38}"#).await;
    bench.submit(3, primary()).await;
    let (_, outcome) = bench.outcome().await;
    assert!(
        matches!(outcome, RadioOutcome::Retry { new_id: true, .. }),
        "{outcome:?}"
    );
    bench.submit(4, primary()).await;
    assert!(accepted(&bench.outcome().await.1));
}

#[tokio::test(start_paused = true)]
async fn a_radio_that_stops_transmitting_refuses() {
    let (mut bench, _) = Bench::new(3).await;
    bench.command(r#"{"fault": "transmit_off"}"#).await;
    bench.submit(1, primary()).await;
    assert_eq!(
        bench.outcome().await,
        (1, RadioOutcome::Refused(Refusal::TransmitOff))
    );
}

#[tokio::test(start_paused = true)]
async fn a_radio_that_does_not_answer_gets_the_same_packet_again() {
    let (mut bench, _) = Bench::new(3).await;
    bench.command(r#"{"fault": "silent"}"#).await;
    bench.submit(1, primary()).await;
    assert!(accepted(&bench.outcome().await.1));
    let ids: Vec<_> = bench.fates().into_iter().map(|(id, _)| id).collect();
    assert!(ids.len() >= 2 && ids.iter().all(|id| *id == 1), "{ids:?}");
}

#[tokio::test(start_paused = true)]
async fn a_half_open_link_is_noticed_and_made_again() {
    let (mut bench, _) = Bench::new(3).await;
    bench.command(r#"{"fault": "half_open"}"#).await;
    assert_eq!(
        bench.lost().await,
        "the radio has been silent for 75 seconds"
    );
    bench.connect().await;
    bench.submit(1, primary()).await;
    assert!(accepted(&bench.outcome().await.1));
}

#[tokio::test(start_paused = true)]
async fn what_the_radio_kept_while_we_were_away_comes_with_its_time() {
    let (mut bench, _) = Bench::new(3).await;
    bench.command(r#"{"fault": "close"}"#).await;
    bench.lost().await;
    for number in 1..=3 {
        bench
            .command(&format!(r#"{{"text": "kept", "id": {number}}}"#))
            .await;
    }
    tokio::time::sleep(Duration::from_secs(30)).await;
    bench.connect().await;
    for number in 1..=3 {
        assert_eq!(bench.text().await.packet, PacketId(number));
    }
}

#[tokio::test(start_paused = true)]
async fn a_reboot_is_survived_with_and_without_a_word() {
    let (mut bench, before) = Bench::new(3).await;
    bench.command(r#"{"fault": "rebooted"}"#).await;
    assert_eq!(bench.lost().await, "the radio rebooted");
    let again = bench
        .find("ready", |event| match event {
            Event::Radio(RadioEvent::Ready(profile)) => Some(profile),
            _ => None,
        })
        .await;
    assert_eq!(again.channels, before.channels);
    bench.command(r#"{"fault": "reboot"}"#).await;
    assert_eq!(bench.lost().await, "the radio closed the connection");
    tokio::time::sleep(Duration::from_secs(10)).await;
    let after = bench.connect().await;
    assert!(after.reboot_count > before.reboot_count);
}

#[tokio::test(start_paused = true)]
async fn frames_split_and_joined_are_the_same_frames() {
    let (mut bench, _) = Bench::new(3).await;
    for fault in [r#"{"fault": "split"}"#, r#"{"fault": "join"}"#] {
        bench.command(fault).await;
        for number in 1..=20 {
            bench
                .command(&format!(r#"{{"text": "text", "id": {number}}}"#))
                .await;
        }
        for number in 1..=20 {
            assert_eq!(bench.text().await.packet, PacketId(number));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_stop_takes_leave_of_the_radio() {
    let (mut bench, _) = Bench::new(3).await;
    bench.stop.cancel();
    bench
        .tasks
        .join_next()
        .await
        .expect("the adapter ended")
        .expect("without a panic");
    while bench.events.recv().await.is_some() {}
    let mut reports = Vec::new();
    while let Ok(report) = bench.simulated.reports.try_recv() {
        reports.push(report);
    }
    assert_eq!(reports.last(), Some(&Report::Client(Connection::Closed)));
}

/// A radio reads up to 250 ms late what comes after a silence of 2 s, and takes one text in 2 s.
#[tokio::test(start_paused = true)]
async fn a_full_queue_goes_at_the_firmwares_own_best_rate() {
    let (mut bench, _) = Bench::new(3).await;
    let mut first = None;
    for number in 1..=25 {
        bench.submit(number, primary()).await;
        loop {
            let (packet, outcome) = bench.outcome().await;
            if accepted(&outcome) {
                assert_eq!(packet, number);
                break;
            }
            assert!(
                !matches!(outcome, RadioOutcome::Retry { .. }),
                "{outcome:?}"
            );
        }
        first.get_or_insert_with(Instant::now);
    }
    let spent = first.expect("25 texts were taken").elapsed();
    assert!(spent < Duration::from_millis(2100) * 24, "{spent:?}");
    let fates = bench.fates();
    let refused = fates.iter().filter(|(_, fate)| *fate == Fate::RateLimited);
    assert_eq!(refused.count(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_busy_channel_spaces_texts_and_a_very_busy_one_stops_all_but_urgent_ones() {
    let limits = ChannelUse {
        slow_above: 25,
        stop_above: 40,
    };
    let (mut bench, _) = Bench::with(3, |options| options.channel_use = Some(limits)).await;
    let told = async |bench: &mut Bench, percent: u8| {
        let line = format!(r#"{{"fault": "channel_use", "percent": {percent}}}"#);
        bench.command(&line).await;
        bench
            .find("how busy the channel is", |event| match event {
                Event::Radio(RadioEvent::ChannelUse { percent }) => Some(percent),
                _ => None,
            })
            .await
    };
    let taken = async |bench: &mut Bench, number: u32, lane: Lane| {
        bench.submit_in(number, primary(), lane).await;
        loop {
            let (packet, outcome) = bench.outcome().await;
            if accepted(&outcome) {
                return (packet, Instant::now());
            }
        }
    };
    let (_, first) = taken(&mut bench, 1, Lane::Message).await;
    assert!((told(&mut bench, 26).await - 26.0).abs() < 0.1);
    let (_, second) = taken(&mut bench, 2, Lane::Message).await;
    assert!(second - first >= Duration::from_millis(9_900));

    told(&mut bench, 41).await;
    bench.submit(3, primary()).await;
    let (packet, third) = taken(&mut bench, 4, Lane::Urgent).await;
    assert_eq!(packet, 4);
    assert!(third - second < Duration::from_secs(3));
    tokio::time::sleep(Duration::from_mins(10)).await;
    assert!(bench.fates().iter().all(|(number, _)| *number != 3));
    assert!(!*bench.air.borrow());

    bench.submit(5, primary()).await;
    loop {
        let (packet, outcome) = bench.outcome().await;
        if packet == 5 {
            let given_back = matches!(outcome, RadioOutcome::Retry { written: false, .. });
            assert!(given_back, "{outcome:?}");
            break;
        }
    }
    told(&mut bench, 10).await;
    let freed = Instant::now();
    bench
        .air
        .wait_for(|open| *open)
        .await
        .expect("the adapter runs");
    let (packet, _) = taken(&mut bench, 3, Lane::Message).await;
    assert_eq!(packet, 3);
    assert!(freed.elapsed() < Duration::from_secs(3));
}

#[tokio::test(start_paused = true)]
async fn a_radio_that_tells_no_more_how_busy_its_channel_is_stops_nothing() {
    let limits = ChannelUse {
        slow_above: 25,
        stop_above: 40,
    };
    let (mut bench, _) = Bench::with(3, |options| options.channel_use = Some(limits)).await;
    bench
        .command(r#"{"fault": "channel_use", "percent": 90}"#)
        .await;
    bench
        .command(r#"{"fault": "telemetry", "on": false}"#)
        .await;
    bench.submit(1, primary()).await;
    let (packet, outcome) = bench.outcome().await;
    assert!(packet == 1 && accepted(&outcome));
}
