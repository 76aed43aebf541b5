//! A message submitted for transmission.

use relay_model::{Channel, Destination, Fingerprint, MeshRowId, PacketId, RadioMessage};

/// A row of the outbox that is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submission {
    /// The row.
    pub outbox: MeshRowId,
    /// The id of the packet.
    pub packet: PacketId,
    /// The identity of its channel, if known; `None` for a direct message.
    pub channel: Option<Fingerprint>,
    /// The message.
    pub message: RadioMessage,
}

impl Submission {
    /// Returns whether the slot holds the intended channel, as far as its identity is known.
    pub fn is_for(&self, channels: &[Channel]) -> bool {
        let Destination::Channel(slot) = self.message.destination else {
            return true;
        };
        let there = channels.iter().find(|it| it.index == slot);
        self.channel.is_none() || self.channel == there.and_then(|it| it.fingerprint)
    }
}
