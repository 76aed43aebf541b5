//! A row that cannot be read costs only itself.

use super::*;
use relay_model::{RoomContent, Sign};
use relay_store::feedback;

/// A relay that has joined its room, with messages of Alice.
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
    let shown = store.commit_relaxed(|tx| feedback::next(tx, NOON)).unwrap();
    assert!(matches!(shown, Next::Due(sign) if sign.event == named("one")));
}

#[test]
fn a_chore_that_cannot_be_done_takes_no_message_with_it() {
    let (mut store, ledger) = relay(&[]);
    store.damage("ALTER TABLE mapped_room RENAME TO elsewhere");
    let batch = [text_of_alice("one", NOON), round(Duration::from_secs(20))];
    Ledger::commit(&ledger, &mut store, &batch, NOON).unwrap();
    assert_eq!(states(&mut store, "one"), [MeshState::Waiting]);
    // Questions about other tables are still answered.
    let up = Duration::from_hours(24);
    Ledger::commit(&ledger, &mut store, &[round(up)], NOON + up).unwrap();
    assert_eq!(states(&mut store, "one"), [MeshState::Expired]);
}

#[test]
fn a_packet_that_cannot_be_read_ends_and_the_radio_is_ready() {
    let (mut store, ledger) = relay(&["one", "two"]);
    store.damage("UPDATE mesh_outbox SET sender = 'nobody' WHERE event = '$one:example.org'");
    let outcome = Ledger::commit(&ledger, &mut store, &[ready(|_| {})], NOON).unwrap();
    assert_eq!(outcome.may_transmit, Some(true));
    assert_eq!(states(&mut store, "one"), [MeshState::Refused]);
    let shown = store.commit_relaxed(|tx| feedback::next(tx, NOON)).unwrap();
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

#[test]
fn what_was_relayed_and_cannot_be_read_costs_no_text_that_is_heard_and_no_answer() {
    let (mut store, ledger) = relay(&["one"]);
    let first = text_of_node(77, PacketId(5), "first", NOON);
    Ledger::commit(&ledger, &mut store, &[ready(|_| {}), first], NOON).unwrap();
    store.damage("UPDATE mesh_outbox SET sender = 'nobody'");
    store.damage("UPDATE message_pair SET room = 'nowhere', text = CAST(x'ff' AS TEXT)");
    let mut heard = text_of_node(78, PacketId(6), "second", NOON);
    if let Event::Radio(RadioEvent::Text(text)) = &mut heard {
        text.reply_to = Some(PacketId(5));
    }
    let mut answer = text_of_alice("answer", NOON);
    if let Event::Matrix(MatrixEvent::Text(text)) = &mut answer {
        text.reply_to = Some(named("one"));
    }
    Ledger::commit(&ledger, &mut store, &[heard, answer], NOON).unwrap();
    assert_eq!(store.transaction(outbox_room::count).unwrap(), 2);
    assert_eq!(states(&mut store, "answer"), [MeshState::Waiting]);
}

#[test]
fn a_ban_holds_whatever_of_the_banned_person_cannot_be_read() {
    let (mut store, ledger) = relay(&["one"]);
    let late = ["$two:example.org", "$three:example.org"].map(undecryptable::unreadable);
    Ledger::commit(&ledger, &mut store, &late, NOON).unwrap();
    store.damage("UPDATE undecryptable SET event = 'nothing' WHERE event = '$two:example.org'");
    let ban = Event::Matrix(MatrixEvent::Banned {
        room: "!room:example.org".try_into().unwrap(),
        event: named("ban"),
        user: "@alice:example.org".try_into().unwrap(),
        sent_at: NOON,
        stands: true,
    });
    Ledger::commit(&ledger, &mut store, &[ban], NOON).unwrap();
    assert!(!waits_for_mesh(&mut store));
    let kept = store
        .transaction(relay_store::undecryptable::count)
        .unwrap();
    assert_eq!(kept, 0);
}

#[test]
fn what_cannot_be_read_is_named_in_the_log_as_far_as_it_can() {
    let (mut store, ledger) = relay(&[]);
    let late = ["$two:example.org", "$three:example.org"].map(undecryptable::unreadable);
    Ledger::commit(&ledger, &mut store, &late, NOON).unwrap();
    store.damage("UPDATE undecryptable SET sender = 'nobody' WHERE event = '$two:example.org'");
    store
        .damage_types("UPDATE undecryptable SET sent_at = x'00' WHERE event <> '$two:example.org'");
    let log = rerun::Log::default();
    log.hears(|| {
        let late = store
            .transaction(relay_store::undecryptable::waiting)
            .unwrap();
        assert_eq!(late.len(), 1);
        let gone = store.transaction(|tx| relay_store::undecryptable::give_up(tx, &late[0].event));
        gone.unwrap();
    });
    let said = log.0.lock().unwrap();
    for (event, what) in [("two", "left out"), ("three", "a damaged row is given up")] {
        let named = format!("room=\"!room:example.org\" event_id=\"${event}:example.org\"");
        let mut lines = said.lines();
        assert!(
            lines.any(|it| it.contains(&named) && it.contains(what)),
            "{said}"
        );
    }
}

#[test]
fn a_relay_starts_whatever_it_remembers_and_cannot_be_read() {
    let (mut store, ledger) = relay(&[]);
    let late = [undecryptable::unreadable("$one:example.org")];
    Ledger::commit(&ledger, &mut store, &late, NOON).unwrap();
    let account: &relay_model::UserId = "@relay:example.org".try_into().unwrap();
    let synced =
        store.transaction(|tx| relay_store::single_values::set_sync_position(tx, account, "s1"));
    synced.unwrap();
    store.damage(
        "UPDATE known_room SET room = 'nowhere';
         UPDATE mapped_room SET room = 'nowhere';
         UPDATE undecryptable SET event = 'nothing';
         INSERT INTO gap (account, number, room, from_place, to_place)
             VALUES ('@relay:example.org', 0, 'nowhere', 'a', 'b');
         INSERT INTO node (radio, num, long_name, licensed, ignored, updated_at)
             VALUES (0, 1, CAST(x'ff' AS TEXT), 0, 0, 0);
         UPDATE meta SET value = CAST(x'ff' AS TEXT)",
    );
    let found = crate::daemon::pipeline::StoredState::in_store(&mut store, &config(), NOON);
    assert!(found.is_ok(), "{found:?}");
    let start = store.transaction(|tx| {
        let rooms = relay_store::mapped_rooms::all(tx)?.len();
        let gaps = relay_store::gaps::all(tx, account)?.len();
        Ok((rooms, gaps, relay_store::undecryptable::waiting(tx)?.len()))
    });
    assert_eq!(start.unwrap(), (0, 0, 0));
    // A damaged table is not taken for a first start, or for complete.
    let known = store.transaction(|tx| {
        let has_run = relay_store::single_values::has_synced(tx, account)?;
        Ok((has_run, relay_store::known_rooms::are_readable(tx)?))
    });
    assert_eq!(known.unwrap(), (true, false));
}

#[test]
fn a_report_on_a_packet_whose_message_cannot_be_read_lets_the_next_one_go() {
    let (mut store, ledger) = relay(&["one", "two"]);
    let sent = hand_to_radio(&mut store, &config(), NOON);
    store.damage("UPDATE mesh_outbox SET sender = 'nobody', room = 'nowhere' WHERE event = '$one:example.org'");
    let report = Event::Report(SendReport::Radio {
        outbox: sent.outbox,
        packet: sent.packet,
        outcome: relay_model::RadioOutcome::Accepted {
            at: NOON,
            answered: true,
        },
    });
    Ledger::commit(&ledger, &mut store, &[report], NOON).unwrap();
    hand_to_radio(&mut store, &config(), NOON + Duration::from_secs(10));
    assert_eq!(states(&mut store, "two"), [MeshState::Submitted]);
}

#[test]
fn a_report_of_the_radio_that_cannot_be_stored_lets_the_next_packet_go() {
    let damage = [
        "CREATE TRIGGER stubborn BEFORE UPDATE OF taken_at ON mesh_outbox BEGIN SELECT RAISE(ABORT, 'no'); END",
        "UPDATE mesh_outbox SET author = x'00' WHERE event = '$one:example.org'",
    ];
    for (damage, left) in damage.into_iter().zip([Some(MeshState::Unknown), None]) {
        let (mut store, ledger) = relay(&["one", "two"]);
        let sent = hand_to_radio(&mut store, &config(), NOON);
        store.damage_types(damage);
        let report = Event::Report(SendReport::Radio {
            outbox: sent.outbox,
            packet: sent.packet,
            outcome: relay_model::RadioOutcome::Accepted {
                at: NOON,
                answered: true,
            },
        });
        Ledger::commit(&ledger, &mut store, &[report], NOON).unwrap();
        let state = store
            .read(|tx| mesh_report::state(tx, sent.outbox))
            .unwrap();
        assert_eq!(state, left);
        hand_to_radio(&mut store, &config(), NOON + Duration::from_secs(10));
        assert_eq!(states(&mut store, "two"), [MeshState::Submitted]);
    }
}

#[test]
fn a_packet_of_another_type_than_its_column_holds_up_none_behind_it() {
    let (mut store, _) = relay(&["one", "two"]);
    store.damage_types("UPDATE mesh_outbox SET sender = x'00' WHERE event = '$one:example.org'");
    let queue = store.transaction(outbox_mesh::queues).unwrap()[0];
    let rules = MeshRules::of(&config().meshtastic);
    mesh_worker::hand_over(&mut store, queue, rules, NOON).unwrap();
    hand_to_radio(&mut store, &config(), NOON);
    assert_eq!(states(&mut store, "two"), [MeshState::Submitted]);
}

#[test]
fn a_packet_that_passes_no_update_ends_in_its_turn_with_its_sign() {
    let (mut store, ledger) = relay(&["one", "two"]);
    let queue = store.transaction(outbox_mesh::queues).unwrap()[0];
    let rules = MeshRules::of(&config().meshtastic);
    store.damage_types("UPDATE mesh_outbox SET author = x'00' WHERE event = '$one:example.org'");
    let next = mesh_worker::hand_over(&mut store, queue, rules, NOON).unwrap();
    assert!(matches!(next, Next::Later(due) if due <= NOON), "{next:?}");
    let next = hand_to_radio(&mut store, &config(), NOON);
    assert_eq!(states(&mut store, "two"), [MeshState::Submitted]);
    assert_eq!(next.message.payload.bytes(), b"Alice[M]: two");
    Ledger::commit(&ledger, &mut store, &[], NOON).unwrap();
    let shown = store.commit_relaxed(|tx| feedback::next(tx, NOON)).unwrap();
    let Next::Due(sign) = shown else {
        panic!("{shown:?}");
    };
    assert_eq!(sign.event, named("one"));
    let key = Sign::Refused.key().to_owned();
    let target = named("one");
    assert_eq!(sign.content, RoomContent::Reaction { target, key });
}

#[test]
fn a_packet_that_cannot_be_made_ends_in_its_turn() {
    let (mut store, _) = relay(&["one", "two"]);
    store.damage(
        "CREATE TRIGGER stubborn BEFORE UPDATE OF draft ON mesh_outbox
         WHEN OLD.event = '$one:example.org' BEGIN SELECT RAISE(ABORT, 'no'); END",
    );
    let queue = store.transaction(outbox_mesh::queues).unwrap()[0];
    let rules = MeshRules::of(&config().meshtastic);
    mesh_worker::hand_over(&mut store, queue, rules, NOON).unwrap();
    assert_eq!(states(&mut store, "one"), [MeshState::Refused]);
    hand_to_radio(&mut store, &config(), NOON);
    assert_eq!(states(&mut store, "two"), [MeshState::Submitted]);
}

#[test]
fn rows_that_pass_no_update_keep_no_relay_from_starting() {
    let (mut store, _) = relay(&["one", "two", "three"]);
    let room = OwnedRoomId::try_from("!room:example.org").unwrap();
    let wanted = store.transaction(|tx| {
        for text in ["one", "two"] {
            feedback::want(tx, &room, &named(text), Some(Sign::Waiting), NOON)?;
        }
        feedback::next(tx, NOON)
    });
    wanted.unwrap();
    store.damage_types(
        "UPDATE mesh_outbox SET active_at = 'soon' WHERE event = '$one:example.org';
         UPDATE mesh_outbox SET author = x'00' WHERE event = '$two:example.org';
         UPDATE feedback SET given = x'00'",
    );
    let mut config = config();
    config.meshtastic.delivery_feedback = relay_config::Feedback::Off;
    let found = crate::daemon::pipeline::StoredState::in_store(&mut store, &config, NOON);
    assert!(found.is_ok(), "{found:?}");
}

#[test]
fn a_packet_that_passes_no_update_keeps_no_other_from_following_the_clock() {
    let (mut store, ledger) = relay(&["one", "two"]);
    store.damage_types("UPDATE mesh_outbox SET author = x'00' WHERE event = '$one:example.org'");
    let jump = relay_model::Jump {
        began: NOON,
        expected: NOON,
        now: NOON + Duration::from_hours(48),
        looked_ago: 0,
    };
    let followed = store.transaction(|tx| relay_store::clock::follow(tx, &jump));
    followed.unwrap();
    Ledger::commit(
        &ledger,
        &mut store,
        &[round(Duration::from_secs(20))],
        jump.now,
    )
    .unwrap();
    assert_eq!(states(&mut store, "two"), [MeshState::Waiting]);
}

#[test]
fn a_packet_that_passes_no_update_keeps_no_other_from_expiring_and_no_relay_from_starting() {
    let (mut store, ledger) = relay(&["one", "two", "three"]);
    hand_to_radio(&mut store, &config(), NOON);
    store.damage_types("UPDATE mesh_outbox SET author = x'00' WHERE event <> '$three:example.org'");
    let back = store.transaction(mesh_report::recover).unwrap();
    assert_eq!(back, 1);
    let up = Duration::from_hours(24);
    Ledger::commit(&ledger, &mut store, &[round(up)], NOON + up).unwrap();
    assert_eq!(states(&mut store, "three"), [MeshState::Expired]);
    let waiting = store.read(relay_store::testing::waiting_packets).unwrap();
    assert_eq!(waiting, 0);
}
