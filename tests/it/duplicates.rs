//! Duplicates are relayed once: across reconnects, reboots of the radio, restarts, and late repetitions.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::books::Books;
use crate::support::radio::{BASE, Node, Radio, SUMMIT, transmitted};
use crate::support::relay::Home;
use crate::support::scene::{Plan, Scene};
use crate::support::synapse::{Synapse, Trouble};
use crate::support::user::Kind;
use crate::support::within;

/// Makes the link fail, and waits for the next handshake.
async fn reconnects(radio: &mut Radio, fault: Value) {
    let from = radio.output.count();
    radio.fault(fault).await;
    configured(radio, from).await;
}

/// Waits for a handshake at or after line `from` of the log.
async fn configured(radio: &Radio, from: usize) {
    let pick = |line: &str| line.contains("\"configured\"").then_some(());
    radio.output.first(from, "a handshake", pick).await;
}

/// Ends the relay, by `kill -9` or as asked, and starts it again.
async fn restarts(scene: &mut Scene, by_kill: bool) {
    if by_kill {
        scene.relay.kill().await;
    } else {
        assert!(scene.relay.stop().await.success());
    }
    let from = scene.radio.output.count();
    scene.relay = scene.home.start().await;
    configured(&scene.radio, from).await;
}

/// A text of a node, which can be repeated with the same id.
async fn says_again(radio: &mut Radio, node: Node, id: u32, text: &str) {
    radio.sends(node, json!({"id": id, "text": text})).await;
}

/// Sends a last text, and returns the texts of the mesh in the room then, in order.
async fn heard_in_room(scene: &mut Scene) -> Vec<String> {
    scene.radio.says(BASE, 0, "the last word").await;
    let last = "[Base Camp/LongFast]: the last word";
    scene.alice.sees_text(&scene.room, last).await;
    let history = scene.alice.history(&scene.room).await;
    let bot = scene.bot.as_str();
    let ours = history.iter().filter(|seen| seen.event["sender"] == bot);
    ours.map(|seen| seen.body().to_owned()).collect()
}

async fn is_heard_once(kind: Kind) {
    let mut scene = Plan::one_room(kind).start().await;
    let text = "said only once";
    let id = scene.radio.says(BASE, 0, text).await;
    let shown = format!("[Base Camp/LongFast]: {text}");
    scene.alice.sees_text(&scene.room, &shown).await;
    let event = scene.alice.send(&scene.room, "mine").await;
    let mine = scene.radio.transmits("Alice[M]: mine").await;
    let own = mine["from"].as_str().expect("a sender").to_owned();
    // What a rebooted radio hears of its own packet, and what a server tells again of it.
    let echo = json!({"from": own, "id": mine["id"], "text": "Alice[M]: mine"});

    says_again(&mut scene.radio, BASE, id, text).await;
    for fault in [
        json!({"fault": "close"}),
        json!({"fault": "reboot", "seconds": 1}),
    ] {
        reconnects(&mut scene.radio, fault).await;
        says_again(&mut scene.radio, BASE, id, text).await;
        scene.radio.write(&echo).await;
    }
    for by_kill in [false, true] {
        restarts(&mut scene, by_kill).await;
        says_again(&mut scene.radio, BASE, id, text).await;
        scene.radio.write(&echo).await;
    }
    let again = json!({"id": id, "text": text, "stored": true, "rx_time": 1_767_225_600});
    scene.radio.sends(BASE, again).await;
    let mut stored = echo.clone();
    stored["stored"] = json!(true);
    scene.radio.write(&stored).await;
    // Another node may use the same packet id.
    says_again(&mut scene.radio, SUMMIT, id, "another one").await;

    let texts = heard_in_room(&mut scene).await;
    let wanted = [
        &*shown,
        "[Summit Hut/LongFast]: another one",
        "[Base Camp/LongFast]: the last word",
    ];
    assert_eq!(texts, wanted);

    // The Matrix side: a message is not transmitted again.
    scene.alice.reply(&scene.room, &event, "and now").await;
    scene.radio.transmits("Alice[M]: and now").await;
    let is_mine = |packet: &Value| packet["text"] == "Alice[M]: mine";
    let lines = scene.radio.output.all();
    let mut ids: Vec<_> = lines
        .iter()
        .filter_map(|line| transmitted(line))
        .filter(is_mine)
        .map(|packet| packet["id"].clone())
        .collect();
    ids.dedup();
    assert_eq!(ids, [mine["id"].clone()]);
}

#[tokio::test]
async fn a_packet_that_comes_again_and_again_is_in_a_plain_room_once() {
    is_heard_once(Kind::Plain).await;
}

#[tokio::test]
async fn a_packet_that_comes_again_and_again_is_in_an_encrypted_room_once() {
    is_heard_once(Kind::Encrypted).await;
}

