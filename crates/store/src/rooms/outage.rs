//! The radio's outage, and the rooms that were told of it and not yet of its end.

use crate::{Result, Tx, columns::identifier};
use relay_model::{Outage, RoomId, Timestamp, ToldRoom};

/// Records the start of an outage; one that is still open continues.
pub fn lost(tx: &Tx<'_>, now: Timestamp) -> Result<()> {
    tx.run(
        "INSERT INTO outage (one, since) VALUES (1, ?1)
         ON CONFLICT (one) DO UPDATE SET back = NULL WHERE back IS NOT NULL",
        [now],
    )
}

/// Records that the link is up again; the outage stays open until [`end`].
pub fn back(tx: &Tx<'_>, now: Timestamp) -> Result<()> {
    tx.run("UPDATE outage SET back = ?1 WHERE back IS NULL", [now])
}

/// Returns the outage that is not over, if there is one.
pub fn current(tx: &Tx<'_>) -> Result<Option<Outage>> {
    tx.first("SELECT since, back FROM outage", (), |row| {
        Ok(Outage {
            since: row.get(0)?,
            back: row.get(1)?,
        })
    })
}

/// Ends the outage: rooms that were told of it are to be told of the end.
pub fn end(tx: &Tx<'_>, back: Timestamp) -> Result<()> {
    tx.execute("DELETE FROM outage WHERE TRUE", ())?;
    tx.run(
        "UPDATE outage_told SET back = ?1 WHERE back IS NULL",
        [back],
    )
}

/// Records that a room was told of the outage that began then, so that it is told of the end.
pub fn told_of(tx: &Tx<'_>, room: &RoomId, since: Timestamp) -> Result<()> {
    tx.run(
        "INSERT OR REPLACE INTO outage_told (room, since) VALUES (?1, ?2)",
        (room.as_str(), since),
    )
}

/// Continues the outage, as the radio is away again: rooms not yet told of its return will not be.
pub fn goes_on(tx: &Tx<'_>) -> Result<()> {
    tx.run(
        "UPDATE outage_told SET back = NULL WHERE back IS NOT NULL",
        (),
    )
}

/// Returns the rooms that were told of an outage.
pub fn told_rooms(tx: &Tx<'_>) -> Result<Vec<ToldRoom>> {
    tx.all(
        "SELECT room, since, back FROM outage_told ORDER BY room",
        (),
        |row| {
            Ok(ToldRoom {
                room: identifier(row, 0)?,
                since: row.get(1)?,
                back: row.get(2)?,
            })
        },
    )
}

/// Transfers the pending notice of an outage's end to a room's successor.
pub fn hand_over(tx: &Tx<'_>, from: &RoomId, to: &RoomId) -> Result<()> {
    tx.run(
        "UPDATE OR REPLACE outage_told SET room = ?2 WHERE room = ?1",
        (from.as_str(), to.as_str()),
    )
}

/// Forgets that a room was told of an outage.
pub fn forget(tx: &Tx<'_>, room: &RoomId) -> Result<()> {
    tx.run("DELETE FROM outage_told WHERE room = ?1", [room.as_str()])
}

/// Forgets the outage, and which rooms were told: no room will be told of the end.
pub fn forget_all(tx: &Tx<'_>) -> Result<()> {
    tx.execute("DELETE FROM outage WHERE TRUE", ())?;
    tx.run("DELETE FROM outage_told WHERE TRUE", ())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::StoreError;
    use crate::test_rows::*;
    use relay_model::OwnedRoomId;

    #[test]
    fn an_outage_goes_on_until_it_is_ended_however_often_the_link_stands_for_a_moment() {
        on_empty(|tx| {
            back(tx, NOON)?;
            assert_eq!(current(tx)?, None);
            lost(tx, NOON)?;
            back(tx, later(5))?;
            back(tx, later(6))?;
            let outage = current(tx)?.unwrap();
            assert_eq!((outage.since, outage.back), (NOON, Some(later(5))));
            lost(tx, later(7))?;
            let outage = current(tx)?.unwrap();
            assert_eq!((outage.since, outage.back), (NOON, None));
            end(tx, later(9))?;
            assert_eq!(current(tx)?, None);
            Ok(())
        });
    }

    #[test]
    fn a_room_is_to_be_told_that_the_outage_is_over_unless_it_goes_on() {
        on_empty(|tx| {
            let room = OwnedRoomId::try_from("!room:example.org").unwrap();
            lost(tx, NOON)?;
            told_of(tx, &room, NOON)?;
            let told_now =
                |tx: &Tx<'_>| Ok::<_, StoreError>(told_rooms(tx)?.pop().map(|it| it.back));
            assert_eq!(told_now(tx)?, Some(None));
            end(tx, later(5))?;
            assert_eq!(told_now(tx)?, Some(Some(later(5))));
            goes_on(tx)?;
            assert_eq!(told_now(tx)?, Some(None));
            forget(tx, &room)?;
            assert_eq!(told_now(tx)?, None);
            told_of(tx, &room, NOON)?;
            forget_all(tx)?;
            assert_eq!(told_now(tx)?, None);
            Ok(())
        });
    }
}
