//! An event's JSON, as people and hostile servers write it, to a [`MatrixEvent`]. Nothing is trusted to be of the
//! right type, and every text has a bound.

use matrix_sdk::deserialized_responses::{TimelineEvent, TimelineEventKind};
use serde_json::Value;

use crate::model::{
    EventId, MatrixEvent, OwnedEventId, OwnedRoomId, OwnedUserId, PacketId, RelayFields, RoomEdit,
    RoomReaction, RoomRedaction, RoomText, RoomTextKind, Timestamp,
};

/// More than any number of packets carries; what is longer is refused all the same.
const LONGEST_BODY: usize = 8 * 1024;
/// Names and such.
const LONGEST_NAME: usize = 512;

/// What an event's JSON does not say of its sender.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SenderFacts {
    pub(super) name: String,
    pub(super) power: i64,
}

/// An event of the timeline, read as far as every event is alike.
#[derive(Debug)]
pub(super) struct Envelope {
    pub(super) kind: String,
    pub(super) event: OwnedEventId,
    pub(super) sender: OwnedUserId,
    pub(super) sent_at: Timestamp,
    pub(super) state_key: Option<String>,
    json: Value,
}

impl Envelope {
    /// Reads an event of a timeline; `None` if it is not even shaped like one. What was encrypted was never authorised by
    /// a server: of its type and key of state there is only its sender's word, so it is never state.
    pub(super) fn of(event: &TimelineEvent) -> Option<Self> {
        let mut envelope = Self::read(event.raw().json().get())?;
        if matches!(event.kind, TimelineEventKind::Decrypted(_)) {
            envelope.state_key = None;
        }
        Some(envelope)
    }

    /// Reads an event; `None` if it is not even shaped like one.
    pub(super) fn read(json: &str) -> Option<Self> {
        let json: Value = serde_json::from_str(json).ok()?;
        let text = |key: &str| json.get(key).and_then(Value::as_str);
        Some(Self {
            kind: text("type")?.to_owned(),
            event: OwnedEventId::try_from(text("event_id")?).ok()?,
            sender: OwnedUserId::try_from(text("sender")?).ok()?,
            sent_at: Timestamp(
                json.get("origin_server_ts")
                    .and_then(Value::as_i64)
                    .unwrap_or(0)
                    .max(0),
            ),
            state_key: text("state_key").map(str::to_owned),
            json,
        })
    }

    /// Returns what the homeserver's clock showed when it told of this event, if it says how old the event is.
    pub(super) fn told_at(&self) -> Option<Timestamp> {
        let unsigned = self.json.get("unsigned")?;
        let age = unsigned.get("age").and_then(Value::as_i64)?;
        Some(Timestamp(self.sent_at.0.saturating_add(age)))
    }

    /// Returns the user's membership before and after, if this event changes the membership of `user`.
    pub(super) fn membership_of(&self, user: &str) -> Option<(String, String)> {
        if self.kind != "m.room.member" || self.state_key.as_deref() != Some(user) {
            return None;
        }
        let membership = |content: Option<&Value>| {
            content
                .and_then(|content| content.get("membership"))
                .and_then(Value::as_str)
                .unwrap_or("leave")
                .to_owned()
        };
        let before = self
            .json
            .get("unsigned")
            .and_then(|unsigned| unsigned.get("prev_content"));
        Some((membership(before), membership(Some(self.content()))))
    }

    /// Returns who is banned by this event, if it bans somebody.
    pub(super) fn banned(&self) -> Option<OwnedUserId> {
        if self.kind != "m.room.member" {
            return None;
        }
        let membership = self.content().get("membership").and_then(Value::as_str);
        if membership != Some("ban") {
            return None;
        }
        OwnedUserId::try_from(self.state_key.as_deref()?).ok()
    }

    fn content(&self) -> &Value {
        self.json.get("content").unwrap_or(&Value::Null)
    }

    /// Returns this event as one of ours that came back.
    pub(super) fn into_own(self, room: OwnedRoomId) -> MatrixEvent {
        let transaction = self
            .json
            .get("unsigned")
            .and_then(|unsigned| unsigned.get("transaction_id"))
            .and_then(Value::as_str)
            .map(Into::into);
        MatrixEvent::Own {
            room,
            event: self.event,
            transaction,
        }
    }

    /// Returns this event as one that cannot be read.
    pub(super) fn into_undecryptable(
        self,
        room: OwnedRoomId,
        sender: &SenderFacts,
        session: String,
        raw: String,
    ) -> MatrixEvent {
        MatrixEvent::Undecryptable {
            room,
            event: self.event,
            sender: self.sender,
            sender_power: sender.power,
            sent_at: self.sent_at,
            session,
            raw,
        }
    }

