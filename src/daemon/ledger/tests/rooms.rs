//! Rooms, and the rows that wait for them.

use super::*;
use relay_model::{EventRef, Notice, RoomContent, RoomMessage, RoomOutcome, RoomRowId};
use relay_store::outage;

const OLD: &str = "!room:example.org";
const PRIMARY: Destination = Destination::Channel(ChannelIndex::PRIMARY);
const NEW: &str = "!new:example.org";

fn named(room: &str) -> OwnedRoomOrAliasId {
    room.try_into().unwrap()
}

fn config_of(room: &str) -> Config {
    let mut config = config();
    config.matrix_rooms[0].id = named(room);
    config
}

/// The room, joined under this configured name, with changes.
fn room(id: &str, name: &str, change: impl Fn(&mut JoinedRoom)) -> Event {
    let Event::Matrix(MatrixEvent::Joined(mut room)) = joined() else {
        unreachable!()
    };
    room.room = id.try_into().unwrap();
    room.configured = vec![named(name)];
    change(&mut room);
    Event::Matrix(MatrixEvent::Joined(room))
}

fn replaced(room: &mut JoinedRoom) {
    room.tombstone = Some(Tombstone {
        successor: Some(NEW.try_into().unwrap()),
    });
}

fn follows(room: &mut JoinedRoom) {
    room.predecessor = Some(OLD.try_into().unwrap());
}

/// Runs a relay with this configuration: the events, then the chores of its first minute.
fn run(store: &mut Store, config: &Config, events: &[Event]) -> Outcome {
    let done = store.transaction(|tx| {
        let (mut ledger, mut outcome) = Ledger::open(tx, config, NOON)?;
        for event in events {
            ledger.event(tx, event, NOON, &mut outcome)?;
        }
        for seconds in [20, 40] {
            let up = Duration::from_secs(seconds);
            ledger.event(tx, &round(up), NOON + up, &mut outcome)?;
        }
        Ok(outcome)
    });
    done.unwrap()
}

/// Returns how many rows wait for a room, and how many of them may be sent.
fn waiting(store: &mut Store, name: &str) -> (u64, usize) {
    let counted = store.transaction(|tx| {
        let waiting = summary::to_matrix(tx)?;
        let here = waiting.iter().find(|it| it.room == Some(named(name)));
        let next = outbox_room::next(tx, &named(name))?;
        Ok((here.map_or(0, |it| it.count), usize::from(next.is_some())))
    });
    counted.unwrap()
}

#[test]
fn what_waits_for_a_replaced_room_survives_the_cure() {
    let mut store = Store::in_memory().unwrap();
    let in_old = [room(OLD, OLD, |_| {}), hello_of_node(), hello_of_alice()];
    run(&mut store, &config(), &in_old);
    assert_eq!(waiting(&mut store, OLD), (1, 1));
    run(&mut store, &config(), &[room(OLD, OLD, replaced)]);
    assert_eq!(waiting(&mut store, OLD), (1, 0));

    // The cure, before the bot has joined the new room.
    run(&mut store, &config_of(NEW), &[]);
    assert_eq!(waiting(&mut store, OLD), (1, 0));
    assert!(waits_for_mesh(&mut store));
    run(&mut store, &config_of(NEW), &[room(NEW, NEW, follows)]);
    assert_eq!(waiting(&mut store, OLD), (0, 0));
    assert_eq!(waiting(&mut store, NEW), (1, 1));
    assert!(waits_for_mesh(&mut store));
}

#[test]
fn what_waits_for_a_room_that_is_taken_out_is_given_up_and_counted_when_all_others_are_seen() {
    let mut store = Store::in_memory().unwrap();
    let in_old = [room(OLD, OLD, |_| {}), hello_of_node()];
    run(&mut store, &config(), &in_old);
    let outcome = run(&mut store, &config_of(NEW), &[]);
    let dropped = |outcome: &Outcome| {
        let place = Place::Room(named(OLD));
        let dropped = outcome.counts.of(&place, Way::ToMatrix).dropped;
        dropped.get("unmapped_room").copied()
    };
    assert_eq!(
        (waiting(&mut store, OLD), dropped(&outcome)),
        ((1, 0), None)
    );
    let outcome = run(&mut store, &config_of(NEW), &[room(NEW, NEW, |_| {})]);
    assert_eq!(
        (waiting(&mut store, OLD), dropped(&outcome)),
        ((0, 0), Some(1))
    );
}

