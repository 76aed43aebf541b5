//! Texts are relayed in both directions, in order, between the mapped rooms and channels.

use serde_json::json;

use crate::support::radio::{BASE, SUMMIT};
use crate::support::scene::{Plan, Scene};
use crate::support::synapse::Synapse;
use crate::support::user::{Kind, User};

async fn crosses_both_ways(kind: Kind) {
    carries_text_both_ways(Plan::one_room(kind).start().await, kind).await;
}

/// The requirements of every kind of link.
pub(crate) async fn carries_text_both_ways(mut scene: Scene, kind: Kind) {
    let packet = scene.radio.says(BASE, 0, "hello from the mesh").await;
    let text = "[Base Camp/LongFast]: hello from the mesh";
    let seen = scene.alice.sees_text(&scene.room, text).await;
    assert_eq!(seen.event["sender"], scene.bot.as_str());
    assert_eq!(seen.encrypted, kind == Kind::Encrypted);
    assert_eq!(seen.content("/msgtype"), "m.text");
    assert_eq!(seen.content("/formatted_body"), &json!(null));
    assert_eq!(seen.content("/m.mentions"), &json!({}));
    assert_eq!(seen.content("/meshtastic_id"), packet);
    assert_eq!(seen.content("/meshtastic_longname"), "Base Camp");
    assert_eq!(seen.content("/meshtastic_shortname"), "BASE");
    assert_eq!(seen.content("/meshtastic_meshnet"), "LongFast");
    assert_eq!(seen.content("/meshtastic_portnum"), "TEXT_MESSAGE_APP");
    assert_eq!(seen.content("/meshtastic_text"), "hello from the mesh");

    scene.alice.send(&scene.room, "hello from Matrix").await;
    let packet = scene.radio.transmits("Alice[M]: hello from Matrix").await;
    assert_eq!(packet["channel"], 0);
    assert_eq!(packet["port"], 1);
    assert_eq!(packet["want_ack"], true);
    assert_ne!(packet["id"], 0);
}

#[tokio::test]
async fn a_text_crosses_both_ways_in_a_plain_room() {
    crosses_both_ways(Kind::Plain).await;
}

#[tokio::test]
async fn a_text_crosses_both_ways_in_an_encrypted_room() {
    crosses_both_ways(Kind::Encrypted).await;
}

#[tokio::test]
async fn what_alice_writes_is_transmitted_in_order_and_once() {
    let scene = Plan::one_room(Kind::Encrypted).start().await;
    for number in 0..5 {
        scene
            .alice
            .send(&scene.room, &format!("number {number}"))
            .await;
    }
    scene.radio.transmits("Alice[M]: number 4").await;
    let wanted = (0..5).map(|number| format!("Alice[M]: number {number}"));
    assert_eq!(scene.radio.texts(), wanted.collect::<Vec<_>>());
}

#[tokio::test]
async fn a_packet_heard_twice_is_posted_once() {
    let mut scene = Plan::one_room(Kind::Plain).start().await;
    let packet = json!({"channel": 0, "text": "said once", "id": 0x0BAD_CAFE});
    scene.radio.sends(BASE, packet.clone()).await;
    scene.radio.sends(BASE, packet).await;
    scene.radio.says(BASE, 0, "the last word").await;
    scene
        .alice
        .sees_text(&scene.room, "[Base Camp/LongFast]: the last word")
        .await;
    assert_eq!(bodies(&scene, 0), ["said once", "the last word"]);
}

