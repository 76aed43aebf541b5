//! Keeps events whose key has not come, and gives them up when it would come too late.

use std::time::Duration;

use tracing::{info, warn};

use crate::bridge::{Bridge, Unread};
use crate::model::{
    EventId, MatrixEvent, OwnedRoomId, RoomId, Timestamp, UndecryptableEvent, UserId,
};
use crate::store::late::{self, Kept, Overdue};
use crate::store::outbox_room::{self, NewRoomRow};
use crate::store::{StoreError, Tx, edits, seen, told};

use super::{Ledger, Outcome};

impl Ledger {
    /// Keeps an event until its key comes. One that is kept already stays as it is.
    pub(super) fn keep_undecryptable(
        tx: &Tx<'_>,
        event: &MatrixEvent,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let MatrixEvent::Undecryptable {
            room,
            event,
            sender,
            sent_at,
            session,
            raw,
            ..
        } = event
        else {
            return Ok(());
        };
        let event = UndecryptableEvent {
            room: room.clone(),
            event: event.clone(),
            sender: sender.clone(),
            session: session.clone(),
            raw: raw.clone(),
        };
        if let Kept::Now { dropped } = late::keep(tx, &event, *sent_at, now)? {
            warn!(
                %room, event_id = %event.event, %sender,
                "a message cannot be decrypted: its key has not arrived; it is kept until it does"
            );
            if dropped > 0 {
                warn!(
                    %room, dropped,
                    "too many messages of this room or person wait for their keys: the oldest are given up, and the room is told"
                );
            }
        }
        Ok(())
    }

    /// Forgets an event that was taken away before its key came, so that the key brings nothing.
    pub(super) fn forget_taken_away(
        tx: &Tx<'_>,
        event: &EventId,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        if late::forget(tx, event)? {
            info!(event_id = %event, "taken away before its key came");
            seen::mark_event(tx, event, now)?;
        }
        Ok(())
    }

    /// Forgets what a person wrote in a room and nobody could read yet.
    pub(super) fn forget_unread_of(
        tx: &Tx<'_>,
        room: &RoomId,
        sender: &UserId,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        for event in late::forget_sender(tx, room, sender)? {
            seen::mark_event(tx, &event, now)?;
        }
        Ok(())
    }

    /// Gives up what waited too long for its key; its room is told once.
    pub(super) fn give_up_unread(
        &self,
        tx: &Tx<'_>,
        now: Timestamp,
        outcome: &mut Outcome,
    ) -> Result<(), StoreError> {
        let keep = Duration::from_hours(u64::from(self.keep_days) * 24);
        late::prune(tx, now - keep)?;
        edits::prune_early(tx, now - self.bridge.longest_wait_for_key())?;
        let overdue = late::overdue(tx, now - self.bridge.longest_wait_for_key())?;
        for events in overdue.chunk_by(|one, other| one.room == other.room) {
            let Some(first) = events.first() else {
                continue;
            };
            self.give_up_room(tx, &first.room, events, now, outcome)?;
        }
        Ok(())
    }

