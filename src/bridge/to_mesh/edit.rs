//! Decides on edits of messages: a mesh can change nothing, so what still waits is changed here, and what was sent is
//! corrected by a further message.

use std::time::Duration;

use super::{Sending, payloads};
use crate::bridge::Bridge;
use crate::bridge::action::{Action, Change};
use crate::bridge::dropped::DropReason;
use crate::bridge::facts::Facts;
use crate::bridge::format::ALERT;
use crate::bridge::lesson::{Lesson, Telling};
use crate::bridge::notice::{About, Refused};
use crate::bridge::policy;
use crate::bridge::route::{Aim, Spot};
use crate::bridge::split::{Fitted, Heading, fit};
use crate::config::Edits;
use crate::model::{
    Destination, EarlyEdit, Lane, MeshMessage, MeshSource, NewVersion, PacketId, RoomEdit,
    RoomText, RoomTextKind, Sign, Timestamp, Version,
};

/// A correction waits for that time, so that several edits become one.
const CORRECTION_WAIT: Duration = Duration::from_secs(10);
/// Further edits delay a correction up to that time after the first.
const LONGEST_CORRECTION_WAIT: Duration = Duration::from_secs(30);
/// A message is corrected so many times.
const MOST_CORRECTIONS: u8 = 2;
/// And only that long after it was written.
const CORRECTION_AGE: Duration = Duration::from_mins(15);
/// Stands before the text of a correction.
const MARK: &str = "* ";

/// A text that fits, and whether all of it does.
struct Fit {
    packets: Vec<String>,
    whole: bool,
}

impl Bridge {
    pub(in crate::bridge) fn room_edit(
        &self,
        edit: &RoomEdit,
        facts: &Facts,
        now: Timestamp,
    ) -> Vec<Action> {
        match self.change(edit, facts, now) {
            Ok(actions) => actions,
            Err(reason) => {
                let mut actions = vec![Action::Drop(reason)];
                actions.extend(self.tell_of_edit(reason, edit, facts, now));
                actions
            }
        }
    }

    /// Tells the author of an edit why it does not go on the air. What they may not do at all they have learnt from the
    /// message, and its sign stays: neither what waits nor what was sent is refused by that.
    fn tell_of_edit(
        &self,
        reason: DropReason,
        edit: &RoomEdit,
        facts: &Facts,
        now: Timestamp,
    ) -> Vec<Action> {
        let about = about_target(edit);
        match reason.telling() {
            Telling::Author(lesson @ Lesson::Refused(_)) => {
                self.say(lesson, about, &facts.told, now)
            }
            Telling::Author(lesson) if lesson.is_of_edits() => {
                self.teach(lesson, about, &facts.told, now)
            }
            Telling::Author(_) | Telling::Nobody | Telling::Operator | Telling::Expired => {
                Vec::new()
            }
        }
    }

    /// Returns a message as its author changed it before it came.
    pub(in crate::bridge) fn changed_early(text: &RoomText, edit: &EarlyEdit) -> Option<RoomText> {
        let kind = match text.kind {
            RoomTextKind::Text | RoomTextKind::Emote if edit.emote => RoomTextKind::Emote,
            RoomTextKind::Text | RoomTextKind::Emote => RoomTextKind::Text,
            RoomTextKind::Notice
            | RoomTextKind::Media { .. }
            | RoomTextKind::Location
            | RoomTextKind::Poll
            | RoomTextKind::LiveLocation
            | RoomTextKind::VerificationRequest
            | RoomTextKind::Other => return None,
        };
        Some(RoomText {
            kind,
            body: edit.body.clone(),
            ..text.clone()
        })
    }

    fn change(
        &self,
        edit: &RoomEdit,
        facts: &Facts,
        now: Timestamp,
    ) -> Result<Vec<Action>, DropReason> {
        let new = &edit.new;
        self.check_event(&new.room, &new.sender, new.suppress, facts)?;
        let (Some(first), Some(newest)) = (facts.versions.first(), facts.versions.last()) else {
            let kept =
                keep(edit, facts, now).filter(|_| self.config.meshtastic.edits != Edits::Ignore);
            return kept.ok_or_else(|| self.unsent(new, facts));
        };
        if first.source.sender != new.sender {
            return Err(DropReason::ForeignEdit);
        }
        if self.config.meshtastic.edits == Edits::Ignore {
            return Err(DropReason::EditsOff);
        }
        // What was missed in an outage, or had no key, comes behind what is newer.
        if first.edited_at > Some(new.sent_at.min(now)) {
            return Err(DropReason::OlderEdit);
        }
        if newest.waits {
            self.change_waiting(newest, edit, facts, now)
        } else {
            self.correct(first, newest, edit, facts, now)
        }
    }

