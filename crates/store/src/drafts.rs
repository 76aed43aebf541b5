//! A text for the mesh until it becomes packets, and how it does: its row stands for the whole message until the radio is
//! asked to take it. Then that row is the first packet, and each further one has a row of its own. What the radio may know
//! stays as it is.

use super::columns::Row;
use super::own_packets::{free_packet_id, own_packet};
use super::{Result, StoreError, Tx};
use relay_model::{Draft, Heading, Media, MeshRowId, MeshState, PacketId, Timestamp};

/// How many packets rows stand for.
macro_rules! packets {
    () => {
        "SUM(CASE draft WHEN 1 THEN parts ELSE 1 END)"
    };
}
pub(super) use packets;

/// Whether the radio can know none of these rows, of which no withdrawn one is. `?3` is [`MeshState::Waiting`].
macro_rules! are_unknown {
    () => {
        "SUM(state <> ?3 OR tried > 0) = 0"
    };
}
pub(super) use are_unknown;

/// Writes down what a row says.
pub(super) fn set(tx: &Tx<'_>, id: MeshRowId, draft: &Draft) -> Result<()> {
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

/// Reads what a row says, as an answer to that packet.
pub(super) fn read(row: &Row<'_>, reply_to: Option<PacketId>) -> rusqlite::Result<Draft> {
    Ok(Draft {
        heading: Heading {
            prefix: row.get("prefix")?,
            label: row.get("label")?,
        },
        text: row.get("source_text")?,
        // An earlier relay did not keep the word: such a note goes as it is.
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

/// Makes these packets of a text, the first one and further ones, all at once: what they carry holds for every try, and their
/// ids are stored before the first.
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
    let radio = tx.first(
        "SELECT radio FROM mesh_outbox WHERE id = ?1",
        [first],
        |row| row.get(0),
    )?;
    let Some(radio) = radio else {
        return Ok(());
    };
    for (part, text) in (1_u8..).zip(further) {
        // Like the first one but for what it carries.
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

/// Has a message that was handed over and never written to the radio, under whichever id, become packets anew when it is
/// handed over again.
pub(super) fn unmake_packets(tx: &Tx<'_>, id: MeshRowId) -> Result<()> {
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

/// Changes what a message says that waits, and what the message map knows of that. It keeps its place. Fails, and
/// changes nothing, if the radio may know any of it ([`StoreError::Known`]): who asks for it has just seen that it waits.
pub fn change(tx: &Tx<'_>, message: MeshRowId, draft: &Draft) -> Result<()> {
    // A message is named after its first row: no row before that one can be a part of it, and the rows behind are few.
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
    tx.run(
        "UPDATE message_pair SET text = ?2 WHERE mesh_outbox = ?1",
        (message, draft.text.as_str()),
    )
}

/// Forgets all parts of a message but the first. Their ids are never used again.
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
