//! Parked rooms: sending to a room (403) or for the whole account (401) is suspended until something changes.

use crate::{Result, Tx, columns::optional};
use relay_model::{OwnedRoomOrAliasId, RoomOrAliasId, Timestamp};

/// A room, or the account, for which sending is suspended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parked {
    /// Room that nothing is sent to; `None`: the whole account may not send.
    pub room: Option<OwnedRoomOrAliasId>,
    /// The homeserver's refusal in words, as of the last attempt.
    pub error: String,
    /// When it was first refused, by our clock.
    pub since: Timestamp,
}

/// Parks a room, or the whole account (`None`), until [`unpark`].
pub fn park(tx: &Tx<'_>, room: Option<&RoomOrAliasId>, error: &str, now: Timestamp) -> Result<()> {
    tx.run(
        "INSERT INTO parked (room, error, since) VALUES (?1, ?2, ?3)
         ON CONFLICT (room) DO UPDATE SET error = excluded.error",
        (room.map_or("", RoomOrAliasId::as_str), error, now),
    )
}

/// Ends the parking of a room, or of the account (`None`). Returns whether it was parked.
pub fn unpark(tx: &Tx<'_>, room: Option<&RoomOrAliasId>) -> Result<bool> {
    tx.changes(
        "DELETE FROM parked WHERE room = ?1",
        [room.map_or("", RoomOrAliasId::as_str)],
    )
}

/// Ends all parking, of rooms and of the account: one attempt is due for each.
pub fn unpark_all(tx: &Tx<'_>) -> Result<()> {
    tx.run("DELETE FROM parked WHERE TRUE", ())
}

/// Returns the parked rooms; the account, if it is parked, comes first.
pub fn parked(tx: &Tx<'_>) -> Result<Vec<Parked>> {
    tx.all(
        "SELECT NULLIF(room, ''), error, since FROM parked ORDER BY room",
        (),
        |row| {
            Ok(Parked {
                room: optional(row, 0)?,
                error: row.get(1)?,
                since: row.get(2)?,
            })
        },
    )
}
