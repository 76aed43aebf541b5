//! Decides on events of rooms: what goes on the air, and what its sender is told if it does not.

mod edit;

use std::time::Duration;

use super::action::{Action, MeshSource};
use super::backlog::is_backlog;
use super::dropped::DropReason;
use super::facts::Facts;
use super::feedback::Sign;
use super::format::{
    ALERT, carried_text, emoji_of_key, emote_heading, media_note, noted_media, reaction_in_words,
    relay_heading, spoken_text, user_heading,
};
use super::notice::{About, Refused};
use super::policy;
use super::relation::{PacketTarget, check_emoji, packet_target};
use super::route::{Aim, Spot};
use super::split::{Fitted, Heading, fit};
use super::{Bridge, notice};
use crate::config::ReactionStyle;
use crate::model::{
    Destination, Lane, OwnedRoomId, OwnedUserId, PacketId, RadioPayload, RoomReaction, RoomText,
    RoomTextKind, Timestamp,
};

/// Pictures of one sender without caption within that time are told as one.
const MEDIA_WAIT: Duration = Duration::from_secs(10);
/// A reaction may be undone for that time before it goes on the air.
const REACTION_WAIT: Duration = Duration::from_secs(5);
/// A reaction is worth nothing after that.
const REACTION_AGE: Duration = Duration::from_mins(10);
/// A room may have so many messages waiting for the mesh, and as many reactions.
const MOST_WAITING: u64 = 1000;

/// Why a message does not go on the air, and whether its sender is told.
enum Refusal {
    /// Nobody is told.
    Silent(DropReason),
    /// The sender may not transmit.
    Denied,
    /// It came too late.
    TooOld,
    /// The sender is told the reason and the cure.
    Told(Refused),
}

impl From<DropReason> for Refusal {
    fn from(reason: DropReason) -> Self {
        match reason {
            DropReason::Refused(refused) => Self::Told(refused),
            DropReason::Denied => Self::Denied,
            other => Self::Silent(other),
        }
    }
}

impl From<Refused> for Refusal {
    fn from(refused: Refused) -> Self {
        Self::Told(refused)
    }
}

/// Who sends, and when: what is checked of every event that would cost air time.
struct Sending<'a> {
    room: &'a OwnedRoomId,
    sender: &'a OwnedUserId,
    power: i64,
    sent_at: Timestamp,
    /// Worth so long.
    age: Duration,
}

impl Bridge {
    pub(super) fn room_message(
        &self,
        text: &RoomText,
        facts: &Facts,
        now: Timestamp,
    ) -> Vec<Action> {
        let about = About {
            room: &text.room,
            event: &text.event,
            thread: text.thread.as_ref(),
            sender: &text.sender,
        };
        match self.transmit(text, facts, now) {
            Ok((mut actions, whole)) => {
                if !whole {
                    let cut = Refused::Cut;
                    actions.extend(notice::refused(&self.config, cut, about, &facts.told, now));
                }
                actions
            }
            Err(Refusal::Silent(reason)) => vec![Action::Drop(reason)],
            Err(Refusal::Denied) => {
                let mut actions = vec![Action::Drop(DropReason::Denied)];
                let notice = notice::denied(about, &facts.told, now);
                // On the first message of the day only, as the notice.
                let sign = (!notice.is_empty()).then(|| signed(about, Sign::Denied));
                actions.extend(notice);
                actions.extend(sign);
                actions
            }
            Err(Refusal::TooOld) => {
                let expire = Action::Expire(Box::new(MeshSource {
                    room: text.room.clone(),
                    event: text.event.clone(),
                    thread: text.thread.clone(),
                    sender: text.sender.clone(),
                    sent_at: text.sent_at.min(now),
                    text: text.body.clone(),
                    alert: false,
                }));
                vec![Action::Drop(DropReason::TooOld), expire]
            }
            Err(Refusal::Told(refused)) => {
                let mut actions = vec![Action::Drop(DropReason::Refused(refused))];
                actions.extend(notice::refused(
                    &self.config,
                    refused,
                    about,
                    &facts.told,
                    now,
                ));
                actions.push(signed(about, Sign::Refused));
                actions
            }
        }
    }

