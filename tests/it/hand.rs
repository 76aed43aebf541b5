//! `relay matrix`: the account by hand, through a running relay and without one.

use std::time::Duration;

use matrix_sdk::media::{MediaFormat, MediaRequestParameters};
use matrix_sdk::ruma::RoomId;
use matrix_sdk::ruma::events::room::MediaSource;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::support::lines::Lines;
use super::support::relay::{Home, text_of};
use super::support::scene::{Plan, Stage};
use super::support::user::{BOTH_KINDS, Kind, Seen, User};
use super::support::within;

/// Runs a command that works, and returns what it prints.
async fn does(home: &Home, arguments: &[&str]) -> String {
    let all: Vec<&str> = ["matrix"].iter().chain(arguments).copied().collect();
    let output = home.run(&all).await;
    assert!(
        output.status.success(),
        "{arguments:?}: {}",
        text_of(&output)
    );
    String::from_utf8(output.stdout)
        .expect("it prints text")
        .trim()
        .to_owned()
}

/// Runs a command that fails with 1, and returns what it says.
async fn refuses(home: &Home, arguments: &[&str]) -> String {
    let all: Vec<&str> = ["matrix"].iter().chain(arguments).copied().collect();
    let output = home.run(&all).await;
    assert_eq!(output.status.code(), Some(1), "{}", text_of(&output));
    text_of(&output)
}

/// Waits for the next line that holds a text.
async fn line_with(lines: &Lines, text: &str) -> String {
    let found = |line: &str| line.contains(text).then(|| line.to_owned());
    lines.first(0, text, found).await
}

/// Has the receiver fetch and decrypt what an event refers to.
async fn fetched(user: &User, content: &Value, (file, url): (&str, &str)) -> Vec<u8> {
    let source = match content.pointer(file) {
        Some(file) => json!({"file": file}),
        None => json!({"url": content.pointer(url)}),
    };
    let source: MediaSource = serde_json::from_value(source).expect("it is a source");
    let request = MediaRequestParameters {
        source,
        format: MediaFormat::File,
    };
    let got = user
        .client()
        .media()
        .get_media_content(&request, false)
        .await;
    got.expect("it can be fetched")
}

fn picture() -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, 1000, 900);
    encoder.set_color(png::ColorType::Rgb);
    let pixels: Vec<u8> = (0..=250_u8).cycle().take(1000 * 900 * 3).collect();
    let mut writer = encoder.write_header().expect("it can be written");
    writer.write_image_data(&pixels).expect("it can be written");
    drop(writer);
    bytes
}

async fn sees_picture(alice: &User, seen: &Seen, bytes: &[u8], kind: Kind) {
    let content = &seen.event["content"];
    assert_eq!(content["msgtype"], "m.image");
    assert_eq!(content["info"]["mimetype"], "image/png");
    assert_eq!(
        (&content["info"]["w"], &content["info"]["h"]),
        (&json!(1000), &json!(900))
    );
    assert_eq!(content["info"]["size"], bytes.len());
    assert_eq!(content.get("file").is_some(), kind == Kind::Encrypted);
    assert_eq!(fetched(alice, content, ("/file", "/url")).await, bytes);
    let small = ("/info/thumbnail_file", "/info/thumbnail_url");
    let small = fetched(alice, content, small).await;
    let small = png::Decoder::new(std::io::Cursor::new(small)).read_info();
    assert_eq!(small.expect("it is a picture").info().size(), (666, 600));
}

