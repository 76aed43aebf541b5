//! Read receipts, stored as a wanted state. Incoming messages are numbered; when one is handled, the receipt of its room or
//! thread moves there, unless it is already further.

use std::time::Duration;

use crate::columns::{LONGEST_WAIT, identifier, optional};
use crate::{Next, Result, Tx};
use relay_model::{EventId, OwnedEventId, OwnedRoomId, RoomId, Timestamp};

/// Minimum time between two receipts in a room.
const SPACING: Duration = Duration::from_secs(5);
/// Delay after a failure that may pass.
const DELAY: Duration = Duration::from_mins(1);

/// A read receipt that is to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// Id of the room that is read.
    pub room: OwnedRoomId,
    /// The root of the thread that is read; `None`: the room.
    pub thread: Option<OwnedEventId>,
    /// Id of the last message read there: all earlier ones count as read.
    pub event: OwnedEventId,
}

/// Records an incoming message, not yet read.
pub fn arrived(
    tx: &Tx<'_>,
    room: &RoomId,
    event: &EventId,
    thread: Option<&EventId>,
    now: Timestamp,
) -> Result<()> {
    tx.run(
        "INSERT OR IGNORE INTO unread (event, room, thread, at) VALUES (?1, ?2, ?3, ?4)",
        (
            event.as_str(),
            room.as_str(),
            thread.map_or("", EventId::as_str),
            now,
        ),
    )
}

/// Records that a message is handled. Returns whether a receipt moves there.
pub fn read(tx: &Tx<'_>, event: &EventId, now: Timestamp) -> Result<bool> {
    let moved = tx.execute(
        "INSERT INTO receipt (room, thread, event, number, due, at)
         SELECT room, thread, event, number, ?2, ?2 FROM unread WHERE event = ?1
         ON CONFLICT (room, thread) DO UPDATE SET event = excluded.event, number = excluded.number,
             due = COALESCE(due, excluded.due), at = excluded.at
         WHERE excluded.number > number",
        (event.as_str(), now),
    )?;
    tx.execute("DELETE FROM unread WHERE event = ?1", [event.as_str()])?;
    Ok(moved > 0)
}

/// Returns the receipt to send next. An unreadable one is dropped.
pub fn next(tx: &Tx<'_>, now: Timestamp) -> Result<Next<Receipt>> {
    let due = tx.first_due(
        "SELECT CAST(event AS BLOB), room, NULLIF(thread, ''), event FROM receipt
         WHERE due IS NOT NULL AND (due <= ?1 OR due > ?2)
             AND NOT EXISTS (SELECT 1 FROM parked WHERE parked.room IN ('', receipt.room))
         ORDER BY due",
        (now, now + LONGEST_WAIT),
        |row| {
            Ok(Receipt {
                room: identifier(row, 1)?,
                thread: optional(row, 2)?,
                event: identifier(row, 3)?,
            })
        },
        // DELETE works whatever the damaged columns hold; an UPDATE would fail.
        |event: Vec<u8>| {
            tx.run(
                "DELETE FROM receipt WHERE CAST(event AS BLOB) = ?1",
                [event],
            )
        },
    )?;
    if let Some(receipt) = due {
        return Ok(Next::Due(receipt));
    }
    let later: Option<Timestamp> = tx.value(
        "SELECT MIN(due) FROM receipt WHERE due IS NOT NULL
             AND NOT EXISTS (SELECT 1 FROM parked WHERE parked.room IN ('', receipt.room))",
        (),
    )?;
    Ok(later.map_or(Next::Nothing, Next::Later))
}

/// Records that a receipt was sent, or never can be. If the room was read further meanwhile, the next one follows some seconds
/// later, as do those of its threads.
pub fn sent(tx: &Tx<'_>, receipt: &Receipt, now: Timestamp) -> Result<()> {
    tx.run(
        "UPDATE receipt SET due = CASE WHEN thread = ?2 AND event = ?3 THEN NULL ELSE MAX(due, ?4) END
         WHERE room = ?1 AND due IS NOT NULL",
        (
            receipt.room.as_str(),
            receipt.thread.as_deref().map_or("", EventId::as_str),
            receipt.event.as_str(),
            now + SPACING,
        ),
    )
}

