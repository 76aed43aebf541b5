//! What was said in rooms and could not be fetched yet, though the account's position is past it. It is written with the
//! position, in one transaction: nothing lies behind the position without being known here.

use super::columns::{Row, identifier};
use super::{Result, Tx};
use relay_model::{Gap, OwnedRoomId, OwnedUserId, UserId};

/// How much of what was said in a room could not be fetched yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// To the account that would have read it.
    pub account: OwnedUserId,
    /// In this room.
    pub room: OwnedRoomId,
    /// So many stretches of its history.
    pub stretches: u64,
}

/// Stores that these stretches are missing, in this order, and no others but those that cannot be read: what is missing there
/// is not fetched.
pub fn replace(tx: &Tx<'_>, account: &UserId, gaps: &[Gap]) -> Result<()> {
    let stored = tx.all(
        "SELECT number, room, from_place, to_place FROM gap WHERE account = ?1",
        [account.as_str()],
        |row| Ok((row.get::<_, i64>("number")?, read(row).is_ok())),
    )?;
    let (readable, kept): (Vec<_>, Vec<_>) = stored.into_iter().partition(|(_, is)| *is);
    for (number, _) in readable {
        tx.execute(
            "DELETE FROM gap WHERE account = ?1 AND number = ?2",
            (account.as_str(), number),
        )?;
    }
    let free = (0..).filter(|number| !kept.contains(&(*number, false)));
    for (number, gap) in free.zip(gaps) {
        tx.execute(
            "INSERT INTO gap (account, number, room, from_place, to_place) VALUES (?1, ?2, ?3, ?4, ?5)",
            (
                account.as_str(),
                number,
                gap.room.as_str(),
                gap.from.as_str(),
                gap.to.as_str(),
            ),
        )?;
    }
    Ok(())
}

/// Returns what is missing, in its order.
pub fn all(tx: &Tx<'_>, account: &UserId) -> Result<Vec<Gap>> {
    tx.all(
        "SELECT room, from_place, to_place FROM gap WHERE account = ?1 ORDER BY number",
        [account.as_str()],
        read,
    )
}

fn read(row: &Row<'_>) -> rusqlite::Result<Gap> {
    Ok(Gap {
        room: identifier(row, "room")?,
        from: row.get("from_place")?,
        to: row.get("to_place")?,
    })
}

/// Returns how much is missing in each room.
pub fn missing(tx: &Tx<'_>) -> Result<Vec<Missing>> {
    tx.all(
        "SELECT account, room, COUNT(*) AS count FROM gap GROUP BY account, room",
        (),
        |row| {
            Ok(Missing {
                account: identifier(row, "account")?,
                room: identifier(row, "room")?,
                stretches: row.get("count")?,
            })
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::*;

    #[test]
    fn what_cannot_be_read_of_what_is_missing_stays() {
        on_empty(|tx| {
            let alice = OwnedUserId::try_from("@alice:example.org").unwrap();
            let gap = |from: &str| Gap {
                room: "!one:example.org".try_into().unwrap(),
                from: from.to_owned(),
                to: "s9".to_owned(),
            };
            replace(tx, &alice, &[gap("s1"), gap("s2"), gap("s3")])?;
            tx.run(
                "UPDATE gap SET room = 'nowhere', number = ?1 WHERE from_place = 's2'",
                [i64::MAX],
            )?;
            for new in [gap("s4"), gap("s5")] {
                replace(tx, &alice, std::slice::from_ref(&new))?;
                assert_eq!(all(tx, &alice)?, [new]);
                let kept = tx.exists("SELECT 1 FROM gap WHERE from_place = 's2'", ())?;
                assert!(kept);
            }
            Ok(())
        });
    }

    #[test]
    fn what_is_missing_is_known_for_each_account_until_it_is_not() {
        on_empty(|tx| {
            let alice = OwnedUserId::try_from("@alice:example.org").unwrap();
            let bob = OwnedUserId::try_from("@bob:example.org").unwrap();
            let gap = |room: &str, from: &str| Gap {
                room: room.try_into().unwrap(),
                from: from.to_owned(),
                to: "s9".to_owned(),
            };
            let (one, two) = (gap("!one:example.org", "s1"), gap("!two:example.org", "s2"));
            let newer = gap("!one:example.org", "s10");
            let missing = [two, one.clone(), newer];
            replace(tx, &alice, &missing)?;
            replace(tx, &bob, std::slice::from_ref(&one))?;
            assert_eq!(all(tx, &alice)?, missing);
            let stretches = |account: &OwnedUserId, room: &Gap, stretches| Missing {
                account: account.clone(),
                room: room.room.clone(),
                stretches,
            };
            let in_one = stretches(&alice, &one, 2);
            let in_two = stretches(&alice, &missing[0], 1);
            let of_bob = stretches(&bob, &one, 1);
            assert_eq!(super::missing(tx)?, [in_one, in_two, of_bob]);
            let further = gap("!two:example.org", "t5");
            replace(tx, &alice, std::slice::from_ref(&further))?;
            assert_eq!(all(tx, &alice)?, [further]);
            replace(tx, &alice, &[])?;
            assert_eq!(all(tx, &alice)?, []);
            assert_eq!(all(tx, &bob)?, [one]);
            Ok(())
        });
    }
}