#[tokio::test]
async fn texts_and_files_arrive_in_both_kinds_of_rooms_beside_a_relay_and_are_not_carried_to_the_mesh()
 {
    for kind in BOTH_KINDS {
        let scene = Plan::one_room(kind).start().await;
        let room = scene.room.to_string();
        let rooms: Value = serde_json::from_str(&does(&scene.home, &["rooms", "--json"]).await)
            .expect("it is JSON");
        assert_eq!(rooms[0]["id"], room);
        assert_eq!(rooms[0]["encrypted"], kind == Kind::Encrypted);
        assert_eq!(rooms[0]["channel"], "0");
        let sent = does(
            &scene.home,
            &["send", "--room", &room, "--html", "<b>by</b> hand"],
        )
        .await;
        let seen = scene.alice.sees_text(&scene.room, "by hand").await;
        assert_eq!(
            (seen.id.as_str(), seen.encrypted),
            (&*sent, kind == Kind::Encrypted)
        );
        let path = scene.home.path("map.png");
        let bytes = picture();
        std::fs::write(&path, &bytes).expect("a file can be written");
        let path = path.to_str().expect("it is text");
        does(&scene.home, &["send", "--room", &room, "--file", path]).await;
        let seen = scene
            .alice
            .sees(&scene.room, "the picture", |it| it.body() == "map.png")
            .await;
        sees_picture(&scene.alice, &seen, &bytes, kind).await;
        // Whatever comes next on the mesh is what Alice says.
        scene.alice.send(&scene.room, "by mouth").await;
        scene.radio.transmits("Alice[M]: by mouth").await;
        assert_eq!(scene.radio.texts(), ["Alice[M]: by mouth"]);
        assert!(
            !scene.relay.log().contains("another relay"),
            "{}",
            scene.relay.log()
        );
    }
}

#[tokio::test]
async fn what_is_said_while_only_a_hand_listens_is_carried_once_the_relay_runs() {
    for kind in BOTH_KINDS {
        let scene = Plan::one_room(kind).start().await;
        let (mut relay, radio) = (scene.relay, scene.radio);
        let (alice, home, room) = (scene.alice, scene.home, scene.room);
        relay.stop().await;
        let mut listening = home.begin(&["matrix", "listen", "--room", room.as_str()]);
        line_with(&listening.errors, "listening").await;
        alice.send(&room, "said meanwhile\u{202e}").await;
        let line = line_with(&listening.output, "said meanwhile").await;
        assert!(line.ends_with("Alice: said meanwhile"), "{line:?}");
        // The session of another one is in use.
        let refused = refuses(&home, &["rooms"]).await;
        assert!(refused.contains("in use by another command"), "{refused}");
        assert!(listening.interrupt().await.success());
        let reply = does(
            &home,
            &["send", "--room", room.as_str(), "--notice", "answered"],
        )
        .await;
        let seen = alice.sees_text(&room, "answered").await;
        assert_eq!(
            (seen.id.as_str(), seen.encrypted),
            (&*reply, kind == Kind::Encrypted)
        );
        assert_eq!(seen.content("/msgtype"), "m.notice");
        let _relay = home.start().await;
        radio.transmits("Alice[M]: said meanwhile").await;
    }
}

#[tokio::test]
async fn a_listener_beside_a_relay_hears_what_the_relay_hears() {
    let scene = Plan::one_room(Kind::Encrypted).start().await;
    let room = scene.room.as_str();
    let mut listening = scene
        .home
        .begin(&["matrix", "listen", "--room", room, "--json"]);
    line_with(&listening.errors, "listening").await;
    let event = scene.alice.send(&scene.room, "loud\u{1b}[31m").await;
    let line = line_with(&listening.output, "loud").await;
    let heard: Value = serde_json::from_str(&line).expect("it is JSON");
    assert_eq!(heard["event_id"], event.as_str());
    assert_eq!(heard["encrypted"], true);
    assert!(!line.contains('\u{1b}'), "{line}");
    let sign = does(
        &scene.home,
        &["react", "--room", room, event.as_str(), "👍"],
    )
    .await;
    let seen = scene
        .alice
        .sees(&scene.room, "the reaction", |it| {
            it.is_reaction(&event, "👍")
        })
        .await;
    assert_eq!(seen.id.as_str(), sign);
    does(&scene.home, &["redact", "--room", room, &sign]).await;
    line_with(&listening.output, &format!("(redacts {sign})")).await;
    assert!(listening.interrupt().await.success());
}

