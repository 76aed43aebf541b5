//! The radio's behaviour as a client sees it: connection, handshake, heartbeat, clock, own telemetry. Pure: the time is
//! handed in, frames and reports are taken out. `sending.rs` is what it does with the client's packets, `hearing.rs`
//! what it does with those of the mesh.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::radio::proto::{
    ClientNotification, FromRadio, MeshPacket, Message, PortNum, QueueStatus, ToRadio,
    from_radio::PayloadVariant as ToClient, to_radio::PayloadVariant as FromClient,
};

use super::air::{Air, QUEUE};
use super::condition::Condition;
use super::fault::Fault;
use super::handshake::{self, RadioState};
use super::input::Say;
use super::limits::Limits;
use super::mesh::Mesh;
use super::packets;
use super::queues::{ClientQueues, PACKETS};
use super::report::{Connection, Report, Transmitted};
use super::side::Side;

/// A client that sends nothing for so long is dropped.
const IDLE: Duration = Duration::from_mins(15);

/// So long a radio takes to close the connection of a client that says goodbye.
const HANG_UP: Duration = Duration::from_millis(20);

/// How often the radio tells its own telemetry, and its statistics.
const TELEMETRY_EVERY: Duration = Duration::from_mins(1);
const STATISTICS_EVERY: Duration = Duration::from_mins(15);

/// Reports that nobody takes are kept up to that number.
const REPORTS: usize = 65_536;

/// A radio without a radio.
#[derive(Debug)]
pub struct Machine {
    pub(super) mesh: Mesh,
    pub(super) state: RadioState,
    pub(super) faults: Condition,
    pub(super) air: Air,
    pub(super) queues: ClientQueues,
    pub(super) session: Option<Session>,
    pub(super) flights: HashMap<u32, Transmitted>,
    pub(super) random: StdRng,
    clock: Option<(u32, Instant)>,
    /// The client closed, and the radio has not noticed.
    writes_are_lost: bool,
    late_frames: VecDeque<(Instant, Vec<u8>)>,
    reports: VecDeque<Report>,
    /// The radio closes the connection then.
    closes_at: Option<Instant>,
    started: Instant,
    telemetry_at: Instant,
    statistics_at: Instant,
}

/// One connection of a client.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) limits: Limits,
    phase: Phase,
    heartbeat: bool,
    heard_at: Instant,
}

#[derive(Debug)]
enum Phase {
    /// The client has not asked for anything yet.
    Silent,
    /// The configuration is on its way.
    Configuring {
        frames: VecDeque<ToClient>,
        next_at: Instant,
    },
    /// The configuration is told.
    Live,
}

impl Machine {
    /// Starts a radio in that mesh; the seed decides ids and delays.
    pub fn new(mesh: Mesh, seed: u64, now: Instant) -> Self {
        let mut machine = Self {
            mesh,
            state: RadioState {
                reboot_count: 1,
                region_set: true,
                transmit_enabled: true,
            },
            faults: Condition {
                slow_reads: true,
                ..Condition::default()
            },
            air: Air::new(seed),
            queues: ClientQueues::new(PACKETS),
            session: None,
            flights: HashMap::new(),
            random: StdRng::seed_from_u64(seed.wrapping_add(1)),
            clock: None,
            writes_are_lost: false,
            late_frames: VecDeque::new(),
            reports: VecDeque::new(),
            closes_at: None,
            started: now,
            telemetry_at: now + TELEMETRY_EVERY,
            statistics_at: now + TELEMETRY_EVERY,
        };
        machine.push_status(0, 0);
        machine
    }

    /// Returns the mesh as it is now.
    pub fn mesh(&self) -> &Mesh {
        &self.mesh
    }

    /// Puts a queue status for the client in its queue.
    pub(super) fn push_status(&mut self, res: i32, packet: u32) {
        self.queues.push_status(QueueStatus {
            res,
            free: self.air.free(),
            maxlen: QUEUE,
            mesh_packet_id: packet,
        });
    }