#[test]
fn an_upgrade_that_nobody_saw_costs_no_message_for_the_mesh_and_a_restriction_holds_at_once() {
    let on_air = |store: &mut Store| {
        let order = relay_bridge::mesh_order(&config().meshtastic);
        let later = NOON + Duration::from_mins(1);
        let next =
            store.transaction(|tx| outbox_mesh::next(tx, PRIMARY, Lane::Message, &order, later));
        next.unwrap().is_some()
    };
    let gone = room(OLD, OLD, |room| {
        room.configured.clear();
        replaced(room);
    });
    for (events, crosses) in [
        (vec![gone, room(NEW, NEW, follows)], true),
        (vec![room(NEW, NEW, follows)], true),
        (vec![room(NEW, NEW, |_| {})], false),
    ] {
        let mut store = Store::in_memory().unwrap();
        run(&mut store, &config(), &[joined(), hello_of_alice()]);
        assert!(on_air(&mut store));
        run(&mut store, &config_of(NEW), &[]);
        assert!(waits_for_mesh(&mut store) && !on_air(&mut store));
        run(&mut store, &config_of(NEW), &events);
        assert_eq!(
            (waits_for_mesh(&mut store), on_air(&mut store)),
            (crosses, crosses)
        );
    }
}

#[test]
fn a_ban_in_the_successor_takes_back_what_was_written_before() {
    let mut store = Store::in_memory().unwrap();
    let before = [
        room(OLD, OLD, |_| {}),
        hello_of_alice(),
        room(OLD, OLD, replaced),
    ];
    run(&mut store, &config(), &before);
    let ban = |user: &str| {
        Event::Matrix(MatrixEvent::Banned {
            room: NEW.try_into().unwrap(),
            event: format!("$ban_of_{}", user.trim_start_matches('@'))
                .try_into()
                .unwrap(),
            user: user.try_into().unwrap(),
            sent_at: NOON,
            stands: true,
        })
    };
    let new = room(NEW, NEW, follows);
    run(
        &mut store,
        &config_of(NEW),
        &[new.clone(), ban("@bob:example.org")],
    );
    assert!(waits_for_mesh(&mut store));
    run(
        &mut store,
        &config_of(NEW),
        &[new, ban("@alice:example.org")],
    );
    assert!(!waits_for_mesh(&mut store));
}

#[test]
fn what_the_mesh_says_for_two_rooms_that_become_one_is_said_there_once() {
    let mut both = config();
    let mut second = both.matrix_rooms[0].clone();
    second.id = named(NEW);
    both.matrix_rooms.push(second);
    let mut store = Store::in_memory().unwrap();
    let events = [
        room(OLD, OLD, |_| {}),
        room(NEW, NEW, follows),
        hello_of_node(),
        room(OLD, OLD, replaced),
    ];
    run(&mut store, &both, &events);
    assert_eq!(waiting(&mut store, OLD), (0, 0));
    assert_eq!(waiting(&mut store, NEW), (1, 1));
}

#[test]
fn a_reaction_on_a_message_of_the_old_room_ends_and_a_reply_becomes_a_message() {
    let content = |reply_to: Option<OwnedEventId>| RoomContent::Text {
        notice: false,
        prefix: String::new(),
        text: "hello".to_owned(),
        heard_at: None,
        reply_to: reply_to.map(EventRef::Event),
        thread: None,
        mentions: vec!["@alice:example.org".try_into().unwrap()],
        mentions_room: false,
        fields: None,
        profile: None,
        suppress: false,
    };
    let event = OwnedEventId::try_from("$event:example.org").unwrap();
    let reaction = RoomContent::Reaction {
        target: event.clone().into(),
        key: "👍".to_owned(),
    };
    let mut store = Store::in_memory().unwrap();
    let next = store.transaction(|tx| {
        for content in [reaction, content(Some(event))] {
            let message = RoomMessage {
                room: named(OLD),
                content,
            };
            outbox_room::insert(tx, &message, None, NOON)?;
        }
        let (old, new) = (OLD.try_into().unwrap(), NEW.try_into().unwrap());
        let moved = outbox_room::hand_over(tx, old, new)?;
        assert_eq!((moved.rows, moved.ended), (1, 1));
        outbox_room::next(tx, &named(NEW))
    });
    let RoomContent::Text {
        reply_to, mentions, ..
    } = next.unwrap().unwrap().content
    else {
        panic!("no text");
    };
    assert_eq!((reply_to, mentions.len()), (None, 0));
}