    /// Returns this event as one that says nothing to the relay.
    pub(super) fn into_other(self, room: OwnedRoomId) -> MatrixEvent {
        MatrixEvent::Text(Box::new(RoomText {
            room,
            event: self.event,
            sender: self.sender,
            sender_name: String::new(),
            sender_power: 0,
            sent_at: self.sent_at,
            kind: RoomTextKind::Other,
            body: String::new(),
            reply_to: None,
            thread: None,
            relay: None,
            suppress: false,
            encrypted: true,
        }))
    }

    /// Returns what the relay makes of this event; `None`: nothing.
    pub(super) fn into_event(
        self,
        room: OwnedRoomId,
        sender: SenderFacts,
        encrypted: bool,
    ) -> Option<MatrixEvent> {
        if self.state_key.is_some() {
            return None;
        }
        match self.kind.as_str() {
            // Who may redact what is for the server to say, and it has not seen what was encrypted.
            "m.room.redaction" if !encrypted => {
                let target = self
                    .json
                    .get("redacts")
                    .or_else(|| self.content().get("redacts"));
                Some(MatrixEvent::Redaction(Box::new(RoomRedaction {
                    room,
                    target: event_id(target)?,
                    event: self.event,
                    sender: self.sender,
                })))
            }
            "m.reaction" => {
                let relation = self.content().get("m.relates_to")?;
                if relation.get("rel_type").and_then(Value::as_str) != Some("m.annotation") {
                    return None;
                }
                let key = relation.get("key").and_then(Value::as_str)?;
                Some(MatrixEvent::Reaction(Box::new(RoomReaction {
                    room,
                    target: event_id(relation.get("event_id"))?,
                    key: cut(key, LONGEST_NAME).to_owned(),
                    suppress: is_suppressed(self.content()),
                    event: self.event,
                    sender: self.sender,
                    sender_name: sender.name,
                    sender_power: sender.power,
                    sent_at: self.sent_at,
                })))
            }
            "m.room.message" | "m.sticker" | "m.poll.start" | "org.matrix.msc3381.poll.start" => {
                self.into_message(room, sender, encrypted)
            }
            _ => None,
        }
    }

    fn into_message(
        self,
        room: OwnedRoomId,
        sender: SenderFacts,
        encrypted: bool,
    ) -> Option<MatrixEvent> {
        let content = self.content();
        let edited = replaced(content);
        let shown = match &edited {
            Some(_) => content.get("m.new_content")?,
            None => content,
        };
        let (kind, body) = read_message(&self.kind, shown)?;
        let relation = Relation::read(content);
        let body = if relation.reply_to.is_some() || relation.falls_back {
            without_reply_fallback(&body)
        } else {
            &body
        };
        let text = RoomText {
            room,
            sender_name: sender.name,
            sender_power: sender.power,
            sent_at: self.sent_at,
            kind,
            body: cut(body, LONGEST_BODY).to_owned(),
            reply_to: relation.reply_to,
            thread: relation.thread,
            relay: relay_fields(shown)
                .or_else(|| relay_fields(content))
                .map(Box::new),
            suppress: is_suppressed(content) || is_suppressed(shown),
            encrypted,
            event: self.event.clone(),
            sender: self.sender.clone(),
        };
        Some(match edited {
            Some(target) => MatrixEvent::Edit(Box::new(RoomEdit { target, new: text })),
            None => MatrixEvent::Text(Box::new(text)),
        })
    }
}

/// Returns the event that this content replaces, if it is an edit.
fn replaced(content: &Value) -> Option<OwnedEventId> {
    let relation = content.get("m.relates_to")?;
    if relation.get("rel_type").and_then(Value::as_str) != Some("m.replace") {
        return None;
    }
    event_id(relation.get("event_id"))
}

#[derive(Debug, Default)]
struct Relation {
    reply_to: Option<OwnedEventId>,
    thread: Option<OwnedEventId>,
    /// The reply is only there for clients that know no threads.
    falls_back: bool,
}

impl Relation {
    fn read(content: &Value) -> Self {
        let Some(relation) = content.get("m.relates_to") else {
            return Self::default();
        };
        let reply_to = event_id(
            relation
                .get("m.in_reply_to")
                .and_then(|reply| reply.get("event_id")),
        );
        if relation.get("rel_type").and_then(Value::as_str) != Some("m.thread") {
            return Self {
                reply_to,
                ..Self::default()
            };
        }
        let falls_back = relation
            .get("is_falling_back")
            .and_then(Value::as_bool)
            .unwrap_or(false);
        Self {
            reply_to: reply_to.filter(|_| !falls_back),
            thread: event_id(relation.get("event_id")),
            falls_back,
        }
    }
}

