//! A radio on Bluetooth: text crosses, and the link comes back after everything that can happen to it.
//!
//! The relay is the built one; the Bluetooth service is a stand-in on a message bus of the test's own.

use crate::support::bluetooth::Bluetooth;
use crate::support::bluez::ADDRESS;
use crate::support::radio::BASE;
use crate::support::scene::{Plan, Scene};
use crate::support::user::Kind;

fn by(device: &str) -> Vec<String> {
    vec![
        "connection_type: ble".to_owned(),
        format!("ble_address: '{device}'"),
    ]
}

/// A scene whose radio is on Bluetooth.
async fn scene(bluetooth: &mut Bluetooth, kind: Kind) -> Scene {
    let radio = bluetooth.take_radio();
    let environment = Some(bluetooth.environment());
    let plan = Plan::one_room(kind).radio(radio, by(ADDRESS), environment);
    plan.start().await
}

async fn crosses_both_ways(scene: &mut Scene, text: &str) {
    scene.radio.says(BASE, 0, text).await;
    let seen = format!("[Base Camp/LongFast]: {text}");
    scene.alice.sees_text(&scene.room, &seen).await;
    scene.alice.send(&scene.room, text).await;
    scene.radio.transmits(&format!("Alice[M]: {text}")).await;
}

#[tokio::test]
async fn a_text_crosses_both_ways_over_bluetooth() {
    let Some(mut bluetooth) = Bluetooth::start().await else {
        return;
    };
    let mut scene = scene(&mut bluetooth, Kind::Encrypted).await;
    crosses_both_ways(&mut scene, "hello").await;
}