/// Waits until the relay has accepted these packets: they are committed.
async fn accepts(home: &Home, packets: &[u32]) {
    let accepted = || Books::of_running(home).accepted();
    while !packets.iter().all(|packet| accepted().contains(packet)) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// The homeserver may have accepted a request without answering: the relay repeats the same transaction.
#[tokio::test]
async fn what_is_on_its_way_when_both_sides_end_is_in_the_room_once() {
    let (synapse, _trouble) = Synapse::unreliable().await;
    let stage = Plan::one_room(Kind::Encrypted).set_up_on(synapse).await;
    let mut scene = stage.raise_the_curtain().await;
    let texts: Vec<_> = (0..12).map(|number| format!("text {number}")).collect();
    for (round, texts) in texts.chunks(3).enumerate() {
        let (bad, good) = match round % 2 {
            0 => (Trouble::Hang, Trouble::Resume),
            _ => (Trouble::Stop, Trouble::Start),
        };
        // Before the send, or during it.
        let early = round < 2;
        if early {
            synapse.does(bad);
        }
        let mut packets = Vec::new();
        for text in texts {
            packets.push(scene.radio.says(BASE, 0, text).await);
        }
        if !early {
            synapse.does(bad);
        }
        within("that all are accepted", accepts(&scene.home, &packets)).await;
        restarts(&mut scene, true).await;
        synapse.does(good);
        let last = texts.last().expect("something was said");
        let last = format!("[Base Camp/LongFast]: {last}");
        scene.alice.sees_text(&scene.room, &last).await;
    }
    let seen = heard_in_room(&mut scene).await;
    let mut wanted = texts;
    wanted.push("the last word".to_owned());
    let wanted: Vec<_> = wanted
        .iter()
        .map(|text| format!("[Base Camp/LongFast]: {text}"))
        .collect();
    assert_eq!(seen, wanted);
}

#[tokio::test]
async fn of_a_flood_of_history_only_what_is_new_is_carried_and_says_how_late_it_is() {
    let mut scene = Plan::one_room(Kind::Plain).start().await;
    // A server's history: the even numbers were heard before.
    let texts: Vec<_> = (0..20).map(|number| format!("text {number}")).collect();
    let mut ids = vec![0; texts.len()];
    for number in (0..texts.len()).step_by(2) {
        ids[number] = scene.radio.says(BASE, 0, &texts[number]).await;
    }
    scene
        .alice
        .sees_text(&scene.room, "[Base Camp/LongFast]: text 18")
        .await;
    let hour_ago = relay_model::Timestamp::now().0 / 1000 - 3600;
    for _ in 0..2 {
        for (number, text) in texts.iter().enumerate() {
            let mut told = json!({"text": text, "stored": true, "rx_time": hour_ago});
            if ids[number] != 0 {
                told["id"] = json!(ids[number]);
            }
            ids[number] = scene.radio.sends(BASE, told).await;
        }
        reconnects(&mut scene.radio, json!({"fault": "close"})).await;
    }

    let seen = heard_in_room(&mut scene).await;
    let number_of = |body: &String| body.rsplit(' ').next()?.parse::<usize>().ok();
    let numbers: Vec<_> = seen.iter().filter_map(number_of).collect();
    let wanted: Vec<_> = (0..20).step_by(2).chain((1..20).step_by(2)).collect();
    assert_eq!(numbers, wanted);
    for body in &seen[10..20] {
        assert!(
            body.contains("(delayed 6") && body.contains(" min)"),
            "{body}"
        );
    }
}

#[tokio::test]
async fn what_a_radio_has_kept_of_other_nodes_is_no_news() {
    let mut scene = Plan::one_room(Kind::Plain).start().await;
    scene.radio.fault(json!({"fault": "cached"})).await;
    for _ in 0..2 {
        reconnects(&mut scene.radio, json!({"fault": "close"})).await;
    }
    assert_eq!(
        heard_in_room(&mut scene).await,
        ["[Base Camp/LongFast]: the last word"]
    );
    scene.relay.logs("reason=\"another port\"").await;
}

#[tokio::test]
async fn a_direct_message_is_kept_and_answered_once_however_often_it_comes() {
    let mut scene = Plan::one_room(Kind::Encrypted)
        .meshtastic("dm_reply: write on the channel")
        .start()
        .await;
    scene.alice.send(&scene.room, "a first message").await;
    let own = scene.radio.transmits("Alice[M]: a first message").await["from"].clone();
    let direct = |id: u32| json!({"id": id, "to": own, "text": "private"});
    scene.radio.sends(BASE, direct(77)).await;
    scene.radio.transmits("write on the channel").await;

    scene.radio.sends(BASE, direct(77)).await;
    for by_kill in [false, true] {
        restarts(&mut scene, by_kill).await;
        scene.radio.sends(BASE, direct(77)).await;
    }
    reconnects(&mut scene.radio, json!({"fault": "reboot", "seconds": 1})).await;
    scene.radio.sends(BASE, direct(77)).await;
    let mut again = direct(77);
    again["stored"] = json!(true);
    scene.radio.sends(BASE, again).await;
    // Another one is kept too, but the same node has had its answer.
    scene.radio.sends(BASE, direct(78)).await;
    // One that only a server tells of, perhaps days later, is kept and not answered.
    let mut late = direct(79);
    late["stored"] = json!(true);
    scene.radio.sends(SUMMIT, late).await;
    let texts = heard_in_room(&mut scene).await;
    assert_eq!(texts, ["[Base Camp/LongFast]: the last word"]);
    scene.alice.send(&scene.room, "the last message").await;
    scene.radio.transmits("Alice[M]: the last message").await;

    let answers = scene
        .radio
        .texts()
        .into_iter()
        .filter(|text| text == "write on the channel");
    assert_eq!(answers.count(), 1);
    assert!(scene.relay.stop().await.success());
    let database = rusqlite::Connection::open(scene.home.path("database/relay.sqlite"));
    let kept = database.and_then(|database| {
        let mut query = database.prepare("SELECT packet FROM direct_message ORDER BY id")?;
        let rows = query.query_map((), |row| row.get::<_, u32>(0))?;
        rows.collect::<Result<Vec<_>, _>>()
    });
    assert_eq!(kept, Ok(vec![77, 78, 79]));
}