#[test]
fn the_successor_is_told_that_the_radio_is_back_where_the_old_room_was_told_that_it_is_away() {
    let mut store = Store::in_memory().unwrap();
    let told = |tx: &Tx<'_>| outage::told_of(tx, OLD.try_into().unwrap(), NOON);
    run(
        &mut store,
        &config(),
        &[room(OLD, OLD, |_| {}), room(OLD, OLD, replaced)],
    );
    store.transaction(told).unwrap();
    run(&mut store, &config_of(NEW), &[room(NEW, NEW, follows)]);
    let told = store.transaction(outage::told_rooms).unwrap();
    assert_eq!((told.len(), told[0].room.as_str()), (1, NEW));
}

#[test]
fn what_is_under_way_to_a_room_ends_before_the_rest_goes_elsewhere() {
    let alias = "#hiking:example.org";
    let mut store = Store::in_memory().unwrap();
    let waits = store.transaction(|tx| {
        let mut ledger = open(tx, &config_of(alias), NOON)?;
        let mut outcome = Outcome::default();
        let mut waits = Vec::new();
        // The alias moves without notice to a room that the bot has joined.
        for event in [
            room(OLD, alias, |_| {}),
            hello_of_node(),
            room(NEW, alias, |_| {}),
        ] {
            ledger.event(tx, &event, NOON, &mut outcome)?;
        }
        for seconds in [0, 4, 5] {
            let up = Duration::from_secs(seconds);
            ledger.event(tx, &round(up), NOON + up, &mut outcome)?;
            let old = outbox_room::next(tx, &named(OLD))?.is_some();
            waits.push((old, outbox_room::next(tx, &named(NEW))?.is_some()));
        }
        Ok(waits)
    });
    assert_eq!(
        waits.unwrap(),
        [(false, false), (false, false), (false, true)]
    );
}

#[test]
fn a_room_is_known_by_its_alias_only_as_long_as_that_stands_for_it() {
    let alias = "#hiking:example.org";
    let moved = Event::Matrix(MatrixEvent::NameMoved {
        name: named(alias),
        room: NEW.try_into().unwrap(),
    });
    let mut store = Store::in_memory().unwrap();
    let events = [room(OLD, alias, |_| {}), moved, hello_of_node()];
    run(&mut store, &config_of(alias), &events);
    assert_eq!(waiting(&mut store, OLD), (0, 0));
    assert_eq!(waiting(&mut store, NEW), (1, 1));
    let known = store.transaction(known_rooms::all).unwrap();
    assert_eq!(known, []);
    // The next run, before the alias is resolved.
    run(&mut store, &config_of(alias), &[hello_of_node()]);
    assert_eq!(waiting(&mut store, OLD), (0, 0));
}

#[test]
fn a_room_that_gets_no_messages_of_the_mesh_any_more_is_still_told_what_became_of_its_own() {
    let room = OwnedRoomId::try_from(OLD).unwrap();
    let notice = Notice {
        text: "The radio is away.".to_owned(),
        ..Notice::default()
    };
    let of_the_mesh = RoomMessage {
        room: room.clone().into(),
        content: RoomContent::Reaction {
            target: OwnedEventId::try_from("$event:example.org").unwrap().into(),
            key: "👍".to_owned(),
        },
    };
    let mut listening = config();
    listening.matrix_rooms[0].direction = Direction::ToMesh;
    let mut without = config();
    without.matrix_rooms.clear();
    for (config, left) in [(config(), 2), (listening, 1), (without, 0)] {
        let mut store = Store::in_memory().unwrap();
        let waiting = store.transaction(|tx| {
            for message in [&notice.clone().for_room(&room), &of_the_mesh] {
                outbox_room::insert(tx, message, None, NOON)?;
            }
            open(tx, &config, NOON)?;
            outbox_room::count(tx)
        });
        assert_eq!(waiting.unwrap(), left);
    }
}

