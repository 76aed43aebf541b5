//! How the content of an event for a room stands in its outbox row: JSON of our own, with a version, so that a row
//! that waits over an upgrade can still be read. It is not the JSON that Matrix gets.

use serde::{Deserialize, Serialize};

use crate::model::{OwnedEventId, OwnedUserId, PacketId, RelayFields, RoomContent, Timestamp};

/// The version that we write.
const VERSION: u8 = 1;

/// Why a stored content cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum ContentError {
    #[error("the stored content has version {0}, which this relay does not know")]
    Version(u8),
    #[error("the stored content is not what we write")]
    Json(#[from] serde_json::Error),
}

#[derive(Serialize, Deserialize)]
struct Versioned<T> {
    version: u8,
    content: T,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Stored {
    Text(Box<StoredText>),
    Reaction { target: OwnedEventId, key: String },
    Redaction { target: OwnedEventId },
}

#[derive(Serialize, Deserialize)]
struct StoredText {
    notice: bool,
    prefix: String,
    text: String,
    heard_at: Option<Timestamp>,
    reply_to: Option<OwnedEventId>,
    thread: Option<OwnedEventId>,
    mentions: Vec<OwnedUserId>,
    mentions_room: bool,
    fields: Option<Fields>,
    suppress: bool,
}

#[derive(Serialize, Deserialize)]
struct Fields {
    id: Option<PacketId>,
    longname: String,
    shortname: String,
    meshnet: String,
    portnum: String,
    text: Option<String>,
    reply_id: Option<PacketId>,
    emoji: bool,
    hops: Option<u8>,
    snr: Option<f32>,
    rssi: Option<i32>,
    via_mqtt: bool,
    #[serde(default)]
    relay_id: Option<String>,
}

/// Returns the JSON under which a content is stored.
pub(super) fn to_json(content: &RoomContent) -> Result<String, ContentError> {
    let content = Stored::from(content.clone());
    Ok(serde_json::to_string(&Versioned {
        version: VERSION,
        content,
    })?)
}

/// Reads what [`to_json`] wrote.
pub(super) fn from_json(json: &str) -> Result<RoomContent, ContentError> {
    let head: Versioned<serde::de::IgnoredAny> = serde_json::from_str(json)?;
    if head.version != VERSION {
        return Err(ContentError::Version(head.version));
    }
    let stored: Versioned<Stored> = serde_json::from_str(json)?;
    Ok(stored.content.into())
}

impl From<RoomContent> for Stored {
    fn from(content: RoomContent) -> Self {
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
                suppress,
            } => Self::Text(Box::new(StoredText {
                notice,
                prefix,
                text,
                heard_at,
                reply_to,
                thread,
                mentions,
                mentions_room,
                fields: fields.map(|fields| (*fields).into()),
                suppress,
            })),
            RoomContent::Reaction { target, key } => Self::Reaction { target, key },
            RoomContent::Redaction { target } => Self::Redaction { target },
        }
    }
}

impl From<Stored> for RoomContent {
    fn from(stored: Stored) -> Self {
        match stored {
            Stored::Text(text) => {
                let StoredText {
                    notice,
                    prefix,
                    text,
                    heard_at,
                    reply_to,
                    thread,
                    mentions,
                    mentions_room,
                    fields,
                    suppress,
                } = *text;
                Self::Text {
                    notice,
                    prefix,
                    text,
                    heard_at,
                    reply_to,
                    thread,
                    mentions,
                    mentions_room,
                    fields: fields.map(|fields| Box::new(fields.into())),
                    suppress,
                }
            }
            Stored::Reaction { target, key } => Self::Reaction { target, key },
            Stored::Redaction { target } => Self::Redaction { target },
        }
    }
}

macro_rules! same_fields {
    ($from:ident -> $to:ident { $($field:ident),* }) => {
        impl From<$from> for $to {
            fn from(fields: $from) -> Self {
                let $from { $($field),* } = fields;
                Self { $($field),* }
            }
        }
    };
}

same_fields!(RelayFields -> Fields {
    id, longname, shortname, meshnet, portnum, text, reply_id, emoji, hops, snr, rssi, via_mqtt,
    relay_id
});
same_fields!(Fields -> RelayFields {
    id, longname, shortname, meshnet, portnum, text, reply_id, emoji, hops, snr, rssi, via_mqtt,
    relay_id
});

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::EventId;

    fn event(text: &str) -> OwnedEventId {
        EventId::parse(text).unwrap()
    }

    #[test]
    fn every_content_comes_back_as_it_was() {
        let text = RoomContent::Text {
            notice: true,
            prefix: "[Alice/mesh]: ".to_owned(),
            text: "quote \" and \u{1F6A8} and \0".to_owned(),
            heard_at: Some(Timestamp(1_700_000_000_123)),
            reply_to: Some(event("$reply:example.org")),
            thread: Some(event("$thread:example.org")),
            mentions: vec!["@bob:example.org".try_into().unwrap()],
            mentions_room: true,
            fields: Some(Box::new(RelayFields {
                id: Some(PacketId(u32::MAX)),
                longname: "Alice".to_owned(),
                snr: Some(-7.25),
                rssi: Some(-101),
                hops: Some(3),
                via_mqtt: true,
                ..RelayFields::default()
            })),
            suppress: true,
        };
        let like = RoomContent::Reaction {
            target: event("$one:example.org"),
            key: "👍".to_owned(),
        };
        let removal = RoomContent::Redaction {
            target: event("$one:example.org"),
        };
        for content in [text, like, removal] {
            let json = to_json(&content).unwrap();
            assert_eq!(from_json(&json).unwrap(), content);
        }
    }

    #[test]
    fn a_text_stored_by_version_1_can_be_read() {
        let json = r#"{"version":1,"content":{"text":{"notice":false,"prefix":"[A]: ","text":"hi",
            "heard_at":null,"reply_to":null,"thread":null,"mentions":[],"mentions_room":false,
            "fields":null,"suppress":false}}}"#;
        assert!(matches!(
            from_json(json),
            Ok(RoomContent::Text { text, .. }) if text == "hi"
        ));
    }

    #[test]
    fn another_version_and_other_json_are_errors() {
        assert!(matches!(
            from_json(r#"{"version":2,"content":{"hologram":{}}}"#),
            Err(ContentError::Version(2))
        ));
        for wrong in ["", "{}", "[]", r#"{"version":1,"content":{"text":{}}}"#] {
            assert!(matches!(from_json(wrong), Err(ContentError::Json(_))));
        }
    }
}
