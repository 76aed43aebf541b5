//! Losses of the link to the radio, over TCP and over a serial port: the time from the radio's return to the first
//! message in each direction, and the time until a silent radio is detected.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::extent::Extent;
use crate::figures::{Figures, Series, after, progress};
use crate::stage::{Stage, Wire, sees, start, takes};
use crate::support::LIMIT;
use crate::support::radio::transmitted;

/// Names of the figures that [`measure`] can print.
pub(crate) const FIGURES: [&str; 22] = [
    "radio_back_tcp_lives_to_mesh",
    "radio_back_tcp_lives_to_matrix",
    "radio_back_tcp_restarts_to_mesh",
    "radio_back_tcp_restarts_to_matrix",
    "radio_back_tcp_blinks_to_mesh",
    "radio_back_tcp_blinks_to_matrix",
    "radio_back_tcp_30s_to_mesh",
    "radio_back_tcp_30s_to_matrix",
    "radio_back_tcp_120s_to_mesh",
    "radio_back_tcp_120s_to_matrix",
    "radio_back_serial_lives_to_mesh",
    "radio_back_serial_lives_to_matrix",
    "radio_back_serial_restarts_to_mesh",
    "radio_back_serial_restarts_to_matrix",
    "radio_back_serial_blinks_to_mesh",
    "radio_back_serial_blinks_to_matrix",
    "radio_back_serial_30s_to_mesh",
    "radio_back_serial_30s_to_matrix",
    "radio_back_serial_120s_to_mesh",
    "radio_back_serial_120s_to_matrix",
    "radio_silent_tcp",
    "radio_silent_serial",
];

/// Limit of the longest return, in milliseconds.
const GOAL_BACK: u32 = 3_000;

/// Limit of the time to detect a silent radio, in milliseconds.
const GOAL_SILENT: u32 = 80_000;

/// Time between two losses, long enough for the radio to accept the next text too.
const LIFE: Duration = Duration::from_secs(5);

/// A way to lose the radio, and the number of repetitions.
struct Loss {
    name: &'static str,
    fault: &'static str,
    seconds: u64,
    times: usize,
}

/// Measures both wires at the same time, since most of it is waiting.
pub(crate) async fn measure(figures: &mut Figures, extent: &Extent) {
    let (tcp, serial) = tokio::join!(
        Box::pin(over(Wire::Tcp, figures, extent)),
        Box::pin(over(Wire::Serial, figures, extent)),
    );
    for promise in tcp.into_iter().chain(serial) {
        figures.broken(promise);
    }
}

/// Measures one wire; returns the promises broken on it.
async fn over(wire: Wire, figures: &Figures, extent: &Extent) -> Vec<String> {
    let wanted = |name: &str| {
        let both_ways = ["_to_mesh", "_to_matrix"].map(|way| format!("{name}{way}"));
        figures.want_any_of(&[&both_ways[0], &both_ways[1], name])
    };
    let of_wire = |it: &&&str| it.split('_').any(|word| word == wire.name());
    if !figures.want_any_of(&FIGURES.iter().filter(of_wire).copied().collect::<Vec<_>>()) {
        return Vec::new();
    }
    let mut trial = Trial {
        wire,
        stage: Stage::set_up_over(wire).await,
        sent: Vec::new(),
        lost_by_the_radio: HashSet::new(),
    };
    let _relay = start(&trial.stage.home).await;
    let loss = |name, fault, seconds, times| Loss {
        name,
        fault,
        seconds,
        times,
    };
    for loss in [
        loss("lives", "away", 3, extent.short_lives),
        loss("restarts", "reboot", 3, extent.restarts),
        loss("blinks", "reboot", 0, extent.restarts),
        loss("30s", "away", 30, extent.half_minutes),
        loss("120s", "away", 120, extent.two_minutes),
    ] {
        let name = format!("radio_back_{}_{}", wire.name(), loss.name);
        if loss.times > 0 && wanted(&name) {
            progress(&format!(
                "{name}: {} s long, {} times",
                loss.seconds, loss.times
            ));
            trial.returns(figures, &name, &loss).await;
        }
    }
    let name = format!("radio_silent_{}", wire.name());
    if extent.silences > 0 && wanted(&name) {
        progress(&format!("{name}, {} times", extent.silences));
        trial.silence(figures, &name, extent.silences).await;
    }
    trial.wrong().await
}

/// One wire, and the texts sent over it.
struct Trial {
    wire: Wire,
    stage: Stage,
    sent: Vec<TextPair>,
    /// Texts of the mesh that a silent radio received and could not deliver.
    lost_by_the_radio: HashSet<String>,
}

/// A text in each direction, sent while the radio is away.
#[derive(Clone)]
struct TextPair {
    on_the_mesh: String,
    in_matrix: String,
}

