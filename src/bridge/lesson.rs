//! What the author of a message learns when it is not transmitted: by which sign, in which words, and how often.

use std::time::Duration;

use super::Bridge;
use super::action::Action;
use super::dropped::DropReason;
use super::notice::{About, Refused, to_room};
use crate::config::Config;
use crate::model::{RoomId, Sign, Timestamp, UserId};

/// A room is told the same reason again after that.
const ROOM_AGAIN: Duration = Duration::from_hours(1);
/// A person is told the same reason again after that.
const PERSON_AGAIN: Duration = Duration::from_hours(24);

/// What else is said in a room of several channels, where a new message goes to the first of them.
const ANSWER_AGAIN: &str = " If it answered something, please write it again as an answer to the same message: this room has \
                            several channels.";

/// The names under which it is remembered what rooms have read begin with this.
pub(super) const REFUSED: &str = "refused ";

/// Who learns that something was not relayed, beside the counters of `status` and the log at debug.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Telling {
    /// Nobody: it takes nothing from anyone, or its author knows.
    Nobody,
    /// The operator, once for each sender: another relay is about, and something may have to be set.
    Operator,
    /// Its author, with all others whose messages have expired in the room.
    Expired,
    /// Its author.
    Author(Lesson),
}

/// What its author learns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lesson {
    /// It cannot go on the air, or is a command.
    Refused(Refused),
    /// There is nothing to read in it.
    Empty,
    /// They may not transmit.
    Denied,
    /// The room only listens.
    OneWayRoom,
    /// The bridge only listens.
    BroadcastOff,
    /// Pictures and the like are not told of.
    MediaOff,
    /// Notices are not relayed.
    Notice,
    /// Live locations are not relayed.
    LiveLocation,
    /// What begins so stays off the air.
    OffAir,
    /// An edit of what was not sent.
    UnsentEdit,
    /// Edits are not relayed.
    EditsOff,
    /// An edit that came too late.
    LateEdit,
    /// One edit too many.
    TooManyEdits,
    /// An edit that would take back what was sent.
    Unsaid,
}

/// How often the same is told.
enum Often {
    /// The sign each time, the words once in a room and hour.
    Each,
    /// Sign and words on a person's first of a day; it is true of that person.
    FirstOfPerson,
    /// The sign on a person's first of a day, and the words if the room has not read them within the hour: it is true of the
    /// room, and many may write there.
    FirstInRoom,
    /// To each person once, for good.
    Once,
}

impl Lesson {
    /// Those that stay true of a person or a room: it is remembered who has learnt them.
    const HABITUAL: [Self; 12] = [
        Self::Denied,
        Self::OneWayRoom,
        Self::BroadcastOff,
        Self::MediaOff,
        Self::Notice,
        Self::LiveLocation,
        Self::OffAir,
        Self::UnsentEdit,
        Self::EditsOff,
        Self::LateEdit,
        Self::TooManyEdits,
        Self::Unsaid,
    ];

    /// Returns for which reason nothing was relayed, how often that is told, and the sign on the message; no sign where its
    /// author means it so, or where the sign tells how the message itself fared and not its edit.
    fn rule(self) -> (DropReason, Often, Option<Sign>) {
        use Often::{Each, FirstInRoom, FirstOfPerson, Once};
        match self {
            Self::Refused(refused) => (refused.into(), Each, Some(Sign::Refused)),
            Self::Empty => (DropReason::Empty, Each, Some(Sign::Refused)),
            Self::Denied => (DropReason::Denied, FirstOfPerson, Some(Sign::Denied)),
            Self::OneWayRoom => (DropReason::OneWayRoom, FirstInRoom, Some(Sign::Denied)),
            Self::BroadcastOff => (DropReason::BroadcastOff, FirstInRoom, Some(Sign::Denied)),
            Self::MediaOff => (DropReason::MediaOff, FirstInRoom, Some(Sign::Refused)),
            Self::Notice => (DropReason::Notice, Once, Some(Sign::Refused)),
            // Clients show no sign on it.
            Self::LiveLocation => (DropReason::LiveLocation, FirstOfPerson, None),
            Self::OffAir => (DropReason::OffAir, Once, None),
            Self::UnsentEdit => (DropReason::Edit, FirstOfPerson, None),
            Self::EditsOff => (DropReason::EditsOff, FirstOfPerson, None),
            Self::LateEdit => (DropReason::LateEdit, FirstOfPerson, None),
            Self::TooManyEdits => (DropReason::TooManyEdits, FirstOfPerson, None),
            Self::Unsaid => (DropReason::Unsaid, FirstOfPerson, None),
        }
    }

    /// Returns whether it is about an edit and not about the message.
    pub(super) fn is_of_edits(self) -> bool {
        matches!(
            self,
            Self::UnsentEdit | Self::EditsOff | Self::LateEdit | Self::TooManyEdits | Self::Unsaid
        )
    }

    /// Returns whether who learns it may well write the same again.
    fn has_it_written_again(self) -> bool {
        match self {
            Self::Refused(refused) => !refused.is_of_its_target(),
            Self::MediaOff | Self::Notice | Self::OffAir => true,
            lesson => lesson.is_of_edits(),
        }
    }

