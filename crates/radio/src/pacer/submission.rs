//! What is handed over to be sent.

use relay_model::{Channel, Destination, Fingerprint, MeshRowId, PacketId, RadioMessage};

/// A row of the outbox that may be sent now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submission {
    /// The row.
    pub outbox: MeshRowId,
    /// The id under which it is to be sent.
    pub packet: PacketId,
    /// What its channel is, where that is known; `None` for a direct message.
    pub channel: Option<Fingerprint>,
    /// What it says.
    pub message: RadioMessage,
}

impl Submission {
    /// Returns whether its slot is, among these channels, what it is meant for, as far as that is known.
    pub fn is_for(&self, channels: &[Channel]) -> bool {
        let Destination::Channel(slot) = self.message.destination else {
            return true;
        };
        let there = channels.iter().find(|it| it.index == slot);
        self.channel.is_none() || self.channel == there.and_then(|it| it.fingerprint)
    }
}
