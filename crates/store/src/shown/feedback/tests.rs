//! Rules of the feedback signs.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::outbox::mesh_report::{
    Withdrawal, accepted, expire, outcome, refused, submitted, withdraw,
};
use crate::{Next, Store, StoreError, outbox::outbox_room, test_rows::*};
use relay_model::{MeshState, OwnedTransactionId, RoomContent};

const MESSAGE: &str = "$message:example.org";

fn room_id() -> OwnedRoomId {
    ROOM.try_into().unwrap()
}

fn wish(tx: &Tx<'_>, sign: Option<Sign>) -> Result<()> {
    want(tx, &room_id(), &event(MESSAGE), sign, NOON)?;
    Ok(())
}

/// Returns the due request: its transaction id, and the key that it places or the event that it redacts.
fn due(tx: &Tx<'_>, now: Timestamp) -> Result<Option<(OwnedTransactionId, String)>> {
    Ok(match next(tx, now)? {
        Next::Due(request) => {
            let what = match request.content {
                RoomContent::Reaction { target, key } => {
                    assert_eq!(target, MESSAGE);
                    key
                }
                RoomContent::Redaction { target } => target.to_string(),
                RoomContent::Text { .. } => panic!("a sign is no text"),
            };
            Some((request.transaction, what))
        }
        Next::Later(_) | Next::Nothing => None,
    })
}

/// Carries out the due request, which must be this one.
fn carry_out(tx: &Tx<'_>, what: &str, as_event: &str) -> Result<()> {
    let (transaction, request) = due(tx, NOON)?.expect("a request is due");
    assert_eq!(request, what);
    assert!(done(tx, transaction.as_str(), &event(as_event), NOON)?);
    assert!(!done(tx, transaction.as_str(), &event(as_event), NOON)?);
    Ok(())
}

#[test]
fn a_sign_that_cannot_be_read_holds_no_other_up() {
    on_empty(|tx| {
        for name in ["$one:example.org", "$two:example.org", "$three:example.org"] {
            want(tx, &room_id(), &event(name), Some(Sign::Heard), NOON)?;
        }
        tx.execute(
            "UPDATE feedback SET event = CAST(x'ff' AS TEXT) WHERE event = '$one:example.org'",
            (),
        )?;
        tx.execute(
            "UPDATE feedback SET room = 'nowhere' WHERE event = '$two:example.org'",
            (),
        )?;
        let Next::Due(request) = next(tx, NOON)? else {
            panic!("one is due");
        };
        assert_eq!(request.event, event("$three:example.org"));
        done(
            tx,
            request.transaction.as_str(),
            &event("$sign:example.org"),
            NOON,
        )?;
        assert_eq!(next(tx, NOON)?, Next::Nothing);
        Ok(())
    });
}

#[test]
fn a_sign_whose_row_cannot_be_read_is_never_placed_a_second_time() {
    on_empty(|tx| {
        wish(tx, Some(Sign::Waiting))?;
        carry_out(tx, "⏳", "$one:example.org")?;
        wish(tx, Some(Sign::Heard))?;
        tx.execute("UPDATE feedback SET room = 'nowhere'", ())?;
        assert_eq!(next(tx, NOON)?, Next::Nothing);
        tx.execute("UPDATE feedback SET room = ?1", [ROOM])?;
        assert!(!want(
            tx,
            &room_id(),
            &event(MESSAGE),
            Some(Sign::Delivered),
            NOON
        )?);
        assert_eq!(next(tx, NOON)?, Next::Nothing);
        Ok(())
    });
}

#[test]
fn a_sign_of_another_type_than_its_column_holds_no_other_up() {
    let mut store = Store::in_memory().unwrap();
    store.transaction(|tx| wish(tx, Some(Sign::Heard))).unwrap();
    store.damage_types(
        "INSERT INTO feedback (event, room, wanted, due, at)
         SELECT CAST('$other:example.org' AS BLOB), room, wanted, due - 1, at FROM feedback",
    );
    let next = store.commit_relaxed(|tx| due(tx, NOON)).unwrap();
    assert_eq!(next.unwrap().1, Sign::Heard.key());
}