/// Returns what kind of message it is, and what of it can be read aloud.
fn read_message(event_type: &str, content: &Value) -> Option<(RoomTextKind, String)> {
    let body = content.get("body").and_then(Value::as_str);
    match event_type {
        "m.sticker" => Some((RoomTextKind::Media { word: "sticker" }, String::new())),
        "m.poll.start" | "org.matrix.msc3381.poll.start" => {
            Some((RoomTextKind::Poll, poll_question(content)?))
        }
        _ => {
            // A message without a type or body was redacted, or never was one.
            let kind = content.get("msgtype").and_then(Value::as_str)?;
            let body = body?;
            let media = |word| (RoomTextKind::Media { word }, caption(content, body));
            Some(match kind {
                "m.text" => (RoomTextKind::Text, body.to_owned()),
                "m.emote" => (RoomTextKind::Emote, body.to_owned()),
                "m.notice" => (RoomTextKind::Notice, body.to_owned()),
                "m.image" => media("image"),
                "m.video" => media("video"),
                "m.audio" if content.get("org.matrix.msc3245.voice").is_some() => media("voice"),
                "m.audio" => media("audio"),
                "m.file" => media("file"),
                "m.location" => match place(content) {
                    Some(place) => (RoomTextKind::Location, place),
                    None => (RoomTextKind::Other, body.to_owned()),
                },
                "m.key.verification.request" => (RoomTextKind::VerificationRequest, String::new()),
                _ => (RoomTextKind::Other, body.to_owned()),
            })
        }
    }
}

/// Returns a medium's caption: its body, if there is a file name beside it and the two differ.
fn caption(content: &Value, body: &str) -> String {
    match content.get("filename").and_then(Value::as_str) {
        Some(name) if name != body => body.to_owned(),
        Some(_) | None => String::new(),
    }
}

/// Returns `lat,lon` of a location.
fn place(content: &Value) -> Option<String> {
    let uri = content
        .get("geo_uri")
        .or_else(|| content.get("m.location")?.get("uri"))
        .or_else(|| content.get("org.matrix.msc3488.location")?.get("uri"))
        .and_then(Value::as_str)?;
    let (coordinates, _) = uri
        .strip_prefix("geo:")
        .map(|rest| rest.split_once(';').unwrap_or((rest, "")))?;
    let mut parts = coordinates.split(',');
    let latitude: f64 = parts.next()?.trim().parse().ok()?;
    let longitude: f64 = parts.next()?.trim().parse().ok()?;
    if !(-90.0..=90.0).contains(&latitude) || !(-180.0..=180.0).contains(&longitude) {
        return None;
    }
    // Five decimals are a metre, and all that fits on the air.
    Some(format!("{latitude:.5},{longitude:.5}"))
}

fn poll_question(content: &Value) -> Option<String> {
    let poll = content
        .get("m.poll")
        .or_else(|| content.get("org.matrix.msc3381.poll.start"))?;
    let question = poll.get("question")?;
    let texts = ["m.text", "org.matrix.msc1767.text", "body"];
    texts.iter().find_map(|key| match question.get(key)? {
        Value::String(text) => Some(text.clone()),
        Value::Array(forms) => forms
            .iter()
            .find_map(|form| form.get("body").and_then(Value::as_str))
            .map(str::to_owned),
        _ => None,
    })
}

/// Returns a reply's own text: without the quote that older clients put before it.
fn without_reply_fallback(body: &str) -> &str {
    if !body.starts_with("> <") && !body.starts_with("> * <") {
        return body;
    }
    let mut rest = body;
    while rest.starts_with("> ") || rest.starts_with(">\n") || rest == ">" {
        rest = rest.split_once('\n').map_or("", |(_, after)| after);
    }
    rest.strip_prefix('\n').unwrap_or(rest)
}

fn is_suppressed(content: &Value) -> bool {
    match content.get("mmrelay_suppress") {
        Some(Value::Bool(on)) => *on,
        Some(Value::String(text)) => text == "true",
        Some(Value::Number(number)) => number.as_i64() == Some(1),
        Some(_) | None => false,
    }
}

/// Reads MMRelay's fields, whatever type they have; `None` if there is none of them.
fn relay_fields(content: &Value) -> Option<RelayFields> {
    let fields = content.as_object()?;
    if !fields.keys().any(|key| key.starts_with("meshtastic_")) {
        return None;
    }
    let text = |key: &str| readable(fields.get(key)?, LONGEST_NAME);
    let number = |key: &str| whole(fields.get(key)?);
    let packet = |key: &str| {
        number(key)
            .and_then(|number| u32::try_from(number).ok())
            .filter(|number| *number != 0)
            .map(PacketId)
    };
    Some(RelayFields {
        id: packet("meshtastic_id"),
        longname: text("meshtastic_longname").unwrap_or_default(),
        shortname: text("meshtastic_shortname").unwrap_or_default(),
        meshnet: text("meshtastic_meshnet").unwrap_or_default(),
        portnum: text("meshtastic_portnum").unwrap_or_default(),
        text: fields
            .get("meshtastic_text")
            .and_then(|value| readable(value, LONGEST_BODY)),
        reply_id: packet("meshtastic_replyId"),
        emoji: is_one(fields.get("meshtastic_emoji")),
        hops: number("meshtastic_hops").and_then(|number| u8::try_from(number).ok()),
        snr: fields.get("meshtastic_snr").and_then(decimal),
        rssi: number("meshtastic_rssi").and_then(|number| i32::try_from(number).ok()),
        via_mqtt: is_one(fields.get("meshtastic_via_mqtt")),
    })
}

