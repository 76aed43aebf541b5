//! Events whose room key is missing, kept in memory to retry when keys arrive. The consumer's table keeps them across
//! restarts; both apply the same limits.

use std::collections::HashSet;

use matrix_sdk_base::crypto::store::types::RoomKeyInfo;

use relay_model::{EventId, UndecryptableEvent};

/// Undecryptable events, in order of arrival.
#[derive(Debug, Default)]
pub(super) struct Late {
    waiting: Vec<UndecryptableEvent>,
}

impl Late {
    pub(super) fn new(kept: Vec<UndecryptableEvent>) -> Self {
        let mut late = Self::default();
        for event in kept {
            late.keep(event);
        }
        late
    }

    /// Keeps an event until its key arrives. Above the limits, the oldest of its sender and of its room are dropped.
    pub(super) fn keep(&mut self, event: UndecryptableEvent) {
        if self.waiting.iter().any(|other| other.event == event.event) {
            return;
        }
        let (room, sender) = (event.room.clone(), event.sender.clone());
        self.waiting.push(event);
        let of_sender = |event: &UndecryptableEvent| event.room == room && event.sender == sender;
        self.keep_newest(
            of_sender,
            UndecryptableEvent::MOST_OF_SENDER,
            UndecryptableEvent::MOST_BYTES_OF_SENDER,
        );
        self.keep_newest(
            |event| event.room == room,
            UndecryptableEvent::MOST_OF_ROOM,
            UndecryptableEvent::MOST_BYTES_OF_ROOM,
        );
    }

    /// Drops the oldest matching events beyond a number or a size; the newest always stays.
    fn keep_newest(
        &mut self,
        is_one: impl Fn(&UndecryptableEvent) -> bool,
        most: u32,
        most_bytes: u64,
    ) {
        let (mut count, mut bytes) = (0_u32, 0_u64);
        self.waiting.reverse();
        self.waiting.retain(|event| {
            if !is_one(event) {
                return true;
            }
            count = count.saturating_add(1);
            bytes = bytes.saturating_add(event.raw.len() as u64);
            count == 1 || (count <= most && bytes <= most_bytes)
        });
        self.waiting.reverse();
    }

    /// Drops a redacted event.
    pub(super) fn forget(&mut self, event: &EventId) {
        self.waiting.retain(|other| other.event != event);
    }

    /// Takes the events that these keys may decrypt; without keys, all: some keys were missed.
    pub(super) fn take(&mut self, keys: Option<&[RoomKeyInfo]>) -> Vec<UndecryptableEvent> {
        let sessions = keys.map(|keys| {
            let sessions = keys.iter().map(|key| (&key.room_id, &key.session_id));
            sessions.collect::<HashSet<_>>()
        });
        let is_opened = |event: &mut UndecryptableEvent| {
            let known = sessions.as_ref();
            known.is_none_or(|known| known.contains(&(&event.room, &event.session)))
        };
        self.waiting.extract_if(.., is_opened).collect()
    }
}

#[cfg(test)]
mod tests {
    use matrix_sdk::ruma::{owned_event_id, owned_room_id};
    use matrix_sdk_base::crypto::types::EventEncryptionAlgorithm;
    use matrix_sdk_base::crypto::vodozemac::Curve25519PublicKey;

    use super::*;
    use relay_model::OwnedRoomId;

    fn event(number: u32) -> UndecryptableEvent {
        UndecryptableEvent {
            room: owned_room_id!("!room:example.org"),
            event: format!("${number}:example.org").try_into().unwrap(),
            sender: format!("@u{}:example.org", number % 10).try_into().unwrap(),
            session: format!("session {}", number % 2),
            raw: "{}".to_owned(),
        }
    }

    fn key(room: OwnedRoomId, session: &str) -> RoomKeyInfo {
        RoomKeyInfo {
            algorithm: EventEncryptionAlgorithm::MegolmV1AesSha2,
            room_id: room,
            sender_key: Curve25519PublicKey::from_bytes([0; 32]),
            session_id: session.to_owned(),
        }
    }

    #[test]
    fn a_key_opens_the_events_of_its_session_in_their_order() {
        let mut late = Late::new((1..=5).map(event).collect());
        let room = owned_room_id!("!room:example.org");
        let elsewhere = key(owned_room_id!("!other:example.org"), "session 1");
        assert_eq!(late.take(Some(&[elsewhere])), []);
        let opened = late.take(Some(&[key(room.clone(), "session 1")]));
        assert_eq!(opened, [event(1), event(3), event(5)]);
        assert_eq!(late.take(Some(&[key(room, "session 1")])), []);
        assert_eq!(late.take(None), [event(2), event(4)]);
        assert_eq!(late.take(None), []);
    }

    #[test]
    fn an_event_waits_once_and_not_after_it_was_taken_away() {
        let mut late = Late::new(vec![event(1), event(1), event(2)]);
        late.forget(&owned_event_id!("$2:example.org"));
        assert_eq!(late.take(None), [event(1)]);
    }

    #[test]
    fn a_room_keeps_its_newest_and_takes_nothing_from_other_rooms() {
        let mut late = Late::default();
        let other = UndecryptableEvent {
            room: owned_room_id!("!other:example.org"),
            ..event(0)
        };
        late.keep(other.clone());
        for number in 1..=UndecryptableEvent::MOST_OF_ROOM + 1 {
            late.keep(event(number));
        }
        let waiting = late.take(None);
        assert_eq!(waiting[..2], [other, event(2)]);
        let half = usize::try_from(UndecryptableEvent::MOST_BYTES_OF_ROOM).unwrap() / 2 + 1;
        for number in 1..=2 {
            late.keep(UndecryptableEvent {
                raw: "x".repeat(half),
                ..event(number)
            });
        }
        assert_eq!(late.take(None).len(), 1);
    }

    #[test]
    fn nobody_takes_the_place_of_all_others() {
        let mut late = Late::default();
        late.keep(event(1));
        for number in 1..=2 * UndecryptableEvent::MOST_OF_SENDER {
            late.keep(event(10 * number));
        }
        let waiting = late.take(None);
        let most = UndecryptableEvent::MOST_OF_SENDER;
        assert_eq!(waiting[..2], [event(1), event(10 * (most + 1))]);
        assert_eq!(waiting.len(), usize::try_from(most).unwrap() + 1);
    }
}