impl Trial {
    /// Meanwhile the radio stores the mesh's text, and the relay Alice's.
    async fn returns(&mut self, figures: &Figures, name: &str, loss: &Loss) {
        let (mut to_mesh, mut to_matrix) = (Series::default(), Series::default());
        for number in 0..loss.times {
            tokio::time::sleep(LIFE).await;
            let from = self.stage.radio.output.count();
            let fault = json!({"fault": loss.fault, "seconds": loss.seconds});
            self.stage.radio.fault(fault).await;
            let pair = self.heard(name, number).await;
            let limit = LIMIT + Duration::from_secs(loss.seconds);
            let is_back = |line: &str| line.contains(r#""radio":"back""#).then_some(());
            let Stage {
                alice,
                radio,
                places,
                ..
            } = &self.stage;
            let returns = async {
                let output = &radio.output;
                output
                    .first_within(limit, from, "that it is back", is_back)
                    .await;
                Instant::now()
            };
            let writes = alice.send(&places[0].relay, &pair.in_matrix);
            let (back, _) = tokio::join!(returns, writes);
            let (mesh, matrix) = tokio::join!(
                after(back, takes(radio, from, &pair.in_matrix)),
                after(back, sees(alice, &places[0].relay, &pair.on_the_mesh)),
            );
            to_mesh.add(mesh);
            to_matrix.add(matrix);
        }
        for (way, series) in [("mesh", &to_mesh), ("matrix", &to_matrix)] {
            tell_worst(figures, &format!("{name}_to_{way}"), series, GOAL_BACK);
        }
    }

    /// A dead link that stays open: Alice's text is transmitted after the reconnect.
    async fn silence(&mut self, figures: &Figures, name: &str, times: usize) {
        let mut noticed = Series::default();
        for number in 0..times {
            tokio::time::sleep(LIFE).await;
            let from = self.stage.radio.output.count();
            self.stage.radio.fault(json!({"fault": "half_open"})).await;
            let silent = Instant::now();
            let pair = self.heard(name, number).await;
            let Stage { alice, places, .. } = &self.stage;
            alice.send(&places[0].relay, &pair.in_matrix).await;
            self.lost_by_the_radio.insert(pair.on_the_mesh);
            // The reconnect shows that the silence was detected.
            let again = |line: &str| line.contains(r#""client":"connected""#).then_some(());
            let output = &self.stage.radio.output;
            let noticing = output.first_within(LIMIT * 3, from, "that it is asked anew", again);
            noticed.add(after(silent, noticing).await);
            takes(&self.stage.radio, from, &pair.in_matrix).await;
        }
        tell_worst(figures, name, &noticed, GOAL_SILENT);
    }

    /// Sends a text on the mesh; returns it with Alice's next text.
    async fn heard(&mut self, name: &str, number: usize) -> TextPair {
        let pair = TextPair {
            on_the_mesh: format!("{name}, mesh {number}"),
            in_matrix: format!("{name}, Matrix {number}"),
        };
        let heard = self.stage.places[0].heard(&pair.on_the_mesh);
        self.stage.radio.write(&heard).await;
        self.sent.push(pair.clone());
        pair
    }

    /// Compares the sent texts with the received ones; returns the differences.
    async fn wrong(&self) -> Vec<String> {
        let history = self.stage.alice.history(&self.stage.places[0].relay).await;
        let in_room: Vec<_> = history.iter().map(|seen| seen.body().to_owned()).collect();
        let mut on_mesh: HashMap<String, String> = HashMap::new();
        for packet in self
            .stage
            .radio
            .output
            .all()
            .iter()
            .filter_map(|line| transmitted(line))
        {
            let text = packet["text"].as_str().unwrap_or_default();
            on_mesh.insert(packet["id"].to_string(), text.to_owned());
        }
        let on_mesh: Vec<_> = on_mesh.into_values().collect();
        let times = |there: &[String], text: &str| {
            let is_it = |it: &&String| it.ends_with(text);
            there.iter().filter(is_it).count()
        };
        let mut wrong = Vec::new();
        for pair in &self.sent {
            let heard = times(&in_room, &pair.on_the_mesh);
            let lost = heard == 0 && !self.lost_by_the_radio.contains(&pair.on_the_mesh);
            if lost || heard > 1 {
                wrong.push(format!(
                    "`{}` is {heard} times in the room",
                    pair.on_the_mesh
                ));
            }
            let taken = times(&on_mesh, &pair.in_matrix);
            if taken != 1 {
                wrong.push(format!(
                    "`{}` was transmitted {taken} times",
                    pair.in_matrix
                ));
            }
        }
        progress(&format!(
            "{}: {} texts each way, {} lost or doubled",
            self.wire.name(),
            self.sent.len(),
            wrong.len()
        ));
        wrong
    }
}

/// Prints a series with its maximum as the figure.
fn tell_worst(figures: &Figures, name: &str, series: &Series, goal: u32) {
    let mut more: Value = series.summary();
    more["goal"] = json!(goal);
    figures.tell(name, series.percentile(100), "ms", &more);
}
