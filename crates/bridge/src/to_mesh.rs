//! Decisions on texts of a room: what is transmitted, and what the sender is told otherwise; `reaction.rs` and `edit.rs`
//! decide on what else a room says.

mod checks;
mod edit;
mod reaction;

use std::time::Duration;

use super::format::{
    ALERT, carried_text, emote_heading, media_note, relay_heading, spoken_text, user_heading,
};
use super::relation::{PacketTarget, packet_target};
use super::route::{Aim, Spot};
use super::{
    Bridge, action::Action, backlog::is_backlog, dropped::DropReason, facts::Facts,
    notice::Refused, policy, render::plan, telling::Telling, text::clean_text,
};
use relay_model::{
    Destination, Draft, Heading, Lane, Media, MeshContent, MeshMessage, MeshSource, RoomId,
    RoomText, RoomTextKind, Timestamp,
};

use edit::change_early;
pub(super) use edit::taken_away;

/// Maximum time between pictures of one sender without caption that share a note.
const MEDIA_WAIT: Duration = Duration::from_secs(10);

impl Bridge {
    pub(super) fn room_message(
        &self,
        text: &RoomText,
        facts: &Facts,
        now: Timestamp,
    ) -> Vec<Action> {
        let mut text = own_words(text, facts);
        if let Some(edit) = &facts.early_edit {
            change_early(&mut text, edit);
        }
        let text = &text;
        let source = source_of(text, now);
        match self.transmit(text, &source, facts, now) {
            Ok((mut actions, whole)) => {
                if !whole {
                    actions.extend(self.post_notice(
                        Refused::Cut.into(),
                        &source,
                        &facts.cooldowns,
                        now,
                    ));
                }
                actions
            }
            Err(reason) => {
                let mut actions = vec![Action::Drop(reason)];
                actions.extend(self.tell(reason, text, &source, facts, now));
                actions.extend(self.keep_place(reason, text, facts));
                actions
            }
        }
    }

    /// Records the channel of a message that is not transmitted, for replies to it.
    fn keep_place(&self, reason: DropReason, text: &RoomText, facts: &Facts) -> Option<Action> {
        let room = &text.room;
        if facts.already_seen || self.routes.has_one_channel((&**room).into()) {
            return None;
        }
        let spot = match aim(text, packet_target(facts, room, &self.routes)) {
            // Another relay's post was on our own mesh, on an unknown channel.
            _ if matches!(reason, DropReason::SameMeshnet | DropReason::RelayOnOurMesh) => {
                Spot::UNKNOWN
            }
            Aim::Channel(spot) => spot,
            aim @ (Aim::Room | Aim::Waiting(_)) => {
                let spoken = self.routes.channel_of(room, aim);
                spoken.unwrap_or(Spot::UNKNOWN)
            }
        };
        let (event, sender) = (text.event.clone(), text.sender.clone());
        Some(Action::KeepPlace(room.clone(), event, sender, spot))
    }

    /// Tells the author why a message is not transmitted, unless the reason is silent.
    fn tell(
        &self,
        reason: DropReason,
        text: &RoomText,
        source: &MeshSource,
        facts: &Facts,
        now: Timestamp,
    ) -> Vec<Action> {
        if reason.telling() == Telling::Expired {
            return vec![Action::Expire(Box::new(source.clone()))];
        }
        // Nothing of theirs is transmitted, so a cure would not help.
        let right = || self.check_right(&text.room, &text.sender, text.sender_power);
        if matches!(reason, DropReason::Notice | DropReason::OffAir) && right().is_err() {
            return Vec::new();
        }
        self.notify_author(reason, source, &facts.cooldowns, now)
    }

