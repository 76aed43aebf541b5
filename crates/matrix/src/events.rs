//! Converts an event's JSON, which may come from hostile servers, to a [`MatrixEvent`]. No type is trusted, and every
//! text is limited in length.

use std::str::FromStr;

use matrix_sdk::deserialized_responses::{TimelineEvent, TimelineEventKind};
use matrix_sdk::ruma::UserId;
use serde_json::Value;

use relay_model::{
    MatrixEvent, OwnedEventId, OwnedRoomId, OwnedUserId, PacketId, RelayFields, RoomEdit, RoomId,
    RoomReaction, RoomRedaction, RoomText, RoomTextKind, Timestamp,
};
use relay_reading::{Names, Quote, cut, read_message};

/// Maximum length of a body in bytes, more than any number of packets carries; longer messages are refused anyway.
const LONGEST_BODY: usize = 8 * 1024;
/// Maximum length of names and reaction keys, in bytes.
const LONGEST_NAME: usize = 512;
/// Maximum number of mentioned users whose ids are replaced by names.
const MOST_MENTIONED: usize = 32;

/// Facts about the sender that the event's JSON does not contain.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct SenderFacts {
    pub(super) name: String,
    pub(super) power: i64,
}

/// Whether an event was encrypted, and whether it should have been.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shelter {
    /// It was encrypted.
    Encrypted,
    /// It was not, in a room that is encrypted.
    InClear,
    /// Its room is not encrypted.
    PlainRoom,
}

/// The fields that all timeline events have in common.
pub(super) struct Envelope {
    pub(super) kind: String,
    pub(super) event: OwnedEventId,
    pub(super) sender: OwnedUserId,
    pub(super) sent_at: Timestamp,
    pub(super) state_key: Option<String>,
    /// Display names of the mentioned users.
    pub(super) names: Names,
    json: Value,
}

impl Envelope {
    /// Reads a timeline event; `None` if it is malformed. An encrypted event is never state: no server has authorised
    /// its type and state key.
    pub(super) fn of(event: &TimelineEvent) -> Option<Self> {
        let mut envelope = Self::read(event.raw().json().get())?;
        if matches!(event.kind, TimelineEventKind::Decrypted(_)) {
            envelope.state_key = None;
        }
        Some(envelope)
    }

    /// Reads an event; `None` if it is malformed.
    pub(super) fn read(json: &str) -> Option<Self> {
        let json: Value = serde_json::from_str(json).ok()?;
        Some(Self {
            kind: json["type"].as_str()?.to_owned(),
            event: event_id(&json["event_id"])?,
            sender: json["sender"].as_str()?.try_into().ok()?,
            sent_at: Timestamp(json["origin_server_ts"].as_i64().unwrap_or(0).max(0)),
            state_key: json["state_key"].as_str().map(str::to_owned),
            names: Names::new(),
            json,
        })
    }

    pub(super) fn content(&self) -> &Value {
        &self.json["content"]
    }

    /// Returns the homeserver's time when it sent this event, if the event carries its age.
    pub(super) fn told_at(&self) -> Option<Timestamp> {
        let age = self.json["unsigned"]["age"].as_i64()?;
        Some(Timestamp(self.sent_at.0.saturating_add(age)))
    }

    pub(super) fn membership(&self) -> Option<&str> {
        let membership = self.content()["membership"].as_str();
        membership.filter(|_| self.kind == "m.room.member")
    }

    /// Returns the user's membership before and after, if this event changes the membership of `user`.
    pub(super) fn membership_of(&self, user: &UserId) -> Option<(&str, &str)> {
        if self.kind != "m.room.member" || self.state_key.as_deref() != Some(user.as_str()) {
            return None;
        }
        let before = self.json["unsigned"]["prev_content"]["membership"].as_str();
        let after = self.membership().unwrap_or("leave");
        Some((before.unwrap_or("leave"), after))
    }

    /// Returns the users mentioned by id, as Element X does; their ids are replaced by names.
    pub(super) fn mentioned(&self) -> Vec<OwnedUserId> {
        let shown = (self.content().get("m.new_content")).unwrap_or(self.content());
        let text = |key: &str| shown[key].as_str().unwrap_or_default();
        let (plain, formatted) = (text("body"), text("formatted_body"));
        let users = shown["m.mentions"]["user_ids"].as_array();
        users
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .take(MOST_MENTIONED)
            .filter(|user| {
                plain.contains(&format!("[{user}]")) || formatted.contains(&format!("{user}</a>"))
            })
            .filter_map(|user| OwnedUserId::try_from(user).ok())
            .collect()
    }

