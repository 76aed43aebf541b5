//! A relay whose computer is lost comes back from a backup, as a new device, and says and transmits nothing twice.

use std::fs;

use serde_json::{Value, json};

use crate::status::status_tells;
use crate::support::canned::Canned;
use crate::support::radio::{BASE, Radio};
use crate::support::relay::{Home, text_of};
use crate::support::scene::Plan;
use crate::support::synapse::PASSWORD;
use crate::support::user::Kind;

#[tokio::test]
async fn a_relay_that_is_restored_from_a_backup_is_a_new_device_and_doubles_nothing() {
    let plan = Plan::one_room(Kind::Encrypted).through_proxy();
    let mut scene = plan.start().await;
    scene.carries("before").await;
    let key = scene.home.path("kept.key");
    fs::rename(scene.home.path("matrix/recovery.key"), &key).unwrap();
    let device = scene.home.session()["device_id"].clone();

    // One text waits for the room and one for the mesh while the backup is made; both are sent afterwards.
    scene
        .proxy()
        .answers([Canned::to("/send/", 502, &json!({}))]);
    scene.radio.says(BASE, 0, "from the hill").await;
    let port = scene.radio.port();
    scene.radio.end().await;
    scene.alice.send(&scene.room, "to the hill").await;
    scene.relay.logs_times("accepted for the mesh", 2).await;
    let backup = scene.home.path("backup.tar.gz");
    let run = async |home: &Home, arguments: &[&str]| {
        let output = home.run(arguments).await;
        (output.status.code(), text_of(&output))
    };
    let file = backup.to_str().unwrap();
    let (code, text) = run(&scene.home, &["backup", file]).await;
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("configuration and database"), "{text}");
    assert_eq!(run(&scene.home, &["backup", file]).await.0, Some(1));
    scene.proxy().answers([]);
    scene.radio = Radio::start_on(port).await;
    scene.radio.transmits("Alice[M]: to the hill").await;
    let hill = "[Base Camp/LongFast]: from the hill";
    scene.alice.sees_text(&scene.room, hill).await;
    scene.carries("after the backup").await;
    scene.relay.kill().await;

    let password = scene.home.path("password");
    fs::write(&password, PASSWORD).unwrap();
    let restore = [
        "restore",
        file,
        "--recovery-key-file",
        key.to_str().unwrap(),
        "--password-file",
        password.to_str().unwrap(),
    ];
    let (code, text) = run(&scene.home, &restore).await;
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("there is a login in this home"), "{text}");
    let second = Home::new();
    let (code, text) = run(&second, &restore).await;
    assert_eq!(code, Some(0), "{text}");
    for words in ["are given up", "the device is verified by its owner"] {
        assert!(text.contains(words), "{text}");
    }
    assert_ne!(second.session()["device_id"], device);
    let old = std::mem::replace(&mut scene.home, second);

    scene.relay = scene.home.start().await;
    let notice = scene
        .alice
        .sees(&scene.room, "the notice", |it| {
            it.body()
                .starts_with("This relay was restored from a backup of")
        })
        .await;
    assert_eq!(notice.content("/msgtype"), "m.notice");
    scene.carries("after it").await;
    let seen = scene.alice.messages(&scene.room);
    let said = |text: &str| seen.iter().filter(|it| it.body().ends_with(text)).count();
    assert_eq!(said("]: from the hill"), 1);
    assert_eq!(said("]: after the backup"), 1);
    let wanted =
        ["to the hill", "after the backup", "after it"].map(|it| format!("Alice[M]: {it}"));
    assert_eq!(scene.radio.texts(), wanted);
    let none = |told: &Value| told["outbox"]["to_matrix"]["waiting"] == 0;
    status_tells(&scene.home, "that nothing waits", none).await;
    // The text that waited was found in the room by its key from the backup.
    let settled = "came back before the server's answer did outbox=2 ";
    assert!(scene.relay.log().contains(settled));
    drop(old);
}
