//! The signs and receipts that follow from events, by the ledger's tables.

use super::*;
use relay_config::Feedback;
use relay_model::{RadioOutcome, Refusal, RoomContent, RoomRedaction};
use relay_store::feedback;
use relay_store::receipts;

/// A ledger with its tables, and a clock.
struct Books {
    store: Store,
    ledger: Ledger,
    now: Timestamp,
}

impl Books {
    fn open(config: &Config) -> Self {
        let mut store = Store::in_memory().unwrap();
        let ledger = store.transaction(|tx| open(tx, config, NOON));
        let mut books = Self {
            ledger: ledger.unwrap(),
            store,
            now: NOON,
        };
        books.happens(&joined());
        books
    }

    /// The relay starts again, perhaps with another configuration.
    fn open_again(&mut self, config: &Config) {
        let now = self.now;
        let ledger = self.store.transaction(|tx| open(tx, config, now));
        self.ledger = ledger.unwrap();
        self.happens(&joined());
    }

    fn happens(&mut self, event: &Event) -> Outcome {
        let (ledger, now) = (&mut self.ledger, self.now);
        let outcome = self.store.transaction(|tx| {
            let mut outcome = Outcome::default();
            ledger.event(tx, event, now, &mut outcome)?;
            ledger.event(tx, &SIGNS, now, &mut outcome)?;
            Ok(outcome)
        });
        outcome.unwrap()
    }

    fn passes(&mut self, time: Duration) {
        self.now = self.now + time;
        let (ledger, now) = (&mut self.ledger, self.now);
        let kept = self.store.transaction(|tx| {
            let mut outcome = Outcome::default();
            ledger.event(tx, &round(now.since(NOON)), now, &mut outcome)?;
            ledger.event(tx, &SIGNS, now, &mut outcome)
        });
        kept.unwrap();
    }

    fn says(&mut self, name: &str, change: impl Fn(&mut RoomText)) {
        let Event::Matrix(MatrixEvent::Text(mut text)) = hello_of_alice() else {
            panic!("hello is a text");
        };
        text.event = event(name);
        text.sent_at = self.now;
        change(&mut text);
        self.happens(&Event::Matrix(MatrixEvent::Text(text)));
    }

    /// Submits the next packet to the radio.
    fn submit(&mut self) -> (MeshRowId, PacketId) {
        let submission = hand_to_radio(&mut self.store, &config(), self.now);
        assert_eq!(submission.message.lane, Lane::Message);
        (submission.outbox, submission.packet)
    }

    fn reports(&mut self, row: (MeshRowId, PacketId), outcome: RadioOutcome) {
        self.happens(&Event::Report(SendReport::Radio {
            outbox: row.0,
            packet: row.1,
            outcome,
        }));
    }

    /// The radio accepts the next packet.
    fn transmits(&mut self) -> (MeshRowId, PacketId) {
        let row = self.submit();
        let at = self.now;
        self.reports(row, RadioOutcome::Accepted { at, answered: true });
        row
    }

    fn next_sign(&mut self) -> Next<feedback::SignRequest> {
        let now = self.now;
        self.store
            .commit_relaxed(|tx| feedback::next(tx, now))
            .unwrap()
    }

    /// Carries out all requests; returns the key of each sign set, and `-` for each removed.
    fn shows(&mut self) -> String {
        let mut shown = String::new();
        while let Next::Due(request) = self.next_sign() {
            match &request.content {
                RoomContent::Reaction { key, .. } => shown.push_str(key),
                RoomContent::Redaction { .. } => shown.push('-'),
                RoomContent::Text { .. } => panic!("a sign is no text"),
            }
            let (transaction, now) = (request.transaction, self.now);
            let sign = event(&format!("$sign{}:example.org", rand::random::<u64>()));
            let noted = self
                .store
                .commit_relaxed(|tx| feedback::done(tx, transaction.as_str(), &sign, now));
            assert!(noted.unwrap());
        }
        shown
    }

    /// Returns the event of the next read receipt.
    fn read_up_to(&mut self) -> Option<String> {
        let later = self.now + Duration::from_mins(1);
        match self
            .store
            .commit_relaxed(|tx| receipts::next(tx, later))
            .unwrap()
        {
            Next::Due(receipt) => Some(receipt.event.to_string()),
            Next::Later(_) | Next::Nothing => None,
        }
    }
}

