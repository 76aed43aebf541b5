//! What a row that cannot be read costs: itself.

use super::*;
use crate::model::Sign;
use crate::store::feedback;

/// A relay that has joined its room, where Alice has said these words.
fn relay(said: &[&str]) -> (Store, Mutex<Ledger>) {
    let mut store = Store::in_memory().unwrap();
    let ledger = store.transaction(|tx| open(tx, &config(), NOON)).unwrap();
    let ledger = Mutex::new(ledger);
    let texts = said.iter().map(|text| text_of_alice(text, NOON));
    let events: Vec<Event> = [joined()].into_iter().chain(texts).collect();
    Ledger::commit(&ledger, &mut store, &events, NOON).unwrap();
    (store, ledger)
}

fn named(text: &str) -> OwnedEventId {
    format!("${text}:example.org").try_into().unwrap()
}

fn states(store: &mut Store, text: &str) -> Vec<MeshState> {
    let fate = store.transaction(|tx| feedback::message(tx, &named(text)));
    fate.unwrap().unwrap().parts
}

#[test]
fn what_has_changed_and_cannot_be_read_costs_its_sign_alone() {
    let (mut store, ledger) = relay(&["one"]);
    store.damage("INSERT INTO feedback_changed (event) VALUES (CAST(x'ff' AS TEXT)), ('nothing')");
    let room = OwnedRoomId::try_from("!room:example.org").unwrap();
    let given =
        store.transaction(|tx| feedback::give(tx, &room, &named("one"), Sign::Denied, NOON));
    given.unwrap();
    let batch = [text_of_alice("two", NOON), text_of_alice("three", NOON)];
    Ledger::commit(&ledger, &mut store, &batch, NOON).unwrap();
    for text in ["two", "three"] {
        assert_eq!(states(&mut store, text), [MeshState::Waiting]);
    }
    let shown = store.note(|tx| feedback::next(tx, NOON)).unwrap();
    assert!(matches!(shown, Next::Due(sign) if sign.event == named("one")));
}

#[test]
fn a_chore_that_cannot_be_done_takes_no_message_with_it() {
    let (mut store, ledger) = relay(&[]);
    store.damage("ALTER TABLE mapped_room RENAME TO elsewhere");
    let batch = [text_of_alice("one", NOON), round(Duration::from_secs(20))];
    Ledger::commit(&ledger, &mut store, &batch, NOON).unwrap();
    assert_eq!(states(&mut store, "one"), [MeshState::Waiting]);
    // What is not asked of that table is looked at all the same.
    let up = Duration::from_hours(24);
    Ledger::commit(&ledger, &mut store, &[round(up)], NOON + up).unwrap();
    assert_eq!(states(&mut store, "one"), [MeshState::Expired]);
}

#[test]
fn a_packet_that_cannot_be_read_ends_and_the_radio_is_ready() {
    let (mut store, ledger) = relay(&["one", "two"]);
    store.damage("UPDATE mesh_outbox SET sender = 'nobody' WHERE event = '$one:example.org'");
    let outcome = Ledger::commit(&ledger, &mut store, &[ready(|_| {})], NOON).unwrap();
    assert!(outcome.silence.is_none());
    assert_eq!(states(&mut store, "one"), [MeshState::Refused]);
    let shown = store.note(|tx| feedback::next(tx, NOON)).unwrap();
    assert!(matches!(shown, Next::Due(sign) if sign.event == named("one")));
    hand_to_radio(&mut store, &config(), NOON);
    assert_eq!(states(&mut store, "two"), [MeshState::Submitted]);
}

#[test]
fn a_packet_that_cannot_be_read_holds_up_none_behind_it() {
    let (mut store, _) = relay(&["one", "two"]);
    store.damage("UPDATE mesh_outbox SET sender = 'nobody' WHERE event = '$one:example.org'");
    let queue = store.transaction(outbox_mesh::queues).unwrap()[0];
    let rules = MeshRules::of(&config().meshtastic);
    let next = mesh_worker::hand_over(&mut store, queue, rules, NOON).unwrap();
    assert!(matches!(next, Next::Later(due) if due <= NOON), "{next:?}");
    assert_eq!(states(&mut store, "one"), [MeshState::Refused]);
    hand_to_radio(&mut store, &config(), NOON);
    assert_eq!(states(&mut store, "two"), [MeshState::Submitted]);
}
