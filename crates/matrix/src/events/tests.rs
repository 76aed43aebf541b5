//! Conversion of room events to what the relay handles.

use matrix_sdk::ruma::{owned_event_id, owned_room_id, owned_user_id, user_id};
use serde_json::json;

use super::*;

fn alice() -> SenderFacts {
    SenderFacts {
        name: "Alice".to_owned(),
        power: 50,
    }
}

fn convert(kind: &str, content: &Value) -> Option<MatrixEvent> {
    let json = json!({
        "type": kind, "event_id": "$event", "sender": "@alice:example.org",
        "origin_server_ts": 1_700_000_000_000_i64, "content": content,
    });
    Envelope::read(&json.to_string())?.into_event(
        owned_room_id!("!room:example.org"),
        alice(),
        Shelter::PlainRoom,
    )
}

fn message(content: &Value) -> RoomText {
    match convert("m.room.message", content) {
        Some(MatrixEvent::Text(text)) => *text,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_text_is_read_formatted_and_keeps_its_senders_facts() {
    let text = message(&json!({
        "msgtype": "m.text", "body": "**hi**", "formatted_body": "<b>hi</b>", "format": "org.matrix.custom.html",
    }));
    assert_eq!(text.body, "hi");
    assert_eq!(
        (text.sender_name.as_str(), text.sender_power),
        ("Alice", 50)
    );
    assert_eq!(text.sent_at, Timestamp(1_700_000_000_000));
    assert_eq!(text.kind, RoomTextKind::Text);
    assert_eq!((text.relay, text.suppress), (None, false));
}

#[test]
fn a_reply_loses_its_fallback_and_nothing_else() {
    let reply = json!({"m.in_reply_to": {"event_id": "$first"}});
    let text = message(&json!({
        "msgtype": "m.text", "body": "> <@bob:example.org> one\n> two\n\nyes\n> no", "m.relates_to": reply,
    }));
    assert_eq!(text.body, "yes\n> no");
    assert_eq!(text.reply_to, Some(owned_event_id!("$first")));

    let quote = message(&json!({"msgtype": "m.text", "body": "> I say so", "m.relates_to": reply}));
    assert_eq!(quote.body, "> I say so");
    let plain = message(&json!({"msgtype": "m.text", "body": "> <@bob:example.org> one\n\nyes"}));
    assert_eq!(plain.body, "> <@bob:example.org> one\n\nyes");
    let only = message(
        &json!({"msgtype": "m.text", "body": "> <@bob:example.org> one", "m.relates_to": reply}),
    );
    assert_eq!(only.body, "");
}

#[test]
fn a_threads_fallback_is_no_reply() {
    let content = |falls_back: bool| {
        json!({
            "msgtype": "m.text", "body": "in a thread",
            "m.relates_to": {
                "rel_type": "m.thread", "event_id": "$root", "is_falling_back": falls_back,
                "m.in_reply_to": {"event_id": "$last"},
            },
        })
    };
    let text = message(&content(true));
    assert_eq!(text.thread, Some(owned_event_id!("$root")));
    assert_eq!(text.reply_to, None);
    let text = message(&content(false));
    assert_eq!(text.thread, Some(owned_event_id!("$root")));
    assert_eq!(text.reply_to, Some(owned_event_id!("$last")));
}

#[test]
fn an_edit_tells_its_target_and_its_new_text() {
    let event = convert(
        "m.room.message",
        &json!({
            "msgtype": "m.text", "body": "* new", "m.new_content": {"msgtype": "m.text", "body": "new"},
            "m.relates_to": {"rel_type": "m.replace", "event_id": "$first"},
        }),
    );
    let Some(MatrixEvent::Edit(edit)) = event else {
        panic!("{event:?}");
    };
    assert_eq!(edit.target, owned_event_id!("$first"));
    assert_eq!(edit.new.body, "new");
    assert_eq!(edit.new.event, owned_event_id!("$event"));
}

#[test]
fn a_file_name_is_no_caption() {
    let media = |content: Value| {
        let text = message(&content);
        (text.kind, text.body)
    };
    let image = RoomTextKind::Media { word: "image" };
    assert_eq!(
        media(json!({"msgtype": "m.image", "body": "IMG_1.jpg", "url": "mxc://x/y"})),
        (image.clone(), String::new())
    );
    assert_eq!(
        media(json!({"msgtype": "m.image", "body": "IMG_1.jpg", "filename": "IMG_1.jpg"})),
        (image.clone(), String::new())
    );
    assert_eq!(
        media(json!({"msgtype": "m.image", "body": "sunset", "filename": "IMG_1.jpg"})),
        (image, "sunset".to_owned())
    );
    assert_eq!(
        media(json!({"msgtype": "m.audio", "body": "v.ogg", "org.matrix.msc3245.voice": {}})).0,
        RoomTextKind::Media { word: "voice" }
    );
}

#[test]
fn a_place_is_told_as_two_numbers_or_in_words() {
    let told = |uri: &str| {
        let text = message(&json!({"msgtype": "m.location", "body": "here", "geo_uri": uri}));
        (text.kind, text.body)
    };
    assert_eq!(
        told("geo:48.2082012345,16.37,170;u=35"),
        (RoomTextKind::Location, "48.20820,16.37000".to_owned())
    );
    for wrong in ["geo:here,there", "48,16", "geo:91,0", "geo:NaN,0", "geo:1"] {
        let words = (RoomTextKind::Location, "here".to_owned());
        assert_eq!(told(wrong), words, "{wrong}");
    }
}

#[test]
fn a_poll_is_its_question_in_each_of_its_spellings() {
    for (kind, content) in [
        (
            "m.poll.start",
            json!({"m.poll": {"question": {"m.text": [{"body": "Where?"}]}}}),
        ),
        (
            "org.matrix.msc3381.poll.start",
            json!({"org.matrix.msc3381.poll.start": {"question": {"org.matrix.msc1767.text": "Where?"}}}),
        ),
    ] {
        let Some(MatrixEvent::Text(text)) = convert(kind, &content) else {
            panic!("{kind}");
        };
        assert_eq!(
            (text.kind, text.body.as_str()),
            (RoomTextKind::Poll, "Where?")
        );
    }
}

#[test]
fn a_live_location_is_one_when_it_begins_and_with_each_of_its_places() {
    let begins = |kind: &str, live: Value| {
        let json = json!({
            "type": kind, "event_id": "$event", "sender": "@alice:example.org", "origin_server_ts": 1,
            "state_key": "@alice:example.org", "content": {"live": live, "timeout": 60_000},
        });
        let envelope = Envelope::read(&json.to_string()).unwrap();
        envelope.into_event(
            owned_room_id!("!room:example.org"),
            alice(),
            Shelter::PlainRoom,
        )
    };
    for (info, place) in [
        ("m.beacon_info", "m.beacon"),
        (
            "org.matrix.msc3672.beacon_info",
            "org.matrix.msc3672.beacon",
        ),
    ] {
        let relation = json!({"rel_type": "m.reference", "event_id": "$event"});
        let told = convert(place, &json!({"m.relates_to": relation}));
        for told in [begins(info, json!(true)), told] {
            let Some(MatrixEvent::Text(text)) = told else {
                panic!("{info}: {told:?}");
            };
            assert_eq!(
                (text.kind, text.body.as_str(), text.reply_to),
                (RoomTextKind::LiveLocation, "", None)
            );
        }
        for over in [json!(false), json!("true"), Value::Null] {
            assert_eq!(begins(info, over), None);
        }
    }
    assert_eq!(begins("m.room.topic", json!(true)), None);
}

#[test]
fn fields_of_a_relay_are_read_whatever_their_type() {
    let text = message(&json!({
        "msgtype": "m.text", "body": "[Ann/Net]: hi", "mmrelay_suppress": true,
        "meshtastic_id": "4294967295", "meshtastic_longname": 7, "meshtastic_shortname": ["x"],
        "meshtastic_meshnet": "Net", "meshtastic_portnum": 1, "meshtastic_text": "hi",
        "meshtastic_replyId": -5, "meshtastic_emoji": 1, "meshtastic_hops": 300,
        "meshtastic_snr": "6.25", "meshtastic_rssi": -97, "meshtastic_via_mqtt": "yes",
    }));
    assert!(text.suppress);
    assert_eq!(
        text.relay.map(|fields| *fields),
        Some(RelayFields {
            id: Some(PacketId(u32::MAX)),
            longname: "7".to_owned(),
            meshnet: "Net".to_owned(),
            portnum: "1".to_owned(),
            text: Some("hi".to_owned()),
            emoji: true,
            snr: Some(6.25),
            rssi: Some(-97),
            ..RelayFields::default()
        })
    );
}

#[test]
fn a_reaction_needs_its_relation() {
    let content = json!({
        "m.relates_to": {"rel_type": "m.annotation", "event_id": "$first", "key": "👍"}, "mmrelay_suppress": true,
    });
    let Some(MatrixEvent::Reaction(reaction)) = convert("m.reaction", &content) else {
        panic!();
    };
    assert_eq!((reaction.key.as_str(), reaction.suppress), ("👍", true));
    assert_eq!(reaction.target, owned_event_id!("$first"));
    assert_eq!(
        convert("m.reaction", &json!({"m.relates_to": {"key": 1}})),
        None
    );
}

#[test]
fn a_ban_is_seen_and_a_kick_is_none() {
    let member = |kind: &str, membership: &str| {
        let json = json!({
            "type": kind, "event_id": "$event", "sender": "@alice:example.org",
            "state_key": "@bob:example.org", "content": {"membership": membership},
        });
        Envelope::read(&json.to_string()).unwrap().banned()
    };
    let bob = owned_user_id!("@bob:example.org");
    assert_eq!(member("m.room.member", "ban"), Some(bob));
    assert_eq!(member("m.room.member", "leave"), None);
    assert_eq!(member("m.room.message", "ban"), None);
}

#[test]
fn a_redaction_is_understood_in_old_and_new_rooms() {
    let old = json!({
        "type": "m.room.redaction", "event_id": "$event", "sender": "@alice:example.org", "redacts": "$first",
        "content": {},
    });
    let new = json!({
        "type": "m.room.redaction", "event_id": "$event", "sender": "@alice:example.org",
        "content": {"redacts": "$first"},
    });
    for json in [old, new] {
        let event = Envelope::read(&json.to_string()).unwrap().into_event(
            owned_room_id!("!room:example.org"),
            alice(),
            Shelter::PlainRoom,
        );
        let Some(MatrixEvent::Redaction(redaction)) = event else {
            panic!("{event:?}");
        };
        assert_eq!(redaction.target, owned_event_id!("$first"));
    }
}

/// Returns an event as the server shows it, and the same as the content of an encrypted event.
fn plain_and_encrypted(json: &Value) -> [TimelineEvent; 2] {
    let plain = serde_json::from_value(json.clone()).unwrap();
    let decrypted = json!({
        "event": json,
        "encryption_info": {
            "sender": "@alice:example.org", "sender_device": null, "verification_state": "Verified",
            "algorithm_info": {"MegolmV1AesSha2": {"curve25519_key": "", "sender_claimed_keys": {}}},
        },
    });
    let decrypted = serde_json::from_value(decrypted).unwrap();
    [
        TimelineEvent::from_plaintext(plain),
        TimelineEvent::from_decrypted(decrypted, None),
    ]
}

#[test]
fn only_what_the_server_saw_is_state_or_takes_something_away() {
    for membership in ["join", "leave", "ban"] {
        let member = json!({
            "type": "m.room.member", "event_id": "$event", "sender": "@alice:example.org",
            "state_key": "@bob:example.org", "content": {"membership": membership},
        });
        let [plain, encrypted] =
            plain_and_encrypted(&member).map(|event| Envelope::of(&event).unwrap());
        assert!(plain.membership_of(user_id!("@bob:example.org")).is_some());
        assert_eq!(plain.banned().is_some(), membership == "ban");
        assert_eq!(encrypted.membership_of(user_id!("@bob:example.org")), None);
        assert_eq!(encrypted.banned(), None);
    }
    let redaction = json!({
        "type": "m.room.redaction", "event_id": "$event", "sender": "@alice:example.org",
        "redacts": "$first", "content": {"redacts": "$first"},
    });
    let [plain, encrypted] = plain_and_encrypted(&redaction).map(|event| {
        let room = owned_room_id!("!room:example.org");
        let shelter = match event.kind {
            TimelineEventKind::Decrypted(_) => Shelter::Encrypted,
            _ => Shelter::InClear,
        };
        let envelope = Envelope::of(&event).unwrap();
        envelope.into_event(room, alice(), shelter)
    });
    assert!(matches!(plain, Some(MatrixEvent::Redaction(_))));
    assert_eq!(encrypted, None);
}

#[test]
fn what_people_cannot_read_is_nothing() {
    for (kind, content) in [
        ("m.room.message", json!({})),
        ("m.room.message", json!(null)),
        ("m.room.message", json!({"msgtype": "m.text"})),
        ("m.room.message", json!({"msgtype": "m.text", "body": 5})),
        ("m.poll.start", json!({"m.poll": []})),
        ("m.call.invite", json!({"body": "ring"})),
        ("m.room.redaction", json!({})),
    ] {
        assert_eq!(convert(kind, &content), None, "{kind} {content}");
    }
    for broken in ["", "[]", "{}", r#"{"type": 5}"#] {
        assert!(Envelope::read(broken).is_none(), "{broken}");
    }
}

#[test]
fn a_body_has_a_bound_and_is_never_cut_inside_a_character() {
    let text = message(&json!({"msgtype": "m.text", "body": "é".repeat(60_000)}));
    assert_eq!(text.body.len(), LONGEST_BODY);
    assert_eq!(cut("aé", 2), "a");
    assert_eq!(cut("aé", 3), "aé");
}

#[test]
fn an_event_of_ours_tells_its_transaction() {
    let json = json!({
        "type": "m.room.message", "event_id": "$event", "sender": "@relay:example.org", "content": {},
        "unsigned": {"transaction_id": "t1"}, "origin_server_ts": 7,
    });
    let own = Envelope::read(&json.to_string())
        .unwrap()
        .into_own(owned_room_id!("!room:example.org"));
    assert_eq!(
        own,
        MatrixEvent::Own {
            room: owned_room_id!("!room:example.org"),
            event: owned_event_id!("$event"),
            transaction: Some("t1".into()),
            relay_id: None,
            of_mesh: false,
            sent_at: Timestamp(7),
        }
    );
}

#[test]
fn a_name_is_the_profiles_else_the_localpart() {
    let bob = owned_user_id!("@bob:example.org");
    assert_eq!(display_name(Some("Bob"), &bob), "Bob");
    assert_eq!(display_name(Some("  "), &bob), "bob");
    assert_eq!(display_name(None, &bob), "bob");
}
