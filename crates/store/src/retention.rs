//! Deletes old rows in small batches. Rows that wait in an outbox are never deleted.

use std::time::Duration;

use super::{Result, Tx, cooldown};
use relay_model::Timestamp;

/// Maximum rows of one table in a batch, so that the database is not blocked noticeably.
const BATCH: u16 = 500;

/// Maximum nodes of a radio, and direct messages, kept: a hostile mesh can invent any number.
const MOST_NODES: u32 = 5_000;
const MOST_DIRECT: u32 = 10_000;
/// Maximum steps of stories kept, about 20 MB.
const MOST_STEPS: u32 = 200_000;
/// Maximum permanent cooldown entries kept: a hostile server can invent any number of people. Beyond that they are told again.
const MOST_TOLD: u32 = 10_000;

/// Deletes a batch of rows older than `keep_days`, except the newest `keep_pairs` pairs and seen ids. Returns whether more is
/// left: then call again in another transaction.
pub fn prune(tx: &Tx<'_>, now: Timestamp, keep_days: u32, keep_pairs: u64) -> Result<bool> {
    let before = now - Duration::from_hours(u64::from(keep_days) * 24);
    let mut deleted = Vec::new();
    // Skip the scan if there is no limit.
    if let Ok(keep) = i64::try_from(keep_pairs) {
        for sql in OLD_BUT_NEWEST {
            deleted.push(tx.execute(sql, (before, BATCH, keep))?);
        }
    }
    for sql in OLD {
        deleted.push(tx.execute(sql, (before, BATCH))?);
    }
    deleted.extend([
        tx.execute(
            "DELETE FROM told WHERE what IN (
                 SELECT what FROM told WHERE until <= ?1 OR (until > ?2 AND until <> ?3) LIMIT ?4)",
            (now, now + cooldown::LONGEST, Timestamp::NEVER, BATCH),
        )?,
        tx.execute(
            "DELETE FROM told WHERE what IN (
                 SELECT what FROM told WHERE until = ?1 LIMIT ?3 OFFSET ?2)",
            (Timestamp::NEVER, MOST_TOLD, BATCH),
        )?,
        tx.execute(
            "DELETE FROM direct_message WHERE id IN (
                 SELECT id FROM direct_message
                 WHERE heard_at < ?1
                     OR id <= (SELECT id FROM direct_message ORDER BY id DESC LIMIT 1 OFFSET ?2)
                 LIMIT ?3)",
            (before, MOST_DIRECT, BATCH),
        )?,
        // Their ids stand in the order of their times, but for those that were written while the clock was wrong: an index of
        // the times would be half as large as the steps themselves.
        tx.execute(
            "DELETE FROM story WHERE id IN (
                 SELECT id FROM (SELECT id, at FROM story ORDER BY id LIMIT ?2) WHERE at < ?1)",
            (before, BATCH),
        )?,
        tx.execute(
            "DELETE FROM story WHERE id IN (
                 SELECT id FROM story
                 WHERE id <= (SELECT MAX(id) FROM story) - ?1 ORDER BY id LIMIT ?2)",
            (MOST_STEPS, BATCH),
        )?,
        tx.execute(
            "DELETE FROM node WHERE (radio, num) IN (
                 SELECT radio, num FROM node ORDER BY updated_at DESC LIMIT ?2 OFFSET ?1)",
            (MOST_NODES, BATCH),
        )?,
    ]);
    Ok(deleted.contains(&usize::from(BATCH)))
}

