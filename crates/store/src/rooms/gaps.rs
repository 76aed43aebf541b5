//! Gaps: stretches of room timelines that are still to be fetched although the sync position is past them. Written in one
//! transaction with the position, so that no gap is lost.

use std::collections::BTreeSet;

use tracing::error;

use super::known_rooms;
use crate::{Result, Tx, columns::identifier, single_values};
use relay_model::{Gap, GapStart, OwnedRoomId, OwnedUserId, Timestamp, UserId};

/// How much of a room's history is still to be fetched, for `status`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// The account that reads the room.
    pub account: OwnedUserId,
    /// Id of the room whose history is incomplete.
    pub room: OwnedRoomId,
    /// Number of gaps in it, at least 1.
    pub stretches: u64,
}

/// Replaces the stored gaps of an account, in this order.
pub fn replace(tx: &Tx<'_>, account: &UserId, gaps: &[Gap]) -> Result<()> {
    tx.run("DELETE FROM gap WHERE account = ?1", [account.as_str()])?;
    for (number, gap) in (0_i64..).zip(gaps) {
        let (from, since) = match &gap.from {
            GapStart::Token(token) => (token.as_str(), None),
            GapStart::Time(since) => ("", Some(since.0)),
        };
        tx.execute(
            "INSERT INTO gap (account, number, room, from_place, since, to_place) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            (
                account.as_str(),
                number,
                gap.room.as_str(),
                from,
                since,
                gap.to.as_str(),
            ),
        )?;
    }
    Ok(())
}

/// Returns the gaps in order. If a gap's room is unreadable it is looked for in all known rooms; without a readable end it
/// extends to the sync position; without a beginning it is dropped.
pub fn all(tx: &Tx<'_>, account: &UserId) -> Result<Vec<Gap>> {
    let rows = tx.all(
        "SELECT room, from_place, since, to_place FROM gap WHERE account = ?1 ORDER BY number",
        [account.as_str()],
        |row| {
            let room: Option<OwnedRoomId> = identifier(row, "room").ok();
            let place = |column| row.get::<&str, String>(column).ok();
            let since = row.get("since").ok().flatten().map(Timestamp);
            let token = || place("from_place").map(GapStart::Token);
            let from = since.map(GapStart::Time).or_else(token);
            Ok((room, from, place("to_place")))
        },
    )?;
    let known = known_rooms::all(tx)?.into_iter().map(|(_, room)| room);
    let known: BTreeSet<_> = known.collect();
    let position = single_values::sync_position(tx, account)?;
    let mut gaps = Vec::new();
    for (room, from, to) in rows.clone() {
        // A gap of the same beginning that can be read holds for its room.
        let is_read = |it: &&OwnedRoomId| {
            let mut read = rows.iter();
            read.any(|(room, begin, _)| room.as_ref() == Some(*it) && *begin == from)
        };
        let elsewhere = || known.iter().filter(|it| !is_read(it)).cloned().collect();
        let rooms: BTreeSet<_> = room.clone().map_or_else(elsewhere, |room| [room].into());
        match from.zip(to.or_else(|| position.clone())) {
            Some((from, to)) if !rooms.is_empty() => {
                let gap = |room| Gap {
                    room,
                    from: from.clone(),
                    to: to.clone(),
                };
                gaps.extend(rooms.into_iter().map(gap));
            }
            Some(_) | None => {
                let room = room.map(String::from);
                tx.log(move || error!(room, "what was said in this room meanwhile is given up: where it is missing cannot be read from the database; messages may be missing; please report this"));
            }
        }
    }
    Ok(gaps)
}

/// Returns how much is missing in each room, for `status`.
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
    use crate::test_rows::*;

    #[test]
    fn what_cannot_be_read_of_what_is_missing_is_looked_for_wherever_it_may_be() {
        on_empty(|tx| {
            let alice = OwnedUserId::try_from("@alice:example.org").unwrap();
            let gap = |room: &str, from: &str, to: &str| Gap {
                room: room.try_into().unwrap(),
                from: GapStart::Token(from.to_owned()),
                to: to.to_owned(),
            };
            let (one, two) = ("!one:example.org", "!two:example.org");
            for known in [one, two] {
                let id = OwnedRoomId::try_from(known).unwrap();
                let names = [id.clone().into(), room(&known.replace('!', "#"))];
                known_rooms::remember(tx, &id, &names)?;
            }
            single_values::set_sync_position(tx, &alice, "s9")?;
            let places = [("s1", "s2"), ("s3", "s4"), ("s5", "s6")];
            let mut stored = places.map(|(from, to)| gap(one, from, to)).to_vec();
            // Missing since the same answer, and longer.
            stored.push(gap(two, "s1", "s8"));
            replace(tx, &alice, &stored)?;
            tx.run("UPDATE gap SET room = 'nowhere' WHERE number = 0", ())?;
            let damage = "UPDATE gap SET to_place = CAST(x'ff' AS TEXT) WHERE number = 1";
            tx.run(damage, ())?;
            let damage = "UPDATE gap SET from_place = CAST(x'ff' AS TEXT) WHERE number = 2";
            tx.run(damage, ())?;
            let found = all(tx, &alice)?;
            let expected = [
                gap(one, "s1", "s2"),
                gap(one, "s3", "s9"),
                gap(two, "s1", "s8"),
            ];
            assert_eq!(found, expected);
            replace(tx, &alice, &found)?;
            assert_eq!(all(tx, &alice)?, found);
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
                from: GapStart::Token(from.to_owned()),
                to: "s9".to_owned(),
            };
            let (one, two) = (gap("!one:example.org", "s1"), gap("!two:example.org", "s2"));
            let newer = Gap {
                from: GapStart::Time(Timestamp(1_767_225_600_000)),
                ..one.clone()
            };
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
