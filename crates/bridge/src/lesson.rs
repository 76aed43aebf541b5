//! Tells the author of a message that it is not transmitted: by a sign, in words, and as often as its reason is to be told. And
//! the operator what a person has to do something about.

use std::sync::Arc;
use std::time::Duration;

use super::Bridge;
use super::action::Action;
use super::backlog::FINISHES_WITHIN;
use super::dropped::{DropReason, Often, Telling};
use super::facts::Facts;
use super::notice::{Refused, to_room};
use relay_model::{
    Chore, Event, EventId, Lane, MeshSource, RadioOutcome, RoomId, RowMessage, SendReport,
    Timestamp, UserId,
};

/// A room is told the same again after that.
pub(super) const ROOM_AGAIN: Duration = Duration::from_hours(1);
/// A person is told the same reason again after that.
const PERSON_AGAIN: Duration = Duration::from_hours(24);

/// What else is said in a room of several channels, where a new message goes to the first of them.
const ANSWER_AGAIN: &str = " If it answered something, please write it again as an answer to the same message: this room has \
                            several channels.";

/// The author of edits is told again after that of the same message,
const EDIT_AGAIN: Duration = Duration::from_mins(1);
/// and meanwhile of so many messages in all,
const EDITS_TOLD: usize = 3;
/// and a room of so many: a homeserver takes about twelve messages a minute from the bot, which brings what the mesh says by
/// the same way.
const EDITS_TOLD_IN_ROOM: usize = 6;
/// What else is said where it is an edit that does not go on the air.
pub(super) const ABOUT_EDIT: &str = " This is about the edit, and is said once a minute.";

/// Senders that the operator is told of: a hostile mesh or room can invent any number.
const MOST_TOLD: usize = 1_000;

/// The names under which it is remembered what rooms have read begin with this.
pub(super) const REFUSED: &str = "refused ";

/// The names under which it is remembered who has learnt of edits begin with this.
pub(super) const EDITED: &str = "edited ";

/// Returns the name under which it is remembered that a person has learnt a reason: one that stays true of them or of the room.
fn name_of_person(reason: DropReason, room: &RoomId, author: &UserId) -> Option<String> {
    let name = reason.name();
    match reason.often()? {
        Often::FirstOfPerson | Often::Once => Some(format!("{name} {author}")),
        Often::FirstInRoom => Some(format!("{name} {author} {room}")),
        Often::Each => None,
    }
}

/// Returns the name under which it is remembered that a room has read a reason. What goes out without its end shows a sign
/// of success, so that one is told to each of its authors.
fn name_of_room(reason: DropReason, room: &RoomId, author: &UserId) -> Option<String> {
    if reason == DropReason::Refused(Refused::Cut) {
        return Some(format!("{REFUSED}{} {room} {author}", reason.name()));
    }
    match reason.often()? {
        Often::Each | Often::FirstInRoom => Some(format!("{REFUSED}{} {room}", reason.name())),
        Often::FirstOfPerson | Often::Once => None,
    }
}

/// Returns whether who learns it may well write the same again.
fn has_it_written_again(reason: DropReason) -> bool {
    use DropReason::{MediaOff, Notice, OffAir, Refused};
    matches!(reason, Refused(refused) if !refused.is_of_its_target())
        || matches!(reason, MediaOff | Notice | OffAir)
        || reason.is_of_edits()
}

/// Returns the names under which it is remembered what was told to somebody in a room of what cannot go on the air.
pub(super) fn room_names(room: &RoomId, author: &UserId) -> impl Iterator<Item = String> {
    DropReason::all().filter_map(move |reason| name_of_room(reason, room, author))
}

/// Returns the names under which it is remembered what a person has learnt.
pub(super) fn person_names(room: &RoomId, author: &UserId) -> impl Iterator<Item = String> {
    DropReason::all().filter_map(move |reason| name_of_person(reason, room, author))
}