#[test]
fn a_sign_whose_row_passes_no_update_holds_no_other_up_and_is_never_placed_a_second_time() {
    let damages = ["given = x'00'", "due = 'soon'", "attempts = x'00'"];
    for damage in damages {
        let mut store = Store::in_memory().unwrap();
        let shown = store.transaction(|tx| {
            wish(tx, Some(Sign::Waiting))?;
            carry_out(tx, "⏳", "$one:example.org")?;
            wish(tx, Some(Sign::Heard))
        });
        shown.unwrap();
        store.damage_types(&format!("UPDATE feedback SET {damage}"));
        let other = event("$other:example.org");
        let wanted = store.transaction(|tx| want(tx, &room_id(), &other, Some(Sign::Heard), NOON));
        assert!(wanted.unwrap());
        let mut placed = Vec::new();
        while let Next::Due(request) = store.commit_relaxed(|tx| next(tx, later(60))).unwrap() {
            if let RoomContent::Reaction { target, .. } = request.content {
                placed.push(target);
            }
            let transaction = request.transaction.as_str();
            let noted = store.commit_relaxed(|tx| {
                retry(tx, transaction, NOON)?;
                done(tx, transaction, &event("$sign:example.org"), NOON)
            });
            assert!(noted.unwrap());
        }
        assert_eq!(placed, [other], "{damage}");
        let again = store
            .transaction(|tx| want(tx, &room_id(), &event(MESSAGE), Some(Sign::Delivered), NOON));
        assert!(!again.unwrap());
    }
}

#[test]
fn a_sign_is_placed_then_replaced_by_taking_it_away_first() {
    on_empty(|tx| {
        assert_eq!(next(tx, NOON)?, Next::Nothing);
        wish(tx, Some(Sign::Waiting))?;
        carry_out(tx, "⏳", "$one:example.org")?;
        assert_eq!(next(tx, NOON)?, Next::Nothing);
        wish(tx, Some(Sign::Heard))?;
        carry_out(tx, "$one:example.org", "$redaction:example.org")?;
        carry_out(tx, "📡", "$two:example.org")?;
        wish(tx, None)?;
        carry_out(tx, "$two:example.org", "$redaction2:example.org")?;
        assert_eq!(next(tx, NOON)?, Next::Nothing);
        Ok(())
    });
}

#[test]
fn only_the_latest_wish_counts_and_one_that_is_shown_costs_nothing() {
    on_empty(|tx| {
        wish(tx, None)?;
        wish(tx, Some(Sign::Waiting))?;
        wish(tx, Some(Sign::Unheard))?;
        wish(tx, Some(Sign::Heard))?;
        carry_out(tx, "📡", "$one:example.org")?;
        wish(tx, Some(Sign::Refused))?;
        wish(tx, Some(Sign::Heard))?;
        assert_eq!(next(tx, NOON)?, Next::Nothing);
        Ok(())
    });
}

#[test]
fn a_request_of_unknown_fate_is_finished_first_under_its_transaction() {
    on_empty(|tx| {
        wish(tx, Some(Sign::Waiting))?;
        let (first, _) = due(tx, NOON)?.unwrap();
        retry(tx, first.as_str(), NOON)?;
        assert_eq!(next(tx, NOON)?, Next::Later(NOON + Duration::from_secs(10)));
        wish(tx, Some(Sign::Heard))?;
        assert_eq!(due(tx, NOON)?, Some((first.clone(), "⏳".to_owned())));
        wish(tx, None)?;
        assert_eq!(due(tx, NOON)?, Some((first, "⏳".to_owned())));
        carry_out(tx, "⏳", "$one:example.org")?;
        carry_out(tx, "$one:example.org", "$redaction:example.org")?;
        assert_eq!(next(tx, NOON)?, Next::Nothing);
        Ok(())
    });
}

#[test]
fn a_request_that_was_not_carried_out_leaves_its_place_to_the_latest_wish() {
    on_empty(|tx| {
        wish(tx, Some(Sign::Waiting))?;
        let (first, _) = due(tx, NOON)?.unwrap();
        wish(tx, Some(Sign::Heard))?;
        not_done(tx, first.as_str(), NOON)?;
        let (second, key) = due(tx, NOON)?.unwrap();
        assert_ne!(first, second);
        assert_eq!(key, "📡");
        Ok(())
    });
}

#[test]
fn what_the_server_knows_no_more_is_given_up_and_a_later_wish_tried() {
    on_empty(|tx| {
        wish(tx, Some(Sign::Waiting))?;
        let (transaction, _) = due(tx, NOON)?.unwrap();
        give_up(tx, transaction.as_str(), NOON)?;
        assert_eq!(next(tx, NOON)?, Next::Nothing);
        wish(tx, Some(Sign::Heard))?;
        carry_out(tx, "📡", "$one:example.org")?;
        // Somebody redacted the reaction: the next sign is placed all the same.
        wish(tx, Some(Sign::Refused))?;
        let (transaction, what) = due(tx, NOON)?.unwrap();
        assert_eq!(what, "$one:example.org");
        give_up(tx, transaction.as_str(), NOON)?;
        carry_out(tx, "❌", "$two:example.org")
    });
}

