//! The backlog after an outage, and expiry.

use super::*;
use relay_model::{RoomContent, Sign};
use relay_store::feedback;

/// A room gets the notice of expired messages when no more have expired for this time,
const QUIET: Duration = Duration::from_secs(10);
/// or, while messages of the room still wait, this long after the first.
const LONGEST_SILENCE: Duration = Duration::from_mins(5);

fn config() -> Config {
    let mut config = super::config();
    config.matrix.sender_limit.per_minute = 1000;
    config.matrix.sender_limit.per_hour = 1000;
    config
}

fn minutes(count: u64) -> Duration {
    Duration::from_mins(count)
}

fn lost() -> Event {
    let cause = "cut".to_owned();
    Event::Radio(RadioEvent::Lost {
        kind: relay_model::LossKind::Absent,
        cause,
        hint: None,
    })
}

/// Messages one minute apart, the last one at `last`.
fn messages(count: u32, last: Timestamp) -> Vec<Event> {
    (0..count)
        .map(|number| {
            let before = minutes(u64::from(count - 1 - number));
            text_of_alice(&format!("message {number}"), last - before)
        })
        .collect()
}

fn waiting(store: &mut Store) -> u64 {
    let waiting = store.transaction(summary::to_mesh).unwrap();
    waiting.iter().map(|it| it.count).sum()
}

/// Runs housekeeping in a new ledger, as after a crash; returns the rooms' notices so far.
fn notices(store: &mut Store, config: &Config, now: Timestamp) -> Vec<String> {
    store
        .transaction(|tx| {
            let mut ledger = open(tx, config, now)?;
            ledger.event(tx, &round(Duration::ZERO), now, &mut Outcome::default())?;
            let mut texts = Vec::new();
            let room = "!room:example.org".try_into().unwrap();
            while let Some(row) = outbox_room::next(tx, room)? {
                if let RoomContent::Text { text, .. } = row.content {
                    texts.push(text);
                }
                outbox_room::refuse(tx, row.id)?;
            }
            Ok(texts)
        })
        .unwrap()
}

#[test]
fn of_what_comes_after_an_outage_the_newest_wait_and_the_rest_is_told_once() {
    let mut store = Store::in_memory().unwrap();
    let mut events = vec![ready(|_| {}), joined()];
    events.extend(messages(90, NOON - minutes(3)));
    let config = config();
    let outcome = decide_at(&mut store, &config, &events, NOON);
    assert_eq!(waiting(&mut store), 20);
    assert!(outcome.chores_at.is_some());
    assert_eq!(
        notices(&mut store, &config, NOON + QUIET),
        [""; 0],
        "20 wait still"
    );
    let told = notices(&mut store, &config, NOON + LONGEST_SILENCE);
    assert_eq!(told.len(), 1);
    assert!(
        told[0].contains(": 70 messages written between 97 minutes and 28 minutes ago."),
        "{told:?}"
    );
    assert_eq!(
        notices(&mut store, &config, NOON + LONGEST_SILENCE),
        [""; 0]
    );
    // The rest expires within the hour, and its notice follows.
    assert_eq!(
        notices(&mut store, &config, NOON + Duration::from_hours(1)),
        [""; 0]
    );
    assert_eq!(waiting(&mut store), 0);
    let notices = notices(&mut store, &config, NOON + minutes(66));
    assert!(notices[0].contains(": 20 messages written"), "{notices:?}");
}