fn readable(value: &Value, longest: usize) -> Option<String> {
    match value {
        Value::String(text) => Some(cut(text, longest).to_owned()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

fn whole(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => number.as_i64(),
        Value::String(text) if text.len() <= 20 => text.trim().parse().ok(),
        _ => None,
    }
}

fn decimal(value: &Value) -> Option<f32> {
    let number: f32 = match value {
        Value::Number(number) => number.to_string().parse().ok()?,
        Value::String(text) if text.len() <= 20 => text.trim().parse().ok()?,
        _ => return None,
    };
    number.is_finite().then_some(number)
}

fn is_one(value: Option<&Value>) -> bool {
    match value {
        Some(Value::Bool(on)) => *on,
        Some(other) => whole(other) == Some(1),
        None => false,
    }
}

fn event_id(value: Option<&Value>) -> Option<OwnedEventId> {
    let text = value?.as_str()?;
    <&EventId>::try_from(text).ok().map(ToOwned::to_owned)
}

/// Cuts a text to at most `longest` bytes, at the border of a character.
pub(super) fn cut(text: &str, longest: usize) -> &str {
    text.get(..text.floor_char_boundary(longest))
        .unwrap_or(text)
}

/// Returns the name to call a member by: the room profile's, else the localpart (never the whole id).
pub(super) fn display_name(profile: Option<&str>, user: &OwnedUserId) -> String {
    match profile.map(str::trim) {
        Some(name) if !name.is_empty() => cut(name, LONGEST_NAME).to_owned(),
        Some(_) | None => user.localpart().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use matrix_sdk::ruma::{owned_event_id, owned_room_id, owned_user_id};
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
            false,
        )
    }

    fn message(content: &Value) -> RoomText {
        match convert("m.room.message", content) {
            Some(MatrixEvent::Text(text)) => *text,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_text_keeps_its_plain_body_and_its_senders_facts() {
        let text = message(&json!({
            "msgtype": "m.text", "body": "**hi**", "formatted_body": "<b>hi</b>", "format": "org.matrix.custom.html",
        }));
        assert_eq!(text.body, "**hi**");
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

        let quote =
            message(&json!({"msgtype": "m.text", "body": "> I say so", "m.relates_to": reply}));
        assert_eq!(quote.body, "> I say so");
        let plain =
            message(&json!({"msgtype": "m.text", "body": "> <@bob:example.org> one\n\nyes"}));
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
    fn a_place_is_told_as_two_numbers_or_not_at_all() {
        let told = |uri: &str| {
            let text = message(&json!({"msgtype": "m.location", "body": "here", "geo_uri": uri}));
            (text.kind, text.body)
        };
        assert_eq!(
            told("geo:48.2082012345,16.37,170;u=35"),
            (RoomTextKind::Location, "48.20820,16.37000".to_owned())
        );
        for wrong in ["geo:here,there", "48,16", "geo:91,0", "geo:NaN,0", "geo:1"] {
            assert_eq!(told(wrong).0, RoomTextKind::Other, "{wrong}");
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
                false,
            );
            let Some(MatrixEvent::Redaction(redaction)) = event else {
                panic!("{event:?}");
            };
            assert_eq!(redaction.target, owned_event_id!("$first"));
        }
    }

    /// An event as the server shows it, and as it stands encrypted in another.
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
            assert!(plain.membership_of("@bob:example.org").is_some());
            assert_eq!(plain.banned().is_some(), membership == "ban");
            assert_eq!(encrypted.membership_of("@bob:example.org"), None);
            assert_eq!(encrypted.banned(), None);
        }
        let redaction = json!({
            "type": "m.room.redaction", "event_id": "$event", "sender": "@alice:example.org",
            "redacts": "$first", "content": {"redacts": "$first"},
        });
        let [plain, encrypted] = plain_and_encrypted(&redaction).map(|event| {
            let room = owned_room_id!("!room:example.org");
            let encrypted = matches!(event.kind, TimelineEventKind::Decrypted(_));
            let envelope = Envelope::of(&event).unwrap();
            envelope.into_event(room, alice(), encrypted)
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
            ("m.room.message", json!({"body": "no type"})),
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
            "unsigned": {"transaction_id": "t1"},
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
}
