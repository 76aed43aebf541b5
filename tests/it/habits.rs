//! What radios do to their set-up while the relay runs: channels move, a radio is locked, its firmware is a newer one.

use serde_json::json;

use crate::support::radio::BASE;
use crate::support::scene::Plan;
use crate::support::user::Kind;

#[tokio::test]
async fn channels_that_move_take_rooms_mapped_by_name_along_and_warn_about_those_mapped_by_number()
{
    let stage = Plan::default()
        .room(Kind::Plain)
        .room(Kind::Plain)
        .route(0, 1, "both")
        .route(1, 2, "both")
        .set_up()
        .await;
    let config = std::fs::read_to_string(stage.home.path("config.yaml")).expect("it was written");
    stage
        .home
        .configure(&config.replace("meshtastic_channel: 1", "meshtastic_channel: bridge"));
    let mut scene = stage.raise_the_curtain().await;
    let (by_name, by_number) = (scene.rooms[0].clone(), scene.rooms[1].clone());
    scene.alice.send(&by_name, "before").await;
    let packet = scene.radio.transmits("Alice[M]: before").await;
    assert_eq!(packet["channel"], 1);

    let swap = json!({"fault": "swap_channels", "first": 1, "second": 2});
    scene.radio.fault(swap).await;
    scene
        .radio
        .fault(json!({"fault": "reboot", "seconds": 1}))
        .await;
    scene.relay.logs("was `club` and is `bridge` now").await;
    scene.relay.logs("the radio has restarted").await;
    scene.alice.send(&by_name, "after").await;
    let packet = scene.radio.transmits("Alice[M]: after").await;
    assert_eq!(packet["channel"], 2);
    scene.alice.send(&by_number, "by number").await;
    let packet = scene.radio.transmits("Alice[M]: by number").await;
    assert_eq!(packet["channel"], 2);
    scene.radio.says(BASE, 2, "on the bridge").await;
    scene
        .alice
        .sees_text(&by_name, "[Base Camp/LongFast]: on the bridge")
        .await;
}

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
