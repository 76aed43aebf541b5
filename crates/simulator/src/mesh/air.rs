//! The radio's transmit queue, and the outcomes of packets on the air. Times are those of the LongFast preset, roughly
//! as measured.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::lines::report::{Fate, Transmitted};

/// Capacity of the transmit queue in packets.
pub(crate) const QUEUE: u32 = 16;

/// Queue status of a full queue.
const STATUS_QUEUE_FULL: u32 = 32;

/// A slot of LongFast's contention window.
const SLOT: Duration = Duration::from_millis(28);

/// Maximum number of pending events: packets of a client that floods the full queue have no outcome.
const PENDING: usize = 4096;

/// A packet queued for transmission.
#[derive(Debug, Clone)]
pub(crate) struct Flight {
    /// The client's packet; `None` for a packet of the radio itself.
    pub packet: Option<Box<Transmitted>>,
    /// Size on the air in bytes, header included.
    pub size: usize,
    /// What becomes of it, one fate after the other.
    pub fates: Vec<Fate>,
}

/// What happens to packets on the air.
#[derive(Debug, PartialEq)]
pub(crate) enum AirEvent {
    Begun {
        packet: Option<Box<Transmitted>>,
        /// A full queue has room again.
        room_again: bool,
    },
    Became(Box<Transmitted>, Fate),
}

/// The radio's transmit queue, and what becomes of each packet in it.
#[derive(Debug)]
pub(crate) struct Air {
    waiting: VecDeque<Flight>,
    steps: BTreeMap<(Instant, u64), Step>,
    counter: u64,
    was_full: bool,
    random: StdRng,
}

/// A future event of the air.
#[derive(Debug)]
enum Step {
    Begin,
    End(Flight),
    Became(Box<Transmitted>, Fate),
}

impl Air {
    /// Creates an empty queue; the seed determines the random delays.
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            waiting: VecDeque::new(),
            steps: BTreeMap::new(),
            counter: 0,
            was_full: false,
            random: StdRng::seed_from_u64(seed),
        }
    }

    pub(crate) fn free(&self) -> u32 {
        QUEUE.saturating_sub(u32::try_from(self.waiting.len()).unwrap_or(QUEUE))
    }

    /// Queues a packet, if there is room. Without room, a requested acknowledgement fails later.
    pub(crate) fn queue(&mut self, flight: Flight, now: Instant) -> Fate {
        if self.free() == 0 {
            self.was_full = true;
            let wants_answer = flight.fates.iter().any(|fate| *fate != Fate::Sent);
            if let Some(packet) = flight.packet.filter(|_| wants_answer) {
                let given_up = Step::Became(packet, Fate::Unheard);
                self.schedule(now + Duration::from_secs(30), given_up);
            }
            return Fate::Refused(STATUS_QUEUE_FULL);
        }
        self.waiting.push_back(flight);
        let waits = |step: &Step| matches!(step, Step::Became(..));
        if self.steps.values().all(waits) {
            let begin = now + self.back_off();
            self.schedule(begin, Step::Begin);
        }
        Fate::Accepted
    }

    /// Returns when [`Self::next`] is due.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.steps.keys().next().map(|(at, _)| *at)
    }

    /// Returns the next event up to now.
    pub(crate) fn next(&mut self, now: Instant) -> Option<AirEvent> {
        loop {
            let first = self.steps.first_entry();
            let step = first.filter(|step| step.key().0 <= now)?;
            let (at, _) = *step.key();
            match step.remove() {
                Step::Begin => {
                    let Some(flight) = self.waiting.pop_front() else {
                        continue;
                    };
                    let packet = flight.packet.clone();
                    let room_again = std::mem::take(&mut self.was_full);
                    self.schedule(at + air_time(flight.size), Step::End(flight));
                    return Some(AirEvent::Begun { packet, room_again });
                }
                Step::End(flight) => self.end(flight, at),
                Step::Became(packet, fate) => return Some(AirEvent::Became(packet, fate)),
            }
        }
    }

    pub(crate) fn clear(&mut self) {
        self.waiting.clear();
        self.steps.clear();
        self.was_full = false;
    }

    fn end(&mut self, flight: Flight, at: Instant) {
        let one_transmission = air_time(flight.size);
        let is_repeat = |fate: &Fate| matches!(fate, Fate::Heard | Fate::Relayed);
        let repeated = flight.fates.iter().any(is_repeat);
        let mut when = at;
        for (place, fate) in flight.fates.into_iter().enumerate() {
            when += match fate {
                Fate::Heard | Fate::Relayed => self.neighbours_delay() + one_transmission,
                // The answer to a relayed packet takes longer.
                Fate::Delivered | Fate::Failed(_) if place > 0 => self.between(4_000, 14_000),
                Fate::Delivered | Fate::Failed(_) => self.between(50, 200) + air_time(36),
                // Not heard after three tries.
                Fate::Unheard => (try_wait(one_transmission) * 3).saturating_sub(one_transmission),
                // Reported at once.
                _ => Duration::ZERO,
            };
            if let Some(packet) = flight.packet.clone() {
                self.schedule(when, Step::Became(packet, fate));
            }
        }
        let quiet_at = if repeated { at + one_transmission } else { at };
        let begin = quiet_at + self.back_off();
        self.schedule(begin, Step::Begin);
    }

    fn schedule(&mut self, at: Instant, step: Step) {
        if self.steps.len() >= PENDING && matches!(step, Step::Became(..)) {
            return;
        }
        self.counter += 1;
        self.steps.insert((at, self.counter), step);
    }

    fn back_off(&mut self) -> Duration {
        SLOT * self.random.random_range(1..8)
    }

    /// Mostly short, sometimes long: 0.2 s to 5.6 s.
    fn neighbours_delay(&mut self) -> Duration {
        let share: f64 = self.random.random();
        Duration::from_millis(200) + Duration::from_secs_f64(5.4 * share * share * share)
    }

    fn between(&mut self, least: u64, most: u64) -> Duration {
        Duration::from_millis(self.random.random_range(least..most))
    }
}

