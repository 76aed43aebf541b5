//! What happens to packets for the mesh while they wait: taken back, changed, expired, given to another radio.

use rusqlite::Row;

use super::columns::{destination, identifier, target};
use super::mesh_state::set_state;
use super::message_map;
use super::outbox_mesh::{UNKNOWN_RADIO, payload_columns, read_source};
use super::{StoreError, Tx};
use crate::model::{
    ChannelIndex, Destination, EventId, Fingerprint, Lane, MeshRowId, MeshSource, MeshState,
    NodeNum, OwnedRoomId, RadioPayload, RoomId, Timestamp, UserId,
};

/// In the column `withdraw`: to be refused, not taken back.
const REFUSE: u8 = 2;

/// A row whose message is over, for the sign or the notice that its sender gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// The row.
    pub id: MeshRowId,
    /// The row of its message's first part.
    pub message: MeshRowId,
    /// Which part, from 0.
    pub part: u8,
    /// Its lane.
    pub lane: Lane,
    /// The Matrix message behind it; `None` for an answer of our own.
    pub source: Option<MeshSource>,
}

/// Takes back what still waits of an event in a room: the message with its parts, or a tapback. What the radio was asked to take
/// just now is not tried again if it fails. Returns the rows taken back.
///
/// # Errors
///
/// When the database fails.
pub fn withdraw(tx: &Tx<'_>, room: &RoomId, event: &EventId) -> Result<Vec<Ended>, StoreError> {
    let names = (event.as_str(), room.as_str());
    tx.execute(
        "UPDATE mesh_outbox SET withdraw = 1 WHERE event = ?1 AND room = ?2 AND state = 1",
        names,
    )?;
    let rows = ended_rows(
        tx,
        "SELECT * FROM mesh_outbox WHERE event = ?1 AND room = ?2 AND state = 0",
        names,
    )?;
    for row in &rows {
        end_waiting(tx, row.id, MeshState::Withdrawn)?;
    }
    Ok(rows)
}

/// Takes back what still waits of a message, or of a correction: `message` is the row of its first part. Returns the rows
/// taken back.
///
/// # Errors
///
/// When the database fails.
pub fn withdraw_message(tx: &Tx<'_>, message: MeshRowId) -> Result<Vec<Ended>, StoreError> {
    tx.execute(
        "UPDATE mesh_outbox SET withdraw = 1 WHERE message = ?1 AND state <= 1 AND state = 1",
        [message],
    )?;
    let rows = ended_rows(
        tx,
        "SELECT * FROM mesh_outbox WHERE message = ?1 AND state <= 1 AND state = 0",
        [message],
    )?;
    for row in &rows {
        end_waiting(tx, row.id, MeshState::Withdrawn)?;
    }
    Ok(rows)
}

/// Takes back what still waits of a person in a room, as [`withdraw`] does for one event.
///
/// # Errors
///
/// When the database fails.
pub fn withdraw_sender(
    tx: &Tx<'_>,
    room: &RoomId,
    sender: &UserId,
) -> Result<Vec<Ended>, StoreError> {
    let names = (room.as_str(), sender.as_str());
    tx.execute(
        "UPDATE mesh_outbox SET withdraw = 1
         WHERE state <= 1 AND room = ?1 AND sender = ?2 AND state = 1",
        names,
    )?;
    let rows = ended_rows(
        tx,
        "SELECT * FROM mesh_outbox WHERE state <= 1 AND room = ?1 AND sender = ?2 AND state = 0",
        names,
    )?;
    for row in &rows {
        end_waiting(tx, row.id, MeshState::Withdrawn)?;
    }
    Ok(rows)
}

