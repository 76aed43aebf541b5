//! What is rolled back has left nothing behind, and does the same when it is run again: a statement, or the commit, fails at
//! each point of each transaction.

use std::fmt::Write as _;
use std::sync::Arc;

use tracing::field::{Field, Visit};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};

use super::*;
use crate::model::{RadioOutcome, RoomEdit, RoomOutcome, RoomRedaction, RoomRowId, Synced};
use crate::store::fault;

/// One of two relays to which the same happens.
struct Relay {
    store: Store,
    ledger: Mutex<Ledger>,
    log: Log,
}

/// What is logged, without what is chosen at random.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<String>>);

impl<S: tracing::Subscriber> Layer<S> for Log {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        let mut line = event.metadata().level().to_string();
        event.record(&mut Line(&mut line));
        self.0.lock().unwrap().push_str(&(line + "\n"));
    }
}

struct Line<'a>(&'a mut String);

impl Visit for Line<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        if field.name() != "packet" {
            write!(self.0, " {}={value:?}", field.name()).unwrap();
        }
    }
}

impl Relay {
    fn new(config: &Config) -> Self {
        let mut store = Store::in_memory().unwrap();
        let mut ledger = store.transaction(|tx| open(tx, config, NOON)).unwrap();
        ledger
            .bridge
            .remember_own_user("@relay:example.org".try_into().unwrap());
        Self {
            store,
            ledger: Mutex::new(ledger),
            log: Log::default(),
        }
    }

    fn run(&mut self, events: &[Event], up: Duration) -> Result<Outcome> {
        let subscriber = tracing_subscriber::registry().with(self.log.clone());
        tracing::subscriber::with_default(subscriber, || {
            Ledger::commit(&self.ledger, &mut self.store, events, NOON + up)
        })
    }

    /// Returns what was logged since this was asked last.
    fn lines(&self) -> String {
        std::mem::take(&mut *self.log.0.lock().unwrap())
    }

    fn memory(&self) -> String {
        format!("{:#?}", self.ledger.lock().unwrap())
    }
}

fn synced() -> Event {
    Event::Matrix(MatrixEvent::Synced(Box::new(Synced {
        position: "s1".to_owned(),
        gaps: Vec::new(),
        clock: Some(ClockReading {
            server: NOON,
            ours: NOON,
            passed: 0,
            boot: String::new(),
        }),
    })))
}

fn room(change: impl Fn(&mut JoinedRoom)) -> Event {
    let Event::Matrix(MatrixEvent::Joined(mut room)) = joined() else {
        unreachable!()
    };
    change(&mut room);
    Event::Matrix(MatrixEvent::Joined(room))
}

/// A text of Alice, changed.
fn text(name: &str, sent_at: Timestamp, change: impl Fn(&mut RoomText)) -> Event {
    let Event::Matrix(MatrixEvent::Text(mut text)) = text_of_alice(name, sent_at) else {
        unreachable!()
    };
    change(&mut text);
    Event::Matrix(MatrixEvent::Text(text))
}

fn edit(of: &str, body: &str) -> Event {
    let Event::Matrix(MatrixEvent::Text(new)) = text_of_alice(body, NOON) else {
        unreachable!()
    };
    Event::Matrix(MatrixEvent::Edit(Box::new(RoomEdit {
        target: format!("${of}:example.org").try_into().unwrap(),
        new: *new,
    })))
}

fn redaction(of: &str) -> Event {
    Event::Matrix(MatrixEvent::Redaction(Box::new(RoomRedaction {
        room: "!room:example.org".try_into().unwrap(),
        event: format!("$redaction-of-{of}:example.org")
            .try_into()
            .unwrap(),
        sender: "@alice:example.org".try_into().unwrap(),
        target: format!("${of}:example.org").try_into().unwrap(),
    })))
}

fn undecryptable(name: &str) -> Event {
    Event::Matrix(MatrixEvent::Undecryptable {
        event: Box::new(crate::model::UndecryptableEvent {
            room: "!room:example.org".try_into().unwrap(),
            event: format!("${name}:example.org").try_into().unwrap(),
            sender: "@bob:example.org".try_into().unwrap(),
            session: "session".to_owned(),
            raw: "{}".to_owned(),
        }),
        sender_power: 0,
        sent_at: NOON,
    })
}

fn lost() -> Event {
    let cause = "cut".to_owned();
    Event::Radio(RadioEvent::Lost { cause })
}

/// A radio whose only channel has that name.
fn radio(name: &str) -> Event {
    ready(|profile| {
        profile.channels = vec![Channel {
            index: ChannelIndex::PRIMARY,
            name: name.to_owned(),
            role: ChannelRole::Primary,
            fingerprint: Some(print_of(name)),
        }];
    })
}

