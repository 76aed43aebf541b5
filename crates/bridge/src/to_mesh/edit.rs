//! Decisions on edits and redactions. The mesh cannot change a sent message: waiting text is changed here, sent text is
//! corrected by a further message.

use std::time::Duration;

use super::{own_words, source_of};
use crate::route::{Aim, Spot};
use crate::{
    Bridge, action::Action, dropped::DropReason, facts::Facts, format::ALERT, notice::Refused,
    policy, render::plan, telling::Telling,
};
use relay_config::Edits;
use relay_model::{
    Destination, Draft, EarlyEdit, Lane, MeshContent, MeshMessage, MeshSource, NewVersion,
    OwnedUserId, RoomEdit, RoomRedaction, RoomText, RoomTextKind, Timestamp, Version,
};

/// Delay of a correction, so that several edits become one.
const CORRECTION_WAIT: Duration = Duration::from_secs(10);
/// Maximum delay of a correction after the first edit.
const LONGEST_CORRECTION_WAIT: Duration = Duration::from_secs(30);
/// Maximum number of corrections of a message.
const MOST_CORRECTIONS: u8 = 2;
/// Maximum age of a message that is corrected.
const CORRECTION_AGE: Duration = Duration::from_mins(15);

/// Result of an edit, with what its author is told.
type Changed = (Vec<Action>, Option<DropReason>);

impl Bridge {
    pub(crate) fn room_edit(&self, edit: &RoomEdit, facts: &Facts, now: Timestamp) -> Vec<Action> {
        let edit = &RoomEdit {
            target: edit.target.clone(),
            new: own_words(&edit.new, facts),
        };
        let changed = self.change(edit, facts, now);
        let (mut actions, reason) =
            changed.unwrap_or_else(|reason| (vec![Action::Drop(reason)], Some(reason)));
        if let Some(reason) = reason {
            actions.extend(self.tell_of_edit(reason, edit, facts, now));
        }
        actions
    }

    /// Tells the author why an edit is not transmitted, unless the message was refused for the same reason.
    fn tell_of_edit(
        &self,
        reason: DropReason,
        edit: &RoomEdit,
        facts: &Facts,
        now: Timestamp,
    ) -> Vec<Action> {
        let about = about_target(edit, now);
        if reason.is_of_edits() {
            self.notify_author(reason, &about, &facts.cooldowns, now)
        } else if facts.versions.is_empty() {
            Vec::new()
        } else {
            self.notify_of_edit(reason, &about, &facts.cooldowns, now)
        }
    }

    fn change(
        &self,
        edit: &RoomEdit,
        facts: &Facts,
        now: Timestamp,
    ) -> Result<Changed, DropReason> {
        let new = &edit.new;
        self.check_event(&source_of(new, now), new.suppress, facts)?;
        let (Some(first), Some(newest)) = (facts.versions.first(), facts.versions.last()) else {
            // It may have arrived before its message.
            let is_early = is_words(new) && !facts.target_seen && self.check_shelter(new).is_ok();
            return if is_early && self.config.meshtastic.edits != Edits::Ignore {
                Ok((vec![Action::KeepEdit(Box::new(edit.clone()))], None))
            } else {
                Err(self.unsent(new, facts))
            };
        };
        if first.source.sender != new.sender {
            return Err(DropReason::ForeignEdit);
        }
        if self.config.meshtastic.edits == Edits::Ignore {
            return Err(DropReason::EditsOff);
        }
        // Edits missed in an outage, or without a key, arrive after newer ones.
        if first.edited_at > Some(new.sent_at.min(now)) {
            return Err(DropReason::OlderEdit);
        }
        self.check_shelter(new)?;
        if newest.waits {
            self.change_waiting(newest, edit, facts, now)
        } else {
            self.correct(first, newest, edit, facts, now)
        }
    }