/// Returns the names under which it is remembered that a person has learnt of an edit that does not go on the air: that of the
/// message, those of all messages of its author, and those of all in the room.
pub(super) fn edit_names(room: &RoomId, message: &EventId, author: &UserId) -> [Vec<String>; 3] {
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

/// Has it remembered that something is said, until then; `None`: it was said already.
pub(super) fn once(told: &[String], what: String, until: Timestamp) -> Option<Action> {
    (!told.contains(&what)).then_some(Action::Remember { what, until })
}

impl Bridge {
    /// Has the operator told of a sender, once: a person has to act, and knows from one line.
    pub(super) fn tell_operator(&mut self, event: &Event, actions: &mut [Action]) {
        for action in actions {
            if let Action::Drop(reason) = *action
                && reason.telling() == Telling::Operator
                && self.operator_told.len() < MOST_TOLD
                && Arc::make_mut(&mut self.operator_told).insert((reason.name(), event.sender()))
            {
                *action = Action::DropAndTell(reason);
            }
        }
    }

    /// Tells the author of a message, in words and by a sign, as often as it is to be told.
    pub(super) fn teach(
        &self,
        reason: DropReason,
        about: &MeshSource,
        told: &[String],
        now: Timestamp,
    ) -> Vec<Action> {
        let Telling::Author(often, sign) = reason.telling() else {
            return Vec::new();
        };
        let person = name_of_person(reason, &about.room, &about.sender);
        if person.as_ref().is_some_and(|name| told.contains(name)) {
            return Vec::new();
        }
        let mut actions = self.say(reason, about, told, now);
        let until = match often {
            Often::Each | Often::FirstOfPerson | Often::FirstInRoom => now + PERSON_AGAIN,
            Often::Once => Timestamp::NEVER,
        };
        actions.extend(person.map(|what| Action::Remember { what, until }));
        let (room, event) = (&about.room, &about.event);
        actions.extend(sign.map(|sign| Action::Sign(room.clone(), event.clone(), sign)));
        actions
    }

    /// Tells the author of an edit, in words alone: the sign of the message says how that fared, and what the room has read of
    /// other messages says nothing of this edit. An edit that goes in between changes nothing: an author who alternates the two
    /// would have the bot post without bound.
    pub(super) fn teach_of_edit(
        &self,
        reason: DropReason,
        about: &MeshSource,
        told: &[String],
        now: Timestamp,
    ) -> Vec<Action> {
        let free = |names: Vec<String>| {
            let mut names = names.into_iter();
            names.find_map(|name| once(told, name, now + EDIT_AGAIN))
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

    /// Says the words alone, unless the room has read them.
    pub(super) fn say(
        &self,
        reason: DropReason,
        about: &MeshSource,
        told: &[String],
        now: Timestamp,
    ) -> Vec<Action> {
        let room = name_of_room(reason, &about.room, &about.sender);
        if room.as_ref().is_some_and(|name| told.contains(name)) {
            return Vec::new();
        }
        let mut actions = vec![to_room(self.words_for(reason, about), about)];
        let until = now + ROOM_AGAIN;
        actions.extend(room.map(|what| Action::Remember { what, until }));
        actions
    }

    fn words_for(&self, reason: DropReason, about: &MeshSource) -> String {
        let mut words = reason.sentences(&self.config, &about.sender);
        if has_it_written_again(reason) && !self.routes.has_one_channel((&*about.room).into()) {
            words.push_str(ANSWER_AGAIN);
        }
        words
    }

    /// Tells the author of what was accepted and is refused after all: its sign follows from its parts, that of what is
    /// corrected stays. Tapbacks are only counted.
    pub(super) fn tell_refused(
        &self,
        refused: Refused,
        about: &RowMessage,
        told: &[String],
        now: Timestamp,
    ) -> Vec<Action> {
        match about.lane {
            Lane::Reaction => Vec::new(),
            _ if about.is_edit => self.teach_of_edit(refused.into(), &about.source, told, now),
            Lane::Urgent | Lane::Message => self.say(refused.into(), &about.source, told, now),
        }
    }

    /// What became of a message is written down. Its sender is told if the radio refused it.
    pub(super) fn reported(
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
                actions
                    .extend(about.flat_map(|it| self.tell_refused(refused, it, &facts.told, now)));
            }
            // Its channel may be gone.
            SendReport::Radio {
                outbox,
                outcome: RadioOutcome::Retry { .. },
                ..
            } => actions.push(Action::Next(Chore::Channels(Some(*outbox)))),
            SendReport::Radio {
                outbox,
                outcome: RadioOutcome::Accepted { at },
                ..
            } => actions.push(Action::LetFinish(*outbox, *at + FINISHES_WITHIN)),
            SendReport::Radio { .. } | SendReport::Room { .. } => {}
        }
        actions
    }
}

#[cfg(test)]
mod tests;