    /// Returns the draft to transmit, and whether it is the whole text.
    fn transmit(
        &self,
        text: &RoomText,
        source: &MeshSource,
        facts: &Facts,
        now: Timestamp,
    ) -> Result<(Vec<Action>, bool), DropReason> {
        self.check_event(source, text.suppress, facts)?;
        let words = self.words_of(text, facts);
        // Off-air messages of people who may not transmit are no refusal.
        if let Ok(_)
        | Err(
            DropReason::MediaOff
            | DropReason::LiveLocation
            | DropReason::Empty
            | DropReason::Refused(_),
        ) = words
        {
            self.check_right(&text.room, &text.sender, text.sender_power)?;
        }
        let (heading, body) = words?;
        self.check_shelter(text)?;
        let target = packet_target(facts, &text.room, &self.routes);
        let age = self.config.meshtastic.max_message_age;
        let spot = self.check_sending(source, age, aim(text, target), facts, now)?;
        let answered = target.filter(|_| self.config.meshtastic.message_interactions.replies);
        let reply_to = answered.and_then(|it| it.packet);

        let bare_media = bare_media(text).filter(|_| target.is_none());
        if let Some(word) = bare_media
            && let Some(one_more) = one_more(text, word, &heading, facts)
        {
            return Ok((vec![one_more], true));
        }
        let starts_alert = body.starts_with(ALERT);
        let draft = Draft {
            heading,
            text: body,
            media: bare_media.map(|word| Media {
                word: word.to_owned(),
                count: 1,
            }),
            reply_to,
            ..Draft::default()
        };
        let rules = &self.config.meshtastic.long_messages;
        let (draft, is_whole) = plan(draft, rules).ok_or(Refused::TooLong)?;
        let alerted = answered.filter(|it| it.pair.alert);
        // A reply to an own alert continues it.
        let answers_other = alerted.is_some_and(|it| it.pair.author.as_ref() != Some(&text.sender));
        let is_loud = alerted.is_some() || starts_alert;
        let urgent =
            answers_other || is_loud && policy::may_alert(&self.config, text.sender_power, facts);
        let alert = urgent && starts_alert;
        // Messages written during an outage are limited by the backlog instead.
        if urgent || !is_backlog(text.sent_at, facts.gathering, now) {
            self.check_limit(draft.packets, facts)?;
        }
        let to_mesh = Action::ToMesh(MeshMessage {
            destination: Destination::Channel(spot.slot),
            channel: spot.channel,
            bound: target.is_some(),
            lane: if urgent { Lane::Urgent } else { Lane::Message },
            content: MeshContent::Text(draft),
            source: Some(Box::new(MeshSource {
                alert,
                ..source.clone()
            })),
            not_before: bare_media.map(|_| now + MEDIA_WAIT),
            expires: source.sent_at + age,
        });
        Ok((vec![to_mesh], is_whole))
    }

    /// Returns heading and text; the error is why it is not relayed, whoever may transmit.
    fn words_of(&self, text: &RoomText, facts: &Facts) -> Result<(Heading, String), DropReason> {
        let (heading, body) = self.speech(text, facts)?;
        policy::check_kind(&self.config, text)?;
        if text.relay.is_none() {
            let bot = self.own_names(&text.room);
            let words = clean_text(&text.body);
            policy::check_words(&self.config, &text.kind, &words, &bot)?;
        }
        if body.is_empty() {
            return Err(DropReason::Empty);
        }
        Ok((heading, body))
    }

    /// Returns the bot's names in a room.
    fn own_names(&self, room: &RoomId) -> Vec<&str> {
        let shown = self.routes.joined(room.into());
        let shown = shown.map(|it| it.own_name.as_str()).into_iter();
        let ids = self.own_user.iter();
        let ids = ids.flat_map(|user| [user.localpart(), user.as_str()]);
        shown.chain(ids).collect()
    }

    /// Returns the author's heading and the text as it is said on the mesh; another relay's post is taken apart.
    fn speech(&self, text: &RoomText, facts: &Facts) -> Result<(Heading, String), DropReason> {
        let Some(fields) = &text.relay else {
            let mut heading = user_heading(&self.config, &text.sender, &text.sender_name);
            if text.kind == RoomTextKind::Emote {
                heading = emote_heading(&heading);
            }
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
}

/// Returns a person's message without relay fields: clients copy them when a person forwards one of our posts.
fn own_words(text: &RoomText, facts: &Facts) -> RoomText {
    let mut text = text.clone();
    text.relay = text.relay.filter(|_| !facts.is_our_post);
    text
}

fn source_of(text: &RoomText, now: Timestamp) -> MeshSource {
    MeshSource {
        room: text.room.clone(),
        event: text.event.clone(),
        thread: text.thread.clone(),
        sender: text.sender.clone(),
        sent_at: text.sent_at.min(now),
        alert: false,
    }
}

/// Returns the channel that a message is meant for: of its target, even if it is not sent as a reply.
fn aim(text: &RoomText, target: Option<PacketTarget<'_>>) -> Aim {
    match target {
        Some(target) => Aim::Channel(target.spot),
        None if text.reply_to.is_some() || text.thread.is_some() => Aim::Channel(Spot::UNKNOWN),
        None => Aim::Room,
    }
}

/// Returns the kind word of a picture or the like without caption.
pub(super) fn bare_media(text: &RoomText) -> Option<&'static str> {
    if let RoomTextKind::Media { word } = text.kind
        && text.body.trim().is_empty()
    {
        return Some(word);
    }
    None
}

/// Adds one more picture to a waiting note, if there is one.
fn one_more(text: &RoomText, word: &str, heading: &Heading, facts: &Facts) -> Option<Action> {
    let (outbox, waiting) = facts.waiting_media.as_ref()?;
    let media = waiting.media.as_ref().filter(|it| it.word == word)?;
    (waiting.heading == *heading).then(|| {
        let media = Media {
            word: word.to_owned(),
            count: media.count.saturating_add(1),
        };
        let draft = Draft {
            text: media_note(&media),
            media: Some(media),
            ..waiting.clone()
        };
        Action::OneMore(*outbox, draft, text.event.clone(), text.thread.clone())
    })
}

#[cfg(test)]
mod tests;
