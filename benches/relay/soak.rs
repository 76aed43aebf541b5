//! A day of a busy mesh in a minute: packets of all kinds from many nodes, to a plain room and an encrypted one.

use std::time::{Duration, Instant};

use serde_json::json;
use tokio::time::MissedTickBehavior;

use crate::burst::{arrived, follow};
use crate::extent::Extent;
use crate::figures::{Figures, progress, rounded};
use crate::stage::{Stage, start};
use crate::traffic::{CHANNELS, NODES, packet};
use crate::usage::Usage;

/// Names of the figures that [`measure`] can print.
pub(crate) const FIGURES: [&str; 4] = [
    "soak",
    "processor_soak",
    "memory_after_soak",
    "memory_peak_soak",
];

/// Interval between two packets: a hundred a second, far more than any mesh carries.
const EVERY: Duration = Duration::from_millis(10);

/// Limit of the processor time for one packet, in milliseconds.
const PROCESSOR_GOAL: u32 = 2;

/// Limit of the relay's memory afterwards, in MB.
const GOAL: u32 = 60;

/// Measures many packets of a large mesh, and the relay's memory after them.
pub(crate) async fn measure(figures: &mut Figures, extent: &Extent) {
    let mut stage = Stage::set_up().await;
    let relay = start(&stage.home).await;
    tokio::time::sleep(extent.rest).await;
    let before = Usage::of(relay.pid());
    progress(&format!(
        "a soak of {} packets from {NODES} nodes",
        extent.soak
    ));

    let began = Instant::now();
    let mut texts = vec![Vec::new(); CHANNELS as usize];
    let mut tick = tokio::time::interval(EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
    for number in 0..u32::try_from(extent.soak).expect("packets can be counted") {
        tick.tick().await;
        let packet = packet(number);
        stage.radio.write(&packet.line).await;
        if let Some((channel, text)) = packet.text {
            texts[channel as usize].push(text);
        }
    }
    let spoken = began.elapsed().as_secs_f64();
    progress(&format!("all is said after {spoken:.1} s"));
    for (place, texts) in stage.places.iter().zip(&texts) {
        follow(&stage.alice, &place.relay, texts).await;
    }
    let took = began.elapsed().as_secs_f64();
    tokio::time::sleep(extent.rest).await;
    let usage = Usage::of(relay.pid());

    let mut more = json!({
        "packets": extent.soak, "nodes": NODES, "texts": texts.iter().map(Vec::len).sum::<usize>(),
        "spoken": rounded(spoken),
    });
    for (place, texts) in stage.places.iter().zip(&texts) {
        let name = format!("soak, {} room", place.name);
        more[place.name] = arrived(figures, &name, &stage.alice, &place.relay, texts).await;
    }
    figures.tell("soak", took, "s", &more);
    let processor = usage.per_message_since(&before, extent.soak);
    let more = json!({"seconds": rounded((usage.processor_ms - before.processor_ms) / 1000.0), "goal": PROCESSOR_GOAL});
    figures.tell("processor_soak", processor, "ms", &more);
    let more = json!({"before": rounded(before.resident), "goal": GOAL});
    figures.tell("memory_after_soak", usage.resident, "MB", &more);
    figures.tell("memory_peak_soak", usage.peak, "MB", &json!({}));
}
