//! The radio's side of Bluetooth Low Energy: what a client can read and write, and when the doorbell rings. Pure: whoever
//! stands for the computer's Bluetooth service calls it, and hands the time in.
//!
//! Other than on a stream a frame leaves the radio only when it is read. Like the firmware it drops a write that begins the
//! one before it, keeps few writes, does not ring for the configuration, and loses what it had made ready when the link
//! ends. Unlike it, it ends the link of a client that says goodbye.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::fault::Fault;
use super::frame;
use super::input::Command;
use super::report::Report;
use super::side::Side;
use crate::radio::codec::FRAME_LIMIT;

/// ESP32 keeps so many writes until its main loop takes them.
const WRITES: usize = 3;

/// After so long the main loop takes a write.
const TAKEN_AFTER: Duration = Duration::from_millis(5);

/// Doorbells that nobody takes.
const DOORBELLS: usize = 256;

/// Why a read or a write fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AttError {
    /// There is no link, or it ended at this moment.
    #[error("not connected")]
    NotConnected,
    /// The radio wants a bond.
    #[error("insufficient authentication")]
    InsufficientAuthentication,
    /// No value is that long.
    #[error("invalid attribute value length")]
    InvalidLength,
}

/// A radio's Bluetooth side.
#[derive(Debug)]
pub struct Gatt<S> {
    side: S,
    pin: Option<u32>,
    bonded: bool,
    linked: bool,
    away_until: Option<Instant>,
    last_write: Vec<u8>,
    writes: VecDeque<(Instant, Vec<u8>)>,
    /// What the next read returns.
    ready: Option<Vec<u8>>,
    /// The configuration was read to its end on this link.
    configured: bool,
    number: u32,
    doorbells: VecDeque<u32>,
    unheard: u32,
    hangs_up_at_read: bool,
}

impl<S: Side> Gatt<S> {
    /// Makes one for a radio without a PIN.
    pub fn new(side: S) -> Self {
        Self {
            side,
            pin: None,
            bonded: false,
            linked: false,
            away_until: None,
            last_write: Vec::new(),
            writes: VecDeque::new(),
            ready: None,
            configured: false,
            number: 0,
            doorbells: VecDeque::new(),
            unheard: 0,
            hangs_up_at_read: false,
        }
    }

    /// Sets the PIN that a client must know before it may read or write; bonds are forgotten.
    pub fn set_pin(&mut self, pin: Option<u32>) {
        self.pin = pin;
        self.bonded = false;
    }

    /// Returns whether the client has no need to pair, or has paired.
    pub fn is_bonded(&self) -> bool {
        self.bonded
    }

    /// A client pairs; returns whether it knows the PIN.
    pub fn pair(&mut self, pin: Option<u32>) -> bool {
        self.bonded = self.linked && (self.pin.is_none() || self.pin == pin);
        self.bonded
    }

    /// Returns whether the radio can be heard: one that is connected is silent.
    pub fn is_heard(&self, now: Instant) -> bool {
        !self.linked && self.away_until.is_none_or(|until| until <= now)
    }

    /// Returns whether a client is connected.
    pub fn is_linked(&self) -> bool {
        self.linked
    }

    /// A client connects; returns whether the radio is in reach.
    pub fn connect(&mut self, now: Instant) -> bool {
        if !self.is_heard(now) {
            return false;
        }
        self.away_until = None;
        self.linked = true;
        self.configured = false;
        self.side.on_connect(now);
        true
    }

    /// The link ends, whoever ended it.
    pub fn disconnect(&mut self, now: Instant) {
        if self.linked {
            self.side.on_disconnect(now);
        }
        self.linked = false;
        self.configured = false;
        self.last_write.clear();
        self.writes.clear();
        self.ready = None;
        self.doorbells.clear();
    }

    /// The client writes to `ToRadio`; what the radio drops in silence is no error.
    pub fn write(&mut self, value: &[u8], now: Instant) -> Result<(), AttError> {
        self.admit()?;
        if value.len() > FRAME_LIMIT {
            return Err(AttError::InvalidLength);
        }
        if self.last_write.starts_with(value) {
            return Ok(());
        }
        self.last_write = value.to_vec();
        if self.writes.len() < WRITES {
            self.writes.push_back((now + TAKEN_AFTER, value.to_vec()));
        }
        Ok(())
    }