#[tokio::test]
async fn invites_are_listed_and_answered_and_a_direct_room_is_made_once() {
    let Stage {
        alice, bot, home, ..
    } = Plan::one_room(Kind::Plain).set_up().await;
    let (yes, no) = (
        alice
            .create_room(Kind::Plain, std::slice::from_ref(&bot))
            .await,
        alice
            .create_room(Kind::Plain, std::slice::from_ref(&bot))
            .await,
    );
    let listed = does(&home, &["invites"]).await;
    assert!(
        listed.contains(yes.as_str()) && listed.contains(alice.id().as_str()),
        "{listed}"
    );
    does(&home, &["invites", "accept", "--room", yes.as_str()]).await;
    alice.sees_join(&yes, &bot).await;
    does(&home, &["invites", "reject", "--room", no.as_str()]).await;
    let listed = does(&home, &["invites"]).await;
    assert!(
        !listed.contains(yes.as_str()) && !listed.contains(no.as_str()),
        "{listed}"
    );
    let direct = does(&home, &["ensure-dm", alice.id().as_str()]).await;
    assert_eq!(does(&home, &["resolve", alice.id().as_str()]).await, direct);
    assert_eq!(
        does(&home, &["ensure-dm", alice.id().as_str()]).await,
        direct
    );
    let rooms = does(&home, &["rooms"]).await;
    let row = rooms
        .lines()
        .find(|it| it.starts_with(&direct))
        .expect("it is listed");
    assert!(
        row.contains("encrypted, direct") && !row.contains("not encrypted"),
        "{row}"
    );

    // What is said where the other has gone reaches nobody.
    let id: &RoomId = direct.as_str().try_into().expect("a room");
    let invited = async {
        while alice.client().get_room(id).is_none() {
            sleep(Duration::from_millis(10)).await;
        }
    };
    within("the invite to the direct room", invited).await;
    let room = alice.client().get_room(id).expect("it is there");
    room.leave().await.expect("the invite is rejected");
    let another = does(&home, &["ensure-dm", alice.id().as_str()]).await;
    assert_ne!(another, direct);
}

#[tokio::test]
async fn what_cannot_be_done_fails_with_the_reason() {
    let Stage { home, rooms, .. } = Plan::one_room(Kind::Plain).set_up().await;
    for (arguments, reason) in [
        (
            vec!["send", "--room", "#nowhere:localhost", "x"],
            "cannot find #nowhere:localhost",
        ),
        (
            vec!["send", "--room", "!not-ours:localhost", "x"],
            "the bot is not in !not-ours:localhost",
        ),
        (vec!["send", "--room", "hill", "x"], "`hill` names no room"),
        (
            vec!["send", "--room", rooms[0].as_str(), "x"],
            "the bot is invited to",
        ),
        (
            vec!["send", "--room", rooms[0].as_str()],
            "there is no text to send",
        ),
        (
            vec!["send", "--room", "!r:localhost", "--file", "/nowhere/f"],
            "cannot read `/nowhere/f`",
        ),
    ] {
        let said = refuses(&home, &arguments).await;
        assert!(said.contains(reason), "{said}");
    }
    // A sparse file: it is refused before it is read.
    let path = home.path("large.bin");
    let file = std::fs::File::create(&path).expect("a file can be made");
    file.set_len(1 << 40).expect("it can be long");
    let path = path.to_str().expect("it is text");
    let said = refuses(
        &home,
        &["send", "--room", rooms[0].as_str(), "--file", path],
    )
    .await;
    assert!(said.contains("the homeserver takes at most"), "{said}");
    let said = refuses(&Home::new(), &["rooms"]).await;
    assert!(said.contains("not logged in"), "{said}");
}
