//! The sign that each message is to have and the one that it has: a table of wishes, not a queue. A newer wish takes the
//! place of an older one that was not carried out.
//!
//! A sign is replaced in two requests: the old one is taken away, then the new one is placed; so there are never two. Each
//! request has a transaction id that is stored before it is made, and is finished before another is chosen, unless the
//! server has said that it did not do it.

use std::time::Duration;

use rusqlite::Row;

use super::columns::{LONGEST_WAIT, event as event_column, identifier};
use super::{MeshState, StoreError, Tx};
use crate::model::{
    EventId, OwnedEventId, OwnedRoomId, OwnedTransactionId, RoomContent, RoomId, Timestamp,
};

/// After a failure that is nobody's fault; doubled for each further one.
const FIRST_DELAY: Duration = Duration::from_secs(10);
const LONGEST_DELAY: Duration = Duration::from_hours(1);

/// What is known of a message of Matrix, for its sign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Its room.
    pub room: OwnedRoomId,
    /// What became of its parts, in order; none if it never was to be transmitted.
    pub parts: Vec<MeshState>,
    /// When it was accepted.
    pub accepted_at: Timestamp,
    /// The sign that was given to it.
    pub given: Option<String>,
}

/// A request that is to be made.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// The message whose sign it is about.
    pub event: OwnedEventId,
    /// Its room.
    pub room: OwnedRoomId,
    /// The transaction of all its tries.
    pub transaction: OwnedTransactionId,
    /// What to send: a reaction, or the redaction of one.
    pub content: RoomContent,
}

/// What the worker finds.
#[derive(Debug, Clone, PartialEq)]
pub enum Next<T> {
    /// This is to be done.
    Due(T),
    /// Nothing before then.
    Later(Timestamp),
    /// Nothing at all.
    Nothing,
}

/// Returns the messages of which a part has changed its state since this was asked last, and forgets that.
///
/// # Errors
///
/// When the database fails.
pub fn take_changed(tx: &Tx<'_>) -> Result<Vec<OwnedEventId>, StoreError> {
    let changed = tx.all("SELECT event FROM feedback_changed", (), |row| {
        identifier(row, 0)
    })?;
    if !changed.is_empty() {
        tx.execute("DELETE FROM feedback_changed", ())?;
    }
    Ok(changed)
}

/// Returns the messages that were accepted before then, of which a part still waits, and whose wanted sign is another than
/// this one.
///
/// # Errors
///
/// When the database fails.
pub fn waiting_without(
    tx: &Tx<'_>,
    sign: &str,
    before: Timestamp,
) -> Result<Vec<OwnedEventId>, StoreError> {
    tx.all(
        "SELECT DISTINCT event FROM mesh_outbox
         WHERE state <= 1 AND event IS NOT NULL AND lane <> 2 AND accepted_at <= ?2
             AND NOT EXISTS (SELECT 1 FROM feedback
                 WHERE feedback.event = mesh_outbox.event AND (wanted IS ?1 OR closed = 1))",
        (sign, before),
        |row| identifier(row, 0),
    )
}

/// Returns what is known of a message; `None` if nothing is, or if it was taken away. Where an event went several times,
/// the last time counts.
///
/// # Errors
///
/// When the database fails.
pub fn message(tx: &Tx<'_>, event: &EventId) -> Result<Option<Message>, StoreError> {
    let known = tx.first(
        "SELECT room, given, closed, at FROM feedback WHERE event = ?1",
        [event.as_str()],
        |row| {
            Ok((
                identifier::<OwnedRoomId>(row, 0)?,
                row.get::<_, Option<String>>(1)?,
                row.get::<_, bool>(2)?,
                row.get::<_, Timestamp>(3)?,
            ))
        },
    )?;
    if known.as_ref().is_some_and(|(_, _, closed, _)| *closed) {
        return Ok(None);
    }
    let parts: Vec<(OwnedRoomId, MeshState, Timestamp)> = tx.all(
        "SELECT room, state, accepted_at FROM mesh_outbox
         WHERE event = ?1 AND lane <> 2 AND message =
             (SELECT MAX(message) FROM mesh_outbox WHERE event = ?1 AND lane <> 2)
         ORDER BY id",
        [event.as_str()],
        |row| Ok((identifier(row, 0)?, row.get(1)?, row.get(2)?)),
    )?;
    let place = match (&known, parts.first()) {
        (_, Some((room, _, accepted_at))) => Some((room.clone(), *accepted_at)),
        (Some((room, _, _, at)), None) => Some((room.clone(), *at)),
        (None, None) => None,
    };
    Ok(place.map(|(room, accepted_at)| Message {
        room,
        parts: parts.into_iter().map(|(_, state, _)| state).collect(),
        accepted_at,
        given: known.and_then(|(_, given, _, _)| given),
    }))
}