/// What happens, and how many minutes after the start.
fn steps() -> Vec<(u64, Vec<Event>)> {
    let minutes = Duration::from_mins;
    let media = |text: &mut crate::model::RoomText| {
        text.kind = RoomTextKind::Media { word: "image" };
        text.body = String::new();
    };
    let chores = |at: u64| (at, vec![round(minutes(at))]);
    vec![
        (
            0,
            vec![radio("LongFast"), room(|it| it.public = true), synced()],
        ),
        chores(1),
        (
            1,
            vec![
                hello_of_node(),
                hello_of_alice(),
                hello_of_alice(),
                text("picture", NOON, media),
                text("another picture", NOON, media),
                text("too late", NOON - minutes(90), |_| {}),
                text(&"long ".repeat(300), NOON, |_| {}),
                undecryptable("secret"),
                undecryptable("of a banned person"),
            ],
        ),
        (
            1,
            vec![
                edit("hello", "better"),
                edit("not-there-yet", "early"),
                redaction("picture"),
                redaction("of a banned person"),
            ],
        ),
        (
            1,
            vec![
                Event::Report(SendReport::Room {
                    outbox: RoomRowId(1),
                    outcome: RoomOutcome::Sent {
                        event: "$heard:example.org".try_into().unwrap(),
                    },
                }),
                Event::Report(SendReport::Radio {
                    outbox: MeshRowId(1),
                    packet: PacketId(1),
                    outcome: RadioOutcome::Accepted { at: NOON },
                }),
            ],
        ),
        (2, vec![lost()]),
        chores(2),
        chores(15),
        chores(16),
        (
            16,
            vec![
                text("late", NOON + minutes(10), |_| {}),
                text("now", NOON + minutes(16), |_| {}),
            ],
        ),
        // Its channel is gone.
        (17, vec![radio("Other")]),
        chores(19),
        (
            20,
            vec![radio("LongFast"), text("again", NOON + minutes(20), |_| {})],
        ),
        chores(61),
        chores(90),
        (
            91,
            vec![
                room(|it| {
                    it.tombstone = Some(Tombstone {
                        successor: Some("!new:example.org".try_into().unwrap()),
                    });
                }),
                Event::Matrix(MatrixEvent::Banned {
                    room: "!room:example.org".try_into().unwrap(),
                    event: "$ban:example.org".try_into().unwrap(),
                    user: "@alice:example.org".try_into().unwrap(),
                    sent_at: NOON + minutes(91),
                }),
            ],
        ),
        chores(92),
    ]
}

#[test]
fn what_is_rolled_back_at_any_point_does_the_same_when_it_is_run_again() {
    // While only one listens, a line that another thread meets first is given up for all.
    let _second = tracing::Dispatch::new(tracing_subscriber::registry());
    let mut config = config();
    config.matrix.sender_limit.per_minute = 1000;
    config.matrix.sender_limit.per_hour = 1000;
    let (mut smooth, mut rough) = (Relay::new(&config), Relay::new(&config));
    let mut lines = 0;
    for (number, (minutes, events)) in steps().iter().enumerate() {
        let up = Duration::from_mins(*minutes);
        let expected = smooth.run(events, up).unwrap();
        let (memory, rows) = (rough.memory(), rough.store.dump());
        let mut failures = 0;
        let outcome = loop {
            fault::after(Some(failures));
            let run = rough.run(events, up);
            fault::after(None);
            match run {
                Ok(outcome) => break outcome,
                Err(_) => failures += 1,
            }
            let point = format!("step {number}, statement {failures}");
            assert_eq!(rough.memory(), memory, "{point}");
            assert_eq!(rough.store.dump(), rows, "{point}");
            assert_eq!(rough.lines(), "", "{point}");
        };
        assert!(failures > 3, "step {number} failed at {failures} points");
        assert_eq!(outcome, expected, "step {number}");
        assert_eq!(rough.memory(), smooth.memory(), "step {number}");
        let (said, expected) = (rough.lines(), smooth.lines());
        assert_eq!(said, expected, "step {number}");
        lines += said.lines().count();
        let (done, expected) = (rough.store.dump(), smooth.store.dump());
        let pairs = done.iter().zip(&expected);
        let differ: Vec<_> = pairs.filter(|(one, other)| one != other).collect();
        let is_same = done.len() == expected.len() && differ.is_empty();
        assert!(is_same, "step {number}: {differ:#?}");
    }
    assert!(lines > 30, "{lines} lines");
}
