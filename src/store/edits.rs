//! Changed messages: the forms in which a message of Matrix waits or was sent, and edits that came before their message.
//!
//! A correction is a message of its own in the outbox under the event of the message that it corrects, so that a
//! redaction, a reply or a report finds both.

use rusqlite::Row;

use super::columns::{destination, identifier};
use super::mesh_waiting::{end_waiting, rewrite};
use super::outbox_mesh::{self, free_packet_id, own_packet, payload_columns, read_source};
use super::{StoreError, Tx, feedback};
use crate::model::{
    EarlyEdit, EventId, MeshMessage, MeshRowId, MeshState, NewVersion, NodeNum, OwnedEventId,
    OwnedUserId, PacketId, RadioPayload, RoomId, Timestamp, UserId, Version,
};

/// Early edits that are kept at most: anybody can write edits of messages that never come.
const MOST_EARLY: u32 = 1_000;
/// The parts of corrections count on from here in the message map, so that a reply goes to the message itself.
const PARTS: u8 = 64;

struct Part {
    message: MeshRowId,
    correction: u8,
    state: MeshState,
    tried: bool,
    version: Option<Version>,
}

/// Returns the versions of a message in a room that wait or were sent, the oldest first.
///
/// # Errors
///
/// When the database fails.
pub fn versions(tx: &Tx<'_>, room: &RoomId, event: &EventId) -> Result<Vec<Version>, StoreError> {
    let parts = tx.all(
        "SELECT * FROM mesh_outbox WHERE event = ?1 AND room = ?2 AND tapback = 0 AND state <> 9
         ORDER BY message, part",
        (event.as_str(), room.as_str()),
        read_part,
    )?;
    let mut versions = Vec::new();
    for parts in parts.chunk_by(|one, other| one.message == other.message) {
        let is_over = |part: &Part| matches!(part.state, MeshState::Refused | MeshState::Expired);
        let Some(first) = parts.first() else {
            continue;
        };
        if parts.iter().all(is_over) {
            continue;
        }
        versions.extend(first.version.clone().map(|version| {
            Version {
                correction: first.correction,
                waits: parts
                    .iter()
                    .all(|part| part.state == MeshState::Waiting && !part.tried),
                packets: parts.len(),
                ..version
            }
        }));
    }
    Ok(versions)
}

fn read_part(row: &Row<'_>) -> rusqlite::Result<Part> {
    let message = row.get("message")?;
    let version = match read_source(row)? {
        None => None,
        Some(source) => Some(Version {
            row: message,
            correction: 0,
            waits: false,
            source,
            destination: destination(row)?,
            channel: row.get("channel")?,
            lane: row.get("lane")?,
            packet: row.get("packet")?,
            reply_to: row.get("reference")?,
            packets: 0,
            carried: row.get("text")?,
            accepted_at: row.get("accepted_at")?,
            edited_at: row.get("edited_at")?,
        }),
    };
    Ok(Part {
        message,
        correction: row.get("correction")?,
        state: row.get("state")?,
        tried: row.get("tried")?,
        version,
    })
}

/// Changes a message that waits, for all its parts, of which there may be more or fewer then. It keeps its place. Returns
/// false, and changes nothing, if the radio may know any of it.
///
/// # Errors
///
/// When the database fails.
pub fn rewrite_message(
    tx: &Tx<'_>,
    message: MeshRowId,
    new: &NewVersion,
    now: Timestamp,
) -> Result<bool, StoreError> {
    // A message is named after its first row: no row before that one can be a part of it, and the rows behind are few.
    if tx.exists(
        "SELECT 1 FROM mesh_outbox
         WHERE id >= ?1 AND message = ?1 AND state <> 9 AND (state <> 0 OR tried > 0)",
        [message],
    )? {
        return Ok(false);
    }
    let rows: Vec<MeshRowId> = tx.all(
        "SELECT id FROM mesh_outbox WHERE id >= ?1 AND message = ?1 AND state = 0 ORDER BY part",
        [message],
        |row| row.get(0),
    )?;
    let Some(first) = rows.first() else {
        return Ok(false);
    };
    for (id, payload) in rows.iter().zip(&new.parts) {
        rewrite(tx, *id, payload, Some(&new.text))?;
    }
    for id in rows.iter().skip(new.parts.len()) {
        end_waiting(tx, *id, MeshState::Withdrawn)?;
        tx.execute("DELETE FROM mesh_outbox WHERE id = ?1", [id])?;
    }
    for (part, payload) in (0_u8..).zip(&new.parts).skip(rows.len()) {
        insert_part(tx, *first, part, payload, now)?;
    }
    let parts = u8::try_from(new.parts.len()).unwrap_or(u8::MAX);
    tx.execute(
        "UPDATE mesh_outbox SET parts = ?2, lane = ?3, alert = ?4, not_before = COALESCE(?5, not_before)
         WHERE id >= ?1 AND message = ?1",
        (message, parts, new.lane, new.alert, new.not_before),
    )?;
    tx.execute(
        "UPDATE message_pair SET alert = ?2
         WHERE mesh_outbox IN (SELECT id FROM mesh_outbox WHERE id >= ?1 AND message = ?1)",
        (message, new.alert),
    )?;
    Ok(true)
}

