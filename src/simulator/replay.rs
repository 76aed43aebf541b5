//! Plays the radio's side of a recording to a client: waits for the client's frame where the recorded client sent one.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use crate::radio::proto::{
    FromRadio, MeshPacket, Message, QueueStatus, ToRadio, from_radio::PayloadVariant as ToClient,
    mesh_packet::PayloadVariant as Body, to_radio::PayloadVariant as FromClient,
};

use super::air::QUEUE;
use super::fault::Fault;
use super::frame::Frame;
use super::input::Command;
use super::recording::{Moment, What};
use super::report::{Connection, Fate, Report, Transmitted};
use super::side::Side;

/// A recording that is played.
///
/// The client's own nonce and packet ids take the place of the recorded ones. What the recorded client did not do is
/// answered as a radio would: heartbeats, and other packets with a queue status that accepts them.
#[derive(Debug)]
pub struct Replay {
    /// The recorded connections. The first is the one that is played, or comes next.
    connections: VecDeque<Vec<Moment>>,
    /// Where it stands.
    next: usize,
    /// The moment to which the recording's times are bound: (its time, when it was).
    bound: (Duration, Instant),
    connected: bool,
    /// A client has heard some of it.
    begun: bool,
    started: Instant,
    answers: VecDeque<ToClient>,
    nonce: u32,
    ids: HashMap<u32, u32>,
    wants_close: bool,
    reports: VecDeque<Report>,
}

impl Replay {
    /// Makes one. Each client hears the next recorded connection, and after the last the first again.
    pub fn new(moments: Vec<Moment>, now: Instant) -> Self {
        Self {
            connections: by_connection(moments),
            next: 0,
            bound: (Duration::ZERO, now),
            connected: false,
            begun: false,
            started: now,
            answers: VecDeque::new(),
            nonce: 0,
            ids: HashMap::new(),
            wants_close: false,
            reports: VecDeque::new(),
        }
    }

    fn moment(&self) -> Option<&Moment> {
        self.connections.front()?.get(self.next)
    }

    fn rewind(&mut self, now: Instant) {
        self.next = 0;
        self.bound = (Duration::ZERO, now);
        self.answers.clear();
        self.ids.clear();
    }

    /// Returns the frame of the client for which the recording waits.
    fn awaited(&self) -> Option<FromClient> {
        match &self.moment()?.what {
            What::ToRadio(frame) => ToRadio::decode(frame.as_slice()).ok()?.payload_variant,
            What::FromRadio(_) | What::Closed => None,
        }
    }

    /// Goes on behind the frame for which it waited.
    fn go_on(&mut self, now: Instant) {
        if let Some(at) = self.moment().map(|moment| moment.at) {
            self.bound = (at, now);
            self.next += 1;
        }
    }

    /// Returns when the next moment that is the radio's is due.
    fn due(&self) -> Option<Instant> {
        let moment = self.moment()?;
        let (bound_to, at) = &self.bound;
        match moment.what {
            // What no clock can tell is never due.
            What::FromRadio(_) | What::Closed => {
                at.checked_add(moment.at.saturating_sub(*bound_to))
            }
            What::ToRadio(_) => None,
        }
    }

    fn packet(&mut self, packet: &MeshPacket, now: Instant) {
        let Some(Body::Decoded(data)) = &packet.payload_variant else {
            return;
        };
        let awaited = match self.awaited() {
            Some(FromClient::Packet(recorded)) => Some(recorded),
            Some(_) | None => None,
        };
        let matching = awaited.filter(|recorded| match &recorded.payload_variant {
            Some(Body::Decoded(known)) => known.portnum == data.portnum,
            Some(Body::Encrypted(_)) | None => false,
        });
        if let Some(recorded) = matching {
            self.ids.insert(recorded.id, packet.id);
            self.go_on(now);
        } else {
            self.answers.push_back(accepted(packet.id));
        }
        let at = now.saturating_duration_since(self.started);
        self.reports.push_back(Report::Transmitted {
            packet: Box::new(Transmitted::new(packet, data, at)),
            fate: Fate::Accepted,
        });
    }

    /// Puts the client's nonce and ids where the recorded ones were.
    fn adapt(&self, frame: &[u8]) -> Vec<u8> {
        let Ok(FromRadio {
            payload_variant: Some(mut variant),
            ..
        }) = FromRadio::decode(frame)
        else {
            return frame.to_vec();
        };
        let changed = match &mut variant {
            ToClient::ConfigCompleteId(nonce) => replace(nonce, self.nonce),
            ToClient::QueueStatus(status) => self.rename(&mut status.mesh_packet_id),
            ToClient::Packet(packet) => match &mut packet.payload_variant {
                Some(Body::Decoded(data)) => {
                    let answers = self.rename(&mut data.request_id);
                    self.rename(&mut data.reply_id) || answers
                }
                Some(Body::Encrypted(_)) | None => false,
            },
            _ => false,
        };
        if changed {
            Frame::Known(variant).encode()
        } else {
            frame.to_vec()
        }
    }

