//! The radio that is attached, and what follows from how it is set up: what waits follows its channel, to another slot, on
//! another radio, after a correction of the configuration.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::action::Action;
use super::facts::Facts;
use super::notice::Refused;
use super::route::{RenamedChannel, RouteProblem, Spot};
use super::{Bridge, policy};
use relay_model::{Channel, MeshRowId, Node, RadioProfile, Timestamp};

/// How the radio stands that is ready now.
#[derive(Debug, Clone, PartialEq)]
pub struct Readiness {
    /// Its own node.
    pub own: Node,
    /// Its firmware, if it tells it.
    pub firmware: Option<String>,
    /// The mesh's name.
    pub meshnet: String,
    /// The mapped channels that have another name or key than before.
    pub renamed: Vec<RenamedChannel>,
    /// What keeps messages from crossing,
    pub problems: RadioProblems,
    /// and what of that was not so when the radio was ready the last time.
    pub news: RadioProblems,
}

/// What keeps messages from crossing over a radio.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RadioProblems {
    /// The mapped channels that cannot be used.
    pub routes: Vec<RouteProblem>,
    /// Why nothing is transmitted.
    pub silence: Option<Refused>,
}

impl RadioProblems {
    /// Returns what was not so before: a link may come and go all day.
    fn since(&self, before: &Self) -> Self {
        let is_new = |it: &&RouteProblem| !before.routes.contains(it);
        Self {
            routes: self.routes.iter().filter(is_new).cloned().collect(),
            silence: self.silence.filter(|_| self.silence != before.silence),
        }
    }
}

impl Bridge {
    pub(super) fn radio_is_ready(
        &mut self,
        profile: &RadioProfile,
        facts: &Facts,
        now: Timestamp,
    ) -> Vec<Action> {
        self.radio = profile.own.num;
        // A locked radio does not tell its channels: they are as they were.
        let channels = (!profile.locked).then(|| profile.channels.clone());
        let mut actions = vec![Action::UseRadio(self.radio, channels.clone())];
        if let Some(channels) = channels {
            // By the channels as they were: the new ones are learnt after that.
            actions.extend(self.follow_channels(Some(&channels), facts, now));
            Arc::make_mut(&mut self.routes).follow(channels);
        }
        self.profile = Some(Arc::new(profile.clone()));
        actions.push(Action::WakeMesh);
        actions.extend(self.link_stands(now));
        let problems = RadioProblems {
            routes: self.routes.problems(),
            silence: policy::check_radio(&self.config, self.profile.as_deref()).err(),
        };
        let before = std::mem::replace(&mut self.radio_problems, problems.clone());
        let is_silent = problems.silence.is_some();
        actions.push(Action::Ready(Box::new(Readiness {
            own: profile.own.clone(),
            firmware: profile.told_firmware().map(str::to_owned),
            meshnet: self.meshnet(),
            renamed: self.routes.renamed.clone(),
            news: problems.since(&before),
            problems,
        })));
        if !is_silent {
            actions.extend(self.radio_is_back(facts, now));
        }
        actions
    }

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
            let room = &packet.about.source.room;
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
                    if is_first {
                        let said = self.tell_refused(refused, &packet.about, &told, now);
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