    /// Returns why the edit of a message that is not on its way to the mesh is not transmitted.
    fn unsent(&self, new: &RoomText, facts: &Facts) -> DropReason {
        if !facts.target_seen {
            return DropReason::UnknownTarget;
        }
        let right = || self.check_right(&new.room, &new.sender, new.sender_power);
        match self.words_of(new, facts).map(|_| ()).and_then(|()| right()) {
            Ok(()) | Err(DropReason::Refused(_)) => DropReason::Edit,
            // For the same reason as the message itself.
            Err(reason) => reason,
        }
    }

    /// Changes a message that nobody has received yet.
    fn change_waiting(
        &self,
        waiting: &Version,
        edit: &RoomEdit,
        facts: &Facts,
        now: Timestamp,
    ) -> Result<Changed, DropReason> {
        let new = &edit.new;
        let withdraw = match waiting.correction {
            0 => Action::Withdraw(new.room.clone(), edit.target.clone()),
            // Parts of the message itself may still wait.
            _ => Action::WithdrawCorrection(waiting.row),
        };
        let before = facts.versions.iter().rev().nth(1);
        let (heading, body) = match self.words_of(new, facts) {
            Ok(text) => text,
            // Its author keeps it off the air now, or has made it a command.
            Err(reason) if waiting.correction == 0 => {
                let mut actions = vec![withdraw, Action::Drop(reason)];
                if reason != DropReason::Empty {
                    let about = about_target(edit, now);
                    actions.extend(self.tell(reason, new, &about, facts, now));
                }
                return Ok((actions, None));
            }
            Err(reason) => {
                let reason = unsaid(reason);
                return Ok((vec![withdraw, Action::Drop(reason)], Some(reason)));
            }
        };
        if body == waiting.text {
            return Err(DropReason::SameText);
        }
        if before.is_some_and(|sent| body == sent.text) {
            // Changed back to what was sent: nothing to correct.
            return Ok((vec![withdraw, Action::Drop(DropReason::SameText)], None));
        }
        // It keeps its place in the queue.
        let placed = Facts {
            waiting_for_mesh: 0,
            ..facts.clone()
        };
        self.check_edit(new, Aim::Waiting(spot_of(waiting)?.slot), &placed, now)?;
        let draft = Draft {
            heading,
            text: body,
            correction: waiting.correction,
            reply_to: waiting.reply_to,
            ..Draft::default()
        };
        let latest = waiting.accepted_at + LONGEST_CORRECTION_WAIT;
        let later = (waiting.correction > 0).then(|| (now + CORRECTION_WAIT).min(latest));
        let Some((version, notices)) = self.version(draft, waiting.lane, later, new, facts) else {
            let reason = DropReason::Refused(Refused::TooLong);
            let mut actions = vec![withdraw, Action::Drop(reason)];
            if waiting.correction > 0 {
                return Ok((actions, Some(reason)));
            }
            // The message itself is withdrawn, and reported as refused.
            actions.extend(self.tell(reason, new, &about_target(edit, now), facts, now));
            return Ok((actions, None));
        };
        let more = version.draft.packets.saturating_sub(waiting.packets);
        self.check_limit(more, facts)?;
        Ok((vec![Action::Rewrite(waiting.row, version)], notices))
    }

    /// Sends a correction.
    fn correct(
        &self,
        first: &Version,
        newest: &Version,
        edit: &RoomEdit,
        facts: &Facts,
        now: Timestamp,
    ) -> Result<Changed, DropReason> {
        let new = &edit.new;
        let sent_at = new.sent_at.min(now);
        let (heading, body) = self.words_of(new, facts).map_err(unsaid)?;
        if body == newest.text {
            return Err(DropReason::SameText);
        }
        if self.config.meshtastic.edits == Edits::Queued {
            return Err(DropReason::EditsOff);
        }
        if newest.correction >= MOST_CORRECTIONS {
            return Err(DropReason::TooManyEdits);
        }
        let worth = self.config.meshtastic.max_message_age;
        if sent_at.since(first.source.sent_at) > CORRECTION_AGE || now.since(sent_at) > worth {
            return Err(DropReason::LateEdit);
        }
        let spot = self.check_edit(new, Aim::Channel(spot_of(first)?), facts, now)?;
        let original = Some(first.packet)
            .filter(|_| self.config.meshtastic.message_interactions.replies)
            .filter(|_| first.correction == 0);
        let draft = Draft {
            heading,
            text: body,
            correction: newest.correction.saturating_add(1),
            reply_to: original,
            ..Draft::default()
        };
        let later = Some(now + CORRECTION_WAIT);
        let version = self.version(draft, first.lane, later, new, facts);
        let (version, notices) = version.ok_or(Refused::TooLong)?;
        self.check_limit(version.draft.packets, facts)?;
        let message = MeshMessage {
            destination: Destination::Channel(spot.slot),
            channel: spot.channel,
            bound: true,
            lane: version.lane,
            content: MeshContent::Text(version.draft),
            source: Some(Box::new(MeshSource {
                sent_at,
                alert: version.alert,
                ..first.source.clone()
            })),
            not_before: version.not_before,
            expires: sent_at + worth,
        };
        Ok((vec![Action::ToMesh(message)], notices))
    }

