//! Handles an event: looks up the facts, lets the bridge decide, and stores the resulting actions. Runs on the SQLite
//! thread, inside the batch's transaction.

mod apply;
mod durability;
mod outcome;
mod reports;

use std::collections::VecDeque;
use std::error::Error;
use std::sync::{Mutex, PoisonError};

use tracing::{debug, error};

use relay_bridge::Bridge;
use relay_config::Config;
use relay_model::{Chore, Event, SendReport, Timestamp};
use relay_store::outbox_mesh::{self, UNKNOWN_RADIO};
use relay_store::{Result, Store, Tx, known_rooms, mesh_report, outbox_room, single_values, story};

use apply::Applier;

use super::facts;

pub(super) use outcome::Outcome;

/// The bridge, and how its decisions are stored: one transaction for a batch, on a copy that takes the bridge's place after
/// the commit.
#[derive(Debug, Clone)]
pub(super) struct Ledger {
    pub(super) bridge: Bridge,
}

impl Ledger {
    /// Restores the bridge's state from the tables, and handles the start. The outcome names everything that needs a worker.
    pub(super) fn open(tx: &Tx<'_>, config: &Config, now: Timestamp) -> Result<(Self, Outcome)> {
        let mut outcome = Outcome::default();
        let bridge = Self::restored(tx, config)?;
        let mut ledger = Self { bridge };
        ledger.event(tx, &Event::Chore(Chore::Start), now, &mut outcome)?;
        Ok((ledger, outcome))
    }

    /// Returns a bridge with this configuration and what the tables hold.
    fn restored(tx: &Tx<'_>, config: &Config) -> Result<Bridge> {
        let mut bridge = Bridge::new(config.clone(), None);
        let radio = single_values::own_radio(tx)?.unwrap_or(UNKNOWN_RADIO);
        bridge.remember_radio(radio, single_values::channels(tx, radio)?);
        bridge.remember_meshnet(single_values::meshnet(tx)?);
        let configured: Vec<_> = config.matrix_rooms.iter().map(|it| it.id.clone()).collect();
        known_rooms::keep_only(tx, &configured)?;
        for (name, room) in known_rooms::all(tx)? {
            if !name.is_room_id() {
                // An earlier version stored rows under the alias until it was resolved.
                outbox_room::rename_room(tx, &name, (&*room).into())?;
            }
            bridge.remember_room(name, room);
        }
        Ok(bridge)
    }

    /// Goes on with another configuration, as after a restart, but for what is on its way to the radio. Returns the events that
    /// were handled for it.
    pub(super) fn reload(
        kept: &Mutex<Self>,
        store: &mut Store,
        config: &Config,
        now: Timestamp,
    ) -> Result<(Vec<Event>, Outcome)> {
        Self::transaction(kept, store, |ledger, tx| {
            let mut events = vec![Event::Chore(Chore::Reload)];
            // Its channels are looked at with the new routes.
            events.extend(ledger.bridge.ready_radio().map(Event::Radio));
            let restored = Self::restored(tx, config)?;
            let before = std::mem::replace(&mut ledger.bridge, restored);
            ledger.bridge.take_over(before);
            let outcome = ledger.batch(tx, &events, now)?;
            Ok((events, outcome))
        })
    }

    /// Handles a batch of events in one transaction, which waits for the disk where it must. After a rollback nothing has
    /// changed, and the batch can be retried.
    pub(super) fn commit(
        kept: &Mutex<Self>,
        store: &mut Store,
        events: &[Event],
        now: Timestamp,
    ) -> Result<Outcome> {
        let is_light = events.iter().all(durability::is_light);
        let light = is_light.then(|| Self::light(kept, store, events, now));
        let mut outcome = match light.transpose()?.flatten() {
            Some(outcome) => outcome,
            None => Self::transaction(kept, store, |ledger, tx| ledger.batch(tx, events, now))?,
        };
        outcome.sync_soon = events.iter().any(durability::is_soon_due);
        Self::note_heard_again(store, &mut outcome, now);
        Ok(outcome)
    }

    /// Notes that packets were delivered once more, without waiting for the disk. Without it their stories lack that, and
    /// nothing else.
    fn note_heard_again(store: &mut Store, outcome: &mut Outcome, now: Timestamp) {
        let packets = std::mem::take(&mut outcome.heard_again);
        if packets.is_empty() {
            return;
        }
        let noted = store.commit_relaxed(|tx| {
            tx.at(now);
            packets.iter().try_for_each(|it| story::heard_again(tx, it))
        });
        if let Err(error) = noted {
            let error = &error as &dyn Error;
            debug!(error, "that a packet was delivered again is not noted");
        }
    }

    /// Runs a transaction on a copy of the ledger, which replaces the ledger after the commit.
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

    /// Handles a batch of events in a transaction that does not wait for the disk. Returns `None`, and has done nothing, if
    /// it has to wait.
    fn light(
        kept: &Mutex<Self>,
        store: &mut Store,
        events: &[Event],
        now: Timestamp,
    ) -> Result<Option<Outcome>> {
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        let mut next = kept.clone();
        let outcome = store.commit_relaxed_if(
            |tx| next.batch(tx, events, now),
            |outcome| !outcome.must_last,
        )?;
        if outcome.must_last {
            return Ok(None);
        }
        *kept = next;
        Ok(Some(outcome))
    }

    fn batch(&mut self, tx: &Tx<'_>, events: &[Event], now: Timestamp) -> Result<Outcome> {
        let mut outcome = Outcome::default();
        for event in events {
            self.event(tx, event, now, &mut outcome)?;
        }
        self.event(tx, &Event::Chore(Chore::Signs), now, &mut outcome)?;
        Ok(outcome)
    }

    /// Handles an event and the chores that follow from it. A chore runs in a savepoint: if it fails on a damaged row, the
    /// event is stored all the same.
    pub(super) fn event(
        &mut self,
        tx: &Tx<'_>,
        event: &Event,
        now: Timestamp,
        outcome: &mut Outcome,
    ) -> Result<()> {
        let mut chores = match event {
            Event::Chore(chore) if !matches!(chore, Chore::Start | Chore::Reload) => {
                VecDeque::from([*chore])
            }
            Event::Report(SendReport::Radio { outbox, .. }) => {
                match self.settle_apart(tx, event, now, outcome)? {
                    Ok(next) => next.into(),
                    Err(error) => {
                        let outbox = *outbox;
                        mesh_report::give_up(tx, outbox)?;
                        outcome.must_last = true;
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
            // Nothing of the start, or of a reload, may fail: not in a savepoint.
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

    /// Handles an event in a savepoint; see [`Tx::apart`].
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

    /// Handles an event. Returns the chores that follow from it.
    fn settle(
        &mut self,
        tx: &Tx<'_>,
        event: &Event,
        now: Timestamp,
        outcome: &mut Outcome,
    ) -> Result<Vec<Chore>> {
        tx.at(now);
        let questions = self.bridge.questions(event, now);
        let facts = facts::look_up(tx, self.bridge.radio(), &questions, now)?;
        let actions = self.bridge.decide(event, &facts, now);
        let mut applier = Applier {
            tx,
            radio: self.bridge.radio(),
            now,
            outcome,
            next: Vec::new(),
            is_heard: false,
        };
        for action in actions {
            applier.outcome.must_last |= !durability::may_be_lost(&action);
            applier.apply(event, action)?;
        }
        Ok(applier.next)
    }
}

#[cfg(test)]
mod tests;