#[tokio::test]
async fn two_rooms_on_one_channel_both_get_the_mesh_but_not_each_other() {
    let plan = Plan::default().room(Kind::Plain).room(Kind::Encrypted);
    let mut scene = plan.route(0, 0, "both").route(1, 0, "both").start().await;

    scene.radio.says(BASE, 0, "to both").await;
    for room in &scene.rooms {
        scene
            .alice
            .sees_text(room, "[Base Camp/LongFast]: to both")
            .await;
    }

    scene.alice.send(&scene.rooms[0], "from the first").await;
    scene.alice.send(&scene.rooms[1], "from the second").await;
    scene.radio.transmits("Alice[M]: from the first").await;
    scene.radio.transmits("Alice[M]: from the second").await;

    scene.radio.says(BASE, 0, "the last word").await;
    for room in &scene.rooms {
        scene
            .alice
            .sees_text(room, "[Base Camp/LongFast]: the last word")
            .await;
    }
    assert_eq!(
        bodies(&scene, 0),
        ["to both", "from the first", "the last word"]
    );
    assert_eq!(
        bodies(&scene, 1),
        ["to both", "from the second", "the last word"]
    );
}

#[tokio::test]
async fn with_two_channels_in_one_room_a_reply_goes_where_its_target_came_from() {
    let plan = Plan::default()
        .room(Kind::Plain)
        .route(0, 0, "both")
        .route(0, 1, "both");
    let mut scene = plan.start().await;

    scene.radio.says(BASE, 0, "on the first").await;
    let other = scene.radio.says(SUMMIT, 1, "on the second").await;
    scene
        .alice
        .sees(&scene.room, "the first", |seen| {
            seen.body().ends_with("on the first")
        })
        .await;
    let second = |seen: &crate::support::user::Seen| seen.body().ends_with("on the second");
    let second = scene.alice.sees(&scene.room, "the second", second).await;

    scene.alice.send(&scene.room, "to the first listed").await;
    assert_eq!(
        scene.radio.transmits("Alice[M]: to the first listed").await["channel"],
        0
    );
    scene
        .alice
        .reply(&scene.room, &second.id, "to the second")
        .await;
    let packet = scene.radio.transmits("Alice[M]: to the second").await;
    assert_eq!(packet["channel"], 1);
    assert_eq!(packet["reply_id"], other);
}

#[tokio::test]
async fn a_one_way_room_carries_one_way() {
    let plan = Plan::default().room(Kind::Plain).room(Kind::Plain);
    let mut scene = plan
        .route(0, 0, "to_matrix")
        .route(1, 0, "to_mesh")
        .start()
        .await;

    scene.alice.send(&scene.rooms[0], "stays in Matrix").await;
    scene.alice.send(&scene.rooms[1], "goes to the mesh").await;
    scene.radio.transmits("Alice[M]: goes to the mesh").await;
    assert_eq!(scene.radio.texts(), ["Alice[M]: goes to the mesh"]);

    scene.radio.says(BASE, 0, "to the first only").await;
    scene
        .alice
        .sees_text(&scene.rooms[0], "[Base Camp/LongFast]: to the first only")
        .await;
    // Rooms are independent: only a later message in the second room proves that this one is not there.
    scene.alice.send(&scene.rooms[1], "the last word").await;
    scene.radio.transmits("Alice[M]: the last word").await;
    assert_eq!(bodies(&scene, 1), ["goes to the mesh", "the last word"]);
}

#[tokio::test]
async fn what_is_typed_on_the_radio_itself_is_relayed() {
    let mut scene = Plan::one_room(Kind::Plain).start().await;
    scene.alice.send(&scene.room, "who are you?").await;
    let own = scene.radio.transmits("Alice[M]: who are you?").await["from"].clone();
    scene
        .radio
        .sends(
            BASE,
            json!({"from": own, "channel": 0, "text": "typed on the radio"}),
        )
        .await;
    let seen = scene
        .alice
        .sees(&scene.room, "what was typed on the radio", |seen| {
            seen.content("/meshtastic_text") == "typed on the radio"
        });
    seen.await;
}

