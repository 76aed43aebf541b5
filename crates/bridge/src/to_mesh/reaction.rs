//! Decisions on reactions of a room: a tapback, or its words.

use std::time::Duration;

use crate::format::{emoji_of_key, reaction_in_words, user_heading};
use crate::relation::{PacketTarget, check_emoji, packet_target};
use crate::route::Aim;
use crate::story::is_question;
use crate::{
    Bridge, action::Action, dropped::DropReason, facts::Facts, notice::Refused, split::fit,
};
use relay_config::ReactionStyle;
use relay_model::{
    Destination, Lane, MeshContent, MeshMessage, MeshSource, RadioPayload, RoomReaction, Timestamp,
};

/// Delay of a reaction before transmission, in which it can be undone.
const REACTION_WAIT: Duration = Duration::from_secs(5);
/// Time after which an unsent reaction expires.
const REACTION_AGE: Duration = Duration::from_mins(10);

impl Bridge {
    pub(crate) fn room_reaction(
        &self,
        reaction: &RoomReaction,
        facts: &Facts,
        now: Timestamp,
    ) -> Vec<Action> {
        let source = MeshSource {
            room: reaction.room.clone(),
            event: reaction.event.clone(),
            thread: None,
            sender: reaction.sender.clone(),
            sent_at: reaction.sent_at.min(now),
            alert: false,
        };
        if is_question(&reaction.key) {
            return self.tell_story(reaction, &source, facts, now);
        }
        match self.tap_back(reaction, &source, facts, now) {
            Ok(action) => vec![action],
            Err(reason) => {
                let mut actions = vec![Action::Drop(reason)];
                // Other refused reactions get no notice and no sign.
                if let DropReason::Refused(refused) = reason
                    && refused.is_of_its_target()
                {
                    // The channel of the message, which people see beside it.
                    let event = reaction.target.clone();
                    let about = MeshSource { event, ..source };
                    actions.extend(self.post_notice(reason, &about, &facts.cooldowns, now));
                }
                actions
            }
        }
    }

    fn tap_back(
        &self,
        reaction: &RoomReaction,
        source: &MeshSource,
        facts: &Facts,
        now: Timestamp,
    ) -> Result<Action, DropReason> {
        self.check_event(source, reaction.suppress, facts)?;
        let meshtastic = &self.config.meshtastic;
        if !meshtastic.message_interactions.reactions {
            return Err(DropReason::ReactionsOff);
        }
        let target =
            packet_target(facts, &reaction.room, &self.routes).ok_or(DropReason::UnknownTarget)?;
        let packet = target.packet.ok_or(DropReason::UnknownTarget)?;
        let emoji = emoji_of_key(&self.config.matrix.reaction_format, &reaction.key)
            .ok_or(DropReason::NotEmoji)?;
        check_emoji(&emoji, &target, meshtastic.reaction_style, facts)?;
        self.check_right(&reaction.room, &reaction.sender, reaction.sender_power)?;
        let aim = Aim::Channel(target.spot);
        let spot = self.check_sending(source, REACTION_AGE, aim, facts, now)?;
        self.check_limit(1, facts)?;
        let payload = match meshtastic.reaction_style {
            ReactionStyle::Tapback => RadioPayload::Tapback {
                emoji,
                target: packet,
            },
            ReactionStyle::Text => self.words(reaction, &emoji, &target)?,
        };
        Ok(Action::ToMesh(MeshMessage {
            destination: Destination::Channel(spot.slot),
            channel: spot.channel,
            bound: true,
            lane: Lane::Reaction,
            content: MeshContent::Packet(payload),
            source: Some(Box::new(source.clone())),
            not_before: Some(now + REACTION_WAIT),
            expires: source.sent_at + REACTION_AGE,
        }))
    }

    fn words(
        &self,
        reaction: &RoomReaction,
        emoji: &str,
        target: &PacketTarget<'_>,
    ) -> Result<RadioPayload, Refused> {
        let heading = user_heading(&self.config, &reaction.sender, &reaction.sender_name);
        let words = reaction_in_words(emoji, &target.pair.text);
        let rules = &self.config.meshtastic.long_messages;
        let fitted = fit(&heading, &words, true, rules);
        let packets = fitted.packets("");
        if !fitted.is_whole || !packets.further.is_empty() {
            return Err(Refused::TooLong);
        }
        Ok(RadioPayload::Text {
            text: packets.first,
            reply_to: target.packet,
        })
    }
}
