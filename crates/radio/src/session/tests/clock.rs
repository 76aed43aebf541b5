//! The radio's clock.

use super::*;

#[test]
fn the_radio_is_given_the_time_once_it_is_ready() {
    let mut bench = Bench::new(SessionOptions {
        set_time: true,
        ..SessionOptions::default()
    });
    bench.session.on_time(bench.now);
    let outputs = handshake()
        .iter()
        .flat_map(|frame| bench.frame(frame))
        .collect::<Vec<_>>();
    let to_radio::PayloadVariant::Packet(packet) = sent(&outputs[1]) else {
        panic!("not a packet")
    };
    assert_eq!((packet.from, packet.to), (OWN.0, OWN.0));
    let Some(proto::mesh_packet::PayloadVariant::Decoded(data)) = packet.payload_variant else {
        panic!("not decoded")
    };
    // Field 43, fixed32: 1 750 000 000.
    assert_eq!(data.payload, [0xDD, 0x02, 0x80, 0xE1, 0x4E, 0x68]);
    assert_eq!(data.portnum, 6);
}

#[test]
fn the_radio_is_given_the_time_again_when_our_clock_was_set() {
    let mut bench = Bench::new(SessionOptions {
        set_time: true,
        ..SessionOptions::default()
    });
    bench.now.wall = Timestamp(86_400_000);
    bench.session.on_time(bench.now);
    for frame in handshake() {
        bench.frame(&frame);
    }
    let mut ids = Vec::new();
    for wall in [1_750_000_000_000, 1_750_007_200_000, 1_750_000_000_000].map(Timestamp) {
        bench.now.wall = wall;
        for _ in 0..2 {
            let outputs = bench.wait(HEARTBEAT_EVERY);
            bench.variant(from_radio::PayloadVariant::QueueStatus(
                proto::QueueStatus::default(),
            ));
            ids.extend(outputs.iter().filter_map(|output| match sent(output) {
                to_radio::PayloadVariant::Packet(packet) => Some(packet.id),
                _ => None,
            }));
        }
    }
    // Once each time, and never under an id that the radio knows.
    assert_eq!(ids.len(), 3);
    ids.dedup();
    assert_eq!(ids.len(), 3);
}

#[test]
fn what_comes_just_after_our_clock_was_set_is_as_old_as_its_arrival() {
    let mut bench = Bench::ready(SessionOptions {
        set_time: true,
        ..SessionOptions::default()
    });
    for _ in 0..3 {
        bench.wait(HEARTBEAT_EVERY);
        bench.variant(from_radio::PayloadVariant::QueueStatus(
            proto::QueueStatus::default(),
        ));
    }
    // Returns the age of a text that is so many seconds old by the radio's clock, and whether that clock was set.
    let age_of = |bench: &mut Bench, shows: Timestamp, seconds: u64| {
        let heard = shows - Duration::from_secs(seconds);
        let outputs = bench.frame(&text_at(1, u32::try_from(heard.0 / 1000).unwrap()));
        let text = outputs.iter().find_map(|output| match output {
            Output::Event(RadioEvent::Text(text)) => Some(text.heard_at),
            _ => None,
        });
        (
            bench.now.wall.since(text.unwrap()).as_secs(),
            outputs.len() == 2,
        )
    };
    let shows = bench.now.wall;
    assert_eq!(age_of(&mut bench, shows, 40), (40, false));
    for ahead in [true, false] {
        let hours = Duration::from_hours(2);
        let before = bench.now.wall;
        bench.now.wall = if ahead {
            before + hours
        } else {
            before - hours
        };
        assert_eq!(age_of(&mut bench, before, 3), (0, true), "given at once");
        assert_eq!(age_of(&mut bench, before, 3), (0, false), "on its way then");
        bench.wait(DATED_BEFORE);
        let shows = bench.now.wall;
        assert_eq!(age_of(&mut bench, shows, 40), (40, false));
    }
}

#[test]
fn a_relay_that_does_not_know_the_time_gives_none() {
    let mut bench = Bench::new(SessionOptions {
        set_time: true,
        ..SessionOptions::default()
    });
    bench.now.wall = Timestamp(86_400_000);
    bench.session.on_time(bench.now);
    let outputs: usize = handshake()
        .iter()
        .map(|frame| bench.frame(frame).len())
        .sum();
    assert_eq!(outputs, 1);
}
