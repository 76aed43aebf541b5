//! Notices about an outage of the radio.

use super::*;
use relay_model::{RoomContent, RoomOrAliasId};

/// A relay's tables, and its current run.
struct Run {
    store: Store,
    config: Config,
    ledger: Ledger,
    /// Time since the start of the test, and of the current run in it.
    now: Duration,
    began: Duration,
}

const MINUTE: Duration = Duration::from_mins(1);

impl Run {
    fn new() -> Self {
        let mut store = Store::in_memory().unwrap();
        let config = config();
        let ledger = store.transaction(|tx| open(tx, &config, NOON));
        let mut run = Self {
            ledger: ledger.unwrap(),
            store,
            config,
            now: Duration::ZERO,
            began: Duration::ZERO,
        };
        run.happens(&joined());
        run
    }

    fn restart(&mut self) {
        let now = NOON + self.now;
        let ledger = self.store.transaction(|tx| open(tx, &self.config, now));
        self.ledger = ledger.unwrap();
        self.began = self.now;
        self.happens(&joined());
    }

    fn happens(&mut self, event: &Event) {
        let (ledger, now) = (&mut self.ledger, NOON + self.now);
        let done = self
            .store
            .transaction(|tx| ledger.event(tx, event, now, &mut Outcome::default()));
        done.unwrap();
    }

    fn lost(&mut self) {
        let cause = "cut".to_owned();
        self.happens(&Event::Radio(RadioEvent::Lost {
            kind: relay_model::LossKind::Absent,
            cause,
            hint: None,
        }));
    }

    fn ready(&mut self) {
        self.happens(&ready(|_| {}));
    }

    /// Lets time pass, with the daemon's housekeeping; returns the notices to the room, which the homeserver accepts.
    fn pass(&mut self, time: Duration) -> Vec<String> {
        let end = self.now + time;
        let mut notices = Vec::new();
        while self.now < end {
            self.now += Duration::from_secs(20);
            self.chores();
            notices.extend(self.sent());
        }
        notices
    }

    fn chores(&mut self) {
        let (ledger, now, up) = (
            &mut self.ledger,
            NOON + self.now,
            self.now.saturating_sub(self.began),
        );
        let done = self
            .store
            .transaction(|tx| ledger.event(tx, &round(up), now, &mut Outcome::default()));
        done.unwrap();
    }

    fn sent(&mut self) -> Vec<String> {
        let sent = self.store.transaction(|tx| {
            let mut texts = Vec::new();
            let room: &RoomOrAliasId = "!room:example.org".try_into().unwrap();
            while let Some(row) = outbox_room::next(tx, room)? {
                if let RoomContent::Text {
                    text,
                    notice,
                    suppress,
                    ..
                } = row.content
                {
                    assert!(notice && suppress, "{text}");
                    texts.push(text);
                }
                outbox_room::sent(tx, row.id, None)?;
            }
            Ok(texts)
        });
        sent.unwrap()
    }
}

#[test]
fn a_room_is_told_of_a_long_outage_and_of_its_end() {
    let mut run = Run::new();
    run.ready();
    assert_eq!(run.pass(5 * MINUTE), [""; 0]);
    run.lost();
    assert_eq!(run.pass(9 * MINUTE), [""; 0]);
    let notices = run.pass(MINUTE);
    assert_eq!(notices.len(), 1, "{notices:?}");
    assert!(notices[0].contains("away for 10 min"), "{notices:?}");
    assert_eq!(run.pass(24 * MINUTE), [""; 0]);
    run.ready();
    let told = run.pass(2 * MINUTE);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("back after 34 min"), "{told:?}");
    assert_eq!(run.pass(60 * MINUTE), [""; 0]);
}

#[test]
fn a_short_outage_is_nobodys_news() {
    let mut run = Run::new();
    run.ready();
    run.lost();
    run.pass(9 * MINUTE);
    run.ready();
    assert_eq!(run.pass(60 * MINUTE), [""; 0]);
}

