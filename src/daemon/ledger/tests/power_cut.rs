//! What a power cut takes back: never what has left the relay, or was accepted.

use super::*;
use relay_model::{OwnedTransactionId, RadioOutcome, RoomOutcome};

const ROOM: &str = "!room:example.org";

/// A store on a disk, with a ledger that was opened on it.
struct Computer {
    _directory: tempfile::TempDir,
    store: Store,
    ledger: Mutex<Ledger>,
}

impl Computer {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut store = Store::open(&directory.path().join("relay.sqlite")).unwrap();
        let ledger = store.transaction(|tx| open(tx, &config(), NOON)).unwrap();
        let mut computer = Self {
            _directory: directory,
            store,
            ledger: Mutex::new(ledger),
        };
        computer.happens(ready(|_| {}));
        computer.happens(joined());
        computer
    }

    fn happens(&mut self, event: Event) -> Outcome {
        Ledger::commit(&self.ledger, &mut self.store, &[event], NOON).unwrap()
    }

    fn loses_power(mut self) -> Self {
        self.store = self.store.after_power_cut();
        let ledger = self.store.transaction(|tx| open(tx, &config(), NOON));
        self.ledger = Mutex::new(ledger.unwrap());
        self
    }

    /// The row that goes to the room next.
    fn next_for_room(&mut self) -> Option<(relay_model::RoomRowId, OwnedTransactionId)> {
        let room = OwnedRoomOrAliasId::try_from(ROOM).unwrap();
        let row = self.store.next_for_room(&room).unwrap();
        row.map(|row| (row.id, row.transaction))
    }
}

fn sent(outbox: relay_model::RoomRowId) -> Event {
    let event = OwnedEventId::try_from("$sent:example.org").unwrap();
    Event::Report(SendReport::Room {
        outbox,
        outcome: RoomOutcome::Sent { event },
    })
}

#[test]
fn a_message_that_was_accepted_stays_and_goes_again_under_the_same_transaction_id() {
    let mut computer = Computer::new();
    computer.happens(hello_of_node());
    let (row, transaction) = computer.next_for_room().unwrap();
    let outcome = computer.happens(sent(row));
    assert!(outcome.sync_soon);
    assert_eq!(computer.next_for_room(), None);
    assert!(!computer.store.is_on_disk());

    // That it was sent is not on the disk yet.
    let mut computer = computer.loses_power();
    assert_eq!(computer.next_for_room(), Some((row, transaction)));
    computer.happens(sent(row));
    computer.store.sync(NOON).unwrap();
    let mut computer = computer.loses_power();
    assert_eq!(computer.next_for_room(), None);
}

#[test]
fn that_a_message_was_sent_is_on_the_disk_with_the_next_message() {
    let mut computer = Computer::new();
    computer.happens(hello_of_node());
    let (row, _) = computer.next_for_room().unwrap();
    computer.happens(sent(row));
    computer.happens(text_of_node(77, PacketId(6), "hello again", NOON));
    let mut computer = computer.loses_power();
    let (next, _) = computer.next_for_room().unwrap();
    assert_ne!(next, row);
}

#[test]
fn that_the_radio_took_a_packet_is_on_the_disk_at_once() {
    let mut computer = Computer::new();
    computer.happens(hello_of_alice());
    assert!(computer.store.is_on_disk());
    let submission = hand_to_radio(&mut computer.store, &config(), NOON);
    let report = |outcome| {
        Event::Report(SendReport::Radio {
            outbox: submission.outbox,
            packet: submission.packet,
            outcome,
        })
    };
    computer.happens(report(RadioOutcome::Accepted {
        at: NOON,
        answered: true,
    }));
    assert!(computer.store.is_on_disk());

    // What the mesh says of it is no more than a sign.
    let outcome = computer.happens(report(RadioOutcome::Heard));
    assert!(outcome.sync_soon);
    assert!(!computer.store.is_on_disk());
    let mut computer = computer.loses_power();
    let state = |tx: &Tx<'_>| mesh_report::state(tx, submission.outbox);
    let state = computer.store.transaction(state).unwrap();
    assert_eq!(state, Some(MeshState::Accepted));
}

#[test]
fn a_report_that_ends_a_packet_that_waits_is_on_the_disk_at_once() {
    let mut computer = Computer::new();
    computer.happens(hello_of_alice());
    let submission = hand_to_radio(&mut computer.store, &config(), NOON);
    computer.happens(Event::Report(SendReport::Radio {
        outbox: submission.outbox,
        packet: submission.packet,
        outcome: RadioOutcome::Heard,
    }));
    assert!(computer.store.is_on_disk());
}

#[test]
fn an_event_of_ours_that_comes_back_does_not_wait_for_the_disk() {
    let mut computer = Computer::new();
    computer.happens(hello_of_node());
    let (_, transaction) = computer.next_for_room().unwrap();
    let synced = relay_model::Synced {
        position: Some("s2".to_owned()),
        ..relay_model::Synced::default()
    };
    let own = Event::Matrix(MatrixEvent::Own {
        room: ROOM.try_into().unwrap(),
        event: OwnedEventId::try_from("$sent:example.org").unwrap(),
        transaction: Some(transaction),
        relay_id: None,
        of_mesh: false,
        sent_at: NOON,
    });
    let synced = Event::Matrix(MatrixEvent::Synced(Box::new(synced)));
    Ledger::commit(&computer.ledger, &mut computer.store, &[own, synced], NOON).unwrap();
    assert_eq!(computer.next_for_room(), None);
    assert!(!computer.store.is_on_disk());
}

#[test]
fn that_a_packet_is_delivered_once_more_is_noted_without_waiting_for_the_disk() {
    let mut computer = Computer::new();
    computer.happens(hello_of_node());
    assert!(computer.store.is_on_disk());
    computer.happens(hello_of_node());
    assert!(!computer.store.is_on_disk());
    let told = |tx: &Tx<'_>| relay_store::story::of_packet(tx, PacketId(5), None);
    let stories = computer.store.transaction(told).unwrap();
    let kinds: Vec<String> = stories[0]
        .steps
        .iter()
        .map(|it| it.kind.to_string())
        .collect();
    assert_eq!(kinds, ["replayed", "posted", "replayed"]);
}
