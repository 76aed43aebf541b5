//! What each event leaves in the story of its message.

use super::undecryptable::unreadable;
use super::*;
use relay_model::{
    EventId, Evidence, RadioOutcome, Refusal, RoomOutcome, RoomRedaction, StepKind, Story,
};
use relay_store::story;

use StepKind::*;

/// A running relay, with its tables in memory.
struct Relay {
    store: Store,
    ledger: Mutex<Ledger>,
    now: Timestamp,
}

impl Relay {
    fn start() -> Self {
        let mut store = Store::in_memory().unwrap();
        let ledger = store.transaction(|tx| open(tx, &config(), NOON)).unwrap();
        let mut relay = Self {
            store,
            ledger: Mutex::new(ledger),
            now: NOON,
        };
        relay.happens(ready(|_| {}));
        relay.happens(joined());
        relay
    }

    fn happens(&mut self, event: Event) {
        Ledger::commit(&self.ledger, &mut self.store, &[event], self.now).unwrap();
    }

    /// The steps of Alice's `$hello`, with what the last one rests on.
    fn of_hello(&mut self) -> (Vec<StepKind>, Evidence) {
        let event = EventId::parse("$hello:example.org").unwrap();
        let stories = self
            .store
            .transaction(|tx| story::of_event(tx, &event, None));
        told(stories.unwrap())
    }

    /// The steps of the node's packet.
    fn of_packet(&mut self) -> (Vec<StepKind>, Evidence) {
        let read = |tx: &Tx<'_>| story::of_packet(tx, PacketId(5), None);
        told(self.store.transaction(read).unwrap())
    }
}

fn told(mut stories: Vec<Story>) -> (Vec<StepKind>, Evidence) {
    assert_eq!(stories.len(), 1, "{stories:?}");
    let steps = stories.remove(0).steps;
    let last = steps.last().unwrap().evidence();
    (steps.into_iter().map(|it| it.kind).collect(), last)
}

#[test]
fn each_outcome_of_a_packet_is_a_step_that_rests_on_no_more_than_was_said() {
    let retry = |new_id, written| RadioOutcome::Retry {
        after: Duration::ZERO,
        new_id,
        written,
        reason: "why".to_owned(),
    };
    let accepted = |answered| RadioOutcome::Accepted { at: NOON, answered };
    let refused = RadioOutcome::Refused;
    for (outcome, step, evidence) in [
        (accepted(true), Taken, Evidence::Reported),
        (accepted(false), TakenSilently, Evidence::Inferred),
        (RadioOutcome::Heard, Repeated, Evidence::Reported),
        (RadioOutcome::Unheard, Unheard, Evidence::Reported),
        (RadioOutcome::Delivered, Delivered, Evidence::Reported),
        (retry(true, true), NotTaken, Evidence::Reported),
        (retry(false, true), Unanswered, Evidence::Unknown),
        (retry(false, false), NotTried, Evidence::Observed),
        (
            refused(Refusal::TooLong),
            RefusedByRadio,
            Evidence::Inferred,
        ),
        (
            refused(Refusal::TransmitOff),
            RefusedByRadio,
            Evidence::Inferred,
        ),
        (
            refused(Refusal::NoChannel),
            RefusedByRadio,
            Evidence::Reported,
        ),
        (
            refused(Refusal::NoInterface),
            RefusedByRadio,
            Evidence::Reported,
        ),
        (refused(Refusal::NoKey), RefusedByRadio, Evidence::Reported),
        (
            refused(Refusal::Other(33)),
            RefusedByRadio,
            Evidence::Reported,
        ),
    ] {
        let mut relay = Relay::start();
        relay.happens(hello_of_alice());
        let submission = hand_to_radio(&mut relay.store, &config(), NOON);
        for _ in 0..2 {
            relay.happens(Event::Report(SendReport::Radio {
                outbox: submission.outbox,
                packet: submission.packet,
                outcome: outcome.clone(),
            }));
        }
        let (steps, last) = relay.of_hello();
        assert_eq!(steps[..3], [Accepted, Handed, step], "{outcome}");
        assert_eq!(last, evidence, "{outcome}");
    }
}

#[test]
fn what_nobody_speaks_of_any_more_is_not_known() {
    let mut relay = Relay::start();
    relay.happens(hello_of_alice());
    let submission = hand_to_radio(&mut relay.store, &config(), NOON);
    relay.happens(Event::Report(SendReport::Radio {
        outbox: submission.outbox,
        packet: submission.packet,
        outcome: RadioOutcome::Accepted {
            at: NOON,
            answered: true,
        },
    }));
    relay.now = NOON + Duration::from_mins(4);
    relay.happens(Event::Chore(Chore::Overdue));
    let expected = vec![Accepted, Handed, Taken, Silent];
    assert_eq!(relay.of_hello(), (expected, Evidence::Unknown));
}