/// Statements that delete rows older than `?1`.
const OLD: [&str; 6] = [
    "DELETE FROM mesh_outbox WHERE id IN (
         SELECT id FROM mesh_closed WHERE accepted_at < ?1
             AND NOT EXISTS (SELECT 1 FROM message_pair WHERE message_pair.mesh_outbox = mesh_closed.id)
         LIMIT ?2)",
    "DELETE FROM own_packet WHERE (radio, packet) IN (
         SELECT radio, packet FROM own_packet WHERE at < ?1 AND outbox IS NULL LIMIT ?2)",
    "DELETE FROM feedback WHERE event IN (
         SELECT event FROM feedback WHERE at < ?1
             AND NOT EXISTS (SELECT 1 FROM mesh_open WHERE mesh_open.event = feedback.event)
         LIMIT ?2)",
    "DELETE FROM unread WHERE number IN (
         SELECT number FROM unread WHERE at < ?1
             AND NOT EXISTS (SELECT 1 FROM mesh_open WHERE mesh_open.event = unread.event)
         LIMIT ?2)",
    "DELETE FROM receipt WHERE (room, thread) IN (
         SELECT room, thread FROM receipt WHERE at < ?1 LIMIT ?2)",
    "DELETE FROM avatar WHERE (account, node, encrypted) IN (
         SELECT account, node, encrypted FROM avatar WHERE at < ?1 LIMIT ?2)",
];

