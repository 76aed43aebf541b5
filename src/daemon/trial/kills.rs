//! Kills at any step: what was accepted is on the other side afterwards, in order and once.

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::*;
use crate::model::OwnedEventId;

/// So many lives a relay has in one trial.
const LIVES: u32 = 100;
/// A life ends before so many steps of its tasks: a start takes some 150, a message each way some 60.
const LONGEST_LIFE: u64 = 700;

/// A long text goes to the mesh as these packets.
const PARTS: [&str; 3] = ["1/3", "2/3", "3/3"];
/// So many bytes are that long.
const LONG: usize = 480;

/// A packet for the mesh: the number of its text, and which part of that it is (of [`PARTS`]; empty: all of it).
type Packet = (u32, String);

/// What was said so far.
#[derive(Default)]
struct Said {
    /// On the mesh, by channel: packets with their numbers as ids.
    on_mesh: [Vec<u32>; ROOMS],
    /// In Matrix, by room: what the mesh is to get of it.
    in_matrix: [Vec<Packet>; ROOMS],
    /// The events of that.
    events: [Vec<OwnedEventId>; ROOMS],
    last: u32,
}

impl Said {
    /// Somebody says something somewhere.
    async fn more(&mut self, trial: &Trial, random: &mut StdRng) {
        self.last += 1;
        let (number, place) = (self.last, random.random_range(0..ROOMS));
        if random.random_bool(0.5) {
            trial
                .mesh
                .says(place, number, &format!("far {number}"))
                .await;
            self.on_mesh[place].push(number);
        } else {
            let word = format!(" {number}");
            // Wherever a long one is cut, each part ends in its number.
            let (words, parts) = if random.random_bool(0.25) {
                (LONG / word.len(), &PARTS[..])
            } else {
                (1, &[""][..])
            };
            let text = format!("near{}", word.repeat(words));
            let event = trial.homeserver.says(place, &text);
            self.events[place].push(event);
            let packets = parts.iter().map(|part| (number, (*part).to_owned()));
            self.in_matrix[place].extend(packets);
        }
    }
}

/// Returns the packets that the radio took for a channel, in order.
fn taken(trial: &Trial, channel: usize) -> Vec<Packet> {
    let part = |text: &str| {
        let mut words = text.split([' ', ':']);
        let part = words.find(|word| PARTS.contains(word));
        part.unwrap_or_default().to_owned()
    };
    let on_air = trial.mesh.on_air();
    let here = on_air
        .iter()
        .filter(|it| usize::try_from(it.channel) == Ok(channel));
    here.map(|it| (number(&it.text), part(&it.text))).collect()
}

/// Lives and kills; returns how many of the kills came while something was under way.
async fn live_and_die(seed: u64) -> u32 {
    let mut random = StdRng::seed_from_u64(seed);
    let mut trial = Trial::new(seed);
    let mut said = Said::default();
    let mut in_flight = 0;
    for _ in 0..LIVES {
        trial.start_with(Life::of_steps(random.random_range(0..LONGEST_LIFE)));
        let life = trial.relay.as_ref().unwrap().life.clone();
        let events = async {
            loop {
                said.more(&trial, &mut random).await;
                trial
                    .wait(Duration::from_millis(random.random_range(0..2000)))
                    .await;
            }
        };
        tokio::select! {
            biased;
            () = life.ended() => {}
            () = events => {}
        }
        trial.kill().await;
        in_flight += u32::from(trial.waiting() != (0, 0));
    }
    trial.start();
    // A last word on each side: what was said before it is there when it is.
    for place in 0..ROOMS {
        for word in 0..2 {
            let number = 100_000 + word;
            trial
                .mesh
                .says(
                    place,
                    number + u32::try_from(place).unwrap() * 10,
                    &format!("last {number}"),
                )
                .await;
        }
    }
    trial
        .until("nothing waits any more", |trial| {
            let all_in = (0..ROOMS).all(|place| {
                taken(trial, place).len() >= said.in_matrix[place].len()
                    && trial.in_room(place).ends_with(&[100_000, 100_001])
            });
            all_in && trial.waiting() == (0, 0)
        })
        .await;
    for place in 0..ROOMS {
        assert_eq!(
            taken(&trial, place),
            said.in_matrix[place],
            "to channel {place}"
        );
        // What the radio had handed over when its client vanished is lost, unless the relay had accepted it.
        let mut accepted = trial.accepted(&said.on_mesh[place]);
        accepted.extend([100_000, 100_001]);
        assert_eq!(trial.in_room(place), accepted, "to room {place}");
    }
    trial.no_transaction_was_posted_twice();
    trial.no_text_went_under_two_ids();
    trial.texts_kept_their_distance();
    // An answer of the radio that came to a relay that died is lost: then there is no sign.
    trial.wait(Duration::from_mins(5)).await;
    for place in 0..ROOMS {
        for event in &said.events[place] {
            let signs = trial.homeserver.signs(place, event);
            assert!(signs.is_empty() || signs == ["📡"], "{event}: {signs:?}");
        }
    }
    in_flight
}

#[tokio::test(start_paused = true)]
async fn what_was_accepted_survives_hundreds_of_kills_in_order_and_once() {
    for seed in [31, 32, 33] {
        let in_flight = live_and_die(seed).await;
        assert!(
            in_flight >= LIVES / 2,
            "only {in_flight} of {LIVES} kills mattered"
        );
    }
}