    /// Puts a packet for the client in its queue; gives it an id and the radio's time where it has none.
    pub(super) fn push_packet(&mut self, mut packet: MeshPacket, now: Instant) {
        if packet.id == 0 {
            packet.id = self.fresh_id();
        }
        self.push_packet_as_it_is(packet, now);
    }

    /// Likewise, but an id of 0 stays.
    pub(super) fn push_packet_as_it_is(&mut self, mut packet: MeshPacket, now: Instant) {
        if packet.rx_time == 0 {
            packet.rx_time = self.radio_time(now);
        }
        if self.session.is_none() && self.writes_are_lost {
            return;
        }
        self.queues.push_packet(packet);
    }

    /// Puts a notification for the client in its queue.
    pub(super) fn push_notification(&mut self, text: &str, reply_id: Option<u32>, now: Instant) {
        /// WARNING of the log levels.
        const WARNING: i32 = 30;
        let time = self.radio_time(now);
        self.queues.push_notification(ClientNotification {
            reply_id,
            time,
            level: WARNING,
            message: text.to_owned(),
            ..ClientNotification::default()
        });
    }

    /// Adds something to tell.
    pub(super) fn report(&mut self, report: Report) {
        if self.reports.len() >= REPORTS {
            self.reports.pop_front();
        }
        self.reports.push_back(report);
    }

    /// Returns a random packet id.
    pub(super) fn fresh_id(&mut self) -> u32 {
        self.random.random_range(1..=u32::MAX)
    }

    /// Sets the radio's clock.
    pub(super) fn set_clock(&mut self, unix_seconds: u32, now: Instant) {
        self.clock = Some((unix_seconds, now));
    }

    /// Returns the radio's time in Unix seconds; 0 as long as nobody has set it.
    pub(super) fn radio_time(&self, now: Instant) -> u32 {
        self.clock.map_or(0, |(set_to, at)| {
            set_to.saturating_add(seconds(now.saturating_duration_since(at)))
        })
    }

