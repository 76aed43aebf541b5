//! Forgets what is old, in small batches. What still waits in an outbox is never touched.

use std::time::Duration;

use super::{StoreError, Tx};
use crate::model::Timestamp;

/// Rows of one table in one batch: few enough that no message waits noticeably for it.
const BATCH: u16 = 500;

/// Nodes of a radio, and direct messages, that are kept at most: a hostile mesh can invent any number.
const MOST_NODES: u32 = 5_000;
const MOST_DIRECT: u32 = 10_000;

/// Forgets one batch of what is older than `keep_days`, but keeps the newest `keep_pairs` pairs and seen ids whatever
/// their age. Returns whether more is left: then call it again, in a transaction of its own.
///
/// # Errors
///
/// When the database fails.
pub fn prune(
    tx: &Tx<'_>,
    now: Timestamp,
    keep_days: u32,
    keep_pairs: u32,
) -> Result<bool, StoreError> {
    let before = now - Duration::from_hours(u64::from(keep_days) * 24);
    let kept = (before, keep_pairs, BATCH);
    let deleted = [
        tx.execute(
            "DELETE FROM message_pair WHERE id IN (
                 SELECT id FROM message_pair
                 WHERE at < ?1 AND room_outbox IS NULL
                     AND id <= (SELECT id FROM message_pair ORDER BY id DESC LIMIT 1 OFFSET ?2)
                     AND NOT EXISTS (SELECT 1 FROM mesh_outbox
                         WHERE mesh_outbox.id = mesh_outbox AND state <= 1)
                 LIMIT ?3)",
            kept,
        )?,
        tx.execute(
            "DELETE FROM seen_packet WHERE (radio, packet, sender) IN (
                 SELECT radio, packet, sender FROM seen_packet
                 WHERE at < ?1 AND at <= (SELECT at FROM seen_packet ORDER BY at DESC LIMIT 1 OFFSET ?2)
                 LIMIT ?3)",
            kept,
        )?,
        tx.execute(
            "DELETE FROM seen_event WHERE event IN (
                 SELECT event FROM seen_event
                 WHERE at < ?1 AND at <= (SELECT at FROM seen_event ORDER BY at DESC LIMIT 1 OFFSET ?2)
                 LIMIT ?3)",
            kept,
        )?,
        tx.execute(
            "DELETE FROM mesh_outbox WHERE id IN (
                 SELECT id FROM mesh_outbox WHERE accepted_at < ?1 AND state > 1
                     AND NOT EXISTS (SELECT 1 FROM message_pair
                         WHERE message_pair.mesh_outbox = mesh_outbox.id)
                 LIMIT ?2)",
            (before, BATCH),
        )?,
        tx.execute(
            "DELETE FROM own_packet WHERE (radio, packet) IN (
                 SELECT radio, packet FROM own_packet WHERE at < ?1 AND outbox IS NULL LIMIT ?2)",
            (before, BATCH),
        )?,
        tx.execute(
            "DELETE FROM told WHERE what IN (SELECT what FROM told WHERE until <= ?1 LIMIT ?2)",
            (now, BATCH),
        )?,
        tx.execute(
            "DELETE FROM direct_message WHERE id IN (
                 SELECT id FROM direct_message
                 WHERE heard_at < ?1
                     OR id <= (SELECT id FROM direct_message ORDER BY id DESC LIMIT 1 OFFSET ?2)
                 LIMIT ?3)",
            (before, MOST_DIRECT, BATCH),
        )?,
        tx.execute(
            "DELETE FROM node WHERE (radio, num) IN (
                 SELECT radio, num FROM node ORDER BY updated_at DESC LIMIT ?2 OFFSET ?1)",
            (MOST_NODES, BATCH),
        )?,
    ];
    Ok(deleted.contains(&usize::from(BATCH)))
}
