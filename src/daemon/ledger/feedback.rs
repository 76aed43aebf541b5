//! What follows from a change for the signs that senders see and for how far rooms are read: both are wanted states, which
//! the feedback worker carries out.

use std::error::Error;

use tracing::error;

use crate::bridge::{Action, DropReason, Fate, SHOWN_WAITING_AFTER};
use crate::config::Feedback;
use crate::model::{Event, EventId, MatrixEvent, Sign, Timestamp};
use crate::store::{StoreError, Tx, feedback, message_map, receipts};

use super::{Ledger, Outcome};

/// Gives up what an earlier configuration wanted to be shown and this one does not.
pub(super) fn forget_unwanted(
    tx: &Tx<'_>,
    mode: Feedback,
    now: Timestamp,
) -> Result<(), StoreError> {
    for sign in Sign::ALL.into_iter().filter(|it| !mode.shows(*it)) {
        // Nobody would ever take an hourglass away again.
        feedback::forget_wishes(tx, sign.key(), Sign::Waiting.key(), now)?;
    }
    Ok(())
}

impl Ledger {
    /// Wants the signs that follow from everything that a batch has changed; the last thing in its transaction.
    pub(in crate::daemon) fn show(
        &self,
        tx: &Tx<'_>,
        now: Timestamp,
        outcome: &mut Outcome,
    ) -> Result<(), StoreError> {
        for event in feedback::take_changed(tx)? {
            match self.show_one(tx, &event, now, outcome) {
                // It must not fail the batch: a sign is worth less than a message.
                Err(error @ StoreError::Unreadable(_)) => {
                    error!(event_id = %event, error = &error as &dyn Error, "what became of a message cannot be shown");
                }
                done => done?,
            }
        }
        Ok(())
    }

    /// Wants the sign of waiting on what has waited long enough.
    pub(super) fn show_waiting(
        &self,
        tx: &Tx<'_>,
        now: Timestamp,
        outcome: &mut Outcome,
    ) -> Result<(), StoreError> {
        if !self.feedback.shows(Sign::Waiting) {
            return Ok(());
        }
        let before = now - SHOWN_WAITING_AFTER;
        for event in feedback::waiting_without(tx, Sign::Waiting.key(), before)? {
            self.show_one(tx, &event, now, outcome)?;
        }
        Ok(())
    }

    fn show_one(
        &self,
        tx: &Tx<'_>,
        event: &EventId,
        now: Timestamp,
        outcome: &mut Outcome,
    ) -> Result<(), StoreError> {
        let Some(message) = feedback::message(tx, event)? else {
            return Ok(());
        };
        let fate = Fate {
            parts: &message.parts,
            waits_since: message.accepted_at,
            given: message.given.as_deref().and_then(Sign::of_key),
        };
        let sign = fate.sign(self.feedback, now);
        outcome.feedback |= feedback::want(tx, &message.room, event, sign.map(Sign::key), now)?;
        if !message.parts.is_empty() && !message.parts.iter().any(|part| part.waits()) {
            outcome.feedback |= receipts::read(tx, event, now)?;
            for joined in message_map::joined(tx, event)? {
                outcome.feedback |= receipts::read(tx, &joined, now)?;
            }
        }
        Ok(())
    }

    /// Takes note of what was decided on a message, for the read receipt of its room: what waits for the mesh is read once
    /// the radio took it, what is not for the mesh is read at once.
    pub(super) fn note_reading(
        tx: &Tx<'_>,
        event: &Event,
        actions: &[Action],
        now: Timestamp,
        outcome: &mut Outcome,
    ) -> Result<(), StoreError> {
        let Event::Matrix(MatrixEvent::Text(text)) = event else {
            return Ok(());
        };
        let dropped = actions.iter().find_map(|action| match action {
            Action::Drop(reason) => Some(*reason),
            _ => None,
        });
        let is_sent = actions
            .iter()
            .any(|action| matches!(action, Action::ToMesh(_) | Action::Rewrite { .. }));
        if is_sent || dropped.is_some_and(is_read) {
            receipts::arrived(tx, &text.room, &text.event, text.thread.as_deref(), now)?;
        }
        if !is_sent && dropped.is_some_and(is_read) {
            outcome.feedback |= receipts::read(tx, &text.event, now)?;
        }
        Ok(())
    }
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

#[cfg(test)]
mod tests;