/// Gives a message a sign that does not follow from rows for the mesh; the ledger looks at it with what has changed.
///
/// # Errors
///
/// When the database fails.
pub fn give(
    tx: &Tx<'_>,
    room: &RoomId,
    event: &EventId,
    sign: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO feedback (event, room, given, at) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (event) DO UPDATE SET given = excluded.given",
        (event.as_str(), room.as_str(), sign, now),
    )?;
    tx.execute(
        "INSERT OR IGNORE INTO feedback_changed (event) VALUES (?1)",
        [event.as_str()],
    )?;
    Ok(())
}

/// Wants a sign on a message, or none. Returns whether there is something to do now that there was not before.
///
/// # Errors
///
/// When the database fails.
pub fn want(
    tx: &Tx<'_>,
    room: &RoomId,
    event: &EventId,
    sign: Option<&str>,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let known = tx.exists("SELECT 1 FROM feedback WHERE event = ?1", [event.as_str()])?;
    if !known {
        if sign.is_none() {
            return Ok(false);
        }
        tx.execute(
            "INSERT INTO feedback (event, room, at) VALUES (?1, ?2, ?3)",
            (event.as_str(), room.as_str(), now),
        )?;
    }
    let changed = tx.execute(
        "UPDATE feedback SET wanted = ?2
         WHERE event = ?1 AND closed = 0 AND wanted IS NOT ?2",
        (event.as_str(), sign),
    )?;
    if changed > 0 {
        settle(tx, event, now)?;
    }
    Ok(changed > 0)
}

/// Takes note that a message was taken away: nothing more is shown of it.
///
/// # Errors
///
/// When the database fails.
pub fn close(
    tx: &Tx<'_>,
    room: &RoomId,
    event: &EventId,
    now: Timestamp,
) -> Result<(), StoreError> {
    // Of what was never ours to transmit nothing needs to be known.
    tx.execute(
        "INSERT OR IGNORE INTO feedback (event, room, at)
         SELECT ?1, ?2, ?3 WHERE EXISTS (SELECT 1 FROM mesh_outbox WHERE event = ?1 AND room = ?2)",
        (event.as_str(), room.as_str(), now),
    )?;
    tx.execute(
        "UPDATE feedback SET wanted = shown, txn = NULL, placing = NULL, due = NULL, closed = 1
         WHERE event = ?1 AND room = ?2",
        (event.as_str(), room.as_str()),
    )?;
    Ok(())
}

/// Gives up every wish for this sign. Where `taken_back` is shown it is taken away; any other stays.
///
/// # Errors
///
/// When the database fails.
pub fn forget_wishes(
    tx: &Tx<'_>,
    sign: &str,
    taken_back: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE feedback SET wanted = CASE WHEN shown IS ?2 THEN NULL ELSE shown END
         WHERE wanted = ?1 AND closed = 0",
        (sign, taken_back),
    )?;
    tx.execute(
        "UPDATE feedback SET due = CASE
             WHEN txn IS NULL AND wanted IS shown THEN NULL
             ELSE COALESCE(due, ?1) END
         WHERE closed = 0 AND (due IS NOT NULL OR wanted IS NOT shown)",
        [now],
    )?;
    Ok(())
}

