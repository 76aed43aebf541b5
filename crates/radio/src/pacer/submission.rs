//! A message submitted for transmission.

use relay_model::{Channel, Destination, Fingerprint, MeshRowId, PacketId, RadioMessage};

/// A packet that is due, handed from its row to the pacer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submission {
    /// Row in the outbox for the mesh, under which its reports come.
    pub outbox: MeshRowId,
    /// Id of this attempt, stored before it is handed over.
    pub packet: PacketId,
    /// Fingerprint of the channel that it is meant for; `None` for a direct message, or if not known.
    pub channel: Option<Fingerprint>,
    /// What is sent, to whom, and with which priority.
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
