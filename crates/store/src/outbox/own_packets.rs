//! Ids of our own packets, reserved for as long as they are remembered.

use crate::{Result, Tx, messages::message_map};
use relay_model::{MeshRowId, NodeNum, PacketId, Timestamp};

/// Placeholder for our node until a radio has reported its number; see `mesh_report::adopt_radio`.
pub const UNKNOWN_RADIO: NodeNum = NodeNum(0);

/// Returns a random packet id that this radio has not used.
pub(crate) fn free_packet_id(tx: &Tx<'_>, radio: NodeNum) -> Result<PacketId> {
    loop {
        let packet = PacketId(rand::random());
        if packet != PacketId::NONE && !message_map::is_own_packet(tx, radio, packet)? {
            return Ok(packet);
        }
    }
}

pub(crate) fn own_packet(
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
