//! What was said in rooms and could not be fetched yet, though the account's position is past it. It is written with the
//! position, in one transaction: nothing lies behind the position without being known here.

use super::columns::identifier;
use super::{StoreError, Tx};
use crate::model::{Gap, UserId};

/// Stores that these stretches, and no others, are missing, in this order.
///
/// # Errors
///
/// When the database fails.
pub fn replace(tx: &Tx<'_>, account: &UserId, gaps: &[Gap]) -> Result<(), StoreError> {
    tx.execute("DELETE FROM gap WHERE account = ?1", [account.as_str()])?;
    for (number, gap) in (0_i64..).zip(gaps) {
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
///
/// # Errors
///
/// When the database fails.
pub fn all(tx: &Tx<'_>, account: &UserId) -> Result<Vec<Gap>, StoreError> {
    tx.all(
        "SELECT room, from_place, to_place FROM gap WHERE account = ?1 ORDER BY number",
        [account.as_str()],
        |row| {
            Ok(Gap {
                room: identifier(row, "room")?,
                from: row.get("from_place")?,
                to: row.get("to_place")?,
            })
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::OwnedUserId;
    use crate::store::samples::*;

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