    fn give_up_room(
        &self,
        tx: &Tx<'_>,
        room: &OwnedRoomId,
        events: &[Overdue],
        now: Timestamp,
        outcome: &mut Outcome,
    ) -> Result<(), StoreError> {
        let name = Bridge::unread_name(room);
        if told::is_told(tx, &name, now)? {
            // They join the next notice.
            return Ok(());
        }
        let unread: Vec<Unread> = events
            .iter()
            .map(|event| Unread {
                sender: event.sender.clone(),
                sent_at: event.sent_at,
            })
            .collect();
        let Some(message) = self.bridge.unread_notice(room, &unread, now) else {
            // Not joined yet, or not mapped any more: then nobody waits for it.
            return Ok(());
        };
        for event in events {
            late::give_up(tx, &event.event)?;
            // Its sender is told now. A key that comes later changes nothing any more.
            seen::mark_event(tx, &event.event, now)?;
        }
        outbox_room::insert(tx, &NewRoomRow::of_bot(&message), now)?;
        told::remember(tx, &name, now + Bridge::UNREAD_AGAIN)?;
        outcome.rooms.insert(message.room);
        info!(%room, messages = events.len(), "the keys of these messages did not arrive in time: the room is told");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::*;
    use super::*;
    use crate::config::Config;
    use crate::model::{Event, OwnedEventId, RoomContent, RoomRedaction};
    use crate::store::Store;

    /// Alice's `$hello` while its key is missing.
    fn unreadable_hello() -> Event {
        Event::Matrix(MatrixEvent::Undecryptable {
            room: "!room:example.org".try_into().unwrap(),
            event: hello(),
            sender: "@alice:example.org".try_into().unwrap(),
            sender_power: 0,
            sent_at: NOON,
            session: "session".to_owned(),
            raw: "{}".to_owned(),
        })
    }

    fn hello() -> OwnedEventId {
        OwnedEventId::try_from("$hello:example.org").unwrap()
    }

    fn waiting(store: &mut Store) -> usize {
        store.transaction(late::waiting).unwrap().len()
    }

    /// Does the chores at that time, and returns the notices that wait for the room.
    fn notices_at(store: &mut Store, config: &Config, now: Timestamp) -> Vec<String> {
        let done = store.transaction(|tx| {
            let mut ledger = Ledger::open(tx, config, NOON)?;
            let mut outcome = Outcome::default();
            ledger.event(tx, &joined(), NOON, &mut outcome)?;
            ledger.give_up_unread(tx, now, &mut outcome)?;
            let room = crate::model::RoomOrAliasId::parse("!room:example.org").unwrap();
            let mut texts = Vec::new();
            while let Some(row) = outbox_room::next(tx, &room)? {
                if let RoomContent::Text { text, .. } = row.content {
                    texts.push(text);
                }
                outbox_room::refuse(tx, row.id)?;
            }
            Ok(texts)
        });
        done.unwrap()
    }

    #[test]
    fn a_message_whose_key_comes_late_crosses_once() {
        let mut store = Store::in_memory().unwrap();
        decide(
            &mut store,
            &config(),
            &[joined(), unreadable_hello(), unreadable_hello()],
        );
        assert_eq!(waiting(&mut store), 1);
        assert!(!waits_for_mesh(&mut store));

        decide(
            &mut store,
            &config(),
            &[joined(), hello_of_alice(), hello_of_alice()],
        );
        assert_eq!(waiting(&mut store), 0);
        let rows = store.transaction(crate::store::outbox_mesh::waiting);
        assert_eq!(rows.unwrap().iter().map(|it| it.count).sum::<u64>(), 1);

        // The server shows it again, and again without its key: it was decided on.
        decide(&mut store, &config(), &[joined(), unreadable_hello()]);
        assert_eq!(waiting(&mut store), 0);
    }

    #[test]
    fn a_key_that_does_not_come_in_time_is_told_once_and_brings_nothing_later() {
        let mut store = Store::in_memory().unwrap();
        decide(&mut store, &config(), &[joined(), unreadable_hello()]);
        let hour = NOON + Duration::from_hours(1);
        let early = hour - Duration::from_millis(1);
        assert!(notices_at(&mut store, &config(), early).is_empty());
        let told = notices_at(&mut store, &config(), hour);
        assert_eq!(told.len(), 1);
        assert!(told[0].contains("@alice:example.org"), "{told:?}");
        assert!(notices_at(&mut store, &config(), hour).is_empty());
        assert_eq!(waiting(&mut store), 0);

        decide(&mut store, &config(), &[joined(), hello_of_alice()]);
        assert!(!waits_for_mesh(&mut store));
    }

    /// Another such event.
    fn unreadable(name: &str) -> Event {
        let Event::Matrix(MatrixEvent::Undecryptable {
            room,
            sender,
            session,
            raw,
            ..
        }) = unreadable_hello()
        else {
            panic!("it is undecryptable");
        };
        Event::Matrix(MatrixEvent::Undecryptable {
            room,
            event: name.try_into().unwrap(),
            sender,
            sender_power: 0,
            sent_at: NOON,
            session,
            raw,
        })
    }

    #[test]
    fn a_room_is_told_of_missing_keys_once_an_hour() {
        let mut store = Store::in_memory().unwrap();
        let at = |minutes| NOON + Duration::from_mins(minutes);
        decide(&mut store, &config(), &[joined(), unreadable("$one:x")]);
        assert_eq!(notices_at(&mut store, &config(), at(60)).len(), 1);
        decide(
            &mut store,
            &config(),
            &[joined(), unreadable("$two:x"), unreadable("$three:x")],
        );
        assert!(notices_at(&mut store, &config(), at(119)).is_empty());
        let told = notices_at(&mut store, &config(), at(120));
        assert!(told[0].contains("2 messages"), "{told:?}");
    }

    #[test]
    fn a_room_is_told_of_what_newer_messages_without_keys_pushed_out() {
        let mut store = Store::in_memory().unwrap();
        let many = (0..=UndecryptableEvent::MOST_OF_SENDER)
            .map(|number| unreadable(&format!("${number}:example.org")));
        let events: Vec<Event> = std::iter::once(joined()).chain(many).collect();
        decide(&mut store, &config(), &events);
        let told = notices_at(&mut store, &config(), NOON);
        assert_eq!(told.len(), 1);
        assert!(told[0].contains("a message could not be read"), "{told:?}");
        assert!(notices_at(&mut store, &config(), NOON).is_empty());
        assert_eq!(waiting(&mut store), 100);
    }

    #[test]
    fn what_was_taken_away_or_whose_writer_was_banned_is_not_carried_when_the_key_comes() {
        let redaction = Event::Matrix(MatrixEvent::Redaction(Box::new(RoomRedaction {
            room: "!room:example.org".try_into().unwrap(),
            event: "$redaction:example.org".try_into().unwrap(),
            sender: "@bob:example.org".try_into().unwrap(),
            target: hello(),
        })));
        let ban = Event::Matrix(MatrixEvent::Banned {
            room: "!room:example.org".try_into().unwrap(),
            user: "@alice:example.org".try_into().unwrap(),
        });
        for end in [redaction, ban] {
            let mut store = Store::in_memory().unwrap();
            decide(&mut store, &config(), &[joined(), unreadable_hello(), end]);
            assert_eq!(waiting(&mut store), 0);
            decide(&mut store, &config(), &[joined(), hello_of_alice()]);
            assert!(!waits_for_mesh(&mut store));
        }
    }

    #[test]
    fn a_ban_takes_back_what_waits_for_the_mesh() {
        let mut store = Store::in_memory().unwrap();
        let ban = |user: &str| {
            Event::Matrix(MatrixEvent::Banned {
                room: "!room:example.org".try_into().unwrap(),
                user: user.try_into().unwrap(),
            })
        };
        decide(
            &mut store,
            &config(),
            &[joined(), hello_of_alice(), ban("@bob:example.org")],
        );
        assert!(waits_for_mesh(&mut store));
        let submitted = hand_over(&mut store, &config(), NOON).outbox;
        // The radio was asked to take it: it is called back.
        let outcome = store.transaction(|tx| {
            let mut outcome = Outcome::default();
            let mut ledger = Ledger::open(tx, &config(), NOON)?;
            crate::store::mesh_report::submitted(tx, submitted, NOON)?;
            ledger.event(tx, &ban("@alice:example.org"), NOON, &mut outcome)?;
            Ok(outcome)
        });
        assert_eq!(outcome.unwrap().withdrawn, [submitted]);
    }
}
