//! Events that could not be decrypted, kept until their key arrives, often later than the message.
//!
//! Count and bytes are limited per room ([`UndecryptableEvent::MOST_OF_ROOM`]) and per person. Beyond the limit the oldest are
//! evicted: only their ids stay, until their room is told of them.

use crate::{Result, Tx, columns::identifier};
use relay_model::{EventId, OwnedEventId, RoomId, Timestamp, UndecryptableEvent, Unread, UserId};

/// Value of the column `given_up`: the key may still come in time (view `key_awaited`).
const AWAITED: u8 = 0;
/// The room has been told that the key came too late.
const TOLD: u8 = 1;
/// Evicted, and the room has not been told yet (`key_pushed_out`).
const PUSHED_OUT: u8 = 2;

/// Stores an event. Returns the number of events evicted for it; `None`: it was stored already.
pub fn keep(
    tx: &Tx<'_>,
    event: &UndecryptableEvent,
    sent_at: Timestamp,
    now: Timestamp,
) -> Result<Option<usize>> {
    let added = tx.execute(
        "INSERT OR IGNORE INTO undecryptable (event, room, session, sender, sent_at, raw, kept_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        (
            event.event.as_str(),
            event.room.as_str(),
            event.session.as_str(),
            event.sender.as_str(),
            sent_at.min(now),
            event.raw.as_str(),
            now,
        ),
    )?;
    if added == 0 {
        return Ok(None);
    }
    let bytes = |most: u64| i64::try_from(most).unwrap_or(i64::MAX);
    let dropped = tx.execute(
        "UPDATE undecryptable SET given_up = ?6, raw = '' WHERE id IN (
             SELECT id FROM (
                 SELECT id, ROW_NUMBER() OVER newest AS place,
                     SUM(LENGTH(CAST(raw AS BLOB))) OVER newest AS bytes,
                     ROW_NUMBER() OVER own AS own_place,
                     SUM(LENGTH(CAST(raw AS BLOB))) OVER own AS own_bytes
                 FROM key_awaited WHERE room = ?1
                 WINDOW newest AS (ORDER BY id DESC), own AS (PARTITION BY sender ORDER BY id DESC))
             WHERE place > ?2 OR (bytes > ?3 AND place > 1)
                 OR own_place > ?4 OR (own_bytes > ?5 AND own_place > 1))",
        (
            event.room.as_str(),
            UndecryptableEvent::MOST_OF_ROOM,
            bytes(UndecryptableEvent::MOST_BYTES_OF_ROOM),
            UndecryptableEvent::MOST_OF_SENDER,
            bytes(UndecryptableEvent::MOST_BYTES_OF_SENDER),
            PUSHED_OUT,
        ),
    )?;
    if dropped > 0 {
        // Evict first what no room needs to be told of.
        tx.execute(
            "DELETE FROM undecryptable WHERE id IN (
                 SELECT id FROM undecryptable WHERE room = ?1 AND given_up <> ?3
                 ORDER BY given_up DESC, id DESC LIMIT -1 OFFSET ?2)",
            (
                event.room.as_str(),
                UndecryptableEvent::MOST_OF_ROOM,
                AWAITED,
            ),
        )?;
    }
    Ok(Some(dropped))
}

/// Returns the events whose key may still come in time, in order of arrival.
pub fn waiting(tx: &Tx<'_>) -> Result<Vec<UndecryptableEvent>> {
    tx.all("SELECT * FROM key_awaited ORDER BY id", (), |row| {
        Ok(UndecryptableEvent {
            room: identifier(row, "room")?,
            event: identifier(row, "event")?,
            sender: identifier(row, "sender")?,
            session: row.get("session")?,
            raw: row.get("raw")?,
        })
    })
}

/// Forgets an event that was decrypted or redacted. Returns false if it was not stored.
pub fn forget(tx: &Tx<'_>, event: &EventId) -> Result<bool> {
    tx.changes(
        "DELETE FROM undecryptable WHERE event = ?1",
        [event.as_str()],
    )
}

/// Forgets a person's events in a room up to that time, and returns them.
pub fn forget_sender(
    tx: &Tx<'_>,
    room: &RoomId,
    sender: &UserId,
    written_by: Timestamp,
) -> Result<Vec<OwnedEventId>> {
    tx.all(
        "DELETE FROM undecryptable WHERE room = ?1 AND sender = ?2 AND sent_at <= ?3 RETURNING event",
        (room.as_str(), sender.as_str(), written_by),
        |row| identifier(row, "event"),
    )
}