/// Adds a part to a message, like its first one but for what it carries.
fn insert_part(
    tx: &Tx<'_>,
    first: MeshRowId,
    part: u8,
    payload: &RadioPayload,
    now: Timestamp,
) -> Result<(), StoreError> {
    let radio = tx.first(
        "SELECT radio FROM mesh_outbox WHERE id = ?1",
        [first],
        |row| row.get(0),
    )?;
    let Some(radio) = radio else {
        return Ok(());
    };
    let packet = free_packet_id(tx, radio)?;
    let (tapback, text, reference) = payload_columns(payload);
    let id = MeshRowId(tx.insert(
        "INSERT INTO mesh_outbox (message, part, parts, radio, target_kind, target, channel, bound,
             lane, tapback, text, reference, packet, not_before, expires, room, event, thread, sender, sent_at,
             source_text, alert, accepted_at, active_at, correction, backlog)
         SELECT message, ?2, parts, radio, target_kind, target, channel, bound, lane, ?3, ?4, ?5, ?6, not_before,
             expires, room, event, thread, sender, sent_at, source_text, alert, accepted_at, ?7,
             correction, backlog
         FROM mesh_outbox WHERE id = ?1",
        (first, part, tapback, text, reference, packet, now),
    )?);
    own_packet(tx, radio, packet, id, now)?;
    feedback::row_accepted(tx, id)?;
    tx.execute(
        "INSERT INTO message_pair (origin, radio, sender, packet, target_kind, target, channel, room,
             event, thread, author, text, alert, part, at, room_outbox, mesh_outbox)
         SELECT origin, radio, sender, ?2, target_kind, target, channel, room, event,
             thread, author, text, alert, part + ?3, ?4, NULL, ?5
         FROM message_pair WHERE mesh_outbox = ?1 ORDER BY id DESC LIMIT 1",
        (first, packet, part, now, id),
    )?;
    Ok(())
}

/// Accepts a correction of a message that was sent: its `number` is 1 or 2.
///
/// # Errors
///
/// When the database fails.
pub fn insert_correction(
    tx: &Tx<'_>,
    radio: NodeNum,
    new: &MeshMessage,
    number: u8,
    now: Timestamp,
) -> Result<Vec<(MeshRowId, PacketId)>, StoreError> {
    let rows = outbox_mesh::insert(tx, radio, new, now)?;
    for (id, _) in &rows {
        tx.execute(
            "UPDATE mesh_outbox SET correction = ?2 WHERE id = ?1",
            (id, number),
        )?;
        tx.execute(
            "UPDATE message_pair SET part = part + ?2 WHERE mesh_outbox = ?1",
            (id, PARTS.saturating_mul(number)),
        )?;
    }
    Ok(rows)
}

/// Notes when a person wrote an edit of their message: one that they wrote before it changes nothing any more.
///
/// # Errors
///
/// When the database fails.
pub fn edited(
    tx: &Tx<'_>,
    room: &RoomId,
    event: &EventId,
    sender: &UserId,
    sent_at: Timestamp,
) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE mesh_outbox SET edited_at = MAX(COALESCE(edited_at, ?4), ?4)
         WHERE event = ?1 AND room = ?2 AND sender = ?3 AND tapback = 0",
        (event.as_str(), room.as_str(), sender.as_str(), sent_at),
    )?;
    Ok(())
}

