//! Tells authors that a message is not transmitted, by a sign and a notice, as often as its reason says; and the operator what
//! needs action.

use std::sync::Arc;
use std::time::Duration;

use crate::telling::{Often, Telling};
use crate::{Bridge, action::Action, dropped::DropReason, facts::Facts, notice::Refused};
use relay_model::{
    Chore, Event, EventId, Lane, MeshSource, Notice, RadioOutcome, RoomId, RowMessage, SendReport,
    Timestamp, UserId,
};

/// Cooldown of the same notice in a room.
pub(crate) const ROOM_AGAIN: Duration = Duration::from_hours(1);
/// Cooldown of the same reason for a person.
const PERSON_AGAIN: Duration = Duration::from_hours(24);

/// Added in a room with several channels, where a new message goes to the first.
const ANSWER_AGAIN: &str = " If it answered something, please write it again as an answer to the same message: this room has \
                            several channels.";

/// Cooldown of notices about edits of the same message.
const EDIT_AGAIN: Duration = Duration::from_mins(1);
/// Maximum number of messages per author with such notices during the cooldown.
const EDITS_TOLD: usize = 3;
/// Maximum number of messages per room with such notices during the cooldown: a homeserver accepts about twelve messages a
/// minute from the bot, mesh messages included.
const EDITS_TOLD_IN_ROOM: usize = 6;
/// Added to notices about edits.
pub(crate) const ABOUT_EDIT: &str = " This is about the edit, and is said once a minute.";

/// Minimum time to live of a message's remaining packets after the radio took one: half a message is worth less than a late
/// one.
const FINISHES_WITHIN: Duration = Duration::from_mins(10);

/// Maximum number of senders that the operator is told of: a hostile mesh or room can invent any number.
const MOST_TOLD: usize = 1_000;

/// Prefix of the cooldown names of notices in rooms.
pub(crate) const REFUSED: &str = "refused ";

/// Prefix of the cooldown names of notices about edits.
pub(crate) const EDITED: &str = "edited ";

/// Returns the cooldown name of a reason that holds for a person, everywhere or in a room.
fn name_of_person(reason: DropReason, room: &RoomId, author: &UserId) -> Option<String> {
    let name = reason.name();
    match reason.often()? {
        Often::FirstOfPerson | Often::Once => Some(format!("{name} {author}")),
        Often::FirstInRoom => Some(format!("{name} {author} {room}")),
        Often::Each => None,
    }
}

/// Returns the cooldown name of a reason in a room. A truncated message shows a sign of success, so each author is told of it.
fn name_of_room(reason: DropReason, room: &RoomId, author: &UserId) -> Option<String> {
    if reason == DropReason::Refused(Refused::Cut) {
        return Some(format!("{REFUSED}{} {room} {author}", reason.name()));
    }
    match reason.often()? {
        Often::Each | Often::FirstInRoom => Some(format!("{REFUSED}{} {room}", reason.name())),
        Often::FirstOfPerson | Often::Once => None,
    }
}

/// Returns whether the author is likely to write the message again.
fn has_it_written_again(reason: DropReason) -> bool {
    use DropReason::{MediaOff, Notice, OffAir, Refused};
    matches!(reason, Refused(refused) if !refused.is_of_its_target())
        || matches!(reason, MediaOff | Notice | OffAir)
        || reason.is_of_edits()
}

/// Returns the cooldown names of all notices to an author in a room.
pub(crate) fn room_names(room: &RoomId, author: &UserId) -> impl Iterator<Item = String> {
    DropReason::all().filter_map(move |reason| name_of_room(reason, room, author))
}

/// Returns the cooldown names of all reasons for a person.
pub(crate) fn person_names(room: &RoomId, author: &UserId) -> impl Iterator<Item = String> {
    DropReason::all().filter_map(move |reason| name_of_person(reason, room, author))
}

/// Returns the cooldown names of notices about edits: of the message, of its author, and of the room.
pub(crate) fn edit_names(room: &RoomId, message: &EventId, author: &UserId) -> [Vec<String>; 3] {
    let numbered = |whose: &str, most| {
        (1..=most)
            .map(|it| format!("{EDITED}{whose} {it}"))
            .collect()
    };
    [
        vec![format!("{EDITED}{author} {message}")],
        numbered(author.as_str(), EDITS_TOLD),
        numbered(room.as_str(), EDITS_TOLD_IN_ROOM),
    ]
}

/// Starts a cooldown; `None` if it is running.
pub(crate) fn start_cooldown(
    cooldowns: &[String],
    what: String,
    until: Timestamp,
) -> Option<Action> {
    (!cooldowns.contains(&what)).then_some(Action::StartCooldown { what, until })
}

impl Bridge {
    /// Tells the operator once of a sender.
    pub(crate) fn tell_operator(&mut self, event: &Event, actions: &mut [Action]) {
        for action in actions {
            match action {
                Action::Drop(reason) => {
                    let reason = *reason;
                    if reason.telling() == Telling::Operator && self.is_first(reason.name(), event)
                    {
                        *action = Action::DropAndTell(reason);
                    }
                }
                Action::KeepUndecryptable(_, _, tell) => {
                    *tell = self.is_first("undecryptable", event);
                }
                _ => {}
            }
        }
    }

