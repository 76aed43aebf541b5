//! The ids of our packets: each that was ever chosen is ours for as long as it is remembered.

use super::{Result, Tx, message_map};
use relay_model::{MeshRowId, NodeNum, PacketId, Timestamp};

/// Stands for our own node until a radio has told its number; see `mesh_report::adopt_radio`.
pub const UNKNOWN_RADIO: NodeNum = NodeNum(0);

/// Returns a random packet id that this radio has not used as long as we remember.
pub(super) fn free_packet_id(tx: &Tx<'_>, radio: NodeNum) -> Result<PacketId> {
    loop {
        let packet = PacketId(rand::random());
        if packet != PacketId::NONE && !message_map::is_own_packet(tx, radio, packet)? {
            return Ok(packet);
        }
    }
}

/// Remembers an id as one of ours.
pub(super) fn own_packet(
    tx: &Tx<'_>,
    radio: NodeNum,
    packet: PacketId,
    id: MeshRowId,
    now: Timestamp,
) -> Result<()> {
    tx.run(
        "INSERT INTO own_packet (radio, packet, outbox, at) VALUES (?1, ?2, ?3, ?4)",
        (radio, packet, id, now),
    )
}
