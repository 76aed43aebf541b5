//! Access tokens that expire while the relay runs.

use std::time::Duration;

use serde_json::json;
use tokio::time::sleep;

use crate::support::canned::Canned;
use crate::support::radio::BASE;
use crate::support::relay::Home;
use crate::support::scene::Plan;
use crate::support::synapse::{PASSWORD, Synapse};
use crate::support::user::Kind;

fn of_session(home: &Home, name: &str) -> String {
    home.session()[name]
        .as_str()
        .expect("it is there")
        .to_owned()
}

/// How long a token of that homeserver is good.
const LIFETIME: Duration = Duration::from_secs(3);

#[tokio::test]
async fn a_token_that_expires_again_and_again_costs_no_message_and_no_restart() {
    let synapse = Synapse::with_short_tokens().await;
    let stage = Plan::one_room(Kind::Encrypted).set_up_on(synapse).await;
    let mut scene = stage.raise_the_curtain().await;
    let tokens = |home: &Home| ["access_token", "refresh_token"].map(|name| of_session(home, name));
    let first = tokens(&scene.home);
    let mut texts = Vec::new();
    for number in 0..6 {
        let text = format!("number {number}");
        scene.radio.says(BASE, 0, &text).await;
        scene.alice.send(&scene.room, &text).await;
        texts.push(text);
        sleep(LIFETIME / 2).await;
    }
    assert_ne!(tokens(&scene.home), first);
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

#[tokio::test]
async fn who_was_away_for_too_long_is_logged_in_again_as_the_same_device_by_the_configured_password()
 {
    let synapse = Synapse::with_short_tokens().await;
    let plan = Plan::one_room(Kind::Encrypted).through_proxy();
    let mut stage = plan.set_up_on(synapse).await;
    stage
        .home
        .set_environment(("RELAY_MATRIX_PASSWORD", PASSWORD.to_owned()));
    let user = ("RELAY_MATRIX_BOT_USER_ID", stage.bot.to_string());
    stage.home.set_environment(user);
    let mut scene = stage.raise_the_curtain().await;
    scene.carries("before").await;
    let device = of_session(&scene.home, "device_id");
    scene.relay.stop().await;
    sleep(LIFETIME * 5).await;
    scene.alice.send(&scene.room, "while it was away").await;
    // A homeserver that does not answer at that moment says nothing of the password.
    let login = Canned::to("POST /_matrix/client/v3/login", 502, &json!({}));
    scene.proxy().answers([login]);
    scene.relay = scene.home.start().await;
    scene.relay.logs("cannot log in again").await;
    scene.proxy().answers([]);
    scene
        .relay
        .logs("logged in to Matrix again, as the same device")
        .await;
    scene.radio.transmits("Alice[M]: while it was away").await;
    scene.carries("after").await;
    assert_eq!(of_session(&scene.home, "device_id"), device);
}
