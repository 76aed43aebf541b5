//! A person who forwards a message of the mesh is no relay: clients copy all fields of the event.

use serde_json::json;

use crate::support::radio::BASE;
use crate::support::scene::Plan;
use crate::support::user::BOTH_KINDS;

#[tokio::test]
async fn a_post_that_a_person_forwards_into_another_room_goes_on_the_air_as_that_persons_text() {
    for kind in BOTH_KINDS {
        let plan = Plan::default().room(kind).room(kind);
        let plan = plan.route(0, 0, "both").route(1, 1, "both");
        let mut scene = plan.start().await;
        scene.radio.says(BASE, 0, "water at the hut").await;
        let expected = "[Base Camp/LongFast]: water at the hut";
        let post = scene.alice.sees_text(&scene.rooms[0], expected).await;
        let mut content = post.event["content"].clone();
        assert!(content["relay_id"].is_string(), "{content}");
        assert_eq!(content["meshtastic_longname"], "Base Camp");

        let forged = json!({
            "msgtype": "m.text", "body": "[Mallory/Net]: forged", "meshtastic_longname": "Mallory",
            "meshtastic_text": "forged", "relay_id": "00000000000000000000000000000000",
        });
        scene.alice.send_message(&scene.rooms[1], forged).await;
        content
            .as_object_mut()
            .expect("it is an object")
            .remove("m.relates_to");
        scene.alice.send_message(&scene.rooms[1], content).await;
        let sent = scene
            .radio
            .transmits(&format!("Alice[M]: {expected}"))
            .await;
        assert_eq!(sent["channel"], 1);
        scene.relay.logs("matrix.trusted_relays").await;
        let texts = scene.radio.texts();
        assert!(
            !texts.iter().any(|text| text.contains("forged")),
            "{texts:?}"
        );
    }
}
