//! Packets of the mesh: whether the client receives them, and in which form.

use std::time::Instant;

use relay_model::NodeNum;
use relay_wire::proto::{
    Data, MeshPacket, Message, PortNum, StoreAndForward, User,
    mesh_packet::{PayloadVariant, Priority, TransportMechanism},
    store_and_forward,
};

use super::{Machine, console, firmware::Firmware};
use crate::lines::{Report, Say};
use crate::mesh::{HOP_LIMIT, MOST_NODES, NAME_LIMIT, check_length, late_key, packets, rename};

/// Maximum payload of a packet in bytes.
const PAYLOAD_LIMIT: usize = 233;

/// Maximum number of hops.
const MOST_HOPS: u32 = 7;

/// The channel hash that a client sees for a packet that the radio cannot decrypt.
const FOREIGN_CHANNEL_HASH: u32 = 70;

impl Machine {
    /// Sends a message of a node; an error tells what is wrong with it.
    pub(crate) fn hear(&mut self, say: &Say, now: Instant) -> Result<(), String> {
        let first = self.mesh.nodes.first().map(|node| NodeNum(node.num));
        let from = say.from.or(first);
        let from = from.ok_or("there is no neighbour: name one with `from`")?;
        let payload = payload(say)?;
        for (key, name) in [("name", &say.name), ("short", &say.short)] {
            check_length(key, name.as_ref().map_or(0, String::len), NAME_LIMIT)?;
        }
        let known = self.mesh.node(from);
        if known.is_none() && self.mesh.nodes.len() >= MOST_NODES {
            return Err(format!(
                "the mesh has {MOST_NODES} nodes, and takes no more"
            ));
        }
        if let channel @ 8.. = say.channel {
            let reason = "is out of range: a radio has channels 0 to 7";
            return Err(format!("channel {channel} {reason}"));
        }
        let (hops, snr) = known.map_or((None, 6.0), |node| (node.hops_away, node.snr));
        let hops = say.hops.map(u32::from).or(hops).unwrap_or_default();
        let snr = say.snr.unwrap_or(snr);
        if hops > MOST_HOPS {
            return Err(format!("{hops} hops: a packet makes at most {MOST_HOPS}"));
        }
        let packet = self.envelope(say, from, hops, snr);
        let time = self.radio_time(now);
        let own = self.mesh.own_num();
        let node = self.mesh.node_or_new(from);
        if time != 0 {
            node.last_heard = time;
        }
        let named = say.name.is_some() || say.short.is_some();
        if named && rename(node, say.name.as_deref(), say.short.as_deref()) && from != own {
            let user = node.user.as_ref().map(User::encode_to_vec);
            let data = Data {
                bitfield: Some(0),
                ..packets::data(PortNum::NodeinfoApp, user.unwrap_or_default())
            };
            let introduction = MeshPacket {
                to: NodeNum::BROADCAST.0,
                payload_variant: Some(PayloadVariant::Decoded(data)),
                ..packet.clone()
            };
            self.push_packet(introduction, now);
        }
        if let Some(payload) = payload {
            self.hear_message(say, packet, payload, now);
        }
        Ok(())
    }