    /// Returns how long the radio runs.
    pub(super) fn uptime(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.started)
    }

    fn handle_frame(&mut self, frame: &[u8], now: Instant) {
        let message = ToRadio::decode(frame).ok();
        let Some(variant) = message.and_then(|message| message.payload_variant) else {
            let reason = "not a ToRadio with something in it";
            self.report(Report::Ignored {
                reason,
                bytes: frame.len(),
            });
            return;
        };
        match variant {
            FromClient::Packet(packet) => self.send(packet, now),
            FromClient::WantConfigId(nonce) => self.begin_config(nonce, now),
            FromClient::Disconnect(_) => self.close(now + HANG_UP),
            FromClient::Heartbeat(heartbeat) if heartbeat.nonce == 1 => self.announce_own_node(now),
            FromClient::Heartbeat(_) => {
                if let Some(session) = &mut self.session {
                    session.heartbeat = true;
                }
            }
            FromClient::XmodemPacket(_) | FromClient::MqttClientProxyMessage(_) => {
                self.report(Report::Ignored {
                    reason: "file transfers and MQTT by proxy are not simulated",
                    bytes: frame.len(),
                });
            }
        }
    }

    fn begin_config(&mut self, nonce: u32, now: Instant) {
        let mut frames = handshake::series(&self.mesh, self.state, nonce);
        if self.faults.never_complete {
            frames.pop_back();
        }
        let next_at = now + self.faults.slow_config;
        if let Some(session) = &mut self.session {
            session.phase = Phase::Configuring { frames, next_at };
        }
    }

    /// Closes the connection then; what waits for the client waits for the next one.
    pub(super) fn close(&mut self, at: Instant) {
        if self.session.take().is_some() {
            self.report(Report::Client(Connection::Closed));
        }
        self.late_frames.clear();
        self.closes_at = Some(at);
    }

    pub(super) fn reboot(&mut self, now: Instant) {
        self.close(now);
        self.queues.clear();
        self.air.clear();
        self.flights.clear();
        self.clock = None;
        self.writes_are_lost = false;
        self.state.reboot_count += 1;
        self.started = now;
        self.telemetry_at = now + TELEMETRY_EVERY;
        self.statistics_at = now + TELEMETRY_EVERY;
        self.push_status(0, 0);
    }

    fn tell_telemetry(&mut self, now: Instant) {
        let time = self.radio_time(now);
        let uptime = seconds(self.uptime(now));
        let channel_use = self.faults.channel_use;
        let nodes = self.mesh.nodes.len() + 1;
        if now >= self.statistics_at {
            self.statistics_at = now + STATISTICS_EVERY;
            self.tell_own(packets::local_stats(time, uptime, channel_use, nodes), now);
        }
        if now >= self.telemetry_at {
            self.telemetry_at = now + TELEMETRY_EVERY;
            self.tell_metrics(now);
        }
    }

    /// Tells the client how busy the air is, among other things.
    pub(super) fn tell_metrics(&mut self, now: Instant) {
        let (time, uptime) = (self.radio_time(now), seconds(self.uptime(now)));
        let metrics = packets::device_metrics(time, uptime, self.faults.channel_use);
        self.tell_own(metrics, now);
    }

    fn tell_own(&mut self, telemetry: Vec<u8>, now: Instant) {
        if !self.faults.no_telemetry {
            let own = self.mesh.own.num;
            let packet = packets::own_broadcast(own, PortNum::TelemetryApp, telemetry);
            self.push_packet(packet, now);
        }
    }

    fn next_config_frame(&mut self, now: Instant) -> Option<ToClient> {
        let pause = self.faults.slow_config;
        let session = self.session.as_mut()?;
        let Phase::Configuring { frames, next_at } = &mut session.phase else {
            return None;
        };
        if now < *next_at {
            return None;
        }
        *next_at = now + pause;
        let frame = frames.pop_front()?;
        if let ToClient::ConfigCompleteId(_) = frame {
            session.phase = Phase::Live;
            self.report(Report::Client(Connection::Configured));
            if self.faults.cached {
                for packet in packets::cached(&self.mesh) {
                    self.push_packet(packet, now);
                }
            }
        }
        Some(frame)
    }
}

impl Side for Machine {
    fn on_connect(&mut self, now: Instant) {
        if self.session.is_some() {
            self.report(Report::Client(Connection::Closed));
        }
        self.writes_are_lost = false;
        self.closes_at = None;
        self.late_frames.clear();
        self.session = Some(Session {
            limits: Limits::default(),
            phase: Phase::Silent,
            heartbeat: false,
            heard_at: now,
        });
        self.report(Report::Client(Connection::Connected));
    }

    fn on_to_radio(&mut self, frame: &[u8], now: Instant) {
        /// Frames that wait to be read late; a radio's own buffer holds no more either.
        const LATE: usize = 64;
        let Some(session) = &mut self.session else {
            return;
        };
        let silence = now.saturating_duration_since(session.heard_at);
        session.heard_at = now;
        if !self.faults.slow_reads {
            self.handle_frame(frame, now);
            return;
        }
        let due = match self.late_frames.back() {
            Some((due, _)) => *due,
            None if silence > Duration::from_secs(2) => {
                now + Duration::from_millis(self.random.random_range(0..250))
            }
            None => now,
        };
        if self.late_frames.len() < LATE {
            self.late_frames.push_back((due, frame.to_vec()));
        }
        self.on_time(now);
    }

    fn on_disconnect(&mut self, _now: Instant) {
        if self.session.take().is_some() {
            self.report(Report::Client(Connection::Closed));
            self.writes_are_lost = self.faults.unnoticed_close;
        }
        self.late_frames.clear();
    }

    fn on_time(&mut self, now: Instant) {
        while self.late_frames.front().is_some_and(|(due, _)| *due <= now) {
            if let Some((_, frame)) = self.late_frames.pop_front() {
                self.handle_frame(&frame, now);
            }
        }
        self.progress_on_air(now);
        self.tell_telemetry(now);
        let idle = |session: &Session| now.saturating_duration_since(session.heard_at) >= IDLE;
        if self.session.as_ref().is_some_and(idle) {
            self.close(now);
        }
    }

