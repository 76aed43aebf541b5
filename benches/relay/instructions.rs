//! The instructions that a message takes, and their comparison with what the repository remembers of them.

use std::collections::BTreeMap;
use std::fs;

use serde_json::json;

use crate::account::Account;
use crate::callgrind::{Counted, missing};
use crate::extent::Extent;
use crate::figures::{Figures, progress};
use crate::stage::{ALL_DONE, RADIO_REST, Stage, sees, takes};
use crate::support::synapse::Synapse;
use crate::support::user::Kind;

/// Names of the figures that [`measure`] can print.
pub(crate) const FIGURES: [&str; 5] = [
    "instructions_to_matrix_plain",
    "instructions_to_matrix_encrypted",
    "instructions_to_mesh_plain",
    "instructions_to_mesh_encrypted",
    "instructions_idle_sync",
];

/// What the repository remembers.
const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/instructions.json");

/// The share by which a figure may grow.
const TOLERANCE: f64 = 0.1;

/// Instructions of a message, by figure.
pub(crate) type Instructions = BTreeMap<String, u64>;

/// Counts the instructions of messages each way, in each kind of room, and of sync answers that bring nothing for us.
pub(crate) async fn measure(figures: &Figures, extent: &Extent) -> Instructions {
    let mut counted = Instructions::new();
    if let Some(why) = missing().await {
        progress(&format!("the figures instructions_… are left out: {why}"));
        return counted;
    }
    let mut stage = Stage::set_up().await;
    progress("starting the relay under valgrind, which takes a while");
    let relay = Counted::start(&stage.home).await;
    for place in 0..stage.places.len() {
        to_matrix(&mut stage, place, "the first").await;
        to_mesh(&stage, place, "the first").await;
    }
    let count = extent.instructions;
    for place in 0..stage.places.len() {
        let kind = stage.places[place].name;
        let name = format!("instructions_to_matrix_{kind}");
        if figures.want_any_of(&[&name]) {
            progress(&format!("{name}: {count} messages"));
            let mut each = Vec::new();
            relay.begin().await;
            for number in 0..count {
                to_matrix(&mut stage, place, &format!("weighed message {number}")).await;
                each.push(relay.counted().await);
            }
            relay.end().await;
            keep(figures, &mut counted, name, each);
        }
        let name = format!("instructions_to_mesh_{kind}");
        if figures.want_any_of(&[&name]) {
            progress(&format!("{name}: {count} messages"));
            let mut each = Vec::new();
            relay.begin().await;
            for number in 0..count {
                to_mesh(&stage, place, &format!("weighed answer {number}")).await;
                each.push(relay.counted().await);
            }
            relay.end().await;
            keep(figures, &mut counted, name, each);
        }
    }
    if figures.want_any_of(&FIGURES[4..]) {
        let each = idle_sync(&stage, &relay, count).await;
        keep(figures, &mut counted, FIGURES[4].to_owned(), each);
    }
    relay.stop().await;
    counted
}

async fn to_matrix(stage: &mut Stage, place: usize, text: &str) {
    let place = &stage.places[place];
    let text = format!("{text}, {}", place.name);
    stage.radio.write(&place.heard(&text)).await;
    sees(&stage.alice, &place.relay, &format!("]: {text}")).await;
    tokio::time::sleep(ALL_DONE).await;
}

async fn to_mesh(stage: &Stage, place: usize, text: &str) {
    let place = &stage.places[place];
    let text = format!("{text}, from the {} room", place.name);
    let from = stage.radio.output.count();
    let event = stage.alice.send(&place.relay, &text).await;
    takes(&stage.radio, from, &text).await;
    let receipt = stage
        .alice
        .sees_receipt(&place.relay, &stage.bot, &event, None);
    receipt.await;
    tokio::time::sleep(ALL_DONE.max(RADIO_REST)).await;
}

/// Somebody writes in a room that the account is in and that is not mapped.
async fn idle_sync(stage: &Stage, relay: &Counted, count: usize) -> Vec<u64> {
    progress(&format!(
        "{}: {count} messages in a room that is not mapped",
        FIGURES[4]
    ));
    let synapse = Synapse::shared().await;
    let stranger = Account::new(synapse, "stranger").await;
    let room = stranger.create_room(Kind::Plain, &[]).await;
    Account::log_in(synapse, &stage.bot).await.join(&room).await;
    stranger.say(&room, "the first").await;
    tokio::time::sleep(ALL_DONE).await;
    let mut each = Vec::new();
    relay.begin().await;
    for number in 0..count {
        let text = format!("not for the mesh {number}");
        stranger.say(&room, &text).await;
        tokio::time::sleep(ALL_DONE).await;
        each.push(relay.counted().await);
    }
    relay.end().await;
    each
}

/// The mean counts, not the median: what a message leaves to do can fall to the next one.
fn keep(figures: &Figures, counted: &mut Instructions, name: String, mut each: Vec<u64>) {
    each.sort_unstable();
    let mean = each.iter().sum::<u64>() / each.len() as u64;
    let more = json!({
        "min": millions(each[0]), "p50": millions(each[each.len() / 2]), "max": millions(each[each.len() - 1]),
        "messages": each.len(), "in_the_repository": known().get(&name).copied().map(millions),
    });
    figures.tell(
        &name,
        millions(mean),
        "million instructions a message",
        &more,
    );
    counted.insert(name, mean);
}

fn millions(number: u64) -> f64 {
    u32::try_from(number / 1000).map_or(f64::MAX, f64::from) / 1000.0
}

/// Compares with the repository's numbers: a sentence for each figure that has grown by more than a tenth.
pub(crate) fn check(counted: &Instructions) -> Vec<String> {
    let known = known();
    let mut wrong = Vec::new();
    if counted.is_empty() {
        wrong.push("no instructions were counted, so nothing is checked".to_owned());
    }
    for (name, new) in counted {
        let Some(old) = known.get(name) else {
            let update = "`scripts/bench --check --update` writes it";
            wrong.push(format!("{name} has no number in {FILE} yet: {update}"));
            continue;
        };
        let ratio = ratio(*new, *old);
        progress(&format!(
            "{name}: {old} before, {new} now ({:+.1} %)",
            (ratio - 1.0) * 100.0
        ));
        if ratio > 1.0 + TOLERANCE {
            wrong.push(format!(
                "{name} takes {new} instructions, more than a tenth above the {old} in {FILE}"
            ));
        }
    }
    wrong
}

/// Writes the counted numbers over the repository's; those that were not counted stay.
pub(crate) fn update(counted: &Instructions) {
    let mut known = known();
    known.extend(counted.iter().map(|(name, number)| (name.clone(), *number)));
    let text = serde_json::to_string_pretty(&known).expect("numbers are JSON");
    fs::write(FILE, text + "\n").expect("the repository can be written");
    progress(&format!("{FILE} is written"));
}

fn known() -> Instructions {
    let text = fs::read_to_string(FILE).expect("the repository has the file");
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{FILE} cannot be read: {error}"))
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a tenth is meant, not the last digit"
)]
fn ratio(new: u64, old: u64) -> f64 {
    new as f64 / old as f64
}
