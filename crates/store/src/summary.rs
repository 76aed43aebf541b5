//! Queries for `status`: queue lengths, ages, parked rooms; and the message of a row.

use super::columns::{Row, destination, identifier, optional};
use super::{Result, Tx};
use crate::outbox::parked::{Parked, parked};
use crate::rooms::gaps::{Missing, missing};
use crate::rooms::mapped_rooms::{HeldRoom, held};
use crate::{messages::direct, outbox::drafts::packets, rooms::undecryptable};
use relay_model::{Destination, MeshRowId, OwnedRoomOrAliasId, RoomRowId, Timestamp};

/// What waits and what keeps it waiting, for `status`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Summary {
    /// Rows waiting for rooms, one entry per room.
    pub to_matrix: Vec<Queued>,
    /// Rows waiting for the mesh, one entry per room and destination.
    pub to_mesh: Vec<Queued>,
    /// Rooms, or the account, for which the homeserver refuses sends (403, 401).
    pub parked: Vec<Parked>,
    /// Rooms held because others are to take their place.
    pub held: Vec<HeldRoom>,
    /// Number of direct messages that are kept.
    pub direct_messages: u64,
    /// Number of events that wait for their keys.
    pub undecryptable: u64,
    /// Rooms whose history is still to be fetched.
    pub missing: Vec<Missing>,
}

/// Rows that wait from or for one place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queued {
    /// The room; `None`: a reply of our own to a node.
    pub room: Option<OwnedRoomOrAliasId>,
    /// The destination on the mesh; `None`: it goes to the room.
    pub destination: Option<Destination>,
    /// Number of rows; a message for the mesh counts the packets that it takes.
    pub count: u64,
    /// When the oldest of them was accepted, by our clock.
    pub oldest: Timestamp,
}

/// A mesh packet, for counters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CountedPacket {
    /// Room that its message was written in.
    pub room: OwnedRoomOrAliasId,
    /// Channel slot or node that it is for.
    pub destination: Destination,
    /// Whether it is the last part of a message, and not a tapback.
    pub ends_message: bool,
    /// Whether the radio had taken it before.
    pub was_taken: bool,
}

/// Reads all of it in one transaction.
pub fn summary(tx: &Tx<'_>) -> Result<Summary> {
    Ok(Summary {
        to_matrix: to_matrix(tx)?,
        to_mesh: to_mesh(tx)?,
        parked: parked(tx)?,
        held: held(tx)?,
        direct_messages: direct::count(tx)?,
        undecryptable: undecryptable::count(tx)?,
        missing: missing(tx)?,
    })
}

/// Returns the room of a room row, and where on the mesh its message was heard; `None` for reactions and notices.
pub fn room_message(
    tx: &Tx<'_>,
    id: RoomRowId,
) -> Result<Option<(OwnedRoomOrAliasId, Destination)>> {
    tx.first(
        "SELECT room, target_kind, target FROM message_pair WHERE room_outbox = ?1",
        [id],
        |row| Ok((identifier(row, "room")?, destination(row)?)),
    )
}

/// Returns the message of a mesh row; `None` for a reply of our own.
pub fn mesh_message(tx: &Tx<'_>, id: MeshRowId) -> Result<Option<CountedPacket>> {
    tx.first(
        "SELECT room, target_kind, target, tapback = 0 AND part + 1 = parts AS ends,
             taken_at IS NOT NULL AS taken
         FROM mesh_outbox WHERE id = ?1 AND room IS NOT NULL",
        [id],
        |row| {
            Ok(CountedPacket {
                room: identifier(row, "room")?,
                destination: destination(row)?,
                ends_message: row.get("ends")?,
                was_taken: row.get("taken")?,
            })
        },
    )
}

/// Returns the rows waiting for rooms, one entry per room.
pub fn to_matrix(tx: &Tx<'_>) -> Result<Vec<Queued>> {
    let sql =
        "SELECT room, COUNT(*) AS count, MIN(accepted_at) AS oldest FROM room_outbox GROUP BY room";
    tx.all(sql, (), |row| waiting(row, None))
}

/// Returns the rows waiting for the mesh, one entry per room and destination.
pub fn to_mesh(tx: &Tx<'_>) -> Result<Vec<Queued>> {
    let sql = concat!(
        "SELECT room, target_kind, target, ",
        packets!(),
        " AS count, MIN(accepted_at) AS oldest FROM mesh_open GROUP BY room, target_kind, target"
    );
    tx.all(sql, (), |row| waiting(row, Some(destination(row)?)))
}

fn waiting(row: &Row<'_>, destination: Option<Destination>) -> rusqlite::Result<Queued> {
    Ok(Queued {
        room: optional(row, "room")?,
        destination,
        count: row.get("count")?,
        oldest: row.get("oldest")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outbox::mesh_report::{accepted, submitted};
    use crate::outbox::outbox_room;
    use crate::test_rows::*;

    #[test]
    fn what_waits_is_told_for_each_room_with_the_age_of_the_oldest() {
        on_empty(|tx| {
            assert_eq!(summary(tx)?, Summary::default());
            accept_for_room(tx, ROOM, 1, "hello")?;
            accept_for_room(tx, ROOM, 2, "hello again")?;
            let rows = accept_for_mesh(tx, "$one:example.org", &["1/2", "2/2"], NOW)?;
            outbox_room::park(tx, Some(&room(ROOM)), "may not", NOON)?;
            let found = summary(tx)?;
            let to_room = Queued {
                room: Some(room(ROOM)),
                destination: None,
                count: 2,
                oldest: NOON,
            };
            assert_eq!(found.to_matrix, [to_room]);
            assert_eq!(found.to_mesh.len(), 1);
            assert_eq!(found.to_mesh[0].destination, Some(CHANNEL));
            assert_eq!(found.to_mesh[0].count, 2);
            assert_eq!(found.parked[0].error, "may not");

            submitted(tx, rows[0].0, NOON)?;
            accepted(tx, rows[0].0, NOON)?;
            assert_eq!(summary(tx)?.to_mesh[0].count, 1);
            Ok(())
        });
    }

    #[test]
    fn a_message_in_parts_ends_with_the_last_of_them() {
        on_empty(|tx| {
            let rows = accept_for_mesh(tx, "$one:example.org", &["1/2", "2/2"], NOW)?;
            let ends = |number: usize| mesh_message(tx, rows[number].0);
            assert!(!ends(0)?.unwrap().ends_message);
            assert!(ends(1)?.unwrap().ends_message);
            assert!(!ends(1)?.unwrap().was_taken);
            submitted(tx, rows[1].0, NOON)?;
            accepted(tx, rows[1].0, NOON)?;
            assert!(ends(1)?.unwrap().was_taken);
            Ok(())
        });
    }

    #[test]
    fn a_message_for_a_room_knows_where_it_was_heard_until_it_is_sent() {
        on_empty(|tx| {
            let id = accept_for_room(tx, ROOM, 1, "hello")?;
            assert_eq!(room_message(tx, id)?, Some((room(ROOM), CHANNEL)));
            outbox_room::sent(tx, id, Some(&event("$one:example.org")))?;
            assert_eq!(room_message(tx, id)?, None);
            Ok(())
        });
    }
}
