//! What a message costs, counted instead of timed: requests, syncs of the disk, writes.

use std::time::Duration;

use serde_json::{Value, json};

use crate::burst::follow;
use crate::extent::Extent;
use crate::figures::{Figures, progress};
use crate::stage::{ALL_DONE, Place, Stage, sees, start, takes};
use crate::support::relay::Relay;
use crate::trace::{Counts, Trace};

/// Names of the figures that [`measure`] can print.
pub(crate) const FIGURES: [&str; 8] = [
    "cost_to_matrix_plain",
    "cost_to_matrix_encrypted",
    "cost_to_mesh_plain",
    "cost_to_mesh_encrypted",
    "cost_burst_plain",
    "cost_burst_encrypted",
    "cost_burst_mesh",
    "cost_idle",
];

/// The sign under a text that another node repeated, the last that a text of this simulated mesh gets.
const REPEATED: &str = "📡";

const DAY: Duration = Duration::from_hours(24);

/// The limits of a message: syncs of our own database, and requests, if they have one.
struct Goal {
    syncs: f64,
    requests: Option<u32>,
}

const TO_MATRIX: Goal = Goal {
    syncs: 2.0,
    requests: Some(1),
};
const TO_MESH: Goal = Goal {
    syncs: 4.0,
    requests: Some(4),
};
const BURST: Goal = Goal {
    syncs: 1.0,
    requests: None,
};
const BURST_MESH: Goal = Goal {
    syncs: 3.0,
    requests: None,
};
/// Limit of what our own database writes in a day without messages, in MB.
const GOAL_IDLE: u32 = 1;

/// Counts what messages cost in both directions, alone and in bursts, and what a day without messages costs.
pub(crate) async fn measure(figures: &Figures, extent: &Extent) {
    let mut stage = Stage::set_up().await;
    let relay = start(&stage.home).await;
    match Trace::of(relay.pid()).await {
        Ok(trace) => drop(trace.end().await),
        Err(why) => {
            progress(&format!("the figures cost_… are left out: {why}"));
            return;
        }
    }
    warm_up(&mut stage).await;
    for place in 0..stage.places.len() {
        let name = stage.places[place].name;
        let wants = |figure: &str| figures.want_any_of(&[&format!("cost_{figure}_{name}")]);
        if wants("to_matrix") {
            to_matrix(figures, &mut stage, place, &relay, extent.cost).await;
        }
        if wants("to_mesh") {
            to_mesh(figures, &stage, place, &relay, extent.cost).await;
        }
        if wants("burst") {
            burst(figures, &mut stage, place, &relay, extent.cost_burst).await;
        }
    }
    if figures.want_any_of(&["cost_burst_mesh"]) {
        burst_mesh(figures, &stage, &relay, extent.cost_burst_mesh).await;
    }
    if figures.want_any_of(&["cost_idle"]) {
        idle(figures, &relay, extent.cost_idle).await;
    }
}

/// The first message after a start costs more.
async fn warm_up(stage: &mut Stage) {
    for place in 0..stage.places.len() {
        let text = "before the count";
        one_to_matrix(stage, place, text).await;
        one_to_mesh(stage, &stage.places[place], text).await;
    }
}

async fn one_to_matrix(stage: &mut Stage, place: usize, text: &str) {
    let place = &stage.places[place];
    stage.radio.write(&place.heard(text)).await;
    sees(&stage.alice, &place.relay, text).await;
    tokio::time::sleep(ALL_DONE).await;
}

async fn one_to_mesh(stage: &Stage, place: &Place, text: &str) {
    said(stage, place, &[text.to_owned()]).await;
    tokio::time::sleep(ALL_DONE).await;
}

/// Alice says these, and waits until each has its sign and the last its receipt.
async fn said(stage: &Stage, place: &Place, texts: &[String]) {
    let from = stage.radio.output.count();
    let mut events = Vec::new();
    for text in texts {
        events.push(stage.alice.send(&place.relay, text).await);
    }
    for (text, event) in texts.iter().zip(&events) {
        takes(&stage.radio, from, text).await;
        let is_sign = |seen: &crate::support::user::Seen| seen.is_reaction(event, REPEATED);
        stage.alice.sees(&place.relay, "a sign", is_sign).await;
    }
    if let Some(last) = events.last() {
        let receipt = stage
            .alice
            .sees_receipt(&place.relay, &stage.bot, last, None);
        receipt.await;
    }
}

