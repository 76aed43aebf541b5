//! Replays the radio's frames of a recording, and waits wherever the recorded client sent a frame.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use relay_wire::proto::{
    MeshPacket, Message, QueueStatus, ToRadio, from_radio::PayloadVariant as ToClient,
    mesh_packet::PayloadVariant as Body, to_radio::PayloadVariant as FromClient,
};

use super::{Recorded, What};
use crate::lines::{Command, Connection, Fate, Fault, Report, Transmitted};
use crate::{
    machine::frame, mesh::air::QUEUE, mesh::packets::port_of, simulated_radio::SimulatedRadio,
};

/// A recording being replayed.
///
/// The client's own nonce and packet ids replace the recorded ones. Frames that the recorded client did not send are
/// answered as by a radio: heartbeats, and other packets with a queue status that accepts them.
#[derive(Debug)]
pub struct Replay {
    connections: Vec<Vec<Recorded>>,
    /// The index of the current or last one.
    played: usize,
    next: usize,
    /// A recorded time, and the time of its replay.
    bound: (Duration, Instant),
    connected: bool,
    started: Instant,
    answers: VecDeque<ToClient>,
    nonce: u32,
    ids: HashMap<u32, u32>,
    wants_close: bool,
    reports: VecDeque<Report>,
}

impl Replay {
    /// Creates a replay. Each client gets the next recorded connection; after the last one follows the first.
    pub fn new(recording: &[Recorded], now: Instant) -> Self {
        let connections = recording.split_inclusive(|it| matches!(it.what, What::Closed(_)));
        let connections: Vec<_> = connections.map(<[Recorded]>::to_vec).collect();
        Self {
            played: connections.len().saturating_sub(1),
            connections,
            next: 0,
            bound: (Duration::ZERO, now),
            connected: false,
            started: now,
            answers: VecDeque::new(),
            nonce: 0,
            ids: HashMap::new(),
            wants_close: false,
            reports: VecDeque::new(),
        }
    }

    fn current(&self) -> Option<&Recorded> {
        self.connections.get(self.played)?.get(self.next)
    }

    fn rewind(&mut self, now: Instant) {
        self.next = 0;
        self.bound = (Duration::ZERO, now);
        self.answers.clear();
        self.ids.clear();
    }

    /// Returns the client's frame that the recording waits for.
    fn awaited(&self) -> Option<FromClient> {
        match &self.current()?.what {
            What::ToRadio(frame) => ToRadio::decode(frame.as_slice()).ok()?.payload_variant,
            What::FromRadio(_) | What::Closed(_) => None,
        }
    }

    fn waits_to_be_asked(&self) -> bool {
        matches!(self.awaited(), Some(FromClient::WantConfigId(_)))
    }

    /// Continues after the awaited frame.
    fn go_on(&mut self, now: Instant) {
        if let Some(at) = self.current().map(|it| it.at) {
            self.bound = (at, now);
            self.next += 1;
        }
    }

    fn due(&self) -> Option<Instant> {
        let it = self.current()?;
        let (bound_to, at) = self.bound;
        let is_the_radios = !matches!(it.what, What::ToRadio(_));
        // A time that overflows is never due.
        let due = at.checked_add(it.at.saturating_sub(bound_to));
        due.filter(|_| is_the_radios)
    }

    fn packet(&mut self, mut header: MeshPacket, now: Instant) {
        let Some(Body::Decoded(content)) = header.payload_variant.take() else {
            return;
        };
        match self.awaited() {
            Some(FromClient::Packet(recorded)) if port_of(&recorded) == Some(content.portnum) => {
                self.ids.insert(recorded.id, header.id);
                self.go_on(now);
            }
            Some(_) | None => self.answers.push_back(accepted(header.id)),
        }
        let packet = Box::new(Transmitted {
            header,
            content,
            at: now.saturating_duration_since(self.started),
        });
        let report = Report::Transmitted(packet, Fate::Accepted);
        self.reports.push_back(report);
    }

    /// Replaces the recorded nonce and ids by the client's; any other frame stays byte for byte.
    fn adapt(&self, frame: Vec<u8>) -> Vec<u8> {
        let Some(recorded) = frame::decode(&frame) else {
            return frame;
        };
        let mut adapted = recorded.clone();
        let rename = |id: &mut u32| *id = self.ids.get(id).copied().unwrap_or(*id);
        match &mut adapted {
            ToClient::ConfigCompleteId(nonce) => *nonce = self.nonce,
            ToClient::QueueStatus(status) => rename(&mut status.mesh_packet_id),
            ToClient::Packet(packet) => {
                if let Some(Body::Decoded(data)) = &mut packet.payload_variant {
                    rename(&mut data.request_id);
                    rename(&mut data.reply_id);
                }
            }
            _ => {}
        }
        if adapted == recorded {
            frame
        } else {
            frame::encode(adapted)
        }
    }
}