    /// Returns what goes on the air, and whether that is the whole text.
    fn transmit(
        &self,
        text: &RoomText,
        facts: &Facts,
        now: Timestamp,
    ) -> Result<(Vec<Action>, bool), Refusal> {
        self.check_event(&text.room, &text.sender, text.suppress, facts)?;
        policy::check_message(&self.config, text)?;
        let (heading, body) = self.speech(text, facts)?;
        if body.is_empty() {
            return Err(DropReason::Empty.into());
        }
        let target = packet_target(facts, &text.room, &self.routes);
        let sending = Sending {
            room: &text.room,
            sender: &text.sender,
            power: text.sender_power,
            sent_at: text.sent_at,
            age: self.config.meshtastic.max_message_age,
        };
        // Also where it does not go as a reply: it is meant for those who heard what it answers.
        let aim = target.map_or(Aim::Room, |it| Aim::Channel(it.spot));
        let spot = self.check_sending(&sending, aim, facts, now)?;
        let answered = target.filter(|_| self.config.meshtastic.message_interactions.replies);
        let reply_to = answered.and_then(|it| it.packet);

        let bare_media = bare_media(text).filter(|_| target.is_none());
        if let Some(word) = bare_media
            && let Some(rewrite) = one_more(word, &heading, facts)
        {
            return Ok((vec![rewrite], true));
        }
        let rules = &self.config.meshtastic.long_messages;
        let (packets, whole) = match fit(&heading, &body, reply_to.is_some(), rules) {
            Fitted::Packets(packets) => (packets, true),
            Fitted::Cut(packets) => (packets, false),
            Fitted::TooLong { .. } => return Err(Refused::TooLong.into()),
        };
        let answers_alert = answered.is_some_and(|it| it.pair.alert);
        let alert = body.starts_with(ALERT)
            && (answers_alert || policy::may_alert(&self.config, text.sender_power, facts));
        let urgent = alert || answers_alert;
        // What was written during an outage is bounded by the backlog instead.
        if urgent || !is_backlog(text.sent_at, facts.gathering, now) {
            self.check_limit(packets.len(), facts)?;
        }
        let sent_at = text.sent_at.min(now);
        let to_mesh = Action::ToMesh {
            destination: Destination::Channel(spot.slot),
            channel: spot.channel,
            bound: target.is_some(),
            lane: if urgent { Lane::Urgent } else { Lane::Message },
            parts: payloads(packets, reply_to),
            source: Some(Box::new(MeshSource {
                room: text.room.clone(),
                event: text.event.clone(),
                thread: text.thread.clone(),
                sender: text.sender.clone(),
                sent_at,
                alert,
                text: body,
            })),
            not_before: bare_media.map(|_| now + MEDIA_WAIT),
            expires: sent_at + self.config.meshtastic.max_message_age,
        };
        Ok((vec![to_mesh], whole))
    }

    /// Returns what stands before the text, and the text.
    fn speech(&self, text: &RoomText, facts: &Facts) -> Result<(Heading, String), DropReason> {
        let Some(fields) = &text.relay else {
            let heading = user_heading(&self.config, &text.sender, &text.sender_name);
            let heading = match text.kind {
                RoomTextKind::Emote => emote_heading(&heading),
                RoomTextKind::Text
                | RoomTextKind::Notice
                | RoomTextKind::Media { .. }
                | RoomTextKind::Location
                | RoomTextKind::Poll
                | RoomTextKind::VerificationRequest
                | RoomTextKind::Other => heading,
            };
            return Ok((heading, spoken_text(text)));
        };
        let ours = self.known_meshnet();
        policy::check_relay(&self.config, &text.sender, fields, ours, facts)?;
        if fields.emoji && !self.config.meshtastic.message_interactions.reactions {
            return Err(DropReason::ReactionsOff);
        }
        Ok((
            relay_heading(&self.config, fields),
            carried_text(text, fields),
        ))
    }

