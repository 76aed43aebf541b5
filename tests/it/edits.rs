//! An edit changes a waiting message and corrects a sent one; a ban withdraws waiting messages.

use matrix_sdk::ruma::{OwnedEventId, OwnedRoomId};
use serde_json::json;

use crate::support::radio::{Radio, SUMMIT, id_of};
use crate::support::scene::{Plan, Scene};
use crate::support::synapse::Synapse;
use crate::support::user::{BOTH_KINDS, Kind, User};

async fn edit(user: &User, room: &OwnedRoomId, event: &OwnedEventId, text: &str) -> OwnedEventId {
    let content = json!({
        "msgtype": "m.text", "body": format!("* {text}"),
        "m.new_content": {"msgtype": "m.text", "body": text},
        "m.relates_to": {"rel_type": "m.replace", "event_id": event},
    });
    user.send_message(room, content).await
}

/// Disconnects the radio, and waits until the relay has noticed.
async fn radio_away(scene: &mut Scene) -> u16 {
    let port = scene.radio.port();
    scene.radio.end().await;
    scene.relay.logs("no link to the radio").await;
    port
}

async fn bob_joins(scene: &Scene) -> User {
    let bob = User::new(Synapse::shared().await, "Bob").await;
    let room = scene.alice.client().get_room(&scene.room);
    let room = room.expect("Alice is in the room");
    room.invite_user_by_id(bob.id())
        .await
        .expect("Alice may invite");
    bob.client()
        .join_room_by_id(&scene.room)
        .await
        .expect("Bob is invited");
    scene.alice.sees_join(&scene.room, bob.id()).await;
    bob
}

#[tokio::test]
async fn what_waits_is_changed_in_its_place_whatever_its_length() {
    for kind in BOTH_KINDS {
        let mut scene = Plan::one_room(kind).start().await;
        let port = radio_away(&mut scene).await;
        let (alice, room) = (&scene.alice, &scene.room);
        let long = "word ".repeat(60);
        let long = alice.send(room, long.trim()).await;
        alice.send(room, "between").await;
        let short = alice.send(room, "meet at noon").await;
        edit(alice, room, &long, "never mind").await;
        let longer = format!("meet at one, {}", "and bring everything ".repeat(12));
        edit(alice, room, &short, longer.trim()).await;
        // Each is handled before the radio is back.
        for packets in [2, 1] {
            let changed = format!("changed before it was transmitted packets={packets}");
            scene.relay.logs(&changed).await;
        }
        alice.send(room, "marker").await;

        scene.radio = Radio::start_on(port).await;
        scene.radio.transmits("Alice[M]: marker").await;
        let texts = scene.radio.texts();
        assert_eq!(texts.len(), 5, "{texts:?}");
        assert_eq!(texts[..2], ["Alice[M]: never mind", "Alice[M]: between"]);
        assert!(texts[2].starts_with("Alice[M]: 1/2 meet at one, and"));
        assert!(texts[3].starts_with("Alice 2/2: "));
    }
}

#[tokio::test]
async fn what_was_sent_is_corrected_once_for_several_edits_and_twice_at_most() {
    let mut scene = Plan::one_room(Kind::Plain).start().await;
    let (alice, room) = (&scene.alice, &scene.room);
    let event = alice.send(room, "helo").await;
    let original = id_of(&scene.radio.transmits("Alice[M]: helo").await);
    edit(alice, room, &event, "hell").await;
    edit(alice, room, &event, "hello").await;
    let correction = scene.radio.transmits("Alice[M]: * hello").await;
    assert_eq!(correction["reply_id"], original);

    // A reply to the correction is a reply to the message, and a reply to the message one to its first packet.
    scene
        .radio
        .replies(SUMMIT, 0, id_of(&correction), "hello yourself")
        .await;
    let answer = scene
        .alice
        .sees_text(&scene.room, "[Summit Hut/LongFast]: hello yourself")
        .await;
    assert_eq!(answer.answers(), Some(event.as_str()));
    let (alice, room) = (&scene.alice, &scene.room);
    alice.reply(room, &event, "by the way").await;
    let answer = scene.radio.transmits("Alice[M]: by the way").await;
    assert_eq!(answer["reply_id"], original);

    edit(alice, room, &event, "hello all").await;
    let second = scene.radio.transmits("Alice[M]: * hello all").await;
    assert_eq!(second["reply_id"], original);
    edit(alice, room, &event, "hello everybody").await;
    scene.relay.logs("corrected twice already").await;
    assert_eq!(
        scene.radio.texts(),
        ["helo", "* hello", "by the way", "* hello all"].map(|text| format!("Alice[M]: {text}"))
    );
}

