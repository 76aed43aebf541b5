//! Direct messages to our node: stored and counted, never published.

use crate::{Result, Tx};
use relay_model::{NodeNum, RadioText};

/// Stores a direct message to our node, for its owner.
pub fn keep(tx: &Tx<'_>, radio: NodeNum, message: &RadioText) -> Result<()> {
    tx.run(
        "INSERT INTO direct_message (radio, sender, packet, sender_name, port_name, text, reply_to,
             tapback, heard_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        (
            radio,
            message.sender.num,
            message.packet,
            message.sender.long(),
            &message.port_name,
            &message.text,
            message.reply_to,
            message.is_reaction,
            message.heard_at,
        ),
    )
}

/// Returns how many direct messages are kept.
pub fn count(tx: &Tx<'_>) -> Result<u64> {
    tx.value("SELECT COUNT(*) FROM direct_message", ())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Store;
    use relay_model::{Destination, Node, PacketId, TextPort, Timestamp};

    #[test]
    fn direct_messages_are_kept_and_counted() {
        let own = NodeNum(1);
        let message = RadioText {
            sender: Node::unknown(NodeNum(0xA11C_E000)),
            packet: PacketId(9),
            destination: Destination::Direct(own),
            channel_name: String::new(),
            fingerprint: None,
            port: TextPort::Text,
            port_name: "TEXT_MESSAGE_APP".to_owned(),
            text: "for your eyes".to_owned(),
            reply_to: Some(PacketId(8)),
            is_reaction: false,
            heard_at: Timestamp(1_000),
            hops: None,
            relayed_by: None,
            snr: None,
            rssi: None,
            via_mqtt: false,
            ok_to_mqtt: false,
            replayed: false,
        };
        let mut store = Store::in_memory().unwrap();
        store
            .transaction(|tx| {
                assert_eq!(count(tx)?, 0);
                keep(tx, own, &message)?;
                keep(tx, own, &message)?;
                assert_eq!(count(tx)?, 2);
                Ok(())
            })
            .unwrap();
    }
}
