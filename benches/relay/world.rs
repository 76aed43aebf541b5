//! Large worlds beside a small one: a room of many members who talk, many rooms, many nodes, a large database. What a
//! message takes must hardly grow with any of them.

use serde_json::json;

use crate::crowd;
use crate::extent::Extent;
use crate::figures::{Figures, progress};
use crate::growth::{GOAL, GROWTH, beside};
use crate::pairs;
use crate::village::{Measured, Village};

/// Names of the figures that [`measure`] can print.
pub(crate) const FIGURES: [&str; 4] =
    ["world_members", "world_rooms", "world_nodes", "world_pairs"];

/// The small world: rooms, and nodes in the radio's database.
const FEW_ROOMS: usize = 1;
const FEW_NODES: usize = 3;

/// Measures each large world beside a small one of the same run.
pub(crate) async fn measure(figures: &Figures, extent: &Extent) {
    if figures.want_any_of(&FIGURES[..1]) {
        crowd::measure(figures, extent).await;
    }
    if !figures.want_any_of(&FIGURES[1..]) {
        return;
    }
    progress("the small world");
    let mut small = Village::set_up(FEW_ROOMS, FEW_NODES).await;
    let few = small.measure(extent).await;
    if figures.want_any_of(&["world_rooms"]) {
        progress(&format!("{} mapped rooms", extent.rooms));
        let mut village = Village::set_up(extent.rooms, FEW_NODES).await;
        let many = village.measure(extent).await;
        tell(figures, "world_rooms", "rooms", extent.rooms, &few, &many);
    }
    if figures.want_any_of(&["world_nodes"]) {
        progress(&format!("{} nodes", extent.nodes));
        let mut village = Village::set_up(FEW_ROOMS, extent.nodes).await;
        let many = village.measure(extent).await;
        tell(figures, "world_nodes", "nodes", extent.nodes, &few, &many);
    }
    if figures.want_any_of(&["world_pairs"]) {
        progress(&format!("{} pairs in the database", extent.pairs));
        pairs::add(&small.home, extent.pairs);
        let many = small.measure(extent).await;
        tell(figures, "world_pairs", "pairs", extent.pairs, &few, &many);
    }
}

fn tell(
    figures: &Figures,
    name: &str,
    of: &str,
    number: usize,
    small: &Measured,
    large: &Measured,
) {
    let mut more = json!({"goal": GOAL, of: number});
    let mut worst: f64 = 0.0;
    for ((what, small), (_, large)) in small.all().into_iter().zip(large.all()) {
        worst = worst.max(large / small);
        more[what] = beside(small, large);
    }
    figures.tell(name, worst, GROWTH, &more);
}
