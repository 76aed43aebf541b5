//! A burst of messages from the mesh: all arrive once and in order. Measures its duration and processor time.

use std::time::Instant;

use matrix_sdk::ruma::OwnedRoomId;
use serde_json::{Value, json};

use crate::extent::Extent;
use crate::figures::{Figures, progress, rounded};
use crate::latency::{Used, processor_goal};
use crate::stage::{REST, Stage, sees, start};
use crate::support::user::User;
use crate::usage::Usage;

/// Names of the figures that [`measure`] can print.
pub(crate) const FIGURES: [&str; 4] = [
    "burst_plain",
    "burst_encrypted",
    "processor_burst_plain",
    "processor_burst_encrypted",
];

/// Interval between two checks of the progress.
const STEP: usize = 50;

/// Measures a burst of messages to each kind of room, beside a bare client.
pub(crate) async fn measure(figures: &mut Figures, extent: &Extent) {
    let mut stage = Stage::set_up().await;
    let relay = start(&stage.home).await;
    let mut bare = stage.bare.start().await;
    for place in &stage.places {
        progress(&format!(
            "a burst of {} messages, {} room",
            extent.burst, place.name
        ));
        let texts: Vec<_> = (0..extent.burst)
            .map(|number| format!("burst, message {number}"))
            .collect();
        let before = (Usage::of(relay.pid()), Usage::of(bare.pid()));

        let began = Instant::now();
        for text in &texts {
            stage.radio.write(&place.heard(text)).await;
        }
        follow(&stage.alice, &place.relay, &texts).await;
        let by_relay = began.elapsed().as_secs_f64();

        let began = Instant::now();
        let (alice, room) = (&stage.alice, &place.bare);
        let sending = async {
            for text in &texts {
                bare.send(room, &place.content(text)).await;
            }
        };
        tokio::join!(sending, follow(alice, room, &texts));
        let by_bare = began.elapsed().as_secs_f64();
        tokio::time::sleep(REST * 20).await;

        let used = Used::since(before, &relay, &bare, texts.len());
        let name = format!("burst_{}", place.name);
        let arrived = arrived(figures, &name, &stage.alice, &place.relay, &texts).await;
        let mut more = json!({"messages": texts.len(), "bare": rounded(by_bare)});
        for (key, value) in arrived.as_object().into_iter().flatten() {
            more[key] = value.clone();
        }
        figures.tell(&name, by_relay, "s", &more);
        let more = json!({"bare": rounded(used.bare), "goal": processor_goal("to_matrix", place)});
        figures.tell(&format!("processor_{name}"), used.relay, "ms", &more);
    }
}

/// Waits until the last text has arrived; fails if none arrives for a while.
pub(crate) async fn follow(alice: &User, room: &OwnedRoomId, texts: &[String]) {
    for (place, text) in texts.iter().enumerate() {
        let last = place + 1 == texts.len();
        if last || place % STEP == 0 {
            sees(alice, room, text).await;
        }
    }
}

/// Compares the homeserver's messages with the expected ones.
pub(crate) async fn arrived(
    figures: &mut Figures,
    name: &str,
    alice: &User,
    room: &OwnedRoomId,
    texts: &[String],
) -> Value {
    let history = alice.history(room).await;
    let place_of = |body: &str| texts.iter().position(|text| body.ends_with(text.as_str()));
    let places: Vec<_> = history
        .iter()
        .filter_map(|seen| place_of(seen.body()))
        .collect();
    let mut different = places.clone();
    different.sort_unstable();
    different.dedup();
    let missing = texts.len() - different.len();
    let doubled = places.len() - different.len();
    let in_order = places.is_sorted();
    if missing > 0 || doubled > 0 || !in_order {
        figures.broken(format!(
            "{name}: {missing} missing, {doubled} doubled, in order: {in_order}"
        ));
    }
    json!({"missing": missing, "doubled": doubled, "in_order": in_order})
}