#[tokio::test]
async fn nobody_edits_what_another_person_wrote_and_a_redaction_takes_a_correction_along() {
    let scene = Plan::one_room(Kind::Plain).start().await;
    let bob = bob_joins(&scene).await;
    let (alice, room) = (&scene.alice, &scene.room);
    let event = alice.send(room, "helo").await;
    scene.radio.transmits("Alice[M]: helo").await;
    edit(&bob, room, &event, "send me money").await;
    scene.relay.logs("an edit by another person").await;

    edit(alice, room, &event, "hello").await;
    scene.relay.logs("correction=true").await;
    alice.redact(room, &event).await;
    scene
        .relay
        .logs("taken back before it was transmitted")
        .await;
    alice.send(room, "marker").await;
    scene.radio.transmits("Alice[M]: marker").await;
    assert_eq!(scene.radio.texts(), ["Alice[M]: helo", "Alice[M]: marker"]);
}

#[tokio::test]
async fn without_resend_nothing_is_said_again() {
    let plan = Plan::one_room(Kind::Plain).meshtastic("edits: queued");
    let scene = plan.start().await;
    let (alice, room) = (&scene.alice, &scene.room);
    let event = alice.send(room, "helo").await;
    scene.radio.transmits("Alice[M]: helo").await;
    edit(alice, room, &event, "hello").await;
    scene.relay.logs("(meshtastic.edits)").await;
}

#[tokio::test]
async fn a_ban_takes_back_what_its_target_wrote_and_nothing_else() {
    let mut scene = Plan::one_room(Kind::Plain).start().await;
    let bob = bob_joins(&scene).await;
    let port = radio_away(&mut scene).await;
    bob.send(&scene.room, "spam").await;
    bob.send(&scene.room, "more spam").await;
    scene.alice.sees_text(&scene.room, "more spam").await;
    scene.alice.send(&scene.room, "wait a moment").await;
    let room = scene.alice.client().get_room(&scene.room);
    let room = room.expect("Alice is in the room");
    room.ban_user(bob.id(), None).await.expect("Alice may ban");
    scene.relay.logs("banned: what waited of them").await;

    scene.radio = Radio::start_on(port).await;
    scene.radio.transmits("Alice[M]: wait a moment").await;
    assert_eq!(scene.radio.texts(), ["Alice[M]: wait a moment"]);
}

#[tokio::test]
async fn what_is_forged_inside_an_encrypted_event_takes_nothing_away_and_hides_nothing() {
    let scene = Plan::one_room(Kind::Encrypted).start().await;
    let bob = bob_joins(&scene).await;
    let (alice, room) = (&scene.alice, &scene.room);
    let event = alice.send(room, "helo").await;
    scene.radio.transmits("Alice[M]: helo").await;
    edit(alice, room, &event, "hello").await;
    scene.relay.logs("correction=true").await;
    let redaction = json!({"redacts": event.as_str(), "reason": "forged"});
    bob.send_raw(room, "m.room.redaction", redaction).await;
    scene.radio.transmits("Alice[M]: * hello").await;
    alice.send(room, "marker").await;
    scene.radio.transmits("Alice[M]: marker").await;
    let texts = ["helo", "* hello", "marker"].map(|text| format!("Alice[M]: {text}"));
    assert_eq!(scene.radio.texts(), texts);
}

#[tokio::test]
async fn what_is_said_of_an_edit_is_said_of_the_message_that_was_edited() {
    for kind in BOTH_KINDS {
        let scene = Plan::one_room(kind).start().await;
        let (alice, room) = (&scene.alice, &scene.room);
        let message = alice.send(room, "meet at noon").await;
        let sent = scene.radio.transmits("Alice[M]: meet at noon").await;
        let changed = edit(alice, room, &message, "meet at one").await;
        let correction = scene.radio.transmits("Alice[M]: * meet at one").await;
        assert_eq!(correction["reply_id"], sent["id"]);
        // The same text: nothing is transmitted for it, but it can be replied to.
        let same = edit(alice, room, &message, "meet at one").await;
        for target in [&changed, &same] {
            let text = format!("why, {target}?");
            alice.reply(room, target, &text).await;
            let reply = scene.radio.transmits(&format!("Alice[M]: {text}")).await;
            assert_eq!(reply["reply_id"], sent["id"]);
        }
        alice.react(room, &changed, "👍").await;
        let tapback = scene
            .radio
            .transmits_where("the tapback", |packet| packet["text"] == "👍")
            .await;
        assert_eq!(tapback["reply_id"], sent["id"]);
    }
}

#[tokio::test]
async fn a_mesh_reply_to_a_correction_answers_the_message_itself() {
    let mut scene = Plan::one_room(Kind::Encrypted).start().await;
    let message = scene.alice.send(&scene.room, "meet at noon").await;
    scene.radio.transmits("Alice[M]: meet at noon").await;
    edit(&scene.alice, &scene.room, &message, "meet at one").await;
    let correction = scene.radio.transmits("Alice[M]: * meet at one").await;
    let packet = id_of(&correction);
    scene.radio.replies(SUMMIT, 0, packet, "we come").await;
    let expected = "[Summit Hut/LongFast]: we come";
    let reply = scene.alice.sees_text(&scene.room, expected).await;
    assert_eq!(reply.answers(), Some(message.as_str()));
}
