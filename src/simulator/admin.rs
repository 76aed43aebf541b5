//! What the radio does with packets for itself: its owner's questions, and the clock.

use std::time::Instant;

use crate::radio::proto::{
    AdminMessage, Data, MeshPacket, Message, PortNum,
    admin_message::PayloadVariant as Admin,
    mesh_packet::{PayloadVariant, Priority},
};

use super::air::HOP_LIMIT;
use super::handshake;
use super::machine::Machine;
use super::packets;

impl Machine {
    /// Takes a packet that the client sent to the radio's own node.
    pub(super) fn deliver_locally(&mut self, packet: &MeshPacket, data: &Data, now: Instant) {
        self.push_status(0, packet.id);
        let own = self.mesh.own.num;
        if packet.want_ack {
            let acknowledgement = MeshPacket {
                hop_limit: u32::from(HOP_LIMIT),
                ..packets::own_routing(own, 0, packet.id, 0)
            };
            self.push_packet(acknowledgement, now);
        }
        if data.portnum != i32::from(PortNum::AdminApp) {
            return;
        }
        let Ok(question) = AdminMessage::decode(data.payload.as_slice()) else {
            return;
        };
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
            hop_limit: u32::from(HOP_LIMIT),
            priority: i32::from(Priority::Reliable),
            payload_variant: Some(PayloadVariant::Decoded(Data {
                portnum: i32::from(PortNum::AdminApp),
                payload: content.encode_to_vec(),
                request_id: packet.id,
                ..Data::default()
            })),
            ..MeshPacket::default()
        };
        self.push_packet(answer, now);
    }

    /// Carries a request out; returns the answer to a question. Changes of settings are not simulated.
    fn administer(&mut self, question: AdminMessage, now: Instant) -> Option<Admin> {
        match question.payload_variant? {
            Admin::SetTimeOnly(unix_seconds) => {
                self.set_clock(unix_seconds, now);
                None
            }
            Admin::GetOwnerRequest(_) => self.mesh.own.user.clone().map(Admin::GetOwnerResponse),
            // Requests count channels from 1, as 0 cannot be told from nothing.
            Admin::GetChannelRequest(number) => {
                let index = usize::try_from(number.checked_sub(1)?).ok()?;
                let channel = self.mesh.channels.get(index).cloned();
                channel.map(Admin::GetChannelResponse)
            }
            Admin::GetDeviceMetadataRequest(_) => Some(Admin::GetDeviceMetadataResponse(
                handshake::device_metadata(),
            )),
            _ => None,
        }
    }
}
