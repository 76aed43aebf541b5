//! Changes of a radio's setup while the relay runs: a radio is locked.

use serde_json::json;

use crate::support::radio::BASE;
use crate::support::scene::Plan;
use crate::support::user::Kind;

#[tokio::test]
async fn a_locked_radio_is_said_and_what_is_meant_for_it_is_refused_until_it_is_unlocked() {
    let mut scene = Plan::one_room(Kind::Plain).start().await;
    scene.radio.fault(json!({"fault": "locked"})).await;
    scene.relay.logs("switch lockdown off in the app").await;
    scene.alice.send(&scene.room, "into the lock").await;
    let refused = "Not sent to the mesh: the radio is locked. The operator of this bridge can switch its lockdown off.";
    scene.alice.sees_text(&scene.room, refused).await;
    scene
        .radio
        .fault(json!({"fault": "locked", "on": false}))
        .await;
    scene.relay.logs("the radio was unlocked").await;
    scene.radio.says(BASE, 0, "open again").await;
    scene
        .alice
        .sees_text(&scene.room, "[Base Camp/LongFast]: open again")
        .await;
    scene.alice.send(&scene.room, "thank you").await;
    scene.radio.transmits("Alice[M]: thank you").await;
}
