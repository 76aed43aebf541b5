//! Bursts of texts from the mesh cross in order and once, and memory stays small.

use std::fs;
use std::time::Duration;

use serde_json::json;

use crate::faults::{all_in_room, numbered};
use crate::support::radio::BASE;
use crate::support::scene::{Plan, Scene};
use crate::support::user::{Kind, Seen};

#[tokio::test]
async fn a_burst_of_500_arrives_in_order_and_once_in_an_encrypted_room() {
    let mut scene = Plan::one_room(Kind::Encrypted).start().await;
    for number in 0..500 {
        scene.radio.says(BASE, 0, &format!("number {number}")).await;
    }
    let last = "number 499";
    let limit = Duration::from_mins(5);
    let is_last = |seen: &Seen| seen.said_on_mesh() == Some(last);
    let seen = scene.alice.sees_within(limit, &scene.room, last, is_last);
    seen.await;
    let texts: Vec<_> = scene.alice.history(&scene.room).await.into_iter().collect();
    let texts: Vec<_> = texts.iter().filter_map(Seen::said_on_mesh).collect();
    let wanted: Vec<_> = (0..500).map(|number| format!("number {number}")).collect();
    assert_eq!(texts, wanted);
}

#[tokio::test]
async fn a_thousand_packets_at_once_cross_in_order_and_memory_stays_small() {
    let mut scene = Plan::one_room(Kind::Plain).start().await;
    scene
        .radio
        .fault(json!({"fault": "queue", "capacity": 1500}))
        .await;
    let texts = numbered("burst", 1000);
    // The radio sends them as fast as the link permits.
    for (text, id) in texts.iter().zip(0x0200_0000..) {
        let said = json!({"from": BASE.id, "channel": 0, "text": text, "id": id});
        scene.radio.write(&said).await;
    }
    scene.relay.logs_times("accepted for a room", 1000).await;
    let peak = peak_memory(&scene);
    all_in_room(&scene, &scene.room, &texts).await;
    let after = peak_memory(&scene);
    assert!(
        after < 400 << 10,
        "{peak} KiB when all was accepted, {after} KiB after it"
    );
}

/// Returns the relay's peak memory, in KiB.
fn peak_memory(scene: &Scene) -> u64 {
    let status = format!("/proc/{}/status", scene.relay.pid().as_raw_nonzero());
    let status = fs::read_to_string(status).expect("the relay runs");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let peak = peak.and_then(|line| line.split_whitespace().next()?.parse().ok());
    peak.expect("the system says how much memory a process has had")
}
