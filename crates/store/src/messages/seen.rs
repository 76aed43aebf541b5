//! Packets and events that were decided on.

use crate::{Result, Tx};
use relay_model::{EventId, NodeNum, PacketId, Timestamp, UserId};

/// Returns whether this packet was decided on, from any of our radios; false for [`PacketId::NONE`].
pub fn has_packet(tx: &Tx<'_>, sender: NodeNum, packet: PacketId) -> Result<bool> {
    tx.exists(
        "SELECT 1 FROM seen_packet WHERE packet = ?1 AND sender = ?2",
        (packet, sender),
    )
}

/// Marks a packet of this radio as decided on; [`PacketId::NONE`] is not stored.
pub fn mark_packet(
    tx: &Tx<'_>,
    radio: NodeNum,
    sender: NodeNum,
    packet: PacketId,
    now: Timestamp,
) -> Result<()> {
    if packet == PacketId::NONE {
        return Ok(());
    }
    tx.run(
        "INSERT OR IGNORE INTO seen_packet (radio, packet, sender, at) VALUES (?1, ?2, ?3, ?4)",
        (radio, packet, sender, now),
    )
}

/// Returns whether our radio heard a packet with this id from anyone.
pub fn was_heard(tx: &Tx<'_>, radio: NodeNum, packet: PacketId) -> Result<bool> {
    tx.exists(
        "SELECT 1 FROM seen_packet WHERE radio = ?1 AND packet = ?2",
        (radio, packet),
    )
}

/// Returns whether this event was decided on before.
pub fn has_event(tx: &Tx<'_>, event: &EventId) -> Result<bool> {
    tx.exists(
        "SELECT 1 FROM seen_event WHERE event = ?1",
        [event.as_str()],
    )
}

/// Records that an event was decided on, so that it is not handled twice.
pub fn mark_event(tx: &Tx<'_>, event: &EventId, now: Timestamp) -> Result<()> {
    tx.run(
        "INSERT OR IGNORE INTO seen_event (event, at) VALUES (?1, ?2)",
        (event.as_str(), now),
    )
}

/// Marks an edit as decided on, and remembers which message it changes.
pub fn mark_edit(
    tx: &Tx<'_>,
    edit: &EventId,
    target: &EventId,
    author: &UserId,
    now: Timestamp,
) -> Result<()> {
    tx.run(
        "INSERT OR IGNORE INTO seen_event (event, at, edits, author) VALUES (?1, ?2, ?3, ?4)",
        (edit.as_str(), now, target.as_str(), author.as_str()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Store;

    const RADIO: NodeNum = NodeNum(1);
    const ALICE: NodeNum = NodeNum(0xA11C_E000);
    const BOB: NodeNum = NodeNum(0xB0B0_0000);
    const NOW: Timestamp = Timestamp(1_000);

    #[test]
    fn a_packet_is_known_by_its_sender_and_its_id_together() {
        let mut store = Store::in_memory().unwrap();
        store
            .transaction(|tx| {
                mark_packet(tx, RADIO, ALICE, PacketId(7), NOW)?;
                mark_packet(tx, RADIO, ALICE, PacketId(7), NOW)?;
                assert!(has_packet(tx, ALICE, PacketId(7))?);
                assert!(!has_packet(tx, BOB, PacketId(7))?);
                assert!(!has_packet(tx, ALICE, PacketId(8))?);
                assert!(was_heard(tx, RADIO, PacketId(7))?);
                assert!(!was_heard(tx, RADIO, PacketId(8))?);
                Ok(())
            })
            .unwrap();
    }

    #[test]
    fn packet_id_0_is_never_a_duplicate() {
        let mut store = Store::in_memory().unwrap();
        store
            .transaction(|tx| {
                mark_packet(tx, RADIO, ALICE, PacketId::NONE, NOW)?;
                assert!(!has_packet(tx, ALICE, PacketId::NONE)?);
                assert!(!was_heard(tx, RADIO, PacketId::NONE)?);
                Ok(())
            })
            .unwrap();
    }

    #[test]
    fn an_event_is_known_once_it_is_marked() {
        let mut store = Store::in_memory().unwrap();
        let event = EventId::parse("$one:example.org").unwrap();
        store
            .transaction(|tx| {
                assert!(!has_event(tx, &event)?);
                mark_event(tx, &event, NOW)?;
                mark_event(tx, &event, NOW)?;
                assert!(has_event(tx, &event)?);
                Ok(())
            })
            .unwrap();
    }
}
