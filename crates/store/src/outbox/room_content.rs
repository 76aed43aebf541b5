//! The stored form of a room event's content: JSON of our own (not Matrix's) with a version, so that rows survive an upgrade.

use serde::{Deserialize, Serialize};

use relay_model::{EventRef, RoomContent};

/// Version of the form that is written.
const VERSION: u8 = 1;

/// Why a stored content cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ContentError {
    #[error("the stored content has version {0}, which this relay does not know")]
    Version(u8),
    #[error("the stored content is not what we write")]
    Json(#[from] serde_json::Error),
}

/// Fields added to [`RoomContent`] later need a default.
#[derive(Serialize, Deserialize)]
struct Versioned<T> {
    version: u8,
    content: T,
}

/// Returns the JSON under which a content is stored.
pub(crate) fn to_json(content: &RoomContent<EventRef>) -> Result<String, ContentError> {
    Ok(serde_json::to_string(&Versioned {
        version: VERSION,
        content,
    })?)
}

/// Reads what [`to_json`] wrote.
pub(crate) fn from_json(json: &str) -> Result<RoomContent<EventRef>, ContentError> {
    let head: Versioned<serde::de::IgnoredAny> = serde_json::from_str(json)?;
    if head.version != VERSION {
        return Err(ContentError::Version(head.version));
    }
    let stored: Versioned<RoomContent<EventRef>> = serde_json::from_str(json)?;
    Ok(stored.content)
}

#[cfg(test)]
mod tests {
    use super::*;
    use relay_model::{
        EventId, NodeNum, OwnedEventId, PacketId, RelayFields, SenderProfile, Timestamp,
    };

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
            reply_to: Some(event("$reply:example.org").into()),
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
            profile: Some(Box::new(SenderProfile {
                node: NodeNum(7),
                name: "Alice".to_owned(),
                avatar: true,
            })),
            suppress: true,
        };
        let like = RoomContent::Reaction {
            target: EventRef::Packet {
                sender: NodeNum(u32::MAX),
                packet: PacketId(1),
            },
            key: "👍".to_owned(),
        };
        let removal = RoomContent::Redaction {
            target: event("$one:example.org").into(),
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
