//! Decisions on packets: what is posted to which rooms.

use std::time::Duration;

use super::format::{ALERT, Speaker, shown_text};
use super::relation::{RoomTarget, room_target};
use super::text::{clean_text, fitting, one_emoji};
use super::{
    Bridge, action::Action, dropped::DropReason, echo::is_echo, facts::Facts, notice, policy,
};
use relay_config::SensorType;
use relay_model::{
    ChannelIndex, Destination, Lane, MeshContent, MeshMessage, MessagePair, NodeNum, Origin,
    OwnedRoomOrAliasId, RadioPayload, RadioText, RoomContent, RoomMessage, TextPort, Timestamp,
};

/// Cooldown of room mentions by alerts of the same node.
const MENTION_AGAIN: Duration = Duration::from_mins(10);
/// Cooldown of `dm_reply` to a node.
const ANSWER_AGAIN: Duration = Duration::from_hours(24);
/// Cooldown of `dm_reply` to any node: a mesh can invent nodes, and air time is for people.
const ANSWER_ANOTHER: Duration = Duration::from_secs(30);
/// Time after which an unsent reply expires.
const ANSWER_AGE: Duration = Duration::from_mins(10);
/// Maximum bytes of a direct message (measured on firmware 2.7).
const DIRECT_BYTES: usize = 220;

impl Bridge {
    pub(super) fn packet(&self, packet: &RadioText, facts: &Facts, now: Timestamp) -> Vec<Action> {
        let decision = if facts.already_seen {
            Err(DropReason::Duplicate)
        } else if facts.sent_by_us {
            Err(DropReason::OwnPacket)
        } else {
            match packet.destination {
                Destination::Channel(channel) => self.channel_packet(packet, channel, facts, now),
                Destination::Direct(node) => self.direct_packet(packet, node, facts, now),
            }
        };
        decision.unwrap_or_else(|reason| vec![Action::Drop(reason)])
    }

    /// Direct messages are never published, whatever they reply to.
    fn direct_packet(
        &self,
        packet: &RadioText,
        node: NodeNum,
        facts: &Facts,
        now: Timestamp,
    ) -> Result<Vec<Action>, DropReason> {
        if self.own_node() != Some(node) {
            return Err(DropReason::ForAnotherNode);
        }
        policy::check_packet(&self.config, self.profile.as_deref(), packet)?;
        let mut actions = vec![Action::KeepDirect(Box::new(packet.clone()))];
        if let Some(text) = self.answer_to(packet)
            && facts.cooldowns.is_empty()
        {
            actions.push(Action::ToMesh(MeshMessage {
                destination: Destination::Direct(packet.sender.num),
                channel: None,
                bound: false,
                lane: Lane::Message,
                content: MeshContent::Packet(RadioPayload::Text {
                    text,
                    reply_to: None,
                }),
                source: None,
                not_before: None,
                expires: now + self.config.meshtastic.max_message_age.min(ANSWER_AGE),
            }));
            for (what, again) in [
                (notice::direct_name(packet.sender.num), ANSWER_AGAIN),
                (notice::ANY_DIRECT.to_owned(), ANSWER_ANOTHER),
            ] {
                let until = now + again;
                actions.push(Action::StartCooldown { what, until });
            }
        }
        Ok(actions)
    }

    fn answer_to(&self, packet: &RadioText) -> Option<String> {
        let person = packet.port == TextPort::Text
            && !packet.is_reaction
            && !packet.replayed
            && Some(packet.sender.num) != self.own_node();
        let may_transmit = self.config.meshtastic.broadcast_enabled
            && policy::check_radio(&self.config, self.profile.as_deref()).is_ok();
        let text = clean_text(self.config.meshtastic.dm_reply.as_deref()?);
        let fits = fitting(&text, DIRECT_BYTES);
        (person && may_transmit && !fits.is_empty()).then(|| fits.to_owned())
    }