/// Changes what a row carries, and its text in the message map (the text without prefix). Returns false, and changes
/// nothing, if the radio may know the packet already.
///
/// # Errors
///
/// When the database fails.
pub fn rewrite(
    tx: &Tx<'_>,
    id: MeshRowId,
    payload: &RadioPayload,
    text: Option<&str>,
) -> Result<bool, StoreError> {
    let (tapback, sent_text, reference) = payload_columns(payload);
    let changed = tx.execute(
        "UPDATE mesh_outbox SET tapback = ?2, text = ?3, reference = ?4
         WHERE id = ?1 AND state = 0 AND tried = 0",
        (id, tapback, sent_text, reference),
    )?;
    if let (1.., Some(text)) = (changed, text) {
        tx.execute(
            "UPDATE mesh_outbox SET source_text = ?2 WHERE id = ?1",
            (id, text),
        )?;
        tx.execute(
            "UPDATE message_pair SET text = ?2 WHERE mesh_outbox = ?1",
            (id, text),
        )?;
    }
    Ok(changed > 0)
}

/// Returns the texts of a message's packets, in order; `first` is the row of its first part.
pub(super) fn packets_of(tx: &Tx<'_>, first: MeshRowId) -> Result<Vec<String>, StoreError> {
    tx.all(
        "SELECT text FROM mesh_outbox WHERE message = ?1 AND state <= 1 ORDER BY part",
        [first],
        |row| row.get(0),
    )
}

/// Ends what waits and is worthless now. Returns it, oldest first.
///
/// # Errors
///
/// When the database fails.
pub fn expire(tx: &Tx<'_>, now: Timestamp) -> Result<Vec<Ended>, StoreError> {
    let mut rows = ended_rows(
        tx,
        "SELECT * FROM mesh_outbox WHERE state = 0 AND expires <= ?1 ORDER BY expires",
        [now],
    )?;
    rows.sort_by_key(|row| (row.message, row.part));
    for row in &rows {
        end_waiting(tx, row.id, MeshState::Expired)?;
    }
    Ok(rows)
}

/// Returns what the radio's pacer was given and is worthless now: to be called back.
///
/// # Errors
///
/// When the database fails.
pub fn overdue(tx: &Tx<'_>, now: Timestamp) -> Result<Vec<MeshRowId>, StoreError> {
    tx.all(
        "SELECT id FROM mesh_outbox WHERE state <= 1 AND state = 1 AND expires <= ?1",
        [now],
        |row| row.get(0),
    )
}

/// Returns when the next waiting row expires.
///
/// # Errors
///
/// When the database fails.
pub fn next_expiry(tx: &Tx<'_>) -> Result<Option<Timestamp>, StoreError> {
    let expiry = tx.first(
        "SELECT MIN(expires) FROM mesh_outbox WHERE state = 0",
        (),
        |row| row.get(0),
    )?;
    Ok(expiry.flatten())
}

/// Gives everything that waits for a radio to the one that is attached now: messages are accepted before a radio has
/// told its number, and a radio can be replaced. What the old one has sent stays in its name.
///
/// # Errors
///
/// When the database fails.
pub fn adopt_radio(tx: &Tx<'_>, own: NodeNum) -> Result<(), StoreError> {
    let rows: Vec<MeshRowId> = tx.all(
        "SELECT id FROM mesh_outbox WHERE state = 0 AND radio <> ?1",
        [own],
        |row| row.get(0),
    )?;
    for id in rows {
        tx.execute(
            "INSERT OR REPLACE INTO own_packet (radio, packet, outbox, at)
             SELECT ?2, packet, outbox, at FROM own_packet WHERE outbox = ?1",
            (id, own),
        )?;
        // What another radio may have sent is ours for ever.
        tx.execute(
            "DELETE FROM own_packet WHERE outbox = ?1 AND radio = ?2",
            (id, UNKNOWN_RADIO),
        )?;
        tx.execute(
            "UPDATE message_pair SET radio = ?2, sender = ?2 WHERE mesh_outbox = ?1",
            (id, own),
        )?;
        tx.execute("UPDATE mesh_outbox SET radio = ?2 WHERE id = ?1", (id, own))?;
    }
    Ok(())
}

/// A packet of a room that waits for a channel, or that the radio is asked to take there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OnChannel {
    /// Its row.
    pub id: MeshRowId,
    /// The room.
    pub room: OwnedRoomId,
    /// The slot.
    pub slot: ChannelIndex,
    /// What its channel is, where that is known.
    pub channel: Option<Fingerprint>,
    /// It goes to its channel or nowhere: it concerns a message of that channel, or the radio may have sent a part of it
    /// there.
    pub bound: bool,
    /// The radio is asked to take it.
    pub submitted: bool,
    /// It is refused as soon as it waits.
    pub refused: bool,
}