    pub(super) fn banned(&self) -> Option<OwnedUserId> {
        let user = OwnedUserId::try_from(self.state_key.as_deref()?).ok();
        user.filter(|_| self.membership() == Some("ban"))
    }

    /// Returns what a ban is to the relay; `None` for other events. It counts as in force.
    pub(super) fn ban(&self, room: &RoomId) -> Option<MatrixEvent> {
        Some(MatrixEvent::Banned {
            room: room.to_owned(),
            event: self.event.clone(),
            user: self.banned()?,
            sent_at: self.sent_at,
            stands: true,
        })
    }

    /// Returns whether the sender starts sharing a live location: the only state event that is a message to people.
    pub(super) fn begins_live_location(&self) -> bool {
        let is_info = ["m.beacon_info", "org.matrix.msc3672.beacon_info"].contains(&&*self.kind);
        is_info && self.content()["live"] == true
    }

    /// Returns this event as an echo of one that we sent.
    pub(super) fn into_own(self, room: OwnedRoomId) -> MatrixEvent {
        let transaction = self.json["unsigned"]["transaction_id"].as_str();
        let transaction = transaction.map(Into::into);
        let fields = relay_fields(self.content());
        MatrixEvent::Own {
            room,
            transaction,
            of_mesh: fields.is_some(),
            relay_id: fields.and_then(|fields| fields.relay_id),
            sent_at: self.sent_at,
            event: self.event,
        }
    }

    /// Returns this event as a text without meaning to the relay.
    pub(super) fn into_other(self, room: OwnedRoomId) -> MatrixEvent {
        let nobody = SenderFacts::default();
        let text = self.text(room, nobody, RoomTextKind::Other, String::new());
        MatrixEvent::Text(Box::new(text))
    }

    /// Returns a plain text from this event's sender.
    fn text(
        &self,
        room: OwnedRoomId,
        sender: SenderFacts,
        kind: RoomTextKind,
        body: String,
    ) -> RoomText {
        RoomText {
            room,
            event: self.event.clone(),
            sender: self.sender.clone(),
            sender_name: sender.name,
            sender_power: sender.power,
            sent_at: self.sent_at,
            kind,
            body,
            reply_to: None,
            thread: None,
            relay: None,
            suppress: false,
            in_clear: false,
        }
    }

    /// Converts this event to what the relay handles; `None`: nothing.
    pub(super) fn into_event(
        self,
        room: OwnedRoomId,
        sender: SenderFacts,
        shelter: Shelter,
    ) -> Option<MatrixEvent> {
        if self.state_key.is_some() && !self.begins_live_location() {
            return None;
        }
        match self.kind.as_str() {
            // The server decides who may redact, and it cannot see encrypted events.
            "m.room.redaction" if shelter != Shelter::Encrypted => {
                let redacts = self.json.get("redacts");
                Some(MatrixEvent::Redaction(Box::new(RoomRedaction {
                    room,
                    target: event_id(redacts.unwrap_or(&self.content()["redacts"]))?,
                    event: self.event,
                    sender: self.sender,
                })))
            }
            "m.reaction" => {
                let relation = &self.content()["m.relates_to"];
                let key = relation["key"].as_str()?;
                Some(MatrixEvent::Reaction(Box::new(RoomReaction {
                    room,
                    target: related(relation, "m.annotation")?,
                    key: cut(key, LONGEST_NAME).to_owned(),
                    suppress: is_suppressed(self.content()),
                    event: self.event,
                    sender: self.sender,
                    sender_name: sender.name,
                    sender_power: sender.power,
                    sent_at: self.sent_at,
                })))
            }
            _ => self.into_message(room, sender, shelter == Shelter::InClear),
        }
    }