    fn channel_packet(
        &self,
        packet: &RadioText,
        channel: ChannelIndex,
        facts: &Facts,
        now: Timestamp,
    ) -> Result<Vec<Action>, DropReason> {
        policy::check_packet(&self.config, self.profile.as_deref(), packet)?;
        let mut rooms = self.routes.rooms_of(packet, channel);
        if rooms.is_empty() {
            return Err(DropReason::UnmappedChannel);
        }
        rooms.retain(|room| policy::has_consent(&self.config, packet, self.routes.joined(room)));
        if rooms.is_empty() {
            return Err(DropReason::NoConsent);
        }
        let text = clean_text(&packet.text);
        let interactions = self.config.meshtastic.message_interactions;
        if packet.is_reaction && !interactions.reactions {
            return Err(DropReason::ReactionsOff);
        }
        if packet.is_reaction
            && let Some(reactions) = self.tapback(packet, &text, &rooms, facts)
        {
            return Ok(reactions);
        }
        if self.may_be_echo(packet) && is_echo(&text, packet.sender.num, &facts.relayed) {
            return Err(DropReason::Echo);
        }
        if text.is_empty() && packet.port != TextPort::Alert {
            return Err(DropReason::Empty);
        }
        Ok(self.post(packet, &text, rooms, facts, now))
    }

    /// Returns whether a packet may be another relay's echo: only texts. Replies are written by people, alerts and sensor texts
    /// are no echoes, and what a store-and-forward server repeats is a duplicate.
    pub(super) fn may_be_echo(&self, packet: &RadioText) -> bool {
        packet.port == TextPort::Text
            && !packet.replayed
            && packet.reply_to.is_none()
            && Some(packet.sender.num) != self.own_node()
    }

    /// Returns the reactions for the rooms that know the target; `None` if none does, or if it is not one emoji.
    fn tapback(
        &self,
        packet: &RadioText,
        text: &str,
        rooms: &[OwnedRoomOrAliasId],
        facts: &Facts,
    ) -> Option<Vec<Action>> {
        let emoji = one_emoji(text)?;
        let speaker = Speaker::of(packet, &self.meshnet());
        let reactions = rooms.iter().filter_map(|room| {
            let target = room_target(&facts.target, room, &self.routes)?.event?;
            let encrypted = self.routes.joined(room).is_none_or(|it| it.encrypted);
            let key = speaker.reaction_key(&self.config, emoji, encrypted);
            let (room, content) = (room.clone(), RoomContent::Reaction { target, key });
            Some(Action::say(RoomMessage { room, content }))
        });
        let reactions: Vec<Action> = reactions.collect();
        (!reactions.is_empty()).then_some(reactions)
    }

    /// Posts a text to each room.
    fn post(
        &self,
        packet: &RadioText,
        text: &str,
        rooms: Vec<OwnedRoomOrAliasId>,
        facts: &Facts,
        now: Timestamp,
    ) -> Vec<Action> {
        let meshtastic = &self.config.meshtastic;
        let what = notice::alert_name(packet.sender.num);
        let is_alert = packet.port == TextPort::Alert;
        let mentions_rooms =
            meshtastic.alert_mentions_room && is_alert && !facts.cooldowns.contains(&what);
        let is_sensor = packet.port == TextPort::DetectionSensor;
        let notice = is_sensor && meshtastic.detection_sensor_type == SensorType::Notice;
        let speaker = Speaker::of(packet, &self.meshnet());
        let answers = meshtastic.message_interactions.replies;
        let answered = if answers {
            facts.target.as_slice()
        } else {
            &[]
        };
        let mut actions = Vec::new();
        let mut mentioned = false;
        for room in rooms {
            let joined = self.routes.joined(&room);
            let mentions_room = mentions_rooms && joined.is_some_and(|it| it.may_mention_room);
            mentioned |= mentions_room;
            let target: RoomTarget = room_target(answered, &room, &self.routes).unwrap_or_default();
            let pair = MessagePair {
                origin: Origin::Mesh,
                sender: packet.sender.num,
                packet: packet.packet,
                destination: packet.destination,
                channel: packet.fingerprint,
                room: room.clone(),
                event: None,
                thread: target.thread.clone(),
                author: None,
                text: text.to_owned(),
                alert: is_alert || text.starts_with(ALERT),
                part: 0,
                at: now,
            };
            let content = RoomContent::Text {
                notice,
                prefix: speaker.prefix(&self.config),
                text: shown_text(packet, text).trim_end().to_owned(),
                heard_at: Some(packet.heard_at),
                reply_to: target.event,
                thread: target.thread,
                mentions: target.author.into_iter().collect(),
                mentions_room,
                fields: Some(Box::new(speaker.fields(text))),
                profile: speaker.profile(&self.config).map(Box::new),
                suppress: false,
            };
            actions.push(Action::ToRoom {
                message: RoomMessage { room, content },
                pair: Some(Box::new(pair)),
            });
        }
        if mentioned {
            actions.push(Action::StartCooldown {
                what,
                until: now + MENTION_AGAIN,
            });
        }
        actions
    }
}

#[cfg(test)]
mod tests;
