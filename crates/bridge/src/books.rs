//! What is remembered of an event beside what is decided on it: that it was decided on, who wrote it, how far its room is
//! read.

use super::Bridge;
use super::action::Action;
use super::dropped::DropReason;
use super::echo::author_of;
use super::facts::{Facts, SeenKey};
use relay_model::{Chore, Event, Lane, MatrixEvent, RoomEdit, RoomText, Timestamp};

impl Bridge {
    /// Returns what is to be remembered of an event on which this was decided.
    pub(super) fn books(
        &self,
        event: &Event,
        facts: &Facts,
        decided: &[Action],
        now: Timestamp,
    ) -> Vec<Action> {
        let mut actions = Vec::new();
        match event {
            Event::Matrix(MatrixEvent::Text(text)) => {
                actions.extend(self.of_text(text, facts, decided, now));
            }
            Event::Matrix(MatrixEvent::Edit(edit)) => {
                actions.extend(of_edit(edit, decided, now));
            }
            Event::Radio(_) | Event::Matrix(_) | Event::Report(_) | Event::Chore(_) => {}
        }
        // What came too late is told with what expires.
        if decided.iter().any(|it| matches!(it, Action::Expire(_))) {
            actions.push(Action::Next(Chore::Expired));
        }
        actions.extend(seen(event, facts));
        actions
    }

    fn of_text(
        &self,
        text: &RoomText,
        facts: &Facts,
        decided: &[Action],
        now: Timestamp,
    ) -> Vec<Action> {
        let mut actions = Vec::new();
        let mut is_sent = false;
        for action in decided {
            match action {
                Action::ToMesh(message) => {
                    is_sent = true;
                    actions.push(Action::NoteAuthor(text.event.clone(), author_of(text)));
                    if let (Lane::Message, Some(source)) = (message.lane, &message.source) {
                        actions.extend(self.gather(source, facts, now));
                    }
                }
                Action::OneMore(..) => is_sent = true,
                _ => {}
            }
        }
        // What waits for the mesh is read once the radio took it, what is not for the mesh is read at once.
        let is_read = !is_sent
            && decided
                .iter()
                .any(|it| matches!(it, Action::Drop(reason) if is_read(*reason)));
        if is_sent || is_read {
            let (event, thread) = (text.event.clone(), text.thread.clone());
            actions.push(Action::Arrived(text.room.clone(), event, thread));
        }
        if is_read {
            actions.push(Action::Read(text.event.clone()));
        }
        if let Some(edit) = &facts.early_edit {
            actions.push(edited(text, &text.event, edit.sent_at));
        }
        actions
    }
}

/// Remembers that an event was decided on. One that could not be read is decided on when its key has come.
fn seen(event: &Event, facts: &Facts) -> Vec<Action> {
    if matches!(event, Event::Matrix(MatrixEvent::Undecryptable { .. })) {
        return Vec::new();
    }
    let mut actions = Vec::new();
    if let (Event::Matrix(MatrixEvent::Text(text)), Some(_)) = (event, &facts.early_edit) {
        actions.push(Action::ForgetEarlyEdit(text.event.clone()));
    }
    // What was given up is forgotten when its key comes after all.
    if !facts.already_seen || matches!(event, Event::Matrix(_)) {
        actions.extend(SeenKey::of(event).map(Action::Seen));
    }
    actions
}

fn of_edit(edit: &RoomEdit, decided: &[Action], now: Timestamp) -> Vec<Action> {
    let new = &edit.new;
    let mut actions = Vec::new();
    for action in decided {
        let is_correction = match action {
            Action::ToMesh(_) => true,
            Action::Rewrite(_, version) => version.draft.correction > 0,
            Action::WithdrawCorrection(_) | Action::KeepEdit(_) => false,
            _ => continue,
        };
        actions.push(Action::NoteAuthor(edit.target.clone(), author_of(new)));
        // A correction that waits is taken back with the edit that it was made of.
        if is_correction {
            actions.push(Action::KeepEdit(Box::new(edit.clone())));
        }
    }
    // Whatever became of it.
    actions.push(edited(new, &edit.target, new.sent_at.min(now)));
    actions
}

fn edited(new: &RoomText, message: &relay_model::EventId, at: Timestamp) -> Action {
    Action::NoteEdited(new.room.clone(), message.to_owned(), new.sender.clone(), at)
}

/// Returns whether a message that was not relayed for this reason counts as read: it was looked at, and its sender might
/// have had it transmitted.
fn is_read(reason: DropReason) -> bool {
    !matches!(
        reason,
        DropReason::Duplicate
            | DropReason::OwnEvent
            | DropReason::UnmappedRoom
            | DropReason::Denied
            | DropReason::IgnoredUser
    )
}
