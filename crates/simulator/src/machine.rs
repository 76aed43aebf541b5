//! The radio's behaviour as a client sees it. Pure: the time is passed in, frames and reports are taken out.
//! `connection.rs` handles a client's connection, `sending.rs` and `settling.rs` its packets, `hearing.rs` packets of
//! the mesh, and `telemetry.rs` what is sent unasked.

mod admin;
mod condition;
mod connection;
pub(crate) mod console;
pub(crate) mod firmware;
pub(crate) mod frame;
mod handshake;
mod hearing;
mod limits;
pub(crate) mod queues;
mod sending;
mod session;
mod settling;
mod telemetry;
mod trouble;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use relay_wire::proto::{
    ClientNotification, LogRecord, MeshPacket, Message, QueueStatus, ToRadio,
    from_radio::PayloadVariant as ToClient, log_record::Level,
    to_radio::PayloadVariant as FromClient, wire,
};

use super::lines::{Command, Connection, Fault, Report, Switch};
use super::mesh::air::{Air, QUEUE};
use super::{mesh::Mesh, simulated_radio::SimulatedRadio};
use condition::Condition;
use firmware::Firmware;
use queues::{ClientQueues, PACKETS, UNREAD, push_latest};
use session::{ClientSession, HANG_UP, IDLE, Phase};

/// Maximum number of undelivered reports.
const REPORTS: usize = 65_536;
/// Maximum number of unprinted lines.
const MOST_LINES: usize = 1024;

/// The simulated radio: firmware, mesh and air, without clock or I/O of its own.
#[derive(Debug)]
pub struct Machine {
    pub(super) mesh: Mesh,
    state: Condition,
    air: Air,
    queues: ClientQueues,
    session: Option<ClientSession>,
    random: StdRng,
    /// The texts kept by a store-and-forward server.
    history: VecDeque<MeshPacket>,
    chatted: u32,
    others_turn: bool,
    clock: Option<(u32, Instant)>,
    /// The client has closed, and the radio has not noticed.
    writes_are_lost: bool,
    reports: VecDeque<Report>,
    lines: VecDeque<String>,
    /// When the radio closes the connection.
    closes_at: Option<Instant>,
    started: Instant,
    telemetry_at: Instant,
    statistics_at: Instant,
}

impl Machine {
    /// Starts a radio in that mesh; the seed determines ids and delays.
    pub fn new(mesh: Mesh, seed: u64, now: Instant) -> Self {
        let mut machine = Self {
            mesh,
            state: Condition {
                preset: Some(0),
                faults: vec![Fault::SlowReads(Switch::ON), Fault::Telemetry(Switch::ON)],
                ..Condition::default()
            },
            air: Air::new(seed),
            queues: ClientQueues::new(PACKETS),
            session: None,
            random: StdRng::seed_from_u64(seed.wrapping_add(1)),
            history: VecDeque::new(),
            chatted: 0,
            others_turn: false,
            clock: None,
            writes_are_lost: false,
            reports: VecDeque::new(),
            lines: VecDeque::new(),
            closes_at: None,
            started: now,
            telemetry_at: now,
            statistics_at: now,
        };
        machine.restart(now);
        machine
    }

    /// Gives the radio other firmware than the default.
    #[must_use]
    pub fn with_firmware(mut self, firmware: Firmware) -> Self {
        self.state.firmware = firmware;
        self
    }

    fn status(&self, res: u32, packet: u32) -> ToClient {
        ToClient::QueueStatus(QueueStatus {
            res: i32::try_from(res).unwrap_or(i32::MAX),
            free: self.air.free(),
            maxlen: QUEUE,
            mesh_packet_id: packet,
        })
    }

    fn push_status(&mut self, res: u32, packet: u32) {
        let status = self.status(res, packet);
        push_latest(&mut self.queues.statuses, status, UNREAD);
    }

    /// Queues a packet for the client; sets a missing id and a missing time.
    fn push_packet(&mut self, mut packet: MeshPacket, now: Instant) {
        if packet.id == 0 {
            packet.id = self.fresh_id();
        }
        self.push_packet_as_it_is(packet, now);
    }

