//! What a database from a backup is made of before it is used again: it does not know what happened since.

use super::{Result, Tx, known_rooms, outbox_room, single_values};
use relay_model::{Beginning, MeshState, Notice, OwnedRoomId, OwnedRoomOrAliasId, StepKind};

/// Settles a database that was restored from a backup:
///
/// - What waits for the mesh is given up: the relay that made the backup may have sent it since. So are events whose key
///   was awaited, and signs, which stand as that relay left them.
/// - What the mesh has said and waits for rooms stays. The account's next run begins `at` that moment and reads the rooms'
///   timelines from the stored position on, so that it finds what was posted since, and posts the rest. What cannot be
///   found there is given up: notices, reactions, edits.
/// - Each room is told, by the `notice`, if it is `mapped`; without names, all that were.
///
/// Returns the number of packets that are given up.
pub fn settle(
    tx: &Tx<'_>,
    at: &Beginning,
    mapped: Option<&[OwnedRoomOrAliasId]>,
    notice: &Notice,
) -> Result<usize> {
    let now = at.ours;
    for account in single_values::accounts(tx)? {
        let at = Beginning {
            position: single_values::take_sync_position(tx, &account)?,
            ..at.clone()
        };
        single_values::set_beginning(tx, &account, &at)?;
    }
    tx.execute(
        "INSERT INTO story (kind, at, mesh)
         SELECT ?1, ?2, id FROM mesh_open WHERE id IN (SELECT mesh FROM story)",
        (StepKind::Restored, now),
    )?;
    let given_up = tx.execute(
        "UPDATE mesh_outbox SET state = ?1 WHERE id IN (SELECT id FROM mesh_open)",
        [MeshState::Withdrawn],
    )?;
    for forgotten in [
        "DELETE FROM feedback_changed WHERE TRUE",
        "DELETE FROM feedback WHERE TRUE",
        "DELETE FROM unread WHERE TRUE",
        "DELETE FROM backlog_room WHERE TRUE",
        "DELETE FROM expired_room WHERE TRUE",
        "DELETE FROM undecryptable WHERE TRUE",
        "DELETE FROM early_edit WHERE TRUE",
        "DELETE FROM parked WHERE TRUE",
        r#"DELETE FROM room_outbox WHERE content NOT LIKE '%"relay_id":"%'"#,
        "DELETE FROM message_pair
         WHERE room_outbox IS NOT NULL AND room_outbox NOT IN (SELECT id FROM room_outbox)",
    ] {
        tx.run(forgotten, ())?;
    }
    let is_mapped = |name: &OwnedRoomOrAliasId| mapped.is_none_or(|mapped| mapped.contains(name));
    let known = known_rooms::all(tx)?.into_iter();
    let known = known.filter(|(name, _)| is_mapped(name));
    let mut rooms: Vec<OwnedRoomId> = known.map(|it| it.1).collect();
    rooms.sort();
    rooms.dedup();
    for room in &rooms {
        outbox_room::insert(tx, &notice.clone().for_room(room), None, now)?;
    }
    Ok(given_up)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Store;
    use relay_model::{Timestamp, UserId};

    #[test]
    fn a_restored_database_begins_anew_where_it_stopped() {
        let bot = UserId::parse("@relay:example.org").unwrap();
        let mut store = Store::in_memory().unwrap();
        let at = Beginning {
            ours: Timestamp(1_767_225_600_000),
            passed: 0,
            boot: String::new(),
            position: None,
        };
        let begins = Beginning {
            position: Some("s7".to_owned()),
            ..at.clone()
        };
        store
            .transaction(|tx| {
                single_values::set_sync_position(tx, &bot, "s7")?;
                assert_eq!(settle(tx, &at, None, &Notice::default())?, 0);
                assert!(!single_values::has_synced(tx, &bot)?);
                assert_eq!(single_values::beginning(tx, &bot, at)?, begins);
                Ok(())
            })
            .unwrap();
    }

    #[test]
    fn only_rooms_that_the_configuration_has_are_told_of_a_restore() {
        let mut store = Store::in_memory().unwrap();
        let at = Beginning {
            ours: Timestamp(1_767_225_600_000),
            passed: 0,
            boot: String::new(),
            position: None,
        };
        let name = |name: &str| OwnedRoomOrAliasId::try_from(name).unwrap();
        let [one, two] = ["!one:example.org", "!two:example.org"].map(name);
        let alias = name("#hill:example.org");
        store
            .transaction(|tx| {
                for (room, names) in [(&one, [&one, &alias]), (&two, [&two, &two])] {
                    let names = names.map(Clone::clone);
                    known_rooms::remember(tx, room.as_str().try_into().unwrap(), &names)?;
                }
                let notice = Notice::default();
                let told = |tx: &Tx<'_>| tx.value::<usize>("SELECT COUNT(*) FROM room_outbox", ());
                settle(tx, &at, Some(&[alias.clone(), one.clone()]), &notice)?;
                assert_eq!(told(tx)?, 1);
                settle(tx, &at, None, &notice)?;
                assert_eq!(told(tx)?, 2, "the earlier notice is forgotten");
                Ok(())
            })
            .unwrap();
    }
}