impl SimulatedRadio for Replay {
    fn on_connect(&mut self, now: Instant) {
        self.played = (self.played + 1) % self.connections.len().max(1);
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
                self.nonce = nonce;
                if !self.waits_to_be_asked() {
                    self.rewind(now);
                }
                if self.waits_to_be_asked() {
                    self.go_on(now);
                }
            }
            Some(FromClient::Packet(packet)) => self.packet(packet, now),
            Some(FromClient::Heartbeat(_)) => match self.awaited() {
                Some(FromClient::Heartbeat(_)) => self.go_on(now),
                Some(_) | None => self.answers.push_back(accepted(0)),
            },
            Some(FromClient::Disconnect(_)) => {
                self.on_disconnect(now);
                self.wants_close = true;
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
        self.due().filter(|_| self.connected)
    }

    fn next_frame(&mut self, now: Instant) -> Option<Vec<u8>> {
        if let Some(answer) = self.answers.pop_front() {
            return Some(frame::encode(answer));
        }
        if !self.connected || self.due()? > now {
            return None;
        }
        let what = self.current()?.what.clone();
        self.next += 1;
        match what {
            What::FromRadio(frame) => {
                if frame::is_complete(&frame) {
                    self.reports
                        .push_back(Report::Client(Connection::Configured));
                }
                Some(self.adapt(frame))
            }
            What::Closed(_) => {
                self.on_disconnect(now);
                self.wants_close = true;
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
                Ok(())
            }
            Fault::HalfOpen {}
            | Fault::Stall(_)
            | Fault::Garbage { .. }
            | Fault::Log { .. }
            | Fault::Frame { .. }
            | Fault::Split(_)
            | Fault::Join { .. }
            | Fault::Rebooted {} => Ok(()),
            _ => Err("a recording is played: only faults of the link are possible".to_owned()),
        }
    }
}

fn accepted(packet: u32) -> ToClient {
    ToClient::QueueStatus(QueueStatus {
        res: 0,
        free: QUEUE,
        maxlen: QUEUE,
        mesh_packet_id: packet,
    })
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::recording;
    use relay_wire::proto::{Data, PortNum};

    fn chat(now: Instant) -> Replay {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
            .join("../../tests/fixtures/captures/chat.a.jsonl");
        Replay::new(&recording::read(&path).unwrap(), now)
    }

    fn tell(replay: &mut Replay, variant: FromClient, now: Instant) {
        let message = ToRadio {
            payload_variant: Some(variant),
        };
        replay.on_to_radio(&message.encode_to_vec(), now);
    }

    /// Takes all frames until the replay waits for its client.
    fn frames(replay: &mut Replay, now: &mut Instant) -> Vec<ToClient> {
        let mut frames = Vec::new();
        loop {
            while let Some(frame) = replay.next_frame(*now) {
                frames.extend(frame::decode(&frame));
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
        let frames = frames(&mut replay, &mut now);
        let mut statuses = frames.iter().filter_map(|frame| match frame {
            ToClient::QueueStatus(status) => Some(status.mesh_packet_id),
            _ => None,
        });
        assert_eq!(statuses.next(), Some(777));
        let contents: Vec<&Data> = frames
            .iter()
            .filter_map(|frame| match frame {
                ToClient::Packet(packet) => Some(crate::harness::content(packet)),
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
            FromClient::Heartbeat(relay_wire::proto::Heartbeat { nonce: 2 }),
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
                What::Closed(true),
            ]
        };
        let whats = [connection(1), connection(2)].concat().into_iter();
        let at = Duration::ZERO;
        let recording: Vec<_> = whats.map(|what| Recorded { at, what }).collect();
        let mut replay = Replay::new(&recording, now);
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

    #[test]
    fn an_empty_recording_says_nothing_to_any_client() {
        let now = Instant::now();
        let mut replay = Replay::new(&[], now);
        for _ in 0..2 {
            replay.on_connect(now);
            tell(&mut replay, FromClient::WantConfigId(9), now);
            assert_eq!((replay.next_frame(now), replay.deadline()), (None, None));
        }
    }
}
