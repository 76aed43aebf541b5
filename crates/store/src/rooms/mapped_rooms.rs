//! Rooms that were ever mapped and joined, in their last known state, and what waits for those replaced or no longer mapped.
//! Succession is decided in the bridge.

use crate::columns::{Row, identifier, optional};
use crate::{Result, Tx, outbox::drafts::packets};
use relay_model::{OldRoom, OwnedRoomId, RoomId, Tombstone, WaitsForRoom};

/// Value of the column `waits`: the rows were moved to the successor.
const FOLLOWED: &str = "followed";

/// A room to which nothing is sent for the time being, and the room that takes its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldRoom {
    /// Id of the room whose rows are held.
    pub room: OwnedRoomId,
    /// The name of the condition that its rows wait for; `None`: they were moved to the heir, and more may arrive.
    pub why: Option<String>,
    /// The room that is to take its place, or has.
    pub heir: Option<OwnedRoomId>,
}

/// Stores the current state of a room. Without an alias, the earlier one is kept.
pub fn remember(tx: &Tx<'_>, room: &OldRoom) -> Result<()> {
    let successor = room.tombstone.as_ref().and_then(|it| it.successor.as_ref());
    tx.run(
        "INSERT INTO mapped_room (room, alias, encrypted, public, replaced, successor) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT (room) DO UPDATE SET alias = coalesce(excluded.alias, alias), encrypted = excluded.encrypted,
             public = excluded.public, replaced = excluded.replaced, successor = excluded.successor",
        (
            room.room.as_str(),
            room.alias.as_ref().map(|it| it.as_str()),
            room.encrypted,
            room.public,
            room.tombstone.is_some(),
            successor.map(|it| it.as_str()),
        ),
    )
}

/// Records that a room that the bot has left is replaced or closed.
pub fn note_tombstone(tx: &Tx<'_>, room: &RoomId, tombstone: &Tombstone) -> Result<()> {
    tx.run(
        "UPDATE mapped_room SET replaced = 1, successor = ?2 WHERE room = ?1",
        (
            room.as_str(),
            tombstone.successor.as_ref().map(|it| it.as_str()),
        ),
    )
}

/// Returns all rooms that were ever mapped and joined, in the order of their ids.
pub fn all(tx: &Tx<'_>) -> Result<Vec<OldRoom>> {
    tx.all("SELECT * FROM mapped_room ORDER BY room", (), read)
}

fn read(row: &Row<'_>) -> rusqlite::Result<OldRoom> {
    let successor = optional(row, "successor")?;
    let is_replaced: bool = row.get("replaced")?;
    Ok(OldRoom {
        room: identifier(row, "room")?,
        alias: optional(row, "alias")?,
        encrypted: row.get("encrypted")?,
        public: row.get("public")?,
        tombstone: is_replaced.then_some(Tombstone { successor }),
    })
}

/// Why a room is held and its heir, as in [`HeldRoom`].
pub type Hold<'a> = (Option<&'a str>, Option<&'a RoomId>);

/// Sets why sending to a room is held; `None`: it is not. Returns whether that changes anything.
pub fn hold(tx: &Tx<'_>, room: &RoomId, hold: Option<Hold<'_>>) -> Result<bool> {
    let why = hold.map(|(why, _)| why.unwrap_or(FOLLOWED));
    let heir = hold.and_then(|(_, heir)| Some(heir?.as_str()));
    // A room that was never joined may be known by its waiting rows alone.
    if why.is_some() {
        tx.execute(
            "INSERT OR IGNORE INTO mapped_room (room, encrypted, public) VALUES (?1, 1, 0)",
            [room.as_str()],
        )?;
    }
    tx.changes(
        "UPDATE mapped_room SET waits = ?2, heir = ?3 WHERE room = ?1 AND (waits IS NOT ?2 OR heir IS NOT ?3)",
        (room.as_str(), why, heir),
    )
}

/// Deletes what is known of a room that is no longer mapped, with its hold. Its rows in the outboxes stay.
pub fn forget(tx: &Tx<'_>, room: &RoomId) -> Result<()> {
    tx.run("DELETE FROM mapped_room WHERE room = ?1", [room.as_str()])
}

/// Returns the held rooms: another room is to take their place, or has.
pub fn held(tx: &Tx<'_>) -> Result<Vec<HeldRoom>> {
    tx.all(
        "SELECT room, waits, heir FROM mapped_room WHERE waits IS NOT NULL ORDER BY room",
        (),
        |row| {
            Ok(HeldRoom {
                room: identifier(row, "room")?,
                why: Some(row.get("waits")?).filter(|it| it != FOLLOWED),
                heir: optional(row, "heir")?,
            })
        },
    )
}

/// Returns all rooms ever mapped, and those with waiting rows: the number of messages for each, and of packets from it. Unknown
/// properties default to the strictest.
pub fn standing(tx: &Tx<'_>) -> Result<Vec<WaitsForRoom>> {
    tx.all(
        concat!(
            "SELECT name.room AS room, alias, COALESCE(encrypted, 1) AS encrypted, COALESCE(public, 0) AS public,
                 COALESCE(replaced, 0) AS replaced, successor, waits IS NOT NULL AS is_held,
                 (SELECT COUNT(*) FROM room_outbox WHERE room_outbox.room = name.room) AS messages,
                 (SELECT COALESCE(",
            packets!(),
            ", 0) FROM mesh_open WHERE mesh_open.room = name.room) AS packets
             FROM (SELECT room FROM mapped_room
                 UNION SELECT room FROM room_outbox WHERE substr(room, 1, 1) = '!'
                 UNION SELECT room FROM mesh_open WHERE room IS NOT NULL) AS name
                 LEFT JOIN mapped_room ON mapped_room.room = name.room
             ORDER BY mapped_room.room IS NULL, name.room"
        ),
        (),
        |row| {
            Ok(WaitsForRoom {
                old: read(row)?,
                messages: row.get("messages")?,
                packets: row.get("packets")?,
                is_held: row.get("is_held")?,
            })
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_rows::on_empty;

    #[test]
    fn a_room_is_held_for_a_condition_or_because_its_rows_were_moved() {
        on_empty(|tx| {
            let [old, heir] =
                ["!old:example.org", "!new:example.org"].map(|it| RoomId::parse(it).unwrap());
            for (why, stored) in [(Some("replaced"), "replaced"), (None, "followed")] {
                assert!(hold(tx, &old, Some((why, Some(&heir))))?);
                assert!(!hold(tx, &old, Some((why, Some(&heir))))?);
                let held = held(tx)?;
                assert_eq!(held[0].why.as_deref(), why);
                assert_eq!(held[0].heir.as_ref(), Some(&heir));
                // As databases of earlier versions have it.
                let waits: Vec<String> = tx.column("SELECT waits FROM mapped_room", ())?;
                assert_eq!(waits, [stored]);
            }
            assert!(hold(tx, &old, None)?);
            assert_eq!(held(tx)?, []);
            Ok(())
        });
    }
}
