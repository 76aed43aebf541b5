//! The rooms mapped and joined in the last run, by their names in the configuration: messages written since then are new, in
//! any other room they are history. Also resolves an alias before the server is asked.

use crate::{Result, Tx, columns::identifier};
use relay_model::{OwnedRoomId, OwnedRoomOrAliasId, RoomId, RoomOrAliasId};

/// Stores that these configured names stand for a joined room.
pub fn remember(tx: &Tx<'_>, room: &RoomId, names: &[OwnedRoomOrAliasId]) -> Result<()> {
    for name in names {
        tx.execute(
            "INSERT INTO known_room (name, room) VALUES (?1, ?2)
             ON CONFLICT (name) DO UPDATE SET room = excluded.room",
            (name.as_str(), room.as_str()),
        )?;
    }
    Ok(())
}

/// Forgets a name that no longer resolves to a joined room.
pub fn forget(tx: &Tx<'_>, name: &RoomOrAliasId) -> Result<()> {
    tx.run("DELETE FROM known_room WHERE name = ?1", [name.as_str()])
}

/// Forgets names that are no longer configured; mapped again, their rooms start anew. Unreadable rows are deleted once every
/// configured name is known.
pub fn keep_only(tx: &Tx<'_>, configured: &[OwnedRoomOrAliasId]) -> Result<()> {
    let (kept, gone): (Vec<_>, Vec<_>) = all(tx)?
        .into_iter()
        .partition(|(name, _)| configured.contains(name));
    for (name, _) in gone {
        forget(tx, &name)?;
    }
    let is_known = |name| kept.iter().any(|(it, _)| it == name);
    if configured.iter().all(is_known) {
        tx.execute("DELETE FROM known_room WHERE TRUE", ())?;
        for (name, room) in kept {
            remember(tx, &room, &[name])?;
        }
    }
    Ok(())
}

/// Returns each configured name with the id of its room.
pub fn all(tx: &Tx<'_>) -> Result<Vec<(OwnedRoomOrAliasId, OwnedRoomId)>> {
    tx.all("SELECT name, room FROM known_room", (), |row| {
        Ok((identifier(row, "name")?, identifier(row, "room")?))
    })
}

/// Returns whether all rows can be read, so that a room not among them is new.
pub fn are_readable(tx: &Tx<'_>) -> Result<bool> {
    let rooms: usize = tx.value("SELECT COUNT(*) FROM known_room", ())?;
    Ok(all(tx)?.len() == rooms)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_rows::*;

    #[test]
    fn a_room_is_known_by_the_names_that_the_configuration_has_for_it() {
        on_empty(|tx| {
            let one = RoomId::parse("!one:example.org").unwrap();
            let two = RoomId::parse("!two:example.org").unwrap();
            let alias = room("#hill:example.org");
            remember(tx, &one, &[one.clone().into(), alias.clone()])?;
            remember(tx, &two, std::slice::from_ref(&alias))?;
            let mut known = all(tx)?;
            known.sort();
            let expected = [
                (room("!one:example.org"), one.clone()),
                (alias.clone(), two.clone()),
            ];
            assert!(expected.iter().all(|it| known.contains(it)) && known.len() == 2);
            // An unreadable row may be one of the names not known yet.
            tx.run("INSERT INTO known_room VALUES ('nothing', '!x')", ())?;
            keep_only(tx, &[alias.clone(), room("!new:example.org")])?;
            assert!(!are_readable(tx)?);
            keep_only(tx, &[alias.clone(), alias.clone()])?;
            assert!(are_readable(tx)?);
            assert_eq!(all(tx)?, [(alias, two)]);
            Ok(())
        });
    }
}
