//! Changes to packets while they wait for the mesh: withdrawn, expired, moved, assigned to another radio.

use super::mesh_state::{Ended, end_all, end_waiting, readable};
use super::{mesh_facts::row_message, own_packets::UNKNOWN_RADIO};
use crate::columns::{Row, TO_CHANNEL, target, unreadable};
use crate::{Result, Tx, story};
use relay_model::{
    ChannelIndex, Destination, EventId, Fingerprint, MeshRowId, MeshState, NodeNum, RoomId,
    StepKind, Timestamp, UserId, WaitingPacket,
};

/// Value of the column `withdraw` of a submitted row: retry if the radio returns it.
const TRY_AGAIN: u8 = 0;
/// Value of the column `withdraw`: withdraw the row if the radio returns it.
pub(crate) const TAKE_BACK: u8 = 1;
/// Value of the column `withdraw`: refuse the row if the radio returns it.
const REFUSE: u8 = 2;

/// Which rows for the mesh to withdraw.
#[derive(Debug, Clone, Copy)]
pub enum Withdrawal<'a> {
    /// An event's rows in a room: a message with its corrections, or a tapback.
    Event(&'a RoomId, &'a EventId),
    /// A person's messages in a room, written up to that time.
    Sender(&'a RoomId, &'a UserId, Timestamp),
    /// A message or correction, by its first row.
    Message(MeshRowId),
}

/// What [`withdraw`] has withdrawn.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Withdrawn {
    /// Number of packets that waited and are withdrawn; those in flight do not count.
    pub packets: usize,
    /// Packets in flight: withdrawn if the radio returns them.
    pub submitted: Vec<MeshRowId>,
}

/// Withdraws waiting packets, and marks packets in flight.
pub fn withdraw(tx: &Tx<'_>, what: Withdrawal<'_>) -> Result<Withdrawn> {
    let read = |row: &Row<'_>| -> rusqlite::Result<(MeshRowId, MeshState)> {
        Ok((row.get(0)?, row.get(1)?))
    };
    let open = match what {
        Withdrawal::Event(room, event) => tx.all(
            "SELECT id, state FROM mesh_open WHERE room = ?1 AND event = ?2",
            (room.as_str(), event.as_str()),
            read,
        ),
        Withdrawal::Sender(room, sender, written_by) => tx.all(
            "SELECT id, state FROM mesh_open WHERE room = ?1 AND sender = ?2 AND sent_at <= ?3",
            (room.as_str(), sender.as_str(), written_by),
            read,
        ),
        Withdrawal::Message(message) => tx.all(
            "SELECT id, state FROM mesh_open WHERE message = ?1",
            [message],
            read,
        ),
    }?;
    let mut withdrawn = Withdrawn::default();
    for (id, state) in open {
        if state == MeshState::Submitted {
            tx.execute(
                "UPDATE mesh_outbox SET withdraw = ?2 WHERE id = ?1",
                (id, TAKE_BACK),
            )?;
            withdrawn.submitted.push(id);
        } else {
            end_waiting(tx, id, MeshState::Withdrawn, (StepKind::Withdrawn, None))?;
            withdrawn.packets += 1;
        }
    }
    Ok(withdrawn)
}

/// Expires overdue waiting rows. Returns them, oldest first.
pub fn expire(tx: &Tx<'_>, now: Timestamp) -> Result<Vec<Ended>> {
    let mut rows = end_all(
        tx,
        "SELECT * FROM mesh_waiting WHERE expires <= ?1 ORDER BY expires",
        [now],
        MeshState::Expired,
        (StepKind::Expired, None),
    )?;
    rows.sort_by_key(|row| (row.message, row.id));
    Ok(rows)
}

/// Returns overdue packets held by the radio's pacer, which are to be called back.
pub fn overdue(tx: &Tx<'_>, now: Timestamp) -> Result<Vec<MeshRowId>> {
    tx.column("SELECT id FROM mesh_submitted WHERE expires <= ?1", [now])
}

/// Returns when the next waiting row expires.
pub fn next_expiry(tx: &Tx<'_>) -> Result<Option<Timestamp>> {
    tx.value("SELECT MIN(expires) FROM mesh_waiting", ())
}

