//! The time from the start of the process, with an existing session, to readiness and to the first message in each
//! direction. Both messages wait at the start: one in the radio, one on the homeserver.

use std::time::Instant;

use serde_json::json;

use crate::extent::Extent;
use crate::figures::{Figures, Series, after, progress};
use crate::stage::{Place, RADIO_REST, Stage, sees, takes};

/// Names of the figures that [`measure`] can print.
pub(crate) const FIGURES: [&str; 5] = [
    "start_to_ready",
    "start_to_matrix_plain",
    "start_to_mesh_plain",
    "start_to_matrix_encrypted",
    "start_to_mesh_encrypted",
];

/// Limit of the time to the first message in each direction, in milliseconds.
const GOAL: u32 = 1000;

#[derive(Debug, Default)]
struct Starts {
    ready: Series,
    to_matrix: Series,
    to_mesh: Series,
}

/// Measures the time of a start, up to each of its stages.
pub(crate) async fn measure(figures: &Figures, extent: &Extent) {
    let mut stage = Stage::set_up().await;
    let (mut ready, mut bare_ready) = (Series::default(), Series::default());
    for place in 0..stage.places.len() {
        let name = stage.places[place].name;
        progress(&format!("{} starts, {name} room", extent.starts));
        let (mut relay, mut bare) = (Starts::default(), Starts::default());
        for number in 0..extent.starts {
            let text = format!("{name} start {number}");
            start_relay(&mut stage, place, &text, &mut relay).await;
            start_bare(&stage, &stage.places[place], &text, &mut bare).await;
            tokio::time::sleep(RADIO_REST).await;
        }
        let goal = json!({"goal": GOAL});
        let name_of = |way: &str| format!("start_to_{way}_{name}");
        figures.tell_pair(&name_of("matrix"), &relay.to_matrix, &bare.to_matrix, &goal);
        figures.tell_pair(&name_of("mesh"), &relay.to_mesh, &bare.to_mesh, &goal);
        ready.append(relay.ready);
        bare_ready.append(bare.ready);
    }
    figures.tell_pair("start_to_ready", &ready, &bare_ready, &json!({}));
}

async fn start_relay(stage: &mut Stage, place: usize, text: &str, starts: &mut Starts) {
    let place = &stage.places[place];
    stage.radio.write(&place.heard(text)).await;
    stage.alice.send(&place.relay, text).await;
    let from = stage.radio.output.count();

    let relayed = from_mesh(text);
    let began = Instant::now();
    let mut relay = stage.home.spawn_with(&[]);
    let (ready, to_matrix, to_mesh) = tokio::join!(
        after(began, relay.logs("relay is ready")),
        after(began, sees(&stage.alice, &place.relay, &relayed)),
        after(began, takes(&stage.radio, from, text)),
    );
    starts.ready.add(ready);
    starts.to_matrix.add(to_matrix);
    starts.to_mesh.add(to_mesh);
    let status = relay.stop().await;
    assert!(status.success(), "the relay stops with {status}");
}

async fn start_bare(stage: &Stage, place: &Place, text: &str, starts: &mut Starts) {
    stage.alice.send(&place.bare, text).await;

    let relayed = from_mesh(text);
    let began = Instant::now();
    let mut bare = stage.bare.spawn();
    bare.send(&place.bare, &place.content(text)).await;
    let (ready, to_matrix, to_mesh) = tokio::join!(
        after(began, bare.ready()),
        after(began, sees(&stage.alice, &place.bare, &relayed)),
        after(began, bare.sees(0, text)),
    );
    starts.ready.add(ready);
    starts.to_matrix.add(to_matrix);
    starts.to_mesh.add(to_mesh);
    bare.stop().await;
}

/// Alice's own message has the same text, but no prefix.
fn from_mesh(text: &str) -> String {
    format!("]: {text}")
}