/// Has the receipts of this room tried again later, after a failure that may pass.
pub fn retry(tx: &Tx<'_>, receipt: &Receipt, now: Timestamp) -> Result<()> {
    tx.run(
        "UPDATE receipt SET due = ?2 WHERE room = ?1 AND due IS NOT NULL",
        (receipt.room.as_str(), now + DELAY),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Store;
    use crate::outbox::outbox_room;
    use crate::test_rows::*;

    fn room_id() -> OwnedRoomId {
        ROOM.try_into().unwrap()
    }

    fn arrive(tx: &Tx<'_>, names: &[&str]) -> Result<()> {
        for name in names {
            arrived(tx, &room_id(), &event(name), None, NOON)?;
        }
        Ok(())
    }

    fn due(tx: &Tx<'_>, now: Timestamp) -> Result<Option<Receipt>> {
        Ok(match next(tx, now)? {
            Next::Due(receipt) => Some(receipt),
            Next::Later(_) | Next::Nothing => None,
        })
    }

    fn receipt(name: &str) -> Receipt {
        Receipt {
            room: room_id(),
            thread: None,
            event: event(name),
        }
    }

    #[test]
    fn a_receipt_moves_to_the_newest_that_is_dealt_with_and_never_back() {
        on_empty(|tx| {
            arrive(tx, &["$one:x", "$two:x", "$three:x"])?;
            assert_eq!(next(tx, NOON)?, Next::Nothing);
            assert!(read(tx, &event("$two:x"), NOON)?);
            assert_eq!(due(tx, NOON)?, Some(receipt("$two:x")));
            assert!(!read(tx, &event("$one:x"), NOON)?);
            assert_eq!(due(tx, NOON)?, Some(receipt("$two:x")));
            sent(tx, &receipt("$two:x"), NOON)?;
            assert_eq!(next(tx, NOON)?, Next::Nothing);
            assert!(read(tx, &event("$three:x"), NOON)?);
            // Messages that never came in, or are handled, move nothing.
            assert!(!read(tx, &event("$three:x"), NOON)?);
            assert!(!read(tx, &event("$unknown:x"), NOON)?);
            assert_eq!(tx.value::<u64>("SELECT COUNT(*) FROM unread", ())?, 0);
            Ok(())
        });
    }

    #[test]
    fn a_room_gets_one_receipt_in_some_seconds_for_all_that_was_read() {
        on_empty(|tx| {
            arrive(tx, &["$one:x", "$two:x", "$three:x"])?;
            read(tx, &event("$one:x"), NOON)?;
            let first = due(tx, NOON)?.unwrap();
            // While it is in flight.
            read(tx, &event("$two:x"), NOON)?;
            sent(tx, &first, NOON)?;
            assert_eq!(next(tx, NOON)?, Next::Later(NOON + SPACING));
            read(tx, &event("$three:x"), later(1))?;
            assert_eq!(due(tx, NOON + SPACING)?, Some(receipt("$three:x")));
            Ok(())
        });
    }

    #[test]
    fn a_thread_has_a_receipt_of_its_own() {
        on_empty(|tx| {
            let root = event("$root:x");
            arrive(tx, &["$one:x"])?;
            arrived(tx, &room_id(), &event("$two:x"), Some(&root), NOON)?;
            read(tx, &event("$two:x"), NOON)?;
            read(tx, &event("$one:x"), later(1))?;
            let in_thread = due(tx, later(1))?.unwrap();
            assert_eq!(in_thread.thread, Some(root));
            assert_eq!(in_thread.event, "$two:x");
            sent(tx, &in_thread, later(1))?;
            assert_eq!(due(tx, later(9))?, Some(receipt("$one:x")));
            Ok(())
        });
    }

    #[test]
    fn a_receipt_that_failed_waits_and_a_parked_room_gets_none() {
        on_empty(|tx| {
            arrive(tx, &["$one:x"])?;
            read(tx, &event("$one:x"), NOON)?;
            retry(tx, &receipt("$one:x"), NOON)?;
            assert_eq!(next(tx, NOON)?, Next::Later(NOON + DELAY));
            outbox_room::park(tx, Some(&room(ROOM)), "forbidden", NOON)?;
            assert_eq!(next(tx, NOON + DELAY)?, Next::Nothing);
            Ok(())
        });
    }

    #[test]
    fn a_receipt_that_cannot_be_read_holds_no_other_up() {
        on_empty(|tx| {
            arrive(tx, &["$one:x"])?;
            read(tx, &event("$one:x"), NOON)?;
            tx.execute(
                "INSERT INTO receipt (room, thread, event, number, due, at)
                 SELECT 'nowhere', thread, CAST(x'ff' AS TEXT), 0, due - 1, at FROM receipt",
                (),
            )?;
            assert_eq!(due(tx, NOON)?, Some(receipt("$one:x")));
            sent(tx, &receipt("$one:x"), NOON)?;
            assert_eq!(next(tx, NOON)?, Next::Nothing);
            Ok(())
        });
    }

    #[test]
    fn a_receipt_of_another_type_than_its_column_holds_no_other_up() {
        let mut store = Store::in_memory().unwrap();
        let is_read = store.transaction(|tx| {
            arrive(tx, &["$one:x"])?;
            read(tx, &event("$one:x"), NOON)
        });
        assert!(is_read.unwrap());
        store.damage_types(
            "INSERT INTO receipt (room, thread, event, number, due, at)
             SELECT '!other:x', thread, CAST('$two:x' AS BLOB), 0, due - 1, at FROM receipt",
        );
        let next = store.commit_relaxed(|tx| due(tx, NOON));
        assert_eq!(next.unwrap(), Some(receipt("$one:x")));
    }
}