    fn deadline(&self) -> Option<Instant> {
        let session = self.session.as_ref();
        let idle_at = session.map(|session| session.heard_at + IDLE);
        let config_at = session.and_then(|session| match &session.phase {
            Phase::Configuring { frames, next_at } if !frames.is_empty() => Some(*next_at),
            Phase::Configuring { .. } | Phase::Silent | Phase::Live => None,
        });
        let late_at = self.late_frames.front().map(|(due, _)| *due);
        let telemetry_at = Some(self.telemetry_at.min(self.statistics_at));
        [
            idle_at,
            config_at,
            late_at,
            telemetry_at,
            self.closes_at,
            self.air.deadline(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    fn next_frame(&mut self, now: Instant) -> Option<Vec<u8>> {
        let free = self.air.free();
        let session = self.session.as_mut()?;
        let variant = if std::mem::take(&mut session.heartbeat) {
            ToClient::QueueStatus(QueueStatus {
                res: 0,
                free,
                maxlen: QUEUE,
                mesh_packet_id: 0,
            })
        } else {
            match session.phase {
                Phase::Silent => return None,
                Phase::Configuring { .. } => self.next_config_frame(now)?,
                Phase::Live => self.queues.pop()?,
            }
        };
        Some(encode(variant))
    }

    fn take_close(&mut self, now: Instant) -> bool {
        self.closes_at.take_if(|at| *at <= now).is_some()
    }

    fn next_report(&mut self) -> Option<Report> {
        self.reports.pop_front()
    }

    fn inject(&mut self, say: &Say, now: Instant) -> Result<(), String> {
        self.hear(say, now)
    }

    fn set_fault(&mut self, fault: &Fault, now: Instant) -> Result<(), String> {
        self.set_condition(fault, now)
    }
}

/// Returns the bytes of a frame for the client.
pub(super) fn encode(variant: ToClient) -> Vec<u8> {
    FromRadio {
        id: 0,
        payload_variant: Some(variant),
    }
    .encode_to_vec()
}

fn seconds(span: Duration) -> u32 {
    u32::try_from(span.as_secs()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::harness::{Answer, Harness, answers, packets};
    use super::*;
    use crate::radio::proto::Heartbeat;

    const MINUTE: Duration = Duration::from_mins(1);

    fn ids(frames: &[ToClient]) -> Vec<u32> {
        packets(frames)
            .into_iter()
            .map(|packet| packet.id)
            .collect()
    }

    fn is_status(frame: &ToClient) -> bool {
        matches!(frame, ToClient::QueueStatus(status) if status.mesh_packet_id == 0 && status.res == 0)
    }

    #[test]
    fn nothing_comes_before_the_client_asks_but_the_answer_to_a_heartbeat() {
        let mut harness = Harness::new(3);
        harness.machine.on_connect(harness.now);
        assert_eq!(harness.hear(r#"{"text": "hi"}"#), []);
        let frames = harness.heartbeat(2);
        assert_eq!(frames.len(), 1);
        assert!(is_status(&frames[0]));
    }

    #[test]
    fn three_heartbeats_in_one_segment_get_one_answer() {
        let mut harness = Harness::live(3);
        for nonce in [0, 2, 3] {
            harness.write(FromClient::Heartbeat(Heartbeat { nonce }));
        }
        let frames = harness.frames();
        assert!(frames.len() == 1 && is_status(&frames[0]), "{frames:?}");
    }

    #[test]
    fn heartbeat_nonce_1_announces_the_node_and_gets_no_answer_of_its_own() {
        let mut harness = Harness::live(3);
        let frames = harness.heartbeat(1);
        let [ToClient::QueueStatus(status)] = frames.as_slice() else {
            panic!("{frames:?}");
        };
        assert_ne!(status.mesh_packet_id, 0);
    }

    #[test]
    fn the_first_client_after_a_start_gets_an_unsolicited_status() {
        let mut harness = Harness::new(3);
        let frames = harness.connect();
        assert!(frames.len() == 1 && is_status(&frames[0]), "{frames:?}");
        assert_eq!(harness.connect(), []);
    }

    #[test]
    fn live_packets_wait_until_the_configuration_is_told() {
        let mut harness = Harness::live(3);
        harness.fault(r#"{"fault": "slow_config", "ms": 100}"#);
        harness.machine.on_connect(harness.now);
        assert_eq!(harness.tell(FromClient::WantConfigId(5)), []);
        let mut frames = harness.wait(Duration::from_secs(2));
        assert!(!frames.is_empty());
        assert_eq!(harness.hear(r#"{"text": "hi", "id": 9}"#), []);
        let heartbeat = harness.heartbeat(2);
        assert!(
            heartbeat.len() == 1 && is_status(&heartbeat[0]),
            "answered all the same"
        );
        frames.extend(harness.wait(Duration::from_secs(10)));
        let complete = frames
            .iter()
            .position(|frame| *frame == ToClient::ConfigCompleteId(5));
        let text = frames
            .iter()
            .position(|frame| matches!(frame, ToClient::Packet(_)));
        assert!(complete.unwrap() < text.unwrap());
    }

    #[test]
    fn a_configuration_can_stay_unfinished() {
        let mut harness = Harness::new(3);
        harness.fault(r#"{"fault": "never_complete"}"#);
        harness.machine.on_connect(harness.now);
        let frames = harness.tell(FromClient::WantConfigId(5));
        assert!(frames.len() > 30);
        assert!(!frames.contains(&ToClient::ConfigCompleteId(5)));
        assert_eq!(harness.wait(MINUTE), []);
    }

    #[test]
    fn asking_again_restarts_the_series() {
        let mut harness = Harness::live(3);
        let frames = harness.tell(FromClient::WantConfigId(0));
        assert!(matches!(frames.first(), Some(ToClient::MyInfo(_))));
        assert_eq!(frames.last(), Some(&ToClient::ConfigCompleteId(0)));
    }

    #[test]
    fn a_packet_before_the_handshake_is_sent_and_its_status_comes_after_it() {
        let mut harness = Harness::live(3);
        harness.machine.on_connect(harness.now);
        let text = harness.text(7, "early");
        assert_eq!(harness.send(text), []);
        let frames = harness.tell(FromClient::WantConfigId(5));
        assert_eq!(answers(&frames, 7), [Answer::Status(0)]);
        assert_eq!(
            frames.last(),
            Some(&ToClient::QueueStatus(QueueStatus {
                res: 0,
                free: 15,
                maxlen: 16,
                mesh_packet_id: 7,
            }))
        );
    }

    #[test]
    fn what_comes_while_the_client_is_away_comes_after_the_next_handshake_in_order() {
        let mut harness = Harness::live(3);
        harness.machine.on_disconnect(harness.now);
        for id in 1..=40 {
            harness.hear(&format!(r#"{{"text": "x", "id": {id}}}"#));
        }
        assert_eq!(ids(&harness.connect()), (9..=40).collect::<Vec<u32>>());
        assert_eq!(harness.connect(), [], "each is told once");
    }

    #[test]
    fn a_radio_that_does_not_notice_the_end_loses_what_comes_meanwhile() {
        let mut harness = Harness::live(3);
        harness.fault(r#"{"fault": "unnoticed_close"}"#);
        harness.machine.on_disconnect(harness.now);
        harness.hear(r#"{"text": "lost", "id": 1}"#);
        assert_eq!(harness.connect(), []);
        harness.tell(FromClient::Disconnect(true));
        harness.hear(r#"{"text": "kept", "id": 2}"#);
        assert_eq!(ids(&harness.connect()), [2]);
    }

    #[test]
    fn disconnect_closes_the_connection_and_nothing_more_is_heard_of_it() {
        let mut harness = Harness::live(3);
        harness.write(FromClient::Disconnect(true));
        let soon = harness.machine.deadline().unwrap();
        assert!(soon - harness.now < Duration::from_millis(250));
        assert!(harness.machine.take_close(soon));
        assert_eq!(harness.heartbeat(2), []);
    }

    #[test]
    fn a_client_that_is_silent_for_15_minutes_is_dropped_whatever_it_is_told() {
        let mut harness = Harness::live(3);
        harness.wait(MINUTE * 14);
        harness.heartbeat(2);
        harness.fault(r#"{"fault": "telemetry"}"#);
        assert!(harness.wait(MINUTE * 14).len() > 10);
        assert!(!harness.closed);
        harness.wait(MINUTE);
        assert!(harness.closed);
    }

    #[test]
    fn the_radios_own_telemetry_comes_each_minute_from_its_own_number() {
        let mut harness = Harness::live(3);
        harness.fault(r#"{"fault": "telemetry"}"#);
        harness.fault(r#"{"fault": "channel_use", "percent": 33}"#);
        assert_eq!(packets(&harness.frames()).len(), 1, "it is told at once");
        let frames = harness.wait(MINUTE * 10);
        let own = harness.own();
        let telemetry = packets(&frames);
        assert_eq!(
            telemetry.len(),
            11,
            "ten of the device, one of its statistics"
        );
        assert!(
            telemetry
                .iter()
                .all(|packet| packet.from == own && packet.rx_snr == 0.0)
        );
    }

    #[test]
    fn a_restart_empties_the_queues_unsets_the_clock_and_is_counted() {
        let mut harness = Harness::live(3);
        harness.machine.set_clock(1_800_000_000, harness.now);
        harness.machine.on_disconnect(harness.now);
        harness.hear(r#"{"text": "forgotten"}"#);
        harness.fault(r#"{"fault": "reboot"}"#);
        harness.machine.on_connect(harness.now);
        let frames = harness.tell(FromClient::WantConfigId(5));
        let Some(ToClient::MyInfo(info)) = frames.first() else {
            panic!("{frames:?}");
        };
        assert_eq!(info.reboot_count, 2);
        assert!(packets(&frames).is_empty());
        let frames = harness.hear(r#"{"text": "new"}"#);
        assert_eq!(packets(&frames)[0].rx_time, 0);
    }

    #[test]
    fn a_radio_that_reads_late_limits_texts_by_when_it_read_them() {
        let mut harness = Harness::live(3);
        harness.fault(r#"{"fault": "slow_reads"}"#);
        let mut limited = 0;
        for id in 1..=25 {
            let text = harness.text(id, "paced by the clock");
            harness.write(FromClient::Packet(text));
            harness.wait(Duration::from_millis(2100));
            let lost = harness
                .fates(id)
                .contains(&super::super::report::Fate::RateLimited);
            limited += u32::from(lost);
        }
        assert!((1..25).contains(&limited), "{limited}");
    }

    #[test]
    fn garbage_in_frames_is_ignored_and_the_session_goes_on() {
        let mut harness = Harness::live(3);
        for frame in [
            &[][..],
            &[0xFF],
            &[0x0A, 0x7F],
            &[0x94, 0xC3, 0, 1],
            &[0x0A, 0],
        ] {
            harness.machine.on_to_radio(frame, harness.now);
        }
        assert_eq!(harness.frames(), []);
        assert_eq!(harness.heartbeat(2).len(), 1);
    }

    proptest::proptest! {
        #[test]
        fn no_frame_makes_the_machine_panic_or_speak_before_it_is_asked(
            frames in proptest::collection::vec(proptest::collection::vec(proptest::prelude::any::<u8>(), 0..64), 0..20),
        ) {
            let mut harness = Harness::new(3);
            harness.machine.on_connect(harness.now);
            for frame in &frames {
                harness.machine.on_to_radio(frame, harness.now);
                harness.wait(Duration::from_secs(1));
            }
        }
    }
}
