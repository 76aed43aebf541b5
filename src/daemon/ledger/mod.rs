//! Writes down what an event means: asks the store for the facts, the bridge for the decision, and the store to
//! keep what follows. Runs on the SQLite thread, inside the batch's transaction.

mod apply;
mod outcome;
mod reports;

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use tracing::info;

use crate::bridge::{Action, Bridge};
use crate::config::Config;
use crate::model::{Chore, Event, Timestamp};
use crate::store::outbox_mesh::{self, UNKNOWN_RADIO};
use crate::store::{Result, Store, Tx, feedback, known_rooms, mesh_report, meta, outbox_room};

use apply::Books;

use super::facts;

pub(super) use outcome::Outcome;

/// Keeps the books by the bridge's decisions.
#[derive(Debug, Clone)]
pub(super) struct Ledger {
    pub(super) bridge: Bridge,
}

impl Ledger {
    /// Makes one, and tells its bridge what the tables remember. What was handed to the radio when the relay stopped goes back
    /// into the queue. Returns with it everything for which a worker is due.
    pub(super) fn open(tx: &Tx<'_>, config: &Config, now: Timestamp) -> Result<(Self, Outcome)> {
        let mut outcome = Outcome::default();
        let mut bridge = Bridge::new(config.clone(), None);
        let radio = meta::own_radio(tx)?.unwrap_or(UNKNOWN_RADIO);
        bridge.remember_radio(radio);
        if let Some(name) = meta::meshnet(tx)? {
            bridge.remember_meshnet(name);
        }
        bridge.remember_channels(meta::channels(tx, radio)?);
        let configured: Vec<_> = config.matrix_rooms.iter().map(|it| it.id.clone()).collect();
        known_rooms::keep_only(tx, &configured)?;
        for (name, room) in known_rooms::all(tx)? {
            if !name.is_room_id() {
                // An earlier version kept what came before the alias was asked for under the alias.
                outbox_room::rename_room(tx, &name, (&*room).into())?;
            }
            bridge.remember_room(name, room);
        }
        let again = mesh_report::recover(tx)?;
        if again > 0 {
            tx.log(move || {
                info!(
                    packets = again,
                    "the radio may or may not have taken these, trying again under the same ids"
                );
            });
            // It may have taken them this very moment: the next text keeps its distance.
            meta::set_last_acceptance(tx, now)?;
        }
        outbox_room::unpark_all(tx)?;
        feedback::recover(tx)?;
        let mut ledger = Self { bridge };
        ledger.event(tx, &Event::Chore(Chore::Start), now, &mut outcome)?;
        outcome.rooms.extend(outbox_room::rooms(tx)?);
        outcome.mesh.extend(outbox_mesh::queues(tx)?);
        Ok((ledger, outcome))
    }

    /// Decides on a batch of events in one transaction, on a copy of the ledger that takes its place once that is committed:
    /// what is rolled back has left nothing behind, and can be run again.
    pub(super) fn commit(
        kept: &Mutex<Self>,
        store: &mut Store,
        events: &[Event],
        now: Timestamp,
    ) -> Result<Outcome> {
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        let mut next = kept.clone();
        let outcome = store.transaction(|tx| {
            let mut outcome = Outcome::default();
            for event in events {
                next.event(tx, event, now, &mut outcome)?;
            }
            next.event(tx, &Event::Chore(Chore::Signs), now, &mut outcome)?;
            Ok(outcome)
        })?;
        *kept = next;
        Ok(outcome)
    }

    /// Decides on an event, and on what that gives cause to look at, and stores what follows.
    fn event(
        &mut self,
        tx: &Tx<'_>,
        event: &Event,
        now: Timestamp,
        outcome: &mut Outcome,
    ) -> Result<()> {
        let mut next = VecDeque::from([Cow::Borrowed(event)]);
        while let Some(event) = next.pop_front() {
            let questions = self.bridge.questions(&event, now);
            let facts = facts::look_up(tx, self.bridge.radio(), &questions, now)?;
            let actions = self.bridge.decide(&event, &facts, now);
            let mut books = Books {
                tx,
                radio: self.bridge.radio(),
                now,
                outcome,
            };
            for action in actions {
                match action {
                    Action::Next(chore) => next.push_back(Cow::Owned(Event::Chore(chore))),
                    action => books.apply(&event, action)?,
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
