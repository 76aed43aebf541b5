//! Edits.

use super::*;
use relay_model::{Draft, NewVersion, RoomEdit, RoomRedaction, Sign, Version, spoken};
use relay_store::{StoreError, backlog, feedback};

fn hello() -> RoomText {
    match hello_of_alice() {
        Event::Matrix(MatrixEvent::Text(text)) => *text,
        other => panic!("{other:?}"),
    }
}

/// Alice's edit of `$hello`.
fn edit(event: &str, body: &str) -> Event {
    Event::Matrix(MatrixEvent::Edit(Box::new(RoomEdit {
        target: hello().event,
        new: RoomText {
            event: event.try_into().unwrap(),
            body: body.to_owned(),
            ..hello()
        },
    })))
}

fn versions(store: &mut Store) -> Vec<Version> {
    let found = store.transaction(|tx| edits::versions(tx, &hello().room, &hello().event));
    found.unwrap()
}

/// The radio takes `$hello`.
fn send(store: &mut Store) {
    let row = hand_to_radio(store, &config(), NOON).outbox;
    let sent = store.transaction(|tx| mesh_report::accepted(tx, row, NOON));
    assert!(sent.unwrap());
}

fn carried(store: &mut Store) -> Vec<String> {
    let spoken = |it: Version| format!("Alice[M]: {}", spoken(&it.text, it.correction));
    versions(store).into_iter().map(spoken).collect()
}

#[test]
fn an_edit_in_the_batch_of_its_message_counts_before_it_and_behind_it() {
    let (text, better) = (hello_of_alice(), edit("$edit:example.org", "better"));
    for events in [
        [joined(), text.clone(), better.clone()],
        [joined(), better, text],
    ] {
        let mut store = Store::in_memory().unwrap();
        decide(&mut store, &config(), &events);
        assert_eq!(carried(&mut store), ["Alice[M]: better"]);
        // Both come again after a crash.
        decide(&mut store, &config(), &events);
        assert_eq!(carried(&mut store), ["Alice[M]: better"]);
    }
}

#[test]
fn several_edits_of_what_was_sent_make_one_correction() {
    let mut store = Store::in_memory().unwrap();
    decide(&mut store, &config(), &[joined(), hello_of_alice()]);
    send(&mut store);
    decide(
        &mut store,
        &config(),
        &[
            joined(),
            edit("$one:example.org", "hallo"),
            edit("$two:example.org", "hullo"),
        ],
    );
    assert_eq!(
        carried(&mut store),
        ["Alice[M]: hello", "Alice[M]: * hullo"]
    );
    // Edited back to the version sent: no correction.
    decide(
        &mut store,
        &config(),
        &[joined(), edit("$three:example.org", "hello")],
    );
    assert_eq!(carried(&mut store), ["Alice[M]: hello"]);
}

#[test]
fn an_edit_that_expires_is_counted_as_one_and_shown_on_its_message_unless_a_newer_one_goes() {
    let mut config = config();
    config.meshtastic.max_message_age = Duration::from_mins(1);
    let at = |seconds| NOON + Duration::from_secs(seconds);
    for (goes_on, sign) in [(false, Some(Sign::Expired)), (true, None)] {
        let mut store = Store::in_memory().unwrap();
        decide(&mut store, &config, &[joined(), hello_of_alice()]);
        send(&mut store);
        let first = edit("$one:example.org", "hallo");
        let newer = text_of_alice("newer", at(1));
        decide(&mut store, &config, &[joined(), first, newer]);
        let chores = [joined(), round(Duration::ZERO)];
        decide_at(&mut store, &config, &chores, at(61));
        let expired = store.transaction(backlog::expired).unwrap();
        assert_eq!((expired[0].messages, expired[0].edits), (2, 1));
        if goes_on {
            let mut next = edit("$two:example.org", "hullo");
            if let Event::Matrix(MatrixEvent::Edit(it)) = &mut next {
                it.new.sent_at = at(62);
            }
            decide_at(&mut store, &config, &[joined(), next], at(62));
            let row = hand_to_radio(&mut store, &config, at(75)).outbox;
            let sent = store.transaction(|tx| mesh_report::accepted(tx, row, at(75)));
            assert!(sent.unwrap());
        }
        decide_at(&mut store, &config, &chores, at(85));
        assert_eq!(store.transaction(backlog::expired).unwrap(), []);
        let fate = store.transaction(|tx| feedback::message(tx, &hello().event));
        assert_eq!(fate.unwrap().unwrap().given, sign);
    }
}

#[test]
fn an_edit_that_comes_behind_a_newer_one_changes_nothing() {
    let written = |mut edit: Event, seconds: u64| {
        if let Event::Matrix(MatrixEvent::Edit(it)) = &mut edit {
            it.new.sent_at = NOON - Duration::from_secs(seconds);
        }
        edit
    };
    let older = || written(edit("$one:example.org", "hallo"), 2);
    let newer = |body| written(edit("$two:example.org", body), 1);
    // The message waits: the newer edit comes before or after it.
    for events in [
        [joined(), hello_of_alice(), newer("hullo"), older()],
        [joined(), newer("hullo"), hello_of_alice(), older()],
        [joined(), newer("hullo"), older(), hello_of_alice()],
    ] {
        let mut store = Store::in_memory().unwrap();
        decide(&mut store, &config(), &events);
        assert_eq!(carried(&mut store), ["Alice[M]: hullo"]);
    }
    // The message was sent; the second edit restores the version sent.
    let hello = "Alice[M]: hello";
    for (body, expected) in [
        ("hullo", &[hello, "Alice[M]: * hullo"][..]),
        ("hello", &[hello]),
    ] {
        let mut store = Store::in_memory().unwrap();
        decide(&mut store, &config(), &[joined(), hello_of_alice()]);
        send(&mut store);
        decide(&mut store, &config(), &[joined(), newer(body), older()]);
        assert_eq!(carried(&mut store), expected);
    }
}

