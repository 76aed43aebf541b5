//! The resources of the idle relay.

use rustix::process::Pid;
use serde_json::json;

use crate::extent::Extent;
use crate::figures::{Figures, progress, rounded};
use crate::stage::{Stage, sees, start, takes};
use crate::usage::Usage;

/// Names of the figures that [`measure`] can print.
pub(crate) const FIGURES: [&str; 2] = ["memory_idle", "processor_idle"];

/// Limit of the idle relay's memory, in MB.
const GOAL: u32 = 50;

/// Measures memory and processor time of a relay without messages, beside a bare client.
pub(crate) async fn measure(figures: &Figures, extent: &Extent) {
    let mut stage = Stage::set_up().await;
    let relay = start(&stage.home).await;
    let mut bare = stage.bare.start().await;
    for place in &stage.places {
        let text = format!("before the rest, {} room", place.name);
        stage.radio.write(&place.heard(&text)).await;
        sees(&stage.alice, &place.relay, &text).await;
        bare.send(&place.bare, &place.content(&text)).await;
        sees(&stage.alice, &place.bare, &text).await;
        let text = format!("{text}, answered");
        stage.alice.send(&place.relay, &text).await;
        takes(&stage.radio, 0, &text).await;
        stage.alice.send(&place.bare, &text).await;
        bare.sees(0, &text).await;
    }
    progress(&format!("resting {} s", extent.rest.as_secs()));
    tokio::time::sleep(extent.rest).await;
    let both = |relay: Pid, bare: Pid| (Usage::of(relay), Usage::of(bare));
    let (by_relay, by_bare) = both(relay.pid(), bare.pid());
    let mut more = by_relay.memory();
    more["bare"] = by_bare.memory();
    more["goal"] = json!(GOAL);
    figures.tell("memory_idle", by_relay.resident, "MB", &more);

    progress(&format!("idle for {} s", extent.idle.as_secs()));
    tokio::time::sleep(extent.idle).await;
    let later = both(relay.pid(), bare.pid());
    let per_minute = |now: &Usage, before: &Usage| {
        (now.processor_ms - before.processor_ms) * 60.0 / extent.idle.as_secs_f64()
    };
    let more = json!({"bare": rounded(per_minute(&later.1, &by_bare))});
    figures.tell(
        "processor_idle",
        per_minute(&later.0, &by_relay),
        "ms per minute",
        &more,
    );
}
