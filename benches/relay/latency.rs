//! Single messages on an idle system: the time of each, the relay's addition to the bare client's time, and the
//! processor time.

use std::time::Instant;

use serde_json::json;

use crate::bare::Bare;
use crate::extent::Extent;
use crate::figures::{Figures, Series, after, progress, rounded};
use crate::stage::{Place, RADIO_REST, REST, Stage, sees, start, takes};
use crate::support::relay::Relay;
use crate::usage::Usage;

/// Names of the figures that [`measure`] can print.
pub(crate) const FIGURES: [&str; 12] = [
    "latency_to_matrix_plain",
    "latency_to_matrix_encrypted",
    "latency_to_mesh_plain",
    "latency_to_mesh_encrypted",
    "added_to_matrix_plain",
    "added_to_matrix_encrypted",
    "added_to_mesh_plain",
    "added_to_mesh_encrypted",
    "processor_to_matrix_plain",
    "processor_to_matrix_encrypted",
    "processor_to_mesh_plain",
    "processor_to_mesh_encrypted",
];

/// Limit of the relay's addition to the bare client's median, in milliseconds.
const GOAL_ADDED: u32 = 3;

/// Returns the limit of the processor time for one message that goes this way, in milliseconds; to the mesh with its sign and
/// its receipt.
pub(crate) fn processor_goal(way: &str, place: &Place) -> u32 {
    match (way, place.name) {
        ("to_mesh", _) => 8,
        (_, "encrypted") => 4,
        _ => 3,
    }
}

/// Measures single messages in both directions and each kind of room, beside a bare client.
pub(crate) async fn measure(figures: &Figures, extent: &Extent) {
    let mut stage = Stage::set_up().await;
    // Switches off the radio's own delay of up to 250 ms after a silence, which would hide the relay's.
    let prompt = json!({"fault": "slow_reads", "on": false});
    stage.radio.fault(prompt).await;
    let relay = start(&stage.home).await;
    let mut bare = stage.bare.start().await;
    for place in 0..stage.places.len() {
        let name = stage.places[place].name;
        let wanted = |way: &str| {
            let names = ["latency", "added", "processor"].map(|of| format!("{of}_{way}_{name}"));
            figures.want_any_of(&names.each_ref().map(String::as_str))
        };
        if wanted("to_matrix") {
            to_matrix(
                figures,
                &mut stage,
                place,
                &relay,
                &mut bare,
                extent.to_matrix,
            )
            .await;
        }
        if wanted("to_mesh") {
            to_mesh(figures, &stage, place, &relay, &bare, extent.to_mesh).await;
        }
    }
}

async fn to_matrix(
    figures: &Figures,
    stage: &mut Stage,
    place: usize,
    relay: &Relay,
    bare: &mut Bare,
    count: usize,
) {
    let place = &stage.places[place];
    let (mut by_relay, mut by_bare) = (Series::default(), Series::default());
    progress(&format!("{count} messages to Matrix, {} room", place.name));
    let before = (Usage::of(relay.pid()), Usage::of(bare.pid()));
    for number in 0..count {
        let text = format!("message {number} to Matrix");
        let began = Instant::now();
        stage.radio.write(&place.heard(&text)).await;
        by_relay.add(after(began, sees(&stage.alice, &place.relay, &text)).await);
        tokio::time::sleep(REST).await;

        let content = place.content(&text);
        let began = Instant::now();
        bare.send(&place.bare, &content).await;
        by_bare.add(after(began, sees(&stage.alice, &place.bare, &text)).await);
        tokio::time::sleep(REST).await;
    }
    let used = Used::since(before, relay, bare, count);
    tell(figures, "to_matrix", place, &by_relay, &by_bare, used);
}

/// The bare client runs during the radio's rest.
async fn to_mesh(
    figures: &Figures,
    stage: &Stage,
    place: usize,
    relay: &Relay,
    bare: &Bare,
    count: usize,
) {
    let place = &stage.places[place];
    let (mut by_relay, mut by_bare) = (Series::default(), Series::default());
    progress(&format!(
        "{count} messages to the mesh, {} room",
        place.name
    ));
    tokio::time::sleep(RADIO_REST).await;
    let before = (Usage::of(relay.pid()), Usage::of(bare.pid()));
    for number in 0..count {
        let text = format!("message {number} from the {} room", place.name);
        let from = stage.radio.output.count();
        let began = Instant::now();
        let (_sent, taken) = tokio::join!(
            stage.alice.send(&place.relay, &text),
            after(began, takes(&stage.radio, from, &text)),
        );
        by_relay.add(taken);
        let radio_rested = tokio::time::Instant::now() + RADIO_REST;
        tokio::time::sleep(REST).await;

        let from = bare.lines();
        let began = Instant::now();
        let (_sent, seen) = tokio::join!(
            stage.alice.send(&place.bare, &text),
            after(began, bare.sees(from, &text)),
        );
        by_bare.add(seen);
        tokio::time::sleep_until(radio_rested).await;
    }
    let used = Used::since(before, relay, bare, count);
    tell(figures, "to_mesh", place, &by_relay, &by_bare, used);
}

/// Processor time for each message, in milliseconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Used {
    /// Of the relay.
    pub(crate) relay: f64,
    /// Of the bare client, for the same messages.
    pub(crate) bare: f64,
}

impl Used {
    /// Returns the processor time of both for each of so many messages since the last reading.
    pub(crate) fn since(before: (Usage, Usage), relay: &Relay, bare: &Bare, count: usize) -> Self {
        Self {
            relay: Usage::of(relay.pid()).per_message_since(&before.0, count),
            bare: Usage::of(bare.pid()).per_message_since(&before.1, count),
        }
    }
}

fn tell(figures: &Figures, way: &str, place: &Place, relay: &Series, bare: &Series, used: Used) {
    let name = |of: &str| format!("{of}_{way}_{}", place.name);
    figures.tell_pair(&name("latency"), relay, bare, &json!({}));
    let at = |percent| relay.percentile(percent) - bare.percentile(percent);
    let more = json!({"p95": rounded(at(95)), "goal": GOAL_ADDED});
    figures.tell(&name("added"), at(50), "ms", &more);
    let more = json!({"bare": rounded(used.bare), "goal": processor_goal(way, place)});
    figures.tell(&name("processor"), used.relay, "ms", &more);
}
