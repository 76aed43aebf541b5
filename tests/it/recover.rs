//! A device that its owner has not signed, or whose keys are lost, is made good with the account's recovery key.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use matrix_sdk::reqwest;
use serde_json::Value;
use tokio::time::sleep;

use crate::support::relay::{Home, text_of};
use crate::support::scene::{Plan, Scene};
use crate::support::synapse::{PASSWORD, Synapse};
use crate::support::user::Kind;
use crate::support::within;

fn device(home: &Home) -> String {
    let session = home.session();
    session["device_id"].as_str().expect("a device").to_owned()
}

/// Waits until another user's client sees the device of the relay as signed by its owner.
async fn is_trusted(scene: &Scene) {
    let (encryption, device) = (scene.alice.client().encryption(), device(&scene.home));
    let trusted = async {
        loop {
            let asked = encryption.request_user_identity(&scene.bot).await;
            asked.expect("the homeserver answers");
            let seen = encryption
                .get_device(&scene.bot, device.as_str().into())
                .await;
            let seen = seen.expect("the store can be read");
            if seen.is_some_and(|seen| seen.is_cross_signed_by_owner()) {
                return;
            }
            sleep(Duration::from_millis(100)).await;
        }
    };
    within("a device that its owner has signed", trusted).await;
}

/// Waits until a room key is in the account's backup.
async fn is_backed_up(home: &Home) {
    let session = home.session();
    let text = |key: &str| session[key].as_str().expect("it is there").to_owned();
    let url = text("homeserver") + "_matrix/client/v3/room_keys/version";
    let backed_up = async {
        loop {
            let asked = reqwest::Client::new()
                .get(&url)
                .bearer_auth(text("access_token"));
            let answer = asked.send().await.expect("the homeserver answers");
            let answer = answer.text().await.expect("an answer has text");
            let answer: Value = serde_json::from_str(&answer).expect("an answer is JSON");
            if answer["count"].as_u64().is_some_and(|keys| keys > 0) {
                return;
            }
            sleep(Duration::from_millis(100)).await;
        }
    };
    within("a key in the backup", backed_up).await;
}

/// Moves the recovery key of the login to a safe place.
fn kept_key(home: &Home) -> PathBuf {
    let kept = home.path("kept.key");
    fs::rename(home.path("matrix/recovery.key"), &kept)
        .expect("a login without a terminal writes it");
    kept
}

/// Runs `relay auth recover`, and asserts its exit code and words.
async fn recover(home: &Home, further: &[&str], code: i32, words: &str) {
    let arguments = ["auth", "recover"].iter().chain(further);
    let output = home.run(arguments).await;
    let text = text_of(&output);
    assert_eq!(output.status.code(), Some(code), "{text}");
    assert!(text.contains(words), "{text}");
}

#[tokio::test]
async fn a_device_that_is_not_signed_gets_its_signature_and_stays_the_same() {
    let mut scene = Plan::one_room(Kind::Encrypted).start().await;
    scene.relay.stop().await;
    let key = kept_key(&scene.home);
    let key = key.to_str().expect("a path is a text");
    let server = Synapse::shared().await.url();
    let output = scene
        .home
        .log_in_forced(server, scene.bot.localpart(), &[])
        .await;
    let text = text_of(&output);
    assert!(output.status.success(), "{text}");
    assert!(
        text.contains("relay auth recover --recovery-key-file"),
        "{text}"
    );
    let unsigned = device(&scene.home);

    recover(&scene.home, &[], 2, "--recovery-key-file is missing").await;
    let wrong = scene.home.path("wrong.key");
    fs::write(&wrong, "EsTx 1234").expect("it can be written");
    let wrong = ["--recovery-key-file", wrong.to_str().expect("a text")];
    recover(
        &scene.home,
        &wrong,
        1,
        "does not open this account's secrets",
    )
    .await;
    assert_eq!(device(&scene.home), unsigned);

    // While the relay has the keys open, nobody else may change them.
    let key = ["--recovery-key-file", key];
    scene.relay = scene.home.start().await;
    scene.relay.logs("Matrix session open").await;
    recover(&scene.home, &key, 1, "the relay").await;
    scene.relay.stop().await;

    recover(&scene.home, &key, 0, "the device is verified by its owner").await;
    assert_eq!(device(&scene.home), unsigned);
    is_trusted(&scene).await;
    recover(&scene.home, &key, 0, "nothing to recover").await;
    scene.relay = scene.home.start().await;
    scene.carries("after it").await;
}

#[tokio::test]
async fn after_the_loss_of_its_keys_a_new_device_reads_what_was_said_before() {
    let mut scene = Plan::one_room(Kind::Encrypted).start().await;
    let key = kept_key(&scene.home);
    scene.alice.send(&scene.room, "one").await;
    scene.radio.transmits("Alice[M]: one").await;
    is_backed_up(&scene.home).await;
    scene.relay.stop().await;
    let lost = device(&scene.home);
    scene.alice.send(&scene.room, "while it was away").await;
    fs::remove_dir_all(scene.home.path("matrix/sdk")).expect("it was there");
    fs::remove_file(scene.home.path("matrix/sdk.key")).expect("it was there");

    let password = scene.home.path("password");
    fs::write(&password, PASSWORD).expect("it can be written");
    let paths = [&key, &password].map(|path| path.to_str().expect("a path is a text"));
    let arguments = ["--recovery-key-file", paths[0], "--password-file", paths[1]];
    recover(
        &scene.home,
        &arguments,
        0,
        "the device is verified by its owner",
    )
    .await;
    assert_ne!(device(&scene.home), lost);
    is_trusted(&scene).await;
    scene.relay = scene.home.start().await;
    scene.radio.transmits("Alice[M]: while it was away").await;
    scene.carries("after it").await;
}