    /// The client reads `FromRadio`; nothing more is an empty value.
    pub fn read(&mut self, now: Instant) -> Result<Vec<u8>, AttError> {
        self.admit()?;
        self.make_ready(now);
        if self.hangs_up_at_read && self.ready.is_some() {
            self.hangs_up_at_read = false;
            self.disconnect(now);
            return Err(AttError::NotConnected);
        }
        let value = self.ready.take().unwrap_or_default();
        self.configured |= frame::is_complete(&value);
        Ok(value)
    }

    /// The client reads `FromNum`.
    pub fn read_number(&self) -> Result<Vec<u8>, AttError> {
        self.admit()?;
        Ok(self.number.to_le_bytes().to_vec())
    }

    /// The client subscribes to the doorbell.
    pub fn admit(&self) -> Result<(), AttError> {
        if !self.linked {
            return Err(AttError::NotConnected);
        }
        if self.pin.is_some() && !self.bonded {
            return Err(AttError::InsufficientAuthentication);
        }
        Ok(())
    }

    /// Takes the value that a ring of the doorbell tells.
    pub fn next_doorbell(&mut self) -> Option<u32> {
        self.doorbells.pop_front()
    }

    /// The next rings are not heard.
    pub fn miss_doorbells(&mut self, count: u32) {
        self.unheard = count;
    }

    /// Rings with the number 0 and nothing to read, as when the firmware looks up a node.
    pub fn ring_zero(&mut self) {
        self.doorbells.push_back(0);
    }

    /// The link ends when the client next reads something: what was for it is lost.
    pub fn hang_up_at_read(&mut self) {
        self.hangs_up_at_read = true;
    }

    /// Returns when [`Self::on_time`] wants to be called next.
    pub fn deadline(&self) -> Option<Instant> {
        let write_at = self.writes.front().map(|(at, _)| *at);
        let times = [self.side.deadline(), write_at, self.away_until];
        times.into_iter().flatten().min()
    }

    /// Time has passed.
    pub fn on_time(&mut self, now: Instant) {
        while let Some((_, write)) = self.writes.pop_front_if(|(at, _)| *at <= now) {
            self.side.on_to_radio(&write, now);
        }
        self.away_until = self.away_until.filter(|until| *until > now);
        self.side.on_time(now);
        let closes = self.side.take_close(now);
        let was_empty = self.ready.is_none();
        self.make_ready(now);
        if was_empty && self.ready.is_some() && self.configured {
            self.ring();
        }
        if closes {
            self.disconnect(now);
        }
    }

    /// Takes the next thing to tell about the client.
    pub fn next_report(&mut self) -> Option<Report> {
        self.side.next_report()
    }

    /// Makes something happen on the mesh, or go wrong. Of the faults of a link only those that end it mean anything here.
    pub fn obey(&mut self, command: &Command, now: Instant) -> Result<(), String> {
        if let Command::Fault(Fault::Away { seconds } | Fault::Reboot { seconds }) = command {
            self.away_until = Some(now + Duration::from_secs(*seconds));
        }
        self.side.obey(command, now)
    }

    fn ring(&mut self) {
        self.number = self.number.wrapping_add(1);
        if self.unheard > 0 {
            self.unheard -= 1;
        } else if self.doorbells.len() < DOORBELLS {
            self.doorbells.push_back(self.number);
        }
    }

