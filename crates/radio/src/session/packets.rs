//! Packets of the mesh on a link: they wait for the radio's channels, and are translated with them.

use std::time::Duration;

use tracing::{debug, warn};

use super::{Output, Session, ignored};
use crate::mesh::translate::{self, Context, Translated};
use crate::{mesh::nodedb::NodeChange, now::Now};
use relay_model::{NodeNum, RadioEvent, RadioProfile};
use relay_wire::proto::MeshPacket;

/// Maximum number of packets that wait for the end of a handshake, where firmware sends hardly any.
const HELD: usize = 64;
/// How long after the handshake the radio may deliver stored packets.
const CATCH_UP: Duration = Duration::from_mins(1);

impl Session {
    /// Translates the packets that wait for a handshake that will not complete, with the last configuration: the radio
    /// does not send them again.
    pub(crate) fn take_held(&mut self, now: Now) -> Vec<Output> {
        let held = std::mem::take(&mut self.held);
        let packets = held.len();
        if packets > 0 && self.last_profile().is_none() {
            warn!(
                packets,
                "what the radio said is lost: it did not tell its channels"
            );
        }
        let heard = held.iter().flat_map(|packet| self.translate(packet, now));
        heard.collect()
    }

    /// Returns the last configuration of the radio, unless another radio answers now.
    pub(super) fn last_profile(&self) -> Option<&RadioProfile> {
        let last = self.memory.profile.as_ref();
        last.filter(|last| self.is_ready() || self.handshake.is_of(last.own.num))
    }

    pub(super) fn on_packet(&mut self, packet: MeshPacket, now: Now) -> Vec<Output> {
        if self.is_ready() {
            let mut outputs = Vec::from_iter(self.give_time(now));
            outputs.extend(self.translate(&packet, now));
            return outputs;
        }
        self.held.push_back(packet);
        let too_many = self.held.len() > HELD;
        let oldest = too_many.then(|| self.held.pop_front()).flatten();
        oldest.map_or_else(Vec::new, |oldest| self.translate(&oldest, now))
    }

    fn translate(&mut self, packet: &MeshPacket, now: Now) -> Vec<Output> {
        let since = self.ready_since;
        let catching_up = since.is_none_or(|since| now.instant < since + CATCH_UP);
        let Some(profile) = self.last_profile() else {
            return vec![ignored("before the handshake's end")];
        };
        let from = NodeNum(packet.from);
        let context = Context {
            own: profile.own.num,
            channels: &profile.channels,
            nodes: &self.nodes,
            chat_ports: &self.options.chat_ports,
            catching_up,
            now: now.wall,
        };
        let translated = translate::packet(packet, &context);
        let heard = NodeChange {
            last_heard: Some(now.wall),
            ..NodeChange::default()
        };
        self.nodes.learn(from, heard);
        match translated {
            Ok(Translated::Text(mut text)) => {
                let is_dated_before = self.dated_before.is_some_and(|until| now.instant < until);
                if is_dated_before && !catching_up && !text.replayed {
                    text.heard_at = now.wall;
                }
                vec![Output::Event(RadioEvent::Text(text))]
            }
            Ok(Translated::Answer(answer)) => vec![Output::Answer(answer)],
            Ok(Translated::NodeChange(num, news)) => {
                self.nodes.learn(num, news);
                Vec::new()
            }
            Ok(Translated::ChannelUse(percent)) => {
                vec![Output::Event(RadioEvent::ChannelUse { percent })]
            }
            Err(reason) => {
                debug!(node = %from, packet = packet.id, reason, "packet ignored");
                vec![ignored(reason)]
            }
        }
    }
}
