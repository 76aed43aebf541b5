//! Logins by OAuth 2.0 at a homeserver that has left its logins to a login service: each way, what goes wrong on it, and tokens
//! that expire while the relay runs.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::sleep;

use crate::support::radio::BASE;
use crate::support::relay::{Home, text_of};
use crate::support::scene::Plan;
use crate::support::synapse::Synapse;
use crate::support::user::Kind;

/// How long a token of the login service is good in the test of a running relay.
const LIFETIME: Duration = Duration::from_secs(4);

fn tokens(home: &Home) -> [Value; 2] {
    let session = home.session();
    ["access_token", "refresh_token"].map(|name| session[name].clone())
}

#[tokio::test]
async fn tokens_of_a_login_service_that_expire_again_and_again_cost_no_message_even_with_a_kill() {
    let (synapse, service, _guard) = Synapse::with_login_service().await;
    service.set(json!({"lifetime": LIFETIME.as_secs()})).await;
    let stage = Plan::one_room(Kind::Encrypted).set_up_on(synapse).await;
    let mut scene = stage.raise_the_curtain().await;
    let first = tokens(&scene.home);
    let mut texts = Vec::new();
    for number in 0..8 {
        if number == 4 {
            scene.relay.kill().await;
            // What the file holds is dead by the next start.
            sleep(LIFETIME).await;
            scene.relay = scene.home.start().await;
        }
        let text = format!("number {number}");
        scene.radio.says(BASE, 0, &text).await;
        scene.alice.send(&scene.room, &text).await;
        texts.push(text);
        sleep(LIFETIME / 2).await;
    }
    scene.carries("at the end").await;
    texts.push("at the end".to_owned());
    assert_ne!(tokens(&scene.home), first);
    let seen = service.seen().await;
    assert!(seen["renewals"].as_u64() > Some(3), "{seen}");

    let said: Vec<String> = texts
        .iter()
        .map(|text| format!("Alice[M]: {text}"))
        .collect();
    assert_eq!(scene.radio.texts(), said);
    let seen = scene.alice.seen_of(&scene.room, &scene.bot);
    let seen: Vec<&str> = seen.iter().filter_map(|seen| seen.said_on_mesh()).collect();
    assert_eq!(seen, texts);
    let status = scene.home.run(["auth", "status"]).await;
    let told = text_of(&status);
    assert!(status.status.success(), "{told}");
    assert!(told.contains("by OAuth 2.0, at http://127.0.0.1:"), "{told}");
    assert!(told.contains("yes, by its owner"), "{told}");
    assert!(!scene.relay.log().contains("Matrix cannot be used now"));
}
