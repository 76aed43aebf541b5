//! Queues: the rate at which a full one is transmitted, and the time to catch up with a room.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::extent::Extent;
use crate::figures::{Figures, progress, rounded};
use crate::kill::books;
use crate::stage::{RADIO_REST, Stage, start, takes};
use crate::support::within;

/// Names of the figures that [`measure`] can print.
pub(crate) const FIGURES: [&str; 2] = ["rate_to_mesh", "catch_up"];

/// Limit of the rate to the mesh, in seconds for each text.
const GOAL: f64 = 2.3;

/// Measures a queue to the mesh, and how soon the relay catches up after a stop.
pub(crate) async fn measure(figures: &mut Figures, extent: &Extent) {
    let mut stage = Stage::set_up().await;
    if figures.want_any_of(&FIGURES[..1]) {
        rate(figures, &mut stage, extent.queue).await;
    }
    if figures.want_any_of(&FIGURES[1..]) {
        catch_up(figures, &stage, extent.missed).await;
    }
}

/// The simulated radio reads as late as a real one.
async fn rate(figures: &mut Figures, stage: &mut Stage, count: usize) {
    progress(&format!("a queue of {count} texts to the mesh"));
    stage.radio.fault(json!({"fault": "slow_reads"})).await;
    let mut relay = start(&stage.home).await;
    let from = stage.radio.output.count();
    let texts: Vec<_> = (0..count)
        .map(|number| format!("queued {number}"))
        .collect();
    for text in &texts {
        stage.alice.send(&stage.places[0].relay, text).await;
    }
    for text in &texts {
        takes(&stage.radio, from, text).await;
    }
    let lines: Vec<Value> = stage
        .radio
        .output
        .all()
        .iter()
        .skip(from)
        .filter_map(|line| serde_json::from_str(line).ok())
        .filter(|line: &Value| {
            let text = line["transmitted"]["text"].as_str();
            text.is_some_and(|text| text.contains("queued "))
        })
        .collect();
    let fates = |fate: &str| lines.iter().filter(|line| line["fate"] == fate).count();
    let accepted: Vec<_> = lines
        .iter()
        .filter(|line| line["fate"] == "accepted")
        .filter_map(|line| line["transmitted"]["at_ms"].as_f64())
        .collect();
    let (first, last) = (accepted[0], accepted[accepted.len() - 1]);
    let gaps = u32::try_from(accepted.len() - 1).unwrap_or(1).max(1);
    let more = json!({
        "texts": count, "accepted": accepted.len(), "rate_limited": fates("rate_limited"),
        "refused": fates("refused"), "goal": GOAL,
    });
    let rate = (last - first) / 1000.0 / f64::from(gaps);
    figures.tell("rate_to_mesh", rate, "s a text", &more);
    stage
        .radio
        .fault(json!({"fault": "slow_reads", "on": false}))
        .await;
    assert!(relay.stop().await.success(), "the relay stops");
}

/// Waits until all missed messages are in the database; their transmission is not measured.
async fn catch_up(figures: &mut Figures, stage: &Stage, count: usize) {
    progress(&format!("{count} messages while the relay is away"));
    let known = || {
        let count = books(&stage.home).query_row("SELECT COUNT(*) FROM seen_event", (), |row| {
            row.get::<_, usize>(0)
        });
        count.expect("the books can be read")
    };
    let before = known();
    for number in 0..count {
        stage
            .alice
            .send(&stage.places[0].relay, &format!("missed {number}"))
            .await;
    }
    tokio::time::sleep(RADIO_REST).await;
    let from = stage.radio.output.count();
    let began = Instant::now();
    let _relay = start(&stage.home).await;
    let all = async {
        while known() < before + count {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    within("that all are in the books", all).await;
    let took = began.elapsed().as_secs_f64();
    takes(&stage.radio, from, "").await;
    let first = began.elapsed().as_secs_f64();
    let more = json!({"messages": count, "first_on_air_s": rounded(first)});
    figures.tell("catch_up", took, "s", &more);
}
