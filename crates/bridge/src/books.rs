//! Bookkeeping for each event beside the decision: seen ids, authors, read receipts.

use super::facts::{Facts, SeenKey};
use super::{Bridge, action::Action, dropped::DropReason, echo::author_of};
use relay_model::{Chore, Event, Lane, MatrixEvent, RoomEdit, RoomText, Timestamp};

impl Bridge {
    /// Returns the bookkeeping for an event on which these actions were decided.
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
        // Late messages are part of the expiry notice.
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
        // A message for the mesh is read once the radio took it, any other at once.
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

/// Marks an event as decided on. An undecryptable one is decided on when its key has come.
fn seen(event: &Event, facts: &Facts) -> Vec<Action> {
    if matches!(event, Event::Matrix(MatrixEvent::Undecryptable { .. })) {
        return Vec::new();
    }
    let mut actions = Vec::new();
    if let (Event::Matrix(MatrixEvent::Text(text)), Some(_)) = (event, &facts.early_edit) {
        actions.push(Action::ForgetEarlyEdit(text.event.clone()));
    }
    // An event given up is forgotten when its key comes after all.
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
        // A waiting correction is withdrawn together with its edit.
        if is_correction {
            actions.push(Action::KeepEdit(Box::new(edit.clone())));
        }
    }
    // Regardless of the outcome.
    actions.push(edited(new, &edit.target, new.sent_at.min(now)));
    actions
}

fn edited(new: &RoomText, message: &relay_model::EventId, at: Timestamp) -> Action {
    Action::NoteEdited(new.room.clone(), message.to_owned(), new.sender.clone(), at)
}

/// Returns whether a message that was not relayed for this reason counts as read: its sender might have had it transmitted.
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
