//! The computer's clock and the homeserver's may differ: the age of messages is right all the same.

use serde_json::Value;

use crate::support::relay::text_of;
use crate::support::scene::{Plan, Scene};
use crate::support::synapse::{Past, Synapse};
use crate::support::user::Kind;

const HOUR: i64 = 3600;

/// Starts without signs: the bot's own events tell the homeserver's time, too.
async fn with_clock_ahead(seconds: i64) -> Scene {
    let plan = Plan::one_room(Kind::Plain).meshtastic("delivery_feedback: off");
    let stage = plan.through_proxy().set_up().await;
    let proxy = stage.proxy.as_ref().expect("a proxy was planned");
    proxy.set_clock_ahead(seconds);
    stage.raise_the_curtain().await
}

async fn crosses(scene: &Scene, text: &str) {
    scene.alice.send(&scene.room, text).await;
    scene.radio.transmits(&format!("Alice[M]: {text}")).await;
}

async fn asks(scene: &Scene, command: &[&str]) -> Value {
    let output = scene.home.run(command).await;
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", text_of(&output)))
}

#[tokio::test]
async fn the_first_message_after_each_start_is_new_however_far_the_clocks_are_apart() {
    let mut scene = with_clock_ahead(-2 * HOUR).await;
    crosses(&scene, "the very first").await;
    // The homeserver is behind by two hours, as when this machine's clock was set to local time, then ahead; and so on.
    for ahead in [-2, 2, -1, 1, 0, -30 * 24] {
        scene.relay.kill().await;
        scene.proxy().set_clock_ahead(ahead * HOUR);
        scene.relay = scene.home.start().await;
        crosses(&scene, &format!("{ahead} hours")).await;

        let status = asks(&scene, &["status", "--json"]).await;
        let told = status["matrix"]["clock_ahead_seconds"].as_i64();
        let off = told.expect("the homeserver told") + ahead * HOUR;
        assert!(off.abs() < 30, "{ahead}: {told:?}");
        let health = asks(&scene, &["doctor", "--quick", "--json"]).await;
        let checks = health["checks"].as_array().expect("there are checks");
        let clock = checks.iter().find(|check| check["name"] == "clock");
        let clock = clock.expect("the clock is checked");
        let wanted = if ahead == 0 { "ok" } else { "warning" };
        assert_eq!(clock["result"], wanted, "{clock}");
    }
}

#[tokio::test]
async fn a_proxy_that_dates_answers_by_a_clock_of_its_own_makes_no_message_old() {
    for (proxy, homeserver) in [(2, 0), (-2, 0), (2, -2)] {
        let plan = Plan::one_room(Kind::Plain).meshtastic("delivery_feedback: off");
        let stage = plan.through_proxy().set_up().await;
        let front = stage.proxy.as_ref().expect("a proxy was planned");
        front.set_clock_ahead(homeserver * HOUR);
        front.set_dates_ahead(proxy * HOUR);
        let mut scene = stage.raise_the_curtain().await;
        crosses(&scene, "the very first").await;
        scene.relay.kill().await;
        scene.relay = scene.home.start().await;
        crosses(&scene, "after a start").await;

        let status = asks(&scene, &["status", "--json"]).await;
        let dates = status["matrix"]["dates_ahead_seconds"].as_i64();
        let off = dates.expect("it is known") - proxy * HOUR;
        assert!(off.abs() < 30, "{proxy} {homeserver}: {dates:?}");
        let ahead = status["matrix"]["clock_ahead_seconds"].as_i64();
        let off = ahead.expect("the homeserver told") + homeserver * HOUR;
        assert!(off.abs() < 30, "{proxy} {homeserver}: {ahead:?}");
    }
}

#[tokio::test]
async fn what_is_known_of_the_homeservers_clock_is_kept_over_a_restart() {
    let mut scene = with_clock_ahead(-2 * HOUR).await;
    crosses(&scene, "hello").await;
    scene.proxy().strip_dates(true);
    scene.relay.kill().await;
    scene.relay = scene.home.start().await;
    crosses(&scene, "nobody told the time").await;
}

#[tokio::test]
async fn what_was_said_while_the_relay_was_away_is_as_old_as_the_homeserver_says() {
    for ahead in [-2 * HOUR, 2 * HOUR] {
        let mut scene = with_clock_ahead(ahead).await;
        let past = Synapse::shared().await.past();
        let room = scene.room.to_string();
        scene.alice.invite(&scene.room, Past::USER).await;
        past.joins(&room).await;
        crosses(&scene, "here").await;

        assert!(scene.relay.stop().await.success());
        past.says(&room, 90 * 60, "too old").await;
        past.says(&room, 30 * 60 + 20, "late").await;
        scene.relay = scene.home.start().await;
        scene.radio.transmits("past[M]: (30 min ago) late").await;
        let sent = scene.radio.texts();
        assert_eq!(sent, ["Alice[M]: here", "past[M]: (30 min ago) late"]);
    }
}