    fn make_ready(&mut self, now: Instant) {
        if self.linked && self.ready.is_none() {
            self.ready = self.side.next_frame(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::radio::proto::{
        Heartbeat, MeshPacket, Message, ToRadio, from_radio::PayloadVariant,
        mesh_packet::PayloadVariant as Body, to_radio::PayloadVariant as FromClient,
    };
    use crate::simulator::fault::Switch;
    use crate::simulator::{Machine, Mesh};

    const PIN: u32 = 123_456;

    /// A radio's Bluetooth side, its client, and their time.
    struct Bench {
        gatt: Gatt<Machine>,
        now: Instant,
    }

    impl Bench {
        fn new() -> Self {
            let now = Instant::now();
            let mut machine = Machine::new(Mesh::new(1, 2), 1, now);
            for fault in [
                Fault::Telemetry(Switch { on: false }),
                Fault::SlowReads(Switch { on: false }),
            ] {
                machine.obey(&Command::Fault(fault), now).unwrap();
            }
            let gatt = Gatt::new(machine);
            Self { gatt, now }
        }

        /// With a client that has read the configuration.
        fn live() -> Self {
            let mut bench = Self::new();
            assert!(bench.gatt.connect(bench.now));
            bench.configure();
            bench
        }

        fn configure(&mut self) {
            self.write(FromClient::WantConfigId(42)).unwrap();
            self.wait(10);
            let told = self.drain();
            assert!(told.contains(&PayloadVariant::ConfigCompleteId(42)));
            assert_eq!(self.gatt.next_doorbell(), None, "it does not ring for this");
        }

        fn write(&mut self, variant: FromClient) -> Result<(), AttError> {
            let frame = ToRadio {
                payload_variant: Some(variant),
            };
            self.gatt.write(&frame.encode_to_vec(), self.now)
        }

        fn heartbeat(&mut self, nonce: u32) {
            self.write(FromClient::Heartbeat(Heartbeat { nonce }))
                .unwrap();
        }

        fn wait(&mut self, milliseconds: u64) {
            self.now += Duration::from_millis(milliseconds);
            self.gatt.on_time(self.now);
        }

        /// Reads until there is no more.
        fn drain(&mut self) -> Vec<PayloadVariant> {
            let mut told = Vec::new();
            loop {
                let value = self.gatt.read(self.now).unwrap();
                if value.is_empty() {
                    return told;
                }
                told.push(frame::decode(&value).unwrap());
            }
        }

        fn hears(&mut self, line: &str) {
            self.gatt.obey(&line.parse().unwrap(), self.now).unwrap();
            self.gatt.on_time(self.now);
        }

        fn texts(&mut self) -> Vec<String> {
            let text = |variant| match variant {
                PayloadVariant::Packet(MeshPacket {
                    payload_variant: Some(Body::Decoded(data)),
                    ..
                }) => String::from_utf8(data.payload).ok(),
                _ => None,
            };
            self.drain().into_iter().filter_map(text).collect()
        }
    }

    #[test]
    fn an_empty_read_is_the_end() {
        let mut bench = Bench::live();
        bench.drain();
        assert_eq!(bench.gatt.read(bench.now), Ok(Vec::new()));
    }

    #[test]
    fn the_doorbell_rings_once_for_all_that_waits_and_its_number_rises() {
        let mut bench = Bench::live();
        bench.drain();
        for expected in 1..=3 {
            for text in ["one", "two", "three"] {
                bench.hears(text);
            }
            assert_eq!(bench.gatt.next_doorbell(), Some(expected));
            assert_eq!(bench.gatt.next_doorbell(), None);
            let number = bench.gatt.read_number().unwrap();
            assert_eq!(number, expected.to_le_bytes());
            assert_eq!(bench.texts(), ["one", "two", "three"]);
        }
    }

    #[test]
    fn a_doorbell_may_be_missed_or_ring_for_nothing() {
        let mut bench = Bench::live();
        bench.drain();
        bench.gatt.miss_doorbells(1);
        bench.hears("unheard");
        assert_eq!(bench.gatt.next_doorbell(), None);
        assert_eq!(bench.texts(), ["unheard"]);
        bench.gatt.ring_zero();
        assert_eq!(bench.gatt.next_doorbell(), Some(0));
        assert_eq!(bench.gatt.read(bench.now), Ok(Vec::new()));
    }

    #[test]
    fn a_write_that_begins_the_one_before_it_is_dropped() {
        let mut bench = Bench::live();
        bench.drain();
        for (nonce, answers) in [(2, 1), (2, 0), (3, 1), (0, 1), (0, 0), (2, 1)] {
            bench.heartbeat(nonce);
            bench.wait(10);
            assert_eq!(bench.drain().len(), answers, "{nonce}");
        }
        bench.gatt.write(&[0x3A], bench.now).unwrap();
        bench.wait(10);
        assert_eq!(bench.gatt.next_report_of_ignored(), None);
    }

    #[test]
    fn the_last_write_is_forgotten_with_the_link() {
        let mut bench = Bench::live();
        bench.gatt.disconnect(bench.now);
        assert!(bench.gatt.connect(bench.now));
        bench.configure();
    }

    #[test]
    fn more_than_three_writes_at_once_are_dropped() {
        let mut bench = Bench::live();
        bench.drain();
        while bench.gatt.next_report().is_some() {}
        for number in 0..5_u8 {
            bench.gatt.write(&[0xFF, number], bench.now).unwrap();
        }
        bench.wait(10);
        let ignored = std::iter::from_fn(|| bench.gatt.next_report_of_ignored());
        assert_eq!(ignored.count(), WRITES);
    }

    #[test]
    fn a_link_that_ends_between_doorbell_and_read_loses_one_packet() {
        let mut bench = Bench::live();
        bench.drain();
        bench.gatt.hang_up_at_read();
        bench.hears("lost");
        bench.hears("kept");
        assert!(bench.gatt.next_doorbell().is_some());
        assert_eq!(bench.gatt.read(bench.now), Err(AttError::NotConnected));
        assert!(!bench.gatt.is_linked());
        assert!(bench.gatt.connect(bench.now));
        bench.configure_then(&["kept"]);
    }

    #[test]
    fn without_a_bond_nothing_is_read_or_written() {
        let mut bench = Bench::new();
        bench.gatt.set_pin(Some(PIN));
        assert!(bench.gatt.connect(bench.now));
        let refused = AttError::InsufficientAuthentication;
        assert_eq!(bench.write(FromClient::WantConfigId(42)), Err(refused));
        assert_eq!(bench.gatt.read(bench.now), Err(refused));
        assert_eq!(bench.gatt.read_number(), Err(refused));
        assert!(!bench.gatt.pair(Some(1)));
        assert!(!bench.gatt.pair(None));
        assert_eq!(bench.gatt.read(bench.now), Err(refused));
        assert!(bench.gatt.pair(Some(PIN)));
        bench.configure();
        bench.gatt.disconnect(bench.now);
        assert!(bench.gatt.is_bonded(), "a bond outlives the link");
    }

    #[test]
    fn a_radio_is_silent_while_it_is_connected_or_away() {
        let mut bench = Bench::live();
        assert!(!bench.gatt.is_heard(bench.now));
        assert!(!bench.gatt.connect(bench.now));
        bench.hears(r#"{"fault": "reboot", "seconds": 5}"#);
        assert!(!bench.gatt.is_linked());
        assert!(!bench.gatt.is_heard(bench.now));
        bench.wait(5000);
        assert!(bench.gatt.is_heard(bench.now));
        assert!(bench.gatt.connect(bench.now));
    }

    #[test]
    fn a_value_longer_than_512_bytes_is_refused() {
        let mut bench = Bench::live();
        let refused = bench.gatt.write(&[0; 513], bench.now);
        assert_eq!(refused, Err(AttError::InvalidLength));
        assert_eq!(bench.gatt.write(&[0; 512], bench.now), Ok(()));
    }

    impl Bench {
        /// Reads the configuration, and these texts after it.
        fn configure_then(&mut self, expected: &[&str]) {
            self.write(FromClient::WantConfigId(43)).unwrap();
            self.wait(10);
            assert_eq!(self.texts(), expected);
        }
    }

    impl Gatt<Machine> {
        /// Returns the next report of a write that meant nothing.
        fn next_report_of_ignored(&mut self) -> Option<Report> {
            std::iter::from_fn(|| self.next_report())
                .find(|report| matches!(report, Report::Ignored { .. }))
        }
    }
}