#[test]
fn after_a_restart_everything_for_a_room_that_is_mapped_by_alias_stands_in_one_queue() {
    let alias = "#hill:example.org";
    let mut store = Store::in_memory().unwrap();
    run(&mut store, &config_of(alias), &[room(OLD, alias, |_| {})]);
    // As an earlier version stored it.
    let notice = Notice {
        text: "first".to_owned(),
        ..Notice::default()
    };
    let mut message = notice.for_room(&OwnedRoomId::try_from(OLD).unwrap());
    message.room = named(alias);
    store
        .transaction(|tx| outbox_room::insert(tx, &message, None, NOON))
        .unwrap();
    run(&mut store, &config_of(alias), &[hello_of_node()]);
    assert_eq!(waiting(&mut store, alias), (0, 0));
    assert_eq!(waiting(&mut store, OLD), (2, 1));
}

#[test]
fn what_was_refused_to_one_session_is_tried_by_the_next() {
    let mut store = Store::in_memory().unwrap();
    let ledger = store.transaction(|tx| open(tx, &config(), NOON));
    let ledger = Mutex::new(ledger.unwrap());
    let parked = |store: &mut Store| store.transaction(outbox_room::parked).unwrap().len();
    for room in [
        None,
        Some(relay_model::RoomId::parse("!room:example.org").unwrap()),
    ] {
        let room = room.as_deref().map(Into::into);
        let refused = store.transaction(|tx| outbox_room::park(tx, room, "forbidden", NOON));
        refused.unwrap();
    }
    assert_eq!(parked(&mut store), 2);
    Ledger::commit(&ledger, &mut store, &[Event::Chore(Chore::Login)], NOON).unwrap();
    assert_eq!(parked(&mut store), 0);
}

#[test]
fn a_late_no_about_a_message_that_is_over_parks_nothing() {
    let mut store = Store::in_memory().unwrap();
    for (account, parked) in [(false, 0), (true, 1)] {
        let late = Event::Report(SendReport::Room {
            outbox: RoomRowId(99),
            outcome: RoomOutcome::Parked {
                account,
                error: "you may not".to_owned(),
            },
        });
        decide(&mut store, &config(), &[late]);
        let rooms = store.transaction(outbox_room::parked).unwrap();
        assert_eq!(rooms.len(), parked);
    }
}

#[test]
fn what_waits_for_a_followed_room_goes_along_also_over_a_restart() {
    let followed = || {
        let moved = Event::Matrix(MatrixEvent::NameMoved {
            name: named(OLD),
            room: NEW.try_into().unwrap(),
        });
        [room(OLD, OLD, replaced), moved, room(NEW, OLD, follows)]
    };
    let mut store = Store::in_memory().unwrap();
    let in_old = [room(OLD, OLD, |_| {}), hello_of_node(), hello_of_alice()];
    run(&mut store, &config(), &in_old);
    run(&mut store, &config(), &followed());
    assert_eq!(waiting(&mut store, OLD), (0, 0));
    assert_eq!(waiting(&mut store, NEW), (1, 1));
    assert!(waits_for_mesh(&mut store));
    let known = store.transaction(known_rooms::all).unwrap();
    assert_eq!(known, [(named(OLD), NEW.try_into().unwrap())]);
    // The next run, before the homeserver has answered.
    let again = text_of_node(77, PacketId(6), "and again", NOON);
    run(&mut store, &config(), &[again]);
    assert_eq!(waiting(&mut store, OLD), (0, 0));
    assert_eq!(waiting(&mut store, NEW), (2, 1));
    // The configuration has the new id.
    run(&mut store, &config_of(NEW), &[room(NEW, NEW, follows)]);
    assert_eq!(waiting(&mut store, NEW), (2, 1));
    assert!(waits_for_mesh(&mut store));
}