fn event(name: &str) -> OwnedEventId {
    name.try_into().unwrap()
}

fn with(mode: Feedback) -> Config {
    let mut config = config();
    config.meshtastic.delivery_feedback = mode;
    config
}

const HELLO: &str = "$hello:example.org";
const SECONDS_59: Duration = Duration::from_secs(59);
const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_message_that_waits_shows_so_after_a_minute_and_then_what_became_of_it() {
    let mut books = Books::open(&config());
    books.says(HELLO, |_| {});
    books.passes(SECONDS_59);
    assert_eq!(books.shows(), "");
    books.passes(SECOND);
    assert_eq!(books.shows(), "⏳");
    let row = books.transmits();
    assert_eq!(books.shows(), "-");
    books.reports(row, RadioOutcome::Unheard);
    assert_eq!(books.shows(), "📤");
    books.reports(row, RadioOutcome::Heard);
    assert_eq!(books.shows(), "-📡");
    books.reports(row, RadioOutcome::Unheard);
    assert_eq!(books.shows(), "");
}

#[test]
fn what_the_radio_has_not_answered_waits_too() {
    let mut books = Books::open(&config());
    books.says(HELLO, |_| {});
    let row = books.submit();
    books.passes(SECONDS_59 + SECOND);
    assert_eq!(books.shows(), "⏳");
    books.reports(row, RadioOutcome::Refused(Refusal::NoChannel));
    assert_eq!(books.shows(), "-❌");
}

#[test]
fn what_expired_loses_its_hourglass() {
    let mut books = Books::open(&config());
    books.says(HELLO, |_| {});
    books.passes(Duration::from_mins(2));
    assert_eq!(books.shows(), "⏳");
    books.passes(Duration::from_hours(1));
    assert_eq!(books.shows(), "-");
}

#[test]
fn parts_are_shown_together_when_the_last_one_is_known() {
    let mut books = Books::open(&config());
    books.says(HELLO, |text| text.body = "word ".repeat(70));
    let first = books.transmits();
    let second = books.transmits();
    books.reports(first, RadioOutcome::Heard);
    assert_eq!(books.shows(), "");
    books.reports(second, RadioOutcome::Unheard);
    assert_eq!(books.shows(), "📤");
    books.reports(second, RadioOutcome::Heard);
    assert_eq!(books.shows(), "-📡");
}

#[test]
fn a_refused_message_is_shown_at_once_in_every_mode_but_off() {
    for (mode, expected) in [
        (Feedback::Reactions, "❌"),
        (Feedback::Failures, "❌"),
        (Feedback::Off, ""),
    ] {
        let mut books = Books::open(&with(mode));
        books.says(HELLO, |text| text.body = "x".repeat(900));
        assert_eq!(books.shows(), expected, "{mode:?}");
    }
}

#[test]
fn a_sign_that_the_configuration_wants_no_more_is_not_shown_and_no_hourglass_is_left() {
    let mut books = Books::open(&config());
    books.says(HELLO, |_| {});
    books.passes(Duration::from_mins(2));
    assert_eq!(books.shows(), "⏳");
    books.says("$refused:example.org", |text| text.body = "x".repeat(900));
    books.open_again(&with(Feedback::Off));
    assert_eq!(books.shows(), "-");
    books.passes(Duration::from_mins(2));
    assert_eq!(books.shows(), "");
}

#[test]
fn a_message_that_was_taken_away_gets_no_sign() {
    let mut books = Books::open(&config());
    books.says(HELLO, |_| {});
    let row = books.transmits();
    books.happens(&Event::Matrix(MatrixEvent::Redaction(Box::new(
        RoomRedaction {
            room: "!room:example.org".try_into().unwrap(),
            event: event("$redaction:example.org"),
            sender: "@alice:example.org".try_into().unwrap(),
            target: event(HELLO),
        },
    ))));
    books.reports(row, RadioOutcome::Heard);
    assert_eq!(books.shows(), "");
}

