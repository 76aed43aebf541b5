//! The backlog and its expiry: after an outage, and on a busy channel.

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::scene::Plan;
use crate::support::synapse::{Past, Synapse};
use crate::support::user::{Kind, Seen};

/// Returns the texts that the radio has accepted so far, each with its time in seconds.
fn transmitted(scene: &crate::support::scene::Scene) -> Vec<(String, f64)> {
    let time = |packet: &Value| packet["at_ms"].as_f64().expect("a packet has a time") / 1000.0;
    let text = |packet: &Value| Some((packet["text"].as_str()?.to_owned(), time(packet)));
    scene.radio.packets().iter().filter_map(text).collect()
}

#[tokio::test]
async fn of_what_was_said_while_the_relay_was_away_the_newest_cross_and_the_rest_expires() {
    let plan = Plan::one_room(Kind::Plain).meshtastic("backlog: {newest: 4, spacing: 3s}");
    let mut scene = plan.start().await;
    let past = Synapse::shared().await.past();
    let room = scene.room.to_string();
    scene.alice.invite(&scene.room, Past::USER).await;
    past.joins(&room).await;
    scene.alice.send(&scene.room, "here").await;
    scene.radio.transmits("Alice[M]: here").await;

    // More than one page of history, nearly all of it too old.
    assert!(scene.relay.stop().await.success());
    for dozen in 0..24 {
        let texts = (0..12).map(async |number| {
            let number = dozen * 12 + number;
            past.says(&room, 3 * 3600 - number, &format!("old {number}"))
                .await;
        });
        join_all(texts).await;
    }
    for number in 0..4 {
        past.says(&room, 2 * 3600, &format!("older {number}")).await;
    }
    for number in 0..8 {
        past.says(&room, (30 - number) * 60 + 30, &format!("late {number}"))
            .await;
    }
    scene.relay = scene.home.start().await;
    // New messages go before the backlog.
    scene.relay.logs("packets for the mesh have expired").await;
    scene.alice.send(&scene.room, "news").await;

    scene
        .radio
        .transmits_where("the newest", |packet| {
            packet["text"]
                .as_str()
                .is_some_and(|text| text.ends_with("late 7"))
        })
        .await;
    let sent = transmitted(&scene);
    let texts: Vec<&str> = sent.iter().map(|(text, _)| text.as_str()).collect();
    let wanted = [
        "Alice[M]: here",
        "Alice[M]: news",
        "past[M]: (26 min ago) late 4",
        "past[M]: (25 min ago) late 5",
        "past[M]: (24 min ago) late 6",
        "past[M]: (23 min ago) late 7",
    ];
    assert_eq!(texts, wanted);
    for pair in sent[2..].windows(2) {
        // The radio may have read the first of the two a quarter of a second late.
        assert!(pair[1].1 - pair[0].1 >= 2.7, "{sent:?}");
    }

    let notice = scene
        .alice
        .sees(&scene.room, "a notice of what expired", |seen| {
            seen.body()
                .starts_with("Not sent to the mesh: 296 messages written")
        });
    let notice = notice.await;
    let answered = notice.answers().map(str::to_owned);
    let newest = scene.alice.messages(&scene.room);
    let newest = newest
        .iter()
        .find(|seen| seen.body() == "late 3")
        .expect("it was sent");
    assert_eq!(answered.as_deref(), Some(newest.id.as_str()));
    assert_eq!(notice.content("/msgtype"), "m.notice");
    let signs = |seen: &Seen| seen.content("/m.relates_to/key") == "⌛";
    let sign = scene.alice.sees(&scene.room, "the sign of expiry", signs);
    assert!(sign.await.is_reaction(&newest.id, "⌛"));
    assert_eq!(notice.content("/mmrelay_suppress"), true);

    // There is no second notice, and no second transmission.
    scene.relay.kill().await;
    scene.relay = scene.home.start().await;
    scene.alice.send(&scene.room, "the end").await;
    scene.radio.transmits("Alice[M]: the end").await;
    assert_eq!(scene.radio.texts().len(), wanted.len() + 1);
    let notices = scene.alice.seen_of(&scene.room, &scene.bot);
    let said: Vec<&str> = notices
        .iter()
        .map(Seen::body)
        .filter(|body| !body.is_empty())
        .collect();
    assert_eq!(said, [notice.body()]);
    let all = scene.alice.seen_of(&scene.room, &scene.bot);
    assert_eq!(all.iter().filter(|seen| signs(seen)).count(), 1);
}

#[tokio::test]
async fn on_a_very_busy_channel_only_what_is_urgent_is_transmitted() {
    let mut scene = Plan::one_room(Kind::Plain).start().await;
    scene
        .radio
        .fault(json!({"fault": "channel_use", "percent": 50}))
        .await;
    scene.relay.logs("the channel is very busy").await;
    scene.alice.send(&scene.room, "not urgent").await;
    scene.relay.logs("accepted for the mesh").await;
    scene.alice.send(&scene.room, "🚨 urgent").await;
    scene.radio.transmits("Alice[M]: 🚨 urgent").await;
    assert_eq!(scene.radio.texts(), ["Alice[M]: 🚨 urgent"]);

    scene
        .radio
        .fault(json!({"fault": "channel_use", "percent": 5}))
        .await;
    scene.relay.logs("the channel is free again").await;
    scene.radio.transmits("Alice[M]: not urgent").await;
}

/// The firmware accepts one text per 2 s, and reads late after a silence.
#[tokio::test]
async fn a_full_queue_is_taken_at_the_first_try_and_at_the_firmwares_rate() {
    let plan = Plan::one_room(Kind::Plain).matrix("sender_limit: {per_minute: 100, per_hour: 100}");
    let scene = plan.start().await;
    for number in 0..25 {
        scene
            .alice
            .send(&scene.room, &format!("text {number}"))
            .await;
    }
    scene.radio.transmits("Alice[M]: text 12").await;
    scene.radio.transmits("Alice[M]: text 24").await;
    let tries = scene.radio.output.all();
    let refused = tries.iter().filter(|line| line.contains("rate_limited"));
    assert!(refused.count() <= 1, "24 of 25 at the first try");
    let sent = transmitted(&scene);
    let texts: Vec<&str> = sent.iter().map(|(text, _)| text.as_str()).collect();
    let wanted: Vec<_> = (0..25)
        .map(|number| format!("Alice[M]: text {number}"))
        .collect();
    assert_eq!(texts, wanted);
}