/// Keeps an edit whose message has not come yet, or whose correction waits, in place of one that its author wrote before.
///
/// # Errors
///
/// When the database fails.
pub fn keep_early(
    tx: &Tx<'_>,
    target: &EventId,
    room: &RoomId,
    sender: &UserId,
    edit: (&EventId, &EarlyEdit),
    now: Timestamp,
) -> Result<(), StoreError> {
    let (event, edit) = edit;
    tx.execute(
        "INSERT OR REPLACE INTO early_edit (target, room, sender, event, emote, body, sent_at, kept_at)
         SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8 WHERE NOT EXISTS (
             SELECT 1 FROM early_edit WHERE target = ?1 AND sender = ?3 AND sent_at > ?7)",
        (
            target.as_str(),
            room.as_str(),
            sender.as_str(),
            event.as_str(),
            edit.emote,
            edit.body.as_str(),
            edit.sent_at,
            now,
        ),
    )?;
    tx.execute(
        "DELETE FROM early_edit
         WHERE id <= (SELECT id FROM early_edit ORDER BY id DESC LIMIT 1 OFFSET ?1)",
        [MOST_EARLY],
    )?;
    Ok(())
}

/// Returns the edit that a person made of a message of a room before it came.
///
/// # Errors
///
/// When the database fails.
pub fn early(
    tx: &Tx<'_>,
    target: &EventId,
    room: &RoomId,
    sender: &OwnedUserId,
) -> Result<Option<EarlyEdit>, StoreError> {
    tx.first(
        "SELECT emote, body, sent_at FROM early_edit WHERE target = ?1 AND sender = ?2 AND room = ?3",
        (target.as_str(), sender.as_str(), room.as_str()),
        |row| {
            Ok(EarlyEdit {
                emote: row.get(0)?,
                body: row.get(1)?,
                sent_at: row.get(2)?,
            })
        },
    )
}

/// Returns the message of a room that an edit changes which is remembered by [`keep_early`], and who wrote the edit.
///
/// # Errors
///
/// When the database fails.
pub fn target_of(
    tx: &Tx<'_>,
    room: &RoomId,
    edit: &EventId,
) -> Result<Option<(OwnedEventId, OwnedUserId)>, StoreError> {
    tx.first(
        "SELECT target, sender FROM early_edit WHERE event = ?1 AND room = ?2",
        (edit.as_str(), room.as_str()),
        |row| Ok((identifier(row, 0)?, identifier(row, 1)?)),
    )
}

/// Returns the correction of a message that waits, if the radio cannot know any of it.
///
/// # Errors
///
/// When the database fails.
pub fn waiting_correction(
    tx: &Tx<'_>,
    room: &RoomId,
    event: &EventId,
) -> Result<Option<Version>, StoreError> {
    let newest = versions(tx, room, event)?.pop();
    Ok(newest.filter(|version| version.correction > 0 && version.waits))
}

/// Forgets the early edits of a message, and an early edit that was taken away itself.
///
/// # Errors
///
/// When the database fails.
pub fn forget_early(tx: &Tx<'_>, event: &EventId) -> Result<(), StoreError> {
    tx.execute(
        "DELETE FROM early_edit WHERE target = ?1 OR event = ?1",
        [event.as_str()],
    )?;
    Ok(())
}