/// Returns the events written up to that time that still lack their key, and evicted ones, by room, oldest first.
pub fn overdue(tx: &Tx<'_>, until: Timestamp) -> Result<Vec<Unread>> {
    tx.all(
        "SELECT * FROM (SELECT * FROM key_awaited WHERE sent_at <= ?1 UNION ALL SELECT * FROM key_pushed_out)
         ORDER BY room, sent_at, id",
        [until],
        |row| {
            Ok(Unread {
                room: identifier(row, "room")?,
                event: identifier(row, "event")?,
                sender: identifier(row, "sender")?,
                sent_at: row.get("sent_at")?,
            })
        },
    )
}

/// Records that the room has been told of an event without a key. It is counted until [`prune`] deletes it.
pub fn give_up(tx: &Tx<'_>, event: &EventId) -> Result<()> {
    tx.run(
        "UPDATE undecryptable SET given_up = ?2, raw = '' WHERE event = ?1",
        (event.as_str(), TOLD),
    )
}

/// Returns the number of stored events, those given up included.
pub fn count(tx: &Tx<'_>) -> Result<u64> {
    tx.value("SELECT COUNT(*) FROM undecryptable", ())
}

/// Forgets what was stored before that time.
pub fn prune(tx: &Tx<'_>, before: Timestamp) -> Result<()> {
    tx.run("DELETE FROM undecryptable WHERE kept_at < ?1", [before])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_rows::*;
    use relay_model::{OwnedRoomId, OwnedUserId};

    fn undecryptable(number: u32, raw: &str) -> UndecryptableEvent {
        UndecryptableEvent {
            room: ROOM.try_into().unwrap(),
            event: event(&format!("$late{number}:example.org")),
            sender: alice(),
            session: format!("session {number}"),
            raw: raw.to_owned(),
        }
    }

    /// An event of one of ten people.
    fn of_many(number: u32) -> UndecryptableEvent {
        UndecryptableEvent {
            sender: format!("@u{}:example.org", number % 10).try_into().unwrap(),
            ..undecryptable(number, "{}")
        }
    }

    fn alice() -> OwnedUserId {
        "@alice:example.org".try_into().unwrap()
    }

    fn numbers(tx: &Tx<'_>) -> Result<Vec<String>> {
        let kept = waiting(tx)?;
        Ok(kept.into_iter().map(|it| it.session).collect())
    }

    #[test]
    fn an_event_is_kept_once_and_comes_back_as_it_was() {
        on_empty(|tx| {
            let one = undecryptable(1, "{\"a\": \"é\"}");
            assert_eq!(keep(tx, &one, NOON, NOON)?, Some(0));
            assert_eq!(keep(tx, &one, NOON, later(9))?, None);
            assert_eq!(waiting(tx)?, std::slice::from_ref(&one));
            assert_eq!(count(tx)?, 1);
            assert!(forget(tx, &one.event)?);
            assert!(!forget(tx, &one.event)?);
            assert_eq!(count(tx)?, 0);
            assert_eq!(waiting(tx)?, []);
            Ok(())
        });
    }

    #[test]
    fn a_room_keeps_its_newest_and_takes_nothing_from_other_rooms() {
        on_empty(|tx| {
            let mut other = undecryptable(0, "{}");
            other.room = "!other:example.org".try_into().unwrap();
            keep(tx, &other, NOON, NOON)?;
            for number in 1..=UndecryptableEvent::MOST_OF_ROOM {
                keep(tx, &of_many(number), NOON, NOON)?;
            }
            let one_more = of_many(UndecryptableEvent::MOST_OF_ROOM + 1);
            assert_eq!(keep(tx, &one_more, NOON, NOON)?, Some(1));
            let kept = numbers(tx)?;
            assert_eq!(kept[..2], ["session 0", "session 2"]);
            let pushed_out = overdue(tx, Timestamp(0))?;
            assert_eq!(pushed_out.len(), 1);
            assert_eq!(pushed_out[0].event, undecryptable(1, "").event);
            give_up(tx, &pushed_out[0].event)?;
            assert_eq!(overdue(tx, Timestamp(0))?, []);
            Ok(())
        });
    }

    #[test]
    fn nobody_takes_the_place_of_all_others() {
        let (most, size) = (
            UndecryptableEvent::MOST_OF_SENDER,
            usize::try_from(UndecryptableEvent::MOST_BYTES_OF_SENDER).unwrap(),
        );
        for (first_kept, raw) in [
            (most + 1, "{}".to_owned()),
            (2 * most - 1, "x".repeat(size / 2)),
        ] {
            on_empty(|tx| {
                let mut other = undecryptable(0, "{}");
                other.sender = "@other:example.org".try_into().unwrap();
                keep(tx, &other, NOON, NOON)?;
                for number in 1..=2 * most {
                    keep(tx, &undecryptable(number, &raw), NOON, NOON)?;
                }
                let kept = numbers(tx)?;
                let first = format!("session {first_kept}");
                assert_eq!(kept[..2], ["session 0", &*first]);
                let pushed_out = overdue(tx, Timestamp(0))?;
                assert_eq!(pushed_out.len(), usize::try_from(first_kept).unwrap() - 1);
                Ok(())
            });
        }
    }

    #[test]
    fn what_was_pushed_out_is_bounded_too() {
        on_empty(|tx| {
            for number in 1..=3 * UndecryptableEvent::MOST_OF_ROOM {
                keep(tx, &undecryptable(number, "{}"), NOON, NOON)?;
            }
            let most = usize::try_from(UndecryptableEvent::MOST_OF_ROOM).unwrap();
            assert_eq!(overdue(tx, Timestamp(0))?.len(), most);
            let all =
                u64::from(UndecryptableEvent::MOST_OF_ROOM + UndecryptableEvent::MOST_OF_SENDER);
            assert_eq!(count(tx)?, all);
            Ok(())
        });
    }

    #[test]
    fn large_events_push_older_ones_of_their_room_out() {
        on_empty(|tx| {
            let half = "x"
                .repeat(usize::try_from(UndecryptableEvent::MOST_BYTES_OF_ROOM).unwrap() / 2 + 1);
            for (number, dropped) in [(1, 0), (2, 1), (3, 1)] {
                let kept = keep(tx, &undecryptable(number, &half), NOON, NOON)?;
                assert_eq!(kept, Some(dropped));
            }
            assert_eq!(numbers(tx)?, ["session 3"]);
            Ok(())
        });
    }

    #[test]
    fn what_waits_too_long_is_given_up_and_counted_until_it_is_old() {
        on_empty(|tx| {
            // A server clock that is ahead does not prolong the wait.
            keep(tx, &undecryptable(1, "{}"), later(9_999), NOON)?;
            keep(tx, &undecryptable(2, "{}"), later(5), later(5))?;
            assert_eq!(overdue(tx, NOON - std::time::Duration::from_secs(1))?, []);
            let late = overdue(tx, NOON)?;
            assert_eq!(late.len(), 1);
            assert_eq!((&late[0].sender, late[0].sent_at), (&alice(), NOON));
            give_up(tx, &late[0].event)?;
            assert_eq!(overdue(tx, NOON)?, []);
            assert_eq!(numbers(tx)?, ["session 2"]);
            assert_eq!(count(tx)?, 2);
            prune(tx, later(1))?;
            assert_eq!(count(tx)?, 1);
            Ok(())
        });
    }

    #[test]
    fn what_a_person_wrote_in_a_room_goes_together() {
        on_empty(|tx| {
            keep(tx, &undecryptable(1, "{}"), NOON, NOON)?;
            let bob = source("$any:example.org").sender;
            let other = UndecryptableEvent {
                sender: bob,
                ..undecryptable(2, "{}")
            };
            keep(tx, &other, NOON, NOON)?;
            let room: OwnedRoomId = ROOM.try_into().unwrap();
            let before = Timestamp(NOON.0 - 1);
            assert_eq!(forget_sender(tx, &room, &alice(), before)?, [""; 0]);
            let forgotten = forget_sender(tx, &room, &alice(), NOON)?;
            assert_eq!(forgotten, [event("$late1:example.org")]);
            assert_eq!(numbers(tx)?, ["session 2"]);
            Ok(())
        });
    }
}