    fn into_message(
        self,
        room: OwnedRoomId,
        sender: SenderFacts,
        in_clear: bool,
    ) -> Option<MatrixEvent> {
        let content = self.content();
        let edited = related(&content["m.relates_to"], "m.replace");
        let shown = match &edited {
            Some(_) => content.get("m.new_content")?,
            None => content,
        };
        let relation = Relation::read(content);
        let quote = if relation.quotes || Relation::read(shown).quotes {
            Quote::Reply
        } else if edited.is_some() {
            // An edit does not tell whether the edited message was a reply.
            Quote::Perhaps
        } else {
            Quote::None
        };
        let (kind, body) = read_message(&self.kind, shown, quote, &self.names)?;
        let fields = relay_fields(shown).or_else(|| relay_fields(content));
        let text = RoomText {
            reply_to: relation.reply_to,
            thread: relation.thread,
            relay: fields.map(Box::new),
            suppress: is_suppressed(content) || is_suppressed(shown),
            in_clear,
            ..self.text(room, sender, kind, cut(&body, LONGEST_BODY).to_owned())
        };
        Some(match edited {
            Some(target) => MatrixEvent::Edit(Box::new(RoomEdit { target, new: text })),
            None => MatrixEvent::Text(Box::new(text)),
        })
    }
}

/// Returns the target of a relation, if it has the wanted type.
fn related(relation: &Value, wanted: &str) -> Option<OwnedEventId> {
    event_id(&relation["event_id"]).filter(|_| relation["rel_type"] == wanted)
}

/// What `m.relates_to` says of a message, apart from edits and reactions.
struct Relation {
    reply_to: Option<OwnedEventId>,
    thread: Option<OwnedEventId>,
    /// The message quotes what it answers, possibly only for clients without threads.
    quotes: bool,
}

impl Relation {
    fn read(content: &Value) -> Self {
        let relation = &content["m.relates_to"];
        let reply = relation.get("m.in_reply_to");
        let reply_to = reply.and_then(|reply| event_id(&reply["event_id"]));
        let is_thread = relation["rel_type"] == "m.thread";
        let falls_back = is_thread && relation["is_falling_back"] == true;
        Self {
            reply_to: reply_to.filter(|_| !falls_back),
            thread: related(relation, "m.thread"),
            quotes: reply.is_some() || falls_back,
        }
    }
}

fn is_suppressed(content: &Value) -> bool {
    let mark = &content["mmrelay_suppress"];
    *mark == true || *mark == "true" || *mark == 1
}

/// Reads MMRelay's fields, whatever their types; `None` if the event has none.
fn relay_fields(content: &Value) -> Option<RelayFields> {
    let mut keys = content.as_object()?.keys();
    if !keys.any(|key| key.starts_with("meshtastic_")) {
        return None;
    }
    let text = |key: &str| readable(&content[key], LONGEST_NAME);
    let packet = |key: &str| {
        let id = number(&content[key]).map(PacketId);
        id.filter(|id| *id != PacketId::NONE)
    };
    Some(RelayFields {
        id: packet("meshtastic_id"),
        longname: text("meshtastic_longname").unwrap_or_default(),
        shortname: text("meshtastic_shortname").unwrap_or_default(),
        meshnet: text("meshtastic_meshnet").unwrap_or_default(),
        portnum: text("meshtastic_portnum").unwrap_or_default(),
        text: readable(&content["meshtastic_text"], LONGEST_BODY),
        reply_id: packet("meshtastic_replyId"),
        emoji: is_one(&content["meshtastic_emoji"]),
        hops: number(&content["meshtastic_hops"]),
        snr: number(&content["meshtastic_snr"]).filter(|snr: &f32| snr.is_finite()),
        rssi: number(&content["meshtastic_rssi"]),
        via_mqtt: is_one(&content["meshtastic_via_mqtt"]),
        relay_id: text("relay_id"),
    })
}

fn readable(value: &Value, longest: usize) -> Option<String> {
    match value {
        Value::String(text) => Some(cut(text, longest).to_owned()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// Reads a number, or a string that holds one.
fn number<T: FromStr>(value: &Value) -> Option<T> {
    match value {
        Value::Number(number) => number.to_string().parse().ok(),
        Value::String(text) if text.len() <= 20 => text.trim().parse().ok(),
        _ => None,
    }
}

fn is_one(value: &Value) -> bool {
    *value == true || number(value) == Some(1_i64)
}

fn event_id(value: &Value) -> Option<OwnedEventId> {
    value.as_str()?.try_into().ok()
}

/// Returns a member's name: the room profile's, else the localpart (never the whole id).
pub(super) fn display_name(profile: Option<&str>, user: &OwnedUserId) -> String {
    let name = profile.map(str::trim).filter(|name| !name.is_empty());
    cut(name.unwrap_or(user.localpart()), LONGEST_NAME).to_owned()
}

#[cfg(test)]
mod messages;
#[cfg(test)]
mod tests;
