//! The radio's transmit queue and what becomes of a packet on the air: when it is sent, repeated and answered.
//! Times are those of the LongFast preset, roughly as measured.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// The hop limit that the radio is set to.
pub(super) const HOP_LIMIT: u8 = 3;

/// Packets that the transmit queue holds.
pub(super) const QUEUE: u32 = 16;

/// A slot of LongFast's contention window.
const SLOT: Duration = Duration::from_millis(28);

/// More outcomes than that are never pending: a client that floods the full queue learns nothing of its packets.
const PENDING: usize = 4096;

/// What becomes of a packet once it is on the air.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It was transmitted, and no answer is asked for.
    Sent,
    /// Another node repeated it.
    Repeated,
    /// Its addressee answered, with that `Routing.Error` (0: it has it).
    Answered(u32),
    /// Nobody was heard repeating or answering it after three tries.
    GaveUp,
}

/// A packet on its way to the air.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Flight {
    /// Its id.
    pub id: u32,
    /// Its size on the air in bytes, header included.
    pub size: usize,
    /// What will become of it, one after the other; none if the client is to hear nothing.
    pub outcomes: Vec<Outcome>,
}

/// Something that happened on the air.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AirEvent {
    /// The queue, which was full, has room again.
    Room,
    /// The transmission of a packet begins; told only if that is wanted.
    Begun {
        /// The packet's id.
        id: u32,
    },
    /// Something became of a packet.
    Outcome {
        /// The packet's id.
        id: u32,
        /// What.
        outcome: Outcome,
        /// Nothing more will become of it.
        last: bool,
    },
}

/// The transmit queue and the air.
#[derive(Debug)]
pub(super) struct Air {
    waiting: VecDeque<Flight>,
    steps: BTreeMap<(Instant, u64), Step>,
    counter: u64,
    transmitting: bool,
    was_full: bool,
    tells_begin: bool,
    random: StdRng,
}

#[derive(Debug)]
enum Step {
    Begin,
    End(Flight),
    Outcome {
        id: u32,
        outcome: Outcome,
        last: bool,
    },
}

impl Air {
    /// Makes an empty queue; the seed decides the random delays.
    pub(super) fn new(seed: u64) -> Self {
        Self {
            waiting: VecDeque::new(),
            steps: BTreeMap::new(),
            counter: 0,
            transmitting: false,
            was_full: false,
            tells_begin: false,
            random: StdRng::seed_from_u64(seed),
        }
    }

    /// Has the beginning of each transmission told, or not.
    pub(super) fn tell_begin(&mut self, on: bool) {
        self.tells_begin = on;
    }

    /// Returns how many packets the queue still takes.
    pub(super) fn free(&self) -> u32 {
        QUEUE.saturating_sub(u32::try_from(self.waiting.len()).unwrap_or(QUEUE))
    }

    /// Queues a packet. Returns whether there was room; if not, an answer that was asked for is that nobody answered.
    pub(super) fn queue(&mut self, flight: Flight, now: Instant) -> bool {
        if self.free() == 0 {
            self.was_full = true;
            if flight
                .outcomes
                .iter()
                .any(|outcome| *outcome != Outcome::Sent)
            {
                let step = Step::Outcome {
                    id: flight.id,
                    outcome: Outcome::GaveUp,
                    last: true,
                };
                self.schedule(now + Duration::from_secs(30), step);
            }
            return false;
        }
        self.waiting.push_back(flight);
        if !self.transmitting {
            self.transmitting = true;
            let begin = now + self.back_off();
            self.schedule(begin, Step::Begin);
        }
        true
    }