/// The statements for tables of which the newest `?3` rows stay, whatever their age. `+id` keeps SQLite from reading the
/// whole table along its ids instead of what is old along its times.
const OLD_BUT_NEWEST: [&str; 3] = [
    "DELETE FROM message_pair WHERE id IN (
         SELECT id FROM message_pair
         WHERE at < ?1 AND room_outbox IS NULL
             AND +id <= (SELECT id FROM message_pair ORDER BY id DESC LIMIT 1 OFFSET ?3)
             AND NOT EXISTS (SELECT 1 FROM mesh_open WHERE mesh_open.id = mesh_outbox)
         LIMIT ?2)",
    "DELETE FROM seen_packet WHERE (radio, packet, sender) IN (
         SELECT radio, packet, sender FROM seen_packet
         WHERE at < ?1 AND (at, radio, packet, sender) <= (
             SELECT at, radio, packet, sender FROM seen_packet
             ORDER BY at DESC, radio DESC, packet DESC, sender DESC LIMIT 1 OFFSET ?3)
         LIMIT ?2)",
    "DELETE FROM seen_event WHERE event IN (
         SELECT event FROM seen_event
         WHERE at < ?1 AND (at, event) <= (
             SELECT at, event FROM seen_event ORDER BY at DESC, event DESC LIMIT 1 OFFSET ?3)
         LIMIT ?2)",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::messages::message_map;
    use crate::messages::seen;
    use crate::nodes;
    use crate::outbox::mesh_report::{accepted, submitted};
    use crate::outbox::outbox_room;
    use crate::shown::feedback;
    use crate::shown::receipts;
    use crate::test_rows::*;
    use relay_model::{EventId, Node, NodeNum, PacketId};

    const DAYS: u32 = 30;

    /// Tables that need no pruning, and why.
    const BOUNDED: &[(&str, &str)] = &[
        ("room_outbox", "a row goes when the server has it"),
        ("parked", "one row for each room"),
        ("meta", "single values"),
        ("feedback_changed", "emptied by the next batch"),
        ("feedback_forbidden", "one row for each room"),
        ("backlog_room", "one row for each room"),
        (
            "mesh_turn",
            "one row for each sender, while something waits",
        ),
        ("expired_room", "one row for each room, until it is told"),
        ("gap", "a few rows for each mapped room at most"),
        ("known_room", "one row for each mapped room"),
        ("mapped_room", "one row for each room that was ever mapped"),
        ("outage", "one row at most"),
        (
            "outage_told",
            "one row for each room, until it is told of the end",
        ),
        ("undecryptable", "`undecryptable::prune`"),
        ("early_edit", "`edits::prune_early`"),
    ];

    #[test]
    fn no_table_grows_for_ever() {
        on_empty(|tx| {
            let tables = tx.all(
                "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'",
                (),
                |row| row.get::<_, String>(0),
            )?;
            let source = include_str!("retention.rs");
            for table in tables {
                let pruned = source.contains(&format!("DELETE FROM {table} "));
                let bounded = BOUNDED.iter().any(|(name, _)| *name == table);
                assert!(
                    pruned != bounded,
                    "{table} is forgotten by `prune`, or stands in `BOUNDED`, the list of those that need not be"
                );
            }
            Ok(())
        });
    }

    #[test]
    fn what_is_old_is_found_without_reading_what_is_not() {
        on_empty(|tx| {
            for sql in OLD_BUT_NEWEST.iter().chain(&OLD) {
                let plan = format!("EXPLAIN QUERY PLAN {sql}").leak();
                let last = if sql.contains("?3") { 3 } else { 2 };
                let values = rusqlite::params_from_iter(1..=last);
                let steps = tx.all(plan, values, |row| row.get::<_, String>(3))?;
                let steps = steps.join("\n");
                assert!(steps.contains("at<?)"), "{sql}\n{steps}");
            }
            Ok(())
        });
    }

    fn days(days: u64) -> Timestamp {
        NOON + Duration::from_hours(24 * days)
    }

    fn prune_all(tx: &Tx<'_>, now: Timestamp, keep_pairs: u64) -> Result<()> {
        while prune(tx, now, DAYS, keep_pairs)? {}
        // Rows referenced by other tables are deleted in the next round.
        while prune(tx, now, DAYS, keep_pairs)? {}
        Ok(())
    }

    fn send_all(tx: &Tx<'_>, count: u32) -> Result<()> {
        for number in 1..=count {
            let id = accept_for_room(tx, ROOM, number, "hello")?;
            let event = EventId::parse(format!("${number}:example.org")).unwrap();
            outbox_room::sent(tx, id, Some(&event))?;
            seen::mark_event(tx, &event, NOON)?;
            seen::mark_packet(tx, RADIO, ALICE, PacketId(number), NOON)?;
        }
        Ok(())
    }

    #[test]
    fn what_is_old_goes_and_what_is_young_stays() {
        on_empty(|tx| {
            send_all(tx, 3)?;
            prune_all(tx, days(30), 0)?;
            assert!(seen::has_packet(tx, ALICE, PacketId(1))?);
            prune_all(tx, days(31), 0)?;
            for number in 1..=3 {
                let event = EventId::parse(format!("${number}:example.org")).unwrap();
                assert!(!seen::has_packet(tx, ALICE, PacketId(number))?);
                assert!(!seen::has_event(tx, &event)?);
                assert_eq!(message_map::by_event(tx, &event)?, []);
            }
            Ok(())
        });
    }

    #[test]
    fn the_newest_pairs_and_seen_ids_stay_whatever_their_age() {
        on_empty(|tx| {
            send_all(tx, 5)?;
            prune_all(tx, days(400), 2)?;
            let pairs = |number: u32| {
                message_map::by_packet(tx, RADIO, Some(FIRST), PacketId(number)).map(|it| it.len())
            };
            assert_eq!((pairs(3)?, pairs(4)?, pairs(5)?), (0, 1, 1));
            assert_eq!(tx.value::<u64>("SELECT COUNT(*) FROM seen_event", ())?, 2);
            assert_eq!(tx.value::<u64>("SELECT COUNT(*) FROM seen_packet", ())?, 2);
            Ok(())
        });
    }

    #[test]
    fn what_waits_in_an_outbox_stays_whatever_its_age() {
        on_empty(|tx| {
            let to_room = accept_for_room(tx, ROOM, 1, "hello")?;
            let rows = accept_for_mesh(tx, "$one:example.org", &["hello"], NOW)?;
            prune_all(tx, days(400), 0)?;
            assert_eq!(outbox_room::room_of(tx, to_room)?, Some(room(ROOM)));
            assert_eq!(
                message_map::by_event(tx, &event("$one:example.org"))?.len(),
                1
            );
            assert!(message_map::is_own_packet(tx, RADIO, rows[0].1)?);

            submitted(tx, rows[0].0, NOON)?;
            accepted(tx, rows[0].0, NOON)?;
            prune_all(tx, days(400), 0)?;
            assert_eq!(message_map::by_event(tx, &event("$one:example.org"))?, []);
            assert!(!message_map::is_own_packet(tx, RADIO, rows[0].1)?);
            assert_eq!(tx.value::<u64>("SELECT COUNT(*) FROM mesh_outbox", ())?, 0);
            Ok(())
        });
    }

    #[test]
    fn signs_and_receipts_go_with_their_messages() {
        on_empty(|tx| {
            let room_id = source("$one:example.org").room;
            let rows = accept_for_mesh(tx, "$one:example.org", &["hello"], NOW)?;
            let count = |tx: &Tx<'_>| {
                tx.value::<u64>(
                    "SELECT (SELECT COUNT(*) FROM feedback) + (SELECT COUNT(*) FROM unread)
                         + (SELECT COUNT(*) FROM receipt)",
                    (),
                )
            };
            feedback::want(
                tx,
                &room_id,
                &event("$one:example.org"),
                Some(relay_model::Sign::Waiting),
                NOON,
            )?;
            receipts::arrived(tx, &room_id, &event("$one:example.org"), None, NOON)?;
            prune_all(tx, days(400), 0)?;
            assert_eq!(count(tx)?, 2);
            submitted(tx, rows[0].0, NOON)?;
            accepted(tx, rows[0].0, NOON)?;
            receipts::read(tx, &event("$one:example.org"), NOON)?;
            prune_all(tx, days(30), 0)?;
            assert_eq!(count(tx)?, 2);
            prune_all(tx, days(31), 0)?;
            assert_eq!(count(tx)?, 0);
            Ok(())
        });
    }

    #[test]
    fn without_a_limit_to_how_many_are_kept_none_is_forgotten() {
        on_empty(|tx| {
            send_all(tx, 5)?;
            prune_all(tx, days(400), u64::MAX)?;
            assert_eq!(tx.value::<u64>("SELECT COUNT(*) FROM message_pair", ())?, 5);
            assert_eq!(tx.value::<u64>("SELECT COUNT(*) FROM seen_packet", ())?, 5);
            Ok(())
        });
    }

    #[test]
    fn one_batch_is_small_and_says_that_more_is_left() {
        on_empty(|tx| {
            let many = u32::from(BATCH) + 1;
            for number in 1..=many {
                seen::mark_packet(tx, RADIO, ALICE, PacketId(number), NOON)?;
            }
            assert!(prune(tx, days(400), DAYS, 0)?);
            assert_eq!(tx.value::<u64>("SELECT COUNT(*) FROM seen_packet", ())?, 1);
            assert!(!prune(tx, days(400), DAYS, 0)?);
            assert_eq!(tx.value::<u64>("SELECT COUNT(*) FROM seen_packet", ())?, 0);
            Ok(())
        });
    }

    #[test]
    fn invented_nodes_do_not_fill_the_disk() {
        on_empty(|tx| {
            let invented: Vec<Node> = (0..MOST_NODES + 10)
                .map(|number| Node::unknown(NodeNum(number)))
                .collect();
            nodes::update(tx, RADIO, &invented, NOON)?;
            nodes::update(tx, RADIO, &[Node::unknown(ALICE)], later(1))?;
            prune_all(tx, later(1), 0)?;
            let kept = nodes::all(tx, RADIO)?;
            assert_eq!(kept.len(), usize::try_from(MOST_NODES).unwrap());
            assert!(kept.iter().any(|node| node.num == ALICE));
            Ok(())
        });
    }

    #[test]
    fn what_was_said_is_forgotten_at_its_time() {
        on_empty(|tx| {
            cooldown::start(tx, "a", later(10))?;
            // By a clock that was ahead.
            cooldown::start(tx, "b", days(400))?;
            prune(tx, later(9), DAYS, 0)?;
            assert_eq!(tx.value::<u64>("SELECT COUNT(*) FROM told", ())?, 1);
            prune(tx, later(10), DAYS, 0)?;
            assert_eq!(tx.value::<u64>("SELECT COUNT(*) FROM told", ())?, 0);
            Ok(())
        });
    }

    #[test]
    fn what_was_said_for_good_is_forgotten_only_where_it_was_said_to_too_many() {
        on_empty(|tx| {
            for number in 0..MOST_TOLD + 3 {
                cooldown::start(tx, &format!("off_air @user{number}:x"), Timestamp::NEVER)?;
            }
            prune(tx, days(400), DAYS, 0)?;
            let kept = tx.value::<u64>("SELECT COUNT(*) FROM told", ())?;
            assert_eq!(kept, u64::from(MOST_TOLD));
            Ok(())
        });
    }
}
