//! What another relay has left: names of nodes, and pairs of messages from before the move. Importing twice changes nothing.

use rusqlite::params;

use crate::columns::TO_CHANNEL;
use crate::messages::seen;
use crate::mmrelay::{OldName, OldPair};
use crate::{Result, Tx};
use relay_model::{ChannelIndex, NodeNum, Origin, Timestamp};

/// The sender of a packet of which only the id is known; no node has this number.
const UNKNOWN_SENDER: NodeNum = NodeNum(0);

/// Stores a node's name, unless it has one. Returns whether it was stored.
pub fn add_name(tx: &Tx<'_>, radio: NodeNum, old: &OldName, at: Timestamp) -> Result<bool> {
    let (long, short) = if old.is_short {
        (None, Some(&old.name))
    } else {
        (Some(&old.name), None)
    };
    tx.changes(
        "INSERT INTO node (radio, num, long_name, short_name, licensed, ignored, last_heard, updated_at)
         VALUES (?1, ?2, ?3, ?4, 0, 0, NULL, ?5)
         ON CONFLICT (radio, num) DO UPDATE SET
             long_name = COALESCE(long_name, excluded.long_name),
             short_name = COALESCE(short_name, excluded.short_name)
         WHERE (long_name IS NULL AND excluded.long_name IS NOT NULL)
             OR (short_name IS NULL AND excluded.short_name IS NOT NULL)",
        (radio, old.node, long, short, at),
    )
}

/// Stores a message from before, unless it is there: behind all others, as it is older, and with an unknown channel. Its event
/// counts as decided on, so that it is not transmitted again. Returns whether it was stored.
pub fn add_pair(tx: &Tx<'_>, radio: NodeNum, old: &OldPair, at: Timestamp) -> Result<bool> {
    seen::mark_event(tx, &old.event, at)?;
    tx.changes(
        "INSERT INTO message_pair (id, origin, radio, sender, packet, target_kind, target, channel, room,
             event, thread, author, text, alert, part, at, room_outbox, mesh_outbox)
         SELECT MIN(COALESCE((SELECT MIN(id) FROM message_pair), 1), 1) - 1,
             ?1, ?2, ?3, ?4, ?5, ?6, NULL, ?7, ?8, NULL, NULL, ?9, 0, 0, ?10, NULL, NULL
         WHERE NOT EXISTS (SELECT 1 FROM message_pair WHERE event = ?8 AND packet = ?4)",
        params![
            Origin::Mesh,
            radio,
            UNKNOWN_SENDER,
            old.packet,
            TO_CHANNEL,
            u32::from(ChannelIndex::PRIMARY.number()),
            old.room.as_str(),
            old.event.as_str(),
            &old.text,
            at,
        ],
    )
}
