//! Builds the JSON of the events that the relay sends to a room. Pure.

use std::collections::BTreeMap;

use matrix_sdk::ruma::events::Mentions;
use serde_json::{Value, json};

use relay_model::{AvatarPlace, EventId, RelayFields, RoomContent, SenderProfile, Timestamp, span};

/// What is sent for a row: an event with its content, or a redaction, which is a request of its own.
pub(super) enum Outgoing<'a> {
    Event { kind: &'static str, content: Value },
    Redaction { target: &'a EventId },
}

impl<'a> Outgoing<'a> {
    /// Builds the event to send at time `now`; with the picture of its sender, if there is one.
    pub(super) fn build(
        content: &'a RoomContent,
        now: Timestamp,
        avatar: Option<&AvatarPlace>,
    ) -> Self {
        match content {
            RoomContent::Text {
                notice,
                prefix,
                text,
                heard_at,
                reply_to,
                thread,
                mentions,
                mentions_room,
                fields,
                profile,
                suppress,
            } => {
                let late = heard_at.and_then(|heard_at| span::lateness(heard_at, now));
                let late = late.map(|age| format!("(delayed {}) ", span::short(age)));
                let text = late.unwrap_or_default() + text.as_str();
                let mut mentioned = Mentions::with_user_ids(mentions.iter().cloned());
                mentioned.room = *mentions_room;
                let mut event = fields.as_deref().map(named).unwrap_or_default();
                if let Some(profile) = profile {
                    event.extend(in_profile(profile, prefix, &text, avatar));
                }
                event.extend([
                    (
                        "msgtype",
                        if *notice { "m.notice" } else { "m.text" }.into(),
                    ),
                    ("body", format!("{prefix}{text}").into()),
                    // Always present, so that clients do not guess mentions from the text.
                    ("m.mentions", json!(mentioned)),
                    (
                        "m.relates_to",
                        relation(reply_to.as_deref(), thread.as_deref()),
                    ),
                    ("mmrelay_suppress", json!(suppress.then_some(true))),
                ]);
                event.retain(|_, value| !value.is_null());
                Self::Event {
                    kind: "m.room.message",
                    content: json!(event),
                }
            }
            RoomContent::Reaction { target, key } => Self::Event {
                kind: "m.reaction",
                content: json!({
                    "m.relates_to": {"rel_type": "m.annotation", "event_id": target, "key": key},
                    "mmrelay_suppress": true,
                }),
            },
            RoomContent::Redaction { target } => Self::Redaction { target },
        }
    }
}

fn relation(reply_to: Option<&EventId>, thread: Option<&EventId>) -> Value {
    match (thread, reply_to) {
        (Some(root), reply) => json!({
            "rel_type": "m.thread",
            "event_id": root,
            "is_falling_back": reply.is_none(),
            "m.in_reply_to": {"event_id": reply.unwrap_or(root)},
        }),
        (None, Some(target)) => json!({"m.in_reply_to": {"event_id": target}}),
        (None, None) => Value::Null,
    }
}

/// Returns what gives a message a name and picture of its own (MSC4144). For clients that do not know such profiles the prefix
/// stays: marked as their fallback, it is taken out by those that do.
fn in_profile(
    profile: &SenderProfile,
    prefix: &str,
    text: &str,
    avatar: Option<&AvatarPlace>,
) -> Vec<(&'static str, Value)> {
    let mut shown = json!({"id": profile.node.to_string(), "displayname": profile.name});
    match avatar.filter(|_| profile.avatar) {
        Some(AvatarPlace::Plain(url)) => shown["avatar_url"] = json!(url),
        Some(AvatarPlace::Encrypted(file)) => {
            shown["avatar_file"] = serde_json::from_str(file).unwrap_or_default();
        }
        // Clients make one of the name: the bot's would be wrong.
        None => shown["avatar_url"] = json!(""),
    }
    let mut event = Vec::new();
    if !prefix.is_empty() {
        shown["has_fallback"] = json!(true);
        let (prefix, text) = (as_html(prefix), as_html(text));
        let html = format!("<strong data-mx-profile-fallback>{prefix}</strong>{text}");
        event.push(("format", json!("org.matrix.custom.html")));
        event.push(("formatted_body", json!(html)));
    }
    event.push(("com.beeper.per_message_profile", shown));
    event
}

/// Returns the HTML that shows a text as it is.
fn as_html(text: &str) -> String {
    let mut html = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\n' => html.push_str("<br>"),
            other => html.push(other),
        }
    }
    html
}

