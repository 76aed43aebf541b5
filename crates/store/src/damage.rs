//! Damaged rows: a value has another type than its column. An UPDATE that touches such a row fails for all rows.

use rusqlite::ffi::SQLITE_CONSTRAINT_DATATYPE;
use tracing::error;

use super::{Result, Tx, columns::place};
use relay_model::{Lane, MeshState, PacketId, Sign};

/// Returns whether a statement failed because of a value's type.
pub(super) fn is_of_type(error: &rusqlite::Error) -> bool {
    let error = error.sqlite_error();
    error.is_some_and(|it| it.extended_code == SQLITE_CONSTRAINT_DATATYPE)
}

/// Ends all such rows; senders of packets are told as far as the rows can be read. Returns whether there were any.
pub(super) fn end_rows(tx: &Tx<'_>) -> Result<bool> {
    // Not in the tables of positions, gaps and known rooms: a deleted row there would mean that nothing is missing or known,
    // and no UPDATE touches more than one row. `mesh_outbox` is last, as its rows' end changes other tables, repaired by then.
    let mut tables = tx.connection.prepare(
        "SELECT it.name, group_concat(
             'typeof(\"' || c.name || '\") NOT IN (''null'', ''' || lower(c.type) || ''')', ' OR ')
         FROM sqlite_schema AS it JOIN pragma_table_info(it.name) AS c
         WHERE it.type = 'table' AND it.name NOT LIKE 'sqlite_%'
             AND it.name NOT IN ('gap', 'known_room', 'meta', 'seen_event', 'seen_packet', 'told')
         GROUP BY it.name ORDER BY it.name = 'mesh_outbox'",
    )?;
    let tables = tables.query_map((), |row| Ok((row.get(0)?, row.get(1)?)))?;
    let tables: Vec<(String, String)> = tables.collect::<rusqlite::Result<_>>()?;
    let mut any = false;
    for (table, damaged) in tables {
        let rows = format!("SELECT * FROM \"{table}\" WHERE {damaged}");
        let mut rows = tx.connection.prepare(&rows)?;
        let rows = rows.query_map((), |row| Ok(place(row)))?;
        let rows = rows.collect::<rusqlite::Result<Vec<_>>>()?;
        if rows.is_empty() {
            continue;
        }
        any = true;
        let end = match table.as_str() {
            "mesh_outbox" => end_packets(&damaged),
            // All columns needed for sending are readable.
            "room_outbox" => format!(
                "UPDATE room_outbox SET send_as = NULL, attempts = 0, tried_at = NULL, error = NULL, accepted_at = 0
                 WHERE ({damaged})
                     AND typeof(room) = 'text' AND typeof(txn) = 'text' AND typeof(content) = 'text';
                 DELETE FROM message_pair WHERE room_outbox IN (SELECT id FROM room_outbox WHERE {damaged});"
            ),
            // What waits for the room is kept for another as before; until that room is known, only a protected one takes its
            // place.
            "mapped_room" => format!(
                "UPDATE mapped_room SET alias = NULL, encrypted = 1, public = 0, replaced = 0, successor = NULL, heir = NULL
                 WHERE ({damaged}) AND typeof(room) = 'text' AND typeof(waits) IN ('text', 'null');"
            ),
            // Do not show a sign twice.
            "feedback" => format!(
                "INSERT OR REPLACE INTO feedback (event, room, at, closed)
                 SELECT event, room, at, 1 FROM feedback WHERE ({damaged})
                     AND typeof(event) = 'text' AND typeof(room) = 'text' AND typeof(at) = 'integer';"
            ),
            _ => String::new(),
        };
        let delete = format!("{end} DELETE FROM \"{table}\" WHERE {damaged}");
        tx.connection.execute_batch(&delete)?;
        tx.log(move || {
            for (room, event_id) in rows {
                error!(%table, room, event_id, "a damaged row is given up; please report this");
            }
        });
    }
    Ok(any)
}

/// Marks the messages of damaged waiting packets for their senders, leaves the signs of all others, and removes the packets
/// from the message map.
fn end_packets(damaged: &str) -> String {
    let (waiting, reaction) = (MeshState::Waiting as u8, Lane::Reaction as u8);
    let (refused, none) = (Sign::Refused.key(), PacketId::NONE);
    format!(
        "INSERT INTO feedback (event, room, given, at)
         SELECT event, room, '{refused}', accepted_at FROM mesh_outbox
         WHERE ({damaged}) AND state = {waiting} AND lane <> {reaction}
             AND typeof(event) = 'text' AND typeof(room) = 'text' AND typeof(accepted_at) = 'integer'
         ON CONFLICT (event) DO UPDATE SET given = excluded.given;
         INSERT OR IGNORE INTO feedback_changed (event)
         SELECT event FROM mesh_open WHERE ({damaged}) AND typeof(event) = 'text';
         UPDATE message_pair SET packet = {none}, text = '', alert = 0
         WHERE mesh_outbox IN (SELECT id FROM mesh_open WHERE {damaged});"
    )
}