#[test]
fn a_room_without_the_right_to_react_gets_its_signs_once_it_is_given() {
    let mut books = Books::open(&config());
    let with_right = |may_react| {
        let Event::Matrix(MatrixEvent::Joined(room)) = joined() else {
            panic!("joined is joined");
        };
        Event::Matrix(MatrixEvent::Joined(JoinedRoom { may_react, ..room }))
    };
    books.happens(&with_right(false));
    books.says(HELLO, |text| text.body = "x".repeat(900));
    assert_eq!(books.shows(), "");
    let outcome = books.happens(&with_right(true));
    assert!(outcome.feedback);
    assert_eq!(books.shows(), "❌");
}

#[test]
fn a_sign_that_comes_back_in_sync_is_shown_though_the_answer_was_lost() {
    let mut books = Books::open(&config());
    books.says(HELLO, |text| text.body = "x".repeat(900));
    let Next::Due(request) = books
        .store
        .commit_relaxed(|tx| feedback::next(tx, NOON))
        .unwrap()
    else {
        panic!("a sign is due");
    };
    books.happens(&Event::Matrix(MatrixEvent::Own {
        room: request.room,
        event: event("$sign:example.org"),
        transaction: Some(request.transaction),
        relay_id: None,
        of_mesh: false,
        sent_at: NOON,
    }));
    assert_eq!(books.shows(), "");
}

#[test]
fn a_room_is_read_up_to_the_newest_message_that_was_dealt_with() {
    let mut books = Books::open(&config());
    books.says("$one:example.org", |_| {});
    books.says("$two:example.org", |_| {});
    assert_eq!(books.read_up_to(), None);
    books.transmits();
    assert_eq!(books.read_up_to().as_deref(), Some("$one:example.org"));
    books.says("$command:example.org", |text| {
        text.body = "!help".to_owned();
    });
    assert_eq!(books.read_up_to().as_deref(), Some("$command:example.org"));
    // An older message handled later does not move the receipt back.
    books.transmits();
    assert_eq!(books.read_up_to().as_deref(), Some("$command:example.org"));
    books.says("$long:example.org", |text| text.body = "x".repeat(900));
    assert_eq!(books.read_up_to().as_deref(), Some("$long:example.org"));
}

#[test]
fn a_room_is_read_up_to_the_last_picture_of_a_note_that_was_sent() {
    let mut books = Books::open(&config());
    let names = ["$one:example.org", "$two:example.org", "$three:example.org"];
    for name in names {
        books.says(name, |text| {
            text.kind = RoomTextKind::Media { word: "image" };
            text.body = String::new();
        });
    }
    assert_eq!(books.read_up_to(), None);
    books.passes(Duration::from_secs(11));
    books.transmits();
    assert_eq!(books.read_up_to().as_deref(), Some(names[2]));
}

#[test]
fn a_message_of_somebody_who_may_not_transmit_is_not_read() {
    let mut config = config();
    config.matrix.allowed_users = Some(vec!["@alice:example.org".parse().unwrap()]);
    config.matrix.ignored_users = vec!["@eve:example.org".parse().unwrap()];
    let mut books = Books::open(&config);
    books.says("$one:example.org", |text| text.body = "// aside".to_owned());
    for (name, sender) in [
        ("$bob:x", "@bob:example.org"),
        ("$eve:x", "@eve:example.org"),
    ] {
        books.says(name, |text| text.sender = sender.try_into().unwrap());
        assert_eq!(books.read_up_to().as_deref(), Some("$one:example.org"));
    }
    assert_eq!(books.shows(), "🚫");
    books.says("$bob2:x", |text| {
        text.sender = "@bob:example.org".try_into().unwrap();
    });
    assert_eq!(books.shows(), "");
}

#[test]
fn a_room_that_refused_a_sign_gets_another_try_after_a_day() {
    let mut books = Books::open(&config());
    let Event::Matrix(MatrixEvent::Joined(room)) = joined() else {
        panic!("a room is joined");
    };
    let refuses = |books: &mut Books| {
        let noted = books
            .store
            .transaction(|tx| feedback::forbid(tx, &room.room));
        noted.unwrap()
    };
    assert!(refuses(&mut books));
    books.passes(Duration::from_hours(23));
    assert!(!refuses(&mut books), "it was not tried again yet");
    books.passes(Duration::from_hours(2));
    assert!(refuses(&mut books), "it was never tried again");
}