    /// Returns when [`Self::on_time`] wants to be called next.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.steps.keys().next().map(|(at, _)| *at)
    }

    /// Returns what happened up to now, in order.
    pub(super) fn on_time(&mut self, now: Instant) -> Vec<AirEvent> {
        let mut events = Vec::new();
        while let Some(entry) = self.steps.first_entry() {
            let (at, _) = *entry.key();
            if at > now {
                break;
            }
            match entry.remove() {
                Step::Begin => self.begin(at, &mut events),
                Step::End(flight) => self.end(&flight, at),
                Step::Outcome { id, outcome, last } => {
                    events.push(AirEvent::Outcome { id, outcome, last });
                }
            }
        }
        events
    }

    /// Forgets everything, as a reboot does.
    pub(super) fn clear(&mut self) {
        self.waiting.clear();
        self.steps.clear();
        self.transmitting = false;
        self.was_full = false;
    }

    fn begin(&mut self, at: Instant, events: &mut Vec<AirEvent>) {
        let Some(flight) = self.waiting.pop_front() else {
            self.transmitting = false;
            return;
        };
        if std::mem::take(&mut self.was_full) {
            events.push(AirEvent::Room);
        }
        if self.tells_begin {
            events.push(AirEvent::Begun { id: flight.id });
        }
        self.schedule(at + air_time(flight.size), Step::End(flight));
    }

    fn end(&mut self, flight: &Flight, at: Instant) {
        let one_transmission = air_time(flight.size);
        let mut when = at;
        let count = flight.outcomes.len();
        for (place, outcome) in flight.outcomes.iter().enumerate() {
            when += match outcome {
                Outcome::Sent => Duration::ZERO,
                Outcome::Repeated => self.neighbours_delay() + one_transmission,
                // The answer to a packet that went over another node has a longer way.
                Outcome::Answered(_) if place > 0 => self.between(4_000, 14_000),
                Outcome::Answered(_) => self.between(50, 200) + air_time(36),
                Outcome::GaveUp => {
                    (try_wait(one_transmission) * 3).saturating_sub(one_transmission)
                }
            };
            let step = Step::Outcome {
                id: flight.id,
                outcome: *outcome,
                last: place + 1 == count,
            };
            self.schedule(when, step);
        }
        let repeated = flight.outcomes.contains(&Outcome::Repeated);
        let quiet_at = if repeated { at + one_transmission } else { at };
        let begin = quiet_at + self.back_off();
        self.schedule(begin, Step::Begin);
    }

    fn schedule(&mut self, at: Instant, step: Step) {
        if self.steps.len() >= PENDING && matches!(step, Step::Outcome { .. }) {
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

/// Returns how long that many bytes are on the air with LongFast (spreading factor 11, 250 kHz, coding rate 4/5, preamble
/// of 16 symbols), by the formula of the chip's data sheet.
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

    fn flight(id: u32, outcomes: &[Outcome]) -> Flight {
        Flight {
            id,
            size: 40,
            outcomes: outcomes.to_vec(),
        }
    }

    /// Runs the clock to the end; returns what happened with the seconds since `start`.
    fn run(air: &mut Air, start: Instant) -> Vec<(f64, AirEvent)> {
        let mut all = Vec::new();
        while let Some(at) = air.deadline() {
            let events = air.on_time(at);
            all.extend(
                events
                    .into_iter()
                    .map(|event| ((at - start).as_secs_f64(), event)),
            );
        }
        all
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
            assert!(air.queue(flight(id, &[Outcome::Repeated]), start));
            let begun = Instant::now();
            let events = run(&mut air, begun);
            assert_eq!(events.len(), 1);
        }
        let (mut air, start) = (Air::new(4), Instant::now());
        air.queue(flight(1, &[Outcome::Repeated]), start);
        let (seconds, _) = run(&mut air, start)[0];
        assert!((1.0..8.0).contains(&seconds), "{seconds}");
    }

    #[test]
    fn nobody_answering_takes_three_tries_and_about_twenty_seconds() {
        let (mut air, start) = (Air::new(1), Instant::now());
        air.queue(flight(1, &[Outcome::GaveUp]), start);
        let (seconds, event) = run(&mut air, start)[0];
        assert!((20.0..32.0).contains(&seconds), "{seconds}");
        let given_up = AirEvent::Outcome {
            id: 1,
            outcome: Outcome::GaveUp,
            last: true,
        };
        assert_eq!(event, given_up);
    }

    #[test]
    fn a_relayed_packet_is_repeated_first_and_answered_later() {
        let (mut air, start) = (Air::new(1), Instant::now());
        air.queue(flight(1, &[Outcome::Repeated, Outcome::Answered(0)]), start);
        let events = run(&mut air, start);
        assert_eq!(events.len(), 2);
        assert!(matches!(
            events[0].1,
            AirEvent::Outcome {
                outcome: Outcome::Repeated,
                last: false,
                ..
            }
        ));
        assert!(matches!(
            events[1].1,
            AirEvent::Outcome {
                outcome: Outcome::Answered(0),
                last: true,
                ..
            }
        ));
    }

    #[test]
    fn the_queue_takes_16_packets_and_tells_when_it_has_room_again() {
        let (mut air, start) = (Air::new(1), Instant::now());
        for id in 0..16 {
            assert!(air.queue(flight(id, &[Outcome::Sent]), start));
            assert_eq!(air.free(), 15 - id);
        }
        assert!(!air.queue(flight(99, &[Outcome::Repeated]), start));
        let events = run(&mut air, start);
        assert_eq!(events[0].1, AirEvent::Room);
        assert_eq!(
            events
                .iter()
                .filter(|(_, event)| *event == AirEvent::Room)
                .count(),
            1
        );
        let sent: Vec<u32> = events
            .iter()
            .filter_map(|(_, event)| match event {
                AirEvent::Outcome {
                    id,
                    outcome: Outcome::Sent,
                    ..
                } => Some(*id),
                AirEvent::Outcome { .. } | AirEvent::Room | AirEvent::Begun { .. } => None,
            })
            .collect();
        assert_eq!(sent, (0..16).collect::<Vec<u32>>());
        assert!(events.iter().any(|(_, event)| matches!(
            event,
            AirEvent::Outcome {
                id: 99,
                outcome: Outcome::GaveUp,
                ..
            }
        )));
    }
}
