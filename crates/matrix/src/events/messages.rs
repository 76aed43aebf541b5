//! Texts extracted from messages: as clients send them, according to their sources (`tests/fixtures/messages`), and
//! malformed ones.

use std::path::Path;
use std::{env, fs};

use serde::Deserialize;
use serde_json::json;

use super::*;
use matrix_sdk::ruma::{owned_room_id, owned_user_id};

/// The messages of one client.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Corpus {
    client: String,
    version: String,
    messages: Vec<Message>,
}

/// A message, and its expected text.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Message {
    /// Where the client's source creates it.
    source: String,
    what: String,
    #[serde(rename = "type", default = "room_message")]
    event_type: String,
    content: Value,
    #[serde(default = "text_kind")]
    kind: String,
    text: String,
}

fn room_message() -> String {
    "m.room.message".to_owned()
}

fn text_kind() -> String {
    "text".to_owned()
}

fn read(event_type: &str, content: &Value) -> Option<RoomText> {
    let event = json!({
        "type": event_type, "event_id": "$event", "sender": "@alice:example.org", "origin_server_ts": 1,
        "content": content,
    });
    let mut envelope = Envelope::read(&event.to_string())?;
    // The members of the room.
    let members = [
        (owned_user_id!("@bob:example.org"), "Bob"),
        (owned_user_id!("@carol:example.org"), "Carol C"),
    ];
    let mentioned: Vec<OwnedUserId> = envelope.mentioned();
    for (user, name) in members {
        if mentioned.contains(&user) {
            envelope.names.insert(user, name.to_owned());
        }
    }
    let sender = SenderFacts {
        name: "Alice".to_owned(),
        power: 0,
    };
    match envelope.into_event(
        owned_room_id!("!room:example.org"),
        sender,
        Shelter::PlainRoom,
    )? {
        MatrixEvent::Text(text) => Some(*text),
        MatrixEvent::Edit(edit) => Some(edit.new),
        other => panic!("{other:?}"),
    }
}

fn kind_of(text: &RoomText) -> &'static str {
    match text.kind {
        RoomTextKind::Text => "text",
        RoomTextKind::Emote => "emote",
        RoomTextKind::Notice => "notice",
        RoomTextKind::Media { word } => word,
        RoomTextKind::Location => "location",
        RoomTextKind::Poll => "poll",
        RoomTextKind::LiveLocation => "live",
        RoomTextKind::VerificationRequest => "verification",
        RoomTextKind::Other => "other",
    }
}

