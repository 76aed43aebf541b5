//! Messages that are unexpectedly not transmitted get a sign and a notice with the reason, which is not repeated.

use matrix_sdk::reqwest::Method;
use matrix_sdk::ruma::OwnedEventId;
use serde_json::{Value, json};

use crate::status::status_tells;
use crate::support::scene::{Plan, Scene};
use crate::support::synapse::Synapse;
use crate::support::user::{BOTH_KINDS, Kind, Seen, User};

const HEARD: &str = "📡";
const REFUSED: &str = "❌";
const DENIED: &str = "🚫";
const NONE: [&str; 0] = [];

/// Waits for the relay's notice in reply to an event, and returns its text.
async fn answer(scene: &Scene, event: &OwnedEventId) -> String {
    let is_answer = |seen: &Seen| {
        seen.event["sender"] == scene.bot.as_str()
            && seen.content("/msgtype") == "m.notice"
            && seen.answers() == Some(event.as_str())
    };
    let seen = scene.alice.sees(&scene.room, "the reason", is_answer).await;
    assert_eq!(seen.content("/mmrelay_suppress"), true);
    seen.body().to_owned()
}

async fn bob_joins(scene: &Scene) -> User {
    let bob = User::new(Synapse::shared().await, "Bob").await;
    bob.joins(&scene.room, &scene.alice).await;
    bob
}

/// Sends a message, and waits until it is transmitted: all earlier ones are handled.
async fn says_last(scene: &Scene, text: &str) {
    let last = scene.alice.send(&scene.room, text).await;
    scene.sees_sign(&scene.room, &last, HEARD).await;
}

#[tokio::test]
async fn a_cry_for_help_goes_on_the_air_and_a_command_is_refused_with_a_word() {
    for kind in BOTH_KINDS {
        let scene = Plan::one_room(kind).start().await;
        let (alice, room) = (&scene.alice, &scene.room);
        let texts = ["!!! HELP !!!", "!important", "!", "https://example.org"];
        for text in texts {
            alice.send(room, text).await;
        }
        let command = alice.send(room, "!ping").await;
        let addressed = format!("{}: !help weather", scene.bot.localpart());
        let addressed = alice.send(room, &addressed).await;
        let caption = json!({"msgtype": "m.emote", "body": "!Nodes 5"});
        let emote = alice.send_message(room, caption).await;
        for event in [&command, &addressed, &emote] {
            scene.sees_sign(room, event, REFUSED).await;
        }
        let words = answer(&scene, &command).await;
        assert!(words.contains("without `!`"), "{words}");
        says_last(&scene, "the last word").await;
        let mut wanted = texts.map(|text| format!("Alice[M]: {text}")).to_vec();
        wanted.push("Alice[M]: the last word".to_owned());
        assert_eq!(scene.radio.texts(), wanted);
        assert_eq!(scene.notices(), 1);
    }
}

#[tokio::test]
async fn without_a_prefix_for_commands_there_are_none() {
    let plan = Plan::one_room(Kind::Plain).matrix("command_prefix: ''");
    let scene = plan.start().await;
    scene.alice.send(&scene.room, "!ping").await;
    scene.radio.transmits("Alice[M]: !ping").await;
    assert_eq!(scene.notices(), 0);
}

#[tokio::test]
async fn what_stays_off_the_air_is_explained_to_each_person_once_also_after_a_restart() {
    for kind in BOTH_KINDS {
        let mut scene = Plan::one_room(kind).start().await;
        let bob = bob_joins(&scene).await;
        let first = scene.alice.send(&scene.room, "// between us").await;
        let words = answer(&scene, &first).await;
        assert!(words.contains("`//`"), "{words}");
        assert!(scene.relay.stop().await.success());
        scene.relay = scene.home.start().await;
        let second = scene.alice.send(&scene.room, "//still between us").await;
        let of_bob = bob.send(&scene.room, "//me too").await;
        answer(&scene, &of_bob).await;
        says_last(&scene, "the last word").await;
        assert_eq!(scene.radio.texts(), ["Alice[M]: the last word"]);
        assert_eq!(scene.notices(), 2);
        for event in [&first, &second, &of_bob] {
            assert_eq!(scene.signs_on(&scene.room, event).await, NONE);
        }
    }
}

#[tokio::test]
async fn in_a_room_that_only_listens_each_person_sees_so_once_a_day_and_the_room_reads_it_once() {
    let plan = Plan::default().room(Kind::Plain).route(0, 0, "to_matrix");
    let scene = plan.start().await;
    let bob = bob_joins(&scene).await;
    let first = scene.alice.send(&scene.room, "is anybody up there").await;
    scene.sees_sign(&scene.room, &first, DENIED).await;
    let words = answer(&scene, &first).await;
    assert!(words.contains("nothing that is written here"), "{words}");
    let second = scene.alice.send(&scene.room, "hello?").await;
    let aside = bob.send(&scene.room, "// they cannot hear us").await;
    let of_bob = bob.send(&scene.room, "can they?").await;
    scene.sees_sign(&scene.room, &of_bob, DENIED).await;
    for event in [&second, &aside] {
        assert_eq!(scene.signs_on(&scene.room, event).await, NONE);
    }
    assert_eq!(scene.notices(), 1);
    assert_eq!(scene.radio.texts(), NONE);
}