    pub(super) fn room_reaction(
        &self,
        reaction: &RoomReaction,
        facts: &Facts,
        now: Timestamp,
    ) -> Vec<Action> {
        match self.tap_back(reaction, facts, now) {
            Ok(action) => vec![action],
            Err(Refusal::Silent(reason)) => vec![Action::Drop(reason)],
            // A reaction is not worth a notice.
            Err(Refusal::Denied) => vec![Action::Drop(DropReason::Denied)],
            Err(Refusal::TooOld) => vec![Action::Drop(DropReason::TooOld)],
            Err(Refusal::Told(refused)) => {
                let mut actions = vec![Action::Drop(DropReason::Refused(refused))];
                if refused.is_of_its_target() {
                    // It stands beside the message, which is what people see.
                    let about = About {
                        room: &reaction.room,
                        event: &reaction.target,
                        thread: None,
                        sender: &reaction.sender,
                    };
                    actions.extend(notice::refused(
                        &self.config,
                        refused,
                        about,
                        &facts.told,
                        now,
                    ));
                }
                actions
            }
        }
    }

    fn tap_back(
        &self,
        reaction: &RoomReaction,
        facts: &Facts,
        now: Timestamp,
    ) -> Result<Action, Refusal> {
        self.check_event(&reaction.room, &reaction.sender, reaction.suppress, facts)?;
        let meshtastic = &self.config.meshtastic;
        if !meshtastic.message_interactions.reactions {
            return Err(DropReason::ReactionsOff.into());
        }
        let target =
            packet_target(facts, &reaction.room, &self.routes).ok_or(DropReason::UnknownTarget)?;
        let packet = target.packet.ok_or(DropReason::UnknownTarget)?;
        let emoji = emoji_of_key(&self.config.matrix.reaction_format, &reaction.key)
            .ok_or(DropReason::NotEmoji)?;
        check_emoji(&emoji, &target, meshtastic.reaction_style, facts)?;
        let sending = Sending {
            room: &reaction.room,
            sender: &reaction.sender,
            power: reaction.sender_power,
            sent_at: reaction.sent_at,
            age: REACTION_AGE,
        };
        let spot = self.check_sending(&sending, Aim::Channel(target.spot), facts, now)?;
        self.check_limit(1, facts)?;
        let payload = match meshtastic.reaction_style {
            ReactionStyle::Tapback => RadioPayload::Tapback {
                emoji: emoji.clone(),
                target: packet,
            },
            ReactionStyle::Text => self.words(reaction, &emoji, &target)?,
        };
        let sent_at = reaction.sent_at.min(now);
        Ok(Action::ToMesh {
            destination: Destination::Channel(spot.slot),
            channel: spot.channel,
            bound: true,
            lane: Lane::Reaction,
            parts: vec![payload],
            source: Some(Box::new(MeshSource {
                room: reaction.room.clone(),
                event: reaction.event.clone(),
                thread: None,
                sender: reaction.sender.clone(),
                sent_at,
                text: emoji,
                alert: false,
            })),
            not_before: Some(now + REACTION_WAIT),
            expires: sent_at + REACTION_AGE,
        })
    }

    fn words(
        &self,
        reaction: &RoomReaction,
        emoji: &str,
        target: &PacketTarget<'_>,
    ) -> Result<RadioPayload, Refused> {
        let heading = user_heading(&self.config, &reaction.sender, &reaction.sender_name);
        let words = reaction_in_words(emoji, &target.pair.text);
        match fit(
            &heading,
            &words,
            true,
            &self.config.meshtastic.long_messages,
        ) {
            Fitted::Packets(mut packets) if packets.len() == 1 => Ok(RadioPayload::Text {
                text: packets.remove(0),
                reply_to: target.packet,
            }),
            Fitted::Packets(_) | Fitted::Cut(_) | Fitted::TooLong { .. } => Err(Refused::TooLong),
        }
    }

