//! The attached radio. Waiting packets follow their channel when it moves to another slot, to another radio, or in the
//! configuration.

pub(crate) mod readiness;

use std::collections::BTreeSet;
use std::sync::Arc;

use super::readiness::{RadioProblems, Readiness};
use super::{Bridge, action::Action, facts::Facts, notice::Refused, route::Spot};
use relay_model::{Channel, MeshRowId, RadioProfile, Timestamp};

impl Bridge {
    pub(super) fn radio_is_ready(
        &mut self,
        profile: &RadioProfile,
        facts: &Facts,
        now: Timestamp,
    ) -> Vec<Action> {
        self.radio = profile.own.num;
        // A locked radio does not report its channels: keep those known.
        let channels = (!profile.locked).then(|| profile.channels.clone());
        let mut actions = vec![Action::UseRadio(self.radio, channels.clone())];
        if let Some(channels) = channels {
            // Uses the old channels, so before they are replaced.
            actions.extend(self.follow_channels(Some(&channels), facts, now));
            Arc::make_mut(&mut self.routes).follow(channels);
        }
        let is_news = !self.linked || self.profile.as_deref() != Some(profile);
        self.profile = Some(Arc::new(profile.clone()));
        self.linked = true;
        actions.push(Action::WakeMesh);
        actions.extend(self.link_stands(now));
        let problems = RadioProblems::with(&self.routes, &self.config, profile);
        let before = std::mem::replace(&mut self.radio_problems, problems.clone());
        let is_silent = problems.silence.is_some();
        actions.push(Action::Ready(Box::new(Readiness {
            is_news,
            own: profile.own.clone(),
            firmware: profile.told_firmware().map(str::to_owned),
            meshnet: self.meshnet(),
            renamed: self.routes.renamed.clone(),
            news: problems.since(&before),
            problems,
        })));
        actions.push(Action::MayTransmit(!is_silent));
        if !is_silent {
            actions.extend(self.radio_is_back(facts, now));
        }
        actions
    }

    /// Moves waiting packets to where their rooms' channels are among `channels` (`None`: the known ones), and refuses those
    /// without one. Packets in flight are called back. Must run before the radio is handed anything.
    pub(super) fn follow_channels(
        &self,
        channels: Option<&[Channel]>,
        facts: &Facts,
        now: Timestamp,
    ) -> Vec<Action> {
        // Nothing is moved until a radio has reported its channels in this run.
        let profile = self.profile.as_ref().filter(|it| !it.locked);
        let channels = channels.or(profile.map(|it| it.channels.as_slice()));
        let mut cooldowns = facts.cooldowns.clone();
        let mut known: BTreeSet<MeshRowId> = BTreeSet::new();
        let (mut packets, mut moved, mut actions) = (Vec::new(), 0, Vec::new());
        for packet in &facts.packets {
            let from = Spot {
                slot: packet.slot,
                channel: packet.channel,
            };
            let room = &packet.about.source.room;
            let place = channels.map(|it| self.routes.moved(room, from, packet.bound, it));
            let goes = match place.unwrap_or(Ok(from)) {
                // Its slot may hold another channel now.
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
                // It may have been transmitted: decide when the radio returns it.
                Err(_) if packet.submitted => {}
                Err(refused) => {
                    let is_first = !packet.is_known && known.insert(packet.message);
                    actions.push(Action::RefuseWaiting(packet.id, refused, is_first));
                    if is_first {
                        let notice = self.notify_refused(refused, &packet.about, &cooldowns, now);
                        cooldowns.extend(notice.iter().filter_map(|it| match it {
                            Action::StartCooldown { what, .. } => Some(what.clone()),
                            _ => None,
                        }));
                        actions.extend(notice);
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
