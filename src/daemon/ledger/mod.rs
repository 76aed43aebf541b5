//! Writes down what an event means: asks the store for the facts, the bridge for the decision, and the store to
//! keep what follows. Runs on the SQLite thread, inside the batch's transaction.

mod apply;
mod outcome;
mod reports;

use std::collections::VecDeque;
use std::error::Error;
use std::sync::{Mutex, PoisonError};

use tracing::error;

use relay_bridge::Bridge;
use relay_config::Config;
use relay_model::{Chore, Event, SendReport, Timestamp};
use relay_store::outbox_mesh::{self, UNKNOWN_RADIO};
use relay_store::{Result, Store, Tx, known_rooms, mesh_report, outbox_room, single_values};

use apply::Books;

use super::facts;

pub(super) use outcome::Outcome;

/// Keeps the books by the bridge's decisions.
#[derive(Debug, Clone)]
pub(super) struct Ledger {
    pub(super) bridge: Bridge,
}

impl Ledger {
    /// Makes one, tells its bridge what the tables remember, and that the relay starts. Returns with it everything for which a
    /// worker is due.
    pub(super) fn open(tx: &Tx<'_>, config: &Config, now: Timestamp) -> Result<(Self, Outcome)> {
        let mut outcome = Outcome::default();
        let mut bridge = Bridge::new(config.clone(), None);
        let radio = single_values::own_radio(tx)?.unwrap_or(UNKNOWN_RADIO);
        bridge.remember_radio(radio, single_values::channels(tx, radio)?);
        bridge.remember_meshnet(single_values::meshnet(tx)?);
        let configured: Vec<_> = config.matrix_rooms.iter().map(|it| it.id.clone()).collect();
        known_rooms::keep_only(tx, &configured)?;
        for (name, room) in known_rooms::all(tx)? {
            if !name.is_room_id() {
                // An earlier version kept what came before the alias was asked for under the alias.
                outbox_room::rename_room(tx, &name, (&*room).into())?;
            }
            bridge.remember_room(name, room);
        }
        let mut ledger = Self { bridge };
        ledger.event(tx, &Event::Chore(Chore::Start), now, &mut outcome)?;
        Ok((ledger, outcome))
    }

    /// Decides on a batch of events: what is rolled back has left nothing behind, and can be run again.
    pub(super) fn commit(
        kept: &Mutex<Self>,
        store: &mut Store,
        events: &[Event],
        now: Timestamp,
    ) -> Result<Outcome> {
        Self::transaction(kept, store, |ledger, tx| {
            let mut outcome = Outcome::default();
            for event in events {
                ledger.event(tx, event, now, &mut outcome)?;
            }
            ledger.event(tx, &Event::Chore(Chore::Signs), now, &mut outcome)?;
            Ok(outcome)
        })
    }

    /// Works in one transaction on a copy of the ledger that takes its place once that is committed.
    pub(super) fn transaction<T>(
        kept: &Mutex<Self>,
        store: &mut Store,
        work: impl FnOnce(&mut Self, &Tx<'_>) -> Result<T>,
    ) -> Result<T> {
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        let mut next = kept.clone();
        let done = store.transaction(|tx| work(&mut next, tx))?;
        *kept = next;
        Ok(done)
    }

    /// Decides on an event, and on what that gives cause to look at, and stores what follows. A chore is done apart: no message is
    /// given up for what it cannot read.
    pub(super) fn event(
        &mut self,
        tx: &Tx<'_>,
        event: &Event,
        now: Timestamp,
        outcome: &mut Outcome,
    ) -> Result<()> {
        let mut chores = match event {
            Event::Chore(chore) if *chore != Chore::Start => VecDeque::from([*chore]),
            Event::Report(SendReport::Radio { outbox, .. }) => {
                match self.settle_apart(tx, event, now, outcome)? {
                    Ok(next) => next.into(),
                    Err(error) => {
                        let outbox = *outbox;
                        mesh_report::give_up(tx, outbox)?;
                        outcome.mesh.extend(outbox_mesh::queues(tx)?);
                        tx.log(move || {
                            error!(
                                %outbox,
                                error = &error as &dyn Error,
                                "what the radio said of a packet cannot be stored: what became of it is not known; please report this"
                            );
                        });
                        VecDeque::new()
                    }
                }
            }
            // Without all of its start the relay does not run.
            event => self.settle(tx, event, now, outcome)?.into(),
        };
        while let Some(chore) = chores.pop_front() {
            match self.settle_apart(tx, &Event::Chore(chore), now, outcome)? {
                Ok(next) => chores.extend(next),
                Err(error) => tx.log(move || {
                    error!(
                        ?chore,
                        error = &error as &dyn Error,
                        "this is not looked at now; please report this"
                    );
                }),
            }
        }
        Ok(())
    }

    /// Decides on an event apart; see [`Tx::apart`].
    fn settle_apart(
        &mut self,
        tx: &Tx<'_>,
        event: &Event,
        now: Timestamp,
        outcome: &mut Outcome,
    ) -> Result<Result<Vec<Chore>>> {
        let (mut ledger, mut sum) = (self.clone(), outcome.clone());
        let done = tx.apart(|| ledger.settle(tx, event, now, &mut sum))?;
        if done.is_ok() {
            (*self, *outcome) = (ledger, sum);
        }
        Ok(done)
    }

    /// Decides on an event alone, and stores what follows. Returns what is to be looked at next.
    fn settle(
        &mut self,
        tx: &Tx<'_>,
        event: &Event,
        now: Timestamp,
        outcome: &mut Outcome,
    ) -> Result<Vec<Chore>> {
        let questions = self.bridge.questions(event, now);
        let facts = facts::look_up(tx, self.bridge.radio(), &questions, now)?;
        let actions = self.bridge.decide(event, &facts, now);
        let mut books = Books {
            tx,
            radio: self.bridge.radio(),
            now,
            outcome,
            next: Vec::new(),
        };
        for action in actions {
            books.apply(event, action)?;
        }
        Ok(books.next)
    }
}

#[cfg(test)]
mod tests;