    /// Queues a packet for the client; sets a missing time, but leaves a missing id at 0.
    fn push_packet_as_it_is(&mut self, mut packet: MeshPacket, now: Instant) {
        if packet.rx_time == 0 {
            packet.rx_time = self.radio_time(now);
        }
        if self.session.is_some() || !self.writes_are_lost {
            self.queues.push_packet(packet);
        }
    }

    fn notification(&self, level: Level, text: &str, now: Instant) -> ClientNotification {
        ClientNotification {
            time: self.radio_time(now),
            level: i32::from(level),
            message: text.to_owned(),
            ..ClientNotification::default()
        }
    }

    fn push_notification(&mut self, text: &str, reply_id: Option<u32>, now: Instant) {
        let notification = ToClient::ClientNotification(ClientNotification {
            reply_id,
            ..self.notification(Level::Warning, text, now)
        });
        push_latest(&mut self.queues.notifications, notification, UNREAD);
    }

    fn log_record(&self, text: &str, now: Instant) -> ToClient {
        ToClient::LogRecord(LogRecord {
            message: text.to_owned(),
            time: self.radio_time(now),
            source: "Router".to_owned(),
            level: i32::from(Level::Debug),
        })
    }

    /// Prints a log line, as firmware before 2.8 does also for its client.
    fn print(&mut self, message: &str, now: Instant) {
        let line = console::line(self.uptime(now), message);
        push_latest(&mut self.lines, line, MOST_LINES);
    }

    fn report(&mut self, report: Report) {
        push_latest(&mut self.reports, report, REPORTS);
    }

    fn fresh_id(&mut self) -> u32 {
        self.random.random_range(1..=u32::MAX)
    }

    fn ignore(&mut self, reason: &'static str, bytes: usize) {
        self.report(Report::Ignored { reason, bytes });
    }

    fn handle_frame(&mut self, frame: &[u8], now: Instant) {
        let message = ToRadio::decode(frame).unwrap_or_default();
        let Some(variant) = message.payload_variant else {
            return self.ignore("not a ToRadio with something in it", frame.len());
        };
        match variant {
            FromClient::Packet(_) if self.state.is_on(Fault::Locked) => {
                self.ignore("the radio is locked", frame.len());
            }
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
                let reason = "file transfers and MQTT by proxy are not simulated";
                self.ignore(reason, frame.len());
            }
        }
    }

    /// Returns when a silent client is dropped.
    fn idle_at(&self) -> Option<Instant> {
        let session = self.session.as_ref()?;
        (!self.state.is_on(Fault::Patient)).then(|| session.heard_at + IDLE)
    }

    fn next_frame_but_chatter(&mut self, now: Instant) -> Option<Vec<u8>> {
        let session = self.session.as_mut()?;
        if std::mem::take(&mut session.heartbeat) {
            return Some(frame::encode(self.status(0, 0)));
        }
        match session.phase {
            Phase::Silent => None,
            Phase::Configuring { .. } => self.next_config_frame(now),
            Phase::Live => self.next_live_frame(),
        }
    }

    /// Queue statuses first, then the lock's state, then all other frames of an unlocked radio.
    fn next_live_frame(&mut self) -> Option<Vec<u8>> {
        if let Some(status) = self.queues.statuses.pop_front() {
            return Some(frame::encode(status));
        }
        if let Some(state) = self.session.as_mut()?.lockdown.take() {
            let state = state.into();
            let status = wire::LockdownStatus { state };
            return Some(frame::encode_newer(|it| it.lockdown_status = Some(status)));
        }
        if self.state.is_on(Fault::Locked) {
            return None;
        }
        loop {
            let next = self.queues.pop()?;
            if matches!(next, ToClient::Packet(_)) && self.state.is_on(Fault::OtherTransport) {
                self.others_turn = !self.others_turn;
                if self.others_turn {
                    continue;
                }
            }
            return Some(frame::encode(next));
        }
    }

    /// Returns the frame that a chatty radio sends before another one.
    fn chatter(&mut self, now: Instant) -> Vec<u8> {
        self.chatted = self.chatted.wrapping_add(1);
        frame::encode(if self.chatted.is_multiple_of(3) {
            ToClient::ClientNotification(self.notification(Level::Info, "Nothing is wrong", now))
        } else {
            self.log_record("[Router] handled", now)
        })
    }
}