async fn to_matrix(
    figures: &Figures,
    stage: &mut Stage,
    place: usize,
    relay: &Relay,
    count: usize,
) {
    let name = format!("cost_to_matrix_{}", stage.places[place].name);
    let trace = begin(&name, count, relay).await;
    for number in 0..count {
        one_to_matrix(stage, place, &format!("counted message {number}")).await;
    }
    tell(figures, &name, &trace.end().await, count, &TO_MATRIX);
}

async fn to_mesh(figures: &Figures, stage: &Stage, place: usize, relay: &Relay, count: usize) {
    let place = &stage.places[place];
    let name = format!("cost_to_mesh_{}", place.name);
    let trace = begin(&name, count, relay).await;
    for number in 0..count {
        let text = format!("counted answer {number}, {}", place.name);
        one_to_mesh(stage, place, &text).await;
    }
    tell(figures, &name, &trace.end().await, count, &TO_MESH);
}

async fn burst(figures: &Figures, stage: &mut Stage, place: usize, relay: &Relay, count: usize) {
    let place = &stage.places[place];
    let name = format!("cost_burst_{}", place.name);
    let texts: Vec<_> = (0..count)
        .map(|number| format!("counted burst {number}"))
        .collect();
    let trace = begin(&name, count, relay).await;
    for text in &texts {
        stage.radio.write(&place.heard(text)).await;
    }
    follow(&stage.alice, &place.relay, &texts).await;
    tokio::time::sleep(ALL_DONE).await;
    tell(figures, &name, &trace.end().await, count, &BURST);
}

async fn burst_mesh(figures: &Figures, stage: &Stage, relay: &Relay, count: usize) {
    let name = "cost_burst_mesh";
    let texts: Vec<_> = (0..count)
        .map(|number| format!("counted queue {number}"))
        .collect();
    let trace = begin(name, count, relay).await;
    said(stage, &stage.places[0], &texts).await;
    tokio::time::sleep(ALL_DONE).await;
    tell(figures, name, &trace.end().await, count, &BURST_MESH);
}

/// A day is as its part that is counted; what happens less often is not in it.
async fn idle(figures: &Figures, relay: &Relay, time: Duration) {
    progress(&format!(
        "cost_idle: {} s without a message",
        time.as_secs()
    ));
    // The sync of the last message, ten seconds later, is over as well.
    tokio::time::sleep(ALL_DONE * 4).await;
    let trace = attached(relay).await;
    tokio::time::sleep(time).await;
    let counts = trace.end().await;
    let factor = DAY.as_secs_f64() / time.as_secs_f64();
    let mut more = counts.times(factor);
    more["goal"] = json!(GOAL_IDLE);
    more["counted_s"] = json!(time.as_secs());
    let value = counts.our_bytes() * factor / 1e6;
    figures.tell("cost_idle", value, "MB a day, of our database", &more);
}

async fn begin(name: &str, count: usize, relay: &Relay) -> Trace {
    progress(&format!("{name}: {count} messages"));
    attached(relay).await
}

async fn attached(relay: &Relay) -> Trace {
    let trace = Trace::of(relay.pid()).await;
    trace.expect("what was possible at first is possible again")
}

fn tell(figures: &Figures, name: &str, counts: &Counts, messages: usize, goal: &Goal) {
    let each = 1.0 / f64::from(u32::try_from(messages).expect("messages can be counted"));
    let mut more = json!({"goal": goal.syncs});
    if let Some(requests) = goal.requests {
        more["goal_requests"] = json!(requests);
    }
    more["messages"] = json!(messages);
    let Value::Object(counted) = counts.times(each) else {
        return;
    };
    for (key, value) in counted {
        more[key] = value;
    }
    let value = counts.our_syncs() * each;
    figures.tell(name, value, "fsyncs of our database a message", &more);
}