#[tokio::test]
async fn what_is_not_for_the_air_stays_on_the_ground() {
    let scene = Plan::one_room(Kind::Plain).start().await;
    let room = &scene.room;
    let notice = json!({"msgtype": "m.notice", "body": "from another bot"});
    scene.alice.send_message(room, notice).await;
    let suppressed = json!({"msgtype": "m.text", "body": "marked", "mmrelay_suppress": true});
    scene.alice.send_message(room, suppressed).await;
    scene.alice.send(room, "!help").await;
    scene.alice.send(room, "// between us").await;
    let relayed = json!({"msgtype": "m.text", "body": "from another relay", "meshtastic_id": 7,
        "meshtastic_longname": "Far", "meshtastic_shortname": "FAR", "meshtastic_meshnet": "Far"});
    scene.alice.send_message(room, relayed).await;
    scene.alice.send(room, "the last word").await;
    scene.radio.transmits("Alice[M]: the last word").await;
    assert_eq!(scene.radio.texts(), ["Alice[M]: the last word"]);
}

#[tokio::test]
async fn only_allowed_users_transmit() {
    let plan = Plan::one_room(Kind::Plain).matrix("allowed_users: ['@nobody:example.org']");
    let mut scene = plan.start().await;
    scene.alice.send(&scene.room, "not allowed").await;
    scene.radio.says(BASE, 0, "but she may read").await;
    scene
        .alice
        .sees_text(&scene.room, "[Base Camp/LongFast]: but she may read")
        .await;
    scene.relay.stop().await;
    assert_eq!(scene.radio.texts(), [""; 0]);
}

#[tokio::test]
async fn an_emote_says_who_does_it() {
    let scene = Plan::one_room(Kind::Plain).start().await;
    let emote = json!({"msgtype": "m.emote", "body": "waves"});
    scene.alice.send_message(&scene.room, emote).await;
    scene.radio.transmits("* Alice[M] waves").await;
}

#[tokio::test]
async fn a_long_text_is_sent_in_parts_that_fit() {
    let scene = Plan::one_room(Kind::Plain).start().await;
    let text = "word ".repeat(80);
    let sent = scene.alice.send(&scene.room, text.trim()).await;
    let parts = ["1/3", "2/3", "3/3"];
    let mut joined = String::new();
    for part in parts {
        let packet = scene.radio.transmits_where(part, |packet| {
            packet["text"]
                .as_str()
                .is_some_and(|text| text.contains(part))
        });
        let packet = packet.await;
        let text = packet["text"].as_str().unwrap_or_default();
        assert!(text.len() <= 200, "{text:?} has {} bytes", text.len());
        joined += text
            .split_once(part)
            .map_or("", |(_, rest)| rest.trim_start_matches(':'));
    }
    assert_eq!(joined.split_whitespace().count(), 80, "{sent}: {joined}");
}

/// The bodies in a room, without the prefix of the mesh.
fn bodies(scene: &Scene, room: usize) -> Vec<String> {
    let messages = scene.alice.messages(&scene.rooms[room]);
    let body = |body: &str| body.rsplit("]: ").next().unwrap_or(body).to_owned();
    messages.iter().map(|seen| body(seen.body())).collect()
}

#[tokio::test]
async fn without_encryption_nothing_is_said_in_an_encrypted_room() {
    let plan = Plan::default()
        .room(Kind::Plain)
        .room(Kind::Encrypted)
        .route(0, 0, "both")
        .route(1, 0, "both")
        .matrix("e2ee: {enabled: false}");
    let mut stage = plan.set_up().await;
    let _relay = stage.home.start().await;
    stage.alice.sees_join(&stage.rooms[0], &stage.bot).await;
    for text in ["one", "two", "three"] {
        stage.radio.says(BASE, 0, text).await;
        let expected = format!("[Base Camp/LongFast]: {text}");
        stage.alice.sees_text(&stage.rooms[0], &expected).await;
    }
    for seen in stage.alice.history(&stage.rooms[1]).await {
        assert_ne!(seen.event["sender"], stage.bot.as_str(), "{seen:?}");
    }
}

