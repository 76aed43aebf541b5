//! What people see: the bot's name and picture, also in a single room, and per-message profiles (MSC4144) with the name and
//! colour of the node that speaks.

use std::fs;

use matrix_sdk::media::{MediaFormat, MediaRequestParameters, MediaThumbnailSettings};
use matrix_sdk::ruma::events::room::MediaSource;
use matrix_sdk::ruma::{OwnedMxcUri, OwnedRoomId, uint};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::radio::BASE;
use crate::support::scene::{Plan, Scene};
use crate::support::user::{BOTH_KINDS, Kind, Seen};

/// What the relay says of each picture of a node.
const UPLOADED: &str = "the picture of a node is uploaded";

/// Returns the changes of the bot's membership in a room, in order.
fn memberships(scene: &Scene, room: &OwnedRoomId) -> Vec<Value> {
    let seen = scene.alice.seen_of(room, &scene.bot);
    let of_bot = |seen: &&Seen| seen.event["type"] == "m.room.member";
    let content = |seen: &Seen| seen.event["content"].clone();
    seen.iter().filter(of_bot).map(content).collect()
}

/// Waits until the bot has this name in a room, and a picture; returns the picture's address.
async fn sees_bot_as(scene: &Scene, room: &OwnedRoomId, name: &str) -> String {
    let seen = scene.alice.sees(room, name, |seen| {
        seen.event["state_key"] == scene.bot.as_str()
            && seen.content("/displayname") == name
            && seen.content("/avatar_url").is_string()
    });
    let seen = seen.await;
    seen.content("/avatar_url").as_str().unwrap().to_owned()
}

async fn download(scene: &Scene, source: MediaSource) -> Vec<u8> {
    fetch(scene, source, MediaFormat::File).await
}

async fn fetch(scene: &Scene, source: MediaSource, format: MediaFormat) -> Vec<u8> {
    let request = MediaRequestParameters { source, format };
    let media = scene.alice.client().media();
    let content = media.get_media_content(&request, false).await;
    content.expect("the picture is there")
}

fn plain(address: &str) -> MediaSource {
    MediaSource::Plain(OwnedMxcUri::from(address))
}

/// Has the node say something, and returns the profile that Alice sees with it.
async fn profile_of(scene: &Scene, room: &OwnedRoomId, text: &str) -> Value {
    let body = format!("[Base Camp/LongFast]: {text}");
    let seen = scene.alice.sees_text(room, &body).await;
    assert_eq!(seen.content("/meshtastic_longname"), "Base Camp");
    assert_eq!(
        seen.content("/formatted_body"),
        &json!(format!(
            "<strong data-mx-profile-fallback>[Base Camp/LongFast]: </strong>{text}"
        ))
    );
    let profile = seen.content("/com.beeper.per_message_profile");
    assert_eq!(profile["id"], BASE.id);
    assert_eq!(profile["displayname"], "Base Camp");
    assert_eq!(profile["has_fallback"], true);
    profile.clone()
}