    fn hear_message(&mut self, say: &Say, mut packet: MeshPacket, payload: Vec<u8>, now: Instant) {
        let (from, own) = (NodeNum(packet.from), self.mesh.own_num());
        let id = say.id.unwrap_or_else(|| self.fresh_id());
        self.report(Report::Injected { id, from });
        let to_us = packet.to == own.0;
        if packet.to != NodeNum::BROADCAST.0 && !to_us && !say.overheard {
            return;
        }
        if say.encrypted && self.state.firmware == Firmware::V2_8 {
            // Forwarded, but no longer delivered to the client.
            return;
        }
        if !say.encrypted && self.state.firmware == Firmware::V2_7 {
            self.print(&console::text_received(from, id, &payload), now);
            self.print("[SerialConsole] phone downloaded packet", now);
        }
        let (port, payload) = if say.stored {
            (PortNum::StoreForwardApp, told_again(payload, to_us))
        } else {
            (PortNum::TextMessageApp, payload)
        };
        let data = Data {
            portnum: say.port.unwrap_or(i32::from(port)),
            payload,
            reply_id: say.reply_id.unwrap_or(0),
            emoji: say.emoji,
            bitfield: (!say.hopless).then_some(u32::from(say.ok_to_mqtt)),
            ..Data::default()
        };
        packet.id = id;
        let heard_at = say.rx_time.filter(|time| *time != 0);
        packet.rx_time = heard_at.unwrap_or_else(|| self.radio_time(now));
        if say.stored {
            packet.to = own.0;
        }
        packet.payload_variant = Some(if say.encrypted {
            packet.channel = FOREIGN_CHANNEL_HASH;
            // Any bytes serve as cipher text: the client has no key either.
            let hidden = data.encode_to_vec().into_iter().map(|byte| byte ^ 0xA5);
            PayloadVariant::Encrypted(hidden.collect())
        } else {
            PayloadVariant::Decoded(data)
        });
        // The server lacks the sender's key, so its replay is a channel message.
        if to_us && from != own && !say.stored {
            let key = self.mesh.public_key(from);
            packet.public_key = key.map_or_else(|| late_key(from), <[u8]>::to_vec);
            packet.pki_encrypted = true;
            packet.channel = 0;
        }
        if !self.remember(&packet) {
            // An id of 0, as of very old firmware, stays 0.
            self.push_packet_as_it_is(packet, now);
        }
    }

    /// Returns a packet without content.
    fn envelope(&self, say: &Say, from: NodeNum, hops: u32, snr: f32) -> MeshPacket {
        let packet = MeshPacket {
            from: from.0,
            to: say.to.unwrap_or(NodeNum::BROADCAST).0,
            channel: say.channel,
            ..MeshPacket::default()
        };
        if from == self.mesh.own_num() {
            return MeshPacket {
                hop_limit: HOP_LIMIT,
                hop_start: HOP_LIMIT,
                priority: i32::from(Priority::High),
                ..packet
            };
        }
        let transport = if say.via_mqtt {
            TransportMechanism::TransportMqtt
        } else {
            TransportMechanism::TransportLora
        };
        let (hop_limit, hop_start) = if say.hopless {
            (0, 0)
        } else {
            (HOP_LIMIT.saturating_sub(hops), HOP_LIMIT.max(hops))
        };
        MeshPacket {
            rx_snr: snr,
            rx_rssi: say.rssi.unwrap_or(-60),
            hop_limit,
            hop_start,
            relay_node: from.0 & 0xFF,
            transport_mechanism: i32::from(transport),
            via_mqtt: say.via_mqtt,
            ..packet
        }
    }
}

/// Returns a store-and-forward server's replay of a text, which is marked if the text was direct.
fn told_again(text: Vec<u8>, direct: bool) -> Vec<u8> {
    let kind = if direct {
        store_and_forward::RequestResponse::RouterTextDirect
    } else {
        store_and_forward::RequestResponse::RouterTextBroadcast
    };
    StoreAndForward {
        rr: i32::from(kind),
        variant: Some(store_and_forward::Variant::Text(text)),
    }
    .encode_to_vec()
}