    /// Returns the sentences for the author: what happened, and the cure.
    pub(super) fn words(self, config: &Config, author: &UserId) -> String {
        match self {
            Self::Refused(refused) => refused.explanation(config),
            Self::Empty => "Not sent to the mesh: there is nothing in it that can be read there.".into(),
            Self::Denied => format!(
                "Not sent to the mesh: {author} may not transmit here. The operator of this bridge decides who may."
            ),
            Self::OneWayRoom => {
                "Not sent to the mesh: this room shows what the mesh says, and nothing that is written here is transmitted."
                    .into()
            }
            Self::BroadcastOff => {
                "Not sent to the mesh: this bridge only listens, and nothing that is written here is transmitted \
                 (meshtastic.broadcast_enabled)."
                    .into()
            }
            Self::MediaOff => {
                "Not sent to the mesh: nothing is said there of pictures and files, captions included (meshtastic.media). \
                 Please write the words as a message of their own."
                    .into()
            }
            Self::Notice => {
                "Not sent to the mesh: it is a notice, as programs write them. Please send an ordinary message; the \
                 operator of this bridge can have notices sent, too (matrix.relay_notices). This is said once."
                    .into()
            }
            Self::LiveLocation => {
                "Not sent to the mesh: live locations are not sent there. Please send where you are as a location, once, or write it."
                    .into()
            }
            Self::OffAir => {
                let prefix = config.matrix.off_air_prefix.as_deref().unwrap_or_default();
                format!(
                    "Not sent to the mesh: what begins with `{prefix}` stays in Matrix. Without `{prefix}` it is sent. This is \
                     said once."
                )
            }
            Self::UnsentEdit => {
                "Not sent to the mesh: the message that was edited was not sent there either. Please write it as a new message."
                    .into()
            }
            Self::EditsOff => {
                "On the mesh the text stays as it was: edits are not sent there (meshtastic.edits). To correct it, please \
                 write a new message."
                    .into()
            }
            Self::LateEdit => {
                "On the mesh the text stays as it was: the edit came too long after the message. To correct it, please write \
                 a new message."
                    .into()
            }
            Self::TooManyEdits => {
                "On the mesh the text stays as it was: a message is corrected there twice at most. To correct it again, please \
                 write a new message."
                    .into()
            }
            Self::Unsaid => {
                "On the mesh the text stays as it was: what was transmitted cannot be taken back.".into()
            }
        }
    }

    /// Returns the name under which it is remembered that a person has learnt it.
    fn name_of_person(self, room: &RoomId, author: &UserId) -> Option<String> {
        let (reason, often, _) = self.rule();
        let name = reason.name();
        match often {
            Often::Each => None,
            Often::FirstOfPerson | Often::Once => Some(format!("{name} {author}")),
            Often::FirstInRoom => Some(format!("{name} {author} {room}")),
        }
    }

    /// Returns the name under which it is remembered that a room has read it.
    fn name_of_room(self, room: &RoomId) -> Option<String> {
        let (reason, often, _) = self.rule();
        match often {
            Often::Each | Often::FirstInRoom => Some(format!("{REFUSED}{} {room}", reason.name())),
            Often::FirstOfPerson | Often::Once => None,
        }
    }

    fn forgotten(self, now: Timestamp) -> Timestamp {
        match self.rule().1 {
            Often::Each | Often::FirstOfPerson | Often::FirstInRoom => now + PERSON_AGAIN,
            Often::Once => Timestamp::NEVER,
        }
    }
}

/// Returns the names under which it is remembered what was told in a room of what cannot go on the air.
pub(super) fn room_names(room: &RoomId) -> impl Iterator<Item = String> + '_ {
    let refusals = Refused::ALL.iter().copied().map(Lesson::Refused);
    let others = [Lesson::Empty].into_iter().chain(Lesson::HABITUAL);
    refusals
        .chain(others)
        .filter_map(|lesson| lesson.name_of_room(room))
}

/// Returns the names under which it is remembered what a person has learnt.
pub(super) fn person_names<'a>(
    room: &'a RoomId,
    author: &'a UserId,
) -> impl Iterator<Item = String> + 'a {
    let all = Lesson::HABITUAL.into_iter();
    all.filter_map(move |lesson| lesson.name_of_person(room, author))
}

impl Bridge {
    /// Tells the author of a message, in words and by a sign, as often as it is to be told.
    pub(super) fn teach(
        &self,
        lesson: Lesson,
        about: About<'_>,
        told: &[String],
        now: Timestamp,
    ) -> Vec<Action> {
        let person = lesson.name_of_person(about.room, about.sender);
        if person.as_ref().is_some_and(|name| told.contains(name)) {
            return Vec::new();
        }
        let mut actions = self.say(lesson, about, told, now);
        actions.extend(person.map(|what| Action::Remember {
            what,
            until: lesson.forgotten(now),
        }));
        actions.extend(lesson.rule().2.map(|sign| Action::Sign {
            room: about.room.clone(),
            event: about.event.clone(),
            sign,
        }));
        actions
    }

    /// Says the words alone, unless the room has read them.
    pub(super) fn say(
        &self,
        lesson: Lesson,
        about: About<'_>,
        told: &[String],
        now: Timestamp,
    ) -> Vec<Action> {
        let room = lesson.name_of_room(about.room);
        if room.as_ref().is_some_and(|name| told.contains(name)) {
            return Vec::new();
        }
        let mut words = lesson.words(&self.config, about.sender);
        if lesson.has_it_written_again() && !self.routes.has_one_channel((&**about.room).into()) {
            words.push_str(ANSWER_AGAIN);
        }
        let mut actions = vec![to_room(words, about)];
        actions.extend(room.map(|what| Action::Remember {
            what,
            until: now + ROOM_AGAIN,
        }));
        actions
    }
}

#[cfg(test)]
mod tests;