/// Returns the request that is to be made next, under a transaction that is stored now: the oldest difference, in a room
/// that takes signs.
///
/// # Errors
///
/// When the database fails.
pub fn next(tx: &Tx<'_>, now: Timestamp) -> Result<Next<Request>, StoreError> {
    while let Some(row) = tx.first(
        "SELECT * FROM feedback
         WHERE due IS NOT NULL AND (due <= ?1 OR due > ?2)
             AND NOT EXISTS (SELECT 1 FROM parked WHERE parked.room IN ('', feedback.room))
             AND NOT EXISTS (SELECT 1 FROM feedback_forbidden AS it WHERE it.room = feedback.room)
         ORDER BY due LIMIT 1",
        (now, now + LONGEST_WAIT),
        read,
    )? {
        let under_way = row
            .transaction
            .clone()
            .map(|txn| (txn, row.placing.clone()));
        let (transaction, placing) = match under_way {
            Some(under_way) => under_way,
            None if row.shown == row.wanted => {
                settle(tx, &row.event, now)?;
                continue;
            }
            None => begin(tx, &row)?,
        };
        let content = match (placing, row.reaction) {
            (Some(key), _) => RoomContent::Reaction {
                target: row.event.clone(),
                key,
            },
            (None, Some(target)) => RoomContent::Redaction { target },
            (None, None) => {
                // There is nothing to take away.
                finish(tx, transaction.as_str(), None, now)?;
                continue;
            }
        };
        return Ok(Next::Due(Request {
            event: row.event,
            room: row.room,
            transaction,
            content,
        }));
    }
    let later: Option<Timestamp> = tx
        .first(
            "SELECT MIN(due) FROM feedback WHERE due IS NOT NULL
                 AND NOT EXISTS (SELECT 1 FROM parked WHERE parked.room IN ('', feedback.room))
                 AND NOT EXISTS (SELECT 1 FROM feedback_forbidden AS it WHERE it.room = feedback.room)",
            (),
            |row| row.get(0),
        )?
        .flatten();
    Ok(later.map_or(Next::Nothing, Next::Later))
}

/// Chooses the next request of a message: first what is shown goes, then what is wanted comes.
fn begin(tx: &Tx<'_>, row: &Wish) -> Result<(OwnedTransactionId, Option<String>), StoreError> {
    let placing = if row.shown.is_some() {
        None
    } else {
        row.wanted.clone()
    };
    let transaction = OwnedTransactionId::from(format!("relay-{:032x}", rand::random::<u128>()));
    tx.execute(
        "UPDATE feedback SET txn = ?2, placing = ?3 WHERE event = ?1",
        (row.event.as_str(), transaction.as_str(), &placing),
    )?;
    Ok((transaction, placing))
}

/// Takes note that a request was carried out, by the server's answer or because its event came back in sync. Returns
/// whether it was one of these and not noted before.
///
/// # Errors
///
/// When the database fails.
pub fn done(
    tx: &Tx<'_>,
    transaction: &str,
    event: &EventId,
    now: Timestamp,
) -> Result<bool, StoreError> {
    finish(tx, transaction, Some(event), now)
}

fn finish(
    tx: &Tx<'_>,
    transaction: &str,
    event: Option<&EventId>,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let Some(message) = message_of(tx, transaction)? else {
        return Ok(false);
    };
    tx.execute(
        "UPDATE feedback SET shown = placing, reaction = CASE WHEN placing IS NULL THEN NULL ELSE ?2 END,
             txn = NULL, placing = NULL, attempts = 0
         WHERE event = ?1",
        (message.as_str(), event.map(EventId::as_str)),
    )?;
    settle(tx, &message, now)?;
    Ok(true)
}

/// Takes note that the server did not carry out a request just now: the wish that holds then is tried. If an earlier try
/// of the same request may have got through, it goes on under its transaction.
///
/// # Errors
///
/// When the database fails.
pub fn not_done(tx: &Tx<'_>, transaction: &str, now: Timestamp) -> Result<(), StoreError> {
    if let Some(message) = message_of(tx, transaction)? {
        tx.execute(
            "UPDATE feedback SET txn = NULL, placing = NULL WHERE event = ?1 AND attempts = 0",
            [message.as_str()],
        )?;
        settle(tx, &message, now)?;
    }
    Ok(())
}