#[test]
fn tries_grow_rare_and_a_clock_that_was_wrong_holds_nothing_up() {
    on_empty(|tx| {
        wish(tx, Some(Sign::Waiting))?;
        let (transaction, _) = due(tx, NOON)?.unwrap();
        for _ in 0..20 {
            retry(tx, transaction.as_str(), NOON)?;
        }
        assert_eq!(next(tx, NOON)?, Next::Later(NOON + Duration::from_hours(1)));
        retry(tx, transaction.as_str(), NOON + Duration::from_hours(9000))?;
        assert!(due(tx, NOON)?.is_some());
        Ok(())
    });
}

#[test]
fn a_room_that_fails_holds_no_other_up() {
    on_empty(|tx| {
        let other: OwnedRoomId = "!other:example.org".try_into().unwrap();
        for number in 0..3 {
            let name = event(&format!("${number}:example.org"));
            want(tx, &room_id(), &name, Some(Sign::Heard), NOON)?;
        }
        want(tx, &other, &event(MESSAGE), Some(Sign::Unheard), later(1))?;
        let Next::Due(request) = next(tx, later(1))? else {
            panic!("a request is due");
        };
        assert_eq!(request.room, room_id());
        retry(tx, request.transaction.as_str(), later(1))?;
        let Next::Due(request) = next(tx, later(1))? else {
            panic!("a request is due");
        };
        assert_eq!(request.room, other);
        Ok(())
    });
}

#[test]
fn a_message_that_was_taken_away_gets_no_sign_any_more() {
    on_empty(|tx| {
        let rows = accept_for_mesh(tx, MESSAGE, &["hello"], NOW)?;
        wish(tx, Some(Sign::Waiting))?;
        close(tx, &room_id(), &event(MESSAGE), NOON)?;
        assert_eq!(next(tx, NOON)?, Next::Nothing);
        submitted(tx, rows[0].0, NOON)?;
        accepted(tx, rows[0].0, NOON)?;
        assert_eq!(message(tx, &event(MESSAGE))?, None);
        wish(tx, Some(Sign::Heard))?;
        assert_eq!(next(tx, NOON)?, Next::Nothing);
        // Also if none was wanted until then; nothing is stored for messages that were never ours.
        accept_for_mesh(tx, "$two:example.org", &["hello"], NOW)?;
        for name in ["$two:example.org", "$foreign:example.org"] {
            close(tx, &room_id(), &event(name), NOON)?;
            assert_eq!(message(tx, &event(name))?, None);
        }
        assert_eq!(tx.value::<u64>("SELECT COUNT(*) FROM feedback", ())?, 2);
        Ok(())
    });
}

#[test]
fn a_room_that_takes_no_signs_is_left_alone_and_the_others_go_on() {
    on_empty(|tx| {
        let other: OwnedRoomId = "!other:example.org".try_into().unwrap();
        wish(tx, Some(Sign::Heard))?;
        want(
            tx,
            &other,
            &event("$other:example.org"),
            Some(Sign::Unheard),
            later(1),
        )?;
        let in_room = |tx: &Tx<'_>| -> Result<Option<OwnedRoomId>> {
            Ok(match next(tx, later(1))? {
                Next::Due(request) => Some(request.room),
                Next::Later(_) | Next::Nothing => None,
            })
        };
        assert_eq!(in_room(tx)?, Some(room_id()));
        assert!(forbid(tx, &room_id())?);
        assert!(!forbid(tx, &room_id())?);
        assert_eq!(in_room(tx)?, Some(other.clone()));
        outbox_room::park(tx, Some((&*other).into()), "forbidden", NOON)?;
        assert_eq!(in_room(tx)?, None);
        permit(tx, Some(&room_id()))?;
        assert_eq!(in_room(tx)?, Some(room_id()));
        outbox_room::park(tx, None, "session dead", NOON)?;
        assert_eq!(in_room(tx)?, None);
        Ok(())
    });
}