    /// Checks what concerns every event of a room, whoever sent it.
    fn check_event(
        &self,
        room: &OwnedRoomId,
        sender: &OwnedUserId,
        suppress: bool,
        facts: &Facts,
    ) -> Result<(), DropReason> {
        if facts.already_seen {
            Err(DropReason::Duplicate)
        } else if self.own_user.as_ref() == Some(sender) {
            Err(DropReason::OwnEvent)
        } else if suppress {
            Err(DropReason::Suppressed)
        } else if !self.routes.is_mapped(room) {
            Err(DropReason::UnmappedRoom)
        } else {
            Ok(())
        }
    }

    /// Checks whether an event may go on the air, and returns its channel: first what is nobody's business, then
    /// the sender's rights, then what stands in the way.
    fn check_sending(
        &self,
        sending: &Sending<'_>,
        aim: Aim,
        facts: &Facts,
        now: Timestamp,
    ) -> Result<Spot, Refusal> {
        let config = &self.config;
        if !config.meshtastic.broadcast_enabled {
            return Err(DropReason::BroadcastOff.into());
        }
        let spot = match self.routes.channel_of(sending.room, aim) {
            Ok(spot) => Ok(spot),
            Err(DropReason::Refused(refused)) => Err(refused),
            Err(silent) => return Err(silent.into()),
        };
        policy::check_sender(config, sending.sender, sending.power)?;
        if now.since(sending.sent_at) > sending.age {
            return Err(Refusal::TooOld);
        }
        policy::check_radio(config, self.profile.as_ref())?;
        if facts.waiting_for_mesh >= MOST_WAITING {
            return Err(Refused::QueueFull.into());
        }
        spot.map_err(Refusal::Told)
    }

    fn check_limit(&self, packets: usize, facts: &Facts) -> Result<(), Refused> {
        let limit = self.config.matrix.sender_limit;
        let more = u32::try_from(packets).unwrap_or(u32::MAX);
        let (minute, hour) = facts.sender_sent;
        if minute.saturating_add(more) > limit.per_minute
            || hour.saturating_add(more) > limit.per_hour
        {
            return Err(Refused::SenderLimit);
        }
        Ok(())
    }
}

/// Shows a sign on a message that never gets rows for the mesh.
fn signed(about: About<'_>, sign: Sign) -> Action {
    Action::Sign {
        room: about.room.clone(),
        event: about.event.clone(),
        sign,
    }
}

/// Returns the word for a picture or the like without caption.
fn bare_media(text: &RoomText) -> Option<&'static str> {
    if let RoomTextKind::Media { word } = text.kind
        && text.body.trim().is_empty()
    {
        return Some(word);
    }
    None
}

/// Tells one more picture in the note that waits, if there is one.
fn one_more(word: &str, heading: &Heading, facts: &Facts) -> Option<Action> {
    let (outbox, waiting) = facts.waiting_media.as_ref()?;
    let count = noted_media(waiting, heading, word)?;
    let note = media_note(word, count.saturating_add(1));
    Some(Action::Rewrite {
        outbox: *outbox,
        payload: RadioPayload::Text {
            text: format!("{}{note}", heading.prefix),
            reply_to: None,
        },
    })
}

/// Makes payloads of packets; the first carries the relation.
fn payloads(packets: Vec<String>, mut reply_to: Option<PacketId>) -> Vec<RadioPayload> {
    packets
        .into_iter()
        .map(|text| RadioPayload::Text {
            text,
            reply_to: reply_to.take(),
        })
        .collect()
}

#[cfg(test)]
mod tests;