    fn rename(&self, id: &mut u32) -> bool {
        self.ids.get(id).is_some_and(|new| replace(id, *new))
    }
}

impl Side for Replay {
    fn on_connect(&mut self, now: Instant) {
        if self.begun {
            self.connections.rotate_left(1);
        }
        self.begun = true;
        self.rewind(now);
        self.connected = true;
        self.wants_close = false;
        self.reports
            .push_back(Report::Client(Connection::Connected));
    }

    fn on_to_radio(&mut self, frame: &[u8], now: Instant) {
        let message = ToRadio::decode(frame).ok();
        match message.and_then(|message| message.payload_variant) {
            Some(FromClient::WantConfigId(nonce)) => {
                if !matches!(self.awaited(), Some(FromClient::WantConfigId(_))) {
                    self.rewind(now);
                }
                self.nonce = nonce;
                if let Some(FromClient::WantConfigId(_)) = self.awaited() {
                    self.go_on(now);
                }
            }
            Some(FromClient::Packet(packet)) => self.packet(&packet, now),
            Some(FromClient::Heartbeat(_)) => match self.awaited() {
                Some(FromClient::Heartbeat(_)) => self.go_on(now),
                Some(_) | None => self.answers.push_back(accepted(0)),
            },
            Some(FromClient::Disconnect(_)) => {
                self.connected = false;
                self.wants_close = true;
                self.reports.push_back(Report::Client(Connection::Closed));
            }
            Some(FromClient::XmodemPacket(_) | FromClient::MqttClientProxyMessage(_)) | None => {}
        }
    }

    fn on_disconnect(&mut self, _now: Instant) {
        self.connected = false;
        self.reports.push_back(Report::Client(Connection::Closed));
    }

    fn on_time(&mut self, _now: Instant) {}

    fn deadline(&self) -> Option<Instant> {
        if self.connected { self.due() } else { None }
    }

    fn next_frame(&mut self, now: Instant) -> Option<Vec<u8>> {
        if let Some(answer) = self.answers.pop_front() {
            return Some(Frame::Known(answer).encode());
        }
        if !self.connected || self.due()? > now {
            return None;
        }
        let what = self.moment()?.what.clone();
        self.next += 1;
        match what {
            What::FromRadio(frame) => {
                let adapted = self.adapt(&frame);
                if let Ok(FromRadio {
                    payload_variant: Some(ToClient::ConfigCompleteId(_)),
                    ..
                }) = FromRadio::decode(frame.as_slice())
                {
                    self.reports
                        .push_back(Report::Client(Connection::Configured));
                }
                Some(adapted)
            }
            What::Closed => {
                self.connected = false;
                self.wants_close = true;
                self.reports.push_back(Report::Client(Connection::Closed));
                None
            }
            What::ToRadio(_) => None,
        }
    }

    fn take_close(&mut self, _now: Instant) -> bool {
        std::mem::take(&mut self.wants_close)
    }

    fn next_report(&mut self) -> Option<Report> {
        self.reports.pop_front()
    }

    fn obey(&mut self, command: &Command, _now: Instant) -> Result<(), String> {
        let Command::Fault(fault) = command else {
            return Err("a recording is played: nothing can be said on its mesh".to_owned());
        };
        match fault {
            Fault::Close { .. } | Fault::Away { .. } | Fault::Reboot { .. } => {
                self.connected = false;
                self.wants_close = true;
            }
            Fault::HalfOpen {}
            | Fault::Stall(_)
            | Fault::Garbage { .. }
            | Fault::Log { .. }
            | Fault::Frame { .. }
            | Fault::Split(_)
            | Fault::Join { .. }
            | Fault::Rebooted {} => {}
            _ => {
                return Err(
                    "a recording is played: only faults of the link are possible".to_owned(),
                );
            }
        }
        Ok(())
    }
}

/// Cuts a recording where connections end.
fn by_connection(moments: Vec<Moment>) -> VecDeque<Vec<Moment>> {
    let mut connections = VecDeque::new();
    let mut connection = Vec::new();
    for moment in moments {
        let ends = moment.what == What::Closed;
        connection.push(moment);
        if ends {
            connections.push_back(std::mem::take(&mut connection));
        }
    }
    if !connection.is_empty() {
        connections.push_back(connection);
    }
    connections
}

fn accepted(packet: u32) -> ToClient {
    ToClient::QueueStatus(QueueStatus {
        res: 0,
        free: QUEUE,
        maxlen: QUEUE,
        mesh_packet_id: packet,
    })
}