    /// Returns why the edit of a message that is not on its way to the mesh does not go there.
    fn unsent(&self, new: &RoomText, facts: &Facts) -> DropReason {
        if !facts.target_seen {
            return DropReason::UnknownTarget;
        }
        let right = || self.check_right(&new.room, &new.sender, new.sender_power);
        match self.words_of(new, facts).map(|_| ()).and_then(|()| right()) {
            Ok(()) | Err(DropReason::Refused(_)) => DropReason::Edit,
            // As little as the message itself.
            Err(reason) => reason,
        }
    }

    /// Changes what nobody has heard yet.
    fn change_waiting(
        &self,
        waiting: &Version,
        edit: &RoomEdit,
        facts: &Facts,
        now: Timestamp,
    ) -> Result<Vec<Action>, DropReason> {
        let new = &edit.new;
        let withdraw = match waiting.correction {
            0 => Action::Withdraw {
                room: new.room.clone(),
                event: edit.target.clone(),
            },
            // Parts of the message itself may wait still.
            _ => Action::Change(Change::Withdraw { row: waiting.row }),
        };
        let before = facts.versions.iter().rev().nth(1);
        let (heading, body) = match self.words_of(new, facts) {
            Ok(text) => text,
            // Its author does not want it on the air any more, or has made a command of it.
            Err(reason) if waiting.correction == 0 => {
                let mut actions = vec![withdraw, Action::Drop(reason)];
                if reason != DropReason::Empty {
                    actions.extend(self.tell(reason, new, about_target(edit), facts, now));
                }
                return Ok(actions);
            }
            Err(reason) => {
                let reason = unsaid(reason);
                let mut actions = vec![withdraw, Action::Drop(reason)];
                actions.extend(self.tell_of_edit(reason, edit, facts, now));
                return Ok(actions);
            }
        };
        if body == plain(waiting) {
            return Err(DropReason::SameText);
        }
        if before.is_some_and(|sent| body == plain(sent)) {
            // Changed back to what was sent: there is nothing to correct.
            return Ok(vec![withdraw, Action::Drop(DropReason::SameText)]);
        }
        // It has its place in the queue already.
        let placed = Facts {
            waiting_for_mesh: 0,
            ..facts.clone()
        };
        self.check_edit(new, Aim::Waiting(spot_of(waiting)?.slot), &placed, now)?;
        let spoken = spoken(&body, waiting.correction);
        let Some(fit) = self.fit_version(&heading, &spoken, waiting.reply_to) else {
            let refused = Refused::TooLong;
            let mut actions = vec![withdraw, Action::Drop(DropReason::Refused(refused))];
            if waiting.correction == 0 {
                actions.push(Action::Sign {
                    room: new.room.clone(),
                    event: edit.target.clone(),
                    sign: Sign::Refused,
                });
            }
            actions.extend(self.tell_of_edit(refused.into(), edit, facts, now));
            return Ok(actions);
        };
        self.check_limit(fit.packets.len().saturating_sub(waiting.packets), facts)?;
        let alert = self.alerts(&body, waiting.lane, new, facts);
        let latest = waiting.accepted_at + LONGEST_CORRECTION_WAIT;
        let mut actions = vec![Action::Change(Change::Rewrite {
            row: waiting.row,
            new: NewVersion {
                parts: payloads(fit.packets, waiting.reply_to),
                text: spoken,
                // An alert that is corrected stays urgent.
                lane: if alert { Lane::Urgent } else { waiting.lane },
                alert,
                not_before: (waiting.correction > 0).then(|| (now + CORRECTION_WAIT).min(latest)),
            },
        })];
        if !fit.whole {
            actions.extend(self.tell_of_edit(Refused::Cut.into(), edit, facts, now));
        }
        Ok(actions)
    }