/// Takes note that requests that were under way when the relay stopped may have got through, and permits all rooms: what was
/// changed while the relay was down was not seen. For the start.
///
/// # Errors
///
/// When the database fails.
pub fn recover(tx: &Tx<'_>) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE feedback SET attempts = attempts + 1 WHERE txn IS NOT NULL",
        (),
    )?;
    permit(tx, None)
}

/// Takes note that nobody knows whether a request was carried out: it is made again later, under the same transaction.
///
/// # Errors
///
/// When the database fails.
pub fn retry(tx: &Tx<'_>, transaction: &str, now: Timestamp) -> Result<(), StoreError> {
    let attempts: Option<u32> = tx.first(
        "SELECT attempts FROM feedback WHERE txn = ?1",
        [transaction],
        |row| row.get(0),
    )?;
    let Some(attempts) = attempts else {
        return Ok(());
    };
    let delay = FIRST_DELAY
        .saturating_mul(1 << attempts.min(12))
        .min(LONGEST_DELAY);
    tx.execute(
        "UPDATE feedback SET attempts = attempts + 1, due = ?2 WHERE txn = ?1",
        (transaction, now + delay),
    )?;
    Ok(())
}

/// Gives a wish up that can never be fulfilled: the server knows its message, or its reaction, no more. A later wish is
/// tried.
///
/// # Errors
///
/// When the database fails.
pub fn give_up(tx: &Tx<'_>, transaction: &str, now: Timestamp) -> Result<(), StoreError> {
    if let Some(message) = message_of(tx, transaction)? {
        // A reaction that cannot be taken away is not there any more.
        tx.execute(
            "UPDATE feedback SET
                 wanted = CASE WHEN placing IS NULL OR wanted IS NOT placing THEN wanted ELSE NULL END,
                 shown = NULL, reaction = NULL, txn = NULL, placing = NULL, attempts = 0
             WHERE event = ?1",
            [message.as_str()],
        )?;
        settle(tx, &message, now)?;
    }
    Ok(())
}

/// Shows nothing in a room until [`permit`]. Returns whether it was permitted until now.
///
/// # Errors
///
/// When the database fails.
pub fn forbid(tx: &Tx<'_>, room: &RoomId) -> Result<bool, StoreError> {
    let changed = tx.execute(
        "INSERT OR IGNORE INTO feedback_forbidden (room) VALUES (?1)",
        [room.as_str()],
    )?;
    Ok(changed > 0)
}

/// Shows signs in a room again; `None`: in all.
///
/// # Errors
///
/// When the database fails.
pub fn permit(tx: &Tx<'_>, room: Option<&RoomId>) -> Result<(), StoreError> {
    tx.execute(
        "DELETE FROM feedback_forbidden WHERE ?1 IS NULL OR room = ?1",
        [room.map(RoomId::as_str)],
    )?;
    Ok(())
}

/// Notes when something is to be done next about a message: nothing, where it shows what it should.
fn settle(tx: &Tx<'_>, event: &EventId, now: Timestamp) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE feedback SET due = CASE
             WHEN txn IS NULL AND wanted IS shown THEN NULL
             ELSE MIN(COALESCE(due, ?2), ?2) END
         WHERE event = ?1",
        (event.as_str(), now),
    )?;
    Ok(())
}

fn message_of(tx: &Tx<'_>, transaction: &str) -> Result<Option<OwnedEventId>, StoreError> {
    tx.first(
        "SELECT event FROM feedback WHERE txn = ?1",
        [transaction],
        |row| identifier(row, 0),
    )
}

/// A row as it stands in the table.
struct Wish {
    event: OwnedEventId,
    room: OwnedRoomId,
    wanted: Option<String>,
    shown: Option<String>,
    reaction: Option<OwnedEventId>,
    transaction: Option<OwnedTransactionId>,
    placing: Option<String>,
}