/// Returns MMRelay's fields by their names in an event; unknown values are null.
fn named(fields: &RelayFields) -> BTreeMap<&'static str, Value> {
    // Events hold no fractions: a server refuses the whole event because of one.
    let snr = fields.snr.filter(|snr| snr.is_finite());
    BTreeMap::from([
        ("relay_id", json!(fields.relay_id)),
        ("meshtastic_longname", json!(fields.longname)),
        ("meshtastic_shortname", json!(fields.shortname)),
        ("meshtastic_meshnet", json!(fields.meshnet)),
        ("meshtastic_portnum", json!(fields.portnum)),
        ("meshtastic_id", json!(fields.id.map(|id| id.0))),
        ("meshtastic_text", json!(fields.text)),
        ("meshtastic_replyId", json!(fields.reply_id.map(|id| id.0))),
        ("meshtastic_emoji", json!(fields.emoji.then_some(1))),
        ("meshtastic_hops", json!(fields.hops)),
        ("meshtastic_snr", json!(snr.map(|snr| snr.to_string()))),
        ("meshtastic_rssi", json!(fields.rssi)),
        (
            "meshtastic_via_mqtt",
            json!(fields.via_mqtt.then_some(true)),
        ),
    ])
}

#[cfg(test)]
mod tests {
    use matrix_sdk::ruma::{owned_event_id, owned_user_id};

    use std::time::Duration;

    use super::*;
    use relay_model::{NodeNum, PacketId};

    const NOON: Timestamp = Timestamp(1_700_000_000_000);

    fn text() -> RoomContent {
        RoomContent::Text {
            notice: false,
            prefix: "[Alice/Net]: ".to_owned(),
            text: "hi <b>all</b>".to_owned(),
            heard_at: Some(NOON),
            reply_to: None,
            thread: None,
            mentions: Vec::new(),
            mentions_room: false,
            fields: None,
            profile: None,
            suppress: false,
        }
    }

    fn event(content: &RoomContent, now: Timestamp) -> Value {
        match Outgoing::build(content, now, None) {
            Outgoing::Event { content, .. } => content,
            Outgoing::Redaction { .. } => panic!("not an event"),
        }
    }

    #[test]
    fn a_text_has_a_plain_body_and_mentions_nobody() {
        assert_eq!(
            event(&text(), NOON),
            json!({"msgtype": "m.text", "body": "[Alice/Net]: hi <b>all</b>", "m.mentions": {}})
        );
    }

    #[test]
    fn mmrelays_fields_have_its_names_and_types_and_no_fractions() {
        let mut content = text();
        if let RoomContent::Text { fields, .. } = &mut content {
            *fields = Some(Box::new(RelayFields {
                id: Some(PacketId(3_000_000_000)),
                longname: "Alice".to_owned(),
                shortname: "A".to_owned(),
                meshnet: "Net".to_owned(),
                portnum: "TEXT_MESSAGE_APP".to_owned(),
                text: Some("hi".to_owned()),
                reply_id: Some(PacketId(7)),
                emoji: false,
                hops: Some(2),
                snr: Some(-6.25),
                rssi: Some(-97),
                via_mqtt: false,
                relay_id: Some("0af3".to_owned()),
            }));
        }
        assert_eq!(
            event(&content, NOON),
            json!({
                "msgtype": "m.text", "body": "[Alice/Net]: hi <b>all</b>", "m.mentions": {},
                "meshtastic_id": 3_000_000_000_u32, "meshtastic_longname": "Alice", "meshtastic_shortname": "A",
                "meshtastic_meshnet": "Net", "meshtastic_portnum": "TEXT_MESSAGE_APP", "meshtastic_text": "hi",
                "meshtastic_replyId": 7, "meshtastic_hops": 2, "meshtastic_snr": "-6.25", "meshtastic_rssi": -97,
                "relay_id": "0af3",
            })
        );
    }

    #[test]
    fn the_page_of_the_fields_names_each_of_them() {
        let page = include_str!("../../../docs/reference/events.md");
        let rows = page.lines().filter_map(|line| line.strip_prefix("| `"));
        let rows = rows.take_while(|row| !row.starts_with("mmrelay"));
        let mut told: Vec<_> = rows.filter_map(|row| row.split('`').next()).collect();
        told.sort_unstable();
        let fields = RelayFields {
            id: None,
            longname: String::new(),
            shortname: String::new(),
            meshnet: String::new(),
            portnum: String::new(),
            text: None,
            reply_id: None,
            emoji: false,
            hops: None,
            snr: None,
            rssi: None,
            via_mqtt: false,
            relay_id: None,
        };
        assert_eq!(told, named(&fields).into_keys().collect::<Vec<_>>());
    }

    fn with_profile(with_prefix: &str, said: &str, name: &str) -> RoomContent {
        let mut content = text();
        if let RoomContent::Text {
            prefix,
            text,
            profile,
            ..
        } = &mut content
        {
            with_prefix.clone_into(prefix);
            said.clone_into(text);
            *profile = Some(Box::new(SenderProfile {
                node: NodeNum(0xa1b2_c3d4),
                name: name.to_owned(),
                avatar: true,
            }));
        }
        content
    }

    fn profile_of(content: &RoomContent, avatar: Option<&AvatarPlace>) -> Value {
        match Outgoing::build(content, NOON, avatar) {
            Outgoing::Event { content, .. } => content["com.beeper.per_message_profile"].clone(),
            Outgoing::Redaction { .. } => panic!("not an event"),
        }
    }

