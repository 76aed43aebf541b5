//! What waits follows its channel: to another slot, on another radio, after a correction of the configuration.

use std::collections::BTreeSet;

use super::Bridge;
use super::action::Action;
use super::facts::Facts;
use super::notice::Refused;
use super::route::Spot;
use crate::model::{Channel, Lane, MeshRowId, Timestamp};

impl Bridge {
    /// Has what waits go where its rooms speak with these channels of the radio (`None`: those that are known), and refuses
    /// what has no channel any more. The radio must not be asked to take anything before; what it has is called back.
    pub(super) fn follow_channels(
        &self,
        channels: Option<&[Channel]>,
        facts: &Facts,
        now: Timestamp,
    ) -> Vec<Action> {
        // Nothing goes elsewhere until a radio has told its channels in this run.
        let profile = self.profile.as_ref().filter(|it| !it.locked);
        let channels = channels.or(profile.map(|it| it.channels.as_slice()));
        let mut told = facts.told.clone();
        let mut known: BTreeSet<MeshRowId> = BTreeSet::new();
        let (mut packets, mut moved, mut actions) = (Vec::new(), 0, Vec::new());
        for packet in &facts.packets {
            let from = Spot {
                slot: packet.slot,
                channel: packet.channel,
            };
            let room = &packet.source.room;
            let place = channels.map(|it| self.routes.moved(room, from, packet.bound, it));
            let goes = match place.unwrap_or(Ok(from)) {
                // Its slot may be another channel's now.
                Ok(_) if packet.refused => Err(Refused::NoChannel),
                goes => goes,
            };
            match goes {
                Ok(to) if to == from => continue,
                Ok(to) => {
                    packets.push((packet.id, to));
                    if to.slot == from.slot {
                        continue;
                    }
                    moved += 1;
                }
                // It may be on the air: its sender is told when it is back.
                Err(_) if packet.submitted => {}
                Err(refused) => {
                    let is_first = !packet.is_known && known.insert(packet.message);
                    actions.push(Action::RefuseWaiting(packet.id, refused, is_first));
                    // A reaction is not worth a notice.
                    if is_first && packet.lane != Lane::Reaction {
                        let said = self.say(refused.into(), &packet.source, &told, now);
                        told.extend(said.iter().filter_map(|it| match it {
                            Action::Remember { what, .. } => Some(what.clone()),
                            _ => None,
                        }));
                        actions.extend(said);
                    }
                }
            }
            if packet.submitted {
                actions.push(Action::CallBack(packet.id, goes.is_err()));
            }
        }
        if !packets.is_empty() {
            actions.push(Action::Move(packets, moved));
        }
        actions
    }
}
