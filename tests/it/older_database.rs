//! A homeserver whose database is put back to an older copy: texts cross both ways again, none is skipped or doubled, and
//! what the homeserver has forgotten is told.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::sleep;

use crate::status::status_tells;
use crate::support::books::Books;
use crate::support::canned::Canned;
use crate::support::radio::{BASE, id_of};
use crate::support::scene::{Plan, Scene};
use crate::support::synapse::{Synapse, Trouble};
use crate::support::user::{BOTH_KINDS, Kind, User};
use crate::support::within;

/// Puts the homeserver's database back to its last copy, and has Alice say this before the relay reaches it again.
async fn is_put_back(synapse: &Synapse, scene: &Scene, meanwhile: &[&str]) {
    let unreachable = Canned::to("/_matrix/", 502, &json!({}));
    scene.proxy().answers([unreachable]);
    synapse.does(Trouble::Stop);
    synapse.does(Trouble::Restore);
    synapse.does(Trouble::Start);
    synapse.answers().await;
    for text in meanwhile {
        scene.alice.send(&scene.room, text).await;
    }
    scene.proxy().answers([]);
}

/// Returns how often the relay has transmitted each of these texts of Alice.
fn transmitted(scene: &Scene, texts: &[&str]) -> Vec<usize> {
    let all = scene.radio.texts();
    let times = |text: &&str| {
        all.iter()
            .filter(|it| **it == format!("Alice[M]: {text}"))
            .count()
    };
    texts.iter().map(times).collect()
}

#[tokio::test]
async fn texts_cross_both_ways_after_the_homeservers_database_was_put_back() {
    let (synapse, _guard) = Synapse::unreliable().await;
    for kind in BOTH_KINDS {
        let plan = Plan::one_room(kind).through_proxy();
        let stage = plan.set_up_on(synapse).await;
        let mut scene = stage.raise_the_curtain().await;
        scene.carries("before").await;

        synapse.does(Trouble::BackUp);
        for text in ["one", "two", "three"] {
            scene.carries(text).await;
        }
        let root = scene.alice.send(&scene.room, "a thread").await;
        let thread = json!({"rel_type": "m.thread", "event_id": root});
        let content = json!({"msgtype": "m.text", "body": "in it", "m.relates_to": thread});
        scene.alice.send_message(&scene.room, content).await;
        let in_thread = id_of(&scene.radio.transmits("Alice[M]: in it").await);
        // Its session with the relay is made of a key that the homeserver then gives out again.
        let bob = User::new(synapse, "Bob").await;
        bob.joins(&scene.room, &scene.alice).await;
        bob.send(&scene.room, "four").await;
        scene.radio.transmits("Bob[M]: four").await;
        is_put_back(synapse, &scene, &["at once", "at last"]).await;

        scene.radio.transmits("Alice[M]: at once").await;
        scene.radio.transmits("Alice[M]: at last").await;
        scene.carries("after it").await;
        // The thread is gone, the words are not.
        scene.radio.replies(BASE, 0, in_thread, "so be it").await;
        let shown = "[Base Camp/LongFast]: so be it";
        scene.alice.sees_text(&scene.room, shown).await;
        // Somebody whom the relay does not know yet.
        let carol = User::new(synapse, "Carol").await;
        carol.joins(&scene.room, &scene.alice).await;
        carol.send(&scene.room, "new here").await;
        scene.radio.transmits("Carol[M]: new here").await;
        scene.radio.says(BASE, 0, "for all").await;
        let shown = carol
            .sees_text(&scene.room, "[Base Camp/LongFast]: for all")
            .await;
        assert_eq!(shown.encrypted, kind == Kind::Encrypted);
        let all = ["before", "one", "three", "at once", "at last", "after it"];
        assert_eq!(transmitted(&scene, &all), [1; 6]);
        let is_told = |status: &Value| status["matrix"]["put_back"]["events"].as_u64() > Some(6);
        status_tells(&scene.home, "what is forgotten", is_told).await;
    }
}

#[tokio::test]
async fn a_relay_that_starts_after_the_homeservers_database_was_put_back_leaves_nothing_out() {
    let (synapse, _guard) = Synapse::unreliable().await;
    let plan = Plan::one_room(Kind::Encrypted).through_proxy();
    let mut scene = plan.set_up_on(synapse).await.raise_the_curtain().await;
    scene.carries("before").await;
    synapse.does(Trouble::BackUp);
    scene.carries("forgotten").await;
    assert!(scene.relay.stop().await.success());
    is_put_back(synapse, &scene, &["one", "two"]).await;

    scene.relay = scene.home.start().await;
    scene.radio.transmits("Alice[M]: one").await;
    scene.radio.transmits("Alice[M]: two").await;
    scene.carries("after it").await;
    // That is over then.
    assert!(scene.relay.stop().await.success());
    scene.relay = scene.home.start().await;
    scene.carries("at the end").await;
    let all = [
        "before",
        "forgotten",
        "one",
        "two",
        "after it",
        "at the end",
    ];
    assert_eq!(transmitted(&scene, &all), [1; 6]);
    let line = "database was put back to an older copy";
    assert!(!scene.relay.log().contains(line));

    // Also where nothing newer is confirmed before the next start.
    synapse.does(Trouble::BackUp);
    scene.carries("forgotten as well").await;
    assert!(scene.relay.stop().await.success());
    is_put_back(synapse, &scene, &[]).await;
    let before = Books::of(&scene.home).read_anew();
    scene.relay = scene.home.start().await;
    let is_read = async {
        while Books::of_running(&scene.home).read_anew() == before {
            sleep(Duration::from_millis(10)).await;
        }
    };
    within("the homeserver is read anew", is_read).await;
    scene
        .relay
        .logs("database was put back to an older copy")
        .await;
    assert!(scene.relay.stop().await.success());
    scene.relay = scene.home.start().await;
    scene.carries("once more").await;
    assert!(!scene.relay.log().contains(line));
}

#[tokio::test]
async fn a_room_of_which_the_homeserver_forgot_that_the_bot_joined_is_joined_again() {
    let (synapse, _guard) = Synapse::unreliable().await;
    let plan = Plan::one_room(Kind::Plain).through_proxy();
    let stage = plan.set_up_on(synapse).await;
    synapse.does(Trouble::BackUp);
    let mut scene = stage.raise_the_curtain().await;
    scene.carries("forgotten").await;
    is_put_back(synapse, &scene, &["at once"]).await;

    scene.radio.transmits("Alice[M]: at once").await;
    scene.carries("after it").await;
    assert_eq!(
        transmitted(&scene, &["forgotten", "at once", "after it"]),
        [1; 3]
    );
}
