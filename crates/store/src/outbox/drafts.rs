//! Drafts: texts for the mesh before they are split into packets. A draft's row stands for the whole message until it is handed
//! to the radio; then it becomes the first packet, and each further packet gets a row of its own. Packets that the radio may
//! know are not changed.

use super::own_packets::{free_packet_id, own_packet};
use crate::{Result, StoreError, Tx, columns::Row, story};
use relay_model::{Draft, Heading, Media, MeshRowId, MeshState, PacketId, StepKind, Timestamp};

/// The number of packets that rows stand for.
macro_rules! packets {
    () => {
        "SUM(CASE draft WHEN 1 THEN parts ELSE 1 END)"
    };
}
pub(crate) use packets;

/// Whether the radio can know none of these rows, and none is withdrawn. `?3` is [`MeshState::Waiting`].
macro_rules! are_unknown {
    () => {
        "SUM(state <> ?3 OR tried > 0) = 0"
    };
}
pub(crate) use are_unknown;

/// Stores what a row is to say, and that no packets have been made of it.
pub(crate) fn set(tx: &Tx<'_>, id: MeshRowId, draft: &Draft) -> Result<()> {
    tx.run(
        "UPDATE mesh_outbox SET draft = 1, text = '', prefix = ?2, label = ?3, source_text = ?4,
             media = ?5, media_word = ?6, correction = ?7, parts = ?8
         WHERE id = ?1",
        (
            id,
            draft.heading.prefix.as_str(),
            draft.heading.label.as_str(),
            draft.text.as_str(),
            draft.media.as_ref().map_or(0, |it| it.count),
            draft.media.as_ref().map(|it| it.word.as_str()),
            draft.correction,
            draft.packets,
        ),
    )
}

/// Reads a row's draft, as a reply to that packet.
pub(crate) fn read(row: &Row<'_>, reply_to: Option<PacketId>) -> rusqlite::Result<Draft> {
    Ok(Draft {
        heading: Heading {
            prefix: row.get("prefix")?,
            label: row.get("label")?,
        },
        text: row.get("source_text")?,
        // Rows of earlier versions lack this column: such a note is sent unchanged.
        media: match row.get("media_word")? {
            Some(word) => Some(Media {
                word,
                count: row.get("media")?,
            }),
            None => None,
        },
        correction: row.get("correction")?,
        reply_to,
        packets: row.get("parts")?,
    })
}

/// Splits a draft into these packets. Content and ids are stored before the first is sent, and stay the same for every retry.
pub fn make_packets(
    tx: &Tx<'_>,
    first: MeshRowId,
    (text, further): (&str, &[String]),
    now: Timestamp,
) -> Result<()> {
    let parts = u8::try_from(further.len()).map_or(u8::MAX, |it| it.saturating_add(1));
    tx.execute(
        "UPDATE mesh_outbox SET draft = 0, text = ?2, parts = ?3 WHERE id = ?1",
        (first, text, parts),
    )?;
    if parts > 1 {
        story::note(tx, first, StepKind::Split, Some(parts.into()), None)?;
    }
    let radio = tx.first(
        "SELECT radio FROM mesh_outbox WHERE id = ?1",
        [first],
        |row| row.get(0),
    )?;
    let Some(radio) = radio else {
        return Ok(());
    };
    for (part, text) in (1_u8..).zip(further) {
        // A copy of the first row with other content.
        let packet = free_packet_id(tx, radio)?;
        let id = MeshRowId(tx.insert(
            "INSERT INTO mesh_outbox (message, part, parts, radio, target_kind, target, channel, bound, lane, tapback,
                 text, packet, not_before, expires, room, event, thread, sender, sent_at, source_text, alert, author,
                 accepted_at, active_at, correction, edited_at, backlog)
             SELECT message, ?2, parts, radio, target_kind, target, channel, bound, lane, tapback,
                 ?3, ?4, not_before, expires, room, event, thread, sender, sent_at, source_text, alert, author,
                 accepted_at, ?5, correction, edited_at, backlog
             FROM mesh_outbox WHERE id = ?1",
            (first, part, text, packet, now),
        )?);
        own_packet(tx, radio, packet, id, now)?;
        tx.execute(
            "INSERT INTO message_pair (origin, radio, sender, packet, target_kind, target, channel, room,
                 event, thread, author, text, alert, part, at, room_outbox, mesh_outbox)
             SELECT origin, radio, sender, ?2, target_kind, target, channel, room, event,
                 thread, author, text, alert, part + ?3, ?4, NULL, ?5
             FROM message_pair WHERE mesh_outbox = ?1 ORDER BY id DESC LIMIT 1",
            (first, packet, part, now, id),
        )?;
    }
    Ok(())
}

/// Turns packets that were handed over but never written to the radio back into a draft.
pub(crate) fn unmake_packets(tx: &Tx<'_>, id: MeshRowId) -> Result<()> {
    let changed = tx.execute(
        "UPDATE mesh_outbox SET draft = 1, text = ''
         WHERE id = (SELECT id FROM mesh_waiting
             WHERE id = ?1 AND part = 0 AND prefix IS NOT NULL AND attempts = 0)",
        [id],
    )?;
    if changed > 0 {
        forget_further_parts(tx, id)?;
    }
    Ok(())
}

/// Changes a waiting message and its entry in the message map; it keeps its place in the queue. Fails with
/// [`StoreError::Known`], without changes, if the radio may know any of it.
pub fn change(tx: &Tx<'_>, message: MeshRowId, draft: &Draft) -> Result<()> {
    // A message is numbered by its first row, so its other rows come after that one.
    let waits = tx.exists(
        concat!(
            "SELECT 1 FROM mesh_outbox WHERE id >= ?1 AND message = ?1 AND state <> ?2
             GROUP BY message HAVING MIN(id) = ?1 AND ",
            are_unknown!()
        ),
        (message, MeshState::Withdrawn, MeshState::Waiting),
    )?;
    if !waits {
        return Err(StoreError::Known(message));
    }
    forget_further_parts(tx, message)?;
    set(tx, message, draft)?;
    story::note(tx, message, StepKind::Changed, None, None)?;
    tx.run(
        "UPDATE message_pair SET text = ?2 WHERE mesh_outbox = ?1",
        (message, draft.text.as_str()),
    )
}

/// Deletes all parts of a message but the first. Their ids are never reused.
fn forget_further_parts(tx: &Tx<'_>, message: MeshRowId) -> Result<()> {
    tx.execute(
        "DELETE FROM message_pair WHERE mesh_outbox IN (
             SELECT id FROM mesh_open WHERE message = ?1 AND part > 0)",
        [message],
    )?;
    tx.run(
        "DELETE FROM mesh_outbox WHERE id IN (
             SELECT id FROM mesh_open WHERE message = ?1 AND part > 0)",
        [message],
    )
}
