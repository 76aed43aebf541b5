//! An outage of the homeserver: the time from its return to the first message in each direction.

use std::time::{Duration, Instant};

use crate::extent::Extent;
use crate::figures::{Figures, Series, after, progress};
use crate::stage::{RADIO_REST, Stage, sees, start, takes};
use crate::support::synapse::{Synapse, Trouble};

/// Names of the figures that [`measure`] can print.
pub(crate) const FIGURES: [&str; 4] = [
    "homeserver_resumed_to_mesh",
    "homeserver_resumed_to_matrix",
    "homeserver_restarted_to_mesh",
    "homeserver_restarted_to_matrix",
];

/// Times from the homeserver's return until a text has crossed, by direction.
#[derive(Debug, Default)]
struct Back {
    to_mesh: Series,
    to_matrix: Series,
}

impl Back {
    fn tell(&self, figures: &Figures, name: &str) {
        for (way, series) in [("mesh", &self.to_mesh), ("matrix", &self.to_matrix)] {
            let name = format!("{name}_to_{way}");
            figures.tell(&name, series.median(), "ms", &series.summary());
        }
    }
}

/// Measures how soon texts cross after the homeserver hung or restarted.
pub(crate) async fn measure(figures: &Figures, extent: &Extent) {
    let mut stage = Stage::set_up().await;
    let _relay = start(&stage.home).await;
    for (name, restarts) in [
        ("homeserver_resumed", false),
        ("homeserver_restarted", true),
    ] {
        if wanted(figures, name) {
            let times = extent.homeserver_outages;
            progress(&format!("{name}, {times} times"));
            let mut back = Back::default();
            for number in 0..times {
                let outage = (name, number);
                homeserver_away(&mut stage, restarts, extent.hang, outage, &mut back).await;
            }
            back.tell(figures, name);
        }
    }
}

fn wanted(figures: &Figures, name: &str) -> bool {
    let names = ["mesh", "matrix"].map(|way| format!("{name}_to_{way}"));
    figures.want_any_of(&names.each_ref().map(String::as_str))
}

/// As soon as it is back, the homeserver stores Alice's text; the relay has stored the mesh's.
async fn homeserver_away(
    stage: &mut Stage,
    restarts: bool,
    hang: Duration,
    (name, number): (&str, usize),
    back: &mut Back,
) {
    tokio::time::sleep(RADIO_REST).await;
    let synapse = Synapse::shared().await;
    let from = stage.radio.output.count();
    let pair = TextPair::new(name, number);
    let place = &stage.places[0];
    if restarts {
        synapse.does(Trouble::Stop);
        stage.radio.write(&place.heard(&pair.on_the_mesh)).await;
        synapse.does(Trouble::Start);
        synapse.answers().await;
    } else {
        synapse.does(Trouble::Hang);
        stage.radio.write(&place.heard(&pair.on_the_mesh)).await;
        tokio::time::sleep(hang).await;
        synapse.does(Trouble::Resume);
    }
    let returns = Instant::now();
    stage.alice.send(&place.relay, &pair.in_matrix).await;
    cross(stage, returns, from, &pair, back).await;
}

/// A text in each direction, sent while the homeserver is away.
struct TextPair {
    on_the_mesh: String,
    in_matrix: String,
}

impl TextPair {
    fn new(name: &str, number: usize) -> Self {
        Self {
            on_the_mesh: format!("{name}, mesh {number}"),
            in_matrix: format!("{name}, Matrix {number}"),
        }
    }
}

/// Waits until both texts have arrived, and records the times since the return.
async fn cross(stage: &Stage, returns: Instant, from: usize, pair: &TextPair, back: &mut Back) {
    let room = &stage.places[0].relay;
    let (to_mesh, to_matrix) = tokio::join!(
        after(returns, takes(&stage.radio, from, &pair.in_matrix)),
        after(returns, sees(&stage.alice, room, &pair.on_the_mesh)),
    );
    back.to_mesh.add(to_mesh);
    back.to_matrix.add(to_matrix);
}