#[test]
fn every_change_of_a_part_is_noted_once_whoever_made_it() {
    on_empty(|tx| {
        let rows = accept_for_mesh(tx, MESSAGE, &["1/2", "2/2"], NOW)?;
        assert_eq!(take_changed(tx)?, [] as [OwnedEventId; 0]);
        submitted(tx, rows[0].0, NOON)?;
        assert_eq!(take_changed(tx)?, [] as [OwnedEventId; 0]);
        accepted(tx, rows[0].0, NOON)?;
        outcome(tx, rows[0].0, MeshState::Heard)?;
        assert_eq!(take_changed(tx)?, [event(MESSAGE)]);
        assert_eq!(take_changed(tx)?, [] as [OwnedEventId; 0]);
        let parts = message(tx, &event(MESSAGE))?.unwrap().parts;
        assert_eq!(parts, [MeshState::Heard, MeshState::Waiting]);
        submitted(tx, rows[1].0, NOON)?;
        refused(tx, rows[1].0, rows[1].1, "too long")?;
        assert_eq!(take_changed(tx)?, [event(MESSAGE)]);
        accept_for_mesh(tx, "$two:example.org", &["late"], NOW)?;
        expire(tx, NOW.expires)?;
        assert_eq!(take_changed(tx)?, [event("$two:example.org")]);
        Ok(())
    });
}

#[test]
fn what_waits_long_is_found_until_it_is_shown() {
    on_empty(|tx| {
        accept_for_mesh(tx, MESSAGE, &["1/2", "2/2"], NOW)?;
        assert_eq!(
            waiting_without(tx, Sign::Waiting, NOON - Duration::from_secs(1))?,
            [] as [OwnedEventId; 0]
        );
        assert_eq!(waiting_without(tx, Sign::Waiting, NOON)?, [event(MESSAGE)]);
        wish(tx, Some(Sign::Waiting))?;
        assert_eq!(
            waiting_without(tx, Sign::Waiting, NOON)?,
            [] as [OwnedEventId; 0]
        );
        Ok(())
    });
}

#[test]
fn a_sign_that_is_given_needs_no_rows() {
    on_empty(|tx| {
        give(tx, &room_id(), &event(MESSAGE), Sign::Denied, NOON)?;
        assert_eq!(take_changed(tx)?, [event(MESSAGE)]);
        let expected = MeshFate {
            event: event(MESSAGE),
            room: room_id(),
            parts: Vec::new(),
            accepted_at: NOON,
            given: Some(Sign::Denied),
        };
        assert_eq!(message(tx, &event(MESSAGE))?, Some(expected));
        Ok(())
    });
}

#[test]
fn a_corrected_message_is_shown_as_its_newest_version_that_counts() {
    on_empty(|tx| {
        let parts = |tx: &Tx<'_>| Ok::<_, StoreError>(message(tx, &event(MESSAGE))?.unwrap().parts);
        let first = accept_for_mesh(tx, MESSAGE, &["hello"], NOW)?;
        submitted(tx, first[0].0, NOON)?;
        accepted(tx, first[0].0, NOON)?;
        outcome(tx, first[0].0, MeshState::Heard)?;
        give(tx, &room_id(), &event(MESSAGE), Sign::Refused, NOON)?;
        take_changed(tx)?;
        // A new report: an earlier correction no longer counts.
        let second = accept_for_mesh(tx, MESSAGE, &["* hello"], NOW)?;
        tx.execute(
            "UPDATE mesh_outbox SET correction = 1 WHERE id = ?1",
            [second[0].0],
        )?;
        assert_eq!(take_changed(tx)?, [event(MESSAGE)]);
        assert_eq!(message(tx, &event(MESSAGE))?.unwrap().given, None);
        // While it waits, the message keeps its state.
        assert_eq!(parts(tx)?, [MeshState::Heard]);
        submitted(tx, second[0].0, NOON)?;
        assert_eq!(parts(tx)?, [MeshState::Heard]);
        accepted(tx, second[0].0, NOON)?;
        assert_eq!(parts(tx)?, [MeshState::Accepted]);
        outcome(tx, second[0].0, MeshState::Unheard)?;
        assert_eq!(parts(tx)?, [MeshState::Unheard]);
        // A third is withdrawn while it waits: nothing changes.
        let third = accept_for_mesh(tx, MESSAGE, &["* hallo"], NOW)?;
        tx.execute(
            "UPDATE mesh_outbox SET correction = 2 WHERE id = ?1",
            [third[0].0],
        )?;
        withdraw(tx, Withdrawal::Event(&room_id(), &event(MESSAGE)))?;
        assert_eq!(parts(tx)?, [MeshState::Unheard]);
        // A refused one was not sent, unless a part of it was.
        let last = accept_for_mesh(tx, MESSAGE, &["1/2", "2/2"], NOW)?;
        tx.execute(
            "UPDATE mesh_outbox SET correction = 2 WHERE message = ?1",
            [last[0].0],
        )?;
        submitted(tx, last[1].0, NOON)?;
        refused(tx, last[1].0, last[1].1, "too long")?;
        assert_eq!(parts(tx)?, [MeshState::Unheard]);
        submitted(tx, last[0].0, NOON)?;
        accepted(tx, last[0].0, NOON)?;
        assert_eq!(parts(tx)?, [MeshState::Accepted, MeshState::Refused]);
        Ok(())
    });
}