#[test]
fn each_of_few_that_expire_has_its_sign_also_where_the_notice_has_to_wait() {
    let mut store = Store::in_memory().unwrap();
    let config = config();
    decide_at(
        &mut store,
        &config,
        &[ready(|_| {}), joined(), lost()],
        NOON,
    );
    let signs = |store: &mut Store| {
        let given = store.transaction(|tx| {
            let mut given = 0;
            for number in 0..15 {
                let event: OwnedEventId = format!("${number}:example.org").try_into().unwrap();
                let known = feedback::message(tx, &event)?;
                given += u32::from(known.is_some_and(|it| it.given == Some(Sign::Expired)));
            }
            Ok(given)
        });
        given.unwrap()
    };
    let texts = |numbers: std::ops::Range<u32>, at| -> Vec<Event> {
        let texts = numbers.map(|number| text_of_alice(&format!("{number}"), at));
        std::iter::once(joined()).chain(texts).collect()
    };
    let hour = Duration::from_hours(1);
    decide_at(&mut store, &config, &texts(0..3, NOON), NOON);
    let expired = NOON + hour + Duration::from_secs(1);
    notices(&mut store, &config, expired);
    assert_eq!(notices(&mut store, &config, expired + QUIET).len(), 1);
    assert_eq!(signs(&mut store), 3);
    // Within the hour after it there is no other notice.
    let later = NOON + minutes(5);
    decide_at(&mut store, &config, &texts(3..5, later), later);
    notices(&mut store, &config, expired + minutes(5));
    assert_eq!(notices(&mut store, &config, expired + minutes(6)), [""; 0]);
    assert_eq!(signs(&mut store), 5);
    let later = NOON + minutes(10);
    decide_at(&mut store, &config, &texts(5..15, later), later);
    notices(&mut store, &config, expired + minutes(10));
    assert_eq!(notices(&mut store, &config, expired + minutes(11)), [""; 0]);
    assert_eq!(signs(&mut store), 6, "of many only the newest");
}

#[test]
fn what_waited_for_the_radio_is_a_backlog_after_an_outage_and_not_after_a_hiccup() {
    let found_late = minutes(2) + Duration::from_secs(9);
    for (away, left) in [(minutes(1), 30), (found_late, 30), (minutes(3), 20)] {
        let mut store = Store::in_memory().unwrap();
        let config = config();
        let events = [vec![ready(|_| {}), joined()], vec![lost()]].concat();
        decide_at(&mut store, &config, &events, NOON);
        for message in messages(30, NOON) {
            decide_at(
                &mut store,
                &config,
                &[joined(), message],
                NOON - minutes(30),
            );
        }
        assert_eq!(waiting(&mut store), 30);
        decide_at(&mut store, &config, &[ready(|_| {})], NOON + away);
        assert_eq!(waiting(&mut store), left, "{away:?}");
    }
}

#[test]
fn a_relay_that_was_away_itself_counts_as_an_outage() {
    let mut store = Store::in_memory().unwrap();
    let config = config();
    let events = [vec![ready(|_| {}), joined()], messages(30, NOON)].concat();
    decide_at(&mut store, &config, &events[..2], NOON - minutes(29));
    for message in &events[2..] {
        decide_at(
            &mut store,
            &config,
            &[joined(), message.clone()],
            NOON - minutes(29),
        );
    }
    assert_eq!(waiting(&mut store), 30);
    decide_at(&mut store, &config, &[ready(|_| {})], NOON);
    assert_eq!(waiting(&mut store), 20);
}

#[test]
fn a_message_that_is_too_old_when_it_comes_is_told_with_those_that_expire() {
    let mut store = Store::in_memory().unwrap();
    let mut config = config();
    config.meshtastic.max_message_age = Duration::from_secs(30);
    let old = text_of_alice("old", NOON - Duration::from_secs(31));
    let young = text_of_alice("young", NOON - Duration::from_secs(29));
    decide_at(&mut store, &config, &[joined(), old, young], NOON);
    assert_eq!(waiting(&mut store), 1);
    let now = NOON + Duration::from_secs(1);
    assert_eq!(notices(&mut store, &config, now), [""; 0]);
    let notices = notices(&mut store, &config, now + QUIET);
    assert_eq!(notices.len(), 1);
    assert!(
        notices[0].starts_with("Not sent to the mesh: 2 messages written"),
        "{notices:?}"
    );
}
