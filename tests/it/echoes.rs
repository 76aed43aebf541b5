//! Messages on the mesh are posted, also where they resemble another message; those that another relay repeats are not,
//! and the operator learns which node that is.

use serde_json::Value;

use crate::support::radio::{BASE, SUMMIT};
use crate::support::relay::text_of;
use crate::support::scene::{Plan, Scene};
use crate::support::synapse::Synapse;
use crate::support::user::{BOTH_KINDS, Kind, Seen, User};

/// Sends a last text from the summit, and returns the texts of the mesh in the room then.
async fn posted(scene: &mut Scene) -> Vec<String> {
    scene.radio.says(SUMMIT, 0, "the last word").await;
    let last = "[Summit Hut/LongFast]: the last word";
    scene.alice.sees_text(&scene.room, last).await;
    let notices = scene.alice.seen_of(&scene.room, &scene.bot);
    let texts = notices.iter().filter(|seen| !seen.body().is_empty());
    texts.map(Seen::body).map(str::to_owned).collect()
}

async fn status(scene: &Scene) -> Value {
    let output = scene.home.run(["status", "--json"]).await;
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", text_of(&output)))
}

#[tokio::test]
async fn words_of_people_that_end_like_a_message_of_another_are_posted() {
    for kind in BOTH_KINDS {
        let mut scene = Plan::one_room(kind).start().await;
        scene.alice.send(&scene.room, "fine").await;
        scene.radio.transmits("Alice[M]: fine").await;
        let long = "see you all at the bridge";
        scene.alice.send(&scene.room, long).await;
        scene.radio.transmits(&format!("Alice[M]: {long}")).await;
        let said = [
            "Status: fine".to_owned(),
            "Alice: fine".to_owned(),
            format!("Plan: {long}"),
            format!("Alice: {long} at noon"),
            long.to_owned(),
        ];
        for text in &said {
            scene.radio.says(BASE, 0, text).await;
        }
        let mut wanted: Vec<_> = said
            .iter()
            .map(|text| format!("[Base Camp/LongFast]: {text}"))
            .collect();
        wanted.push("[Summit Hut/LongFast]: the last word".to_owned());
        assert_eq!(posted(&mut scene).await, wanted);
        assert_eq!(status(&scene).await["echoes"], Value::Array(Vec::new()));
    }
}

#[tokio::test]
async fn what_another_relay_repeats_is_held_back_and_its_node_is_named_also_after_a_restart() {
    let mut scene = Plan::one_room(Kind::Plain).start().await;
    let gerda = User::new(Synapse::shared().await, "Gerdalena").await;
    gerda.joins(&scene.room, &scene.alice).await;
    let written = "see you all at the bridge";
    gerda.send(&scene.room, written).await;
    let carried = format!("Gerda[M]: {written}");
    scene.radio.transmits(&carried).await;
    let heard = "help is needed at the north gate";
    let asked = scene.radio.says(BASE, 0, heard).await;
    let shown = format!("[Base Camp/LongFast]: {heard}");
    scene.alice.sees_text(&scene.room, &shown).await;

    scene.radio.says(SUMMIT, 0, &carried).await;
    let log = scene.relay.logs("another relay's echo").await;
    assert!(log.contains(SUMMIT.id), "{log}");
    assert!(scene.relay.stop().await.success());
    scene.relay = scene.home.start().await;
    // The last one is a reply.
    let (of_matrix, of_mesh) = (
        format!("[Gerdalena/Hilltop]: {written}"),
        format!("[Base Camp/Long]: {heard}"),
    );
    scene.radio.says(SUMMIT, 0, &of_matrix).await;
    scene.radio.says(SUMMIT, 0, &of_mesh).await;
    scene.radio.replies(SUMMIT, 0, asked, &of_mesh).await;
    let wanted = [
        shown,
        format!("[Summit Hut/LongFast]: {of_mesh}"),
        "[Summit Hut/LongFast]: the last word".to_owned(),
    ];
    assert_eq!(posted(&mut scene).await, wanted);

    let status = status(&scene).await;
    let echoes = serde_json::json!([{"node": SUMMIT.id, "name": SUMMIT.long, "count": 2}]);
    assert_eq!(status["echoes"], echoes);
    let text = text_of(&scene.home.run(["status"]).await);
    let line = format!("{} ({}) repeats what is relayed", SUMMIT.id, SUMMIT.long);
    assert!(text.contains(&line), "{text}");
}