/// Forgets early edits that were kept before then.
///
/// # Errors
///
/// When the database fails.
pub fn prune_early(tx: &Tx<'_>, before: Timestamp) -> Result<(), StoreError> {
    tx.execute("DELETE FROM early_edit WHERE kept_at < ?1", [before])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Lane, OwnedRoomId};
    use crate::store::mesh_report::{self, accepted, retry, submitted, withdraw};
    use crate::store::samples::*;
    use crate::store::{message_map, outbox_mesh::waiting};

    fn here() -> OwnedRoomId {
        ROOM.try_into().unwrap()
    }

    fn versions_of(tx: &Tx<'_>, name: &str) -> Result<Vec<Version>, StoreError> {
        versions(tx, &here(), &event(name))
    }

    fn payloads(texts: &[&str]) -> Vec<RadioPayload> {
        texts.iter().map(|text| payload(text)).collect()
    }

    fn change(tx: &Tx<'_>, message: MeshRowId, texts: &[&str]) -> Result<bool, StoreError> {
        let new = NewVersion {
            parts: payloads(texts),
            text: "new".to_owned(),
            lane: Lane::Message,
            alert: false,
            not_before: None,
        };
        rewrite_message(tx, message, &new, later(1))
    }

    /// Sends everything that waits, and returns it in its order.
    fn sent(tx: &Tx<'_>) -> Result<Vec<String>, StoreError> {
        let mut texts = Vec::new();
        while let Some(row) = submit_next(tx, later(60))? {
            accepted(tx, row.id, later(60))?;
            if let RadioPayload::Text { text, .. } = row.message.payload {
                texts.push(text);
            }
        }
        Ok(texts)
    }

    fn correct(tx: &Tx<'_>, name: &str, text: &str, number: u8) -> Result<MeshRowId, StoreError> {
        let parts = payloads(&[text]);
        let source = source(name, text);
        let message = MeshMessage {
            not_before: Some(later(10)),
            ..for_mesh(parts, Some(source))
        };
        Ok(insert_correction(tx, RADIO, &message, number, NOON)?[0].0)
    }

    #[test]
    fn a_waiting_message_gets_its_new_text_and_keeps_its_place() {
        on_empty(|tx| {
            let one = accept_for_mesh(tx, "$one:example.org", &["old"], NOW)?[0].0;
            accept_for_mesh(tx, "$two:example.org", &["next"], NOW)?;
            let version = &versions_of(tx, "$one:example.org")?[0];
            assert_eq!(
                (version.row, version.waits, version.packets),
                (one, true, 1)
            );
            assert!(change(tx, one, &["new"])?);
            let pairs = message_map::by_event(tx, &event("$one:example.org"))?;
            assert_eq!((pairs.len(), pairs[0].text.as_str()), (1, "new"));
            assert_eq!(sent(tx)?, ["new", "next"]);
            Ok(())
        });
    }

    #[test]
    fn a_message_can_become_shorter_by_parts() {
        on_empty(|tx| {
            let parts = ["1/3", "2/3", "3/3"];
            let rows = accept_for_mesh(tx, "$one:example.org", &parts, NOW)?;
            accept_for_mesh(tx, "$two:example.org", &["next"], NOW)?;
            assert!(change(tx, rows[0].0, &["whole"])?);
            let version = &versions_of(tx, "$one:example.org")?[0];
            assert_eq!((version.waits, version.packets), (true, 1));
            let pairs = message_map::by_event(tx, &event("$one:example.org"))?;
            assert_eq!(pairs.len(), 1);
            assert_eq!(waiting(tx)?[0].count, 2);
            // The ids that were given away are never given to others.
            assert!(message_map::is_own_packet(tx, RADIO, rows[2].1)?);
            assert_eq!(sent(tx)?, ["whole", "next"]);
            Ok(())
        });
    }

    #[test]
    fn a_message_can_become_longer_by_parts() {
        on_empty(|tx| {
            let one = accept_for_mesh(tx, "$one:example.org", &["whole"], NOW)?[0].0;
            assert!(change(tx, one, &["1/3", "2/3", "3/3"])?);
            let version = &versions_of(tx, "$one:example.org")?[0];
            assert_eq!((version.waits, version.packets), (true, 3));
            let pairs = message_map::by_event(tx, &event("$one:example.org"))?;
            let mut parts: Vec<u8> = pairs.iter().map(|pair| pair.part).collect();
            parts.sort_unstable();
            assert_eq!(parts, [0, 1, 2]);
            let row =
                outbox_mesh::next(tx, CHANNEL, Lane::Message, BACKLOG_SPACING, NOON)?.unwrap();
            assert_eq!(row.part, (0, 3));
            assert_eq!(sent(tx)?, ["1/3", "2/3", "3/3"]);
            Ok(())
        });
    }

    #[test]
    fn nothing_is_changed_that_the_radio_may_know() {
        on_empty(|tx| {
            let rows = accept_for_mesh(tx, "$one:example.org", &["1/2", "2/2"], NOW)?;
            let (id, packet) = rows[0];
            submitted(tx, id, NOON)?;
            for step in 0..3 {
                let version = &versions_of(tx, "$one:example.org")?[0];
                assert!(!version.waits, "step {step}");
                assert!(!change(tx, id, &["new"])?, "step {step}");
                match step {
                    0 => drop(retry(tx, id, packet, NOON, false, "link lost")?),
                    _ => drop(accepted(tx, id, NOON)?),
                }
            }
            assert_eq!(sent(tx)?, ["2/2"]);
            Ok(())
        });
    }

    #[test]
    fn what_was_refused_expired_or_taken_back_is_no_version() {
        on_empty(|tx| {
            let (id, packet) = accept_for_mesh(tx, "$one:example.org", &["one"], NOW)?[0];
            submitted(tx, id, NOON)?;
            mesh_report::refused(tx, id, packet, "no channel")?;
            assert_eq!(versions_of(tx, "$one:example.org")?, []);
            accept_for_mesh(tx, "$two:example.org", &["two"], NOW)?;
            withdraw(tx, &here(), &event("$two:example.org"))?;
            assert_eq!(versions_of(tx, "$two:example.org")?, []);
            let other = RoomId::parse("!other:example.org").unwrap();
            accept_for_mesh(tx, "$three:example.org", &["three"], NOW)?;
            let elsewhere = versions(tx, &other, &event("$three:example.org"))?;
            assert_eq!(elsewhere, []);
            Ok(())
        });
    }

    #[test]
    fn a_correction_stands_for_the_message_and_answers_go_to_the_message() {
        on_empty(|tx| {
            let (id, packet) = accept_for_mesh(tx, "$one:example.org", &["one"], NOW)?[0];
            submitted(tx, id, NOON)?;
            accepted(tx, id, NOON)?;
            let correction = correct(tx, "$one:example.org", "* two", 1)?;
            let versions = versions_of(tx, "$one:example.org")?;
            assert_eq!(versions.len(), 2);
            assert_eq!((versions[0].correction, versions[0].waits), (0, false));
            assert_eq!((versions[1].correction, versions[1].waits), (1, true));
            assert_eq!(versions[1].row, correction);

            let pairs = message_map::by_packet(tx, RADIO, Some(FIRST), versions[1].packet)?;
            assert_eq!(pairs[0].event, Some(event("$one:example.org")));
            let pairs = message_map::by_event(tx, &event("$one:example.org"))?;
            let first = pairs.iter().min_by_key(|pair| pair.part).unwrap();
            assert_eq!(first.packet, packet);

            assert_eq!(withdraw(tx, &here(), &event("$one:example.org"))?.len(), 1);
            assert_eq!(versions_of(tx, "$one:example.org")?.len(), 1);
            Ok(())
        });
    }

    #[test]
    fn an_edit_that_came_first_waits_for_its_message_and_its_author() {
        on_empty(|tx| {
            let (target, edit) = (event("$one:example.org"), event("$edit:example.org"));
            let bob = source("$any:example.org", "").sender;
            let alice: OwnedUserId = "@alice:example.org".try_into().unwrap();
            for (user, body, sent_at) in [
                (&bob, "first", NOON),
                (&bob, "second", later(2)),
                (&bob, "between them", later(1)),
                (&alice, "foreign", later(3)),
            ] {
                let early = EarlyEdit {
                    emote: false,
                    body: body.to_owned(),
                    sent_at,
                };
                keep_early(tx, &target, &here(), user, (&edit, &early), NOON)?;
            }
            let found = early(tx, &target, &here(), &bob)?.unwrap();
            assert_eq!(found.body, "second");
            let other = RoomId::parse("!other:example.org").unwrap();
            assert_eq!(early(tx, &target, &other, &bob)?, None);
            forget_early(tx, &target)?;
            assert_eq!(early(tx, &target, &here(), &bob)?, None);
            Ok(())
        });
    }

    #[test]
    fn early_edits_are_bounded_and_do_not_stay() {
        on_empty(|tx| {
            let bob = source("$any:example.org", "").sender;
            let edit = EarlyEdit {
                emote: true,
                body: "waves".to_owned(),
                sent_at: NOON,
            };
            for number in 0..=MOST_EARLY {
                let target = event(&format!("${number}:example.org"));
                keep_early(tx, &target, &here(), &bob, (&target, &edit), NOON)?;
            }
            let kept = |name: &str| early(tx, &event(name), &here(), &bob);
            assert_eq!(kept("$0:example.org")?, None);
            assert_eq!(kept("$1:example.org")?, Some(edit.clone()));
            prune_early(tx, later(1))?;
            assert_eq!(kept("$1:example.org")?, None);
            Ok(())
        });
    }
}