#[test]
fn a_restart_beside_a_radio_that_is_there_says_nothing() {
    let mut run = Run::new();
    run.ready();
    run.pass(MINUTE);
    for _ in 0..3 {
        run.now += 30 * MINUTE;
        run.restart();
        run.chores();
        run.ready();
        assert_eq!(run.pass(20 * MINUTE), [""; 0]);
    }
}

#[test]
fn an_outage_goes_on_over_restarts_and_is_told_once() {
    let mut run = Run::new();
    run.ready();
    run.lost();
    run.pass(5 * MINUTE);
    run.restart();
    // The state of the radio is not known yet.
    assert_eq!(run.pass(MINUTE), [""; 0]);
    run.lost();
    let notices = run.pass(5 * MINUTE);
    assert!(notices[0].contains("away for 10 min"), "{notices:?}");
    run.restart();
    run.lost();
    assert_eq!(run.pass(120 * MINUTE), [""; 0]);
    run.restart();
    run.ready();
    let told = run.pass(2 * MINUTE);
    assert!(told[0].contains("back after"), "{told:?}");
}

#[test]
fn a_radio_that_came_back_while_the_relay_was_away_is_not_missed() {
    let mut run = Run::new();
    run.ready();
    run.lost();
    run.pass(MINUTE);
    run.now += 120 * MINUTE;
    run.restart();
    run.chores();
    run.lost();
    // The radio has started together with the relay, and takes longer.
    assert_eq!(run.pass(MINUTE / 3), [""; 0]);
    run.ready();
    assert_eq!(run.pass(20 * MINUTE), [""; 0]);
}

#[test]
fn a_radio_that_flaps_makes_one_pair_of_notices_an_hour() {
    let mut run = Run::new();
    run.ready();
    let mut notices = Vec::new();
    // Connected for only half a minute each time: this counts as away.
    for _ in 0..60 {
        run.lost();
        notices.extend(run.pass(2 * MINUTE));
        run.ready();
        notices.extend(run.pass(MINUTE / 3));
    }
    notices.extend(run.pass(2 * MINUTE));
    assert_eq!(notices.len(), 2, "{notices:?}");
    // Connected for five minutes each time, away for eleven.
    let mut told = Vec::new();
    for _ in 0..15 {
        run.lost();
        told.extend(run.pass(11 * MINUTE));
        run.ready();
        told.extend(run.pass(5 * MINUTE));
    }
    assert!((4..=8).contains(&told.len()), "in 4 hours: {told:?}");
    assert_eq!(told.len() % 2, 0);
}

#[test]
fn messages_go_first() {
    let mut run = Run::new();
    run.ready();
    run.lost();
    let waits = super::hello_of_node();
    run.happens(&waits);
    for _ in 0..60 {
        run.now += MINUTE;
        run.chores();
    }
    let count = run.store.transaction(outbox_room::count).unwrap();
    assert_eq!(count, 1, "the homeserver has not taken the text yet");
    run.ready();
    run.now += MINUTE;
    run.chores();
    run.now += MINUTE;
    run.chores();
    let count = run.store.transaction(outbox_room::count).unwrap();
    assert_eq!(count, 1, "the outage is over, and nobody was told of it");
}

#[test]
fn switched_off_it_says_nothing_and_forgets_what_it_has_said() {
    let mut run = Run::new();
    run.ready();
    run.lost();
    assert_eq!(run.pass(11 * MINUTE).len(), 1);
    run.config.matrix.radio_notices = None;
    run.restart();
    run.lost();
    run.pass(MINUTE);
    run.ready();
    assert_eq!(run.pass(20 * MINUTE), [""; 0]);
    run.config.matrix.radio_notices = Some(10 * MINUTE);
    run.restart();
    run.ready();
    assert_eq!(run.pass(20 * MINUTE), [""; 0]);
}