/// Returns whether that changed anything.
fn replace(value: &mut u32, new: u32) -> bool {
    std::mem::replace(value, new) != new
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::radio::proto::{Data, PortNum};
    use crate::simulator::recording;

    fn chat(now: Instant) -> Replay {
        let path =
            PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/captures/chat.a.jsonl");
        Replay::new(recording::read(&path).unwrap(), now)
    }

    fn tell(replay: &mut Replay, variant: FromClient, now: Instant) {
        let message = ToRadio {
            payload_variant: Some(variant),
        };
        replay.on_to_radio(&message.encode_to_vec(), now);
    }

    /// Takes all that comes until the replay waits for its client.
    fn frames(replay: &mut Replay, now: &mut Instant) -> Vec<ToClient> {
        let mut frames = Vec::new();
        loop {
            while let Some(frame) = replay.next_frame(*now) {
                let message = FromRadio::decode(frame.as_slice()).unwrap();
                frames.extend(message.payload_variant);
            }
            match replay.deadline() {
                Some(at) => *now = at.max(*now),
                None => return frames,
            }
        }
    }

    fn text(id: u32) -> FromClient {
        FromClient::Packet(MeshPacket {
            id,
            payload_variant: Some(Body::Decoded(Data {
                portnum: i32::from(PortNum::TextMessageApp),
                payload: b"mine".to_vec(),
                ..Data::default()
            })),
            ..MeshPacket::default()
        })
    }

    #[test]
    fn a_recording_waits_for_its_client_and_speaks_of_the_clients_own_nonce_and_ids() {
        let mut now = Instant::now();
        let mut replay = chat(now);
        replay.on_connect(now);
        assert_eq!(frames(&mut replay, &mut now), []);
        tell(&mut replay, FromClient::WantConfigId(4242), now);
        let told = frames(&mut replay, &mut now);
        assert!(matches!(told.first(), Some(ToClient::MyInfo(_))));
        assert!(told.contains(&ToClient::ConfigCompleteId(4242)));
        tell(&mut replay, text(777), now);
        let told = frames(&mut replay, &mut now);
        let mut statuses = told.iter().filter_map(|frame| match frame {
            ToClient::QueueStatus(status) => Some(status.mesh_packet_id),
            _ => None,
        });
        assert_eq!(statuses.next(), Some(777));
        let contents: Vec<&Data> = told
            .iter()
            .filter_map(|frame| match frame {
                ToClient::Packet(packet) => Some(super::super::harness::content(packet)),
                _ => None,
            })
            .collect();
        let acknowledged: Vec<u32> = contents.iter().map(|data| data.request_id).collect();
        let targets: Vec<u32> = contents.iter().map(|data| data.reply_id).collect();
        assert_eq!(acknowledged, [777, 0, 0]);
        assert_eq!(targets, [0, 777, 777]);
        tell(&mut replay, FromClient::Disconnect(true), now);
        assert!(replay.take_close(now));
    }

    #[test]
    fn what_the_recorded_client_did_not_do_is_answered_as_a_radio_would() {
        let mut now = Instant::now();
        let mut replay = chat(now);
        replay.on_connect(now);
        tell(
            &mut replay,
            FromClient::Heartbeat(crate::radio::proto::Heartbeat { nonce: 2 }),
            now,
        );
        assert_eq!(frames(&mut replay, &mut now), [accepted(0)]);
        tell(&mut replay, text(5), now);
        assert_eq!(frames(&mut replay, &mut now), [accepted(5)]);
    }

    #[test]
    fn each_client_hears_the_next_connection_and_after_the_last_the_first_again() {
        let mut now = Instant::now();
        let connection = |nonce: u8| {
            [
                What::ToRadio(vec![0x18, nonce]),
                What::FromRadio(vec![0x10, nonce]),
                What::FromRadio(vec![0x38, nonce]),
                What::Closed,
            ]
        };
        let moments = [connection(1), connection(2)]
            .into_iter()
            .flatten()
            .map(|what| Moment {
                at: Duration::ZERO,
                what,
            });
        let mut replay = Replay::new(moments.collect(), now);
        for marker in [1, 2, 1] {
            replay.on_connect(now);
            tell(&mut replay, FromClient::WantConfigId(9), now);
            assert_eq!(replay.next_frame(now), Some(vec![0x10, marker]));
            assert_eq!(
                frames(&mut replay, &mut now),
                [ToClient::ConfigCompleteId(9)]
            );
        }
    }

    #[test]
    fn a_client_that_asks_again_hears_it_from_the_beginning() {
        let mut now = Instant::now();
        let mut replay = chat(now);
        for _ in 0..2 {
            replay.on_connect(now);
            tell(&mut replay, FromClient::WantConfigId(1), now);
            assert!(frames(&mut replay, &mut now).len() > 40);
        }
        tell(&mut replay, FromClient::WantConfigId(2), now);
        assert!(frames(&mut replay, &mut now).contains(&ToClient::ConfigCompleteId(2)));
    }
}