impl SimulatedRadio for Machine {
    fn on_connect(&mut self, now: Instant) {
        if self.session.is_some() {
            self.report(Report::Client(Connection::Closed));
        }
        self.writes_are_lost = false;
        self.closes_at = None;
        self.session = Some(ClientSession::new(now));
        self.report(Report::Client(Connection::Connected));
    }

    fn on_to_radio(&mut self, frame: &[u8], now: Instant) {
        /// Maximum number of frames that are read late, as in a radio's own buffer.
        const LATE: usize = 64;
        let Some(session) = &mut self.session else {
            return;
        };
        let silence = now.saturating_duration_since(session.heard_at);
        session.heard_at = now;
        if !self.state.is_on(Fault::SlowReads) {
            self.handle_frame(frame, now);
            return;
        }
        let due = match session.late_frames.back() {
            Some((due, _)) => *due,
            None if silence > Duration::from_secs(2) => {
                now + Duration::from_millis(self.random.random_range(0..250))
            }
            None => now,
        };
        if session.late_frames.len() < LATE {
            session.late_frames.push_back((due, frame.to_vec()));
        }
        self.on_time(now);
    }

    fn on_disconnect(&mut self, _now: Instant) {
        if self.session.take().is_some() {
            self.report(Report::Client(Connection::Closed));
            self.writes_are_lost = self.state.is_on(Fault::UnnoticedClose);
        }
    }

    fn on_time(&mut self, now: Instant) {
        while let Some(session) = &mut self.session
            && let Some((_, frame)) = session.late_frames.pop_front_if(|(due, _)| *due <= now)
        {
            self.handle_frame(&frame, now);
        }
        self.progress_on_air(now);
        self.tell_telemetry(now);
        if self.idle_at().is_some_and(|at| at <= now) {
            self.close(now);
        }
    }

    fn deadline(&self) -> Option<Instant> {
        let session = self.session.as_ref();
        let config_at = session.and_then(|session| match &session.phase {
            Phase::Configuring { frames, next_at } if !frames.is_empty() => Some(*next_at),
            Phase::Configuring { .. } | Phase::Silent | Phase::Live => None,
        });
        let late_frame = session.and_then(|session| session.late_frames.front());
        let times = [
            self.idle_at(),
            config_at,
            late_frame.map(|(due, _)| *due),
            Some(self.telemetry_at.min(self.statistics_at)),
            self.closes_at,
            self.air.deadline(),
        ];
        times.into_iter().flatten().min()
    }

    fn next_frame(&mut self, now: Instant) -> Option<Vec<u8>> {
        if let Some(held) = self.session.as_mut()?.held.take() {
            return Some(held);
        }
        let frame = self.next_frame_but_chatter(now)?;
        match &mut self.session {
            Some(session) if self.state.is_on(Fault::Chatter) => {
                session.held = Some(frame);
                Some(self.chatter(now))
            }
            Some(_) | None => Some(frame),
        }
    }

    fn take_close(&mut self, now: Instant) -> bool {
        self.closes_at.take_if(|at| *at <= now).is_some()
    }

    fn next_report(&mut self) -> Option<Report> {
        self.reports.pop_front()
    }

    fn next_line(&mut self) -> Option<String> {
        self.lines.pop_front()
    }

    fn obey(&mut self, command: &Command, now: Instant) -> Result<(), String> {
        match command {
            Command::Say(say) => self.hear(say, now),
            Command::Fault(fault) => self.set_condition(fault, now),
        }
    }
}

#[cfg(test)]
mod tests;
