//! A rollback leaves nothing behind, and the batch does the same when it is retried: each statement and each commit of each
//! transaction fails once.

use std::fmt::Write as _;
use std::sync::Arc;

use tracing::field::{Field, Visit};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};

use super::*;
use relay_model::{
    OwnedTransactionId, RadioOutcome, RadioPayload, Refusal, RoomEdit, RoomOutcome, RoomReaction,
    RoomRedaction, RoomRowId, Synced,
};
use relay_store::testing::fault;

const HILL: &str = "!hill:example.org";
/// Stands for [`HILL`], on the second channel.
const ALIAS: &str = "#hill:example.org";

/// The work of one transaction.
enum Step {
    /// The relay restarts.
    Open,
    /// These events.
    Batch(Vec<Event>),
    /// The next packet in a lane of the first channel is submitted.
    HandOver(Lane),
    /// The radio's answer to the last packet submitted.
    Answer(RadioOutcome),
    /// The next event for the room comes back in sync, under this id.
    CameBack(&'static str),
}

/// The result of a step.
#[derive(Debug, PartialEq)]
enum Came {
    /// A batch was committed, or the relay has started.
    Out(Box<Outcome>),
    /// This was submitted, under a random id.
    Handed(String),
    /// Nothing is due.
    NothingDue,
}

/// One of two relays that run the same steps.
struct Relay {
    config: Config,
    store: Store,
    ledger: Mutex<Ledger>,
    /// The last packet submitted.
    asked: Option<(MeshRowId, PacketId)>,
    log: Log,
}

/// The log, without random values.
#[derive(Clone, Default)]
pub(super) struct Log(pub(super) Arc<Mutex<String>>);

impl Log {
    /// Does work, and hears each line of it.
    pub(super) fn hears<T>(&self, work: impl FnOnce() -> T) -> T {
        // With a single dispatcher, `tracing` caches a call site that another thread reaches first as disabled.
        let _second = tracing::Dispatch::new(tracing_subscriber::registry());
        let subscriber = tracing_subscriber::registry().with(self.clone());
        tracing::subscriber::with_default(subscriber, work)
    }
}

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
        if !["packet", "next"].contains(&field.name()) {
            write!(self.0, " {}={value:?}", field.name()).unwrap();
        }
    }
}

impl Relay {
    fn new(config: &Config) -> Self {
        let mut store = Store::in_memory().unwrap();
        let ledger = store.transaction(|tx| open(tx, config, NOON)).unwrap();
        Self {
            config: config.clone(),
            store,
            ledger: known(ledger),
            asked: None,
            log: Log::default(),
        }
    }

    /// Runs the step; the statement after `fails_after` others fails.
    fn run(&mut self, step: &Step, up: Duration, fails_after: Option<u32>) -> Result<Came> {
        let events = self.events(step);
        let log = self.log.clone();
        log.hears(|| {
            fault::after(fails_after);
            let came = match step {
                Step::Open => self.open(NOON + up),
                Step::HandOver(lane) => self.hand_to_radio(*lane, NOON + up),
                Step::Batch(_) | Step::Answer(_) | Step::CameBack(_) => {
                    Ledger::commit(&self.ledger, &mut self.store, &events, NOON + up)
                        .map(|outcome| Came::Out(Box::new(outcome)))
                }
            };
            fault::after(None);
            came
        })
    }

    /// Returns the events of a step.
    fn events(&mut self, step: &Step) -> Vec<Event> {
        match step {
            Step::Open | Step::HandOver(_) => Vec::new(),
            Step::Batch(events) => events.clone(),
            Step::Answer(outcome) => {
                let (outbox, packet) = self.asked.unwrap();
                let outcome = outcome.clone();
                vec![Event::Report(SendReport::Radio {
                    outbox,
                    packet,
                    outcome,
                })]
            }
            Step::CameBack(name) => {
                let room = OwnedRoomId::try_from("!room:example.org").unwrap();
                let next = self.store.next_for_room((&*room).into()).unwrap();
                let transaction: OwnedTransactionId = next.unwrap().transaction;
                vec![Event::Matrix(MatrixEvent::Own {
                    room,
                    event: (*name).try_into().unwrap(),
                    transaction: Some(transaction),
                    relay_id: None,
                    of_mesh: false,
                    sent_at: NOON,
                })]
            }
        }
    }

    fn open(&mut self, now: Timestamp) -> Result<Came> {
        let open = |tx: &Tx<'_>| Ledger::open(tx, &self.config, now);
        let (ledger, outcome) = self.store.transaction(open)?;
        self.ledger = known(ledger);
        Ok(Came::Out(Box::new(outcome)))
    }