/// Assigns all waiting rows to the attached radio: messages are accepted before a radio is known, and radios are replaced.
/// Packets already sent keep their radio.
pub fn adopt_radio(tx: &Tx<'_>, own: NodeNum) -> Result<()> {
    let rows: Vec<MeshRowId> = tx.column("SELECT id FROM mesh_waiting WHERE radio <> ?1", [own])?;
    for id in rows {
        tx.execute(
            "INSERT OR REPLACE INTO own_packet (radio, packet, outbox, at)
             SELECT ?2, packet, outbox, at FROM own_packet WHERE outbox = ?1",
            (id, own),
        )?;
        // Ids that another radio may have used stay reserved.
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

/// Returns the packets of rooms that wait for a channel, or only that one; oldest first. An unreadable row is ended, as it
/// could go to a wrong channel.
pub fn on_channels(tx: &Tx<'_>, only: Option<MeshRowId>) -> Result<Vec<WaitingPacket>> {
    let (first, last) = only.map_or((0, i64::MAX), |id| (id.0, id.0));
    readable(
        tx,
        // Whether a part of the message was handed to the radio, and whether another was refused. `+` keeps SQLite from using
        // the index over all packets ever sent to a channel.
        "SELECT *, bound OR EXISTS (SELECT 1 FROM mesh_outbox AS part
             WHERE part.event = row.event AND part.message = row.message AND part.attempts > 0) AS stays,
             EXISTS (SELECT 1 FROM mesh_outbox AS part WHERE part.event = row.event
                 AND part.message = row.message AND part.id <> row.id AND part.state = ?1) AS is_known
         FROM mesh_open AS row
         WHERE room IS NOT NULL AND +target_kind = ?4 AND id BETWEEN ?2 AND ?3 ORDER BY id",
        (MeshState::Refused, first, last, TO_CHANNEL),
        read_on_channel,
    )
}

fn read_on_channel(row: &Row<'_>) -> rusqlite::Result<WaitingPacket> {
    let slot: u32 = row.get("target")?;
    Ok(WaitingPacket {
        id: row.get("id")?,
        message: row.get("message")?,
        about: row_message(row)?,
        slot: slot.try_into().map_err(unreadable)?,
        channel: row.get("channel")?,
        bound: row.get("stays")?,
        submitted: row.get::<_, MeshState>("state")? == MeshState::Submitted,
        refused: row.get::<_, u8>("withdraw")? == REFUSE,
        is_known: row.get("is_known")?,
    })
}

/// Moves an unsent packet to a slot with this channel, and updates its entry in the message map.
pub fn move_to(
    tx: &Tx<'_>,
    id: MeshRowId,
    slot: ChannelIndex,
    channel: Option<Fingerprint>,
) -> Result<()> {
    let (kind, target) = target(Destination::Channel(slot));
    let is_elsewhere = tx.exists(
        "SELECT 1 FROM mesh_outbox WHERE id = ?1 AND target <> ?2",
        (id, target),
    )?;
    if is_elsewhere {
        story::note(tx, id, StepKind::Moved, Some(target), None)?;
    }
    tx.execute(
        "UPDATE mesh_outbox SET target_kind = ?2, target = ?3, channel = ?4 WHERE id = ?1",
        (id, kind, target, channel),
    )?;
    tx.run(
        "UPDATE message_pair SET target_kind = ?2, target = ?3, channel = ?4 WHERE mesh_outbox = ?1",
        (id, kind, target, channel),
    )
}

/// Marks a packet in flight to be refused if the radio returns it.
pub fn refuse_later(tx: &Tx<'_>, id: MeshRowId) -> Result<()> {
    tx.run(
        "UPDATE mesh_outbox SET withdraw = ?2 WHERE id = ?1 AND state = ?3 AND withdraw = ?4",
        (id, REFUSE, MeshState::Submitted, TRY_AGAIN),
    )
}

/// Refuses a waiting packet, by the rule of ours with this name; `None`: it cannot be sent. Returns it; `None` if it does not
/// wait.
pub fn refuse_waiting(tx: &Tx<'_>, id: MeshRowId, rule: Option<&str>) -> Result<Option<Ended>> {
    let because = match rule {
        Some(_) => (StepKind::RefusedHere, rule),
        None => (StepKind::GivenUp, None),
    };
    let sql = "SELECT * FROM mesh_waiting WHERE id = ?1";
    Ok(end_all(tx, sql, [id], MeshState::Refused, because)?.pop())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::messages::message_map;
    use crate::outbox::mesh_report::{Retried, accepted, recover, retry, state, submitted};
    use crate::outbox::outbox_mesh;
    use crate::test_rows::*;
    use relay_model::{MeshContent, PacketId};

    fn here() -> relay_model::OwnedRoomId {
        source("$any:example.org").room
    }

    fn take_back(tx: &Tx<'_>, name: &str) -> Result<Withdrawn> {
        withdraw(tx, Withdrawal::Event(&here(), &event(name)))
    }

    #[test]
    fn what_the_radio_was_asked_to_take_is_named_when_it_is_taken_back() {
        on_empty(|tx| {
            let rows = accept_for_mesh(tx, "$one:example.org", &["1/2", "2/2"], NOW)?;
            submitted(tx, rows[0].0, NOON)?;
            let taken = take_back(tx, "$one:example.org")?;
            assert_eq!(taken.submitted, [rows[0].0]);
            accepted(tx, rows[0].0, NOON)?;
            assert_eq!(take_back(tx, "$one:example.org")?, Withdrawn::default());
            Ok(())
        });
    }

    #[test]
    fn a_redaction_takes_back_all_parts_that_wait_and_their_pairs() {
        on_empty(|tx| {
            accept_for_mesh(tx, "$one:example.org", &["1/2", "2/2"], NOW)?;
            accept_for_mesh(tx, "$two:example.org", &["next"], NOW)?;
            let taken = take_back(tx, "$one:example.org")?;
            assert_eq!(taken.packets, 2);
            // Only its channel is still known.
            let pairs = message_map::by_event(tx, &event("$one:example.org"))?;
            let kept: Vec<_> = pairs
                .iter()
                .map(|it| (it.packet, it.channel, it.text.as_str()))
                .collect();
            assert_eq!(kept, [(PacketId::NONE, Some(FIRST), "")]);
            let next = submit_next(tx, NOON)?.unwrap();
            assert_eq!(text_of(&next), "next");
            Ok(())
        });
    }

    #[test]
    fn nobody_takes_back_what_was_written_in_another_room() {
        on_empty(|tx| {
            accept_for_mesh(tx, "$one:example.org", &["hello"], NOW)?;
            let other = RoomId::parse("!other:example.org").unwrap();
            let one = event("$one:example.org");
            let taken = withdraw(tx, Withdrawal::Event(&other, &one))?;
            assert_eq!(taken, Withdrawn::default());
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
            let taken = take_back(tx, "$one:example.org")?;
            assert_eq!((taken.packets, taken.submitted), (1, vec![id]));
            let retried = retry(tx, id, packet, NOON, true, "too fast")?;
            assert_eq!(retried, Retried::Withdrawn);
            assert_eq!(state(tx, id)?, Some(MeshState::Withdrawn));

            let (id, _) = accept_for_mesh(tx, "$two:example.org", &["hello"], NOW)?[0];
            submitted(tx, id, NOON)?;
            take_back(tx, "$two:example.org")?;
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
            let taken = withdraw(tx, Withdrawal::Sender(&here(), &alice, Timestamp::NEVER))?;
            assert_eq!(taken, Withdrawn::default());
            let bob = source("$one:example.org").sender;
            assert_eq!(
                withdraw(tx, Withdrawal::Sender(&here(), &bob, Timestamp::NEVER))?.packets,
                1
            );
            assert_eq!(submit_next(tx, NOON)?, None);
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
            let about = expired[0].about.as_ref().unwrap();
            assert_eq!(about.source, source("$one:example.org"));
            assert_eq!(expire(tx, later(10))?, []);
            assert_eq!(next_expiry(tx)?, Some(NOW.expires));
            Ok(())
        });
    }

    #[test]
    fn what_was_accepted_without_a_radio_belongs_to_the_first_that_comes() {
        on_empty(|tx| {
            let hello = MeshContent::Text(draft("hello"));
            let message = for_mesh(hello, Some(source("$one:example.org")));
            let (_, packet) = outbox_mesh::insert(tx, UNKNOWN_RADIO, &message, NOON)?;
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