#[test]
fn wishes_that_are_not_asked_for_any_more_are_forgotten() {
    on_empty(|tx| {
        wish(tx, Some(Sign::Heard))?;
        forget_wishes(tx, Sign::Heard, Sign::Waiting, NOON)?;
        assert_eq!(next(tx, NOON)?, Next::Nothing);
        wish(tx, Some(Sign::Waiting))?;
        carry_out(tx, "⏳", "$one:example.org")?;
        forget_wishes(tx, Sign::Waiting, Sign::Waiting, NOON)?;
        carry_out(tx, "$one:example.org", "$redaction:example.org")?;
        assert_eq!(next(tx, NOON)?, Next::Nothing);
        wish(tx, Some(Sign::Refused))?;
        carry_out(tx, "❌", "$two:example.org")?;
        forget_wishes(tx, Sign::Refused, Sign::Waiting, NOON)?;
        assert_eq!(next(tx, NOON)?, Next::Nothing);
        Ok(())
    });
}

/// Operations on the table, in any order.
#[derive(Debug, Clone)]
enum Happening {
    Wish(Option<usize>),
    /// The server carries it out, and we learn of it.
    Done,
    /// The server carries it out, and the response is lost.
    Lost,
    /// The request never arrives.
    Away,
    /// The server reports that it was not carried out.
    Limited,
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        proptest::option::of(0_usize..4).prop_map(Happening::Wish),
        Just(Happening::Done),
        Just(Happening::Lost),
        Just(Happening::Away),
        Just(Happening::Limited),
    ]
}

/// A server: its reactions, and the transactions carried out.
#[derive(Default)]
struct Server {
    reactions: Vec<(OwnedEventId, String)>,
    done: Vec<(OwnedTransactionId, OwnedEventId)>,
}

impl Server {
    fn take(&mut self, request: &SignRequest) -> OwnedEventId {
        if let Some((_, event)) = self.done.iter().find(|(it, _)| *it == request.transaction) {
            return event.clone();
        }
        let id = event(&format!("$done{}:example.org", self.done.len()));
        self.done.push((request.transaction.clone(), id.clone()));
        match &request.content {
            RoomContent::Reaction { key, .. } => self.reactions.push((id.clone(), key.clone())),
            RoomContent::Redaction { target } => self.reactions.retain(|(it, _)| it != target),
            RoomContent::Text { .. } => panic!("a sign is no text"),
        }
        id
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn there_are_never_two_signs_and_in_the_end_the_wanted_one(
        happenings in proptest::collection::vec(happening(), 0..40),
    ) {
        let signs = [Sign::Waiting, Sign::Unheard, Sign::Heard, Sign::Refused];
        let mut server = Server::default();
        let mut wanted = None;
        let mut now = NOON;
        Store::in_memory().unwrap().transaction(|tx| {
            let settled = std::iter::repeat_n(Happening::Done, 8);
            for happening in happenings.into_iter().chain(settled) {
                now = now + Duration::from_hours(1);
                if let Happening::Wish(sign) = happening {
                    wanted = sign.map(|index| signs[index]);
                    want(tx, &room_id(), &event(MESSAGE), wanted, now)?;
                    continue;
                }
                let Next::Due(request) = next(tx, now)? else { continue };
                let transaction = request.transaction.clone();
                match happening {
                    Happening::Wish(_) => {}
                    Happening::Done => {
                        let id = server.take(&request);
                        done(tx, transaction.as_str(), &id, now)?;
                    }
                    Happening::Lost => {
                        server.take(&request);
                        retry(tx, transaction.as_str(), now)?;
                    }
                    Happening::Away => retry(tx, transaction.as_str(), now)?,
                    Happening::Limited => not_done(tx, transaction.as_str(), now)?,
                }
                assert!(server.reactions.len() <= 1, "{:?}", server.reactions);
            }
            Ok(())
        }).unwrap();
        let shown: Vec<&str> = server.reactions.iter().map(|(_, key)| key.as_str()).collect();
        prop_assert_eq!(shown, Vec::from_iter(wanted.map(Sign::key)));
    }
}