    /// Checks whether the author may transmit now on the message's channel; returns where that is.
    fn check_edit(
        &self,
        new: &RoomText,
        aim: Aim,
        facts: &Facts,
        now: Timestamp,
    ) -> Result<Spot, DropReason> {
        self.check_right(&new.room, &new.sender, new.sender_power)?;
        let age = self.config.meshtastic.max_message_age;
        self.check_sending(&source_of(new, now), age, aim, facts, now)
    }

    /// Returns the changed message in its lane, and what its author is told; `None`: it is too long.
    fn version(
        &self,
        draft: Draft,
        lane: Lane,
        not_before: Option<Timestamp>,
        new: &RoomText,
        facts: &Facts,
    ) -> Option<(NewVersion, Option<DropReason>)> {
        let may = || policy::may_alert(&self.config, new.sender_power, facts);
        let alert = draft.text.starts_with(ALERT) && (lane == Lane::Urgent || may());
        let (draft, is_whole) = plan(draft, &self.config.meshtastic.long_messages)?;
        let version = NewVersion {
            draft,
            // The correction of an alert stays urgent.
            lane: if alert { Lane::Urgent } else { lane },
            alert,
            not_before,
        };
        Some((version, (!is_whole).then_some(Refused::Cut.into())))
    }
}

/// Withdraws what waits of a redacted event: a message, an edit, or an event without key.
pub(crate) fn taken_away(redaction: &RoomRedaction, facts: &Facts) -> Vec<Action> {
    // Anybody can write and redact an edit of somebody else's message.
    let of_author = |it: &&(OwnedUserId, Version)| it.0 == it.1.source.sender;
    let correction = facts.taken_edit.as_deref().filter(of_author);
    vec![Action::TakeAway {
        room: redaction.room.clone(),
        event: redaction.target.clone(),
        correction: correction.map(|(_, correction)| correction.row),
    }]
}

/// Applies the author's early edit to a message.
pub(super) fn change_early(text: &mut RoomText, edit: &EarlyEdit) {
    if is_words(text) {
        text.kind = if edit.emote {
            RoomTextKind::Emote
        } else {
            RoomTextKind::Text
        };
        text.body.clone_from(&edit.body);
    }
}

/// A reply to an edit replies to the message, which people see.
fn about_target(edit: &RoomEdit, now: Timestamp) -> MeshSource {
    MeshSource {
        event: edit.target.clone(),
        ..source_of(&edit.new, now)
    }
}

/// Returns whether a message carries a person's words: an edit may change between text and emote.
fn is_words(text: &RoomText) -> bool {
    matches!(text.kind, RoomTextKind::Text | RoomTextKind::Emote)
}

/// Returns the reason for the edit of a sent message whose new text is not for the mesh.
fn unsaid(reason: DropReason) -> DropReason {
    if let Telling::Author(..) = reason.telling() {
        DropReason::Unsaid
    } else {
        reason
    }
}

fn spot_of(version: &Version) -> Result<Spot, DropReason> {
    Spot::of(version.destination, version.channel).ok_or(DropReason::Edit)
}

#[cfg(test)]
mod tests;