#[test]
fn a_start_does_not_know_what_the_radio_did_with_what_it_was_given() {
    let mut store = Store::in_memory().unwrap();
    decide(&mut store, &config(), &[joined(), hello_of_alice()]);
    hand_to_radio(&mut store, &config(), NOON);
    decide(&mut store, &config(), &[joined()]);
    decide(&mut store, &config(), &[joined()]);
    let event = EventId::parse("$hello:example.org").unwrap();
    let stories = store.transaction(|tx| story::of_event(tx, &event, None));
    let expected = vec![Accepted, Handed, Restarted];
    assert_eq!(told(stories.unwrap()), (expected, Evidence::Unknown));
}

#[test]
fn each_outcome_of_a_post_is_a_step() {
    let event = OwnedEventId::try_from("$sent:example.org").unwrap();
    let error = "why".to_owned();
    let parked = RoomOutcome::Parked {
        account: false,
        error: error.clone(),
    };
    for (outcome, step) in [
        (RoomOutcome::Sent { event }, Sent),
        (parked, Parked),
        (RoomOutcome::Refused { error }, RefusedByServer),
    ] {
        let mut relay = Relay::start();
        relay.happens(hello_of_node());
        let room = OwnedRoomOrAliasId::try_from("!room:example.org").unwrap();
        let row = relay.store.next_for_room(&room).unwrap().unwrap();
        for _ in 0..2 {
            relay.happens(Event::Report(SendReport::Room {
                outbox: row.id,
                outcome: outcome.clone(),
            }));
        }
        let expected = vec![Replayed, Posted, step];
        assert_eq!(relay.of_packet(), (expected, Evidence::Reported));
    }
}

#[test]
fn a_post_that_comes_back_first_was_seen_and_not_reported() {
    let mut relay = Relay::start();
    relay.happens(hello_of_node());
    let room = OwnedRoomOrAliasId::try_from("!room:example.org").unwrap();
    let row = relay.store.next_for_room(&room).unwrap().unwrap();
    relay.happens(Event::Matrix(MatrixEvent::Own {
        room: "!room:example.org".try_into().unwrap(),
        event: "$sent:example.org".try_into().unwrap(),
        transaction: Some(row.transaction),
        relay_id: None,
        of_mesh: true,
        sent_at: NOON,
    }));
    let expected = vec![Replayed, Posted, CameBack];
    assert_eq!(relay.of_packet(), (expected, Evidence::Observed));
}

#[test]
fn a_message_that_is_taken_away_comes_too_late_or_is_not_for_the_mesh_says_so() {
    let mut relay = Relay::start();
    relay.happens(hello_of_alice());
    relay.happens(Event::Matrix(MatrixEvent::Redaction(Box::new(
        RoomRedaction {
            room: "!room:example.org".try_into().unwrap(),
            event: "$redaction:example.org".try_into().unwrap(),
            target: "$hello:example.org".try_into().unwrap(),
            sender: "@alice:example.org".try_into().unwrap(),
        },
    ))));
    let expected = vec![Accepted, Withdrawn];
    assert_eq!(relay.of_hello(), (expected, Evidence::Observed));

    let mut relay = Relay::start();
    let long_ago = NOON - Duration::from_hours(2);
    relay.happens(text_of_alice("hello", long_ago));
    relay.happens(text_of_alice("hello", long_ago));
    let expected = vec![NotRelayed];
    assert_eq!(relay.of_hello(), (expected, Evidence::Observed));

    let mut relay = Relay::start();
    relay.happens(hello_of_alice());
    relay.now = NOON + Duration::from_hours(2);
    relay.happens(Event::Chore(Chore::Overdue));
    let expected = vec![Accepted, Expired];
    assert_eq!(relay.of_hello(), (expected, Evidence::Observed));
}

#[test]
fn a_message_whose_key_is_late_tells_that_and_what_became_of_it_then() {
    let unreadable = unreadable("$hello:example.org");
    let mut relay = Relay::start();
    relay.happens(unreadable.clone());
    relay.happens(unreadable.clone());
    relay.happens(hello_of_alice());
    let expected = vec![Undecryptable, Accepted];
    assert_eq!(relay.of_hello(), (expected, Evidence::Observed));

    let mut relay = Relay::start();
    relay.happens(unreadable);
    relay.now = NOON + Duration::from_hours(1);
    relay.happens(Event::Chore(Chore::Keys));
    let expected = vec![Undecryptable, KeyGivenUp];
    assert_eq!(relay.of_hello(), (expected, Evidence::Observed));
}
