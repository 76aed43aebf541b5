//! The radio adapter against the simulated radio, in one process, under paused time.

#![expect(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on says why"
)]

use std::time::Duration;

use relay_config::ChannelUse;
use relay_model::{
    ChannelIndex, ChannelRole, Destination, Event, Lane, MeshRowId, NodeNum, PacketId, RadioEvent,
    RadioMessage, RadioOutcome, RadioPayload, RadioProfile, RadioText, Refusal, SendReport,
};
use relay_radio::{Link, Radio, RadioOptions, Submission, Wire};
use relay_simulator::pipe::{self, PipeRadio};
use relay_simulator::{
    Connection, Controls, Fate, Firmware, Machine, Mesh, Report, Script, TcpPort, drive,
};
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
    link: watch::Receiver<Link>,
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
        let mut bench = Self::away(machine(neighbours), change);
        let profile = bench.connect().await;
        (bench, profile)
    }

    /// With a radio of that firmware.
    async fn of(firmware: Firmware) -> (Self, Box<RadioProfile>) {
        let mut bench = Self::away(machine(3).with_firmware(firmware), |_| {});
        let profile = bench.connect().await;
        (bench, profile)
    }

    /// With a radio that is not connected yet.
    fn away(machine: Machine, change: impl FnOnce(&mut RadioOptions)) -> Self {
        let (simulated, driver) = pipe::radio(machine, SEED, Script::default());
        let (pipes, receiver) = mpsc::channel(1);
        let mut options = RadioOptions::over(Wire::Pipes(receiver));
        options.seed = Some(SEED);
        change(&mut options);
        let (submissions, submitted) = mpsc::channel(8);
        let (told, events) = mpsc::channel(64);
        let stop = CancellationToken::new();
        let radio = Radio::new(options);
        let link = radio.link();
        let air = radio.air();
        let running = radio.run(submitted, told, stop.clone());
        let mut tasks = JoinSet::new();
        tasks.spawn(async { driver.await.expect("the simulated radio runs") });
        tasks.spawn(async { running.await.expect("the adapter runs") });
        Self {
            simulated,
            pipes,
            submissions,
            events,
            link,
            air,
            stop,
            tasks,
        }
    }

    /// Connects the adapter to the radio, and waits until it is ready.
    async fn connect(&mut self) -> Box<RadioProfile> {
        self.plug().await;
        self.ready().await
    }

    /// Closes the connection at the radio, and gives the adapter another one.
    async fn reconnect(&mut self) -> Box<RadioProfile> {
        self.command(r#"{"fault": "close"}"#).await;
        self.lost().await;
        self.connect().await
    }

    /// Gives the adapter a connection to the radio.
    async fn plug(&self) {
        let pipe = self
            .simulated
            .connect()
            .await
            .expect("the simulated radio runs");
        self.pipes.send(pipe).await.expect("the adapter connects");
    }

    async fn ready(&mut self) -> Box<RadioProfile> {
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
            Event::Radio(RadioEvent::Lost { cause, .. }) => Some(cause),
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
        let (outbox, packet) = (MeshRowId(i64::from(number)), PacketId(number));
        let submission = Submission {
            outbox,
            packet,
            channel: None,
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
            if let Report::Transmitted(packet, fate) = report
                && packet.content.portnum == 1
            {
                fates.push((packet.header.id, fate));
            }
        }
        fates
    }
}

fn machine(neighbours: usize) -> Machine {
    Machine::new(Mesh::new(SEED, neighbours), SEED, Instant::now().into_std())
}

