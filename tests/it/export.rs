//! A login goes to another home, and stays where it is.

use std::fs;
use std::path::Path;

use crate::support::radio::BASE;
use crate::support::relay::{Home, text_of};
use crate::support::scene::Plan;
use crate::support::user::Kind;

/// Runs `relay auth`, and asserts its exit code and words.
async fn auth(home: &Home, arguments: &[&str], file: &Path, code: i32, words: &str) {
    let key = home.path("passphrase");
    fs::write(&key, "correct horse battery\n").expect("it can be written");
    let [file, key] = [file, &*key].map(|it| it.to_str().expect("a path is a text"));
    let further = [file, "--passphrase-file", key];
    let output = home
        .run(["auth"].iter().chain(arguments).chain(&further))
        .await;
    let text = text_of(&output);
    assert_eq!(output.status.code(), Some(code), "{text}");
    assert!(text.contains(words), "{text}");
}

#[tokio::test]
async fn a_login_that_is_taken_to_another_home_is_the_same_device_loses_nothing_and_ends_the_first()
{
    let mut scene = Plan::one_room(Kind::Encrypted).start().await;
    scene.carries("before").await;
    let device = scene.home.session()["device_id"].clone();
    let file = scene.home.path("login.age");
    let with_all = ["export", "--database"];
    auth(&scene.home, &with_all, &file, 1, "another relay is running").await;
    scene.relay.stop().await;
    scene.alice.send(&scene.room, "while it moved").await;
    scene.radio.says(BASE, 0, "on the hill meanwhile").await;
    auth(&scene.home, &with_all, &file, 0, "does not use it any more").await;
    assert!(
        !fs::read(&file)
            .expect("it is there")
            .windows(9)
            .any(|it| it == b"localhost")
    );

    let mut refused = scene.home.spawn_with(&[]);
    assert_eq!(refused.ended().await.code(), Some(1));
    assert!(
        refused.log().contains("was exported to"),
        "{}",
        refused.log()
    );
    auth(
        &scene.home,
        &["export"],
        &scene.home.path("again.age"),
        1,
        "was exported to",
    )
    .await;

    let second = Home::new();
    let config = fs::read_to_string(scene.home.path("config.yaml")).expect("it is configured");
    second.configure(&config);
    auth(&second, &["import"], &file, 0, "goes on where it stopped").await;
    auth(&second, &["import"], &file, 1, "already logged in").await;
    assert_eq!(second.session()["device_id"], device);
    let old = std::mem::replace(&mut scene.home, second);
    scene.relay = scene.home.start().await;
    scene.radio.transmits("Alice[M]: while it moved").await;
    let meanwhile = "[Base Camp/LongFast]: on the hill meanwhile";
    let seen = scene.alice.sees_text(&scene.room, meanwhile).await;
    assert!(seen.encrypted, "{seen:?}");
    scene.carries("after").await;
    let said = |text: &str| {
        let seen = scene.alice.messages(&scene.room);
        seen.iter().filter(|it| it.body().ends_with(text)).count()
    };
    assert_eq!(["before", "meanwhile"].map(said), [2, 1]);
    let moved = scene.radio.texts();
    assert_eq!(
        moved
            .iter()
            .filter(|it| it.contains("while it moved"))
            .count(),
        1
    );
    drop(old);
}