    #[test]
    fn a_profile_names_the_sender_beside_the_prefix_whose_copy_is_marked_to_be_taken_out() {
        let content = with_profile("[Al <b>/Net]: ", "\"1 < 2\"\n& so on", "Al <b>");
        assert_eq!(
            event(&content, NOON),
            json!({
                "msgtype": "m.text", "m.mentions": {},
                "body": "[Al <b>/Net]: \"1 < 2\"\n& so on",
                "format": "org.matrix.custom.html",
                "formatted_body": "<strong data-mx-profile-fallback>[Al &lt;b&gt;/Net]: </strong>\
                                   &quot;1 &lt; 2&quot;<br>&amp; so on",
                "com.beeper.per_message_profile": {
                    "id": "!a1b2c3d4", "displayname": "Al <b>", "avatar_url": "", "has_fallback": true,
                },
            })
        );
        // Whoever reads it aloud, as another relay does, says what stands in the plain body.
        let told = event(&content, NOON);
        let names = relay_reading::Names::default();
        let read = relay_reading::read_message(
            "m.room.message",
            &told,
            relay_reading::Quote::None,
            &names,
        );
        assert_eq!(read.unwrap().1, told["body"].as_str().unwrap());
        // Its age is no part of what is taken out.
        let late = &event(&content, NOON + Duration::from_mins(14))["formatted_body"];
        assert!(
            late.as_str()
                .unwrap()
                .contains(": </strong>(delayed 14 min) &quot;")
        );
    }

    #[test]
    fn without_a_prefix_there_is_nothing_to_take_out() {
        let told = event(&with_profile("", "hi", "Alice"), NOON);
        assert_eq!(told["body"], "hi");
        assert_eq!(told["formatted_body"], Value::Null);
        let shown = &told["com.beeper.per_message_profile"];
        assert_eq!(
            *shown,
            json!({"id": "!a1b2c3d4", "displayname": "Alice", "avatar_url": ""})
        );
    }

    #[test]
    fn a_profile_has_the_nodes_picture_as_the_room_takes_it() {
        let content = with_profile("", "hi", "Alice");
        let plain = AvatarPlace::Plain("mxc://example.org/a".to_owned());
        let shown = profile_of(&content, Some(&plain));
        assert_eq!(shown["avatar_url"], "mxc://example.org/a");
        assert_eq!(shown["avatar_file"], Value::Null);
        let encrypted = AvatarPlace::Encrypted(r#"{"url": "mxc://example.org/b"}"#.to_owned());
        let shown = profile_of(&content, Some(&encrypted));
        assert_eq!(shown["avatar_file"], json!({"url": "mxc://example.org/b"}));
        assert_eq!(shown["avatar_url"], Value::Null);
    }

    #[test]
    fn a_message_more_than_five_minutes_old_says_so_after_its_prefix() {
        let body = |minutes: u64| {
            event(&text(), NOON + Duration::from_mins(minutes))["body"]
                .as_str()
                .unwrap()
                .to_owned()
        };
        assert_eq!(body(5), "[Alice/Net]: hi <b>all</b>");
        assert_eq!(body(14), "[Alice/Net]: (delayed 14 min) hi <b>all</b>");
        assert_eq!(body(150), "[Alice/Net]: (delayed 2 h) hi <b>all</b>");
        assert_eq!(body(3000), "[Alice/Net]: (delayed 2 days) hi <b>all</b>");
    }

    #[test]
    fn a_reply_and_a_thread_are_told_as_clients_tell_them() {
        let mut content = text();
        if let RoomContent::Text {
            reply_to, mentions, ..
        } = &mut content
        {
            *reply_to = Some(owned_event_id!("$first"));
            mentions.push(owned_user_id!("@bob:example.org"));
        }
        let told = event(&content, NOON);
        assert_eq!(
            told["m.relates_to"],
            json!({"m.in_reply_to": {"event_id": "$first"}})
        );
        assert_eq!(
            told["m.mentions"],
            json!({"user_ids": ["@bob:example.org"]})
        );
        if let RoomContent::Text { thread, .. } = &mut content {
            *thread = Some(owned_event_id!("$root"));
        }
        assert_eq!(
            event(&content, NOON)["m.relates_to"],
            json!({
                "rel_type": "m.thread", "event_id": "$root", "is_falling_back": false,
                "m.in_reply_to": {"event_id": "$first"},
            })
        );
        if let RoomContent::Text { reply_to, .. } = &mut content {
            *reply_to = None;
        }
        assert_eq!(
            event(&content, NOON)["m.relates_to"],
            json!({
                "rel_type": "m.thread", "event_id": "$root", "is_falling_back": true,
                "m.in_reply_to": {"event_id": "$root"},
            })
        );
    }

    #[test]
    fn a_reaction_holds_its_relation_and_the_suppress_mark_and_nothing_else() {
        let reaction = RoomContent::Reaction {
            target: owned_event_id!("$first"),
            key: "👍".to_owned(),
        };
        assert_eq!(
            event(&reaction, NOON),
            json!({
                "m.relates_to": {"rel_type": "m.annotation", "event_id": "$first", "key": "👍"},
                "mmrelay_suppress": true,
            })
        );
    }
}