fn names(profile: &RadioProfile) -> Vec<&str> {
    let channels = profile.channels.iter().take(3);
    channels.map(|channel| channel.name.as_str()).collect()
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
    let silent = Instant::now();
    assert_eq!(
        bench.lost().await,
        "the radio has been silent for 75 seconds"
    );
    assert!(silent.elapsed() < Duration::from_secs(80));
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

/// After a silence of 2 s a radio reads up to 250 ms late, and it accepts one text per 2 s.
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

#[tokio::test(start_paused = true)]
async fn restarts_of_the_radio_are_counted_and_nothing_else_is_taken_for_one() {
    let (mut bench, _) = Bench::new(3).await;
    let restarts = |bench: &Bench| bench.link.borrow().restarts;
    bench.command(r#"{"fault": "close"}"#).await;
    bench.lost().await;
    bench.connect().await;
    assert_eq!(restarts(&bench), 0);
    bench.command(r#"{"fault": "reboot"}"#).await;
    bench.lost().await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    bench.connect().await;
    assert_eq!(restarts(&bench), 1);
    bench.command(r#"{"fault": "rebooted"}"#).await;
    assert_eq!(bench.lost().await, "the radio rebooted");
    bench.ready().await;
    assert_eq!(restarts(&bench), 2);
}

#[tokio::test(start_paused = true)]
async fn a_radio_gets_the_time_after_each_connect() {
    let (mut bench, _) = Bench::new(3).await;
    let mut settings = 0;
    for _ in 0..3 {
        bench.command(r#"{"text": "hi"}"#).await;
        bench.text().await;
        while let Ok(report) = bench.simulated.reports.try_recv() {
            if let Report::Transmitted(packet, fate) = report {
                assert_eq!((packet.content.portnum, fate), (6, Fate::Local));
                settings += 1;
            }
        }
        bench.command(r#"{"fault": "reboot"}"#).await;
        bench.lost().await;
        tokio::time::sleep(Duration::from_secs(10)).await;
        bench.connect().await;
    }
    assert_eq!(settings, 3);
}

#[tokio::test(start_paused = true)]
async fn a_radio_that_never_ends_its_configuration_is_given_up_and_asked_again() {
    let (mut bench, _) = Bench::new(3).await;
    for (fault, seconds, cause) in [
        (
            "never_complete",
            30,
            "the radio did not tell its configuration",
        ),
        (
            "endless_config",
            300,
            "the radio did not come to the end of its configuration within 5 minutes",
        ),
    ] {
        bench.command(&format!(r#"{{"fault": "{fault}"}}"#)).await;
        bench.command(r#"{"fault": "close"}"#).await;
        bench.lost().await;
        bench.plug().await;
        let begun = Instant::now();
        assert_eq!(bench.lost().await, cause);
        assert_eq!(begun.elapsed().as_secs(), seconds);
        bench
            .command(&format!(r#"{{"fault": "{fault}", "on": false}}"#))
            .await;
        bench.connect().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_configuration_is_waited_for() {
    let (mut bench, _) = Bench::new(250).await;
    bench
        .command(r#"{"fault": "slow_config", "ms": 300}"#)
        .await;
    bench.command(r#"{"fault": "close"}"#).await;
    bench.lost().await;
    let begun = Instant::now();
    bench.connect().await;
    assert!(begun.elapsed() > Duration::from_mins(1));
}

#[tokio::test(start_paused = true)]
async fn a_link_that_ends_during_the_configuration_is_made_again() {
    let (mut bench, _) = Bench::new(3).await;
    bench.command(r#"{"fault": "hang_up", "after": 12}"#).await;
    bench.command(r#"{"fault": "close"}"#).await;
    bench.lost().await;
    bench.plug().await;
    // The same cause twice in a row is reported once.
    let mut ends = 0;
    while ends < 2 {
        let report = bench.simulated.reports.recv().await;
        let ended = Some(Report::Client(Connection::Closed));
        ends += u32::from(report == ended);
    }
    bench
        .command(r#"{"fault": "stale_complete", "nonce": 4}"#)
        .await;
    let profile = bench.connect().await;
    assert_eq!(names(&profile), ["LongFast", "bridge", "club"]);
}

#[tokio::test(start_paused = true)]
async fn a_channel_whose_frame_was_lost_is_asked_for_again() {
    let (mut bench, _) = Bench::new(3).await;
    bench
        .command(r#"{"fault": "lost_frames", "from": 5}"#)
        .await;
    bench.command(r#"{"fault": "close"}"#).await;
    bench.lost().await;
    let profile = bench.connect().await;
    assert_eq!(names(&profile), ["LongFast", "bridge", "club"]);
}

#[tokio::test(start_paused = true)]
async fn of_250_nodes_each_is_known_whatever_its_name() {
    let mut bench = Bench::away(machine(250), |_| {});
    bench.connect().await;
    let nodes = bench
        .find("the nodes", |event| match event {
            Event::Radio(RadioEvent::Nodes(nodes)) => Some(nodes),
            _ => None,
        })
        .await;
    assert_eq!(nodes.len(), 251);
    let names = nodes.iter().filter_map(|node| node.long_name.as_deref());
    assert_eq!(names.clone().map(str::len).max(), Some(39));
    assert!(names.clone().any(|name| name.contains('\u{202e}')));
    assert!(nodes.iter().any(|node| node.long_name.is_none()));
    assert!(
        nodes
            .iter()
            .all(|node| !node.long().is_empty() && !node.short().is_empty())
    );
    for (number, node) in (1..).zip(&nodes) {
        let line = format!(
            r#"{{"from": "{}", "text": "hi", "id": {number}}}"#,
            node.num
        );
        bench.command(&line).await;
        assert_eq!(bench.text().await.sender.long(), node.long());
    }
}

#[tokio::test(start_paused = true)]
async fn channels_that_were_renamed_moved_or_switched_off_are_told_after_the_next_connect() {
    let (mut bench, before) = Bench::new(3).await;
    assert_eq!(names(&before), ["LongFast", "bridge", "club"]);
    for (faults, expected) in [
        (
            vec![r#"{"fault": "swap_channels", "first": 1, "second": 2}"#],
            ["LongFast", "club", "bridge"],
        ),
        (
            vec![
                r#"{"fault": "channel", "index": 1, "name": "society"}"#,
                r#"{"fault": "preset", "number": 4}"#,
            ],
            ["MediumFast", "society", "bridge"],
        ),
        (
            vec![
                r#"{"fault": "channel", "index": 2, "enabled": false}"#,
                r#"{"fault": "preset"}"#,
            ],
            ["Custom", "society", ""],
        ),
    ] {
        for fault in faults {
            bench.command(fault).await;
        }
        bench.command(r#"{"fault": "reboot", "seconds": 5}"#).await;
        bench.lost().await;
        tokio::time::sleep(Duration::from_secs(6)).await;
        let profile = bench.connect().await;
        assert_eq!(names(&profile), expected);
    }
    let last = bench.reconnect().await;
    assert_eq!(last.channels[2].role, ChannelRole::Disabled);
}

#[tokio::test(start_paused = true)]
async fn firmware_2_8_is_understood_and_what_it_kept_of_others_is_no_news() {
    let (mut bench, profile) = Bench::of(Firmware::V2_8).await;
    assert!(profile.firmware.starts_with("2.8"));
    assert_eq!(names(&profile), ["LongFast", "bridge", "club"]);
    bench.reconnect().await;
    bench.command(r#"{"text": "news", "id": 9}"#).await;
    assert_eq!(bench.text().await.packet, PacketId(9));
    bench.submit(7, primary()).await;
    assert!(accepted(&bench.outcome().await.1));
}

#[tokio::test(start_paused = true)]
async fn a_locked_radio_is_known_as_such_until_it_is_unlocked() {
    let (mut bench, open) = Bench::of(Firmware::V2_8).await;
    assert!(!open.locked);
    bench.command(r#"{"fault": "locked"}"#).await;
    let locked = bench.ready().await;
    assert!(locked.locked && !locked.transmit_enabled);
    assert_eq!(names(&locked), names(&open), "as far as it told before");
    assert!(bench.reconnect().await.locked);
    bench.submit(7, primary()).await;
    let refused = RadioOutcome::Refused(Refusal::TransmitOff);
    assert_eq!(bench.outcome().await, (7, refused));
    bench.command(r#"{"fault": "locked", "on": false}"#).await;
    assert_eq!(bench.lost().await, "the radio was unlocked");
    let open = bench.ready().await;
    assert!(!open.locked);
    assert_eq!(names(&open), ["LongFast", "bridge", "club"]);
}

#[tokio::test(start_paused = true)]
async fn another_client_that_keeps_taking_the_radio_is_named_as_the_cause() {
    let (mut bench, _) = Bench::new(3).await;
    let mut causes = Vec::new();
    for _ in 0..4 {
        let phone = bench.simulated.connect().await.expect("the radio runs");
        causes.push(bench.lost().await);
        bench.connect().await;
        drop(phone);
    }
    assert!(!causes[0].contains("another client"), "{causes:?}");
    assert!(
        causes[3].contains("another client uses this radio"),
        "{causes:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_link_that_breaks_again_and_again_is_made_again_at_once() {
    let (mut bench, _) = Bench::new(3).await;
    for _ in 0..8 {
        bench
            .command(r#"{"fault": "close", "mid_frame": true}"#)
            .await;
        let cause = bench.lost().await;
        assert_eq!(cause, "cannot read from the radio: unexpected end of file");
        let lost = Instant::now();
        bench.connect().await;
        assert!(lost.elapsed() < Duration::from_secs(2));
    }
}

#[tokio::test(start_paused = true)]
async fn a_radio_that_restarts_again_and_again_and_is_back_at_once_is_found_at_once() {
    let (mut bench, _) = Bench::new(3).await;
    for _ in 0..8 {
        tokio::time::sleep(Duration::from_secs(5)).await;
        bench.command(r#"{"fault": "reboot", "seconds": 0}"#).await;
        let cause = bench.lost().await;
        assert_eq!(cause, "the radio closed the connection");
        let lost = Instant::now();
        bench.connect().await;
        assert!(lost.elapsed() < Duration::from_secs(2));
    }
    assert_eq!(bench.link.borrow().restarts, 8);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_tells_its_history_again_tells_the_old_ids_and_times() {
    let (mut bench, _) = Bench::new(3).await;
    bench.command(r#"{"fault": "store_forward_server"}"#).await;
    for id in 1..=3 {
        bench
            .command(&format!(r#"{{"text": "x", "id": {id}}}"#))
            .await;
    }
    let mut first = Vec::new();
    for _ in 0..3 {
        first.push(bench.text().await);
    }
    bench.reconnect().await;
    for said in first {
        let again = bench.text().await;
        assert_eq!((again.packet, again.text), (said.packet, said.text));
    }
}

#[tokio::test(start_paused = true)]
async fn acknowledgements_are_told_once_however_oddly_they_come() {
    use RadioOutcome::{Heard, Unheard};
    for (fault, expected) in [
        (
            r#"{"fault": "broadcast_answer", "answer": "twice"}"#,
            vec![Heard],
        ),
        (
            r#"{"fault": "broadcast_answer", "answer": "late"}"#,
            vec![Unheard, Heard],
        ),
        (r#"{"fault": "mqtt_echo"}"#, vec![Heard]),
        (r#"{"fault": "empty_acks"}"#, vec![Heard]),
        (r#"{"fault": "simulated_radio"}"#, vec![Heard]),
        (r#"{"fault": "answer", "request_id": 4711}"#, vec![Heard]),
        (r#"{"fault": "should_release"}"#, vec![Heard]),
        (r#"{"fault": "chatter"}"#, vec![Heard]),
    ] {
        let (mut bench, _) = Bench::new(3).await;
        bench.command(fault).await;
        bench.command("the fault is in force").await;
        bench.text().await;
        bench.submit(7, primary()).await;
        assert!(accepted(&bench.outcome().await.1));
        for outcome in expected {
            assert_eq!(bench.outcome().await, (7, outcome), "{fault}");
        }
        let more = timeout(Duration::from_mins(5), bench.outcome()).await;
        assert!(more.is_err(), "{fault}: {more:?}");
    }
}

#[tokio::test]
async fn a_link_that_is_reset_is_made_again() {
    let loopback = "127.0.0.1:0".parse().expect("an address");
    let port = TcpPort::listen(loopback).await.expect("a port");
    let wire = Wire::Tcp {
        host: "127.0.0.1".to_owned(),
        port: port.address.port(),
    };
    let (commands, obeyed) = mpsc::channel(4);
    let (reports, _nobody) = mpsc::channel(64);
    let (_submissions, submitted) = mpsc::channel(4);
    let (told, mut events) = mpsc::channel(64);
    let stop = CancellationToken::new();
    let controls = Controls {
        commands: obeyed,
        reports,
        stop: stop.clone(),
        recorder: None,
        seed: SEED,
        script: Script::default(),
    };
    let mut tasks = JoinSet::new();
    let machine = machine(3);
    tasks.spawn(async move {
        drive(port, machine, controls)
            .await
            .expect("the radio runs");
    });
    let running = Radio::new(RadioOptions::over(wire)).run(submitted, told, stop.clone());
    tasks.spawn(async move { running.await.expect("the adapter runs") });
    let mut ready = 0;
    while ready < 2 {
        let event = timeout(Duration::from_mins(1), events.recv()).await;
        match event.expect("an event comes").expect("the adapter runs") {
            Event::Radio(RadioEvent::Ready(_)) => {
                ready += 1;
                if ready == 1 {
                    let reset = r#"{"fault": "close", "reset": true}"#.parse();
                    let sent = commands.send(reset.expect("a command")).await;
                    sent.expect("the radio runs");
                }
            }
            Event::Radio(RadioEvent::Lost { cause, .. }) => {
                assert!(cause.contains("reset"), "{cause}");
            }
            _ => {}
        }
    }
    stop.cancel();
}