/// The packets, and whether the radio was asked to take a part of their message.
macro_rules! waiting_packets {
    () => {
        "SELECT *, bound OR EXISTS (SELECT 1 FROM mesh_outbox AS part
             WHERE part.event = row.event AND part.message = row.message AND part.attempts > 0) AS stays
         FROM mesh_outbox AS row"
    };
}

/// Returns all packets of rooms that wait for a channel, oldest first.
///
/// # Errors
///
/// When the database fails.
pub fn on_channels(tx: &Tx<'_>) -> Result<Vec<OnChannel>, StoreError> {
    let rows = tx.all(
        concat!(
            waiting_packets!(),
            " WHERE state <= 1 AND room IS NOT NULL ORDER BY id"
        ),
        (),
        read_on_channel,
    )?;
    Ok(rows.into_iter().flatten().collect())
}

/// Returns a packet if it is one that [`on_channels`] returns.
///
/// # Errors
///
/// When the database fails.
pub fn on_channel(tx: &Tx<'_>, id: MeshRowId) -> Result<Option<OnChannel>, StoreError> {
    let row = tx.first(
        concat!(
            waiting_packets!(),
            " WHERE id = ?1 AND state <= 1 AND room IS NOT NULL"
        ),
        [id],
        read_on_channel,
    )?;
    Ok(row.flatten())
}

fn read_on_channel(row: &Row<'_>) -> rusqlite::Result<Option<OnChannel>> {
    let Destination::Channel(slot) = destination(row)? else {
        return Ok(None);
    };
    Ok(Some(OnChannel {
        id: row.get("id")?,
        room: identifier(row, "room")?,
        slot,
        channel: row.get("channel")?,
        bound: row.get("stays")?,
        submitted: row.get::<_, MeshState>("state")? == MeshState::Submitted,
        refused: row.get::<_, u8>("withdraw")? == REFUSE,
    }))
}

/// Has a packet that is not sent yet go to a slot, with this channel, and its answers found there.
///
/// # Errors
///
/// When the database fails.
pub fn move_to(
    tx: &Tx<'_>,
    id: MeshRowId,
    slot: ChannelIndex,
    channel: Option<Fingerprint>,
) -> Result<(), StoreError> {
    let (kind, target) = target(Destination::Channel(slot));
    tx.execute(
        "UPDATE mesh_outbox SET target_kind = ?2, target = ?3, channel = ?4 WHERE id = ?1",
        (id, kind, target, channel),
    )?;
    tx.execute(
        "UPDATE message_pair SET target_kind = ?2, target = ?3, channel = ?4 WHERE mesh_outbox = ?1",
        (id, kind, target, channel),
    )?;
    Ok(())
}

/// Notes that a packet which the radio is asked to take is to be refused if it comes back: it is not tried again.
///
/// # Errors
///
/// When the database fails.
pub fn refuse_later(tx: &Tx<'_>, id: MeshRowId) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE mesh_outbox SET withdraw = ?2 WHERE id = ?1 AND state = 1 AND withdraw = 0",
        (id, REFUSE),
    )?;
    Ok(())
}

/// Returns whether nothing else of a packet's message was refused.
///
/// # Errors
///
/// When the database fails.
pub fn is_first_refused(tx: &Tx<'_>, row: &Ended) -> Result<bool, StoreError> {
    let event = row.source.as_ref().map(|source| source.event.as_str());
    let other = tx.exists(
        "SELECT 1 FROM mesh_outbox WHERE event = ?1 AND message = ?2 AND id <> ?3 AND state = ?4",
        (event, row.message, row.id, MeshState::Refused),
    )?;
    Ok(!other)
}

