//! Access tokens that expire while the relay runs.

use std::fs;
use std::time::Duration;

use serde_json::Value;
use tokio::time::sleep;

use crate::support::radio::BASE;
use crate::support::scene::Plan;
use crate::support::synapse::Synapse;
use crate::support::user::Kind;

/// How long a token of that homeserver is good.
const LIFETIME: Duration = Duration::from_secs(3);

#[tokio::test]
async fn a_token_that_expires_again_and_again_costs_no_message_and_no_restart() {
    let synapse = Synapse::with_short_tokens().await;
    let stage = Plan::one_room(Kind::Encrypted).set_up_on(synapse).await;
    let mut scene = stage.raise_the_curtain().await;
    let token = |name: &str| {
        let text = fs::read_to_string(scene.home.path("matrix/session.json")).expect("a session");
        let session: Value = serde_json::from_str(&text).expect("a session is JSON");
        session[name].as_str().expect("it is there").to_owned()
    };
    let (first, refresh) = (token("access_token"), token("refresh_token"));
    let mut texts = Vec::new();
    for number in 0..6 {
        let text = format!("number {number}");
        scene.radio.says(BASE, 0, &text).await;
        scene.alice.send(&scene.room, &text).await;
        texts.push(text);
        sleep(LIFETIME / 2).await;
    }
    let (later, later_refresh) = (token("access_token"), token("refresh_token"));
    assert_ne!((&first, &refresh), (&later, &later_refresh));
    // What the file holds is dead by the next start.
    scene.relay.kill().await;
    sleep(LIFETIME).await;
    scene.relay = scene.home.start().await;
    scene.carries("after the restart").await;
    texts.push("after the restart".to_owned());

    let said: Vec<String> = texts
        .iter()
        .map(|text| format!("Alice[M]: {text}"))
        .collect();
    assert_eq!(scene.radio.texts(), said);
    let seen = scene.alice.seen_of(&scene.room, &scene.bot);
    let seen: Vec<&str> = seen.iter().filter_map(|seen| seen.said_on_mesh()).collect();
    assert_eq!(seen, texts);
    let status = scene.home.run(["auth", "status"]).await;
    assert!(status.status.success());
    assert!(!scene.relay.log().contains("Matrix cannot be used now"));
}