    /// Returns whether the operator was not told of this sender yet, and notes it.
    fn is_first(&mut self, what: &'static str, event: &Event) -> bool {
        self.operator_told.len() < MOST_TOLD
            && Arc::make_mut(&mut self.operator_told).insert((what, event.sender()))
    }

    /// Tells the author of a message by notice and sign, unless on cooldown.
    pub(crate) fn notify_author(
        &self,
        reason: DropReason,
        about: &MeshSource,
        cooldowns: &[String],
        now: Timestamp,
    ) -> Vec<Action> {
        let Telling::Author(often, sign) = reason.telling() else {
            return Vec::new();
        };
        let person = name_of_person(reason, &about.room, &about.sender);
        if person.as_ref().is_some_and(|name| cooldowns.contains(name)) {
            return Vec::new();
        }
        let mut actions = self.post_notice(reason, about, cooldowns, now);
        let until = match often {
            Often::Each | Often::FirstOfPerson | Often::FirstInRoom => now + PERSON_AGAIN,
            Often::Once => Timestamp::NEVER,
        };
        actions.extend(person.map(|what| Action::StartCooldown { what, until }));
        let (room, event) = (&about.room, &about.event);
        actions.extend(sign.map(|sign| Action::Sign(room.clone(), event.clone(), sign)));
        actions
    }

    /// Tells the author of an edit by a notice alone: the sign shows the state of the message. Independent of notices about
    /// messages, and not reset by a successful edit in between, as an author who alternates would make the bot post without
    /// bound.
    pub(crate) fn notify_of_edit(
        &self,
        reason: DropReason,
        about: &MeshSource,
        cooldowns: &[String],
        now: Timestamp,
    ) -> Vec<Action> {
        let free = |names: Vec<String>| {
            let mut names = names.into_iter();
            names.find_map(|name| start_cooldown(cooldowns, name, now + EDIT_AGAIN))
        };
        let names = edit_names(&about.room, &about.event, &about.sender);
        let [Some(of_message), Some(of_author), Some(of_room)] = names.map(free) else {
            return Vec::new();
        };
        if reason.often().is_none() {
            return Vec::new();
        }
        let words = self.words_for(reason, about) + ABOUT_EDIT;
        vec![to_room(words, about), of_room, of_author, of_message]
    }

    /// Posts the notice alone, unless on cooldown in the room.
    pub(crate) fn post_notice(
        &self,
        reason: DropReason,
        about: &MeshSource,
        cooldowns: &[String],
        now: Timestamp,
    ) -> Vec<Action> {
        let room = name_of_room(reason, &about.room, &about.sender);
        if room.as_ref().is_some_and(|name| cooldowns.contains(name)) {
            return Vec::new();
        }
        let mut actions = vec![to_room(self.words_for(reason, about), about)];
        let until = now + ROOM_AGAIN;
        actions.extend(room.map(|what| Action::StartCooldown { what, until }));
        actions
    }

    fn words_for(&self, reason: DropReason, about: &MeshSource) -> String {
        let mut words = reason.sentences(&self.config, &about.sender);
        if has_it_written_again(reason) && !self.routes.has_one_channel((&*about.room).into()) {
            words.push_str(ANSWER_AGAIN);
        }
        words
    }

    /// Tells the author of an accepted message that was refused: its sign follows from its parts, and a corrected message keeps
    /// its own. Tapbacks are only counted.
    pub(crate) fn notify_refused(
        &self,
        refused: Refused,
        about: &RowMessage,
        cooldowns: &[String],
        now: Timestamp,
    ) -> Vec<Action> {
        match about.lane {
            Lane::Reaction => Vec::new(),
            _ if about.is_edit => {
                self.notify_of_edit(refused.into(), &about.source, cooldowns, now)
            }
            Lane::Urgent | Lane::Message => {
                self.post_notice(refused.into(), &about.source, cooldowns, now)
            }
        }
    }

    /// Records a report. The sender is told if the radio refused the message.
    pub(crate) fn reported(
        &self,
        report: &SendReport,
        facts: &Facts,
        now: Timestamp,
    ) -> Vec<Action> {
        let mut actions = vec![Action::Report(report.clone())];
        match report {
            SendReport::Radio {
                outcome: RadioOutcome::Refused(refusal),
                ..
            } => {
                let about = facts.reported.iter();
                let refused = Refused::from(*refusal);
                actions.extend(
                    about.flat_map(|it| self.notify_refused(refused, it, &facts.cooldowns, now)),
                );
            }
            // Its channel may be gone.
            SendReport::Radio {
                outbox,
                outcome: RadioOutcome::Retry { .. },
                ..
            } => actions.push(Action::Next(Chore::Channels(Some(*outbox)))),
            SendReport::Radio {
                outbox,
                outcome: RadioOutcome::Accepted { at, .. },
                ..
            } => actions.push(Action::LetFinish(*outbox, *at + FINISHES_WITHIN)),
            SendReport::Radio { .. } | SendReport::Room { .. } => {}
        }
        actions
    }
}

fn to_room(text: String, about: &MeshSource) -> Action {
    let notice = Notice {
        text,
        reply_to: Some(about.event.clone()),
        thread: about.thread.clone(),
        mentions: vec![about.sender.clone()],
        at: None,
    };
    Action::say(notice.for_room(&about.room))
}

#[cfg(test)]
mod tests;