/// Refuses a packet that waits. Returns it; `None` if it does not wait.
///
/// # Errors
///
/// When the database fails.
pub fn refuse_waiting(tx: &Tx<'_>, id: MeshRowId) -> Result<Option<Ended>, StoreError> {
    let rows = ended_rows(
        tx,
        "SELECT * FROM mesh_outbox WHERE id = ?1 AND state = 0",
        [id],
    )?;
    for row in &rows {
        end_waiting(tx, row.id, MeshState::Refused)?;
    }
    Ok(rows.into_iter().next())
}

/// Ends a row that waits. What was never tried is forgotten by the message map: nobody on the mesh can have it.
pub(super) fn end_waiting(tx: &Tx<'_>, id: MeshRowId, state: MeshState) -> Result<(), StoreError> {
    set_state(tx, id, state)?;
    let tried = tx.exists(
        "SELECT 1 FROM mesh_outbox WHERE id = ?1 AND attempts > 0",
        [id],
    )?;
    if tried {
        Ok(())
    } else {
        message_map::forget_mesh_row(tx, id, None)
    }
}

/// Reads whole rows of the table.
pub(super) fn ended_rows(
    tx: &Tx<'_>,
    sql: &'static str,
    parameters: impl rusqlite::Params,
) -> Result<Vec<Ended>, StoreError> {
    tx.all(sql, parameters, |row| {
        Ok(Ended {
            id: row.get("id")?,
            message: row.get("message")?,
            part: row.get("part")?,
            lane: row.get("lane")?,
            source: read_source(row)?,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::PacketId;
    use crate::store::mesh_report::{Retried, recover, retry, state, submitted};
    use crate::store::samples::*;
    use crate::store::{message_map, outbox_mesh};

    fn here() -> crate::model::OwnedRoomId {
        source("$any:example.org", "").room
    }

    #[test]
    fn a_redaction_takes_back_all_parts_that_wait_and_their_pairs() {
        on_empty(|tx| {
            accept_for_mesh(tx, "$one:example.org", &["1/2", "2/2"], NOW)?;
            accept_for_mesh(tx, "$two:example.org", &["next"], NOW)?;
            let taken = withdraw(tx, &here(), &event("$one:example.org"))?;
            assert_eq!(taken.len(), 2);
            // Only to which channel it belongs is still known.
            let pairs = message_map::by_event(tx, &event("$one:example.org"))?;
            let kept: Vec<_> = pairs
                .iter()
                .map(|it| (it.packet, it.channel, it.text.as_str()))
                .collect();
            assert_eq!(kept, [(PacketId::NONE, Some(FIRST), "")]);
            let next = submit_next(tx, NOON)?.unwrap();
            assert_eq!(next.message.payload, payload("next"));
            Ok(())
        });
    }

    #[test]
    fn nobody_takes_back_what_was_written_in_another_room() {
        on_empty(|tx| {
            accept_for_mesh(tx, "$one:example.org", &["hello"], NOW)?;
            let other = RoomId::parse("!other:example.org").unwrap();
            assert_eq!(withdraw(tx, &other, &event("$one:example.org"))?, []);
            assert!(submit_next(tx, NOON)?.is_some());
            Ok(())
        });
    }

    #[test]
    fn what_is_taken_back_while_the_radio_has_it_is_not_tried_again() {
        on_empty(|tx| {
            let rows = accept_for_mesh(tx, "$one:example.org", &["1/2", "2/2"], NOW)?;
            let (id, packet) = rows[0];
            submitted(tx, id, NOON)?;
            let taken = withdraw(tx, &here(), &event("$one:example.org"))?;
            assert_eq!(taken.len(), 1);
            let retried = retry(tx, id, packet, NOON, true, "too fast")?;
            assert_eq!(retried, Retried::Withdrawn);
            assert_eq!(state(tx, id)?, Some(MeshState::Withdrawn));

            let (id, _) = accept_for_mesh(tx, "$two:example.org", &["hello"], NOW)?[0];
            submitted(tx, id, NOON)?;
            withdraw(tx, &here(), &event("$two:example.org"))?;
            recover(tx)?;
            assert_eq!(state(tx, id)?, Some(MeshState::Withdrawn));
            Ok(())
        });
    }

    #[test]
    fn a_ban_takes_back_what_its_target_wrote_in_that_room() {
        on_empty(|tx| {
            accept_for_mesh(tx, "$one:example.org", &["hello"], NOW)?;
            let alice = UserId::parse("@alice:example.org").unwrap();
            assert_eq!(withdraw_sender(tx, &here(), &alice)?, []);
            let bob = source("$one:example.org", "").sender;
            assert_eq!(withdraw_sender(tx, &here(), &bob)?.len(), 1);
            assert_eq!(submit_next(tx, NOON)?, None);
            Ok(())
        });
    }

    #[test]
    fn a_text_can_be_changed_until_the_radio_may_know_it() {
        on_empty(|tx| {
            let (id, packet) = accept_for_mesh(tx, "$one:example.org", &["helo"], NOW)?[0];
            assert!(rewrite(tx, id, &payload("hello!"), Some("hello!"))?);
            let pairs = message_map::by_event(tx, &event("$one:example.org"))?;
            assert_eq!(pairs[0].text, "hello!");
            let row = submit_next(tx, NOON)?.unwrap();
            assert_eq!(row.message.payload, payload("hello!"));
            assert_eq!(
                row.source.map(|source| source.text).as_deref(),
                Some("hello!")
            );

            assert!(!rewrite(tx, id, &payload("late"), None)?);
            // The radio may have sent this id: another text under it would be dropped as a copy.
            retry(tx, id, packet, NOON, false, "link lost")?;
            assert!(!rewrite(tx, id, &payload("late"), None)?);
            submit_next(tx, NOON)?;
            retry(tx, id, packet, NOON, true, "too fast")?;
            assert!(rewrite(tx, id, &payload("in time"), None)?);
            Ok(())
        });
    }

    #[test]
    fn what_is_too_old_expires_and_names_its_message() {
        on_empty(|tx| {
            let soon = When {
                expires: later(10),
                ..NOW
            };
            let (id, _) = accept_for_mesh(tx, "$one:example.org", &["old"], soon)?[0];
            accept_for_mesh(tx, "$two:example.org", &["new"], NOW)?;
            assert_eq!(next_expiry(tx)?, Some(later(10)));
            assert_eq!(expire(tx, later(9))?, []);
            let expired = expire(tx, later(10))?;
            assert_eq!(expired.len(), 1);
            assert_eq!(expired[0].id, id);
            assert_eq!(expired[0].source, Some(source("$one:example.org", "hello")));
            assert_eq!(expire(tx, later(10))?, []);
            assert_eq!(next_expiry(tx)?, Some(NOW.expires));
            Ok(())
        });
    }

    #[test]
    fn what_was_accepted_without_a_radio_belongs_to_the_first_that_comes() {
        on_empty(|tx| {
            let message = for_mesh(
                vec![payload("hello")],
                Some(source("$one:example.org", "hello")),
            );
            let (_, packet) = outbox_mesh::insert(tx, UNKNOWN_RADIO, &message, NOON)?[0];
            adopt_radio(tx, RADIO)?;
            adopt_radio(tx, RADIO)?;
            assert!(message_map::is_own_packet(tx, RADIO, packet)?);
            assert!(!message_map::is_own_packet(tx, UNKNOWN_RADIO, packet)?);
            let pairs = message_map::by_event(tx, &event("$one:example.org"))?;
            assert_eq!(pairs[0].sender, RADIO);
            assert_eq!(submit_next(tx, NOON)?.unwrap().packet, packet);
            Ok(())
        });
    }

    #[test]
    fn what_the_radio_holds_is_called_back_when_it_is_too_old() {
        on_empty(|tx| {
            let (id, _) = accept_for_mesh(tx, "$one:example.org", &["old"], NOW)?[0];
            assert_eq!(overdue(tx, NOW.expires)?, []);
            submitted(tx, id, NOON)?;
            assert_eq!(overdue(tx, NOON)?, []);
            assert_eq!(overdue(tx, NOW.expires)?, [id]);
            assert_eq!(expire(tx, NOW.expires)?, [], "it may be on the air");
            Ok(())
        });
    }
}