    fn hand_to_radio(&mut self, lane: Lane, now: Timestamp) -> Result<Came> {
        let queue = (Destination::Channel(ChannelIndex::PRIMARY), lane);
        let rules = MeshRules::of(&self.config.meshtastic);
        let next = mesh_worker::hand_over(&mut self.store, queue, rules, now)?;
        let Next::Due(submission) = next else {
            return Ok(Came::NothingDue);
        };
        self.asked = Some((submission.outbox, submission.packet));
        Ok(Came::Handed(match submission.message.payload {
            RadioPayload::Text { text, .. } => text,
            RadioPayload::Tapback { emoji, .. } => emoji,
        }))
    }

    /// Returns the log since the last call.
    fn lines(&self) -> String {
        std::mem::take(&mut *self.log.0.lock().unwrap())
    }

    fn memory(&self) -> String {
        format!("{:#?}", self.ledger.lock().unwrap())
    }
}

/// The ledger's account.
fn known(mut ledger: Ledger) -> Mutex<Ledger> {
    let account = "@relay:example.org".try_into().unwrap();
    ledger.bridge.remember_own_user(account);
    Mutex::new(ledger)
}

fn synced() -> Event {
    Event::Matrix(MatrixEvent::Synced(Box::new(Synced {
        position: Some("s1".to_owned()),
        clock: Some(ClockReading {
            server: NOON,
            ours: NOON,
            passed: 0,
            boot: String::new(),
        }),
        ..Synced::default()
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

fn reaction(to: &str, key: &str) -> Event {
    Event::Matrix(MatrixEvent::Reaction(Box::new(RoomReaction {
        room: "!room:example.org".try_into().unwrap(),
        event: format!("${key}-on-{to}:example.org").try_into().unwrap(),
        sender: "@bob:example.org".try_into().unwrap(),
        sender_name: "Bob".to_owned(),
        sender_power: 0,
        sent_at: NOON,
        target: format!("${to}:example.org").try_into().unwrap(),
        key: key.to_owned(),
        suppress: false,
    })))
}

fn undecryptable(name: &str) -> Event {
    Event::Matrix(MatrixEvent::Undecryptable {
        event: Box::new(relay_model::UndecryptableEvent {
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

pub(super) fn lost() -> Event {
    let cause = "cut".to_owned();
    Event::Radio(RadioEvent::Lost {
        kind: relay_model::LossKind::Absent,
        cause,
        hint: None,
    })
}

fn left(room: &str) -> Event {
    Event::Matrix(MatrixEvent::Left {
        room: room.try_into().unwrap(),
        tombstone: None,
    })
}

/// A radio whose first channel has that name.
fn radio(name: &str) -> Event {
    ready(|profile| {
        let channels = [
            (name, ChannelRole::Primary),
            ("Hill", ChannelRole::Secondary),
        ];
        let channels = (0_u32..)
            .zip(channels)
            .map(|(index, (name, role))| Channel {
                index: index.try_into().unwrap(),
                name: name.to_owned(),
                role,
                fingerprint: Some(print_of(name)),
            });
        profile.channels = channels.collect();
    })
}

/// The steps, each with its minutes after the start.
fn steps() -> Vec<(u64, Step)> {
    let mut steps = first_minute();
    steps.extend(handed_over());
    steps.extend(after_an_outage());
    steps
}

fn chores(at: u64) -> (u64, Step) {
    (at, Step::Batch(vec![round(Duration::from_mins(at))]))
}

fn first_minute() -> Vec<(u64, Step)> {
    use Step::{Batch, CameBack};
    let minutes = Duration::from_mins;
    let media = |text: &mut relay_model::RoomText| {
        text.kind = RoomTextKind::Media { word: "image" };
        text.body = String::new();
    };
    let long = |text: &mut relay_model::RoomText| text.body = "part ".repeat(100);
    vec![
        (
            0,
            Batch(vec![
                radio("LongFast"),
                room(|it| it.public = true),
                room(|it| {
                    it.room = HILL.try_into().unwrap();
                    it.configured = vec![ALIAS.try_into().unwrap()];
                }),
                synced(),
            ]),
        ),
        chores(1),
        (
            1,
            Batch(vec![
                hello_of_node(),
                hello_of_alice(),
                hello_of_alice(),
                text("first in parts", NOON, long),
                text("second in parts", NOON, long),
                text("picture", NOON, media),
                text("another picture", NOON, media),
                text("too late", NOON - minutes(90), |_| {}),
                text(&"long ".repeat(300), NOON, |_| {}),
                undecryptable("secret"),
                undecryptable("of a banned person"),
                text("for the hill", NOON, |it| {
                    it.room = HILL.try_into().unwrap();
                }),
            ]),
        ),
        (
            1,
            Batch(vec![
                edit("hello", "better"),
                edit("not-there-yet", "early"),
                redaction("picture"),
                redaction("of a banned person"),
                reaction("hello", "👍"),
            ]),
        ),
        (
            1,
            Batch(vec![Event::Report(SendReport::Room {
                outbox: RoomRowId(1),
                outcome: RoomOutcome::Sent {
                    event: "$heard:example.org".try_into().unwrap(),
                },
            })]),
        ),
        (1, CameBack("$came-back:example.org")),
    ]
}

/// The radio accepts and refuses packets; the bot leaves a room.
fn handed_over() -> Vec<(u64, Step)> {
    use Step::{Answer, Batch, HandOver, Open};
    let taken = || {
        Answer(RadioOutcome::Accepted {
            at: NOON + Duration::from_mins(1),
            answered: true,
        })
    };
    let again = |new_id, written| {
        Answer(RadioOutcome::Retry {
            after: Duration::ZERO,
            new_id,
            written,
            reason: "not now".to_owned(),
        })
    };
    vec![
        (1, HandOver(Lane::Reaction)),
        (1, HandOver(Lane::Message)),
        (1, taken()),
        // The first part is accepted; the next one is sent under another id, and refused with those after it.
        (1, HandOver(Lane::Message)),
        (1, taken()),
        (1, HandOver(Lane::Message)),
        (1, again(true, true)),
        (1, HandOver(Lane::Message)),
        (1, Answer(RadioOutcome::Refused(Refusal::TooLong))),
        // Never written, edited, split again; then the relay ends before the radio answers.
        (1, HandOver(Lane::Message)),
        (1, again(false, false)),
        (
            1,
            Batch(vec![edit("second-in-parts", &"piece ".repeat(80))]),
        ),
        (1, HandOver(Lane::Message)),
        (1, Open),
        (
            1,
            Batch(vec![radio("LongFast"), room(|it| it.public = true)]),
        ),
        (1, HandOver(Lane::Message)),
        (1, taken()),
        (1, Answer(RadioOutcome::Heard)),
        (
            1,
            Batch(vec![
                Event::Matrix(MatrixEvent::NameMoved {
                    name: ALIAS.try_into().unwrap(),
                    room: "!moved:example.org".try_into().unwrap(),
                }),
                left(HILL),
            ]),
        ),
        (2, HandOver(Lane::Reaction)),
        (2, Answer(RadioOutcome::Refused(Refusal::NoChannel))),
    ]
}

fn after_an_outage() -> Vec<(u64, Step)> {
    use Step::Batch;
    let minutes = Duration::from_mins;
    vec![
        (2, Batch(vec![lost()])),
        chores(2),
        chores(15),
        chores(16),
        (
            16,
            Batch(vec![
                text("late", NOON + minutes(10), |_| {}),
                text("now", NOON + minutes(16), |_| {}),
            ]),
        ),
        // Its channel is gone.
        (17, Batch(vec![radio("Other")])),
        chores(19),
        (
            20,
            Batch(vec![
                radio("LongFast"),
                text("again", NOON + minutes(20), |_| {}),
            ]),
        ),
        chores(61),
        chores(90),
        (
            91,
            Batch(vec![
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
                    stands: true,
                }),
            ]),
        ),
        (91, Batch(vec![left("!room:example.org")])),
        chores(92),
    ]
}

#[test]
fn what_is_rolled_back_at_any_point_does_the_same_when_it_is_run_again() {
    // With a single dispatcher, `tracing` caches a call site that another thread reaches first as disabled.
    let _second = tracing::Dispatch::new(tracing_subscriber::registry());
    let mut config = config();
    config.matrix.sender_limit.per_minute = 1000;
    config.matrix.sender_limit.per_hour = 1000;
    config.matrix_rooms.push(MappedRoom {
        id: ALIAS.try_into().unwrap(),
        meshtastic_channel: ChannelRef::Index(1_u32.try_into().unwrap()),
        ..config.matrix_rooms[0].clone()
    });
    let (mut smooth, mut rough) = (Relay::new(&config), Relay::new(&config));
    let mut lines = 0;
    let mut handed = Vec::new();
    for (number, (minutes, step)) in steps().iter().enumerate() {
        let up = Duration::from_mins(*minutes);
        let expected = smooth.run(step, up, None).unwrap();
        let (memory, rows) = (rough.memory(), rough.store.dump());
        let mut failures = 0;
        let came = loop {
            match rough.run(step, up, Some(failures)) {
                Ok(came) => break came,
                Err(_) => failures += 1,
            }
            let point = format!("step {number}, statement {failures}");
            assert_eq!(rough.memory(), memory, "{point}");
            assert_eq!(rough.store.dump(), rows, "{point}");
            assert_eq!(rough.lines(), "", "{point}");
        };
        assert!(failures > 3, "step {number} failed at {failures} points");
        assert_eq!(came, expected, "step {number}");
        if let Came::Handed(text) = came {
            handed.push(text.chars().take(24).collect::<String>());
        }
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
    assert_eq!(
        handed,
        [
            "Alice[M]: better",
            "Alice[M]: 1/3 part part ",
            "Alice 2/3: part part par",
            "Alice 2/3: part part par",
            "Alice[M]: 1/3 part part ",
            "Alice[M]: 1/3 piece piec",
            "Alice[M]: 1/3 piece piec",
            "👍",
        ]
    );
}
