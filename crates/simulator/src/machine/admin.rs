//! Packets addressed to the radio itself: requests for its owner, and the setting of its clock.

use std::time::Instant;

use relay_wire::proto::{
    AdminMessage, Data, MeshPacket, Message, PortNum,
    admin_message::PayloadVariant as Admin,
    mesh_packet::{PayloadVariant, Priority},
};

use super::Machine;
use crate::lines::{Fault, Transmitted};
use crate::mesh::{HOP_LIMIT, packets};

/// Queue status of older firmware for a packet that stayed in the radio.
const SHOULD_RELEASE: u32 = 35;

impl Machine {
    pub(super) fn deliver_locally(&mut self, packet: &Transmitted, now: Instant) {
        let released = self.state.is_on(Fault::ShouldRelease);
        self.push_status(if released { SHOULD_RELEASE } else { 0 }, packet.header.id);
        let own = self.mesh.own_num();
        if packet.header.want_ack {
            let acknowledgement = MeshPacket {
                hop_limit: HOP_LIMIT,
                ..packets::own_routing(own, 0, packet.header.id, 0)
            };
            self.push_packet(acknowledgement, now);
        }
        if packet.content.portnum != i32::from(PortNum::AdminApp) {
            return;
        }
        let question = AdminMessage::decode(packet.content.payload.as_slice()).unwrap_or_default();
        let Some(answer) = self.administer(question, now) else {
            return;
        };
        let id = self.fresh_id();
        self.push_status(0, id);
        let content = AdminMessage {
            payload_variant: Some(answer),
            ..AdminMessage::default()
        };
        let answer = MeshPacket {
            from: own.0,
            to: own.0,
            id,
            hop_limit: HOP_LIMIT,
            priority: i32::from(Priority::Reliable),
            payload_variant: Some(PayloadVariant::Decoded(Data {
                request_id: packet.header.id,
                ..packets::data(PortNum::AdminApp, content.encode_to_vec())
            })),
            ..MeshPacket::default()
        };
        self.push_packet(answer, now);
    }

    /// Carries a request out; returns the answer to a query. Changes of settings are not simulated.
    fn administer(&mut self, question: AdminMessage, now: Instant) -> Option<Admin> {
        match question.payload_variant? {
            Admin::SetTimeOnly(unix_seconds) => {
                self.clock = Some((unix_seconds, now));
                None
            }
            Admin::GetOwnerRequest(_) => self.mesh.own.user.clone().map(Admin::GetOwnerResponse),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::{ClientAnswer, Harness, answers, content, packets};
    use relay_wire::proto::{
        from_radio::PayloadVariant as ToClient, to_radio::PayloadVariant as FromClient,
    };

    fn ask(harness: &mut Harness, id: u32, question: Admin, want_ack: bool) -> Vec<ToClient> {
        let question = AdminMessage {
            payload_variant: Some(question),
            ..AdminMessage::default()
        };
        let packet = MeshPacket {
            to: harness.own(),
            want_ack,
            ..harness.packet(id, PortNum::AdminApp, &question.encode_to_vec())
        };
        harness.tell(FromClient::Packet(packet))
    }

    #[test]
    fn the_clock_is_unset_until_the_client_sets_it() {
        let mut harness = Harness::live(3);
        let frames = harness.hear(r#"{"text": "early"}"#);
        assert_eq!(packets(&frames)[0].rx_time, 0);
        let frames = ask(&mut harness, 7, Admin::SetTimeOnly(1_800_000_000), true);
        let own = harness.own();
        let acknowledged = [
            ClientAnswer::Status(0),
            ClientAnswer::Routing {
                from: own,
                error: 0,
            },
        ];
        assert_eq!(answers(&frames, 7), acknowledged);
        harness.now += std::time::Duration::from_secs(5);
        let frames = harness.hear(r#"{"text": "later"}"#);
        assert_eq!(packets(&frames)[0].rx_time, 1_800_000_005);
        let frames = ask(&mut harness, 8, Admin::SetTimeOnly(1_800_000_000), false);
        assert_eq!(answers(&frames, 8), [ClientAnswer::Status(0)]);
    }

    #[test]
    fn a_question_is_answered_with_its_id_and_a_queue_status_of_the_answers_own() {
        let mut harness = Harness::live(3);
        let frames = ask(&mut harness, 7, Admin::GetOwnerRequest(true), false);
        let answer = packets(&frames)[0];
        assert_eq!(content(answer).request_id, 7);
        let message = AdminMessage::decode(content(answer).payload.as_slice()).unwrap();
        let Some(Admin::GetOwnerResponse(user)) = message.payload_variant else {
            panic!("{message:?}");
        };
        assert_eq!(user.long_name, "Simulated radio");
        assert_eq!(answers(&frames, answer.id), [ClientAnswer::Status(0)]);
    }

    #[test]
    fn a_packet_to_the_radio_itself_is_acknowledged_at_once_and_not_echoed() {
        let mut harness = Harness::live(3);
        let text = MeshPacket {
            to: harness.own(),
            ..harness.text(7, "note to self")
        };
        let frames = harness.tell(FromClient::Packet(text));
        assert_eq!(frames.len(), 2);
        let own = harness.own();
        let acknowledged = [
            ClientAnswer::Status(0),
            ClientAnswer::Routing {
                from: own,
                error: 0,
            },
        ];
        assert_eq!(answers(&frames, 7), acknowledged);
    }
}
