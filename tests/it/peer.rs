//! Other people's clients show the relay's device as verified by its owner.

use crate::support::radio::BASE;
use crate::support::scene::Plan;
use crate::support::user::Kind;

#[tokio::test]
async fn a_peer_sees_the_device_as_signed_by_its_owner() {
    let mut scene = Plan::one_room(Kind::Encrypted).start().await;
    scene.radio.says(BASE, 0, "hello").await;
    scene
        .alice
        .sees_text(&scene.room, "[Base Camp/LongFast]: hello")
        .await;

    let encryption = scene.alice.client().encryption();
    let owner = encryption
        .request_user_identity(&scene.bot)
        .await
        .expect("the server answers");
    assert!(
        owner.is_some(),
        "the relay's account has a cross-signing identity"
    );
    let devices = encryption
        .get_user_devices(&scene.bot)
        .await
        .expect("devices can be listed");
    assert_eq!(devices.devices().count(), 1);
    assert!(
        devices
            .devices()
            .all(|device| device.is_cross_signed_by_owner())
    );
}
