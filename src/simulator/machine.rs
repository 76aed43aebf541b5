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
use super::fault::{DirectAnswer, Fault};
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
    pub(super) faults: Faults,
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
    wants_close: bool,
    started: Instant,
    telemetry_at: Instant,
    statistics_at: Instant,
}

/// What is wrong now.
#[derive(Debug, Default)]
pub(super) struct Faults {
    pub(super) nobody_repeats: bool,
    pub(super) direct_answer: DirectAnswer,
    pub(super) direct_error: u32,
    pub(super) refuse: Option<Refusals>,
    pub(super) silent: u32,
    pub(super) lost: u32,
    pub(super) duty_cycle: bool,
    slow_config: Duration,
    never_complete: bool,
    unnoticed_close: bool,
    slow_reads: bool,
    no_telemetry: bool,
    channel_use: u8,
}

/// The next packets are refused.
#[derive(Debug, Clone, Copy)]
pub(super) struct Refusals {
    pub(super) error: u32,
    pub(super) count: u32,
    pub(super) nak: bool,
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
            faults: Faults::default(),
            air: Air::new(seed),
            queues: ClientQueues::new(PACKETS),
            session: None,
            flights: HashMap::new(),
            random: StdRng::seed_from_u64(seed.wrapping_add(1)),
            clock: None,
            writes_are_lost: false,
            late_frames: VecDeque::new(),
            reports: VecDeque::new(),
            wants_close: false,
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
        packet.rx_time = self.radio_time(now);
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
            FromClient::Disconnect(_) => self.close(),
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

    /// Closes the connection; what waits for the client waits for the next one.
    fn close(&mut self) {
        if self.session.take().is_some() {
            self.report(Report::Client(Connection::Closed));
        }
        self.late_frames.clear();
        self.wants_close = true;
    }

    fn reboot(&mut self, now: Instant) {
        self.close();
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
            self.tell_own(packets::device_metrics(time, uptime, channel_use), now);
        }
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
        self.wants_close = false;
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
            self.close();
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

    fn take_close(&mut self) -> bool {
        std::mem::take(&mut self.wants_close)
    }

    fn next_report(&mut self) -> Option<Report> {
        self.reports.pop_front()
    }

    fn inject(&mut self, say: &Say, now: Instant) -> Result<(), String> {
        self.hear(say, now)
    }

    fn set_fault(&mut self, fault: &Fault, now: Instant) -> Result<(), String> {
        match fault {
            Fault::NobodyRepeats { on } => self.faults.nobody_repeats = *on,
            Fault::DirectAnswer { answer, error } => {
                self.faults.direct_answer = *answer;
                self.faults.direct_error = *error;
            }
            Fault::Refuse { error, count, nak } => {
                self.faults.refuse = Some(Refusals {
                    error: *error,
                    count: *count,
                    nak: *nak,
                });
            }
            Fault::Silent { count, lost: false } => self.faults.silent = *count,
            Fault::Silent { count, lost: true } => self.faults.lost = *count,
            Fault::RegionUnset { on } => self.state.region_set = !on,
            Fault::TransmitOff { on } => self.state.transmit_enabled = !on,
            Fault::DutyCycle { on } => self.faults.duty_cycle = *on,
            Fault::SlowConfig { ms } => self.faults.slow_config = Duration::from_millis(*ms),
            Fault::NeverComplete { on } => self.faults.never_complete = *on,
            Fault::UnnoticedClose { on } => self.faults.unnoticed_close = *on,
            Fault::SlowReads { on } => self.faults.slow_reads = *on,
            Fault::Queue { capacity } => self.queues.set_capacity(*capacity),
            Fault::Channel {
                index,
                name,
                enabled,
            } => return self.mesh.change_channel(*index, name.as_deref(), *enabled),
            Fault::Licensed { on } => {
                if let Some(user) = &mut self.mesh.own.user {
                    user.is_licensed = *on;
                }
            }
            Fault::Notification { text, reply_id } => self.push_notification(text, *reply_id, now),
            Fault::Telemetry { on } => self.faults.no_telemetry = !on,
            Fault::ChannelUse { percent } => self.faults.channel_use = *percent,
            Fault::Reboot { .. } => self.reboot(now),
            Fault::Close { .. } | Fault::Away { .. } => self.close(),
            Fault::HalfOpen {}
            | Fault::Stall { .. }
            | Fault::Garbage { .. }
            | Fault::Log { .. }
            | Fault::Frame { .. }
            | Fault::Split { .. }
            | Fault::Join { .. }
            | Fault::Rebooted {} => {}
        }
        Ok(())
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
