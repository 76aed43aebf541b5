//! What follows from a change for the signs that senders see and for how far rooms are read: both are wanted states, which
//! the feedback worker carries out.

use std::error::Error;

use tracing::error;

use crate::bridge::{Action, DropReason, Fate, PartState, SHOWN_WAITING_AFTER, Sign};
use crate::config::Feedback;
use crate::model::{Event, EventId, MatrixEvent, Timestamp};
use crate::store::{MeshState, StoreError, Tx, feedback, message_map, receipts};

use super::{Ledger, Outcome};

/// Gives up what an earlier configuration wanted to be shown and this one does not.
pub(super) fn forget_unwanted(
    tx: &Tx<'_>,
    mode: Feedback,
    now: Timestamp,
) -> Result<(), StoreError> {
    for sign in Sign::ALL.into_iter().filter(|it| !it.is_shown(mode)) {
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
        if !Sign::Waiting.is_shown(self.feedback) {
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
        let parts: Vec<PartState> = message.parts.iter().copied().map(part_state).collect();
        let fate = Fate {
            parts: &parts,
            waits_since: message.accepted_at,
            given: message.given.as_deref().and_then(Sign::of_key),
        };
        let sign = fate.sign(self.feedback, now);
        outcome.feedback |= feedback::want(tx, &message.room, event, sign.map(Sign::key), now)?;
        if !parts.is_empty() && !parts.contains(&PartState::Waiting) {
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
            .any(|action| matches!(action, Action::ToMesh { .. } | Action::Rewrite { .. }));
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

fn part_state(state: MeshState) -> PartState {
    match state {
        MeshState::Waiting | MeshState::Submitted => PartState::Waiting,
        MeshState::Accepted | MeshState::Unknown => PartState::Sent,
        MeshState::Unheard => PartState::Unheard,
        MeshState::Heard => PartState::Heard,
        MeshState::Delivered => PartState::Delivered,
        MeshState::Refused => PartState::Refused,
        MeshState::Expired => PartState::Expired,
        MeshState::Withdrawn => PartState::Withdrawn,
    }
}

#[cfg(test)]
mod tests;