#[tokio::test]
async fn what_the_configuration_keeps_off_the_air_is_told() {
    let silent = "broadcast_enabled: false";
    let scene = Plan::one_room(Kind::Plain).meshtastic(silent).start().await;
    let first = scene.alice.send(&scene.room, "hello").await;
    scene.sees_sign(&scene.room, &first, DENIED).await;
    let words = answer(&scene, &first).await;
    assert!(words.contains("broadcast_enabled"), "{words}");
    assert_eq!(scene.radio.texts(), NONE);

    let scene = Plan::one_room(Kind::Plain)
        .meshtastic("media: ignore")
        .start()
        .await;
    let image = json!({"msgtype": "m.image", "body": "help is on its way", "filename": "a.jpg",
        "url": "mxc://localhost/abc"});
    let captioned = scene.alice.send_message(&scene.room, image).await;
    scene.sees_sign(&scene.room, &captioned, REFUSED).await;
    answer(&scene, &captioned).await;
    // Some clients send only such events.
    let notice = |body: &str| json!({"msgtype": "m.notice", "body": body});
    let (first, second) = (notice("from my client"), notice("from it again"));
    let first = scene.alice.send_message(&scene.room, first).await;
    let second = scene.alice.send_message(&scene.room, second).await;
    scene.sees_sign(&scene.room, &first, REFUSED).await;
    answer(&scene, &first).await;
    says_last(&scene, "the last word").await;
    assert_eq!(scene.signs_on(&scene.room, &second).await, NONE);
    assert_eq!(scene.radio.texts(), ["Alice[M]: the last word"]);
}

#[tokio::test]
async fn who_is_ignored_and_what_is_no_message_get_no_answer() {
    let plan = Plan::one_room(Kind::Plain).matrix("ignored_users: ['@bob*:localhost']");
    let scene = plan.start().await;
    let bob = bob_joins(&scene).await;
    for text in ["hello", "// hello", "!ping"] {
        bob.send(&scene.room, text).await;
    }
    let request = json!({"msgtype": "m.key.verification.request", "body": "asks to verify",
        "from_device": "X", "methods": ["m.sas.v1"], "to": scene.bot});
    scene.alice.send_message(&scene.room, request).await;
    says_last(&scene, "the last word").await;
    assert_eq!(scene.radio.texts(), ["Alice[M]: the last word"]);
    let notices = scene.alice.seen_of(&scene.room, &scene.bot);
    // The sign on the last message, and nothing else.
    assert_eq!(
        notices
            .iter()
            .filter(|seen| seen.event["type"] == "m.reaction")
            .count(),
        1
    );
    assert_eq!(scene.notices(), 0);
}

#[tokio::test]
async fn an_edit_that_the_mesh_does_not_get_is_told() {
    let scene = Plan::one_room(Kind::Plain).start().await;
    let (alice, room) = (&scene.alice, &scene.room);
    let edit = |event: &OwnedEventId, text: &str| {
        let content = json!({
            "msgtype": "m.text", "body": format!("* {text}"),
            "m.new_content": {"msgtype": "m.text", "body": text},
            "m.relates_to": {"rel_type": "m.replace", "event_id": event},
        });
        async move { alice.send_message(room, content).await }
    };
    let sent = alice.send(room, "the code is 1234").await;
    scene.sees_sign(room, &sent, HEARD).await;
    edit(&sent, "// never mind").await;
    let words = answer(&scene, &sent).await;
    assert!(words.contains("cannot be taken back"), "{words}");
    let refused = alice.send(room, "!ping").await;
    scene.sees_sign(room, &refused, REFUSED).await;
    answer(&scene, &refused).await;
    edit(&refused, "ping").await;
    alice
        .sees(room, "that it was not sent", |seen| {
            seen.answers() == Some(refused.as_str()) && seen.body().contains("new message")
        })
        .await;
    says_last(&scene, "the last word").await;
    assert_eq!(
        scene.radio.texts(),
        ["Alice[M]: the code is 1234", "Alice[M]: the last word"]
    );
    assert_eq!(scene.signs_on(room, &refused).await, [REFUSED]);
}

#[tokio::test]
async fn who_shares_a_live_location_is_told_once_that_a_mesh_gets_none() {
    for kind in BOTH_KINDS {
        let scene = Plan::one_room(kind).start().await;
        let (alice, room) = (&scene.alice, &scene.room);
        let info = "org.matrix.msc3672.beacon_info";
        let path = ["rooms", room.as_str(), "state", info, alice.id().as_str()];
        let live = json!({"live": true, "timeout": 60_000, "description": "on my way"});
        let begun = alice.request(Method::PUT, &path, &live).await;
        let begun = begun["event_id"].as_str().expect("it is an event");
        let begun = OwnedEventId::try_from(begun).expect("it is an id");
        let words = answer(&scene, &begun).await;
        assert!(words.contains("live locations"), "{words}");
        let place = json!({
            "m.relates_to": {"rel_type": "m.reference", "event_id": begun},
            "org.matrix.msc3488.location": {"uri": "geo:48.2,16.3"},
        });
        for _ in 0..2 {
            let kind = "org.matrix.msc3672.beacon";
            alice.send_raw(room, kind, place.clone()).await;
        }
        says_last(&scene, "the last word").await;
        assert_eq!(scene.notices(), 1);
        assert_eq!(scene.radio.texts(), ["Alice[M]: the last word"]);
        let counted = |told: &Value| told["rooms"][0]["to_mesh"]["dropped"]["live_location"] == 3;
        status_tells(&scene.home, "all of it", counted).await;
    }
}