#[tokio::test]
async fn people_see_the_bot_and_who_speaks_on_the_mesh_as_configured() {
    let stage = BOTH_KINDS.into_iter().fold(Plan::default(), Plan::room);
    let stage = stage
        .route(0, 0, "both")
        .route(1, 0, "both")
        .matrix("display_name: Valley Mesh")
        .matrix("avatar: avatar.png")
        .matrix("per_message_profiles: {enabled: true}")
        .set_up()
        .await;
    // A picture by its first bytes, which is all that anybody looks at here.
    let picture = [b"\x89PNG\r\n\x1a\n".as_slice(), b"of the bot"].concat();
    fs::write(stage.home.path("avatar.png"), &picture).expect("it can be written");
    let mut scene = stage.raise_the_curtain().await;
    let [open, secret] = [scene.rooms[0].clone(), scene.rooms[1].clone()];
    let shown = sees_bot_as(&scene, &open, "Valley Mesh").await;
    assert_eq!(sees_bot_as(&scene, &secret, "Valley Mesh").await, shown);
    assert_eq!(download(&scene, plain(&shown)).await, picture);

    // The first message does not wait for its picture.
    scene.radio.says(BASE, 0, "hello").await;
    for room in [&open, &secret] {
        let profile = profile_of(&scene, room, "hello").await;
        assert_eq!(profile["avatar_url"], "");
    }
    scene.relay.logs_times(UPLOADED, 2).await;
    scene.radio.says(BASE, 0, "again").await;
    let profile = profile_of(&scene, &open, "again").await;
    let of_node = profile["avatar_url"].as_str().expect("a picture");
    let png = download(&scene, plain(of_node)).await;
    assert!(png.windows(7).any(|it| it == b"PLTE\x0b\x0c\x01"));
    // The homeserver can make a small one of it, so apps can show it.
    let small = MediaThumbnailSettings::new(uint!(32), uint!(32));
    let small = fetch(&scene, plain(of_node), MediaFormat::Thumbnail(small)).await;
    assert!(small.starts_with(b"\x89PNG"));
    let profile = profile_of(&scene, &secret, "again").await;
    assert_eq!(profile["avatar_url"], Value::Null);
    let file = serde_json::from_value(profile["avatar_file"].clone()).expect("a file");
    let decrypted = download(&scene, MediaSource::Encrypted(Box::new(file))).await;
    assert_eq!(decrypted, png);

    // A room of its own, from the next reading of the configuration on.
    let entry = format!("{{id: '{secret}', ");
    let named = format!("{entry}display_name: Hiking, ");
    scene.home.reconfigure(&entry, &named);
    scene.relay.signal(Signal::HUP);
    assert_eq!(sees_bot_as(&scene, &secret, "Hiking").await, shown);

    // What is as it should be is left alone, and pictures are not uploaded again.
    let before = [&open, &secret].map(|room| memberships(&scene, room));
    scene.relay.stop().await;
    scene.relay = scene.home.start().await;
    scene.radio.says(BASE, 0, "later").await;
    let profile = profile_of(&scene, &open, "later").await;
    assert_eq!(profile["avatar_url"], of_node);
    scene.alice.send(&open, "an answer").await;
    scene.radio.transmits("Alice[M]: an answer").await;
    let after = [&open, &secret].map(|room| memberships(&scene, room));
    assert_eq!(after, before);
    let last = after.map(|memberships| memberships.last().cloned().unwrap_or_default());
    assert_eq!(last[0]["displayname"], "Valley Mesh");
    assert_eq!(last[1]["displayname"], "Hiking");
}

#[tokio::test]
async fn a_picture_that_cannot_be_used_is_told_with_its_cure_and_all_else_goes_on() {
    let mut scene = Plan::one_room(Kind::Plain)
        .matrix("display_name: Valley Mesh")
        .matrix("avatar: missing.png")
        .start()
        .await;
    scene.relay.logs("missing.png` cannot be used").await;
    scene.carries("all the same").await;
    let output = scene.home.run(["status", "--json"]).await;
    let status: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let told = &status["matrix"]["not_shown"];
    assert!(told["cause"].to_string().contains("missing.png"), "{told}");
    assert!(told["hint"].to_string().contains("PNG"), "{told}");
    let picture = async || {
        let output = scene.home.run(["doctor", "matrix", "--json"]).await;
        let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let checks = report["checks"].as_array().expect("there are checks");
        let of_picture = checks.iter().find(|it| it["name"] == "picture");
        of_picture.expect("the picture is examined").clone()
    };
    let found = picture().await;
    assert_eq!(found["result"], "warning", "{found}");
    assert!(found["text"].to_string().contains("missing.png"), "{found}");
    fs::write(scene.home.path("missing.png"), b"GIF89a of the bot").expect("it can be written");
    assert_eq!(picture().await["result"], "ok");
}