fn read(row: &Row<'_>) -> rusqlite::Result<Wish> {
    let transaction: Option<String> = row.get("txn")?;
    Ok(Wish {
        event: identifier(row, "event")?,
        room: identifier(row, "room")?,
        wanted: row.get("wanted")?,
        shown: row.get("shown")?,
        reaction: event_column(row, "reaction")?,
        transaction: transaction.map(OwnedTransactionId::from),
        placing: row.get("placing")?,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::store::mesh_report::{accepted, expire, outcome, refused, submitted};
    use crate::store::{Store, outbox_room, samples::*};

    const MESSAGE: &str = "$message:example.org";

    fn room_id() -> OwnedRoomId {
        ROOM.try_into().unwrap()
    }

    fn wish(tx: &Tx<'_>, sign: Option<&str>) -> Result<(), StoreError> {
        want(tx, &room_id(), &event(MESSAGE), sign, NOON)?;
        Ok(())
    }

    /// Returns the request that is due: its transaction, and the key that it places or the event that it takes away.
    fn due(
        tx: &Tx<'_>,
        now: Timestamp,
    ) -> Result<Option<(OwnedTransactionId, String)>, StoreError> {
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

    /// Carries out the request that is due, which must be this one.
    fn carry_out(tx: &Tx<'_>, what: &str, as_event: &str) -> Result<(), StoreError> {
        let (transaction, request) = due(tx, NOON)?.expect("a request is due");
        assert_eq!(request, what);
        assert!(done(tx, transaction.as_str(), &event(as_event), NOON)?);
        assert!(!done(tx, transaction.as_str(), &event(as_event), NOON)?);
        Ok(())
    }

    #[test]
    fn a_sign_is_placed_then_replaced_by_taking_it_away_first() {
        on_empty(|tx| {
            assert_eq!(next(tx, NOON)?, Next::Nothing);
            wish(tx, Some("⏳"))?;
            carry_out(tx, "⏳", "$one:example.org")?;
            assert_eq!(next(tx, NOON)?, Next::Nothing);
            wish(tx, Some("📡"))?;
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
            wish(tx, Some("⏳"))?;
            wish(tx, Some("📤"))?;
            wish(tx, Some("📡"))?;
            carry_out(tx, "📡", "$one:example.org")?;
            wish(tx, Some("❌"))?;
            wish(tx, Some("📡"))?;
            assert_eq!(next(tx, NOON)?, Next::Nothing);
            Ok(())
        });
    }

    #[test]
    fn a_request_of_unknown_fate_is_finished_first_under_its_transaction() {
        on_empty(|tx| {
            wish(tx, Some("⏳"))?;
            let (first, _) = due(tx, NOON)?.unwrap();
            retry(tx, first.as_str(), NOON)?;
            assert_eq!(next(tx, NOON)?, Next::Later(NOON + FIRST_DELAY));
            wish(tx, Some("📡"))?;
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
            wish(tx, Some("⏳"))?;
            let (first, _) = due(tx, NOON)?.unwrap();
            wish(tx, Some("📡"))?;
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
            wish(tx, Some("⏳"))?;
            let (transaction, _) = due(tx, NOON)?.unwrap();
            give_up(tx, transaction.as_str(), NOON)?;
            assert_eq!(next(tx, NOON)?, Next::Nothing);
            wish(tx, Some("📡"))?;
            carry_out(tx, "📡", "$one:example.org")?;
            // Somebody took the reaction away: the next sign is placed all the same.
            wish(tx, Some("❌"))?;
            let (transaction, what) = due(tx, NOON)?.unwrap();
            assert_eq!(what, "$one:example.org");
            give_up(tx, transaction.as_str(), NOON)?;
            carry_out(tx, "❌", "$two:example.org")
        });
    }

    #[test]
    fn tries_grow_rare_and_a_clock_that_was_wrong_holds_nothing_up() {
        on_empty(|tx| {
            wish(tx, Some("⏳"))?;
            let (transaction, _) = due(tx, NOON)?.unwrap();
            for _ in 0..20 {
                retry(tx, transaction.as_str(), NOON)?;
            }
            assert_eq!(next(tx, NOON)?, Next::Later(NOON + LONGEST_DELAY));
            retry(tx, transaction.as_str(), NOON + Duration::from_hours(9000))?;
            assert!(due(tx, NOON)?.is_some());
            Ok(())
        });
    }

    #[test]
    fn a_message_that_was_taken_away_gets_no_sign_any_more() {
        on_empty(|tx| {
            let rows = accept_for_mesh(tx, MESSAGE, &["hello"], NOW)?;
            wish(tx, Some("⏳"))?;
            close(tx, &room_id(), &event(MESSAGE), NOON)?;
            assert_eq!(next(tx, NOON)?, Next::Nothing);
            submitted(tx, rows[0].0, NOON)?;
            accepted(tx, rows[0].0, NOON)?;
            assert_eq!(message(tx, &event(MESSAGE))?, None);
            wish(tx, Some("📡"))?;
            assert_eq!(next(tx, NOON)?, Next::Nothing);
            // Also where none was wanted until then; and nothing is kept of what was never ours.
            accept_for_mesh(tx, "$two:example.org", &["hello"], NOW)?;
            for name in ["$two:example.org", "$foreign:example.org"] {
                close(tx, &room_id(), &event(name), NOON)?;
                assert_eq!(message(tx, &event(name))?, None);
            }
            assert_eq!(tx.count("SELECT COUNT(*) FROM feedback", ())?, 2);
            Ok(())
        });
    }

    #[test]
    fn a_room_that_takes_no_signs_is_left_alone_and_the_others_go_on() {
        on_empty(|tx| {
            let other: OwnedRoomId = "!other:example.org".try_into().unwrap();
            wish(tx, Some("📡"))?;
            want(
                tx,
                &other,
                &event("$other:example.org"),
                Some("📤"),
                later(1),
            )?;
            let in_room = |tx: &Tx<'_>| -> Result<Option<OwnedRoomId>, StoreError> {
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
                waiting_without(tx, "⏳", NOON - Duration::from_secs(1))?,
                [] as [OwnedEventId; 0]
            );
            assert_eq!(waiting_without(tx, "⏳", NOON)?, [event(MESSAGE)]);
            wish(tx, Some("⏳"))?;
            assert_eq!(waiting_without(tx, "⏳", NOON)?, [] as [OwnedEventId; 0]);
            Ok(())
        });
    }

    #[test]
    fn a_sign_that_is_given_needs_no_rows() {
        on_empty(|tx| {
            give(tx, &room_id(), &event(MESSAGE), "🚫", NOON)?;
            assert_eq!(take_changed(tx)?, [event(MESSAGE)]);
            let expected = Message {
                room: room_id(),
                parts: Vec::new(),
                accepted_at: NOON,
                given: Some("🚫".to_owned()),
            };
            assert_eq!(message(tx, &event(MESSAGE))?, Some(expected));
            Ok(())
        });
    }

    #[test]
    fn wishes_that_are_not_asked_for_any_more_are_forgotten() {
        on_empty(|tx| {
            wish(tx, Some("📡"))?;
            forget_wishes(tx, "📡", "⏳", NOON)?;
            assert_eq!(next(tx, NOON)?, Next::Nothing);
            wish(tx, Some("⏳"))?;
            carry_out(tx, "⏳", "$one:example.org")?;
            forget_wishes(tx, "⏳", "⏳", NOON)?;
            carry_out(tx, "$one:example.org", "$redaction:example.org")?;
            assert_eq!(next(tx, NOON)?, Next::Nothing);
            wish(tx, Some("❌"))?;
            carry_out(tx, "❌", "$two:example.org")?;
            forget_wishes(tx, "❌", "⏳", NOON)?;
            assert_eq!(next(tx, NOON)?, Next::Nothing);
            Ok(())
        });
    }

    /// What happens to the table, in any order.
    #[derive(Debug, Clone)]
    enum Happening {
        Wish(Option<usize>),
        /// The server does it, and we learn that.
        Done,
        /// The server does it, and the answer is lost.
        Lost,
        /// It never gets there.
        Away,
        /// The server says that it did not do it.
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

    /// A server: its reactions, and the transactions that it has done.
    #[derive(Default)]
    struct Server {
        reactions: Vec<(OwnedEventId, String)>,
        done: Vec<(OwnedTransactionId, OwnedEventId)>,
    }

    impl Server {
        fn take(&mut self, request: &Request) -> OwnedEventId {
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
            let signs = ["⏳", "📤", "📡", "❌"];
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
            prop_assert_eq!(shown, Vec::from_iter(wanted));
        }
    }
}