/// Formatted as clients do, each in its own way.
async fn goes_on_the_air_as_words(kind: Kind) {
    let mut scene = Plan::one_room(kind).start().await;
    let (alice, room) = (&scene.alice, &scene.room);
    let formatted = |body: &str, html: &str| json!({"msgtype": "m.text", "body": body, "format": "org.matrix.custom.html", "formatted_body": html});

    // Element X: every mention is a link to the id, in both texts. Bob has never said anything.
    let bob = User::new(Synapse::shared().await, "Bob").await;
    bob.joins(room, alice).await;
    let (id, link) = (bob.id(), format!("https://matrix.to/#/{}", bob.id()));
    let mentions = format!("[{id}]({link}) ").repeat(12);
    let mentions_html = format!("<a href=\"{link}\">{id}</a> ").repeat(12);
    let mut content = formatted(&format!("{mentions}hi"), &format!("{mentions_html}hi"));
    content["m.mentions"] = json!({"user_ids": [id]});
    alice.send_message(room, content).await;
    let names = "Bob ".repeat(12);
    scene.radio.transmits(&format!("Alice[M]: {names}hi")).await;
    let plain =
        json!({"msgtype": "m.text", "body": "[eve](https://matrix.to/#/@eve:example.org): hi"});
    alice.send_message(room, plain).await;
    scene.radio.transmits("Alice[M]: eve: hi").await;

    let list = formatted(
        "1. rope\n2. water",
        "<ol>\n<li>rope</li>\n<li><b>water</b></li>\n</ol>\n",
    );
    alice.send_message(room, list).await;
    scene.radio.transmits("Alice[M]: 1. rope\n2. water").await;
    if kind == Kind::Encrypted {
        // Elsewhere the homeserver requires a body.
        let odd = json!({"msgtype": "org.example.odd", "formatted_body": "<i>odd</i>"});
        alice.send_message(room, odd).await;
        scene.radio.transmits("Alice[M]: odd").await;
    }
    let nowhere = json!({"msgtype": "m.location", "body": "at the hut", "geo_uri": "geo:here"});
    alice.send_message(room, nowhere).await;
    scene
        .radio
        .transmits("Alice[M]: [location] at the hut")
        .await;

    // Element Android: a reply and its edit quote in both bodies.
    let question = scene.radio.says(BASE, 0, "who can hear me?").await;
    let expected = "[Base Camp/LongFast]: who can hear me?";
    let (alice, room) = (&scene.alice, &scene.room);
    let asked = alice.sees_text(room, expected).await;
    let bot = &scene.bot;
    let quoting = |words: &str, html: &str| {
        let quote = format!(
            "<mx-reply><blockquote>In reply to {bot}<br />{expected}</blockquote></mx-reply>"
        );
        formatted(
            &format!("> <{bot}> {expected}\n\n{words}"),
            &format!("{quote}{html}"),
        )
    };
    let mut reply = quoting("**I** can", "<b>I</b> can");
    reply["m.relates_to"] = json!({"m.in_reply_to": {"event_id": asked.id}});
    let reply = alice.send_message(room, reply).await;
    let sent = scene.radio.transmits("Alice[M]: I can").await;
    assert_eq!(sent["reply_id"], question);
    let relation = json!({"rel_type": "m.replace", "event_id": reply});
    let edit = |new: serde_json::Value| json!({"msgtype": "m.text", "body": "* …", "m.new_content": new, "m.relates_to": relation});
    // The same text: no correction.
    alice
        .send_message(room, edit(quoting("I **can**", "I <b>can</b>")))
        .await;
    alice
        .send_message(room, edit(quoting("so can **I**", "so can <b>I</b>")))
        .await;
    let sent_again = scene.radio.transmits("Alice[M]: * so can I").await;
    assert_eq!(sent_again["reply_id"], sent["id"]);
    let odd = usize::from(kind == Kind::Encrypted);
    assert_eq!(scene.radio.texts().len(), 6 + odd);
}

#[tokio::test]
async fn what_clients_format_goes_on_the_air_as_words_from_a_plain_room() {
    goes_on_the_air_as_words(Kind::Plain).await;
}

#[tokio::test]
async fn what_clients_format_goes_on_the_air_as_words_from_an_encrypted_room() {
    goes_on_the_air_as_words(Kind::Encrypted).await;
}
