//! The simulated radio on Bluetooth: frames wait until they are read, and notifications announce them.

use std::time::{Duration, Instant};

use relay_simulator::{Machine, Mesh, Report};
use relay_wire::proto::{
    FromRadio, Heartbeat, MeshPacket, Message, ToRadio, from_radio::PayloadVariant,
    mesh_packet::PayloadVariant as Body, to_radio::PayloadVariant as FromClient,
};

use crate::support::gatt::{AttError, Gatt, WRITES};

const PIN: u32 = 123_456;

/// A radio's GATT service, its client, and their clock.
struct Bench {
    gatt: Gatt<Machine>,
    now: Instant,
}

impl Bench {
    fn new() -> Self {
        let now = Instant::now();
        let mut gatt = Gatt::new(Machine::new(Mesh::new(1, 2), 1, now));
        for fault in ["telemetry", "slow_reads"] {
            let off = format!(r#"{{"fault": "{fault}", "on": false}}"#);
            gatt.obey(&off.parse().unwrap(), now).unwrap();
        }
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
        let mut notices = Vec::new();
        loop {
            let value = self.gatt.read(self.now).unwrap();
            if value.is_empty() {
                return notices;
            }
            let frame = FromRadio::decode(value.as_slice()).unwrap();
            notices.push(frame.payload_variant.unwrap());
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
    /// Returns the next report of an ignored write.
    fn next_report_of_ignored(&mut self) -> Option<Report> {
        std::iter::from_fn(|| self.next_report())
            .find(|report| matches!(report, Report::Ignored { .. }))
    }
}
