//! Undecryptable events.

use super::*;
use relay_model::{RoomContent, RoomRedaction, UndecryptableEvent};
use relay_store::undecryptable;

/// Alice's `$hello` while its key is missing.
fn unreadable_hello() -> Event {
    unreadable(hello().as_str())
}

fn hello() -> OwnedEventId {
    OwnedEventId::try_from("$hello:example.org").unwrap()
}

fn waiting(store: &mut Store) -> usize {
    store.transaction(undecryptable::waiting).unwrap().len()
}

/// Runs the chores at `now`, and returns the notices that wait for the room.
fn notices_at(store: &mut Store, config: &Config, now: Timestamp) -> Vec<String> {
    let done = store.transaction(|tx| {
        let mut ledger = open(tx, config, NOON)?;
        let mut outcome = Outcome::default();
        ledger.event(tx, &joined(), NOON, &mut outcome)?;
        ledger.event(tx, &Event::Chore(Chore::Keys), now, &mut outcome)?;
        let room = relay_model::RoomOrAliasId::parse("!room:example.org").unwrap();
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
    let rows = store.transaction(relay_store::summary::to_mesh);
    assert_eq!(rows.unwrap().iter().map(|it| it.count).sum::<u64>(), 1);

    // The server sends it again, still without its key: it was handled already.
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
    let notices = notices_at(&mut store, &config(), hour);
    assert_eq!(notices.len(), 1);
    assert!(notices[0].contains("@alice:example.org"), "{notices:?}");
    assert!(notices_at(&mut store, &config(), hour).is_empty());
    assert_eq!(waiting(&mut store), 0);

    decide(&mut store, &config(), &[joined(), hello_of_alice()]);
    assert!(!waits_for_mesh(&mut store));
}

/// An event of Alice that nobody can decrypt.
pub(super) fn unreadable(name: &str) -> Event {
    Event::Matrix(MatrixEvent::Undecryptable {
        event: Box::new(UndecryptableEvent {
            room: "!room:example.org".try_into().unwrap(),
            event: name.try_into().unwrap(),
            sender: "@alice:example.org".try_into().unwrap(),
            session: "session".to_owned(),
            raw: "{}".to_owned(),
        }),
        sender_power: 0,
        sent_at: NOON,
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
    let notices = notices_at(&mut store, &config(), at(120));
    assert!(notices[0].contains("2 messages"), "{notices:?}");
}

#[test]
fn a_room_is_told_of_what_newer_messages_without_keys_pushed_out() {
    let mut store = Store::in_memory().unwrap();
    let many = (0..=UndecryptableEvent::MOST_OF_SENDER)
        .map(|number| unreadable(&format!("${number}:example.org")));
    let events: Vec<Event> = std::iter::once(joined()).chain(many).collect();
    decide(&mut store, &config(), &events);
    let notices = notices_at(&mut store, &config(), NOON);
    assert_eq!(notices.len(), 1);
    assert!(
        notices[0].contains("a message could not be read"),
        "{notices:?}"
    );
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
        event: "$ban:example.org".try_into().unwrap(),
        user: "@alice:example.org".try_into().unwrap(),
        sent_at: NOON,
        stands: true,
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
            event: format!("$ban_of_{}", user.trim_start_matches('@'))
                .try_into()
                .unwrap(),
            user: user.try_into().unwrap(),
            sent_at: NOON,
            stands: true,
        })
    };
    decide(
        &mut store,
        &config(),
        &[joined(), hello_of_alice(), ban("@bob:example.org")],
    );
    assert!(waits_for_mesh(&mut store));
    let submitted = hand_to_radio(&mut store, &config(), NOON).outbox;
    // The packet was submitted to the radio: it is withdrawn.
    let outcome = store.transaction(|tx| {
        let mut outcome = Outcome::default();
        let mut ledger = open(tx, &config(), NOON)?;
        mesh_report::submitted(tx, submitted, NOON)?;
        ledger.event(tx, &ban("@alice:example.org"), NOON, &mut outcome)?;
        Ok(outcome)
    });
    assert_eq!(outcome.unwrap().withdrawn, [submitted]);
}

#[test]
fn a_ban_that_is_told_again_takes_back_what_was_written_before_it_and_nothing_since() {
    let second = Duration::from_secs(1);
    for (banned_at, stays) in [(NOON - second, true), (NOON + second, false)] {
        let ban = Event::Matrix(MatrixEvent::Banned {
            room: "!room:example.org".try_into().unwrap(),
            event: "$ban:example.org".try_into().unwrap(),
            user: "@alice:example.org".try_into().unwrap(),
            sent_at: banned_at,
            stands: true,
        });
        let mut store = Store::in_memory().unwrap();
        // The ban was lifted before she wrote, or her earlier message was in a gap until now. After a restart, or where a gap
        // is read later or twice, the event comes again.
        let events = [
            joined(),
            ban.clone(),
            hello_of_alice(),
            unreadable("$late:x"),
        ];
        decide_at(&mut store, &config(), &events, NOON + second);
        assert!(waits_for_mesh(&mut store));
        decide_at(&mut store, &config(), &[joined(), ban], NOON + second);
        assert_eq!(waits_for_mesh(&mut store), stays);
        assert_eq!(waiting(&mut store), usize::from(stays));
    }
}

#[test]
fn a_ban_that_may_have_been_lifted_takes_back_what_was_written_before_it_and_nothing_since() {
    let second = Duration::from_secs(1);
    for (banned_at, stands, stays) in [
        (NOON - second, false, true),
        (NOON + second, false, false),
        (NOON - second, true, false),
    ] {
        let ban = Event::Matrix(MatrixEvent::Banned {
            room: "!room:example.org".try_into().unwrap(),
            event: "$ban:example.org".try_into().unwrap(),
            user: "@alice:example.org".try_into().unwrap(),
            sent_at: banned_at,
            stands,
        });
        let mut store = Store::in_memory().unwrap();
        let events = [joined(), hello_of_alice(), unreadable("$late:x"), ban];
        decide_at(&mut store, &config(), &events, NOON + second);
        assert_eq!(waits_for_mesh(&mut store), stays);
        assert_eq!(waiting(&mut store), usize::from(stays));
    }
}