/// Returns the transmission time of that many bytes with LongFast (spreading factor 11, 250 kHz, coding rate 4/5,
/// preamble of 16 symbols), by the formula of the chip's data sheet.
pub(super) fn air_time(size: usize) -> Duration {
    /// 2^11 / 250 kHz.
    const SYMBOL: Duration = Duration::from_micros(8192);
    let size = u32::try_from(size.min(255)).unwrap_or(255);
    let symbols = 8 + (8 * size).div_ceil(44) * 5;
    SYMBOL * symbols + SYMBOL * 81 / 4
}

/// How long the firmware waits for an answer to one try.
fn try_wait(one_transmission: Duration) -> Duration {
    one_transmission * 2 + SLOT * 56 + Duration::from_millis(4500)
}

#[cfg(test)]
mod tests {
    use super::*;
    use relay_wire::proto::{Data, MeshPacket};

    fn packet(id: u32) -> Transmitted {
        let header = MeshPacket {
            id,
            ..MeshPacket::default()
        };
        Transmitted {
            header,
            content: Data::default(),
            at: Duration::ZERO,
        }
    }

    fn flight(id: u32, fates: &[Fate]) -> Flight {
        Flight {
            packet: Some(Box::new(packet(id))),
            size: 40,
            fates: fates.to_vec(),
        }
    }

    /// Advances the clock to the end; returns the events with their seconds since `start`.
    fn run(air: &mut Air, start: Instant) -> Vec<(f64, AirEvent)> {
        let mut all = Vec::new();
        while let Some(at) = air.deadline() {
            while let Some(event) = air.next(at) {
                all.push(((at - start).as_secs_f64(), event));
            }
        }
        all
    }

    /// Advances the clock to the end; returns the fates of packets with their seconds since `start`.
    fn fates(air: &mut Air, start: Instant) -> Vec<(f64, u32, Fate)> {
        let happened = run(air, start).into_iter();
        happened
            .filter_map(|(seconds, event)| match event {
                AirEvent::Became(packet, fate) => Some((seconds, packet.header.id, fate)),
                AirEvent::Begun { .. } => None,
            })
            .collect()
    }

    #[test]
    fn air_time_is_that_of_long_fast() {
        assert_eq!(air_time(40).as_millis(), 559);
        assert_eq!(air_time(255).as_millis(), 2156);
    }

    #[test]
    fn a_repeat_is_heard_after_one_to_eight_seconds() {
        let (mut air, start) = (Air::new(3), Instant::now());
        for id in 0..10 {
            let fate = air.queue(flight(id, &[Fate::Heard]), start);
            assert_eq!(fate, Fate::Accepted);
            let begun = Instant::now();
            assert_eq!(fates(&mut air, begun).len(), 1);
        }
        let (mut air, start) = (Air::new(4), Instant::now());
        air.queue(flight(1, &[Fate::Heard]), start);
        let (seconds, _, _) = fates(&mut air, start)[0];
        assert!((1.0..8.0).contains(&seconds), "{seconds}");
    }

    #[test]
    fn nobody_answering_takes_three_tries_and_about_twenty_seconds() {
        let (mut air, start) = (Air::new(1), Instant::now());
        air.queue(flight(1, &[Fate::Unheard]), start);
        let fates = fates(&mut air, start);
        assert_eq!(fates.len(), 1);
        let (seconds, id, fate) = fates[0];
        assert!((20.0..32.0).contains(&seconds), "{seconds}");
        assert_eq!((id, fate), (1, Fate::Unheard));
    }

    #[test]
    fn a_relayed_packet_is_repeated_first_and_answered_later() {
        let (mut air, start) = (Air::new(1), Instant::now());
        air.queue(flight(1, &[Fate::Relayed, Fate::Delivered]), start);
        let fates = fates(&mut air, start);
        let told: Vec<Fate> = fates.into_iter().map(|(_, _, fate)| fate).collect();
        assert_eq!(told, [Fate::Relayed, Fate::Delivered]);
    }

    #[test]
    fn the_queue_takes_16_packets_and_tells_when_it_has_room_again() {
        let (mut air, start) = (Air::new(1), Instant::now());
        for id in 0..16 {
            let fate = air.queue(flight(id, &[Fate::Sent]), start);
            assert_eq!(fate, Fate::Accepted);
            assert_eq!(air.free(), 15 - id);
        }
        let fate = air.queue(flight(99, &[Fate::Heard]), start);
        assert_eq!(fate, Fate::Refused(32));
        let (mut sent, mut given_up, mut room_told) = (Vec::new(), Vec::new(), Vec::new());
        for (_, event) in run(&mut air, start) {
            match event {
                AirEvent::Begun { room_again, .. } => room_told.push(room_again),
                AirEvent::Became(packet, Fate::Sent) => sent.push(packet.header.id),
                AirEvent::Became(packet, Fate::Unheard) => given_up.push(packet.header.id),
                AirEvent::Became(..) => panic!("{event:?}"),
            }
        }
        let mut once_at_first = vec![false; 16];
        once_at_first[0] = true;
        assert_eq!(room_told, once_at_first);
        assert_eq!(sent, (0..16).collect::<Vec<u32>>());
        assert_eq!(given_up, [99]);
    }
}