/// Returns the payload; `None` if the line only renames a node.
fn payload(say: &Say) -> Result<Option<Vec<u8>>, String> {
    let payload = match (&say.text, &say.hex) {
        (Some(_), Some(_)) => return Err("either `text` or `hex`, not both".to_owned()),
        (Some(text), None) => text.clone().into_bytes(),
        (None, Some(bytes)) => bytes.clone(),
        (None, None) if say.name.is_some() || say.short.is_some() => return Ok(None),
        (None, None) => return Err("nothing to say: give `text` or `hex`".to_owned()),
    };
    let size = payload.len();
    if size > PAYLOAD_LIMIT {
        let reason = format!("the payload has {size} bytes, a packet carries {PAYLOAD_LIMIT}");
        return Err(reason);
    }
    Ok(Some(payload))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::{Harness, content, packets};
    use relay_wire::proto::from_radio::PayloadVariant as ToClient;

    fn one(frames: &[ToClient]) -> &MeshPacket {
        match packets(frames).as_slice() {
            [packet] => packet,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_text_of_a_neighbour_looks_as_on_a_real_radio() {
        let mut harness = Harness::live(3);
        let frames =
            harness.hear(r#"{"channel": 1, "text": "hi", "id": 9, "snr": 5.5, "rssi": -71}"#);
        let packet = one(&frames);
        assert_eq!((packet.from, packet.to), (harness.neighbour(0), u32::MAX));
        assert_eq!((packet.id, packet.channel), (9, 1));
        assert_eq!((packet.hop_start, packet.hop_limit), (3, 3));
        assert_eq!((packet.rx_snr, packet.rx_rssi), (5.5, -71));
        assert_eq!(content(packet).bitfield, Some(0));
        assert!(!packet.want_ack && packet.priority == 0);
    }

    #[test]
    fn hops_mqtt_and_consent_are_told() {
        let mut harness = Harness::live(3);
        let frames =
            harness.hear(r#"{"text": "x", "hops": 5, "via_mqtt": true, "ok_to_mqtt": true}"#);
        let packet = one(&frames);
        assert_eq!(packet.hop_start - packet.hop_limit, 5);
        assert!(packet.via_mqtt);
        assert_eq!(content(packet).bitfield, Some(1));
    }

    #[test]
    fn a_direct_message_to_the_radio_is_on_channel_0_and_names_its_senders_key() {
        let mut harness = Harness::live(3);
        let own = harness.own();
        let frames = harness.hear(&format!(r#"{{"text": "psst", "channel": 1, "to": {own}}}"#));
        let packet = one(&frames);
        assert!(packet.pki_encrypted);
        assert_eq!((packet.channel, packet.public_key.len()), (0, 32));
    }

    #[test]
    fn what_a_server_tells_again_keeps_author_id_channel_and_time() {
        let mut harness = Harness::live(3);
        let frames = harness
            .hear(r#"{"text": "old", "channel": 1, "id": 9, "stored": true, "rx_time": 77}"#);
        let packet = one(&frames);
        assert_eq!(
            (packet.from, packet.to),
            (harness.neighbour(0), harness.own())
        );
        assert_eq!((packet.id, packet.channel, packet.rx_time), (9, 1, 77));
        assert!(!packet.pki_encrypted);
        let data = content(packet);
        assert_eq!(data.portnum, i32::from(PortNum::StoreForwardApp));
        let decoded = StoreAndForward::decode(data.payload.as_slice()).unwrap();
        assert_eq!(
            decoded.variant,
            Some(store_and_forward::Variant::Text(b"old".to_vec()))
        );
        assert_eq!(
            decoded.rr,
            i32::from(store_and_forward::RequestResponse::RouterTextBroadcast)
        );
    }

    #[test]
    fn a_direct_message_between_others_is_not_shown() {
        let mut harness = Harness::live(3);
        let other = harness.neighbour(1);
        assert_eq!(
            harness.hear(&format!(r#"{{"text": "psst", "to": {other}}}"#)),
            []
        );
    }

    #[test]
    fn a_text_typed_on_the_radio_comes_from_its_own_number() {
        let mut harness = Harness::live(3);
        let own = harness.own();
        let frames = harness.hear(&format!(r#"{{"from": {own}, "text": "typed"}}"#));
        let packet = one(&frames);
        assert_eq!((packet.from, packet.rx_snr), (own, 0.0));
    }

    #[test]
    fn a_new_name_is_told_before_the_text_and_only_once() {
        let mut harness = Harness::live(3);
        let line = r#"{"from": "!00000063", "name": "Summit", "short": "SMT", "text": "up here"}"#;
        let frames = harness.hear(line);
        let ports: Vec<i32> = packets(&frames)
            .into_iter()
            .map(|packet| content(packet).portnum)
            .collect();
        assert_eq!(ports, [4, 1]);
        let user = User::decode(content(packets(&frames)[0]).payload.as_slice()).unwrap();
        assert_eq!(
            (user.id.as_str(), user.short_name.as_str()),
            ("!00000063", "SMT")
        );
        assert_eq!(harness.hear(line).len(), 1);
        assert_eq!(
            harness
                .hear(r#"{"from": "!00000063", "name": "Valley"}"#)
                .len(),
            1
        );
    }

    #[test]
    fn what_no_packet_can_carry_is_refused() {
        let mut harness = Harness::live(3);
        let long = format!(r#"{{"text": "{}"}}"#, "x".repeat(234));
        for (line, reason) in [
            (
                r#"{"channel": 8, "text": "x"}"#,
                "channel 8 is out of range",
            ),
            (r#"{"hops": 8, "text": "x"}"#, "at most 7"),
            (r#"{"channel": 0}"#, "nothing to say"),
            (r#"{"text": "x", "hex": "00"}"#, "not both"),
            (long.as_str(), "234 bytes"),
        ] {
            let say = serde_json::from_str(line).unwrap();
            let error = harness.machine.hear(&say, harness.now).unwrap_err();
            assert!(error.contains(reason), "{error}");
        }
        assert_eq!(harness.frames(), []);
    }

    #[test]
    fn a_packet_without_a_key_stays_encrypted_and_names_a_hash_for_its_channel() {
        let mut harness = Harness::live(3);
        let frames = harness.hear(r#"{"text": "secret", "encrypted": true}"#);
        let packet = one(&frames);
        assert_eq!(packet.channel, 70);
        assert!(matches!(
            packet.payload_variant,
            Some(PayloadVariant::Encrypted(_))
        ));
    }

    #[test]
    fn replies_tapbacks_and_reactions_of_old_clients_keep_their_fields() {
        let mut harness = Harness::live(3);
        for (line, reply_id, emoji) in [
            (r#"{"text": "yes", "reply_id": 7}"#, 7, 0),
            (r#"{"text": "👍", "reply_id": 7, "emoji": true}"#, 7, 1),
            (
                r#"{"text": "👍", "reply_id": 4294967295, "emoji": 1}"#,
                u32::MAX,
                1,
            ),
            (
                r#"{"text": "👍", "reply_id": 7, "emoji": 128077}"#,
                7,
                128_077,
            ),
        ] {
            let frames = harness.hear(line);
            let data = content(one(&frames));
            assert_eq!((data.reply_id, data.emoji), (reply_id, emoji), "{line}");
        }
    }

    #[test]
    fn old_firmware_does_not_tell_its_hops() {
        let mut harness = Harness::live(3);
        let frames = harness.hear(r#"{"text": "x", "hops": 2, "hopless": true}"#);
        let packet = one(&frames);
        assert_eq!((packet.hop_limit, packet.hop_start), (0, 0));
        assert_eq!(content(packet).bitfield, None);
    }

    #[test]
    fn a_direct_message_for_another_node_can_be_overheard() {
        let mut harness = Harness::live(3);
        let other = harness.neighbour(1);
        let line = format!(r#"{{"text": "psst", "to": {other}, "overheard": true}}"#);
        let frames = harness.hear(&line);
        assert_eq!(one(&frames).to, other);
        assert!(!one(&frames).pki_encrypted);
    }

    #[test]
    fn a_direct_message_that_a_server_tells_again_says_that_it_was_one() {
        let mut harness = Harness::live(3);
        let own = harness.own();
        let line = format!(r#"{{"text": "old", "to": {own}, "id": 9, "stored": true}}"#);
        let frames = harness.hear(&line);
        let payload = content(one(&frames)).payload.as_slice();
        let decoded = StoreAndForward::decode(payload).unwrap();
        let direct = store_and_forward::RequestResponse::RouterTextDirect;
        assert_eq!((one(&frames).id, decoded.rr), (9, i32::from(direct)));
    }
}