    /// Says again what was sent.
    fn correct(
        &self,
        first: &Version,
        newest: &Version,
        edit: &RoomEdit,
        facts: &Facts,
        now: Timestamp,
    ) -> Result<Vec<Action>, DropReason> {
        let new = &edit.new;
        let sent_at = new.sent_at.min(now);
        let (heading, body) = self.words_of(new, facts).map_err(unsaid)?;
        if body == plain(newest) {
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
        let number = newest.correction.saturating_add(1);
        let spoken = spoken(&body, number);
        let fit = self
            .fit_version(&heading, &spoken, original)
            .ok_or(Refused::TooLong)?;
        self.check_limit(fit.packets.len(), facts)?;
        let alert = self.alerts(&body, first.lane, new, facts);
        let message = MeshMessage {
            destination: Destination::Channel(spot.slot),
            channel: spot.channel,
            bound: true,
            lane: if alert { Lane::Urgent } else { first.lane },
            parts: payloads(fit.packets, original),
            source: Some(Box::new(MeshSource {
                sent_at,
                text: spoken,
                alert,
                ..first.source.clone()
            })),
            not_before: Some(now + CORRECTION_WAIT),
            expires: sent_at + worth,
        };
        let mut actions = vec![Action::Change(Change::Correct { number, message })];
        if !fit.whole {
            actions.extend(self.tell_of_edit(Refused::Cut.into(), edit, facts, now));
        }
        Ok(actions)
    }

    /// Checks whether the author may transmit now, and still to the channel of the message; returns where that is.
    fn check_edit(
        &self,
        new: &RoomText,
        aim: Aim,
        facts: &Facts,
        now: Timestamp,
    ) -> Result<Spot, DropReason> {
        self.check_right(&new.room, &new.sender, new.sender_power)?;
        let sending = Sending {
            room: &new.room,
            sent_at: new.sent_at,
            age: self.config.meshtastic.max_message_age,
        };
        self.check_sending(&sending, aim, facts, now)
    }

    /// Returns whether a message of that lane is an alert with its new text.
    fn alerts(&self, body: &str, lane: Lane, new: &RoomText, facts: &Facts) -> bool {
        let may = || policy::may_alert(&self.config, new.sender_power, facts);
        body.starts_with(ALERT) && (lane == Lane::Urgent || may())
    }

    fn fit_version(
        &self,
        heading: &Heading,
        text: &str,
        reply_to: Option<PacketId>,
    ) -> Option<Fit> {
        let rules = &self.config.meshtastic.long_messages;
        match fit(heading, text, reply_to.is_some(), rules) {
            Fitted::Packets(packets) => Some(Fit {
                packets,
                whole: true,
            }),
            Fitted::Cut(packets) => Some(Fit {
                packets,
                whole: false,
            }),
            Fitted::TooLong { .. } => None,
        }
    }
}

/// An answer to an edit answers the message: that is what people see.
fn about_target(edit: &RoomEdit) -> About<'_> {
    About {
        room: &edit.new.room,
        event: &edit.target,
        thread: edit.new.thread.as_ref(),
        sender: &edit.new.sender,
    }
}

/// Returns what it means for a message that was sent that its new text is not for the mesh.
fn unsaid(reason: DropReason) -> DropReason {
    match reason.telling() {
        Telling::Author(_) => DropReason::Unsaid,
        Telling::Nobody | Telling::Operator | Telling::Expired => reason,
    }
}

/// What becomes of an edit of a message that is not on its way to the mesh: it may come first.
fn keep(edit: &RoomEdit, facts: &Facts, now: Timestamp) -> Option<Vec<Action>> {
    let emote = match edit.new.kind {
        RoomTextKind::Text => false,
        RoomTextKind::Emote => true,
        RoomTextKind::Notice
        | RoomTextKind::Media { .. }
        | RoomTextKind::Location
        | RoomTextKind::Poll
        | RoomTextKind::LiveLocation
        | RoomTextKind::VerificationRequest
        | RoomTextKind::Other => return None,
    };
    (!facts.target_seen).then(|| {
        vec![Action::Change(Change::Keep {
            room: edit.new.room.clone(),
            target: edit.target.clone(),
            sender: edit.new.sender.clone(),
            event: edit.new.event.clone(),
            edit: EarlyEdit {
                emote,
                body: edit.new.body.clone(),
                sent_at: edit.new.sent_at.min(now),
            },
        })]
    })
}

/// Returns a version's text as its author wrote it.
fn plain(version: &Version) -> &str {
    let text = version.source.text.as_str();
    match version.correction {
        0 => text,
        _ => text.strip_prefix(MARK).unwrap_or(text),
    }
}

fn spoken(body: &str, correction: u8) -> String {
    match correction {
        0 => body.to_owned(),
        _ => format!("{MARK}{body}"),
    }
}

fn spot_of(version: &Version) -> Result<Spot, DropReason> {
    match version.destination {
        Destination::Channel(slot) => Ok(Spot {
            slot,
            channel: version.channel,
        }),
        Destination::Direct(_) => Err(DropReason::Edit),
    }
}

#[cfg(test)]
mod tests;