#[test]
fn what_clients_send_is_read_as_a_person_would_read_it_aloud() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/messages");
    let (mut read_messages, mut wrong) = (0, Vec::new());
    for file in fs::read_dir(folder).unwrap() {
        let file = file.unwrap().path();
        let corpus: Corpus = serde_json::from_str(&fs::read_to_string(&file).unwrap())
            .unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        for message in corpus.messages {
            read_messages += 1;
            let found = read(&message.event_type, &message.content);
            let found = found.map(|text| (kind_of(&text), text.body));
            let wanted = (message.kind.as_str(), message.text);
            if found.as_ref().map(|(kind, text)| (*kind, text.clone())) != Some(wanted.clone()) {
                let (client, version) = (&corpus.client, &corpus.version);
                wrong.push(format!(
                    "{client} {version}, {} ({}):\n  wanted {wanted:?}\n  found  {found:?}",
                    message.what, message.source
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(read_messages >= 40, "{read_messages}");
}

fn body(content: &Value) -> Option<String> {
    read("m.room.message", content).map(|text| text.body)
}

#[test]
fn the_formatted_text_is_read_where_it_gives_text_else_the_plain_one() {
    for (content, text) in [
        (
            json!({"body": "b", "format": "org.matrix.custom.html", "formatted_body": "<b>f</b>"}),
            "f",
        ),
        (json!({"body": "b", "formatted_body": "<b>f</b>"}), "b"),
        (
            json!({"body": "b", "format": "text/markdown", "formatted_body": "**f**"}),
            "b",
        ),
        (
            json!({"body": "b", "format": "org.matrix.custom.html", "formatted_body": ""}),
            "b",
        ),
        (
            json!({"body": "b", "format": "org.matrix.custom.html", "formatted_body": "<p></p>"}),
            "b",
        ),
        (
            json!({"body": "b", "format": "org.matrix.custom.html", "formatted_body": 7}),
            "b",
        ),
        (
            json!({"body": "b", "format": "org.matrix.custom.html"}),
            "b",
        ),
        (
            json!({"formatted_body": "<b>f</b>", "format": "org.matrix.custom.html"}),
            "f",
        ),
        (json!({"formatted_body": "<b>f</b>"}), "f"),
        (json!({"body": 7, "formatted_body": "<b>f</b>"}), "f"),
        (
            json!({"m.text": [{"body": "<b>f</b>", "mimetype": "text/html"}, {"body": "e"}]}),
            "f",
        ),
        (json!({"m.text": [{"body": "e"}]}), "e"),
        (json!({"org.matrix.msc1767.text": "e"}), "e"),
        (json!({"body": "b", "org.matrix.msc1767.text": "e"}), "b"),
    ] {
        let mut content = content;
        content["msgtype"] = "m.text".into();
        assert_eq!(body(&content).as_deref(), Some(text), "{content}");
    }
    let huge = "<b>x</b>".repeat(1000);
    let content = json!({
        "msgtype": "m.text", "body": "b", "format": "org.matrix.custom.html", "formatted_body": huge,
    });
    assert_eq!(body(&content).as_deref(), Some("b"));
}

#[test]
fn what_is_there_of_an_unknown_kind_is_read_and_a_verification_never() {
    for kind in [json!(7), json!({}), json!(null)] {
        let content = json!({"msgtype": kind, "body": "words"});
        assert!(read("m.room.message", &content).is_none(), "{kind}");
    }
    for kind in [json!("org.example.odd"), json!("nic.custom.confetti")] {
        let content = json!({"msgtype": kind, "body": "words"});
        let text = read("m.room.message", &content).unwrap();
        assert_eq!(
            (kind_of(&text), text.body.as_str()),
            ("text", "words"),
            "{kind}"
        );
    }
    for kind in ["m.key.verification.request", "m.key.verification.start"] {
        let content =
            json!({"msgtype": kind, "body": "Alice wants to verify", "formatted_body": "x"});
        let text = read("m.room.message", &content).unwrap();
        assert_eq!((kind_of(&text), text.body.as_str()), ("verification", ""));
    }
    let content = json!({"m.text": [{"body": "words"}]});
    for event_type in ["m.message", "org.matrix.msc1767.message"] {
        assert_eq!(read(event_type, &content).unwrap().body, "words");
    }
}

#[test]
fn a_place_is_told_by_its_numbers_else_by_its_words() {
    let place = |content: Value| {
        let mut content = content;
        content["msgtype"] = "m.location".into();
        read("m.room.message", &content).map(|text| (kind_of(&text), text.body))
    };
    let at = Some(("location", "48.20820,16.37000".to_owned()));
    for uri in [
        "geo:48.2082,16.37",
        "geo:48.2082,16.37,170;u=35",
        "GEO:48.2082,16.37;crs=wgs84",
        "geo:48.2082,16.37?z=17",
    ] {
        assert_eq!(place(json!({"body": "here", "geo_uri": uri})), at, "{uri}");
        assert_eq!(
            place(json!({"m.location": {"uri": uri, "description": "x"}})),
            at
        );
        assert_eq!(
            place(json!({"geo_uri": "x", "org.matrix.msc3488.location": {"uri": uri}})),
            at
        );
    }
    let words = Some(("location", "at the hut".to_owned()));
    for wrong in [
        json!("geo:here,there"),
        json!("geo:91,0"),
        json!("geo:NaN,0"),
        json!("geo:1"),
        json!("48,16"),
        json!(7),
        json!(null),
    ] {
        assert_eq!(
            place(json!({"body": "at the hut", "geo_uri": wrong})),
            words,
            "{wrong}"
        );
    }
    assert_eq!(place(json!({"geo_uri": "geo:"})), None);
}

#[test]
fn only_an_answers_quote_is_left_out() {
    let quote = "> <@bob:example.org> one\n> two\n\nyes\n> no";
    let text = |content: Value| {
        let mut content = content;
        content["msgtype"] = "m.text".into();
        body(&content)
    };
    for relation in [
        json!({"m.in_reply_to": {"event_id": "$first"}}),
        json!({"m.in_reply_to": {}}),
        json!({"m.in_reply_to": null}),
        json!({"m.in_reply_to": {"event_id": 7}}),
        json!({"rel_type": "m.thread", "event_id": "$root", "is_falling_back": true}),
        json!({"rel_type": "m.thread", "event_id": "$root", "is_falling_back": true, "m.in_reply_to": {"event_id": "$last"}}),
        json!({"rel_type": "m.thread", "event_id": "$root", "m.in_reply_to": {"event_id": "$last"}}),
    ] {
        let told = text(json!({"body": quote, "m.relates_to": relation}));
        assert_eq!(told.as_deref(), Some("yes\n> no"), "{relation}");
    }
    let escaped = "&gt; &lt;@bob:example.org&gt; one<br>&gt; two<br><br>yes";
    let told = text(json!({
        "body": quote, "format": "org.matrix.custom.html", "formatted_body": escaped,
        "m.relates_to": {"m.in_reply_to": {"event_id": "$first"}},
    }));
    assert_eq!(told.as_deref(), Some("yes"));
    for own in [quote, "> I say so", "> <b> is bold"] {
        assert_eq!(text(json!({"body": own})).as_deref(), Some(own));
    }
    let edit = json!({"rel_type": "m.replace", "event_id": "$first"});
    for (new, told) in [
        (json!({"body": quote}), "yes\n> no"),
        (
            json!({"body": "> * <@bob:example.org> waves\n\nyes"}),
            "yes",
        ),
        (json!({"body": "> <Bob> one\n\nyes"}), "> <Bob> one\n\nyes"),
        (json!({"body": "> I say so"}), "> I say so"),
        (
            json!({"body": "> <Bob> one\n\nyes", "m.relates_to": {"m.in_reply_to": {"event_id": "$x"}}}),
            "yes",
        ),
    ] {
        let mut new = new;
        new["msgtype"] = "m.text".into();
        let told_now = text(json!({"body": "* x", "m.new_content": new, "m.relates_to": edit}));
        assert_eq!(told_now.as_deref(), Some(told), "{new}");
    }
}