#[test]
fn a_correction_that_is_taken_back_leaves_the_parts_of_its_message_alone() {
    let long = "word ".repeat(90).trim().to_owned();
    for last in [
        long.clone(),
        "// not on the air".to_owned(),
        "x".repeat(2000),
    ] {
        let mut store = Store::in_memory().unwrap();
        let mut message = hello_of_alice();
        if let Event::Matrix(MatrixEvent::Text(text)) = &mut message {
            text.body.clone_from(&long);
        }
        decide(&mut store, &config(), &[joined(), message]);
        send(&mut store);
        let mut states = |events: &[Event]| {
            decide(&mut store, &config(), events);
            let read = store.transaction(|tx| {
                let states = (1..=4).map(|id| mesh_report::state(tx, MeshRowId(id)));
                states.collect::<Result<Vec<_>, _>>()
            });
            read.unwrap().into_iter().flatten().collect::<Vec<_>>()
        };
        let mut expected = [MeshState::Waiting; 4];
        expected[0] = MeshState::Accepted;
        let shorter = edit("$one:example.org", "short");
        assert_eq!(states(&[joined(), shorter]), expected);
        expected[3] = MeshState::Withdrawn;
        assert_eq!(
            states(&[joined(), edit("$two:example.org", &last)]),
            expected
        );
    }
}

fn taken_away(edit: &str, sender: OwnedUserId) -> Event {
    Event::Matrix(MatrixEvent::Redaction(Box::new(RoomRedaction {
        room: hello().room,
        target: edit.try_into().unwrap(),
        event: "$redaction:example.org".try_into().unwrap(),
        sender,
    })))
}

#[test]
fn nobody_takes_another_persons_correction_away_with_an_edit_of_their_own() {
    let bob: OwnedUserId = "@bob:example.org".try_into().unwrap();
    let mut foreign = edit("$bob:example.org", "bob's");
    if let Event::Matrix(MatrixEvent::Edit(it)) = &mut foreign {
        it.new.sender.clone_from(&bob);
    }
    let mut store = Store::in_memory().unwrap();
    // An edit that comes before its message, whose author is unknown.
    decide(
        &mut store,
        &config(),
        &[joined(), foreign, hello_of_alice()],
    );
    send(&mut store);
    let events = [
        joined(),
        edit("$two:example.org", "hullo"),
        taken_away("$bob:example.org", bob),
    ];
    decide(&mut store, &config(), &events);
    assert_eq!(
        carried(&mut store),
        ["Alice[M]: hello", "Alice[M]: * hullo"]
    );
}

#[test]
fn the_correction_of_an_edit_that_is_taken_away_is_not_sent() {
    // An older edit of several is redacted: the correction stays.
    for (edit_event, expected) in [
        ("$two:example.org", &["Alice[M]: hello"][..]),
        (
            "$one:example.org",
            &["Alice[M]: hello", "Alice[M]: * hullo"],
        ),
    ] {
        let mut store = Store::in_memory().unwrap();
        decide(&mut store, &config(), &[joined(), hello_of_alice()]);
        send(&mut store);
        let events = [
            joined(),
            edit("$one:example.org", "hallo"),
            edit("$two:example.org", "hullo"),
            taken_away(edit_event, hello().sender),
        ];
        decide(&mut store, &config(), &events);
        assert_eq!(carried(&mut store), expected);
    }
}

#[test]
fn what_the_radio_may_know_is_never_changed_in_silence_and_called_back_where_it_is_taken_back() {
    let mut store = Store::in_memory().unwrap();
    decide(&mut store, &config(), &[joined(), hello_of_alice()]);
    let row = hand_to_radio(&mut store, &config(), NOON).outbox;
    let mut apply = |action: Action| {
        store.transaction(|tx| {
            let mut outcome = Outcome::default();
            let mut applier = Applier {
                tx,
                radio: NodeNum(1),
                now: NOON,
                outcome: &mut outcome,
                next: Vec::new(),
                is_heard: false,
            };
            applier.apply(&hello_of_alice(), action)?;
            Ok(outcome)
        })
    };
    let draft = Draft::default();
    let version = NewVersion {
        draft: draft.clone(),
        lane: Lane::Message,
        alert: false,
        not_before: None,
    };
    let picture = OwnedEventId::try_from("$picture:example.org").unwrap();
    for change in [
        Action::OneMore(row, draft, picture, None),
        Action::Rewrite(row, version),
    ] {
        let changed = apply(change);
        assert!(matches!(changed, Err(StoreError::Known(it)) if it == row));
    }
    let taken_away = Action::TakeAway {
        room: hello().room,
        event: "$edit:example.org".try_into().unwrap(),
        correction: Some(row),
    };
    for take_back in [Action::WithdrawCorrection(row), taken_away] {
        assert_eq!(apply(take_back).unwrap().withdrawn, [row]);
    }
}
